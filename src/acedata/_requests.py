"""What is asked of a model, what it answers, and the interface of those who carry it.

A `Request` is everything that decides the answer; `key` names it in the response store. The token limit is not part of
the key: an answer that ended by itself stays valid when the limit is raised, and one that was cut is asked again only
then. `sample` tells the n samples of one prompt apart.

A back-end turns requests into outcomes, in any order, and knows nothing of stores, budgets' rules or parsing: `_ask`
looks requests up first, writes each answer down the moment it arrives, and counts what it costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypedDict, runtime_checkable


class Message(TypedDict):
    """One chat message. A last one of role `assistant` is a prefill: the answer goes on from its end."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus; 1 is off.
        stop: texts that end the answer (not part of it).
        json: ask for a JSON object where the endpoint can promise one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    json: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One answer wanted.

    Attributes:
        provider: declared name of who answers ("openai", "vllm", ...), part of the key: the same model name at two
            providers is two models.
        model: name as the provider knows it.
        messages: the rendered chat.
        sampling: how to draw.
        max_tokens: limit of the answer's length, in tokens; not part of the key.
        sample: number of this draw, from 0.
        row: id of the row it is for (progress and messages only; not part of the key).
    """

    provider: str
    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    max_tokens: int
    sample: int = 0
    row: str = ""

    @property
    def key(self) -> bytes:
        """32 bytes, SHA-256 of the canonical JSON of (provider, model, messages, sampling, sample)."""
        chat = [[message["role"], message["content"]] for message in self.messages]
        how = self.sampling
        parts = [self.provider, self.model, chat, how.temperature, how.top_p, how.stop, how.json, self.sample]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()).digest()


Ended = Literal["stop", "length", "refused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back and is kept for ever.

    Attributes:
        text: the answer as sent, without the prefill.
        ended: `stop` by itself, `length` cut at the token limit, `refused` by the provider's filter.
        max_tokens: the limit it was asked with.
        prompt_tokens, completion_tokens: as billed by the provider.
        cached_tokens: of the prompt tokens, those billed at the cached price.
        batch: whether it was billed at the batch price.
        prefilled: whether `text` goes on from the end of the request's prefill. False where there is none, and where
            the endpoint cannot continue one: then the prefill was not sent, and `text` is an answer of its own.
    """

    text: str
    ended: Ended
    max_tokens: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    batch: bool = False
    prefilled: bool = False

    def serves(self, request: Request) -> bool:
        """Whether asking again with this request's limit could give nothing better."""
        return self.ended != "length" or request.max_tokens <= self.max_tokens


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no answer although it was tried as often as the back-end is set to.

    Attributes:
        reason: short, countable: "timeout", "rate limited", "server error", "connection", "malformed answer",
            "bad request", "context too long", "batch expired", "over budget".
        detail: for people; never holds a key.
    """

    reason: str
    detail: str = ""


Outcome = Answer | Failure


@runtime_checkable
class Backend(Protocol):
    """Carries requests to a model. Written for one event loop; used by one asker at a time."""

    def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        """Every request once, in any order.

        `requests` is drawn from lazily, when one more can be sent: that is how the asker holds a budget back. It may
        end because the budget covers no more until some of what is in flight has come back.

        `lost(request)` is called when a try ended in a way that may have been billed although no answer came (a
        time-out, a cut connection, an answer that cannot be read): it counts the worst case as spent, and says whether
        the budget covers another try. If not, the request fails with the reason of that last try.

        Raises:
            BackendError: nothing can be answered at all (no key, unknown model, wrong address, no answer to replay).
        """
        ...

    async def close(self) -> None:
        """Gives connections, processes and devices back."""
        ...


@dataclass(slots=True)
class Usage:
    """Tokens and money of a set of answers. Money in US dollars."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
