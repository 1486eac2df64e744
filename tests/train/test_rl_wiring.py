"""From a recipe to the trainer: every setting of reinforcement learning changes what it says, and nothing is dropped.

Each setting is put at a value that is not the base's, and what comes of it is read where it counts: in the
configuration that TRL's trainer gets, in the reward, in the questions. A setting that no case names fails a test too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import acetrain
from acedata import BadInput, RecipeError
from acedata._settings import Settings, settings_in
from acetrain._rl._recipe import RLRecipe, load_recipe, parse_recipe, shipped_recipes
from acetrain._rl._run import FREE

ALGORITHMS = ("grpo", "rloo", "reinforce++")
BASE = """
name: small
algorithm: grpo
policy: {path: start, load: float32}
data: {path: start/questions.jsonl}
reward: {kind: rule, shared: false, workers: 1}
rollout: {questions: 4, programs: 4, prompt_tokens: 400, completion_tokens: 30}
update: {batch: 8, device_batch: 4, schedule: constant, gradient_checkpointing: false}
run: {cpu: true}
"""
QUESTIONS = 12
LONG = 3  # so many of them have long prompts


@pytest.fixture(scope="module", autouse=True)
def quiet_and_no_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        datasets.disable_progress_bars()
        yield
        datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and questions: no model, since no trainer here loads one."""
    from acetrain.demos._tokens import make_tokenizer

    home = tmp_path_factory.mktemp("wiring")
    for name in ("start", "other"):
        make_tokenizer().save_pretrained(home / name)
        rows = [
            {
                "prompt": f"Q: double {number}" + " and 1" * (40 * (number < LONG)),
                "test_cases": '["assert 1"]',
            }
            for number in range(QUESTIONS)
        ]
        rows = [{**row, "shown_tests": 1} for row in rows]
        (home / name / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home


class Trainer:
    """Stands in for TRL's trainers: keeps what it is given."""

    def __init__(self, **given: Any) -> None:
        self.__dict__ |= given

    def remove_callback(self, callback: Any) -> None: ...

    def add_callback(self, callback: Any) -> None:
        self.callback = callback

    def train(self, resume_from_checkpoint: Any) -> None:
        self.resumed = resume_from_checkpoint

    def save_model(self, folder: str) -> None:
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").touch()


class Scorer:
    def score(self, conversations: Any) -> list[float]:
        return [0.0] * len(conversations)


class Built:
    """What a recipe becomes: each piece by the function that `train` calls for it, made when it is looked at."""

    def __init__(self, recipe: RLRecipe, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.recipe, self.folder, self.patch = recipe, folder, patch

    @cached_property
    def arguments(self) -> dict[str, Any]:
        from acetrain._rl._train import _arguments

        return _arguments(self.recipe, self.folder, self.recipe.rollouts(QUESTIONS), 1)

    @cached_property
    def config(self) -> Any:
        from acetrain._rl._train import _kind

        # TRL refuses bf16 where there is no accelerator; `run.cpu` is looked at in the arguments.
        return _kind(self.recipe)[1](**{**self.arguments, "use_cpu": True, "bf16": False})

    @cached_property
    def reward(self) -> Any:
        from acetrain._reward_model._model import RewardModel
        from acetrain._rl._reward import make_reward

        def load(path: Any, **options: Any) -> Any:
            self.loaded = {"path": path, **options}
            return Scorer()

        self.patch.setattr(RewardModel, "load", load)
        return make_reward(self.recipe)

    @cached_property
    def questions(self) -> Any:
        from acetrain._rl._data import load_questions
        from acetrain.demos._tokens import make_tokenizer

        return load_questions(self.recipe, self.recipe.resolve(str(self.recipe.data.path)), make_tokenizer())

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What the hub is asked for."""
        import datasets

        def load_dataset(name: str, config: str | None, **options: Any) -> Any:
            found.update(name=name, config=config, **options)
            return datasets.Dataset.from_list([{"prompt": "Q: 1", "test_cases": '["assert 1"]'}])

        found: dict[str, Any] = {}
        self.patch.setattr(datasets, "load_dataset", load_dataset)
        assert len(self.questions.rows) == 1
        return found

    @cached_property
    def made(self) -> Any:
        """The policy and the questions that are made on the spot: what they are made with."""
        from acetrain._rl import _tiny, _train
        from acetrain.demos._tasks import Task

        made = SimpleNamespace()

        def make_model(tokenizer: Any, seed: int, **sizes: int) -> Any:
            made.seed, made.sizes = seed, sizes
            return SimpleNamespace(save_pretrained=lambda folder: None)

        def supervise(model: Any, tokenizer: Any, demonstrations: Any, steps: int) -> None:
            made.steps = steps
            made.shown = [next(demonstrations) for _ in range(50)]

        self.patch.setattr(_tiny, "make_model", make_model)
        self.patch.setattr(_tiny, "supervise", supervise)
        self.patch.setattr(Task, "wrong_program", lambda task, draw: "wrong")
        made.places = _train._places(self.recipe, self.folder, True, 1, lambda text: None)
        made.questions = Path(made.places[1]).read_text().splitlines()
        return made

    @cached_property
    def trainer(self) -> Any:
        """The trainer of a whole `train`, which trains nothing."""
        import torch
        from transformers import AutoTokenizer

        from acetrain._rl import _train

        real, kind = AutoTokenizer.from_pretrained, _train._kind(self.recipe)[1]
        seen: dict[str, Any] = {"threads": None, "said": []}

        class Recorded(Trainer):
            def __init__(self, **given: Any) -> None:
                super().__init__(**given)
                seen["trainer"] = self

        def from_pretrained(place: str, **options: Any) -> Any:
            seen["tokenizer"] = options
            return real(place, **{**options, "revision": None})

        self.patch.setattr(torch, "set_num_threads", lambda count: seen.update(threads=count))
        self.patch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
        self.patch.setattr(_train, "_kind", lambda recipe: (Recorded, kind))
        _train.train(self.recipe, self.folder / "run", say=seen["said"].append)
        trainer = seen["trainer"]
        trainer.seen = seen
        trainer.card = (self.folder / "run" / "final" / "README.md").read_text()
        return trainer


def argument(*names: str) -> Callable[[Built], Any]:
    """Reads the configuration of TRL's trainer."""
    if len(names) == 1:
        return lambda built: getattr(built.config, names[0])
    return lambda built: tuple(getattr(built.config, name) for name in names)


def paid(name: str) -> Callable[[Built], Any]:
    """Reads the reward."""
    return lambda built: getattr(built.reward, name)


def watching(name: str) -> Callable[[Built], Any]:
    """Reads the rule reward that watches a reward model."""
    return lambda built: getattr(built.reward.watcher, name)


def scored(name: str) -> Callable[[Built], Any]:
    """Reads how the reward model is loaded."""
    return lambda built: built.reward and built.loaded[name]


def adapter(name: str) -> Callable[[Built], Any]:
    """Reads the adapter's configuration."""
    return lambda built: getattr(built.trainer.peft_config, name)


@dataclass(frozen=True)
class Case:
    """A setting at a value, beside others that it needs, and what must come of it."""

    setting: str
    value: Any
    expected: Any
    see: Callable[[Built], Any]
    beside: dict[str, Any] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ("reinforce++",)

    def __str__(self) -> str:
        return self.setting


MODEL = {"reward": {"kind": "model", "path": "start"}}
WATCHED = {"reward": {"kind": "model", "path": "start", "watch": True}}
COLOCATE = {"run.cpu": False, "rollout.engine": "vllm-colocate"}
SERVER = {"run.cpu": False, "rollout.engine": "vllm-server"}
LORA = {"policy.lora": {"rank": 4}}
TINY = {"policy": {"tiny": {"layers": 1}, "load": "float32"}, "data": {"tasks": 3}}
HUB = {"data.path": "someone/questions"}
EVERY = {"algorithms": ALGORITHMS}

CASES = [
    Case("name", "other", True, lambda built: "# other\n" in built.trainer.card),
    Case("algorithm", "grpo", "GRPOTrainer", lambda built: _kind(built)[0].__name__),
    Case("algorithm", "rloo", "RLOOTrainer", lambda built: _kind(built)[0].__name__, algorithms=("grpo",)),
    Case("algorithm", "reinforce++", "ReinforcePPTrainer", lambda built: _kind(built)[0].__name__,
         algorithms=("grpo",)),
    # The policy.
    Case("policy.path", "other", "other", lambda built: Path(built.trainer.model).name),
    Case("policy.path", "other", "other", lambda built: Path(built.trainer.processing_class.name_or_path).name),
    Case("policy.revision", "abc", "abc", lambda built: built.config.model_init_kwargs.get("revision"), **EVERY),
    Case("policy.revision", "abc", "abc", lambda built: built.trainer.seen["tokenizer"]["revision"]),
    Case("policy.load", "bfloat16", "bfloat16", lambda built: built.config.model_init_kwargs["dtype"],
         beside={"run.cpu": False}, **EVERY),
    Case("policy.attention", "flash_attention_2", "flash_attention_2",
         lambda built: built.config.model_init_kwargs.get("attn_implementation"), **EVERY),
    Case("policy.lora.rank", 3, 3, adapter("r"), LORA, **EVERY),
    Case("policy.lora.alpha", 7.0, 7.0, adapter("lora_alpha"), LORA, **EVERY),
    Case("policy.lora.dropout", 0.25, 0.25, adapter("lora_dropout"), LORA, ("grpo", "rloo")),
    Case("policy.lora.modules", ["q_proj"], {"q_proj"}, adapter("target_modules"), LORA, **EVERY),
    Case("policy.tiny.supervised_steps", 7, 7, lambda built: built.made.steps, TINY),
    Case("policy.tiny.right", 1.0, 0, lambda built: sum(said == "wrong" for _, said in built.made.shown), TINY),
    Case("policy.tiny.hidden", 16, 16, lambda built: built.made.sizes["hidden"], TINY),
    Case("policy.tiny.layers", 2, 2, lambda built: built.made.sizes["layers"], TINY),
    Case("policy.tiny.seed", 5, 5, lambda built: built.made.seed, TINY),
    # The questions.
    Case("data.path", "other/questions.jsonl", "other", lambda built: Path(built.made.places[1]).parent.name),
    Case("data.tasks", 5, 5, lambda built: len(built.made.questions), TINY),
    Case("data.config", "trl-rl", "trl-rl", lambda built: built.asked["config"], HUB),
    Case("data.split", "validation", "validation", lambda built: built.asked["split"], HUB),
    Case("data.revision", "abc", "abc", lambda built: built.asked["revision"], HUB),
    Case("data.prompt", "r1", True, lambda built: all("<think>" in one for one in built.questions.rows["prompt"])),
    Case("data.limit", 5, (5, 5), lambda built: (built.questions.found, len(built.questions.rows))),
    Case("data.skip_shown", True, "shown_tests", paid("skip_shown")),
    Case("data.skip_shown", True, "shown_tests", watching("skip_shown"), WATCHED),
    # The reward.
    Case("reward.kind", "model", "ModelReward", lambda built: type(built.reward).__name__,
         {"reward": {"kind": "rule"}, "reward.path": "start"}),
    Case("reward.mode", "pass_rate", "pass_rate", paid("mode")),
    Case("reward.bonus", 0.5, 0.5, paid("bonus")),
    Case("reward.format", 0.1, 0.1, paid("format_reward")),
    Case("reward.overlong", [10, 20, 0.5], (10, 20, 0.5), paid("overlong")),
    Case("reward.unsealed", "zero", "zero", paid("unsealed")),
    Case("reward.unsealed", "unknown", "unknown", watching("unsealed"), WATCHED),
    Case("reward.limits", {"cpu_s": 0.3}, (0.3, 2.0),
         lambda built: (built.reward.limits.cpu_s, built.reward.limits.program_cpu_s)),
    Case("reward.limits", {"cpu_s": 0.3}, 0.3, lambda built: built.reward.watcher.limits.cpu_s, WATCHED),
    Case("reward.workers", 3, 3, paid("workers")),
    Case("reward.workers", 3, 3, watching("workers"), WATCHED),
    Case("reward.shared", True, True, paid("shared")),
    Case("reward.shared", False, False, watching("shared"), WATCHED),
    Case("reward.path", "other", "other", lambda built: built.reward and Path(built.loaded["path"]).name, MODEL),
    Case("reward.revision", "abc", "abc", scored("revision"), MODEL),
    Case("reward.load", "bfloat16", "bfloat16", scored("dtype"), MODEL),
    Case("reward.mean", 0.25, 0.25, paid("mean"), MODEL),
    Case("reward.std", 2.0, 2.0, paid("std"), MODEL),
    Case("reward.clip", 2.5, 2.5, paid("clip"), MODEL, **EVERY),
    Case("reward.clip", None, None, paid("clip"), MODEL, **EVERY),
    Case("reward.clip", 2.5, (-2.5, 2.5), argument("reward_clip_range"), algorithms=("rloo", "reinforce++")),
    Case("reward.clip", None, None, argument("reward_clip_range"), algorithms=("rloo", "reinforce++")),
    Case("reward.watch", True, "RuleReward", lambda built: type(built.reward.watcher).__name__, MODEL),
    # The rollout.
    Case("rollout.questions", 6, (24, 3), argument("generation_batch_size", "logging_steps"), **EVERY),
    Case("rollout.questions", 12, 5 * 6, argument("max_steps"), {"run.rollouts": 5}, **EVERY),
    Case("rollout.programs", 8, (8, 32), argument("num_generations", "generation_batch_size"), **EVERY),
    Case("rollout.prompt_tokens", 50, (QUESTIONS - LONG, LONG),
         lambda built: (len(built.questions.rows), built.questions.too_long)),
    Case("rollout.prompt_tokens", 50, 80, argument("vllm_max_model_length"), COLOCATE, **EVERY),
    Case("rollout.completion_tokens", 70, 70, argument("max_completion_length"), **EVERY),
    Case("rollout.completion_tokens", 70, 470, argument("vllm_max_model_length"), COLOCATE, **EVERY),
    Case("rollout.temperature", 0.7, 0.7, argument("temperature"), **EVERY),
    Case("rollout.top_p", 0.9, 0.9, argument("top_p"), **EVERY),
    Case("rollout.engine", "vllm-colocate", (True, "colocate"), argument("use_vllm", "vllm_mode"),
         {"run.cpu": False}, **EVERY),
    Case("rollout.engine", "vllm-server", (True, "server"), argument("use_vllm", "vllm_mode"),
         {"run.cpu": False}, **EVERY),
    Case("rollout.vllm_memory", 0.55, 0.55, argument("vllm_gpu_memory_utilization"), COLOCATE, **EVERY),
    Case("rollout.vllm_tensor_parallel", 2, 2, argument("vllm_tensor_parallel_size"), COLOCATE, **EVERY),
    Case("rollout.vllm_sleep", True, True, argument("vllm_enable_sleep_mode"), COLOCATE, **EVERY),
    Case("rollout.vllm_host", "10.0.0.1", "10.0.0.1", argument("vllm_server_host"), SERVER, **EVERY),
    Case("rollout.vllm_port", 9000, 9000, argument("vllm_server_port"), SERVER, **EVERY),
    # The update.
    Case("update.batch", 16, (4, 4, 1),
         argument("per_device_train_batch_size", "gradient_accumulation_steps", "logging_steps"), **EVERY),
    Case("update.device_batch", 2, (2, 4),
         argument("per_device_train_batch_size", "gradient_accumulation_steps"), **EVERY),
    Case("update.passes", 3, (3, 6), argument("num_iterations", "logging_steps"), **EVERY),
    Case("update.learning_rate", 0.003, 0.003, argument("learning_rate"), **EVERY),
    Case("update.schedule", "linear", ("linear", {}), argument("lr_scheduler_type", "lr_scheduler_kwargs"), **EVERY),
    Case("update.schedule", "cosine_with_min_lr", ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
         argument("lr_scheduler_type", "lr_scheduler_kwargs"), **EVERY),
    Case("update.warmup", 0.25, 0.25, argument("warmup_steps"), **EVERY),
    Case("update.kl", 0.125, 0.125, argument("beta"), **EVERY),
    Case("update.ratio_clip", 0.15, 0.15, argument("epsilon"), **EVERY),
    Case("update.mean", "tokens", "bnpo", argument("loss_type"), algorithms=("grpo", "reinforce++")),
    Case("update.mean", "sequences", "grpo", argument("loss_type"), {"update.mean": "tokens"},
         ("grpo", "reinforce++")),
    Case("update.max_grad_norm", 0.5, 0.5, argument("max_grad_norm"), **EVERY),
    Case("update.weight_decay", 0.1, 0.1, argument("weight_decay"), **EVERY),
    Case("update.betas", [0.8, 0.7], (0.8, 0.7), argument("adam_beta1", "adam_beta2"), **EVERY),
    Case("update.gradient_checkpointing", True, True, lambda built: built.arguments["gradient_checkpointing"],
         **EVERY),
    # The run.
    Case("run.episodes", 2.0, 6 * 2, argument("max_steps"), **EVERY),
    Case("run.rollouts", 7, 7 * 2, argument("max_steps"), **EVERY),
    Case("run.save_every", 4, 4 * 2, argument("save_steps"), **EVERY),
    Case("run.keep", 9, 9, argument("save_total_limit"), **EVERY),
    Case("run.completions", True, True, argument("log_completions"), **EVERY),
    Case("run.seed", 7, 7, argument("seed"), **EVERY),
    Case("run.cpu", False, (False, True), lambda built: (built.arguments["use_cpu"], built.arguments["bf16"]),
         **EVERY),
    Case("run.cpu", True, "cpu", scored("device"), {**MODEL, "run.cpu": False}),
    Case("run.threads", 3, 3, lambda built: built.trainer.seen["threads"]),
    Case("run.report_to", ["dvclive", "wandb"], ["dvclive", "wandb"], argument("report_to"), **EVERY),
]  # fmt: skip


def _kind(built: Built) -> tuple[Any, Any]:
    from acetrain._rl import _train

    return _train._kind(built.recipe)


def leaves(owner: type[Settings], at: str = "") -> Iterator[str]:
    """Every setting that has no settings in it, by its whole name."""
    for name, one in owner.model_fields.items():
        inner = settings_in(one.annotation)
        if inner is None:
            yield at + name
        else:
            yield from leaves(inner, f"{at}{name}.")


def recipe_of(home: Path, algorithm: str, *settings: dict[str, Any]) -> RLRecipe:
    """The base with other settings; a group of settings goes before one in it."""
    values = yaml.safe_load(BASE)
    values["algorithm"] = algorithm
    for name, value in (pair for one in settings for pair in one.items()):
        *groups, last = name.split(".")
        group = values
        for part in groups:
            group = group.setdefault(part, {})
        group[last] = dict(value) if isinstance(value, dict) else value
    return parse_recipe(yaml.safe_dump(values), home / "recipe.yaml")


def test_a_case_names_every_setting() -> None:
    named = {case.setting for case in CASES}
    assert set(leaves(RLRecipe)) - named == set(), "no case shows what these settings do"
    assert named - set(leaves(RLRecipe)) == set(), "these are no settings any more"


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        pytest.param(case, algorithm, id=f"{number}-{case}-{algorithm}")
        for number, case in enumerate(CASES)
        for algorithm in case.algorithms
    ],
)
def test_a_setting_changes_what_it_says(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case, algorithm: str
) -> None:
    found = []
    for name, settings in (("without", {}), ("with", {case.setting: case.value})):
        if case.setting == "reward.kind" and not settings:
            recipe = recipe_of(home, algorithm)
        else:
            recipe = recipe_of(home, algorithm, case.beside, settings)
        (tmp_path / name).mkdir()
        with monkeypatch.context() as patch:
            found.append(case.see(Built(recipe, tmp_path / name, patch)))
    assert found[1] == case.expected
    assert found[0] != case.expected, "the base has it already, so nothing was shown"


