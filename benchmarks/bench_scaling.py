"""Do twice the workers judge twice the programs?

Timed: from the first program after a warm-up to the last verdict, for 1, 2, 4, ... workers up to the usable cores.
Rounds are interleaved; the ratio is against one worker of the same round. The host process, which hands out jobs and
reads verdicts, shares the cores with the workers, as in real use. "efficiency" is the ratio divided by the workers.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._run import (
    Outcome,
    median,
    parser,
    publish,
    run,
    spread,
    table,
    talk,
    without_hangs,
    write_rows,
)
from tests import workloads


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument(
        "--workers", type=int, action="append", help="may be repeated (default: 1, 2, 4, ... and all cores)"
    )
    made.add_argument("--step", type=int, default=2, help="take every n-th row (default: 2)")
    given = made.parse_args()
    counts = sorted({1, *(given.workers or steps(len(os.sched_getaffinity(0))))})
    rounds, step = (1, 40) if given.quick else (given.rounds, given.step)

    name = "codet_16asserts_programs"
    rows = without_hangs(name, workloads.rows(name, step=step))
    warm = min(50 * max(counts), len(rows) // 4)
    outcomes: dict[int, list[Outcome]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows"
        write_rows(path, rows)
        for turn in range(rounds):
            shift = turn % len(counts)
            for count in [*counts[shift:], *counts[:shift]]:
                outcome = run("acesandbox", path, warm, count)
                talk(
                    f"round {turn + 1}/{rounds}: {count} workers: {(len(rows) - warm) / outcome.seconds:.0f} programs/s"
                )
                outcomes[count].append(outcome)

    timed = len(rows) - warm
    lines = []
    found: dict[str, Any] = {"workload": name, "rows": timed, "rounds": rounds, "workers": {}}
    for count, runs in outcomes.items():
        rates = [timed / one.seconds for one in runs]
        ratios = [alone.seconds / one.seconds for alone, one in zip(outcomes[1], runs, strict=True)]
        lines.append([count, median(rates), median(ratios), spread(ratios), median(ratios) / count])
        found["workers"][count] = {"programs_per_s": rates, "times_one_worker": ratios}
    text = f"{name}: {timed} programs, {rounds} rounds\n\n"
    text += table(["workers", "programs/s", "x one worker", "range", "efficiency"], lines)
    publish("scaling", found, text, given.out)


def steps(cores: int) -> list[int]:
    """1, 2, 4, ... and `cores`."""
    found = [1]
    while found[-1] * 2 <= cores:
        found.append(found[-1] * 2)
    return sorted({*found, cores})


if __name__ == "__main__":
    main()
