"""Tests whose outcome is chance, found by judging twice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from acedata._judge import Item, Program, judge_questions
from acedata._views import filter_questions
from acesandbox import Sandbox
from tests.data.matrices import Question, listed, questions_of

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
    question = questions_of([Question("evol_0", 0, "Unique letters.", tests, 6)])
    rows, drops = listed(filter_questions(question, first, again=second))
    assert rows[0]["kept"] == [0, 1, 2, 3, 4]
    assert [(drop["item"], drop["reason"]) for drop in drops] == [(5, "non-deterministic test")]
    rows, drops = listed(filter_questions(question, first))
    assert rows[0]["kept"] == [0, 1, 2, 3, 4, 5]
    assert pa.Table.from_pylist(drops).num_rows == 0
