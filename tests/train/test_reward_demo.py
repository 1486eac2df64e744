"""The reward model's demonstration: its pairs can be told apart by the question alone, its examination shows nothing
that training showed, its statistics are right, and the command runs from end to end."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from acesandbox import Sandbox
from acetrain._cli import main
from acetrain.demos import reward_model
from acetrain.demos._policy import LIMITS
from acetrain.demos._tasks import Task, split
from acetrain.demos._tokens import make_tokenizer


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1, limits=LIMITS, keep_output=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def held(sandbox: Sandbox) -> list[reward_model.Twins]:
    return reward_model.draw_twins(random.Random("test"), split(5)[1], 40, sandbox, single=False)[0]


class Judge:
    """A model of a few lines, to see what the examination makes of one."""

    tokenizer = make_tokenizer()

    def __init__(self, score: Any) -> None:
        self._score = score

    def score(self, texts: list[str]) -> list[float]:
        return [float(self._score(text.removesuffix("<eos>"))) for text in texts]


def solves(text: str) -> bool:
    question, _, program = text.partition("def f")
    return any(
        task.question() == question and task.program() == f"def f{program}" for one in TWINS for task in one
    )


TWINS: list[tuple[Task, Task]] = []


def test_every_program_is_chosen_as_often_as_it_is_rejected(held: list[reward_model.Twins]) -> None:
    pairs = [pair for one in held for pair in one.pairs()]
    assert Counter(chosen for _, chosen, _ in pairs) == Counter(rejected for _, _, rejected in pairs)
    assert len({question for question, _, _ in pairs}) > 40


def test_twins_are_of_pairs_that_training_never_showed(held: list[reward_model.Twins]) -> None:
    seen, never = split(5)
    for one in held:
        for task in (one.one, one.other):
            assert task.pair in never and task.pair not in seen


def test_twins_that_solve_each_other_make_no_pair(sandbox: Sandbox) -> None:
    same = reward_model.Twins(
        Task(("negate", "double"), (2, 2)), Task(("invert", "double"), (2, 2)), "operator"
    )
    other = reward_model.Twins(
        Task(("negate", "double"), (2, 2)), Task(("square", "double"), (2, 2)), "operator"
    )
    assert same.one.program() != same.other.program()
    assert reward_model._judged([same, other], sandbox) == [other]


def test_the_examination_tells_a_reader_from_all_who_do_not_read(held: list[reward_model.Twins]) -> None:
    TWINS[:] = [(one.one, one.other) for one in held]
    reader = reward_model.accuracies(Judge(solves), held, 1)  # type: ignore[arg-type]
    assert reader["right"] == 1.0 and reader["p"] < 1e-9
    assert 0.3 < reader["permuted"] < 0.7
    for blind in (
        len,
        lambda text: -len(text),
        lambda text: hash(text.partition("def f")[2]),
        lambda text: 0,
    ):
        found = reward_model.accuracies(Judge(blind), held, 1)  # type: ignore[arg-type]
        assert found["right"] == found["without_question"] == found["longer"] == 0.5


def test_the_binomial_test() -> None:
    assert reward_model.binomial_p(5, 10) == pytest.approx(1.0)
    assert reward_model.binomial_p(10, 10) == pytest.approx(2 / 1024)
    assert reward_model.binomial_p(1, 10) == pytest.approx(2 * 11 / 1024)
    assert reward_model.binomial_p(1060, 2000) == pytest.approx(0.00782, abs=2e-4)


def test_best_of_takes_the_highest_score_and_the_sandbox_decides(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(("double", "negate"), (2, 2))
    wrong = Task(("double", ""), (2, 2)).program()

    class Course:
        tokenizer, examination, seed = Judge.tokenizer, [task], 1

        def start(self) -> None:
            return None

    def answer(*_: Any, greedy: bool = False, n: int = 1, **__: Any) -> list[list[str]]:
        return [[wrong]] if greedy else [[wrong, task.program(), wrong]]

    monkeypatch.setattr(reward_model, "answer", answer)
    settings = reward_model.Settings(n=3)
    course: Any = Course()
    model: Any = Judge(lambda text: task.program() in text)
    found = reward_model.best_of(course, model, sandbox, settings)
    assert (found["greedy"], found["best"], found["oracle"], found["mean"]) == (
        0.0,
        1.0,
        1.0,
        pytest.approx(1 / 3),
    )
    assert found["samples_ranked_right"] == 1.0 and found["gain"]["value"] == 1.0
    contrary: Any = Judge(lambda text: task.program() not in text)
    assert reward_model.best_of(course, contrary, sandbox, settings)["best"] == 0.0


@pytest.fixture
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("same_threads_afterwards")
def test_acetrain_demo_rm_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "rm", "--quick", "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    assert "best of N" in out
    found = json.loads((tmp_path / "seed-1.json").read_text())
    assert found["done"] and found["accuracy"]["pairs"] == 80 and found["accuracy"]["without_question"] == 0.5
    assert (tmp_path / "rm.svg").read_text().startswith("<svg")


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.usefixtures("same_threads_afterwards")
def test_the_full_demonstration_holds_what_it_promises(tmp_path: Path) -> None:
    assert main(["demo", "rm", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["promises"]) == len(reward_model.DEMONSTRATION.promises)
    assert all(set(held) == {"1", "2", "3"} and all(held.values()) for held in report["promises"].values())
    for one in report["seeds"]:
        assert one["accuracy"]["pairs"] >= 2_000
