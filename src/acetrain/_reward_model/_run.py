"""A training's folder: what it was begun with, where it goes on from, and files that are whole or not there at all.

    OUT/
    ├── recipe.yaml         as it was used
    ├── pairs.json          what became of every pair
    ├── accelerate.yaml     for `accelerate launch --config_file`, DeepSpeed ZeRO where the recipe wants it
    ├── checkpoint-N/       TRL's; --resume goes on from the last whole one, with the same recipe
    ├── log.json            loss, accuracy, learning rate by step
    ├── model/              weights, tokenizer, card; an adapter where the recipe has `lora`
    └── report.{json,md,svg}  on the held-out pairs (`_report`); one process only

`model` is written as `model.part` and renamed: it is there as soon as all of it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acedata._errors import BadInput
from acetrain._checkpoints import STATE, checkpoints

from ._recipe import RewardRecipe, load_recipe

RECIPE = "recipe.yaml"
MODEL = "model"
PART = "model.part"
CARD = "README.md"
LOG = "log.json"
REPORT = ("report.md", "report.svg", "report.json")
"""In the order in which they are written."""

# Settings that a resumed run may change: they decide how fast it is, what is looked at, or what is kept.
FREE = frozenset(
    f"train.{name}"
    for name in (
        "device_batch",
        "eval_steps",
        "gradient_checkpointing",
        "keep",
        "log_steps",
        "report_to",
        "save_steps",
        "threads",
    )
)


def check_free(out: Path) -> None:
    """Raises BadInput where a folder has a model or checkpoints: a new run would mix with them."""
    if (out / MODEL).exists():
        raise BadInput(
            f"{out / MODEL}: exists; a model is not trained over another, and --resume makes what its run still lacks"
        )
    if checkpoints(out):
        raise BadInput(
            f"{out}: holds checkpoints of a run; --resume goes on with it, another run wants another folder"
        )


def check_prepared(recipe: RewardRecipe, out: Path) -> None:
    """Raises BadInput where `--prepare` wrote the files of another recipe: `accelerate.yaml` would be of that one."""
    if (out / RECIPE).exists():
        _check_same(recipe, out, "was prepared with", "--prepare with this recipe writes its files anew")


def check_begun(recipe: RewardRecipe, out: Path) -> None:
    """Raises BadInput where there is no run, or one of another recipe: what decides what is learned must be what the
    run was begun with; what only decides how fast may change."""
    _check_same(recipe, out, "was begun with", "the same recipe goes on, another one wants another folder")


def _check_same(recipe: RewardRecipe, out: Path, was: str, remedy: str) -> None:
    try:
        before = load_recipe(out / RECIPE)
    except (OSError, BadInput) as error:
        raise BadInput(f"{out}: {RECIPE} does not say what run this is: {error}") from error
    old, new = (_settings(one) for one in (before, recipe.portable()))
    for name in [*old, *new]:
        if old.get(name) != new.get(name):
            raise BadInput(f"{out}: {was} {name}: {old.get(name)}, not {new.get(name)}; {remedy}")


def _settings(recipe: RewardRecipe) -> dict[str, Any]:
    """What decides the model, by full name."""
    values: dict[str, Any] = {}
    for group, inner in recipe.model_dump(exclude={"launch"}).items():
        if isinstance(inner, dict):
            values |= {f"{group}.{name}": value for name, value in inner.items()}
        else:
            values[group] = inner
    return {name: value for name, value in values.items() if name not in FREE}


def state_of(checkpoint: Path) -> dict[str, Any]:
    """What the trainer kept of itself in a whole checkpoint."""
    values: dict[str, Any] = json.loads((checkpoint / STATE).read_bytes())
    return values


def is_the_end(checkpoint: Path) -> bool:
    """Whether a whole checkpoint has all updates of its training."""
    state = state_of(checkpoint)
    last = state.get("max_steps")
    return isinstance(last, int) and 0 < last <= state["global_step"]


def finished_report(out: Path) -> dict[str, Any] | None:
    """The report of a run that has all its files; None where one is missing."""
    if not all((out / name).is_file() for name in (LOG, *REPORT)):
        return None
    try:
        report = json.loads((out / REPORT[-1]).read_text(encoding="utf-8"))
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
