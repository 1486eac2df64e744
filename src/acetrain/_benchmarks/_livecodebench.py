"""LiveCodeBench, code generation *lite*: `question_id, question_title, question_content, starter_code,
public_test_cases, private_test_cases, metadata` and more, in test.jsonl, test2.jsonl, …; release_v4 is the first four
files, 713 problems.

Public tests are JSON: `[{"input", "output", "testtype": "stdin" | "functional"}]`. Private tests are the same as JSON,
or as base64 of zlib of a pickle of that JSON (`_pickled_text` opens it). A program must pass both. Stdin tests run the
whole program; functional ones call `metadata.func_name`, or that method of `class Solution`, with one JSON value per
line of the input.

The files are gigabytes: one line, and one problem's tests, are in memory at a time.

Like the benchmark's harness, we import its usual modules and names before every program, give each test six seconds,
raise the recursion limit, and compare output as it does (`compare="decimal_lines"`). Unlike it, the program stays a
script: it is not wrapped into a function, `__name__` is `"__main__"`, and standard input is a real file.
"""

from __future__ import annotations

import json
from typing import Any

from acedata._errors import BadInput
from acedata._rows import Row
from acesandbox import Functional, Limits, Stdio

from ._pickled_text import Refused, unpacked_text
from ._problem import Problem, Spec, task_id_of, text_of

SECONDS = 6.0

# Modules whose public names, and which themselves, programs find without importing them; in the harness's order, since
# later names win (`operator.pow` over `math.pow`, and every one over a builtin until `builtins`).
_STAR = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
_PLAIN = [name for name in _STAR if name not in ("builtins", "typing")]
PREAMBLE = "".join(
    [
        *(f"from {name} import *\n" for name in _STAR),
        f"import {', '.join(_PLAIN)}\n",
        "sys.setrecursionlimit(50000)\n",
    ]
)
PRELOAD = tuple(name for name in _STAR if name not in ("builtins", "sys"))


def livecodebench(row: Row, spec: Spec) -> Problem:
    cases = [
        *_cases(row, "public_test_cases", packed=False),
        *_cases(row, "private_test_cases", packed=True),
    ]
    if not cases:
        raise BadInput(f"{row.where}: the problem has no tests")
    kinds = {kind for kind, _, _ in cases}
    name = _function(row)
    if kinds == {"stdin"}:
        pairs = [(given, expected) for _, given, expected in cases]
        tests: Stdio | Functional = Stdio(pairs, compare="decimal_lines")
        name = None
    elif kinds == {"functional"}:
        if name is None:
            raise BadInput(f"{row.where}: functional tests, but 'metadata' names no 'func_name'")
        tests = Functional([_call(row, n, a, b) for n, (_, a, b) in enumerate(cases)], name)
    else:
        raise BadInput(
            f"{row.where}: test types {', '.join(sorted(kinds))}; expected all stdin or all functional"
        )
    starter = text_of(row, "starter_code", optional=True)
    title = text_of(row, "question_title", optional=True)
    question = text_of(row, "question_content")
    limits = Limits(
        cpu_s=SECONDS,
        program_cpu_s=SECONDS * max(1, len(cases)),
        load_cpu_s=SECONDS,
        judge_cpu_s=SECONDS,
        idle_s=SECONDS,
        memory_mb=4096,
        output_kb=16384,
    )
    return Problem(
        task_id=task_id_of(row, spec.prefix, "question_id"),
        prompt="",
        question=_question(title, question, starter),
        ask="text",
        tests=tests,
        entry_point=name,
        preamble=PREAMBLE,
        modules=frozenset(),
        reference=None,
        limits=limits,
        where=row.where,
    )


def _question(title: str, content: str, starter: str) -> str:
    head = f"{title.strip()}\n\n{content.strip()}" if title.strip() else content.strip()
    if starter.strip():
        return f"{head}\n\nComplete this code:\n\n```python\n{starter.rstrip()}\n```"
    return f"{head}\n\nThe program reads standard input and writes its answer to standard output."


def _cases(row: Row, column: str, packed: bool) -> list[tuple[str, str, str]]:
    value: Any = row.values.get(column)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = _parsed(row, column, value, packed)
    if not isinstance(value, list):
        raise BadInput(f"{row.where}: {column} must be a list of tests, not {type(value).__name__}")
    found = []
    for number, case in enumerate(value):
        parts = [case.get(key) for key in ("testtype", "input", "output")] if isinstance(case, dict) else []
        if not parts or not all(isinstance(part, str) for part in parts):
            raise BadInput(
                f"{row.where}: {column}[{number}] must be an object whose 'input', 'output' and 'testtype' are texts"
            )
        kind, given, expected = parts
        found.append((str(kind), str(given), str(expected)))
    return found


def _parsed(row: Row, column: str, text: str, packed: bool) -> Any:
    # JSON of a list begins with a bracket; base64 cannot.
    if packed and not text.lstrip().startswith(("[", "{", '"')):
        try:
            text = unpacked_text(text)
        except Refused as error:
            raise BadInput(f"{row.where}: {column}: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{row.where}: {column} holds broken JSON: {error}") from None


def _function(row: Row) -> str | None:
    value: Any = row.values.get("metadata")
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{row.where}: metadata holds broken JSON: {error}") from None
    name = value.get("func_name") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else None


def _call(row: Row, number: int, given: str, expected: str) -> tuple[list[Any], Any]:
    try:
        return [json.loads(line) for line in given.split("\n")], json.loads(expected)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{row.where}: functional test {number} does not hold JSON: {error}") from None
