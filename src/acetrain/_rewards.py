"""The rule reward: a program's tests decide, and nothing else.

    from acetrain import RuleReward
    trainer = GRPOTrainer(..., reward_funcs=RuleReward(mode="binary"))

TRL calls `reward(prompts, completions, completion_ids, **columns)` and takes a list with a number or None per
completion; None ("could not judge") is left out of the group's baseline. The tests come in the column `test_cases`: a
JSON list as text, as `acedata export` writes it (data sets merge nested columns), or a list of texts.

The reward never raises for a program or for a row, and never waits for a hanging program longer than its limits. It is
cheap to make, opens its judge at the first call, may be pickled, and works after a fork: the child opens its own.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from acesandbox import Limits, Sandbox, SandboxError

from ._scoring import (
    BAD_TESTS,
    NO_CODE,
    UNJUDGED,
    UNREADABLE,
    Judge,
    SandboxJudge,
    Score,
    Tally,
    completion_text,
    logger,
    score_all,
)

Mode = Literal["binary", "pass_rate"]
Unsealed = Literal["count", "zero", "unknown"]

LIMITS = Limits(cpu_s=1.0, program_cpu_s=2.0)
SHARED = "ACETRAIN_SHARED_JUDGE"

# When a judge is taken for lost for good: all three at once, see `_Fruitless`.
GIVE_UP_CALLS = 3
GIVE_UP_PROGRAMS = 30
GIVE_UP_S = 60.0


class RuleReward:
    """Reward by tests, in the form that TRL's trainers call.

    A program that the sandbox fails to judge is None. The reward gives up, with a `SandboxError`, when no program
    could be judged in three calls in a row or more, in which at least 30 programs were lost over at least 60 s: so a
    run does not go on with None alone, whether it calls once per step or, as verl does, once per completion.

    Args:
        mode: "binary": 1.0 only when every test passes (the paper's rule reward). "pass_rate": share of tests passed.
        bonus: added when every test passes (0.5 with "pass_rate" is what the released code did).
        tests_column: name of the data set's column with the tests.
        skip_shown: this many tests at the head of the list are shown in the prompt and do not count; or the name of
            the column that says how many.
        prefilled: completions go on inside a code block that the prompt opened.
        format_reward: added when the answer has the form `<think>…</think> … ```python …``` ` (R1-style start).
        overlong: (soft, hard, penalty): from `soft` completion tokens on, up to `penalty` is taken off, all of it at
            `hard`. None: length does not count.
        unsealed: tests that could only be judged where a program might forge them: "count" them like others, score
            the whole completion "zero", or leave it out as "unknown"; with "binary" only one that passed: nobody
            forges a failure. How many there were is always logged.
        fail_fast: stop each program at its first test that does not pass. Saves time where answers are long and wrong,
            and makes the pass rates in the log those of the tests until then. Only with "binary".
        limits: of the sandbox; None: 1 s CPU per test, 2 s per program.
        sandbox: use this one instead of an own one (it is then not closed here).
        shared: use the node's one judge, together with all processes that ask for the same limits, workers and
            fail_fast (docs/rewards.md). None: what the environment variable ACETRAIN_SHARED_JUDGE says, "1" or "0".
        workers: of the own or the shared judge; None: one per core.
        name: of the columns in the trainer's log.

    Raises:
        ValueError: an argument is not one of those above.
    """

    _judge: Judge | None

    def __init__(
        self,
        mode: Mode = "binary",
        *,
        bonus: float = 0.0,
        tests_column: str = "test_cases",
        skip_shown: int | str = 0,
        prefilled: bool = False,
        format_reward: float = 0.0,
        overlong: tuple[int, int, float] | None = None,
        unsealed: Unsealed = "count",
        fail_fast: bool = False,
        limits: Limits | None = None,
        sandbox: Sandbox | None = None,
        shared: bool | None = None,
        workers: int | None = None,
        name: str = "rule_reward",
    ) -> None:
        if mode not in ("binary", "pass_rate"):
            raise ValueError(f'mode must be "binary" or "pass_rate", not {mode!r}')
        if unsealed not in ("count", "zero", "unknown"):
            raise ValueError(f'unsealed must be "count", "zero" or "unknown", not {unsealed!r}')
        if overlong is not None and not (len(overlong) == 3 and 0 <= overlong[0] < overlong[1]):
            raise ValueError(
                f"overlong must be (soft, hard, penalty) with 0 <= soft < hard, not {overlong!r}"
            )
        if not (isinstance(skip_shown, str) or (type(skip_shown) is int and skip_shown >= 0)):
            raise ValueError(f"skip_shown must be 0 or more, or a column's name, not {skip_shown!r}")
        for what, value in (("bonus", bonus), ("format_reward", format_reward)):
            _check_finite(what, value)
        if overlong is not None:
            _check_finite("overlong's penalty", overlong[2])
        if fail_fast and mode != "binary":
            raise ValueError('fail_fast leaves tests out, so it goes with mode="binary" only')
        if sandbox is not None and (shared or workers is not None or limits is not None or fail_fast):
            raise ValueError("with a sandbox of yours, its own limits, workers and fail_fast count")
        self.mode: Mode = mode
        self.bonus = bonus
        self.tests_column = tests_column
        self.skip_shown = skip_shown
        self.prefilled = prefilled
        self.format_reward = format_reward
        self.overlong = overlong
        self.unsealed: Unsealed = unsealed
        self.fail_fast = fail_fast
        self.limits = limits or LIMITS
        self.shared = shared_by_environment() if shared is None else shared
        self.workers = workers
        self.__name__ = name
        self._given = sandbox
        self._forget()

    def __call__(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward per completion, in order; None where it could not be judged.

        Raises:
            KeyError: the data set has no column of that name.
            acesandbox.IsolationUnavailable: this machine cannot judge anything, now or later.
            acesandbox.SandboxError: nothing can be judged any longer (see the class), or the judge cannot be started.
        """
        started = time.perf_counter()
        skip = self.skip_shown
        scores = self.scores(
            completions,
            _column(columns, self.tests_column, "the tests"),
            _column(columns, skip, "the numbers of shown tests") if isinstance(skip, str) else skip,
        )
        rewards = [
            self.reward(score, completion, None if completion_ids is None else len(completion_ids[number]))
            for number, (score, completion) in enumerate(zip(scores, completions, strict=True))
        ]
        if log_metric is not None:
            self._log(log_metric, scores, rewards, time.perf_counter() - started)
        if log_extra is not None:
            log_extra(f"{self.__name__}/status", [score.status for score in scores])
            log_extra(f"{self.__name__}/pass_rate", [score.pass_rate for score in scores])
        return rewards

    def scores(
        self,
        completions: Sequence[object],
        tests: Sequence[object],
        skip_shown: int | Sequence[object] | None = None,
    ) -> list[Score]:
        """What came of each completion, before it is made a number.

        Args:
            completions: answers, as strings or message lists.
            tests: of each, a list of texts or such a list as JSON.
            skip_shown: how many tests at the head do not count, one number or one per completion; None: the number
                that the reward was made with.

        Raises:
            ValueError: not as many tests as completions; or the reward was made with a column's name for `skip_shown`,
                and no numbers are given.
            acesandbox.IsolationUnavailable, acesandbox.SandboxError: as a call.
        """
        if skip_shown is None:
            skip_shown = self.skip_shown
            if isinstance(skip_shown, str):
                raise ValueError(
                    f"how many tests were shown is in the column {skip_shown!r}: give skip_shown for each completion"
                )
        scores = score_all(
            self._opened(), completions, tests, skip_shown=skip_shown, prefilled=self.prefilled
        )
        self._watch(scores)
        return scores

    def reward(self, score: Score, completion: object = "", length: int | None = None) -> float | None:
        """The number for one score; None where nothing can be said.

        Args:
            score: what came of the completion.
            completion: its text, for the format reward.
            length: its tokens, for the length penalty; None: not known, so none is taken.
        """
        if score.unknown:
            return None
        forgeable = score.sealed < score.tests
        if forgeable and self.unsealed == "unknown" and (score.all_passed or self.mode == "pass_rate"):
            return None
        reward = 0.0
        if not (forgeable and self.unsealed == "zero"):
            reward = float(score.all_passed) if self.mode == "binary" else score.pass_rate
            reward += self.bonus * score.all_passed
        if self.format_reward and has_r1_form(completion_text(completion)):
            reward += self.format_reward
        if self.overlong is not None and length is not None:
            soft, hard, penalty = self.overlong
            reward -= penalty * min(1.0, max(0.0, (length - soft) / (hard - soft)))
        return reward

    def asynchronous(self) -> AsyncRuleReward:
        """The same reward as a coroutine: TRL awaits it together with other asynchronous rewards."""
        return AsyncRuleReward(self)

    def close(self) -> None:
        """Ends the own sandbox, or gives up the shared one. The next call opens another."""
        with self._current_lock():
            own, self._judge = self._judge, None
        if own is not None:
            own.close()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_judge", "_lock", "_pid", "_fruitless")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._judge = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._fruitless = _Fruitless()

    def _current_lock(self) -> threading.Lock:
        if self._pid != os.getpid():  # a thread that this child does not have may hold the old lock
            self._lock = threading.Lock()
            self._pid = os.getpid()
        return self._lock

    def _opened(self) -> Judge:
        if self._given is not None:
            return SandboxJudge(self._given)
        with self._current_lock():
            if self._judge is None:
                if self.shared:
                    from ._node import NodeJudge

                    self._judge = NodeJudge(
                        limits=self.limits, workers=self.workers, fail_fast=self.fail_fast
                    )
                else:
                    self._judge = SandboxJudge(
                        Sandbox(
                            workers=self.workers,
                            limits=self.limits,
                            fail_fast=self.fail_fast,
                            keep_output=False,
                        )
                    )
            return self._judge

    def _watch(self, scores: Sequence[Score]) -> None:
        """A lost program is None; a judge that is lost for good must not let a run go on with None alone."""
        lost = [score for score in scores if score.status == UNJUDGED]
        if lost:
            logger.warning("%d of %d programs could not be judged: %s", len(lost), len(scores), lost[0].why)
        bad = [score for score in scores if score.status == BAD_TESTS]
        if bad:
            logger.warning("%d of %d completions have unusable tests: %s", len(bad), len(scores), bad[0].why)
        with self._current_lock():
            if any(score.judged for score in scores):
                self._fruitless = _Fruitless()
            elif lost and self._fruitless.enough(len(lost), time.monotonic()):
                raise SandboxError(
                    f"no program could be judged in {self._fruitless}; the last reason: {lost[-1].why}"
                )

    def _log(
        self,
        log_metric: Callable[[str, float], None],
        scores: Sequence[Score],
        rewards: Sequence[float | None],
        seconds: float,
    ) -> None:
        # A trainer averages a name over the calls that logged it; one in which nothing is known says nothing of rates.
        tally, name = Tally.of(scores), self.__name__
        paid = Tally.of([score for score, value in zip(scores, rewards, strict=True) if value is not None])
        if paid.known:
            log_metric(f"{name}/pass_rate", paid.pass_rate)
            log_metric(f"{name}/all_passed", paid.all_passed_share)
        log_metric(f"{name}/sealed", tally.sealed_share)
        log_metric(f"{name}/unknown", sum(reward is None for reward in rewards) / max(1, len(rewards)))
        log_metric(f"{name}/seconds", seconds)
        log_metric(f"{name}/cpu_seconds", tally.cpu_s)
        log_metric(f"{name}/timeout", tally.share("cpu_timeout", "wall_timeout"))
        for status in ("failed", "error", "syntax_error", NO_CODE, UNREADABLE, UNJUDGED, BAD_TESTS):
            log_metric(f"{name}/{status}", tally.share(status))


@dataclass(slots=True)
class _Fruitless:
    """Calls in a row in which programs were lost and none was judged.

    None of the three numbers says enough alone. Calls: verl calls once per completion, and three lost programs are no
    reason to end its run. Programs: a judge that dies takes along all that are asked for at that moment. Time: a step
    of training may lie between two lost programs. Together they say that the judge is gone.
    """

    calls: int = 0
    programs: int = 0
    began: float = 0.0
    now: float = 0.0

    def enough(self, lost: int, now: float) -> bool:
        """Counts a call that lost so many programs, at this monotonic time; whether it is time to give up."""
        if not self.calls:
            self.began = now
        self.calls += 1
        self.programs += lost
        self.now = now
        return (
            self.calls >= GIVE_UP_CALLS
            and self.programs >= GIVE_UP_PROGRAMS
            and now - self.began >= GIVE_UP_S
        )

    def __str__(self) -> str:
        return f"{self.calls} calls in a row ({self.programs} programs in {self.now - self.began:.0f} s)"


class AsyncRuleReward:
    """A `RuleReward` whose call is a coroutine. Judging runs in a thread; the event loop is not blocked."""

    def __init__(self, reward: RuleReward) -> None:
        self.rule = reward
        self.__name__ = reward.__name__

    async def __call__(self, *args: Any, **columns: Any) -> list[float | None]:
        """As `RuleReward.__call__`."""
        return await asyncio.to_thread(self.rule, *args, **columns)

    def close(self) -> None:
        """As `RuleReward.close`."""
        self.rule.close()


def has_r1_form(text: str) -> bool:
    """Whether an answer thinks first and ends with a Python block: `<think>…</think> … ```python …``` `.

    Reads the text a fixed number of times: a pattern with three open ends would be cubic in a hostile one.
    """
    body = text.strip()
    if not body.startswith("<think>"):
        return False
    thought = body.find("</think>")
    opened = body.find("```python\n", thought)
    return (
        thought >= 0 and opened >= 0 and body.endswith("```") and len(body) - 3 >= opened + len("```python\n")
    )


def shared_by_environment(usual: bool = False) -> bool:
    """What ACETRAIN_SHARED_JUDGE says; `usual` where it is not set.

    Raises:
        ValueError: neither "1" nor "0".
    """
    value = os.environ.get(SHARED, "1" if usual else "0")
    if value not in ("0", "1"):
        raise ValueError(f'{SHARED} must be "1" or "0", not {value!r}')
    return value == "1"


def _check_finite(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number, not {value!r}")


def _column(columns: dict[str, Any], name: str, what: str) -> Sequence[object]:
    try:
        values: Sequence[object] = columns[name]
    except KeyError:
        given = ", ".join(sorted(columns)) or "none"
        raise KeyError(f"the data set has no column {name!r} with {what}; its columns: {given}") from None
    return values
