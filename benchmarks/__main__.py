"""Runs the benchmarks one after the other: `python -m benchmarks [NAME ...]`, e.g. `python -m benchmarks throughput`.

Without names: all of them but the soak, which is asked for by name. --quick runs short versions, to see that they work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

QUESTIONS = ("startup", "throughput", "hangs", "scaling", "load", "survival", "soak")
ASKED_FOR = {"soak"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="short versions: not for publishing")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in QUESTIONS]
    if unknown:
        parser.error(f"unknown: {unknown[0]}; there are {', '.join(QUESTIONS)}")
    failed = []
    for name in given.names or [name for name in QUESTIONS if name not in ASKED_FOR]:
        print(f"\n## {name}\n", flush=True)
        begun = time.monotonic()
        words = [sys.executable, "-m", f"benchmarks.bench_{name}", *(["--quick"] if given.quick else [])]
        if subprocess.run(words).returncode != 0:
            failed.append(name)
        print(f"({name}: {time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)
    if failed:
        print(f"did not end well: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
