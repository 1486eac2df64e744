"""Small deliberate faults in a program that is believed right: whoever tests it well should notice them.

Mutants are made on the syntax tree with the operators that mutation testing has found to suffice (Offutt et al., 1996:
"An experimental determination of sufficient mutant operators"), and the deletions that later work added:

    comparison      <  to <=    ==  to !=    in  to not in   ...
    arithmetic      +  to -     *   to //    ...             also in augmented assignments
    logic           and to or   not x to x   -x to x
    condition       if c to if not c         a comprehension's filter left out
    constant        n to n + 1, n - 1        True to False   "text" to ""
    statement       left out (assignment, call, raise, break, continue)
    result          return x to return None

Where there are more than are wanted, a seed draws. Some mutants cannot be told from the program by any test; nobody can
know which. So a mutation score is a lower bound, good for comparing, not for grading.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._python import MAX_SOURCE, Refused, parse

MAX_SITES = 5_000
"""Places for a fault that are looked at in one program."""


class Mutant(NamedTuple):
    """A program with one fault in it.

    Attributes:
        program: its source, as the syntax tree has it: without comments, evenly spaced.
        what: the fault, in a line.
    """

    program: str
    what: str


def mutants(program: str, limit: int, seed: int | str = 0) -> list[Mutant]:
    """At most `limit` distinct mutants of a program, in an order of their own that is always the same.

    A program that cannot be read has none. The result depends on the arguments alone.
    """
    tree = parse(program)
    if isinstance(tree, Refused):
        return []
    original = _text(tree)
    if original is None:
        return []
    sites = []
    for site in _sites(tree):
        sites.append(site)
        if len(sites) == MAX_SITES:
            break
    order = list(range(len(sites)))
    random.Random(f"{seed}").shuffle(order)
    seen = {original}
    found: list[tuple[int, Mutant]] = []
    for number in order:
        if len(found) >= limit:
            break
        site = sites[number]
        text = site.applied(tree)
        if text is None or text in seen:
            continue
        seen.add(text)
        if _compiles(text):
            found.append((number, Mutant(text, site.what)))
    return [mutant for _, mutant in sorted(found, key=lambda entry: entry[0])]


class _Site(NamedTuple):
    """One fault: `owner.field` (or its item at `place`) becomes `value`. `old`: what that changes; `new`: into what."""

    owner: ast.AST
    field: str
    place: int | None
    value: Any
    old: ast.AST
    new: ast.AST | None

    @property
    def what(self) -> str:
        line = getattr(self.old, "lineno", 0)
        return (
            f"line {line}: {_short(self.old)} {'left out' if self.new is None else f'to {_short(self.new)}'}"
        )

    def applied(self, tree: ast.Module) -> str | None:
        before = self._put(self.value)
        try:
            return _text(tree)
        finally:
            self._put(before)

    def _put(self, value: Any) -> Any:
        held = getattr(self.owner, self.field)
        if self.place is None:
            setattr(self.owner, self.field, value)
            return held
        before = held[self.place]
        held[self.place] = value
        return before


def _text(tree: ast.AST) -> str | None:
    try:
        text = ast.unparse(ast.fix_missing_locations(tree))
    except (RecursionError, ValueError):
        return None
    return text if len(text) <= MAX_SOURCE else None


def _compiles(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


# ---- where faults go ----

_COMPARES: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_LEFT_OUT = (ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, ast.Break, ast.Continue, ast.Delete, ast.Assert)
# No fault in these changes what a program computes, or every fault stops it from loading.
_UNTOUCHED_FIELDS = {
    "annotation",
    "returns",
    "decorator_list",
    "type_params",
    "bases",
    "keywords",
    "format_spec",
}


def _sites(tree: ast.Module) -> Iterator[_Site]:
    """All faults, in the order of the text. The tree is not changed by looking."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        inner: list[ast.AST] = []
        for field, value in ast.iter_fields(node):
            if field in _UNTOUCHED_FIELDS and not (field == "keywords" and isinstance(node, ast.Call)):
                continue
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST) and not _passed_over(node, field, index, item):
                        yield from _at(node, field, index, item)
                        inner.append(item)
            elif isinstance(value, ast.AST):
                yield from _at(node, field, None, value)
                inner.append(value)
        stack += reversed(inner)


def _passed_over(owner: ast.AST, field: str, index: int, item: ast.AST) -> bool:
    if isinstance(item, (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)):
        return True
    if isinstance(owner, ast.JoinedStr):
        return isinstance(item, ast.Constant)
    if field == "body" and index == 0 and isinstance(item, ast.Expr):
        return isinstance(item.value, ast.Constant)  # a docstring
    if isinstance(item, ast.If) and isinstance(owner, ast.Module):
        return "__name__" in ast.dump(item.test)
    return False


def _at(owner: ast.AST, field: str, index: int | None, node: ast.AST) -> Iterator[_Site]:
    """The faults that replace this node, or one of its operators."""

    def here(value: ast.AST, new: ast.AST | None = None) -> _Site:
        return _Site(owner, field, index, value, node, new or value)

    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            for other in _COMPARES.get(type(op), ()):
                ops: list[ast.cmpop] = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                yield here(ast.Compare(node.left, ops, node.comparators))
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _formats_text(node):
        yield here(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))
    elif isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield here(ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value))
    elif isinstance(node, ast.BoolOp):
        yield here(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield here(node.operand)
    elif isinstance(node, ast.Constant):
        for value in _other_constants(node.value):
            yield here(ast.Constant(value))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield here(ast.Return(ast.Constant(None)))
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not _is_negated_elsewhere(node.test):
        negated = ast.UnaryOp(ast.Not(), node.test)
        yield _Site(node, "test", None, negated, node.test, negated)
    elif isinstance(node, ast.comprehension):
        for place, condition in enumerate(node.ifs):
            kept = [*node.ifs[:place], *node.ifs[place + 1 :]]
            yield _Site(node, "ifs", None, kept, condition, None)
    if isinstance(node, _LEFT_OUT) and index is not None:
        yield _Site(owner, field, index, ast.Pass(), node, None)


def _is_negated_elsewhere(test: ast.expr) -> bool:
    """The operators of the condition itself have its negation among their faults."""
    negation = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    return negation or (isinstance(test, ast.Compare) and len(test.ops) == 1)


def _other_constants(value: object) -> list[bool | int | float | str]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1] if abs(value) < 1 << 64 else [0]
    if isinstance(value, float):
        return [value + 1.0]
    if isinstance(value, str):
        return ["" if value else "mutant"]
    return []


def _formats_text(node: ast.BinOp) -> bool:
    text = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
    return isinstance(node.op, ast.Mod) and (text or isinstance(node.left, ast.JoinedStr))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _short(node: ast.AST) -> str:
    text = " ".join((_text(node) or type(node).__name__).split())
    return text if len(text) <= 60 else text[:57] + "..."
