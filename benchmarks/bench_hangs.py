"""What do hanging programs cost? A whole file of weak-model programs, its hanging rows included, with two workers.

Timed: from the first program after a warm-up to the last verdict of `codet_16asserts_programs`.

  bare os.fork loop   no isolation, two processes that pull rows, one second of wall time per test
  (a)                 acesandbox, one second of CPU time per test and two per program
  (b)                 acesandbox, limits from the problem's reference solution: its slowest test's CPU time, measured
                      before the clock starts, times 20, at least 0.1 s

A test whose verdict differs from the bare loop's is looked at: it should have run out of a budget. Those are counted by
what acesandbox says of them and by what the loop said; any other difference is listed.
"""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._run import (
    Outcome,
    Row,
    interleaved,
    median,
    parser,
    passes,
    publish,
    run,
    spread,
    table,
    talk,
    write_rows,
)
from tests import workloads

BASE, ONE, FITTED = (
    "bare os.fork loop, 1 s per test",
    "acesandbox (a) 1 s per test, 2 s per program",
    "acesandbox (b)",
)
OUT_OF_BUDGET = {"cpu_timeout", "wall_timeout", "not_run", "memory_limit"}
WARM = 50


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=1, help="a round takes some minutes (default: 1)")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--step", type=int, default=1, help="take every n-th row (default: all)")
    given = made.parse_args()
    step = 40 if given.quick else given.step
    rows = workloads.rows("codet_16asserts_programs", step=step)
    warm = min(WARM, len(rows) // 4)

    outcomes: dict[str, list[Outcome]] = {BASE: [], ONE: [], FITTED: []}
    with tempfile.TemporaryDirectory() as place:
        plain, fitted = Path(place) / "rows", Path(place) / "fitted"
        write_rows(plain, rows)
        write_rows(fitted, rows, reference_limits(rows))
        for turn, name in interleaved(list(outcomes), given.rounds):
            if name == BASE:
                outcome = run("bare os.fork loop", plain, warm, given.workers, seconds=1.0)
            elif name == ONE:
                limits = {"cpu_s": 1.0, "program_cpu_s": 2.0, "load_cpu_s": 1.0}
                outcome = run("acesandbox", plain, warm, given.workers, options={"limits": limits})
            else:
                outcome = run("acesandbox", fitted, warm, given.workers)
            talk(f"round {turn + 1}/{given.rounds}: {name}: {outcome.seconds:.1f} s")
            outcomes[name].append(outcome)

    base = outcomes[BASE]
    timed = len(rows) - warm
    lines, texts = [], []
    found: dict[str, Any] = {"rows": timed, "workers": given.workers, "contenders": {}}
    for name, runs in outcomes.items():
        ratios = [reference.seconds / one.seconds for reference, one in zip(base, runs, strict=True)]
        seconds = [one.seconds for one in runs]
        lines.append([name, median(seconds), 1000 * median(seconds) / timed, median(ratios), spread(ratios)])
        found["contenders"][name] = {"seconds": seconds, "times_as_fast_as_bare_loop": ratios}
        if name != BASE:
            differences = compare(rows, base[0], runs[0])
            found["contenders"][name]["differences"] = differences
            texts.append(f"{name}: {describe(differences)}")
    head = ["contender", "s", "ms per program", "x bare loop", "range"]
    text = f"{timed} programs, {given.workers} workers\n\n{table(head, lines)}\n\n" + "\n".join(texts)
    publish("hangs", found, text, given.out)


def reference_limits(rows: list[Row]) -> list[dict[str, float]]:
    """Limits for each row from the CPU time its problem's reference solution takes for the same tests."""
    from acesandbox import Asserts, Limits, Sandbox

    solutions = {row["task_id"]: row["program"] for row in workloads.rows("humaneval_canonical")}
    tests: dict[str, dict[str, None]] = collections.defaultdict(dict)
    entry_points = {}
    for row in rows:
        tests[row["task_id"]].update(dict.fromkeys(row["tests"]))
        entry_points[row["task_id"]] = row["entry_point"]
    generous = Limits(cpu_s=10.0, program_cpu_s=20.0)
    tasks = list(tests)
    slowest = {}
    with Sandbox(limits=generous) as sandbox:
        jobs = [
            (solutions[task], Asserts(list(tests[task]), entry_point=entry_points[task])) for task in tasks
        ]
        for task, verdict in zip(tasks, sandbox.judge_many(jobs), strict=True):
            # A test that even the reference cannot end says nothing about how long a right program takes.
            ended = [test.cpu_s for test in verdict.tests if test.status.value not in OUT_OF_BUDGET]
            slowest[task] = max(ended, default=1.0)
    talk(f"reference solutions: slowest test of a problem {max(slowest.values()):.3f} s of CPU time")
    fitted = {task: Limits.from_reference(slowest[task]).to_dict() for task in tasks}
    return [fitted[row["task_id"]] for row in rows]


def compare(rows: list[Row], base: Outcome, ours: Outcome) -> dict[str, Any]:
    """Tests with another verdict than the bare loop's: those out of a budget counted, the others listed."""
    budget: collections.Counter[str] = collections.Counter()
    others = []
    tests = 0
    by_row: dict[int, list[str]] = ours.more["by_row"]
    for number, results in base.results.items():
        pairs = zip(passes(results), passes(ours.results[number]), strict=True)
        for test, (there, here) in enumerate(pairs):
            tests += 1
            if there == here:
                continue
            status, said = by_row[number][test], chr(results[test])
            if status in OUT_OF_BUDGET or said in "t-":
                budget[f"bare loop {said}, acesandbox {status}"] += 1
            else:
                # by number only: the texts are others' and stay where they are
                others.append([rows[number]["task_id"], number, test, said, status])
    return {"tests": tests, "out_of_budget": dict(budget), "others": others}


def describe(differences: dict[str, Any]) -> str:
    budget = differences["out_of_budget"]
    text = f"of {differences['tests']:,} tests, {sum(budget.values())} differ because a budget ended"
    if budget:
        text += " (" + ", ".join(f"{what}: {count}" for what, count in sorted(budget.items())) + ")"
    text += f", {len(differences['others'])} for another reason"
    return "\n  ".join([text, *(str(other) for other in differences["others"])])


if __name__ == "__main__":
    main()
