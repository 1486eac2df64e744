"""Training: from a recipe and an export to a model, a log and a report, through `trl.RewardTrainer`.

The loss is TRL's Bradley-Terry, −log σ(chosen − rejected − margin), tested against a float64 reference. What TRL would
do in silence is done here and counted before the first step: lengths, pairs that are no preference, the split by
question. What is written is in `_run`.

With several processes the weights may be spread over them, so the report is made afterwards: `acetrain rm report`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acedata._errors import BadInput
from acetrain._checkpoints import STATE, check_weights, checkpoints, last_whole
from acetrain._quiet import quiet, told, without_loading_report, without_old_names
from acetrain._whole import write_whole

from ._files import BESIDE, Kind, card
from ._forms import KEY, Form, messages, whole_text
from ._pairs import Counts, Pair, Tokens, none_left, read_pairs, tokenize
from ._recipe import LoraConfig, RewardRecipe, ScratchConfig, TrainConfig, check_reporters
from ._run import (
    CARD,
    LOG,
    MODEL,
    PART,
    RECIPE,
    check_begun,
    check_free,
    check_prepared,
    finished_report,
    is_the_end,
    state_of,
)

Say = Callable[[str], None]

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
        resume: go on from the last whole checkpoint in `out`; of a run that has its model, make what else is missing.
        say: gets lines for people.

    Returns:
        The report on the held-out pairs; None where there is none yet.

    Raises:
        BadInput: the pairs, the model or `out` cannot be used.
    """
    quiet()
    check_reporters(recipe.train.report_to, "train.report_to")
    processes, first = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
    tell: Say = say if first else lambda text: None
    last = _start(recipe, out, first, prepare, resume, tell)
    trained = resume and (out / MODEL).exists()
    if trained and (found := finished_report(out)) is not None:
        tell(f"{out}: was finished before")
        return found
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
        raise BadInput(f"{data.path}: {none_left(counts, data.max_length)}")
    if prepare:
        if first:
            _write_beside(recipe, counts, out)
        words = ["accelerate", "launch", "--config_file", str(out / "accelerate.yaml"), "-m", "acetrain._cli"]
        # The recipe that was written, since it has what --pairs and --model put in its place.
        words += ["rm", "train", str(out / RECIPE), "--out", str(out), *(["--resume"] if resume else [])]
        tell(shlex.join(words))
        return None
    scoring: Any = None
    if not trained:
        trainer = _made(recipe, out, form, tokenizer, tokens, held, last, tell)
        if first:
            # Not before: a run that was refused is no run, and its folder is free for another recipe.
            _write_beside(recipe, counts, out)
            shutil.rmtree(out / PART, ignore_errors=True)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        trainer.save_model(str(out / PART))
        if processes > 1:
            trainer.accelerator.wait_for_everyone()
        if first:
            check_weights(out / PART)
            write_whole(out / LOG, json.dumps(trainer.state.log_history, indent=1) + "\n")
            _complete(recipe, form, tokenizer, counts, out / PART)
            (out / PART).rename(out / MODEL)
        scoring = trainer.accelerator.unwrap_model(trainer.model)
    elif first:
        _fill_in(recipe, form, counts, out)
    if processes > 1:
        tell(f"the report is one process's work: acetrain rm report {out / MODEL} --out {out}")
        return None
    if not len(held):
        tell("no pair is held out, so there is no report")
        return None
    from ._model import RewardModel
    from ._report import make_report, write_report

    if scoring is None:
        judge = RewardModel.load(out / MODEL, device="cpu" if recipe.train.cpu else None)
    else:
        judge = RewardModel(
            scoring.merge_and_unload() if recipe.lora is not None else scoring, tokenizer, form=form
        )
    report = make_report(judge, held, counts)
    write_report(report, out)
    return report


def _start(
    recipe: RewardRecipe, out: Path, first: bool, prepare: bool, resume: bool, tell: Say
) -> Path | None:
    """Whether this run may have the folder, and which checkpoint it goes on from. Writes nothing."""
    if not resume:
        check_free(out)
        # Only the first process looks at files that only the first process writes.
        if first and not prepare:
            check_prepared(recipe, out)
        return None
    if first:
        check_begun(recipe, out)
    if (out / MODEL).exists():
        return None
    if not checkpoints(out):
        raise BadInput(f"{out}: holds no checkpoint to go on from; without --resume the run starts")
    last, passed_over = last_whole(out)
    for line in passed_over:
        tell(line)
    # A first checkpoint that was never finished costs nothing; to start again over finished ones would.
    if last is None and any((folder / STATE).is_file() for folder in checkpoints(out)):
        raise BadInput(f"{out}: no checkpoint is whole (see above); remove them to start again")
    tell(f"going on from {last}" if last else "no checkpoint is whole: from the start")
    return last


