"""The recipe: one YAML file that says everything that decides a dataset, read into checked, frozen settings.

`load_recipe` reads YAML strictly (`_settings`): a mistake is one line for people, nothing is coerced, and a setting
that does not exist is an error rather than ignored.

Each setting's docstring is its documentation; docs/recipes.md lists them all. A setting that decides what comes out is
part of the fingerprint of each stage that reads it (`_stages`); those that only decide how fast, where or for how much
(engine, workers, ray, store, budget_usd, and `HOW` of a model) are not.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from ._errors import RecipeError
from ._settings import Settings, contradiction, find_settings, nearest, parse_settings, read_text

Share = Annotated[float, Field(ge=0, le=1)]
# What Arrow and the response store can hold; nobody means more.
Count = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]
Text = Annotated[str, Field(min_length=1)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Names appear in ids (`evol_12`) and in published columns.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
Definition = Literal["paper", "upstream"]

# Settings of a model that decide how an answer is fetched, not what it is: no part of any fingerprint.
HOW = frozenset(
    {
        "backend",
        "base_url",
        "api_key_env",
        "price",
        "concurrency",
        "timeout_s",
        "retries",
        "answers",
        "engine_options",
    }
)
# Settings of the recipe that decide how it is built, not what comes out.
RUN = frozenset({"budget_usd", "store", "engine", "workers", "ray"})


class ColumnsConfig(Settings):
    """Which columns of a source hold what. Null: the published name is found by itself."""

    instruction: str | None = None
    """The task in words; a source without one gets the prompt variant without one."""
    program: str | None = None
    """The seed's program, or the answer that holds it in a code fence."""
    lang: str | None = None
    """The programming language; rows of another one than Python are dropped."""
    id: str | None = None
    """The source's own name of a row, kept only in drops' details."""
    question: str | None = None
    """`from: start`: the question."""
    tests: str | None = None
    """`from: start`: the list of asserts."""


class SourceConfig(Settings):
    """One source of seeds, or of questions that exist already."""

    name: Name
    """Published as `source`, and the first part of every id."""
    kind: Literal["hub", "files", "start"] = Field(alias="from")
    """`hub`: a dataset on the Hugging Face hub. `files`: local ones. `start`: questions with tests,
    and programs where they have them, on the hub or in files; they take the place of `seeds` and `questions`."""
    path: Text
    """Name on the hub, or a file, folder or glob (Parquet, JSON, JSON Lines, CSV); relative to the recipe's folder."""
    split: str = "train"
    """Split of a dataset on the hub."""
    config: str | None = None
    """Configuration of a dataset on the hub."""
    revision: str | None = None
    """Commit of a dataset on the hub; without one, whatever is newest."""
    columns: ColumnsConfig = ColumnsConfig()
    """Where a source's columns are not the published ones."""
    min_chars: Count = 0
    """Programs shorter than this are dropped."""
    drop_prints: bool = True
    """Take lines that only print out of seed programs."""
    limit: Positive | None = None
    """Most seeds kept of this source, from its beginning."""


class SeedsConfig(Settings):
    """What the build starts from."""

    sources: Annotated[list[SourceConfig], Field(min_length=1)]
    """In this order in everything that is published."""
    limit: Positive | None = None
    """Most seeds kept of each source: a trial of the whole recipe at small cost."""
    drop_duplicates: bool = False
    """Drop seeds whose program is that of an earlier one."""


class PriceConfig(Settings):
    """US dollars per million tokens."""

    input: Money
    """Prompt tokens."""
    output: Money
    """Answer tokens."""
    cached_input: Money | None = None
    """Prompt tokens that the provider had cached; null: as `input`."""
    batch_factor: Money = 0.5
    """What the Batch API charges of these prices."""


