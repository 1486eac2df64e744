"""Tests whose outcome is chance: the same program against the same test, judged twice, with two different verdicts.

The two times differ in the seed of Python's hashes, and so in the order of every set, and in nothing else that can be
chosen. So this finds tests that expect one order of a set (`assert list(set("hello")) == ["h", "e", "l", "o"]`), and,
with luck, those whose program draws random numbers, reads the clock, or stands near a limit. What passes or fails both
times by luck is not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ._errors import BadInput
from ._matrix import PASSED, Bools, Ints, flat, lists, names_equal, offsets_of, orders, within

DIFFERENCES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("order", pa.int64(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("completion_id", pa.int64(), nullable=False),
        pa.field("test", pa.int32(), nullable=False),
        pa.field("first", pa.string(), nullable=False),
        pa.field("second", pa.string(), nullable=False),
    ]
)
"""One result that changed: the statuses of both times."""


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


def differences(first: Iterable[Any], second: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    """All results that passed in one matrix and not in the other, as DIFFERENCES.

    Raises:
        BadInput: the matrices are not of the same programs and tests.
    """
    for one, other in _in_step(first, second):
        statuses, lengths = lists(one.column("statuses"))
        repeated, again = lists(other.column("statuses"))
        if not same_programs(one, other) or not np.array_equal(lengths, again):
            raise BadInput(
                "the two matrices are not of the same programs and tests, somewhere from order "
                f"{int(orders(one)[0])} on"
            )
        changed = np.flatnonzero(names_equal(statuses, PASSED) != names_equal(repeated, PASSED))
        if not len(changed):
            continue
        taken = pa.array(changed)
        row = pa.array(np.searchsorted(offsets_of(lengths), changed, side="right") - 1)
        yield pa.record_batch(
            [
                *(flat(one.column(name)).take(row) for name in ("id", "order", "model", "completion_id")),
                pa.array(within(lengths)[changed].astype(np.int32)),
                statuses.take(taken).cast(pa.string()),
                repeated.take(taken).cast(pa.string()),
            ],
            schema=DIFFERENCES,
        )


def _in_step(first: Iterable[Any], second: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Both streams cut at the same rows."""
    ones, others = iter(first), iter(second)
    one = other = None
    while True:
        one, other = _next(one, ones), _next(other, others)
        if one is None or other is None:
            if one is not other:
                raise BadInput("one of the two matrices has more rows than the other")
            return
        size = min(one.num_rows, other.num_rows)
        yield one.slice(0, size), other.slice(0, size)
        one, other = one.slice(size), other.slice(size)


def _next(held: Any, batches: Iterator[Any]) -> Any:
    while held is None or not held.num_rows:
        held = next(batches, None)
        if held is None:
            return None
    return held
