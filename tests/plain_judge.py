"""The plain judge: what everybody does, done carefully, with no isolation and no secrets kept.

It is the reference for fidelity (what would a plain interpreter say?) and the victim that forging attacks are shown to
fool. It is never used for anything else: programs run with the rights of whoever runs it (root first becomes nobody).

Who talks to whom: `PlainJudge` starts this file as a server process (`python -I`), so that programs find a lean
interpreter and a shallow stack instead of pytest's. The server reads one JSON job per line, and per job

    server ── fork ──> child: exec program, then each test in the same globals
           <─ mmap ──  one fixed slot per test: status byte, then text

The shared array is how the public evaluators do it, and so are its weaknesses: program, tests, expected values and
results share one interpreter. A test gets `seconds` of CPU time by an interval timer whose handler raises; a test that
does not react to that is killed by the server, and a fresh child goes on behind it.

`by_exit_code` is the other plain judge in wide use: program and tests in one script, and exit status 0 is a pass.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import dataclass
from typing import Any

SLOT = 512
# The server's word for each slot's first byte. `not_run` must be 0: it is what an untouched slot says.
STATUSES = ("not_run", "passed", "failed", "error", "timeout", "running")

# From <linux/prctl.h> and <linux/capability.h>.
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_READ_SEARCH = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522
NOBODY = 65534
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Outcome:
    """What the plain judge says of one test. `status` is one of `STATUSES` or `died`."""

    status: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class PlainJudge:
    """A running server. Use as a context manager; not safe from several threads.

    Args:
        packages: tests and programs may import what is installed beside the interpreter, such as numpy.
    """

    def __init__(self, python: str = sys.executable, *, packages: bool = False) -> None:
        # `python` is the interpreter we run in, and nothing is looked for in a folder that only root may enter.
        path = os.pathsep.join(
            (os.path.dirname(os.path.abspath(python)), "/usr/local/bin", "/usr/bin", "/bin")
        )
        environment = {"PATH": path, "PYTHONHASHSEED": "0"}
        # -S keeps it lean; not -I, which would ignore PYTHONHASHSEED.
        self._server = subprocess.Popen(
            [python, *([] if packages else ["-S"]), "-s", "-P", "-B", os.path.abspath(__file__), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def judge(
        self,
        program: str,
        kind: str,
        tests: list[str],
        entry_point: str | None = None,
        seconds: float = 1.0,
        max_hangs: int = 4,
    ) -> list[Outcome]:
        """One outcome per test. `kind` is `asserts`, `check_script` or `unittest`.

        After `max_hangs` tests that ran out of time, the rest is `not_run`.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        job = {
            "program": program,
            "kind": kind,
            "tests": tests,
            "entry_point": entry_point,
            "seconds": seconds,
            "max_hangs": max_hangs,
        }
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the plain judge's server died")
        return [Outcome(*pair) for pair in json.loads(answer)]

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def __enter__(self) -> PlainJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def judge(
    program: str, kind: str, tests: list[str], entry_point: str | None = None, seconds: float = 1.0
) -> list[Outcome]:
    """Judge one program with a server of its own."""
    with PlainJudge() as plain:
        return plain.judge(program, kind, tests, entry_point, seconds)


