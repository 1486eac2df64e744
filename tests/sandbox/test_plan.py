"""Planning: which mode a test gets, what goes to the player, what stays, and how a value is decided."""

from __future__ import annotations

import marshal
from typing import Any

import pytest

from tests.sandbox.pretend import Pretend, guest, judge

GUEST = guest()
PLAN = GUEST.plan


def planned(
    test: str, entry_point: str | None = "f", prompt: str | None = None, kind: str = "asserts"
) -> Any:
    problem = {"kind": kind, "tests": [test], "entry_point": entry_point, "prompt": prompt}
    return PLAN.make_plan(problem).tests[0]


def mode(test: str, entry_point: str | None = "f", prompt: str | None = None) -> str:
    name: str = PLAN.MODE_NAMES[planned(test, entry_point, prompt).mode]
    return name


def verdicts(
    program: str, *tests: str, entry_point: str | None = "f", prompt: str | None = None
) -> list[str]:
    return [result.status for result in judge(program, "asserts", list(tests), entry_point, prompt)]


ECHO = "def f(*a, **k):\n    return a[0] if a else k\n"

# (an assert, what f must return for it to hold, what makes it fail)
FORMS = [
    ("assert f(1) == 2", 2, 3),
    ("assert f(1) == 2, 'a message'", 2, 3),
    ("assert 2 == f(1)", 2, 3),
    ("assert f(1) is None", None, 0),
    ("assert f(1) is True", True, 1),
    ("assert f(1) is False", False, 0),
    ("assert f(1) != 2", 3, 2),
    ("assert f(1) < 2", 1, 2),
    ("assert not f(1)", [], [1]),
    ("assert f(1)", "x", ""),
    ("assert abs(f(1) - 2) < 1e-6", 2.0000001, 2.1),
    ("assert math.isclose(f(1), 2.0)", 2.0, 2.1),
    ("import math\nassert math.isclose(f(1), 2.0)", 2.0, 2.1),
    ("assert set(f(1)) == {1, 2}", [2, 1, 1], [1]),
    ("assert sorted(f(1)) == [1, 2]", (2, 1), (2, 2)),
    ("assert len(f(1)) == 2", "ab", "abc"),
    ("assert f(1)[0] == 5", [5, 6], [6, 5]),
    ("assert isinstance(f(1), int)", 3, "3"),
    ("assert all(isinstance(x, int) for x in f(1))", [1, 2], [1, "2"]),
    ("assert f(list(range(-10, 10))) == [1]", [1], [2]),
    ("assert round(f(1), 2) == 3.14", 3.14159, 3.2),
    ("assert f(1) in [1, 2]", 2, 3),
    ("assert 1 < f(1) < 3", 2, 3),
    ("assert f(1) == f(2)", 1, float("nan")),
    ("assert f(1).startswith('a')", "abc", "bc"),
    ("assert f(1) == [0] * 5", [0, 0, 0, 0, 0], [0]),
    ("assert f(1) == 2 ** 10", 1024, 1025),
    ("assert f(1) == float('inf')", float("inf"), 1.0),
    ("assert f(1) == set()", set(), {1}),
    ("assert str(f(1)) == '1'", 1, 2),
    ("assert f(*[1, 2], **{'k': 3}) == 4", 4, 5),
    ("assert type(f(1)) == dict", {}, []),
    ("assert f(1) == {'a': 1, 'b': [2]}", {"b": [2], "a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("test", "right", "wrong"), FORMS, ids=[form[0] for form in FORMS])
def test_every_common_form_of_assert_is_planned_and_decided(test: str, right: Any, wrong: Any) -> None:
    assert mode(test) == "plan"
    names = "inf, nan = float('inf'), float('nan')\n"
    assert verdicts(f"{names}def f(*a, **k): return {right!r}", test) == ["passed"]
    assert verdicts(f"{names}def f(*a, **k): return {wrong!r}", test) == ["failed"]


@pytest.mark.parametrize(
    ("program", "test", "entry_point"),
    [
        ("def g(x): return x + 1\ndef f(x): return x * 2", "assert f(g(1)) == 4", "f"),
        ("def f(x): return lambda y: x * y", "assert f(2)(3) == 6", "f"),
        (
            "class Solution:\n    def m(self, x, k=0): return x + k",
            "assert Solution().m(1, k=2) == 3",
            "Solution",
        ),
        (
            "class Solution:\n    @staticmethod\n    def m(x): return x",
            "assert Solution.m(4) == 4",
            "Solution",
        ),
        ("class Point:\n    def __init__(self, x): self.x = x", "assert Point(3).x == 3", "Point"),
    ],
)
def test_a_whole_chain_of_calls_is_lifted(program: str, test: str, entry_point: str) -> None:
    assert mode(test, entry_point) == "plan"
    assert verdicts(program, test, entry_point=entry_point) == ["passed"]


def test_no_expected_value_is_in_any_request() -> None:
    for test, _, _ in [("assert f(1) == 'secret-17'", 0, 0), ("assert f(1)['secret-17'] == 1", 0, 0)]:
        item = planned(test)
        assert item.mode == PLAN.PLAN
        assert b"secret" not in item.request
    for test in (
        "assert f(1) in ['secret-17']",
        "assert f(1).startswith('secret-17')",
        "assert 'secret-17' != f(1), 'secret'",
    ):
        item = planned(test)
        assert item.mode == PLAN.PLAN
        assert b"secret" not in item.request


def test_a_request_with_constants_is_data_and_holds_no_code() -> None:
    assert marshal.loads(planned("assert f(1, [2], k={'a': (3,)}) == 4").request) == (
        0,
        "f",
        (1, [2]),
        {"k": {"a": (3,)}},
    )


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1) == 1 and f(2) == 2",
        "assert all(f(x) == x for x in range(3))",
        "assert 0 < 1 < f(3)",
        "for i in range(3):\n    assert f(i) == i",
        "x = f(1)\nassert x == 1",
        "assert (lambda: f(1))() == 1",
        "assert f(1) is f(1)",
        "assert 2 ** f(3) == 8",
        "assert f.__name__ == 'f'",
        "try:\n    f(-1)\nexcept ValueError:\n    pass",
    ],
)
def test_what_is_conditional_repeated_or_unbounded_is_not_planned(test: str) -> None:
    assert mode(test) == "proxy"


