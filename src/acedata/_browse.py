"""Single questions out of a build: everything about a few of them, without reading the rest.

Files are sorted by `order` and their row groups say which orders they hold, so a question of a build with seven million
programs is a few reads away. Used by `_report` (a sample of questions) and `_show` (one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ._directory import Directory
from ._errors import BadInput
from ._funnel import final_questions, sampled_questions
from ._matrix import Ints, flat, orders
from ._views import mixed


@dataclass(slots=True)
class Test:
    """One test of a question as it was imagined. `lost`: why it was dropped; None: it was kept."""

    text: str
    lost: str | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Judged:
    """One program and what came of it.

    Attributes:
        reference: whether it is a reference program; otherwise a sample.
        program: None: the answer held no code.
        passed, rate: tests passed, and the pass rate that was published; None where there is none.
        statuses: for each of the question's tests; None where it was not judged against that test.
        sealed, messages: the same.
    """

    model: str
    completion_id: int
    reference: bool
    program: str | None
    statuses: list[str | None]
    sealed: list[bool]
    messages: list[str | None]
    passed: int = 0
    rate: float | None = None


@dataclass(slots=True)
class Question:
    """One question with all that is known of it.

    Attributes:
        lost: why it was dropped, with the stage; None: it was kept.
        hard: (mean, deviation) where it is in the hard subset.
        pairs: number of preference pairs.
        tests: all of them, in the order in which they were imagined.
        programs: reference programs first.
    """

    id: str
    source: str
    order: int
    text: str
    model: str
    entry_point: str | None = None
    lost: str | None = None
    hard: tuple[float, float] | None = None
    pairs: int = 0
    tests: list[Test] = field(default_factory=list)
    programs: list[Judged] = field(default_factory=list)


def find(build: Directory, name: str) -> int:
    """The order of the question with an id.

    Raises:
        BadInput: there is none.
    """
    for batch in build.batches("checked", ["id", "order"]):
        place = flat(batch.column("id")).index(name).as_py()
        if place >= 0:
            return int(orders(batch)[place])
    for stage in ("seeds", "questions", "checked"):
        if build.has(stage):
            for batch in build.drops(stage):
                for row in batch.to_pylist():
                    if row["id"] == name and row["item"] is None:
                        why = row["reason"] + (f" ({row['detail']})" if row["detail"] else "")
                        raise BadInput(f"{build.path}: the question {name!r} was dropped at `{stage}`: {why}")
    raise BadInput(f"{build.path}: there is no question {name!r}")


def draw(build: Directory, count: int, seed: int) -> tuple[list[int], int]:
    """Draws questions, the same ones for the same seed.

    Returns:
        Their orders, rising, and how many questions there are.
    """
    parts = [orders(batch) for batch in build.batches("checked", ["order"])]
    everyone: Ints = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if len(everyone) <= count:
        return everyone.tolist(), len(everyone)
    lots = mixed(seed, everyone)
    return sorted(everyone[np.argsort(lots, kind="stable")[:count]].tolist()), len(everyone)


def read(build: Directory, wanted: Sequence[int]) -> Iterator[Question]:
    """Reads questions, by rising order.

    Raises:
        BadInput: a file is damaged.
    """
    sought = np.array(sorted(wanted), np.int64)
    final, judged = final_questions(build), sampled_questions(build)
    rows = {name: _by_order(build, name, sought) for name in {"checked", "filtered", judged, final}}
    stages = ("references", "reference_matrix", "samples", "sample_matrix", "pass_rates", "pairs", "hard")
    rows |= {name: _by_order(build, name, sought) for name in stages}
    lost = {name: _by_order(build, name, sought, drops=True) for name in ("filtered", "strength", "telling")}
    for order in sought.tolist():
        for row in rows["checked"].get(order, []):
            yield _question(
                row,
                {name: found.get(order, []) for name, found in rows.items()},
                {name: found.get(order, []) for name, found in lost.items()},
                final,
                judged,
            )


def _question(
    row: dict[str, Any], rows: dict[str, list[Any]], lost: dict[str, list[Any]], final: str, judged: str
) -> Question:
    made = Question(row["id"], row["source"], row["order"], row["question"], row["model"])
    made.tests = [Test(text) for text in row["tests"]]
    kept: list[int] = []
    for found in rows[final] or rows["filtered"]:
        kept, made.entry_point = found["kept"], found["entry_point"]
        for place, confidence in zip(kept, found["confidence"], strict=True):
            made.tests[place].confidence = confidence
    for stage, drops in lost.items():
        for drop in drops:
            why = drop["reason"] + (f" ({drop['detail']})" if drop["detail"] else "")
            if drop["item"] is None:
                made.lost = f"{stage}: {why}"
            elif drop["item"] < len(made.tests) and drop["item"] not in kept:
                made.tests[drop["item"]].lost = why
    if rows["filtered"] and not made.lost:
        for place, test in enumerate(made.tests):
            if place not in kept and test.lost is None:
                test.lost = "dropped"
    for found in rows["hard"]:
        made.hard = (found["mean"], found["deviation"])
    made.pairs = len(rows["pairs"])
    everything = list(range(len(made.tests)))
    made.programs += _programs(rows["references"], rows["reference_matrix"], [], everything, made, True)
    tried = [place for found in rows[judged] for place in found["kept"]]
    made.programs += _programs(rows["samples"], rows["sample_matrix"], rows["pass_rates"], tried, made, False)
    return made


def _programs(
    programs: list[Any],
    matrix: list[Any],
    rates: list[Any],
    places: list[int],
    question: Question,
    reference: bool,
) -> list[Judged]:
    """`places`: which of the question's tests the results are of."""
    results = {(row["model"], row["completion_id"]): row for row in matrix}
    rated = {row["completion_id"]: row for row in rates}
    made = []
    for row in programs:
        count = len(question.tests)
        one = Judged(
            row["model"],
            row["completion_id"],
            reference,
            row["program"],
            [None] * count,
            [False] * count,
            [None] * count,
        )
        result = results.get((one.model, one.completion_id))
        if result is not None and len(result["statuses"]) == len(places):
            for item, place in enumerate(places):
                one.statuses[place] = result["statuses"][item]
                one.sealed[place] = result["sealed"][item]
                one.messages[place] = result["messages"][item]
        one.passed = one.statuses.count("passed")
        if not reference and one.completion_id in rated:
            one.rate = rated[one.completion_id]["pass_rate"]
        made.append(one)
    return made


