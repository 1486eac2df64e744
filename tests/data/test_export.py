"""The exported folder: the published columns and types, texts to the byte, what trainers' loaders read, and nothing of
it there unless all of it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features, List, Value, load_dataset

from acedata import _export
from acedata._directory import Building, Directory
from acedata._errors import BadInput
from acedata._export import Exported, export
from acedata._forms import in_validation
from acedata._funnel import FunnelBroken, check_funnel
from acedata._report import report
from acedata._show import show
from tests import workloads
from tests.conftest import unavailable
from tests.data.builds import HOSTILE, make_build

# As the published datasets' cards give them.
MESSAGES = List({"content": Value("string"), "role": Value("string")})
ACECODE = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "question": Value("string"),
        "test_cases": List(Value("string")),
        "inferences": List(
            {
                "completion": Value("string"),
                "completion_id": Value("int64"),
                "model_name": Value("string"),
                "pass_rate": Value("float64"),
            }
        ),
        "context_messages": MESSAGES,
    }
)
PAIRS = Features(
    {
        "instruction": Value("string"),
        "input": Value("string"),
        "chosen": Value("string"),
        "rejected": Value("string"),
        "id": Value("int64"),
    }
)


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`datasets` keeps its copies here and asks nobody."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return make_build(tmp_path_factory.mktemp("build") / "b")


@pytest.fixture(scope="module")
def exported(build: Directory, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(build, tmp_path_factory.mktemp("out") / "data")


@pytest.fixture
def copied(build: Directory, tmp_path: Path) -> Directory:
    """A build of one's own, to be damaged."""
    return Directory(shutil.copytree(build.path, tmp_path / "b"))


def rows(build: Directory, stage: str) -> list[dict[str, Any]]:
    return [row for batch in build.batches(stage) for row in batch.to_pylist()]


def by_id(build: Directory) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in rows(build, "filtered")}


# ---- the same data ----


def test_questions_have_the_published_columns_and_types(exported: Exported) -> None:
    for config in (None, "hard"):
        data = load_dataset(str(exported.path), config, split="train")
        assert data.features == ACECODE
        assert data.column_names == list(ACECODE)


def test_questions_have_the_columns_and_types_of_the_published_row(exported: Exported) -> None:
    try:
        row = json.loads((workloads.folder() / "acecode87k_one_row.json").read_text())
    except (workloads.NotAvailable, FileNotFoundError) as missing:
        unavailable(str(missing))
        raise
    ours = load_dataset(str(exported.path), split="train")
    assert ours.features == datasets.Dataset.from_list([row]).features
    assert ours.column_names == list(row)
    assert list(ours[0]["inferences"][0]) == list(row["inferences"][0])
    assert list(ours[0]["context_messages"][0]) == list(row["context_messages"][0])


def test_questions_hold_what_was_built(build: Directory, exported: Exported) -> None:
    data = load_dataset(str(exported.path), split="train").to_list()
    questions = rows(build, "filtered")
    programs: dict[str, list[Any]] = {}
    for program, rate in zip(rows(build, "samples"), rows(build, "pass_rates"), strict=True):
        assert (program["id"], program["completion_id"]) == (rate["id"], rate["completion_id"])
        programs.setdefault(program["id"], []).append(
            {
                "completion": program["program"] or "",
                "completion_id": program["completion_id"],
                "model_name": program["model"],
                "pass_rate": rate["pass_rate"],
            }
        )
    assert data == [
        {
            "id": question["id"],
            "source": question["source"],
            "question": question["question"],
            "test_cases": question["tests"],
            "inferences": programs[question["id"]],
            "context_messages": [{"content": question["question"], "role": "user"}],
        }
        for question in questions
    ]
    assert any(HOSTILE in row["question"] for row in data)
    assert any(one["completion"] == "" for row in data for one in row["inferences"])


def test_the_hard_subset_is_the_hard_stage_s(build: Directory, exported: Exported) -> None:
    hard = load_dataset(str(exported.path), "hard", split="train")
    assert hard["id"] == [row["id"] for row in rows(build, "hard")] and len(hard)
    everyone = {row["id"]: row for row in load_dataset(str(exported.path), split="train").to_list()}
    assert all(row == everyone[row["id"]] for row in hard.to_list())