def test_an_assert_that_cannot_be_split_runs_as_it_was_written() -> None:
    assert verdicts(
        "def f(x): return x.__sizeof__()", "assert f('a') == 'a'.__sizeof__() and sys.getsizeof(f('b')) > 0"
    ) == ["passed"]


@pytest.mark.parametrize("test", ["assert ____ == f(1)", "assert f(____) == 1", "assert ___________, 'text'"])
def test_a_placeholder_is_the_tests_fault(test: str) -> None:
    (result,) = judge(ECHO, "asserts", [test], "f")
    assert (result.status, result.of_test, result.mode) == ("error", True, "broken")


def test_a_placeholder_that_may_not_be_reached_does_not_break_a_test() -> None:
    assert mode("assert f(1) or ____") != "broken"


def test_a_test_that_does_not_parse_spoils_only_itself() -> None:
    results = judge(
        ECHO, "asserts", ["assert f(1) ==", "assert f(1) == 1", "assert '\0' == f(1)", "(" * 500], "f"
    )
    assert [r.status for r in results] == ["syntax_error", "passed", "syntax_error", "syntax_error"]
    assert [r.of_test for r in results] == [True, False, True, True]


@pytest.mark.parametrize("kind", ["asserts", "check_script"])
@pytest.mark.parametrize("test", ["", "\n  \n", "# nothing is asserted"])
def test_an_empty_test_passes_nobody(kind: str, test: str) -> None:
    (result,) = judge(ECHO, kind, [test], "f")
    assert (result.status, result.of_test, result.mode) == ("error", True, "broken")


