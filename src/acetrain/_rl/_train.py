"""A run: TRL's trainer with a recipe's policy, questions and rewards, checkpoints to go on from, and a curve.

Checkpoints fall on the ends of rollouts: a rollout in the middle of its updates would have to be drawn anew, since
trainers do not keep it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PrinterCallback, TrainerCallback

from acedata import BadInput
from acetrain._checkpoints import check_weights, step_of
from acetrain._quiet import without_old_names
from acetrain._reward_model._recipe import check_reporters

from ._curve import Curve, sentence
from ._data import Questions, load_questions
from ._order import order_by_epoch
from ._recipe import RLRecipe
from ._reward import ModelReward, Scorer, make_reward
from ._run import (
    FINAL,
    PARTIAL,
    START,
    begin,
    check_same,
    copy_model,
    finished,
    forget,
    go_on,
    seal,
    write_card,
)

Say = Callable[[str], None]


def train(
    recipe: RLRecipe, out: Path, *, resume: bool = False, scorer: Scorer | None = None, say: Say = print
) -> Path:
    """Trains, or goes on training; returns the folder of the finished model.

    Args:
        out: the run's folder; see `_run`.
        resume: go on from the last whole checkpoint.
        scorer: the reward model, in the place of the recipe's.
        say: is told what happens, one line each. Only the first process says anything.

    Raises:
        acedata.BadInput: a file, a folder or a number does not fit; nothing was trained.
        acesandbox.SandboxError: programs cannot be judged at all; the last checkpoint stands.
    """
    processes, first = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("RANK", "0") == "0"
    tell: Say = say if first else lambda text: None
    _check_machine(recipe, processes)
    check_reporters(recipe.run.report_to, "run.report_to")
    checkpoint: Path | None = None
    if resume:
        check_same(recipe, out)
        if finished(out):
            tell(f"{out / FINAL}: was finished before")
            return out / FINAL
        checkpoint, passed_over = go_on(recipe, out)
        for line in passed_over:
            tell(line)
        tell(f"going on from {checkpoint}" if checkpoint else "no checkpoint yet: from the start")
    elif first:
        begin(recipe, out)
    if recipe.run.threads is not None:
        torch.set_num_threads(recipe.run.threads)
    done = 0 if checkpoint is None else step_of(checkpoint) or 0
    with ExitStack() as stack:
        stack.enter_context(without_old_names())
        try:
            place, source = _places(recipe, out, first, processes, tell)
            tokenizer = _tokenizer(place, recipe)
            questions = _questions(recipe, source, tokenizer, tell)
            rollouts = recipe.rollouts(len(questions.rows))
            trainer = None
            # A run that made its last update has only its model to save: the trainer would make one update more.
            if done < rollouts * recipe.updates_per_rollout:
                reward = make_reward(recipe, scorer)
                stack.callback(reward.close)
                if isinstance(reward, ModelReward):
                    reward.check(questions.rows, source)
                trainer = _trainer(recipe, out, place, tokenizer, questions.rows, reward, rollouts, processes)
        except BaseException:
            if first and not resume:
                forget(out)
            raise
        curve = Curve(out, recipe.name, rollouts, recipe.updates_per_rollout, upto=done) if first else None
        tell(
            f"{recipe.name}: {recipe.algorithm}, {rollouts} rollouts of {recipe.rollout.questions} questions × "
            f"{recipe.rollout.programs} programs, {recipe.updates_per_rollout} updates each; {out}/curve.html"
        )
        if first:
            shutil.rmtree(out / PARTIAL, ignore_errors=True)  # of a run that was killed while it saved
        if trainer is not None:
            if curve is not None:
                trainer.add_callback(_Drawing(curve, rollouts, tell))
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            trainer.save_model(str(out / PARTIAL))
            if processes > 1:
                trainer.accelerator.wait_for_everyone()  # each may write shards of its own
        elif first and checkpoint is not None:
            copy_model(checkpoint, out / PARTIAL)
        if curve is not None:
            check_weights(out / PARTIAL)
            tokenizer.save_pretrained(out / PARTIAL)
            write_card(recipe, out, curve.lines, questions, rollouts)
            seal(out)
            curve.draw(done=True)
        if trainer is not None and processes > 1:
            trainer.accelerator.wait_for_everyone()  # nobody returns a folder that is not there yet
    return out / FINAL


class _Drawing(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Hands each rollout's log to the curve."""

    def __init__(self, curve: Curve, rollouts: int, tell: Say) -> None:
        self.curve, self.rollouts, self.tell = curve, rollouts, tell

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if logs and "reward" in logs:
            self.tell(sentence(self.curve.add(state.global_step, logs), self.rollouts))


