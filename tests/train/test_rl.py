"""`acetrain rl` whole: real trainers, the real sandbox, a model made on the spot; each algorithm, both rewards."""

from __future__ import annotations

import html.parser
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.train.rl_runs import make_start, recipe_file


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


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_start(tmp_path_factory.mktemp("rl"))


def run(folder: Path, start: Path, *, resume: bool = False, scorer: Any = None, **changes: Any) -> list[str]:
    """Trains in `folder/run`; returns what was said."""
    from acetrain._rl._recipe import load_recipe
    from acetrain._rl._train import train

    said: list[str] = []
    recipe = load_recipe(recipe_file(folder, start, **changes))
    final = train(recipe, folder / "run", resume=resume, scorer=scorer, say=said.append)
    assert final == folder / "run" / "final"
    return said


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / "curve.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM

    return dict(AutoModelForCausalLM.from_pretrained(folder).named_parameters())


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.plots = 0
        self.points = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert tag not in ("script", "link", "img", "iframe"), tag
        self.plots += tag == "svg"
        self.points += tag == "polyline"
        for name, value in attributes:
            assert not str(value).startswith(("http:", "https:")) or name == "xmlns", value


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "reinforce++"])
def test_each_algorithm_trains_on_verdicts_and_leaves_model_card_and_curve(
    tmp_path: Path, start: Path, algorithm: str
) -> None:
    import torch

    said = run(tmp_path, start, algorithm=algorithm)
    out = tmp_path / "run"
    before, after = weights(start), weights(out / "final")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(bool(torch.isfinite(value).all()) for value in after.values())

    curve = lines(tmp_path)
    assert [(line["rollout"], line["update"]) for line in curve] == [(1, 2), (2, 4)]
    for line in curve:
        assert line["reward"] == pytest.approx(
            line["pass_rate"], abs=1e-6
        )  # what was paid is what the judge saw
        assert line["timeout"] == 0.0 and line["unknown"] == 0.0 and line["seconds"] > 0
        assert 0 < line["tokens"] <= line["longest"] <= 30
        assert math.isfinite(line["kl"])
    assert any(line["reward"] > 0 for line in curve)
    page = Page((out / "curve.html").read_text())
    assert page.plots >= 7 and page.points >= page.plots
    assert "finished" in (out / "curve.html").read_text()
    assert [text for text in said if text.startswith("rollout 2 of 2: reward ")]

    card = (out / "final" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == str(start) and algorithm in card and "pass_rate" in card
    kept = yaml.safe_load((out / "recipe.yaml").read_text())
    assert kept["update"]["ratio_clip"] == 0.2 and kept["algorithm"] == algorithm
    assert (out / "final" / "tokenizer.json").exists() and (out / "checkpoint-4").is_dir()


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "reinforce++"])
def test_rows_that_cannot_be_judged_are_unknown_and_training_goes_on(
    tmp_path: Path, start: Path, algorithm: str
) -> None:
    rows = [json.loads(line) for line in (start / "questions.jsonl").read_text().splitlines()]
    for row in rows[::3]:
        row["test_cases"] = '["assert ("]'  # a list of texts, of which no interpreter can read one
    bad = tmp_path / "bad.jsonl"
    bad.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tmp_path, start, algorithm=algorithm, data={"path": str(bad)}, run={"rollouts": 3})
    unknown = [line["unknown"] for line in lines(tmp_path)]
    assert len(unknown) == 3 and sum(unknown) == pytest.approx(3 * 4 / 12), unknown
    assert all(math.isfinite(line["reward"]) for line in lines(tmp_path))


def test_an_adapter_is_trained_beside_the_policy_and_its_start_is_the_reference(
    tmp_path: Path, start: Path
) -> None:
    run(tmp_path, start, policy={"lora": {"rank": 4, "alpha": 8.0}}, run={"rollouts": 3})
    final = tmp_path / "run" / "final"
    assert json.loads((final / "adapter_config.json").read_text())["r"] == 4
    assert not (final / "model.safetensors").exists()
    curve = lines(tmp_path)
    assert curve[0]["kl"] == pytest.approx(0.0, abs=1e-6) and curve[-1]["kl"] != 0.0
    assert "adapter" in (final / "README.md").read_text()


