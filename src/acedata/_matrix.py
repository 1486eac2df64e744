"""Execution matrices as flat arrays: the ground that judging and all views stand on.

A matrix of the published size has 114 million results, so nothing here loops over results, or keeps more than a few
hundred questions at a time. All streams are batches sorted by `order`; a stream with many rows per question is read
beside one with a row per question by asking it for everything up to an order (`Beside.through`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ._errors import BadInput
from ._records import DROPS

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

QUESTIONS_AT_A_TIME = 512
"""With 80 programs of a kilobyte and 16 tests each: 40 MB of text or 655,000 results."""

PASSED = "passed"


def chunks(batches: Iterable[Any], size: int = QUESTIONS_AT_A_TIME) -> Iterator[Any]:
    """The same rows in batches of at most `size`; empty ones are left out."""
    for batch in batches:
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)


class Beside:
    """A stream with any number of rows per question, read along another stream of the same questions.

    Args:
        batches: record batches or tables with an `order` column that never falls.
        what: name of the stream, for messages.
    """

    def __init__(self, batches: Iterable[Any], what: str) -> None:
        self._batches = iter(batches)
        self._what = what
        self._held: Any = None
        self._last = -(1 << 62)
        self._schema: Any = None

    def through(self, order: int) -> Any:
        """A table of all rows not yet given whose order is at most `order`; None: the stream never had a batch.

        Raises:
            BadInput: the rows are not sorted by order.
        """
        parts = []
        while True:
            if self._held is None:
                batch = next(self._batches, None)
                if batch is None:
                    break
                self._schema = batch.schema
                if not batch.num_rows:
                    continue
                self._check(orders(batch))
                self._held = batch
            places = orders(self._held)
            cut = int(np.searchsorted(places, order, side="right"))
            if cut:
                parts.append(self._held.slice(0, cut))
            if cut < len(places):
                self._held = self._held.slice(cut)
                break
            self._held = None
        if self._schema is None:
            return None
        tables = [part if isinstance(part, pa.Table) else pa.Table.from_batches([part]) for part in parts]
        if not tables:
            return self._schema.empty_table()
        return pa.concat_tables(tables) if len(tables) > 1 else tables[0]

    def finish(self) -> None:
        """To be called at the end: nothing may be left.

        Raises:
            BadInput: it has rows of questions that the other stream lacks.
        """
        rest = self.through((1 << 63) - 1)
        if rest is not None and rest.num_rows:
            raise BadInput(
                f"{self._what}: {rest.num_rows} rows belong to questions that are not there, the first to the one "
                f"with order {int(orders(rest)[0])}"
            )

    def _check(self, places: Ints) -> None:
        if places[0] < self._last or (places[1:] < places[:-1]).any():
            raise BadInput(f"{self._what}: the rows are not sorted by 'order'")
        self._last = int(places[-1])


def orders(batch: Any) -> Ints:
    """The `order` column."""
    return flat(batch.column("order")).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def flat(column: Any) -> Any:
    """One array of a column, which in a table may lie in several."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(_alike(column))
    return column


def _alike(column: Any) -> list[Any]:
    # Dictionaries may differ from file to file; arrays of different dictionaries are joined by unifying them.
    parts = column.unify_dictionaries().chunks
    return parts if parts else [pa.array([], column.type)]


def offsets_of(lengths: Ints) -> Ints:
    """Where each list begins among the flat items, and the end of the last."""
    made = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=made[1:])
    return made


def lists(column: Any) -> tuple[Any, Ints]:
    """The flat items of a list column, and the length of each list."""
    array = flat(column)
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False).astype(np.int64)
    return array.flatten(), lengths


def names_equal(items: Any, name: str) -> Bools:
    """Which items of a flat array of names, dictionary-encoded or not, are this name."""
    if isinstance(items, pa.DictionaryArray):
        known = items.dictionary.to_pylist()
        if name not in known:
            return np.zeros(len(items), np.bool_)
        same: Bools = items.indices.to_numpy(zero_copy_only=False) == known.index(name)
        return same
    equal: Bools = pc.equal(items, name).to_numpy(zero_copy_only=False)
    return equal


def sums(values: npt.NDArray[Any], offsets: Ints) -> Ints:
    """The sum of each stretch of a flat array; 0 for an empty one."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    summed: Ints = running[offsets[1:]] - running[offsets[:-1]]
    return summed


def within(lengths: Ints) -> Ints:
    """0, 1, ... of each stretch, for stretches of these lengths one after the other."""
    offsets = offsets_of(lengths)
    counted: Ints = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return counted


def rows_in(question_orders: Ints, row_orders: Ints, what: str) -> Ints:
    """For each row, the place of its question.

    Raises:
        BadInput: a row belongs to a question that is not there.
    """
    places = np.searchsorted(question_orders, row_orders)
    found = np.zeros(len(row_orders), np.bool_)
    inside = places < len(question_orders)
    found[inside] = question_orders[places[inside]] == row_orders[inside]
    if not found.all():
        stranger = int(row_orders[int(np.argmin(found))])
        raise BadInput(
            f"{what}: a row belongs to a question that is not there, the one with order {stranger}"
        )
    return places


def make_lists(kind: Any, lengths: Ints, items: Any) -> Any:
    """A list array of a type from its flat items."""
    return pa.ListArray.from_arrays(
        pa.array(offsets_of(lengths).astype(np.int32)), items.cast(kind.value_type), type=kind
    )


def make_drops(questions: Any, places: Ints, reason: str, detail: Any, items: Ints | None = None) -> Any:
    """A batch of DROPS for the questions at `places` of a batch with `id` and `order`.

    Args:
        detail: one text for all, or an array of one each.
        items: the numbers of the parts that were dropped; None: whole rows.
    """
    count = len(places)
    taken = pa.array(places)
    return pa.record_batch(
        [
            flat(questions.column("id")).take(taken).cast(pa.string()),
            pa.array(orders(questions)[places]),
            pa.nulls(count, pa.int32()) if items is None else pa.array(items.astype(np.int32)),
            pa.repeat(reason, count),
            pa.repeat(pa.scalar(detail, pa.large_string()), count)
            if isinstance(detail, str)
            else detail.cast(pa.large_string()),
        ],
        schema=DROPS,
    )


def join_drops(parts: list[Any]) -> Any:
    """Several batches of DROPS as one, sorted by order; whole rows before their parts."""
    table = pa.Table.from_batches([part for part in parts if part.num_rows], schema=DROPS)
    if table.num_rows:
        table = table.take(
            pc.sort_indices(
                table, sort_keys=[("order", "ascending", "at_start"), ("item", "ascending", "at_start")]
            )
        )
    combined = table.combine_chunks().to_batches()
    return combined[0] if combined else pa.RecordBatch.from_pylist([], schema=DROPS)


def exact(value: float | int | Fraction) -> Fraction:
    """The number a person wrote: 0.4 is 2/5, not the double nearest to it."""
    return value if isinstance(value, Fraction) else Fraction(repr(value))