@pytest.mark.parametrize("folder", ["", "pairs"])
def test_pairs_are_the_published_texts_to_the_byte(build: Directory, exported: Exported, folder: str) -> None:
    config = None if folder else "pairs"
    data = load_dataset(str(exported.path / folder), config, split="train")
    assert data.features == PAIRS and data.column_names == list(PAIRS)
    questions = by_id(build)
    programs = {(row["id"], row["completion_id"]): row["program"] for row in rows(build, "samples")}
    expected = []
    for number, pair in enumerate(rows(build, "pairs")):
        question = questions[pair["id"]]
        chosen, rejected = (programs[pair["id"], pair[side]].strip() for side in ("chosen", "rejected"))
        expected.append(
            {
                "instruction": "Please provide a self-contained Python script that solves the following problem in a "
                f'markdown code block:\n```\n"""\n{question["question"]}\n{question["tests"][0]}\n"""\n\n```\n',
                "input": "",
                "chosen": "Below is a Python script with a self-contained function that solves the problem and passes "
                f"corresponding tests:\n```python\n{chosen}\n```",
                "rejected": "Below is a Python script with a self-contained function that solves the problem and "
                f"passes corresponding tests:\n```python\n{rejected}\n```",
                "id": number,
            }
        )
    assert data.to_list() == expected and expected


def test_extended_pairs_carry_what_the_release_lost(build: Directory, exported: Exported) -> None:
    data = load_dataset(str(exported.path / "pairs"), "extended")
    assert set(data) == {"train", "validation"}
    pairs = rows(build, "pairs")
    plain = load_dataset(str(exported.path / "pairs"), split="train").to_list()
    questions = by_id(build)
    found = sorted([*data["train"].to_list(), *data["validation"].to_list()], key=lambda row: row["id"])
    for row, pair, text in zip(found, pairs, plain, strict=True):
        assert {name: row[name] for name in text} == text
        assert row["question_id"] == pair["id"] and row["source"] == questions[pair["id"]]["source"]
        assert row["chosen_model"] == row["rejected_model"] == pair["model"]
        assert (row["chosen_completion_id"], row["rejected_completion_id"]) == (
            pair["chosen"],
            pair["rejected"],
        )
        for name in ("chosen_pass_rate", "rejected_pass_rate", "margin"):
            assert row[name] == pair[name]
        assert (row["format"], row["shown_tests"]) == ("pair-1", 1)
    assert data["train"].features["margin"] == Value("float64")


def test_a_question_is_on_one_side_of_the_split_in_every_form(exported: Exported) -> None:
    sides: dict[str, set[str]] = {"train": set(), "validation": set()}
    for config, column in (("extended", "question_id"), ("trl-preference", "question_id"), ("trl-rl", "id")):
        for split, part in load_dataset(str(exported.path), config).items():
            sides[split] |= set(part[column])
    for split, part in load_dataset(str(exported.path), "verl-rl").items():
        sides[split] |= {row["id"] for row in part["extra_info"]}
    assert sides["train"] and sides["validation"] and not sides["train"] & sides["validation"]


def test_the_split_follows_from_the_id_alone() -> None:
    ids = [f"evol_{number}" for number in range(20_000)]
    held = in_validation(ids, 0.1)
    assert abs(held.mean() - 0.1) < 0.01
    assert held[7] == in_validation([ids[7]], 0.1)[0]
    # A larger share holds out the same questions and more.
    assert not (held & ~in_validation(ids, 0.2)).any()
    assert not in_validation(ids, 0.0).any()
    digest = int.from_bytes(hashlib.sha256(b"evol_7").digest()[:8], "big")
    assert held[7] == (digest < 0.1 * 2**64)


# ---- what trainers read ----


def test_trl_preferences_and_prompts(build: Directory, exported: Exported) -> None:
    data = load_dataset(str(exported.path), "trl-preference", split="train")
    one = MESSAGES
    assert {name: data.features[name] for name in ("prompt", "chosen", "rejected")} == dict.fromkeys(
        ("prompt", "chosen", "rejected"), one
    )
    extended = load_dataset(str(exported.path), "extended", split="train")
    assert len(data) == len(extended)
    for row, pair in zip(data, extended, strict=True):
        assert row["prompt"] == [{"content": pair["instruction"], "role": "user"}]
        assert row["chosen"] == [{"content": pair["chosen"], "role": "assistant"}]
        assert row["rejected"] == [{"content": pair["rejected"], "role": "assistant"}]
        assert row["margin"] == pair["margin"]
    questions = by_id(build)
    for row in load_dataset(str(exported.path), "trl-rl", split="train"):
        assert json.loads(row["test_cases"]) == questions[row["id"]]["tests"]
        assert row["prompt"] == [{"content": questions[row["id"]]["question"], "role": "user"}]
        assert (row["format"], row["shown_tests"]) == ("rl-0", 0)


