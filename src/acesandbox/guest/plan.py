"""Planning: from the text of a problem's tests to what the player is asked and how the judge decides.

Runs in the judge, once per problem, before any program is loaded: the mode of a test depends on the tests alone. The
result goes two ways. The supervisor gets the plan of `docs/protocol.md` (requests, expected bytes, modes); the judge
keeps what never leaves it: evaluators for planned asserts and compiled code for test processes.

The modes, in order of preference:

- plan: an assert of which the program's calls can be lifted out (`expressions.py`);
- proxy: any other test code; it runs in a test process with stand-ins for the program's names (`proxy.py`);
- shared: where neither works by the shape of the test (`shapes.py`); such a test is not sealed;
- broken: the test cannot pass whatever the program is (it does not parse, or has a placeholder like `____`).
"""

from __future__ import annotations

import ast
import json
import marshal
from types import CodeType
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from . import codec, shapes
from .expressions import NotPlannable, compile_call, compile_rest, split
from .folding import Unfoldable, fold, literal
from .names import (
    BUILTIN_NAMES,
    STANDARD_LIBRARY,
    WELL_KNOWN,
    Prompt,
    Uses,
    infer_entry_point,
    is_placeholder,
    uses_of,
)

PLAN, PROXY, SHARED, BROKEN, STDIO = range(5)
MODE_NAMES = ("plan", "proxy", "shared", "broken", "stdio")

ASK, EQUAL_PASSES, STRICT, EQUALITY_RULE = 0, 1, 2, 3

ERROR, SYNTAX_ERROR = 2, 3

MAX_EXPECTED_BYTES = 16 << 20

# How a planned test is decided once the value is here: by truth, negated truth, identity with a singleton, equality,
# equality as LiveCodeBench means it, or by evaluating the rest of the assert.
TRUTH, FALSE, IDENTITY, EQUALITY, FUNCTIONAL, EVALUATE = range(6)


class Test:
    """One test as planned.

    Attributes:
        mode: PLAN, PROXY, SHARED, BROKEN or STDIO.
        why: for people: why it is not planned, not sealed, or broken.
        oracle: "entry_point", "program" (more of the program than that is trusted) or "none" (nothing of it is used).
        request, expected, compare, status: as in the plan's segments.
        rule: for planned tests, how to decide: `(TRUTH, None)`, `(EQUALITY, value)`, `(EVALUATE, (code, count))`, …
        code: for tests that run in a test process.
        wanted: names that the test process must get from the program.
        helpers: names of the prompt's helper code that it uses.
        imports: `(name, module)` of the library modules that it imports at its top; see `_top_imports`.
        earlier: tests before it that bind names it uses; a fresh test process runs them first.
        trusted: free names that the test process gets from the standard library or another trusted place.
        dotted: what it says of them with dots: `urllib.parse.quote` needs the submodule as well.
    """

    __slots__ = (
        *("mode", "why", "oracle", "request", "expected", "compare", "status", "rule", "code", "wanted"),
        *("helpers", "trusted", "dotted", "imports", "earlier"),
    )

    def __init__(self, mode: int, why: str = "") -> None:
        self.mode = mode
        self.why = why
        self.oracle = "entry_point"
        self.request = b""
        self.expected = b""
        self.compare = ASK
        self.status = 0
        self.rule: Tuple[int, Any] = (TRUTH, None)
        self.code: Optional[CodeType] = None
        self.wanted: Tuple[str, ...] = ()
        self.helpers: Tuple[str, ...] = ()
        self.trusted: Tuple[str, ...] = ()
        self.dotted: Tuple[str, ...] = ()
        self.imports: Tuple[Tuple[str, str], ...] = ()
        self.earlier: Tuple[int, ...] = ()


