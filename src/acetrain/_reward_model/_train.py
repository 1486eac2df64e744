"""Training: from a recipe and an export to a model, a log and a report, through `trl.RewardTrainer`.

The loss is TRL's Bradley-Terry, −log σ(chosen − rejected − margin), tested against a float64 reference. What TRL would
do in silence is done here and counted before the first step: lengths, pairs that are no preference, the split by
question. What is written:

    OUT/
    ├── recipe.yaml         as it was used
    ├── pairs.json          what became of every pair
    ├── accelerate.yaml     for `accelerate launch --config_file`, DeepSpeed ZeRO where the recipe wants it
    ├── checkpoint-N/       TRL's; --resume goes on from the last one, with the same recipe
    ├── log.json            loss, accuracy, learning rate by step
    ├── model/              weights, tokenizer, card; an adapter where the recipe has `lora`
    └── report.{json,md,svg}  on the held-out pairs (`_report`); one process only

With several processes the weights may be spread over them, so the report is made afterwards: `acetrain rm report`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acedata._errors import BadInput

from ._files import BESIDE, Kind, card
from ._forms import KEY, Form, messages, whole_text
from ._pairs import Counts, Pair, Tokens, read_pairs, tokenize
from ._recipe import LoraConfig, RewardRecipe, ScratchConfig, TrainConfig, load_recipe

Say = Callable[[str], None]

# Settings that a resumed run may change: they decide how fast it is or what is looked at.
FREE = frozenset(
    f"train.{name}"
    for name in ("device_batch", "eval_steps", "gradient_checkpointing", "log_steps", "save_steps", "threads")
)
_RECIPE = "recipe.yaml"

# Turns as Qwen writes them, for models made from nothing.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train(
    recipe: RewardRecipe,
    out: Path,
    *,
    prepare: bool = False,
    resume: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any] | None:
    """Trains a reward model.

    Args:
        recipe: what.
        out: the folder of everything that comes of it.
        prepare: read, count and write the files beside the model, and stop.
        resume: go on from the last checkpoint in `out`.
        say: gets lines for people.

    Returns:
        The report on the held-out pairs; None where there is none yet.

    Raises:
        BadInput: the pairs, the model or `out` cannot be used.
    """
    quiet()
    first = int(os.environ.get("RANK", "0")) == 0
    tell: Say = say if first else lambda text: None
    if (out / "model").exists():
        raise BadInput(f"{out / 'model'}: exists; a model is not trained over another")
    last = _last_checkpoint(out) if resume else None
    if resume and last is None:
        raise BadInput(f"{out}: holds no checkpoint to go on from")
    if resume and first:
        _check_same(recipe, out)
    if recipe.train.threads is not None:
        import torch

        torch.set_num_threads(recipe.train.threads)
    data, counts = recipe.data, Counts()
    form = Form(data.format, data.template)
    pairs, kept = read_pairs(
        recipe.resolve(data.path),
        form,
        data.held_out,
        counts,
        split=data.split,
        revision=data.revision,
        limit=data.limit,
    )
    if data.margin == "pass_rates":
        for pair in (*pairs, *kept):
            if pair.margin is None:
                raise BadInput(
                    f"{pair.where}: has no margin; `acedata export --form extended` writes pairs that have one"
                )
    tokenizer = _tokenizer(recipe, pairs)
    tokens = tokenize(pairs, tokenizer, form, data.max_length, data.too_long, counts, "train")
    held = tokenize(kept, tokenizer, form, data.max_length, data.too_long, counts, "held out")
    for line in counts.lines():
        tell(line)
    if not len(tokens):
        raise BadInput(f"{data.path}: every pair is over max_length = {data.max_length}")
    if first:
        _write_beside(recipe, counts, out)
    if prepare:
        tell(
            f"accelerate launch --config_file {out / 'accelerate.yaml'} -m acetrain._cli rm train RECIPE --out {out}"
        )
        return None
    model = _scratch(recipe.model.scratch, tokenizer, recipe.train.seed) if recipe.model.scratch else recipe.resolve(
        str(recipe.model.path)
    )  # fmt: skip
    scale = data.margin_scale if data.margin == "pass_rates" else None
    trainer = make_trainer(
        model,
        tokenizer,
        tokens,
        recipe.train,
        out,
        held=held if len(held) else None,
        lora=recipe.lora,
        margin_scale=scale,
        load=recipe.model.load,
        revision=recipe.model.revision,
    )
    setattr(_config_of(trainer.model), KEY, {**form.to_dict(), "bias": 0.0})
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.save_model(str(out / "model"))
    if first:
        tokenizer.save_pretrained(out / "model")
        if recipe.lora is not None:
            text = json.dumps({**form.to_dict(), "bias": 0.0})
            (out / "model" / BESIDE).write_text(text + "\n", encoding="utf-8")
        kind: Kind = "adapter" if recipe.lora is not None else "classification"
        (out / "model" / "README.md").write_text(
            card(recipe.name, form, kind, counts.lines()), encoding="utf-8"
        )
        log = json.dumps(trainer.state.log_history, indent=1)
        (out / "log.json").write_text(log + "\n", encoding="utf-8")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        tell(f"acetrain rm report {out / 'model'} --pairs {data.path} --out {out}")
        return None
    if not len(held):
        tell("no pair is held out, so there is no report")
        return None
    from ._model import RewardModel
    from ._report import make_report, write_report

    scoring = trainer.accelerator.unwrap_model(trainer.model)
    if recipe.lora is not None:
        scoring = scoring.merge_and_unload()
    report = make_report(RewardModel(scoring, tokenizer, form=form), held, counts)
    write_report(report, out)
    return report


def quiet() -> None:
    """No telemetry; no bars where nobody looks at a terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def make_trainer(
    model: Any,
    tokenizer: Any,
    tokens: Tokens,
    settings: TrainConfig,
    out: Path,
    *,
    held: Tokens | None = None,
    lora: LoraConfig | None = None,
    margin_scale: float | None = None,
    load: str = "float32",
    revision: str | None = None,
    save: bool = True,
    progress: bool | None = None,
) -> Any:
    """A `trl.RewardTrainer` over pairs that are tokens already, so that it drops none.

    Args:
        model: a classifier with one label, or a name or folder of a model that becomes one.
        margin_scale: None: no margin.
        load: type of the weights in memory, where `model` is a name.

    Raises:
        BadInput: the global batch does not come out even over the processes.
    """
    from trl import RewardConfig, RewardTrainer

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.global_batch % (settings.device_batch * processes):
        raise BadInput(
            f"global_batch = {settings.global_batch} is no multiple of device_batch × processes = "
            f"{settings.device_batch} × {processes}"
        )
    options: dict[str, Any] = {}
    if isinstance(model, str):
        options["model_init_kwargs"] = {"dtype": load, **({"revision": revision} if revision else {})}
    if held is not None:
        options |= {"eval_strategy": "steps", "eval_steps": settings.eval_steps}
    with warnings.catch_warnings():
        # TRL still says `gradient_checkpointing`, which transformers is about to rename.
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
        config = RewardConfig(
            output_dir=str(out),
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.schedule,
            warmup_steps=settings.warmup,  # a share, below 1
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            per_device_train_batch_size=settings.device_batch,
            per_device_eval_batch_size=settings.device_batch,
            gradient_accumulation_steps=settings.global_batch // (settings.device_batch * processes),
            bf16=settings.precision == "bf16",
            gradient_checkpointing=settings.gradient_checkpointing,
            use_cpu=settings.cpu,
            logging_steps=settings.log_steps,
            save_strategy="steps" if save else "no",
            save_steps=settings.save_steps,
            seed=settings.seed,
            max_length=None,
            report_to="none",
            disable_tqdm=progress is False,
            dataloader_pin_memory=not settings.cpu,
            **options,
        )
    peft_config = None
    if lora is not None:
        from peft import LoraConfig as Adapter

        peft_config = Adapter(
            task_type="SEQ_CLS",
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.modules),
            modules_to_save=["score"],
        )
    return RewardTrainer(
        model=model,
        args=config,
        train_dataset=_dataset(tokens, margin_scale),
        eval_dataset=None if held is None else _dataset(held, margin_scale),
        processing_class=tokenizer,
        peft_config=peft_config,
    )


