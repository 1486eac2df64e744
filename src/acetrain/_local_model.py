"""Answers from transformers' plain generation in this process: for small models, and machines without vLLM.

    requests ──batches, longest prompts together──▶ generate() in a thread of its own ──▶ answers, batch by batch

A batch holds requests with the same way of sampling, padded on the left. Its draws are seeded by the requests' keys, so
the same batch gives the same answers; a run that was stopped makes other batches, and other draws of the same
distribution. Answers come with each batch, so a kill costs at most one.

A chat is rendered by the tokenizer's own template; a last assistant message is gone on from. A model without a template
gets the bare texts, one after the other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from acedata._errors import BackendError, BadInput
from acedata._requests import Answer, Failure, Outcome, Request

_OPTIONS = ("batch_size", "device", "dtype", "trust_remote_code", "revision", "threads")


class TransformersBackend:
    """A causal language model of transformers.

    Args:
        model: hub name or folder.
        options: `batch_size` (16), `device` ("cuda" where there is one, else "cpu"), `dtype` ("auto"), `revision`,
            `trust_remote_code`, `threads` (of the CPU).

    Raises:
        BackendError: transformers is not installed. (What cannot be loaded is told with the first batch.)
        BadInput: an option that there is not, or a number that is none.
    """

    batch = False

    def __init__(self, model: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            raise BackendError(
                f"the back-end transformers needs {error.name}: pip install 'acestack[train]'"
            ) from None
        self.model, self.options = model, dict(options or {})
        for name in self.options:
            if name not in _OPTIONS:
                raise BadInput(
                    f"the back-end transformers has no option {name!r}; there are {', '.join(_OPTIONS)}"
                )
        for name in ("batch_size", "threads"):
            value = self.options.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(
                    f"the back-end transformers: {name} must be a whole number of 1 or more, not {value!r}"
                )
        self.batch_size = int(self.options.get("batch_size", 16))
        self.notes: list[str] = []
        self.tries: Counter[str] = Counter()
        self._torch, self._transformers = torch, transformers
        self._tokenizer: Any = None
        self._network: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="acetrain-generate")

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        loop = asyncio.get_running_loop()
        waiting: list[Request] = []
        ended = False
        drawn = requests.__aiter__()
        while not ended or waiting:
            while not ended and len(waiting) < 8 * self.batch_size:
                request = await anext(drawn, None)
                if request is None:
                    ended = True
                else:
                    waiting.append(request)
            for batch in self._batches(waiting):
                for pair in await loop.run_in_executor(self._thread, self._run, batch):
                    yield pair
            waiting = []

    async def close(self) -> None:
        """Frees the model's memory."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._free)
        self._thread.shutdown()

    def __repr__(self) -> str:
        return f"TransformersBackend({self.model!r})"

    def _batches(self, waiting: list[Request]) -> list[list[Request]]:
        """Requests that can be drawn together, prompts of about the same length in one batch."""
        alike: dict[Any, list[Request]] = {}
        for request in waiting:
            alike.setdefault((request.sampling, request.max_tokens), []).append(request)
        found = []
        for listed in alike.values():
            listed.sort(key=lambda one: sum(len(message["content"]) for message in one.messages))
            found += [listed[at : at + self.batch_size] for at in range(0, len(listed), self.batch_size)]
        return found

    # ---- in the thread ----

    def _load(self) -> None:
        torch, options = self._torch, self.options
        common = {name: options[name] for name in ("revision", "trust_remote_code") if name in options}
        if "threads" in options:
            torch.set_num_threads(int(options["threads"]))
        try:
            self._tokenizer = self._transformers.AutoTokenizer.from_pretrained(self.model, **common)
            network = self._transformers.AutoModelForCausalLM.from_pretrained(
                self.model, dtype=options.get("dtype", "auto"), **common
            )
        except Exception as error:  # hub, files, versions: what may come here is listed nowhere
            raise BackendError(f"transformers cannot load {self.model}: {error}") from error
        device = options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(device).eval()
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    def _run(self, batch: list[Request]) -> list[tuple[Request, Outcome]]:
        if self._network is None:
            self._load()
        ids = [self._tokens(request) for request in batch]
        first = batch[0]
        room = getattr(self._network.config, "max_position_embeddings", None)
        pairs: list[tuple[Request, Outcome]] = []
        fitting: list[tuple[Request, list[int]]] = []
        for request, tokens in zip(batch, ids, strict=True):
            if room is not None and len(tokens) + 1 > room:
                self.tries["context too long"] += 1
                pairs.append(
                    (request, Failure("context too long", f"{len(tokens)} tokens; the model takes {room}"))
                )
            else:
                fitting.append((request, tokens))
        if not fitting:
            return pairs
        longest = max(len(tokens) for _, tokens in fitting)
        most = first.max_tokens if room is None else min(first.max_tokens, room - longest)
        texts, lengths, stopped = self._drawn(fitting, longest, most)
        for (request, tokens), text, length, stop in zip(fitting, texts, lengths, stopped, strict=True):
            self.tries["answered"] += 1
            pairs.append(
                (
                    request,
                    Answer(
                        text,
                        "stop" if stop else "length",
                        request.max_tokens,
                        len(tokens),
                        length,
                        prefilled=request.messages[-1]["role"] == "assistant",
                    ),
                )
            )
        return pairs

    def _drawn(
        self, fitting: list[tuple[Request, list[int]]], longest: int, most: int
    ) -> tuple[list[str], list[int], list[bool]]:
        torch, how = self._torch, fitting[0][0].sampling
        pad = self._tokenizer.pad_token_id
        rows = [[pad] * (longest - len(tokens)) + tokens for _, tokens in fitting]
        seen = [[0] * (longest - len(tokens)) + [1] * len(tokens) for _, tokens in fitting]
        device = self._network.device
        options: dict[str, Any] = {"do_sample": False}
        if how.temperature > 0:
            options = {"do_sample": True, "temperature": how.temperature, "top_p": how.top_p, "top_k": 0}
            key = hashlib.sha256(b"".join(request.key for request, _ in fitting)).digest()
            torch.manual_seed(int.from_bytes(key[:7], "big"))
        if how.stop:
            options |= {"stop_strings": list(how.stop), "tokenizer": self._tokenizer}
        # What the model's own configuration says of sampling is not what was asked for.
        generation = self._transformers.GenerationConfig(
            max_new_tokens=most,
            pad_token_id=pad,
            eos_token_id=self._network.generation_config.eos_token_id or self._tokenizer.eos_token_id,
            bos_token_id=self._network.generation_config.bos_token_id,
            **{name: value for name, value in options.items() if name != "tokenizer"},
        )
        with torch.inference_mode():
            made = self._network.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(seen, device=device),
                generation_config=generation,
                **({"tokenizer": self._tokenizer} if how.stop else {}),
            )
        ends = generation.eos_token_id
        ends = set(ends) if isinstance(ends, (list, tuple)) else {ends}
        texts: list[str] = []
        lengths: list[int] = []
        stopped: list[bool] = []
        for row in made[:, longest:].tolist():
            end = next((place for place, token in enumerate(row) if token in ends), None)
            text = str(self._tokenizer.decode(row if end is None else row[:end], skip_special_tokens=True))
            cut = min((place for place in (text.find(stop) for stop in how.stop) if place >= 0), default=None)
            texts.append(text if cut is None else text[:cut])
            lengths.append(len(row) if end is None else end + 1)
            stopped.append(end is not None or cut is not None)
        return texts, lengths, stopped

    def _tokens(self, request: Request) -> list[int]:
        chat: list[dict[str, str]] = [
            {"role": message["role"], "content": message["content"]} for message in request.messages
        ]
        if self._tokenizer.chat_template is None:
            text = "\n".join(message["content"] for message in chat)
            return list(self._tokenizer(text)["input_ids"])
        goes_on = chat[-1]["role"] == "assistant"
        text = self._tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
        )
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _free(self) -> None:
        self._network = self._tokenizer = None
        if self._torch.cuda.is_available():
            self._torch.cuda.empty_cache()
