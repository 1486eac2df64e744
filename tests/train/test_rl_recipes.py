"""Recipes of reinforcement learning: what is shipped can be read and says what its name says; mistakes are named.

The configurations for neighbours are held against the names of all options of the versions they were written for
(`neighbour_options.json`: verl's from its generated configuration, OpenRLHF's from its argument parser).
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import acetrain
from acedata import RecipeError
from acetrain._rl._recipe import load_recipe, parse_recipe, shipped_recipes
from tests.train.rl_runs import TEXT

RECIPES = Path(acetrain.__file__).parent / "recipes"
POLICIES = {
    "instruct": "Qwen/Qwen2.5-7B-Instruct",
    "coder-base": "Qwen/Qwen2.5-Coder-7B",
    "coder-instruct": "Qwen/Qwen2.5-Coder-7B-Instruct",
}


def test_every_shipped_recipe_is_read_and_is_called_as_its_file() -> None:
    shipped = shipped_recipes()
    runs = {
        f"rl-{policy}-{kind}-{variant}"
        for policy in POLICIES
        for kind in ("rule", "rm")
        for variant in _VARIANTS
    }
    assert set(shipped) == runs | {"rl-tiny", "rl-r1", "rl-7b-lora"}
    for name in shipped:
        assert load_recipe(name).name == name


_VARIANTS = ("paper", "upstream")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["rule", "rm"])
def test_the_papers_runs_have_the_papers_numbers(policy: str, kind: str) -> None:
    recipe = load_recipe(f"rl-{policy}-{kind}-paper")
    assert recipe.algorithm == "reinforce++" and recipe.policy.path == POLICIES[policy]
    assert (recipe.rollout.questions, recipe.rollout.programs, recipe.update.batch) == (256, 8, 128)
    assert recipe.updates_per_rollout == 16
    assert recipe.rollouts(22_000) == 86
    assert (recipe.update.learning_rate, recipe.update.kl, recipe.update.warmup) == (5e-7, 0.01, 0.03)
    assert (recipe.update.ratio_clip, recipe.update.mean, recipe.rollout.temperature) == (
        0.2,
        "sequences",
        1.0,
    )
    assert (recipe.rollout.prompt_tokens, recipe.rollout.completion_tokens) == (2048, 2048)
    reward = recipe.reward
    assert reward.clip == 10.0 and reward.kind == ("rule" if kind == "rule" else "model")
    if kind == "rule":
        assert (reward.mode, reward.bonus) == ("binary", 0.0)
    else:
        assert reward.path == "TIGER-Lab/AceCodeRM-7B"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_upstream_runs_have_the_scripts_numbers(policy: str) -> None:
    rule, model = load_recipe(f"rl-{policy}-rule-upstream"), load_recipe(f"rl-{policy}-rm-upstream")
    assert (rule.rollout.questions, rule.run.episodes, rule.reward.mode, rule.reward.bonus) == (
        512,
        3.0,
        "pass_rate",
        0.5,
    )
    assert (model.rollout.questions, model.run.episodes) == (256, 2.0)
    for recipe in (rule, model):
        assert recipe.update.mean == "tokens" and recipe.update.batch == 128


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_recipe_gives_arguments_that_trl_knows(name: str, tmp_path: Path) -> None:
    import dataclasses

    from acetrain._rl._train import _arguments, _kind

    recipe = load_recipe(name)
    known = {field.name for field in dataclasses.fields(_kind(recipe)[1])}
    given = _arguments(recipe, tmp_path, 3, 8 if recipe.update.batch > recipe.update.device_batch else 1)
    assert set(given) <= known, set(given) - known
    assert given["gradient_accumulation_steps"] >= 1
    assert given["max_steps"] == 3 * recipe.updates_per_rollout
    if recipe.rollout.engine == "vllm-colocate":
        assert given["use_vllm"] and given["vllm_mode"] == "colocate"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "algorithm: reinforce++",
            "algorithm: reinforce",
            "recipe.yaml:3: algorithm is 'reinforce'; expected grpo or ",
        ),
        (
            "mode: pass_rate",
            "mode: passrate",
            "recipe.yaml:8: reward.mode is 'passrate'; expected binary or pass_rate; ",
        ),
        (
            "  shared: false",
            "  share: false",
            "recipe.yaml:9: reward.share is no setting; did you mean shared?",
        ),
        ("kind: rule", "kind: model", "reward.path is missing: `kind: model` needs a reward model"),
        ("kl: 0.02", "kl: small", "update.kl is 'small'; expected a number"),
        (
            "batch: 8",
            "batch: 6",
            "recipe.yaml:14: update.batch is 6; expected a divisor of questions × programs = 16",
        ),
        ("device_batch: 4", "device_batch: 3", "expected a multiple of device_batch = 3"),
        ("cpu_s: 0.2", "cpus: 0.2", "reward.limits.cpus is no limit; did you mean cpu_s?"),
        ("path: start,", "tiny: {}, path: start,", "policy needs either `path` or `tiny`, and not both"),
        ("load: float32", "load: bfloat16", "policy.load is bfloat16; expected float32 where `cpu` is true"),
        (
            "questions: 4,",
            "questions: 4, vllm_memory: 0.5,",
            "vllm_memory means nothing with `engine: generate`",
        ),
        ("shared: false", "watch: true", "reward.watch means nothing with `kind: rule`"),
        (
            "algorithm: reinforce++",
            "algorithm: rloo\nupdate: {mean: tokens}",
            "update is given twice; first on line",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_expected(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_recipe(TEXT.lstrip().replace(old, new, 1).replace("name: small", "\nname: small", 1))


def test_settings_given_on_the_command_line_take_the_files_place() -> None:
    recipe = parse_recipe(TEXT, changes=["update.kl=5e-3", "policy.lora={rank: 2}", "algorithm=grpo"])
    assert recipe.update.kl == 0.005 and recipe.policy.lora is not None and recipe.policy.lora.rank == 2
    assert recipe.algorithm == "grpo" and recipe.update.learning_rate == 0.002
    # A change may make a recipe whole.
    assert parse_recipe(TEXT.replace("batch: 8", "batch: 6"), changes=["update.batch=16"]).update.batch == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("update.klx=1", "with --set update.klx=1: update.klx is no setting; did you mean kl?"),
        ("update.kl", "--set update.kl: expected NAME=VALUE"),
        ("update.kl=[", "--set update.kl=[: the value is not YAML"),
        ("rollout.programs=1", "rollout.programs is 1; expected at least 2"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_recipe(TEXT, changes=[change])


def test_the_command_prints_a_recipe_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from acetrain._cli import main

    assert main(["rl", "rl-tiny", "--show", "--set", "update.kl=0.25"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["update"]["kl"] == 0.25 and shown["update"]["ratio_clip"] == 0.2
    assert main(["rl", "rl-tinny"]) == 2
    assert "did you mean rl-tiny?" in capsys.readouterr().err


def words(script: Path) -> list[str]:
    text = script.read_text(encoding="utf-8")
    return shlex.split(text[text.index("exec python3") :].replace("\\\n", " "))


def options() -> Any:
    return json.loads(Path(__file__).with_name("neighbour_options.json").read_text())


@pytest.mark.parametrize("script", sorted((RECIPES / "verl").glob("*.sh")), ids=lambda script: script.name)
def test_verls_configurations_use_options_that_verl_has(script: Path) -> None:
    known = set(options()["verl 0.9.1"])
    said = words(script)
    assert said[:4] == ["exec", "python3", "-m", "verl.trainer.main_ppo"] and said[-1] == "$@"
    given = dict(word.split("=", 1) for word in said[4:-1])
    for name in given:
        assert (name in known) != name.startswith("+"), name  # + adds what the configuration does not have
    assert given["+reward.custom_reward_function.reward_kwargs.unknown"] == "zero"
    # 256 questions of 8 programs; a mini-batch counts questions: 16 × 8 are the 128 of one update.
    sizes = [given[name] for name in ("data.train_batch_size", "actor_rollout_ref.actor.ppo_mini_batch_size")]
    assert [*sizes, given["actor_rollout_ref.rollout.n"]] == ["256", "16", "8"]


def test_openrlhfs_configuration_uses_options_that_openrlhf_has() -> None:
    known = set(options()["openrlhf 0.11.2"])
    said = words(RECIPES / "openrlhf" / "reinforce-pp-rule.sh")
    assert said[:4] == ["exec", "python3", "-m", "openrlhf.cli.train_ppo_ray"] and said[-1] == "$@"
    names = [word for word in said[4:-1] if word.startswith("--")]
    assert set(names) <= known and len(set(names)) == len(names)
    assert said[said.index("--algo.advantage.estimator") + 1] == "reinforce"


def test_openrlhfs_reward_file_pays_by_tests() -> None:
    import runpy

    from tests.train.answers import RIGHT, TESTS, WRONG

    reward = runpy.run_path(str(RECIPES / "openrlhf" / "reward.py"))["reward_func"]
    labels = [TESTS if isinstance(TESTS, str) else json.dumps(TESTS)] * 2
    paid = reward([f"q{RIGHT}", f"q{WRONG}"], ["q", "q"], labels)
    assert paid["rewards"].tolist() == [1.0, 0.0]
