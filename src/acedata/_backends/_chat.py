"""Requests as chat-completion bodies, and what comes back as answers: shared by `openai` and `openai_batch`.

What an endpoint cannot do as asked is kept in `Features`. Each is switched off by the endpoint's own refusal, once,
with a note for people; no answer is lost by it, and an answer whose prefill was left out says so (`Answer.prefilled`).

Nothing that comes from an endpoint is trusted to have the form the documentation gives it.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._budget import most_prompt_tokens
from .._requests import Answer, Ended, Failure, Message, Request

log = logging.getLogger("acedata.backends")

# Samples of one prompt asked for in one call: the prompt is read, and billed, once.
MOST_SAMPLES = 16

_ENDED: dict[str, Ended] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refused",
    "refusal": "refused",
}
_TOO_LONG = re.compile(
    r"context[_ ](length|window)|maximum context|too many tokens|prompt is too long|input is too long", re.I
)
_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)", re.M)


@dataclass(slots=True)
class Features:
    """What an endpoint can do, as far as is known.

    Attributes:
        prefill: continue a final assistant message (vLLM's `continue_final_message`).
        json: promise a JSON object (`response_format`).
        seed: draw the same sample again for the same seed, where nothing else changed.
        samples: how many samples one call may ask for (`n`).
        old_limit: the limit is called `max_tokens`, not `max_completion_tokens`.
        notes: for people, what was switched off.
    """

    prefill: bool = True
    json: bool = True
    seed: bool = True
    samples: int = MOST_SAMPLES
    old_limit: bool = True
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)

    def refused(self, body: dict[str, Any], message: str, param: str | None) -> bool:
        """Whether an HTTP 400 refuses something that can be done without. Then it is switched off from now on."""
        said = f"{param or ''} {message}"
        if "continue_final_message" in body and re.search(
            r"continue_final_message|add_generation_prompt", said
        ):
            self.prefill = False
            self.note(
                "the endpoint cannot continue a final assistant message: prefills are left out, and answers are read "
                "as whole messages"
            )
            return True
        if "response_format" in body and re.search(r"response_format|json_object|json mode", said, re.I):
            self.json = False
            self.note("the endpoint cannot promise JSON: answers are only asked for it in words")
            return True
        if "max_tokens" in body and "max_completion_tokens" in said:
            self.old_limit = False
            return True
        if "seed" in body and (
            param == "seed" or re.search(r"(unrecogni[sz]ed|unknown|unsupported|extra).*\bseed\b", said, re.I)
        ):
            self.seed = False
            self.note("the endpoint knows no seed: the same request asked again gives another sample")
            return True
        if body.get("n", 1) > 1 and (
            param == "n" or re.search(r"\bn\b (must|is not|has to|cannot|should)|['\"`]n['\"`]", said)
        ):
            self.samples = 1
            self.note(
                "the endpoint gives one sample per call: each is asked for, and its prompt billed, alone"
            )
            return True
        return False


async def grouped(
    requests: AsyncIterable[Request], features: Features, held: list[Request] | None = None
) -> AsyncIterator[list[Request]]:
    """Requests that one call can answer: consecutive samples of one prompt, at most as many as the endpoint gives.

    Looks one request ahead. `held` is kept at what was drawn and not yet given.
    """
    held = [] if held is None else held
    async for request in requests:
        if held and not (len(held) < features.samples and _follows(held[-1], request)):
            group = held[:]
            held[:] = [request]
            yield group
        else:
            held.append(request)
    if held:
        group = held[:]
        held.clear()
        yield group


def _follows(last: Request, request: Request) -> bool:
    # Consecutive: choice i of a call with seed s is what seed s + i gives alone.
    return (
        request.sample == last.sample + 1
        and request.max_tokens == last.max_tokens
        and request.model == last.model
        and request.provider == last.provider
        and request.sampling == last.sampling
        and request.messages == last.messages
    )


def prefill_of(request: Request) -> str | None:
    """The text an answer is to go on from; None where it begins afresh."""
    last = request.messages[-1] if request.messages else None
    return last["content"] if last is not None and last["role"] == "assistant" else None


def body_of(group: Sequence[Request], features: Features) -> dict[str, Any]:
    """The JSON of one call.

    Raises:
        UnicodeEncodeError: a message holds half a surrogate pair, which no JSON in UTF-8 can.
    """
    first = group[0]
    messages: list[Message] = list(first.messages)
    for message in messages:
        message["content"].encode()
    sampling = first.sampling
    body: dict[str, Any] = {"model": first.model, "messages": messages, "temperature": sampling.temperature}
    if prefill_of(first) is not None:
        if features.prefill:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        else:
            messages.pop()
    if sampling.top_p != 1:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.json and features.json:
        body["response_format"] = {"type": "json_object"}
    if sampling.temperature > 0 and features.seed:
        body["seed"] = first.sample
    if len(group) > 1:
        body["n"] = len(group)
    body["max_tokens" if features.old_limit else "max_completion_tokens"] = first.max_tokens
    return body


class Malformed(Exception):
    """What came is no chat completion. Says what is wrong with it."""


def answers_of(
    group: Sequence[Request], body: dict[str, Any], payload: Any, features: Features, batch: bool = False
) -> list[Answer]:
    """The answers of one call, in the order of the requests; fewer where the endpoint gave fewer choices.

    The prompt's tokens are billed once a call: they are the first answer's. The others' share of the answer tokens is
    by length, since providers give only the sum.

    Raises:
        Malformed: it is not a chat completion.
    """
    choices = payload.get("choices") if isinstance(payload, dict) else None
    if not isinstance(choices, list) or not choices:
        raise Malformed("no choices")
    continues = "continue_final_message" in body
    read = [_choice(choice) for choice in choices[: len(group)]]
    prompt, cached, completion = _usage(payload.get("usage"), group[0], [text for text, _ in read])
    shares = _shared(completion, [len(text) for text, _ in read])
    answers = []
    for number, ((text, ended), request) in enumerate(zip(read, group, strict=False)):
        prefill = prefill_of(request) if continues else None
        if prefill is not None and _starts_anew(prefill, text):
            features.note(
                "the endpoint begins a new message instead of continuing the prefill: such answers are read as whole "
                "messages; `prefill: false` would ask for them so"
            )
            prefill = None
        answers.append(
            Answer(
                text=text,
                ended=ended,
                max_tokens=request.max_tokens,
                prompt_tokens=prompt if number == 0 else 0,
                completion_tokens=shares[number],
                cached_tokens=cached if number == 0 else 0,
                batch=batch,
                prefilled=prefill is not None,
            )
        )
    return answers


def _choice(choice: Any) -> tuple[str, Ended]:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Malformed("a choice without a message")
    text, refusal = message.get("content"), message.get("refusal")
    ended = _ENDED.get(str(choice.get("finish_reason")))
    if isinstance(refusal, str) and refusal and not text:
        return refusal, "refused"
    if ended is None:
        raise Malformed(f"finish_reason {str(choice.get('finish_reason'))[:40]!r}")
    if text is None and ended == "refused":
        return "", ended
    if not isinstance(text, str):
        raise Malformed("a message without text")
    return text, ended


def _usage(usage: Any, request: Request, texts: list[str]) -> tuple[int, int, int]:
    """(prompt, cached, completion) tokens as billed. An endpoint that does not say is taken to have billed the most."""
    if usage is None:
        most = [min(request.max_tokens, len(text.encode("utf-8", "surrogatepass"))) for text in texts]
        return most_prompt_tokens(request), 0, sum(most)
    if not isinstance(usage, dict):
        raise Malformed("usage is no object")
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return (
        _tokens(usage.get("prompt_tokens")),
        _tokens(cached or 0),
        _tokens(usage.get("completion_tokens") or 0),
    )


def _tokens(figure: Any) -> int:
    if type(figure) is not int or not 0 <= figure < 2**31:
        raise Malformed("usage is no count of tokens")
    return figure


def _shared(total: int, weights: list[int]) -> list[int]:
    """`total` shared by weight, exactly."""
    whole = sum(weights)
    if whole == 0:
        return [total, *[0] * (len(weights) - 1)]
    ends, so_far = [0], 0
    for weight in weights:
        so_far += weight
        ends.append(total * so_far // whole)
    return [end - begin for begin, end in itertools.pairwise(ends)]


def _starts_anew(prefill: str, text: str) -> bool:
    """Whether a text that should go on inside the prefill's open code fence opens one of its own first."""
    if len(_FENCE.findall(prefill)) % 2 == 0:
        return False
    first = _FENCE.search(text)
    return first is not None and first[1].lower() in ("python", "python3", "py")


# ---- errors ----


@dataclass(frozen=True, slots=True)
class Told:
    """What an error response says."""

    message: str
    code: str | None
    param: str | None


def told(body: Any, fallback: str = "") -> Told:
    """The parts of an error in OpenAI's form, or of one that is not."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        message, code, param = error.get("message"), error.get("code"), error.get("param")
        return Told(
            message if isinstance(message, str) else str(error),
            code if isinstance(code, str) else None,
            param if isinstance(param, str) else None,
        )
    return Told(error if isinstance(error, str) else fallback, None, None)


def row_failure(request: Request, status: int, said: Told, detail: str) -> Answer | Failure:
    """What an error that concerns one request alone comes to."""
    if said.code == "content_filter":
        return Answer("", "refused", request.max_tokens)
    if said.code == "context_length_exceeded" or _TOO_LONG.search(said.message):
        return Failure("context too long", detail)
    if status == 429:
        return Failure("rate limited", detail)
    if status >= 500:
        return Failure("server error", detail)
    return Failure("bad request", detail)
