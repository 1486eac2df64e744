"""Compares the sandbox with the plain judge and sorts every difference into a class.

Both judge the same rows; what is compared is whether a test passed. Set aside, and counted, are tests that run out of
time in the plain judge and what it did not run after them: there the reference itself has nothing to say.

A class is decided by a rule that a reader can check (`CLASSES`), from the program, the test and what both judges said,
never from a list of row numbers. A difference in no class is unexplained, and a test fails on it.

Every difference is judged `LOOKS` more times by both judges. Where the plain judge contradicts itself, the test depends
on the moment. Where only the sandbox does, and the plain judge not even in `MANY_LOOKS`, our verdict was wrong once:
that has a class of its own, which excuses nothing.

The plain judge takes minutes on thousands of rows, mostly over hanging programs, so its outcomes are kept in the user's
cache, keyed by the content of the rows and of `plain_judge.py` itself.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acesandbox import Limits, Sandbox
from tests import plain_judge, workloads
from tests.plain_judge import Outcome, PlainJudge

Row = workloads.Row


@dataclass(frozen=True)
class Difference:
    """One test on which the judges disagree."""

    row: Row
    test: int
    plain: Outcome
    status: str
    message: str
    mode: str
    plain_again: tuple[bool, ...] = ()
    """Whether the test passed when the plain judge looked again."""
    ours_again: tuple[bool, ...] = ()
    """The same of the sandbox."""

    @property
    def plain_varies(self) -> bool:
        return any(passed != self.plain.passed for passed in self.plain_again)

    @property
    def ours_varies(self) -> bool:
        return any(passed == self.plain.passed for passed in self.ours_again)

    @property
    def text(self) -> str:
        return str(self.row["tests"][self.test])

    @property
    def in_short(self) -> str:
        """For a page: no word of the test or of what it printed, which are not ours to publish."""
        kinds = [
            re.findall(r"\b[A-Z]\w*(?:Error|Exception)\b", said) for said in (self.plain.detail, self.message)
        ]
        plain, ours = (f" ({found[-1]})" if found else "" for found in kinds)
        name = f"{self.row['task_id']} test {self.test} [{self.mode}]"
        return f"{name}: plain {self.plain.status}{plain}, sandbox {self.status}{ours}; {self.again}"

    @property
    def again(self) -> str:
        looks = ((self.plain_again, "plain"), (self.ours_again, "sandbox"))
        return "passed again " + ", ".join(f"{sum(seen)} of {len(seen)} ({who})" for seen, who in looks)

    def __str__(self) -> str:
        head = f"{self.row['task_id']} (sample {self.row.get('sample', '-')}) test {self.test} [{self.mode}]"
        return (
            f"{head}: plain {self.plain.status} ({self.plain.detail[-100:]!r}), sandbox {self.status} "
            f"({self.message[-160:]!r}); {self.again}"
        )


@dataclass
class Agreement:
    """What came of comparing one workload."""

    name: str
    programs: int = 0
    tests: int = 0
    aside: int = 0
    agreed: int = 0
    differences: dict[str, list[Difference]] = field(default_factory=lambda: collections.defaultdict(list))
    modes: collections.Counter[str] = field(default_factory=collections.Counter)
    sealed: int = 0
    by_program_oracle: int = 0
    unsealed_because: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def share(self) -> float:
        compared = self.tests - self.aside
        return self.agreed / compared if compared else 1.0

    @property
    def sealed_share(self) -> float:
        return self.sealed / self.tests if self.tests else 1.0

    @property
    def unexplained(self) -> list[Difference]:
        """In no class."""
        return self.differences.get(UNEXPLAINED, [])

    @property
    def wrong_once(self) -> list[Difference]:
        """Verdicts of ours that did not repeat, although the plain judge's did."""
        return self.differences.get(WRONG_ONCE, [])


UNEXPLAINED = "unexplained"
MOMENT = "depends on the moment"
WRONG_ONCE = "our verdict did not repeat"
LOOKS, MANY_LOOKS = 3, 20

# Unit tests sleep up to a minute, start threads and processes, and compute for up to ten seconds; the plain judge gives
# them as much CPU time, and twenty times that by the wall.
UNIT_TEST_LIMITS = Limits(cpu_s=20.0, program_cpu_s=20.0, judge_cpu_s=20.0, idle_s=100.0, processes=32)

Rule = Callable[[Difference], bool]


def _uses(*patterns: str) -> Rule:
    found = re.compile("|".join(patterns))
    return lambda difference: bool(found.search(difference.row["program"]))


