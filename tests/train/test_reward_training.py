"""Training a reward model: the loss is Bradley-Terry to float64's last digits, questions are held out and not pairs,
every pair is accounted for, and an export becomes a model that scores as it did when it was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers.utils import logging as hf_logging

from acedata._errors import BadInput, RecipeError
from acedata._export import export
from acedata._formats import answer_text, render
from acetrain import RewardModel
from acetrain._cli import main
from acetrain._reward_model import _report
from acetrain._reward_model._forms import Form
from acetrain._reward_model._pairs import Counts, Pair, Tokens, read_pairs, tokenize
from acetrain._reward_model._recipe import TrainConfig, load_recipe, parse_recipe, shipped_recipes
from acetrain._reward_model._train import launch_file, make_trainer, train
from tests.data.builds import make_build
from tests.train.reward_models import tokenizer

TINY = TrainConfig(
    epochs=1.0,
    learning_rate=0.001,
    global_batch=4,
    device_batch=4,
    precision="float32",
    gradient_checkpointing=False,
    cpu=True,
    threads=1,
    log_steps=1,
    seed=3,
)


@pytest.fixture(autouse=True, scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield
    torch.set_num_threads(before)
    hf_logging.enable_progress_bar()
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    return export(make_build(place / "build"), place / "data", validation=0.1).path


# ---- the loss ----


def classifier(seed: int = 0) -> Any:
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    torch.manual_seed(seed)
    return Qwen3ForSequenceClassification(
        Qwen3Config(
            vocab_size=64,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=64,
            num_labels=1,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
            initializer_range=0.4,
        )
    )


PAIRS = Tokens(
    chosen=[[5, 6, 7, 8, 1], [9, 10, 1], [11, 0, 12, 13, 14, 15, 16, 1], [17, 1]],
    rejected=[[5, 6, 9, 1], [9, 20, 21, 22, 23, 24, 1], [11, 0, 12, 30, 1], [17, 18, 1]],
    margin=[0.4, 0.9, 0.55, 0.7],
    key=["a", "b", "c", "d"],
)


@pytest.mark.parametrize("scale", [None, 1.0, 2.5])
def test_loss_and_gradients_are_bradley_terrys(tmp_path: Path, scale: float | None) -> None:
    """One batch through TRL's collator and loss, padded, in float64; against rows one by one, unpadded, and the formula
    −mean log σ(chosen − rejected − margin) with its derivative in NumPy."""
    model = classifier().double()
    trainer = make_trainer(model, tokenizer(), PAIRS, TINY, tmp_path, margin_scale=scale, save=False)
    rows = [trainer.train_dataset[place] for place in range(4)]
    batch = trainer.data_collator(rows)
    if scale is not None:
        batch["margin"] = batch["margin"].double()
    model.train()
    model.zero_grad()
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}

    model.zero_grad()
    states = [
        model.model(torch.tensor([row])).last_hidden_state[0, -1] for row in (*PAIRS.chosen, *PAIRS.rejected)
    ]
    scores = np.array([float((state @ model.score.weight[0]).detach()) for state in states])
    # TRL makes margins float32 tensors: that much of them is data, not arithmetic.
    margins = np.array([np.float32((scale or 0.0) * margin) for margin in PAIRS.margin], np.float64)
    gap = scores[:4] - scores[4:] - margins
    expected = float(np.mean(np.log1p(np.exp(-gap))))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)

    slope = -1 / (1 + np.exp(gap)) / 4  # of the loss by each chosen score
    slopes = torch.tensor(np.concatenate([slope, -slope]))
    ends = torch.stack(states)
    head = (slopes @ ends.detach()).numpy()
    assert np.max(np.abs(found["score.weight"][0].numpy() - head)) <= 1e-6 * np.max(np.abs(head))
    (ends @ model.score.weight[0] @ slopes).backward()
    for name, weight in model.named_parameters():
        if name == "score.weight":
            continue
        error = (found[name] - weight.grad).abs().max() / weight.grad.abs().max()
        assert float(error) <= 1e-6, name


def test_a_margin_is_in_the_loss(tmp_path: Path) -> None:
    def loss(scale: float | None) -> float:
        trainer = make_trainer(
            classifier(), tokenizer(), PAIRS, TINY, tmp_path, margin_scale=scale, save=False
        )
        return float(
            trainer.compute_loss(
                trainer.model, trainer.data_collator([trainer.train_dataset[place] for place in range(4)])
            ).detach()
        )

    assert loss(None) < loss(1.0) < loss(3.0)


def test_a_batch_that_does_not_come_out_even_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(BadInput, match="4 × 3"):
        make_trainer(classifier(), tokenizer(), PAIRS, TINY, tmp_path, save=False)


# ---- pairs ----


def rows(count: int, per: int = 3) -> list[dict[str, Any]]:
    out = []
    for question in range(count):
        for number in range(per):
            asked = render("pair-1", f"Question {question}.", [f"assert f({number}) == 1"]).user
            out.append(
                {
                    "instruction": asked,
                    "input": "",
                    "chosen": answer_text("pair-1", f"def f(x):\n    return {number}"),
                    "rejected": answer_text("pair-1", "def f(x):\n    return None"),
                    "id": len(out),
                }
            )
    return out


def written(path: Path, lines: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_questions_are_held_out_not_pairs(tmp_path: Path) -> None:
    counts = Counts()
    source = written(tmp_path / "pairs.jsonl", rows(200))
    kept, held = read_pairs(source, Form("pair-1"), 0.2, counts)
    # The test that is shown differs from pair to pair: it is no part of what makes a question.
    assert {pair.key for pair in kept}.isdisjoint({pair.key for pair in held})
    assert counts.held_out_questions == len(held) / 3 and 20 <= counts.held_out_questions <= 60
    assert counts.read == counts.train + counts.held_out == 600
    again, _ = read_pairs(written(tmp_path / "more.jsonl", rows(260)), Form("pair-1"), 0.2, Counts())
    assert {pair.key for pair in held}.isdisjoint({pair.key for pair in again})  # more data moves no question


def test_an_exports_own_validation_split_is_what_is_held_out(exported: Path) -> None:
    counts = Counts()
    kept, held = read_pairs(str(exported), Form("pair-1"), 0.9, counts)
    assert (counts.read, counts.train, counts.held_out) == (96, 80, 16)
    assert all(pair.margin is not None and pair.margin > 0 for pair in (*kept, *held))
    again = read_pairs(str(exported / "pairs"), Form("pair-1"), 0.9, Counts())
    assert (kept, held) == again


def test_a_training_pair_of_a_validation_question_is_dropped_and_counted(tmp_path: Path) -> None:
    for split, lines in (("train", rows(10)), ("validation", rows(2))):
        (tmp_path / "extended" / split).mkdir(parents=True)
        written(tmp_path / "extended" / split / "x.jsonl", lines)
    counts = Counts()
    kept, held = read_pairs(str(tmp_path), Form("pair-1"), 0.0, counts)
    assert (counts.shared, len(kept), len(held)) == (6, 24, 6)


def test_a_pair_of_the_same_text_is_dropped_and_counted(tmp_path: Path) -> None:
    lines = rows(3)
    lines[4]["rejected"] = lines[4]["chosen"]
    counts = Counts()
    kept, _ = read_pairs(written(tmp_path / "p.jsonl", lines), Form("pair-1"), 0.0, counts)
    assert (counts.same, len(kept)) == (1, 8)


def test_the_raw_format_is_the_question_and_the_program_alone(tmp_path: Path) -> None:
    kept, _ = read_pairs(written(tmp_path / "p.jsonl", rows(1)), Form("raw"), 0.0, Counts())
    assert (kept[0].question, kept[0].chosen) == ("Question 0.", "def f(x):\n    return 0")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chosen": None}, "line 2: chosen is None; expected text"),
        ({"rejected": 3}, "line 2: rejected is 3; expected text"),
        ({"instruction": " "}, "line 2: instruction is ' '; expected text"),
        ({"margin": "much"}, "line 2: margin is 'much'"),
        ({"margin": 7.0}, "line 2: margin is 7.0"),
        ({"format": "sample-2"}, "line 2: the pair's format is 'sample-2'"),
    ],
)
def test_a_row_that_is_no_pair_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    lines = rows(1)
    lines[1] |= change
    with pytest.raises(BadInput, match=said):
        read_pairs(written(tmp_path / "p.jsonl", lines), Form("pair-1"), 0.0, Counts())


def test_other_bad_sources_are_named(tmp_path: Path) -> None:
    lines = rows(1)
    del lines[0]["chosen"]
    with pytest.raises(BadInput, match="line 1: chosen is missing"):
        read_pairs(written(tmp_path / "p.jsonl", lines), Form("pair-1"), 0.0, Counts())
    with pytest.raises(BadInput, match="there is no file"):
        read_pairs(str(tmp_path / "none.jsonl"), Form("pair-1"), 0.0, Counts())
    with pytest.raises(BadInput, match="there is no pair to train on"):
        read_pairs(written(tmp_path / "e.jsonl", []), Form("pair-1"), 0.0, Counts())
    lines = rows(1)
    lines[2]["instruction"] = "free text"
    with pytest.raises(BadInput, match="line 3, chosen: the instruction is not in the format pair-1"):
        read_pairs(written(tmp_path / "f.jsonl", lines), Form("raw"), 0.0, Counts())


def pair(question: str, chosen: str, rejected: str) -> Pair:
    return Pair(question, question, chosen, rejected, None, "here line 1")


def test_texts_are_the_templates_and_sides_stay_where_they_are() -> None:
    speaks = tokenizer()
    one = Pair("k", "w1 w2", "w3", "w4 w5", 0.5, "here")
    tokens = tokenize([one], speaks, Form("raw", "chat"), 99, "drop", Counts(), "train")
    # "user" and "assistant" are in no vocabulary of these tests, so they are w0.
    start, end = "<|im_start|> w0 w1 w2 <|im_end|> <|im_start|> w0", "<|im_end|>"
    assert speaks.decode(tokens.chosen[0]) == f"{start} w3 {end}"
    assert speaks.decode(tokens.rejected[0]) == f"{start} w4 w5 {end}"
    assert (tokens.margin, tokens.key) == ([0.5], ["k"])


def test_long_pairs_are_cut_or_dropped_and_counted_either_way() -> None:
    long = pair("w1 " * 5, "w2 " * 40, "w3 " * 20)
    short = pair("w1", "w2", "w3")
    for what, used in (("truncate", 2), ("drop", 1)):
        counts = Counts()
        tokens = tokenize([long, short], tokenizer(), Form("raw", "chat"), 32, what, counts, "train")
        assert (counts.too_long, len(tokens), counts.used) == (1, used, {"train": used})
        assert counts.longest == 5 + 40 + 6
        assert max(map(len, [*tokens.chosen, *tokens.rejected])) <= 32
        counts.train = 2
        said = {"truncate": "were cut", "drop": "were dropped"}[what]
        assert f"1 (50.00%) with a text over the limit {said}; the longest has 51 tokens" in counts.lines()
    alike = pair("w1", "w2 " * 40 + "w3", "w2 " * 40 + "w4")
    counts = Counts()
    assert len(tokenize([alike], tokenizer(), Form("raw"), 32, "truncate", counts, "train")) == 0
    assert counts.alike == 1


def test_a_text_that_ends_with_the_padding_token_is_refused() -> None:
    speaks = tokenizer()
    speaks.pad_token = "<eos>"
    with pytest.raises(BadInput, match="here line 1: the text ends with the padding token '<eos>'"):
        tokenize([pair("w1 ", "w2 ", "w3 ")], speaks, Form("raw", "plain"), 32, "drop", Counts(), "train")


# ---- recipes ----


def test_shipped_recipes_are_the_published_hyper_parameters() -> None:
    assert sorted(shipped_recipes()) == ["rm-32b", "rm-32b-lora", "rm-7b", "rm-7b-lora", "rm-tiny"]
    for name, length, each in (("rm-7b", 2048, 4), ("rm-32b", 1024, 1)):
        recipe = load_recipe(name)
        assert recipe.model.path == f"Qwen/Qwen2.5-Coder-{name[3:].upper()}-Instruct"
        assert (recipe.data.max_length, recipe.data.too_long) == (length, "truncate")
        assert (recipe.data.format, recipe.data.template, recipe.data.held_out) == ("pair-1", "chat", 0.005)
        settings = recipe.train
        assert (settings.epochs, settings.learning_rate, settings.schedule) == (1.0, 1e-5, "cosine")
        assert (settings.warmup, settings.global_batch, settings.device_batch) == (0.1, 128, each)
        assert (settings.precision, recipe.launch.zero, recipe.launch.gpus) == ("bf16", 3, 8)
        adapter = load_recipe(f"{name}-lora")
        assert adapter.lora is not None and adapter.launch.gpus == 1 and adapter.model.load == "bfloat16"


MINIMAL = "name: x\nmodel:\n  path: m\ndata:\n  path: d\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "train:\n  epoch: 1.0\n", "r.yaml:7: train.epoch is no setting; did you mean epochs?"),
        (MINIMAL + "  max_length: 2k\n", "r.yaml:6: data.max_length is '2k'; expected a whole number"),
        (
            MINIMAL + "  format: pair1\n",
            "r.yaml:6: data.format is 'pair1'; expected pair-1 or raw; did you mean pair-1?",
        ),
        (
            MINIMAL + "train:\n  learning_rate: 1e-5\n",
            "r.yaml:7: train.learning_rate is '1e-5'; expected a number; YAML",
        ),
        (MINIMAL + "  held_out: 1.0\n", "r.yaml:6: data.held_out is 1.0; expected less than 1"),
        (MINIMAL.replace("  path: m", "  {}"), "r.yaml"),
        (
            MINIMAL + "train:\n  device_batch: 3\n",
            "train.global_batch is 128; expected a multiple of device_batch = 3",
        ),
        (MINIMAL + "train:\n  cpu: true\n", "train.precision is bf16; expected float32"),
        (MINIMAL + "  margin_scale: 2.0\n", "r.yaml:6: data.margin_scale means nothing without"),
        ("name: x\nmodel: {}\ndata:\n  path: d\n", "r.yaml:2: model needs either `path` or `scratch`"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, Path("r.yaml"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_launch_file_is_what_accelerate_reads(tmp_path: Path) -> None:
    from accelerate import DistributedType
    from accelerate.commands.config.config_args import load_config_from_file

    file = tmp_path / "accelerate.yaml"
    file.write_text(launch_file(load_recipe("rm-7b")))
    config = load_config_from_file(str(file))
    assert (config.num_processes, config.mixed_precision) == (8, "bf16")
    assert config.distributed_type == DistributedType.DEEPSPEED
    assert config.deepspeed_config["zero_stage"] == 3 and config.deepspeed_config["zero3_init_flag"] is True
    assert config.deepspeed_config["gradient_accumulation_steps"] == 4
    file.write_text(launch_file(load_recipe("rm-tiny")))
    assert load_config_from_file(str(file)).use_cpu is True


# ---- from an export to a model ----


@pytest.fixture(scope="module")
def trained(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "out"
    assert main(["rm", "train", "rm-tiny", "--pairs", str(exported), "--out", str(out)]) == 0
    return out


def test_an_export_becomes_a_model_a_log_and_a_report(trained: Path, exported: Path) -> None:
    report = json.loads((trained / "report.json").read_text())
    assert (report["pairs"], report["counts"]["train"], report["counts"]["held_out"]) == (16, 80, 16)
    assert sum(one["pairs"] for one in report["by"]["margin"]) == 16
    assert sum(one["pairs"] for one in report["by"]["length"]) == 16
    assert "| all | 16 |" in (trained / "report.md").read_text()
    assert (trained / "report.svg").read_text().startswith("<svg")
    assert any("loss" in line for line in json.loads((trained / "log.json").read_text()))
    card = (trained / "model" / "README.md").read_text()
    assert "format `pair-1`, template `chat`" in card and "80 of 31 questions to train on" in card
    recipe = load_recipe(trained / "recipe.yaml")
    assert recipe.data.path == str(exported)


def test_the_saved_model_scores_as_the_trained_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((trained / "report.json").read_text())
    assert main(["rm", "report", str(trained / "model"), "--out", str(tmp_path), "--device", "cpu"]) == 0
    after = json.loads((tmp_path / "report.json").read_text())
    assert after["scores"]["chosen"]["mean"] == pytest.approx(before["scores"]["chosen"]["mean"], abs=1e-6)
    assert after["accuracy"] == before["accuracy"]
    capsys.readouterr()


def test_scores_of_a_file(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answers.jsonl"
    lines: list[dict[str, Any]] = [
        {
            "id": 7,
            "question": "Add one.",
            "program": "def f(x):\n    return x",
            "tests": ["assert f(1) == 2"],
        },
        {
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "task_id": "t",
        },
        {"text": "as it is"},
    ]
    written(file, lines)
    assert main(["rm", "score", str(trained / "model"), str(file), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [set(one) for one in found] == [{"id", "score"}, {"task_id", "score"}, {"score"}]
    assert "format pair-1, template chat" in err and "3 scored" in err
    model = RewardModel.load(trained / "model", device="cpu")
    assert model.score_programs("Add one.", ["def f(x):\n    return x"], tests=["assert f(1) == 2"])[
        0
    ] == pytest.approx(found[0]["score"], abs=1e-5)
    for bad, said in (
        ("{}", "answers.jsonl:1: needs `messages`"),
        ("[1]", "answers.jsonl:1: must be an object"),
        ("{", "answers.jsonl:1: no JSON"),
        ('"\udcff"', "answers.jsonl:1: no JSON"),
        ('{"messages": [{"role": "user"}]}', "answers.jsonl:1: messages must be objects"),
    ):
        file.write_text(bad + "\n", errors="surrogateescape")
        assert main(["rm", "score", str(trained / "model"), str(file), "--device", "cpu"]) == 2
        assert said in capsys.readouterr().err


def test_conversion_on_the_command_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rm", "convert", str(trained / "model"), str(tmp_path / "p"), "--to", "published"]) == 0
    model, other = (RewardModel.load(path, device="cpu") for path in (trained / "model", tmp_path / "p"))
    assert other.form == model.form == Form("pair-1", "chat")
    assert other.score(["a b c"]) == pytest.approx(model.score(["a b c"]), abs=1e-5)
    assert main(["rm", "convert", str(trained / "model"), str(tmp_path / "q"), "--to", "onnx"]) == 2
    assert main(["rm", "convert", str(tmp_path), str(tmp_path / "q"), "--to", "published"]) == 2
    assert "config.json: cannot be read" in capsys.readouterr().err


def test_prepare_counts_and_stops(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rm", "train", "rm-tiny", "--pairs", str(exported), "--out", str(tmp_path), "--prepare"]
    assert main(words) == 0
    assert "16 of 4 questions held out" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "accelerate.yaml",
        "pairs.json",
        "recipe.yaml",
    ]
    assert main([*words[:-1], "--resume"]) == 2
    assert "no checkpoint to go on from" in capsys.readouterr().err


def test_a_model_is_not_trained_over_another(
    trained: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rm", "train", "rm-tiny", "--pairs", str(exported), "--out", str(trained)]) == 2
    assert "a model is not trained over another" in capsys.readouterr().err


def test_a_stopped_training_goes_on_to_the_same_model(exported: Path, tmp_path: Path) -> None:
    text = load_recipe("rm-tiny").text
    text = text.replace("epochs: 1.0", "epochs: 2.0").replace("save_steps: 100", "save_steps: 3")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text.replace("path: acecode-dataset", f"path: {exported}"))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train(load_recipe(recipe), whole) is not None
    assert sorted(path.name for path in whole.glob("checkpoint-*")) == [
        "checkpoint-10",
        "checkpoint-3",
        "checkpoint-6",
        "checkpoint-9",
    ]
    # What a run that was killed while it wrote checkpoint-9 leaves: there is no state in it yet.
    shutil.copytree(
        whole, stopped, ignore=shutil.ignore_patterns("model", "report.*", "checkpoint-10", "log.json")
    )
    (stopped / "checkpoint-9" / "trainer_state.json").unlink()

    recipe.write_text(recipe.read_text().replace("learning_rate: 0.001", "learning_rate: 0.002"))
    with pytest.raises(BadInput, match=r"was begun with train\.learning_rate: 0\.001, not 0\.002"):
        train(load_recipe(recipe), stopped, resume=True)
    recipe.write_text(recipe.read_text().replace("learning_rate: 0.002", "learning_rate: 0.001"))
    assert train(load_recipe(recipe), stopped, resume=True) is not None
    assert (stopped / "model" / "model.safetensors").read_bytes() == (
        whole / "model" / "model.safetensors"
    ).read_bytes()
    steps = [line["step"] for line in json.loads((stopped / "log.json").read_text()) if "loss" in line]
    assert steps == [5, 10]


def test_an_adapter_with_a_margin_is_trained_saved_and_merged(
    trained: Path, exported: Path, tmp_path: Path
) -> None:
    text = f"""
