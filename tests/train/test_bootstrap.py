"""Bootstrap intervals: what they must be on data where the truth is known."""

from __future__ import annotations

import random

import pytest

from acetrain._bootstrap import average, difference, interval


def test_the_interval_is_that_of_a_binomial() -> None:
    found = interval([1.0] * 100 + [0.0] * 100)
    assert found.value == 0.5
    # Normal approximation: 0.5 +- 1.96 * sqrt(0.25 / 200).
    assert found.low == pytest.approx(0.5 - 0.0693, abs=0.006)
    assert found.high == pytest.approx(0.5 + 0.0693, abs=0.006)


def test_it_holds_the_truth_about_as_often_as_it_says() -> None:
    random_ = random.Random(7)
    held = 0
    for trial in range(300):
        data = [float(random_.random() < 0.3) for _ in range(150)]
        found = interval(data, level=0.9, draws=800, seed=trial)
        held += found.low <= 0.3 <= found.high
    assert 0.84 <= held / 300 <= 0.95


def test_the_same_data_give_the_same_interval() -> None:
    data = [0.0, 1.0, 0.25, 1.0]
    assert interval(data, seed=3) == interval(data, seed=3)
    assert interval([0.1] * 60 + [0.9] * 60, seed=3) != interval([0.1] * 60 + [0.9] * 60, seed=4)


def test_pairs_are_drawn_together() -> None:
    random_ = random.Random(1)
    first = [random_.random() for _ in range(200)]
    second = [one + 0.01 for one in first]
    paired = difference(first, second)
    assert paired.low == pytest.approx(0.01) and paired.high == pytest.approx(0.01)
    with pytest.raises(ValueError, match="paired"):
        difference([1.0], [1.0, 0.0])


def test_an_average_weighs_benchmarks_alike() -> None:
    found = average([[1.0] * 10, [0.0] * 990])
    assert found.value == 0.5 and found.low == found.high == 0.5 and found.problems == 1000


def test_no_values_and_bad_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        interval([])
    with pytest.raises(ValueError, match="no values"):
        average([[1.0], []])
    with pytest.raises(ValueError, match="level"):
        interval([1.0], level=1.0)
