"""A run's folder: what it was started with, where it can go on from, what it ends with.

    OUT/recipe.yaml       every setting, with the paths that were meant
    OUT/curve.jsonl       a line per rollout; curve.html shows it
    OUT/checkpoint-N/     after N updates: weights, optimizer, schedule, random states
    OUT/completions/      every rollout's completions, where the recipe keeps them
    OUT/final/            the model, its tokenizer, its card
    OUT/start/            the policy and the questions, where the recipe has them made on the spot

Going on is only possible with the same recipe: settings that decide what is learned must be equal; those that only
decide how fast, or what is kept (`FREE`), may change. A run that was refused before it trained leaves nothing behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from acedata import BadInput
from acetrain._checkpoints import STATE, checkpoints, last_whole

from ._data import Questions
from ._recipe import RLRecipe

FREE = frozenset(
    {
        "run.save_every",
        "run.keep",
        "run.completions",
        "run.threads",
        "run.report_to",
        "reward.workers",
        "reward.shared",
        "rollout.engine",
        "rollout.vllm_memory",
        "rollout.vllm_tensor_parallel",
        "rollout.vllm_sleep",
        "rollout.vllm_host",
        "rollout.vllm_port",
        "update.device_batch",
        "update.gradient_checkpointing",
        "policy.attention",
    }
)
_RECIPE = "recipe.yaml"
START = "start"
"""Where what is made on the spot lies in a run's folder."""
FINAL, PARTIAL = "final", "final.partial"
"""The finished model's folder, and where it is written."""
# What a checkpoint has beside the model.
_OF_THE_TRAINER = (
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*",
    STATE,
    "global_step*",
    "latest",
    "zero_to_*",
)


def settled(recipe: RLRecipe) -> dict[str, Any]:
    """All settings, with paths as they were meant."""
    values = recipe.to_dict()
    for group in ("policy", "data", "reward"):
        if values[group]["path"] is not None:
            values[group]["path"] = recipe.resolve(values[group]["path"])
    return values


def begin(recipe: RLRecipe, out: Path) -> None:
    """Makes a new run's folder.

    Raises:
        BadInput: there is something already, or the folder cannot be made.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "; --resume goes on with it" if (out / _RECIPE).exists() else ""
        raise BadInput(f"{out}: exists and is not empty{hint}")
    text = yaml.safe_dump(settled(recipe), sort_keys=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _RECIPE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{out}: no folder for a run: {error}") from error


def forget(out: Path) -> None:
    """Takes back `begin`, and what was made on the spot: the run was refused before it trained."""
    shutil.rmtree(out / START, ignore_errors=True)
    if {path.name for path in out.iterdir()} <= {_RECIPE}:
        shutil.rmtree(out, ignore_errors=True)


def check_same(recipe: RLRecipe, out: Path) -> None:
    """Checks that a run was started with this recipe, but for settings that may change.

    Raises:
        BadInput: there is no run, or it was started with another recipe.
    """
    try:
        before = yaml.safe_load((out / _RECIPE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{out}: no run to go on with: {error}") from error
    if not isinstance(before, dict):
        raise BadInput(f"{out}: no run to go on with: {_RECIPE} is not a recipe")
    old, new, may_change = _flat(before), _flat(settled(recipe)), free(recipe)
    for name in [*old, *new]:
        if name not in may_change and old.get(name) != new.get(name):
            why = "; with `mean: tokens` it decides what the loss is a mean over" if name in FREE else ""
            raise BadInput(
                f"{out}: was started with {name}: {old.get(name)}, not {new.get(name)}{why}; "
                "the same recipe goes on, another one wants another folder"
            )


def free(recipe: RLRecipe) -> frozenset[str]:
    """The settings that may change when a run goes on. The size of a micro-batch may not where it is a mean's."""
    return FREE - {"update.device_batch"} if recipe.update.mean == "tokens" else FREE


