"""Splitting an assert in two: the calls that the player makes, and the expression that the judge evaluates.

`assert abs(f(2) - 4) < 1e-6` becomes the call `f(2)`, which goes to the player, and `abs($0 - 4) < 1e-6`, which
stays. The persistent judge evaluates nothing but expressions of a small allowed kind, over decoded values of exact
built-in types: comparisons, arithmetic, harmless builtins, `math`, methods of built-in types, comprehensions. Whatever
is outside that kind is `NotPlannable` and runs in a test process instead.

Two rules keep a program from answering for itself:

- Methods of built-in types on a result (`f(x).startswith("ab")`, `f(x).issubset(s)`) are called by the judge on the
  decoded value, never lifted into the player, where an object of the program's could say True.
- Operators, comparisons, membership and truth are always the judge's.

A call is lifted only if it is evaluated unconditionally and exactly once: not in a later operand of `and`/`or`, a later
link of a chained comparison, a branch of a conditional expression, or the inside of a comprehension or lambda.
"""

from __future__ import annotations

import ast
import builtins
import cmath
import math
from types import CodeType
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from .folding import Unfoldable, fold


class NotPlannable(Exception):
    """Why this assert cannot be split; the text is shown to people."""


# What is called on the judge's side when it follows a call of the program. `all`, `any`, `equals` and the like are
# numpy's and pandas'; they decide, so they are not the player's to answer either.
VALUE_METHODS = frozenset(
    name
    for kind in (str, bytes, int, float, complex, list, tuple, dict, set, frozenset)
    for name in dir(kind)
    if not name.startswith("_")
) | {"all", "any", "equals", "tolist", "item"}

_ALLOWED_METHODS = frozenset(
    VALUE_METHODS - {"format", "format_map", "all", "any", "equals", "tolist", "item"}
)

_ALLOWED_BUILTINS = (
    *(
        "abs",
        "all",
        "any",
        "ascii",
        "bin",
        "bool",
        "bytearray",
        "bytes",
        "chr",
        "complex",
        "dict",
        "divmod",
        "enumerate",
    ),
    *(
        "filter",
        "float",
        "frozenset",
        "hex",
        "int",
        "isinstance",
        "len",
        "list",
        "map",
        "max",
        "min",
        "oct",
        "ord",
        "pow",
    ),
    *("range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip"),
    *("True", "False", "None", "Ellipsis", "object"),
)
_MODULES = {"math": math, "cmath": cmath}
_HEAVY_MATH = frozenset({"factorial", "comb", "perm", "prod"})

MAX_RANGE = 1_000_000


def _bounded_iteration(name: str) -> Callable[..., Any]:
    """The builtin, refusing a lazy range that a program returned to make the judge walk for ever."""
    function = getattr(builtins, name)

    def bounded(*arguments: Any, **keywords: Any) -> Any:
        for argument in arguments:
            if type(argument) is range and len(argument) > MAX_RANGE:
                raise OverflowError(f"{name}() of a range of {len(argument)} items")
        return function(*arguments, **keywords)

    return bounded


def _safe_pow(base: Any, exponent: Any, modulus: Any = None) -> Any:
    both = modulus is None and type(base) is int and type(exponent) is int
    if both and base.bit_length() * abs(exponent) > 10_000_000:
        raise OverflowError("pow() with a result of more than 10 million bits")
    return pow(base, exponent, modulus)


_EVALUATION_BUILTINS: Dict[str, Any] = {
    n: getattr(builtins, n) for n in _ALLOWED_BUILTINS if hasattr(builtins, n)
}
for _name in ("all", "any", "max", "min", "sorted", "sum"):
    _EVALUATION_BUILTINS[_name] = _bounded_iteration(_name)
_EVALUATION_BUILTINS["pow"] = _safe_pow


# The types stay real, for `isinstance` and `type(x) == list`; a range that is too long never reaches them because the
# judge looks at the decoded result before it evaluates (`check_iterable`).


def check_iterable(value: Any) -> None:
    """Refuse a result that is cheap to send and for ever to walk.

    Raises:
        OverflowError: a range of more than a million items.
    """
    if type(value) is range and (value.stop - value.start) // value.step > MAX_RANGE:
        raise OverflowError(f"a range of more than {MAX_RANGE} items was returned")


class Split:
    """An assert's expression in two parts.

    Attributes:
        calls: the lifted expressions, in the order of their evaluation.
        rest: the expression that remains, each call replaced by the name `$0`, `$1`, …
    """

    def __init__(self, calls: List[ast.expr], rest: ast.expr) -> None:
        self.calls = calls
        self.rest = rest