name: adapter
model: {{path: {trained / "model"}}}
data: {{path: {exported}, margin: pass_rates, too_long: drop, limit: 24}}
train: {{learning_rate: 0.01, global_batch: 8, device_batch: 8, precision: float32, gradient_checkpointing: false,
  cpu: true, threads: 1}}
lora: {{rank: 4, alpha: 8.0}}
"""
    report = train(parse_recipe(text), tmp_path / "out")
    assert report is not None
    base, adapted = (
        RewardModel.load(path, device="cpu") for path in (trained / "model", tmp_path / "out" / "model")
    )
    assert adapted.form == Form("pair-1", "chat")
    assert adapted.score(["a b c"]) != pytest.approx(base.score(["a b c"]), abs=1e-4)
    held = tokenize(
        read_pairs(str(exported), adapted.form, 0.0, Counts(), limit=24)[1],
        adapted.tokenizer,
        adapted.form,
        2048,
        "drop",
        Counts(),
        "held out",
    )
    again = _report.make_report(adapted, held)
    assert again["scores"]["chosen"]["mean"] == pytest.approx(report["scores"]["chosen"]["mean"], abs=1e-5)


def test_a_margin_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "pairs.jsonl", rows(3))
    with pytest.raises(BadInput, match="has no margin"):
        train(load_recipe("rm-tiny", data__path=source, data__margin="pass_rates"), tmp_path / "out")


# ---- the report ----


def test_the_report_counts_ties_margins_and_lengths() -> None:
    pairs = Tokens(
        chosen=[[1] * 100, [1] * 200, [1] * 300, [1] * 2000],
        rejected=[[1] * 100, [1] * 100, [1] * 400, [1] * 10],
        margin=[0.4, 0.8 - 0.4, 0.55, 1.0],
        key=["a", "a", "b", "c"],
    )
    found = _report.report_on([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 5.0, 1.0], pairs)
    assert found["accuracy"]["value"] == 0.625 and found["ties"] == 1 and found["questions"] == 3
    assert found["by"]["margin"] == [
        {"label": "0.4 – 0.5", "pairs": 2, "accuracy": 0.75},
        {"label": "0.5 – 0.6", "pairs": 1, "accuracy": 0.0},
        {"label": "≥ 0.9", "pairs": 1, "accuracy": 1.0},
    ]
    assert [(one["label"], one["pairs"]) for one in found["by"]["length"]] == [
        ("1 – 128 tokens", 1),
        ("129 – 256 tokens", 1),
        ("257 – 512 tokens", 1),
        ("> 1024 tokens", 1),
    ]
    assert found["always_longer"] == 0.625  # two longer, one as long, one shorter
    gaps = np.array([1.0, 0.0, -2.0, 3.0])
    assert found["loss"] == pytest.approx(float(np.mean(np.log1p(np.exp(-gaps)))))
