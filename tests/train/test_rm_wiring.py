"""From a recipe to the trainer: every setting of a reward model changes what it says, and nothing is dropped.

Each setting is put at a value that is not the base's, and what comes of it is read from what `train` makes of the
whole recipe: the arguments of TRL's trainer, its pairs, its model, the files beside. A setting that no case names fails
a test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from acedata._errors import BadInput, RecipeError
from acedata._formats import answer_text, render
from acetrain._reward_model import _model, _recipe, _report, _train
from acetrain._reward_model._forms import KEY
from acetrain._reward_model._recipe import RewardRecipe, parse_recipe
from acetrain._reward_model._run import FREE
from acetrain._reward_model._train import train
from tests.train.reward_models import tokenizer
from tests.train.test_rl_wiring import leaves

BASE = """
name: small
model: {path: start}
data: {path: pairs.jsonl, held_out: 0.0}
train:
  schedule: linear
  global_batch: 8
  device_batch: 4
  precision: float32
  gradient_checkpointing: false
  cpu: true
"""
QUESTIONS = 20
LONG = 5  # so many of them have a long answer


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and pairs: no model, since no trainer here loads one."""
    home = tmp_path_factory.mktemp("wiring")
    for name in ("start", "other"):
        tokenizer().save_pretrained(home / name)
    rows = [
        {
            "instruction": render("pair-1", f"Question {number}.", ["assert f(1) == 1"]).user,
            "input": "",
            "chosen": answer_text("pair-1", "w1 " * (60 if number < LONG else 2)),
            "rejected": answer_text("pair-1", "w2 w3"),
            "margin": 0.5,
            "id": number,
        }
        for number in range(QUESTIONS)
    ]
    for name in ("pairs", "more"):
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        rows = [*rows, *rows]
    return home


class Trainer:
    """Stands in for `trl.RewardTrainer`: keeps what it is given."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        model = given["model"]
        self.model = SimpleNamespace(config=SimpleNamespace()) if isinstance(model, str) else model
        self.name = model if isinstance(model, str) else None
        self.args, self.peft = given["args"], given["peft_config"]
        self.pairs, self.held = given["train_dataset"], given["eval_dataset"]
        self.state = SimpleNamespace(log_history=[])
        self.accelerator = SimpleNamespace(unwrap_model=lambda model: SimpleNamespace())

    def train(self, resume_from_checkpoint: Any) -> None:
        self.resumed = resume_from_checkpoint

    def remove_callback(self, kind: Any) -> None:
        self.silenced = kind

    def save_model(self, folder: str) -> None:
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").touch()


def run(recipe: RewardRecipe, out: Path, patch: pytest.MonkeyPatch) -> Any:
    """A whole `train` that trains nothing; what its trainer was given, and what was seen on the way."""
    import torch
    import trl
    from transformers import AutoTokenizer

    seen = SimpleNamespace(threads=None, out=out)
    real, read = AutoTokenizer.from_pretrained, _train.read_pairs
    settings = trl.RewardConfig

    class Recorded(Trainer):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            seen.trainer = self

    def arguments(**given: Any) -> Any:
        seen.given = given
        # TRL refuses bf16 where there is no accelerator.
        return settings(**{**given, "bf16": False, "use_cpu": True})

    def from_pretrained(place: str, **options: Any) -> Any:
        seen.tokenizer = {"place": place, **options}
        return real(place)

    def read_pairs(*given: Any, **options: Any) -> Any:
        seen.read = options
        return read(*given, **options)

    patch.setattr(trl, "RewardTrainer", Recorded)
    patch.setattr(trl, "RewardConfig", arguments)
    patch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    patch.setattr(_train, "read_pairs", read_pairs)
    patch.setattr(torch, "set_num_threads", lambda count: setattr(seen, "threads", count))
    patch.setattr(_model, "RewardModel", lambda *given, **options: None)
    patch.setattr(_report, "make_report", lambda *given: {})
    patch.setattr(_report, "write_report", lambda *given: None)
    train(recipe, out)
    trainer = seen.trainer
    trainer.seen = seen
    trainer.card = (out / "model" / "README.md").read_text()
    trainer.launch = yaml.safe_load((out / "accelerate.yaml").read_text())
    trainer.texts = [
        trainer.given["processing_class"].decode(ids) for ids in trainer.pairs["chosen_ids"][LONG : LONG + 2]
    ]
    return trainer


def argument(*names: str) -> Callable[[Any], Any]:
    """Reads the configuration of TRL's trainer."""
    if len(names) == 1:
        return lambda trainer: getattr(trainer.args, names[0])
    return lambda trainer: tuple(getattr(trainer.args, name) for name in names)


