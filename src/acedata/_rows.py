"""Reads rows of datasets, one at a time: local Parquet, JSON Lines, JSON and CSV, and datasets on the hub.

Rows come in a fixed order (files by name, rows as they lie) and are numbered from 0 through the whole source: that
number is the second half of a published id. Nothing is loaded whole: a Parquet file is decoded a few rows at a time,
a JSON Lines file line by line, a JSON file (one list, one object, or objects one after the other) value by value, a
CSV file (its first line names the columns) row by row, a dataset on the hub as `datasets` streams it.

What cannot be read is the user's file, so it raises `BadInput` with file and row.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from ._errors import BadInput

MAX_VALUE = 256 << 20
"""Longest line of JSON Lines and longest single value of a JSON file, in bytes."""

ENDINGS = (
    ".parquet",
    ".jsonl",
    ".jsonl.gz",
    ".ndjson",
    ".ndjson.gz",
    ".json",
    ".json.gz",
    ".csv",
    ".csv.gz",
)
"""Of files that hold rows."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where rows come from.

    Attributes:
        path: a file, a folder, a glob (`**` goes into folders), or the name of a dataset on the hub.
        hub: whether it is on the hub.
        split, config, revision: of a dataset on the hub.
        files: what `path` was found to mean on this machine; None: it is looked up.
    """

    path: str
    hub: bool = False
    split: str = "train"
    config: str | None = None
    revision: str | None = None
    files: tuple[Path, ...] | None = None


class Row(NamedTuple):
    """One row.

    Attributes:
        number: its place in the source, from 0.
        where: file and row, for messages.
        values: its columns.
    """

    number: int
    where: str
    values: dict[str, Any]


_Piece = tuple[str, dict[str, Any]]


HUB_HINT = "; a dataset on the hub is named with `from: hub`"
"""For recipes, where a place is on the hub only if it says so."""


def iter_rows(place: Place, *, hint: str = HUB_HINT) -> Iterator[Row]:
    """All rows of a source.

    Args:
        hint: ends the message where there is no such file.

    Raises:
        BadInput: there is nothing there, or it cannot be read; while rows are drawn.
    """
    pieces = _hub(place) if place.hub else _local(place, hint)
    for number, (where, values) in enumerate(pieces):
        yield Row(number, where, values)


def _local(place: Place, hint: str) -> Iterator[_Piece]:
    for path in files_at(place.path, hint) if place.files is None else place.files:
        yield from _read(path)


def is_local(path: str) -> bool:
    """Whether a path names something on this machine: it exists, or looks as no name of a dataset on the hub does."""
    return (
        Path(path).exists()
        or glob.has_magic(path)
        or path.endswith(ENDINGS)
        or path.startswith(("/", "./", "../", "~"))
    )


def files_at(path: str, hint: str = HUB_HINT) -> list[Path]:
    """The files of a path (a file, a folder with all below it, a glob), sorted.

    Raises:
        BadInput: there are none.
    """
    at = Path(path)
    if at.is_file():
        return [at]
    if at.is_dir():
        found = [file for file in at.rglob("*") if file.is_file() and file.name.endswith(ENDINGS)]
        what = f"folder {path} holds no file that ends in {', '.join(ENDINGS)}"
    else:
        found = [Path(name) for name in glob.glob(path, recursive=True) if Path(name).is_file()]
        what = f"there is no file {path}"
    if not found:
        raise BadInput(f"{what}{hint}")
    return sorted(found)


def _read(path: Path) -> Iterator[_Piece]:
    if not path.name.endswith(ENDINGS):
        raise BadInput(f"{path}: rows are read from files that end in {', '.join(ENDINGS)}")
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet(path)
            return
        with _open(path) as file:
            reader = {".json": _json, ".csv": _csv}.get(Path(path.name.removesuffix(".gz")).suffix, _lines)
            yield from reader(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: cannot be read: {error}") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _parquet(path: Path) -> Iterator[_Piece]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=64):
                for values in batch.to_pylist():
                    yield f"{path} row {number}", values
                    number += 1
    # Values that Python cannot hold (text that is not UTF-8, the year 100,000) are errors of Python's own kinds.
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise BadInput(f"{path}: cannot be read from row {number} on: {error}") from error


def _lines(path: Path, file: BinaryIO) -> Iterator[_Piece]:
    number = 0
    while line := file.readline(MAX_VALUE):
        number += 1
        where = f"{path} line {number}"
        if len(line) == MAX_VALUE:
            raise BadInput(f"{where}: longer than {MAX_VALUE:,} bytes")
        if line.strip():
            try:
                yield where, _object(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{where}: not JSON: {error}") from error


def _csv(path: Path, file: BinaryIO) -> Iterator[_Piece]:
    """Every value is a text; an empty one is None, since CSV cannot tell the two apart."""
    csv.field_size_limit(MAX_VALUE)
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    rows = csv.reader(text, strict=True)
    names: list[str] = []
    try:
        for values in rows:
            if not values:
                continue
            where = f"{path} line {rows.line_num}"
            if not names:
                names = values
                if len(set(names)) < len(names):
                    raise BadInput(f"{where}: two columns have the same name")
                continue
            if len(values) != len(names):
                raise BadInput(f"{where}: {len(values)} values; the first line names {len(names)} columns")
            yield where, {name: value or None for name, value in zip(names, values, strict=True)}
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{path} line {rows.line_num}: not CSV in UTF-8: {error}") from error
    finally:
        text.detach()  # who opened the file closes it


def _json(path: Path, file: BinaryIO) -> Iterator[_Piece]:
    for number, value in enumerate(_values(path, file)):
        where = f"{path} row {number}"
        yield where, _object(where, value)


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{where}: a row is an object with columns, not {type(value).__name__}")
    return value


_CHUNK = 1 << 20


def _values(path: Path, file: BinaryIO) -> Iterator[Any]:
    """The values of a JSON file: items of its list if it is one, otherwise whatever follows one another."""
    text = codecs.getreader("utf-8")(file)
    decoder = json.JSONDecoder()
    buffer, place, wanted = "", 0, _CHUNK
    listed: bool | None = None
    ended = False
    done = 0
    while True:
        place = _after_space(buffer, place, "," if listed else "")
        if listed is None and place < len(buffer):
            listed = buffer[place] == "["
            place += listed
            continue
        if listed and buffer[place : place + 1] == "]":
            return
        value: Any = None
        failed: Exception | None = None
        if place < len(buffer):
            try:
                value, end = decoder.raw_decode(buffer, place)
                # A number at the buffer's end may go on; objects and lists know their end.
                if end < len(buffer) or ended or buffer[end - 1] in '}]"':
                    place = end
                    done += 1
                    yield value
                    continue
            except (ValueError, RecursionError) as error:
                failed = error
        if ended:
            if failed is not None:
                raise BadInput(f"{path} row {done}: not JSON: {failed}") from failed
            if listed:
                raise BadInput(f"{path} row {done}: the list does not end")
            return
        # Each time as much more as is there already: a long value is tried a few times, not once per chunk.
        buffer, place = buffer[place:], 0
        if len(buffer) > MAX_VALUE:
            raise BadInput(f"{path} row {done}: longer than {MAX_VALUE:,} characters, or not JSON: {failed}")
        wanted = max(_CHUNK, len(buffer))
        try:
            more = text.read(wanted)
        except UnicodeDecodeError as error:
            raise BadInput(f"{path} row {done}: not UTF-8: {error}") from error
        ended = not more
        buffer += more


def _after_space(text: str, place: int, also: str) -> int:
    while place < len(text) and (text[place] in " \t\r\n\ufeff" or text[place] == also):
        place += 1
    return place


def _hub(place: Place) -> Iterator[_Piece]:
    from datasets import load_dataset

    number = 0
    try:
        data = load_dataset(
            place.path, place.config, split=place.split, revision=place.revision, streaming=True
        )
        for values in data:
            yield f"{place.path} ({place.split}) row {number}", dict(values)
            number += 1
    except (GeneratorExit, BadInput):
        raise
    except Exception as error:
        # What may come here is not listed anywhere: network, permissions, formats, each library's own.
        raise BadInput(
            f"dataset {place.path!r} on the hub cannot be read from row {number} on: {type(error).__name__}: {error}"
        ) from error
