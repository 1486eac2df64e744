"""A supervisor in Python, for tests of the guest's Python files: real frames, real processes, no jail.

    this process ── socketpair ── player (a fork running `guest/player.py`)
        │    └───── socketpair ── test process (a fork running `guest/proxy.py`)
        └ plans and decides with `guest/judge.py` directly

It knows one player per program, a wall clock per test and no second pass; what the jail adds is tested elsewhere.
"""

from __future__ import annotations

import json
import marshal
import os
import select
import signal
import socket
import struct
import sys
import time
import types
from dataclasses import dataclass
from typing import Any

STATUSES = (
    *(
        "passed",
        "failed",
        "error",
        "syntax_error",
        "missing_module",
        "cpu_timeout",
        "wall_timeout",
        "memory_limit",
    ),
    *("output_limit", "process_limit", "killed", "blocked_syscall", "exited", "not_run"),
)
CONTROL = 3


def _read_exactly(fd: int, count: int) -> bytes | None:
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_frame(fd: int) -> tuple[int, int, int, bytes, tuple[int, ...]] | None:
    head = _read_exactly(fd, 8)
    if head is None:
        return None
    length, kind, flags, index = struct.unpack("<IBBH", head)
    payload = _read_exactly(fd, length)
    return None if payload is None else (kind, flags, index, payload, ())


def write_frame(fd: int, kind: int, flags: int, index: int, *parts: bytes) -> None:
    data = memoryview(struct.pack("<IBBH", sum(map(len, parts)), kind, flags, index) + b"".join(parts))
    while data:
        data = data[os.write(fd, data) :]


def guest() -> types.SimpleNamespace:
    """The guest's modules; where the native part is not built, frames go through this file."""
    try:
        import acesandbox.guest._native
    except ImportError:
        stand_in: Any = types.ModuleType("acesandbox.guest._native")
        stand_in.read_frame, stand_in.write_frame = read_frame, write_frame
        sys.modules["acesandbox.guest._native"] = stand_in
        import acesandbox.guest

        acesandbox.guest._native = stand_in  # type: ignore[attr-defined]
    from acesandbox.guest import codec, judge, plan, player, proxy

    return types.SimpleNamespace(codec=codec, judge=judge, plan=plan, player=player, proxy=proxy)


@dataclass
class Result:
    """What became of one test."""

    status: str
    text: str = ""
    of_test: bool = False
    mode: str = ""
    oracle: str = ""
    why: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


