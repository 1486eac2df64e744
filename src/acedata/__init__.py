"""Turns seed code into datasets of problems, tests and preference pairs: AceCode-89K, AceCodePair-300K, and yours.

    from acedata import build, export, load_recipe

    build(load_recipe("acecode-89k-paper"), "acecode")
    export("acecode", "acecode-dataset")

General layout: `_recipe` says what is wanted, `_stages` what must be made for it, `_build` decides what is missing and
`_make` makes it, with models (`_ask`, `_backends`, `_store`), sandboxes (`_engines`, `_judge`) and pure views of
execution matrices (`_views`). `_directory` is the disk. `_export`, `_report` and `_show` read what was built.
docs/dataset.md is the contract between them.

Names are loaded when they are first used: importing this package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._adopt import adopt
    from ._ask import ask_all
    from ._backends.openai import OpenAIBackend
    from ._build import Built, Silence, Watcher, build, plan
    from ._decontaminate import Contamination, Match, Problem
    from ._directory import Directory, StageRecord
    from ._errors import (
        AceDataError,
        BackendError,
        BadInput,
        BudgetReached,
        BuildInUse,
        JudgingFailed,
        MissingAnswer,
        RecipeError,
        Stopped,
        StoreError,
    )
    from ._estimate import Estimate, estimate
    from ._export import Exported, export, push
    from ._extract import extract_code
    from ._formats import answer_text, render
    from ._recipe import Recipe, load_recipe, shipped_recipes
    from ._report import report
    from ._requests import Answer, Failure, Request, Sampling
    from ._show import show
    from ._store import ResponseStore

__version__ = "0.1.0"

_HOMES = {
    "AceDataError": "_errors",
    "Answer": "_requests",
    "BackendError": "_errors",
    "BadInput": "_errors",
    "BudgetReached": "_errors",
    "BuildInUse": "_errors",
    "Built": "_build",
    "Contamination": "_decontaminate",
    "Directory": "_directory",
    "Estimate": "_estimate",
    "Exported": "_export",
    "Failure": "_requests",
    "JudgingFailed": "_errors",
    "Match": "_decontaminate",
    "MissingAnswer": "_errors",
    "OpenAIBackend": "_backends.openai",
    "Problem": "_decontaminate",
    "Recipe": "_recipe",
    "RecipeError": "_errors",
    "Request": "_requests",
    "ResponseStore": "_store",
    "Sampling": "_requests",
    "Silence": "_build",
    "StageRecord": "_directory",
    "Stopped": "_errors",
    "StoreError": "_errors",
    "Watcher": "_build",
    "adopt": "_adopt",
    "answer_text": "_formats",
    "ask_all": "_ask",
    "build": "_build",
    "estimate": "_estimate",
    "export": "_export",
    "extract_code": "_extract",
    "load_recipe": "_recipe",
    "plan": "_build",
    "push": "_export",
    "render": "_formats",
    "report": "_report",
    "shipped_recipes": "_recipe",
    "show": "_show",
}

__all__ = [
    "AceDataError",
    "Answer",
    "BackendError",
    "BadInput",
    "BudgetReached",
    "BuildInUse",
    "Built",
    "Contamination",
    "Directory",
    "Estimate",
    "Exported",
    "Failure",
    "JudgingFailed",
    "Match",
    "MissingAnswer",
    "OpenAIBackend",
    "Problem",
    "Recipe",
    "RecipeError",
    "Request",
    "ResponseStore",
    "Sampling",
    "Silence",
    "StageRecord",
    "Stopped",
    "StoreError",
    "Watcher",
    "adopt",
    "answer_text",
    "ask_all",
    "build",
    "estimate",
    "export",
    "extract_code",
    "load_recipe",
    "plan",
    "push",
    "render",
    "report",
    "shipped_recipes",
    "show",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
