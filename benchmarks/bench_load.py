"""Are verdicts the same on an idle and on an overloaded machine?

`ldb_humaneval_multimodel` is judged three times idle and three times beside eight busy processes per core, with
default limits and one worker per core. A flip is a test whose status is not the same in all six runs; flips between
passed and not passed are counted apart, since they are what a reward sees.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._run import median, parser, publish, run, table, talk, write_rows
from tests import workloads


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--burners", type=int, default=8, help="busy processes per core (default: 8)")
    made.add_argument("--step", type=int, default=1, help="take every n-th row (default: all)")
    given = made.parse_args()
    step, runs = (60, 1) if given.quick else (given.step, given.runs)
    cores = len(os.sched_getaffinity(0))
    rows = workloads.rows("ldb_humaneval_multimodel", step=step)

    seen: dict[int, list[str]] = collections.defaultdict(list)
    seconds: dict[str, list[float]] = {"idle": [], "loaded": []}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "rows"
        write_rows(path, rows)
        for turn in range(runs):
            for state in seconds:
                with burning(given.burners * cores if state == "loaded" else 0):
                    outcome = run("acesandbox", path, 0, cores)
                talk(f"run {turn + 1}/{runs}, {state}: {outcome.seconds:.1f} s")
                seconds[state].append(outcome.seconds)
                for number, statuses in outcome.more["by_row"].items():
                    seen[number].append(" ".join(statuses))

    flips = {number: said for number, said in seen.items() if len(set(said)) > 1}
    passing = {
        number: said for number, said in flips.items() if len({one.count("passed") for one in said}) > 1
    }
    lines = [
        [state, len(taken), median(taken), 1000 * median(taken) / len(rows)]
        for state, taken in seconds.items()
    ]
    found: dict[str, Any] = {
        "rows": len(rows),
        "seconds": seconds,
        "flips": {
            number: [rows[number]["task_id"], rows[number].get("model"), *said]
            for number, said in flips.items()
        },
        "flips_of_passed": len(passing),
    }
    text = f"{len(rows)} programs; {given.burners} busy processes per core when loaded, {cores} cores\n\n"
    text += table(["machine", "runs", "s", "ms per program"], lines)
    text += f"\n\nflips: {len(flips)} of status, of those {len(passing)} between passed and not passed"
    for number, said in flips.items():
        text += (
            f"\n  {rows[number]['task_id']} of {rows[number].get('model')} (row {number}): {', '.join(said)}"
        )
    publish("load", found, text, given.out)


@contextlib.contextmanager
def burning(count: int) -> Iterator[None]:
    """That many processes which do nothing but compute.

    Each in a session of its own: where the kernel shares processors between sessions first (autogroup, sched(7)), all
    of them in one would count as one.
    """
    words = [sys.executable, "-I", "-S", "-c", "while True: pass"]
    burners = [subprocess.Popen(words, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.wait()


if __name__ == "__main__":
    main()
