"""The recipe of a reinforcement-learning run: one YAML file, read as strictly as a dataset's (`acedata._settings`).

Every setting's docstring is its documentation. Shipped recipes are in `acetrain/recipes/rl-*.yaml`: the paper's six
runs (three policies, two rewards), each as the paper says (`-paper`) and as the released scripts did (`-upstream`), an
R1-style start, a LoRA run for one GPU, and `rl-tiny` for a processor.

Counting: a *rollout* is one round of generation, `questions` × `programs` completions; it is followed by
`questions × programs / batch` *updates*. TRL counts otherwise: its steps are updates, its batches completions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from acedata import RecipeError
from acedata._settings import Settings, contradiction, find_settings, nearest, parse_settings, read_text
from acetrain._reward_model._recipe import Reporter

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy takes
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class LoraConfig(Settings):
    """An adapter instead of all weights."""

    rank: Positive = 32
    """Of the update's matrices."""
    alpha: Above = 64.0
    """The update counts alpha / rank."""
    dropout: Share = 0.0
    """Of the adapter's input; 0 with reinforce++, which turns dropout off."""
    modules: Annotated[list[str], Field(min_length=1)] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    """Which linear layers have one."""


class TinyConfig(Settings):
    """A policy made on the spot: a small model after a supervised start on composed tasks."""

    supervised_steps: Count = 600
    """Of 64 demonstrations each."""
    right: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of right programs among the demonstrations."""
    hidden: Annotated[int, Field(ge=8)] = 128
    """Width; a multiple of 8."""
    layers: Positive = 4
    """Depth."""
    seed: Seed = 0
    """Of weights, demonstrations, and which pairs of operators are shown."""


class PolicyConfig(Settings):
    """What is trained."""

    path: str | None = None
    """Name on the hub, or a folder; relative to the recipe's folder. Null: see `tiny`."""
    tiny: TinyConfig | None = None
    """Make the policy on the spot."""
    revision: str | None = None
    """Commit on the hub; without one, whatever is newest. Not with `tiny`."""
    load: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the weights in memory. Updates of 5e-7 are lost in bfloat16 alone: DeepSpeed keeps float32 copies of what
    it trains; without it, take float32."""
    attention: str | None = None
    """Such as flash_attention_2; null: transformers' choice."""
    lora: LoraConfig | None = None
    """Null: all weights are trained."""


class DataConfig(Settings):
    """Which questions."""

    path: str | None = None
    """An export of `acedata export`, a Parquet or JSON Lines file, or a name on the hub; relative to the recipe's
    folder. Columns: `prompt`, a text or a list of messages, and `test_cases`, a JSON list as text."""
    tasks: Positive | None = None
    """In the place of a path: so many composed tasks, drawn on the spot for a policy that is made there too."""
    config: str | None = "trl-hard"
    """Configuration of an export: `trl-hard`, the hard subset, or `trl-rl`, all questions. Null for files."""
    split: str = "train"
    """Split of an export or of a dataset on the hub; a file has none but `train`."""
    revision: str | None = None
    """Commit on the hub; not of what is on this machine."""
    prompt: Literal["given", "r1"] = "given"
    """`given`: as the data has it. `r1`: with a system message that asks for `<think>…</think>` and one Python block;
    a prompt that is plain text is framed as a conversation, for base models without a chat template."""
    limit: Positive | None = None
    """Most questions, from the beginning."""
    skip_shown: bool = False
    """Tests that the prompt shows (the column `shown_tests`) do not count, where programs are judged."""