def _made(
    recipe: RewardRecipe,
    out: Path,
    form: Form,
    tokenizer: Any,
    tokens: Tokens,
    held: Tokens,
    last: Path | None,
    tell: Say,
) -> Any:
    """The trainer, with all that it needs to train or to go on."""
    model = _scratch(recipe.model.scratch, tokenizer, recipe.train.seed) if recipe.model.scratch else recipe.resolve(
        str(recipe.model.path)
    )  # fmt: skip
    trainer = make_trainer(
        model,
        tokenizer,
        tokens,
        recipe.train,
        out,
        held=held if len(held) else None,
        lora=recipe.lora,
        margin_scale=recipe.data.margin_scale if recipe.data.margin == "pass_rates" else None,
        load=recipe.model.load,
        revision=recipe.model.revision,
        tell=tell,
    )
    setattr(_config_of(trainer.model), KEY, {**form.to_dict(), "bias": 0.0})
    if last is not None and is_the_end(last):
        # In the middle of an epoch the trainer asks after an update, not before one, whether it is done. With no epoch
        # to go it loads what the checkpoint has, DeepSpeed's and an adapter's too, and makes none.
        trainer.args.num_train_epochs = 0
    return trainer


def _complete(recipe: RewardRecipe, form: Form, tokenizer: Any, counts: Counts, folder: Path) -> None:
    """Writes what belongs to weights: tokenizer, the text that they want, card."""
    tokenizer.save_pretrained(folder)
    if recipe.lora is not None:
        text = json.dumps({**form.to_dict(), "bias": 0.0})
        (folder / BESIDE).write_text(text + "\n", encoding="utf-8")
    write_whole(folder / CARD, _card(recipe, form, counts))


def _fill_in(recipe: RewardRecipe, form: Form, counts: Counts, out: Path) -> None:
    """Writes what a run that has its model lacks besides the report: the card, and the log as its last checkpoint has
    it."""
    if not (out / MODEL / CARD).exists():
        write_whole(out / MODEL / CARD, _card(recipe, form, counts))
    last, _ = last_whole(out)
    if last is not None and not (out / LOG).exists():
        write_whole(out / LOG, json.dumps(state_of(last).get("log_history"), indent=1) + "\n")


def _card(recipe: RewardRecipe, form: Form, counts: Counts) -> str:
    kind: Kind = "adapter" if recipe.lora is not None else "classification"
    return card(recipe.name, form, kind, counts.lines())


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
    tell: Say | None = None,
) -> Any:
    """A `trl.RewardTrainer` over pairs that are tokens already, so that it drops none.

    Args:
        model: a classifier with one label, or a name or folder of a model that becomes one.
        margin_scale: None: no margin.
        load: type of the weights in memory, where `model` is a name.
        save: whether checkpoints are written.
        tell: gets a line for every one of the log.

    Raises:
        BadInput: the global batch does not come out even over the processes, or there is no model of that name that can
            be trained.
    """
    from transformers import PrinterCallback
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
    with without_old_names():
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
            save_total_limit=settings.keep,
            seed=settings.seed,
            max_length=None,
            report_to=list(settings.report_to),
            disable_tqdm=True,
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
    given = {
        "args": config,
        "train_dataset": _dataset(tokens, margin_scale),
        "eval_dataset": None if held is None else _dataset(held, margin_scale),
        "processing_class": tokenizer,
        "peft_config": peft_config,
        "callbacks": [] if tell is None else [_telling(tell)],
    }
    with without_old_names(), without_loading_report():
        try:
            trainer = RewardTrainer(model=model, **given)
        except Exception as error:
            # Memory that ran out, and arguments that a library does not know, are no fault of the model's.
            memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
            ours = memory or "unexpected keyword" in str(error)
            if not isinstance(model, str) or ours:
                raise
            # A folder that is no model, or a file of it that is not what it should be: the libraries have an error of
            # another kind for each.
            raise BadInput(f"{model}: cannot be trained on: {told(error)}") from error
    trainer.remove_callback(PrinterCallback)  # it prints to standard output
    trainer.create_model_card = lambda *args, **rest: None  # the model's card is ours
    return trainer


def _telling(tell: Say) -> Any:
    """Says each line of the log in words."""
    from transformers import TrainerCallback

    class Telling(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            for prefix, what in (("", "training pairs"), ("eval_", "held-out pairs")):
                if logs and f"{prefix}loss" in logs:
                    right = logs.get(f"{prefix}accuracy")
                    tell(
                        f"step {state.global_step} of {state.max_steps}: loss {logs[f'{prefix}loss']:.4f}"
                        + (
                            f", right in {100 * right:.1f} % of the {what}"
                            if right is not None
                            else f" ({what})"
                        )
                    )

    return Telling()


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
    except Exception as error:  # of a file that is not what it should be; the libraries have many kinds
        raise BadInput(f"{path}: has no tokenizer: {told(error)}") from error
    if tokenizer.pad_token is None:
        raise BadInput(f"{path}: the tokenizer has no padding token; save one with it that ends no text")
    if recipe.data.template == "chat" and not tokenizer.chat_template:
        raise BadInput(
            f"{path}: the tokenizer has no chat template, which `data.template: chat` needs; plain does without one"
        )
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


def _write_beside(recipe: RewardRecipe, counts: Counts, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / RECIPE, recipe.portable().text)
    write_whole(out / "pairs.json", json.dumps(counts.to_dict(), indent=1) + "\n")
    write_whole(out / "accelerate.yaml", launch_file(recipe))


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
