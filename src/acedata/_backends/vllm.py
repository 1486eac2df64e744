"""Answers from vLLM's offline engine in this process: for machines with GPUs and no server.

Who talks to whom: requests are gathered into waves; a wave is one `LLM.chat` in a thread of its own, which also made
the engine, while the next wave is gathered. Consecutive samples of one prompt are one call with `n`. Each sample has
its own seed, its number: a second process that draws samples 8 to 15 must not repeat 0 to 7, which one seed of the
engine would do. A prefill is continued with `continue_final_message`. What the engine refuses (a prompt longer than the
model takes) is narrowed down to the one request, so that one row cannot take a wave with it.

A wave's answers come together at its end: a kill costs at most one wave of the GPU's work, and no money.

Written against the documented interface of vLLM 0.29 to 0.31 (`LLM.chat`, `SamplingParams`, `StructuredOutputsParams`,
`RequestOutput`). Tests hold it to those signatures; no test of this project runs the engine itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._errors import BackendError
from .._requests import Answer, Ended, Failure, Message, Outcome, Request
from ._chat import Features, grouped, prefill_of

# Calls of one wave: a few times what an engine runs at once, so that its end is a small part of it.
WAVE = 1024

_ENDED: dict[str | None, Ended] = {"stop": "stop", "length": "length"}


class VllmBackend:
    """vLLM's offline engine.

    Args:
        model: hub name or folder.
        options: arguments of `vllm.LLM`: tensor_parallel_size, max_model_len, ...
        prefill: continue final assistant messages.
        wave: calls of one wave.

    Raises:
        BackendError: vLLM is not installed. (The engine is made with the first wave; what it cannot do is told then.)
    """

    batch = False

    def __init__(
        self, model: str, options: Mapping[str, Any] | None = None, *, prefill: bool = True, wave: int = WAVE
    ) -> None:
        import vllm
        from vllm.sampling_params import StructuredOutputsParams

        self.model, self.options, self.wave = model, dict(options or {}), wave
        self.features = Features(prefill=prefill)
        self.tries: Counter[str] = Counter()
        self.call_seconds = 0.0
        self._vllm, self._structured = vllm, StructuredOutputsParams
        self._engine: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="acedata-vllm")

    @property
    def notes(self) -> list[str]:
        return self.features.notes

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        loop = asyncio.get_running_loop()
        groups = grouped(requests, self.features)
        running: asyncio.Future[list[tuple[Request, Outcome]]] | None = None
        while True:
            wave: list[list[Request]] = []
            while len(wave) < self.wave and (group := await anext(groups, None)) is not None:
                wave.append(group)
            if running is not None:
                for pair in await running:
                    yield pair
            if not wave:
                return
            running = loop.run_in_executor(self._thread, self._run, wave)

    async def close(self) -> None:
        """Frees the engine, and with it the GPU's memory."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._free)
        self._thread.shutdown()

    def __repr__(self) -> str:
        return f"VllmBackend({self.model!r})"

    # ---- in the engine's thread ----

    def _run(self, wave: list[list[Request]]) -> list[tuple[Request, Outcome]]:
        if self._engine is None:
            try:
                self._engine = self._vllm.LLM(model=self.model, **self.options)
            except Exception as error:
                raise BackendError(f"vLLM cannot load {self.model}: {error}") from error
        pairs: list[tuple[Request, Outcome]] = []
        begun = time.monotonic()
        continued = [self._continues(group) for group in wave]
        for continues in (True, False):
            part = [group for group, one in zip(wave, continued, strict=True) if one is continues]
            if part:
                pairs += self._chat(part, continues)
        self.call_seconds += time.monotonic() - begun
        return pairs

    def _chat(self, groups: list[list[Request]], continues: bool) -> list[tuple[Request, Outcome]]:
        try:
            outputs = self._engine.chat(
                [self._messages(group[0], continues) for group in groups],
                [self._params(group) for group in groups],
                use_tqdm=False,
                add_generation_prompt=not continues,
                continue_final_message=continues,
            )
        except ValueError as error:
            # Of a request, not of the engine. Which one's it is has to be found out.
            if len(groups) > 1:
                half = len(groups) // 2
                return self._chat(groups[:half], continues) + self._chat(groups[half:], continues)
            said = " ".join(str(error).split())[:400]
            reason = "context too long" if "length" in said or "longer" in said else "bad request"
            self.tries[reason] += 1
            return [(request, Failure(reason, said)) for request in groups[0]]
        except Exception as error:
            raise BackendError(
                f"vLLM's engine stopped: {error}; all answers of earlier waves are kept"
            ) from error
        pairs: list[tuple[Request, Outcome]] = []
        for group, output in zip(groups, outputs, strict=True):
            pairs += self._outcomes(group, output, continues)
        return pairs

    def _continues(self, group: Sequence[Request]) -> bool:
        return self.features.prefill and prefill_of(group[0]) is not None

    def _messages(self, request: Request, continues: bool) -> list[Message]:
        messages = list(request.messages)
        if prefill_of(request) is not None and not continues:
            messages.pop()
        return messages

    def _params(self, group: Sequence[Request]) -> Any:
        first = group[0]
        how = first.sampling
        return self._vllm.SamplingParams(
            n=len(group),
            temperature=how.temperature,
            top_p=how.top_p,
            seed=first.sample if how.temperature > 0 else None,
            stop=list(how.stop) or None,
            max_tokens=first.max_tokens,
            structured_outputs=self._structured(json_object=True) if how.json else None,
        )

    def _outcomes(
        self, group: Sequence[Request], output: Any, continues: bool
    ) -> list[tuple[Request, Outcome]]:
        by_index = {one.index: one for one in output.outputs}
        prompt = len(output.prompt_token_ids or ())
        pairs: list[tuple[Request, Outcome]] = []
        for number, request in enumerate(group):
            one = by_index.get(number)
            ended = None if one is None else _ENDED.get(one.finish_reason)
            if one is None or ended is None:
                why = "no such sample" if one is None else f"finish_reason {one.finish_reason!r}"
                self.tries["malformed answer"] += 1
                pairs.append((request, Failure("malformed answer", why)))
                continue
            self.tries["answered"] += 1
            answer = Answer(
                text=one.text,
                ended=ended,
                max_tokens=request.max_tokens,
                prompt_tokens=prompt if number == 0 else 0,
                completion_tokens=len(one.token_ids),
                prefilled=continues,
            )
            pairs.append((request, answer))
        return pairs

    def _free(self) -> None:
        self._engine = None
