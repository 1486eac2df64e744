"""Entry points and the check that a question's tests agree on one function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acedata._signature import Call, NoSignature, Signature, calls_of, check_signature, entry_point


@pytest.mark.parametrize(
    ("test", "calls"),
    [
        ("assert f(1, 2) == 3", [("f", 2, ())]),
        ("assert sorted(f([1])) == [1]", [("f", 1, ())]),
        ("assert abs(f(1) - 2) < 1e-6", [("f", 1, ())]),
        ("assert math.isclose(f(1), 2)", [("f", 1, ())]),
        ("assert f(1).upper() == str(2)", [("f", 1, ())]),
        ("assert f(1) == f(2)", [("f", 1, ()), ("f", 1, ())]),
        ("assert encode(decode(1)) == 1", [("encode", 1, ()), ("decode", 1, ())]),
        ("assert f(1, key=2, also=3) == 1", [("f", 1, ("also", "key"))]),
        ("assert f(*a) == 1", [("f", None, ())]),
        ("assert f(**a) == 1", [("f", None, ())]),
        ("assert f(lambda g: g(1)) == 1", [("f", 1, ())]),
        ("assert all(f(g) for g in [1])", [("f", 1, ())]),
        ("assert Stack().push(1) == 1", [("Stack", 0, ())]),
        ("assert x == 1", []),
        ("assert (", []),
    ],
)
def test_which_functions_of_the_program_a_test_calls(
    test: str, calls: list[tuple[str, int | None, tuple[str, ...]]]
) -> None:
    assert calls_of(test) == tuple(Call(*call) for call in calls)


@pytest.mark.parametrize(
    ("tests", "name"),
    [
        (["assert f(1)", "assert not f(2)"], "f"),
        (["assert f(g(1))", "assert f(2)"], "f"),
        (["assert f(g(1))", "assert f(g(2))"], None),
        (["assert f(1)", "assert g(1)"], None),
        (["assert f(1)", "assert (", "assert True"], "f"),
        (["assert len([1]) == 1"], None),
        ([], None),
    ],
)
def test_the_entry_point_is_what_every_test_calls(tests: list[str], name: str | None) -> None:
    assert entry_point(tests) == name


def test_tests_that_agree_pass_whole() -> None:
    tests = ["assert f(1) == 2", "assert f(x=2) == 3", "assert sorted(f(3)) == []"]
    assert check_signature(tests) == Signature("f", (0, 1, 2), (), (1,))


def test_tests_of_something_else_are_left_out_one_by_one() -> None:
    tests = [
        "assert f(1)",
        "assert g(f(2))",
        "assert g(3)",
        "assert True",
        "assert f(4)",
        "assert f(5)",
        "assert f(6)",
    ]
    found = check_signature(tests)
    assert isinstance(found, Signature)
    assert (found.name, found.kept) == ("f", (0, 4, 5, 6))
    assert [(drop.item, drop.reason, drop.detail) for drop in found.dropped] == [
        (1, "calls several functions", "f, g"),
        (2, "calls another function", "g"),
        (3, "calls no function", ""),
    ]


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        (["assert True", "assert len([]) == 0"], "no single entry point"),
        (["assert f(1)", "assert g(1)"], "no single entry point"),
        (["assert f(g(1))", "assert f(g(2))"], "no single entry point"),
        (["assert f(1)", "assert f(2)", "assert g(1)", "assert h(1)"], "no single entry point"),
        ([], "no single entry point"),
        (["assert f(1)", "assert f(1, 2)", "assert f(1, 2, 3)"], "calls differ in arity"),
    ],
)
def test_questions_whose_tests_do_not_agree_are_refused_with_a_reason(tests: list[str], reason: str) -> None:
    found = check_signature(tests)
    assert isinstance(found, NoSignature) and found.reason == reason


def test_one_optional_argument_is_no_disagreement() -> None:
    found = check_signature(["assert f(1)", "assert f(1, 2)", "assert f(1, k=2)", "assert f(*a)"])
    assert isinstance(found, Signature) and found.arities == (1, 2)


@given(
    st.lists(st.sampled_from(["assert f(1)", "assert g(1)", "assert f(g(1))", "assert 1", "x ="]), max_size=6)
)
def test_every_test_is_kept_or_dropped_once(tests: list[str]) -> None:
    found = check_signature(tests)
    if isinstance(found, Signature):
        places = [*found.kept, *(drop.item for drop in found.dropped)]
        assert sorted(places) == list(range(len(tests)))
        assert all(calls_of(tests[place])[0].name == found.name for place in found.kept)
        assert entry_point([tests[place] for place in found.kept]) == found.name
