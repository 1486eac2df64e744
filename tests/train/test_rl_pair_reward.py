"""A reward model that was trained on pairs is given pairs' texts by a reinforcement learning run, and a run whose
questions do not have what they are made of is refused before it trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from acedata import BadInput
from acedata._formats import answer_text, render, rl_question
from acetrain._reward_model._forms import Form
from acetrain._rl._reward import ModelReward
from tests.train.rl_runs import recipe_file

TESTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
PROGRAM = "def add(a, b):\n    return a + b"


class Scorer:
    """Scores a chat by its length, and keeps what it was given."""

    def __init__(self, format: str) -> None:
        self.form = Form(format)
        self.given: list[Any] = []

    def score(self, conversations: Sequence[Any]) -> list[float]:
        self.given += conversations
        return [float(len(one[-1]["content"])) for one in conversations]


def asked(text: str, *before: str) -> list[dict[str, str]]:
    return [*({"role": "system", "content": one} for one in before), {"role": "user", "content": text}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    "prompt",
    [
        asked(render("rl-0", "Add two numbers.", TESTS).user),
        asked(render("rl-0-named", "Add two numbers.", TESTS, "add").user),
        asked(render("pair-1", "Add two numbers.", TESTS).user),
        asked("Add two numbers.", "Think first."),
        [*asked("Add two numbers."), {"role": "assistant", "content": "```python\n"}],
    ],
)
def test_a_pair_model_is_given_the_text_of_its_training(prompt: list[dict[str, str]]) -> None:
    scorer = Scorer("pair-1")
    begun = prompt[-1]["role"] == "assistant"
    completion = said(
        f"{PROGRAM}\n```" if begun else f"<think>Easy.</think>\nHere:\n```python\n{PROGRAM}\n```\nDone."
    )
    reward = ModelReward(scorer, clip=None)
    reward.check([{"prompt": prompt, "test_cases": json.dumps(TESTS)}], "here")
    reward([prompt], [completion], test_cases=[json.dumps(TESTS)])
    question, answer = scorer.given[0]
    assert question["content"] == render("pair-1", "Add two numbers.", TESTS[:1]).user
    assert answer["content"] == answer_text("pair-1", PROGRAM)


def test_a_raw_model_is_given_the_chat_as_it_is() -> None:
    scorer = Scorer("raw")
    reward = ModelReward(scorer)
    reward.check([{"prompt": "a text", "test_cases": None}], "here")
    reward([asked("Add.", "Think.")], [said("whatever")])
    assert scorer.given == [[*asked("Add.", "Think."), *said("whatever")]]


def test_an_answer_without_a_program_is_one_below_the_lowest() -> None:
    reward = ModelReward(Scorer("pair-1"), clip=None, std=2.0)
    answers = [said(f"```python\n{code}\n```") for code in ("x = 1", "x = 12345")]
    lowest, highest, none = reward(
        [asked("q")] * 3, [*answers, said("<think>I never end")], test_cases=[TESTS] * 3
    )
    assert highest > lowest and none == pytest.approx(lowest - 0.5)
    assert reward([asked("q")], [said("<think>")], test_cases=[TESTS]) == [None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Add two numbers.", "test_cases": TESTS}, "which part of this prompt is the question"),
        ({"prompt": [*asked("a"), *asked("b")], "test_cases": TESTS}, "which part of this prompt"),
        ({"prompt": asked("a"), "test_cases": "[]"}, "which shows a test: the list of tests is empty"),
        (
            {"prompt": asked("a"), "test_cases": "["},
            "which shows a test: the tests are a text that is no JSON",
        ),
    ],
)
def test_questions_without_what_the_text_is_made_of_are_refused(row: dict[str, Any], message: str) -> None:
    good = {"prompt": asked("a"), "test_cases": TESTS, "id": "q_0"}
    with pytest.raises(BadInput, match=rf"questions\.jsonl: question q_1: .*{message.replace('[', '.')}"):
        ModelReward(Scorer("pair-1")).check([good, {**row, "id": "q_1"}], "questions.jsonl")


def test_the_question_of_a_prompt_is_what_was_rendered() -> None:
    for text in (
        "Add.",
        "Two\n\nThe function must be called `f`.\n\nparagraphs",
        "Ends so: must be called `f`.",
    ):
        for format in ("rl-0", "rl-0-named"):
            assert rl_question(render(format, text, (), "add_1").user) == text
    assert (
        rl_question("\n\nThe function must be called `no name`.")
        == "\n\nThe function must be called `no name`."
    )


def test_a_run_is_refused_before_it_trains(tmp_path: Path) -> None:
    from acetrain._rl._recipe import load_recipe
    from acetrain._rl._train import train
    from acetrain.demos._tokens import make_tokenizer

    make_tokenizer().save_pretrained(tmp_path / "start")  # no model is read
    rows = [{"prompt": f"Q: double, then add {number}.\n", "test_cases": TESTS} for number in range(8)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "start" / "questions.jsonl").write_text(text)
    path = recipe_file(tmp_path, tmp_path / "start")
    values = yaml.safe_load(path.read_text())
    values["reward"] = {"kind": "model", "path": "judge"}
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(BadInput, match=r"questions\.jsonl: question 0: the reward model wants pair-1"):
        train(load_recipe(path), tmp_path / "run", scorer=Scorer("pair-1"), say=lambda text: None)


def test_an_exports_questions_are_scored_in_the_text_of_its_pairs(tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as parquet

    from acedata._export import export
    from acetrain._rl._data import load_questions
    from acetrain._rl._recipe import load_recipe
    from tests.data.builds import make_build
    from tests.train.reward_models import tokenizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        data = export(make_build(tmp_path / "build"), tmp_path / "data", forms=["trl", "pairs"]).path
        recipe = load_recipe("rl-7b-lora", [f"data.path={data}", "data.config=trl-rl"])
        rows = load_questions(recipe, str(data), tokenizer()).rows
    scorer = Scorer("pair-1")
    reward = ModelReward(scorer)
    reward.check(rows, str(data))
    completions = [said(f"```python\n{PROGRAM}\n```")] * len(rows)
    assert None not in reward(rows["prompt"], completions, test_cases=rows["test_cases"])
    trained_on = {
        row["instruction"]
        for file in sorted((data / "pairs").rglob("*.parquet"))
        for row in parquet.read_table(file).to_pylist()
    }
    given = {one[0]["content"] for one in scorer.given}
    assert len(given) == len(rows) >= len(trained_on & given) > 10
