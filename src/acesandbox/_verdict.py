"""What is said about a program: built lazily, because most of it is never looked at.

A worker's `V` frame is kept as the bytes it came in. Whether the program passed is read from them at a few hundred
nanoseconds per test; `TestResult` objects, texts and messages come into being when they are asked for.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ._errors import ProtocolError
from ._status import STATUSES, Status
from ._tests import Tests
from ._wire import (
    STDERR_TRUNCATED,
    STDOUT_TRUNCATED,
    TEST_DETAIL_VALUE,
    TEST_HEAD,
    TEST_NEAR_LIMIT,
    TEST_ORIGIN_TEST,
    VERDICT_HEAD,
)

_MB = 1 << 20
_MAX_REPR = 300

Way = tuple[bool, str, str, str]  # how a test is judged: sealed, mode, why, oracle
_UNKNOWN_WAY: Way = (False, "unknown", "", "none")


class UnitInfo:
    """What the judge said about a problem's tests before any program was loaded (frame `I`); shared by verdicts."""

    __slots__ = ("_parsed", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._parsed: list[Way] | None = None

    def ways(self) -> list[Way]:
        """How each test is judged."""
        if self._parsed is None:
            try:
                self._parsed = [
                    (
                        bool(said.get("sealed", False)),
                        str(said.get("mode", "unknown")),
                        str(said.get("why", "")),
                        str(said.get("oracle", "none")),
                    )
                    for said in json.loads(self._text)["tests"]
                ]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ProtocolError(
                    f"a judge described its tests in a way that cannot be read: {error}"
                ) from None
        return self._parsed


NO_INFO = UnitInfo(b'{"tests": []}')


class TestResult:
    """What came of one test.

    Attributes:
        status: see `Status`.
        passed: whether the status is `passed`.
        message: what happened, in a line or a few: the exception and the program's line, or the value it returned.
        cpu_s: CPU seconds of this test.
        sealed: no test text or expected value was within the program's reach, and nothing but the entry point came
            from the program.
        mode: how it was judged: "plan", "proxy", "shared", "stdio" or "broken" (the test itself cannot be read).
        why: why it was not sealed; empty when it was.
        oracle: what the test took from the program: "entry_point", "program" (more than that) or "none".
        origin: whose fault it is when it did not pass: "program" or "test".
        near_limit: a limit was close, so that a slightly other machine may say otherwise.
        number: the signal, system call or exit code that belongs to the status; 0 where none does.
        test: the test's own text, as it was given (of a stdio case its input). Not in `to_dict`.
    """

    __test__ = False  # not a test case for pytest
    __slots__ = (
        "cpu_s",
        "message",
        "mode",
        "near_limit",
        "number",
        "oracle",
        "origin",
        "sealed",
        "status",
        "test",
        "why",
    )

    def __init__(
        self,
        status: Status,
        message: str,
        cpu_s: float,
        sealed: bool,
        mode: str,
        why: str,
        oracle: str,
        origin: str,
        near_limit: bool,
        number: int,
        test: str = "",
    ) -> None:
        self.status = status
        self.message = message
        self.cpu_s = cpu_s
        self.sealed = sealed
        self.mode = mode
        self.why = why
        self.oracle = oracle
        self.origin = origin
        self.near_limit = near_limit
        self.number = number
        self.test = test

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED

    def to_dict(self) -> dict[str, Any]:
        """All of it but the test's text, ready for JSON."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "test"}
        values["status"] = self.status.value
        return values

    def __repr__(self) -> str:
        text = f"TestResult({self.status.value}, {self.mode}{'' if self.sealed else ', not sealed'}"
        return f"{text}, {self.message[:80]!r})" if self.message else text + ")"


class Verdict:
    """What came of one program against its tests. `bool(verdict)` is not defined: say `verdict.passed`.

    Attributes:
        isolation: the tier it was judged in: "namespaces", "seccomp" or "none".
    """

    __slots__ = ("_first_test", "_head", "_info", "_payload", "_results", "_statuses", "_tests", "isolation")

    def __init__(self, payload: bytes, tests: Tests | None, info: UnitInfo, isolation: str) -> None:
        self._payload = payload
        self._tests = tests
        self._info = info
        self.isolation = isolation
        self._head: tuple[Any, ...] | None = None
        self._first_test = 0
        self._statuses: tuple[Status, ...] | None = None
        self._results: tuple[TestResult, ...] | None = None

    def __bool__(self) -> bool:
        raise TypeError("a Verdict has no truth value: use verdict.passed or verdict.pass_rate")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._payload, self._tests, self._info, self.isolation)

    # What the payload holds, layer by layer.

    def _header(self) -> tuple[Any, ...]:
        """(unit, program, tests, cpu_s, wall_s, peak, players, flags, exit code, 0, stdout, stderr)"""
        if self._head is None:
            payload = self._payload
            try:
                head = VERDICT_HEAD.unpack_from(payload)
                at = VERDICT_HEAD.size
                size = int.from_bytes(payload[at : at + 4], "little")
                stdout = payload[at + 4 : at + 4 + size]
                at += 4 + size
                size = int.from_bytes(payload[at : at + 4], "little")
                stderr = payload[at + 4 : at + 4 + size]
                at += 4 + size
            except Exception as error:
                raise ProtocolError(f"a verdict that cannot be read: {error}") from None
            if at > len(payload):
                raise ProtocolError("a verdict that ends too early")
            self._head = (*head, stdout, stderr)
            self._first_test = at
        return self._head

    def _test_statuses(self) -> tuple[Status, ...]:
        if self._statuses is None:
            count = self._header()[2]
            at = self._first_test
            payload = self._payload
            unpack, size = TEST_HEAD.unpack_from, TEST_HEAD.size
            found = []
            try:
                for _ in range(count):
                    code, _flags, _number, _cpu, detail = unpack(payload, at)
                    found.append(STATUSES[code])
                    at += size + detail
            except Exception as error:
                raise ProtocolError(f"a verdict that cannot be read: {error}") from None
            if at != len(payload):
                raise ProtocolError("a verdict of the wrong length")
            self._statuses = tuple(found)
        return self._statuses

    # What is said.

    @property
    def passed(self) -> bool:
        """Every test passed."""
        return all(status is Status.PASSED for status in self._test_statuses())

    @property
    def pass_rate(self) -> float:
        """Passed tests / tests, from 0 to 1."""
        statuses = self._test_statuses()
        return statuses.count(Status.PASSED) / len(statuses) if statuses else 0.0

    @property
    def status(self) -> Status:
        """`passed`, or the status of the first test that was run and did not pass."""
        rest = [status for status in self._test_statuses() if status is not Status.PASSED]
        return next(
            (status for status in rest if status is not Status.NOT_RUN), rest[0] if rest else Status.PASSED
        )

    @property
    def tests(self) -> tuple[TestResult, ...]:
        """One result per test, in the order given."""
        if self._results is None:
            self._results = self._build()
        return self._results

    @property
    def sealed(self) -> bool:
        """Every test was judged sealed."""
        ways = self._info.ways()
        return len(ways) >= len(self._test_statuses()) and all(sealed for sealed, *_ in ways)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all the program's processes."""
        return float(self._header()[3])

    @property
    def wall_s(self) -> float:
        """Seconds by the clock on the wall, first process to last verdict."""
        return float(self._header()[4])

    @property
    def peak_memory_mb(self) -> float:
        """Most memory in use, in megabytes (2**20 bytes), above what an empty program uses."""
        return float(self._header()[5]) / _MB

    @property
    def players(self) -> int:
        """How many processes it took: one, and more after tests that did not end."""
        return int(self._header()[6])

    @property
    def stdout(self) -> str:
        """What the program printed, capped at `output_kb`; empty unless the sandbox keeps output."""
        return str(self._header()[10], "utf-8", "replace")

    @property
    def stderr(self) -> str:
        """As `stdout`, for standard error."""
        return str(self._header()[11], "utf-8", "replace")

    @property
    def truncated(self) -> bool:
        """Output was longer than `output_kb`."""
        return bool(self._header()[7] & (STDOUT_TRUNCATED | STDERR_TRUNCATED))

    @property
    def problem(self) -> Tests | None:
        """The tests it was judged against, as they were given."""
        return self._tests

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "sealed": self.sealed,
            "status": self.status.value,
            "isolation": self.isolation,
            "tests": [test.to_dict() for test in self.tests],
            "cpu_s": self.cpu_s,
            "wall_s": self.wall_s,
            "peak_memory_mb": self.peak_memory_mb,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "truncated": self.truncated,
        }

    def __repr__(self) -> str:
        statuses = self._test_statuses()
        passed = statuses.count(Status.PASSED)
        return f"Verdict({self.status.value}, {passed}/{len(statuses)} tests, sealed={self.sealed})"

    def _build(self) -> tuple[TestResult, ...]:
        # Datasets and rewards ask for it a million times: nothing is looked up twice.
        ways = self._info.ways()
        texts = self._tests._texts() if self._tests is not None else ()
        payload, at, unpack, head = self._payload, self._first_test, TEST_HEAD.unpack_from, TEST_HEAD.size
        results = []
        for number in range(len(self._test_statuses())):
            code, flags, value, cpu_s, size = unpack(payload, at)
            at += head
            message = ""
            if size or flags & TEST_DETAIL_VALUE:
                detail = payload[at : at + size]
                message = _shown(detail) if flags & TEST_DETAIL_VALUE else str(detail, "utf-8", "replace")
                at += size
            sealed, mode, why, oracle = ways[number] if number < len(ways) else _UNKNOWN_WAY
            results.append(
                TestResult(
                    STATUSES[code],
                    message,
                    cpu_s,
                    sealed,
                    mode,
                    why,
                    oracle,
                    "test" if flags & TEST_ORIGIN_TEST else "program",
                    bool(flags & TEST_NEAR_LIMIT),
                    value,
                    texts[number] if number < len(texts) else "",
                )
            )
        return tuple(results)


