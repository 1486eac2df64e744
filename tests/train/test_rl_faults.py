"""What is wrong with a recipe, a data set, a policy or a run's folder is said in a sentence, before any training.

And it costs nothing: the right command that follows finds the folder as the wrong one found it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acedata import BadInput, RecipeError
from tests.train.rl_runs import TEXT, make_start, recipe_file


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def recipe(tmp_path: Path, start: Path) -> Path:
    return recipe_file(tmp_path, start, run={"rollouts": 1})


def run(recipe: Path, out: Path, *changes: str, resume: bool = False) -> None:
    from acetrain._rl._recipe import load_recipe
    from acetrain._rl._train import train

    train(load_recipe(recipe, changes), out, resume=resume, say=lambda text: None)


def refused(recipe: Path, out: Path, *changes: str) -> str:
    """What a run is refused with: one line, and nothing is left of it."""
    with pytest.raises(BadInput) as caught:
        run(recipe, out, *changes)
    assert not out.exists()
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700, said
    return said


def test_a_run_whose_trainer_saved_no_weights_is_not_finished(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def saves_nothing(self: Any, folder: str | None = None, *rest: Any, **named: Any) -> None:
        Path(str(folder)).mkdir(parents=True, exist_ok=True)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "save_model", saves_nothing)
        with pytest.raises(BadInput, match="saved no weights that can be loaded"):
            run(recipe, out)
    assert not (out / "final").exists()


def test_a_model_that_was_half_saved_leaves_nothing_in_the_finished_one(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out)
    shutil.rmtree(out / "final")
    (out / "final.partial").mkdir()
    (out / "final.partial" / "model-00001-of-00009.safetensors").write_bytes(b"old")
    run(recipe, out, resume=True)
    assert not (out / "final" / "model-00001-of-00009.safetensors").exists()
    assert (out / "final" / "model.safetensors").exists()


# ---- the folder ----


def test_a_mistake_leaves_the_folder_as_it_was_and_the_right_command_works(
    recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert "nope.jsonl: no such file or folder" in refused(recipe, out, "data.path=nope.jsonl")
    assert "no policy there" in refused(recipe, out, "policy.path=./nowhere")
    assert "layers" in refused(recipe, out, "policy.lora={modules: [layers_of_nobody]}")
    out.mkdir()
    run(recipe, out)
    assert (out / "final" / "model.safetensors").exists()
    with pytest.raises(BadInput, match="not empty; --resume goes on with it"):
        run(recipe, out)


def test_a_policy_that_was_made_on_the_spot_is_taken_back_too(tmp_path: Path) -> None:
    changes = ["policy.tiny.supervised_steps=1", "policy.tiny.hidden=16", "policy.tiny.layers=1"]
    changes += ["data.tasks=8", "rollout.questions=16", "rollout.programs=2", "update.batch=32"]
    said = refused(Path("rl-tiny"), tmp_path / "run", *changes, "update.device_batch=32")
    assert "8 questions, fewer than one rollout's 16" in said


def test_what_was_not_made_by_the_run_stays(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "start").mkdir(parents=True)
    (out / "start" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        run(recipe, out, "data.path=nope.jsonl")
    assert (out / "start" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name: \xff\xfe", "no run to go on with: 'utf-8' codec"), (b"- 1", "recipe.yaml is not a recipe")],
)
def test_a_folder_whose_recipe_is_none_is_no_run(
    recipe: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "recipe.yaml").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        run(recipe, out, resume=True)


def test_a_curve_with_lines_that_are_none_is_read_without_them(tmp_path: Path) -> None:
    from acetrain._rl._curve import read

    path = tmp_path / "curve.jsonl"
    good = json.dumps({"rollout": 1, "update": 2})
    bad = [b"\xff\xfe", b"[]", b'{"update": "2", "rollout": 1}', b'{"update": 3}', b'{"rollout": 2, "upd']
    path.write_bytes(b"\n".join([good.encode(), *bad]))
    assert read(path) == [{"rollout": 1, "update": 2}]


# ---- checkpoints ----


def make_checkpoint(folder: Path) -> Path:
    """What the trainer of one process writes, small."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(1000)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"state": torch.ones(1000)}, folder / name)
    step = int(folder.name.rpartition("-")[2])
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


