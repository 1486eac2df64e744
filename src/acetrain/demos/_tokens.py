"""A tokenizer for the composed tasks, made on the spot: words, signs, digits one by one, and a few phrases.

Digits are tokens of their own so that a constant is copied rather than looked up: a model that met 42 and 17 can write
47. The vocabulary is what the tasks can say, some 65 tokens; there is nothing to download.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ._tasks import OPERATORS, PAIRS, Task

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
# What always stands together is one token, as in any vocabulary that was learned: sequences are half as long for it.
_CHUNKS = (r"def f\(x\):\n", "    return x\n", "    x = ", "Q: ", ", then ", ", ", "\nA:", r" (?:[-+*%]|//) ")
_PIECES = (*_CHUNKS, r"\d", "    ", "\n", "[A-Za-z_]+", r"[^\w\s]", " ")


def make_tokenizer(extra: Iterable[str] = (), phrases: Iterable[str] = ()) -> Any:
    """A `PreTrainedTokenizerFast` that can say all questions and programs of `_tasks`, and the `extra` texts.

    Each of the `phrases` is one token wherever it stands. `<pad>` is 0 and `<eos>` is 1. It pads on the left, as
    generation wants it, and adds no token by itself.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    piece = "|".join((*map(re.escape, phrases), *_PIECES))
    words = {PAD: 0, EOS: 1, UNKNOWN: 2}
    for text in [*_texts(), *extra]:
        for word in re.findall(piece, text):
            words.setdefault(word, len(words))
    plain = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.Split(Regex(piece), "isolated")
    plain.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _texts() -> list[str]:
    assert len(PAIRS) == len(OPERATORS) ** 2
    tasks = [
        Task((name, name), constants) for name in OPERATORS for constants in ((10, 23), (45, 67), (89, 0))
    ]
    return [text for task in tasks for text in (task.question(), task.program())]
