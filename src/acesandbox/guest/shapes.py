"""Which tests can only run in the program's own process, by their shape alone.

The list is closed, and each entry has a reason, which people see beside `sealed=False`. A test is looked at before any
program is loaded: nothing that a program does can open the seal.

Three kinds of shape cannot be bridged. The test reaches into the process (replaces functions by mocks, sets the
environment, changes standard input). It looks at code rather than at behaviour (`inspect`, `__code__`, frames). Or it
hands over an object that only means something in its own process (an open file, an iterator, an instance of a class
of the test). `sys.stdout` and `sys.stderr` may be replaced: what a program prints is replayed in the test process.
"""

from __future__ import annotations

import ast
from typing import Dict, List, Optional, Set

_STREAMS = frozenset({"sys.stdout", "sys.stderr"})
_MOCKS = frozenset(
    {"Mock", "MagicMock", "AsyncMock", "PropertyMock", "NonCallableMock", "mock_open", "create_autospec"}
)
_CODE_MODULES = frozenset(
    {"inspect", "dis", "gc", "importlib", "tracemalloc", "trace", "ctypes", "pkgutil", "runpy"}
)
_CODE_ATTRIBUTES = frozenset(
    {
        "__code__",
        "__globals__",
        "__closure__",
        "__defaults__",
        "__annotations__",
        "__wrapped__",
        "__signature__",
    }
    | {"f_globals", "f_locals", "__subclasses__", "__mro__", "__bases__", "__file__"}
)
_PROCESS_CALLS = frozenset(
    {"chdir", "putenv", "unsetenv", "umask", "setlocale", "getcontext", "setcontext", "tzset"}
)
# A child of the test would use the one conversation with the program that its parent uses.
_FORKS = frozenset({"os.fork", "os.forkpty"})
_PROCESS_MAKERS = frozenset({"Process", "Pool", "ProcessPoolExecutor"})
_LOG_METHODS = frozenset({"assertLogs", "assertNoLogs", "assertWarns", "assertWarnsRegex", "catch_warnings"})
# Constructors of objects that stay in the process that made them.
_STAYING_CALLS = frozenset(
    {"iter", "open", "map", "filter", "zip", "reversed", "enumerate", "StringIO", "BytesIO", "TextIOWrapper"}
    | {"connect", "cursor", "Thread", "Lock", "Event", "socket", "Queue", "Popen", "ZipFile", "TemporaryFile"}
    | {
        "getLogger",
        "Element",
        "SubElement",
        "getroot",
        "ElementTree",
        "fromstring",
        "SimpleNamespace",
        "partial",
    }
    | {"count", "cycle", "repeat", "chain", "islice", "NamedTemporaryFile", "ConfigParser", "ArgumentParser"}
)


def why_shared(tree: ast.Module, wanted: Set[str], kind: str) -> Optional[str]:
    """The reason why this test cannot be sealed; None if it can.

    Args:
        wanted: the names that the test takes from the program.
    """
    return _Shape(wanted, kind).reason(tree)


