"""The recipe of a reward model: one YAML file, read as strictly as a dataset's (`acedata._settings`).

Every setting's docstring is its documentation. Shipped recipes are in `acetrain/recipes/rm-*.yaml`: `rm-7b` and
`rm-32b` have the published hyper-parameters (the configurations released with AceCoder; Zeng et al., 2025, section 3),
`rm-7b-lora` and `rm-32b-lora` train an adapter for one GPU, `rm-tiny` makes a model from nothing on a processor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from acedata._errors import BadInput
from acedata._settings import Settings, changed_text, contradiction, find_settings, parse_settings, read_text

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
# Who can be told what a trainer logs, by transformers' names. It has kubeflow too, which it adds by itself.
Reporter = Literal[
    "azure_ml", "clearml", "codecarbon", "comet_ml", "dagshub", "dvclive", "flyte", "mlflow", "neptune", "swanlab",
    "tensorboard", "trackio", "wandb",
]  # fmt: skip
# What is imported for it, where that is not its name; one of them is enough.
_MODULES = {"azure_ml": ("azureml",), "flyte": ("flytekit",), "tensorboard": ("tensorboard", "tensorboardX")}


class ScratchConfig(Settings):
    """A model made from nothing: Qwen3 architecture, random weights, a tokenizer trained on the pairs."""

    vocabulary: Annotated[int, Field(ge=300)] = 2048
    """Most tokens of the tokenizer."""
    hidden: Annotated[int, Field(ge=8)] = 64
    """Width; a multiple of 2 × heads."""
    layers: Positive = 2
    """Depth."""
    heads: Positive = 4
    """Attention heads."""


class ModelConfig(Settings):
    """What is trained on."""

    path: str | None = None
    """Name on the hub, or a folder relative to the recipe's. Null: see `scratch`."""
    revision: str | None = None
    """Commit on the hub; without one, whatever is newest."""
    load: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights in memory. With `precision: bf16` sums are bf16 anyway; float32 keeps small updates."""
    scratch: ScratchConfig | None = None
    """Make the model from nothing."""


class DataConfig(Settings):
    """Which pairs, and as which text."""

    path: str
    """What `acedata export` wrote (or its `pairs` folder), Parquet or JSON Lines, or a name on the hub; relative to the
    recipe's folder."""
    split: str = "train"
    """Split of a dataset on the hub."""
    revision: str | None = None
    """Commit on the hub."""
    format: Literal["pair-1", "raw"] = "pair-1"
    """`pair-1`: the published pairs' text as it is. `raw`: the question alone and the program alone, as the published
    scoring example has them."""
    template: Literal["chat", "plain"] = "chat"
    """`chat`: the tokenizer's chat template around both. `plain`: question, answer and the end token."""
    max_length: Annotated[int, Field(ge=16)] = 2048
    """Tokens of question and answer together."""
    too_long: Literal["truncate", "drop"] = "truncate"
    """What happens to a pair with a longer text: cut, as the released training did, or dropped, as TRL would."""
    held_out: Share = 0.005
    """Share of the questions, never of the pairs, that is kept for the report; an export's own validation split goes
    before it."""
    margin: Literal["none", "pass_rates"] = "none"
    """`pass_rates`: the loss wants the scores apart by `margin_scale` times the difference of the pass rates."""
    margin_scale: Above = 1.0
    """See `margin`."""
    limit: Positive | None = None
    """Most pairs, from the beginning: for a trial."""


class TrainConfig(Settings):
    """How it is trained."""

    epochs: Above = 1.0
    """Times through the pairs."""
    learning_rate: Above = 0.00001
    """Largest, after the warm-up."""
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """How the learning rate goes on after the warm-up."""
    warmup: Share = 0.1
    """Share of the steps in which the learning rate rises."""
    weight_decay: NotNegative = 0.0
    """Of AdamW."""
    max_grad_norm: NotNegative = 1.0
    """Gradients are scaled down to this norm; 0 is off."""
    global_batch: Positive = 128
    """Pairs of one step, over all processes."""
    device_batch: Positive = 4
    """Pairs at a time in one process; the rest of the global batch is accumulated."""
    precision: Literal["bf16", "float32"] = "bf16"
    """Of the sums."""
    gradient_checkpointing: bool = True
    """Less memory, about a fifth slower."""
    cpu: bool = False
    """Never use an accelerator."""
    threads: Positive | None = None
    """Of torch, on a processor; null: as many as it takes. Small models are fastest with 1."""
    log_steps: Positive = 10
    """Steps between two lines of the log."""
    save_steps: Positive = 300
    """Steps between two checkpoints."""
    keep: Positive | None = None
    """Newest checkpoints that are kept; null: all. One has weights and optimizer, three to four times the model."""
    eval_steps: Positive = 200
    """Steps between two looks at the held-out pairs."""
    report_to: list[Reporter] = Field(default=[])
    """Who is told what is logged, besides the files of the run: [wandb], [tensorboard] or others that transformers
    knows, each with its package installed. tensorboard's files are in `runs` of the run's folder."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Of the head's first weights and of the order of the pairs."""