def split(expression: ast.expr, program_names: Set[str], forbidden: Set[str]) -> Split:
    """Lift the program's calls out of an assert's expression.

    Args:
        expression: what stands behind `assert`; it is changed.
        program_names: names that come from the program.
        forbidden: names that only a test process can resolve (the test's own, modules, helpers of the prompt).

    Raises:
        NotPlannable: it is not of the kind that can be split.
    """
    lifter = _Lifter(program_names, forbidden)
    rest = lifter.visit(expression)
    if not lifter.calls:
        raise NotPlannable("no call of the program")
    _check_allowed(rest, forbidden)
    return Split(lifter.calls, rest)


class _Lifter:
    def __init__(self, program_names: Set[str], forbidden: Set[str]) -> None:
        self.program_names = program_names
        self.forbidden = forbidden
        self.calls: List[ast.expr] = []

    def visit(self, node: ast.expr) -> ast.expr:
        """Replace the lifted parts below `node`, which is evaluated unconditionally."""
        if self._chain_length(node):
            self.calls.append(_Inliner(self.forbidden).visit(node))
            name = ast.Name(id=f"${len(self.calls) - 1}", ctx=ast.Load())
            return ast.copy_location(name, node)
        if isinstance(node, ast.BoolOp):
            node.values[0] = self.visit(node.values[0])
            self._must_not_call(node.values[1:])
        elif isinstance(node, ast.Compare):
            node.left = self.visit(node.left)
            node.comparators[0] = self.visit(node.comparators[0])
            self._must_not_call(node.comparators[1:])
        elif isinstance(node, ast.IfExp):
            node.test = self.visit(node.test)
            self._must_not_call([node.body, node.orelse])
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            first = node.generators[0]
            first.iter = self.visit(first.iter)
            kept, first.iter = first.iter, ast.Constant(value=None)
            self._must_not_call([node])
            first.iter = kept
        elif isinstance(node, ast.Lambda):
            self._must_not_call([node])
        else:
            for field, value in ast.iter_fields(node):
                if isinstance(value, ast.expr):
                    setattr(node, field, self.visit(value))
                elif isinstance(value, list):
                    value[:] = [self.visit(v) if isinstance(v, ast.expr) else v for v in value]
                    for item in value:
                        if isinstance(item, ast.keyword):
                            item.value = self.visit(item.value)
        return node

    def _must_not_call(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            for item in ast.walk(node):
                if isinstance(item, ast.Name) and item.id in self.program_names:
                    raise NotPlannable("calls the program conditionally or repeatedly")

    def _chain_length(self, node: ast.expr) -> int:
        """How many links of the chain `name(...).attribute[...]` down from `node` may be lifted: all or none (0)."""
        links: List[ast.expr] = []
        item: ast.expr = node
        while True:
            if isinstance(item, ast.Call):
                links.append(item)
                item = item.func
            elif isinstance(item, (ast.Attribute, ast.Subscript)):
                links.append(item)
                item = item.value
            else:
                break
        if not (isinstance(item, ast.Name) and item.id in self.program_names):
            return 0
        if not links:
            raise NotPlannable(f"uses {item.id} other than by calling it")
        links.reverse()
        if isinstance(links[-1], ast.Subscript):
            return 0
        looks_like_class = item.id[:1].isupper()
        # A class's first method is the class's own, whatever its name; what follows may be a built-in value.
        own_attributes = 1 if looks_like_class else 0
        calls = 0
        for number, link in enumerate(links):
            if isinstance(link, ast.Call):
                calls += 1
            elif isinstance(link, ast.Attribute) and calls:
                if own_attributes:
                    own_attributes -= 1
                elif link.attr in VALUE_METHODS:
                    if looks_like_class:
                        raise NotPlannable(f"cannot tell whose .{link.attr} it is before it is called")
                    return 0
                elif link.attr.startswith("__"):
                    raise NotPlannable(f"looks at {link.attr}")
            elif isinstance(link, ast.Attribute):
                if link.attr.startswith("__"):
                    raise NotPlannable(f"looks at {link.attr}")
                own_attributes = 0
            elif number == 0:
                raise NotPlannable("subscript of a name of the program")
        return len(links)


class _Inliner(ast.NodeTransformer):
    """Makes a lifted call self-sufficient: trusted constants are folded in, sets are built in the order written.

    `{8, 0, 16}` in an argument is compiled to a frozenset constant, and marshal sorts those: the set that the program
    gets would be iterated in another order than in the reference harness.
    """

    def __init__(self, forbidden: Set[str]) -> None:
        self.forbidden = forbidden

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            raise NotPlannable(f"{type(node).__name__} in an argument")
        if isinstance(node, (ast.Call, ast.Attribute)) and _mentions(node, self.forbidden):
            try:
                value = fold(node)
            except Unfoldable:
                pass
            else:
                if type(value) in (int, float, str, bool, complex):
                    return ast.copy_location(ast.Constant(value=value), node)
        if isinstance(node, ast.Name) and node.id in self.forbidden:
            raise NotPlannable(f"an argument needs {node.id}")
        if isinstance(node, ast.Set):
            self.generic_visit(node)
            ordered = ast.Call(
                func=ast.Name(id="frozenset", ctx=ast.Load()),
                args=[ast.Tuple(elts=node.elts, ctx=ast.Load())],
                keywords=[],
            )
            return ast.copy_location(ast.Set(elts=[ast.Starred(value=ordered, ctx=ast.Load())]), node)
        return self.generic_visit(node)


def _mentions(node: ast.AST, names: Set[str]) -> bool:
    return any(isinstance(item, ast.Name) and item.id in names for item in ast.walk(node))


_ALLOWED_NODES = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.Subscript, ast.Slice, ast.IfExp),
    *(
        ast.Compare,
        ast.BoolOp,
        ast.UnaryOp,
        ast.BinOp,
        ast.ListComp,
        ast.SetComp,
        ast.DictComp,
        ast.GeneratorExp,
    ),
    *(ast.comprehension, ast.Lambda, ast.arguments, ast.arg, ast.keyword, ast.JoinedStr, ast.FormattedValue),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
