"""The recipes of docs/rewards.md for other trainers, taken from the page and run against stand-ins that have the
signatures of open-instruct, NeMo-RL and verifiers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acesandbox import Limits
from acetrain import NodeJudge, RuleReward
from tests.train.answers import HALF, RIGHT, TESTS, WRONG

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rewards.md"


def recipe(trainer: str) -> str:
    """The Python block that follows the paragraph on a trainer."""
    section = (
        PAGE.read_text(encoding="utf-8").partition("## Others, in a few lines\n")[2].partition("\n## ")[0]
    )
    found = re.search(rf"^{trainer}, [^\n]*:\n\n```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/rewards.md has no recipe for {trainer}"
    return found[1]


@pytest.fixture
def reward() -> Iterator[RuleReward]:
    made = RuleReward("pass_rate", workers=1, limits=Limits(cpu_s=0.1, program_cpu_s=0.2))
    yield made
    made.close()


@dataclass
class VerificationResult:
    score: float
    cost: float = 0.0
    reasoning: str | None = None


class VerifierFunction:
    """open-instruct's base class: as it is now, and as it called before `rollout_state` came."""

    def __init__(self, name: str, weight: float = 1.0, verifier_config: Any = None) -> None:
        self.name, self.weight, self.verifier_config = name, weight, verifier_config

    __call__: Callable[..., VerificationResult]

    async def async_call(
        self,
        tokenized_prediction: list[int],
        prediction: str,
        label: Any,
        query: str | None = None,
        rollout_state: dict[str, Any] | None = None,
    ) -> VerificationResult:
        call = (tokenized_prediction, prediction, label, query, rollout_state)
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self(*call))

    async def async_call_before(
        self, tokenized_prediction: list[int], prediction: str, label: Any, query: str | None = None
    ) -> VerificationResult:
        call = (tokenized_prediction, prediction, label, query)
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self(*call))


def test_the_recipe_for_open_instruct_pays_by_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(tmp_path / "judge"))
    names: dict[str, Any] = {
        "RuleReward": RuleReward,
        "VerifierFunction": VerifierFunction,
        "VerificationResult": VerificationResult,
    }
    exec(recipe("open-instruct"), names)
    verifier = names["AceVerifier"](SimpleNamespace())
    assert (verifier.name, verifier.weight) == ("ace", 1.0)
    tests = json.dumps(TESTS)

    async def paid(answer: str, label: Any = tests) -> list[float]:
        now = await verifier.async_call([1, 2], answer, label, "Write add.", rollout_state={"step": 1})
        before = await verifier.async_call_before([1, 2], answer, label)
        return [now.score, before.score]

    try:
        assert [asyncio.run(paid(answer)) for answer in (RIGHT, HALF, WRONG)] == [
            [1.0] * 2,
            [0.5] * 2,
            [0.0] * 2,
        ]
        assert asyncio.run(paid(RIGHT, "broken")) == [0.0] * 2
    finally:
        if isinstance(judge := verifier.reward._judge, NodeJudge):
            os.kill(judge.pid(), signal.SIGKILL)  # rather than wait until it has lingered
        verifier.reward.close()


def test_the_recipe_for_nemo_rl_pays_a_batch_by_tests(reward: RuleReward) -> None:
    import torch

    names: dict[str, Any] = {"reward": reward, "torch": torch}
    body = textwrap.indent(recipe("NeMo-RL") + "return rewards\n", "    ")
    exec(f"def step(message_log_batch, metadata):\n{body}", names)
    logs = [
        [{"role": "user", "content": "Write add."}, {"role": "assistant", "content": answer}]
        for answer in (RIGHT, HALF, WRONG, RIGHT)
    ]
    metadata = [{"test_cases": tests} for tests in (TESTS, TESTS, json.dumps(TESTS), "broken")]
    assert torch.equal(names["step"](logs, metadata), torch.tensor([1.0, 0.5, 0.0, 0.0]))


class Rubric:
    """verifiers' rubric: a function gets what it names, and all there is where it takes keywords."""

    def __init__(self, funcs: Sequence[Any] = (), weights: Sequence[float] | None = None) -> None:
        self.funcs, self.weights = funcs, weights or [1.0] * len(funcs)

    async def score_rollout(self, state: dict[str, Any]) -> float:
        given = {name: state[name] for name in ("prompt", "completion", "answer", "info", "task")}
        pairs = zip(self.funcs, self.weights, strict=True)
        return sum([weight * float(await func(**given, state=state)) for func, weight in pairs])


def test_the_recipe_for_verifiers_pays_by_tests(reward: RuleReward) -> None:
    names: dict[str, Any] = {"reward": reward, "asyncio": asyncio, "vf": SimpleNamespace(Rubric=Rubric)}
    exec(recipe("verifiers"), names)

    def paid(answer: str, tests: Any = TESTS) -> float:
        for completion in (answer, [{"role": "assistant", "content": answer}]):
            state = {
                "prompt": "Write add.",
                "completion": completion,
                "answer": tests,
                "info": {},
                "task": "",
            }
            found = asyncio.run(names["rubric"].score_rollout(state))
        return found

    assert [paid(answer) for answer in (RIGHT, HALF, WRONG)] == [1.0, 0.5, 0.0]
    assert paid(RIGHT, "broken") == 0.0
