"""Parses Python text that nobody vouches for: seeds, models' tests, files of unknown make.

`ast.parse` is kept from doing harm: length is bounded before it (a tree takes up to two thousand bytes for a
character), depth after it. The depth limit is also what makes the answer the same everywhere: where Python itself gives
up depends on how deep the caller's own stack is.
"""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple

MAX_SOURCE = 100_000
"""Longest source that is parsed, in characters."""

MAX_DEPTH = 200
"""Deepest nesting of the tree. An `elif` counts as one deeper than its `if`, as in the tree."""


class Refused(NamedTuple):
    """Why a source is not taken.

    Attributes:
        reason: short, countable: "too long", "not valid Python", "nested too deeply".
        detail: what Python says, without addresses.
    """

    reason: str
    detail: str


def parse(source: str) -> ast.Module | Refused:
    """The tree of a source, or why there is none. Raises nothing, prints nothing."""
    if len(source) > MAX_SOURCE:
        return Refused("too long", f"{len(source):,} characters; the limit is {MAX_SOURCE:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (RecursionError, MemoryError):
        return Refused("nested too deeply", "Python's parser gave up")
    except SyntaxError as error:
        place = f"line {error.lineno}: " if error.lineno else ""
        return Refused("not valid Python", f"{place}{error.msg}"[:200])
    except (ValueError, OverflowError) as error:
        # NUL bytes, lone surrogates, numbers beyond the limit.
        return Refused("not valid Python", f"{type(error).__name__}: {error}"[:200])
    if _deeper_than(tree, MAX_DEPTH):
        return Refused("nested too deeply", f"more than {MAX_DEPTH} levels")
    return tree


def _deeper_than(tree: ast.AST, limit: int) -> bool:
    level: list[ast.AST] = [tree]
    for _ in range(limit):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True
