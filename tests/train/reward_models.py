"""Small reward models with random weights, and a reading of AceCodeRM's architecture that shares nothing with ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = ["<pad>", "<eos>", "<|im_start|>", "<|im_end|>", *(f"w{number}" for number in range(60))]
PAD, EOS = 0, 1
# Turns as Qwen writes them, with a line's end for a word.
CHAT = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def tokenizer(side: str = "right", eos: bool = True) -> Any:
    """One token per word; a word of no vocabulary is `w0`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        eos_token="<eos>" if eos else None,
        padding_side=side,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    made.chat_template = CHAT
    return made


def published(
    folder: Path, bias: float = 12.5, *, kind: str = "qwen2", tied: bool = False, seed: int = 0
) -> Path:
    """A checkpoint in AceCodeRM's form: `…ForCausalLM` and `v_head.summary`, with weights that make scores differ."""
    from safetensors.torch import load_file, save_file
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    shared: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": tied,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": None,
        "initializer_range": 0.3,
    }
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**shared))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**shared, head_dim=8))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["v_head.summary.weight"] = torch.randn(1, 32)
    tensors["v_head.summary.bias"] = torch.tensor([bias])
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def as_published(folder: Path, rows: Sequence[Sequence[int]]) -> list[float]:
    """What AceCodeRM's own class computes, read from its description: the language model's last hidden states, of which
    the last is after the final norm, through `v_head.summary`, at the last token. One row at a time, nothing padded,
    in float64."""
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    tensors: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    head = torch.nn.Linear(32, 1, dtype=torch.float64)
    head.weight.data = tensors["v_head.summary.weight"].double()
    head.bias.data = tensors["v_head.summary.bias"].double()
    found = []
    with torch.no_grad():
        for row in rows:
            states = model(torch.tensor([row]), output_hidden_states=True).hidden_states[-1]
            found.append(float(head(states)[0, -1, 0]))
    return found


def config_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return values
