"""What goes wrong around reward models: runs that are killed and go on, folders that two runs want, models and texts
that are not what they should be. Each is one sentence that names the place, and nothing that was finished is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers.utils import logging as hf_logging

from acedata._errors import BadInput, RecipeError
from acetrain import RewardModel
from acetrain._cli import main
from acetrain._reward_model import _files, _train
from acetrain._reward_model._forms import Form
from acetrain._reward_model._model import convert_model
from acetrain._reward_model._pairs import Counts, read_pairs
from acetrain._reward_model._recipe import load_recipe, parse_recipe
from acetrain._reward_model._train import train
from tests.train.reward_models import config_of, published
from tests.train.test_reward_training import MINIMAL, rows, written

# Six updates, the last one in the middle of the second time through the pairs, all at one learning rate: an update more
# or less is another model.
RECIPE = """
name: small
model: {{scratch: {{vocabulary: 400, hidden: 16, layers: 1, heads: 2}}}}
data: {{path: {pairs}, max_length: 1024, too_long: drop, held_out: 0.1}}
train:
  epochs: 1.5
  learning_rate: 0.003
  schedule: constant
  global_batch: 16
  device_batch: 16
  precision: float32
  gradient_checkpointing: false
  cpu: true
  threads: 1
  log_steps: 2
  save_steps: 2