def _dataset(tokens: Tokens, margin_scale: float | None) -> Any:
    from datasets import Dataset

    columns: dict[str, Any] = {"chosen_ids": tokens.chosen, "rejected_ids": tokens.rejected}
    if margin_scale is not None:
        columns["margin"] = [margin_scale * float(margin or 0.0) for margin in tokens.margin]
    return Dataset.from_dict(columns)


def _config_of(model: Any) -> Any:
    base = getattr(model, "get_base_model", None)
    return (base() if base is not None else model).config


def _tokenizer(recipe: RewardRecipe, pairs: list[Pair]) -> Any:
    if recipe.model.scratch is not None:
        return _trained_tokenizer(recipe.model.scratch, recipe.data.template, pairs)
    from transformers import AutoTokenizer

    path = recipe.resolve(str(recipe.model.path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=recipe.model.revision)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: has no tokenizer: {error}") from error
    if tokenizer.pad_token is None:
        raise BadInput(f"{path}: the tokenizer has no padding token; save one with it that ends no text")
    return tokenizer


def _trained_tokenizer(scratch: ScratchConfig, template: str, pairs: list[Pair]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|end|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=scratch.vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for pair in pairs for text in (pair.question, pair.chosen, pair.rejected))
    plain.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=special[2:],
    )
    if template == "chat":
        tokenizer.chat_template = CHAT_TEMPLATE
        whole_text(tokenizer, template, messages("question", "answer"))
    return tokenizer