class RewardConfig(Settings):
    """What a completion is paid."""

    kind: Literal["rule", "model"]
    """`rule`: by its tests. `model`: by a reward model."""
    mode: Literal["binary", "pass_rate"] = "binary"
    """Rule: 1 only if every test passes, or the share of tests passed."""
    bonus: Finite = 0.0
    """Rule: added when every test passes."""
    format: Finite = 0.0
    """Rule: added for the form `<think>…</think> … ```python …``` `."""
    overlong: Annotated[list[Finite], Field(min_length=3, max_length=3)] | None = None
    """Rule: [soft, hard, penalty] in tokens: from `soft` on, up to `penalty` is taken off, all of it at `hard`."""
    unsealed: Literal["count", "zero", "unknown"] = "count"
    """Rule: what becomes of tests that a program might have forged."""
    limits: dict[str, Finite] = Field(default={})
    """Rule: the sandbox's limits where they are not the reward's own (1 s per test, 2 s per program)."""
    workers: Positive | None = None
    """Rule: programs judged at a time on a node; null: one per core."""
    shared: bool = True
    """Rule: the processes of a node use one judge."""
    path: str | None = None
    """Model: folder, relative to the recipe's, or name on the hub."""
    revision: str | None = None
    """Model: commit on the hub."""
    load: Literal["bfloat16", "float32"] = "float32"
    """Model: type of its weights in memory."""
    mean: Finite = 0.0
    """Model: taken off every score, before the clip."""
    std: Above = 1.0
    """Model: divides every score, after `mean`, before the clip."""
    clip: Above | None = 10.0
    """The reward is cut to ± this; not the rule's with grpo, which TRL does not cut. The curve has the rule's reward
    before the cut, a reward model's after it."""
    watch: bool = False
    """Model: judge the completions too, for the curve alone. Costs what the rule reward costs."""


class RolloutConfig(Settings):
    """How completions are drawn."""

    questions: Positive = 256
    """Of one rollout."""
    programs: Annotated[int, Field(ge=2)] = 8
    """Completions per question."""
    prompt_tokens: Positive = 2048
    """Questions with longer prompts are left out, and counted."""
    completion_tokens: Positive = 2048
    """Longest completion."""
    temperature: Above = 1.0
    """1: the policy's own distribution."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus; 1 is off. Anything else makes the policy that draws another one than the one that learns."""
    engine: Literal["generate", "vllm-colocate", "vllm-server"] = "generate"
    """`generate`: transformers, slow. `vllm-colocate`: vLLM on the GPUs that train. `vllm-server`: `vllm serve` on
    others (docs/gpu-jobs.md)."""
    vllm_memory: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Colocate: vLLM's share of each GPU's memory."""
    vllm_tensor_parallel: Positive = 1
    """Colocate: GPUs that one vLLM engine spans."""
    vllm_sleep: bool = False
    """Colocate: vLLM gives its memory back while the policy is trained."""
    vllm_host: str = "127.0.0.1"
    """Server: its address."""
    vllm_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Server: its port."""


# Settings that may name what is on this machine.
PATHS = ("policy.path", "data.path", "reward.path")
# The engine that each of vLLM's settings is for.
VLLM_ENGINES = {
    "vllm_memory": "vllm-colocate",
    "vllm_tensor_parallel": "vllm-colocate",
    "vllm_sleep": "vllm-colocate",
    "vllm_host": "vllm-server",
    "vllm_port": "vllm-server",
}


class UpdateConfig(Settings):
    """How the policy learns from a rollout."""

    batch: Positive = 128
    """Completions of one update, over all processes."""
    device_batch: Positive = 8
    """Completions at a time in one process; the rest of the batch is accumulated. With `mean: tokens` it decides what
    is learned, and may not change when a run goes on: it is the micro-batch that the mean is over."""
    passes: Positive = 1
    """Times a rollout is used."""
    learning_rate: Above = 0.0000005
    """Largest, after the warm-up."""
    schedule: Literal["cosine_with_min_lr", "cosine", "linear", "constant", "constant_with_warmup"] = (
        "cosine_with_min_lr"
    )
    """How the learning rate goes on; `cosine_with_min_lr` ends at a tenth."""
    warmup: Share = 0.03
    """Share of the updates in which the learning rate rises."""
    kl: NotNegative = 0.01
    """Weight of the distance to the start: in the tokens' rewards (reinforce++), in a completion's reward (rloo), in
    the loss (grpo)."""
    ratio_clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """The ratio to the rollout's probabilities is clipped to 1 ± this."""
    mean: Literal["sequences", "tokens"] = "sequences"
    """The loss is a mean over completions, each the mean over its tokens; or over all tokens of a micro-batch."""
    max_grad_norm: NotNegative = 1.0
    """Gradients are scaled down to this norm."""
    weight_decay: NotNegative = 0.0
    """Of AdamW."""
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = Field(default=[0.9, 0.95])
    """Of AdamW."""
    gradient_checkpointing: bool = True
    """Less memory, about a fifth slower."""


