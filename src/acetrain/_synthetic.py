"""Synthetic tests, such as a model wrote for a benchmark's questions: `{"task_id", "tests": […]}` per line.

file ──read_tests──▶ statements by task ──score_by_tests──▶ two scores, "tests" and "consensus", as `Scorer`s
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from acedata._errors import BadInput
from acedata._rows import Place, iter_rows

from ._benchmarks import Benchmark, key_of
from ._benchmarks._readable import check_source
from ._evaluate import Scorer, open_sandbox, score_by_tests
from ._samples import Samples, task_id_in


def read_tests(path: str, benchmark: Benchmark) -> dict[str, list[str]]:
    """Synthetic tests by task, as `key_of` writes it.

    Raises:
        BadInput: with file and line: a row that is not of this form, a task that the benchmark does not have or that
            was there before, a test that is not valid Python; or there is no row.
    """
    ids, prefix = benchmark.ids(), benchmark.spec.prefix
    tests: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for row in iter_rows(Place(path), hint=""):
        task_id, listed = task_id_in(row), row.values.get("tests")
        key = key_of(task_id, prefix)
        if not isinstance(listed, list):
            raise BadInput(f"{row.where}: a row of synthetic tests has 'task_id' and a list 'tests'")
        if key not in ids:
            raise BadInput(f"{row.where}: {benchmark.name} has no task {task_id!r}")
        if key in tests:
            raise BadInput(
                f"{row.where}: a second list of synthetic tests of {task_id}; the first is at {first[key]}"
            )
        for number, test in enumerate(listed):
            if not isinstance(test, str):
                raise BadInput(f"{row.where}: 'tests' must be a list of texts")
            check_source(row, f"tests[{number}]", test)
        tests[key], first[key] = listed, row.where
    if not tests:
        raise BadInput(f"{path}: there are no synthetic tests in it")
    return tests


@dataclass(slots=True)
class ByTests:
    """What came of judging samples by synthetic tests.

    Attributes:
        scorers: "tests" and "consensus".
        unjudged: tasks with a program that could not be judged, twice.
        notes: what a reader should know besides.
    """

    scorers: dict[str, Scorer]
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def by_tests(
    benchmark: Benchmark,
    samples: Samples,
    tests: Mapping[str, Sequence[str]],
    *,
    python: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> ByTests:
    """Judges samples by synthetic tests, every test of every program.

    Args:
        tests: as `read_tests` gives them.
        python, workers: as for `open_sandbox`.
    """
    prefix = benchmark.spec.prefix
    unjudged: list[str] = []
    with open_sandbox(benchmark.spec, python=python, workers=workers, fail_fast=False) as sandbox:
        scored = score_by_tests(benchmark, samples, tests, sandbox, unjudged=unjudged)

    def scorer(by_task: dict[str, list[float]]) -> Scorer:
        return lambda problem, programs: by_task.get(key_of(problem.task_id, prefix), [0.0] * len(programs))

    found = ByTests({name: scorer(by_task) for name, by_task in scored.items()}, unjudged)
    lacking = sum(1 for key, task in samples.tasks.items() if task.samples and not tests.get(key))
    if lacking:
        found.notes.append(
            f"there are no synthetic tests for {lacking} tasks, whose samples have equal scores by them"
        )
    return found
