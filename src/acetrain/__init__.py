"""Rewards, reward models, evaluation and reinforcement learning on top of sandboxed verdicts: a thin layer on TRL.

    from acetrain import RuleReward

    trainer = GRPOTrainer(model, reward_funcs=RuleReward(mode="binary"), ...)

Importing this package imports no torch, transformers or TRL: names are loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._rewards import RuleReward as RuleReward
    from ._scoring import Score as Score
    from ._scoring import score_all as score_all

_HOMES = {"RuleReward": "_rewards", "Score": "_scoring", "score_all": "_scoring"}

__all__ = ["RuleReward", "Score", "score_all"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)
