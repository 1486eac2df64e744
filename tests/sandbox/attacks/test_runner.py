"""How the runner of the corpus waits: a busy machine is no success of an attack, and an attack that hangs is one."""

from __future__ import annotations

import time
from concurrent.futures import Future
from threading import Timer

import pytest

from acesandbox._check import runner


def later(seconds: float) -> Future[str]:
    future: Future[str] = Future()
    timer = Timer(seconds, future.set_result, ("verdict",))
    timer.daemon = True
    timer.start()
    return future


def test_time_in_the_queue_for_a_processor_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "activity", lambda pid: (0.0, 0.95 * time.monotonic()))
    assert runner._wait(later(1.0), 0.2) == "verdict"


def test_time_that_nobody_waited_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "activity", lambda pid: (time.monotonic(), 0.0))
    verdict = later(60.0)
    with pytest.raises(runner.NoVerdict, match="no verdict within 0 s"):
        runner._wait(verdict, 0.2)
    assert not verdict.done()


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's threads may queue for ever."""
    monkeypatch.setattr(runner, "activity", lambda pid: (0.0, 100 * time.monotonic()))
    with pytest.raises(runner.NoVerdict):
        runner._wait(later(60.0), 0.1)
