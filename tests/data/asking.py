"""What tests of asking share: requests, and back-ends in this process whose answers a test decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, AsyncIterator, Callable

from acedata._requests import Answer, Failure, Outcome, Request, Sampling


def make_requests(
    rows: int,
    samples: int = 1,
    *,
    max_tokens: int = 500,
    temperature: float = 0.7,
    prefill: str | None = None,
) -> list[Request]:
    """`samples` draws of `rows` prompts."""
    made = []
    for row in range(rows):
        messages: list[dict[str, str]] = [{"role": "user", "content": f"question {row} of this kind"}]
        if prefill is not None:
            messages.append({"role": "assistant", "content": prefill})
        for sample in range(samples):
            made.append(
                Request("here", "m", tuple(messages), Sampling(temperature), max_tokens, sample, f"r{row}")  # type: ignore[arg-type]
            )
    return made


class Local:
    """A back-end in this process.

    Args:
        answer: what each request gets; a `BackendError` is raised.
        concurrency: requests in flight.
        delay_s: mean time of one; drawn from `seed`, so answers come in any order.
        lose: number of tries that bring nothing and may have been billed, by request.
    """

    batch = False

    def __init__(
        self,
        answer: Callable[[Request], Outcome | Exception] | None = None,
        *,
        concurrency: int = 8,
        delay_s: float = 0.0,
        seed: int = 0,
        lose: Callable[[Request], int] = lambda request: 0,
    ) -> None:
        self.answer = answer or (
            lambda request: Answer(f"answer to {request.row}.{request.sample}", "stop", 500, 10, 20)
        )
        self.concurrency, self.delay_s, self.lose = concurrency, delay_s, lose
        self.draw = random.Random(seed)
        self.asked: list[Request] = []
        self.closed = False
        self.in_flight = self.most_in_flight = 0

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        done: asyncio.Queue[tuple[Request, Outcome | Exception] | None] = asyncio.Queue()
        places = asyncio.Semaphore(self.concurrency)

        async def carry(request: Request) -> None:
            self.asked.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            came: Outcome | Exception | None = None
            for _ in range(self.lose(request)):
                await asyncio.sleep(self.draw.random() * self.delay_s)
                if not lost(request):
                    came = Failure("timeout")
                    break
            await asyncio.sleep(self.draw.random() * 2 * self.delay_s)
            self.in_flight -= 1
            done.put_nowait((request, came or self.answer(request)))
            places.release()

        tasks: set[asyncio.Task[None]] = set()

        async def dispatch() -> None:
            await places.acquire()
            async for request in requests:
                tasks.add(task := asyncio.create_task(carry(request)))
                task.add_done_callback(tasks.discard)
                await places.acquire()
            while tasks:
                await asyncio.wait(tasks)
            done.put_nowait(None)

        dispatcher = asyncio.create_task(dispatch())
        try:
            while (pair := await done.get()) is not None:
                request, came = pair
                if not isinstance(came, Exception):
                    yield request, came
                    continue
                # What is in flight is paid for: it comes home first.
                trouble = came
                dispatcher.cancel()
                await asyncio.gather(*tasks)
                while not done.empty():
                    if (rest := done.get_nowait()) is not None and not isinstance(rest[1], Exception):
                        yield rest[0], rest[1]
                raise trouble
            await dispatcher
        finally:
            dispatcher.cancel()
            await asyncio.gather(dispatcher, return_exceptions=True)

    async def close(self) -> None:
        self.closed = True
