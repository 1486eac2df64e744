"""How many requests are in flight: additive increase, multiplicative decrease, and pauses the provider asks for.

It begins at the recipe's `concurrency` and never goes above. A sign of overload (429, 503, a time-out) takes three
tenths of it, once for everything that was in flight when it was taken: one storm is one sign. Each full round of
successes adds a thirty-second of the ceiling, at least one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque


class Limiter:
    """Args: most: the ceiling."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self._step = max(1.0, most / 32)
        self._decreased = 0.0
        self._resume = 0.0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> float:
        """Wait for a place. Returns the time, which `release` wants back."""
        while True:
            now = time.monotonic()
            if now >= self._resume and self.in_flight < int(self.limit):
                self.in_flight += 1
                return now
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._plan()
            try:
                await waiter
            except asyncio.CancelledError:
                # The place it was woken for goes to the next.
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise

    def release(
        self, since: float, *, good: bool = False, overload: bool = False, pause: float = 0.0
    ) -> None:
        """Give a place back.

        Args:
            since: what `acquire` returned.
            good: an answer came.
            overload: the provider has too much to do.
            pause: seconds in which nothing is to be sent.
        """
        self.in_flight -= 1
        now = time.monotonic()
        if overload:
            if since >= self._decreased:
                self.limit = max(1.0, 0.7 * self.limit)
                self._decreased = now
        elif good:
            self.limit = min(float(self.most), self.limit + self._step / self.limit)
        if pause > 0:
            self._resume = max(self._resume, now + pause)
        self._wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        wait = self._resume - time.monotonic()
        if wait > 0 and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._plan()
        self._wake()

    def _wake(self) -> None:
        if time.monotonic() < self._resume:
            self._plan()
            return
        free = int(self.limit) - self.in_flight
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
