"""Answers from a file: how the embedded example and the tests run without a network. A missing answer is an error.

The file is JSON Lines, one answer a line, as `acedata store dump` writes them or a person does:

    {"model": "policy-a", "row": "evol_12", "sample": 3, "text": "..."}

Which request a line answers: the one whose `key` (64 hex digits) it gives; a line without one answers the request of
its `model`, `row` and `sample` (0 where it is left out), and of its `provider` where it names one. Optional: `ended`
("stop"), `max_tokens` (the request's), `prompt_tokens`, `completion_tokens`, `cached_tokens`, `batch`, `prefilled`
(whether the text goes on from the prefill; left out: it does where there is one).

The lines stay in the file; memory holds where they begin.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, get_args

from .._errors import BackendError, BadInput, MissingAnswer
from .._requests import Answer, Ended, Outcome, Request

_NUMBERS = ("max_tokens", "prompt_tokens", "completion_tokens", "cached_tokens")

Named = tuple[str | None, str, str, int]


class ReplayBackend:
    """Answers from a file.

    Args:
        path: the file.

    Raises:
        BackendError: there is none.
        BadInput: a line is not an answer, or two lines answer the same request.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        try:
            self._file: BinaryIO = open(self.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise BackendError(f"{self.path}: cannot read answers to replay: {error.strerror}") from None
        self._places: dict[bytes | Named, int] = {}
        try:
            self._read_places()
        except BaseException:
            self._file.close()
            raise

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        async for request in requests:
            yield request, self._answer(request)

    async def close(self) -> None:
        self._file.close()

    def _answer(self, request: Request) -> Answer:
        named = (request.model, request.row, request.sample)
        for name in (request.key, (request.provider, *named), (None, *named)):
            place = self._places.get(name)
            if place is not None:
                self._file.seek(place)
                line = json.loads(self._file.readline())
                prefill = request.messages[-1]["role"] == "assistant"
                return Answer(
                    text=line["text"],
                    ended=line.get("ended", "stop"),
                    max_tokens=line.get("max_tokens", request.max_tokens),
                    prompt_tokens=line.get("prompt_tokens", 0),
                    completion_tokens=line.get("completion_tokens", 0),
                    cached_tokens=line.get("cached_tokens", 0),
                    batch=line.get("batch", False),
                    prefilled=prefill and line.get("prefilled", True),
                )
        raise MissingAnswer(
            f"{self.path} holds no answer of {request.model} to {request.row or 'a request'}, sample {request.sample} "
            f"(key {request.key.hex()}); none is invented: record one, or ask a model"
        )

    def _read_places(self) -> None:
        at = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                name = self._name(number, line)
                if name in self._places:
                    raise BadInput(
                        f"{self.path}, line {number}: answers the same request as an earlier line; keep one of them"
                    )
                self._places[name] = at
            at += len(line)

    def _name(self, number: int, line: bytes) -> bytes | Named:
        def bad(what: str) -> BadInput:
            return BadInput(f"{self.path}, line {number}: {what}")

        try:
            given: Any = json.loads(line)
        except ValueError as error:
            raise bad(f"not JSON: {error}") from None
        if not isinstance(given, dict):
            raise bad("not a JSON object")
        if not isinstance(given.get("text"), str):
            raise bad("`text` is missing or no text")
        if given.get("ended", "stop") not in get_args(Ended):
            raise bad(f"`ended` is {given['ended']!r}; there are {', '.join(get_args(Ended))}")
        for field in _NUMBERS:
            value = given.get(field, 0)
            if type(value) is not int or not 0 <= value < 2**32:
                raise bad(f"`{field}` is {value!r}; a whole number was expected")
        key = given.get("key")
        if key is not None:
            try:
                digest = bytes.fromhex(key)
            except (TypeError, ValueError):
                digest = b""
            if len(digest) != 32:
                raise bad("`key` is not 64 hex digits")
            return digest
        provider, model, row, sample = (
            given.get("provider"),
            given.get("model"),
            given.get("row"),
            given.get("sample", 0),
        )
        if not isinstance(model, str) or not isinstance(row, str):
            raise bad("neither a `key` nor `model` and `row`")
        if type(sample) is not int or not (provider is None or isinstance(provider, str)):
            raise bad("`sample` must be a whole number and `provider` a name")
        return provider, model, row, sample
