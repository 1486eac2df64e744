"""The forms a reward model has on disk, and how one becomes the other.

| form | weights | bias | read by |
|---|---|---|---|
| `published` | `…ForCausalLM`, `v_head.summary` | in the weights | AceCodeRM's own class |
| `classification` | `…ForSequenceClassification`, `score` | in `config.json` | transformers, TRL, vLLM |
| `adapter` | a PEFT adapter with its own `score` | 0 | PEFT |

`published` and `classification` are the same numbers under other names: conversion reads and writes one file of
weights at a time and computes nothing, so a 32B model needs the memory of its largest file. transformers' head for
sequence classification has no bias. A bias changes no ranking, but it is part of a score that is clipped or shown, so
it is kept beside the weights and added by `RewardModel`.

Weights are read from safetensors only: other formats can run code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acedata._errors import BadInput
from acetrain._finite import finite

from ._forms import KEY, Form

Kind = Literal["published", "classification", "adapter"]

HEAD_WEIGHT, HEAD_BIAS = "v_head.summary.weight", "v_head.summary.bias"
SCORE = "score.weight"
INDEX = "model.safetensors.index.json"
BESIDE = f"{KEY}.json"
"""What an adapter, which has no config of its own, keeps its form in."""
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")


@dataclass(frozen=True, slots=True)
class Stored:
    """A reward model on disk.

    Attributes:
        folder: where it lies.
        kind: which form its weights have.
        form: the text it wants. A published checkpoint does not say: `raw` in a chat, as its scoring example.
        bias: of the head.
    """

    folder: Path
    kind: Kind
    form: Form
    bias: float


def fetched(path: str, revision: str | None = None) -> Path:
    """The folder of a model: `path` itself, or what the hub has under that name.

    Raises:
        BadInput: neither exists.
    """
    at = Path(path)
    if at.is_dir():
        return at
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                path, revision=revision, ignore_patterns=["*.bin", "*.pt", "*.pth", "*.gguf", "*.msgpack"]
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(f"{path}: is no folder, and the hub gave no such model: {error}") from error


def inspect(folder: Path) -> Stored:
    """What a folder holds.

    Raises:
        BadInput: no reward model, or one in files that are not read.
    """
    if (folder / "adapter_config.json").is_file():
        base_of_adapter(folder)
        return Stored(folder, "adapter", *_said(folder / BESIDE, _json(folder / BESIDE, missing={})))
    config = _json(folder / "config.json")
    names = _architectures(config, folder / "config.json")
    keys = where_weights(folder)
    if any(name.endswith("ForSequenceClassification") for name in names):
        if SCORE in keys:
            _check_head(folder, SCORE)
        return Stored(folder, "classification", *_said(folder / "config.json", config.get(KEY) or {}))
    if HEAD_WEIGHT in keys:
        _check_head(folder, HEAD_WEIGHT)
        tensor = read_tensor(folder, HEAD_BIAS) if HEAD_BIAS in keys else None
        if tensor is not None and tensor.numel() != 1:
            raise BadInput(f"{folder}: {HEAD_BIAS} is {tuple(tensor.shape)}, not one number")
        form, _ = _said(folder / "config.json", config.get(KEY) or {})
        return Stored(folder, "published", form, 0.0 if tensor is None else float(tensor.float().item()))
    raise BadInput(
        f"{folder}: is no reward model: its architecture is {', '.join(names) or 'not named'}, "
        f"and its weights hold no {HEAD_WEIGHT}"
    )


def base_of_adapter(folder: Path) -> str:
    """The model that an adapter is for.

    Raises:
        BadInput: the adapter is none of a reward model, or its files cannot be read.
    """
    path = folder / "adapter_config.json"
    config = _json(path)
    if config.get("task_type") != "SEQ_CLS":
        raise BadInput(
            f"{path}: is no reward model's: task_type is {config.get('task_type')!r}; expected 'SEQ_CLS'"
        )
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise BadInput(f"{path}: names no base model")
    heads = [name for name in where_weights(folder) if name.endswith(SCORE)]
    if not heads:
        raise BadInput(f"{folder}: the adapter's weights hold no head: no tensor's name ends in {SCORE}")
    for head in heads:
        _check_head(folder, head)
    return named


def _architectures(config: dict[str, Any], path: Path) -> list[str]:
    names = config.get("architectures") or []
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadInput(f"{path}: architectures is {names!r:.80}; expected a list of names")
    return names


def _check_head(folder: Path, name: str) -> None:
    shape = shape_of(folder, name)
    if len(shape) != 2 or shape[0] != 1:
        raise BadInput(f"{folder}: {name} is {shape}, not that of one score: (1, width)")


def _said(path: Path, values: Any) -> tuple[Form, float]:
    if not isinstance(values, dict):
        raise BadInput(f"{path}: {KEY} must be an object, not {type(values).__name__}")
    try:
        return Form.from_dict(values), finite(values.get("bias", 0.0), f"bias of {KEY}")
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def where_weights(folder: Path) -> dict[str, Path]:
    """The file of each tensor."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"{folder}: holds no .safetensors; weights in other files are not read")
    found: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                found |= dict.fromkeys(opened.keys(), file)
        except (SafetensorError, OSError) as error:
            raise BadInput(f"{file}: cannot be read: {error}") from error
    return found


