"""A reward model's score is one number whatever form the weights have, however the batch is padded and whatever the
text holds; conversion changes names and nothing else; what is no reward model is refused with the place."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging as hf_logging

from acedata._errors import BadInput
from acedata._formats import render
from acetrain import RewardModel
from acetrain._reward_model._files import inspect
from acetrain._reward_model._forms import Form, cut
from acetrain._reward_model._model import convert_model
from tests.train.reward_models import EOS, PAD, as_published, config_of, published, tokenizer

BIAS = 12.5
# Ragged; the padding token first, in the middle, and last.
ROWS = [
    [5, 9, 11, EOS],
    [7],
    [12, 13, PAD, 14, PAD, PAD, 15, EOS],
    [PAD, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, EOS],
    [40, 41, PAD],
    [50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 50, 51, 52, 53, 54, 55, 56, 57],
    [PAD, PAD],
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()
    yield
    torch.set_num_threads(before)
    hf_logging.enable_progress_bar()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("rm") / "published", BIAS)


def loaded(path: Path, **options: Any) -> RewardModel:
    """As `load`, with a tokenizer that transformers does not rebuild: a qwen2 folder gets Qwen's own."""
    model = RewardModel.load(path, device="cpu", **options)
    model.tokenizer = tokenizer()
    return model


def padded(rows: list[list[int]], side: str) -> tuple[Any, Any]:
    width = max(map(len, rows)) + 3
    ids, mask = [], []
    for row in rows:
        fill = width - len(row)
        left, right = (
            (fill, 0) if side == "left" else (0, fill) if side == "right" else (fill // 2, fill - fill // 2)
        )
        ids.append([PAD] * left + row + [PAD] * right)
        mask.append([0] * left + [1] * len(row) + [0] * right)
    return torch.tensor(ids), torch.tensor(mask)


def far(found: list[float], expected: list[float]) -> float:
    """The largest difference, in standard deviations of the scores."""
    spread = statistics.pstdev(expected)
    assert spread > 0.1, "these scores are all the same: nothing would be shown"
    return max(abs(one - other) for one, other in zip(found, expected, strict=True)) / spread


@pytest.mark.parametrize("side", ["right", "left", "both"])
def test_every_form_scores_as_the_published_one(folder: Path, tmp_path: Path, side: str) -> None:
    convert_model(folder, tmp_path / "classifier", "classification")
    convert_model(tmp_path / "classifier", tmp_path / "back", "published")
    expected = as_published(folder, ROWS)
    assert min(expected) > 0 or max(expected) > 10  # the bias is in there
    for form in (folder, tmp_path / "classifier", tmp_path / "back"):
        model = loaded(form)
        assert model.bias == BIAS
        found = model.score_tokens(*padded(ROWS, side)).tolist()
        assert far(found, expected) <= 1e-4, form.name
        assert far(model.score_ids(ROWS), expected) <= 1e-4, form.name
    assert far(as_published(tmp_path / "back", ROWS), expected) <= 1e-4


def test_another_architecture_and_tied_embeddings(tmp_path: Path) -> None:
    source = published(tmp_path / "qwen3", -15.0, kind="qwen3", tied=True, seed=4)
    convert_model(source, tmp_path / "classifier", "classification")
    expected = as_published(source, ROWS)
    assert config_of(tmp_path / "classifier")["architectures"] == ["Qwen3ForSequenceClassification"]
    assert far(loaded(tmp_path / "classifier").score_ids(ROWS), expected) <= 1e-4


def test_transformers_own_head_gives_the_same_up_to_the_bias_where_no_text_ends_with_padding(
    folder: Path, tmp_path: Path
) -> None:
    convert_model(folder, tmp_path / "classifier", "classification")
    model = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "classifier", dtype=torch.float32
    ).eval()
    plain = [row for row in ROWS if row[-1] != PAD]
    for side in ("left", "right"):
        ids, mask = padded(plain, side)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits.squeeze(-1)
        found = [float(one) + BIAS for one in logits]
        assert far(found, as_published(folder, plain)) <= 1e-4, side
    # The trap that is documented: it reads such a text one token too early.
    ids, mask = padded([[40, 41, PAD]], "right")
    with torch.no_grad():
        early = float(model(input_ids=ids, attention_mask=mask).logits[0, 0]) + BIAS
    assert early == pytest.approx(as_published(folder, [[40, 41]])[0], abs=1e-3)
    assert early != pytest.approx(as_published(folder, [[40, 41, PAD]])[0], abs=1e-3)


