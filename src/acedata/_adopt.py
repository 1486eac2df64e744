"""Rows that were made elsewhere, taken over as a finished stage: answers sampled on another cluster, or judged there.

    for step in plan(recipe, "out"):          # the columns: step.stage.schema
        ...
    adopt(recipe, "out", "sample_matrix", tables)
    build(recipe, "out")                      # goes on from there

Only stages that cost models or processors can be adopted: programs (`references`, `samples`) and matrices. Everything
else is a pure function of the recipe and of these, and is left to `build`.

What can be checked is checked, shard by shard: columns and types; programs belong to questions that are there, in
their order; a matrix has one row for each program, in the programs' order, with a result for each test of the question.
Whether the rows are what the recipe's models would have said, or the sandbox found, cannot be. The manifest says of
them what it says of every stage, that they were made with these settings; whoever adopts them answers for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ._build import _check_owner
from ._directory import Building, Counts, Directory, StageRecord
from ._errors import BadInput
from ._matrix import Beside, flat, lists, orders, rows_in
from ._recipe import Recipe
from ._stages import ORDER, Stage, stages

_KEYS = ("id", "order", "model", "completion_id")
_RESULTS = ("statuses", "sealed", "modes", "messages")


def adopt(
    recipe: Recipe,
    path: str | os.PathLike[str],
    stage: str,
    tables: Iterable[pa.Table | pa.RecordBatch],
) -> StageRecord:
    """Makes rows a finished stage of a build directory; one that was there is replaced.

    Args:
        recipe: the build's.
        path: its directory; made if there is none.
        stage: `references`, `samples`, or one of the matrices.
        tables: the rows, in pieces of any size, sorted by `order`; at most a shard's are held in memory. Columns of the
            stage's schema, as `plan` has it; others are left out.

    Raises:
        BadInput: the recipe has no such stage; a stage that it reads is not built; the rows are not those of the stage.
        BuildInUse: another process builds there.
    """
    with Building(path) as building:
        _check_owner(building, recipe)
        wanted = _wanted(recipe, stage, building)
        building.keep_recipe(recipe)
        files = building.stage(stage, wanted.fingerprint(building.manifest))
        rows = Beside(_typed(tables, wanted), stage)
        shards: dict[int, str] = {}
        for number in building.manifest[wanted.reads[0]].shards:
            shard = int(number)
            shards[shard] = wanted.shard_key(shard, building.manifest)
            part = rows.through((shard + 1) * recipe.shard_rows - 1)
            part = wanted.schema.empty_table() if part is None else part
            _check(building, wanted, shard, part)
            files.write(shard, shards[shard], part, Counts(rows_in=part.num_rows, rows_out=part.num_rows))
        rows.finish()
        return files.finish(shards, ORDER, wanted.facts, wanted.inputs(building.manifest))


def _wanted(recipe: Recipe, name: str, building: Directory) -> Stage:
    """The stage to adopt, once all before it are up to date."""
    listed = stages(recipe)
    known = [one.name for one in listed if one.kind in ("ask", "judge") and one.unit == "programs"]
    if name not in known:
        raise BadInput(f"{name!r}: cannot be adopted; of this recipe's stages these can: {', '.join(known)}")
    (wanted,) = (one for one in listed if one.name == name)
    before: set[str] = set()
    for one in reversed(listed):
        if one.name == name or one.name in before:
            before |= set(one.reads)
    for one in listed:
        record = building.manifest.get(one.name)
        if one.name in before and (
            record is None or record.fingerprint != one.fingerprint(building.manifest)
        ):
            raise BadInput(
                f"{name!r}: reads {one.name!r}, which is not built, or by another recipe; build it first"
            )
    return wanted


def _typed(tables: Iterable[pa.Table | pa.RecordBatch], stage: Stage) -> Iterator[pa.Table]:
    for number, given in enumerate(tables):
        table = pa.Table.from_batches([given]) if isinstance(given, pa.RecordBatch) else given
        missing = [name for name in stage.schema.names if name not in table.column_names]
        if missing:
            raise BadInput(f"{stage.name}: table {number} has no column {missing[0]!r}")
        try:
            yield table.select(stage.schema.names).cast(stage.schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise BadInput(f"{stage.name}: table {number} is not of the stage's schema: {error}") from error


def _check(building: Directory, stage: Stage, shard: int, rows: pa.Table) -> None:
    """Whether rows can be this shard's of the stage."""
    if stage.kind == "judge":
        programs = _read(building, stage.reads[0], shard, _KEYS)
        given = rows.select(_KEYS)
        if given.num_rows != programs.num_rows or not given.equals(programs):
            raise BadInput(
                f"{stage.name}: shard {shard} has {given.num_rows:,} rows, and not those of the "
                f"{programs.num_rows:,} programs of {stage.reads[0]!r} in their order"
            )
        questions = _read(building, stage.reads[1], shard, ("order", "tests"))
        _, tests = lists(questions.column("tests"))
        expected = tests[rows_in(orders(questions), orders(rows), stage.name)]
        for name in _RESULTS:
            _, found = lists(rows.column(name))
            if (found != expected).any():
                place = int(np.argmax(found != expected))
                raise BadInput(
                    f"{stage.name}: row {place} of shard {shard} has {found[place]} {name} for {expected[place]} tests"
                )
        return
    questions = _read(building, stage.reads[0], shard, ("id", "order"))
    mine, places = orders(rows), rows_in(orders(questions), orders(rows), stage.name)
    ids = flat(questions.column("id")).take(pa.array(places))
    if not ids.equals(flat(rows.column("id"))):
        raise BadInput(f"{stage.name}: shard {shard}: an id is not that of the question with its order")
    numbers = flat(rows.column("completion_id")).to_numpy(zero_copy_only=False)
    if ((mine[1:] == mine[:-1]) & (numbers[1:] <= numbers[:-1])).any():
        raise BadInput(f"{stage.name}: shard {shard}: completion_id does not rise within a question")


def _read(building: Directory, stage: str, shard: int, columns: tuple[str, ...]) -> Any:
    batches = list(building.shard(stage, shard, list(columns)))
    if batches:
        return pa.Table.from_batches(batches)
    return building.schema(stage).empty_table().select(list(columns))
