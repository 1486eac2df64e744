"""Answers from any OpenAI-compatible endpoint, live: OpenAI, `vllm serve`, others. The official SDK carries them.

Who talks to whom: a dispatcher draws requests while fewer than `concurrency` calls are outstanding, groups consecutive
samples of one prompt into one call, and starts a task for each. A task waits for a place (`_limiter`), sends, and
tries again what may pass: 429, 5xx, time-outs, cut connections, answers that cannot be read. The SDK's own retries are
off, so that ours are all there are: counted in `tries`, paid from the budget, obeying Retry-After for all at once.

How a try can end:

    answer                                        done
    429, 503, 529                                 not billed; all wait, as told or longer and longer; fewer in flight.
                                                  No try is counted, since a storm is no row's fault: `patience_s` is
                                                  its limit
    5xx, 408, 409, no connection                  not billed; back off; a try
    time-out, cut connection, unreadable answer   may have been billed: the budget counts it at its worst; a try
    400, 413, 422                                 a feature the endpoint lacks (done without, see `_chat`), or this
                                                  row's fault: no further try
    401, 403, 404, quota used up                  nothing will work: `BackendError`, after what is in flight is home

Requests go through several HTTP clients of 8 connections each: a pool looks through all its connections for each
request, and one of 256 spends more CPU time on that than on everything else together.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import openai

from .._errors import BackendError
from .._requests import Answer, Failure, Outcome, Request
from ._chat import Features, Malformed, answers_of, body_of, grouped, row_failure, told
from ._limiter import Limiter
from ._secrets import Secrets, key_from_environment

# Longest body that is read. Sixteen answers of a hundred thousand tokens fit.
MOST_BYTES = 32 * 2**20
# A compressed body can grow a thousandfold.
_MOST_COMPRESSED = MOST_BYTES // 32
_LANE = 8
_OVERLOAD = frozenset({429, 503, 529})
_PASSING = frozenset({408, 409, 425})
_ROW = frozenset({400, 413, 422})
_LONGEST_BACKOFF = 30.0
# So many requests failed one after the other for good, and none came through: something is wrong with more than rows.
_MOST_FAILURES_IN_A_ROW = 100


@dataclass(frozen=True, slots=True)
class Trouble:
    """A try that brought no answer.

    Attributes:
        reason, detail: as of `Failure`.
        billed: it may have been.
        overload: the provider has too much to do: fewer requests in flight from now on.
        storm: it said so itself: no try is counted.
        wait: seconds it asked us to wait.
        again: whether another try makes sense. None: at once, since something was switched off.
    """

    reason: str
    detail: str
    billed: bool = False
    overload: bool = False
    storm: bool = False
    wait: float = 0.0
    again: bool | None = True


class OpenAIBackend:
    """An OpenAI-compatible endpoint.

    Args:
        base_url: its address, up to `/v1`; None: OpenAI's own, or what OPENAI_BASE_URL says.
        api_key_env: environment variable with the key; None: the endpoint wants none.
        concurrency: calls in flight at most.
        timeout_s: seconds for one try, from sending to the last byte.
        retries: times a request is sent again.
        prefill: whether the endpoint is asked to continue a final assistant message.
        backoff_s: mean of the first wait before another try, and the first pause in a storm; they double up to half a
            minute.
        patience_s: how long a request is held back by 429s, before it fails.

    Raises:
        BackendError: the key is missing or cannot be one, or the address is none.
    """

    batch = False

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout_s: float = 120.0,
        retries: int = 5,
        prefill: bool = True,
        backoff_s: float = 0.5,
        patience_s: float = 900.0,
    ) -> None:
        self.concurrency, self.timeout_s, self.retries = concurrency, timeout_s, retries
        self.backoff_s, self.patience_s = backoff_s, patience_s
        self.features = Features(prefill=prefill)
        self.tries: Counter[str] = Counter()
        """What became of every call: "answered", or the reason of its trouble."""
        self.call_seconds = 0.0
        """How long all calls took together, one after the other."""
        self._sdk, self._secrets = client(base_url, api_key_env)
        self._key_env = api_key_env
        self._address = self._secrets.clean(str(self._sdk.base_url))
        self._limiter = Limiter(concurrency, backoff_s)
        self._lanes: list[_Lane] = []
        self._tls: Any = None
        self._fatal: BackendError | None = None
        self._failures_in_a_row = 0
        # Not for anything in the data: only for how long to wait.
        self._random = random.Random()

    @property
    def notes(self) -> list[str]:
        """What the endpoint could not do as asked, for people."""
        return self.features.notes

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        self._secrets.guard()
        done: asyncio.Queue[list[tuple[Request, Outcome]] | None] = asyncio.Queue()
        dispatcher = asyncio.create_task(self._dispatch(requests, lost, done))
        dispatcher.add_done_callback(lambda _: done.put_nowait(None))
        try:
            while (pairs := await done.get()) is not None:
                for pair in pairs:
                    yield pair
            # Raises what the dispatcher raised.
            await dispatcher
        finally:
            dispatcher.cancel()
            await asyncio.gather(dispatcher, return_exceptions=True)

    async def close(self) -> None:
        self._limiter.close()
        for lane in self._lanes:
            await lane.http.aclose()
        self._lanes.clear()
        await self._sdk.close()
        self._secrets.release()

    def __repr__(self) -> str:
        return f"OpenAIBackend({self._address!r})"

    # ---- calls ----

    async def _dispatch(
        self,
        requests: AsyncIterable[Request],
        lost: Callable[[Request], bool],
        done: asyncio.Queue[list[tuple[Request, Outcome]] | None],
    ) -> None:
        places = asyncio.Semaphore(self.concurrency)
        tasks: set[asyncio.Task[None]] = set()
        troubles: list[BaseException] = []

        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            places.release()
            if not task.cancelled() and (error := task.exception()) is not None:
                troubles.append(error)

        held: list[Request] = []
        groups = grouped(requests, self.features, held)
        try:
            await places.acquire()
            while not troubles and (group := await anext(groups, None)) is not None:
                task = asyncio.create_task(self._carry(group, lost, done))
                tasks.add(task)
                task.add_done_callback(ended)
                await places.acquire()
            # Answers that are on their way are paid for: they come home even when all is to end.
            while tasks:
                await asyncio.wait(tasks)
                await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await groups.aclose()  # type: ignore[attr-defined]
        if troubles:
            done.put_nowait([(request, Failure("stopped", str(self._fatal))) for request in held])
            raise troubles[0]

    async def _carry(
        self,
        group: list[Request],
        lost: Callable[[Request], bool],
        done: asyncio.Queue[list[tuple[Request, Outcome]] | None],
    ) -> None:
        """One group, from the first try to its outcomes."""
        tries, held_since = 0, 0.0
        while True:
            if self._is_over():
                return self._stopped(group, done)
            came = await self._try(group)
            if isinstance(came, list):
                self._failures_in_a_row = 0
                done.put_nowait(list(zip(group, came, strict=False)))
                group = group[len(came) :]
                if not group:
                    return None
                # Fewer samples than asked for: it is not one call's work.
                self.features.samples = len(came)
                self.features.note(f"the endpoint gives {len(came)} samples per call at most")
                continue
            if came.again is None:
                # Groups may be too large for what is known now: their samples go one by one.
                if len(group) > self.features.samples:
                    for request in group[1:]:
                        await self._carry([request], lost, done)
                    group = group[:1]
                continue
            # Each of them is counted, also behind one that is not covered.
            covered = not came.billed or min([lost(request) for request in group])
            if self._is_over():
                return self._stopped(group, done)
            now = time.monotonic()
            if came.storm:
                # The limiter lets nobody pass before it is over.
                held_since = held_since or now
                if now + came.wait - held_since > self.patience_s:
                    return self._give_up(group, came, done)
                continue
            held_since = 0.0
            tries += 1
            if not came.again or not covered or tries > self.retries:
                return self._give_up(group, came, done)
            if not came.wait:
                longest = min(_LONGEST_BACKOFF, self.backoff_s * 2 ** min(tries, 16))
                await asyncio.sleep(longest * self._random.uniform(0.25, 0.75))

    def _give_up(
        self, group: list[Request], came: Trouble, done: asyncio.Queue[list[tuple[Request, Outcome]] | None]
    ) -> None:
        done.put_nowait([(request, Failure(came.reason, came.detail)) for request in group])
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= _MOST_FAILURES_IN_A_ROW and self._fatal is None:
            self._fatal = BackendError(
                f"{self._address}: the last {self._failures_in_a_row} requests failed, one after the other "
                f"({came.reason}: {came.detail}); what was answered is kept, the same command goes on from there"
            )
            raise self._fatal

    def _is_over(self) -> bool:
        return self._fatal is not None

    def _stopped(
        self, group: list[Request], done: asyncio.Queue[list[tuple[Request, Outcome]] | None]
    ) -> None:
        """Nothing was billed for what is not sent any more: its reservation is given back by a failure."""
        assert self._fatal is not None
        done.put_nowait([(request, Failure("stopped", str(self._fatal))) for request in group])
        raise self._fatal

    async def _try(self, group: list[Request]) -> list[Answer] | Trouble:
        """Send once."""
        try:
            body = body_of(group, self.features)
        except UnicodeEncodeError:
            return Trouble("bad request", "the prompt holds half a surrogate pair", again=False)
        await self._limiter.acquire()
        lane = self._lane()
        lane.in_flight += 1
        came: list[Answer] | Trouble | None = None
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout_s):
                response = await lane.sdk.post("/chat/completions", cast_to=httpx2.Response, body=body)
            came = answers_of(group, body, json.loads(response.content), self.features)
        except (TimeoutError, openai.APITimeoutError) as error:
            reached = not isinstance(error.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout)
            came = Trouble("timeout", f"no answer in {self.timeout_s:g} s", billed=reached, overload=True)
        except openai.APIStatusError as error:
            came = self._status(group, body, error)
        except openai.APIConnectionError as error:
            reached = not isinstance(error.__cause__, httpx2.ConnectError)
            cause = error.__cause__ or error
            came = Trouble(
                "connection", self._secrets.line(f"{type(cause).__name__}: {cause}"), billed=reached
            )
        except (Malformed, ValueError, RecursionError) as error:
            came = Trouble("malformed answer", self._secrets.line(error), billed=True)
        except TooLong as error:
            came = Trouble("malformed answer", str(error), billed=True)
        finally:
            lane.in_flight -= 1
            self.call_seconds += time.monotonic() - begun
            if came is None or isinstance(came, list):
                self._limiter.release(good=came is not None)
            else:
                pause = came.wait if came.wait <= self.patience_s else 0.0
                self._limiter.release(overload=came.overload, storm=came.storm and not came.wait, pause=pause)
            self.tries["answered" if isinstance(came, list) else came.reason if came else "cancelled"] += 1
        return came

    def _status(
        self, group: list[Request], body: dict[str, Any], error: openai.APIStatusError
    ) -> list[Answer] | Trouble:
        """What an HTTP error means. Where it means that nothing will work, `_fatal` says so from now on."""
        request = group[0]
        status, said = error.status_code, told(error.body, error.message)
        detail = self._secrets.line(f"HTTP {status}: {said.message}")
        wait = retry_after(error.response.headers)
        if status in (401, 403):
            where = (
                f"the key in {self._key_env} is right" if self._key_env else "it wants a key (`api_key_env`)"
            )
            return self._stop(f"{self._address} refuses us ({detail}); see whether {where}")
        if status == 404 or 300 <= status < 400:
            return self._stop(
                f"{self._address} has no model {request.model}, or is no such endpoint ({detail})"
            )
        if status == 402 or said.code in ("insufficient_quota", "billing_hard_limit_reached"):
            return self._stop(
                f"{self._address}: the account's quota is used up ({detail}); all answers so far are kept"
            )
        if status in _OVERLOAD:
            if wait > self.patience_s:
                return self._stop(
                    f"{self._address} asks to wait for {wait:,.0f} s ({detail}); run the same command again then, "
                    f"all answers so far are kept"
                )
            reason = "rate limited" if status == 429 else "server error"
            return Trouble(reason, detail, overload=True, storm=True, wait=wait)
        if status >= 500 or status in _PASSING:
            return Trouble("server error", detail, wait=min(wait, self.patience_s))
        if status in _ROW and self.features.refused(body, said.message, said.param):
            return Trouble("bad request", detail, again=None)
        outcome = row_failure(request, status, said, detail)
        if isinstance(outcome, Answer):
            return [outcome] * len(group)
        return Trouble(outcome.reason, detail, again=False)

    def _stop(self, message: str) -> Trouble:
        # Raised elsewhere: raised here, it would carry the error under treatment, and that one the request's headers.
        if self._fatal is None:
            self._fatal = BackendError(message)
        return Trouble("stopped", message, again=False)

    def _lane(self) -> _Lane:
        for lane in self._lanes:
            if lane.in_flight < _LANE:
                return lane
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
        http = httpx2.AsyncClient(
            verify=self._tls,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=20.0),
            timeout=httpx2.Timeout(self.timeout_s, connect=min(20.0, self.timeout_s)),
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_bound]},
        )
        lane = _Lane(http, self._sdk.with_options(http_client=http))
        self._lanes.append(lane)
        return lane


class _Lane:
    """One HTTP client with its few connections."""

    __slots__ = ("http", "in_flight", "sdk")

    def __init__(self, http: httpx2.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
        self.http, self.sdk, self.in_flight = http, sdk, 0


def client(base_url: str | None, api_key_env: str | None) -> tuple[openai.AsyncOpenAI, Secrets]:
    """The SDK's client, without retries of its own, and what must never be seen of it.

    Raises:
        BackendError: the key is missing or cannot be one, or the address is none.
    """
    key = None if api_key_env is None else key_from_environment(api_key_env)
    if key is None and api_key_env is not None:
        raise BackendError(
            f"the environment variable {api_key_env} is not set: it must hold the key of the endpoint; a recipe names "
            f"another one in `api_key_env`"
        )
    hidden = [key or ""]
    if base_url is not None:
        try:
            address = httpx2.URL(base_url)
        except httpx2.InvalidURL:
            address = httpx2.URL()
        if address.scheme not in ("http", "https") or not address.host:
            raise BackendError(
                f"base_url {Secrets([key or '']).line(base_url)!r} is no address: http://host:port/v1"
            )
        hidden.append(address.password)
    # An endpoint that wants no key gets a word that is none.
    sdk = openai.AsyncOpenAI(api_key=key or "none", base_url=base_url, max_retries=0)
    return sdk, Secrets(hidden)


def retry_after(headers: httpx2.Headers) -> float:
    """Seconds that a response asks us to wait: `retry-after-ms`, or Retry-After as seconds or as a date. 0: none."""
    with contextlib.suppress(ValueError):
        return max(0.0, min(float(headers.get("retry-after-ms", "")) / 1000, 1e9))
    said = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        seconds = float(said)
        return max(0.0, min(seconds, 1e9)) if seconds == seconds else 0.0
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    return 0.0


class TooLong(Exception):
    """A body without an end."""


async def _bound(response: httpx2.Response) -> None:
    compressed = response.headers.get("content-encoding", "identity") != "identity"
    # What a streaming download reads goes to a file, piece by piece.
    response.stream = _Bounded(response.stream, _MOST_COMPRESSED if compressed else MOST_BYTES)


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error when it gets too long for memory."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLong("the answer is longer than any answer can be")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
