"""`python -m acesandbox._check`: attacks as lines of JSON, for tests that run them in another environment."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from .. import SandboxError
from . import ALL, choose, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m acesandbox._check", description=__doc__)
    parser.add_argument("names", nargs="*", help="attacks or families; all without")
    parser.add_argument("--isolation", default="best")
    parser.add_argument("--python")
    parser.add_argument("--alone", action="store_true", help="this is a pid namespace of its own")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{attack.family:14} {attack.name:45} {attack.tries}" for attack in ALL))
        return 0
    try:
        for outcome in run(
            choose(given.names),
            given.isolation,
            given.python,
            given.alone,
            lambda attack: print(json.dumps({"started": attack.name}), flush=True),
        ):
            print(json.dumps(dataclasses.asdict(outcome)), flush=True)
    except SandboxError as error:
        print(json.dumps({"unavailable": str(error)}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
