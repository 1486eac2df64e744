"""Questions and their programs in, execution matrices out: the one place where this package meets `acesandbox`.

All programs of a question are handed over one after the other, so that its tests are read once. Verdicts come back in
the same order; as soon as a question has its last one, its rows are written. Programs that are equal to the letter are
run once per question and share the result: a program's verdict depends on its text alone, and models repeat themselves.

What is no program's fault stops the build: a program that the sandbox could not judge is tried once more, and then
`JudgingFailed` is raised. It is never written down as a wrong answer.

A matrix is the same bytes on every run, as far as the programs' own behaviour allows (one that draws random numbers or
reads the clock may pass today and fail tomorrow; `filter.flaky` looks for its tests). Messages are cleaned of what
differs from run to run: addresses, names of temporary files, numbers that are addresses (`id()`, thread identities).
A test that was cut because the program's budget ended, not at its own limit, had no fair try: how much was left for it
is chance, so it counts as "not_run", as those after it do.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from acesandbox import Asserts, Closed, IsolationUnavailable, Sandbox, SandboxError, Status, Verdict

from ._errors import JudgingFailed
from ._records import CPU, MATRIX

ROWS = 4096
RESULTS = 1 << 17
"""A batch is written when it has this many programs or results, at the end of the question."""

MAX_PROGRAM_BYTES = MAX_TEST_BYTES = 16 << 20
MAX_TESTS = 50_000
"""What a sandbox takes. Nothing a model writes comes near it; a file of somebody's may."""

STATUSES = tuple(status.value for status in Status)
MODES = ("none", "plan", "proxy", "shared", "stdio", "broken")
_CODES = {status: code for code, status in enumerate(Status)}
_MODE_CODES = {mode: code for code, mode in enumerate(MODES)}
_NOT_RUN = _CODES[Status.NOT_RUN]
_BUDGET_SPENT = "the CPU time of all tests together was spent"


class Program(NamedTuple):
    """One program of a question; `program` is None where the answer held no code."""

    model: str
    completion_id: int
    program: str | None


class Item(NamedTuple):
    """A question with all its programs."""

    id: str
    order: int
    tests: Sequence[str]
    entry_point: str | None
    programs: Sequence[Program | tuple[str, int, str | None]]


class Judged(NamedTuple):
    """Rows of MATRIX and, row for row, of CPU."""

    matrix: pa.RecordBatch
    cpu: pa.RecordBatch


def judge_questions(
    items: Iterable[Item | tuple[Any, ...]], sandbox: Sandbox, *, rows: int = ROWS, results: int = RESULTS
) -> Iterator[Judged]:
    """Judges every program of every question against all its tests.

    Args:
        items: questions in the order in which their rows are to be written; taken as the sandbox has room.
        sandbox: its limits and policies decide. One with `fail_fast` leaves "not_run" behind the first failure.
        rows, results: a batch ends with the question that brings it to so many programs or results.

    Yields:
        Batches of whole questions. A program that is None has only "not_run", judged in mode "none", without message.
        One that no sandbox takes (longer than 16 MiB) too, with a message. Questions without programs have no rows.

    Raises:
        JudgingFailed: the sandbox failed twice at one program.
        IsolationUnavailable, Closed: there is no sandbox to judge in.
    """
    work = _Work(items)
    made = _Batch()
    outcomes: Iterator[Any] = sandbox.judge_many(work.jobs(), dedupe=False, return_errors=True)
    for outcome in outcomes:
        opened, place = work.next()
        verdict = _again(sandbox, opened, place, outcome) if isinstance(outcome, SandboxError) else outcome
        opened.results[place] = _result(verdict, len(opened.tests), sandbox.limits.cpu_s)
        opened.missing -= 1
        for done in work.finished():
            made.add(done)
            if made.rows >= rows or len(made.statuses) >= results:
                yield made.take()
    for done in work.finished():
        made.add(done)
    if made.rows:
        yield made.take()


class _Result(NamedTuple):
    """What came of one program, test by test, in the form in which columns take it."""

    statuses: bytes
    modes: bytes
    sealed: bytes
    messages: list[str | None]
    cpu_us: list[int]


