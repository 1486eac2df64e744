"""The tables of docs/recipes.md, written from the settings themselves.

    python -m tests.data.settings_page --write

puts them between the page's markers; `test_recipe` compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic_core import PydanticUndefined

from acedata import _recipe, _settings
from acedata._recipe import load_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
BEGIN, END = "<!-- settings: written by tests/data/settings_page.py -->\n", "<!-- end of settings -->\n"

# (what it is called, where in the paper's recipe its values are)
_GROUPS: tuple[tuple[str, str, Any], ...] = (
    ("The recipe", "Recipe", lambda recipe: [recipe]),
    ("`seeds`", "SeedsConfig", lambda recipe: [recipe.seeds]),
    ("`seeds.sources[]`", "SourceConfig", lambda recipe: recipe.seeds.sources),
    (
        "`columns` of a source or benchmark",
        "ColumnsConfig",
        lambda recipe: [source.columns for source in recipe.seeds.sources],
    ),
    ("`models.NAME`", "ModelConfig", lambda recipe: list(recipe.models.values())),
    (
        "`models.NAME.price`",
        "PriceConfig",
        lambda recipe: [m.price for m in recipe.models.values() if m.price],
    ),
    ("`questions`", "QuestionsConfig", lambda recipe: [recipe.questions]),
    ("`checks`", "ChecksConfig", lambda recipe: [recipe.checks]),
    ("`checks.decontaminate`", "DecontaminateConfig", lambda recipe: []),
    ("`checks.decontaminate.benchmarks[]`", "BenchmarkConfig", lambda recipe: []),
    ("`checks.near_duplicates`", "NearDuplicatesConfig", lambda recipe: []),
    ("`references`", "ReferencesConfig", lambda recipe: [recipe.references]),
    ("`filter`", "FilterConfig", lambda recipe: [recipe.filter]),
    ("`samples`", "SamplesConfig", lambda recipe: [recipe.samples]),
    ("`judge`", "JudgeConfig", lambda recipe: [recipe.judge]),
    ("`pairs`", "PairsConfig", lambda recipe: [recipe.pairs]),
    ("`hard`", "HardConfig", lambda recipe: [recipe.hard]),
    ("`strength`", "StrengthConfig", lambda recipe: []),
    ("`export`", "ExportConfig", lambda recipe: [recipe.export]),
    ("`ray`", "RayConfig", lambda recipe: [recipe.ray]),
)


def tables() -> str:
    """All settings, a table per group."""
    recipe = load_recipe("acecode-89k-paper")
    return "\n".join(_table(title, getattr(_recipe, name), values(recipe)) for title, name, values in _GROUPS)


def groups() -> set[str]:
    """The classes of settings that have a table."""
    return {name for _, name, _ in _GROUPS}


def all_settings() -> set[str]:
    """Every class of settings there is."""
    return {
        name
        for name, value in vars(_recipe).items()
        if isinstance(value, type)
        and issubclass(value, _settings.Settings)
        and value is not _settings.Settings
    }


def _table(title: str, kind: Any, used: list[Any]) -> str:
    lines = [f"### {title}\n", (kind.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip() + "\n"]
    paper = bool(used)
    lines.append("| setting | default | " + ("in `acecode-89k-paper` | " if paper else "") + "what it is |")
    lines.append("|---|---|---|" + ("---|" if paper else ""))
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        cells = [f"`{field.alias or name}`", "required" if default is PydanticUndefined else _value(default)]
        if paper:
            given = [getattr(one, name) for one in used if name in one.model_fields_set]
            cells.append(", ".join(dict.fromkeys(_value(value) for value in given)))
        inner = _settings.settings_in(field.annotation)
        about = field.description or (inner.__doc__ if inner is not None else "") or ""
        what = " ".join(about.split("\n\n")[0].split())
        choices = _choices(field.annotation)
        cells.append(what + (f" One of {', '.join(choices)}." if choices else ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _choices(annotation: Any) -> list[str]:
    found = [f"`{value}`" for value in get_args(annotation) if isinstance(value, str)]
    return found or [choice for part in get_args(annotation) for choice in _choices(part)]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _settings.Settings):
        return "below" if value.model_fields_set else "its defaults"
    if isinstance(value, dict):
        if any(isinstance(one, _settings.Settings) for one in value.values()):
            return "below"
        return f"`{{{', '.join(f'{key}: {one}' for key, one in value.items())}}}`"
    if isinstance(value, list):
        if any(isinstance(one, _settings.Settings) for one in value):
            return "below"
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def rewritten(page: str) -> str:
    """The page with the tables of today."""
    head, rest = page.split(BEGIN)
    return head + BEGIN + "\n" + tables() + "\n" + rest[rest.index(END) :]


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if "--write" in sys.argv:
        PAGE.write_text(rewritten(page), encoding="utf-8")
    else:
        print(tables())


if __name__ == "__main__":
    main()