def _check_machine(recipe: RLRecipe, processes: int) -> None:
    at_once = recipe.update.device_batch * processes
    if recipe.update.batch % at_once:
        raise BadInput(
            f"update.batch is {recipe.update.batch}; expected a multiple of device_batch × processes = "
            f"{recipe.update.device_batch} × {processes}"
        )
    if not recipe.run.cpu and not torch.accelerator.is_available():
        raise BadInput(
            "there is no accelerator; run.cpu: true (with policy.load: float32) trains on the processor"
        )


def _places(recipe: RLRecipe, out: Path, first: bool, processes: int, tell: Say) -> tuple[str, str]:
    """Where the policy and the questions are; what is to be made on the spot is made."""
    policy, data = recipe.policy, recipe.data
    start = out / START
    if policy.tiny is not None and first:
        from ._tiny import make_policy, make_tasks

        start.mkdir(exist_ok=True)
        if data.tasks is not None:
            make_tasks(data.tasks, policy.tiny.seed, start / "questions.jsonl")
        tell(f"making a policy on the spot: {policy.tiny.supervised_steps} supervised steps")
        make_policy(policy.tiny, start)
    if processes > 1:
        from accelerate import PartialState

        PartialState(cpu=recipe.run.cpu).wait_for_everyone()
    return (
        str(start) if policy.path is None else recipe.resolve(policy.path),
        str(start / "questions.jsonl") if data.path is None else recipe.resolve(data.path),
    )


def _questions(recipe: RLRecipe, source: str, tokenizer: Any, tell: Say) -> Questions:
    questions = load_questions(recipe, source, tokenizer)
    if questions.too_long:
        tell(
            f"{questions.too_long:,} of {questions.found:,} questions left out: "
            f"prompts of more than {recipe.rollout.prompt_tokens} tokens"
        )
    if len(questions.rows) < recipe.rollout.questions:
        raise BadInput(
            f"{source}: {len(questions.rows)} questions, fewer than one rollout's {recipe.rollout.questions}"
        )
    return questions


