"""The stages: which a recipe has, in which order, what each reads, and which settings decide what it makes.

Nothing is done here. `_build` asks `stages(recipe)` what there is, compares fingerprints with the manifest, and has
`_make` do what is missing. A stage is up to date when its fingerprint is that of the manifest: a hash of

- `settings`: the part of the recipe that it reads, and of local source files their content;
- `rules`: a number that is raised here when a stage's code comes to make something else of the same input;
- `inputs`: the content of the stages it reads. So a stage that came out the same although it ran again makes nothing
  after it run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from . import _records as records
from ._directory import StageRecord, fingerprint_of, rows_of
from ._errors import BadInput
from ._recipe import HOW, BenchmarkConfig, Recipe, SourceConfig
from ._rows import files_at, is_local

Kind = Literal["load", "ask", "judge", "view", "whole"]

ORDER = (
    "seeds",
    "questions",
    "imported",
    "checked",
    "references",
    "reference_matrix",
    "reference_matrix_again",
    "filtered",
    "mutants",
    "mutant_matrix",
    "strength",
    "samples",
    "sample_matrix",
    "telling",
    "pass_rates",
    "pairs",
    "hard",
)
"""All stages there can be, in the order in which they are built and listed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one recipe.

    Attributes:
        name: of its folder in data/.
        kind: how it is made. `load` reads the recipe's sources; `ask` asks models; `judge` runs programs; `view` works
            shard by shard; `whole` is a view that needs all rows at once.
        reads: stages, the first of which gives the rows that are counted in.
        schema: of its rows.
        unit: what is counted: the funnel of the report is drawn in it.
        settings: what it reads of the recipe, as JSON can say it.
        rules: version of its code's rules.
    """

    name: str
    kind: Kind
    reads: tuple[str, ...]
    schema: pa.Schema
    unit: str
    settings: Mapping[str, Any]
    rules: int = 1

    def fingerprint(self, manifest: Mapping[str, StageRecord]) -> str:
        """Hash of everything that decides its rows. All stages that it reads must be in the manifest."""
        return fingerprint_of([self.facts, self.inputs(manifest)])

    @property
    def facts(self) -> dict[str, Any]:
        """What decides its rows apart from what it reads."""
        return {**self.settings, "rules": self.rules, "schema": self.schema.to_string(), "stage": self.name}

    def inputs(self, manifest: Mapping[str, StageRecord]) -> dict[str, str]:
        """The content of the stages it reads."""
        return {name: manifest[name].content for name in self.reads}

    def shard_key(self, shard: int, manifest: Mapping[str, StageRecord]) -> str:
        """Hash of everything that decides one shard's rows; for stages that read all rows at once, of the stage's."""
        if self.kind in ("load", "whole"):
            return fingerprint_of([shard, self.fingerprint(manifest)])
        number = f"{shard:05d}"
        inputs = {
            name: rows_of(note) if (note := manifest[name].shards.get(number)) is not None else None
            for name in self.reads
        }
        return fingerprint_of([shard, self.facts, inputs])


def stages(recipe: Recipe) -> list[Stage]:
    """The stages of a recipe, each after those it reads.

    Raises:
        BadInput: a local source file does not exist.
    """
    made: list[Stage] = []

    def add(
        name: str,
        kind: Kind,
        reads: tuple[str, ...],
        schema: pa.Schema,
        unit: str,
        settings: Mapping[str, Any],
        rules: int = 1,
    ) -> None:
        made.append(
            Stage(name, kind, reads, schema, unit, {**settings, "shard_rows": recipe.shard_rows}, rules)
        )

    sources = {
        "sources": [_source(recipe, source) for source in recipe.seeds.sources],
        "limit": recipe.seeds.limit,
    }
    if recipe.starts:
        add("questions", "load", (), records.QUESTIONS, "questions", sources)
    else:
        assert recipe.questions is not None
        add(
            "seeds",
            "load",
            (),
            records.SEEDS,
            "seeds",
            {**sources, "drop_duplicates": recipe.seeds.drop_duplicates},
        )
        asked = recipe.questions
        add(
            "questions",
            "ask",
            ("seeds",),
            records.QUESTIONS,
            "seeds",
            {
                "model": model_settings(recipe, asked.model),
                "format": asked.format,
                "attempts": asked.attempts,
            },
        )

    checks, near, known = recipe.checks, recipe.checks.near_duplicates, recipe.checks.decontaminate
    add(
        "checked",
        "view" if near is None and known is None else "whole",
        ("questions",),
        records.QUESTIONS,
        "questions",
        {
            "signature": checks.signature,
            "near_duplicates": None if near is None else near.model_dump(),
            "decontaminate": None
            if known is None
            else {
                **known.model_dump(exclude={"benchmarks"}),
                "benchmarks": [_source(recipe, benchmark) for benchmark in known.benchmarks],
            },
            "seed": None if near is None else recipe.seed,
        },
    )

    judging = {"judge": _judge_settings(recipe)}
    references: tuple[str, ...] = ()
    if recipe.references.models:
        add(
            "references",
            "ask",
            ("checked",),
            records.PROGRAMS,
            "programs",
            {
                **recipe.references.model_dump(),
                "models": [model_settings(recipe, name) for name in recipe.references.models],
            },
        )
        add("reference_matrix", "judge", ("references", "checked"), records.MATRIX, "programs", judging)
        references = ("reference_matrix",)
        if recipe.filter.flaky:
            add(
                "reference_matrix_again",
                "judge",
                ("references", "checked"),
                records.MATRIX,
                "programs",
                {**judging, "again": True},
            )
            references += ("reference_matrix_again",)
    filtering = recipe.filter.model_dump()
    add(
        "filtered",
        "view",
        ("checked", *references),
        records.FILTERED,
        "questions",
        {
            "definition": recipe.definition,
            # Without references there is nothing to agree on and nothing to run twice.
            **(filtering if references else {"min_tests": filtering["min_tests"]}),
        },
    )
    questions, schema = "filtered", records.FILTERED
    if recipe.strength is not None:
        # Without a reference there is nothing to make mutants of; `_recipe` sees to that.
        strength = recipe.strength
        add(
            "mutants",
            "view",
            ("filtered", "references", "reference_matrix"),
            records.PROGRAMS,
            "questions",
            {"mutants": strength.mutants, "seed": recipe.seed},
        )
        add("mutant_matrix", "judge", ("mutants", "filtered"), records.MATRIX, "programs", judging)
        add(
            "strength",
            "view",
            ("filtered", "mutant_matrix"),
            records.STRENGTH,
            "questions",
            {"min_score": strength.min_score},
        )
        questions, schema = "strength", records.STRENGTH

    imported: tuple[str, ...] = ()
    if recipe.starts and recipe.samples.imported:
        add("imported", "load", (), records.PROGRAMS, "programs", sources)
        imported = ("imported",)
    if imported or recipe.samples.models:
        add(
            "samples",
            "ask",
            (questions, *imported),
            records.PROGRAMS,
            "programs",
            {
                **recipe.samples.model_dump(exclude={"imported"}),
                "models": [model_settings(recipe, name) for name in recipe.samples.models],
            },
        )
        add("sample_matrix", "judge", ("samples", questions), records.MATRIX, "programs", judging)
        tried: tuple[str, ...] = ()
        if recipe.strength is not None and recipe.strength.drop_redundant:
            least = {"min_tests": recipe.filter.min_tests}
            add("telling", "view", (questions, "sample_matrix"), schema, "questions", least)
            questions, tried = "telling", (questions,)
        add(
            "pass_rates",
            "view",
            ("sample_matrix", questions, *tried),
            records.PASS_RATES,
            "programs",
            {"definition": recipe.definition},
        )
        if recipe.pairs is not None:
            pairs = recipe.pairs
            add(
                "pairs",
                "view",
                (questions, "samples", "pass_rates"),
                records.PAIRS,
                "questions",
                {
                    "definition": recipe.definition,
                    **pairs.model_dump(),
                    "seed": None if pairs.cap is None else recipe.seed,
                },
            )
        if recipe.hard is not None:
            add(
                "hard",
                "whole",
                (questions, "pass_rates"),
                records.HARD,
                "questions",
                {"models": recipe.hard.models, "min_tests": recipe.filter.min_tests},
            )
    return sorted(made, key=lambda stage: ORDER.index(stage.name))


def model_settings(recipe: Recipe, name: str) -> dict[str, Any]:
    """What of a model's settings decides its answers, and the name it is published under."""
    return {"name": name, **recipe.models[name].model_dump(exclude=set(HOW))}


def _judge_settings(recipe: Recipe) -> dict[str, Any]:
    from acesandbox import Limits

    # All limits by value: another version's defaults are other limits.
    limits = Limits().replace(**recipe.judge.limits).to_dict()
    return {**recipe.judge.model_dump(exclude={"limits"}), "limits": limits}


def _source(recipe: Recipe, source: SourceConfig | BenchmarkConfig) -> dict[str, Any]:
    settings = source.model_dump()
    paths = local_files(recipe, source)
    if paths is not None:
        # What the files hold decides, wherever they lie.
        settings["path"] = [_content(path) for path in paths]
    return settings


def local_files(recipe: Recipe, source: SourceConfig | BenchmarkConfig) -> list[Path] | None:
    """The files of a local source, sorted; None for one on the hub.

    Raises:
        BadInput: there are none.
    """
    if isinstance(source, SourceConfig) and source.kind == "hub":
        return None
    path = recipe.resolve(source.path)
    try:
        return files_at(str(path))
    except BadInput as error:
        # `start` sources and benchmarks are on the hub unless there is such a file, or could only be one.
        if (isinstance(source, SourceConfig) and source.kind == "files") or is_local(source.path):
            raise BadInput(f"source {source.name!r}: {error}") from None
    return None


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
