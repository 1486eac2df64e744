"""The build directory: one writer, whole files or none, the same bytes, and a crash at every step."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acedata import _directory
from acedata._directory import Building, Counts, Directory, StageFiles, StageRecord, drops_table
from acedata._errors import BadInput, BuildInUse
from acedata._recipe import load_recipe, parse_recipe
from acedata._records import CPU, PASS_RATES, SEEDS, Drop
from acedata._stages import stages
from tests.data import tiny

RECIPE = """\
name: tiny
seeds: {sources: [{name: evol, from: files, path: seeds.jsonl}]}
questions: {model: m}
models: {m: {backend: replay, provider: p, model: m, answers: answers.jsonl}}
"""


def seeds(*orders: int) -> pa.Table:
    rows = [
        {"id": f"evol_{order}", "source": "evol", "order": order, "instruction": None, "program": "p"}
        for order in orders
    ]
    return pa.Table.from_pylist(rows, schema=SEEDS)


def build(path: Path, fingerprint: str = "f" * 64, keys: tuple[str, str] = ("a", "b")) -> StageRecord:
    with Building(path) as building:
        files = building.stage("seeds", fingerprint)
        if not files.has(0, keys[0]):
            drops = [Drop("evol_1", 1, "no function"), Drop("evol_0", 0, "flaky", item=3)]
            files.write(0, keys[0], seeds(0, 2), Counts(rows_in=3, rows_out=2), drops_table(drops))
        if not files.has(1, keys[1]):
            files.write(1, keys[1], seeds(1000), Counts(rows_in=1, rows_out=1))
        return files.finish({0: keys[0], 1: keys[1]}, ["seeds"])


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    record = build(tmp_path / "d")
    directory = Directory(tmp_path / "d")
    assert [row["order"] for batch in directory.batches("seeds") for row in batch.to_pylist()] == [0, 2, 1000]
    assert [batch.schema.names for batch in directory.batches("seeds", ["program"])] == [["program"]] * 2
    assert directory.schema("seeds").equals(SEEDS)
    assert [row["reason"] for batch in directory.drops("seeds") for row in batch.to_pylist()] == [
        "no function",
        "flaky",
    ]
    assert directory.manifest == {"seeds": record}
    assert (record.rows_in, record.rows_out, record.rows) == (4, 3, 3)
    assert record.dropped == {"no function": 1} and record.dropped_items == {"flaky": 1}
    assert directory.damage() == []


def test_a_stage_that_does_not_add_up_is_our_fault(tmp_path: Path) -> None:
    with Building(tmp_path) as building:
        files = building.stage("seeds", "f")
        files.write(0, "a", seeds(0), Counts(rows_in=2, rows_out=1))
        with pytest.raises(AssertionError, match="2 rows in, but 1 out and 0 dropped"):
            files.finish({0: "a"}, ["seeds"])


def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    count = 20_000
    texts = pa.array([f"{number} " * 40 for number in range(count)], SEEDS.field("program").type)
    columns = {"order": pa.array(range(count), pa.int64()), "program": texts}
    rows = pa.table(columns)

    def chunked(size: int) -> pa.Table:
        return pa.concat_tables([rows[start : start + size] for start in range(0, count, size)])

    tables = [rows, chunked(1000), chunked(777), chunked(5)]
    assert len({_directory._write_parquet(tmp_path / "ours", table) for table in tables}) == 1
    plain = set()
    for table in tables:
        pq.write_table(table, tmp_path / "plain", row_group_size=_directory.ROW_GROUP_ROWS)
        plain.add((tmp_path / "plain").read_bytes())
    assert len(plain) > 1, "there is nothing to see here: Parquet no longer follows chunks"


def test_a_second_builder_is_told_who_builds(tmp_path: Path) -> None:
    code = f"""
from acedata._directory import Building
with Building({str(tmp_path / "d")!r}):
    print("held", flush=True)
    input()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None and other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(BuildInUse, match=rf"process {other.pid} on {os.uname().nodename}"),
            Building(tmp_path / "d"),
        ):
            pass
        other.kill()
        other.wait()
        with Building(tmp_path / "d"):
            pass
    finally:
        other.kill()
        other.communicate()


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(BadInput, match="holds other files"), Building(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(BadInput, match="is a file"), Building(tmp_path / "thesis.tex"):
        pass


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', '{"format": 99, "stages": {}}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, damage: str) -> None:
    build(tmp_path)
    (tmp_path / "manifest.json").write_text(damage)
    with pytest.raises(BadInput, match=r"manifest\.json"):
        _ = Directory(tmp_path).manifest