def read_tensor(folder: Path, name: str) -> Any:
    """One tensor of a folder. Raises BadInput where it is not there."""
    from safetensors import safe_open

    file = where_weights(folder).get(name)
    if file is None:
        raise BadInput(f"{folder}: has no tensor {name}")
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)


def shape_of(folder: Path, name: str) -> tuple[int, ...]:
    """The shape of one tensor of a folder, which is not read. Raises BadInput where it is not there."""
    from safetensors import safe_open

    file = where_weights(folder).get(name)
    if file is None:
        raise BadInput(f"{folder}: has no tensor {name}")
    with safe_open(file, "pt") as opened:
        return tuple(opened.get_slice(name).get_shape())


@contextmanager
def made(out: Path) -> Iterator[Path]:
    """A place to write a model to, whose files come into `out` when all are there; after an error nothing is left.

    The place is in `out`, which may be another disk than the folder around it. `config.json` comes last: without one, a
    folder is no model.

    Raises:
        BadInput: `out` holds something.
    """
    part = out / ".part"
    if out.exists() and (not out.is_dir() or any(path != part for path in out.iterdir())):
        raise BadInput(f"{out}: exists and is not empty")
    there = out.exists()
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a conversion that was killed
        part.mkdir(parents=True)
        yield part
        for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
            file.rename(out / file.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if not there:
            shutil.rmtree(out, ignore_errors=True)
        raise


def convert(
    stored: Stored, out: Path, to: Kind, *, form: Form | None = None, lm_head: Path | None = None
) -> list[str]:
    """Writes a model in another form.

    Args:
        stored: `published` or `classification`.
        out: the folder that gets the files (`made`).
        to: `classification` or `published`.
        form: what the model wants, where the source does not say.
        lm_head: for `published`: a folder whose `lm_head.weight` is put in, since a classifier has none. Scores do not
            depend on it, and a class that wants one fills in random numbers.

    Returns:
        What a reader should know.

    Raises:
        BadInput: the source is not of another form, or `lm_head` is of another model; nothing is written then.
    """
    if stored.kind == "adapter":
        raise BadInput(
            f"{stored.folder}: an adapter is merged first (`acetrain rm convert --to classification`)"
        )
    if stored.kind == to:
        raise BadInput(f"{stored.folder}: is in the form {to} already")
    form = form or stored.form
    config = _json(stored.folder / "config.json")
    _rename_architecture(config, to, stored.folder / "config.json")
    if lm_head is not None:
        _check_lm_head(stored, lm_head)
    notes = _weights(stored, out, to, lm_head)
    config[KEY] = {**form.to_dict(), "bias": stored.bias}
    if to == "classification":
        config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "num_labels": 1}
        pad = _pad_id(stored.folder)
        if config.get("pad_token_id") is None and pad is not None:
            config["pad_token_id"] = pad
        if config.get("pad_token_id") is None:
            notes.append("there is no padding token: transformers scores such a model one text at a time")
        if stored.bias:
            notes.append(
                f"transformers, TRL and vLLM score without the bias of {stored.bias:.6g}; RewardModel adds it"
            )
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for file in sorted(stored.folder.iterdir()):
        if (
            file.is_file()
            and not file.name.endswith(_WEIGHTS)
            and file.name not in ("config.json", "README.md")
        ):
            shutil.copyfile(file, out / file.name)
    return notes


