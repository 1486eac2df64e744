"""The rule reward: a program's tests decide, and nothing else.

    from acetrain import RuleReward
    trainer = GRPOTrainer(..., reward_funcs=RuleReward(mode="binary"))

TRL calls `reward(prompts, completions, completion_ids, **columns)` and takes a list with a number or None per
completion; None ("could not judge") is left out of the group's baseline. The tests come in the column `test_cases`: a
JSON list as text, as `acedata export` writes it (data sets merge nested columns), or a list of texts.

The reward never raises for a program or for a row, and never waits for a hanging program longer than its limits. It is
cheap to make, opens its sandbox at the first call, may be pickled, and works after a fork: the child opens its own.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from acesandbox import Limits, Sandbox

from ._scoring import BAD_TESTS, UNJUDGED, Score, Tally, completion_text, score_all

Mode = Literal["binary", "pass_rate"]
Unsealed = Literal["count", "zero", "unknown"]

_R1 = re.compile(r"\s*<think>.*?</think>.*?```python\n.*?```\s*", re.DOTALL)


class RuleReward:
    """Reward by tests, in the form that TRL's trainers call.

    Args:
        mode: "binary": 1.0 only when every test passes (the paper's rule reward). "pass_rate": share of tests passed.
        bonus: added when every test passes (0.5 with "pass_rate" is what the released code did).
        tests_column: name of the data set's column with the tests.
        skip_shown: this many tests at the head of the list are shown in the prompt and do not count.
        prefilled: completions go on inside a code block that the prompt opened.
        format_reward: added when the answer has the form `<think>…</think> … ```python …``` ` (R1-style start).
        overlong: (soft, hard, penalty): from `soft` completion tokens on, up to `penalty` is taken off, all of it at
            `hard`. None: length does not count.
        unsealed: tests that could only be judged where a program might forge them: "count" them like others, score
            the whole completion "zero", or leave it out as "unknown". How many there were is always logged.
        limits: of the sandbox; None: 1 s CPU per test, 2 s per program.
        sandbox: use this one instead of an own one (it is then not closed here).
        workers: of an own sandbox; None: one per core.
        name: of the columns in the trainer's log.

    Raises:
        ValueError: an argument is not one of those above.
    """

    def __init__(
        self,
        mode: Mode = "binary",
        *,
        bonus: float = 0.0,
        tests_column: str = "test_cases",
        skip_shown: int = 0,
        prefilled: bool = False,
        format_reward: float = 0.0,
        overlong: tuple[int, int, float] | None = None,
        unsealed: Unsealed = "count",
        limits: Limits | None = None,
        sandbox: Sandbox | None = None,
        workers: int | None = None,
        name: str = "rule_reward",
    ) -> None:
        if mode not in ("binary", "pass_rate"):
            raise ValueError(f'mode must be "binary" or "pass_rate", not {mode!r}')
        if unsealed not in ("count", "zero", "unknown"):
            raise ValueError(f'unsealed must be "count", "zero" or "unknown", not {unsealed!r}')
        if overlong is not None and not 0 <= overlong[0] < overlong[1]:
            raise ValueError(
                f"overlong must be (soft, hard, penalty) with 0 <= soft < hard, not {overlong!r}"
            )
        if skip_shown < 0:
            raise ValueError(f"skip_shown must be 0 or more, not {skip_shown}")
        self.mode: Mode = mode
        self.bonus = bonus
        self.tests_column = tests_column
        self.skip_shown = skip_shown
        self.prefilled = prefilled
        self.format_reward = format_reward
        self.overlong = overlong
        self.unsealed: Unsealed = unsealed
        self.limits = limits or Limits(cpu_s=1.0, program_cpu_s=2.0)
        self.workers = workers
        self.__name__ = name
        self._given = sandbox
        self._own: Sandbox | None = None
        self._lock = threading.Lock()

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
        """
        started = time.perf_counter()
        scores = self.scores(completions, self._tests(columns))
        rewards = [
            self._reward(score, completion, completion_ids[n] if completion_ids is not None else None)
            for n, (score, completion) in enumerate(zip(scores, completions, strict=True))
        ]
        if log_metric is not None:
            self._log(log_metric, scores, time.perf_counter() - started)
        if log_extra is not None:
            log_extra(f"{self.__name__}/status", [score.status for score in scores])
            log_extra(f"{self.__name__}/pass_rate", [score.pass_rate for score in scores])
        return rewards

    def scores(self, completions: Sequence[object], tests: Sequence[object]) -> list[Score]:
        """What came of each completion, before it is made a number."""
        return score_all(
            self._sandbox(), completions, tests, skip_shown=self.skip_shown, prefilled=self.prefilled
        )

    def asynchronous(self) -> Callable[..., Any]:
        """The same reward as a coroutine function: TRL runs it next to other asynchronous rewards."""

        async def reward(*args: Any, **columns: Any) -> list[float | None]:
            import asyncio

            return await asyncio.to_thread(self, *args, **columns)

        reward.__name__ = self.__name__
        return reward

    def close(self) -> None:
        """Ends the own sandbox. The next call opens another."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_own", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=None, _lock=threading.Lock())

    def _tests(self, columns: dict[str, Any]) -> Sequence[object]:
        try:
            tests: Sequence[object] = columns[self.tests_column]
        except KeyError:
            given = ", ".join(sorted(columns)) or "none"
            raise KeyError(
                f"the data set has no column {self.tests_column!r} with the tests; its columns: {given}"
            ) from None
        return tests

    def _sandbox(self) -> Sandbox:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = Sandbox(workers=self.workers, limits=self.limits)
            return self._own

    def _reward(self, score: Score, completion: object, ids: Sequence[int] | None) -> float | None:
        if score.unknown:
            return None
        forgeable = score.sealed < score.tests and score.status != "no_code"
        if forgeable and self.unsealed == "unknown":
            return None
        reward = 0.0
        if not (forgeable and self.unsealed == "zero"):
            reward = float(score.all_passed) if self.mode == "binary" else score.pass_rate
            reward += self.bonus * score.all_passed
        if self.format_reward and _R1.fullmatch(completion_text(completion)):
            reward += self.format_reward
        if self.overlong is not None and ids is not None:
            soft, hard, penalty = self.overlong
            reward -= penalty * min(1.0, max(0.0, (len(ids) - soft) / (hard - soft)))
        return reward

    def _log(self, log_metric: Callable[[str, float], None], scores: Sequence[Score], seconds: float) -> None:
        tally, name = Tally.of(scores), self.__name__
        count = max(1, tally.completions)
        log_metric(f"{name}/pass_rate", sum(score.pass_rate for score in scores) / count)
        log_metric(f"{name}/all_passed", sum(score.all_passed for score in scores) / count)
        log_metric(f"{name}/sealed", tally.sealed / tally.tests if tally.tests else 1.0)
        log_metric(f"{name}/seconds", seconds)
        log_metric(f"{name}/cpu_seconds", sum(score.cpu_s for score in scores))
        for status in ("cpu_timeout", "wall_timeout", "no_code", UNJUDGED, BAD_TESTS):
            log_metric(f"{name}/{status}", tally.statuses[status] / count)