@dataclass(slots=True)
class _Open:
    """A question on its way: its distinct programs, and what is known of them."""

    item: Item
    tests: Sequence[str]
    asserts: Asserts | None
    places: list[int | None] = field(default_factory=list)  # each row's place among the distinct programs
    programs: list[str] = field(default_factory=list)
    results: list[_Result | None] = field(default_factory=list)
    missing: int = 0


class _Work:
    """Turns questions into jobs, and remembers for which program the next verdict is."""

    def __init__(self, items: Iterable[Item | tuple[Any, ...]]) -> None:
        self._items = items
        self._open: deque[_Open] = deque()
        self._sent: deque[tuple[_Open, int]] = deque()

    def jobs(self) -> Iterator[tuple[str, Asserts]]:
        for given in self._items:
            item = Item(*given)
            if not item.programs:
                continue
            opened = _opened(item)
            self._open.append(opened)
            for place, program in enumerate(opened.programs):
                if opened.results[place] is None and opened.asserts is not None:
                    self._sent.append((opened, place))
                    yield program, opened.asserts

    def next(self) -> tuple[_Open, int]:
        return self._sent.popleft()

    def finished(self) -> Iterator[_Open]:
        while self._open and not self._open[0].missing:
            yield self._open.popleft()


def _opened(item: Item) -> _Open:
    tests = tuple(item.tests)
    trouble = _refused(tests)
    asserts = None if trouble or not tests else Asserts(tests, entry_point=item.entry_point)
    opened = _Open(item, tests, asserts)
    known: dict[str, int] = {}
    for row in item.programs:
        program = row[2]
        if program is None:
            opened.places.append(None)
            continue
        place = known.get(program)
        if place is None:
            place = known[program] = len(opened.programs)
            opened.programs.append(program)
            why = trouble or _too_long(program, MAX_PROGRAM_BYTES, "the program")
            if why or asserts is None:
                opened.results.append(_not_run(len(tests), why))
            else:
                opened.results.append(None)
                opened.missing += 1
        opened.places.append(place)
    return opened


def _refused(tests: Sequence[str]) -> str:
    if len(tests) > MAX_TESTS:
        return f"{len(tests):,} tests; a sandbox takes {MAX_TESTS:,} of one question"
    return next((why for test in tests if (why := _too_long(test, MAX_TEST_BYTES, "a test"))), "")


def _too_long(text: str, limit: int, what: str) -> str:
    if len(text) * 4 <= limit:
        return ""
    size = len(text.encode("utf-8", "surrogatepass"))
    return f"{what} is {size:,} bytes long; a sandbox takes {limit:,}" if size > limit else ""


def _not_run(tests: int, why: str) -> _Result:
    return _Result(bytes([_NOT_RUN]) * tests, bytes(tests), bytes(tests), [why or None] * tests, [0] * tests)


def _again(sandbox: Sandbox, opened: _Open, place: int, first: SandboxError) -> Verdict:
    if isinstance(first, (IsolationUnavailable, Closed)):
        raise first
    assert opened.asserts is not None
    try:
        return sandbox.judge(opened.programs[place], opened.asserts)
    except SandboxError as second:
        row = opened.item.programs[opened.places.index(place)]
        raise JudgingFailed(
            f"question {opened.item.id}, completion {row[1]} of {row[0]}: the sandbox could not judge it, twice: "
            f"{second}; nothing was written down for it, and the same command tries again"
        ) from second


def _result(verdict: Verdict, tests: int, cpu_s: float) -> _Result:
    found = verdict.tests
    if len(found) != tests:
        raise JudgingFailed(f"the sandbox gave {len(found)} results for {tests} tests: a fault of its own")
    statuses = bytearray()
    messages: list[str | None] = []
    for test in found:
        status = test.status
        statuses.append(_CODES[status])
        if status is Status.PASSED:
            messages.append(None)
        elif status is Status.CPU_TIMEOUT and _cut_short(test.message, cpu_s):
            statuses[-1] = _NOT_RUN
            messages.append(_BUDGET_SPENT)
        elif status is Status.NOT_RUN:
            messages.append(_BUDGET_SPENT)
        else:
            messages.append(clean(test.message) or None)
    return _Result(
        bytes(statuses),
        bytes([_MODE_CODES.get(test.mode, 0) for test in found]),
        bytes([test.sealed for test in found]),
        messages,
        [min(round(test.cpu_s * 1e6), 0xFFFFFFFF) for test in found],
    )


