"""REINFORCE++ against a reading in NumPy and float64: the advantages, and whole optimizer steps of the real trainer.

The reading shares nothing with the code but the model: loops over single tokens, the loss as the weight of each token's
gradient, Adam and the clipped norm by hand. Each `Broken…` is the trainer with one mistake; the reading must notice it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# TRL sets what transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")

BETA, CLIP, EPSILON, RATE = 0.3, 10.0, 0.2, 0.1
VOCABULARY, GROUP, LONGEST = 10, 4, 7
BOUND = 1e-6


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


# The reading.


def read_advantages(rewards: Any, kl: Any, mask: Any, beta: float = BETA, clip: float | None = CLIP) -> Any:
    """Whitened returns (B, T); `rewards` has None where nothing is known."""
    returns = np.zeros(kl.shape)
    values = []
    for row, reward in enumerate(rewards):
        tokens = [t for t in range(kl.shape[1]) if mask[row, t]]
        for place in tokens:
            if reward is None:
                continue
            paid = reward if clip is None else min(clip, max(-clip, reward))
            returns[row, place] = paid - beta * sum(kl[row, t] for t in tokens if t >= place)
            values.append(returns[row, place])
    mean = sum(values) / max(1, len(values))
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values))
    found = np.zeros(kl.shape)
    for row, reward in enumerate(rewards):
        for place in range(kl.shape[1]):
            if mask[row, place] and reward is not None:
                found[row, place] = (returns[row, place] - mean) / np.sqrt(max(variance, 1e-8))
    return found


def token_weights(advantages: Any, ratio: Any, mask: Any, mean_over: str) -> tuple[Any, int]:
    """d loss / d log-probability of each token of a micro-batch, and how many tokens the clip holds still."""
    weights = np.zeros(ratio.shape)
    held = 0
    for row in range(len(ratio)):
        for place in range(ratio.shape[1]):
            if not mask[row, place]:
                continue
            advantage, now = advantages[row, place], ratio[row, place]
            clipped = min(max(now, 1 - EPSILON), 1 + EPSILON)
            count = mask[row].sum() * len(ratio) if mean_over == "grpo" else mask.sum()
            if now * advantage <= clipped * advantage:
                weights[row, place] = -advantage * now / count
            else:
                held += 1
    return weights, held


class Adam:
    def __init__(self, sizes: list[Any]) -> None:
        self.m = [np.zeros(size) for size in sizes]
        self.v = [np.zeros(size) for size in sizes]
        self.t = 0

    def step(self, values: list[Any], gradients: list[Any]) -> list[Any]:
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * min(1.0, 1.0 / (norm + 1e-6)) for g in gradients]
        self.t += 1
        moved = []
        for number, (value, g) in enumerate(zip(values, gradients, strict=True)):
            self.m[number] = 0.9 * self.m[number] + 0.1 * g
            self.v[number] = 0.999 * self.v[number] + 0.001 * g**2
            m = self.m[number] / (1 - 0.9**self.t)
            v = self.v[number] / (1 - 0.999**self.t)
            moved.append(value - RATE * m / (np.sqrt(v) + 1e-8))
        return moved


# The trainer under test.


def paid(prompt: str, completion: list[int]) -> float | None:
    """A reward that follows from what was said: unknown for some, beyond the clip for others."""
    said = sum(number * token for number, token in enumerate(completion, 1)) + len(prompt)
    if said % 6 == 1:
        return None
    return 25.0 if said % 11 == 0 else -25.0 if said % 13 == 0 else (said % 5) / 4


def reward(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> list[float | None]:
    return [paid(prompt, ids) for prompt, ids in zip(prompts, completion_ids, strict=True)]


def log_probabilities(model: Any, ids: Any, mask: Any, keep: int) -> Any:
    import torch

    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    return torch.log_softmax(logits, -1).gather(2, ids[:, 1:, None])[:, -keep:, 0]


def recorded(base: Any) -> Any:
    """The trainer, keeping its micro-batches, with log-probabilities in float64 (TRL's kernel is float32)."""
    import torch

    class Recorded(base):
        def _get_per_token_logps_and_entropies(
            self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **rest: Any
        ) -> Any:
            found = log_probabilities(model, input_ids, attention_mask, logits_to_keep)
            return found, torch.zeros_like(found), None

        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            self.__dict__.setdefault("micro_batches", []).append({name: inputs[name] for name in inputs})
            return super()._compute_loss(model, inputs)

    return Recorded


def made(folder: Path) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = ["<pad>", "<eos>", *(f"w{n}" for n in range(VOCABULARY - 2))]
    plain = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="w0"),
    )
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="w0", padding_side="left"
    )
    import torch

    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            tie_word_embeddings=False,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder / "start")
    return tokenizer