class Plan:
    """Everything that is known of the current problem."""

    def __init__(self, kind: str, tests: List[Test], setup: Dict[str, Any]) -> None:
        self.kind = kind
        self.tests = tests
        self.setup = setup
        self.entry_point: Optional[str] = None
        self.prompt: Optional[Prompt] = None
        self.compare: Dict[str, Any] = {}

    def info(self) -> str:
        rows = []
        for test in self.tests:
            sealed = test.mode != SHARED
            rows.append(
                {"mode": MODE_NAMES[test.mode], "sealed": sealed, "why": test.why, "oracle": test.oracle}
            )
        return json.dumps({"tests": rows})

    def to_bytes(self) -> bytes:
        """The plan as the supervisor reads it."""
        parts = [
            _u32(len(self.tests)),
            _blob(self.info().encode()),
            _blob(marshal.dumps(self.setup, 2)),
        ]
        segments: List[Tuple[int, List[int]]] = []
        for number, test in enumerate(self.tests):
            if not segments or segments[-1][0] != test.mode:
                segments.append((test.mode, []))
            segments[-1][1].append(number)
        parts.append(_u32(len(segments)))
        for mode, numbers in segments:
            parts.append(bytes([mode]) + _u32(len(numbers)))
            for number in numbers:
                test = self.tests[number]
                parts.append(number.to_bytes(2, "little") + bytes([test.compare, test.status]))
                parts.append(_blob(test.request))
                parts.append(_blob(test.expected))
        return b"".join(parts)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _blob(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def make_plan(problem: Dict[str, Any]) -> Plan:
    """Plan a problem.

    Args:
        problem: the JSON object of `docs/protocol.md`.

    Raises:
        KeyError, ValueError: it is not one.
    """
    kind = problem["kind"]
    if kind == "stdio":
        return _plan_stdio(problem)
    if kind == "functional":
        return _plan_functional(problem)
    if kind not in ("asserts", "check_script", "unittest"):
        raise ValueError(f"unknown kind of tests {kind!r}")
    return _Planner(problem).plan()


class _Planner:
    """Plans one problem's test texts in order, keeping track of the names that tests bind."""

    def __init__(self, problem: Dict[str, Any]) -> None:
        self.kind: str = problem["kind"]
        self.texts: Sequence[str] = problem["tests"]
        self.trees: List[Any] = [_parse(text) for text in self.texts]
        self.entry_point: Optional[str] = problem.get("entry_point") or infer_entry_point(
            t for t in self.trees if isinstance(t, ast.Module)
        )
        self.prompt_text = problem.get("prompt")
        self._prompt: Optional[Prompt] = None
        # Names that earlier tests left in the globals that all tests share, and which test did.
        self.bound: Set[str] = set()
        self.binders: Dict[str, List[int]] = {}

    @property
    def prompt(self) -> Prompt:
        if self._prompt is None:  # most tests need nothing of it
            self._prompt = Prompt(self.prompt_text, self.entry_point)
        return self._prompt

    def plan(self) -> Plan:
        tests: List[Test] = []
        for text, tree in zip(self.texts, self.trees):
            tests.append(self._plan_one(text, tree, tests))
        plan = Plan(self.kind, tests, {})
        plan.entry_point = self.entry_point
        plan.prompt = self.prompt if any(test.mode == PROXY for test in tests) else None
        return plan

    def _plan_one(self, text: str, tree: Any, before: List[Test]) -> Test:
        if not isinstance(tree, ast.Module):
            test = Test(BROKEN, "the test does not parse")
            test.status = SYNTAX_ERROR
            test.oracle = "none"
            test.expected = f"the test does not parse: {tree}"[:2000].encode("utf-8", "replace")
            return test
        if not tree.body and self.kind != "unittest":
            # Nothing would fail, and every program would pass.
            test = Test(BROKEN, "the test is empty")
            test.status = ERROR
            test.oracle = "none"
            test.expected = b"the test is empty: it holds no statement"
            return test
        if self.kind == "asserts" and len(tree.body) == 1 and isinstance(tree.body[0], ast.Assert):
            quick = self._plan_simple(tree.body[0].test)
            if quick is not None:
                return quick
        if self._must_call_check(tree):
            text += f"\ncheck({self.entry_point})\n"
            tree = _parse(text)
        uses = uses_of(tree)
        placeholder = _placeholder(tree, uses) if self.kind == "asserts" else None
        if placeholder is not None:
            test = Test(BROKEN, "the test has a placeholder")
            test.status = ERROR
            test.oracle = "none"
            test.expected = f"NameError: the test has a placeholder, {placeholder!r}".encode()
            return test
        return self._plan_general(text, tree, uses, before)

    def _plan_simple(self, expression: ast.expr) -> Optional[Test]:
        """`f(<literals>) == <literal>`, nine of ten tests, without walking the tree for names."""
        if not (isinstance(expression, ast.Compare) and len(expression.ops) == 1):
            return None
        call, constant = expression.left, expression.comparators[0]
        if not (
            isinstance(expression.ops[0], ast.Eq)
            and isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == self.entry_point
            and call.func.id not in self.bound
        ):
            return None
        request = _constant_call(call)
        if request is None:
            return None
        try:
            value = literal(constant)
        except Unfoldable:
            return None
        test = Test(PLAN)
        test.request = request
        _expect(test, EQUALITY, value)
        return test

    def _plan_general(self, text: str, tree: ast.Module, uses: Uses, before: List[Test]) -> Test:
        wanted, outside, helpers = self._resolve(uses)
        oracle = "none"
        if wanted:
            oracle = "entry_point" if wanted == {self.entry_point} else "program"
        test: Optional[Test] = None
        why = "the test is a script"
        if self.kind == "asserts":
            body = [s for s in tree.body if not _is_pure_import(s)]
            if len(body) == 1 and isinstance(body[0], ast.Assert):
                try:
                    test = self._plan_assert(body[0].test, wanted - self.bound, outside)
                except NotPlannable as refusal:
                    why = str(refusal)
                    tree = _parse(text)  # splitting has changed it
            else:
                why = "the test is not a single assert"
        elif self.kind == "unittest":
            why = "the test is a unittest class"
        if test is None:
            earlier = sorted({n for name in uses.loaded for n in self.binders.get(name, ())})
            reason = shapes.why_shared(tree, wanted, self.kind)
            if any(before[number].mode == SHARED for number in earlier):
                reason = reason or "uses a name that a test of that kind has bound"
            test = (
                self._shared(text, reason)
                if reason
                else self._proxied(tree, why, wanted, outside - uses.bound - self.bound, helpers)
            )
            test.dotted = tuple(sorted(use for use in uses.dotted if use.partition(".")[0] in test.trusted))
            test.earlier = tuple(earlier)
            self.bound |= uses.bound
            for name in uses.bound:
                self.binders.setdefault(name, []).append(len(before))
        test.oracle = oracle
        return test

    def _resolve(self, uses: Uses) -> Tuple[Set[str], Set[str], Set[str]]:
        """Which free names come from the program, from elsewhere but not from builtins, and from the prompt."""
        wanted: Set[str] = set()
        outside: Set[str] = set(self.bound) | uses.bound
        helpers: Set[str] = set()
        for name in uses.loaded:
            if name == self.entry_point:
                wanted.add(name)  # even where a test binds it as well: until then it is the program's
            elif name in uses.bound or name in self.bound or name in BUILTIN_NAMES:
                continue
            elif name in self.prompt.names:
                # before the library: `from datetime import datetime` makes that name no module
                outside.add(name)
                helpers.add(name)
            elif (
                (name in STANDARD_LIBRARY and name in uses.attribute_bases and not uses.called[name])
                or name in WELL_KNOWN
                or (name.startswith("__") and name.endswith("__"))
            ):
                outside.add(name)
            else:
                wanted.add(name)
        return wanted, outside, helpers

    def _plan_assert(self, expression: ast.expr, wanted: Set[str], outside: Set[str]) -> Test:
        # `math` is there for the judge's part; a call that needs it is not lifted unless it folds to a constant.
        parts = split(expression, wanted, outside)
        test = Test(PLAN)
        single = parts.calls[0] if len(parts.calls) == 1 else None
        request = (
            _constant_call(single)
            if isinstance(single, ast.Call) and isinstance(single.func, ast.Name)
            else None
        )
        test.request = request if request is not None else marshal.dumps((1, compile_call(parts.calls)), 2)
        if single is not None and _decide_by_value(test, parts.rest):
            return test
        test.rule = (EVALUATE, (compile_rest(parts.rest), len(parts.calls)))
        return test

    def _proxied(
        self, tree: ast.Module, why: str, wanted: Set[str], trusted: Set[str], helpers: Set[str]
    ) -> Test:
        test = Test(PROXY, why)
        try:
            test.code = compile(tree, "<test>", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            test.mode, test.status, test.why = BROKEN, SYNTAX_ERROR, "the test does not compile"
            test.expected = f"the test does not compile: {error}"[:2000].encode("utf-8", "replace")
            return test
        test.wanted = tuple(sorted(wanted))
        test.helpers = tuple(sorted(helpers))
        test.trusted = tuple(sorted(trusted))
        test.imports = _top_imports(tree)
        return test

    def _shared(self, text: str, reason: str) -> Test:
        test = Test(SHARED, reason)
        test.request = marshal.dumps((self.kind, text), 2)
        return test

    def _must_call_check(self, tree: ast.Module) -> bool:
        named = self.entry_point is not None and self.entry_point.isidentifier()
        return self.kind == "check_script" and named and _defines_uncalled_check(tree)


def _parse(text: str) -> Any:
    """The tree, or a text that says why there is none."""
    try:
        return ast.parse(text)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except (ValueError, MemoryError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"


def _constant_call(call: ast.Call) -> Optional[bytes]:
    """`f(<literals>)` as a request of constants; None if an argument is not one that marshal keeps as it is."""
    try:
        arguments = tuple([_plain_literal(a) for a in call.args])
        keywords = {}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in keywords:
                return None
            keywords[keyword.arg] = _plain_literal(keyword.value)
        return marshal.dumps((0, call.func.id, arguments, keywords), 2)  # type: ignore[attr-defined]
    except (Unfoldable, ValueError):
        return None


def _plain_literal(node: ast.expr) -> Any:
    """A literal without sets: a set that marshal rebuilds may be iterated in another order than the one written."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_plain_literal(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple([_plain_literal(item) for item in node.elts])
    if isinstance(node, ast.Dict):
        return {_plain_literal(_required(k)): _plain_literal(v) for k, v in zip(node.keys, node.values)}
    if isinstance(node, (ast.UnaryOp, ast.BinOp)):
        return literal(node)
    raise Unfoldable


def _required(key: Optional[ast.expr]) -> ast.expr:
    if key is None:  # {**other}
        raise Unfoldable
    return key


def _decide_by_value(test: Test, rest: ast.expr) -> bool:
    """Set the rule for the forms that need no evaluation of code."""
    if isinstance(rest, ast.Name):
        _expect(test, TRUTH, True)
        return True
    if isinstance(rest, ast.UnaryOp) and isinstance(rest.op, ast.Not) and isinstance(rest.operand, ast.Name):
        _expect(test, FALSE, False)
        return True
    if not (isinstance(rest, ast.Compare) and len(rest.ops) == 1):
        return False
    left, right = rest.left, rest.comparators[0]
    if isinstance(left, ast.Name):
        constant: ast.expr = right
    elif isinstance(right, ast.Name):
        constant = left
    else:
        return False
    try:
        value = fold(constant)
    except Unfoldable:
        return False
    if isinstance(rest.ops[0], ast.Eq):
        _expect(test, EQUALITY, value)
        return True
    if isinstance(rest.ops[0], ast.Is) and (value is None or value is True or value is False):
        _expect(test, IDENTITY, value)
        return True
    return False


def _expect(test: Test, rule: int, value: Any) -> None:
    """Decide by `rule` against `value`; by bytes alone wherever bytes say the same."""
    test.rule = (rule, value)
    if _has_nan(value):
        return
    try:
        data, strict = codec.encode_value(value, MAX_EXPECTED_BYTES)
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError):
        return
    if data[:1] == b"O":  # too large to compare by bytes
        return
    test.expected = bytes(data)
    # A strict value is never True or False, so a mismatch with a singleton is final as well.
    final = strict or (rule == IDENTITY and value is not None)
    if rule in (EQUALITY, IDENTITY, FUNCTIONAL):
        test.compare = STRICT if final else EQUALITY_RULE
    else:
        test.compare = EQUAL_PASSES


def _has_nan(value: Any) -> bool:
    """nan is equal to nothing, not even to the same bytes."""
    kind = type(value)
    if kind is float or kind is complex:
        return bool(value != value)
    if kind in (list, tuple, set, frozenset):
        return any(_has_nan(item) for item in value)
    if kind is dict:
        return any(_has_nan(k) or _has_nan(v) for k, v in value.items())
    return False


def _placeholder(tree: ast.Module, uses: Uses) -> Optional[str]:
    """A name like `____` that is certainly evaluated, which is a NameError with any program."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return None
    for name in uses.loaded:
        if is_placeholder(name) and name not in uses.bound and _surely_evaluated(tree.body[0].test, name):
            return name
    return None


def _surely_evaluated(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name
    if isinstance(node, ast.BoolOp):
        return _surely_evaluated(node.values[0], name)
    if isinstance(node, ast.IfExp):
        return _surely_evaluated(node.test, name)
    if isinstance(node, ast.Compare):
        return _surely_evaluated(node.left, name) or _surely_evaluated(node.comparators[0], name)
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return _surely_evaluated(node.generators[0].iter, name)
    if isinstance(node, ast.Lambda):
        return False
    return any(_surely_evaluated(child, name) for child in ast.iter_child_nodes(node))


def _is_pure_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import) and all(
        a.name in ("math", "cmath") and not a.asname for a in statement.names
    )


def _top_imports(tree: ast.Module) -> Tuple[Tuple[str, str], ...]:
    """Modules that a test imports for all to see.

    In the reference harnesses test and program share their globals, and reference solutions of BigCodeBench live on
    modules that only the test imports. So the program gets these names where it has none of its own.
    """
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                root = alias.name.partition(".")[0]
                if root in STANDARD_LIBRARY and root not in ("unittest", "doctest"):
                    found.append((alias.asname or root, alias.name if alias.asname else root))
    return tuple(found)


def _defines_uncalled_check(tree: ast.Module) -> bool:
    defined = any(isinstance(s, ast.FunctionDef) and s.name == "check" for s in tree.body)
    called = any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "check"
        for s in tree.body
        if not isinstance(s, (ast.FunctionDef, ast.ClassDef)) and not _is_main_guard(s)
        for n in ast.walk(s)
    )
    return defined and not called


def _is_main_guard(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which does not hold where tests run."""
    return isinstance(statement, ast.If) and any(
        isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(statement.test)
    )


def _plan_functional(problem: Dict[str, Any]) -> Plan:
    """`fn(*args)`, or the method of that name of the program's `class Solution`, against an expected literal.

    As in LiveCodeBench, `class Solution` wins over a function of that name where a program has both.
    """
    name = problem["entry_point"]
    tests = []
    for arguments_text, expected_text in problem["tests"]:
        try:
            arguments = ast.parse(arguments_text.strip(), mode="eval").body
            expected = fold(ast.parse(expected_text.strip(), mode="eval").body)
            literal_arguments = fold(arguments)
        except (SyntaxError, ValueError, MemoryError, RecursionError, Unfoldable) as error:
            test = Test(BROKEN, "the case is not made of literals")
            test.status, test.oracle = SYNTAX_ERROR, "none"
            test.expected = f"the case is not made of literals: {error}"[:2000].encode("utf-8", "replace")
            tests.append(test)
            continue
        if not isinstance(arguments, (ast.List, ast.Tuple)) or not isinstance(
            literal_arguments, (list, tuple)
        ):
            test = Test(BROKEN, "the arguments are not a list")
            test.status, test.oracle = ERROR, "none"
            test.expected = b"the arguments of the case are not a list"
            tests.append(test)
            continue
        test = Test(PLAN)
        call = ast.parse(f"(Solution().{name} if 'Solution' in globals() else {name})()", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args = list(arguments.elts)
        test.request = marshal.dumps((1, compile_call([call])), 2)
        _expect(test, FUNCTIONAL, expected)
        # A tuple in the result counts as a list, so only the judge can say that they differ.
        test.compare = min(test.compare, EQUAL_PASSES)
        tests.append(test)
    plan = Plan("functional", tests, {})
    plan.entry_point = name
    return plan


def _plan_stdio(problem: Dict[str, Any]) -> Plan:
    from .stdio import Expected

    options = problem.get("compare") or {}
    tests = []
    for given, expected in problem["tests"]:
        test = Test(STDIO)
        test.request = given.encode("utf-8", "surrogatepass")
        test.rule = (EVALUATE, Expected(expected, options))
        test.oracle = "program"
        tests.append(test)
    plan = Plan("stdio", tests, {})
    plan.compare = options
    for test in tests:
        test.oracle = "entry_point"
    return plan
