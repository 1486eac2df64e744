"""Where a long evaluation stands, on standard error: a line that is written anew on a terminal, and one every half
minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acedata._ask import Progress

_TERMINAL_S = 0.2
_ELSEWHERE_S = 30.0


class _Line:
    """A line that says where something stands; nothing is left of it on a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._begun = time.monotonic()
        self._said = self._begun
        self._wide = 0

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._wide:
            print("\r" + " " * self._wide + "\r", end="", file=sys.stderr, flush=True)
            self._wide = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def due(self) -> bool:
        return time.monotonic() - self._said >= (_TERMINAL_S if self._terminal else _ELSEWHERE_S)

    def say(self, text: str) -> None:
        self._said = time.monotonic()
        if self._terminal:
            print("\r" + text.ljust(self._wide), end="", file=sys.stderr, flush=True)
            self._wide = max(self._wide, len(text))
        else:
            print(text, file=sys.stderr, flush=True)


class Asking(_Line):
    """Shows a generation, and remembers its figures for one last line."""

    def __init__(self) -> None:
        super().__init__()
        self._last = "nothing was asked"

    def __enter__(self) -> Asking:
        return self

    def told(self, progress: Progress, wanted: int, spent: float) -> None:
        tokens = sum(one.completion_tokens for one in progress.usage.values())
        cost = f", ${spent:,.4f} in all" if spent else ""
        self._last = (
            f"{progress.answered:,} answers ({tokens:,} tokens) in {self.seconds:,.0f} s, "
            f"{progress.found:,} found in the store{cost}"
        )
        if self.due():
            failed = f", {progress.failed:,} failed" if progress.failed else ""
            self.say(
                f"{progress.done:,} of {wanted:,} answers, {progress.rate:,.1f}/s, "
                f"{progress.in_flight:,} in flight{failed}{cost}"
            )

    def summary(self) -> str:
        return self._last


class Counting(_Line):
    """Shows how far a count is: `NAME: 1,200 of 4,100 samples judged, 34.1/s`."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__()
        self._name, self._what = name, what

    def __enter__(self) -> Counting:
        return self

    def told(self, done: int, total: int) -> None:
        if self.due():
            rate = done / self.seconds if self.seconds else 0.0
            self.say(f"{self._name}: {done:,} of {total:,} {self._what}, {rate:,.1f}/s")
