"""Asks a model for samples of benchmarks, through the same back-ends and response store as `acedata`.

    problems ──requests──▶ acedata's asker (store first, then the back-end) ──answers──▶ one samples file per benchmark

All benchmarks' requests, the greedy ones among them, go out together: no benchmark waits for another's slowest answer,
and a local engine is loaded once. Every answer is durable before it is used, so a run that was stopped, or that reached
its budget, goes on from there and asks for nothing twice; benchmarks with the same prompts share their answers.

A samples file has one line per answer, in the order of the problems, the greedy one first. It is replaced only when it
is whole. A problem that does not fit into the model's context is no answer of the model's: its line has none, so it
counts as wrong, and a note says how many there were. Any other missing answer ends the command with what is missing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from acedata._ask import Progress, ask_all
from acedata._budget import Budget, Price, dollars
from acedata._errors import BackendError, BadInput
from acedata._requests import Answer, Failure, Message, Request, Sampling
from acedata._store import ResponseStore

from . import _prompts
from ._benchmarks import Benchmark, Problem

if TYPE_CHECKING:
    from acedata._requests import Backend

BACKENDS = ("openai", "openai-batch", "vllm", "replay", "transformers")
TOO_LONG = "context too long"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model is asked, and how.

    Attributes:
        model: its name, as the back-end knows it; a hub name or a folder for vllm and transformers.
        backend: who carries the requests; one of `BACKENDS`. None: "openai" where there is an endpoint, "replay" where
            there is a file of answers.
        endpoint: address of an OpenAI-compatible endpoint; None: OpenAI's own.
        provider: declared name of who answers, part of every stored answer's key; None: the back-end's.
        n: samples per problem.
        greedy: whether a greedy sample is asked for besides.
        temperature, top_p: of the samples; the greedy one has 0 and 1.
        max_tokens: longest answer.
        prompt: name of the prompt (`_prompts`).
        price: (input, output), US dollars per million tokens; None: not counted.
        budget: US dollars that all answers of this evaluation may cost together, those of earlier runs included.
        api_key_env: environment variable with the endpoint's key; None: OPENAI_API_KEY without an endpoint, else none.
        concurrency, timeout_s, retries: of an endpoint.
        answers: file of answers for "replay".
        options: arguments of the local engine.

    Raises:
        BadInput: they do not go together; the message says which.
    """

    model: str
    backend: str | None = None
    endpoint: str | None = None
    provider: str | None = None
    n: int = 0
    greedy: bool = True
    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 2048
    prompt: str = _prompts.DEFAULT
    price: tuple[float, float] | None = None
    budget: float | None = None
    api_key_env: str | None = None
    concurrency: int = 64
    timeout_s: float = 600.0
    retries: int = 5
    answers: str | None = None
    options: dict[str, bool | int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        backend = self.backend
        if backend is None:
            backend = "openai" if self.endpoint else "replay" if self.answers else None
        if backend not in BACKENDS:
            raise BadInput(
                f"say who asks {self.model}: an endpoint, a file of answers, or a back-end, which is one of "
                f"{', '.join(BACKENDS)}" + (f", not {backend!r}" if backend else "")
            )
        if self.endpoint is not None:
            try:
                _ = urlsplit(self.endpoint).port
            except ValueError as error:
                raise BadInput(f"the endpoint is no address: {error}") from None
        if (self.endpoint is not None) and not backend.startswith("openai"):
            raise BadInput(f"an endpoint is for the back-end openai, not {backend}")
        if (self.answers is not None) != (backend == "replay"):
            raise BadInput("a file of answers and the back-end replay go together")
        if self.n < 0 or not (self.n or self.greedy):
            raise BadInput("there is nothing to ask for: neither a greedy sample nor n of 1 or more")
        if self.n and self.temperature == 0:
            raise BadInput(
                f"{self.n} samples at temperature 0 would all be the greedy one; give a temperature"
            )
        for name, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(f"{name} must be between {low:g} and {high:g}, not {value:g}")
        if self.max_tokens < 1 or self.top_p == 0:
            raise BadInput("max_tokens must be 1 or more, and top_p above 0")
        if self.budget is not None and self.price is None:
            raise BadInput("a budget needs a price: US dollars per million tokens, input and output")
        if self.price is not None and not all(0 <= value < float("inf") for value in self.price):
            raise BadInput("a price is two numbers of 0 or more")
        object.__setattr__(self, "backend", backend)
        if self.provider is None:
            named = "endpoint" if self.endpoint else "openai" if backend == "openai-batch" else backend
            object.__setattr__(self, "provider", named)

    def open(self, store: Path) -> Backend:
        """The back-end.

        Raises:
            BackendError: it cannot work: no key, a library is not installed, no file of answers.
            BadInput: an argument that it does not take.
        """
        if self.backend == "transformers":
            from ._local_model import TransformersBackend

            return TransformersBackend(self.model, self.options)
        from pydantic import ValidationError

        from acedata._backends import open_backend
        from acedata._recipe import ModelConfig

        named: dict[str, Any] = {} if self.api_key_env is None else {"api_key_env": self.api_key_env}
        try:
            model = ModelConfig(
                backend=self.backend,  # type: ignore[arg-type]
                model=self.model,
                provider=self.provider or "",
                base_url=self.endpoint,
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                retries=self.retries,
                engine_options=self.options,
                # OpenAI's own service goes on from no prefill; a batch would find that out row by row.
                prefill=not (
                    self.backend == "openai-batch" or (self.backend == "openai" and self.endpoint is None)
                ),
                **named,
            )
        except ValidationError as error:
            [first, *_] = error.errors()
            place = ".".join(map(str, first["loc"]))
            raise BadInput(f"{place} of the model asked: {first['msg']}") from None
        return open_backend(model, answers=self.answers, journal=store)

    def chat(self, problem: Problem) -> tuple[Message, ...]:
        """What is asked for a problem's program."""
        return _prompts.messages(self.prompt, problem)

    def requests(self, benchmark: Benchmark) -> Iterator[tuple[str, bool, Request]]:
        """Task, whether it is the greedy one, and the request, in the order of the problems."""
        for problem in benchmark:
            chat = self.chat(problem)
            for sample in range(-1 if self.greedy else 0, self.n):
                greedy = sample < 0
                sampling = Sampling() if greedy else Sampling(self.temperature, self.top_p)
                # The greedy one's row has a name of its own, so that a file of answers can tell it from sample 0.
                row = f"{problem.task_id} greedy" if greedy else problem.task_id
                yield (
                    problem.task_id,
                    greedy,
                    Request(
                        self.provider or "", self.model, chat, sampling, self.max_tokens, max(0, sample), row
                    ),
                )


@dataclass(slots=True)
class Generated:
    """What was asked for one benchmark.

    Attributes:
        path: the samples file.
        figures: model, prompt, sampling, tokens and cost, ready for JSON.
        notes: what a reader of the numbers should know.
    """

    path: Path
    figures: dict[str, Any]
    notes: list[str]


def generate(
    benchmarks: Sequence[Benchmark],
    asked: Asked,
    out: Path,
    store: Path,
    *,
    backend: Backend | None = None,
    on_progress: Callable[[Progress, int, float], None] | None = None,
) -> dict[str, Generated]:
    """Writes `BENCHMARK.samples.jsonl` into a folder for each benchmark.

    Args:
        out: the folder; made if it is missing.
        store: folder of the response store.
        backend: instead of the model's.
        on_progress: called with where it stands, how many answers are wanted, and the dollars spent, earlier runs
            included; from another thread.

    Returns:
        By benchmark's name.

    Raises:
        BackendError: the model cannot be asked, or some requests got no answer; those that did are kept, and the same
            call asks for the rest alone.
        BudgetReached: the next request could exceed the budget. What was answered is kept.
        BadInput: a benchmark cannot be read, or there is no prompt of that name.
    """
    wanted: dict[str, list[tuple[str, bool, Request]]] = {}
    for benchmark in benchmarks:
        wanted[benchmark.name] = list(asked.requests(benchmark))
    every = [request for listed in wanted.values() for _, _, request in listed]
    out.mkdir(parents=True, exist_ok=True)
    used = backend or asked.open(store)
    outcomes: dict[bytes, Answer | Failure] = {}
    with ResponseStore(store) as opened:
        budget = _budget(asked, every, opened)

        def tell(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress, len(every), dollars(budget.spent))

        for request, outcome in ask_all(every, used, opened, budget, tell, close=backend is None):
            outcomes[request.key] = outcome
    _refuse_failures(every, outcomes, store)
    return {
        name: _written(asked, listed, outcomes, out / f"{name}.samples.jsonl", used)
        for name, listed in wanted.items()
    }


def shown_address(url: str) -> str:
    """An address without what may be a password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _budget(asked: Asked, requests: Sequence[Request], store: ResponseStore) -> Budget:
    """The budget, with what the answers that are there already did cost."""
    if asked.price is None:
        return Budget()
    price = Price(*asked.price, batch_factor=0.5)
    known = {request.key: store.get(request) for request in requests}
    spent = sum(price.of(answer) for answer in known.values() if answer is not None)
    return Budget(asked.budget, {(asked.provider or "", asked.model): price}, dollars(spent))


def _refuse_failures(
    requests: Sequence[Request], outcomes: dict[bytes, Answer | Failure], store: Path
) -> None:
    reasons: Counter[str] = Counter()
    first: dict[str, str] = {}
    for request in requests:
        outcome = outcomes[request.key]
        if isinstance(outcome, Failure) and outcome.reason != TOO_LONG:
            reasons[outcome.reason] += 1
            first.setdefault(outcome.reason, f"{request.row}: {outcome.detail}"[:200])
    if reasons:
        listed = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
        said = "; ".join(f"{reason} at {place}" for reason, place in sorted(first.items()))
        raise BackendError(
            f"{reasons.total()} of {len(requests)} answers are missing ({listed}); the others are kept in {store}, "
            f"and the same command asks for the rest. First: {said}"
        )


def _written(
    asked: Asked,
    listed: Sequence[tuple[str, bool, Request]],
    outcomes: dict[bytes, Answer | Failure],
    path: Path,
    backend: Backend,
) -> Generated:
    figures: dict[str, Any] = asdict(asked)
    figures["endpoint"] = None if asked.endpoint is None else shown_address(asked.endpoint)
    for name in ("api_key_env", "concurrency", "timeout_s", "retries", "budget"):
        del figures[name]
    ended: Counter[str] = Counter()
    unprefilled = prompt_tokens = completion_tokens = cost = 0
    price = None if asked.price is None else Price(*asked.price, batch_factor=0.5)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for task_id, greedy, request in listed:
            outcome = outcomes[request.key]
            row: dict[str, Any] = {"task_id": task_id}
            if isinstance(outcome, Failure):
                ended[TOO_LONG] += 1
                row |= {"sample": "", "ended": TOO_LONG}
            else:
                ended[outcome.ended] += 1
                row |= {"sample": outcome.text, "ended": outcome.ended}
                if outcome.prefilled:
                    row["prefilled"] = True
                elif request.messages[-1]["role"] == "assistant":
                    unprefilled += 1
                prompt_tokens += outcome.prompt_tokens
                completion_tokens += outcome.completion_tokens
                cost += price.of(outcome) if price else 0
            if greedy:
                row["greedy"] = True
            file.write(json.dumps(row) + "\n")
    part.replace(path)
    figures |= {
        "answers": len(listed),
        "ended": dict(ended.most_common()),
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "dollars": dollars(cost) if price else None,
    }
    notes = []
    for reason, what in (
        ("length", f"were cut at {asked.max_tokens:,} tokens"),
        ("refused", "were refused by the model's provider and count as wrong"),
        (
            TOO_LONG,
            "could not be asked for, since the problem does not fit into the model's context; they count as wrong",
        ),
    ):
        if ended[reason]:
            notes.append(f"{ended[reason]:,} of {len(listed):,} answers {what}")
    if unprefilled:
        notes.append(
            f"{unprefilled:,} of {len(listed):,} answers began by themselves: the endpoint does not go on from a "
            "prefill"
        )
    notes += [str(note) for note in getattr(backend, "notes", ())]
    return Generated(path, figures, notes)