def _by_order(
    build: Directory, stage: str, sought: Ints, *, drops: bool = False
) -> dict[int, list[dict[str, Any]]]:
    """A stage's rows of these questions."""
    made: dict[int, list[dict[str, Any]]] = {}
    if not build.has(stage):
        return made
    names = [name for name in build.record(stage).files if name.startswith("dropped-") == drops]
    for name in names:
        for batch in _groups(build.path / "data" / stage / name, sought):
            chosen = batch.filter(pa.array(np.isin(orders(batch), sought)))
            for row in chosen.to_pylist():
                made.setdefault(row["order"], []).append(row)
    return made


def _groups(path: Path, sought: Ints) -> Iterator[Any]:
    """The batches of a file whose row groups can hold one of the orders."""
    try:
        with pq.ParquetFile(path) as file:
            place = file.schema_arrow.get_field_index("order")
            # Columns of Parquet are counted by leaves; `order` comes before any list.
            assert file.schema.column(place).path == "order"
            for group in range(file.num_row_groups):
                known = file.metadata.row_group(group).column(place).statistics
                if known is not None and known.has_min_max:
                    low, high = np.searchsorted(sought, [known.min, known.max + 1])
                    if low == high:
                        continue
                yield from file.iter_batches(4096, row_groups=[group])
    except FileNotFoundError:
        raise BadInput(f"{path}: is missing, though the manifest names it") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path}: is not the file that was built: {error}") from error