def adapter(name: str) -> Callable[[Any], Any]:
    """Reads the adapter's configuration."""
    return lambda trainer: getattr(trainer.peft, name)


def form(name: str) -> Callable[[Any], Any]:
    """Reads what the model keeps of the text that it wants."""
    return lambda trainer: getattr(trainer.model.config, KEY)[name]


def longest(trainer: Any) -> int:
    return max(map(len, trainer.pairs["chosen_ids"]))


@dataclass(frozen=True)
class Case:
    """A setting at a value, beside others that it needs, and what must come of it."""

    setting: str
    value: Any
    expected: Any
    see: Callable[[Any], Any]
    beside: dict[str, Any] = field(default_factory=dict)


SCRATCH = {"model": {"scratch": {"vocabulary": 320, "hidden": 16, "layers": 1, "heads": 2}}}
LORA = {"lora": {"rank": 4}}
HELD = {"data.held_out": 0.4}
GPUS = {"train.cpu": False}
ZERO = {**GPUS, "launch.zero": 2}

CASES = [
    Case("name", "other", True, lambda trainer: re.search(r"^# other\b", trainer.card, re.M) is not None),
    Case("model.path", "other", "other", lambda trainer: Path(trainer.name).name),
    Case("model.path", "other", "other", lambda trainer: Path(trainer.seen.tokenizer["place"]).name),
    Case("model.revision", "abc", "abc", lambda trainer: trainer.args.model_init_kwargs.get("revision")),
    Case("model.revision", "abc", "abc", lambda trainer: trainer.seen.tokenizer["revision"]),
    Case("model.load", "bfloat16", "bfloat16", lambda trainer: trainer.args.model_init_kwargs["dtype"]),
    Case("model.scratch.vocabulary", 330, 330, lambda trainer: trainer.model.config.vocab_size, SCRATCH),
    Case("model.scratch.hidden", 32, 32, lambda trainer: trainer.model.config.hidden_size, SCRATCH),
    Case("model.scratch.layers", 3, 3, lambda trainer: trainer.model.config.num_hidden_layers, SCRATCH),
    Case("model.scratch.heads", 4, 4, lambda trainer: trainer.model.config.num_attention_heads, SCRATCH),
    # The pairs.
    Case("data.path", "more.jsonl", 2 * QUESTIONS, lambda trainer: len(trainer.pairs)),
    Case("data.split", "test", "test", lambda trainer: trainer.seen.read["split"]),
    Case("data.revision", "abc", "abc", lambda trainer: trainer.seen.read["revision"]),
    Case("data.format", "raw", "raw", form("format")),
    Case("data.format", "raw", True, lambda trainer: len(trainer.texts[0]) < 100),
    Case("data.template", "plain", "plain", form("template")),
    Case("data.template", "plain", True, lambda trainer: "<|im_start|>" not in trainer.texts[0]),
    Case("data.max_length", 60, 60, longest),
    Case("data.too_long", "drop", QUESTIONS - LONG, lambda trainer: len(trainer.pairs), {"data.max_length": 70}),
    Case("data.held_out", 0.4, True, lambda trainer: len(trainer.held or ()) + len(trainer.pairs) == QUESTIONS
         and 3 <= len(trainer.held or ()) <= 13),
    Case("data.margin", "pass_rates", [0.5] * QUESTIONS, lambda trainer: trainer.pairs.to_dict().get("margin")),
    Case("data.margin_scale", 3.0, [1.5] * QUESTIONS, lambda trainer: trainer.pairs.to_dict().get("margin"),
         {"data.margin": "pass_rates"}),
    Case("data.margin_scale", 3.0, {1.5}, lambda trainer: set(trainer.held["margin"]),
         {"data.margin": "pass_rates", **HELD}),
    Case("data.limit", 7, 7, lambda trainer: len(trainer.pairs)),
    # The training.
    Case("train.epochs", 2.5, 2.5, argument("num_train_epochs")),
    Case("train.learning_rate", 0.003, 0.003, argument("learning_rate")),
    Case("train.schedule", "cosine", "cosine", argument("lr_scheduler_type")),
    Case("train.schedule", "constant_with_warmup", "constant_with_warmup", argument("lr_scheduler_type")),
    Case("train.warmup", 0.25, 0.25, argument("warmup_steps")),
    Case("train.weight_decay", 0.1, 0.1, argument("weight_decay")),
    Case("train.max_grad_norm", 0.5, 0.5, argument("max_grad_norm")),
    Case("train.max_grad_norm", 0.5, 0.5, lambda trainer: trainer.launch["deepspeed_config"]["gradient_clipping"],
         ZERO),
    Case("train.global_batch", 16, (4, 4), argument("per_device_train_batch_size", "gradient_accumulation_steps")),
    Case("train.global_batch", 16, 4,
         lambda trainer: trainer.launch["deepspeed_config"]["gradient_accumulation_steps"], ZERO),
    Case("train.device_batch", 2, (2, 2, 4), argument(
        "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")),
    Case("train.precision", "bf16", (True, "bf16"),
         lambda trainer: (trainer.seen.given["bf16"], trainer.launch["mixed_precision"]), GPUS),
    Case("train.gradient_checkpointing", True, True,
         lambda trainer: trainer.seen.given["gradient_checkpointing"]),
    Case("train.cpu", False, (False, True, False), lambda trainer: (
        trainer.seen.given["use_cpu"], trainer.seen.given["dataloader_pin_memory"], trainer.launch["use_cpu"])),
    Case("train.threads", 3, 3, lambda trainer: trainer.seen.threads),
    Case("train.log_steps", 7, 7, argument("logging_steps")),
    Case("train.save_steps", 7, ("steps", 7), argument("save_strategy", "save_steps")),
    Case("train.keep", 7, 7, argument("save_total_limit")),
    Case("train.eval_steps", 7, ("steps", 7), argument("eval_strategy", "eval_steps"), HELD),
    Case("train.report_to", ["dvclive", "wandb"], ["dvclive", "wandb"], argument("report_to")),
    Case("train.seed", 7, 7, argument("seed")),
    # The adapter.
    Case("lora.rank", 3, 3, adapter("r"), LORA),
    Case("lora.alpha", 7.0, 7.0, adapter("lora_alpha"), LORA),
    Case("lora.modules", ["q_proj"], {"q_proj"}, adapter("target_modules"), LORA),
    # The launch file.
    Case("launch.gpus", 2, (2, "MULTI_GPU"), lambda trainer: (
        trainer.launch["num_processes"], trainer.launch["distributed_type"]), GPUS),
    Case("launch.zero", 3, ("DEEPSPEED", 3), lambda trainer: (
        trainer.launch["distributed_type"], trainer.launch.get("deepspeed_config", {}).get("zero_stage")), GPUS),
]  # fmt: skip
# Only one value is taken; see the test of refusals.
REFUSED = {"lora.dropout"}


