"""Does a dataset build judge as fast as the bare sandbox?

The same programs (2,000 questions of 16 programs and 16 tests each, made up here) go

  sandbox          through `Sandbox.judge_many`, and only whether each passed is looked at;
  build            through the stage `sample_matrix` of a build: read from Parquet, judged, statuses, messages and times
                   written to Parquet, fsynced. The stages before it are made before the clock starts.

Each run in a fresh process, with workers of its own whose start is timed too; one after the other in each round, the
order rotated. No two programs of a question are equal, so nothing is saved by judging equal ones once; "build, repeats"
(once, at the end) tells what that saves where one program in five repeats an earlier one.

"of sandbox" compares programs per second within a round, "CPU of sandbox" programs per second of processor time, the
programs' own included: on a machine that does other things at the same time the clock may compare two different
machines, the processor time does less so.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from acedata import Directory, build, load_recipe
from acesandbox import Asserts, Sandbox
from benchmarks import _programs
from benchmarks._run import CONTENDERS, HERE, LEAN, interleaved, median, parser, publish, spread, table, talk

QUESTIONS = 2_000
PROGRAMS = 16
TESTS = 16
SHARE_BAR = 0.9
REPEATED = 0.2

# How a model gets things wrong: what is returned instead of x.
_FAULTS = ("{right}", "{right}", "{right}", "({right},)", "None", "[{right}]", "str({right})", "0")

Question = tuple[str, list[str], str, list[str]]


def question(number: int, repeats: float = 0.0) -> Question:
    """(id, tests, entry point, programs): one of ten problems with constants of its own."""
    chance = random.Random(number)
    shape, k = number % len(_programs._SHAPES), number // 10 % 50 + 2
    program, call, right = _programs._SHAPES[shape]
    tests = [f"assert {call.format(x=x + k)} == {right(x + k, k)!r}" for x in range(TESTS)]
    programs: list[str] = []
    for completion in range(PROGRAMS):
        fault = chance.choice(_FAULTS).format(right="answer(x)")
        work = program.format(k=k).replace("f(x", "answer(x")
        text = f"# Attempt {completion}\n{work}\n\ndef f(x):\n    return {fault}\n"
        if chance.random() < repeats and programs:
            text = chance.choice(programs)
        programs.append(text)
    return f"evol_{number}", tests, "f", programs


# ---- the two ways ----

Way = Callable[[list[Question], int | None, Path], Callable[[], int]]


def bare(items: list[Question], workers: int | None, place: Path) -> Callable[[], int]:
    """Programs that pass, by the sandbox alone."""

    def jobs() -> Iterator[tuple[Asserts, list[str]]]:
        for _, tests, entry_point, programs in items:
            yield Asserts(tests, entry_point=entry_point), programs

    def judge() -> int:
        with Sandbox(workers, keep_output=False) as sandbox:
            each = ((program, tests) for tests, programs in jobs() for program in programs)
            return sum(verdict.passed for verdict in sandbox.judge_many(each))

    return judge


RECIPE = """name: judging
seeds:
  sources:
    - {name: evol, from: start, path: questions.jsonl}
samples: {imported: true}
workers: WORKERS
"""


def stage(items: list[Question], workers: int | None, place: Path) -> Callable[[], int]:
    """The same, by a build's stage; what leads to it is done here."""
    with (place / "questions.jsonl").open("w") as file:
        for name, tests, _, programs in items:
            inferences = [
                {"completion": text, "completion_id": number, "model_name": "policy", "pass_rate": 0.0}
                for number, text in enumerate(programs)
            ]
            row = {"id": name, "source": "evol", "question": name, "test_cases": tests}
            file.write(json.dumps({**row, "inferences": inferences}) + "\n")
    (place / "recipe.yaml").write_text(RECIPE.replace("WORKERS", str(workers or "null")))
    recipe = load_recipe(place / "recipe.yaml")
    build(recipe, place / "build", until="samples")

    def judge() -> int:
        built = build(recipe, place / "build", until="sample_matrix")
        assert built.ran == ["sample_matrix"]
        return sum(map(_passed, Directory(place / "build").batches("sample_matrix", ["statuses"])))

    return judge