def _tokenizer(place: str, recipe: RLRecipe) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=recipe.policy.revision, padding_side="left")
    except (OSError, ValueError) as error:
        raise BadInput(f"{place}: no policy there: {' '.join(str(error).split())}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _trainer(
    recipe: RLRecipe,
    out: Path,
    place: str,
    tokenizer: Any,
    rows: Any,
    reward: Any,
    rollouts: int,
    processes: int,
) -> Any:
    lora = recipe.policy.lora
    peft_config = None
    if lora is not None:
        from peft import LoraConfig

        peft_config = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.modules),
            task_type="CAUSAL_LM",
        )
    kind, config = _kind(recipe)
    arguments = config(**_arguments(recipe, out, rollouts, processes))
    _check_writes_text(place, recipe)
    try:
        trainer = kind(
            model=place,
            reward_funcs=reward,
            args=arguments,
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=peft_config,
        )
    # Files that are missing or cut, layers or an attention that the model has not got, packages that are missing.
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        server = f" or the vLLM server at {_server(recipe)}" if recipe.rollout.engine == "vllm-server" else ""
        raise BadInput(
            f"{place}{server}: cannot be trained with: {' '.join(str(error).split())[:400]}"
        ) from error
    order_by_epoch(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda *args, **rest: None  # the model's card is ours
    return trainer


def _server(recipe: RLRecipe) -> str:
    return f"{recipe.rollout.vllm_host}:{recipe.rollout.vllm_port}"


def _check_writes_text(place: str, recipe: RLRecipe) -> None:
    """A classifier would be loaded, and fail at the first rollout."""
    try:
        config = AutoConfig.from_pretrained(place, revision=recipe.policy.revision)
    except (OSError, ValueError):
        return  # said by the trainer, or it knows better
    for name in config.architectures or ():
        known = getattr(transformers, name, None)
        if known is not None and hasattr(known, "can_generate") and not known.can_generate():
            raise BadInput(f"{place}: is a {name}, which writes no text; a policy is a causal language model")


def _kind(recipe: RLRecipe) -> tuple[Any, Any]:
    if recipe.algorithm == "reinforce++":
        from acetrain._reinforce_pp import ReinforcePPConfig, ReinforcePPTrainer

        return ReinforcePPTrainer, ReinforcePPConfig
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    return (GRPOTrainer, GRPOConfig) if recipe.algorithm == "grpo" else (RLOOTrainer, RLOOConfig)


def _arguments(recipe: RLRecipe, out: Path, rollouts: int, processes: int) -> dict[str, Any]:
    """The trainer's arguments, in TRL's names."""
    rollout, update, run, policy = recipe.rollout, recipe.update, recipe.run, recipe.policy
    clip = recipe.reward.clip
    given: dict[str, Any] = {
        "output_dir": str(out),
        "seed": run.seed,
        "use_cpu": run.cpu,
        "bf16": not run.cpu,
        "report_to": list(run.report_to),
        "disable_tqdm": True,
        "logging_steps": recipe.updates_per_rollout,
        "save_strategy": "steps",
        "save_steps": run.save_every * recipe.updates_per_rollout,
        "save_total_limit": run.keep,
        "log_completions": run.completions,
        "num_completions_to_print": 0,
        "max_steps": rollouts * recipe.updates_per_rollout,
        "per_device_train_batch_size": update.device_batch,
        "gradient_accumulation_steps": update.batch // (update.device_batch * processes),
        "generation_batch_size": rollout.questions * rollout.programs,
        "num_generations": rollout.programs,
        "num_iterations": update.passes,
        "max_completion_length": rollout.completion_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "learning_rate": update.learning_rate,
        "lr_scheduler_type": update.schedule,
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1} if update.schedule == "cosine_with_min_lr" else {},
        "warmup_steps": update.warmup,
        "weight_decay": update.weight_decay,
        "adam_beta1": update.betas[0],
        "adam_beta2": update.betas[1],
        "max_grad_norm": update.max_grad_norm,
        "gradient_checkpointing": update.gradient_checkpointing,
        "ddp_find_unused_parameters": False,
        "beta": update.kl,
        "epsilon": update.ratio_clip,
        "model_init_kwargs": {"dtype": policy.load},
    }
    if policy.revision is not None:
        given["model_init_kwargs"]["revision"] = policy.revision
    if policy.attention is not None:
        given["model_init_kwargs"]["attn_implementation"] = policy.attention
    if recipe.algorithm == "rloo":
        given["reward_clip_range"] = None if clip is None else (-clip, clip)
    else:
        given["loss_type"] = "grpo" if update.mean == "sequences" else "bnpo"
    if recipe.algorithm == "reinforce++":
        given["reward_clip_range"] = None if clip is None else (-clip, clip)
    if rollout.engine != "generate":
        given |= {
            "use_vllm": True,
            "vllm_mode": rollout.engine.removeprefix("vllm-"),
            "vllm_gpu_memory_utilization": rollout.vllm_memory,
            "vllm_tensor_parallel_size": rollout.vllm_tensor_parallel,
            "vllm_enable_sleep_mode": rollout.vllm_sleep,
            "vllm_server_host": rollout.vllm_host,
            "vllm_server_port": rollout.vllm_port,
            "vllm_max_model_length": rollout.prompt_tokens + rollout.completion_tokens,
        }
    return given
