"""Reading the JSON Lines that a command was given, with the place of what is wrong in them."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from acedata._errors import BadInput

Line = tuple[str, dict[str, Any]]


def json_lines(file: Path, *, errors: str = "strict") -> Iterator[Line]:
    """The objects of a file, each with its place (`answers.jsonl:7`); empty lines are passed over.

    Args:
        file: `-` is standard input; packed where its name ends in `.gz`.
        errors: what is done with bytes that are not UTF-8, as for `bytes.decode`. "surrogateescape" keeps them, for
            texts that a policy wrote: they are judged like any others.

    Raises:
        BadInput: a line is not an object in JSON, or the file cannot be unpacked.
        OSError: the file cannot be read.
    """
    with _open(file) as lines:
        for number, line in enumerate(_whole(file, lines), 1):
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                row = json.loads(line.decode("utf-8", errors))
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{place}: no JSON: {error}") from None
            if not isinstance(row, dict):
                raise BadInput(f"{place}: must be an object, not {type(row).__name__}")
            yield place, row


def _whole(file: Path, lines: BinaryIO) -> Iterator[bytes]:
    try:
        yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{file}: cannot be unpacked: {error}") from None


def _open(file: Path) -> BinaryIO:
    if str(file) == "-":
        if sys.stdin is None:
            raise BadInput("-: standard input is closed")
        return sys.stdin.buffer
    return cast(BinaryIO, gzip.open(file, "rb")) if file.name.endswith(".gz") else file.open("rb")