def _check_lm_head(stored: Stored, lm_head: Path) -> None:
    """Every token that goes in has one row in the head that comes out."""
    embeddings = [name for name in where_weights(stored.folder) if name.endswith("embed_tokens.weight")]
    expected = shape_of(stored.folder, embeddings[0]) if embeddings else None
    found = shape_of(lm_head, "lm_head.weight")
    if expected is not None and found != expected:
        raise BadInput(
            f"{lm_head}: lm_head.weight is {found}; expected {expected}, as the model's embeddings"
        )


def _weights(stored: Stored, out: Path, to: Kind, lm_head: Path | None) -> list[str]:
    from safetensors import safe_open
    from safetensors.torch import save_file

    tied = bool(_json(stored.folder / "config.json").get("tie_word_embeddings"))
    files: dict[Path, list[str]] = {}
    for name, file in where_weights(stored.folder).items():
        files.setdefault(file, []).append(name)
    rename = {HEAD_WEIGHT: SCORE} if to == "classification" else {SCORE: HEAD_WEIGHT}
    left_out = {HEAD_BIAS, "lm_head.weight"} if to == "classification" else set()
    extra: dict[str, Any] = {}
    notes = []
    if to == "published":
        import torch

        head = read_tensor(stored.folder, SCORE)
        # Kept in float32: a bias of 10 in bf16 is off by up to 0.03.
        extra[HEAD_BIAS] = torch.tensor([stored.bias], dtype=torch.float32)
        if head.dtype not in (torch.bfloat16, torch.float16):
            extra[HEAD_BIAS] = extra[HEAD_BIAS].to(head.dtype)
        if lm_head is not None:
            extra["lm_head.weight"] = read_tensor(lm_head, "lm_head.weight")
        elif not tied:
            notes.append(
                "there is no lm_head.weight: a class that wants one fills in random numbers; scores do not change"
            )
    index: dict[str, str] = {}
    size = 0
    sources: list[tuple[Path | None, list[str]]] = [*files.items()]
    if extra:
        sources.append((None, list(extra)))
    total = len(sources)
    for number, (source, names) in enumerate(sources, 1):
        tensors = extra
        if source is not None:
            with safe_open(source, "pt") as opened:
                tensors = {
                    rename.get(name, name): opened.get_tensor(name) for name in names if name not in left_out
                }
        if not tensors:
            continue
        named = "model.safetensors" if total == 1 else f"model-{number:05d}-of-{total:05d}.safetensors"
        save_file(tensors, out / named, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, named)
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if total > 1:
        text = json.dumps({"metadata": {"total_size": size}, "weight_map": index}, indent=2, sort_keys=True)
        (out / INDEX).write_text(text + "\n", encoding="utf-8")
    return notes


def _rename_architecture(config: dict[str, Any], to: Kind, path: Path) -> None:
    names = _architectures(config, path)
    if not names:
        raise BadInput(f"{path}: names no architecture")
    stem = (
        names[0]
        .removesuffix("ForSequenceClassification")
        .removesuffix("ForCausalLM")
        .removesuffix("ForCausalRM")
    )
    config["architectures"] = [
        stem + ("ForSequenceClassification" if to == "classification" else "ForCausalLM")
    ]
    if to == "published":
        for name in ("id2label", "label2id", "num_labels"):
            config.pop(name, None)


def _pad_id(folder: Path) -> int | None:
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(folder).pad_token_id
    except Exception:  # none, or one that cannot be read, for which the libraries have many kinds of errors
        return None
    return None if found is None else int(found)


def card(name: str, form: Form, kind: Kind, notes: Sequence[str] = ()) -> str:
    """A model card that says what text the model wants."""
    listed = "".join(f"- {note}\n" for note in notes)
    about = {
        "published": "`…ForCausalLM` with `v_head.summary`, as AceCodeRM was published",
        "classification": "`…ForSequenceClassification` with one label",
        "adapter": "a PEFT adapter with its own score head",
    }[kind]
    return f"""---
library_name: transformers
tags: [reward-model, acestack]
---

# {name}: reward model

Weights: {about}. Text: format `{form.format}`, template `{form.template}`
(docs/reward-models.md of acestack says what these are). A text in another format gets another score.

```python
from acetrain import RewardModel

model = RewardModel.load("{name}")
scores = model.score_programs(question, programs, tests=tests)
```

{listed}"""


def _json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    if missing is not None and not path.is_file():
        return missing
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise BadInput(f"{path}: must be an object, not {type(values).__name__}")
    return values
