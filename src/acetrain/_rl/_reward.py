"""The reward function of a run, in the form that TRL calls: the rule, or a reward model.

A reward model is anything with `score(conversations) -> list[float]`, a chat each. Where it has a `form` and that is
`pair-1`, it is given question and program as its training had them (`_pair_text`); otherwise the prompt's messages and
the completion, as they are.

Where it pays, the rule may watch: it logs what it sees, and what it would pay is dropped. (As a second function of
weight 0 it would turn TRL's "unknown" into a reward of 0.)
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from acetrain._reward_model._forms import Form
from acetrain._rewards import RuleReward
from acetrain._scoring import completion_text

from ._pair_text import check_rows, pair_chat
from ._recipe import RLRecipe, limits_of

Message = dict[str, str]


class Scorer(Protocol):
    """A reward model."""

    def score(self, conversations: Sequence[list[Message]]) -> list[float]:
        """One number per chat; higher is better."""
        ...


class ModelReward:
    """Reward by a reward model, in the form that TRL's trainers call.

    Args:
        scorer: gives the scores.
        clip: the reward is cut to ± this; None: as it is.
        mean, std: the reward is (score - mean) / std, before the clip.
        watcher: judges the completions too, for the log alone.
        name: of the columns in the trainer's log.

    Attributes:
        form: what the scorer says of the text that it wants; None where it says nothing.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        clip: float | None = 10.0,
        mean: float = 0.0,
        std: float = 1.0,
        watcher: RuleReward | None = None,
        name: str = "reward_model",
    ) -> None:
        self.scorer, self.clip, self.mean, self.std, self.watcher = scorer, clip, mean, std, watcher
        self.form: Form | None = getattr(scorer, "form", None)
        self.__name__ = name

    def check(self, rows: Sequence[Any], place: str) -> None:
        """Whether the questions have what the model's text is made of; before anything is trained.

        Args:
            rows: of the data set, with `prompt` and `test_cases`.
            place: where they come from, for the message.

        Raises:
            acedata.BadInput: they do not.
        """
        if self._paired:
            check_rows(rows, place)

    @property
    def _paired(self) -> bool:
        return self.form is not None and self.form.format == "pair-1"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Any = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward per completion; None where the model's score is no finite number.

        A model of format `pair-1` scores programs: a completion without one is put one below the lowest score of the
        call, and is unknown where none has a program.
        """
        if self.watcher is not None:
            self.watcher(prompts, completions, completion_ids, log_metric=log_metric, **columns)
        started = time.perf_counter()
        scores = self._scores(self._chats(prompts, completions, columns))
        rewards: list[float | None] = [None] * len(scores)
        for place, score in enumerate(scores):
            if math.isfinite(score):
                value = (score - self.mean) / self.std
                rewards[place] = value if self.clip is None else min(self.clip, max(-self.clip, value))
        if log_metric is not None:
            clipped = sum(value is not None and abs(value) == self.clip for value in rewards)
            log_metric(f"{self.__name__}/seconds", time.perf_counter() - started)
            log_metric(
                f"{self.__name__}/unknown", sum(value is None for value in rewards) / max(1, len(rewards))
            )
            log_metric(f"{self.__name__}/clipped", clipped / max(1, len(rewards)))
        return rewards

    def _chats(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[list[Message] | None]:
        """What the model is given of each completion; None where there is nothing that it could score."""
        whole = [chat(prompt, said) for prompt, said in zip(prompts, completions, strict=True)]
        if self.form is None or not self._paired:
            return [*whole]
        return [
            pair_chat(self.form, prompt, one[-1]["content"], tests)
            for prompt, one, tests in zip(prompts, whole, columns["test_cases"], strict=True)
        ]

    def _scores(self, chats: Sequence[list[Message] | None]) -> list[float]:
        given = [one for one in chats if one is not None]
        found = self.scorer.score(given) if given else []
        if len(found) != len(given):
            raise ValueError(f"the reward model gave {len(found)} scores for {len(given)} completions")
        lowest = min((score for score in found if math.isfinite(score)), default=math.nan) - 1
        rest = iter(found)
        return [lowest if one is None else next(rest) for one in chats]

    def close(self) -> None:
        """Ends the watcher's judge."""
        if self.watcher is not None:
            self.watcher.close()


def chat(prompt: Any, completion: Any) -> list[Message]:
    """A prompt and its completion, texts or messages, as one chat; the start of an answer in the prompt is joined."""
    said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(one) for one in prompt]
    answer = completion_text(completion)
    if said and said[-1]["role"] == "assistant":
        return [*said[:-1], {"role": "assistant", "content": said[-1]["content"] + answer}]
    return [*said, {"role": "assistant", "content": answer}]


def make_reward(recipe: RLRecipe, scorer: Scorer | None = None) -> RuleReward | ModelReward:
    """The function of a recipe.

    Args:
        scorer: the reward model; None: the recipe's, loaded.

    Raises:
        acedata.BadInput: there is no reward model at the recipe's path.
    """
    config = recipe.reward
    if config.kind == "rule":
        return _rule(recipe)
    if scorer is None:
        from acetrain._reward_model._model import RewardModel

        scorer = RewardModel.load(
            recipe.resolve(str(config.path)),
            dtype=config.load,
            device=_device(recipe),
            revision=config.revision,
        )
    return ModelReward(
        scorer,
        clip=config.clip,
        mean=config.mean,
        std=config.std,
        watcher=_rule(recipe) if config.watch else None,
    )


def _rule(recipe: RLRecipe) -> RuleReward:
    config = recipe.reward
    overlong = config.overlong
    return RuleReward(
        config.mode,
        bonus=config.bonus,
        skip_shown="shown_tests" if recipe.data.skip_shown else 0,
        format_reward=config.format,
        overlong=None if overlong is None else (int(overlong[0]), int(overlong[1]), overlong[2]),
        unsealed=config.unsealed,
        limits=limits_of(config),
        shared=config.shared,
        workers=config.workers,
    )


def _device(recipe: RLRecipe) -> str | None:
    if recipe.run.cpu:
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return None if rank is None else f"cuda:{rank}"