def recipe_of(home: Path, *settings: dict[str, Any]) -> RewardRecipe:
    """The base with other settings; a group of settings goes before one in it."""
    values = yaml.safe_load(BASE)
    for name, value in (pair for one in settings for pair in one.items()):
        *groups, last = name.split(".")
        group = values
        for part in groups:
            group = group.setdefault(part, {})
        group[last] = dict(value) if isinstance(value, dict) else value
    return parse_recipe(yaml.safe_dump(values), home / "recipe.yaml")


def test_a_case_names_every_setting() -> None:
    named = {case.setting for case in CASES} | REFUSED
    assert set(leaves(RewardRecipe)) - named == set(), "no case shows what these settings do"
    assert named - set(leaves(RewardRecipe)) == set(), "these are no settings any more"


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{number}-{case.setting}") for number, case in enumerate(CASES)]
)
def test_a_setting_changes_what_it_says(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    monkeypatch.setattr(_recipe, "find_spec", lambda module: object())
    found = []
    for name, settings in (("without", {}), ("with", {case.setting: case.value})):
        with monkeypatch.context() as patch:
            found.append(case.see(run(recipe_of(home, case.beside, settings), tmp_path / name, patch)))
    assert found[1] == case.expected
    assert found[0] != case.expected, "the base has it already, so nothing was shown"


def test_a_model_from_nothing_has_the_weights_of_its_seed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []
    for number, seed in enumerate((1, 2, 2)):
        with monkeypatch.context() as patch:
            trainer = run(recipe_of(home, SCRATCH, {"train.seed": seed}), tmp_path / str(number), patch)
        heads.append(trainer.model.score.weight.flatten().tolist())
    assert heads[0] != heads[1] == heads[2]


def test_without_a_margin_without_held_out_questions_and_without_an_adapter_the_trainer_gets_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = run(recipe_of(home), tmp_path / "out", monkeypatch)
    assert trainer.pairs.column_names == ["chosen_ids", "rejected_ids"]
    assert trainer.held is None and trainer.args.eval_strategy == "no"
    assert trainer.peft is None and trainer.resumed is None
    assert trainer.args.max_length is None and trainer.args.report_to == []


def test_the_margin_of_a_recipe_is_in_the_loss_of_a_real_training(home: Path, tmp_path: Path) -> None:
    """A model without any difference between two answers: its loss is log(1 + e^margin)."""
    import math

    losses = []
    for margin in ({}, {"data.margin": "pass_rates", "data.margin_scale": 4.0}):
        settings = {
            "train.epochs": 0.01,
            "train.log_steps": 1,
            "train.learning_rate": 1e-9,
            "train.threads": 1,
        }
        out = tmp_path / str(len(losses))
        train(recipe_of(home, SCRATCH, {"data.format": "raw"}, settings, margin), out)
        losses.append(json.loads((out / "log.json").read_text())[0]["loss"])
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)
    assert losses[1] == pytest.approx(math.log(1 + math.exp(2.0)), abs=0.1)


