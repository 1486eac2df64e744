"""What an attack is: three kinds of record, and the forms of tests that forgeries are judged by.

Every record says what a hostile program tries and carries the program's text. How success shows depends on the kind:

* `Forgery`: wants a verdict it has not earned. The tests demand fresh random values (`@0@`, `@1@`, ... in the
  texts) that no program can compute, so whoever passes has stolen or forged. For every form of tests there is an
  honest program, made with the same values, that must pass: tests that nobody can pass would prove nothing.
* `Escape`: wants something outside its jail, or more than its share. The text defines `attack()`, which calls
  `trial(what, thunk)` for each thing it tries; what comes back true is an escape (`prelude.py`). The runner also looks
  at the host: lures, processes, memory.
* `Pair`: one program plants, another one collects, on the same worker or on two at the same time.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from .. import Asserts, CheckScript, Functional, Stdio, UnitTests
from .._tests import Tests

EXIT, FORGING, THEFT = "exit", "forging", "theft"
CROSS_PROGRAM, RESOURCES, KERNEL = "cross_program", "resources", "kernel"
FAMILIES = (EXIT, FORGING, THEFT, CROSS_PROGRAM, RESOURCES, KERNEL)

SECRET_PREFIX = "ACE-SECRET-"  # followed by 32 hexadecimal digits; theft attacks look for it


@dataclass(frozen=True)
class Form:
    """Tests with places for secrets, and an honest program that passes them."""

    name: str
    kind: str  # asserts, check_script, unittest, functional or stdio
    texts: tuple[str, ...]  # of stdio and functional: input, output, input, output, ...
    honest: str
    secrets: int = 3
    free: tuple[int, ...] = ()
    """Tests of the list that anybody may pass: imports, and questions without a secret."""


@dataclass(frozen=True)
class Forgery:
    """A program that wants to pass without solving anything."""

    name: str
    family: str
    tries: str
    program: str
    forms: tuple[Form, ...]
    fools: tuple[str, ...] = ()
    """Plain judges (see tests/sandbox/attacks/plain.py) that let it pass, in at least one of the forms."""
    not_plain: str = ""
    """Why no plain judge is fooled: then the attack is aimed at this sandbox's own machinery."""
    seconds: float = 15.0
    """The verdict must be there by then."""
    profiles: tuple[str, ...] = ("compute", "system")


@dataclass(frozen=True)
class Escape:
    """A program that wants out, or wants more than its share."""

    name: str
    family: str
    tries: str
    program: str
    positions: tuple[str, ...] = ("script", "program", "tests")
    """Where it runs: `script` by Sandbox.run, `program` as a judged program, `tests` as test code in the judge."""
    limits: dict[str, float] = field(default_factory=dict)
    may_die: bool = True
    """Whether a verdict such as killed or memory_limit is fine; otherwise the attack must report to its end."""
    seconds: float = 15.0
    most_mb: int = 0
    """What all the sandbox's processes may hold of private memory beyond the idle sandbox; 0: not watched."""
    most_processes: int = 0
    """Processes and threads likewise."""
    tiers: tuple[str, ...] = ("namespaces", "seccomp")
    """Tiers whose promise covers this. The others report it as not tried."""
    inspect: bool = False
    """Look at the kernel's own record of every process that runs the attack: uid, capabilities, filter."""
    profiles: tuple[str, ...] = ("compute", "system")
    """Profiles whose promise covers this. In the others it is something that programs may do."""
    after: str = ""
    """Only tried when the attack of this name held: used where success would hurt the user's session."""


@dataclass(frozen=True)
class Pair:
    """Two programs that want to meet. Both texts define `attack()`; only the collector's trials count."""

    name: str
    tries: str
    plant: str
    collect: str
    parallel: bool = False
    tiers: tuple[str, ...] = ("namespaces", "seccomp")
    profiles: tuple[str, ...] = ("compute", "system")
    limits: dict[str, float] = field(default_factory=dict)
    family: str = CROSS_PROGRAM
    seconds: float = 15.0


Attack = Forgery | Escape | Pair