class RunConfig(Settings):
    """How long, and what is kept."""

    episodes: Above = 1.0
    """Times through the questions."""
    rollouts: Positive | None = None
    """So many, instead of `episodes`; a recipe has one of the two."""
    save_every: Positive = 10
    """Rollouts between two checkpoints; the last is always one."""
    keep: Positive = 3
    """Checkpoints kept."""
    completions: bool = False
    """Keep every rollout's completions with their rewards (Parquet)."""
    seed: Seed = 42
    """Of the order of the questions and of what is drawn."""
    cpu: bool = False
    """Never use an accelerator."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Of torch, on a processor; null: as many as it takes. Small models are fastest with 1."""
    report_to: list[Reporter] = Field(default=[])
    """Who is told what is logged, besides the run's folder: [wandb], [tensorboard] or others that transformers knows,
    each with its package installed. tensorboard's files are in `runs` of the run's folder."""


class RLRecipe(Settings):
    """Everything that decides a run."""

    name: Name
    """Of the run and of the model."""
    algorithm: Literal["grpo", "rloo", "reinforce++"]
    """docs/reinforcement-learning.md tells them apart."""
    policy: PolicyConfig
    data: DataConfig
    reward: RewardConfig
    rollout: RolloutConfig = RolloutConfig()
    update: UpdateConfig = UpdateConfig()
    run: RunConfig = RunConfig()

    _path: Path = PrivateAttr(Path("recipe.yaml"))

    @property
    def updates_per_rollout(self) -> int:
        """Optimizer steps on each rollout."""
        return self.rollout.questions * self.rollout.programs // self.update.batch * self.update.passes

    def rollouts(self, questions: int) -> int:
        """How many rollouts a run over so many questions has."""
        if self.run.rollouts is not None:
            return self.run.rollouts
        return max(1, round(self.run.episodes * questions / self.rollout.questions))

    def resolve(self, path: str) -> str:
        """A path of the recipe: what exists relative to the recipe's folder is meant first, then what exists here, then
        what the hub may have."""
        at = os.path.expanduser(path)
        local = os.path.join(self._path.resolve().parent, at)
        if os.path.exists(local):
            return local
        return os.path.abspath(at) if os.path.exists(at) else path

    def to_dict(self) -> dict[str, Any]:
        """All settings, those that were not given too."""
        return self.model_dump(by_alias=True)

    @model_validator(mode="after")
    def _fits_together(self) -> RLRecipe:
        for trouble in _contradictions(self):
            raise trouble
        return self


