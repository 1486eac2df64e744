"""Does a dataset build judge as fast as the bare sandbox?

The same programs (2,000 questions of 16 programs and 16 tests each, made up here) go

  sandbox   through `Sandbox.judge_many`, and only whether each passed is looked at;
  rows      through `judge_questions`, which makes the rows of the execution matrix: statuses, messages, times;
  stage     through the builder's stage: read from Parquet, judged, written to Parquet, fsynced.

All in one process, each run with workers of its own, whose start is timed too; one after the other in each round, the
order rotated. No two programs of a question are equal, so nothing is saved by judging equal ones once; "rows, repeats"
tells what that saves where one program in five repeats an earlier one. "of sandbox" compares programs per second within
the round.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from acedata._build import Silence, build
from acedata._directory import Directory
from acedata._judge import judge_questions
from acedata._matrix import PASSED, lists, names_equal, offsets_of, sums
from acedata._recipe import load_recipe
from acesandbox import Asserts, Sandbox
from benchmarks import _programs
from benchmarks._run import interleaved, median, parser, publish, spread, table, talk

QUESTIONS = 2_000
PROGRAMS = 16
TESTS = 16
SHARE_BAR = 0.9

# How a model gets things wrong: what is returned instead of x.
_FAULTS = ("{right}", "{right}", "{right}", "({right},)", "None", "[{right}]", "str({right})", "0")


def question(
    number: int, repeats: float = 0.0
) -> tuple[str, int, list[str], str, list[tuple[str, int, str]]]:
    """(id, order, tests, entry point, programs): one of ten problems with constants of its own."""
    chance = random.Random(number)
    shape, k = number % len(_programs._SHAPES), number // 10 % 50 + 2
    program, call, right = _programs._SHAPES[shape]
    tests = [f"assert {call.format(x=x + k)} == {right(x + k, k)!r}" for x in range(TESTS)]
    programs: list[tuple[str, int, str]] = []
    for completion in range(PROGRAMS):
        fault = chance.choice(_FAULTS).format(right="answer(x)")
        work = program.format(k=k).replace("f(x", "answer(x")
        text = f"# Attempt {completion}\n{work}\n\ndef f(x):\n    return {fault}\n"
        if chance.random() < repeats and programs:
            text = chance.choice(programs)[2]
        programs.append(("policy", completion, text))
    return f"evol_{number}", number, tests, "f", programs


def bare(items: list[Any], workers: int | None) -> tuple[int, float]:
    """Programs that pass, and seconds, by the sandbox alone."""
    passed = 0
    begun = time.perf_counter()
    with Sandbox(workers, keep_output=False) as sandbox:
        jobs = ((program, tests) for tests, programs in _jobs(items) for program in programs)
        for verdict in sandbox.judge_many(jobs):
            passed += verdict.passed
    return passed, time.perf_counter() - begun


def _jobs(items: list[Any]) -> Iterator[tuple[Asserts, list[str]]]:
    for _, _, tests, entry_point, programs in items:
        yield Asserts(tests, entry_point=entry_point), [program for _, _, program in programs]


def rows(items: list[Any], workers: int | None) -> tuple[int, float]:
    """The same, by rows of a matrix."""
    begun = time.perf_counter()
    with Sandbox(workers, keep_output=False) as sandbox:
        made = [judged.matrix for judged in judge_questions(items, sandbox)]
    taken = time.perf_counter() - begun
    return sum(map(_passed, made)), taken


def _passed(matrix: Any) -> int:
    statuses, lengths = lists(matrix.column("statuses"))
    return int(np.sum(sums(names_equal(statuses, PASSED), offsets_of(lengths)) == lengths))


RECIPE = """name: judging
seeds:
  sources:
    - {name: evol, from: start, path: questions.jsonl}
samples: {imported: true}
workers: WORKERS
"""


class Clock(Silence):
    """Takes the time of the stage `sample_matrix`."""

    seconds = 0.0

    def ended(self, stage: Any, record: Any, seconds: float) -> None:
        if stage.name == "sample_matrix":
            self.seconds = seconds


def stage(items: list[Any], workers: int | None) -> tuple[int, float]:
    """The same, by a build's stage; what leads to it is not timed."""
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="ace-judging-") as folder:
        place = Path(folder)
        with (place / "questions.jsonl").open("w") as file:
            for name, _, tests, _, programs in items:
                inferences = [
                    {"completion": text, "completion_id": number, "model_name": model, "pass_rate": 0.0}
                    for model, number, text in programs
                ]
                row = {"id": name, "source": "evol", "question": name, "test_cases": tests}
                file.write(json.dumps({**row, "inferences": inferences}) + "\n")
        (place / "recipe.yaml").write_text(RECIPE.replace("WORKERS", str(workers or "null")))
        build(load_recipe(place / "recipe.yaml"), place / "build", watcher=clock)
        passed = sum(map(_passed, Directory(place / "build").batches("sample_matrix")))
    return passed, clock.seconds


WAYS: dict[str, Callable[[list[Any], int | None], tuple[int, float]]] = {
    "sandbox": bare,
    "rows": rows,
    "stage": stage,
}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--questions", type=int, default=QUESTIONS)
    made.add_argument("--workers", type=int, default=None, help="default: one per usable core")
    given = made.parse_args()
    count = 40 if given.quick else given.questions
    rounds = 1 if given.quick else given.rounds
    items = [question(number) for number in range(count)]
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    verdicts = set()
    for turn, name in interleaved(list(WAYS), rounds):
        passed, taken = WAYS[name](items, given.workers)
        verdicts.add(passed)
        seconds[name].append(taken)
        talk(f"round {turn + 1}/{rounds}: {name}: {count * PROGRAMS / seconds[name][-1]:,.0f} programs/s")
    if len(verdicts) != 1:
        raise RuntimeError(f"the ways disagree about which programs pass: {sorted(verdicts)}")

    lines: list[list[Any]] = []
    findings: dict[str, Any] = {"programs": count * PROGRAMS, "rounds": rounds, "seconds": seconds}
    for name, runs in seconds.items():
        rates = [count * PROGRAMS / one for one in runs]
        shares = [base / one for base, one in zip(seconds["sandbox"], runs, strict=True)]
        lines.append([name, median(rates), spread(rates), median(shares), spread(shares)])
        findings[f"{name}_of_sandbox"] = median(shares)
    repeated = [question(number, repeats=0.2) for number in range(count)]
    _, again = rows(repeated, given.workers)
    lines.append(["rows, repeats", count * PROGRAMS / again, None, seconds["rows"][-1] / again, None])
    held = "held" if findings["stage_of_sandbox"] >= SHARE_BAR else "NOT held"
    text = (
        f"{count:,} questions of {PROGRAMS} programs and {TESTS} tests, {rounds} rounds; bar for a stage: "
        f"{SHARE_BAR} of the sandbox, {held}\n\n"
        + table(["way", "programs/s", "range", "of sandbox", "range"], lines)
    )
    publish("build_judging", findings, text, given.out)


if __name__ == "__main__":
    main()