def test_verl_s_loader_reads_its_five_columns(build: Directory, exported: Exported) -> None:
    # As verl.utils.dataset.rl_dataset opens a file.
    path = exported.path / "verl" / "rl" / "train.parquet"
    data = load_dataset("parquet", data_files=str(path))["train"]
    assert data.column_names == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    questions = by_id(build)
    for number, row in enumerate(data):
        question = questions[row["extra_info"]["id"]]
        assert row["data_source"] == "acecode" and row["ability"] == "code"
        assert row["prompt"] == [{"content": question["question"], "role": "user"}]
        assert row["reward_model"]["style"] == "rule"
        assert json.loads(row["reward_model"]["ground_truth"]) == question["tests"]
        assert (row["extra_info"]["split"], row["extra_info"]["index"]) == ("train", number)


def test_openrlhf_s_loader_reads_json_lines(build: Directory, exported: Exported) -> None:
    # As openrlhf.datasets.utils.blending_datasets opens a file.
    folder = exported.path / "openrlhf"
    data = load_dataset("json", data_files=str(folder / "preference" / "train.jsonl"))["train"]
    # As its reward dataset joins them under --apply_chat_template with --prompt_key.
    chat = data[0]["prompt"] + data[0]["chosen"]
    assert [message["role"] for message in chat] == ["user", "assistant"] and data[0]["margin"] > 0.4
    questions = by_id(build)
    for row in load_dataset("json", data_files=str(folder / "rl" / "train.jsonl"))["train"]:
        assert json.loads(row["label"]) == questions[row["id"]]["tests"]
        assert row["prompt"][0]["content"] == questions[row["id"]]["question"]


def test_llama_factory_finds_ranking_data(exported: Exported) -> None:
    folder = exported.path / "llama-factory"
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"acecode_pairs", "acecode_pairs_train", "acecode_pairs_validation"}
    for entry in info.values():
        # As its loader does: every file of the folder, all of one type.
        files = [str(path) for path in sorted((folder / entry["file_name"]).iterdir())]
        assert entry["ranking"] is True and all(path.endswith(".parquet") for path in files)
        data = load_dataset("parquet", data_files=files)["train"]
        assert set(entry["columns"]) == {"prompt", "query", "chosen", "rejected"}
        assert set(entry["columns"].values()) <= set(data.column_names) and len(data)


# ---- files ----


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_build_gives_the_same_bytes(build: Directory, exported: Exported, tmp_path: Path) -> None:
    again = export(build, tmp_path / "again")
    assert contents(again.path) == contents(exported.path)
    assert again.files == exported.files


def test_the_way_a_build_was_cut_does_not_show(exported: Exported, tmp_path: Path) -> None:
    other = export(make_build(tmp_path / "b", shard_rows=7), tmp_path / "out")
    ours, theirs = contents(exported.path), contents(other.path)
    for name in ours:
        if name.endswith((".parquet", ".jsonl", ".svg")):
            assert ours[name] == theirs[name], name


def test_export_json_says_what_was_written(exported: Exported) -> None:
    said = json.loads((exported.path / "export.json").read_text())
    there = contents(exported.path)
    assert set(said["files"]) == set(there) - {"export.json"}
    for name, digest in said["files"].items():
        assert hashlib.sha256(there[name]).hexdigest() == digest
    assert said["rows"] == exported.rows and said["rows"]["acecode"] == 48


def test_files_are_cut_and_numbered(
    build: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_export, "GROUP_ROWS", 10)
    monkeypatch.setattr(_export, "FILE_BYTES", 20_000)
    made = export(build, tmp_path / "out", forms=["acecode"])
    files = sorted(path.name for path in (made.path / "data").iterdir())
    count = len(files)
    assert count > 1 and files == [f"train-{n:05d}-of-{count:05d}.parquet" for n in range(count)]
    for file in (made.path / "data").iterdir():
        metadata = pq.ParquetFile(file).metadata
        assert all(metadata.row_group(n).num_rows <= 10 for n in range(metadata.num_row_groups))
    data = load_dataset(str(made.path), split="train")
    assert data["id"] == [row["id"] for row in rows(build, "filtered")]


