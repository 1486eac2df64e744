"""Runs the benchmarks one after the other: `python -m benchmarks [NAME ...]`, e.g. `python -m benchmarks throughput`.

Without names: all of them but the soak, which is asked for by name. --quick runs short versions, to see that they work.
--write puts the results that lie in benchmarks/results/ into docs/performance.md and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from benchmarks._run import HERE, RESULTS, put_into_page

QUESTIONS = (
    "startup",
    "profiles",
    "throughput",
    "hangs",
    "scaling",
    "load",
    "survival",
    "soak",
    "build_judging",
    "views",
    "decontamination",
    "requests",
    "reward",
)
ASKED_FOR = {"soak"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="short versions: not for publishing")
    parser.add_argument(
        "--write", action="store_true", help="bring docs/performance.md up to date, measure nothing"
    )
    given = parser.parse_args()
    if given.write:
        write_page()
        return 0
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


def write_page() -> None:
    """The text of every result at hand, one section each, into docs/performance.md."""
    sections = []
    for name in QUESTIONS:
        path = RESULTS / f"{name}.json"
        if path.exists():
            sections.append(f"### {name}\n\n{json.loads(path.read_text())['text']}")
    put_into_page(HERE.parent / "docs" / "performance.md", "\n\n".join(sections))


if __name__ == "__main__":
    sys.exit(main())
