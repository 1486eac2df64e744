"""Stages made elsewhere: taken over where they fit, refused where they do not; and builds that end before the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from acedata import BadInput, Directory, Recipe, adopt, build, plan
from acedata._funnel import check_funnel
from tests.data import tiny

ADOPTED = ("references", "reference_matrix", "samples", "sample_matrix")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A finished build, not to be touched."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = tiny.write(folder)
    build(recipe, folder / "out")
    return recipe, folder / "out"


def rows_of(path: Path, stage: str) -> pa.Table:
    return pa.Table.from_batches(list(Directory(path).batches(stage)))


def test_a_build_ends_where_it_should_and_the_next_one_goes_on(
    finished: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, whole = finished
    first = build(recipe, tmp_path / "out", until="filtered")
    names = list(Directory(whole).manifest)
    assert first.ran == names[: names.index("filtered") + 1] == list(Directory(tmp_path / "out").manifest)
    assert build(recipe, tmp_path / "out").ran == names[len(first.ran) :]
    assert tiny.snapshot(tmp_path / "out") == tiny.snapshot(whole)
    # A stage before the last one that is up to date makes nothing of those behind it.
    assert build(recipe.changed(pairs__margin=0.2), tmp_path / "out", until="samples").ran == []
    with pytest.raises(BadInput, match=r"'smaples': this recipe has no such stage; it has seeds, questions"):
        build(recipe, tmp_path / "other", until="smaples")
    assert not (tmp_path / "other").exists()


def test_adopted_stages_give_the_bytes_that_made_ones_give(
    finished: tuple[Recipe, Path], tmp_path: Path
) -> None:
    """One row at a time or all at once, with columns in another order and one too many."""
    recipe, whole = finished
    (tmp_path / "no-answers").mkdir()
    ran = []
    for before, stage in zip(("checked", None, "filtered", None), ADOPTED, strict=True):
        if before:
            ran += build(recipe, tmp_path / "out", until=before).ran
        table = rows_of(whole, stage)
        table = table.select(table.column_names[::-1]).append_column("more", pa.nulls(table.num_rows))
        pieces: Any = [table] if stage == "samples" else table.to_batches(max_chunksize=1)
        record = adopt(recipe, tmp_path / "out", stage, pieces)
        assert record.rows == table.num_rows
    ran += build(recipe, tmp_path / "out").ran
    assert not set(ran) & set(ADOPTED)
    assert {step.state for step in plan(recipe, tmp_path / "out")} == {"done"}
    check_funnel(Directory(tmp_path / "out"))
    ours, theirs = tiny.snapshot(tmp_path / "out"), tiny.snapshot(whole)
    # The matrix of the policies counts rows as the stage's own does; nothing differs but what only models can know.
    assert {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)} == set()


def test_what_is_not_the_stages_is_refused(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, whole = finished
    out = tmp_path / "out"

    def refused(stage: str, tables: list[Any], why: str) -> None:
        with pytest.raises(BadInput, match=why):
            adopt(recipe, out, stage, tables)

    refused(
        "pairs", [], "'pairs': cannot be adopted; .* references, reference_matrix, samples, sample_matrix"
    )
    refused("samples", [], "'samples': reads 'seeds', which is not built")
    build(recipe, out, until="filtered")
    samples, matrix = rows_of(whole, "samples"), rows_of(whole, "sample_matrix")
    refused("sample_matrix", [matrix], "'sample_matrix': reads 'samples', which is not built")
    refused("samples", [samples.drop_columns("ended")], "table 0 has no column 'ended'")
    texts = samples.set_column(1, "order", pa.array(["x"] * samples.num_rows))
    refused("samples", [samples.slice(0, 1), texts], "table 1 is not of the stage's schema")
    refused("samples", [samples.slice(1), samples.slice(0, 1)], "not sorted by 'order'")
    refused("samples", [samples.set_column(1, "order", pa.array(range(5, 5 + samples.num_rows)))], "order 5")
    names = pa.array(["evol_x", *samples.column("id").to_pylist()[1:]])
    refused("samples", [samples.set_column(0, "id", names)], "an id is not that of the question")
    refused("samples", [pa.concat_tables([samples.slice(0, 1), samples])], "completion_id does not rise")
    assert "samples" not in Directory(out).manifest

    adopt(recipe, out, "samples", [samples])
    refused("sample_matrix", [matrix.slice(1)], r"shard 0 has \d+ rows, and not those of the \d+ programs")
    refused("sample_matrix", [matrix, matrix.slice(matrix.num_rows - 1)], r"not those of the \d+ programs")
    short = [row[:-1] for row in matrix.column("sealed").to_pylist()]
    place = matrix.schema.get_field_index("sealed")
    shorter = matrix.set_column(
        place, matrix.schema.field(place), pa.array(short, matrix.schema.types[place])
    )
    refused("sample_matrix", [shorter], r"row 0 of shard 0 has 5 sealed for 6 tests")
    # Nothing of that was kept: the stage is still to be made.
    assert build(recipe, out).ran == ["sample_matrix", "pass_rates", "pairs", "hard"]
    assert tiny.snapshot(out) == tiny.snapshot(whole)