class ModelConfig(Settings):
    """One way to ask one model. The key it stands under is its name in every published column.

    The same model, asked greedily and asked for samples, is two entries.
    """

    backend: Literal["openai", "openai-batch", "vllm", "replay"]
    """Who carries the requests. `openai` works with any compatible endpoint."""
    model: str
    """The model's name as the provider knows it; for vllm a hub name or a folder."""
    provider: Name
    """Declared name of who answers, such as `openai` or `vllm`; part of every stored answer's key, so the same answers
    serve whichever back-end fetched them."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus; 1 is off."""
    max_tokens: Positive = 1024
    """Longest answer. An answer that ended by itself stays valid when this is raised; a cut one is asked again."""
    stop: list[str] = []
    """Texts that end the answer."""
    json_answer: bool = Field(default=False, alias="json")
    """Ask for a JSON object where the endpoint can promise one."""
    prefill: bool = True
    """The endpoint can continue a final assistant message. Where not, formats that prefill say so and do without."""
    base_url: str | None = None
    """Address of a compatible endpoint, without a password or key in it; null: the provider's own."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key. A recipe never holds one. To a `base_url` the key is sent only where the
    recipe names its variable."""
    price: PriceConfig | None = None
    """For estimates and the budget; null: costs nothing."""
    concurrency: Positive = 64
    """Most requests in flight; fewer while the provider says 429."""
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 120.0
    """Seconds for one request."""
    retries: Count = 5
    """Times a failed request is sent again within one build."""
    answers: str | None = None
    """`replay`: file of answers, relative to the recipe's folder."""
    engine_options: dict[str, bool | int | float | str] = {}
    """`vllm`: arguments of its engine, such as tensor_parallel_size or max_model_len."""


class QuestionsConfig(Settings):
    """Synthesis: seed program to question and tests."""

    model: str
    """Name of one of `models`."""
    format: str = "synthesis-1"
    """Named prompt."""
    attempts: Positive = 1
    """Draws per seed while none can be parsed, or the model refuses."""


class BenchmarkConfig(Settings):
    """A benchmark that must not leak into the data."""

    name: Name
    """`humaneval`, `mbpp`, `bigcodebench`, `livecodebench` and the like: counted by this name in drops and the card."""
    path: Text
    """Name on the hub, or a local file; relative to the recipe's folder."""
    split: str = "test"
    """Split of a dataset on the hub."""
    config: str | None = None
    """Configuration of a dataset on the hub."""
    revision: str | None = None
    """Commit of a dataset on the hub."""
    columns: ColumnsConfig = ColumnsConfig()
    """Which columns hold `question` and `tests`."""


class DecontaminateConfig(Settings):
    """Questions that are too near a benchmark's are dropped."""

    benchmarks: Annotated[list[BenchmarkConfig], Field(min_length=1)]
    """What to keep out."""
    ngram: Positive = 3
    """Words per n-gram of questions."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.65
    """Share of a benchmark problem's n-grams, weighted, that makes a question a copy. The default was measured
    (docs/dataset.md)."""


class NearDuplicatesConfig(Settings):
    """Questions that nearly equal an earlier one are dropped (MinHash)."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Estimated Jaccard similarity from which two questions are one."""
    ngram: Positive = 5
    """Words per shingle."""
    permutations: Annotated[int, Field(ge=16, le=4096)] = 128
    """Hash functions; more is more exact."""


class ChecksConfig(Settings):
    """Beyond the paper: checks of questions before anything is spent on them."""

    signature: bool = False
    """Drop questions whose tests do not call exactly one common function; prompts then name it."""
    decontaminate: DecontaminateConfig | None = None
    """Drop questions that are a benchmark's."""
    near_duplicates: NearDuplicatesConfig | None = None
    """Drop questions that repeat an earlier one."""


class ReferencesConfig(Settings):
    """Strong solvers whose programs decide which tests are right. No models: every test is kept."""

    models: list[str] = []
    """Names among `models`; the paper has one."""
    format: str = "sample-2"
    """Named prompt."""
    cut: Literal["none", "upstream"] = "none"
    """Where a program ends: with its code block, or also where the released scripts cut it."""


