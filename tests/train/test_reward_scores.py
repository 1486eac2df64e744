"""Best of N by a reward model: what it is asked, that it is asked once, and what its numbers become."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BackendError, BadInput
from acetrain._benchmarks import Benchmark, open_benchmark
from acetrain._cli import main
from acetrain._reward_scores import Named, chat_of, scores_file
from acetrain._samples import Samples
from tests.train import published
from tests.train.model_answers import problem

NAMED = Named("rm", "somewhere", {})


class Lengths:
    """The longer the answer the better; counts what it was asked."""

    format = "raw"

    def __init__(self, *scores: float) -> None:
        self.chats: list[Sequence[Any]] = []
        self.scores = scores

    def rate(self, chats: Sequence[Any]) -> Sequence[float]:
        self.chats += chats
        return self.scores or [float(len(chat[-1]["content"])) for chat in chats]

    def close(self) -> None:
        pass


def made(path: Path, programs: dict[int, list[str]]) -> tuple[Benchmark, Samples]:
    bench = open_benchmark("humaneval", published.write(path / "b.jsonl", [problem(n) for n in programs]))
    rows = [
        {"task_id": f"HumanEval/{n}", "sample": text} for n, listed in programs.items() for text in listed
    ]
    return bench, Samples(published.write(path / "s.jsonl", rows), "HumanEval")


def rows(path: Path) -> list[list[float]]:
    return [json.loads(line)["scores"] for line in path.read_text().splitlines()]


def test_every_program_is_scored_once_and_what_has_none_is_below(tmp_path: Path) -> None:
    programs = {0: ["ab", "abcd", "", "ab"], 1: ["x"]}
    bench, samples = made(tmp_path, programs)
    rater = Lengths()
    path = scores_file(bench, samples, NAMED, tmp_path, opened=lambda: rater)
    assert rows(path) == [[2.0, 4.0, 1.0, 2.0], [1.0]]
    assert len(rater.chats) == 3, "the same program has one score"
    assert rater.chats[0][0]["content"] == problem(0)["prompt"].strip()
    samples.add_scores("rm", path)
    assert samples.score_names() == ["rm"]
    never = Lengths()
    assert rows(scores_file(bench, samples, NAMED, tmp_path, opened=lambda: never)) == rows(path)
    assert not never.chats, "what holds is not scored again"
    changed = Named("rm", "somewhere else", {})
    scores_file(bench, samples, changed, tmp_path, opened=lambda: never)
    assert len(never.chats) == 3, "another model's scores do not hold"


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    bench, samples = made(tmp_path, {n: [f"program {n}"] for n in range(4)})

    class Dying(Lengths):
        def rate(self, chats: Sequence[Any]) -> Sequence[float]:
            if len(self.chats) == 2:
                raise KeyboardInterrupt
            return super().rate(chats)

    first, second = Dying(), Lengths()
    with pytest.raises(KeyboardInterrupt):
        scores_file(bench, samples, NAMED, tmp_path, opened=lambda: first)
    journal = tmp_path / "humaneval.rm.scores.jsonl.journal"
    with journal.open("a") as file:
        file.write('{"task_id": "HumanEval/2", "scor')
    path = scores_file(bench, samples, NAMED, tmp_path, opened=lambda: second)
    assert [chat[1]["content"] for chat in second.chats] == ["program 2", "program 3"]
    assert rows(path) == [[9.0]] * 4 and not journal.exists()


@pytest.mark.parametrize("scores", [(1.0,), (1.0, float("nan")), (float("inf"), 0.0)])
def test_a_rater_that_gives_no_numbers_is_named(tmp_path: Path, scores: tuple[float, ...]) -> None:
    bench, samples = made(tmp_path, {0: ["a", "b"]})
    with pytest.raises(BadInput, match=r"rm gave .* of HumanEval/0"):
        scores_file(bench, samples, NAMED, tmp_path, opened=lambda: Lengths(*scores))


def test_pairs_are_shown_as_they_were_in_training(tmp_path: Path) -> None:
    row = {"task_id": 1, "text": "Do it.", "code": "f = 1", "test_list": ["assert f(1) == 1", "assert f(2)"]}
    [asked] = open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", [row]))
    from acedata._formats import answer_text, render

    user, assistant = chat_of(asked, "def f(x): pass", "pair-1")
    # The published format has one more line break before the closing fence.
    assert user["content"] == render("pair-1", "Do it.", row["test_list"]).user.replace(
        '"""\n\n```', '"""\n```'
    )
    assert assistant["content"] == answer_text("pair-1", "def f(x): pass")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rm", "expected NAME=MODEL"),
        ("a/b=x", "plain name"),
        ("rm=x,size=3", "'size' is no option"),
        ("rm=x,format=free", "no format 'free'"),
        ("rm=x,max_length=long", "whole number"),
        ("rm=http://h/pooling,device=cpu", "'device' is no option"),
    ],
)
def test_a_name_that_says_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Named.read(text)


# ---- endpoints ----