def test_a_reward_model_pays_while_the_tests_watch(tmp_path: Path, start: Path) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

    from acetrain._reward_model._forms import Form
    from acetrain._reward_model._model import RewardModel

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(start)
    judge = Qwen3ForSequenceClassification(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            num_labels=1,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    with torch.no_grad():
        judge.score.weight.mul_(5)
    made = RewardModel(judge, tokenizer, form=Form("raw", "plain"))
    made.save(tmp_path / "judge")
    reward = {
        "kind": "model",
        "path": str(tmp_path / "judge"),
        "clip": 1.5,
        "mean": 0.25,
        "std": 2.0,
        "watch": True,
        "limits": {"cpu_s": 0.2},
        "shared": False,
        "workers": 1,
    }
    values = yaml.safe_load(recipe_file(tmp_path, start).read_text())
    values["reward"], values["run"]["completions"] = reward, True
    path = tmp_path / "model.yaml"
    path.write_text(yaml.safe_dump(values))
    from acetrain._rl._recipe import load_recipe
    from acetrain._rl._train import train

    train(load_recipe(path), tmp_path / "run", say=lambda text: None)
    curve = lines(tmp_path)
    assert len(curve) == 2 and all("pass_rate" in line for line in curve)
    assert all(line["reward_model_s"] > 0 and 0 <= line["score_clipped"] <= 1 for line in curve)

    import pyarrow.parquet as parquet

    table = parquet.read_table(sorted((tmp_path / "run" / "completions").glob("*.parquet"))[0]).to_pylist()
    scores = made.score(
        [
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
            for row in table
        ]
    )
    wanted = [min(1.5, max(-1.5, (score - 0.25) / 2.0)) for score in scores]
    assert [row["reward_model"] for row in table] == pytest.approx(wanted, abs=1e-4)
    assert curve[0]["reward"] == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)
    assert len({round(value, 3) for value in wanted}) > 3  # it told completions apart


def test_a_score_that_is_no_number_is_unknown_and_a_short_answer_is_our_fault() -> None:
    from acetrain._rl._reward import ModelReward

    class Scorer:
        def score(self, conversations: Any) -> list[float]:
            return [1.0, math.nan, math.inf, -30.0][: len(conversations)]

    logged: dict[str, float] = {}
    reward = ModelReward(Scorer(), clip=10.0)
    assert reward(["q"] * 4, ["a"] * 4, log_metric=logged.__setitem__) == [1.0, None, None, -10.0]
    assert logged["reward_model/unknown"] == 0.5 and logged["reward_model/clipped"] == 0.25
    with pytest.raises(ValueError, match="4 scores for 5"):
        reward(["q"] * 5, ["a"] * 5)


def test_a_prompt_and_its_completion_are_one_chat() -> None:
    from acetrain._rl._reward import chat

    asked = [{"role": "user", "content": "q"}]
    answer = [{"role": "assistant", "content": "a"}]
    whole = [*asked, *answer]
    assert chat("q", "a") == chat(asked, answer) == whole
    begun = [*asked, {"role": "assistant", "content": "```python\n"}]
    assert chat(begun, answer)[-1]["content"] == "```python\na"


def test_an_r1_start_asks_for_the_form_that_is_paid() -> None:
    from acetrain._rewards import has_r1_form
    from acetrain._rl._data import R1_SYSTEM, r1_prompt

    text = r1_prompt("Add two numbers.")
    assert R1_SYSTEM in text and "Add two numbers." in text and text.endswith("\n")
    chat = r1_prompt([{"role": "system", "content": "old"}, {"role": "user", "content": "Add."}])
    assert [one["role"] for one in chat] == ["system", "user"] and chat[0]["content"] == R1_SYSTEM
    for part in ("<think>", "</think>", "```python"):
        assert part in R1_SYSTEM
    assert has_r1_form("<think>I add.</think>\n```python\ndef f(a, b):\n    return a + b\n```")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"path": "nowhere.jsonl"}}, "nowhere.jsonl"),
        ({"policy": {"path": "/nowhere/policy"}}, "no policy there"),
        (
            {"rollout": {"questions": 16}, "update": {"batch": 64}},
            "12 questions, fewer than one rollout's 16",
        ),
        ({"rollout": {"prompt_tokens": 3}}, "longer than 3 tokens"),
        ({"data": {"skip_shown": True}}, "shown_tests"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    tmp_path: Path, start: Path, changes: dict[str, Any], message: str
) -> None:
    from acedata import BadInput

    with pytest.raises(BadInput, match=re.escape(message)):
        run(tmp_path, start, **changes)


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path: Path, start: Path) -> None:
    from acedata import BadInput

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        run(tmp_path, start)
    with pytest.raises(BadInput, match="no run to go on with"):
        run(tmp_path, start, resume=True)


def test_long_prompts_are_left_out_and_counted(tmp_path: Path, start: Path) -> None:
    rows = [json.loads(line) for line in (start / "questions.jsonl").read_text().splitlines()]
    rows[5]["prompt"] = rows[5]["prompt"] * 10
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run(tmp_path, start, data={"path": str(path)}, run={"rollouts": 1})
    assert "1 of 12 questions left out: prompts of more than 64 tokens" in said
    assert "11 of 12" in (tmp_path / "run" / "final" / "README.md").read_text()
