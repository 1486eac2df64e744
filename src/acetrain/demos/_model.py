"""A language model small enough to be trained from nothing on one core: the model, its supervised start, its answers.

The model has the Qwen3 architecture and 0.1 to 0.7 million parameters, in float32. Everything runs in one thread: with
more, models of this size are slower, and sums come out in another order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MAX_TOKENS = 32  # a right program has at most 21, a forging one 31
BATCH = 256

Example = tuple[str, str]  # question, program


def quiet_and_alone() -> None:
    """No network, no telemetry, no progress bars of the libraries, one thread. To be called before any is imported."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
        TOKENIZERS_PARALLELISM="false",
    )
    import torch

    torch.set_num_threads(1)


def make_model(tokenizer: Any, seed: int, *, hidden: int = 128, layers: int = 4) -> Any:
    """A model of random weights that speaks the tokenizer's language."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=hidden // 4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            attention_dropout=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )


def supervise(
    model: Any,
    tokenizer: Any,
    examples: Iterator[Example],
    steps: int,
    *,
    batch: int = 64,
    learning_rate: float = 2e-3,
    tick: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Trains on examples, `batch` at a step, until `steps` are done; the loss is on the programs alone.

    One cycle of the learning rate: up over the first tenth, then down along a cosine. `tick(step, loss)` is called
    after every step.

    Raises:
        ValueError: the examples ended before the steps did.
    """
    import torch

    if steps < 1:
        return
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    warm = max(1, steps // 10)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    model.train()
    for step in range(1, steps + 1):
        chosen = [example for _, example in zip(range(batch), examples, strict=False)]
        if not chosen:
            raise ValueError(f"no examples left at step {step} of {steps}")
        ids, labels = _tensors(tokenizer, chosen)
        mask = (ids != tokenizer.pad_token_id).long()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tick(step, float(loss.detach()))


def _tensors(tokenizer: Any, examples: Sequence[Example]) -> tuple[Any, Any]:
    """Token ids, padded on the right, and labels, -100 where there is nothing to learn."""
    import torch

    # In one call each: calling a tokenizer costs more than the text does.
    questions = tokenizer([question for question, _ in examples])["input_ids"]
    programs = tokenizer([program for _, program in examples])["input_ids"]
    rows = [
        (question, [*program, tokenizer.eos_token_id])
        for question, program in zip(questions, programs, strict=True)
    ]
    width = max(len(question) + len(program) for question, program in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for number, (question, program) in enumerate(rows):
        end = len(question) + len(program)
        ids[number, :end] = torch.tensor(question + program)
        labels[number, len(question) : end] = torch.tensor(program)
    return ids, labels


def answer(
    model: Any,
    tokenizer: Any,
    questions: Sequence[str],
    *,
    n: int = 1,
    greedy: bool = False,
    seed: int = 0,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[str]]:
    """Programs for each question: the most likely one, or `n` drawn at temperature 1 from the whole distribution.

    `seed` decides what is drawn; the state of torch's generator is put back afterwards. `tick(done, total)` counts
    answers.
    """
    import torch

    asked = [question for question in questions for _ in range(1 if greedy else n)]
    how: dict[str, Any] = (
        {"do_sample": False} if greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    )
    said: list[str] = []
    training = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(asked), BATCH):
            given = tokenizer(asked[start : start + BATCH], return_tensors="pt", padding=True)
            ids = model.generate(
                input_ids=given["input_ids"],
                attention_mask=given["attention_mask"],
                max_new_tokens=MAX_TOKENS,
                pad_token_id=tokenizer.pad_token_id,
                **how,
            )
            said += tokenizer.batch_decode(ids[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
            tick(len(said), len(asked))
    model.train(training)
    each = 1 if greedy else n
    return [said[place : place + each] for place in range(0, len(said), each)]