class Child:
    """A forked process that serves frames on its fd 3."""

    def __init__(self, serve: Any, said: list[bytes] | None = None) -> None:
        self._said = said
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setpgid(0, 0)
                os.dup2(theirs.fileno(), 63)
                os.closerange(3, 63)
                os.dup2(63, CONTROL)
                os.close(63)
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):
                    os.dup2(null, fd)
                # pytest's own streams write to descriptors that are closed here
                sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
                serve()
            except BaseException:
                os._exit(99)
            os._exit(0)
        theirs.close()
        self.socket = ours
        self.fd = ours.fileno()

    def send(self, kind: str, index: int, payload: bytes = b"", flags: int = 0) -> None:
        if self._said is not None:
            self._said.append(payload)
        try:
            write_frame(self.fd, ord(kind), flags, index, payload)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self, seconds: float) -> tuple[str, int, int, bytes] | None:
        """The next frame; None when the process is gone. Raises TimeoutError."""
        if not select.select([self.fd], [], [], max(0.0, seconds))[0]:
            raise TimeoutError
        try:
            frame = read_frame(self.fd)
        except ConnectionResetError:
            return None
        return None if frame is None else (chr(frame[0]), frame[1], frame[2], frame[3])

    def end(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        self.socket.close()


def _decode_text(payload: bytes) -> str:
    return payload.decode("utf-8", "replace")


class Pretend:
    """Judges programs of one problem."""

    def __init__(self, problem: dict[str, Any], seconds: float = 5.0) -> None:
        self.guest = guest()
        self.seconds = seconds
        self._said: list[bytes] = []
        self.skip: set[int] = set()
        self.plan = self.guest.plan.make_plan(json.loads(json.dumps(problem)))
        self.plan_bytes = self.plan.to_bytes()
        if any(test.mode == self.guest.plan.PROXY for test in self.plan.tests):
            self.guest.proxy.prepare(self.plan)

    @property
    def said_to_player(self) -> bytes:
        """Everything that any player was ever sent."""
        return b"\n".join(self._said)

    def judge(self, program: str) -> list[Result]:
        plan = self.plan
        names = self.guest.plan.MODE_NAMES
        results = [Result("not_run", mode=names[t.mode], oracle=t.oracle, why=t.why) for t in plan.tests]
        player = Child(self.guest.player.play, self._said)
        tester: Child | None = None
        try:
            setup = marshal.dumps(plan.setup, 2)
            data = program.encode("utf-8", "surrogatepass")
            blobs = len(setup).to_bytes(4, "little") + setup + len(data).to_bytes(4, "little") + data
            player.send("P", 0, blobs)
            try:
                answer = player.receive(self.seconds)
            except TimeoutError:
                answer = ("X", 5, 0xFFFF, b"\0\0\0\0timeout at load")
            if answer is None or answer[0] != "L":
                status, text = (
                    (STATUSES[answer[1]], _decode_text(answer[3][4:])) if answer else ("killed", "at load")
                )
                for result, test in zip(results, plan.tests):
                    result.status, result.text = status, text
                    if test.mode == self.guest.plan.BROKEN:
                        self._broken(result, test)
                return results
            for number, test in enumerate(plan.tests):
                result = results[number]
                if number in self.skip:
                    continue
                if test.mode == self.guest.plan.BROKEN:
                    self._broken(result, test)
                    continue
                try:
                    if test.mode == self.guest.plan.PROXY:
                        if tester is None:
                            tester = Child(lambda: self.guest.proxy.serve(plan))
                        alive = self._proxied(tester, player, number, result)
                    else:
                        alive = self._asked(player, number, test, result)
                except TimeoutError:
                    result.status, alive = "cpu_timeout", False
                if not alive:
                    break
            return results
        finally:
            player.end()
            if tester is not None:
                tester.end()

    def _broken(self, result: Result, test: Any) -> None:
        result.status, result.text, result.of_test = STATUSES[test.status], _decode_text(test.expected), True

    def _asked(self, player: Child, number: int, test: Any, result: Result) -> bool:
        player.send("R" if test.mode == self.guest.plan.PLAN else "X", number, test.request)
        answer = player.receive(self.seconds)
        if answer is None:
            result.status = "killed"
            return False
        kind, flags, _, payload = answer
        if kind == "V":
            value = payload[4:]
            if test.compare and value == test.expected:
                result.status = "passed"
            elif test.compare == self.guest.plan.STRICT and flags & 1:
                result.status = "failed"
            else:
                status, result.text = self.guest.judge.decide(self.plan, number, value)
                result.status = STATUSES[status]
            # The judge must say the same as the comparison of bytes, whenever it is asked.
            assert STATUSES[self.guest.judge.decide(self.plan, number, value)[0]] == result.status
        else:
            result.status, result.text = STATUSES[flags], _decode_text(payload[4:])
        return True

    def _proxied(self, tester: Child, player: Child, number: int, result: Result) -> bool:
        deadline = time.monotonic() + self.seconds
        tester.send("G", number)
        while True:
            frame = tester.receive(deadline - time.monotonic())
            if frame is None:
                result.status, result.text = "error", "the test process died"
                return False
            kind, flags, index, payload = frame
            if kind == "T":
                result.status, result.of_test = STATUSES[flags], bool(payload[0])
                result.text = _decode_text(payload[1:])
                return True
            player.send("C", index, payload)
            answer = player.receive(deadline - time.monotonic())
            if answer is None:
                result.status, result.text = "killed", "the player died during a call"
                return False
            tester.send("A", answer[2], answer[3])


def judge(
    program: str,
    kind: str,
    tests: list[Any],
    entry_point: str | None = None,
    prompt: str | None = None,
    seconds: float = 5.0,
    **options: Any,
) -> list[Result]:
    """Judge one program, in one call."""
    problem = {"kind": kind, "tests": tests, "entry_point": entry_point, "prompt": prompt, **options}
    return Pretend(problem, seconds).judge(program)
