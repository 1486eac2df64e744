"""Three steps of a real GRPOTrainer on the CPU, with a model made on the spot: what it does with our rewards."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acesandbox import Limits, Sandbox
from acetrain import NodeJudge, RuleReward
from tests.train.answers import HOSTILE, RIGHT, TESTS, WRONG, block

# TRL sets what transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")

QUICK = Limits(cpu_s=0.05, program_cpu_s=0.1, load_cpu_s=0.1, idle_s=0.3)
STEPS, GROUP = 3, 4


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


class Answering(RuleReward):
    """Puts prepared answers in the place of what a model of random numbers says, so that each kind occurs."""

    answers: tuple[str, ...] = ()

    def __call__(self, prompts: Any, completions: Any, *args: Any, **columns: Any) -> list[float | None]:
        said = [self.answers[n % len(self.answers)] for n in range(len(completions))]
        return super().__call__(prompts, said, *args, **columns)


def train(folder: Path, reward: Any, tests: list[str], steps: int = STEPS) -> Any:
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    words = {
        word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", *(f"w{n}" for n in range(29))])
    }
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )
    settings = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        max_steps=steps,
        per_device_train_batch_size=2 * GROUP,
        num_generations=GROUP,
        max_completion_length=4,
        learning_rate=1e-2,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=0,
    )
    rows = [{"prompt": f"w{n} w{n + 1}", "test_cases": case} for n, case in enumerate(tests)]
    trainer = GRPOTrainer(
        model,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    return trainer


def logs(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.mark.parametrize("form", ["sync", "async"])
def test_training_goes_on_with_hostile_answers_and_unknown_rewards(tmp_path: Path, form: str) -> None:
    with Sandbox(workers=1, limits=QUICK) as sandbox:
        reward = Answering("binary", sandbox=sandbox)
        reward.answers = (RIGHT, HOSTILE["lone surrogate"], HOSTILE["exits"], WRONG)
        good = json.dumps(TESTS)
        # Two prompts a step, one of them with tests that nobody can read: half of all rewards is None.
        given = reward if form == "sync" else reward.asynchronous()
        trainer = train(tmp_path, given, [good, "broken"])
    assert trainer.state.global_step == STEPS
    assert logs(trainer, "rule_reward/bad_tests") == logs(trainer, "rule_reward/unknown") == [0.5] * STEPS
    assert logs(trainer, "rule_reward/pass_rate") == [0.25] * STEPS
    assert logs(trainer, "rewards/rule_reward/mean") == [0.25] * STEPS
    assert all(math.isfinite(value) for value in logs(trainer, "loss") + logs(trainer, "grad_norm"))
    assert any(value > 0 for value in logs(trainer, "grad_norm")), "the known half must still teach"


@pytest.mark.parametrize("victim", ["judge", "worker"])
def test_training_goes_on_when_the_judge_or_a_worker_is_killed_in_the_middle_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    hanging = block("def add(a, b):\n    while True:\n        pass")
    killed: list[int] = []

    class Killing(Answering):
        def __call__(self, *args: Any, **columns: Any) -> list[float | None]:
            self._opened().open()
            pid = self._judge.pid() if isinstance(self._judge, NodeJudge) else os.getpid()
            pids = [pid] if victim == "judge" else workers_of(pid)
            killed.extend(pids)
            timer = threading.Timer(0.1, lambda: [os.kill(one, signal.SIGKILL) for one in pids])
            timer.start()
            try:
                return super().__call__(*args, **columns)
            finally:
                timer.join()

    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(tmp_path / "judge"))
    reward = Killing("pass_rate", limits=QUICK, workers=1, shared=victim == "judge")
    reward.answers = (RIGHT, hanging, WRONG, hanging)
    try:
        trainer = train(tmp_path / "run", reward, [json.dumps(TESTS)] * 2)
    finally:
        last = reward._judge.pid() if isinstance(reward._judge, NodeJudge) else None
        reward.close()
        if last is not None:
            os.kill(last, signal.SIGKILL)  # rather than wait until it has lingered
    assert trainer.state.global_step == STEPS and len(set(killed)) == STEPS
    assert logs(trainer, "rule_reward/unjudged") == [0.0] * STEPS
    assert logs(trainer, "rewards/rule_reward/mean") == [0.25] * STEPS


def workers_of(pid: int) -> list[int]:
    """The sandbox's processes that this process started."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            children = [int(word) for word in file.read().split()]
        for child in children:
            with open(f"/proc/{child}/cmdline") as file:
                if "acejail" in file.read():
                    found.append(child)
    return found


def test_one_unknown_in_a_group_moves_nothing_and_the_others_are_paid_by_their_mean(tmp_path: Path) -> None:
    class Sometimes(Answering):
        def reward(self, score: Any, *rest: Any) -> float | None:
            return None if score.status == "no_code" else super().reward(score, *rest)

    with Sandbox(workers=1, limits=QUICK) as sandbox:
        reward = Sometimes("binary", sandbox=sandbox)
        reward.answers = (RIGHT, "", WRONG, WRONG)
        trainer = train(tmp_path, reward, [json.dumps(TESTS)] * 2, steps=1)
    advantages = list(trainer._logs["advantages"])
    assert len(advantages) == 2 * GROUP
    for first in (0, GROUP):
        right, unknown, *wrong = advantages[first : first + GROUP]
        assert unknown == 0.0 and right > 0 > wrong[0] == wrong[1]
        assert right + sum(wrong) == pytest.approx(0.0, abs=1e-5)


def test_a_model_that_says_nothing_sensible_is_paid_zero(tmp_path: Path) -> None:
    reward = RuleReward(limits=QUICK, workers=1)
    trainer = train(tmp_path, reward, [json.dumps(TESTS)] * 2, steps=1)
    reward.close()
    assert logs(trainer, "rewards/rule_reward/mean") == [0.0]
    assert logs(trainer, "rule_reward/unknown") == [0.0]
