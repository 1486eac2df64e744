"""Which function the tests of a question call, and whether they agree on it.

The paper asks for questions that one function answers, and never looks whether the tests keep to that. Read from the
tests' syntax tree: the names that are called, less Python's built-ins, names that come from a module (`math.isclose`),
methods, and names that the test itself binds (a lambda's argument, a comprehension's variable). A wrapper around the
call (`sorted(f(x))`, `abs(f(x) - 1) < 1e-6`) is therefore no second function.

`entry_point` is for every build: the name, as the sandbox likes to know it, or None where tests do not agree.
`check_signature` is the optional check: it drops tests and questions that do not agree, and says why.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ._python import Refused, parse
from ._questions import DroppedTest

_BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Call:
    """How one test calls a function of the program.

    Attributes:
        name: of the function.
        arity: number of positional arguments; None where `*` or `**` hides it.
        keywords: names of keyword arguments, sorted.
    """

    name: str
    arity: int | None
    keywords: tuple[str, ...]


def calls_of(test: str) -> tuple[Call, ...]:
    """The calls of the program's functions in a test, in the order of the text; none for what is not Python."""
    tree = parse(test)
    return () if isinstance(tree, Refused) else _calls(tree)


def _calls(tree: ast.Module) -> tuple[Call, ...]:
    bound = _bound(tree)
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id in _BUILTINS or node.func.id in bound:
            continue
        hidden = any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            keyword.arg is None for keyword in node.keywords
        )
        keywords = tuple(sorted(keyword.arg for keyword in node.keywords if keyword.arg is not None))
        place = (node.lineno, node.col_offset)
        found.append((place, Call(node.func.id, None if hidden else len(node.args), keywords)))
    return tuple(call for _, call in sorted(found, key=lambda entry: entry[0]))


def _bound(tree: ast.Module) -> set[str]:
    names = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def entry_point(tests: Sequence[str]) -> str | None:
    """The one function that tests call.

    Returns:
        The name that every test calls, if there is exactly one such name; None otherwise. Tests that are not Python,
        and tests that call no function of the program, have no say.
    """
    everywhere: set[str] | None = None
    for test in tests:
        names = {call.name for call in calls_of(test)}
        if names:
            everywhere = names if everywhere is None else everywhere & names
    return next(iter(everywhere)) if everywhere is not None and len(everywhere) == 1 else None


@dataclass(frozen=True, slots=True)
class Signature:
    """What the tests of a question agree on.

    Attributes:
        name: the function.
        kept: places of the tests that call it, and it alone.
        dropped: the other tests and why: "calls no function", "calls several functions", "calls another function".
        arities: the numbers of arguments it is called with, keywords counted, smallest first. More than one is a
            function with optional arguments, or a question whose tests disagree.
    """

    name: str
    kept: tuple[int, ...]
    dropped: tuple[DroppedTest, ...]
    arities: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NoSignature:
    """Why a question's tests have no common function.

    Attributes:
        reason: "no single entry point" or "calls differ in arity".
        detail: for people.
    """

    reason: str
    detail: str


MAX_ARITIES = 2
"""Numbers of arguments that a function may be called with: one optional argument is common, more is a mix-up."""


def check_signature(tests: Sequence[str]) -> Signature | NoSignature:
    """Whether tests call exactly one common function, in a common way.

    The function is the one that most tests call; it must be called, alone, by more than half of them. Tests that do not
    are left out. What is left may use at most `MAX_ARITIES` numbers of arguments.
    """
    calls = [calls_of(test) for test in tests]
    names = Counter(name for each in calls for name in dict.fromkeys(call.name for call in each))
    if not names:
        return NoSignature("no single entry point", "no test calls a function")
    # The most common; of equally common ones the first in the tests' order.
    name = names.most_common(1)[0][0]
    kept: list[int] = []
    dropped: list[DroppedTest] = []
    arities: set[int] = set()
    for place, each in enumerate(calls):
        called = {call.name for call in each}
        if called == {name}:
            kept.append(place)
            arities |= {call.arity + len(call.keywords) for call in each if call.arity is not None}
        else:
            reason = "calls another function" if len(called) == 1 else "calls several functions"
            dropped.append(
                DroppedTest(place, reason if called else "calls no function", ", ".join(sorted(called))[:200])
            )
    if 2 * len(kept) <= len(tests):
        others = ", ".join(f"{other} in {count}" for other, count in names.most_common(4))
        return NoSignature("no single entry point", f"of {len(tests)} tests: {others}"[:200])
    if len(arities) > MAX_ARITIES:
        return NoSignature(
            "calls differ in arity", f"{name} with {', '.join(map(str, sorted(arities)))} arguments"
        )
    return Signature(name, tuple(kept), tuple(dropped), tuple(sorted(arities)))