class FilterConfig(Settings):
    """Which tests and questions are kept."""

    min_tests: Count = 5
    """Questions with fewer tests left are dropped."""
    agreement: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the reference models that must pass a test."""
    flaky: bool = False
    """Judge references twice, with different hash seeds, and drop tests whose result changes."""


class SamplesConfig(Settings):
    """Programs of the policies."""

    models: list[str] = []
    """Names among `models`, in the order of completion ids."""
    n: Positive = 16
    """Programs per question and model."""
    format: str = "sample-2"
    """Named prompt."""
    cut: Literal["none", "upstream"] = "none"
    """Where a program ends: with its code block, or also where the released scripts cut it."""
    imported: bool = True
    """Programs that came with the questions of a `start` source are samples too."""


class JudgeConfig(Settings):
    """How programs are run (acesandbox)."""

    limits: dict[str, int | float] = {}
    """Limits other than acesandbox's defaults, by name: cpu_s, program_cpu_s, memory_mb, ..."""
    isolation: Literal["namespaces", "seccomp", "best"] = "namespaces"
    """Which jail."""
    python: str | None = None
    """Interpreter that runs programs, with its packages; null: this one, standard library only."""
    preload: list[str] = []
    """Modules that programs find imported, such as numpy."""
    unsealed: Literal["allow", "fail"] = "allow"
    """What a test counts that a program could forge."""


class PairsConfig(Settings):
    """Preference pairs within one policy's programs."""

    models: list[str]
    """Policies whose programs are paired, each within itself."""
    margin: Share = 0.4
    """Least difference of pass rates."""
    chosen_above: Share = 0.8
    """Least pass rate of the better program."""
    rejected_above: Share = 0.0
    """Pass rate that the worse program must exceed."""
    cap: Positive | None = None
    """Most pairs of one question."""
    balance: bool = False
    """Under a cap, prefer pairs of programs that are in few pairs yet; otherwise `seed` alone draws."""


class HardConfig(Settings):
    """The subset for reinforcement learning: low mean and high deviation of pass rates."""

    models: list[str]
    """Policies whose programs count."""


class StrengthConfig(Settings):
    """Beyond the paper: how much the kept tests can tell apart."""

    mutants: Positive = 20
    """Most mutants of each reference program."""
    min_score: Share = 0.0
    """Questions whose tests find a smaller share of the mutants are dropped."""
    drop_redundant: bool = False
    """Drop tests that no two samples of a question differ in, and those that tell apart what an earlier one does."""


class ExportConfig(Settings):
    """What is published, and how."""

    forms: list[
        Literal["acecode", "pairs", "extended", "hard", "trl", "verl", "openrlhf", "llama-factory"]
    ] = [
        "acecode",
        "pairs",
        "extended",
        "hard",
    ]
    """Datasets to write."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of questions, never of rows, that goes into a validation split of `extended`."""
    license: str | None = None
    """Licence named in the card."""


class RayConfig(Settings):
    """Where the work of `engine: ray` goes."""

    address: str | None = None
    """Of a running cluster ("auto" finds it); null: a cluster on this machine."""
    cpus_per_actor: Positive = 1
    """Cores of one actor's sandbox."""


class Recipe(Settings):
    """Everything that decides a dataset."""

    name: Name
    """Of the dataset."""
    definition: Definition = "paper"
    """The views' rules: the paper's text, or those of its released scripts where they differ."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    """Of everything that is drawn."""
    seeds: SeedsConfig
    models: dict[Name, ModelConfig] = {}
    """All models, by the name that is published."""
    questions: QuestionsConfig | None = None
    """Null: the sources hold questions already."""
    checks: ChecksConfig = ChecksConfig()
    references: ReferencesConfig = ReferencesConfig()
    filter: FilterConfig = FilterConfig()
    samples: SamplesConfig = SamplesConfig()
    judge: JudgeConfig = JudgeConfig()
    pairs: PairsConfig | None = None
    """Null: no pairs."""
    hard: HardConfig | None = None
    """Null: no hard subset."""
    strength: StrengthConfig | None = None
    """Null: tests' strength is not measured."""
    export: ExportConfig = ExportConfig()
    budget_usd: Money | None = None
    """The build stops before it could have spent more, over all its runs."""
    store: str | None = None
    """Folder of the model answers, relative to the recipe's folder; null: in the build directory."""
    engine: Literal["local", "ray"] = "local"
    """This machine, or a Ray cluster."""
    workers: Positive | None = None
    """Programs judged at a time; null: one per core that may be used."""
    ray: RayConfig = RayConfig()
    shard_rows: Positive = 1000
    """Questions per Parquet file."""

    _text: str = PrivateAttr("")
    _path: Path = PrivateAttr(Path("recipe.yaml"))

    @property
    def text(self) -> str:
        """The YAML it was read from, as it was."""
        return self._text

    @property
    def starts(self) -> bool:
        """Whether the sources hold questions already."""
        return any(source.kind == "start" for source in self.seeds.sources)

    def changed(self, **changes: Any) -> Recipe:
        """A copy with other settings, by name as `seeds.limit` is: `changed(workers=4, seeds__limit=100)`.

        Raises:
            RecipeError: the result says something that cannot be.
        """
        values = self.model_dump(by_alias=True, exclude_unset=True)
        for name, value in changes.items():
            *outer, last = name.split("__")
            group = values
            for part in outer:
                group = group.setdefault(part, {})
            group[last] = value
        said = ", ".join(f"{name.replace('__', '.')}: {value}" for name, value in changes.items())
        text = f"# changed when it was built: {said}\n" + yaml.safe_dump(values, sort_keys=False, width=110)
        try:
            recipe = parse_recipe(text, self._path)
        except RecipeError as error:
            # Its lines are those of no file.
            raise RecipeError(re.sub(rf"(?m)^{re.escape(str(self._path))}:\d+: ", "", str(error))) from None
        if changes.keys() <= RUN:
            # The same recipe: what the directory and the card keep of it is what its author wrote.
            recipe._text = self._text
        return recipe

    def is_file(self, path: Path) -> bool:
        """Whether it was read from this file."""
        try:
            return self._path.samefile(path)
        except OSError:
            return False

    def resolve(self, path: str) -> Path:
        """A path of the recipe: `~` is the home, anything relative is relative to the recipe's folder."""
        return self._path.resolve().parent / os.path.expanduser(path)

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        for trouble in _contradictions(self):
            raise trouble
        return self