# First match counts. Each says in docs/fidelity.md why the judges may disagree there.
CLASSES: dict[str, Rule] = {
    MOMENT: lambda d: d.plain_varies,
    WRONG_ONCE: lambda d: d.ours_varies,
    "ran out of a budget": lambda d: (
        d.status
        in ("cpu_timeout", "wall_timeout", "memory_limit", "output_limit", "process_limit", "not_run")
    ),
    "depends on randomness": _uses(
        r"\brandom\.", r"\brandint\b", r"\bshuffle\b", r"\buuid\b", r"\bsecrets\b"
    ),
    "identity of an object": lambda d: (
        d.row["test_kind"] == "asserts" and bool(re.search(r"\bis\b(?! (not )?None)|\bid\(", d.text))
    ),
    "depends on file permissions": lambda d: (
        d.row["test_kind"] == "unittest"
        and d.plain.status == "failed"
        and bool(re.search(r"\bchmod\b|permission", d.text))
    ),
}


def classify(difference: Difference) -> str:
    return next((name for name, rule in CLASSES.items() if rule(difference)), UNEXPLAINED)


def compare(name: str, rows: Sequence[Row], limits: Limits | None = None) -> Agreement:
    """Judge `rows` both ways."""
    # BigCodeBench's own harness lets programs start others, talk over loopback and use shared memory.
    unit_tests = rows[0]["test_kind"] == "unittest"
    limits = limits or (UNIT_TEST_LIMITS if unit_tests else Limits())
    reference = plain_outcomes(name, rows, seconds=limits.cpu_s)
    found = Agreement(name)
    jobs = ((row["program"], workloads.tests_of(row)) for row in rows)
    with Sandbox(limits=limits, profile="system" if unit_tests else "compute") as sandbox:
        for row, outcomes, verdict in zip(rows, reference, sandbox.judge_many(jobs), strict=True):
            found.programs += 1
            for number, (plain, ours) in enumerate(zip(outcomes, verdict.tests, strict=True)):
                found.tests += 1
                found.modes[ours.mode] += 1
                found.sealed += ours.sealed
                found.by_program_oracle += ours.oracle == "program"
                if not ours.sealed:
                    found.unsealed_because[ours.why] += 1
                if plain.status in ("timeout", "not_run"):
                    found.aside += 1
                elif plain.passed == ours.passed:
                    found.agreed += 1
                else:
                    again = _look_again(sandbox, row, number, limits.cpu_s, ours.passed)
                    difference = Difference(
                        row, number, plain, ours.status.value, ours.message, ours.mode, *again
                    )
                    found.differences[classify(difference)].append(difference)
    return found


def _look_again(
    sandbox: Sandbox, row: Row, number: int, seconds: float, first: bool
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Did test `number` pass, for the plain judge and for the sandbox, at each further look? `first`: as we said."""
    tests = workloads.tests_of(row)
    plain: list[bool] = []
    ours = [sandbox.judge(row["program"], tests).tests[number].passed for _ in range(LOOKS)]
    with PlainJudge() as judge:
        while len(plain) < LOOKS or (
            len(plain) < MANY_LOOKS and len({*plain, not first}) < 2 <= len({*ours, first})
        ):
            outcomes = judge.judge(
                row["program"], row["test_kind"], row["tests"], row["entry_point"], seconds
            )
            plain.append(outcomes[number].passed)
    return tuple(plain), tuple(ours)


def plain_outcomes(name: str, rows: Sequence[Row], seconds: float = 1.0) -> list[list[Outcome]]:
    """What the plain judge says of each row, from the cache if it has said so before."""
    digest = hashlib.sha256(Path(plain_judge.__file__).read_bytes())
    for row in rows:
        digest.update(json.dumps([row["program"], row["tests"], row["test_kind"], seconds]).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acesandbox-tests"
    kept = cache / f"plain-{name}-{digest.hexdigest()[:24]}.json"
    if kept.exists():
        return [[Outcome(*pair) for pair in outcomes] for outcomes in json.loads(kept.read_text())]
    with PlainJudge() as plain:
        found = [
            plain.judge(
                row["program"], row["test_kind"], row["tests"], row["entry_point"], seconds, max_hangs=2
            )
            for row in rows
        ]
    cache.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps([[[o.status, o.detail] for o in outcomes] for outcomes in found]))
    part.rename(kept)
    return found


def labelled(rows: Sequence[Row]) -> tuple[int, list[tuple[Row, Any]]]:
    """Agreement with the publisher's own verdicts: how many rows have one, and the rows on which we differ."""
    with_label = [row for row in rows if row.get("expected") is not None]
    jobs = ((row["program"], workloads.tests_of(row)) for row in with_label)
    with Sandbox() as sandbox:
        verdicts = list(sandbox.judge_many(jobs))
    return len(with_label), [
        (row, verdict)
        for row, verdict in zip(with_label, verdicts, strict=True)
        if verdict.passed != row["expected"]
    ]