def test_a_full_disk_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for owner, name, file in ((_directory.pq, "write_table", "parquet"), (Path, "write_bytes", "json")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, full)
            with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}.*\.{file}"):
                build(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    build(tmp_path)
    part = tmp_path / "data" / "seeds" / "part-00001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(BadInput, match="part-00001"):
        list(Directory(tmp_path).batches("seeds"))
    assert Directory(tmp_path).damage() == [f"{part} is not the file that was built"]
    part.unlink()
    with pytest.raises(BadInput, match="is missing"):
        list(Directory(tmp_path).batches("seeds"))


def test_what_is_damaged_is_said_with_its_remedy(tmp_path: Path) -> None:
    build(tmp_path)
    part = tmp_path / "data" / "seeds" / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    with pytest.raises(BadInput, match=r"part-00001\.parquet is not the file that was built; delete it, and"):
        Directory(tmp_path).check()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"stage": "seeds"}', '{"stage": 5, "record": {}, "order": 1}']
)
def test_a_damaged_intent_is_named(tmp_path: Path, content: str) -> None:
    build(tmp_path)
    intent = tmp_path / "work" / "seeds.intent.json"
    intent.write_text(content)
    with pytest.raises(BadInput, match=r"seeds\.intent\.json: is damaged .* delete it"), Building(tmp_path):
        pass
    intent.unlink()
    with Building(tmp_path):
        pass


def test_a_shard_whose_note_is_damaged_is_made_again(tmp_path: Path) -> None:
    with Building(tmp_path) as building:
        building.stage("seeds", "f").write(0, "a", seeds(0), Counts(rows_in=1, rows_out=1))
        (note,) = (tmp_path / "work").glob("seeds-*/part-00000.json")
        note.write_text("{")
        assert not building.stage("seeds", "f").has(0, "a")


@pytest.mark.parametrize("content", ['{"runs": 5}', "[]", '{"runs": [5, null]}'])
def test_telemetry_that_is_none_is_no_telemetry(tmp_path: Path, content: str) -> None:
    build(tmp_path)
    with Building(tmp_path) as building:
        building.note_run("seeds", {"seconds": 1})
    (tmp_path / "telemetry" / "seeds" / "runs.json").write_text(content)
    assert Directory(tmp_path).telemetry("seeds") == {"runs": []}


def test_a_recipe_in_its_own_build_directory_is_never_written_over(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path)
    text = (tmp_path / "recipe.yaml").read_text()
    with Building(tmp_path / "b") as building:
        building.keep_recipe(recipe)
        mine = load_recipe(tmp_path / "b" / "recipe.yaml")
        building.keep_recipe(mine.changed(workers=1, budget_usd=3.0))
        assert (tmp_path / "b" / "recipe.yaml").read_text() == text
        with pytest.raises(BadInput, match="is the recipe itself"):
            building.keep_recipe(mine.changed(seeds__limit=3))
        building.keep_recipe(recipe.changed(seeds__limit=3))  # from elsewhere: a copy is kept
    assert (tmp_path / "recipe.yaml").read_text() == text


def test_no_directory_and_no_stage_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        Directory(tmp_path / "none")
    with pytest.raises(BadInput, match="no build directory"):
        Directory(tmp_path)
    build(tmp_path)
    with pytest.raises(BadInput, match="'pairs' is not built"):
        list(Directory(tmp_path).batches("pairs"))
    with pytest.raises(BadInput, match="no column 'nope'"):
        list(Directory(tmp_path).batches("seeds", ["nope"]))


def test_shards_with_an_unchanged_key_are_kept(tmp_path: Path) -> None:
    build(tmp_path)
    kept = tmp_path / "data" / "seeds" / "part-00000.parquet"
    before = kept.stat().st_ino
    record = build(tmp_path, fingerprint="e" * 64, keys=("a", "c"))
    assert kept.stat().st_ino == before, "shard 0 was written anew"
    assert [note.key for note in record.shards.values()] == ["a", "c"]
    assert record.dropped == {"no function": 1}


def test_why_rows_were_dropped_is_nothing_to_the_stages_after(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path / "source")
    questions = next(stage for stage in stages(recipe) if stage.name == "questions")

    def dropped_for(reason: str, *left: int) -> tuple[str, str, str]:
        with Building(tmp_path / "b") as building:
            files = building.stage("seeds", f"{reason}{left}")
            drops = drops_table([Drop("evol_1", 1, reason)])
            files.write(0, reason, seeds(*left), Counts(rows_in=1 + len(left), rows_out=len(left)), drops)
            content = files.finish({0: reason}, ["seeds"]).content
            return (
                content,
                questions.shard_key(0, building.manifest),
                questions.fingerprint(building.manifest),
            )

    before = dropped_for("fewer than 5 tests", 0, 2)
    assert dropped_for("fewer than 4 tests", 0, 2) == before
    assert all(one != other for one, other in zip(dropped_for("fewer than 4 tests", 0), before, strict=True))


