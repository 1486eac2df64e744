"""Checkpoints of transformers' trainer, and of TRL's: which of them a run can go on from.

A trainer that is killed while it writes one, a full disk or a copy that broke off leave a folder that looks like a
checkpoint. The trainer itself takes most of them: without `optimizer.pt` or a random state it goes on without a word
and learns something else, and a file that was cut ends it with a traceback although an older checkpoint stands beside.
So a folder is looked through before: every file that going on needs is there, and as long as its own head says.

    checkpoint-N/trainer_state.json                          written last, by the first process; it names N
                 model.safetensors, or an index and its parts, or adapter_model.safetensors
                 optimizer.pt, scheduler.pt
                 rng_state.pth, or of several processes rng_state_0.pth, rng_state_1.pth, …
                 latest, global_stepN/                       DeepSpeed's, in the place of optimizer.pt
                 pytorch_model_fsdp…, optimizer.bin, optimizer_0/    FSDP's, in the place of both

Contents are not read: a file of the right length with other bits in it passes.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acedata._errors import BadInput

STATE = "trainer_state.json"
_INDEX = "model.safetensors.index.json"
# Weights are in one of these; a full model's and an adapter's.
_WEIGHTS = (
    "model.safetensors",
    _INDEX,
    "adapter_model.safetensors",
    "pytorch_model.bin",
    "adapter_model.bin",
)
_ZIP = b"PK\x03\x04"


def last_whole(out: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint of a run's folder, for as many processes as there are (`WORLD_SIZE`).

    Returns:
        Its folder, None where there is none, and a line for each newer one: that it is passed over, and why.
    """
    passed: list[str] = []
    for folder in checkpoints(out):
        why = trouble(folder)
        if why is None:
            return folder, passed
        passed.append(f"{folder}: not whole, passed over: {why}")
    return None, passed


def checkpoints(out: Path) -> list[Path]:
    """The folders `checkpoint-N` of a run, whole or not, the newest first."""
    found = [path for path in out.glob("checkpoint-*") if path.is_dir() and step_of(path) is not None]
    return sorted(found, key=lambda path: step_of(path) or 0, reverse=True)


def step_of(folder: Path) -> int | None:
    """N of `checkpoint-N`, the updates that were made; None where the name has none."""
    found = re.fullmatch(r"checkpoint-([0-9]+)", folder.name)
    return int(found[1]) if found else None


def check_weights(folder: Path) -> None:
    """Looks whether a trainer saved a model: some ways of sharding save none, or parts that only they can join.

    Raises:
        BadInput: the folder holds no weights.
    """
    if not any(folder.glob("*.safetensors")):
        raise BadInput(
            f"{folder}: the trainer saved no weights that can be loaded; with DeepSpeed ZeRO-3 that takes "
            "zero3_save_16bit_model: true, with FSDP a full state dict. The checkpoints beside it are whole"
        )


def trouble(folder: Path, processes: int | None = None) -> str | None:
    """What a checkpoint lacks, in a few words; None where it is whole.

    Args:
        folder: `checkpoint-N`.
        processes: that are to go on; None: as `WORLD_SIZE` says. A single one may where several wrote it, and fewer
            than wrote it may; more have no random states to go on with.
    """
    if processes is None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        return next(_troubles(folder, processes), None)
    except OSError as error:
        return f"cannot be read: {error}"


def _troubles(folder: Path, processes: int) -> Iterator[str]:
    state = _json(folder / STATE)
    if state is None:
        yield f"{STATE} is missing or cut"
    elif not isinstance(state, dict) or state.get("global_step") != step_of(folder):
        yield f"{STATE} is of another update than the folder's name"
    names = {path.name for path in folder.iterdir()}
    if "latest" in names:
        yield from _deepspeed(folder)
    else:
        sharded = any(name.startswith("pytorch_model_fsdp") for name in names)
        if not sharded and not names.intersection(_WEIGHTS):
            yield "there are no weights (model.safetensors or adapter_model.safetensors)"
        if "optimizer.pt" not in names and not any(
            name == "optimizer.bin" or (name.startswith("optimizer") and (folder / name).is_dir())
            for name in names
        ):
            yield "optimizer.pt is missing"
        if "scheduler.pt" not in names:
            yield "scheduler.pt is missing"
    yield from _missing_parts(folder)
    yield from _missing_random_states(names, processes)
    for name in sorted(names):
        if name.endswith(".safetensors") and not _covered(folder / name):
            yield f"{name} is cut"
        if name.endswith((".pt", ".pth")) and (folder / name).is_file() and not _is_zip(folder / name):
            yield f"{name} is cut"


def _deepspeed(folder: Path) -> Iterator[str]:
    """DeepSpeed keeps weights, optimizer and schedule in a folder of its own, which `latest` names."""
    tag = (folder / "latest").read_text(encoding="utf-8", errors="replace").strip()
    files = [path for path in (folder / tag).rglob("*") if path.is_file()] if tag else []
    if not files:
        yield f"DeepSpeed's folder {tag or 'global_step…'} is missing or empty"
    for path in files:
        # Its files are torch's where nobody chose another writer.
        if not path.stat().st_size or (_head(path) == _ZIP and not _is_zip(path)):
            yield f"{path.relative_to(folder)} is cut"


def _missing_parts(folder: Path) -> Iterator[str]:
    """The parts of a model that was too large for one file."""
    if not (folder / _INDEX).exists():
        return
    index = _json(folder / _INDEX)
    parts = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(parts, dict):
        yield f"{_INDEX} is cut"
        return
    for name in sorted({str(part) for part in parts.values()}):
        if not (folder / name).is_file():
            yield f"{name} is missing"


def _missing_random_states(names: set[str], processes: int) -> Iterator[str]:
    if processes == 1:
        if "rng_state.pth" not in names and not any(name.startswith("rng_state_") for name in names):
            yield "rng_state.pth is missing"
        return
    for rank in range(processes):
        if f"rng_state_{rank}.pth" not in names:
            yield f"rng_state_{rank}.pth is missing, and {processes} processes are to go on"


def _covered(path: Path) -> bool:
    """Whether a safetensors file is as long as its head says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            return False
        (length,) = struct.unpack("<Q", start)
        if length > size - 8:
            return False
        try:
            head = json.loads(file.read(length))
            ends = [one["data_offsets"][1] for name, one in head.items() if name != "__metadata__"]
            return bool(size == 8 + length + max(ends, default=0))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False


def _is_zip(path: Path) -> bool:
    """Whether torch's file has its directory, which it ends with."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_ZIP))


def _json(path: Path) -> Any:
    """What a file holds; None where there is none or it is not whole."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