def go_on(recipe: RLRecipe, out: Path) -> tuple[Path | None, list[str]]:
    """Checks that a run can go on with this recipe.

    Returns:
        The last whole checkpoint (None: start again), and a line for each that is not whole.

    Raises:
        BadInput: there is no run, or it was started with another recipe, or it has checkpoints and none is whole.
    """
    check_same(recipe, out)
    checkpoint, passed_over = last_whole(out)
    # A first checkpoint that was never finished costs nothing. To start again beside finished ones would delete them.
    if checkpoint is None and any((folder / STATE).is_file() for folder in checkpoints(out)):
        said = "\n".join(passed_over)
        raise BadInput(
            f"{said}\n{out}: no whole checkpoint to go on from; remove those named above to start again, "
            "or start in another folder"
        )
    return checkpoint, passed_over


def finished(out: Path) -> bool:
    """Whether the run has its model."""
    return (out / FINAL / "README.md").exists()


def copy_model(checkpoint: Path, folder: Path) -> None:
    """Copies the model of a run's last checkpoint to another folder: the run ended before it had saved its model.

    Raises:
        BadInput: DeepSpeed or FSDP wrote the checkpoint's weights in pieces alone.
    """
    if not any(checkpoint.glob("*.safetensors")):
        raise BadInput(
            f"{checkpoint}: every update was made, and the weights lie there in pieces alone: DeepSpeed's "
            "zero_to_fp32.py joins them; with zero3_save_16bit_model they are saved whole too"
        )
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*_OF_THE_TRAINER), dirs_exist_ok=True)


def seal(out: Path) -> None:
    """The model is whole, with its card: it becomes the run's."""
    shutil.rmtree(out / FINAL, ignore_errors=True)
    (out / PARTIAL).rename(out / FINAL)


def write_card(
    recipe: RLRecipe, out: Path, lines: Sequence[Mapping[str, Any]], questions: Questions, rollouts: int
) -> None:
    """The model's card: what it is, what it was paid for, the last figures, all settings.

    Args:
        lines: of the curve.
    """
    reward = recipe.reward
    values = settled(recipe)
    paid = (
        f"its tests in the sandbox ({reward.mode}"
        + (f", {reward.bonus:g} more for a full pass" if reward.bonus else "")
        + (f", {reward.format:g} for the form" if reward.format else "")
        + ")"
        if reward.kind == "rule"
        else f"the reward model {values['reward']['path']}"
    )
    base = recipe.policy.path or "a policy made on the spot"
    lora = recipe.policy.lora is not None
    source = values["data"]["path"] or "composed tasks, drawn on the spot"
    head = {
        "library_name": "peft" if lora else "transformers",
        **({} if recipe.policy.path is None else {"base_model": base}),
        "tags": ["reinforcement-learning", recipe.algorithm.replace("+", "p"), "code"],
    }
    said = [f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# {recipe.name}\n"]
    said.append(
        f"{base}, trained by {recipe.algorithm} for {rollouts} rollouts of {recipe.rollout.questions} "
        f"questions × {recipe.rollout.programs} programs. A completion was paid by {paid}."
        + (" This is an adapter: load it with peft onto the base model." if lora else "")
        + "\n"
    )
    if lines:
        last = {name: value for name, value in lines[-1].items() if isinstance(value, (int, float))}
        rows = "".join(f"| {name} | {value:.4g} |\n" for name, value in last.items())
        said.append(f"The last rollout, on training questions:\n\n| | |\n|---|---|\n{rows}")
    said.append(
        f"Questions: {len(questions.rows):,} of {questions.found:,} ({questions.too_long:,} with prompts that were too "
        f"long are left out) from {source}.\n"
    )
    said.append(f"```yaml\n{yaml.safe_dump(values, sort_keys=False)}```\n")
    said.append("Versions: " + ", ".join(f"{name} {found}" for name, found in versions().items()) + ".\n")
    (out / PARTIAL / "README.md").write_text("\n".join(said), encoding="utf-8")


def versions() -> dict[str, str]:
    """Of what trains."""
    found = {}
    for name in ("acestack", "trl", "transformers", "torch", "accelerate", "peft", "vllm", "deepspeed"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _flat(values: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or at == "reward.limits":
        return {at: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{at}.{name}" if at else str(name))
    return found
