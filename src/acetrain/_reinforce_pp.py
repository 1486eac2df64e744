"""REINFORCE++ as OpenRLHF's estimator `reinforce` computes it, on TRL's GRPO trainer.

What TRL's trainer does is left as it is: it draws the rollout, asks the rewards, shuffles, splits, clips the ratio and
steps. Two things are replaced.

    rollout   `_generate_and_score_completions`: the advantages. Each token is charged beta times the difference of its
              log-probabilities, at rollout time and under the reference (the k1 estimate of the KL); the last token is
              paid the reward, clipped; a token's return is all that comes from it on (gamma = 1); returns are whitened
              over the unmasked tokens of the whole rollout, on all ranks.
    update    `_compute_loss`: TRL computes reference log-probabilities only where beta is not 0, and then adds its own
              KL to the loss. The KL is in the reward here, so the loss is computed as if beta were 0.

Nothing is compared within a question's group: that is GRPO and RLOO. A completion whose reward is unknown (None) is
in neither the mean nor the variance, and its advantages are 0, so that it moves nothing; it still counts as one of the
batch that the loss is averaged over.

Sources: OpenRLHF's `compute_approx_kl`, `compute_reward`, `get_cumulative_returns`, the replay buffer's `normalize` and
`PolicyLoss`, in the versions of early 2025 that AceCoder's scripts ran. Not covered: images and tools that answer with
images (refused).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

LEAST_VARIANCE = 1e-8


@dataclass
class ReinforcePPConfig(GRPOConfig):  # type: ignore[misc]  # TRL is not typed
    """Arguments of `ReinforcePPTrainer`: those of `GRPOConfig`, with OpenRLHF's defaults where they differ.

    `loss_type` is "grpo", the mean over each completion's tokens and then over completions, or "bnpo", the mean over
    all tokens of a micro-batch, which is what OpenRLHF computes with --packing_samples.

    Raises:
        ValueError: an argument that would make it another algorithm.
    """

    beta: float = field(default=0.01, metadata={"help": "Weight of the KL in the tokens' rewards."})
    epsilon: float = field(default=0.2, metadata={"help": "The ratio is clipped to 1 +- epsilon."})
    loss_type: str = field(default="grpo", metadata={"help": "grpo or bnpo: what the loss is a mean over."})
    disable_dropout: bool = field(default=True, metadata={"help": "Rollout-time values are without dropout."})
    vllm_importance_sampling_correction: bool = field(
        default=False, metadata={"help": "Must be off: the ratio is to the policy's own probabilities."}
    )
    reward_clip_range: tuple[float, float] | None = field(
        default=(-10.0, 10.0), metadata={"help": "Rewards are clipped to this before they are whitened."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted: dict[str, tuple[object, ...]] = {
            "loss_type": ("grpo", "bnpo"),
            "importance_sampling_level": ("token",),
            "vllm_importance_sampling_correction": (False,),
            "top_entropy_quantile": (1.0,),
            "off_policy_mask_threshold": (None,),
            "delta": (None,),
        }
        for name, values in wanted.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"REINFORCE++ has {name}={' or '.join(map(repr, values))}, not {getattr(self, name)!r}"
                )
        clip = self.reward_clip_range
        if clip is not None and not (len(clip) == 2 and clip[0] < clip[1]):
            raise ValueError(f"reward_clip_range must be (low, high) with low < high, not {clip!r}")


class ReinforcePPTrainer(GRPOTrainer):  # type: ignore[misc]
    """`trl.GRPOTrainer` with the advantages and the loss of REINFORCE++; called in the same way.

    In the trainer's log, beside TRL's names: `kl` (mean over tokens, at rollout time), `unknown` (share of completions
    without a reward).
    """

    _tag_names = ["trl", "reinforce++"]  # noqa: RUF012  # as TRL declares it
    _name = "REINFORCE++"
    _paper = {  # noqa: RUF012
        "title": "REINFORCE++: A Simple and Efficient Approach for Aligning Large Language Models",
        "id": "2501.03262",
        "citation": "Hu, J. (2025). arXiv:2501.03262",
    }
    beta: float

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        # TRL makes advantages of them on the spot and keeps none.
        self._rollout_rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rollout_rewards

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        output = super()._generate_and_score_completions(inputs)
        if "pixel_values" in output:
            raise ValueError("REINFORCE++ is for text alone; this rollout has images")
        mode = "train" if self.model.training else "eval"
        if "old_per_token_logps" not in output:  # TRL skips them where one update follows; the KL needs them
            output["old_per_token_logps"] = self._rollout_log_probabilities(output, mode)
        rewards, known = self._local_rewards(len(output["completion_ids"]))
        mask = output["completion_mask"]
        if "tool_mask" in output:
            mask = mask * output["tool_mask"]
        old = output["old_per_token_logps"]
        kl = old - output["ref_per_token_logps"] if "ref_per_token_logps" in output else torch.zeros_like(old)
        output["advantages"] = advantages(
            rewards,
            known,
            kl,
            mask,
            beta=self.beta,
            clip=self.args.reward_clip_range,
            total=lambda local: self.accelerator.reduce(local, reduction="sum"),
        )
        self._log_rollout(output["advantages"], kl, mask, known, mode)
        return output

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        beta, self.beta = self.beta, 0.0
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.beta = beta

    def _rollout_log_probabilities(self, output: Any, mode: str) -> Any:
        size = (
            self.args.per_device_train_batch_size if mode == "train" else self.args.per_device_eval_batch_size
        )
        checkpointing = self.args.gradient_checkpointing_kwargs
        with torch.no_grad(), disable_gradient_checkpointing(self.model, checkpointing):
            found, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
                torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
                output["completion_ids"].size(1),
                batch_size=size,
            )
        return found

    def _local_rewards(self, count: int) -> tuple[Any, Any]:
        """This rank's rewards (B,), and which are known. A function of weight 0 only watches."""
        weights = self.reward_weights.to(self._rollout_rewards.device)
        paid = self._rollout_rewards[:, weights != 0]
        start = self.accelerator.process_index * count
        mine = slice(start, start + count)
        rewards = (paid * weights[weights != 0]).nansum(dim=1)[mine]
        return rewards, ~torch.isnan(paid).all(dim=1)[mine]

    def _log_rollout(self, found: Any, kl: Any, mask: Any, known: Any, mode: str) -> None:
        sums = torch.stack([(kl * mask).sum(), mask.sum(), (~known).sum(), torch.ones_like(known).sum()])
        charged, tokens, unknown, rows = self.accelerator.reduce(sums, reduction="sum").tolist()
        self._metrics[mode]["kl"].append(charged / max(1.0, tokens))
        self._metrics[mode]["unknown"].append(unknown / max(1.0, rows))
        # In the table of completions stand the advantages that count: here the mean over each one's tokens.
        means = (found * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        logged = self.accelerator.gather(means).tolist()
        column = self._logs["advantages"]
        for _ in range(min(len(column), len(logged))):
            column.pop()
        column.extend(logged)


def advantages(
    rewards: torch.Tensor,
    known: torch.Tensor,
    kl: torch.Tensor,
    mask: torch.Tensor,
    *,
    beta: float,
    clip: tuple[float, float] | None = None,
    total: Callable[[torch.Tensor], torch.Tensor] = lambda local: local,
) -> torch.Tensor:
    """Whitened returns of a rollout.

    Args:
        rewards: (B,), one per completion; what stands where it is not known does not matter.
        known: (B,), bool.
        kl: (B, T), log-probability at rollout time less that under the reference.
        mask: (B, T), 1 on the completion's own tokens.
        beta: weight of the KL.
        clip: rewards are clipped to this range.
        total: sums a tensor over all ranks.

    Returns:
        (B, T); 0 where the mask is 0 and where the reward is unknown.
    """
    paid = torch.where(known, rewards, torch.zeros_like(rewards)).to(kl.dtype)
    if clip is not None:
        paid = paid.clamp(*clip)
    mask = mask.to(kl.dtype)
    length = mask.size(1)
    last = length - 1 - mask.flip(1).argmax(dim=1, keepdim=True)
    token_rewards = (-beta * kl).scatter_add(1, last, paid.unsqueeze(1)) * mask
    returns = token_rewards.flip(1).cumsum(dim=1).flip(1)
    counted = mask * known.unsqueeze(1).to(kl.dtype)
    summed, tokens = total(torch.stack([(returns * counted).sum(), counted.sum()]))
    tokens = tokens.clamp(min=1)
    centred = (returns - summed / tokens) * counted
    variance = total(centred.square().sum()) / tokens
    whitened: torch.Tensor = centred * variance.clamp(min=LEAST_VARIANCE).rsqrt()
    return whitened