def test_nan_is_never_equal_by_its_bytes() -> None:
    assert planned("assert f(1) == float('nan')").compare == PLAN.ASK
    assert planned("assert f(1) == [1.0, float('nan')]").compare == PLAN.ASK
    assert verdicts("def f(x): return float('nan')", "assert f(1) == float('nan')") == ["failed"]


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ("1", "True"),
        ("1", "1.0"),
        ("True", "1"),
        ("0.0", "-0.0"),
        ("{1, 2}", "{2, 1}"),
        ("[[1], [1]]", "[[1]] * 2"),
    ],
)
def test_equal_values_with_other_bytes_pass(expected: str, returned: str) -> None:
    assert verdicts(f"def f(x): return {returned}", f"assert f(1) == {expected}") == ["passed"]


def test_a_final_mismatch_is_only_claimed_for_strict_values() -> None:
    assert planned("assert f(1) == [1, 'a', (None, b'x')]").compare == PLAN.STRICT
    for loose in ("True", "1.0", "{'a': 1}", "[1, False]"):
        assert planned(f"assert f(1) == {loose}").compare == PLAN.EQUALITY_RULE


def test_truth_is_not_compared_as_equality() -> None:
    # a mismatch with True says nothing about truth: (1, 2) is true as well
    for truth in ("assert f(1)", "assert not f(1)"):
        assert planned(truth).compare in (PLAN.ASK, PLAN.EQUAL_PASSES)


def test_order_of_sets_in_arguments_is_the_order_written() -> None:
    # these three collide in a table of eight, so the order of insertion shows
    for literal in ("{16, 8, 0}", "{8, 0, 16}", "{0, 16, 8}"):
        program = f"def f(x): return list(x) == list({literal})"
        assert verdicts(program, f"assert f({literal})") == ["passed"]


def test_a_callers_mutation_of_a_default_argument_lasts_from_test_to_test() -> None:
    program = "def f(x, seen=[]):\n    seen.append(x)\n    return list(seen)"
    assert verdicts(program, "assert f(1) == [1]", "assert f(2) == [1, 2]") == ["passed", "passed"]


def test_a_method_of_a_built_in_type_is_never_asked_of_the_programs_object() -> None:
    liar = (
        "class Liar(str):\n    def startswith(self, *a): return True\n    def __eq__(self, o): return True\n"
    )
    assert verdicts(
        liar + "def f(x): return Liar('zzz')", "assert f(1).startswith('abc')", "assert f(1) == 'a'"
    ) == [
        "failed",
        "failed",
    ]


def test_a_token_is_equal_to_nothing_and_passes_no_method() -> None:
    program = (
        "class Yes:\n    def __eq__(s, o): return True\n    def startswith(s, x): return True\n"
        "    def __lt__(s, o): return True\n    def __contains__(s, x): return True\n"
        "def f(x): return Yes()"
    )
    tests = ["assert f(1) == 5", "assert f(1).startswith('a')", "assert f(1) < 3", "assert 3 in f(1)"]
    assert verdicts(program, *tests) == ["failed", "error", "error", "error"]


def test_an_endless_range_does_not_keep_the_judge_busy() -> None:
    program = "def f(x): return range(10 ** 12)"
    for test in ("assert sorted(f(1)) == [1]", "assert set(f(1)) == {1}", "assert all(v >= 0 for v in f(1))"):
        assert verdicts(program, test) == ["error"]


def test_a_test_with_a_huge_constant_is_planned_quickly() -> None:
    for expression in (
        "10 ** 10 ** 8",
        "[0] * 10 ** 10",
        "'a' * 10 ** 12",
        "list(range(10 ** 12))",
        "1 << 10 ** 10",
    ):
        assert mode(f"assert f(1) == {expression}") in ("plan", "proxy")


def test_entry_point_is_inferred_from_the_calls() -> None:
    assert verdicts("def add(a, b): return a + b", "assert add(1, 2) == 3", entry_point=None) == ["passed"]
    assert planned("assert sorted(add(1, 2)) == 3", None).oracle == "entry_point"


def test_an_entry_point_that_shadows_a_builtin_is_the_programs() -> None:
    assert verdicts("def sum(a, b): return a * b", "assert sum(10, 15) == 150", entry_point=None) == [
        "passed"
    ]
    assert verdicts("def sum(a, b): return a * b", "assert sum(10, 15) == 150", entry_point="sum") == [
        "passed"
    ]