def _contradictions(recipe: RLRecipe) -> Iterator[PydanticCustomError]:
    reward, rollout, update = recipe.reward, recipe.rollout, recipe.update
    completions = rollout.questions * rollout.programs
    if completions % update.batch:
        yield contradiction(
            ("update", "batch"),
            f"is {update.batch}; expected a divisor of questions × programs = {completions}",
        )
    if update.batch % update.device_batch:
        yield contradiction(
            ("update", "batch"),
            f"is {update.batch}; expected a multiple of device_batch = {update.device_batch}",
        )
    policy, data = recipe.policy, recipe.data
    if (policy.path is None) == (policy.tiny is None):
        yield contradiction(("policy",), "needs either `path` or `tiny`, and not both")
    if policy.tiny is not None and policy.tiny.hidden % 8:
        yield contradiction(
            ("policy", "tiny", "hidden"), f"is {policy.tiny.hidden}; expected a multiple of 8"
        )
    if (data.path is None) == (data.tasks is None):
        yield contradiction(("data",), "needs either `path` or `tasks`, and not both")
    if data.tasks is not None and policy.tiny is None:
        yield contradiction(("data", "tasks"), "is for a policy that is made on the spot: `policy.tiny`")
    if policy.tiny is not None and "revision" in given_of(policy):
        yield contradiction(("policy", "revision"), "means nothing with `tiny`")
    for name in ("config", "split", "revision"):
        if data.tasks is not None and name in given_of(data):
            yield contradiction(("data", name), "means nothing with `tasks`")
    if recipe.algorithm == "reinforce++" and policy.lora is not None and policy.lora.dropout:
        yield contradiction(
            ("policy", "lora", "dropout"),
            f"is {policy.lora.dropout}; expected 0.0: `algorithm: reinforce++` turns dropout off",
        )
    if reward.kind == "model" and reward.path is None:
        yield contradiction(("reward", "path"), "is missing: `kind: model` needs a reward model")
    given = given_of(reward)
    judged = reward.kind == "rule" or reward.watch
    for name in ("mode", "bonus", "format", "overlong"):
        if reward.kind == "model" and name in given:
            yield contradiction(("reward", name), "means nothing with `kind: model`")
    for name in ("unsealed", "limits", "workers", "shared"):
        if not judged and name in given:
            yield contradiction(("reward", name), "means nothing where no program is judged")
    for name in ("path", "revision", "load", "mean", "std", "watch"):
        if reward.kind == "rule" and name in given:
            yield contradiction(("reward", name), "means nothing with `kind: rule`")
    if not judged and "skip_shown" in given_of(data):
        yield contradiction(("data", "skip_shown"), "means nothing where no program is judged")
    if reward.kind == "rule" and recipe.algorithm == "grpo" and "clip" in given:
        yield contradiction(
            ("reward", "clip"),
            "means nothing with `kind: rule` and `algorithm: grpo`, where TRL does not clip",
        )
    if reward.overlong is not None:
        soft, hard, _ = reward.overlong
        if not (0 <= soft < hard and soft.is_integer() and hard.is_integer()):
            yield contradiction(
                ("reward", "overlong"),
                "must be [soft, hard, penalty] with whole numbers of tokens, 0 <= soft < hard",
            )
    yield from _bad_limits(reward)
    if recipe.algorithm == "rloo" and update.mean == "tokens":
        yield contradiction(
            ("update", "mean"), "is tokens; expected sequences: TRL's rloo has one ratio per completion"
        )
    for name in sorted(given_of(rollout)):
        if rollout.engine != VLLM_ENGINES.get(name, rollout.engine):
            yield contradiction(("rollout", name), f"means nothing with `engine: {rollout.engine}`")
    if recipe.run.rollouts is not None and "episodes" in given_of(recipe.run):
        yield contradiction(("run", "episodes"), "means nothing with `rollouts`")
    if rollout.engine != "generate" and recipe.run.cpu:
        yield contradiction(
            ("rollout", "engine"), f"is {rollout.engine}; expected generate where `cpu` is true"
        )
    if recipe.run.cpu and recipe.policy.load == "bfloat16":
        yield contradiction(("policy", "load"), "is bfloat16; expected float32 where `cpu` is true")


def given_of(settings: Settings) -> set[str]:
    """Names of the settings that are not at their defaults. To give a default says nothing, so nothing is ignored: a
    recipe written out whole, as `--show` and a run's folder have it, can be read again."""
    fields = type(settings).model_fields
    return {
        name
        for name in settings.model_fields_set
        if getattr(settings, name) != fields[name].get_default(call_default_factory=True)
    }


def _bad_limits(reward: RewardConfig) -> Iterator[PydanticCustomError]:
    from acesandbox import BadInput, Limits

    names = list(Limits().to_dict())
    for name in reward.limits:
        if name not in names:
            hint = nearest(name, names) or "; there are " + ", ".join(names)
            yield contradiction(("reward", "limits", name), f"is no limit{hint}")
            return
        value = reward.limits[name]
        if isinstance(getattr(Limits(), name), int) and not float(value).is_integer():
            yield contradiction(("reward", "limits", name), f"is {value}; expected a whole number")
            return
    try:
        limits_of(reward)
    except BadInput as error:
        yield contradiction(("reward", "limits"), f"cannot be: {error}")


