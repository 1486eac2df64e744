"""Plain judges: the ways of judging in wide use, each in a few lines, and each with its weakness left in.

They exist to be fooled. A forging attack that no judge falls for would prove nothing about ours, so every attack of the
corpus names the judges that must let it pass (`Forgery.fools`), and a test runs it against them.

    array        results in shared memory, one slot per test; all in one interpreter (tests/plain_judge.py)
    exit_code    program and tests in one script; exit status 0 is a pass
    printed      the same, and the last line printed is the verdict
    list         exec of both in one call, and "passed" appended to the caller's list
    counter      progress in shared memory, a mark per test, believed whatever becomes of the process
    test_file    the script comes on standard input and lies beside the solution in the working directory
    environment  the tests come in an environment variable
    stdio        input and output replaced by objects in the program's own interpreter
    stdio_zip    a real process; lines compared in pairs, so that what is missing is not compared

Programs run with the rights of the test run; root becomes nobody first. Each judge works in a small process of its own
(a child of multiprocessing's fork server): attacks that search the heap would otherwise search the test run's, and what
they find and how long they take would hang on which tests ran before.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from acesandbox._check.records import Form, fill
from tests import plain_judge

SECONDS = 60

_CLEAN = multiprocessing.get_context("forkserver")
_CLEAN.set_forkserver_preload([__name__])
_FOOLED, _NOT_FOOLED = 10, 11


def _say_by_exit_code(judge: str, program: str, kind: str, texts: list[str]) -> None:
    sys.exit(_FOOLED if _JUDGES[judge](program, kind, texts) else _NOT_FOOLED)


def fooled(judge: str, program: str, form: Form, values: list[str]) -> bool:
    """Whether this judge lets the program pass. False also where it does not know the form's kind of tests."""
    texts = [fill(text, values) for text in form.texts]
    process = _CLEAN.Process(target=_say_by_exit_code, args=(judge, program, form.kind, texts))
    process.start()
    process.join(4 * SECONDS)
    if process.exitcode not in (_FOOLED, _NOT_FOOLED):
        process.kill()
        raise RuntimeError(f"the plain judge {judge} itself failed: {process.exitcode}")
    return process.exitcode == _FOOLED


def knows(judge: str, form: Form) -> bool:
    """Whether this judge takes tests of this kind."""
    return (form.kind == "stdio") == judge.startswith("stdio")


_RUN_UNITTESTS = """
import unittest
_cases = [c for c in list(globals().values()) if isinstance(c, type) and issubclass(c, unittest.TestCase)]
_result = unittest.TestResult()
unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, _cases)).run(_result)
if not _result.testsRun or not _result.wasSuccessful():
    raise SystemExit(1)
"""


def _statements(kind: str, texts: list[str]) -> list[str]:
    """The tests as statements to run behind the program."""
    if kind == "check_script":
        return [texts[0], "check(f)"]
    if kind == "unittest":
        return [texts[0], _RUN_UNITTESTS]
    if kind == "functional":
        return [f"assert f({x}) == {want!r}" for x, want in zip(texts[::2], texts[1::2], strict=True)]
    return texts


def _array(program: str, kind: str, texts: list[str]) -> bool:
    if kind == "functional":
        kind, texts = "asserts", _statements(kind, texts)
    outcomes = plain_judge.judge(program, kind, texts, "f", SECONDS)
    return all(outcome.passed for outcome in outcomes)


def _exit_code(program: str, kind: str, texts: list[str]) -> bool:
    return plain_judge.by_exit_code(program, _statements(kind, texts), SECONDS)


def _run(
    script: str, where: str, on_stdin: bool = False, stdin: str = "", **variables: str
) -> tuple[int, str]:
    """(exit status, output) of a script."""
    path = Path(where, "script.py")
    path.write_text(script, encoding="utf-8", errors="surrogatepass")
    os.chmod(where, 0o755)
    with path.open() as file, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        try:
            done = subprocess.run(
                [sys.executable, "-S", "-" if on_stdin else str(path)],
                stdin=file if on_stdin else given,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=where,
                env={"PATH": os.defpath, **variables},
                timeout=SECONDS,
                preexec_fn=plain_judge._become_nobody if os.getuid() == 0 else None,
            )
        except subprocess.TimeoutExpired:
            return -1, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _printed(program: str, kind: str, texts: list[str]) -> bool:
    script = "\n".join([program, *_statements(kind, texts), "print('PASSED')"])
    with tempfile.TemporaryDirectory() as where:
        lines = _run(script, where)[1].split()
    return lines[-1:] == ["PASSED"]


def _test_file(program: str, kind: str, texts: list[str]) -> bool:
    script = "\n".join([program, *_statements(kind, texts)])
    with tempfile.TemporaryDirectory() as where:
        return _run(script, where, on_stdin=True)[0] == 0


def _environment(program: str, kind: str, texts: list[str]) -> bool:
    script = program + "\nimport os\nexec(os.environ['TESTS'])\n"
    with tempfile.TemporaryDirectory() as where:
        return _run(script, where, TESTS="\n".join(_statements(kind, texts)))[0] == 0


def _in_child(work: Callable[[mmap.mmap], None]) -> bytes:
    """Run `work` in a fork with shared memory; what is in it afterwards, however the child ended."""
    board = mmap.mmap(-1, 512)
    pid = os.fork()
    if pid == 0:
        try:
            with tempfile.TemporaryDirectory() as where:
                os.chdir(where)
                if os.getuid() == 0:
                    plain_judge._become_nobody()
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
                signal.alarm(SECONDS)
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                work(board)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return bytes(board)


def _list(program: str, kind: str, texts: list[str]) -> bool:
    def work(board: mmap.mmap) -> None:
        result: list[str] = []
        try:
            exec("\n".join([program, *_statements(kind, texts)]), {"__name__": "__main__"})
            result.append("passed")
        except BaseException as error:
            result.append(f"failed: {error}")
        board[0] = result[0] == "passed"

    return _in_child(work)[0] == 1


def _counter(program: str, kind: str, texts: list[str]) -> bool:
    statements = _statements(kind, texts)

    def work(progress: mmap.mmap) -> None:
        names: dict[str, object] = {"__name__": "__test__"}
        exec(program, names)
        for number, test in enumerate(statements):
            exec(test, names)
            progress[number] = 1

    return all(_in_child(work)[: len(statements)])


def _stdio(program: str, kind: str, texts: list[str]) -> bool:
    cases = list(zip(texts[::2], texts[1::2], strict=True))

    def work(board: mmap.mmap) -> None:
        for given, expected in cases:
            sys.stdin, output = io.StringIO(given), io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(program, {"__name__": "__main__"})
            if output.getvalue().strip() != expected.strip():
                return
            board[0] += 1

    return _in_child(work)[0] == len(cases)


def _stdio_zip(program: str, kind: str, texts: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as where:
        for given, expected in zip(texts[::2], texts[1::2], strict=True):
            status, output = _run(program, where, stdin=given)
            if status != 0:
                return False
            if not all(a == b for a, b in zip(output.splitlines(), expected.splitlines(), strict=False)):
                return False
    return True


_JUDGES: dict[str, Callable[[str, str, list[str]], bool]] = {
    "array": _array,
    "exit_code": _exit_code,
    "printed": _printed,
    "list": _list,
    "counter": _counter,
    "test_file": _test_file,
    "environment": _environment,
    "stdio": _stdio,
    "stdio_zip": _stdio_zip,
}
JUDGES = tuple(_JUDGES)