def test_the_seed_of_a_policy_made_on_the_spot_decides_its_questions_and_demonstrations(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acetrain._rl import _tiny

    split = _tiny.split
    monkeypatch.setattr(_tiny, "split", lambda seed: split(0))  # alone it would make them differ
    made = []
    for number, seed in enumerate((0, 5, 5)):
        (tmp_path / str(number)).mkdir()
        recipe = recipe_of(home, "grpo", TINY, {"policy.tiny.seed": seed})
        with monkeypatch.context() as patch:
            made.append(Built(recipe, tmp_path / str(number), patch).made)
    assert made[0].questions != made[1].questions == made[2].questions
    assert made[0].shown != made[1].shown == made[2].shown


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_trainer_gets_all_that_was_built_and_nothing_else(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    settings = {"run.episodes": 2.0, "rollout.prompt_tokens": 50, "reward.mode": "pass_rate"}
    built = Built(recipe_of(home, algorithm, LORA, settings), tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        trainer = Built(built.recipe, tmp_path, patch).trainer
    assert trainer.model == str(home / "start") and trainer.resumed is None
    # 9 questions are not too long: 2 × 9 / 4 rollouts, two updates each.
    assert trainer.args.max_steps == round(2 * 9 / 4) * 2
    from acetrain._rl._train import _arguments

    with pytest.warns(FutureWarning, match="gradient_checkpointing"):
        wanted = _kind(built)[1](**_arguments(built.recipe, tmp_path / "run", 4, 1)).to_dict()
    assert trainer.args.to_dict() == wanted
    assert type(trainer.args) is _kind(built)[1]
    assert trainer.train_dataset.to_list() == built.questions.rows.to_list()
    assert set(trainer.train_dataset.column_names) == {"prompt", "test_cases", "shown_tests"}
    assert (trainer.reward_funcs.mode, trainer.reward_funcs.workers) == ("pass_rate", 1)
    assert trainer.processing_class.padding_side == "left"
    assert trainer.peft_config.r == 4 and trainer.peft_config.task_type == "CAUSAL_LM"
    assert (
        f"small: {algorithm}, 4 rollouts of 4 questions × 4 programs, 2 updates each"
        in (trainer.seen["said"][-1])
    )


def test_without_an_adapter_the_trainer_gets_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Built(recipe_of(home, "grpo"), tmp_path, monkeypatch).trainer.peft_config is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_processes_share_the_batch(home: Path, tmp_path: Path, algorithm: str) -> None:
    from acetrain._rl._train import _arguments

    recipe = recipe_of(home, algorithm, {"update.batch": 16})
    given = [_arguments(recipe, tmp_path, 3, processes) for processes in (1, 2, 4)]
    assert [one["gradient_accumulation_steps"] for one in given] == [4, 2, 1]


# ---- settings that mean nothing ----


@pytest.mark.parametrize(
    ("setting", "value", "beside", "algorithm", "message"),
    [
        ("reward.clip", 5.0, {}, "grpo", "means nothing with `kind: rule` and `algorithm: grpo`"),
        ("data.skip_shown", True, MODEL, "grpo", "means nothing where no program is judged"),
        ("rollout.vllm_host", "h", COLOCATE, "grpo", "means nothing with `engine: vllm-colocate`"),
        ("rollout.vllm_port", 9000, COLOCATE, "grpo", "means nothing with `engine: vllm-colocate`"),
        ("rollout.vllm_host", "h", {}, "grpo", "means nothing with `engine: generate`"),
        ("rollout.vllm_port", 9000, {}, "grpo", "means nothing with `engine: generate`"),
        ("rollout.vllm_memory", 0.5, SERVER, "grpo", "means nothing with `engine: vllm-server`"),
        ("rollout.vllm_sleep", True, SERVER, "grpo", "means nothing with `engine: vllm-server`"),
        ("rollout.vllm_tensor_parallel", 2, SERVER, "grpo", "means nothing with `engine: vllm-server`"),
        ("rollout.vllm_memory", 0.5, {}, "grpo", "means nothing with `engine: generate`"),
        ("rollout.vllm_sleep", True, {}, "grpo", "means nothing with `engine: generate`"),
        ("rollout.vllm_tensor_parallel", 2, {}, "grpo", "means nothing with `engine: generate`"),
        ("policy.revision", "abc", TINY, "grpo", "means nothing with `tiny`"),
        ("data.config", "trl-rl", TINY, "grpo", "means nothing with `tasks`"),
        ("data.split", "validation", TINY, "grpo", "means nothing with `tasks`"),
        ("data.revision", "abc", TINY, "grpo", "means nothing with `tasks`"),
        ("run.episodes", 2.0, {"run.rollouts": 3}, "grpo", "means nothing with `rollouts`"),
        (
            "policy.lora.dropout",
            0.1,
            {},
            "reinforce++",
            "is 0.1; expected 0.0: `algorithm: reinforce++` turns dropout off",
        ),
    ],
)
def test_a_setting_that_means_nothing_is_refused_on_its_line(
    home: Path, setting: str, value: Any, beside: dict[str, Any], algorithm: str, message: str
) -> None:
    recipe_of(home, algorithm, beside)  # without it the recipe is right
    with pytest.raises(RecipeError, match=re.escape(f"{setting} {message}")) as caught:
        recipe_of(home, algorithm, beside, {setting: value})
    assert re.match(r".*recipe\.yaml:\d+: ", str(caught.value)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("grpo", {**MODEL, "reward.clip": 5.0}),  # `ModelReward` clips, whatever the algorithm
        ("rloo", {"reward.clip": 5.0}),
        ("reinforce++", {"reward.clip": 5.0}),
        ("grpo", {**WATCHED, "data.skip_shown": True}),
        ("grpo", {"run.rollouts": None, "run.episodes": 2.0}),
        ("reinforce++", {"policy.lora": {"dropout": 0.0}}),
        ("grpo", {"policy.lora": {"dropout": 0.1}}),
    ],
)
def test_a_setting_that_means_something_is_taken(
    home: Path, algorithm: str, settings: dict[str, Any]
) -> None:
    assert recipe_of(home, algorithm, settings).algorithm == algorithm


def test_on_the_command_line_rollouts_and_episodes_take_each_others_place() -> None:
    recipe = load_recipe("rl-7b-lora", ["run.rollouts=5"])
    assert recipe.rollouts(22_000) == 5 and "episodes" not in recipe.run.model_fields_set
    recipe = load_recipe("rl-tiny", ["run.episodes=2.0"])
    assert recipe.rollouts(2560) == 160 and recipe.run.rollouts is None
    with pytest.raises(RecipeError, match=r"run\.episodes means nothing with `rollouts`"):
        load_recipe("rl-tiny", ["run.episodes=2.0", "run.rollouts=3"])


def test_a_file_has_no_split_and_no_revision(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings, said in (
        ({"data.split": "validation"}, "questions.jsonl: data.split is validation; expected train"),
        ({"data.revision": "abc"}, "questions.jsonl: data.revision means nothing for what is on this"),
        ({"data.path": "start", "data.revision": "abc"}, "start: data.revision means nothing for what"),
    ):
        with pytest.raises(BadInput, match=re.escape(said)):
            _ = Built(recipe_of(home, "grpo", settings), tmp_path, monkeypatch).questions
    assert (
        Built(recipe_of(home, "grpo", {"data.split": "train"}), tmp_path, monkeypatch).questions.found == 12
    )


# ---- who is told what is logged ----


def test_reporters_are_those_that_transformers_knows() -> None:
    from typing import get_args

    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    from acetrain._reward_model._recipe import Reporter

    assert set(get_args(Reporter)) == set(INTEGRATION_TO_CALLBACK) - {"kubeflow"}


def test_a_reporter_that_is_not_installed_is_refused_before_anything_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acetrain._reward_model import _recipe

    monkeypatch.setattr(_recipe, "find_spec", lambda module: object() if module == "tensorboardX" else None)
    built = Built(recipe_of(home, "grpo", {"run.report_to": ["wandb"]}), tmp_path, monkeypatch)
    with pytest.raises(
        BadInput, match=r"run\.report_to has wandb, and there is no package wandb; install it"
    ):
        _ = built.trainer
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match=r"run.report_to.* is 'wandbb'; expected .*did you mean wandb\?"):
        recipe_of(home, "grpo", {"run.report_to": ["wandbb"]})
    with monkeypatch.context() as patch:
        told = Built(recipe_of(home, "grpo", {"run.report_to": ["tensorboard"]}), tmp_path, patch).trainer
    assert told.args.report_to == ["tensorboard"]


def test_nobody_is_told_unless_the_recipe_says_so_and_that_may_change_on_resume(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acetrain._rl._run import go_on

    recipe = recipe_of(home, "grpo")
    with monkeypatch.context() as patch:
        assert Built(recipe, tmp_path, patch).trainer.args.report_to == []
    assert "run.report_to" in FREE and set(leaves(RLRecipe)) >= FREE
    go_on(recipe_of(home, "grpo", {"run.report_to": ["wandb"]}), tmp_path / "run")
    with pytest.raises(BadInput, match=r"was started with update\.kl: 0\.01, not 0\.5"):
        go_on(recipe_of(home, "grpo", {"update.kl": 0.5}), tmp_path / "run")


# ---- shipped recipes ----


DOCS = Path(__file__).parents[2] / "docs" / "reinforcement-learning.md"
RUNS = [name for name in shipped_recipes() if name.endswith(("-paper", "-upstream"))]


def differences(kind: str, variant: str) -> dict[str, str]:
    """A column of the documentation's table of differences, by the row's name."""
    text = DOCS.read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text[text.index("| | `-paper` |") :].partition("\n\n")[0].splitlines()
    ]
    assert rows[0] == ["", "`-paper`", "`-upstream`, rule", "`-upstream`, reward model"]
    column = 1 if variant == "paper" else 2 if kind == "rule" else 3
    return {row[0]: row[column] for row in rows[2:]}


@pytest.mark.parametrize("name", RUNS)
def test_the_papers_runs_differ_as_the_documentation_says(
    name: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acetrain._rl._data import R1_SYSTEM, load_questions
    from acetrain._rl._reward import ModelReward, make_reward
    from acetrain._rl._train import _arguments
    from tests.train.reward_models import tokenizer

    recipe = load_recipe(name)
    policy, kind, variant = re.fullmatch(r"rl-(.*)-(rule|rm)-(paper|upstream)", name).groups()  # type: ignore[union-attr]
    said = differences(kind, variant)
    assert set(said) == {
        "questions per rollout",
        "episodes (rollouts over 22,000 questions)",
        "reward",
        "loss is a mean over",
        "prompt of the base model",
    }
    rollouts = recipe.rollouts(22_000)
    given = _arguments(recipe, tmp_path, rollouts, 8)
    completions = given["per_device_train_batch_size"] * given["gradient_accumulation_steps"] * 8
    questions = given["generation_batch_size"] // given["num_generations"]
    assert (completions, given["num_generations"]) == (128, 8)
    assert given["max_steps"] * completions == rollouts * questions * 8
    assert str(questions) == said["questions per rollout"]
    assert f"{recipe.run.episodes:g} ({rollouts})" == said["episodes (rollouts over 22,000 questions)"]
    over = {"grpo": "completions", "bnpo": "tokens of a micro-batch (`--packing_samples`)"}
    assert over[given["loss_type"]].startswith(said["loss is a mean over"])

    reward = make_reward(recipe, Scorer())
    if isinstance(reward, ModelReward):
        assert (reward.mean, reward.std, reward.clip, reward.watcher) == (0.0, 1.0, 10.0, None)
        assert "the score" in said["reward"]
        given_of_normalising = {"mean", "std"} & recipe.reward.model_fields_set
        assert bool(given_of_normalising) == ("normalised" in said["reward"]) == (variant == "upstream")
    else:
        words = {
            ("binary", 0.0): "1 if every test passes, else 0; or the score",
            ("pass_rate", 0.5): "pass rate, and 0.5 more for a full pass",
        }
        assert words[reward.mode, reward.bonus] == said["reward"]
        assert (reward.format_reward, reward.overlong, reward.unsealed) == (0.0, None, "count")
        assert reward.skip_shown == 0

    rows = load_questions(recipe, str(exported), tokenizer()).rows
    r1 = rows[0]["prompt"][0] == {"role": "system", "content": R1_SYSTEM}
    assert len(rows) == 9  # the hard ones
    assert r1 == (policy == "coder-base" and said["prompt of the base model"] == "R1")

    assert given["learning_rate"] == 5e-7 and given["warmup_steps"] == 0.03
    assert (given["beta"], given["epsilon"], given["reward_clip_range"]) == (0.01, 0.2, (-10.0, 10.0))
    assert (given["temperature"], given["top_p"], given["num_iterations"]) == (1.0, 1.0, 1)
    assert (given["max_completion_length"], given["vllm_max_model_length"]) == (2048, 4096)
    assert given["model_init_kwargs"] == {"dtype": "bfloat16"} and given["bf16"]


def test_the_r1_start_asks_for_the_form_and_pays_a_tenth_for_it(exported: Path, tmp_path: Path) -> None:
    from acetrain._rl._data import R1_SYSTEM, load_questions
    from acetrain._rl._reward import make_reward
    from acetrain._rl._train import _arguments
    from tests.train.reward_models import tokenizer

    recipe = load_recipe("rl-r1")
    reward = make_reward(recipe)
    assert (reward.mode, reward.bonus, reward.format_reward) == ("binary", 0.0, 0.1)  # type: ignore[union-attr]
    rows = load_questions(recipe, str(exported), tokenizer()).rows
    assert all(row["prompt"][0] == {"role": "system", "content": R1_SYSTEM} for row in rows)
    given = _arguments(recipe, tmp_path, 3, 8)
    assert (given["beta"], given["max_completion_length"], given["loss_type"]) == (0.0, 4096, "grpo")


# ---- from an export ----


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from acedata._export import export
    from tests.data.builds import make_build

    place = tmp_path_factory.mktemp("export")
    made = export(make_build(place / "build"), place / "data", forms=["trl"], validation=0.3)
    assert (made.rows["trl/hard/train"], made.rows["trl/rl/train"], made.rows["trl/rl/validation"]) == (
        9,
        38,
        10,
    )
    return made.path


@pytest.mark.parametrize(
    ("config", "split", "count"),
    [("trl-hard", "train", 9), ("trl-rl", "train", 38), ("trl-rl", "validation", 10)],
)
def test_an_export_becomes_questions(exported: Path, config: str, split: str, count: int) -> None:
    from acetrain._rl._data import KEPT, load_questions
    from tests.train.reward_models import tokenizer

    settings = {"data": {"path": str(exported), "config": config, "split": split, "skip_shown": True}}
    recipe = recipe_of(exported, "grpo", settings)
    questions = load_questions(recipe, recipe.resolve(str(recipe.data.path)), tokenizer())
    assert (questions.found, len(questions.rows), questions.too_long) == (count, count, 0)
    assert set(questions.rows.column_names) == set(KEPT)
    for row in questions.rows:
        number = int(row["id"].rpartition("_")[2])
        assert [one["role"] for one in row["prompt"]] == ["user"]
        assert f"`add_{number}(a, b)`" in row["prompt"][0]["content"]
        tests = json.loads(row["test_cases"])
        assert len(tests) >= 5 and all(isinstance(test, str) for test in tests)
        assert row["shown_tests"] == 0  # what RL's prompts show


def test_another_export_of_the_same_name_is_not_answered_from_a_cache(exported: Path, tmp_path: Path) -> None:
    """`datasets` knows a folder's configuration by the folder's last name and its own: a second `data` is not read."""
    import pyarrow.parquet as parquet

    from acetrain._rl._data import load_questions
    from tests.train.reward_models import tokenizer

    def ids() -> list[str]:
        recipe = recipe_of(tmp_path, "grpo", {"data": {"path": "data", "config": "trl-rl"}})
        found: list[str] = load_questions(recipe, str(tmp_path / "data"), tokenizer()).rows["id"][:]
        return found

    shutil.copytree(exported, tmp_path / "data")
    file = tmp_path / "data" / "trl" / "rl" / "train.parquet"
    table = parquet.read_table(file)
    assert ids() == table["id"].to_pylist()
    for start in (3, 7):
        parquet.write_table(table.slice(start, 5), file)
        assert ids() == table["id"].to_pylist()[start : start + 5]


def test_tests_that_an_exports_prompts_show_are_not_paid(exported: Path, tmp_path: Path) -> None:
    """An export whose prompts show two tests, and a program that knows these two alone."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from acetrain._rl._data import load_questions
    from acetrain._rl._reward import make_reward
    from tests.train.reward_models import tokenizer

    shutil.copytree(exported, tmp_path / "data")
    file = tmp_path / "data" / "trl" / "rl" / "train.parquet"
    table = parquet.read_table(file)
    place = table.column_names.index("shown_tests")
    two = pa.array([2] * len(table), table.schema.field(place).type)
    parquet.write_table(table.set_column(place, table.schema.field(place), two), file)
    rewards = []
    for skip in (False, True):
        data = {"path": str(tmp_path / "data"), "config": "trl-rl", "skip_shown": skip, "limit": 1}
        recipe = recipe_of(tmp_path, "grpo", {"data": data, "reward.mode": "pass_rate"})
        rows = load_questions(recipe, str(tmp_path / "data"), tokenizer()).rows.to_list()
        number = int(rows[0]["id"].rpartition("_")[2])
        program = f"def add_{number}(a, b):\n    return a + b + {number} if a < 2 else None"
        reward = make_reward(recipe)
        try:
            rewards += reward(
                [rows[0]["prompt"]],
                [[{"role": "assistant", "content": f"```python\n{program}\n```"}]],
                **{name: [rows[0][name]] for name in ("test_cases", "id", "shown_tests")},
            )
        finally:
            reward.close()
    assert rewards == [pytest.approx(2 / len(json.loads(rows[0]["test_cases"]))), 0.0]


def test_the_package_ships_what_is_tested_here() -> None:
    folder = Path(acetrain.__file__).parent / "recipes"
    assert len(RUNS) == 12 and all((folder / f"{name}.yaml").is_file() for name in RUNS)
