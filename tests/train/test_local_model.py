"""Plain generation with transformers: what comes out is what the model says, whatever stands beside it in a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BackendError, BadInput
from acetrain._benchmarks import open_benchmark
from acetrain._cli import main
from acetrain._generate import Asked, generate
from acetrain._local_model import TransformersBackend
from tests.train import published
from tests.train.model_answers import problem

LETTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n.,:;=+-*/'\"()[]{}<>|`_#!?%&$@\\^~"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A model of random weights with a tokenizer of single characters, saved as any model is."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    known = ["<pad>", "<eos>", "<unk>", *LETTERS]
    plain = Tokenizer(models.WordLevel({text: n for n, text in enumerate(known)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    # A line break after a tag of the template language would be taken off.
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\\n[assistant]' }}{% endif %}"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(known),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            max_position_embeddings=600,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
            initializer_range=0.6,
        )
    )
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    yield str(path)
    torch.set_num_threads(threads)


def texts(folder: str, path: Path, problems: int, batch: int, **more: Any) -> list[tuple[str, str]]:
    bench = open_benchmark(
        "humaneval", published.write(path / "b.jsonl", [problem(n) for n in range(problems)])
    )
    asked = Asked(folder, backend="transformers", max_tokens=12, options={"batch_size": batch}, **more)
    found = generate([bench], asked, path / f"out-{batch}", path / f"store-{batch}-{problems}")
    rows = map(json.loads, found["humaneval"].path.read_text().splitlines())
    return [(row["task_id"], row["sample"]) for row in rows]


def test_a_greedy_answer_is_the_models_most_likely_text_in_every_batch(folder: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Ten short prompts and two longer ones, shortest first: the second batch of seven is padded.
    alone, together = texts(folder, tmp_path, 12, 1), texts(folder, tmp_path, 12, 7)
    assert alone == together and len({text for _, text in alone}) > 1
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    [first, *_] = open_benchmark("humaneval", tmp_path / "b.jsonl")
    chat = "[user]" + Asked(folder, backend="transformers").chat(first)[0]["content"]
    chat += "\n[assistant]" + Asked(folder, backend="transformers").chat(first)[1]["content"]
    ids = tokenizer(chat, add_special_tokens=False, return_tensors="pt")["input_ids"]
    for _ in range(12):
        with torch.inference_mode():
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    said = tokenizer.decode(ids[0, -12:]).partition("<eos>")[0]
    assert alone[0] == ("HumanEval/0", said)


def test_samples_differ_and_the_same_batches_give_the_same_ones(folder: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"n": 3, "greedy": False, "temperature": 1.0}
    first = texts(folder, tmp_path / "a", 2, 4, **options) if (tmp_path / "a").mkdir() is None else []
    (tmp_path / "b").mkdir()
    assert texts(folder, tmp_path / "b", 2, 4, **options) == first
    assert len(set(first)) > 3


def test_a_prompt_that_is_too_long_is_told(folder: str, tmp_path: Path) -> None:
    row = {**problem(0), "prompt": problem(0)["prompt"] + "#" * 700}
    bench = open_benchmark("humaneval", published.write(tmp_path / "b.jsonl", [row, problem(1)]))
    asked = Asked(folder, backend="transformers", max_tokens=4)
    found = generate([bench], asked, tmp_path, tmp_path / "store")["humaneval"]
    assert found.figures["ended"]["context too long"] == 1
    assert any("does not fit into the model's context" in note for note in found.notes)


def test_what_cannot_be_loaded_and_options_that_there_are_not(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackendError, match="cannot load"):
        texts(str(tmp_path / "empty"), tmp_path, 1, 2)
    with pytest.raises(BadInput, match="'batchsize'; there are batch_size"):
        TransformersBackend(folder, {"batchsize": 2})


def test_the_command_evaluates_a_local_model(folder: str, tmp_path: Path) -> None:
    bench = published.write(tmp_path / "b.jsonl", [problem(n) for n in range(2)])
    line = ["evaluate", "-b", f"humaneval={bench}", "--model", folder, "--backend", "transformers", "-n", "2"]
    line += ["--max-tokens", "6", "--engine-option", "batch_size=4", "--out", str(tmp_path / "out")]
    assert main([*line, "--workers", "1"]) == 0
    [found] = json.loads((tmp_path / "out" / "report.json").read_text())["evaluations"]
    assert [len(task["passed"]) for task in found["tasks"]] == [2, 2] and found["generated"]["answers"] == 6