def test_a_split_without_rows_is_not_written(build: Directory, tmp_path: Path) -> None:
    made = export(build, tmp_path / "out", validation=1e-9)
    assert made.rows["extended/validation"] == 0
    assert not list(made.path.rglob("*validation*.parquet"))
    assert set(load_dataset(str(made.path), "extended")) == {"train"}
    assert "`extended/validation`" in (made.path / "README.md").read_text()
    info = json.loads((made.path / "llama-factory" / "dataset_info.json").read_text())
    assert "acecode_pairs_validation" not in info


def test_only_the_forms_that_were_asked_for(build: Directory, tmp_path: Path) -> None:
    made = export(build, tmp_path / "out", forms=["pairs", "extended"], validation=0.0)
    assert not (made.path / "data").exists() and not (made.path / "trl").exists()
    # Then the pairs are the folder's default.
    assert load_dataset(str(made.path), split="train").features == PAIRS
    assert set(load_dataset(str(made.path), "extended")) == {"train"}


def test_upstream_questions_with_too_few_tests_are_not_published(tmp_path: Path) -> None:
    build = make_build(tmp_path / "b", definition="upstream", seeds=200, seed=3)
    few = {row["id"] for row in rows(build, "filtered") if len(row["tests"]) == 4}
    assert few
    made = export(build, tmp_path / "out")
    published = set(load_dataset(str(made.path), split="train")["id"])
    assert published == set(by_id(build)) - few
    assert len(load_dataset(str(made.path), "pairs", split="train")) == len(rows(build, "pairs"))


def test_questions_without_programs(copied: Directory, tmp_path: Path) -> None:
    build = copied
    with Building(build.path) as building:
        building.forget(["samples", "sample_matrix", "pass_rates", "pairs", "hard"])
    made = export(build, tmp_path / "out", forms=["acecode", "trl", "verl", "openrlhf"])
    data = load_dataset(str(made.path), split="train")
    assert data.features == ACECODE and len(data) == len(by_id(build))
    assert all(row == [] for row in data["inferences"])
    assert made.rows["trl/rl/train"] and "trl/preference/train" not in made.rows


# ---- refusals, and failures half-way ----


def test_what_cannot_be_exported_is_refused_by_name(
    build: Directory, copied: Directory, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="no form 'parquet'; there are acecode"):
        export(build, tmp_path / "out", forms=["parquet"])
    with pytest.raises(BadInput, match="validation=1"):
        export(build, tmp_path / "out", validation=1)
    with Building(copied.path) as building:
        building.forget(["pairs"])
    with pytest.raises(BadInput, match="'extended' needs the stage 'pairs'"):
        export(copied, tmp_path / "out", forms=["extended"])
    assert not (tmp_path / "out").exists()


def test_nobody_s_files_are_touched(build: Directory, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="holds other files"):
        export(build, out)
    assert contents(out) == {"thesis.txt": b"years of work"}
    with pytest.raises(BadInput, match="is a file"):
        export(build, out / "thesis.txt")


def test_an_earlier_export_is_replaced_as_a_whole(build: Directory, tmp_path: Path) -> None:
    first = export(build, tmp_path / "out")
    assert (first.path / "verl").exists()
    export(build, tmp_path / "out", forms=["acecode"])
    assert not (tmp_path / "out" / "verl").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]