def load_recipe(source: str | os.PathLike[str]) -> Recipe:
    """Reads a recipe.

    Args:
        source: a path, or the bare name of one that is shipped (`shipped_recipes`).

    Raises:
        RecipeError: there is none, or it says something that cannot be; one line per mistake.
    """
    path = find_recipe(source)
    return parse_recipe(read_text(path), path)


def shipped_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml"))}


def find_recipe(source: str | os.PathLike[str]) -> Path:
    """Where a recipe is: a file of that path, or the shipped one of that name.

    Raises:
        RecipeError: neither exists.
    """
    return find_settings(source, shipped_recipes())


def parse_recipe(text: str, path: Path = Path("recipe.yaml")) -> Recipe:
    """Reads a recipe's text; `path` names it in messages, and relative paths start from its folder.

    Raises:
        RecipeError: as `load_recipe`.
    """
    recipe = parse_settings(text, path, Recipe)
    recipe._text = text
    recipe._path = path
    return recipe


def _contradictions(recipe: Recipe) -> Iterator[PydanticCustomError]:
    """What each setting alone cannot show."""
    seen: set[str] = set()
    for number, source in enumerate(recipe.seeds.sources):
        if source.name in seen:
            yield contradiction(
                ("seeds", "sources", number, "name"), f"is {source.name!r}, as another source is called"
            )
        seen.add(source.name)
    kinds = {source.kind == "start" for source in recipe.seeds.sources}
    if len(kinds) > 1:
        yield contradiction(
            ("seeds", "sources"),
            "mix `from: start`, which are questions, with seeds that need to become some",
        )
    if recipe.starts and recipe.questions is not None:
        yield contradiction(
            ("questions",), "is given, but the sources (`from: start`) hold questions already"
        )
    if not recipe.starts and recipe.questions is None:
        yield contradiction(
            ("questions",), "is missing: the sources are seeds, and a model must make questions of them"
        )

    yield from _unknown_formats(recipe)

    uses: list[tuple[tuple[str | int, ...], str]] = []
    if recipe.questions is not None:
        uses.append((("questions", "model"), recipe.questions.model))
    uses += [(("references", "models", n), name) for n, name in enumerate(recipe.references.models)]
    uses += [(("samples", "models", n), name) for n, name in enumerate(recipe.samples.models)]
    for at, name in uses:
        if name not in recipe.models:
            hint = nearest(name, recipe.models) or f"; there are {', '.join(recipe.models) or 'none'}"
            yield contradiction(at, f"is {name!r}, which is not among `models`{hint}")
    for part, names in (("references", recipe.references.models), ("samples", recipe.samples.models)):
        if len(set(names)) < len(names):
            yield contradiction((part, "models"), "names a model twice")
    for number, name in enumerate(recipe.samples.models):
        if recipe.samples.n > 1 and recipe.models[name].temperature == 0:
            yield contradiction(
                ("samples", "models", number),
                f"is {name!r}, whose temperature is 0: its {recipe.samples.n} programs would all be the same",
            )
    asked = recipe.questions
    if asked is not None and asked.attempts > 1 and recipe.models[asked.model].temperature == 0:
        yield contradiction(
            ("questions", "attempts"),
            "is more than 1, but the model's temperature is 0: it would say the same again",
        )

    # Imported programs bring models whose names only the data knows.
    imports = recipe.starts and recipe.samples.imported
    for part, config in (("pairs", recipe.pairs), ("hard", recipe.hard)):
        for number, name in enumerate(config.models if config is not None else []):
            if name not in recipe.samples.models and not imports:
                hint = nearest(name, recipe.samples.models)
                yield contradiction(
                    (part, "models", number), f"is {name!r}, which samples.models does not name{hint}"
                )
    if recipe.strength is not None and not recipe.references.models:
        yield contradiction(
            ("strength",), "needs a reference program to make mutants of; references.models is empty"
        )
    if recipe.filter.flaky and not recipe.references.models:
        yield contradiction(
            ("filter", "flaky"), "needs a reference program to run twice; references.models is empty"
        )

    used = {name for _, name in uses}
    for name, model in recipe.models.items():
        if model.backend == "replay" and model.answers is None:
            yield contradiction(
                ("models", name, "answers"), "is missing: `replay` reads its answers from there"
            )
        if model.backend != "replay" and model.answers is not None:
            yield contradiction(
                ("models", name, "answers"), f"means nothing to the back-end {model.backend!r}"
            )
        if model.backend != "vllm" and model.engine_options:
            yield contradiction(
                ("models", name, "engine_options"), f"means nothing to the back-end {model.backend!r}"
            )
        if model.base_url is not None and _has_password(model.base_url):
            # The recipe is kept in the build directory and published with the data.
            yield contradiction(
                ("models", name, "base_url"),
                "holds a password; a key belongs into the environment (`api_key_env`)",
            )
        paid = model.backend == "openai-batch" or (model.backend == "openai" and model.base_url is None)
        if recipe.budget_usd is not None and paid and model.price is None and name in used:
            yield contradiction(
                ("models", name, "price"), "is missing: budget_usd cannot be kept without prices"
            )

    yield from _bad_limits(recipe)


