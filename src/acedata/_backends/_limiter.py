"""How many requests are in flight: additive increase, multiplicative decrease, and pauses the provider asks for.

It begins at the recipe's `concurrency` and never goes above. Each sign of overload (429, 503, a time-out) takes half a
place away, so a round of requests of which a share f is turned away is followed by one of (1 - f/2) times as many: a
storm halves it round by round, a few refusals among many answers lower it a little. Each full round of answers adds a
sixteenth of the ceiling, at least one place.

A provider that says "too much" without saying for how long gets pauses that double, from `backoff_s` to half a minute,
until an answer comes. They hold everybody back: were each request to back off by itself, those that met a storm most
often would sleep long after its end, and keep others from their places.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

_LONGEST_PAUSE = 30.0


class Limiter:
    """Args: most: the ceiling. backoff_s: the first pause in a storm."""

    def __init__(self, most: int, backoff_s: float = 0.5) -> None:
        self.most, self.backoff_s = most, backoff_s
        self._storms = 0
        self.limit = float(most)
        self.in_flight = 0
        self._step = max(1.0, most / 16)
        self._resume = 0.0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> None:
        """Wait for a place."""
        while True:
            if self.in_flight < int(self.limit) and time.monotonic() >= self._resume:
                self.in_flight += 1
                return
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
        self, *, good: bool = False, overload: bool = False, storm: bool = False, pause: float = 0.0
    ) -> None:
        """Give a place back.

        Args:
            good: an answer came.
            overload: the provider has too much to do.
            storm: it said so, and did not say for how long.
            pause: seconds in which nothing is to be sent.
        """
        self.in_flight -= 1
        if overload:
            self.limit = max(1.0, self.limit - 0.5)
        elif good:
            self._storms = 0
            self.limit = min(float(self.most), self.limit + self._step / self.limit)
        now = time.monotonic()
        # What was in flight when a pause began is part of the same storm.
        if storm and now >= self._resume:
            pause = min(_LONGEST_PAUSE, self.backoff_s * 2 ** min(self._storms, 16))
            self._storms += 1
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
