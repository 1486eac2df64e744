"""How long until the first verdict, and how long does the import take?

Timed, each time in a fresh interpreter:

  import acesandbox      the statement alone, by the wall clock
  first verdict          from `Sandbox(workers=1)` to its first verdict, the import not included
  all workers            the same with one worker per usable core
  close                  leaving the `with` block
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks._run import median, parser, publish, spread, table

IMPORT = "import time; begun = time.perf_counter(); import acesandbox; print(time.perf_counter() - begun)"
FIRST = """
import sys, time
from acesandbox import Asserts, Sandbox
tests = Asserts(["assert add(1, 2) == 3"])
begun = time.perf_counter()
with Sandbox(workers={workers}) as sandbox:
    verdict = sandbox.judge("def add(a, b):\\n    return a + b\\n", tests)
    judged = time.perf_counter()
closed = time.perf_counter()
if not verdict.passed:
    sys.exit(repr(verdict))
print(judged - begun, closed - judged)
"""


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeat", type=int, default=21)
    given = made.parse_args()
    found: dict[str, list[float]] = {
        "import acesandbox": [],
        "first verdict, one worker": [],
        "close, one worker": [],
        "first verdict, all workers": [],
        "close, all workers": [],
    }
    for _ in range(3 if given.quick else given.repeat):
        found["import acesandbox"] += times(IMPORT)
        for label, workers in (("one worker", 1), ("all workers", None)):
            first, close = times(FIRST.format(workers=workers))
            found[f"first verdict, {label}"].append(first)
            found[f"close, {label}"].append(close)
    lines = []
    for name, seconds in found.items():
        ms = [1000 * one for one in seconds]
        lines.append([name, median(ms), spread(ms)])
    text = table(["what", "ms", "range"], lines)
    publish("startup", {"seconds": found}, text, given.out)


def times(code: str) -> list[float]:
    """What a fresh interpreter prints after running `code`."""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    main()