@lru_cache(maxsize=1024)  # programs of one problem go wrong in the same ways
def _shown(detail: bytes) -> str:
    """What the program returned, as text. Nothing is built from the bytes: they are the program's, and may be cut."""
    from .guest.codec import shown

    return f"returned {shown(detail, _MAX_REPR)}"


class RunResult:
    """What came of a whole script (`Sandbox.run`).

    Attributes:
        status: `passed` when it ended by itself with exit code 0, else what ended it.
        exit_code: its exit code; -n when signal n ended it.
        stdout, stderr: what it printed, each capped at `output_kb`.
        truncated: some output was dropped.
        message: what happened when it did not end well.
        cpu_s, wall_s: CPU seconds of all its processes, and seconds by the clock on the wall.
        peak_memory_mb: most memory in use, in megabytes (2**20 bytes), above what an empty program uses.
        isolation: the tier it ran in.
    """

    __slots__ = (
        "cpu_s",
        "exit_code",
        "isolation",
        "message",
        "peak_memory_mb",
        "status",
        "stderr",
        "stdout",
        "truncated",
        "wall_s",
    )

    def __init__(self, verdict: Verdict) -> None:
        test = verdict.tests[0] if verdict.tests else None
        self.status = verdict.status
        self.exit_code = int(verdict._header()[8])
        self.stdout = verdict.stdout
        self.stderr = verdict.stderr
        self.truncated = verdict.truncated
        self.message = test.message if test else ""
        self.cpu_s = verdict.cpu_s
        self.wall_s = verdict.wall_s
        self.peak_memory_mb = verdict.peak_memory_mb
        self.isolation = verdict.isolation

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values["status"] = self.status.value
        return values

    def __repr__(self) -> str:
        return f"RunResult({self.status.value}, exit_code={self.exit_code}, stdout={self.stdout[:60]!r})"
