"""Tests whose outcome is chance, found by judging twice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acedata._errors import BadInput
from acedata._flaky import differences
from acedata._judge import Item, Program, judge_questions
from acedata._views import filter_questions
from acesandbox import Sandbox
from tests.data.matrices import Question, Sample, listed, matrix_of, questions_of

UNIQUE = """
def unique(text):
    return list(set(text))
"""
TESTS = [
    "assert sorted(unique('hello')) == ['e', 'h', 'l', 'o']",
    "assert unique('aaa') == ['a']",
    "assert set(unique('abcabc')) == {'a', 'b', 'c'}",
    "assert len(unique('abcdefgh')) == 8",
    "assert unique('') == []",
]


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6), max_size=6), st.integers(0, 99)
)
def test_every_result_that_changed_is_found(outcomes: list[list[tuple[bool, bool]]], seed: int) -> None:
    first, second = [], []
    expected = []
    for number, results in enumerate(outcomes):
        for made, turn in ((first, 0), (second, 1)):
            names = ["passed" if result[turn] else "failed" for result in results]
            made.append(
                Question(f"q{number}", number, "", [""] * len(results), 0, [Sample("m", 0, "a", names)])
            )
        for test, (before, after) in enumerate(results):
            if before != after:
                expected.append(
                    (f"q{number}", test, *("passed" if one else "failed" for one in (before, after)))
                )
    found = differences(matrix_of(first, seed), matrix_of(second, seed + 1))
    rows = [row for batch in found for row in batch.to_pylist()]
    assert [(row["id"], row["test"], row["first"], row["second"]) for row in rows] == expected


def test_matrices_of_different_programs_are_refused() -> None:
    one = [Question("q", 0, "", ["t"], 1, [Sample("m", 0, "a", ["passed"])])]
    other = [Question("q", 0, "", ["t"], 1, [Sample("m", 1, "a", ["passed"])])]
    with pytest.raises(BadInput, match="not of the same programs"):
        list(differences(matrix_of(one), matrix_of(other)))
    with pytest.raises(BadInput, match="more rows"):
        list(differences(matrix_of(one), []))


def test_a_test_that_wants_one_order_of_a_set_is_found_and_dropped() -> None:
    def matrices(seed: int, tests: list[str]) -> list[Any]:
        item = Item("evol_0", 0, tests, "unique", [Program("reference", 0, UNIQUE)])
        with Sandbox(workers=1, hash_seed=seed) as sandbox:
            return [batch.matrix for batch in judge_questions([item], sandbox)]

    # What the program answers under the first seed is what a model would have taken down as the right answer.
    probe = matrices(0, ["assert unique('abcdefgh') == 0"])[0]["messages"].to_pylist()[0][0]
    ordered = probe.removeprefix("returned ")
    tests = [*TESTS, f"assert unique('abcdefgh') == {ordered}"]
    first, second = matrices(0, tests), matrices(1, tests)
    changed = [row for batch in differences(first, second) for row in batch.to_pylist()]
    assert [(row["test"], row["first"], row["second"]) for row in changed] == [(5, "passed", "failed")]

    question = questions_of([Question("evol_0", 0, "Unique letters.", tests, 6)])
    rows, drops = listed(filter_questions(question, first, again=second))
    assert rows[0]["kept"] == [0, 1, 2, 3, 4]
    assert [(drop["item"], drop["reason"]) for drop in drops] == [(5, "non-deterministic test")]
    rows, drops = listed(filter_questions(question, first))
    assert rows[0]["kept"] == [0, 1, 2, 3, 4, 5]
    assert pa.Table.from_pylist(drops).num_rows == 0
