"""Reading the JSON Lines that a command was given, with the place of what is wrong in them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acedata._errors import BadInput

Line = tuple[str, dict[str, Any]]


def json_lines(file: Path, *, errors: str = "strict") -> Iterator[Line]:
    """The objects of a file, each with its place (`answers.jsonl:7`); empty lines are passed over.

    Args:
        file: `-` is standard input.
        errors: what is done with bytes that are not UTF-8, as for `bytes.decode`. "surrogateescape" keeps them, for
            texts that a policy wrote: they are judged like any others.

    Raises:
        BadInput: a line is not an object in JSON.
        OSError: the file cannot be read.
    """
    with sys.stdin.buffer if str(file) == "-" else open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
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
