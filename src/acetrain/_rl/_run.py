"""A run's folder: what it was started with, where it can go on from, what it ends with.

    OUT/recipe.yaml       every setting, with the paths that were meant
    OUT/curve.jsonl       a line per rollout; curve.html shows it
    OUT/checkpoint-N/     after N updates: weights, optimizer, schedule, random states
    OUT/completions/      every rollout's completions, where the recipe keeps them
    OUT/final/            the model, its tokenizer, its card
    OUT/start/            the policy and the questions, where the recipe has them made on the spot

Going on is only possible with the same recipe: settings that decide what is learned must be equal; those that only
decide how fast, or what is kept (`FREE`), may change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from acedata import BadInput

from ._data import Questions
from ._recipe import RLRecipe

FREE = frozenset(
    {
        "run.save_every",
        "run.keep",
        "run.completions",
        "run.threads",
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
_STATE = "trainer_state.json"


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
        BadInput: there is something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        hint = "; --resume goes on with it" if (out / _RECIPE).exists() else ""
        raise BadInput(f"{out}: exists and is not empty{hint}")
    out.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settled(recipe), sort_keys=False)
    (out / _RECIPE).write_text(text, encoding="utf-8")


def go_on(recipe: RLRecipe, out: Path) -> tuple[Path | None, list[Path]]:
    """Checks that a run can go on with this recipe.

    Returns:
        The last whole checkpoint (None: start again), and the folders of broken ones.

    Raises:
        BadInput: there is no run, or it was started with another recipe.
    """
    try:
        before = yaml.safe_load((out / _RECIPE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"{out}: no run to go on with: {error}") from error
    old, new = _flat(before), _flat(settled(recipe))
    for name in [*old, *new]:
        if name not in FREE and old.get(name) != new.get(name):
            raise BadInput(
                f"{out}: was started with {name}: {old.get(name)}, not {new.get(name)}; "
                "the same recipe goes on, another one wants another folder"
            )
    broken: list[Path] = []
    for folder in sorted(out.glob("checkpoint-*"), key=_number, reverse=True):
        if _is_whole(folder):
            return folder, broken
        broken.append(folder)
    return None, broken


def finished(out: Path) -> bool:
    """Whether the run has its model."""
    return (out / "final" / "README.md").exists()


def write_card(
    recipe: RLRecipe, out: Path, lines: Sequence[Mapping[str, Any]], questions: Questions, rollouts: int
) -> None:
    """`final/README.md`: what the model is, what it was paid for, the last figures, all settings.

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
    (out / "final" / "README.md").write_text("\n".join(said), encoding="utf-8")


def versions() -> dict[str, str]:
    """Of what trains."""
    found = {}
    for name in ("acestack", "trl", "transformers", "torch", "accelerate", "peft", "vllm", "deepspeed"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _is_whole(folder: Path) -> bool:
    # The trainer writes its state last.
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and state.get("global_step") == _number(folder)


def _number(folder: Path) -> int:
    tail = os.path.basename(folder).rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1


def _flat(values: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or at == "reward.limits":
        return {at: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{at}.{name}" if at else str(name))
    return found