def fresh(count: int) -> list[str]:
    """Values that nobody has seen."""
    return [SECRET_PREFIX + secrets.token_hex(16) for _ in range(count)]


def fill(text: str, values: list[str]) -> str:
    """Put secrets in their places: `@0@` becomes the first one, `#0#` its digits as a decimal number."""
    for number, value in enumerate(values):
        text = text.replace(f"@{number}@", value)
        text = text.replace(f"#{number}#", str(int(value.removeprefix(SECRET_PREFIX), 16)))
    return text


def make_tests(form: Form, values: list[str]) -> Tests:
    """The form's tests with these secrets."""
    texts = [fill(text, values) for text in form.texts]
    if form.kind == "asserts":
        return Asserts(texts, entry_point="f")
    if form.kind == "check_script":
        return CheckScript(texts[0], "f")
    if form.kind == "unittest":
        return UnitTests(texts[0], entry_point="f")
    couples = list(zip(texts[::2], texts[1::2], strict=True))
    if form.kind == "stdio":
        return Stdio(couples)
    return Functional([([int(x)], want) for x, want in couples], fn_name="f")


_HONEST = "def f(x):\n    return {1: '@0@', 2: '@1@', 3: '@2@'}[x]\n"

PLANNED = Form(
    "planned",
    "asserts",
    ("assert f(1) == '@0@'", "assert '@1@' == f(2)", "assert not f(3) != '@2@', 'third'"),
    _HONEST,
)
SCRIPT = Form(
    "script",
    "check_script",
    (
        """
def check(candidate):
    for x, want in [(1, "@0@"), (2, "@1@"), (3, "@2@")]:
        got = candidate(x)
        assert got == want
        assert not got != want
""",
    ),
    _HONEST,
)
UNITTEST = Form(
    "unittest",
    "unittest",
    (
        """
import unittest

class TestF(unittest.TestCase):
    def test_one(self):
        self.assertEqual(f(1), "@0@")

    def test_two(self):
        self.assertTrue(f(2) == "@1@")

    def test_three(self):
        self.assertIn(f(3), ["@2@"])
""",
    ),
    _HONEST,
)
FUNCTIONAL = Form("functional", "functional", ("1", "@0@", "2", "@1@", "3", "@2@"), _HONEST)
STDIO = Form(
    "stdio",
    "stdio",
    ("1\n", "@0@\n", "2\n", "@1@\n"),
    "print({'1': '@0@', '2': '@1@'}[input().strip()])\n",
    2,
)
# Tests that take the result through something: an index, a set, a conversion, a difference.
THROUGH = Form(
    "through",
    "asserts",
    (
        "assert set(f(1)) == {'@0@'}",
        "assert sorted(f(2)) == ['@1@', 'z']",
        "assert f(3)[0] == '@2@'",
        "assert '@3@' in f(4)",
        "assert f(5) in ['@4@']",
        "assert str(f(6)) == '@5@'",
        "assert [x for x in f(7)] == ['@6@']",
        "assert f(8) is not None and f(8) == '@7@'",
    ),
    "def f(x):\n"
    "    return {1: ['@0@'], 2: ['z', '@1@'], 3: ['@2@'], 4: ['@3@'], 5: '@4@', 6: '@5@', 7: ['@6@'], 8: '@7@'}[x]\n",
    8,
)
NUMBERS = Form(
    "numbers",
    "asserts",
    (
        "assert abs(f(1) - #0#) < 1e-6",
        "assert abs(f(2) - #1#) <= 0.001, 'second'",
        "assert f(3) == #2#",
        "assert #3# - 1 < f(4) < #3# + 1",
        "assert f(5) - #4# == 0",
        "assert round(f(6), 2) == #5#",
    ),
    "def f(x):\n    return {1: #0#, 2: #1#, 3: #2#, 4: #3#, 5: #4#, 6: #5#}[x]\n",
    6,
)

EVERYDAY = (PLANNED, SCRIPT, UNITTEST)
ALL_FORMS = (PLANNED, THROUGH, NUMBERS, SCRIPT, UNITTEST, FUNCTIONAL, STDIO)
