"""From a benchmark and samples to verdicts, and from verdicts to numbers.

    benchmark ──problem by problem──▶ jobs ──▶ acesandbox ──▶ Judged per sample ──▶ Evaluation ──▶ numbers, _table
    samples file, or a model ──▶ programs ──┘

- *greedy*: share of problems whose greedy sample passes.
- *average*: mean pass rate of the samples, which is pass@1.
- *oracle*: pass@k, by the unbiased estimator.
- *best of k*: share of problems whose sample with the highest score passes, as its expectation over all subsets of k
  samples. Scores come from the samples file or from a file or function of a reward model; or from synthetic tests
  (`score_by_tests`), by how many a program passes ("tests") or by how many programs agree on how many tests
  ("consensus", after CodeT: Chen et al., 2022).

A number is *of the benchmark* only when every task was attempted, every module that a task needs is there, and every
program was judged. While that is not so, the evaluation lists what is missing and has no headline number: a mean over
what happened to run would look like one.

A program is wrong as soon as one test fails, so judging stops there (`fail_fast`).
"""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acedata._errors import BadInput
from acesandbox import Asserts, Limits, Sandbox, SandboxError, Verdict
from acesandbox import BadInput as BadTests
from acesandbox._limits import WORKER_LEVEL
from acesandbox._tests import MAX_TEXT_BYTES

from ._benchmarks import Benchmark, Problem, Spec, key_of
from ._bootstrap import Interval, interval
from ._finite import finite
from ._pass_at_k import best_of_k, pass_at_k
from ._read_report import evaluation_from
from ._samples import Sample, Samples

NO_CODE = "no_code"
TOO_LONG = "too_long"
UNJUDGED = "unjudged"
BAD_TESTS = "bad_tests"
NOT_JUDGED = "missing_module_of_task"
UNKNOWN = frozenset({UNJUDGED, BAD_TESTS, NOT_JUDGED})
"""Statuses that say nothing about the program."""

Scorer = Callable[[Problem, Sequence[str | None]], Sequence[float]]
"""Scores the programs of a problem; None stands for a sample without a program."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one sample. `passed` is None where nothing can be said about it."""

    passed: bool | None
    status: str
    cpu_s: float = 0.0
    message: str = ""