def test_an_export_that_fails_leaves_what_was_there(
    build: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(build, tmp_path / "out", forms=["acecode"])
    before = contents(tmp_path / "out")

    def fail(*given: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(_export, "write_card", fail)
    with pytest.raises(OSError, match="full"):
        export(build, tmp_path / "out", forms=["acecode"])
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]


# ---- the funnel ----


def test_an_honest_build_has_an_honest_funnel(build: Directory) -> None:
    check_funnel(build)


def _edit(path: Path, change: Any) -> None:
    manifest = json.loads(path.read_text())
    change(manifest["stages"])
    path.write_text(json.dumps(manifest))


def _replace(build: Directory, stage: str, change: Any) -> None:
    """Writes a stage's first file anew, and the manifest's counts of it, as a build with a bug would."""
    path = build.files(stage)[0]
    before = pq.read_table(path)
    after = change(before)
    pq.write_table(after, path)
    lost = before.num_rows - after.num_rows

    def recount(stages: Any) -> None:
        for counts in (stages[stage], next(iter(stages[stage]["shards"].values()))):
            counts["rows"] -= lost
            counts["rows_out"] -= lost
            counts["rows_in"] -= lost

    _edit(build.path / "manifest.json", recount)


def test_a_manifest_that_does_not_add_up(copied: Directory) -> None:
    build = copied
    _edit(build.path / "manifest.json", lambda stages: stages["questions"].update(rows_in=56))
    with pytest.raises(
        FunnelBroken, match=r"questions: 56 rows went in, but 50 came out and 5 .*: 1 are missing"
    ):
        check_funnel(build)


def test_a_manifest_that_is_not_of_its_files(copied: Directory) -> None:
    build = copied

    def lie(stages: Any) -> None:
        stages["filtered"]["dropped"] = {"fewer than 5 tests": 1, "other": 1}

    _edit(build.path / "manifest.json", lie)
    with pytest.raises(
        FunnelBroken, match=r"filtered: its files hold 2 rows dropped for 'fewer than 5 tests', .* 1"
    ):
        check_funnel(build)


@pytest.mark.parametrize(
    "stage", ["questions", "checked", "filtered", "references", "samples", "sample_matrix", "pass_rates"]
)
def test_a_row_that_vanished_with_all_counts_in_agreement(copied: Directory, stage: str) -> None:
    build = copied
    _replace(build, stage, lambda table: table.slice(1))
    with pytest.raises(FunnelBroken, match=f"^{stage}: of the question with order 0"):
        check_funnel(build)


def test_a_row_that_is_there_twice(copied: Directory) -> None:
    build = copied
    _replace(build, "sample_matrix", lambda table: table.take([0, *range(table.num_rows)]))
    with pytest.raises(
        FunnelBroken, match="sample_matrix: of the question with order 0, 8 rows samples gave, but 9"
    ):
        check_funnel(build)


@pytest.mark.parametrize("stage", ["pairs", "hard"])
def test_a_question_that_vanished_from_a_view(copied: Directory, stage: str) -> None:
    build = copied
    first = next(build.batches(stage))["order"][0].as_py()

    def without(table: Any) -> Any:
        return table.filter([order != first for order in table["order"].to_pylist()])

    _replace(build, stage, without)
    with pytest.raises(FunnelBroken, match=stage):
        check_funnel(build)


def test_a_broken_funnel_is_not_exported(copied: Directory, tmp_path: Path) -> None:
    build = copied
    _replace(build, "samples", lambda table: table.slice(1))
    with pytest.raises(FunnelBroken):
        export(build, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_flipped_bit_is_neither_exported_nor_shown(copied: Directory, tmp_path: Path) -> None:
    part = copied.files("filtered")[0]
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    for use in (lambda: export(copied, tmp_path / "out"), lambda: report(copied), lambda: show(copied)):
        with pytest.raises(BadInput, match="is not the file that was built"):
            use()
    assert not (tmp_path / "out").exists()


def test_what_somebody_added_to_an_export_is_not_lost(build: Directory, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(build, out, forms=["acecode"])
    export(build, out, forms=["acecode", "hard"])  # as it was written: replaced
    (out / "LICENSE").write_text("Mine.")
    with pytest.raises(BadInput, match="LICENSE: is not as an earlier export wrote it"):
        export(build, out)
    (out / "LICENSE").unlink()
    card = out / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    with pytest.raises(BadInput, match=r"README\.md: is not as an earlier export wrote it"):
        export(build, out)
    assert card.read_text().endswith("My own words.\n")


def test_what_a_killed_export_left_is_cleared_away(build: Directory, tmp_path: Path) -> None:
    gone, alive = tmp_path / ".out.partial-999999999", tmp_path / f".out.partial-{os.getppid()}"
    gone.mkdir()
    alive.mkdir()
    export(build, tmp_path / "out", forms=["acecode"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [alive.name, "out"]


# ---- the card's front matter ----


def test_the_front_matter_names_every_configuration(exported: Exported) -> None:
    text = (exported.path / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    names = [config["config_name"] for config in front["configs"]]
    assert names == [
        "default",
        "hard",
        "pairs",
        "extended",
        "trl-preference",
        "trl-rl",
        "trl-hard",
        "verl-rl",
        "verl-hard",
    ]
    for config in front["configs"]:
        data = load_dataset(str(exported.path), config["config_name"])
        assert set(data) == {part["split"] for part in config["data_files"]}