def trained(
    folder: Path,
    *,
    base: Any = None,
    generation: int = 16,
    steps: int = 2,
    reward_func: Any = reward,
    **settings: Any,
) -> tuple[Any, Any]:
    """The trainer after one rollout, and its weights before it."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    from acetrain._reinforce_pp import ReinforcePPConfig, ReinforcePPTrainer

    tokenizer = made(folder)
    arguments = {
        "output_dir": str(folder / "out"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "generation_batch_size": generation,
        "num_generations": GROUP,
        "max_completion_length": LONGEST,
        "max_steps": steps,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "beta": BETA,
        "seed": 3,
        **settings,
    }
    trainer = recorded(base or ReinforcePPTrainer)(
        model=AutoModelForCausalLM.from_pretrained(folder / "start", dtype=torch.float64),
        reward_funcs=reward_func,
        args=ReinforcePPConfig(**arguments),
        train_dataset=Dataset.from_list([{"prompt": f"w{n} w{n % 3} " * (1 + n % 3)} for n in range(8)]),
        processing_class=tokenizer,
    )
    if trainer.ref_model is not None:
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in trainer.ref_model.parameters():
                weight.add_(0.3 * torch.randn_like(weight))
    start = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    return trainer, start


def read_steps(
    trainer: Any, start: Any, steps: int, mean_over: str = "grpo"
) -> tuple[list[Any], dict[str, int]]:
    """The weights that the reading ends with, and what occurred on the way."""
    import torch

    model = trainer.model
    end = {name: value.detach().clone() for name, value in model.named_parameters()}
    names = list(start)
    micro = trainer.micro_batches
    each = len(micro) // steps
    seen = {"unknown": 0, "held": 0, "ragged": 0, "clipped_rewards": 0}

    def put(values: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(torch.as_tensor(values[name]))

    def spoken(network: Any, batch: Any) -> Any:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        return log_probabilities(network, ids, mask, batch["completion_ids"].size(1))

    put(start)
    masks = [batch["completion_mask"].numpy() for batch in micro]
    with torch.no_grad():
        old = [spoken(model, batch).numpy() for batch in micro]
        reference = [spoken(trainer.ref_model, batch).numpy() for batch in micro]
    rewards = []
    for batch, mask in zip(micro, masks, strict=True):
        for row in range(len(mask)):
            prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
            words = trainer.processing_class.decode(prompt)
            number = int(words.split()[0][1:])
            text = f"w{number} w{number % 3} " * (1 + number % 3)
            rewards.append(paid(text, batch["completion_ids"][row][mask[row].astype(bool)].tolist()))
    seen["unknown"] = sum(value is None for value in rewards)
    seen["clipped_rewards"] = sum(value is not None and abs(value) > CLIP for value in rewards)
    whole_mask = np.concatenate(masks)
    seen["ragged"] = len(set(whole_mask.sum(1).tolist()))
    whole = read_advantages(rewards, np.concatenate(old) - np.concatenate(reference), whole_mask)
    rows = np.cumsum([0, *(len(mask) for mask in masks)])
    given = np.concatenate([batch["advantages"].numpy() for batch in micro])
    given = given.reshape(len(given), -1)
    seen["advantages"] = float(np.abs(given - whole).max())

    values = [start[name].numpy() for name in names]
    adam = Adam([value.shape for value in values])
    for step in range(steps):
        gradients = [np.zeros(value.shape) for value in values]
        for place in range(step * each, (step + 1) * each):
            model.zero_grad()
            now = spoken(model, micro[place])
            ratio = np.exp(now.detach().numpy() - old[place])
            weights, held = token_weights(
                whole[rows[place] : rows[place + 1]], ratio, masks[place], mean_over
            )
            seen["held"] += held
            found = torch.autograd.grad((now * torch.as_tensor(weights)).sum(), list(model.parameters()))
            gradients = [sum_ + g.numpy() / each for sum_, g in zip(gradients, found, strict=True)]
        values = adam.step(values, gradients)
        put(dict(zip(names, values, strict=True)))
    put({name: value.numpy() for name, value in end.items()})
    return values, seen


def distance(trainer: Any, start: Any, read: list[Any]) -> float:
    """The largest difference between the trainer's weights and the reading's, in units of the largest step made."""
    ours = [weight.detach().numpy() for weight in trainer.model.parameters()]
    moved = max(np.abs(r - s.numpy()).max() for r, s in zip(read, start.values(), strict=True))
    return float(max(np.abs(o - r).max() for o, r in zip(ours, read, strict=True)) / moved)


# What is shown.


def test_advantages_are_the_reading_for_ragged_masks_holes_and_unknown_rewards() -> None:
    import torch

    from acetrain._reinforce_pp import advantages

    draw = np.random.default_rng(0)
    for _ in range(50):
        rows, width = draw.integers(1, 9), draw.integers(1, 12)
        mask = np.array([[t < n for t in range(width)] for n in draw.integers(0, width + 1, rows)])
        mask &= draw.random(mask.shape) < 0.9  # tokens of tools in between
        kl = draw.normal(size=mask.shape)
        rewards = [None if draw.random() < 0.2 else float(draw.normal() * 8) for _ in range(rows)]
        found = advantages(
            torch.tensor(
                [float("nan") if value is None else value for value in rewards], dtype=torch.float64
            ),
            torch.tensor([value is not None for value in rewards]),
            torch.as_tensor(kl),
            torch.as_tensor(mask),
            beta=BETA,
            clip=(-CLIP, CLIP),
        )
        np.testing.assert_allclose(found.numpy(), read_advantages(rewards, kl, mask), atol=1e-9)


def test_advantages_are_whitened_over_all_ranks() -> None:
    import torch

    from acetrain._reinforce_pp import advantages

    draw = np.random.default_rng(1)
    kl, mask = draw.normal(size=(6, 5)), draw.random((6, 5)) < 0.8
    rewards = [1.0, None, 0.0, 0.25, None, 1.0]
    barrier, parts, found = threading.Barrier(2), {}, {}

    def rank(number: int) -> None:
        mine = slice(0, 2) if number == 0 else slice(2, 6)

        def total(local: Any) -> Any:
            parts[number] = local
            barrier.wait(60)
            both = parts[0] + parts[1]
            barrier.wait(60)
            return both

        found[number] = advantages(
            torch.tensor([0.0 if value is None else value for value in rewards[mine]], dtype=torch.float64),
            torch.tensor([value is not None for value in rewards[mine]]),
            torch.as_tensor(kl[mine]),
            torch.as_tensor(mask[mine]),
            beta=BETA,
            total=total,
        )

    ranks = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join()
    together = np.concatenate([found[0].numpy(), found[1].numpy()])
    np.testing.assert_allclose(together, read_advantages(rewards, kl, mask, clip=None), atol=1e-9)


@pytest.mark.parametrize(
    ("generation", "steps", "mean_over"), [(16, 2, "grpo"), (8, 1, "grpo"), (16, 2, "bnpo")]
)
def test_whole_optimizer_steps_are_the_reading(
    tmp_path: Path, generation: int, steps: int, mean_over: str
) -> None:
    """Two updates on one rollout, where the ratio leaves 1 and the clip acts, and one, where TRL keeps no ratio."""
    trainer, start = trained(tmp_path, generation=generation, steps=steps, loss_type=mean_over)
    read, seen = read_steps(trainer, start, steps, mean_over)
    assert seen["unknown"] >= 1 and seen["ragged"] >= 3, seen
    if steps > 1:
        assert seen["held"] >= 1 and seen["clipped_rewards"] >= 1, seen
    assert seen["advantages"] <= BOUND
    assert distance(trainer, start, read) <= BOUND


def broken_with_kl_in_the_loss() -> Any:
    from trl import GRPOTrainer

    from acetrain._reinforce_pp import ReinforcePPTrainer

    class Broken(ReinforcePPTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            return GRPOTrainer._compute_loss(self, model, inputs)

    return Broken


def broken_advantages(change: Any) -> Any:
    from acetrain._reinforce_pp import ReinforcePPTrainer

    class Broken(ReinforcePPTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            change(self, output)
            return output

    return Broken


def broken_as_grpo() -> Any:
    from trl import GRPOTrainer

    from acetrain._reinforce_pp import ReinforcePPTrainer

    class Broken(ReinforcePPTrainer):
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            return GRPOTrainer._generate_and_score_completions(self, inputs)

    return Broken


def broken_unknown_is_zero() -> Any:
    from acetrain._reinforce_pp import ReinforcePPTrainer

    class Broken(ReinforcePPTrainer):
        def _local_rewards(self, count: int) -> Any:
            rewards, known = super()._local_rewards(count)
            return rewards, known | True

    return Broken


def broken_without_kl() -> Any:
    from acetrain._reinforce_pp import ReinforcePPTrainer

    class Broken(ReinforcePPTrainer):
        def _local_rewards(self, count: int) -> Any:
            self.beta = 0.0  # read after this, for the advantages
            return super()._local_rewards(count)

    return Broken


def broken_not_centred() -> Any:
    return broken_advantages(lambda self, output: output["advantages"].add_(1e-5))


def broken_old_probabilities() -> Any:
    """The ratio to the current policy: 1 at every update."""
    return broken_advantages(lambda self, output: output.pop("old_per_token_logps"))


@pytest.mark.parametrize(
    "broken",
    [
        broken_with_kl_in_the_loss,
        broken_as_grpo,
        broken_unknown_is_zero,
        broken_without_kl,
        broken_not_centred,
        broken_old_probabilities,
    ],
)
def test_the_reading_notices_what_is_broken(tmp_path: Path, broken: Any) -> None:
    trainer, start = trained(tmp_path, base=broken())
    read, _ = read_steps(trainer, start, 2)
    assert distance(trainer, start, read) > BOUND


def test_a_rollout_of_which_nothing_is_known_moves_nothing(tmp_path: Path) -> None:
    trainer, start = trained(
        tmp_path, reward_func=lambda prompts, completions, completion_ids, **columns: [None] * len(prompts)
    )
    for name, weight in trainer.model.named_parameters():
        assert (weight.detach() == start[name]).all(), name
    assert trainer.state.log_history[0]["unknown"] == 1.0


def test_the_log_has_the_kl_at_rollout_time_and_the_share_of_the_unknown(tmp_path: Path) -> None:
    trainer, _ = trained(tmp_path)
    logged = trainer.state.log_history[0]
    rows = sum(len(batch["completion_ids"]) for batch in trainer.micro_batches)
    kl = sum(
        float(
            ((batch["old_per_token_logps"] - batch["ref_per_token_logps"]) * batch["completion_mask"]).sum()
        )
        for batch in trainer.micro_batches
    ) / sum(float(batch["completion_mask"].sum()) for batch in trainer.micro_batches)
    unknown = sum(int((batch["advantages"] == 0).all(1).sum()) for batch in trainer.micro_batches)
    assert logged["kl"] == pytest.approx(kl, abs=1e-9)
    assert logged["unknown"] == pytest.approx(unknown / rows)


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss_type": "dapo"},
        {"vllm_importance_sampling_correction": True},
        {"importance_sampling_level": "sequence"},
        {"reward_clip_range": (1.0, -1.0)},
    ],
)
def test_arguments_that_would_make_it_another_algorithm_are_refused(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    from acetrain._reinforce_pp import ReinforcePPConfig

    with pytest.raises(ValueError, match=next(iter(arguments))):
        ReinforcePPConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **arguments)