def test_what_more_than_the_entry_point_comes_from_the_program_is_said() -> None:
    assert planned("assert f(1) == 1").oracle == "entry_point"
    assert planned("assert f(g(1)) == 1").oracle == "program"
    assert planned("assert 1 == 1").oracle == "none"
    assert planned("assert f(math.pi) == 1").oracle == "entry_point"


PROMPT = '''
import math

def encode(s: str):
    """Reverse."""
    return s[::-1]

def decode(s: str):
    """Undo encode."""
'''


def test_helpers_come_from_the_prompt_and_not_from_the_program() -> None:
    forged = "def encode(s): return 'x'\ndef decode(s): return 'abc'\n"
    honest = "def encode(s): return s[::-1]\ndef decode(s): return s[::-1]\n"
    # with the forged helper, decode(encode('xbc')) == 'abc' would be... whatever decode says; the trusted one tells
    test = "for s in ('ab', 'cd'):\n    assert decode(encode(s)) == s"
    assert verdicts(honest, test, entry_point="decode", prompt=PROMPT) == ["passed"]
    assert verdicts(forged, test, entry_point="decode", prompt=PROMPT) == ["failed"]
    cheat = "def encode(s): return s\ndef decode(s): return s\n"
    assert verdicts(cheat, test, entry_point="decode", prompt=PROMPT) == ["failed"]
    assert verdicts(cheat, test, entry_point="decode") == ["passed"], (
        "without the prompt the program's helper is used"
    )
    without = "def decode(s): return s[::-1]\n"
    assert verdicts(without, test, entry_point="decode", prompt=PROMPT) == ["error"], (
        "a program that leaves out what the prompt gave it fails on the missing name, as everywhere"
    )
    assert planned(test, "decode", PROMPT).oracle == "entry_point"
    assert planned(test, "decode").oracle == "program"


def test_a_signature_in_the_prompt_is_no_helper() -> None:
    prompt = "def f(x):\n    '''Docstring.'''\ndef g(x):\n    raise NotImplementedError\ndef h(x): ...\n"
    names = GUEST.plan.Prompt(prompt, "f").names
    assert names == set()


def test_the_modes_do_not_depend_on_the_program() -> None:
    tests = ["assert f(1) == 1", "for i in (1,):\n    assert f(i) == i", "assert f(open('x')) == 1"]
    problem = {"kind": "asserts", "tests": tests, "entry_point": "f", "prompt": None}
    pretend = Pretend(problem)
    before = pretend.plan_bytes
    for program in (ECHO, "def f(x): return object()", "raise SystemExit", "("):
        pretend.judge(program)
        assert pretend.plan.to_bytes() == before


def test_functional_calls_a_function_or_the_method_of_class_solution() -> None:
    cases = [["(1, 2)", "3"], ["[3, 4]", "8"], ["(", "1"]]
    for program in ("def add(a, b): return a + b", "class Solution:\n    def add(self, a, b): return a + b"):
        assert [r.status for r in judge(program, "functional", cases, "add")] == [
            "passed",
            "failed",
            "syntax_error",
        ]


def test_functional_takes_tuples_for_lists() -> None:
    cases = [["(1,)", "[1, [2, 3]]"], ["(1,)", "[1, [2, 4]]"]]
    for returned in ("1, (2, 3)", "[1, (2, 3)]", "1, [2, 3]"):
        found = [r.status for r in judge(f"def g(x): return {returned}", "functional", cases, "g")]
        assert found == ["passed", "failed"], returned


def test_a_coroutine_is_run_to_its_end_in_the_player() -> None:
    assert verdicts("async def f(x):\n    return x + 1", "assert f(1) == 2") == ["passed"]


def test_numbers_too_long_for_str_are_judged() -> None:
    program = "def f(x): return 10 ** 5000 + x"
    assert verdicts(program, "assert f(1) == 10 ** 5000 + 1", "assert f(1) == 10 ** 5000") == [
        "passed",
        "failed",
    ]
