"""Asks a model for samples of a benchmark, through the same back-ends and response store as `acedata`.

    problems ──requests──▶ acedata's asker (store first, then the back-end) ──answers──▶ samples file

Every answer is durable before it is used, so a run that was stopped goes on from there and asks for nothing twice; the
same answers serve another evaluation with the same prompts. The samples file has one line per answer, in the order of
the problems, and is replaced only when it is whole.

The prompt is `eval-1`: one user message with the question as the benchmark has it. A harness' own prompts differ in
wording; where a published number must be repeated to the digit, generate with that harness and give its samples file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acedata._ask import Progress, ask_all
from acedata._backends import open_backend
from acedata._budget import Budget
from acedata._errors import BackendError
from acedata._requests import Answer, Failure, Message, Request, Sampling
from acedata._store import ResponseStore

from ._benchmarks import Benchmark, Problem, key_of

if TYPE_CHECKING:
    from acedata._recipe import ModelConfig
    from acedata._requests import Backend

PROMPT = "eval-1"


def messages(problem: Problem) -> tuple[Message, ...]:
    """The chat that asks for a problem's program."""
    if problem.ask == "code":
        text = (
            "Complete the following Python program. Answer with the whole program, imports included, in one Python "
            f"code block.\n\n```python\n{problem.question.rstrip()}\n```"
        )
    else:
        text = (
            "Write a Python program that solves the following task. Answer with the whole program, imports included, "
            f"in one Python code block.\n\n{problem.question.strip()}"
        )
    return ({"role": "user", "content": text},)


def requests(benchmark: Benchmark, model: ModelConfig, n: int) -> Iterator[Request]:
    """n requests per problem, in the order of the problems."""
    sampling = Sampling(model.temperature, model.top_p, tuple(model.stop))
    for problem in benchmark:
        chat = messages(problem)
        for sample in range(n):
            yield Request(
                model.provider, model.model, chat, sampling, model.max_tokens, sample, problem.task_id
            )


def generate(
    benchmark: Benchmark,
    model: ModelConfig,
    n: int,
    out: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    greedy: bool = False,
    answers: str | os.PathLike[str] | None = None,
    backend: Backend | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Writes a samples file with n answers per problem.

    Args:
        model: how to ask; the recipe's form (`acedata._recipe.ModelConfig`).
        n: answers per problem.
        out: the samples file.
        store: folder of the response store.
        greedy: mark the samples as greedy; n is then 1.
        answers: for the `replay` back-end.
        backend: instead of the model's.

    Raises:
        BackendError: the model cannot be asked, or some requests got no answer; those that did are kept, and the same
            call asks for the rest alone.
        ValueError: n is not 1 for greedy samples, or not positive.
    """
    if n < 1 or (greedy and n != 1):
        raise ValueError("greedy samples are one per problem" if greedy else f"n must be 1 or more, not {n}")
    used = backend or open_backend(model, answers=answers, journal=store)
    prefix = benchmark.spec.prefix
    found: dict[tuple[str, int], dict[str, Any]] = {}
    order: dict[str, int] = {}
    failures: dict[str, int] = {}

    def asked() -> Iterator[Request]:
        for request in requests(benchmark, model, n):
            order.setdefault(key_of(request.row, prefix), len(order))
            yield request

    with ResponseStore(Path(store)) as opened:
        for request, outcome in ask_all(asked(), used, opened, Budget(), on_progress, close=backend is None):
            if isinstance(outcome, Failure):
                failures[outcome.reason] = failures.get(outcome.reason, 0) + 1
                continue
            key = (key_of(request.row, prefix), request.sample)
            found[key] = _row(request, outcome, greedy)
    if failures:
        listed = ", ".join(f"{count} × {reason}" for reason, count in sorted(failures.items()))
        raise BackendError(
            f"{sum(failures.values())} of {len(order) * n} answers are missing ({listed}); the others are kept in "
            f"{store}, and the same command asks for the rest"
        )
    path = Path(out)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        for key in sorted(found, key=lambda key: (order[key[0]], key[1])):
            file.write(json.dumps(found[key], ensure_ascii=False) + "\n")
    part.replace(path)
    return path


def _row(request: Request, answer: Answer, greedy: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"task_id": request.row, "sample": answer.text, "ended": answer.ended}
    return {**row, "greedy": True} if greedy else row
