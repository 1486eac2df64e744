"""The order of the questions, the same in a run that goes on as in one that nothing happened to.

TRL's sampler seeds its generator once and draws one order after the other from it, an epoch each. A run that goes on in
a later epoch makes a new sampler, which would begin with the first epoch's order again: some questions would come
twice, others never. Here an epoch's order depends on the seed and the epoch alone, and is the one TRL draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Sampler


class EpochOrder(Sampler[int]):  # type: ignore[misc]  # torch is not typed
    """A `trl.trainer.utils.RepeatSampler` that draws, whenever it is asked, the order of the epoch that it is.

    Args:
        drawn: the sampler.
        epoch: tells how many whole epochs are done.
    """

    def __init__(self, drawn: Any, epoch: Callable[[], int]) -> None:
        self.drawn, self.epoch = drawn, epoch

    def __iter__(self) -> Iterator[int]:
        if self.drawn.shuffle:
            self.drawn.generator.manual_seed(self.drawn.seed)
            for _ in range(self.epoch()):
                torch.randperm(self.drawn.num_samples, generator=self.drawn.generator)
        yield from self.drawn

    def __len__(self) -> int:
        return len(self.drawn)


def order_by_epoch(trainer: Any) -> None:
    """Gives one of TRL's trainers samplers that know the epoch. Every process counts for itself, and the same."""
    kind = type(trainer)

    def sampler(dataset: Any = None) -> EpochOrder:
        # `epoch` is 1.67 two thirds through the second, the checkpoint's where a run goes on, and None at first.
        return EpochOrder(kind._get_train_sampler(trainer, dataset), lambda: int(trainer.state.epoch or 0))

    trainer._get_train_sampler = sampler
