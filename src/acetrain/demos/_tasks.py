"""Composed tasks: "double, then subtract 42", the programs that solve them, programs that do not, and their tests.

A task is two operators, one after the other, with a constant each. Of the ordered pairs of operators, `split` shows
some to a model and never the rest: what a model does on the rest it cannot have remembered.

Nothing here is from a data set: the tasks are drawn from a `random.Random`, so a seed says it all.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a task.

    Attributes:
        words: how the question says it; `{n}` is the constant.
        code: what `x` becomes, in Python.
        mistaken_for: the operator that wrong demonstrations put in its place.
    """

    words: str
    code: str
    mistaken_for: str


OPERATORS: dict[str, Operator] = {
    "add": Operator("add {n}", "x + {n}", "multiply"),
    "subtract": Operator("subtract {n}", "x - {n}", "reverse"),
    "multiply": Operator("multiply by {n}", "x * {n}", "add"),
    "double": Operator("double", "x + x", "square"),
    "square": Operator("square", "x * x", "double"),
    "negate": Operator("negate", "-x", "absolute"),
    "halve": Operator("halve", "x // 2", "negate"),
    "remainder": Operator("remainder by {n}", "x % {n}", "halve"),
    "cap": Operator("at most {n}", "min(x, {n})", "floor"),
    "floor": Operator("at least {n}", "max(x, {n})", "cap"),
    "absolute": Operator("absolute", "abs(x)", "negate"),
    "reverse": Operator("subtract from {n}", "{n} - x", "subtract"),
    "triple": Operator("triple", "x * 3", "double"),
    "increment": Operator("increment", "x + 1", "negate"),
    "last": Operator("last digit", "abs(x) % 10", "remainder"),
    "invert": Operator("take from zero", "0 - x", "absolute"),
}
PAIRS: tuple[Pair, ...] = tuple(itertools.product(OPERATORS, OPERATORS))
SEEN_SHARE = 0.7
CONSTANTS = (2, 99)
INPUTS = (-50, -7, -2, -1, 0, 1, 3, 8, 20, 64, 150)
TESTS_PER_TASK = 6


@dataclass(frozen=True, slots=True)
class Task:
    """Two operators in order, and the constant of each (which operators without one do not use)."""

    pair: Pair
    constants: tuple[int, int]

    def question(self) -> str:
        """What the model is asked."""
        steps = (OPERATORS[name].words.format(n=n) for name, n in self._steps())
        return "Q: " + ", then ".join(steps) + "\nA:"

    def program(self) -> str:
        """A program that solves it."""
        return _program([OPERATORS[name].code.format(n=n) for name, n in self._steps()])

    def expected(self, x: int) -> int:
        """What a right program returns for `x`."""
        for name, n in self._steps():
            x = eval(OPERATORS[name].code.format(n=n), {"x": x})  # an expression from the table above
        return x

    def tests(self, draw: random.Random | None = None, count: int = TESTS_PER_TASK) -> list[str]:
        """Tests with `count` of the inputs, drawn; with all of them where there is no `draw`."""
        inputs = INPUTS if draw is None else sorted(draw.sample(INPUTS, count))
        return [f"assert f({x}) == {self.expected(x)}" for x in inputs]

    def wrong_program(self, draw: random.Random) -> str:
        """A program of the kind that a model which understood half would write.

        The first step alone (70 % of them), the steps in the other order (15 %), one step mistaken for another (10 %),
        or both (5 %). Some are right by accident: "double, then triple" is the same in either order.
        """
        kind = draw.random()
        if kind < 0.7:
            return Task((self.pair[0], ""), self.constants).program()
        if kind < 0.85:
            return Task(self.pair[::-1], self.constants[::-1]).program()
        names = list(self.pair)
        which = draw.randrange(2)
        for place in (which,) if kind < 0.95 else (0, 1):
            names[place] = OPERATORS[names[place]].mistaken_for
        return Task((names[0], names[1]), self.constants).program()

    def _steps(self) -> list[tuple[str, int]]:
        return [(name, n) for name, n in zip(self.pair, self.constants, strict=True) if name]


def _program(steps: list[str]) -> str:
    return "def f(x):\n" + "".join(f"    x = {step}\n" for step in steps) + "    return x\n"


def split(seed: int) -> tuple[list[Pair], list[Pair]]:
    """The pairs of operators: (those that training may show, those that it never shows)."""
    pairs = list(PAIRS)
    random.Random(f"split {seed}").shuffle(pairs)
    shown = round(SEEN_SHARE * len(pairs))
    return pairs[:shown], pairs[shown:]


def draw_task(draw: random.Random, pairs: list[Pair]) -> Task:
    """A task of one of these pairs, with constants drawn anew."""
    return Task(draw.choice(pairs), (draw.randint(*CONSTANTS), draw.randint(*CONSTANTS)))