def limits_of(reward: RewardConfig) -> Any:
    """The sandbox's limits that a reward asks for, an `acesandbox.Limits`."""
    from acesandbox import Limits

    whole = {
        name: int(value) if isinstance(getattr(Limits(), name), int) else value
        for name, value in reward.limits.items()
    }
    return Limits(cpu_s=1.0, program_cpu_s=2.0).replace(**whole)


def shipped_recipes() -> dict[str, Path]:
    """Recipes of runs that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "recipes").glob("rl-*.yaml"))}


def load_recipe(source: str | os.PathLike[str], changes: Sequence[str] = ()) -> RLRecipe:
    """Reads a recipe.

    Args:
        source: a path, or the bare name of one that is shipped.
        changes: settings put in the place of the file's, `rollout.questions=16` each; the value is read as YAML. A path
            that exists where the command is run is made absolute.
            `run.rollouts` takes the place of the file's `run.episodes` too, and the other way round.

    Raises:
        RecipeError: there is none, or it says something that cannot be; one line per mistake.
    """
    path = find_settings(source, shipped_recipes())
    return parse_recipe(read_text(path), path, changes)


def parse_recipe(text: str, path: Path = Path("recipe.yaml"), changes: Sequence[str] = ()) -> RLRecipe:
    """Reads a recipe's text; `path` names it in messages, and relative paths start from its folder.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        recipe = parse_settings(text, path, RLRecipe)
    except RecipeError as error:
        # A change may be what makes the recipe whole: only if it is wrong with the changes too is it wrong.
        if not changes:
            raise
        recipe = _changed(_plain(text, path), changes, str(error).splitlines())
    else:
        if changes:
            recipe = _changed(recipe.model_dump(by_alias=True, exclude_unset=True), changes)
    recipe._path = path
    return recipe


def _plain(text: str, path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, dict):
        parse_settings(text, path, RLRecipe)  # raises, with the place
    return dict(values)


def _changed(values: dict[str, Any], changes: Sequence[str], before: Sequence[str] = ()) -> RLRecipe:
    """The recipe with other settings in it.

    Args:
        before: what is wrong without them, a line each. What is wrong with them too is not their fault.
    """
    named = {change.partition("=")[0].strip() for change in changes}
    run = values.get("run")
    for name, other in (("rollouts", "episodes"), ("episodes", "rollouts")):
        if f"run.{name}" in named and f"run.{other}" not in named and isinstance(run, dict):
            run.pop(other, None)
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name.strip():
            raise RecipeError(f"--set {change}: expected NAME=VALUE, such as rollout.questions=16")
        *groups, last = name.strip().split(".")
        group = values
        for part in groups:
            inner = group.setdefault(part, {})
            if not isinstance(inner, dict):
                inner = group[part] = {}
            group = inner
        try:
            group[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"--set {change}: the value is not YAML") from None
        if isinstance(group[last], str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", group[last]):
            group[last] = float(group[last])  # 5e-7, which YAML takes for text
        if name.strip() in PATHS and isinstance(group[last], str):
            # On the command line a path starts from where the command is run, not from the recipe's folder.
            here = os.path.expanduser(group[last])
            group[last] = os.path.abspath(here) if os.path.exists(here) else group[last]
    try:
        return parse_settings(yaml.safe_dump(values, sort_keys=False), Path("--set"), RLRecipe)
    except RecipeError as error:
        said = ", ".join(changes)
        lines = [re.sub(r"^--set:\d+: ", "", line) for line in str(error).splitlines()]
        in_file = {_complaint(line): line for line in before}
        lines = [in_file.get(line, f"with --set {said}: {line}") for line in lines]
        raise RecipeError("\n".join(lines)) from None


def _complaint(line: str) -> str:
    """A mistake without its place, `recipe.yaml:12: `."""
    return re.sub(r"^.*?:\d+: ", "", line)