def test_there_and_back_changes_no_weight(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    notes = convert_model(folder, tmp_path / "classifier", "classification")
    assert any("without the bias of 12.5" in note for note in notes)
    notes = convert_model(tmp_path / "classifier", tmp_path / "back", "published")
    assert any("no lm_head.weight" in note for note in notes)
    before, after = load_file(folder / "model.safetensors"), {}
    for file in (tmp_path / "back").glob("*.safetensors"):
        after |= load_file(file)
    assert set(before) - set(after) == {"lm_head.weight"}
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    index = json.loads((tmp_path / "back" / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == set(after)
    convert_model(tmp_path / "classifier", tmp_path / "whole", "published", lm_head=str(folder))
    tensors: dict[str, Any] = {}
    for file in (tmp_path / "whole").glob("*.safetensors"):
        tensors |= load_file(file)
    assert torch.equal(tensors["lm_head.weight"], before["lm_head.weight"])


def test_the_order_and_the_size_of_batches_change_no_score(folder: Path) -> None:
    model = loaded(folder)
    whole = model.score_ids(ROWS)
    model.batch_tokens = 1
    assert model.score_ids(ROWS) == pytest.approx(whole, abs=1e-4)
    assert model.score_ids(ROWS[::-1])[::-1] == pytest.approx(whole, abs=1e-4)


def test_a_chat_gets_the_template_and_a_text_is_taken_as_it_is(folder: Path) -> None:
    model = loaded(folder)
    chat = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3"}]
    text = "<|im_start|> user w1 w2 <|im_end|> <|im_start|> assistant w3 <|im_end|> "
    one, other, third = model.score([chat, text, "w1 w2 w3"])
    assert one == pytest.approx(other, abs=1e-4) and third != pytest.approx(one, abs=1e-2)
    plain = loaded(folder, template="plain")
    assert plain.score([chat]) == pytest.approx(plain.score(["w1 w2w3<eos>"]), abs=1e-4)


def test_programs_are_scored_in_the_format_the_model_wants(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    model = loaded(folder, format="pair-1")
    monkeypatch.setattr(model, "score", lambda chats: asked.extend(chats) or [0.0] * len(chats))
    model.score_programs("Add.", ["def f(): pass"], tests=["assert f() == 1", "assert f() == 2"])
    question, answer = asked[0]
    assert question["content"] == render("pair-1", "Add.", ["assert f() == 1"]).user
    assert answer["content"].endswith("```python\ndef f(): pass\n```")
    raw = loaded(folder)
    assert raw.form == Form("raw", "chat")  # as the published scoring example
    monkeypatch.setattr(raw, "score", lambda chats: asked.extend(chats) or [0.0] * len(chats))
    raw.score_programs("Add.", ["def f(): pass"])
    assert [one["content"] for one in asked[1]] == ["Add.", "def f(): pass"]


def test_a_text_over_the_limit_is_cut_said_and_counted(folder: Path) -> None:
    model = loaded(folder, max_length=6)
    with pytest.warns(UserWarning, match="of 22 tokens was cut to 6"):
        scores = model.score_ids([ROWS[5], ROWS[5][:6], ROWS[5]])
    assert model.cut == 2
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_cutting_keeps_the_beginning_of_both() -> None:
    ids = list(range(100))
    assert cut(ids, 10, 200) == ids
    assert cut(ids, 10, 50) == ids[:50]  # the end of the answer
    assert cut(ids, 90, 50) == [*ids[:40], *ids[90:]]  # the answer is short: the question gives
    assert cut(ids, 60, 50) == [*ids[:25], *ids[60:85]]  # both long: a half each


# peft 0.21 asks transformers 5.23 under the older name.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
def test_an_adapter_is_merged_when_it_is_loaded(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    source = published(tmp_path / "base", 3.0, kind="qwen3", seed=2)
    convert_model(source, tmp_path / "classifier", "classification")
    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier", dtype=torch.float32)
    adapter = get_peft_model(
        base,
        LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["score"]),
    )
    torch.manual_seed(1)
    for name, weight in adapter.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight.data, std=0.5)
    adapter.save_pretrained(tmp_path / "adapter")
    tokenizer().save_pretrained(tmp_path / "adapter")
    ids, mask = padded(ROWS[:4], "right")
    with torch.no_grad():
        expected = [float(one) for one in adapter.eval()(input_ids=ids, attention_mask=mask).logits]
    found = loaded(tmp_path / "adapter")
    assert found.score_ids(ROWS[:4]) == pytest.approx(expected, abs=1e-4)
    assert loaded(tmp_path / "classifier").score_ids(ROWS[:4]) != pytest.approx(expected, abs=1e-2)
    convert_model(tmp_path / "adapter", tmp_path / "merged", "classification")
    assert loaded(tmp_path / "merged").score_ids(ROWS[:4]) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(BadInput, match="merged first"):
        convert_model(tmp_path / "adapter", tmp_path / "no", "published")


def broken(folder: Path, tmp_path: Path, change: Any) -> Path:
    copy = tmp_path / "broken"
    shutil.copytree(folder, copy)
    change(copy)
    return copy


def no_head(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    for name in ("v_head.summary.weight", "v_head.summary.bias"):
        del tensors[name]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})


def half_a_backbone(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})


def strange_form(copy: Path) -> None:
    config = config_of(copy)
    config["acetrain_reward"] = {"format": "pair-7"}
    (copy / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_head, "Qwen2ForCausalLM, and its weights hold no v_head.summary.weight"),
        (half_a_backbone, "the weights lack model.layers.1.mlp.up_proj.weight"),
        (strange_form, "config.json: there is no format 'pair-7'"),
        (
            lambda copy: (copy / "model.safetensors").write_bytes(b"no weights"),
            "model.safetensors: cannot be read",
        ),
        (
            lambda copy: (copy / "model.safetensors").rename(copy / "pytorch_model.bin"),
            "holds no .safetensors",
        ),
        (lambda copy: (copy / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda copy: (copy / "config.json").unlink(), "config.json: cannot be read"),
    ],
)
def test_what_is_no_reward_model_is_refused(folder: Path, tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("(", "\\(")):
        RewardModel.load(broken(folder, tmp_path, change), device="cpu")


def test_refusals_that_need_no_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="float33"):
        RewardModel.load(folder, dtype="float33")
    with pytest.raises(BadInput, match="pair-2"):
        RewardModel.load(folder, format="pair-2", device="cpu")
    with pytest.raises(BadInput, match="is in the form published already"):
        convert_model(folder, tmp_path / "x", "published")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(BadInput, match="not empty"):
        convert_model(folder, tmp_path / "full", "classification")
    model = loaded(folder)
    with pytest.raises(BadInput, match="conversation 1 has no token"):
        model.score(["w1", ""])
    with pytest.raises(ValueError, match="no real token"):
        model.score_tokens(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1, 1], [0, 0]]))
    assert inspect(folder).kind == "published"