def _scratch(scratch: ScratchConfig, tokenizer: Any, seed: int) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    torch.manual_seed(seed)
    return Qwen3ForSequenceClassification(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=scratch.hidden,
            intermediate_size=2 * scratch.hidden,
            num_hidden_layers=scratch.layers,
            num_attention_heads=scratch.heads,
            num_key_value_heads=scratch.heads,
            head_dim=scratch.hidden // scratch.heads,
            max_position_embeddings=8192,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )


def _last_checkpoint(out: Path) -> Path | None:
    found = [path for path in out.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _check_same(recipe: RewardRecipe, out: Path) -> None:
    """What decides what is learned must be what the run was begun with; what only decides how fast may change."""
    try:
        before = load_recipe(out / _RECIPE)
    except (OSError, BadInput) as error:
        raise BadInput(f"{out}: no run to go on with: {error}") from error
    old, new = (_settings(one) for one in (before, recipe.portable()))
    for name in [*old, *new]:
        if old.get(name) != new.get(name):
            raise BadInput(
                f"{out}: was begun with {name}: {old.get(name)}, not {new.get(name)}; "
                "the same recipe goes on, another one wants another folder"
            )


def _settings(recipe: RewardRecipe) -> dict[str, Any]:
    """What decides the model, by full name."""
    values: dict[str, Any] = {}
    for group, inner in recipe.model_dump(exclude={"launch"}).items():
        if isinstance(inner, dict):
            values |= {f"{group}.{name}": value for name, value in inner.items()}
        else:
            values[group] = inner
    return {name: value for name, value in values.items() if name not in FREE}


def _write_beside(recipe: RewardRecipe, counts: Counts, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / _RECIPE).write_text(recipe.portable().text, encoding="utf-8")
    (out / "pairs.json").write_text(json.dumps(counts.to_dict(), indent=1) + "\n", encoding="utf-8")
    (out / "accelerate.yaml").write_text(launch_file(recipe), encoding="utf-8")


def launch_file(recipe: RewardRecipe) -> str:
    """The configuration for `accelerate launch`. Batch sizes come from the recipe, so it holds none."""
    launch, train = recipe.launch, recipe.train
    deepspeed = launch.zero > 0 and not train.cpu
    lines = ["compute_environment: LOCAL_MACHINE", "debug: false"]
    if deepspeed:
        lines += [
            "deepspeed_config:",
            f"  gradient_accumulation_steps: {max(train.global_batch // (train.device_batch * launch.gpus), 1)}",
            f"  gradient_clipping: {train.max_grad_norm}",
            "  offload_optimizer_device: none",
            "  offload_param_device: none",
            f"  zero3_init_flag: {str(launch.zero == 3).lower()}",
            f"  zero3_save_16bit_model: {str(launch.zero == 3).lower()}",
            f"  zero_stage: {launch.zero}",
        ]
    kind = "DEEPSPEED" if deepspeed else "MULTI_GPU" if launch.gpus > 1 and not train.cpu else "NO"
    lines += [
        f"distributed_type: {kind}",
        "downcast_bf16: 'no'",
        "machine_rank: 0",
        "main_training_function: main",
        f"mixed_precision: {'bf16' if train.precision == 'bf16' else 'no'}",
        "num_machines: 1",
        f"num_processes: {launch.gpus}",
        "rdzv_backend: static",
        "same_network: true",
        f"use_cpu: {str(train.cpu).lower()}",
    ]
    return "\n".join(lines) + "\n"
