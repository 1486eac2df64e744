"""Whether a benchmark's own tests can be read, found out while their row is.

A test that no interpreter can read fails every program, and a `test` without `check` passes every one: both would be
numbers of nothing. Python is compiled and never run; what our own parser gives up on for its size or depth is left to
the judge, whose interpreter may be another version.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import keyword
import warnings

from acedata._errors import BadInput
from acedata._rows import Row

_MODULE_NAMES = frozenset({"STORE_NAME", "STORE_GLOBAL"})
_seen: set[bytes] = set()
"""Digests of sources that were read already: a benchmark is read several times, and half a megabyte takes a second."""


def check_source(row: Row, column: str, source: str, *, defines: str | None = None) -> None:
    """Refuses a source that is not Python.

    Args:
        row, column: where it stands.
        defines: a name that it must give to something at its top level.

    Raises:
        BadInput: with the row's place.
    """
    digest = hashlib.sha256(f"{defines}\0{source}".encode("utf-8", "surrogatepass")).digest()
    if digest in _seen:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, "<test>", "exec", dont_inherit=True)
    except (RecursionError, MemoryError):
        return
    except SyntaxError as error:
        if "integer string conversion" in str(error.msg):
            return  # a limit of this process, which the judge's interpreter need not have
        at = f" (its line {error.lineno})" if error.lineno else ""
        raise BadInput(f"{row.where}: {column} is not valid Python: {error.msg}{at}") from None
    except (ValueError, OverflowError) as error:  # a NUL, a lone surrogate
        raise BadInput(f"{row.where}: {column} is not valid Python: {error}") from None
    if defines is not None:
        given = {one.argval for one in dis.get_instructions(code) if one.opname in _MODULE_NAMES}
        if defines not in given:
            raise BadInput(
                f"{row.where}: {column} does not define {defines!r}, so it would pass every program"
            )
    _seen.add(digest)


def check_unit_tests(row: Row, column: str, source: str) -> None:
    """Refuses a source that is not Python, or has no test case of `unittest` with a test method.

    Raises:
        BadInput: with the row's place.
    """
    check_source(row, column, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (RecursionError, MemoryError, SyntaxError, ValueError):
        return  # what `check_source` let through
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {ast.unparse(base).rpartition(".")[2] for node in classes for base in node.bases}
    if not any(base.endswith("TestCase") for base in bases):
        raise BadInput(f"{row.where}: {column} has no class of unittest.TestCase, so it would test nothing")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = [one.name for node in classes for one in node.body if isinstance(one, functions)]
    if not any(name.startswith("test") for name in methods):
        raise BadInput(f"{row.where}: {column} has no test method, so it would test nothing")


def check_name(row: Row, column: str, name: str) -> None:
    """Refuses what cannot be the name of a function.

    Raises:
        BadInput: with the row's place.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise BadInput(f"{row.where}: {column} must be the name of a function, not {name[:80]!r}")