# ---- settings that are refused ----


def test_a_dropout_that_trl_turns_off_is_refused_on_its_line(home: Path) -> None:
    from trl import RewardConfig

    assert RewardConfig.__dataclass_fields__["disable_dropout"].default is True
    said = "lora.dropout is 0.1; expected 0.0: TRL's reward trainer turns dropout off"
    with pytest.raises(RecipeError, match=re.escape(said)):
        recipe_of(home, LORA, {"lora.dropout": 0.1})
    recipe_of(home, LORA, {"lora.dropout": 0.0})


def test_a_reporter_that_is_not_installed_is_refused_before_anything_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recipe, "find_spec", lambda module: None)
    said = "train.report_to has tensorboard, and there is no package tensorboard or tensorboardX; install it"
    with pytest.raises(BadInput, match=re.escape(said)):
        train(recipe_of(home, {"train.report_to": ["tensorboard"]}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RecipeError, match=r"train.report_to.* is 'all'; expected azure_ml or "):
        recipe_of(home, {"train.report_to": ["all"]})


def test_a_reporter_is_told_what_is_logged(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import TrainerCallback
    from transformers.integrations import integration_utils

    told: list[dict[str, Any]] = []

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            told.append(dict(logs))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "dvclive", Reporter)
    monkeypatch.setattr(_recipe, "find_spec", lambda module: object())
    settings = {"train.epochs": 0.01, "train.log_steps": 1, "train.threads": 1, "data.format": "raw"}
    train(recipe_of(home, SCRATCH, settings, {"train.report_to": ["dvclive"]}), tmp_path / "out")
    assert any("loss" in logs for logs in told)


def test_who_is_told_may_change_on_resume() -> None:
    assert "train.report_to" in FREE and set(leaves(RewardRecipe)) >= FREE
