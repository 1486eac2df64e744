"""The honest funnel: at every stage, every row that went in came out or was dropped with a reason.

`check_funnel` does not believe the manifest. It reads the places of all rows and drops in the files and compares, stage
by stage:

1. rows in = rows out + rows dropped, as the manifest says;
2. the files hold as many rows, and drops by reason, as the manifest says;
3. a stage took in exactly what the stage before it gave: for each question, its rows in = its rows out + its drops.

It reads only numbers, so a build of the published size is checked in seconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._directory import Directory, StageRecord
from ._errors import AceDataError
from ._matrix import Ints, flat, orders

UNITS = {
    "seeds": "seeds",
    "questions": "seeds",
    "imported": "programs",
    "checked": "questions",
    "references": "programs",
    "reference_matrix": "programs",
    "reference_matrix_again": "programs",
    "filtered": "questions",
    "mutants": "questions",
    "mutant_matrix": "programs",
    "strength": "questions",
    "telling": "questions",
    "samples": "programs",
    "sample_matrix": "programs",
    "pass_rates": "programs",
    "pairs": "questions",
    "hard": "questions",
}
"""What each stage counts. A build that starts from questions has no seeds: there `questions` counts questions."""

_PROGRAMS_OF = {
    "reference_matrix": "references",
    "reference_matrix_again": "references",
    "mutant_matrix": "mutants",
    "sample_matrix": "samples",
    "pass_rates": "sample_matrix",
}
# Stages that take in questions, and make any number of rows of each.
_SEVERAL = ("mutants", "pairs", "hard")
# Stages that take in rows of another one, and whether one of these is one of theirs.
_ROWS_OF = {"questions": "seeds", "checked": "questions", "filtered": "checked", "strength": "filtered"}


class FunnelBroken(AceDataError):
    """A stage lost rows, or made some up. Our fault: nothing made from this build can be trusted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the funnel, for showing.

    Attributes:
        stage, unit: name, and what is counted.
        rows_in, rows_out: in that unit.
        rows: rows in its files.
        dropped: (reason, count) of whole rows, most first.
        dropped_items: the same of parts of rows: tests of a question, pairs of a question.
        incomplete: rows dropped or cut short for a reason that another run may mend.
    """

    stage: str
    unit: str
    rows_in: int
    rows_out: int
    rows: int
    dropped: tuple[tuple[str, int], ...]
    dropped_items: tuple[tuple[str, int], ...]
    incomplete: int


def sampled_questions(directory: Directory) -> str:
    """The stage whose questions policies are asked, and whose tests their programs are judged against."""
    return "strength" if directory.has("strength") else "filtered"


def final_questions(directory: Directory) -> str:
    """The stage that holds the questions as they are published."""
    return "telling" if directory.has("telling") else sampled_questions(directory)


def funnel(directory: Directory) -> list[Step]:
    """The stages of a build, as the manifest has them."""
    built = directory.manifest
    units = UNITS if "seeds" in built else {**UNITS, "questions": "questions"}
    return [
        Step(
            name,
            units.get(name, "rows"),
            record.rows_in,
            record.rows_out,
            record.rows,
            _most_first(record.dropped),
            _most_first(record.dropped_items),
            record.incomplete,
        )
        for name, record in built.items()
    ]


def check_funnel(directory: Directory) -> None:
    """Reads a build and proves that no row was lost.

    Raises:
        FunnelBroken: one was, or one too many appeared; the message names the stage and the question.
        BadInput: a file cannot be read.
    """
    given: dict[str, tuple[Ints, Ints]] = {}
    for stage, record in directory.manifest.items():
        _check_sum(stage, record)
        out, dropped = _places(directory, stage), _check_files(directory, stage, record)
        given[stage] = out
        if out[1].sum() != record.rows:
            raise FunnelBroken(
                f"{stage}: its files hold {out[1].sum()} rows, the manifest says {record.rows}"
            )
        _check_taken(directory, stage, record, given, dropped)


def _check_sum(stage: str, record: StageRecord) -> None:
    total = record.rows_out + sum(record.dropped.values())
    if record.rows_in != total:
        raise FunnelBroken(
            f"{stage}: {record.rows_in} rows went in, but {record.rows_out} came out and "
            f"{sum(record.dropped.values())} were dropped: {abs(record.rows_in - total)} are "
            + ("missing" if record.rows_in > total else "too many")
        )


def _check_files(directory: Directory, stage: str, record: StageRecord) -> tuple[Ints, Ints]:
    """Compares the drops with the manifest. Gives the places of whole rows dropped, with counts."""
    whole: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    places = []
    for batch in directory.drops(stage):
        is_part = flat(batch.column("item")).is_valid().to_numpy(zero_copy_only=False)
        reasons = np.array(flat(batch.column("reason")).to_pylist(), object)
        whole.update(reasons[~is_part])
        parts.update(reasons[is_part])
        places.append(orders(batch)[~is_part])
    for what, found, said in (("rows", whole, record.dropped), ("parts", parts, record.dropped_items)):
        for reason in sorted({*found, *said}):
            if found[reason] != said.get(reason, 0):
                raise FunnelBroken(
                    f"{stage}: its files hold {found[reason]} {what} dropped for {reason!r}, the manifest says "
                    f"{said.get(reason, 0)}"
                )
    return _counted(places)


def _check_taken(
    directory: Directory,
    stage: str,
    record: StageRecord,
    given: dict[str, tuple[Ints, Ints]],
    dropped: tuple[Ints, Ints],
) -> None:
    """What the stage took in is what the one before it gave, question by question."""
    out = given[stage]
    if stage in _ROWS_OF or stage in _PROGRAMS_OF or stage == "telling":
        before = {**_ROWS_OF, **_PROGRAMS_OF, "telling": sampled_questions(directory)}[stage]
        if before in given:
            _same(stage, given[before], _sum(out, dropped), f"{before} gave")
    elif stage in ("references", "samples"):
        source = "checked" if stage == "references" else sampled_questions(directory)
        recipe = directory.recipe
        asked = len(recipe.references.models)
        if stage == "samples":
            asked = len(recipe.samples.models) * recipe.samples.n
        if source in given:
            taken = (given[source][0], np.full(len(given[source][0]), asked, np.int64))
            if stage == "samples" and "imported" in given:
                taken = _sum(taken, _within(given["imported"], given[source][0]))
            _same(stage, taken, _sum(out, dropped), "were asked for or imported")
    elif stage in _SEVERAL:
        source = "filtered" if stage == "mutants" else final_questions(directory)
        if source in given:
            once = (out[0], np.ones(len(out[0]), np.int64))
            _same(stage, given[source], _sum(once, dropped), f"{source} gave")
            if len(out[0]) != record.rows_out:
                raise FunnelBroken(
                    f"{stage}: {len(out[0])} questions came out, the manifest says {record.rows_out}"
                )
    total = int(_sum(out, dropped)[1].sum())
    if stage not in _SEVERAL and total != record.rows_in:
        raise FunnelBroken(f"{stage}: {record.rows_in} rows went in, but its files account for {total}")


def _same(stage: str, taken: tuple[Ints, Ints], found: tuple[Ints, Ints], what: str) -> None:
    kept = taken[1] > 0
    taken = (taken[0][kept], taken[1][kept])
    places = np.union1d(taken[0], found[0])
    left, right = _aligned(taken, places), _aligned(found, places)
    wrong = np.flatnonzero(left != right)
    if len(wrong):
        place = int(wrong[0])
        raise FunnelBroken(
            f"{stage}: of the question with order {int(places[place])}, {int(left[place])} rows {what}, but "
            f"{int(right[place])} came out or were dropped ({len(wrong)} such questions)"
        )


def _places(directory: Directory, stage: str) -> tuple[Ints, Ints]:
    """The questions of a stage's rows, and how many rows each has."""
    return _counted([orders(batch) for batch in directory.batches(stage, ["order"])])


def _counted(parts: list[Any]) -> tuple[Ints, Ints]:
    if not parts:
        none = np.zeros(0, np.int64)
        return none, none
    places, counts = np.unique(np.concatenate(parts), return_counts=True)
    return places, counts.astype(np.int64)


def _sum(first: tuple[Ints, Ints], second: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    places = np.union1d(first[0], second[0])
    return places, _aligned(first, places) + _aligned(second, places)


def _within(rows: tuple[Ints, Ints], places: Ints) -> tuple[Ints, Ints]:
    kept = np.isin(rows[0], places)
    return rows[0][kept], rows[1][kept]


def _aligned(rows: tuple[Ints, Ints], places: Ints) -> Ints:
    made = np.zeros(len(places), np.int64)
    made[np.searchsorted(places, rows[0])] = rows[1]
    return made


def _most_first(counts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
