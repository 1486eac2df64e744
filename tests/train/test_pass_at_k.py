"""pass@k and best-of-k against their definitions, counted out over all subsets in exact fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acetrain._pass_at_k import best_of_k, pass_at_k


def closed_form(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


def test_equal_to_the_closed_form_everywhere_up_to_64_samples() -> None:
    for n in range(1, 65):
        for c in range(n + 1):
            for k in range(1, n + 1):
                exact = float(closed_form(n, c, k))
                assert math.isclose(pass_at_k(n, c, k), exact, rel_tol=1e-12, abs_tol=0), (n, c, k)


def test_no_digits_are_lost_where_hardly_anything_passes() -> None:
    exact = closed_form(10**6, 1, 3)
    assert pass_at_k(10**6, 1, 3) == pytest.approx(float(exact), rel=1e-14)
    assert 0 < pass_at_k(10**15, 1, 1) == pytest.approx(1e-15, rel=1e-12)


def test_a_million_samples_take_no_time_and_do_not_overflow() -> None:
    assert pass_at_k(10**6, 500_000, 64) == pytest.approx(1.0)
    none = math.prod(Fraction(500_000 - i, 10**6 - i) for i in range(10))
    assert pass_at_k(10**6, 10, 500_000) == pytest.approx(float(1 - none), rel=1e-12)


def test_pass_at_1_is_the_mean_and_pass_at_n_the_oracle() -> None:
    assert pass_at_k(16, 5, 1) == pytest.approx(5 / 16)
    assert pass_at_k(16, 0, 16) == 0.0
    assert pass_at_k(16, 1, 16) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(0, 0, 1), (4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def counted(scores: list[int], passed: list[bool], k: int) -> Fraction:
    """Best-of-k over every subset, ties shared."""
    total, subsets = Fraction(0), 0
    for subset in itertools.combinations(range(len(scores)), k):
        top = max(scores[i] for i in subset)
        tied = [i for i in subset if scores[i] == top]
        total += Fraction(sum(passed[i] for i in tied), len(tied))
        subsets += 1
    return total / subsets


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9), st.data())
def test_best_of_k_is_the_mean_over_all_subsets(samples: list[tuple[int, bool]], data: st.DataObject) -> None:
    scores, passed = [s for s, _ in samples], [p for _, p in samples]
    k = data.draw(st.integers(1, len(samples)))
    assert best_of_k(scores, passed, k) == pytest.approx(float(counted(scores, passed, k)), abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.data())
def test_a_perfect_score_gives_pass_at_k_and_a_constant_one_the_mean(
    passed: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(passed)))
    perfect = best_of_k([float(one) for one in passed], passed, k)
    assert perfect == pytest.approx(pass_at_k(len(passed), sum(passed), k), abs=1e-12)
    constant = best_of_k([0.0] * len(passed), passed, k)
    assert constant == pytest.approx(sum(passed) / len(passed), abs=1e-12)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        best_of_k([0.5, math.nan], [True, False], 1)
    with pytest.raises(ValueError, match="2 scores for 1"):
        best_of_k([0.5, 0.2], [True], 1)
    assert best_of_k([-math.inf, 1.0], [True, False], 2) == 0.0
