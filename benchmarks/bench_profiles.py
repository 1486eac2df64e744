"""What does `profile="system"` cost, against `compute`, for a program that does next to nothing?

One worker of each profile in one process, one program after the other, in turn: milliseconds from `judge` to verdict.

  asserts      one planned test: one new process, the player
  unittest     one proxied test: two new processes, the player and the test's
"""

from __future__ import annotations

import statistics
import time

from acesandbox import Asserts, Sandbox, UnitTests
from benchmarks._run import median, parser, publish, spread, table

PROFILES = ("compute", "system")
PROGRAM = "def add(a, b):\n    return a + b\n"
UNIT_TEST = """
import unittest
class TestAdd(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 2), 3)
"""
KINDS = {"asserts": Asserts(["assert add(1, 2) == 3"]), "unittest": UnitTests(UNIT_TEST)}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--repeat", type=int, default=300, help="programs of each kind and profile")
    given = made.parse_args()
    repeat = 10 if given.quick else given.repeat
    boxes = {profile: Sandbox(workers=1, profile=profile) for profile in PROFILES}
    found: dict[str, list[float]] = {}
    try:
        for kind, tests in KINDS.items():
            for number in range(-3, repeat):  # the first ones warm up
                for profile, sandbox in boxes.items():
                    begun = time.perf_counter()
                    verdict = sandbox.judge(f"{PROGRAM}# {number}", tests)
                    taken = time.perf_counter() - begun
                    if not verdict.passed:
                        raise SystemExit(repr(verdict))
                    if number >= 0:
                        found.setdefault(f"{kind}, {profile}", []).append(taken)
    finally:
        for sandbox in boxes.values():
            sandbox.close()
    lines = []
    for name, seconds in found.items():
        ms = sorted(1000 * one for one in seconds)
        tenths = statistics.quantiles(ms, n=10)
        lines.append([name, median(ms), spread(tenths)])
    text = table(["what", "ms", "middle 80 %"], lines)
    publish("profiles", {"seconds": found}, text, given.out)


if __name__ == "__main__":
    main()