def _passed(matrix: Any) -> int:
    """Rows all of whose results are "passed"."""
    statuses = matrix.column("statuses")
    right = pc.equal(pc.list_flatten(statuses).cast("string"), "passed").to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(statuses).to_numpy(zero_copy_only=False)
    found = np.bincount(rows, right, len(statuses))
    return int(np.sum(found == pc.list_value_length(statuses).to_numpy(zero_copy_only=False)))


WAYS: dict[str, Way] = {"sandbox": bare, "build": stage}


def work(name: str, count: int, workers: int | None, repeats: float) -> dict[str, float]:
    """One way, in this process: programs that pass, seconds, and the processor's seconds of what is not timed."""
    items = [question(number, repeats) for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="ace-judging-") as folder:
        judge = WAYS[name](items, workers, Path(folder))
        # Only loading has run so far, in this process.
        before, begun = time.process_time(), time.perf_counter()
        passed = judge()
        return {"passed": passed, "seconds": time.perf_counter() - begun, "cpu_before": before}


def run(name: str, count: int, workers: int | None, repeats: float = 0.0) -> dict[str, float]:
    """One way in a fresh process, with the processor's seconds of it and of all it started."""
    with tempfile.TemporaryDirectory(prefix="ace-bench-") as place:
        spent = Path(place) / "cpu"
        words = [*LEAN, str(CONTENDERS / "account.py"), str(spent), sys.executable]
        words += ["-m", "benchmarks.bench_build_judging", "--way", name, "--questions", str(count)]
        words += ["--repeats", str(repeats), *([] if workers is None else ["--workers", str(workers)])]
        done = subprocess.run(words, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        found["cpu_seconds"] = float(spent.read_text()) - found.pop("cpu_before")
    return found


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--questions", type=int, default=QUESTIONS)
    made.add_argument("--workers", type=int, default=None, help="default: one per usable core")
    made.add_argument("--way", choices=sorted(WAYS), help="(one way, in this process)")
    made.add_argument("--repeats", type=float, default=0.0, help="(its share of repeated programs)")
    given = made.parse_args()
    if given.way:
        print(json.dumps(work(given.way, given.questions, given.workers, given.repeats)))
        return
    count = 40 if given.quick else given.questions
    rounds = 1 if given.quick else given.rounds
    programs = count * PROGRAMS
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for turn, name in interleaved(list(WAYS), rounds):
        found = run(name, count, given.workers)
        runs[name].append(found)
        talk(
            f"round {turn + 1}/{rounds}: {name}: {programs / found['seconds']:,.0f} programs/s, "
            f"{found['cpu_seconds']:.1f} s of CPU time"
        )
    verdicts = {found["passed"] for listed in runs.values() for found in listed}
    if len(verdicts) != 1:
        raise RuntimeError(f"the ways disagree about which programs pass: {sorted(verdicts)}")

    lines: list[list[Any]] = []
    shares: dict[str, dict[str, float]] = {}
    for name, listed in runs.items():
        rates = [programs / found["seconds"] for found in listed]
        wall, cpu = (
            [base[kind] / one[kind] for base, one in zip(runs["sandbox"], listed, strict=True)]
            for kind in ("seconds", "cpu_seconds")
        )
        each = median([1000 * found["cpu_seconds"] / programs for found in listed])
        lines.append(
            [name, median(rates), spread(rates), median(wall), spread(wall), each, median(cpu), spread(cpu)]
        )
        shares[name] = {"wall": median(wall), "cpu": median(cpu)}
    again = run("build", count, given.workers, REPEATED)
    lines.append(
        [
            "build, repeats",
            programs / again["seconds"],
            None,
            None,
            None,
            1000 * again["cpu_seconds"] / programs,
            None,
            None,
        ]
    )
    held = "held" if shares["build"]["wall"] >= SHARE_BAR else "NOT held"
    text = (
        f"{count:,} questions of {PROGRAMS} programs and {TESTS} tests, {rounds} rounds; bar for a build: "
        f"{SHARE_BAR} of the sandbox, {held}\n\n"
    ) + table(
        ["way", "programs/s", "range", "of sandbox", "range", "CPU ms each", "CPU of sandbox", "range"], lines
    )
    findings = {"programs": programs, "rounds": rounds, "runs": runs, "shares": shares, "repeats": again}
    publish("build_judging", findings, text, given.out)


if __name__ == "__main__":
    main()