class _Shape:
    def __init__(self, wanted: Set[str], kind: str) -> None:
        self.wanted = wanted
        self.kind = kind
        self.helper_classes: Set[str] = set()
        self.staying: Set[str] = set()
        self.instances: Set[str] = set()

    def reason(self, tree: ast.Module) -> Optional[str]:
        nodes = list(ast.walk(tree))
        self._learn(nodes)
        for node in nodes:
            found = self._of(node)
            if found:
                return found
        return None

    def _learn(self, nodes: List[ast.AST]) -> None:
        """What the test's own names stand for, as far as its text says it."""
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                bases = {_dotted(base).rpartition(".")[2] for base in node.bases}
                if not any("Test" in base for base in bases):
                    self.helper_classes.add(node.name)
            elif (
                self.kind == "unittest"
                and isinstance(node, ast.FunctionDef)
                and not node.name.startswith("test")
            ):
                # BigCodeBench has problems about functions, whose programs look into what they are given.
                self.staying.add(node.name)
        assigned: Dict[str, ast.expr] = {}
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    assigned[_dotted(target)] = node.value
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                assigned[_dotted(node.optional_vars)] = node.context_expr
        for name, value in assigned.items():
            if name and self._made_by_program(value):
                self.instances.add(name)
        for name, value in assigned.items():
            if name and self._stays(value):
                self.staying.add(name)

    def _made_by_program(self, value: ast.expr) -> bool:
        return (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in self.wanted
        )

    def _stays(self, value: ast.AST) -> bool:
        """Is this expression an object that cannot leave the test's process?"""
        if isinstance(value, ast.GeneratorExp):
            return True
        if isinstance(value, ast.Call):
            name = _dotted(value.func).rpartition(".")[2]
            return name in _STAYING_CALLS or name in self.helper_classes
        if isinstance(value, (ast.Name, ast.Attribute)):
            name = _dotted(value)
            return name in self.staying or name.partition(".")[0] in self.helper_classes
        if isinstance(value, ast.Lambda):
            return self.kind == "unittest"
        if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            return any(self._stays(item) for item in value.elts)
        if isinstance(value, ast.Dict):
            return any(self._stays(item) for item in value.values)
        if isinstance(value, ast.Starred):
            return self._stays(value.value)
        return False

    def _of(self, node: ast.AST) -> Optional[str]:
        if isinstance(node, ast.Call):
            return self._of_call(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return self._of_import(node)
        if isinstance(node, ast.Attribute):
            if node.attr in _CODE_ATTRIBUTES:
                return f"looks at {node.attr}"
            if _dotted(node) in ("sys.modules", "sys.path", "sys.argv", "sys.stdin", "os.environ"):
                return f"uses {_dotted(node)}"
        elif isinstance(node, ast.Name):
            if node.id in _MOCKS:
                return "replaces objects by mocks"
            if node.id in ("globals", "__main__", "__import__"):
                return f"uses {node.id}"
        elif isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in self.wanted:
                    return f"derives a class from {base.id}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                root = _dotted(decorator.func if isinstance(decorator, ast.Call) else decorator).partition(
                    "."
                )[0]
                if root in self.wanted:
                    return f"decorates its own function with {root}"
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)):
            return self._of_assignment(node)
        elif isinstance(node, ast.Global):
            names = [name for name in node.names if name in self.wanted]
            if names:
                return f"changes the program's global {names[0]}"
        return None

    def _of_call(self, node: ast.Call) -> Optional[str]:
        name = _dotted(node.func)
        last = name.rpartition(".")[2]
        parts = name.split(".")
        if "patch" in parts:
            first = node.args[0] if node.args else None
            replaced = first.value if isinstance(first, ast.Constant) else None
            if last != "patch" or replaced not in _STREAMS:
                return "replaces objects by mocks"
            return None
        if last in _LOG_METHODS:
            return f"uses {last}"
        if name in _FORKS or (last in _PROCESS_MAKERS and parts[0] != "psutil"):
            return "starts processes that share its memory"
        if last == "Thread":
            for given in [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "target")]:
                if _dotted(given).partition(".")[0] in self.wanted:
                    # Both take turns at one interpreter there; in two processes they would race.
                    return f"runs {_dotted(given)} in a thread beside itself"
        if last in _PROCESS_CALLS and len(parts) > 1:
            return f"calls {name}"
        if isinstance(node.func, ast.Name) and node.func.id in (
            "exec",
            "eval",
            "vars",
            "dir",
            "id",
            "hasattr",
            "setattr",
        ):
            if node.func.id in ("exec", "eval"):
                return f"calls {node.func.id}"
            first = node.args[0] if node.args else None
            if (
                node.func.id in ("vars", "dir", "setattr")
                and isinstance(first, ast.Name)
                and first.id in self.wanted
            ):
                return f"calls {node.func.id} on {first.id}"
        if self._calls_program(node):
            for argument in [*node.args, *(k.value for k in node.keywords)]:
                if self._stays(argument):
                    return "hands over an object that cannot leave the test's process"
        return None

    def _calls_program(self, node: ast.Call) -> bool:
        root: ast.AST = node.func
        while isinstance(root, (ast.Attribute, ast.Call, ast.Subscript)):
            if _dotted(root) in self.instances:
                return True
            root = root.func if isinstance(root, ast.Call) else root.value
        return isinstance(root, ast.Name) and (root.id in self.wanted or root.id in self.instances)

    def _of_import(self, node: ast.AST) -> Optional[str]:
        names = [alias.name for alias in node.names]  # type: ignore[attr-defined]
        module = getattr(node, "module", None) or ""
        for name in [module, *(names if isinstance(node, ast.Import) else ())]:
            if name.partition(".")[0] in _CODE_MODULES:
                return f"uses {name}"
        return None

    def _of_assignment(self, node: ast.AST) -> Optional[str]:
        targets = getattr(node, "targets", None) or [node.target]  # type: ignore[attr-defined]
        for target in targets:
            name = _dotted(target)
            root, _, rest = name.partition(".")
            if (
                root in ("sys", "os", "time", "random", "builtins", "datetime", "math")
                and rest
                and name not in _STREAMS
            ):
                return f"changes {name}"
            if root in self.wanted and rest:
                return f"changes an attribute of {root}"
            if (
                name.rpartition(".")[0] in self.instances
                and isinstance(node, ast.Assign)
                and self._stays(node.value)
            ):
                return "hands over an object that cannot leave the test's process"
        return None


def _dotted(node: ast.AST) -> str:
    """`a.b.c` for a chain of attributes; the chain behind a call or a subscript counts from there."""
    parts: List[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))