def _has_password(address: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(address)
    except ValueError:  # no address at all: the back-end says so
        return False
    named = {name.lower().replace("-", "_") for name in urllib.parse.parse_qs(parts.query)}
    return parts.password is not None or bool(named & {"key", "api_key", "apikey", "token", "access_token"})


def _unknown_formats(recipe: Recipe) -> Iterator[PydanticCustomError]:
    from ._formats import FORMATS, SYNTHESIS_FORMATS

    uses = [(("references", "format"), recipe.references.format, FORMATS)]
    uses.append((("samples", "format"), recipe.samples.format, FORMATS))
    if recipe.questions is not None:
        uses.append((("questions", "format"), recipe.questions.format, SYNTHESIS_FORMATS))
    for at, name, known in uses:
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(known)}"
            yield contradiction(at, f"is {name!r}, which is no prompt format{hint}")


def _bad_limits(recipe: Recipe) -> Iterator[PydanticCustomError]:
    from acesandbox import BadInput, Limits

    names = list(Limits().to_dict())
    for name, value in recipe.judge.limits.items():
        at = ("judge", "limits", name)
        if name not in names:
            yield contradiction(at, f"is no limit{nearest(name, names) or '; there are ' + ', '.join(names)}")
            continue
        try:
            Limits().replace(**{name: value})
        except BadInput as error:
            if name not in ("cpu_s", "quantum_s"):
                yield contradiction(at, f"is {value!r}: {error}")
    if all(name in names for name in recipe.judge.limits):
        try:
            Limits().replace(**recipe.judge.limits)
        except BadInput as error:
            yield contradiction(("judge", "limits"), f"cannot be: {error}")
