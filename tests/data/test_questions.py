"""A synthesizer's answer: what is read of it, what is tolerated, and that every refusal has its reason."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acedata._loose_json import Unreadable, read_object
from acedata._questions import (
    MAX_ANSWER,
    MAX_TESTS,
    DroppedTest,
    ParsedQuestion,
    Unparsable,
    is_constant,
    normalise_tests,
    parse_question,
)

QUESTION = "Write `f(x)`, which adds one."
TESTS = ["assert f(1) == 2", "assert f(2) == 3"]
GOOD = json.dumps({"question": QUESTION, "tests": TESTS})


def parsed(answer: str) -> ParsedQuestion:
    found = parse_question(answer)
    assert isinstance(found, ParsedQuestion), found
    return found


def refused(answer: str) -> str:
    found = parse_question(answer)
    assert isinstance(found, Unparsable), found
    return found.reason


def test_the_form_that_is_asked_for() -> None:
    assert parsed(GOOD) == ParsedQuestion(QUESTION, tuple(TESTS), (), ())


@pytest.mark.parametrize(
    "answer",
    [
        f"Sure! Here it is:\n```json\n{GOOD}\n```\nHope it helps {{really}}.",
        f"```\n{GOOD}\n```",
        f"<think>maybe {{'question': 'no'}}</think>{GOOD}",
        f"A set like {{1, 2}} or {{'a': 1}} helps. {GOOD}",
        f'{{"result": {GOOD}}}',
        json.dumps({"Question": QUESTION, "Tests": TESTS}),
        json.dumps({"reasoning": "first", "tests": TESTS, "question": f"\n{QUESTION} "}),
        json.dumps({"question": QUESTION, "test_cases": TESTS}),
        json.dumps({"question": QUESTION, "tests": "\n".join(TESTS)}),
        json.dumps({"question": QUESTION, "tests": [" \n".join(TESTS) + "\n"]}),
        json.dumps({"question": QUESTION, "tests": TESTS}, indent=2).replace('3"\n', '3",\n'),
        str({"question": QUESTION, "tests": TESTS}),
        json.dumps({"question": QUESTION, "tests": TESTS}, indent=1).replace("[", "[  // tests\n# more\n"),
        GOOD.removesuffix("]}"),
        GOOD.removesuffix("}") + "\n```\n",
        '{"question": """' + QUESTION + '""", "tests": [\'assert f(1) == 2\', "assert f(2) == 3"],}',
    ],
)
def test_liberties_that_are_taken_without_a_word(answer: str) -> None:
    found = parsed(answer)
    assert (found.question, found.tests) == (QUESTION, tuple(TESTS))


def test_raw_line_breaks_and_needless_backslashes_in_strings() -> None:
    answer = (
        '{"question": "Match \\d+ and\n\tit\\\'s \\u00e9\\ud83d\\ude00", '
        '"tests": ["assert f(\\"a\\\\n\\") == \'\\\\d\'"]}'
    )
    found = parsed(answer)
    assert found.question == "Match \\d+ and\n\tit's é😀"
    assert found.tests == ("assert f(\"a\\n\") == '\\d'",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty answer"),
        ("<think>for ever", "empty answer"),
        ("I cannot do that.", "broken JSON"),
        (GOOD[:40], "broken JSON"),
        ('{"question": "say "hi" twice", "tests": ["assert f(1)"]}', "broken JSON"),
        ('{"question": "a" "tests": ["assert f(1)"]}', "broken JSON"),
        ('{"question": "a", "tests": ["assert f(1)" "assert f(2)"]}', "broken JSON"),
        ('{"question": "a", "question": "b", "tests": ["assert f(1)"]}', "broken JSON"),
        ('{"question": "a", tests: ["assert f(1)"]}', "broken JSON"),
        ('{"question": ' + "[" * 100 + "]" * 100 + "}", "broken JSON"),
        ('{"tests": ["assert f(1)"]}', "no question"),
        ('{"question": " ", "tests": ["assert f(1)"]}', "no question"),
        ('{"question": ["a"], "tests": ["assert f(1)"]}', "no question"),
        ('{"question": null, "tests": null}', "no question"),
        ('{"question": "a"}', "no tests"),
        ('{"question": "a", "tests": []}', "no tests"),
        ('{"question": "a", "tests": {"1": "assert f(1)"}}', "no tests"),
        ('{"question": "a", "tests": [1, "f(1) == 2", "assert (", "x = 1\\nassert f(x)"]}', "no usable test"),
        ('{"question": "half \\ud83d", "tests": ["assert f(1)"]}', "not valid Unicode"),
        ("x" * (MAX_ANSWER + 1), "answer too long"),
    ],
)
def test_every_refusal_has_a_reason(answer: str, reason: str) -> None:
    assert refused(answer) == reason


def test_what_is_left_out_is_said_test_by_test() -> None:
    listed: list[Any] = [
        "assert f(1) == 2",
        7,
        "f(1) == 2",
        "x = 1\nassert f(x) == 2",
        "assert f(1) ==",
        " assert f(1) == 2 ",
        "assert f(2) == 3\nassert f(1) == 2",
        "assert f('\ud83d')",
        "assert " + "-" * 5000 + "1",
        "# nothing",
        "assert f('" + "x" * 20_000 + "')",
    ]
    tests, dropped = normalise_tests(listed)
    assert tests == ("assert f(1) == 2", "assert f(2) == 3")
    assert [(drop.item, drop.reason) for drop in dropped] == [
        (1, "not a string"),
        (2, "not one assert"),
        (3, "not one assert"),
        (4, "not valid Python"),
        (5, "duplicate"),
        (6, "duplicate"),
        (7, "not valid Python"),
        (8, "nested too deeply"),
        (9, "not one assert"),
        (10, "too long"),
    ]


def test_a_model_that_goes_on_for_ever_is_stopped() -> None:
    tests, dropped = normalise_tests([f"assert f({number})" for number in range(MAX_TESTS + 50)])
    assert len(tests) == MAX_TESTS
    assert dropped == (
        DroppedTest(MAX_TESTS, "too many", f"{MAX_TESTS + 50} tests; the limit is {MAX_TESTS}"),
    )


def test_tests_on_several_lines_are_told_apart_by_statement() -> None:
    text = "assert f('é;') == 1; assert f(2) == (\n  3)\n# next\nassert f(4) == '''\nassert no'''"
    tests, dropped = normalise_tests([text])
    assert tests == ("assert f('é;') == 1", "assert f(2) == (\n  3)", "assert f(4) == '''\nassert no'''")
    assert not dropped


def test_computed_tests_are_flagged_and_kept() -> None:
    answer = json.dumps(
        {"question": "a", "tests": ["assert f(1) == 2", "assert f(1) == g(2)", "assert f(x) == 1"]}
    )
    assert parsed(answer).computed == (1, 2)


@pytest.mark.parametrize(
    ("test", "constant"),
    [
        ("assert f(-1, [1, (2, {'a': {3}})], k='x') == None, 'message'", True),
        ("assert not f()", True),
        ("assert 3 == f(1)", True),
        ("assert f(set(), float('inf')) == set([1])", True),
        ("assert f(1+2j) == 10**9", True),
        ("assert f(range(3)) == 2", False),
        ("assert f([0] * 3 + [1]) == 2", False),
        ("assert sorted(f(1)) == [1]", False),
        ("assert f(1).a() == 2", False),
        ("assert f(1) == f(2)", False),
        ("assert f(*a) == 2", False),
        ("assert f(**{'a': 1}) == 2", True),
        ("assert f({**a}) == 2", False),
        ("assert True", False),
        ("f(1)", False),
        ("assert (", False),
    ],
)
def test_constant_tests(test: str, constant: bool) -> None:
    assert is_constant(test) is constant


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_whatever_is_json_is_read_as_json(value: dict[str, Any], ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=indent)
    assert read_object(f"prose {text} prose", ()) == value


@given(st.text(st.sampled_from("{}[]\"'\\:,#/ \nabu01eE.-truefalsn`question"), max_size=100))
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    assert isinstance(parse_question(text), (ParsedQuestion, Unparsable))
    assert isinstance(parse_question('{"question": "a", "tests": [' + text), (ParsedQuestion, Unparsable))
    try:
        read_object(text, ("question",))
    except Unreadable as why:
        assert str(why)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        '{"',
        '{"question":',
        '{"a":[',
        "{ ",
        "[",
        '"',
        "\\",
        "'",
        "#\n",
        "//",
        '{"question":"a","tests":["assert f(',
        '{"question":"a","tests":["assert f()\\n',
        "\\ud83d",
        '{"question":"a","tests":[' + '"assert f()",',
    ],
)
def test_long_answers_take_linear_time(piece: str) -> None:
    for text in (
        piece * (390_000 // len(piece)),
        '{"question": "a", "tests": ["' + piece * (390_000 // len(piece)),
    ):
        start = time.process_time()
        parse_question(text[:MAX_ANSWER])
        assert time.process_time() - start < 3