@dataclass(slots=True)
class Task:
    """What came of one problem's samples."""

    task_id: str
    samples: list[Judged] = field(default_factory=list)
    greedy: Judged | None = None
    scores: dict[str, list[float]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many samples there are, the greedy one not among them."""
        return len(self.samples)

    @property
    def passed(self) -> list[bool]:
        """Whether each sample passed, in order; False too where nothing can be said (see `judged`)."""
        return [bool(one.passed) for one in self.samples]

    @property
    def judged(self) -> bool:
        """Whether something can be said about all of its samples."""
        every = [*self.samples, *([self.greedy] if self.greedy else [])]
        return all(one.passed is not None for one in every)


@dataclass(slots=True)
class Numbers:
    """The numbers of a benchmark, each with its interval.

    Attributes:
        greedy: None where there are no greedy samples.
        average: None where there are only greedy ones.
        oracle: pass@k by k.
        best_of: by name of the score, then by k.
    """

    greedy: Interval | None = None
    average: Interval | None = None
    oracle: dict[int, Interval] = field(default_factory=dict)
    best_of: dict[str, dict[int, Interval]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All of them, ready for JSON, each k as a text; null where there are no such samples."""
        return {
            "greedy": self.greedy and self.greedy.to_dict(),
            "average": self.average and self.average.to_dict(),
            "oracle": {str(k): value.to_dict() for k, value in self.oracle.items()},
            "best_of": {
                name: {str(k): value.to_dict() for k, value in by_k.items()}
                for name, by_k in self.best_of.items()
            },
        }


@dataclass(slots=True)
class Evaluation:
    """What came of a whole benchmark.

    Attributes:
        benchmark: its name.
        tasks: every problem of the benchmark, in its order; those without samples have none.
        missing_modules: module to the tasks that need it.
        unattempted: tasks without samples.
        notes: what a reader should know besides.
        generated: how the samples were asked for (model, prompt, sampling, tokens, dollars), where they were.
        unscored: tasks with a program that could not be judged by the synthetic tests, twice.
    """

    benchmark: str
    tasks: list[Task] = field(default_factory=list)
    missing_modules: dict[str, list[str]] = field(default_factory=dict)
    unattempted: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    generated: dict[str, Any] | None = None
    unscored: list[str] = field(default_factory=list)

    @property
    def unjudged(self) -> list[str]:
        """Tasks with a sample that could not be judged, twice, through no fault of its own."""
        return self._tasks_with(UNJUDGED)

    @property
    def uneven(self) -> str | None:
        """That some tasks have fewer samples than others, so that N ends early; None where it is not so."""
        counts = [task.n for task in self.tasks if task.n]
        if not counts or min(counts) == max(counts):
            return None
        return f"{min(counts)} to {max(counts)} samples per problem; N goes to {min(counts)}"

    def _tasks_with(self, status: str) -> list[str]:
        found = []
        for task in self.tasks:
            every = [*task.samples, *([task.greedy] if task.greedy else [])]
            if any(one.status == status for one in every):
                found.append(task.task_id)
        return found

    @property
    def reasons(self) -> list[str]:
        """Why there is no headline number; empty where there is one."""
        found = []
        if self.missing_modules:
            tasks = {task for listed in self.missing_modules.values() for task in listed}
            listed = ", ".join(
                f"{name} ({len(tasks_of)})" for name, tasks_of in sorted(self.missing_modules.items())
            )
            found.append(
                f"{len(tasks)} of {len(self.tasks)} tasks need modules that the interpreter lacks: {listed}"
            )
        if self.unattempted:
            found.append(
                f"{len(self.unattempted)} of {len(self.tasks)} tasks have no samples: {_few(self.unattempted)}"
            )
        # What one task has, the others must have too: a mean over some of them is not the benchmark's.
        sampled = [task.task_id for task in self.tasks if task.greedy is None and task.samples]
        greedy = [task.task_id for task in self.tasks if task.greedy is not None and not task.samples]
        if greedy and any(task.samples for task in self.tasks):
            found.append(f"samples are missing for {len(greedy)} tasks: {_few(greedy)}")
        if sampled and any(task.greedy for task in self.tasks):
            found.append(f"greedy samples are missing for {len(sampled)} tasks: {_few(sampled)}")
        for tasks_of, what in (
            (self.unjudged, "tasks could not be judged"),
            (self._tasks_with(BAD_TESTS), "tasks have tests that the programs' interpreter cannot read"),
            (self.unscored, "tasks could not be judged by the synthetic tests"),
        ):
            if tasks_of:
                found.append(f"{len(tasks_of)} {what}: {_few(tasks_of)}")
        return found

    @property
    def statuses(self) -> Counter[str]:
        """How samples ended, greedy ones among them."""
        return Counter(
            one.status
            for task in self.tasks
            for one in [*task.samples, *([task.greedy] if task.greedy else [])]
        )

    def headline(self) -> Numbers | None:
        """The benchmark's numbers; None while something is missing (see `reasons`)."""
        return None if self.reasons else self._numbers(self.tasks)

    def over_judged(self) -> Numbers:
        """The same over the tasks that could be judged: not the benchmark's numbers."""
        unscored = set(self.unscored)
        return self._numbers(
            [
                task
                for task in self.tasks
                if task.judged and (task.samples or task.greedy) and task.task_id not in unscored
            ]
        )

    def _numbers(self, tasks: list[Task]) -> Numbers:
        numbers = Numbers()
        if not tasks:
            return numbers
        if all(task.greedy is not None for task in tasks):
            numbers.greedy = interval([float(bool(task.greedy and task.greedy.passed)) for task in tasks])
        least = min(task.n for task in tasks)
        if not least:
            return numbers
        numbers.average = interval([sum(task.passed) / task.n for task in tasks])
        ks = ladder(least)
        for k in ks:
            numbers.oracle[k] = interval([pass_at_k(task.n, sum(task.passed), k) for task in tasks])
        names = set.intersection(*(set(task.scores) for task in tasks))
        for name in (name for name in tasks[0].scores if name in names):
            numbers.best_of[name] = {
                k: interval([best_of_k(task.scores[name], task.passed, k) for task in tasks]) for k in ks
            }
        return numbers

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON. `headline` is null while something is missing."""
        numbers = self.headline()
        return {
            "benchmark": self.benchmark,
            "problems": len(self.tasks),
            "headline": numbers and numbers.to_dict(),
            "over_judged": None if numbers else self.over_judged().to_dict(),
            "no_headline_because": self.reasons,
            "missing_modules": self.missing_modules,
            "unattempted": self.unattempted,
            "unscored": self.unscored,
            "notes": self.notes,
            "generated": self.generated,
            "statuses": dict(self.statuses.most_common()),
            "tasks": [
                {
                    "task_id": task.task_id,
                    "passed": [one.passed for one in task.samples],
                    "statuses": [one.status for one in task.samples],
                    "greedy": task.greedy and {"passed": task.greedy.passed, "status": task.greedy.status},
                    "scores": task.scores,
                }
                for task in self.tasks
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """What `to_dict` made.

        Raises:
            BadInput: it is not that; the message names the place.
        """
        return evaluation_from(values)


def ladder(n: int) -> list[int]:
    """1, 2, 4, … up to n, and n itself."""
    found = [1 << i for i in range(n.bit_length()) if 1 << i <= n]
    return found if found[-1] == n else [*found, n]


def open_sandbox(
    spec: Spec,
    *,
    python: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    fail_fast: bool = True,
) -> Sandbox:
    """A sandbox as a benchmark wants it.

    Args:
        python: the interpreter that runs programs, with its packages; None: the running one's standard library alone.
        workers: as for `Sandbox`.
    """
    return Sandbox(
        workers,
        spec.limits,
        python=python,
        preload=spec.preload,
        fail_fast=fail_fast,
        profile="system" if spec.wide else "compute",
        keep_output=False,
    )


def evaluate(
    benchmark: Benchmark,
    samples: Samples,
    sandbox: Sandbox,
    *,
    scorers: Mapping[str, Scorer] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judges all samples of a benchmark.

    Args:
        benchmark: read problem by problem, once before anything is judged and once while it is.
        samples: of its tasks.
        sandbox: see `open_sandbox`.
        scorers: by name, called once per problem with its samples' programs, in order.
        on_progress: called with (tasks, samples) judged so far.

    Raises:
        BadInput: before anything is judged, samples of a task that the benchmark does not have, a benchmark that cannot
            be read, or two scores of one name; a score of a function that is no finite number.
    """
    found = Evaluation(benchmark.name)
    names = samples.score_names()
    for name in scorers or {}:
        if name in names:
            raise BadInput(f"two scores are named {name!r}: the samples have one already")
    refuse_unknown(samples, benchmark)
    modules = _Modules(sandbox)
    pending: deque[tuple[Task, int, str, Problem]] = deque()

    def jobs() -> Iterator[tuple[str, Any, Limits]]:
        for problem in benchmark:
            task = Task(problem.task_id)
            found.tasks.append(task)
            key = key_of(problem.task_id, benchmark.spec.prefix)
            given = samples.tasks.get(key)
            if given is None or not (given.samples or given.greedy):
                found.unattempted.append(problem.task_id)
                continue
            programs = [sample.program(problem) for sample in given.samples]
            for name in names:
                task.scores[name] = [sample.scores[name] for sample in given.samples]
            for name, scorer in (scorers or {}).items():
                task.scores[name] = _scored(name, scorer, problem, programs)
            lacking = modules.missing(problem.modules)
            for name in lacking:
                found.missing_modules.setdefault(name, []).append(problem.task_id)
            limits = _fitted(problem.limits, sandbox)
            for place, sample, program in _places(given.samples, programs, given.greedy, problem):
                verdict = Judged(None, NOT_JUDGED) if lacking else _without_judging(sample, program, problem)
                _put(task, place, verdict)
                if verdict is None:
                    judged = problem.judged(program or "")
                    pending.append((task, place, judged, problem))
                    yield judged, problem.tests, limits

    outcomes: Iterator[Verdict | SandboxError] = sandbox.judge_many(jobs(), return_errors=True)
    for done, outcome in enumerate(outcomes, 1):
        task, place, program, problem = pending.popleft()
        _put(
            task,
            place,
            outcome if isinstance(outcome, Verdict) else _again(sandbox, program, problem, outcome),
        )
        if on_progress is not None:
            on_progress(len(found.tasks), done)
    if len(found.tasks) not in benchmark.spec.sizes:
        sizes = " or ".join(map(str, benchmark.spec.sizes))
        found.notes.append(f"{len(found.tasks)} problems; the published benchmark has {sizes}")
    if found.uneven:
        found.notes.append(found.uneven)
    asked: Counter[str] = Counter()
    for task in found.tasks:
        for one in [*task.samples, *([task.greedy] if task.greedy else [])]:
            if one.status == "missing_module":
                asked[one.message] += 1
    if asked:
        listed = ", ".join(f"{message} ({count})" for message, count in asked.most_common(8))
        found.notes.append(f"{asked.total()} programs import modules that the interpreter lacks: {listed}")
    return found


def _places(
    samples: Sequence[Sample], programs: Sequence[str | None], greedy: Sample | None, problem: Problem
) -> Iterator[tuple[int, Sample, str | None]]:
    """Each sample and its program with its place: 0 and up, -1 for the greedy one."""
    for place, (sample, program) in enumerate(zip(samples, programs, strict=True)):
        yield place, sample, program
    if greedy is not None:
        yield -1, greedy, greedy.program(problem)


def _put(task: Task, place: int, outcome: Verdict | Judged | None) -> None:
    """A verdict at its place; None only reserves it."""
    if isinstance(outcome, Verdict):
        outcome = _judged(outcome)
    kept = outcome or Judged(None, UNJUDGED)
    if place < 0:
        task.greedy = kept
    elif place < len(task.samples):
        task.samples[place] = kept
    else:
        task.samples.append(kept)


def _judged(verdict: Verdict) -> Judged:
    """A verdict as a sample's.

    A test that the interpreter cannot read says nothing about the program: the judge finds that out before it loads
    any, so no program can bring it about.
    """
    if verdict.passed:
        return Judged(True, verdict.status.value, verdict.cpu_s)
    broken = next((test for test in verdict.tests if test.mode == "broken"), None)
    if broken is not None:
        return Judged(None, BAD_TESTS, message=(broken.message or broken.why)[:200])
    said = next((test.message for test in verdict.tests if test.status == verdict.status), "")
    message = _module_of(said) if verdict.status == "missing_module" else said[:200]
    return Judged(False, verdict.status.value, verdict.cpu_s, message)


def _module_of(message: str) -> str:
    parts = message.split("'")
    return parts[1] if len(parts) > 2 else message[:80]


def _without_judging(sample: Sample, program: str | None, problem: Problem) -> Judged | None:
    """What is known of a sample that need not be run; None where it must be."""
    if program is None:
        return Judged(False, TOO_LONG if sample.too_long else NO_CODE)
    if len(problem.judged(program).encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        return Judged(False, TOO_LONG)
    return None


def _again(sandbox: Sandbox, program: str, problem: Problem, first: SandboxError) -> Verdict | Judged:
    """A second try after a failure of ours; what fails twice is listed as not judged."""
    try:
        return sandbox.judge(program, problem.tests, limits=_fitted(problem.limits, sandbox))
    except SandboxError as error:
        return Judged(None, UNJUDGED, message=f"{first}; then {error}"[:400])


def _fitted(limits: Limits, sandbox: Sandbox) -> Limits:
    """A problem's limits, but for those that shaped the sandbox's workers, and no more memory than they have."""
    own = {name: getattr(sandbox.limits, name) for name in WORKER_LEVEL}
    return limits.replace(memory_mb=min(limits.memory_mb, sandbox.limits.memory_mb), **own)


def _scored(name: str, scorer: Scorer, problem: Problem, programs: Sequence[str | None]) -> list[float]:
    scores = list(scorer(problem, programs))
    if len(scores) != len(programs):
        raise BadInput(f"{name} gave {len(scores)} scores for {len(programs)} samples of {problem.task_id}")
    try:
        return [finite(score, f"that of sample {number}") for number, score in enumerate(scores)]
    except BadInput as error:
        raise BadInput(f"{name} gave a score that is no number for {problem.task_id}: {error}") from None


def refuse_unknown(samples: Samples, benchmark: Benchmark) -> None:
    """Raises BadInput where there are samples of a task that the benchmark does not have, with their file and line."""
    ids = benchmark.ids()
    unknown = [task for key, task in samples.tasks.items() if key not in ids]
    if unknown:
        first = unknown[0]
        raise BadInput(
            f"{first.where}: {benchmark.name} has no task {first.task_id!r}"
            + (f", nor {len(unknown) - 1} others of this file" if len(unknown) > 1 else "")
        )


class _Modules:
    """Which modules the jailed interpreter can find. Asked in the jail, once per module."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._known: dict[str, bool] = {}

    def missing(self, names: Iterable[str]) -> list[str]:
        wanted = sorted(name for name in set(names) if name not in self._known)
        if wanted:
            try:
                absent = self._absent(wanted)
            except (SandboxError, BadInput):  # once more: all that was judged so far would go with it
                absent = self._absent(wanted)
            self._known.update({name: name not in absent for name in wanted})
        return sorted(name for name in set(names) if not self._known[name])

    def _absent(self, wanted: list[str]) -> set[str]:
        result = self._sandbox.run(_PROBE, stdin=json.dumps(wanted))
        try:
            return set(json.loads(result.stdout))
        except ValueError:
            raise BadInput(
                f"the interpreter cannot be asked for its modules: {result.message or result.stderr[:200]}"
            ) from None


_PROBE = """
import importlib.util, json, sys
def found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
print(json.dumps([name for name in json.load(sys.stdin) if not found(name)]))
"""


def score_by_tests(
    benchmark: Benchmark,
    samples: Samples,
    tests: Mapping[str, Sequence[str]],
    sandbox: Sandbox,
    *,
    unjudged: list[str] | None = None,
) -> dict[str, dict[str, list[float]]]:
    """Scores of samples by synthetic tests, such as a model wrote for the question.

    Args:
        tests: statements by task (as `key_of` writes it); a task without any gives its samples equal scores.
        sandbox: must not stop at the first failing test.
        unjudged: gets the ids of the tasks with a program that could not be judged, twice, through no fault of its own;
            such a program counts as passing no test.

    Returns:
        By name: "tests" (how many of them a program passes) and "consensus" (that, times the number of programs that
        pass exactly the same tests); then by task; then in the order of the samples.

    Raises:
        BadInput: a test cannot be judged at all.
        SandboxError: a program could not be judged, twice, and there is no list `unjudged`.
    """
    found: dict[str, dict[str, list[float]]] = {"tests": {}, "consensus": {}}
    pending: deque[tuple[list[tuple[bool, ...]], int, str, Asserts, Problem]] = deque()
    rows: dict[str, list[tuple[bool, ...]]] = {}

    def jobs() -> Iterator[tuple[str, Asserts, Limits]]:
        for problem in benchmark:
            key = key_of(problem.task_id, benchmark.spec.prefix)
            given = samples.tasks.get(key)
            if given is None:
                continue
            listed = tests.get(key) or ()
            row = rows[key] = [(False,) * len(listed) for _ in given.samples]
            if not listed:
                continue
            try:
                asserts = Asserts(listed, entry_point=problem.entry_point)
            except BadTests as error:
                raise BadInput(f"synthetic tests of {problem.task_id}: {error}") from None
            for place, sample in enumerate(given.samples):
                program = sample.program(problem)
                if _without_judging(sample, program, problem) is None:
                    judged = problem.judged(program or "")
                    pending.append((row, place, judged, asserts, problem))
                    yield judged, asserts, _fitted(problem.limits, sandbox)

    outcomes: Iterator[Verdict | SandboxError] = sandbox.judge_many(jobs(), return_errors=True)
    for outcome in outcomes:
        row, place, program, asserts, problem = pending.popleft()
        if isinstance(outcome, SandboxError):
            try:
                outcome = sandbox.judge(program, asserts, limits=_fitted(problem.limits, sandbox))
            except SandboxError:
                if unjudged is None:
                    raise
                if problem.task_id not in unjudged:
                    unjudged.append(problem.task_id)
                continue
        row[place] = tuple(test.passed for test in outcome.tests)
    for key, row in rows.items():
        agreeing = Counter(row)
        found["tests"][key] = [float(sum(passed)) for passed in row]
        found["consensus"][key] = [float(sum(passed) * agreeing[passed]) for passed in row]
    return found


def _few(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
