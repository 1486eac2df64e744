"""What the adapters for other trainers share: one reward per process and set of options, and numbers instead of None.

TRL knows "no reward"; verl and OpenRLHF want a number for every completion. So whoever uses them must choose what a
completion gets that could not be judged: `unknown="raise"` raises `Unknown`, `unknown="zero"` gives 0.0 and says so in
the log (`unknown` = 1). There is no default: either can be wrong for a run, and nobody should find out afterwards.

What becomes of the exception is the trainer's. It ends verl's run under the managers that do not catch it (verl.py says
which). OpenRLHF 0.11.2 catches whatever a reward raises, so there "zero" is the choice (openrlhf.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from acesandbox import Limits

from ._rewards import RuleReward, shared_by_environment
from ._scoring import Score

_rewards: dict[Any, RuleReward] = {}
_lock = threading.Lock()


class Unknown(RuntimeError):
    """With `unknown="raise"`: a completion could not be judged. The message says which and why."""


def reward_for(unknown: object, **options: Any) -> RuleReward:
    """The process's reward for these options of `RuleReward`; `limits` may be a mapping. The node's judge by default.

    Raises:
        ValueError: a bad option, or no choice of what an unknown completion gets.
    """
    if unknown not in ("raise", "zero"):
        raise ValueError(
            'choose what a completion gets that could not be judged: unknown="raise" raises an error, unknown="zero" '
            f"gives 0.0 and logs it; not {unknown!r}"
        )
    limits = options.get("limits")
    if limits is not None and not isinstance(limits, Limits):  # from a configuration file
        try:
            options["limits"] = Limits(**dict(limits))
        except TypeError as error:  # a limit that there is not
            raise ValueError(str(error).replace("Limits.__init__()", "limits")) from None
    if options.get("overlong") is not None:
        raise ValueError("overlong needs the number of tokens, which this caller does not say")
    if isinstance(options.get("skip_shown"), str):
        raise ValueError("skip_shown must be a number here: there are no columns")
    if options.get("shared") is None:
        options["shared"] = shared_by_environment(usual=True)
    key = tuple(sorted(options.items()))
    with _lock:
        if key not in _rewards:
            try:
                _rewards[key] = RuleReward(**options)
            except TypeError as error:  # an option that there is not
                raise ValueError(str(error).replace("RuleReward.__init__()", "a rule reward")) from None
        return _rewards[key]


def number(reward: RuleReward, score: Score, completion: object, unknown: object) -> float:
    """The reward, never None.

    Raises:
        Unknown: as `unknown="raise"` asks.
    """
    found = reward.reward(score, completion)
    if found is not None:
        return found
    if unknown == "raise":
        why = score.why or "it can only be judged where it could forge"
        raise Unknown(f"a completion could not be judged ({score.status}): {why}")
    return 0.0


def figures(reward: RuleReward, scores: Sequence[Score]) -> list[dict[str, float]]:
    """Of each score the numbers for a log; the same names for all."""
    return [
        {
            "acc": float(score.all_passed),
            "pass_rate": score.pass_rate,
            "unknown": float(reward.reward(score) is None),
            "timeout": float(score.status in ("cpu_timeout", "wall_timeout")),
            "no_code": float(score.status == "no_code"),
            "sealed": score.sealed / score.tests if score.tests else 1.0,
        }
        for score in scores
    ]
