"""Confidence intervals of benchmark scores: percentile bootstrap over problems (Efron and Tibshirani, 1993, ch. 13).

A benchmark is a sample of problems, so problems are what is drawn anew. What is uncertain about one problem (few
samples of the model) shows in its value and is not drawn again: with one greedy answer per problem the interval says
how much the score would move on other problems of the same kind, not on another draw of the answers.

Where all problems have the same value the interval has no width: the data cannot show any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DRAWS = 10_000
_CELLS = 1 << 22  # of one chunk of draws, so that memory stays bounded for long benchmarks


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its interval.

    Attributes:
        value: of the data as they are.
        low, high: bounds of the interval.
        level: how often such an interval holds the true value, were the bootstrap exact.
        problems: how many the value is a mean of.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    problems: int = 0

    def to_dict(self) -> dict[str, float]:
        """Value, bounds and problems, ready for JSON; the level is the table's."""
        return {"value": self.value, "low": self.low, "high": self.high, "problems": self.problems}


def interval(values: Sequence[float], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of a value per problem, with its interval. The same arguments give the same interval.

    Raises:
        ValueError: no values, or `level` not between 0 and 1.
    """
    return average([values], level=level, draws=draws, seed=seed)


def difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean of `second - first` over the same problems in the same order (a paired comparison).

    Raises:
        ValueError: lengths differ, or as for `interval`.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} problems cannot be paired with {len(second)}")
    pairs = zip(first, second, strict=True)
    return interval([b - a for a, b in pairs], level=level, draws=draws, seed=seed)


def average(
    groups: Sequence[Sequence[float]], *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Mean of several benchmarks' means, each benchmark's problems drawn by themselves.

    Raises:
        ValueError: a group has no values, or `level` is not between 0 and 1.
    """
    import numpy as np

    if not groups or any(not len(group) for group in groups):
        raise ValueError("there is no interval of no values")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    if draws < 1:
        raise ValueError(f"draws must be 1 or more, not {draws}")
    random = np.random.default_rng(seed)
    means: Any = np.zeros(draws)
    value = 0.0
    for group in groups:
        data = np.asarray(group, dtype=np.float64)
        value += float(data.mean()) / len(groups)
        chunk = max(1, _CELLS // len(data))
        for start in range(0, draws, chunk):
            count = min(chunk, draws - start)
            places = random.integers(0, len(data), size=(count, len(data)))
            means[start : start + count] += data[places].mean(axis=1) / len(groups)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, sum(len(group) for group in groups))