@pytest.mark.parametrize(
    ("name", "share", "why"),
    [
        ("model.safetensors", None, "there are no weights"),
        ("optimizer.pt", None, "optimizer.pt is missing"),
        ("scheduler.pt", None, "scheduler.pt is missing"),
        ("rng_state.pth", None, "rng_state.pth is missing"),
        ("trainer_state.json", None, "trainer_state.json is missing or cut"),
        ("trainer_state.json", 0.5, "trainer_state.json is missing or cut"),
        ("model.safetensors", 0.99, "model.safetensors is cut"),
        ("model.safetensors", 0.001, "model.safetensors is cut"),
        ("model.safetensors", 0.0, "model.safetensors is cut"),
        ("optimizer.pt", 0.9, "optimizer.pt is cut"),
        ("scheduler.pt", 0.5, "scheduler.pt is cut"),
        ("rng_state.pth", 0.0, "rng_state.pth is cut"),
    ],
)
def test_the_newest_whole_checkpoint_is_found_and_why_it_is_not_a_newer_one(
    tmp_path: Path, name: str, share: float | None, why: str
) -> None:
    from acetrain._checkpoints import last_whole

    older, newer = (make_checkpoint(tmp_path / f"checkpoint-{step}") for step in (9, 10))
    (tmp_path / "checkpoint-x").mkdir()
    assert last_whole(tmp_path) == (newer, [])
    file = newer / name
    if share is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    found, said = last_whole(tmp_path)
    assert found == older and len(said) == 1
    assert said[0].startswith(f"{newer}: not whole, passed over: {why}")


def test_an_adapters_checkpoint_and_a_model_in_parts_are_whole_with_their_parts(tmp_path: Path) -> None:
    from acetrain._checkpoints import trouble

    adapter = make_checkpoint(tmp_path / "checkpoint-1")
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    assert trouble(adapter) is None
    parts = make_checkpoint(tmp_path / "checkpoint-2")
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        shutil.copy(parts / "model.safetensors", parts / name)
    (parts / "model.safetensors").unlink()
    index = {"weight_map": dict(zip("ab", names, strict=True))}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    assert trouble(parts) is None
    (parts / names[1]).unlink()
    assert trouble(parts) == f"{names[1]} is missing"


def test_deepspeeds_checkpoint_has_its_own_files(tmp_path: Path) -> None:
    """Weights, optimizer and schedule are in a folder that `latest` names; the trainer writes none of its own."""
    from acetrain._checkpoints import trouble

    folder = make_checkpoint(tmp_path / "checkpoint-4")
    inner = folder / "global_step4"
    inner.mkdir()
    shutil.move(folder / "optimizer.pt", inner / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    shutil.move(folder / "scheduler.pt", inner / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    (folder / "model.safetensors").unlink()
    (folder / "zero_to_fp32.py").write_text("")
    (folder / "latest").write_text("global_step4")
    assert trouble(folder) is None
    file = inner / "zero_pp_rank_0_mp_rank_00_model_states.pt"
    file.write_bytes(file.read_bytes()[:300])
    assert trouble(folder) == "global_step4/zero_pp_rank_0_mp_rank_00_model_states.pt is cut"
    shutil.rmtree(inner)
    assert trouble(folder) == "DeepSpeed's folder global_step4 is missing or empty"


def test_every_process_needs_its_random_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acetrain._checkpoints import checkpoints, last_whole, trouble

    folder = make_checkpoint(tmp_path / "checkpoint-4")
    # Written by one process: four have nothing to go on with.
    assert trouble(folder, 4) == "rng_state_0.pth is missing, and 4 processes are to go on"
    assert trouble(folder, 1) is None
    for rank in range(4):
        shutil.copy(folder / "rng_state.pth", folder / f"rng_state_{rank}.pth")
    (folder / "rng_state.pth").unlink()
    assert [trouble(folder, processes) for processes in (1, 2, 4)] == [None, None, None]
    monkeypatch.setenv("WORLD_SIZE", "8")
    found, said = last_whole(tmp_path)
    assert found is None and said[0].endswith("rng_state_4.pth is missing, and 8 processes are to go on")
    (tmp_path / "checkpoint-old-12").mkdir()  # somebody's copy
    assert checkpoints(tmp_path) == [folder]


# ---- recipes ----


def test_every_shipped_recipe_can_be_written_out_whole_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from acetrain._cli import main
    from acetrain._rl._recipe import shipped_recipes

    for name in shipped_recipes():
        assert main(["rl", name, "--show"]) == 0
        shown = capsys.readouterr().out
        (tmp_path / "whole.yaml").write_text(shown)
        assert main(["rl", str(tmp_path / "whole.yaml"), "--show"]) == 0, name
        assert capsys.readouterr().out == shown


def test_what_is_given_and_ignored_is_still_refused() -> None:
    from acetrain._rl._recipe import parse_recipe

    for change in ("reward.std=2.0", "rollout.vllm_memory=0.5", "reward.watch=true"):
        with pytest.raises(RecipeError, match="means nothing with"):
            parse_recipe(TEXT, changes=[change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("run.seed=-1", "run.seed is -1; expected at least 0"),
        ("run.seed=4294967296", "run.seed is 4294967296; expected at most 4294967295"),
        ("policy.tiny.seed=-1", "policy.tiny.seed is -1; expected at least 0"),
        ("run.threads=100000000000", "run.threads is 100000000000; expected at most 1024"),
        ("reward.limits={memory_mb: .inf}", "reward.limits.memory_mb is inf; expected a finite number"),
        ("reward.limits={memory_mb: .nan}", "reward.limits.memory_mb is nan; expected a finite number"),
        ("reward.limits={processes: 1.9}", "reward.limits.processes is 1.9; expected a whole number"),
        ("reward.overlong=[10.5, 20, 1]", "reward.overlong must be [soft, hard, penalty] with whole numbers"),
        ("reward.overlong=[10, 20.7, 1]", "reward.overlong must be [soft, hard, penalty] with whole numbers"),
    ],
)
def test_a_value_that_would_end_in_a_traceback_later_is_refused(change: str, message: str) -> None:
    from acetrain._rl._recipe import parse_recipe

    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_recipe(TEXT, changes=[change])
    assert parse_recipe(TEXT, changes=["reward.overlong=[10, 20.0, 1]", "run.seed=4294967295"])


def test_a_mistake_of_the_file_is_the_files_with_settings_on_the_command_line_too(tmp_path: Path) -> None:
    from acetrain._rl._recipe import load_recipe

    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.lstrip().replace("kl: 0.02", "klx: 0.02"))
    line = path.read_text().splitlines().index("  klx: 0.02") + 1
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, ["run.seed=1", "update.passes=0"])
    assert sorted(str(caught.value).splitlines()) == [
        f"{path}:{line}: update.klx is no setting; did you mean kl?",
        "with --set run.seed=1, update.passes=0: update.passes is 0; expected at least 1",
    ]