@contextmanager
def served(answer: Any, fails: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """A server whose answers are `answer(path, body)`; the first `fails` requests get a 503."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            status, value = (503, {}) if len(asked) <= fails else (200, answer(self.path, body))
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def by_length(path: str, body: dict[str, Any]) -> dict[str, Any]:
    text = body["messages"][-1]["content"]
    key = "probs" if path.endswith("classify") else "data"
    scores: Any = [float(len(text))]
    return {"object": "list", "data": [{"index": 0, key: [[0.5], scores] if "three" in text else scores}]}


@pytest.mark.parametrize("form", ["pooling", "classify"])
def test_vllm_is_asked_for_raw_scores_of_chats(tmp_path: Path, form: str) -> None:
    bench, samples = made(tmp_path, {0: ["one", "three", "seventeen"]})
    with served(by_length, fails=1) as (url, asked):
        rater = Named.read(f"rm={url}/{form},model=m").open()
        path = scores_file(bench, samples, NAMED, tmp_path, opened=lambda: rater)
        rater.close()
    assert rows(path) == [[3.0, 5.0, 9.0]]
    assert all(body["model"] == "m" and body["use_activation"] is False for body in asked)


def test_an_endpoint_that_says_nothing_useful_is_named(tmp_path: Path) -> None:
    bench, samples = made(tmp_path, {0: ["one"]})
    for answer in ({}, {"data": []}, {"data": [{"data": ["high"]}]}, []):
        with served(lambda path, body, answer=answer: answer) as (url, _):
            rater = Named.read(f"rm={url}/pooling").open()
            with pytest.raises(BackendError, match="pooling"):
                scores_file(bench, samples, NAMED, tmp_path, opened=lambda rater=rater: rater)
            rater.close()
    with pytest.raises(BadInput, match="name the model's tokenizer"):
        Named.read("rm=http://127.0.0.1:9/get_reward").open()


def test_the_command_chooses_by_the_reward_model(tmp_path: Path) -> None:
    right, wrong = "def f1(x):\n    return x + 1  # surely", "def f1(x):\n    return x"
    _, samples = made(tmp_path, {1: [wrong, right, wrong, wrong]})
    with served(by_length) as (url, asked):
        line = ["evaluate", "-b", f"humaneval={tmp_path / 'b.jsonl'}", "--samples", samples.path]
        line += ["--rm", f"long={url}/pooling", "--out", str(tmp_path / "out"), "--workers", "1"]
        assert main(line) == 0 and len(asked) == 2
        assert main(line) == 0 and len(asked) == 2, "scores are kept"
    [found] = json.loads((tmp_path / "out" / "report.json").read_text())["evaluations"]
    best = {k: cell["value"] for k, cell in found["headline"]["best_of"]["long"].items()}
    assert best == {"1": pytest.approx(0.25), "2": pytest.approx(0.5), "4": pytest.approx(1.0)}


# ---- models ----


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sequence classifier of random weights, as anybody's reward model is saved."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForSequenceClassification

    known = ["<pad>", "<eos>", "<unk>", *map(chr, range(10, 127))]
    plain = Tokenizer(models.WordLevel({text: n for n, text in enumerate(known)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<eos>{% endfor %}"
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(known),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        num_labels=1,
    )
    path = tmp_path_factory.mktemp("classifier")
    Qwen3ForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def test_any_sequence_classifier_chooses(classifier: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    programs = {n: [f"def f{n}(x):\n    return x + {k}" for k in (n, n + 1, n + 2)] for n in range(2)}
    bench, samples = made(tmp_path, programs)
    line = ["evaluate", "-b", f"humaneval={tmp_path / 'b.jsonl'}", "--samples", samples.path]
    for format in ("raw", "pair-1"):
        rm = f"rm-{format}={classifier},format={format},device=cpu"
        assert main([*line, "--rm", rm, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
        said = rows(tmp_path / "out" / f"humaneval.rm-{format}.scores.jsonl")
        model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(classifier)
        for asked, listed in zip(bench, said, strict=True):
            for program, score in zip(programs[int(asked.task_id[-1])], listed, strict=True):
                text = tokenizer.apply_chat_template(list(chat_of(asked, program, format)), tokenize=False)
                ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
                with torch.inference_mode():
                    assert score == pytest.approx(float(model(ids).logits[0, 0]), abs=1e-5)


def test_openrlhfs_form_sends_whole_texts(classifier: str, tmp_path: Path) -> None:
    bench, samples = made(tmp_path, {0: ["ab", "abcd"]})
    with served(lambda path, body: {"rewards": [float(len(text)) for text in body["query"]]}) as (url, asked):
        rater = Named.read(f"rm={url}/get_reward,tokenizer={classifier}").open()
        path = scores_file(bench, samples, NAMED, tmp_path, opened=lambda: rater)
        rater.close()
    [body] = asked
    assert body["query"][1] == f"[user]{problem(0)['prompt'].strip()}<eos>[assistant]abcd<eos>"
    assert rows(path) == [[float(len(text)) for text in body["query"]]]
