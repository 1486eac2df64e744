"""A loaded reward model: texts or chats in, one number each out, the same number in every form of the weights.

The score is read at the last real token, which the attention mask says: padding may stand on either side, and a padding
token inside a text, or at its end, is a token like any other. transformers' own classifier asks the token ids instead,
and reads a text that ends with the padding token one token too early. The head's bias is added here, in double
precision, since no classifier has one.

Weights are loaded in float32 unless said otherwise: transformers 5 would take the type of the file, and in bf16 the
scores of one text in two batches differ by hundredths of their spread.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acedata._errors import BadInput
from acetrain._quiet import told, without_loading_report, without_old_names

from ._files import (
    HEAD_WEIGHT,
    Kind,
    Stored,
    base_of_adapter,
    card,
    convert,
    fetched,
    inspect,
    made,
    read_tensor,
)
from ._forms import KEY, Conversation, Form, messages, token_ids, whole_text

DTYPES = ("float32", "bfloat16", "float16")
BATCH_TOKENS = 16_384
"""Tokens of one forward pass, padding included."""


class RewardModel:
    """Scores answers: higher is better, and only differences mean something.

        model = RewardModel.load("TIGER-Lab/AceCodeRM-7B")
        model.score([[{"role": "user", "content": question}, {"role": "assistant", "content": answer}]])

    Not safe to use from several threads at once.

    Attributes:
        model: the backbone with a score head, a `…ForSequenceClassification` of transformers.
        tokenizer: of the same model.
        form: the text it wants.
        bias: added to every score.
        max_length: longer texts lose the end; None: what the backbone's positions allow.
        cut: how many texts were cut so far. The first one warns.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        form: Form | None = None,
        bias: float = 0.0,
        max_length: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.form = form or Form()
        self.bias = bias
        self.max_length = max_length or getattr(model.config, "max_position_embeddings", None)
        self.batch_tokens = batch_tokens
        self.cut = 0

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        dtype: str = "float32",
        device: str | None = None,
        revision: str | None = None,
        format: str | None = None,
        template: str | None = None,
        max_length: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> RewardModel:
        """Loads a model in any of the forms of `_files`: published, classification, or an adapter (which is merged).

        Args:
            path: a folder, or a name on the hub.
            dtype: of the weights: float32, bfloat16, float16. Scores are compared in float32.
            device: such as "cuda:1"; "auto" spreads a large model over all GPUs; None: a GPU where there is one.
            revision: commit on the hub.
            format, template: the text the model wants, where its config does not say or says it wrongly.
            max_length: see the class.
            batch_tokens: tokens of one forward pass.

        Raises:
            BadInput: there is no reward model there, or it cannot be loaded so.
        """
        import torch

        if dtype not in DTYPES:
            raise BadInput(f"dtype {dtype!r} is not one that is scored in; expected {', '.join(DTYPES)}")
        device = _device(device)
        stored = inspect(fetched(os.fspath(path), revision))
        form = Form(format or stored.form.format, template or stored.form.template)
        model, tokenizer = _loaded(stored, getattr(torch, dtype), device)
        return cls(
            model, tokenizer, form=form, bias=stored.bias, max_length=max_length, batch_tokens=batch_tokens
        )

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """One score each.

        Args:
            conversations: chats (lists of messages with `role` and `content`), or texts that are taken as they are,
                with everything special written out. A chat gets the model's template; its format is the caller's
                business (`score_programs` takes care of both).

        Raises:
            BadInput: one of them is no text, has no token, or is no chat that the template takes.
        """
        texts = []
        for number, one in enumerate(conversations):
            try:
                texts.append(whole_text(self.tokenizer, self.form.template, one))
            except BadInput as error:
                raise BadInput(f"conversation {number}: {error}") from error
        ids = token_ids(self.tokenizer, texts)
        for number, tokens in enumerate(ids):
            if not tokens:
                raise BadInput(f"conversation {number} has no token to score")
        return self.score_ids(ids)

    def score_ids(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Scores texts that are tokens already, not padded; long ones are cut, as by `score`."""
        kept = []
        for tokens in rows:
            if self.max_length is not None and len(tokens) > self.max_length:
                if not self.cut:
                    warnings.warn(
                        f"a text of {len(tokens)} tokens was cut to {self.max_length}; RewardModel.cut counts them",
                        stacklevel=2,
                    )
                self.cut += 1
                tokens = tokens[: self.max_length]
            kept.append(tokens)
        scores = [math.nan] * len(kept)
        for places in self._batches(kept):
            for place, score in zip(places, self._forward([kept[place] for place in places]), strict=True):
                scores[place] = score
        return scores

    def score_programs(
        self, question: str, programs: Sequence[str], tests: Sequence[str] = ()
    ) -> list[float]:
        """Scores programs for one question, as the text that the model was trained on.

        Args:
            question: its text.
            programs: code without a fence.
            tests: of the question; `pair-1` shows the first.
        """
        rendered = [self.form.of_program(question, program, tests) for program in programs]
        return self.score([messages(*one) for one in rendered])

    def score_tokens(self, input_ids: Any, attention_mask: Any) -> Any:
        """Scores of a batch that is tokens already: float64 on the CPU, one per row.

        Args:
            input_ids, attention_mask: integer tensors of (rows, width), padded on either side.

        Raises:
            ValueError: the shapes differ, or a row has no real token.
        """
        import torch

        if input_ids.shape != attention_mask.shape or input_ids.dim() != 2:
            raise ValueError(
                f"shapes {tuple(input_ids.shape)} and {tuple(attention_mask.shape)} are not one of rows"
            )
        device = self.model.score.weight.device
        ids, mask = input_ids.to(device), attention_mask.to(device).long()
        if not bool((mask.sum(-1) > 0).all()):
            raise ValueError("a row has no real token")
        places = torch.arange(mask.shape[1], device=device)
        last = (mask * (places + 1)).argmax(-1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        backbone = getattr(self.model, self.model.base_model_prefix)
        with torch.inference_mode():
            hidden = backbone(
                input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
            ).last_hidden_state
            ends = hidden[torch.arange(len(ids), device=hidden.device), last.to(hidden.device)]
            scores = self.model.score(ends.to(device)).squeeze(-1)
        return scores.to("cpu", torch.float64) + self.bias

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the `classification` form, with what `load` needs to know beside the weights."""
        out = Path(folder)
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        setattr(self.model.config, KEY, {**self.form.to_dict(), "bias": self.bias})
        self.model.save_pretrained(out)
        self.tokenizer.save_pretrained(out)
        (out / "README.md").write_text(card(out.name, self.form, "classification"), encoding="utf-8")

    def _batches(self, ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Places of texts of similar length, longest first: what does not fit into memory fails at once."""
        batch: list[int] = []
        for place in sorted(range(len(ids)), key=lambda place: (-len(ids[place]), place)):
            if batch and (len(batch) + 1) * len(ids[batch[0]]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _forward(self, rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        width = max(map(len, rows))
        fill = self.tokenizer.pad_token_id or 0  # masked: which token it is does not matter
        ids = torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return [float(score) for score in self.score_tokens(ids, mask)]


def convert_model(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: Kind,
    *,
    lm_head: str | None = None,
    format: str | None = None,
    template: str | None = None,
) -> list[str]:
    """Writes a model in another form; see `_files.convert`. An adapter is loaded, merged and written as a classifier.

    Returns:
        What a reader should know.

    Raises:
        BadInput: there is no reward model there, it cannot have that form, or `out` holds something. Nothing is left of
            what was written then.
    """
    stored = inspect(fetched(os.fspath(path)))
    form = Form(format or stored.form.format, template or stored.form.template)
    place = Path(out)
    with made(place) as part:
        if stored.kind == "adapter" and to == "classification":
            merged = RewardModel.load(path, dtype="float32", device="cpu")
            merged.form = form
            merged.save(part)
            notes = ["the adapter was merged in float32"]
        else:
            head = None if lm_head is None else fetched(lm_head)
            notes = convert(stored, part, to, form=form, lm_head=head)
        (part / "README.md").write_text(card(place.name, form, to, notes), encoding="utf-8")
    return notes


def _device(name: str | None) -> str:
    """Where a model is put; "auto" is transformers' to say."""
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "auto":
        try:
            torch.zeros(1, device=name).item()
        except Exception as error:  # each kind of device has errors of its own
            raise BadInput(f"device {name!r} cannot be used on this machine: {told(error)}") from error
    return name


def _loaded(stored: Stored, dtype: Any, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    def classifier(folder: str) -> tuple[Any, set[str]]:
        where = {"device_map": "auto"} if device == "auto" else {}
        # What may come of a file that is not what it should be is listed nowhere.
        try:
            with without_loading_report():
                model, said = AutoModelForSequenceClassification.from_pretrained(
                    folder, num_labels=1, dtype=dtype, output_loading_info=True, **where
                )
            model = model if device == "auto" else model.to(device)
        except Exception as error:
            raise BadInput(f"{folder}: cannot be loaded: {told(error)}") from error
        if not hasattr(model, "score"):
            raise BadInput(
                f"{folder}: {type(model).__name__} has another head than `score`, which is not read"
            )
        return model, set(said["missing_keys"])

    if stored.kind == "adapter":
        from peft import PeftModel

        model, _ = classifier(str(fetched(base_of_adapter(stored.folder))))
        try:
            with without_old_names():
                model = PeftModel.from_pretrained(model, str(stored.folder)).merge_and_unload()
        except Exception as error:
            raise BadInput(f"{stored.folder}: cannot be loaded: {told(error)}") from error
    else:
        model, missing = classifier(str(stored.folder))
        if stored.kind == "published":
            import torch

            weight = read_tensor(stored.folder, HEAD_WEIGHT)
            if tuple(weight.shape) != tuple(model.score.weight.shape):
                raise BadInput(
                    f"{stored.folder}: {HEAD_WEIGHT} is {tuple(weight.shape)}, not that of one score"
                )
            with torch.no_grad():
                model.score.weight.copy_(weight)
            missing.discard("score.weight")
        if missing:
            raise BadInput(f"{stored.folder}: the weights lack {', '.join(sorted(missing)[:5])}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(stored.folder)
    except Exception as error:
        raise BadInput(f"{stored.folder}: has no tokenizer: {told(error)}") from error
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