# ---- policies ----


def test_a_policy_that_cannot_be_trained_is_refused(recipe: Path, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = refused(recipe, out, "policy.attention=nope")
    assert "cannot be trained" in said and "nope" in said
    assert "cannot be trained" in refused(recipe, out, "policy.attention=flash_attention_2")
    said = refused(recipe, out, "policy.lora={modules: [nope]}")
    assert "cannot be trained" in said and "nope" in said
    cut = tmp_path / "cut"
    shutil.copytree(start, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"{cut}: cannot be trained" in refused(recipe, out, f"policy.path={cut}")


def test_a_classifier_is_no_policy(recipe: Path, start: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    judge = tmp_path / "judge"
    shutil.copytree(start, judge)
    AutoModelForSequenceClassification.from_pretrained(start, num_labels=1).save_pretrained(judge)
    said = refused(recipe, tmp_path / "run", f"policy.path={judge}")
    assert re.search(r"judge: is a \w+ForSequenceClassification, which writes no text", said)


# ---- data ----


def rows_of(start: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (start / "questions.jsonl").read_text().splitlines()]


MESSAGES = [{"role": "user", "content": "Q"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, "line 6: column 'prompt' must be a text or messages, not NoneType"),
        ({"prompt": ""}, "line 6: column 'prompt' is empty"),
        ({"prompt": []}, "line 6: column 'prompt' is empty"),
        (
            {"prompt": MESSAGES},
            "line 6: the prompt is messages, and the policy's tokenizer has no chat template",
        ),
        ({"prompt": [{"role": "user"}]}, "line 6: column 'prompt': message 0 has no text as its `content`"),
        ({"prompt": ["Q"]}, "line 6: column 'prompt': message 0 has no text as its `role`"),
        ({"prompt": "Q \ud800"}, "line 6: column 'prompt' holds half a character"),
        ({"test_cases": None}, "line 6: column 'test_cases' must be a JSON list as text, not NoneType"),
        ({"test_cases": [1]}, "line 6: column 'test_cases' must be a list of texts"),
        (
            {"test_cases": ["assert 1"]},
            "line 6: column 'test_cases': the first row has a text, this one a list",
        ),
        (
            {"test_cases": "assert 1"},
            "line 6: the tests are a text that is no JSON list; 1 of 12 questions have no",
        ),
        ({"test_cases": "[]"}, "line 6: the list of tests is empty; 1 of 12 questions"),
        ({"id": 1.5}, "line 6: column 'id' must be a text or a number, not float"),
        ({"shown_tests": "2"}, "line 6: column 'shown_tests' must be a whole number, not str"),
    ],
)
def test_a_row_that_cannot_be_asked_or_paid_for_is_named(
    recipe: Path, start: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    rows = rows_of(start)
    rows[5] |= change
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for prompt in ("given", "r1"):
        said = refused(recipe, tmp_path / "run", f"data.path={bad}", f"data.prompt={prompt}")
        assert said.startswith(f"{bad} {message}")


def test_texts_and_messages_do_not_mix(start: Path, tmp_path: Path) -> None:
    from acetrain._rl._data import load_questions
    from acetrain._rl._recipe import load_recipe
    from tests.train.reward_models import tokenizer

    assert tokenizer().chat_template
    rows = rows_of(start)
    mixed = tmp_path / "mixed.jsonl"
    rows[5]["prompt"] = MESSAGES
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for prompt in ("given", "r1"):
        recipe = load_recipe(recipe_file(tmp_path, start), [f"data.prompt={prompt}"])
        with pytest.raises(
            BadInput, match=r"line 6: column 'prompt': the first row has a text, this one a list"
        ):
            load_questions(recipe, str(mixed), tokenizer())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "no questions"),
        ("blank.jsonl", b"\n\n", "no questions"),
        (
            "broken.jsonl",
            b'{"prompt": "Q", "test_cases": "[\\"assert 1\\"]"}\n{"prompt": "Q',
            "line 2: not JSON",
        ),
        (
            "latin.jsonl",
            b'{"prompt": "Q", "test_cases": "[\\"\xe9\\"]"}\n',
            "line 1: not JSON: 'utf-8' codec",
        ),
        ("recipe.yaml", b"name: small\n", "rows are read from files that end in .parquet, .jsonl"),
        ("recipe.jsonl", b"name: small\n", "line 1: not JSON"),
        ("other.jsonl", b'{"question": "Q"}\n', "line 1: no column 'prompt'; there are question"),
        ("table.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_questions_is_named(
    recipe: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    bad = tmp_path / name
    bad.write_bytes(content)
    said = refused(recipe, tmp_path / "run", f"data.path={bad}")
    assert said.startswith(str(bad)) and message in said


@pytest.mark.parametrize("place", ["nope.jsonl", "nope.parquet", "./nope", "a/b/c", "~/nope", "data/*.jsonl"])
def test_a_path_is_not_asked_of_the_hub(
    recipe: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **options: pytest.fail("the hub was asked"))
    assert refused(recipe, tmp_path / "run", f"data.path={place}") == f"{place}: no such file or folder"


def test_questions_whose_every_test_is_shown_are_refused_where_these_do_not_count(
    recipe: Path, start: Path, tmp_path: Path
) -> None:
    rows = [{**row, "shown_tests": 1} for row in rows_of(start)]
    for row in rows[3:5]:
        row["shown_tests"] = len(json.loads(row["test_cases"]))
    shown = tmp_path / "shown.jsonl"
    shown.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = refused(recipe, tmp_path / "run", f"data.path={shown}", "data.skip_shown=true")
    assert re.search(
        r"shown.jsonl line 4: (\d+) of the \1 tests are shown .*leaves none; 2 of 12 questions", said
    )


def test_a_reward_model_needs_no_usable_tests(start: Path, tmp_path: Path) -> None:
    from acetrain._rl._data import load_questions
    from acetrain._rl._recipe import load_recipe
    from tests.train.reward_models import tokenizer

    rows = [{**row, "test_cases": ""} for row in rows_of(start)]
    path = tmp_path / "none.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = yaml.safe_load(recipe_file(tmp_path, start).read_text())
    values["reward"] = {"kind": "model", "path": "judge"}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(values))
    questions = load_questions(load_recipe(tmp_path / "model.yaml"), str(path), tokenizer())
    assert len(questions.rows) == 12


def test_a_split_that_a_folder_has_not_got_is_named(recipe: Path, start: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(start / "questions.jsonl", data / "train.jsonl")
    changes = (f"data.path={data}", "data.config=null")
    said = refused(recipe, tmp_path / "run", *changes, "data.split=validation")
    assert said == f"{data}: no split 'validation'; there are train"
    run(recipe, tmp_path / "run", *changes)
