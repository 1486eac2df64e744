"""Asks models: the store first, then the back-end, and every answer on the disk before anyone sees it.

Who talks to whom:

    caller ──requests──▶ feed ──those without an answer──▶ back-end
                          │ found                             │ answers, failures
                          ▼                                   ▼
    caller ◀──────────── ready ◀──── commit: one fsync for all that arrived meanwhile

- `feed` looks each request up. What the store holds goes straight to the caller. A request that is in flight already
  under the same key (two seeds with the same prompt) is not sent twice: it waits for that answer. So a second run,
  which finds one answer under the key, gives the same rows.
- `feed` reserves a request's worst case before the back-end gets it. When the budget does not cover the next one, the
  feed ends, what is in flight comes home and is settled, and a new round begins; when nothing is in flight and it still
  is not covered, that is `BudgetReached`.
- `commit` takes all answers that arrived while the last commit waited for the disk. Only then are they handed out.
- Failures are handed out and never stored: the next run asks again.

A caller that takes its time stops the feed, not the answers in flight: those are stored as they come. A caller that
stops listening, or an error, cancels what is in flight; all that had arrived is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ._budget import Budget, dollars
from ._errors import BudgetReached
from ._requests import Answer, Backend, Failure, Outcome, Request, Usage
from ._store import ResponseStore

# Answers the caller has not taken yet, above which nothing more is looked up or sent.
_MOST_READY = 4096
# Look-ups in a row before others get their turn.
_LOOKUPS_IN_A_ROW = 64


@dataclass(slots=True)
class Progress:
    """Where an asker stands; the same object, brought up to date, at every call of `on_progress`.

    Attributes:
        found: requests that the store answered.
        answered: requests that a model answered in this run.
        failed: requests that got no answer.
        in_flight: requests that the back-end holds.
        usage: tokens and dollars of this run by (provider, model), failures by reason among them.
        lost: tries that may have been billed although no answer came.
        lost_dollars: what they may have cost, at their worst case.
        call_seconds: how long the back-end's calls took, one after the other; 0 where it does not say.
        seconds: since the first request.
    """

    found: int = 0
    answered: int = 0
    failed: int = 0
    in_flight: int = 0
    usage: dict[tuple[str, str], Usage] = field(default_factory=dict)
    lost: int = 0
    lost_dollars: float = 0.0
    call_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return self.found + self.answered + self.failed

    @property
    def dollars(self) -> float:
        """Spent in this run, lost tries included."""
        return self.lost_dollars + sum(one.dollars for one in self.usage.values())

    @property
    def rate(self) -> float:
        """Answers of models per second."""
        return self.answered / self.seconds if self.seconds else 0.0


async def ask(
    requests: Iterable[Request] | AsyncIterable[Request],
    backend: Backend,
    store: ResponseStore,
    budget: Budget | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> AsyncIterator[tuple[Request, Outcome]]:
    """Every request with its outcome, in any order, each answer durable before it is given.

    Args:
        requests: taken lazily; give all of a stage's at once, so that no slow answer holds the others up.
        backend: who answers what the store does not.
        store: open for writing.
        budget: counts and limits the money; None: no limit and no prices.
        on_progress: called after every commit, from the event loop.

    Raises:
        BudgetReached: the next request could exceed the budget. Everything before it was given and stored.
        BackendError: the back-end cannot work at all. Everything that arrived was given and stored.
        StoreError: the store cannot be read or written.
    """
    asker = _Asker(requests, backend, store, budget or Budget(), on_progress)
    try:
        async for pair in asker.run():
            yield pair
    finally:
        await asker.stop()


def ask_all(
    requests: Iterable[Request],
    backend: Backend,
    store: ResponseStore,
    budget: Budget | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    close: bool = False,
) -> Iterator[tuple[Request, Outcome]]:
    """`ask` for callers without an event loop: it has a thread of its own, so answers come in while the caller works.

    `requests` is iterated and `on_progress` called in that thread. `close` also closes the back-end at the end (one
    back-end belongs to one event loop: close it here unless it is known to outlive one).
    """
    handed: queue.Queue[tuple[Request, Outcome] | BaseException | None] = queue.Queue(256)
    stopped = threading.Event()
    loop_ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = queue.Queue(1)

    def hand(item: tuple[Request, Outcome] | BaseException | None) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                handed.put(item, timeout=0.1)
                return True
        return False

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        loop_ready.put((loop, task))
        answers = ask(requests, backend, store, budget, on_progress)
        try:
            async for pair in answers:
                try:
                    handed.put_nowait(pair)
                except queue.Full:
                    if not await loop.run_in_executor(None, hand, pair):
                        break
        finally:
            await answers.aclose()  # type: ignore[attr-defined]
            if close:
                await backend.close()

    def main() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            hand(error)
        else:
            hand(None)

    thread = threading.Thread(target=main, name="acedata-ask", daemon=True)
    thread.start()
    loop, task = loop_ready.get()
    try:
        while (item := handed.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


class _Asker:
    def __init__(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        backend: Backend,
        store: ResponseStore,
        budget: Budget,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.source = requests.__aiter__() if isinstance(requests, AsyncIterable) else _slowly(iter(requests))
        self.backend, self.store, self.budget, self.on_progress = backend, store, budget, on_progress
        self.batch = bool(getattr(backend, "batch", False))
        self.progress = Progress()
        # Requests to look at before the source: those the budget held back, and those that waited for another's
        # answer which did not serve them.
        self.again: deque[Request] = deque()
        self.exhausted = False
        self.short = False
        # What the back-end holds: worst case by request key, and who else waits for the same answer.
        self.reserved: dict[bytes, int] = {}
        self.waiting: dict[bytes, list[Request]] = {}
        self.arrived: list[tuple[Request, Outcome]] = []
        # What ended the feed early: raised once all that is in flight has come home.
        self.trouble: Exception | None = None
        self.ready: deque[tuple[Request, Outcome]] = deque()
        # `changed` wakes the caller's side, `taken` the feed, `landed` the committer; `idle`: all that came is stored.
        self.changed, self.taken, self.landed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.idle = asyncio.Event()
        self.begun = time.monotonic()
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> AsyncIterator[tuple[Request, Outcome]]:
        worker = asyncio.create_task(self.work())
        self.tasks = [worker]
        worker.add_done_callback(lambda _: self.changed.set())
        while True:
            while self.ready:
                pair = self.ready.popleft()
                self.taken.set()
                yield pair
            if worker.done():
                if not self.ready:
                    break
                continue
            self.changed.clear()
            await self.changed.wait()
        worker.result()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def work(self) -> None:
        committer = asyncio.create_task(self.commit())
        rounds = asyncio.create_task(self.rounds())
        try:
            await asyncio.wait([committer, rounds], return_when=asyncio.FIRST_COMPLETED)
        finally:
            rounds.cancel()
            committer.cancel()
            ended = await asyncio.gather(rounds, committer, return_exceptions=True)
            self.write_down(self.take_arrived())
            self.tell()
        for one in ended:
            if isinstance(one, BaseException) and not isinstance(one, asyncio.CancelledError):
                raise one

    async def rounds(self) -> None:
        while True:
            self.short = False
            answers = self.backend.answers(self.feed(), self.lost)
            try:
                async for request, outcome in answers:
                    self.land(request, outcome)
            finally:
                close = getattr(answers, "aclose", None)
                if close is not None:
                    await close()
            # A request that waited for another's answer is looked up again, so that answer must be in the store.
            await self.idle.wait()
            if self.trouble is not None:
                raise self.trouble
            if self.reserved:
                lost = len(self.reserved)
                raise RuntimeError(
                    f"{type(self.backend).__name__} took {lost} requests and gave no outcome of them"
                )
            if not self.short and not self.again and self.exhausted:
                return

    # ---- requests on their way out ----

    async def feed(self) -> AsyncIterator[Request]:
        try:
            async for request in self.misses():
                yield request
        except Exception as error:
            self.trouble = error

    async def misses(self) -> AsyncIterator[Request]:
        lookups = 0
        while (request := await self.next()) is not None:
            lookups += 1
            if lookups % _LOOKUPS_IN_A_ROW == 0:
                await asyncio.sleep(0)
            while len(self.ready) > _MOST_READY:
                self.taken.clear()
                await self.taken.wait()
            key = request.key
            if key in self.reserved:
                self.waiting.setdefault(key, []).append(request)
                continue
            known = self.store.get(request)
            if known is not None and known.serves(request):
                self.progress.found += 1
                self.give(request, known)
                continue
            if not self.cover(key, request):
                return
            self.progress.in_flight = len(self.reserved)
            yield request

    async def next(self) -> Request | None:
        if self.again:
            return self.again.popleft()
        if self.exhausted:
            return None
        try:
            return await self.source.__anext__()
        except StopAsyncIteration:
            self.exhausted = True
            return None

    def cover(self, key: bytes, request: Request) -> bool:
        """Reserve the request's worst case, or end the round. `short` rounds are repeated once others are settled."""
        worst = self.budget.price(request).worst(request, self.batch)
        if self.budget.reserve(worst):
            self.reserved[key] = worst
            return True
        if not self.reserved and not self.arrived:
            limit = dollars(self.budget.limit or 0)
            raise BudgetReached(
                f"the budget of ${limit:,.2f} does not cover the next request to {request.model} (up to "
                f"${dollars(worst):.4f}; ${dollars(self.budget.spent):,.4f} are spent); all answers so far are kept, "
                f"and a larger budget goes on from here"
            )
        self.again.appendleft(request)
        self.short = True
        return False

    def lost(self, request: Request) -> bool:
        key = request.key
        worst = self.budget.price(request).worst(request, self.batch)
        if self.reserved.get(key):
            self.budget.lose(self.reserved[key])
            self.progress.lost += 1
            self.progress.lost_dollars += dollars(self.reserved[key])
        covered = self.budget.reserve(worst)
        self.reserved[key] = worst if covered else 0
        return covered

    # ---- outcomes on their way in ----

    def land(self, request: Request, outcome: Outcome) -> None:
        key = request.key
        price = self.budget.price(request)
        usage = self.progress.usage.setdefault((request.provider, request.model), Usage())
        if isinstance(outcome, Answer):
            outcome = _encodable(outcome)
            actual = price.of(outcome)
            usage.requests += 1
            usage.prompt_tokens += outcome.prompt_tokens
            usage.cached_tokens += outcome.cached_tokens
            usage.completion_tokens += outcome.completion_tokens
            usage.dollars += dollars(actual)
            self.progress.answered += 1
        else:
            actual = 0
            usage.failures[outcome.reason] = usage.failures.get(outcome.reason, 0) + 1
            self.progress.failed += 1
        self.budget.settle(self.reserved[key], actual)
        # The key stays in `reserved` until the answer is in the store: nobody asks for it again in between.
        self.reserved[key] = 0
        self.arrived.append((request, outcome))
        self.idle.clear()
        self.landed.set()

    async def commit(self) -> None:
        while True:
            if not self.arrived:
                self.idle.set()
                self.landed.clear()
                await self.landed.wait()
            pairs = self.take_arrived()
            answers = [(request, outcome) for request, outcome in pairs if isinstance(outcome, Answer)]
            if answers:
                writing = asyncio.get_running_loop().run_in_executor(None, self.store.put_many, answers)
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    await asyncio.wait([writing])
                    writing.result()
                    self.hand_out(pairs)
                    raise
            self.hand_out(pairs)
            self.tell()

    def take_arrived(self) -> list[tuple[Request, Outcome]]:
        pairs, self.arrived = self.arrived, []
        return pairs

    def write_down(self, pairs: list[tuple[Request, Outcome]]) -> None:
        """The last commit, after the tasks have ended."""
        self.store.put_many((request, one) for request, one in pairs if isinstance(one, Answer))
        self.hand_out(pairs)

    def hand_out(self, pairs: list[tuple[Request, Outcome]]) -> None:
        for request, outcome in pairs:
            key = request.key
            del self.reserved[key]
            others = self.waiting.pop(key, [])
            self.give(request, outcome)
            for other in others:
                if isinstance(outcome, Failure):
                    self.progress.failed += 1
                    self.give(other, outcome)
                elif outcome.serves(other):
                    self.progress.found += 1
                    self.give(other, outcome)
                else:
                    self.again.append(other)
        self.progress.in_flight = len(self.reserved)

    def give(self, request: Request, outcome: Outcome) -> None:
        self.ready.append((request, outcome))
        self.changed.set()

    def tell(self) -> None:
        self.progress.seconds = time.monotonic() - self.begun
        self.progress.call_seconds = getattr(self.backend, "call_seconds", 0.0)
        if self.on_progress is not None:
            self.on_progress(self.progress)


def _encodable(answer: Answer) -> Answer:
    """JSON can spell half a surrogate pair, and no file in UTF-8 can hold one: it becomes U+FFFD."""
    try:
        answer.text.encode()
    except UnicodeEncodeError:
        text = answer.text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return replace(answer, text=text)
    return answer


async def _slowly(requests: Iterator[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request
