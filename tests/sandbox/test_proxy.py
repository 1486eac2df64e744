"""Test code beside stand-ins: it must behave as beside the real thing, and the stand-ins must not decide anything."""

from __future__ import annotations

import pytest

from tests import plain_judge
from tests.sandbox.pretend import Pretend, Result, judge


def run(
    program: str, test: str, entry_point: str | None = "f", kind: str = "asserts", **more: object
) -> Result:
    (result,) = judge(program, kind, [test], entry_point, **more)  # type: ignore[arg-type]
    assert result.mode == "proxy", result
    return result


def same_as_plain(program: str, test: str, entry_point: str | None = "f", kind: str = "asserts") -> Result:
    """Run it here and beside the program; the verdicts must be the same."""
    result = run(program, test, entry_point, kind)
    (plain,) = plain_judge.judge(program, kind, [test], entry_point)
    assert result.passed == plain.passed, (result, plain)
    return result


def unit(body: str) -> str:
    lines = "\n".join("        " + line for line in body.strip("\n").split("\n"))
    return f"import unittest\nclass TestIt(unittest.TestCase):\n    def test_it(self):\n{lines}\n"


# ---- what one process would do ----

PASSING = {
    # seldom used ones: what the tests' own process has imported already shows nothing
    "a submodule that the program alone imports": (
        "import wsgiref.util, xml.dom.pulldom\ndef f(x): return wsgiref.util.guess_scheme(x)",
        "e = {'HTTPS': 'on'}\nassert f(e) == wsgiref.util.guess_scheme(e)\nassert xml.dom.pulldom.COMMENT == 'COMMENT'",
    ),
    "an argument changed in place": (
        "def f(x): x.sort(); x.append(9)",
        "a = [3, 1]\nf(a)\nassert a == [1, 3, 9]",
    ),
    "a nested argument changed in place": (
        "def f(x): x['k'][0].add(5); del x['gone']",
        "d = {'k': [{1}], 'gone': 0}\ninner = d['k'][0]\nf(d)\nassert d == {'k': [{1, 5}]} and inner == {1, 5}",
    ),
    "the result is the argument": ("def f(x): return x", "a = [1]\nassert f(a) is a"),
    "one list passed twice": ("def f(x, y): x.append(1); return len(y)", "a = []\nassert f(a, a) == 1"),
    "aliases inside a list": (
        "def f(x): x[0].append(1)",
        "r = [0]\na = [r, r]\nf(a)\nassert a == [[0, 1], [0, 1]]",
    ),
    "a list that contains itself": (
        "def f(x): x.append(x); return len(x)",
        "a = [1]\nassert f(a) == 2\nassert a[1] is a",
    ),
    "an argument kept by the program": (
        "kept = []\ndef f(x): kept.append(x); return sum(map(len, kept))",
        "a = [1]\nassert f(a) == 1\na.append(2)\nassert f([]) == 2",
    ),
    "a result that the test changes": (
        "state = []\ndef f(): return state",
        "f().append(1)\nassert f() == [1]\nx = f()\nx.append(2)\nassert f() == [1, 2]",
    ),
    "a default argument": ("def f(x, acc=[]): acc.append(x); return acc", "f(1)\nassert f(2) == [1, 2]"),
    "a dict's order": (
        "def f(d): d['z'] = d.pop('a')",
        "d = {'a': 1, 'b': 2}\nf(d)\nassert list(d) == ['b', 'z']",
    ),
    "other containers": (
        "from collections import *\n"
        "def f(q, c, o, d): q.appendleft(0); c['x'] += 2; o.move_to_end('a'); d['n'].append(1)",
        "from collections import *\n"
        "q, c, o, d = deque([1], 3), Counter('x'), OrderedDict(a=1, b=2), defaultdict(list)\n"
        "f(q, c, o, d)\nassert q == deque([0, 1]) and q.maxlen == 3 and c == Counter(x=3) and type(c) is Counter\n"
        "assert list(o) == ['b', 'a'] and d == {'n': [1]} and d['new'] == []",
    ),
    "a bytearray": ("def f(b): b += b'x'", "b = bytearray(b'a')\nf(b)\nassert b == b'ax'"),
    "a lambda of the test": (
        "def f(g, xs): return [g(x) for x in xs]",
        "k = 2\nassert f(lambda v: v * k, [1, 2]) == [2, 4]",
    ),
    "a lambda that raises": (
        "def f(g):\n    try: g()\n    except ZeroDivisionError: return 'caught'",
        "assert (lambda: f(lambda: 1 / 0))() == 'caught'",
    ),
    "a lambda that calls back": (
        "def f(n, g=None): return g(n) if g else n + 1",
        "assert (lambda: f(1, lambda v: f(v) * 10))() == 20",
    ),
    "builtins as arguments": (
        "def f(g, x): return g(x)",
        "for g, r in ((len, 2), (str, '[1, 2]'), (sum, 3)):\n    assert f(g, [1, 2]) == r",
    ),
    "a closure": (
        "def f():\n    n = 0\n    def inc():\n        nonlocal n\n        n += 1\n        return n\n    return inc",
        "inc = f()\ninc()\nassert inc() == 2\nassert f()() == 1",
    ),
    "a generator, lazily": (
        "log = []\ndef f():\n    for i in range(10 ** 9):\n        log.append(i)\n        yield i\n"
        "def seen(): return log",
        "g = f()\nassert [next(g), next(g)] == [0, 1]\nassert seen() == [0, 1]\nimport types\n"
        "assert isinstance(g, types.GeneratorType)",
    ),
    "an iterator": (
        "def f(x): return map(str, x)",
        "r = f([1, 2])\nassert list(r) == ['1', '2']\nassert list(r) == []",
    ),
    "what is printed": (
        "def f(x): print('got', x)",
        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f(3)\n"
        "assert out.getvalue() == 'got 3\\n'",
    ),
    "an exception and its message": (
        "def f(x): raise ValueError('bad', x)",
        "try:\n    f(3)\nexcept ValueError as error:\n    assert error.args == ('bad', 3)\nelse:\n    assert False",
    ),
    "an exception of the program's own": (
        "class Odd(KeyError): pass\ndef f(x): raise Odd('x')",
        "for kind in (KeyError, LookupError, Odd):\n    try:\n        f(1)\n    except kind:\n        continue\n"
        "    assert False",
    ),
    "a library's exception": (
        "import json\ndef f(x): return json.loads(x)",
        "import json\ntry:\n    f('{')\nexcept json.JSONDecodeError:\n    pass\nelse:\n    assert False",
    ),
    "a constant of the program": (
        "LIMIT = [1, 2]\ndef f(): LIMIT.append(3)",
        "f()\nassert LIMIT == [1, 2, 3]",
    ),
    "seeds of random": (
        "import random\ndef f(): return random.random()",
        "import random\nrandom.seed(1)\na = f()\nrandom.seed(1)\nassert a == random.random()",
    ),
    "a coroutine": (
        "import asyncio\nasync def f(x): return x + 1",
        "import asyncio\nassert asyncio.run(f(1)) == 2",
    ),
    "a namedtuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\n"
        "def f(p): return p._replace(x=p.y) if isinstance(p, tuple) else None",
        "p = f(P(1, 2))\nassert p == (2, 2) and p.x == 2 and p == P(2, 2)",
    ),
    "decimals and dates": (
        "import datetime, decimal\ndef f(d, x): return d + datetime.timedelta(days=1), x / 3",
        "import datetime, decimal\na, b = f(datetime.date(2020, 2, 28), decimal.Decimal(1))\n"
        "assert a == datetime.date(2020, 2, 29) and b == decimal.Decimal(1) / 3",
    ),
    "large numbers": (
        "def f(x): return x ** 2",
        "for n in (10 ** 5000, -(2 ** 63), float('inf')):\n    assert f(n) == n ** 2",
    ),
    "lone surrogates": ("def f(x): return x + x", "for s in ('\\ud800', '\\x00'):\n    assert f(s) == s * 2"),
    "a deep recursion": (
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)",
        "for n in (900,):\n    assert f(n) == n",
    ),
    "an enum": (
        "import enum\nclass Color(enum.Enum):\n    RED = 1\ndef f(x): return Color(x)",
        "assert (lambda: f(1))() == Color.RED and f(1) is Color.RED\n"
        "assert f(1).name == 'RED' and Color['RED'].value == 1",
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_as_in_one_process(name: str) -> None:
    program, test = PASSING[name]
    assert same_as_plain(program, test).status == "passed"


STACK = """
class Stack:
    '''A stack.'''
    made = 0
    def __init__(self, items=()):
        Stack.made += 1
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __iter__(self):
        return iter(self.items)
    def __getitem__(self, i):
        return self.items[i]
    def __setitem__(self, i, v):
        self.items[i] = v
    def __str__(self):
        return f'Stack{self.items}'
    @classmethod
    def of(cls, *items):
        return cls(items)
    @staticmethod
    def double(x):
        return 2 * x
"""

INSTANCES = {
    "methods and attributes": "s = Stack()\ns.push(1)\nself.assertEqual(s.items, [1])\ns.items = [5, 6]\n"
    "self.assertEqual(s.pop(), 6)",
    "an attribute changed in place": "s = Stack()\ns.items.append(3)\nself.assertEqual(s.pop(), 3)",
    "an attribute that follows": "s = Stack()\nitems = s.items\ns.push(4)\nself.assertEqual(items, [4])",
    "class attributes": "before = Stack.made\nStack()\nself.assertEqual(Stack.made, before + 1)",
    "static and class methods": "self.assertEqual(Stack.double(4), 8)\nself.assertEqual(Stack.of(1, 2).items, [1, 2])",
    "isinstance": "self.assertIsInstance(Stack(), Stack)\nself.assertNotIsInstance(3, Stack)\n"
    "self.assertIsInstance(Stack.of(), Stack)",
    "length, items, iteration": "s = Stack([1, 2])\nself.assertEqual(len(s), 2)\n"
    "self.assertEqual(list(s), [1, 2])\ns[0] = 7\nself.assertEqual(s[0], 7)",
    "membership by walking": "s = Stack([1, 2])\nself.assertIn(2, s)\nself.assertNotIn(3, s)",
    "conversion to str": "self.assertEqual(str(Stack([1])), 'Stack[1]')\nself.assertEqual(f'{Stack([2])}', 'Stack[2]')",
    "a method that returns self": "s = Stack()\nself.assertIs(s.push(1), s)",
    "an instance as an argument": "s = Stack()\nt = Stack([s])\nself.assertIs(t.pop(), s)",
    "an exception": "with self.assertRaises(IndexError):\n    Stack().pop()",
    "a missing attribute": "with self.assertRaises(AttributeError):\n    Stack().nothing",
    "subtests": "for i in range(3):\n    with self.subTest(i=i):\n        self.assertEqual(Stack.double(i), i + i)",
}


@pytest.mark.parametrize("name", INSTANCES)
def test_instances_as_in_one_process(name: str) -> None:
    assert same_as_plain(STACK, unit(INSTANCES[name]), "Stack", "unittest").status == "passed"


def test_failures_errors_and_their_text() -> None:
    result = run(STACK, unit("self.assertEqual(Stack.double(2), 5)"), "Stack", "unittest")
    assert (result.status, result.of_test) == ("failed", False)
    assert "AssertionError: 4 != 5" in result.text
    assert run(STACK, unit("Stack().pop()"), "Stack", "unittest").status == "error"


def test_modules_that_only_the_test_imports_are_there_for_the_program() -> None:
    program = "def f(x): return math.sqrt(x)"
    test = "import unittest, math\n" + unit("self.assertEqual(f(4), math.sqrt(4))")
    assert same_as_plain(program, test, "f", "unittest").status == "passed"


def test_a_check_script_is_called_with_the_entry_point_unless_it_does_so_itself() -> None:
    script = (
        "calls = []\ndef check(candidate):\n    calls.append(1)\n    assert candidate(2) == 4\n"
        "    assert len(calls) == 1\n"
    )
    for text in (script, script + "\ncheck(f)\n", script + "\nif True:\n    check(f)\n"):
        assert run("def f(x): return x * 2", text, "f", "check_script").status == "passed"
        assert run("def f(x): return x * 3", text, "f", "check_script").status == "failed"


def test_names_bound_by_one_test_are_there_for_the_next() -> None:
    tests = ["x = [1]", "assert f(x) == 1", "x.append(2)", "assert f(x) == 2"]
    assert [r.status for r in judge("def f(x): return len(x)", "asserts", tests, "f")] == ["passed"] * 4


# ---- what a program must not be able to do ----

LIAR = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    def __contains__(self, item): return True
    def __bool__(self): return True
    def __hash__(self): return hash('expected')
    def __add__(self, other): return other
    __radd__ = __sub__ = __rsub__ = __add__
    def __instancecheck__(self, other): return True
    def startswith(self, x): return True
    def isdigit(self): return True
    def issubset(self, x): return True
    def __class__(self): return int
def f(*a, **k): return Yes()
"""


@pytest.mark.parametrize(
    "line",
    [
        "assert f(x) == 'expected'",
        "assert 'expected' == f(x)",
        "assert not f(x) != 'expected'",
        "assert f(x) < 3",
        "assert 3 > f(x)",
        "assert f(x) + 1 == 2",
        "assert 1 + f(x) == 2",
        "assert abs(f(x) - 2) < 1",
        "assert f(x) in ['expected']",
        "assert 'expected' in f(x)",
        "assert {'expected': 1}[f(x)]",
        "assert f(x).startswith('exp')",
        "assert f(x).isdigit()",
        "assert f(x).issubset({1})",
        "assert isinstance(f(x), int)",
        "assert sorted([f(x), 'expected'])[0] == 'expected'",
        "assert [f(x)] == ['expected']",
    ],
)
def test_no_operator_comparison_or_membership_is_the_programs_to_answer(line: str) -> None:
    assert run(LIAR, f"for x in (1,):\n    {line}").status in ("failed", "error")


@pytest.mark.parametrize(
    "leaving",
    [
        "raise SystemExit(0)",
        "import sys; sys.exit(0)",
        "exit()",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "import unittest; raise unittest.SkipTest('done')",
        "import unittest\n    class S(unittest.SkipTest): pass\n    raise S('done')",
        "class E(BaseException): pass\n    raise E",
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_a_test_cannot_be_left_by_raising(leaving: str) -> None:
    program = f"def f(*a):\n    {leaving}\n"
    catching = "try:\n    f(1)\nexcept BaseException:\n    pass"
    assert run(program, catching).status not in ("passed", "failed")
    assert not run(program, unit("f(1)\nself.assertEqual(1, 2)"), "f", "unittest").passed


def test_an_exception_class_of_ours_or_of_unittest_cannot_be_raised_into_a_test() -> None:
    for names in ("proxy._Verdict", "unittest.case._ShouldStop", "unittest.case._UnexpectedSuccess"):
        module, _, name = names.rpartition(".")
        full = "acesandbox.guest.proxy" if module == "proxy" else module
        program = (
            f"import sys\nC = type({name!r}, (Exception,), {{}})\nC.__module__ = {full!r}\nC.__qualname__ = {name!r}\n"
            "def f(*a): raise C(0, '')\n"
        )
        assert not run(program, "for i in (1,):\n    assert f(i) == 2").passed
        # unittest takes some of its own exceptions for control flow and records no failure
        assert not run(program, unit("self.assertEqual(f(1), 2)"), "f", "unittest").passed


def test_a_unittest_passes_only_if_something_ran() -> None:
    assert not run(
        STACK, "import unittest\nclass TestIt(unittest.TestCase):\n    pass\nStack", "Stack", "unittest"
    ).passed
    skipping = unit("if not f(1): self.skipTest('nothing to see')\nself.assertEqual(f(1), 5)")
    assert run("def f(x): return 0", skipping, "f", "unittest").status == "failed"
    beside = skipping + "    def test_easy(self):\n        self.assertEqual(1, 1)\n"
    assert run("def f(x): return 0", beside, "f", "unittest").status == "failed"
    assert run("def f(x): return 5", beside, "f", "unittest").status == "passed"


def test_a_decorator_that_skips_leaves_the_others_to_decide() -> None:
    text = (
        unit("self.assertEqual(f(1), 1)")
        + "    @unittest.skip('later')\n    def test_later(self):\n        assert False\n"
    )
    assert run("def f(x): return x", text, "f", "unittest").status == "passed"
    assert run("def f(x): return 0", text, "f", "unittest").status == "failed"


def test_no_text_and_no_expected_value_of_a_test_is_said_to_the_player() -> None:
    tests = [
        "assert f('input-1') == 'expected-2', 'message-3'",
        "assert f('input-1').startswith('expected-2') or f('input-1') in ['expected-2']",
        "variable_4 = 'expected-2'\nfor i in range(2):  # comment-5\n    assert f('input-1') != variable_4 + str(i)",
        "def helper_6(x):\n    return x == 'expected-2'\nassert not helper_6(f('input-1'))",
        unit("self.assertNotEqual(f('input-1'), 'expected-2', 'message-3')"),
    ]
    pretend = Pretend(
        {"kind": "asserts", "tests": tests, "entry_point": "f", "prompt": "def f(x):\n    'prompt-7'"}
    )
    pretend.judge("def f(x): return x")
    said = pretend.said_to_player
    assert b"input-1" in said, "the search works"
    for secret in (
        b"expected-2",
        b"message-3",
        b"variable_4",
        b"comment-5",
        b"helper_6",
        b"prompt-7",
        b"assert",
    ):
        assert secret not in said


def test_the_prompts_helper_is_not_the_programs() -> None:
    prompt = (
        "def poly(xs, x):\n    return sum(c * x ** i for i, c in enumerate(xs))\n\ndef find_zero(xs):\n"
        "    '''Zero.'''\n"
    )
    test = "import math\nfor xs in ([1, 2], [-6, 11, -6, 1]):\n    assert math.fabs(poly(xs, find_zero(xs))) < 1e-4"
    forged = "def poly(xs, x): return 0\ndef find_zero(xs): return 0\n"
    assert run(forged, test, "find_zero", prompt=prompt).status == "failed"
    (plain,) = plain_judge.judge(forged, "asserts", [test], "find_zero")
    assert plain.passed, "the attack works where the program's helper is taken"


def test_an_answer_that_is_no_message_ends_the_test() -> None:
    program = (
        "import sys\n"
        "calls = next(m for n, m in list(sys.modules.items()) if n.endswith('.graph'))\n"
        "calls.codec.encode_value = lambda value, limit=0: (b'garbage', False)\n"
        "def f(x): return x\n"
    )
    assert run(program, "try:\n    f(1)\nexcept BaseException:\n    pass").status == "failed"


def test_a_bomb_in_an_answer_hits_a_limit_and_not_the_verdict() -> None:
    for value in ("range(10 ** 12)", "(lambda a: [a.append(a), a][1])([])", "'x' * (40 << 20)"):
        assert not run(f"def f(x): return {value}", "for x in (1,):\n    assert f(x) == 5").passed


# ---- whose fault ----


@pytest.mark.parametrize(
    ("test", "of_test"),
    [
        ("y = undefined_name", True),
        ("import module_that_is_not_there", True),
        ("x = f(1)\nassert x == unknown_expected", True),
        ("for i in (1,):\n    assert f(i) == 2", False),
        ("raise SystemExit", True),
    ],
)
def test_faults_of_the_test_are_told_apart(test: str, of_test: bool) -> None:
    result = run("def f(x): return x", test)
    assert not result.passed
    assert result.of_test is of_test, result


def test_a_missing_entry_point_is_the_programs_fault() -> None:
    result = run("def g(x): return x", "for i in (1,):\n    assert f(i) == 1")
    assert (result.status, result.of_test) == ("error", False)


def test_a_name_error_inside_the_program_is_the_programs_fault() -> None:
    result = run("def f(x): return missing_helper(x)", "for i in (1,):\n    assert f(i) == 1")
    assert (result.status, result.of_test) == ("error", False)


def test_a_test_that_catches_its_own_exit_is_still_judged() -> None:
    assert (
        run(
            "def f(x): return x", "try:\n    raise SystemExit\nexcept SystemExit:\n    assert f(1) == 1"
        ).status
        == "passed"
    )


def test_a_check_behind_a_main_guard_is_called_all_the_same() -> None:
    script = (
        "def check(candidate):\n    assert candidate(1) == 2\n\nif __name__ == '__main__':\n    check(f)\n"
    )
    assert run("def f(x): return x", script, "f", "check_script").status == "failed"
    assert run("def f(x): return x + 1", script, "f", "check_script").status == "passed"


def test_a_test_that_redefines_the_entry_point_is_judged_as_in_one_process() -> None:
    tests = ["old = f\ndef f(x):\n    return old(x) + 1\nassert f(1) == 2", "assert f(2) == 3"]
    results = judge("def f(x): return x", "asserts", tests, "f")
    assert [(r.status, r.mode) for r in results] == [("passed", "proxy")] * 2


def test_a_fresh_test_process_first_runs_the_tests_that_bind_what_a_test_uses() -> None:
    tests = ["x = 1", "y = x + 1", "assert 1 == 2", "assert f(y) == 3"]
    pretend = Pretend({"kind": "asserts", "tests": tests, "entry_point": "f", "prompt": None})
    pretend.skip = {0, 1, 2}
    assert pretend.judge("def f(x): return x + 1")[3].status == "passed"
    assert pretend.judge("def f(x): return x + 2")[3].status == "failed"


def test_a_planned_tests_import_does_not_hide_the_module_from_later_tests() -> None:
    tests = ["import math\nassert f(4) == math.sqrt(4)", "for i in (9,):\n    assert f(i) == math.sqrt(i)"]
    results = judge("def f(x): return x ** 0.5", "asserts", tests, "f")
    assert [(r.status, r.mode) for r in results] == [("passed", "plan"), ("passed", "proxy")]
