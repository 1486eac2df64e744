"""A test and a program in one process, as everybody else does it: for the tests that can run in no other way.

Runs in the player. The result of such a test says `sealed=False`.
"""

from __future__ import annotations

import marshal
import sys
from typing import Any, Dict, Tuple

PASSED, FAILED, ERROR = 0, 1, 2
MAX_TEXT = 2000


def run_test(namespace: Dict[str, Any], request: bytes) -> Tuple[int, str]:
    """Run one test's text in the program's globals.

    Args:
        namespace: the globals of the program.
        request: marshalled `(kind of tests, text)`.

    Returns:
        Status and text; AssertionError is a failure.

    Raises:
        BaseException: whatever else the test or the program raised.
    """
    kind, text = marshal.loads(request)
    code = compile(text, "<test>", "exec", 0, True)
    try:
        exec(code, namespace)
        if kind == "unittest":
            return _run_unittest(namespace)
    except AssertionError as error:
        return FAILED, f"AssertionError: {error}"[:MAX_TEXT]
    return PASSED, ""


def _run_unittest(namespace: Dict[str, Any]) -> Tuple[int, str]:
    import unittest

    module = sys.modules.get(str(namespace.get("__name__")))
    if module is None or module.__dict__ is not namespace:
        raise RuntimeError("the program's module is not where it was registered")
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TestResult()
    suite.run(result)
    for problems, status in ((result.errors, ERROR), (result.failures, FAILED)):
        if problems:
            case, trace = problems[0]
            return status, f"{case}: {trace.strip().rsplit(chr(10), 1)[-1]}"[:MAX_TEXT]
    if result.unexpectedSuccesses:
        return FAILED, f"{result.unexpectedSuccesses[0]}: unexpected success"
    if result.testsRun - len(result.skipped) <= 0:
        return FAILED, "no unittest ran"
    return PASSED, ""
