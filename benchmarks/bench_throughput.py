"""How many programs per second does one worker judge, against doing it without isolation and with other sandboxes?

Timed: from the first program after a warm-up of 50 to the last verdict; starting is not in it (bench_startup). All
contenders judge the same rows in the same order and report every test. Rows whose program hangs in a plain loop (more
than a second of CPU time in one test) are left out: bench_hangs is about them.

  acesandbox                 one worker, defaults: namespaces, seccomp, limits, CPU accounting, sealed
  bare os.fork loop          no isolation; a lean parent that has compiled once (contenders/bare_fork.py)
  multiprocessing.Process    no isolation
  python -I -S               no isolation, one interpreter per program
  bubblewrap, nsjail         the same inside them, where they are on the PATH

"CPU ms" is the processor time of a contender and all its processes, start included, per program: what a full machine
would feel.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks._run import (
    COMMANDS,
    Outcome,
    available,
    interleaved,
    median,
    parser,
    passes,
    publish,
    run,
    spread,
    table,
    talk,
    without_hangs,
    write_rows,
)
from tests import workloads

WORKLOADS = {"codet_16asserts_programs": 5, "mbpp_canonical": 1}  # name: every n-th row
WARM = 50
BASE = "bare os.fork loop"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--workload", choices=sorted(WORKLOADS), action="append", help="default: all")
    made.add_argument(
        "--only", action="append", choices=sorted(COMMANDS), help="default: all on this machine"
    )
    given = made.parse_args()
    names = [
        name
        for name in COMMANDS
        if available(name) and (not given.only or name in given.only or name == BASE)
    ]
    for name in COMMANDS:
        if not available(name):
            talk(f"left out, not on the PATH: {name}")

    findings: dict[str, Any] = {}
    texts = []
    for workload in given.workload or WORKLOADS:
        step = WORKLOADS[workload] * (20 if given.quick else 1)
        rounds = 1 if given.quick else given.rounds
        found, text = measure(workload, names, step, rounds)
        findings[workload] = found
        texts.append(text)
    publish("throughput", {"workloads": findings}, "\n\n".join(texts), given.out)


def measure(workload: str, names: list[str], step: int, rounds: int) -> tuple[dict[str, Any], str]:
    # The scan covers the rows that are used: its cache is keyed by them.
    rows = without_hangs(workload, workloads.rows(workload, step=step))
    timed = len(rows) - min(WARM, len(rows) // 2)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows"
        write_rows(path, rows)
        for turn, name in interleaved(names, rounds):
            outcome = run(name, path, len(rows) - timed)
            talk(
                f"{workload}, round {turn + 1}/{rounds}: {name}: {1000 * outcome.seconds / timed:.3f} ms per program"
            )
            outcomes[name].append(outcome)
    tests = sum(len(row["tests"]) for row in rows[-timed:])

    base = outcomes[BASE]
    lines = []
    found: dict[str, Any] = {"rows": timed, "tests": tests, "rounds": rounds, "contenders": {}}
    for name, runs in outcomes.items():
        ms = [1000 * one.seconds / timed for one in runs]
        ratios = [reference.seconds / one.seconds for reference, one in zip(base, runs, strict=True)]
        cpu = [1000 * one.cpu_seconds / len(rows) for one in runs]
        differing = sum(
            passes(runs[0].results[number]) != passes(result) for number, result in base[0].results.items()
        )
        lines.append(
            [
                name,
                median(ms),
                spread(ms),
                1000 / median(ms),
                median(ratios),
                spread(ratios),
                median(cpu),
                differing,
            ]
        )
        found["contenders"][name] = {
            "ms_per_program": ms,
            "times_as_fast_as_bare_loop": ratios,
            "cpu_ms_per_program": cpu,
            "rows_differing_from_bare_loop": differing,
            "sealed_tests": runs[0].more.get("sealed_tests"),
        }
    sealed = outcomes["acesandbox"][0].more["sealed_tests"] if "acesandbox" in outcomes else None
    said = "" if sealed is None else f"; acesandbox judged {100 * sealed / tests:.2f} % of the tests sealed"
    head = ["contender", "ms", "range", "programs/s", "x bare loop", "range", "CPU ms", "rows differing"]
    return (
        found,
        f"{workload}: {timed} programs, {tests} tests, {rounds} rounds{said}\n\n{table(head, lines)}",
    )


if __name__ == "__main__":
    main()
