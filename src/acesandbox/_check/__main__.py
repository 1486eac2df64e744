"""`python -m acesandbox._check`: attacks as lines of JSON, for tests that run them in another environment.

With `--follow`, names come one per line on standard input and each is answered before the next is read.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator

from .. import SandboxError
from . import ALL, Attack, choose, run


def _said(**line: object) -> None:
    print(json.dumps(line), flush=True)


def _followed() -> Iterator[Attack]:
    for line in sys.stdin:
        yield from choose([line.strip()])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m acesandbox._check", description=__doc__)
    parser.add_argument("names", nargs="*", help="attacks or families; all without")
    parser.add_argument("--isolation", default="best")
    parser.add_argument("--python")
    parser.add_argument("--profile", default="compute")
    parser.add_argument("--alone", action="store_true", help="this is a pid namespace of its own")
    parser.add_argument("--follow", action="store_true", help="read names from standard input")
    parser.add_argument("--list", action="store_true", help="print the corpus and do nothing")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{attack.family:14} {attack.name:45} {attack.tries}" for attack in ALL))
        return 0
    attacks = _followed() if given.follow else choose(given.names)
    try:
        for outcome in run(
            attacks,
            given.isolation,
            given.python,
            given.alone,
            lambda attack: _said(started=attack.name),
            given.profile,
        ):
            _said(**dataclasses.asdict(outcome))
    except SandboxError as error:
        _said(unavailable=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
