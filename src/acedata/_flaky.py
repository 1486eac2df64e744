"""Tests whose outcome is chance: the same program against the same test, judged twice, with two different verdicts.

The two times differ in the seed of Python's hashes, and so in the order of every set, and in nothing else that can be
chosen. So this finds tests that expect one order of a set (`assert list(set("hello")) == ["h", "e", "l", "o"]`), and,
with luck, those whose program draws random numbers, reads the clock, or stands near a limit. What passes or fails both
times by luck is not found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._matrix import Bools, Ints


def same_programs(first: Any, second: Any) -> bool:
    """Whether two stretches of matrices have the same rows in the same order, whatever came of them."""
    if first is None or second is None:
        return (first is None or not first.num_rows) and (second is None or not second.num_rows)
    names = ["order", "model", "completion_id"]
    return bool(first.select(names).equals(second.select(names)))


def shaky_tests(tests: int, test: Ints, first: Bools, second: Bools) -> Bools:
    """Which tests any program passes once only.

    Args:
        tests: how many there are.
        test: of each result, its test.
        first, second: whether it passed.
    """
    shaky = np.zeros(tests, np.bool_)
    shaky[test[first != second]] = True
    return shaky
