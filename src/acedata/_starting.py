"""`acedata import`: a recipe that starts from questions somebody has already."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from ._directory import Directory
from ._errors import BadInput
from ._import import Comparison, Start, compare, iter_starts
from ._recipe import Recipe, SeedsConfig, SourceConfig, parse_recipe
from ._rows import is_local
from ._stages import local_files

LOOKED_AT = 200
"""Questions in which the names of the models are looked for."""


def recipe_for(
    source: str,
    path: Path,
    *,
    name: str = "imported",
    split: str = "train",
    models: Sequence[str] | None = None,
    min_tests: int = 5,
    definition: str = "paper",
    limit: int | None = None,
) -> Recipe:
    """A recipe that imports a dataset, judges the programs that came with it, and makes the views of them.

    Args:
        source: a file, folder or glob, or a dataset on the hub.
        path: where the recipe will lie: names it in messages.
        name: of the source, where rows do not say theirs; of the recipe too.
        split: of a dataset on the hub.
        models: whose programs are paired; None: all that the first questions have.
        min_tests, definition, limit: `filter.min_tests`, `definition` and `seeds.limit`.

    Raises:
        BadInput: it cannot be read, or has no questions.
        RecipeError: an argument is no valid setting.
    """
    where = str(Path(source).absolute()) if is_local(source) else source
    seeds: dict[str, Any] = {"sources": [{"name": name, "from": "start", "path": where, "split": split}]}
    if limit is not None:
        seeds["limit"] = limit
    settings: dict[str, Any] = {
        "name": name,
        "definition": definition,
        "seeds": seeds,
        "filter": {"min_tests": min_tests},
    }
    text = _text(settings, source)
    checked = parse_recipe(text, path)
    found = _models(checked.seeds.sources[0])
    if models is not None:
        unknown = [model for model in models if model not in found]
        if unknown:
            said = f"their models are {', '.join(found)}" if found else "they have none"
            raise BadInput(f"{source}: {unknown[0]!r} wrote none of the first programs; {said}")
        found = list(models)
    if found:
        settings["pairs"] = {"models": found}
        settings["hard"] = {"models": found}
    else:
        settings["samples"] = {"imported": False}
    return parse_recipe(_text(settings, source), path)


def _text(settings: dict[str, Any], source: str) -> str:
    return f"# Made by `acedata import` of {source}.\n" + yaml.safe_dump(settings, sort_keys=False, width=110)


def _models(source: SourceConfig) -> list[str]:
    """The models that wrote the programs of the first questions, as they first appear."""
    found: dict[str, None] = {}
    starts = 0
    for start in islice(iter_starts(SeedsConfig(sources=[source])), LOOKED_AT):
        if isinstance(start, Start):
            starts += 1
            found.update(dict.fromkeys(program.model for program in start.programs))
    if not starts:
        raise BadInput(f"{source.path}: none of its first rows is a question with tests")
    return list(found)


def compare_published(recipe: Recipe, directory: Directory) -> Comparison | None:
    """Pass rates that came with the programs beside those of the build.

    Returns:
        None where there is nothing to compare: no programs came along, or tests were filtered out since.
    """
    judged = directory.manifest
    if "imported" not in judged or recipe.references.models or "sample_matrix" not in judged:
        return None
    starts = iter_starts(recipe.seeds, lambda source: local_files(recipe, source))
    found = compare(starts, directory.batches("sample_matrix"))
    return found if found.equal + found.higher + found.lower else None