"""


@pytest.fixture(autouse=True, scope="module")
def offline() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield
    torch.set_num_threads(before)
    hf_logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "rr.yaml").write_text(
        RECIPE.format(pairs=json.dumps(written(folder / "pairs.jsonl", rows(22))))
    )
    return folder / "rr.yaml"


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert train(load_recipe(recipe), out) is not None
    assert {path.name for path in out.glob("checkpoint-*")} == {
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-6",
    }
    return out


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> Path:
    """The same run, killed after its last checkpoint."""
    return Path(
        shutil.copytree(
            whole, tmp_path / "stopped", ignore=shutil.ignore_patterns("model", "report.*", "log.json")
        )
    )


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


# ---- folders ----


@pytest.mark.parametrize("prepare", [False, True])
def test_a_folder_with_checkpoints_is_not_taken_by_another_run(
    recipe: Path, stopped: Path, prepare: bool
) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    for given in (load_recipe(recipe), load_recipe(recipe, train__learning_rate=0.5)):
        with pytest.raises(BadInput, match="holds checkpoints of a run; --resume goes on with it"):
            train(given, stopped, prepare=prepare)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_run_that_was_refused_leaves_its_folder_to_another(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "7")
        with pytest.raises(BadInput, match="no multiple"):
            train(load_recipe(recipe), out)
    assert not out.exists() or not any(out.iterdir())


def test_a_run_whose_trainer_saved_no_weights_has_no_model(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def saves_nothing(self: Any, folder: str | None = None, *rest: Any, **named: Any) -> None:
        Path(str(folder)).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(transformers.Trainer, "save_model", saves_nothing)
    with pytest.raises(BadInput, match="saved no weights that can be loaded"):
        train(load_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


def test_a_prepared_folder_is_trained_in_with_its_recipe_and_prepared_anew_for_another(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    train(load_recipe(recipe), out, prepare=True)
    other = load_recipe(recipe, train__seed=7)
    with pytest.raises(BadInput, match=r"was prepared with train\.seed: 42, not 7; --prepare with this"):
        train(other, out)
    train(other, out, prepare=True)
    assert load_recipe(out / "recipe.yaml").train.seed == 7
    monkeypatch.setattr(_train, "make_trainer", lambda *given, **options: pytest.fail("here it trains"))
    with pytest.raises(pytest.fail.Exception, match="here it trains"):
        train(other, out)


def test_what_prepare_says_to_run_has_the_pairs_and_the_model_that_were_given(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, pairs = tmp_path / "an out", written(tmp_path / "other.jsonl", rows(12))
    assert main(["rm", "train", str(recipe), "--pairs", pairs, "--out", str(out), "--prepare"]) == 0
    said = capsys.readouterr().err
    [command] = [line for line in said.splitlines() if line.startswith("accelerate launch")]
    import shlex

    words = shlex.split(command)
    arguments = words[words.index("acetrain._cli") + 1 :]
    assert load_recipe(arguments[2]).data.path == pairs
    assert arguments[3:] == ["--out", str(out)]
    assert main([*arguments, "--prepare"]) == 0  # it is taken as it stands


# ---- runs that were killed ----


def test_a_run_killed_while_it_writes_its_model_goes_on(
    recipe: Path, whole: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerBase

    real = PreTrainedTokenizerBase.save_pretrained

    def killed(self: Any, folder: Any, *given: Any, **options: Any) -> Any:
        if Path(folder).name.startswith("model"):
            raise KeyboardInterrupt
        return real(self, folder, *given, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PreTrainedTokenizerBase, "save_pretrained", killed)
        train(load_recipe(recipe), stopped, resume=True)
    assert not (stopped / "model").exists()
    (stopped / "model.part" / "of-before.bin").write_bytes(b"left over")
    assert train(load_recipe(recipe), stopped, resume=True) is not None
    assert weights(stopped) == weights(whole)
    assert not (stopped / "model" / "of-before.bin").exists() and not (stopped / "model.part").exists()


def test_a_run_that_has_its_model_gets_what_else_is_missing(
    recipe: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out, ignore=shutil.ignore_patterns("report.*", "log.json", "README.md"))
    before = {path: path.read_bytes() for path in (out / "model").iterdir()}
    monkeypatch.setattr(_train, "make_trainer", lambda *given, **options: pytest.fail("it trains"))
    with pytest.raises(BadInput, match="a model is not trained over another, and --resume makes"):
        train(load_recipe(recipe), out)
    with pytest.raises(BadInput, match=r"was begun with train\.seed: 42, not 7"):
        train(load_recipe(recipe, train__seed=7), out, resume=True)
    report = train(load_recipe(recipe), out, resume=True)
    first = json.loads((whole / "report.json").read_text())
    assert report is not None and report["accuracy"] == first["accuracy"] and report["pairs"] > 0
    assert report["loss"] == pytest.approx(first["loss"], abs=1e-6)
    assert {path.name for path in whole.iterdir()} == {path.name for path in out.iterdir()}
    assert [line["step"] for line in json.loads((out / "log.json").read_text()) if "loss" in line] == [
        2,
        4,
        6,
    ]
    assert {path: path.read_bytes() for path in before} == before
    assert "format `pair-1`" in (out / "model" / "README.md").read_text()
    said: list[str] = []
    monkeypatch.setattr(_train, "read_pairs", lambda *given, **options: pytest.fail("it reads"))
    assert train(load_recipe(recipe), out, resume=True, say=said.append) == report
    assert said == [f"{out}: was finished before"]


def test_a_run_that_made_its_last_update_makes_no_other(recipe: Path, whole: Path, stopped: Path) -> None:
    said: list[str] = []
    report = train(load_recipe(recipe), stopped, resume=True, say=said.append)
    assert weights(stopped) == weights(whole)
    assert report == json.loads((whole / "report.json").read_text())
    assert f"going on from {stopped / 'checkpoint-6'}" in said
    steps = [line["step"] for line in json.loads((stopped / "log.json").read_text())]
    assert max(steps) == 6
    assert not (stopped / "checkpoint-7").exists()


def test_checkpoints_that_are_not_whole_are_passed_over_and_said_so(
    recipe: Path, whole: Path, stopped: Path
) -> None:
    (stopped / "checkpoint-6" / "optimizer.pt").unlink()
    cut = stopped / "checkpoint-4" / "model.safetensors"
    os.truncate(cut, cut.stat().st_size // 2)
    said: list[str] = []
    assert train(load_recipe(recipe), stopped, resume=True, say=said.append) is not None
    told = [line for line in said if "checkpoint-" in line]
    assert [line.partition(": ")[0] for line in told[:2]] == [
        str(stopped / "checkpoint-6"),
        str(stopped / "checkpoint-4"),
    ]
    assert "optimizer.pt is missing" in told[0] and "model.safetensors is cut" in told[1]
    assert told[2] == f"going on from {stopped / 'checkpoint-2'}"
    assert weights(stopped) == weights(whole)


def test_a_run_starts_again_over_a_checkpoint_that_was_never_finished_and_over_no_other(
    recipe: Path, whole: Path, stopped: Path
) -> None:
    for name in (4, 6):
        shutil.rmtree(stopped / f"checkpoint-{name}")
    (stopped / "checkpoint-2" / "scheduler.pt").unlink()
    with pytest.raises(BadInput, match="no checkpoint is whole"):
        train(load_recipe(recipe), stopped, resume=True)
    # One that was never finished costs nothing.
    (stopped / "checkpoint-2" / "trainer_state.json").unlink()
    said: list[str] = []
    train(load_recipe(recipe), stopped, resume=True, say=said.append)
    assert "no checkpoint is whole: from the start" in said
    assert weights(stopped) == weights(whole)


def test_only_the_newest_checkpoints_are_kept_where_the_recipe_says_so(recipe: Path, tmp_path: Path) -> None:
    train(load_recipe(recipe, train__keep=1), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-6"]


def test_a_training_says_its_progress_to_standard_error_and_leaves_no_card_of_another(
    recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hf_logging.enable_progress_bar()
    datasets.enable_progress_bars()
    assert main(["rm", "train", str(recipe), "--out", str(tmp_path / "out")]) == 0
    out, err = capfd.readouterr()
    assert "held-out pairs" in out and "loss" not in out
    assert re.search(r"^step 6 of 6: loss 0\.\d{4}, right in \d+\.\d % of the training pairs$", err, re.M)
    assert "%|" not in err and "it/s" not in err  # a bar
    assert not (tmp_path / "out" / "README.md").exists()


# ---- models that are none ----


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`classifier`, `adapter` on it, and `published`, from which it was made."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    place = tmp_path_factory.mktemp("models")
    published(place / "published", 3.0, kind="qwen3", seed=2)
    convert_model(place / "published", place / "classifier", "classification")
    base = AutoModelForSequenceClassification.from_pretrained(place / "classifier", dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        adapter = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"]))
    adapter.save_pretrained(place / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(place / "classifier" / name, place / "adapter" / name)
    return place


def file_with(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def config_with(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        there = json.loads((folder / name).read_text())
        there |= values
        (folder / name).write_text(json.dumps({key: one for key, one in there.items() if one is not None}))

    return change


def tensors_with(file: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(folder / file)
        change(found)
        save_file(found, folder / file, metadata={"format": "pt"})

    return changed


def without_head(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if "score" in name]:
        del tensors[name]


def cut(file: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / file, (folder / file).stat().st_size - 100)


ADAPTER, WEIGHTS = "adapter_config.json", "model.safetensors"
WRONG = [
    ("adapter", config_with(ADAPTER, task_type="CAUSAL_LM"), "task_type is 'CAUSAL_LM'; expected 'SEQ_CLS'"),
    ("adapter", tensors_with("adapter_model.safetensors", without_head), "the adapter's weights hold no head"),
    ("adapter", cut("adapter_model.safetensors"), "adapter_model.safetensors: cannot be read"),
    ("adapter", file_with(ADAPTER, "{"), "adapter_config.json: cannot be read"),
    ("adapter", file_with(ADAPTER, "[]"), "adapter_config.json: must be an object, not list"),
    ("adapter", config_with(ADAPTER, base_model_name_or_path=None), "adapter_config.json: names no base model"),
    ("adapter", config_with(ADAPTER, r=4), "cannot be loaded: RuntimeError: Error"),
    ("adapter", file_with("acetrain_reward.json", "7"), "acetrain_reward.json: must be an object, not int"),
    (
        "classifier",
        tensors_with(WEIGHTS, lambda found: found.update({"score.weight": torch.zeros(2, 32)})),
        "score.weight is (2, 32), not that of one score",
    ),
    (
        "classifier",
        tensors_with(WEIGHTS, lambda found: found.update({"model.norm.weight": torch.zeros(7)})),
        "cannot be loaded: RuntimeError",
    ),
    (
        "published",
        tensors_with(WEIGHTS, lambda found: found.update({"v_head.summary.weight": torch.zeros(2, 32)})),
        "v_head.summary.weight is (2, 32), not that of one score",
    ),
    (
        "published",
        tensors_with(WEIGHTS, lambda found: found.update({"v_head.summary.bias": torch.zeros(2)})),
        "v_head.summary.bias is (2,), not one number",
    ),
    ("classifier", config_with("config.json", model_type="zebra"), "cannot be loaded: "),
    ("classifier", config_with("config.json", model_type=None), "cannot be loaded: "),
    ("classifier", config_with("config.json", hidden_size="wide"), "cannot be loaded: "),
    ("classifier", file_with("config.json", "[]"), "config.json: must be an object, not list"),
    ("classifier", config_with("config.json", architectures=5), "config.json: architectures is 5; expected a list"),
    ("classifier", config_with("config.json", acetrain_reward=[1]), "acetrain_reward must be an object, not list"),
    (
        "classifier",
        config_with("config.json", acetrain_reward={"bias": float("nan")}),
        "bias of acetrain_reward must be a finite number",
    ),
    ("classifier", file_with("tokenizer.json", "{"), "has no tokenizer: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "change", "said"), [pytest.param(*one, id=f"{n}-{one[0]}") for n, one in enumerate(WRONG)]
)
def test_a_model_that_is_none_is_one_sentence(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    change: Callable[[Path], None],
    said: str,
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(models / kind, folder)
    change(folder)
    file = written(tmp_path / "answers.jsonl", [{"text": "w1 w2"}])
    assert main(["rm", "score", str(folder), file, "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1
    assert str(folder) in err
    # Conversion reads less of it, and may find nothing wrong; where it does, it leaves nothing.
    to = "published" if kind == "classifier" else "classification"
    code = main(["rm", "convert", str(folder), str(tmp_path / "out"), "--to", to])
    assert code in (0, 2) and (tmp_path / "out").exists() == (code == 0)


def test_an_adapter_is_loaded_without_a_warning(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "answers.jsonl", [{"text": "w1 w2"}])
    assert main(["rm", "score", str(models / "adapter"), file, "--device", "cpu"]) == 0
    assert "Warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--dtype", "int8"],
            "dtype 'int8' is not one that is scored in; expected float32, bfloat16, float16",
        ),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used on this machine: "),
        (["--device", "potato"], "device 'potato' cannot be used on this machine: RuntimeError: "),
        (["--device", "meta"], "device 'meta' cannot be used on this machine: "),
    ],
)
def test_a_type_or_a_device_that_there_is_not_is_one_sentence(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    file = written(tmp_path / "answers.jsonl", [{"text": "w1 w2"}])
    assert main(["rm", "score", str(models / "classifier"), file, *words]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


# ---- texts ----


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"text": ""}', "answers.jsonl:1100: the text is empty"),
        ('{"text": "\\ud800"}', "answers.jsonl:1100: holds half of a surrogate pair (\\ud800 to \\udfff)"),
        ('{"question": "\\udfff", "program": "x"}', "answers.jsonl:1100: holds half of a surrogate pair"),
        (
            '{"messages": [{"role": "tool", "content": "w1"}]}',
            "answers.jsonl:1100: the tokenizer's chat template does not take it: TemplateError: no tools",
        ),
    ],
)
def test_a_text_without_a_score_is_named_by_its_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str, said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models / "classifier", folder)
    template = folder / "chat_template.jinja"
    template.write_text(
        "{% if messages[0].role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
        + template.read_text()
    )
    file = tmp_path / "answers.jsonl"
    file.write_text('{"text": "w1"}\n' * 1099 + row + "\n")
    assert main(["rm", "score", str(folder), str(file), "--device", "cpu"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert said in err[-1] and len(err) == 2  # what is loaded, and the trouble
    with pytest.raises(BadInput, match="conversation 1: the tokenizer's chat template does not take it"):
        chats = [[{"role": role, "content": "w1"}] for role in ("user", "tool")]
        RewardModel.load(folder, device="cpu").score(chats)


# Pairs in words that the small models know.
WORDS = [
    {"instruction": f"w{number} w2", "input": "", "chosen": f"w3 w{number}", "rejected": "w4"}
    for number in (7, 8, 9)
]


def test_scores_that_are_no_numbers_are_null_and_no_report(
    models: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models / "classifier", folder)
    config_with("config.json", acetrain_reward={"format": "pair-1"})(folder)
    tensors_with(WEIGHTS, lambda found: found["score.weight"].fill_(float("nan")))(folder)
    file = written(tmp_path / "answers.jsonl", [{"text": "w1", "id": 3}, {"text": "w2"}])
    assert main(["rm", "score", str(folder), file, "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert out == '{"id": 3, "score": null}\n{"score": null}\n'
    assert "2 of 2 scores are no finite numbers" in err
    pairs = written(tmp_path / "pairs.jsonl", WORDS)
    assert main(["rm", "report", str(folder), "--pairs", pairs, "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and f"there is no report: 6 of 6 scores (all pairs of {pairs}) are no" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": "\ud800"}, "line 2: chosen holds half of a surrogate pair"),
        ({"input": 5}, "line 2: input is 5; expected text"),
        ({"input": {"a": 1}}, "line 2: input is {'a': 1}; expected text"),
    ],
)
def test_a_pair_of_something_else_than_text_is_named(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    lines = rows(1)
    lines[1] |= change
    with pytest.raises(BadInput, match=re.escape(said)):
        read_pairs(written(tmp_path / "p.jsonl", lines), Form("pair-1"), 0.0, Counts())


def test_an_input_is_text_beneath_the_instruction(tmp_path: Path) -> None:
    lines = rows(1)
    lines[0]["input"], lines[1]["input"] = "more", None
    kept, _ = read_pairs(written(tmp_path / "p.jsonl", lines), Form("pair-1"), 0.0, Counts())
    assert [pair.question for pair in kept[:2]] == [
        lines[0]["instruction"] + "\nmore",
        lines[1]["instruction"],
    ]


def test_a_model_that_cannot_be_trained_on_is_one_sentence(
    recipe: Path, models: Path, tmp_path: Path
) -> None:
    text = re.sub(r"model: .*", "model: {path: MODEL}", recipe.read_text())
    text = re.sub(r"path: .*jsonl\"", f"path: {written(tmp_path / 'pairs.jsonl', WORDS)}", text)
    text = text.replace("held_out: 0.1", "held_out: 0.0")

    def refused(change: Callable[[Path], None], said: str) -> None:
        folder = tmp_path / said[:8].replace(" ", "-")
        shutil.copytree(models / "classifier", folder)
        change(folder)
        given = parse_recipe(text.replace("MODEL", str(folder)), tmp_path / "recipe.yaml")
        with pytest.raises(BadInput, match=re.escape(f"{folder}: {said}")) as caught:
            train(given, tmp_path / f"{folder.name} out")
        assert "\n" not in str(caught.value)

    refused(lambda folder: (folder / "chat_template.jinja").unlink(), "the tokenizer has no chat template")
    refused(file_with("tokenizer.json", "{"), "has no tokenizer: ")
    refused(
        tensors_with(WEIGHTS, lambda found: found.update({"model.norm.weight": torch.zeros(7)})),
        "cannot be trained on: RuntimeError: ",
    )


def test_why_no_pair_is_left(models: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "pairs.jsonl", [{**one, "rejected": one["chosen"] + " "} for one in WORDS])
    text = f"name: x\nmodel: {{path: {models / 'classifier'}}}\ndata: {{path: {source}, held_out: 0.0}}\n"
    with pytest.raises(
        BadInput, match=r"no pair is left: 0 with a text of over 2,048 tokens .* 3 dropped as the same"
    ):
        train(parse_recipe(text), tmp_path / "out")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(RecipeError, match=rf"train\.seed is {seed}; expected "):
        parse_recipe(f"{MINIMAL}train:\n  seed: {seed}\n")


# ---- commands ----


def test_pairs_that_are_not_there_are_not_looked_for_in_a_setting_that_there_is_not(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rm", "train", str(recipe), "--pairs", "nope.jsonl", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "there is no file nope.jsonl" in err and "from: hub" not in err


def test_a_report_asks_for_what_it_needs_before_it_loads_a_model(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RewardModel, "load", lambda *given, **options: pytest.fail("it loads"))
    for words, said in (
        (["--recipe", str(tmp_path / "none.yaml")], "none.yaml: there is no such recipe"),
        (["--recipe", str(recipe), "--max-length", "64"], "--max-length"),
        (["--recipe", str(recipe), "--pairs", "p.jsonl"], "--recipe"),
    ):
        assert main(["rm", "report", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err


# ---- conversion ----


def test_a_conversion_that_fails_leaves_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    other = tmp_path / "other"
    shutil.copytree(models / "published", other)
    tensors_with(WEIGHTS, lambda found: found.update({"lm_head.weight": torch.zeros(70, 32)}))(other)
    with pytest.raises(BadInput, match=r"lm_head.weight is \(70, 32\); expected \(64, 32\)"):
        convert_model(models / "classifier", out, "published", lm_head=str(other))
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(_files, "_pad_id", lambda folder: (_ for _ in ()).throw(OSError("no space left")))
        for there in (False, True):
            if there:
                out.mkdir()
            with pytest.raises(OSError, match="no space left"):
                convert_model(models / "published", out, "classification")
            assert not out.exists() if not there else not any(out.iterdir())
    # Of one that was killed something is left, which the next one takes away.
    (out / ".part").mkdir()
    (out / ".part" / "left.safetensors").touch()
    convert_model(models / "published", out, "classification")
    assert {path.name for path in out.iterdir()} == {path.name for path in (models / "classifier").iterdir()}
    assert config_of(out) == config_of(models / "classifier")
    assert "# out: reward model" in (out / "README.md").read_text()


def test_an_adapter_becomes_a_classifier_under_its_own_name(models: Path, tmp_path: Path) -> None:
    convert_model(models / "adapter", tmp_path / "mine", "classification")
    assert "# mine: reward model" in (tmp_path / "mine" / "README.md").read_text()
    assert not (tmp_path / "mine" / ".part").exists()