# Operators whose cost is not bounded by the size of their operands.
_REFUSED_OPERATORS = (ast.Pow, ast.LShift, ast.MatMult)


def _check_allowed(expression: ast.expr, forbidden: Set[str]) -> None:
    """Only what the persistent judge may evaluate.

    Raises:
        NotPlannable: something else is in it.
    """
    bound: Set[str] = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    functions: Set[int] = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            functions.add(id(node.func))
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            name = node.id
            if name.startswith("$") or name in bound or name in _MODULES:
                continue
            if name in _EVALUATION_BUILTINS and name not in forbidden:
                continue
            raise NotPlannable(f"needs {name}")
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in _MODULES and node.value.id not in bound:
                if node.attr.startswith("_") or node.attr in _HEAVY_MATH:
                    raise NotPlannable(f"needs {node.value.id}.{node.attr}")
            elif id(node) not in functions or node.attr not in _ALLOWED_METHODS:
                raise NotPlannable(f"looks at .{node.attr}")
            continue
        if isinstance(node, ast.BinOp) and isinstance(node.op, _REFUSED_OPERATORS):
            try:
                fold(node)
            except Unfoldable:
                raise NotPlannable("an operator whose cost has no bound") from None
            continue
        if isinstance(node, ast.Compare):
            for operator, operand in zip(node.ops, [node.left, *node.comparators]):
                if isinstance(operator, (ast.Is, ast.IsNot)) and isinstance(operand, ast.Name):
                    others = [n for n in [node.left, *node.comparators] if n is not operand]
                    if not all(isinstance(n, ast.Constant) for n in others):
                        raise NotPlannable("compares identities")
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            raise NotPlannable("formats with a width")
        if not isinstance(node, (ast.Call, *_ALLOWED_NODES)):
            raise NotPlannable(f"{type(node).__name__} in the assert")


def compile_rest(rest: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(body=rest)), "<test>", "eval")


def compile_call(calls: List[ast.expr]) -> CodeType:
    """One code object for the player; several calls become one tuple, evaluated in order."""
    body = calls[0] if len(calls) == 1 else ast.Tuple(elts=calls, ctx=ast.Load())
    return compile(ast.fix_missing_locations(ast.Expression(body=body)), "<call>", "eval")


def evaluate(code: CodeType, values: Tuple[Any, ...]) -> Any:
    """The judge's part, with the values that came back; whatever it raises is the caller's to report."""
    names: Dict[str, Any] = {"__builtins__": _EVALUATION_BUILTINS, **_MODULES}
    for number, value in enumerate(values):
        check_iterable(value)
        names[f"${number}"] = value
    return eval(code, names)


def constant_of(node: ast.expr) -> Tuple[Optional[Any], bool]:
    """`(value, True)` for a constant expression, `(None, False)` for any other."""
    try:
        return fold(node), True
    except Unfoldable:
        return None, False
