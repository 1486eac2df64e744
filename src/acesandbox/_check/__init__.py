"""The attack corpus, embedded: what `acesandbox check` runs on a user's machine, and our tests on ours.

    records.py        what an attack is; forms of tests with places for secrets
    exit.py           end before the test can fail
    forging.py        make the judge say "passed"
    theft.py          read the expected value where it lies
    cross_program.py  reach the next program, or the one beside
    resources.py      use up what there is
    kernel.py         leave the jail
    prelude.py        how an escape reports
    lures.py          what on the host must stay untouched
    runner.py         runs attacks and says what held

The texts are hostile: they belong into a sandbox. Not covered: side channels in time and caches, faults of the
processor, and faults of the kernel itself behind system calls that programs need.
"""

from __future__ import annotations

from . import cross_program, exit, forging, kernel, resources, theft
from .records import FAMILIES, Attack, Escape, Forgery, Form, Pair
from .runner import BROKEN, FAULTY, HELD, UNTRIED, Outcome, run

ALL: tuple[Attack, ...] = (
    *exit.ATTACKS,
    *forging.ATTACKS,
    *theft.ATTACKS,
    *cross_program.ATTACKS,
    *kernel.ATTACKS,
    *resources.ATTACKS,
)
"""Every attack; names are unique."""


def choose(names: list[str]) -> tuple[Attack, ...]:
    """The attacks with these names or of these families; all of them for an empty list.

    Raises:
        ValueError: nothing is called so.
    """
    known = {attack.name for attack in ALL} | set(FAMILIES)
    for name in names:
        if name not in known:
            raise ValueError(f"there is no attack or family of attacks called {name!r}")
    return tuple(attack for attack in ALL if not names or attack.name in names or attack.family in names)


__all__ = [
    "ALL",
    "BROKEN",
    "FAMILIES",
    "FAULTY",
    "HELD",
    "UNTRIED",
    "Attack",
    "Escape",
    "Forgery",
    "Form",
    "Outcome",
    "Pair",
    "choose",
    "run",
]
