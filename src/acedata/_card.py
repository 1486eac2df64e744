"""The card of an exported dataset: README.md, with front matter that names its configurations, and its plots.

Everything in it follows from the build's data, the recipe and the versions of what made it: no time, no host, no cost
(the report has those), so the same export has the same card.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import _pictures as pictures
from ._directory import Directory
from ._figures import Figures
from ._formats import answer_text, render
from ._forms import PAIR_FORMAT, rl_format
from ._funnel import funnel
from ._recipe import Recipe, SourceConfig
from ._table1 import table1

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration of the folder.

    Attributes:
        name: as `load_dataset(folder, name)` takes it.
        splits: glob of each split's files, within the folder.
        sets: the file sets (`Exported.rows`) behind the splits.
        of_pairs: whether it also belongs to the folder of pairs.
        default: whether it is taken where no name is given.
    """

    name: str
    splits: Mapping[str, str]
    sets: tuple[str, ...]
    of_pairs: bool = False
    default: bool = False


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a source comes from. `licence` is what its publisher states."""

    name: str
    path: str
    licence: str


# By name on the hub: licences as their cards state them.
_STACK = (
    "none stated; functions of The Stack, each under the licence of its repository, under The Stack's terms of use "
    "(bigcode/the-stack)"
)
LICENCES = {
    "ise-uiuc/Magicoder-Evol-Instruct-110K": "Apache-2.0",
    "ise-uiuc/Magicoder-OSS-Instruct-75K": "MIT",
    "bigcode/stack-dedup-python-fns": _STACK,
    "TIGER-Lab/AceCode-87K": "MIT",
    "TIGER-Lab/AceCode-V2-122K": "Apache-2.0",
    "TIGER-Lab/AceCodePair-300K": "none stated",
}


def write_card(
    build: Directory,
    figures: Figures,
    out: Path,
    configs: Sequence[Config],
    rows: Mapping[str, int],
    validation: float,
) -> None:
    """Writes README.md and plots/ into a folder, and pairs/README.md where it has pairs.

    Args:
        configs: of the folder, the default one first.
        rows: of each file set.
        validation: share of the questions held out.
    """
    recipe = build.recipe
    images = _images(build, figures)
    (out / "plots").mkdir()
    for name, image in images.items():
        (out / "plots" / f"{name}.svg").write_text(image, encoding="utf-8")
    facts = {
        "recipe": recipe,
        "recipe_text": recipe.text.rstrip("\n"),
        "recipe_fence": fence(recipe.text),
        "figures": figures,
        "total": figures.total,
        "table1": table1(figures).markdown(),
        "steps": funnel(build),
        "configs": configs,
        "rows": rows,
        "lines": [name for name, count in rows.items() if name.startswith("openrlhf/") and count],
        "empty": [name for name, count in rows.items() if not count],
        "images": images,
        "provenance": [provenance(source) for source in recipe.seeds.sources],
        "pair_example": _example(PAIR_FORMAT),
        "pair_answer": answer_text(PAIR_FORMAT, "{code}"),
        "rl_format": rl_format(recipe.checks.signature),
        "validation": validation,
        "environment": environment(),
        "stages": build.manifest,
    }
    front = _front(recipe, configs, rows)
    (out / "README.md").write_text(_render("card.md.j2", front=front, **facts), encoding="utf-8")
    own = [config for config in configs if config.of_pairs]
    if own and own[0].name != "default":
        moved = [
            replace(
                config,
                name="default" if number == 0 else config.name,
                splits={split: path.removeprefix("pairs/") for split, path in config.splits.items()},
            )
            for number, config in enumerate(own)
        ]
        front = _front(recipe, moved, rows)
        (out / "pairs" / "README.md").write_text(
            _render("pairs.md.j2", front=front, **{**facts, "configs": moved}), encoding="utf-8"
        )


def provenance(source: SourceConfig) -> Provenance:
    """Where a source of a recipe comes from."""
    known = LICENCES.get(source.path) if source.kind != "files" else None
    where = f"`{source.path}`" + (f" at `{source.revision}`" if source.revision else "")
    unknown = "not known to the builder: whoever publishes this states it"
    return Provenance(source.name, where, known or unknown)


def environment() -> list[tuple[str, str]]:
    """What made this: names and versions."""
    from acesandbox import __version__

    found = [
        ("acestack", __version__),
        (platform.python_implementation(), platform.python_version()),
    ]
    for name in ("pyarrow", "datasets", "numpy"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:  # of these only `datasets` is not needed to build
            found.append((name, "not installed"))
    return found


def fence(content: str) -> str:
    """A fence that nothing in the content closes."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return "`" * max(3, longest + 1)


def plain(value: object) -> str:
    """Any text as it may stand in a line or a table cell of Markdown."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", line)


def size_category(rows: int) -> str:
    """The hub's word for a number of rows."""
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((word for limit, word in limits if rows < limit), "1M<n<10M")


def _images(build: Directory, figures: Figures) -> dict[str, str]:
    made = {"funnel": pictures.funnel_picture(funnel(build))}
    if figures.tests_before or figures.tests_after:
        made["tests"] = pictures.tests_picture(figures)
    for number, (name, model) in enumerate(figures.samples.items()):
        if any(model.rates):
            made[f"pass-rates-{number}"] = pictures.rates_picture(name, model)
    if any(model.results > model.statuses["passed"] for model in figures.samples.values()):
        made["failures"] = pictures.failures_picture(figures.samples)
    if figures.margins:
        made["margins"] = pictures.pairs_picture(figures)
    return made


def _example(format: str) -> str:
    return render(format, "{question}", ["{first test}"]).user


def _front(recipe: Recipe, configs: Sequence[Config], rows: Mapping[str, int]) -> str:
    first = sum(rows[name] for name in configs[0].sets) if configs else 0
    content: dict[str, Any] = {
        "license": recipe.export.license or "other",
        "language": ["en"],
        "pretty_name": recipe.name,
        "tags": ["acecode", "code", "synthetic"],
        "task_categories": ["text-generation"],
        "size_categories": [size_category(first)],
        "configs": [_entry(config) for config in configs],
    }
    if recipe.export.license is None:
        content |= {"license_name": "see-provenance", "license_link": "#provenance-and-licences"}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip("\n")


def _entry(config: Config) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "config_name": config.name,
        "data_files": [{"split": split, "path": path} for split, path in config.splits.items()],
    }
    return {**entry, "default": True} if config.default else entry


def _render(template: str, **facts: Any) -> str:
    # Not HTML: names go through `plain`, code into fences.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"plain": plain, "count": _count, "share": _share, "reasons": _reasons}
    return environment.get_template(template).render(**facts).rstrip("\n") + "\n"


def _count(value: int) -> str:
    return f"{value:,}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _reasons(dropped: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{plain(reason)}: {count:,}" for reason, count in dropped) or "–"