class LoraConfig(Settings):
    """An adapter instead of all weights; the score head is trained whole."""

    rank: Positive = 32
    """Of the update's matrices."""
    alpha: Above = 64.0
    """The update counts alpha / rank."""
    dropout: Share = 0.0
    """Of the adapter's input; 0, since TRL's reward trainer turns dropout off."""
    modules: Annotated[list[str], Field(min_length=1)] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    """Which linear layers have one."""


class LaunchConfig(Settings):
    """What the launch file written beside the model says (`accelerate launch`)."""

    gpus: Positive = 1
    """On this machine."""
    zero: Literal[0, 2, 3] = 0
    """DeepSpeed ZeRO stage; 0: plain data parallel, without DeepSpeed."""


class RewardRecipe(Settings):
    """Everything that decides a reward model."""

    name: Name
    """Of the model."""
    model: ModelConfig
    data: DataConfig
    train: TrainConfig = TrainConfig()
    lora: LoraConfig | None = None
    """Null: all weights are trained."""
    launch: LaunchConfig = LaunchConfig()

    _text: str = PrivateAttr("")
    _path: Path = PrivateAttr(Path("recipe.yaml"))

    @property
    def text(self) -> str:
        """The YAML it was read from, as it was."""
        return self._text

    def portable(self) -> RewardRecipe:
        """The same recipe, with paths that mean the same wherever its file lies."""
        changes = {}
        for name, path in (("data__path", self.data.path), ("model__path", self.model.path)):
            if path is not None and self.resolve(path) != path:
                changes[name] = self.resolve(path)
        return parse_recipe(self._text, self._path, **changes)

    def resolve(self, path: str) -> str:
        """A path of the recipe: what exists relative to the recipe's folder is meant before what the hub may have."""
        local = self._path.resolve().parent / os.path.expanduser(path)
        return str(local) if local.exists() else path

    @model_validator(mode="after")
    def _fits_together(self) -> RewardRecipe:
        for trouble in _contradictions(self):
            raise trouble
        return self


def _contradictions(recipe: RewardRecipe) -> Iterator[PydanticCustomError]:
    model, train = recipe.model, recipe.train
    if (model.path is None) == (model.scratch is None):
        yield contradiction(("model",), "needs either `path` or `scratch`, and not both")
    if model.scratch is not None:
        if model.scratch.hidden % (2 * model.scratch.heads):
            yield contradiction(
                ("model", "scratch", "hidden"),
                f"is {model.scratch.hidden}; expected a multiple of 2 × heads = {2 * model.scratch.heads}",
            )
        if recipe.lora is not None:
            yield contradiction(("lora",), "is an adapter to a trained model; `model.scratch` has none")
    if train.global_batch % train.device_batch:
        yield contradiction(
            ("train", "global_batch"),
            f"is {train.global_batch}; expected a multiple of device_batch = {train.device_batch}",
        )
    if train.cpu and train.precision == "bf16":
        yield contradiction(("train", "precision"), "is bf16; expected float32 where `cpu` is true")
    if recipe.lora is not None and recipe.lora.dropout:
        yield contradiction(
            ("lora", "dropout"),
            f"is {recipe.lora.dropout}; expected 0.0: TRL's reward trainer turns dropout off",
        )
    if recipe.data.margin == "none" and "margin_scale" in recipe.data.model_fields_set:
        yield contradiction(("data", "margin_scale"), "means nothing without `margin: pass_rates`")


def check_reporters(names: Sequence[str], setting: str) -> None:
    """Looks for the packages of those who are to be told what is logged: before anything is made, not after.

    Args:
        names: each a `Reporter`.
        setting: what the list is called in the recipe, for the message.

    Raises:
        BadInput: one is not installed.
    """
    for name in names:
        modules = _MODULES.get(name, (name,))
        if not any(find_spec(module) for module in modules):
            raise BadInput(
                f"{setting} has {name}, and there is no package {' or '.join(modules)}; "
                "install it, or take the name out of the list"
            )


def shipped_recipes() -> dict[str, Path]:
    """Recipes of reward models that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "recipes").glob("rm-*.yaml"))}


def load_recipe(source: str | os.PathLike[str], **changes: Any) -> RewardRecipe:
    """Reads a recipe.

    Args:
        source: a path, or the bare name of one that is shipped.
        changes: settings put in the place of the file's, by name as `data__path` is.

    Raises:
        RecipeError: there is none, or it says something that cannot be; one line per mistake.
    """
    path = find_settings(source, shipped_recipes())
    return parse_recipe(read_text(path), path, **changes)


def parse_recipe(text: str, path: Path = Path("recipe.yaml"), **changes: Any) -> RewardRecipe:
    """Reads a recipe's text; `path` names it in messages, and relative paths start from its folder.

    Raises:
        RecipeError: as `load_recipe`.
    """
    recipe = parse_settings(text, path, RewardRecipe)
    given = {name: value for name, value in changes.items() if value is not None}
    if given:
        text = changed_text(recipe, given)
        recipe = parse_settings(text, path, RewardRecipe)
    recipe._text = text
    recipe._path = path
    return recipe