def by_exit_code(program: str, tests: list[str], seconds: float = 10.0) -> bool:
    """Whether `program` and then `tests`, run as one script, end with exit status 0 within `seconds` of wall time."""
    with tempfile.TemporaryDirectory() as place:
        script = os.path.join(place, "script.py")
        with open(script, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(program + "\n\n" + "\n".join(tests) + "\n")
        os.chmod(place, 0o755)
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=place,
                timeout=seconds,
                preexec_fn=_become_nobody if os.getuid() == 0 else None,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


# ---- the server ----


class OutOfTime(BaseException):
    """Raised into a test by the interval timer."""


def _serve() -> None:
    # The first compile() of a process builds the ast types; every child would pay for it.
    compile("assert (lambda x: x)(1) == 1", "<warm>", "exec")
    for line in sys.stdin:
        job = json.loads(line)
        count = len(job["tests"])
        board = mmap.mmap(-1, SLOT * max(count, 1))
        _judge(job, board)
        outcomes = []
        for number in range(count):
            slot = board[number * SLOT : (number + 1) * SLOT]
            status = STATUSES[slot[0]] if slot[0] < len(STATUSES) else "error"
            outcomes.append((status, slot[1:].rstrip(b"\0").decode("utf-8", "replace")))
        board.close()
        print(json.dumps([["died" if s == "running" else s, d] for s, d in outcomes]), flush=True)


def _judge(job: dict[str, Any], board: mmap.mmap) -> None:
    """Judge in a folder of its own, which programs may fill and which goes with them."""
    place = tempfile.mkdtemp(prefix="ace-plain-")
    try:
        if os.getuid() == 0:
            os.chown(place, NOBODY, NOBODY)
        _judge_in(place, job, board)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _judge_in(place: str, job: dict[str, Any], board: mmap.mmap) -> None:
    """Fork children until every test has had its turn."""
    count, start, hangs = len(job["tests"]), 0, 0
    while start < count:
        pid = os.fork()
        if pid == 0:
            try:
                _child(job, board, start, place)
            finally:
                os._exit(0)
        timed_out = _watch(pid, board, count, job["seconds"])
        current = next((n for n in range(start, count) if board[n * SLOT] == STATUSES.index("running")), None)
        if current is None:
            return
        if timed_out:
            _write(board, current, "timeout", "killed by the server")
            hangs += 1
        else:
            _write(board, current, "error", "the process ended inside this test")
        if hangs == job["max_hangs"]:
            return
        start = current + 1


def _watch(pid: int, board: mmap.mmap, count: int, seconds: float) -> bool:
    """Wait for a child; kill it when one test takes far more than its time. True if it was killed."""
    tick = os.sysconf("SC_CLK_TCK")
    pidfd = os.pidfd_open(pid)
    progress, since_wall, since_cpu = b"", time.monotonic(), 0.0
    killed = False
    while not select.select([pidfd], [], [], 0.25)[0]:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / tick
        now = bytes(board[n * SLOT] for n in range(count))
        if now != progress:
            progress, since_wall, since_cpu = now, time.monotonic(), cpu
        elif cpu - since_cpu > 2 * seconds + 0.5 or time.monotonic() - since_wall > 20 * seconds:
            os.kill(pid, signal.SIGKILL)
            killed = True
            break
    os.waitpid(pid, 0)
    os.close(pidfd)
    return killed


def _write(board: mmap.mmap, number: int, status: str, detail: str = "") -> None:
    text = detail.encode("utf-8", "replace")[: SLOT - 1]
    board[number * SLOT + 1 : number * SLOT + 1 + len(text)] = text
    board[number * SLOT] = STATUSES.index(status)


def _become_nobody() -> None:
    """Give up root, except for reading: the interpreter may lie in a folder that only root may enter.

    What is started from here keeps that too, or `python` could not be started by a program.
    """
    os.setgroups([])
    os.setgid(NOBODY)
    _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setuid(NOBODY)
    read = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(read, read, read, 0, 0, 0)
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "an ambient capability")


def _child(job: dict[str, Any], board: mmap.mmap, start: int, place: str) -> None:
    os.chdir(place)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.getuid() == 0:
        _become_nobody()

    signal.signal(signal.SIGPROF, _out_of_time)
    count = len(job["tests"])
    module = types.ModuleType("__test__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__test__"] = module

    _write(board, start, "running")
    # dont_inherit: this file's own future imports must not reach programs and tests.
    status, detail = _timed(
        lambda: exec(compile(job["program"], "<program>", "exec", dont_inherit=True), module.__dict__),
        job["seconds"],
    )
    if status != "passed":
        for number in range(start, count):
            _write(board, number, "timeout" if status == "timeout" else "error", "at load: " + detail)
        return
    hangs = sum(board[number * SLOT] == STATUSES.index("timeout") for number in range(start))
    for number in range(start, count):
        if hangs >= job["max_hangs"]:
            return
        _write(board, number, "running")
        test = job["tests"][number]
        status, detail = _timed(lambda test=test: _run(job, test, module), job["seconds"])
        hangs += status == "timeout"
        _write(board, number, status, detail)


def _run(job: dict[str, Any], test: str, module: types.ModuleType) -> None:
    names = module.__dict__
    exec(compile(test, "<test>", "exec", dont_inherit=True), names)
    if job["kind"] == "check_script" and callable(names.get("check")):
        names["check"](names[job["entry_point"]])
    elif job["kind"] == "unittest":
        import unittest

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
        if not result.testsRun:
            raise AssertionError("no test ran")
        if not result.wasSuccessful():
            said = [text for _, text in result.failures + result.errors]
            raise AssertionError((said or ["unexpected success"])[0][-400:])


def _timed(work: Any, seconds: float) -> tuple[str, str]:
    """Run `work` under the CPU timer: (status, detail). unittest and bare `except:` swallow what the timer raises."""
    _rung.clear()
    status, detail = _attempt(work, seconds)
    return ("timeout", "") if _rung else (status, detail)


def _attempt(work: Any, seconds: float) -> tuple[str, str]:
    try:
        # It fires again and again: a program's bare `except:` swallows the first.
        signal.setitimer(signal.ITIMER_PROF, seconds, 0.1)
        try:
            work()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except AssertionError as wrong:
        return "failed", f"AssertionError: {wrong}"
    except BaseException as raised:
        return "error", f"{type(raised).__name__}: {raised}"
    return "passed", ""


_rung: list[bool] = []


def _out_of_time(*_: object) -> None:
    _rung.append(True)
    raise OutOfTime


if __name__ == "__main__" and sys.argv[1:] == ["--serve"]:
    _serve()
