"""Several reference programs per question: what they agree on."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from acedata._agreement import Agreement, agreed, agreement
from tests.data.matrices import Question, Sample, matrix_of

SOLVERS = ("ada", "bob", "cyd")


@st.composite
def solved(draw: st.DrawFn) -> list[Question]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        tests = draw(st.integers(0, 4))
        question = Question(f"q{number}", number, "", ["t"] * tests, tests)
        for place, name in enumerate(draw(st.permutations(SOLVERS))[: draw(st.integers(0, 3))]):
            names = draw(st.lists(st.sampled_from(("passed", "failed")), min_size=tests, max_size=tests))
            question.programs.append(Sample(name, place, "p", names))
        made.append(question)
    return made


@settings(deadline=None)
@given(solved(), st.integers(0, 99))
def test_votes_are_counted_test_by_test(asked: list[Question], seed: int) -> None:
    votes: Counter[tuple[int, int]] = Counter()
    alone: Counter[str] = Counter()
    against: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    programs: Counter[str] = Counter()
    for question in asked:
        for program in question.programs:
            programs[program.model] += 1
            tests[program.model] += len(question.tests)
            passed[program.model] += sum(program.passes)
        for number in range(len(question.tests)):
            for_it = [program.model for program in question.programs if program.passes[number]]
            not_for_it = [program.model for program in question.programs if not program.passes[number]]
            if question.programs:
                votes[len(for_it), len(question.programs)] += 1
            if len(for_it) == 1 and not_for_it:
                alone[for_it[0]] += 1
            if len(not_for_it) == 1 and for_it:
                against[not_for_it[0]] += 1
    found = agreement(matrix_of(asked, seed))
    assert found.votes == dict(votes)
    assert found.programs == dict(programs)
    for counted, expected in (
        (found.tests, tests),
        (found.passed, passed),
        (found.alone, alone),
        (found.against, against),
    ):
        assert {name: count for name, count in counted.items() if count} == +expected
    assert found.disputed == sum(n for (vote, of), n in votes.items() if 0 < vote < of)


def test_two_of_three_are_two_thirds() -> None:
    passed, solvers = np.array([2, 1, 3, 0]), np.array([3, 3, 3, 0])
    assert agreed(passed, solvers, Fraction(2, 3)).tolist() == [True, False, True, False]
    assert agreed(passed, solvers, Fraction(1)).tolist() == [False, False, True, False]


def test_nothing_is_agreed_on_when_nobody_was_asked() -> None:
    assert agreement([]) == Agreement()