def test_a_kept_shard_that_was_damaged_is_made_anew(tmp_path: Path) -> None:
    build(tmp_path)
    part = tmp_path / "data" / "seeds" / "part-00000.parquet"
    part.write_bytes(b"other")
    build(tmp_path, fingerprint="e" * 64)
    assert Directory(tmp_path).damage() == []


def test_a_shard_with_rows_to_mend_is_made_anew(tmp_path: Path) -> None:
    with Building(tmp_path) as building:
        files = building.stage("seeds", "f")
        files.write(0, "a", seeds(0), Counts(rows_in=1, rows_out=1, incomplete=1))
        assert not files.has(0, "a")
        files.finish({0: "a"}, ["seeds"])
        assert not building.stage("seeds", "g").has(0, "a")


class Killed(BaseException):
    """As if the process ended here."""


def test_a_crash_at_any_step_loses_no_finished_shard_and_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot(path: Path) -> dict[str, bytes]:
        files = [path / "manifest.json", *(path / "data").rglob("*.parquet")]
        return {str(file.relative_to(path)): file.read_bytes() for file in files}

    build(tmp_path / "plain", "e" * 64, ("a", "c"))
    expected = snapshot(tmp_path / "plain")

    written = 0
    write = StageFiles.write

    def counted(self: StageFiles, *args: Any, **kwargs: Any) -> None:
        nonlocal written
        write(self, *args, **kwargs)
        written += 1

    monkeypatch.setattr(StageFiles, "write", counted)
    real = {name: getattr(os, name) for name in ("fsync", "link", "unlink", "rename", "rmdir", "mkdir")}
    left = 10**9

    def counting(name: str):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return real[name](*args, **kwargs)

        return call

    for step in range(1000):
        path = tmp_path / str(step)
        build(path)
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, counting(name))
            left, written = step, 0
            try:
                build(path, "e" * 64, ("a", "c"))
                finished = True
            except Killed:
                finished = False
            left = 10**9
        assert Directory(path).manifest.keys() == {"seeds"}
        build(path, "e" * 64, ("a", "c"))
        assert snapshot(path) == expected, f"after a crash at step {step}"
        assert written <= 1, f"after a crash at step {step} a finished shard was made again"
        assert not list((path / "work").glob("*.intent.json")) and not list((path / "work").glob("*.old"))
        shutil.rmtree(path)
        if finished:
            assert step > 15
            return
    raise AssertionError("the build never came to an end")


def test_stages_the_recipe_no_longer_has_are_forgotten(tmp_path: Path) -> None:
    build(tmp_path)
    with Building(tmp_path) as building:
        building.forget(["seeds", "pairs"])
    assert Directory(tmp_path).manifest == {} and not (tmp_path / "data" / "seeds").exists()


def test_cpu_times_and_costs_lie_apart_from_the_data(tmp_path: Path) -> None:
    cpu = pa.Table.from_pylist([{"order": 0, "completion_id": 1, "cpu_us": [5, 6]}], schema=CPU)
    with Building(tmp_path) as building:
        files = building.stage("sample_matrix", "f")
        rates = pa.Table.from_pylist([], schema=PASS_RATES)
        files.write(0, "a", rates, Counts(), cpu=cpu)
        files.finish({0: "a"}, ["sample_matrix"])
        building.note_run("sample_matrix", {"seconds": 2.5})
        building.note_run("sample_matrix", {"seconds": 1.0})
    directory = Directory(tmp_path)
    assert pa.Table.from_batches(directory.cpu("sample_matrix")).equals(cpu)
    assert directory.telemetry("sample_matrix") == {"runs": [{"seconds": 2.5}, {"seconds": 1.0}]}
    assert directory.telemetry("seeds") == {"runs": []}
    assert os.listdir(tmp_path / "data" / "sample_matrix") == ["part-00000.parquet"]


def test_the_recipe_is_kept_for_reading(tmp_path: Path) -> None:
    recipe = parse_recipe(RECIPE)
    with Building(tmp_path) as building:
        building.keep_recipe(recipe)
    assert Directory(tmp_path).recipe.model_dump() == recipe.model_dump()
    assert (tmp_path / "recipe.yaml").read_text() == RECIPE
