"""The optional checks of questions, in the order in which they are made: signature, benchmarks, near-duplicates.

Each only drops; what it drops is a `Drop` with its reason. A question that one check drops is not seen by the next, so
the first of two near questions never goes for a reason of its own and takes the other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ._decontaminate import Contamination, Problem, read_problems
from ._near_duplicates import NearDuplicates
from ._recipe import BenchmarkConfig, ChecksConfig, DecontaminateConfig
from ._records import QUESTIONS, Drop
from ._rows import Place, is_local, iter_rows
from ._signature import NoSignature, check_signature

Files = Callable[[BenchmarkConfig], list[Path] | None]


def checked_questions(
    batches: Iterable[Any], checks: ChecksConfig, files: Files | None = None, seed: int = 0
) -> Iterator[tuple[pa.Table, list[Drop]]]:
    """Questions that pass the checks of a recipe, and what was dropped, batch by batch.

    Args:
        batches: QUESTIONS, sorted by `order`; all of them, where near-duplicates are looked for.
        checks: which checks.
        files: the files of a benchmark, None for one on the hub; without it, paths are looked up as they are.
        seed: of the recipe.

    Drops' reasons: "no single entry point", "calls differ in arity" and, test by test, "calls no function", "calls
    another function", "calls several functions"; "contaminated: NAME" for each benchmark; "near-duplicate".

    Raises:
        BadInput: a benchmark cannot be read.
    """
    known = None if checks.decontaminate is None else read_benchmarks(checks.decontaminate, files)
    near = None
    if checks.near_duplicates is not None:
        config = checks.near_duplicates
        near = NearDuplicates(config.threshold, config.ngram, config.permutations, seed)
    for batch in batches:
        rows: list[dict[str, Any]] = []
        drops: list[Drop] = []
        for row in batch.to_pylist():
            left = _signed(row, drops) if checks.signature else row
            if left is not None and not _copies(left, known, near, drops):
                rows.append(left)
        yield pa.Table.from_pylist(rows, schema=QUESTIONS), drops


def _signed(row: dict[str, Any], drops: list[Drop]) -> dict[str, Any] | None:
    found = check_signature(row["tests"])
    if isinstance(found, NoSignature):
        drops.append(Drop(row["id"], row["order"], found.reason, found.detail))
        return None
    drops += [Drop(row["id"], row["order"], lost.reason, lost.detail, lost.item) for lost in found.dropped]
    return {**row, "tests": [row["tests"][place] for place in found.kept]}


def _copies(
    row: dict[str, Any], known: Contamination | None, near: NearDuplicates | None, drops: list[Drop]
) -> bool:
    match = None if known is None else known.find(row["question"], row["tests"])
    if match is not None:
        what = f"{match.id}: " + (
            f"{match.score:.2f} of its words"
            if match.level == "question"
            else f"{match.score:.0f} of its tests"
        )
        drops.append(Drop(row["id"], row["order"], f"contaminated: {match.benchmark}", what))
        return True
    earlier = None if near is None else near.add(row["id"], row["question"])
    if earlier is not None:
        detail = f"{earlier.similarity:.2f} like {earlier.key}"
        drops.append(Drop(row["id"], row["order"], "near-duplicate", detail))
        return True
    return False


def read_benchmarks(config: DecontaminateConfig, files: Files | None = None) -> Contamination:
    """The benchmarks of a recipe, ready to be looked for.

    Raises:
        BadInput: one cannot be read.
    """
    return Contamination(_problems(config, files), config.ngram, config.threshold)


def _problems(config: DecontaminateConfig, files: Files | None) -> Iterator[Problem]:
    for benchmark in config.benchmarks:
        found = None if files is None else files(benchmark)
        hub = found is None if files is not None else not is_local(benchmark.path)
        listed = None if found is None else tuple(found)
        place = Place(benchmark.path, hub, benchmark.split, benchmark.config, benchmark.revision, listed)
        yield from read_problems(benchmark.name, iter_rows(place), benchmark.columns)
