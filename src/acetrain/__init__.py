"""Rewards, reward models, evaluation and reinforcement learning on top of sandboxed verdicts: a thin layer on TRL.

    from acetrain import RuleReward

    trainer = GRPOTrainer(model, reward_funcs=RuleReward(mode="binary"), ...)

General layout: `_scoring` makes an answer and its tests a `Score`, `_rewards` makes that a number for TRL, `_node` lets
many processes share one judge. `_reward_model` trains and loads models that score answers. `_rl` trains policies from
recipes, with the trainer of `_reinforce_pp` beside TRL's. Neighbours call `verl`, `openrlhf` and `eval_test_cases`, one
module each.

Importing this package imports no torch, transformers or TRL: names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._node import NodeJudge as NodeJudge
    from ._reinforce_pp import ReinforcePPConfig as ReinforcePPConfig
    from ._reinforce_pp import ReinforcePPTrainer as ReinforcePPTrainer
    from ._reward_model._model import RewardModel as RewardModel
    from ._rewards import AsyncRuleReward as AsyncRuleReward
    from ._rewards import RuleReward as RuleReward
    from ._scoring import Score as Score
    from ._scoring import score_all as score_all

_HOMES = {
    "AsyncRuleReward": "_rewards",
    "NodeJudge": "_node",
    "ReinforcePPConfig": "_reinforce_pp",
    "ReinforcePPTrainer": "_reinforce_pp",
    "RewardModel": "_reward_model._model",
    "RuleReward": "_rewards",
    "Score": "_scoring",
    "score_all": "_scoring",
}

__all__ = [
    "AsyncRuleReward",
    "NodeJudge",
    "ReinforcePPConfig",
    "ReinforcePPTrainer",
    "RewardModel",
    "RuleReward",
    "Score",
    "score_all",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
