"""Where the names of a test come from: the test itself, builtins, the standard library, the prompt, the program.

In this order. The order is what makes a verdict hard to forge: whatever can be had from a trusted place is never taken
from the program, and a test that needs more of the program than its entry point is reported as `oracle="program"`.

What counts as trusted helper code in a prompt: imports, assignments of constants, and functions *with a body*. A
function that is only a signature and a docstring is what the model was asked to write, not a helper. Classes are not
taken from the prompt: their instances go to the program and come back, so both sides must mean the same class.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections import Counter
from typing import Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

BUILTIN_NAMES: FrozenSet[str] = frozenset(n for n in dir(builtins) if n != "_")

# Exported names of the standard library that a program hardly ever defines with another meaning, and short names that
# everybody gives to the same package. A test that uses them gets the real thing, not the program's.
WELL_KNOWN: Dict[str, Tuple[str, Optional[str]]] = {
    "Counter": ("collections", "Counter"),
    "OrderedDict": ("collections", "OrderedDict"),
    "defaultdict": ("collections", "defaultdict"),
    "deque": ("collections", "deque"),
    "namedtuple": ("collections", "namedtuple"),
    "Fraction": ("fractions", "Fraction"),
    "Decimal": ("decimal", "Decimal"),
    "isclose": ("math", "isclose"),
    "np": ("numpy", None),
    "pd": ("pandas", None),
    "plt": ("matplotlib.pyplot", None),
    "sns": ("seaborn", None),
}


def _standard_library() -> FrozenSet[str]:
    known = getattr(sys, "stdlib_module_names", None)
    if known is not None:
        return frozenset(n for n in known if not n.startswith("_"))
    folder = os.path.dirname(os.__file__)  # Python 3.9 has no such list
    found = {n.split(".")[0] for n in sys.builtin_module_names if not n.startswith("_")}
    for entry in os.listdir(folder) + os.listdir(os.path.join(folder, "lib-dynload")):
        name = entry.split(".")[0]
        if name.isidentifier() and not name.startswith("_") and name != "site-packages":
            found.add(name)
    return frozenset(found)


STANDARD_LIBRARY: FrozenSet[str] = _standard_library()


class Uses(ast.NodeVisitor):
    """The names that a piece of code takes from outside itself, those that it binds, and those that it calls.

    Scopes are flattened on purpose: a name bound anywhere in the code counts as the code's own. Only one error is
    possible, a name that is a local here and a global of the program there, and `functions` keeps it small by
    walking each function with its own set of locals.
    """

    def __init__(self) -> None:
        self.loaded: Dict[str, None] = {}
        self.bound: Set[str] = set()
        self.called: Counter[str] = Counter()
        self.attribute_bases: Set[str] = set()
        self.dotted: Set[str] = set()  # "urllib.parse.quote" and what it begins with
        self._scopes: List[Set[str]] = []

    def _bind(self, name: str) -> None:
        (self._scopes[-1] if self._scopes else self.bound).add(name)

    def _is_local(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if not self._is_local(node.id):
                self.loaded[node.id] = None
        else:
            self._bind(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and not self._is_local(node.func.id):
            self.called[node.func.id] += 1
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and not self._is_local(node.value.id):
            self.attribute_bases.add(node.value.id)
        parts: List[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and not self._is_local(inner.id):
            self.dotted.add(".".join([inner.id, *reversed(parts)]))
        self.generic_visit(node)

    def _visit_import(self, node: ast.AST) -> None:
        for alias in node.names:  # type: ignore[attr-defined]
            self._bind((alias.asname or alias.name).split(".")[0])

    visit_Import = visit_ImportFrom = _visit_import

    def _visit_function(self, node: ast.AST) -> None:
        for decorator in getattr(node, "decorator_list", ()):
            self.visit(decorator)
        arguments: ast.arguments = node.args  # type: ignore[attr-defined]
        for default in [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]:
            self.visit(default)
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
        for argument in every:
            if argument.annotation is not None:
                self.visit(argument.annotation)
        if getattr(node, "returns", None) is not None:
            self.visit(node.returns)  # type: ignore[attr-defined]
        scope = {a.arg for a in every}
        body = node.body if isinstance(node.body, list) else [node.body]  # type: ignore[attr-defined]
        for statement in body:
            _collect_bound(statement, scope)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._bind(node.name)
        self._scopes.append(scope)
        for statement in body:
            self.visit(statement)
        self._scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name)
        for part in [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]:
            self.visit(part)
        scope: Set[str] = set()
        for statement in node.body:
            _collect_bound(statement, scope)
        self._scopes.append(scope)
        for statement in node.body:
            self.visit(statement)
        self._scopes.pop()

    def _visit_comprehension(self, node: ast.AST) -> None:
        scope: Set[str] = set()
        for generator in node.generators:  # type: ignore[attr-defined]
            _collect_bound(generator.target, scope)
        self._scopes.append(scope)
        self.generic_visit(node)
        self._scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)


def _collect_bound(node: ast.AST, scope: Set[str]) -> None:
    """Names that `node` binds in its own scope (a `global` statement takes them out again)."""
    outer: Set[str] = set()
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Name) and not isinstance(item.ctx, ast.Load):
            scope.add(item.id)
        elif isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            scope.add(item.name)
            continue
        elif isinstance(item, ast.Lambda):
            continue
        elif isinstance(item, (ast.Import, ast.ImportFrom)):
            scope.update((a.asname or a.name).split(".")[0] for a in item.names)
        elif isinstance(item, ast.ExceptHandler) and item.name:
            scope.add(item.name)
        elif isinstance(item, ast.Global):
            outer.update(item.names)
        elif isinstance(item, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        stack.extend(ast.iter_child_nodes(item))
    scope -= outer


def uses_of(tree: ast.AST) -> Uses:
    uses = Uses()
    uses.visit(tree)
    return uses


def is_placeholder(name: str) -> bool:
    """`____`: what a model leaves where it had nothing to say."""
    return len(name) > 1 and not name.strip("_")


class Prompt:
    """The trusted helper code of a problem's prompt.

    Attributes:
        names: the names that the helper code gives.
        functions: those of them that are functions.
        classes: the classes that the prompt shows, asked for or given.
        statements: the helper code.
    """

    def __init__(self, text: Optional[str], entry_point: Optional[str]) -> None:
        self.names: Set[str] = set()
        self.functions: Set[str] = set()
        self.classes: Set[str] = set()
        self.statements: List[ast.stmt] = []
        tree = parse_or_none(text) if text else None
        for statement in tree.body if tree is not None else ():
            if isinstance(statement, ast.ClassDef):
                self.classes.add(statement.name)
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                if isinstance(statement, ast.ImportFrom) and (
                    statement.module == "__future__" or statement.level
                ):
                    continue
                given = {(a.asname or a.name).split(".")[0] for a in statement.names}
            elif isinstance(statement, ast.FunctionDef):
                if not _has_body(statement):
                    continue
                given = {statement.name}
            elif isinstance(statement, ast.Assign):
                given = {t.id for t in statement.targets if isinstance(t, ast.Name)}
            else:
                continue
            if entry_point in given or "*" in given:
                continue
            self.names |= given
            if isinstance(statement, ast.FunctionDef):
                self.functions |= given
            self.statements.append(statement)


def _has_body(node: ast.FunctionDef) -> bool:
    """Does it do anything? (docstring, pass, ... and `raise NotImplementedError` do not)"""
    for statement in node.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if not isinstance(statement, (ast.Pass, ast.Raise)):
            return True
    return False


def parse_or_none(text: str) -> Optional[ast.Module]:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def infer_entry_point(trees: Iterable[ast.AST]) -> Optional[str]:
    """The function under test, where the problem does not name it: what the tests call most, builtins last.

    MBPP has `assert sum(10, 15) == 8`: the program shadows a builtin. So when only builtins are called, the outermost
    call that all tests share is the program's.
    """
    counted: Counter[str] = Counter()
    outermost: Counter[str] = Counter()
    trees = list(trees)
    for tree in trees:
        uses = uses_of(tree)
        for name, times in uses.called.items():
            if name not in BUILTIN_NAMES and name not in uses.bound and not is_placeholder(name):
                counted[name] += times
        first = _outermost_call(tree)
        if first is not None:
            outermost[first] += 1
    if counted:
        return counted.most_common(1)[0][0]
    shared = [name for name, times in outermost.items() if times == len(trees)]
    return shared[0] if shared else None


def _outermost_call(tree: ast.AST) -> Optional[str]:
    for node in ast.walk(tree):  # breadth first
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return str(node.func.id)
    return None
