"""Constants of a test that are written as expressions: `[0] * 5`, `float('inf')`, `2 ** 10`, `set()`, `math.pi`.

Folded once, when a problem is planned, so that the bytes of the expected value can be compared without asking anybody.
Tests are model-written: every step is bounded, and what is not worth a bound is not folded (`Unfoldable`), which means
that it is evaluated later, in a process that may be killed for it.
"""

from __future__ import annotations

import ast
import math
import operator
from typing import Any, Callable, Dict

MAX_ITEMS = 1_000_000
MAX_BITS = 1_000_000


class Unfoldable(Exception):
    """Not a constant, or not one that can be had cheaply."""


_UNARY: Dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_BINARY: Dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_CALLS: Dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(set, frozenset, list, tuple, dict, sorted, range, float, int, str, bool, complex, bytes, bytearray),
        *(len, abs, min, max, sum, round, ord, chr),
    )
}
_NUMBERS = (bool, int, float, complex)


def literal(node: ast.AST) -> Any:
    """The value of a literal as `ast.literal_eval` knows them.

    Raises:
        Unfoldable: it is none.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise Unfoldable from error


def fold(node: ast.AST) -> Any:
    """The value of a constant expression.

    Raises:
        Unfoldable: it is none, it is too large, or evaluating it fails.
    """
    try:
        return _fold(node)
    except Unfoldable:
        raise
    except Exception as error:
        raise Unfoldable from error


def _fold(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_fold(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple([_fold(item) for item in node.elts])
    if isinstance(node, ast.Set):
        return {_fold(item) for item in node.elts}
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise Unfoldable
        return {_fold(key): _fold(value) for key, value in zip(node.keys, node.values) if key is not None}
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_fold(node.operand))
    if isinstance(node, ast.BinOp):
        return _fold_binary(node)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
        value = getattr(math, node.attr)
        if type(value) is float:
            return value
    if isinstance(node, ast.Call):
        return _fold_call(node)
    raise Unfoldable


def _fold_binary(node: ast.BinOp) -> Any:
    left, right = _fold(node.left), _fold(node.right)
    if isinstance(node.op, ast.Pow):
        if not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
            raise Unfoldable
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
            raise Unfoldable
    elif isinstance(node.op, ast.Mult):
        for sequence, times in ((left, right), (right, left)):
            if isinstance(sequence, _NUMBERS):
                continue
            if type(times) is not int or len(sequence) * times > MAX_ITEMS or _holds_mutable(sequence):
                raise Unfoldable
    elif isinstance(node.op, ast.Mod) and not isinstance(left, _NUMBERS):
        raise Unfoldable
    operation = _BINARY.get(type(node.op))
    if operation is None:
        raise Unfoldable
    return _bounded(operation(left, right))


def _fold_call(node: ast.Call) -> Any:
    if any(k.arg is None for k in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args):
        raise Unfoldable
    function: Any = None
    if isinstance(node.func, ast.Name):
        function = _CALLS.get(node.func.id)
    elif (
        isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "math"
        and node.func.attr not in ("factorial", "comb", "perm", "prod")
    ):
        function = getattr(math, node.func.attr)
    if function is None:
        raise Unfoldable
    arguments = [_fold(item) for item in node.args]
    keywords = {k.arg: _fold(k.value) for k in node.keywords if k.arg is not None}
    if function in (bytes, bytearray) and any(type(a) is int for a in arguments):
        raise Unfoldable
    for argument in arguments:
        if type(argument) is range and len(argument) > MAX_ITEMS:
            raise Unfoldable
    return _bounded(function(*arguments, **keywords))


def _holds_mutable(sequence: Any) -> bool:
    return type(sequence) is not str and any(isinstance(i, (list, dict, set, bytearray)) for i in sequence)


def _bounded(value: Any) -> Any:
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise Unfoldable
    if isinstance(value, (str, bytes, list, tuple, set, dict)) and len(value) > MAX_ITEMS:
        raise Unfoldable
    return value