_TEST_TOOK = re.compile(r"the test took more than ([0-9.e+-]+) s of CPU time")


def _cut_short(message: str, cpu_s: float) -> bool:
    """Whether a test was ended before its own limit. The message has six digits of the time it was given."""
    found = _TEST_TOOK.fullmatch(message)
    return found is not None and float(found[1]) < cpu_s * (1 - 1e-5)


# ---- messages ----

# "<__main__.Node object at 0x7f31c2a5d0>"; where a long value was cut, the address may be cut too.
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+|\b0x[0-9a-fA-F]{9,16}\b")
# What tempfile makes unless it is given a prefix of the program's own.
_TEMPORARY = re.compile(r"/tmp/tmp[a-z0-9_]{8}\b")
# Numbers of 14 and 15 digits where Linux places objects: heap and mappings of x86-64 and of arm64.
_NUMBER = re.compile(r"(?<![\w.])\d{14,15}(?![\w.])")
_PLACES = (
    range(0x5500_0000_0000, 0x5800_0000_0000),
    range(0x7E00_0000_0000, 0x8000_0000_0000),
    range(0xAAAA_0000_0000, 0xAC00_0000_0000),
    range(0xFE00_0000_0000, 0x1_0000_0000_0000),
)


def _number(found: re.Match[str]) -> str:
    value = int(found[0])
    return "<address>" if any(value in place for place in _PLACES) else found[0]


def clean(message: str) -> str:
    """A message without what differs from run to run; lone surrogates, which no file takes, are written out."""
    if not message.isascii():
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
    if "0x" in message:
        message = _ADDRESS.sub(lambda found: "at 0x..." if found[0].startswith("at") else "0x...", message)
    if "/tmp/" in message:
        message = _TEMPORARY.sub("/tmp/tmp...", message)
    return _NUMBER.sub(_number, message)


# ---- columns ----


class _Batch:
    """Rows on their way into Arrow."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.rows = 0
        self.ids: list[str] = []
        self.orders = array("q")
        self.models: list[str] = []
        self.completions = array("q")
        self.lengths = array("i", [0])
        self.statuses = bytearray()
        self.modes = bytearray()
        self.sealed = bytearray()
        self.messages: list[str | None] = []
        self.cpu = array("I")

    def add(self, done: _Open) -> None:
        blank = _not_run(len(done.tests), "")
        for row, place in zip(done.item.programs, done.places, strict=True):
            result = blank if place is None else done.results[place]
            assert result is not None
            self.rows += 1
            self.ids.append(done.item.id)
            self.orders.append(done.item.order)
            self.models.append(row[0])
            self.completions.append(row[1])
            self.statuses += result.statuses
            self.modes += result.modes
            self.sealed += result.sealed
            self.messages += result.messages
            self.cpu.extend(result.cpu_us)
            self.lengths.append(len(self.statuses))

    def take(self) -> Judged:
        offsets = pa.array(np.frombuffer(self.lengths, np.int32))
        columns = {
            "id": pa.array(self.ids, pa.string()),
            "order": pa.array(np.frombuffer(self.orders, np.int64)),
            "model": pa.array(self.models, pa.string()),
            "completion_id": pa.array(np.frombuffer(self.completions, np.int64)),
            "statuses": _names(self.statuses, STATUSES),
            "sealed": pa.array(np.frombuffer(self.sealed, np.uint8).astype(np.bool_)),
            "modes": _names(self.modes, MODES),
            "messages": pa.array(self.messages, pa.large_string()),
        }
        for name in ("statuses", "sealed", "modes", "messages"):
            columns[name] = pa.ListArray.from_arrays(offsets, columns[name], type=MATRIX.field(name).type)
        cpu = pa.array(np.frombuffer(self.cpu, np.uint32))
        timed = pa.record_batch(
            [
                columns["order"],
                columns["completion_id"],
                pa.ListArray.from_arrays(offsets, cpu, type=CPU.field("cpu_us").type),
            ],
            schema=CPU,
        )
        made = Judged(pa.record_batch([columns[name] for name in MATRIX.names], schema=MATRIX), timed)
        self._clear()
        return made


def _names(codes: bytearray, names: Sequence[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(np.frombuffer(codes, np.int8)), pa.array(names))
