"""Loads seeds: rows of the recipe's sources that hold a Python program with a function or a class.

Columns are found by their published names (a recipe may name others):

| source | instruction | program | language |
|---|---|---|---|
| Magicoder-Evol-Instruct-110K | `instruction` | `response`, an answer with code in fences | by the fence |
| Magicoder-OSS-Instruct-75K | `instruction` or `problem` | `response` or `solution`, likewise | `lang` |
| stack-dedup-python-fns | none | `content`, bare code | Python |

A text that is Python as it stands is the program; otherwise it is an answer, and the program is its first complete
block labelled Python that has a function or a class. The block's label decides the language.

Every row becomes a `Seed` or a `Drop`; both carry `order`, the row's place among all rows read, and the published id:
the source's name and the row's place in the source, which no rule changes. (The released scripts number the rows that
their own first filter left; joining with published ids by number is not possible without that filter.)
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import BadInput
from ._extract import blocks, python_blocks
from ._python import MAX_SOURCE, Refused, parse
from ._recipe import SeedsConfig, SourceConfig
from ._records import Drop
from ._rows import Place, Row, is_local, iter_rows


class Seed(NamedTuple):
    """One seed, a row of `SEEDS`; `instruction` is None where the source has none."""

    id: str
    source: str
    order: int
    instruction: str | None
    program: str


def iter_seeds(
    seeds: SeedsConfig, files: Callable[[SourceConfig], list[Path] | None] | None = None
) -> Iterator[Seed | Drop]:
    """All seeds of a recipe's sources, and what is dropped on the way, row by row in order.

    A source is read until its limit of kept seeds is reached; later rows are neither read nor counted. Memory: one row,
    and 32 bytes and an id for each program kept where duplicates are looked for.

    Args:
        seeds: the recipe's `seeds`; sources that start from questions are passed over (`_import`).
        files: the files of a source, None for one on the hub; without it, paths are looked up as they are.

    Drops' reasons: "not Python", "no code", "not valid Python", "nested too deeply", "too long", "too short",
    "no function or class", "not valid Unicode", "exact duplicate".

    Raises:
        BadInput: a source cannot be read, or lacks a column.
    """
    order = 0
    first_with: dict[bytes, str] = {}
    for source in seeds.sources:
        if source.kind == "start":
            continue
        limit = min(wanted for wanted in (source.limit, seeds.limit, 1 << 62) if wanted is not None)
        kept = 0
        for row in iter_rows(place_of(source, files)):
            if kept >= limit:
                break
            found = _seed(source, row, order)
            if isinstance(found, Seed) and seeds.drop_duplicates:
                digest = hashlib.sha256(found.program.strip().encode()).digest()
                earlier = first_with.setdefault(digest, found.id)
                if earlier != found.id:
                    found = Drop(found.id, order, "exact duplicate", f"the program of {earlier}")
            kept += isinstance(found, Seed)
            yield found
            order += 1


def place_of(source: SourceConfig, files: Callable[[SourceConfig], list[Path] | None] | None = None) -> Place:
    """Where a source's rows are. Questions to start from are local if there is such a file, else on the hub."""
    found = None if files is None else files(source)
    if files is None:
        hub = source.kind == "hub" or (source.kind == "start" and not is_local(source.path))
    else:
        hub = found is None
    listed = None if found is None else tuple(found)
    return Place(source.path, hub, source.split, source.config, source.revision, listed)


_INSTRUCTIONS = ("instruction", "problem")
_PROGRAMS = ("response", "solution", "content", "program")
_LANGUAGES = ("lang", "language")


def _seed(source: SourceConfig, row: Row, order: int) -> Seed | Drop:
    id = f"{source.name}_{row.number}"
    columns = source.columns
    instruction = _column(row, columns.instruction, _INSTRUCTIONS)
    text = _column(row, columns.program, _PROGRAMS, must=True)
    language = _column(row, columns.lang, _LANGUAGES)

    def drop(reason: str, detail: str = "") -> Drop:
        return Drop(id, order, reason, detail)

    if language is not None and language.strip().lower() not in ("python", "python3", "py"):
        return drop("not Python", language.strip()[:40].encode("utf-8", "replace").decode())
    if not text or not text.strip():
        return drop("no code")
    if not (_is_unicode(text) and _is_unicode(instruction or "")):
        return drop("not valid Unicode", "half a character")
    if len(instruction or "") > MAX_SOURCE:
        return drop("too long", f"an instruction of {len(instruction or ''):,} characters")
    is_answer = columns.program is None and not {"content", "program"} & row.values.keys()
    program = _program(text, source.drop_prints, is_answer)
    if isinstance(program, Refused):
        return drop(*program)
    if len(program) < source.min_chars:
        return drop("too short", f"{len(program)} characters")
    if source.drop_prints:
        program = without_prints(program)
    if instruction is not None and not instruction.strip():
        instruction = None
    return Seed(id, source.name, order, instruction, program)


def _column(row: Row, named: str | None, published: tuple[str, ...], must: bool = False) -> str | None:
    names = (named,) if named else published
    present = [name for name in names if name in row.values]
    if not present:
        if not named and not must:
            return None
        raise BadInput(
            f"{row.where}: no column {' or '.join(map(repr, names))}; there are {', '.join(map(repr, row.values))}"
        )
    value: Any = row.values[present[0]]
    if value is not None and not isinstance(value, str):
        raise BadInput(
            f"{row.where}: column {present[0]!r} holds {type(value).__name__} where text is expected"
        )
    return value


def _program(text: str, drop_prints: bool, is_answer: bool) -> str | Refused:
    whole = _judge(text, drop_prints)
    if whole is None:
        return text
    found = blocks(text)
    if not found:
        return Refused("no code", "an answer without a code block") if is_answer else whole
    python = python_blocks(text)
    if not python:
        labels = sorted({block.label or "no label" for block in found})
        return Refused("not Python", f"blocks labelled {', '.join(labels)}"[:200])
    reasons = []
    for program in python:
        reason = _judge(program, drop_prints)
        if reason is None:
            return program
        reasons.append(reason)
    return reasons[0]


def _judge(program: str, drop_prints: bool) -> Refused | None:
    """Why a text is no seed; None if it is one."""
    tree = parse(program)
    if isinstance(tree, Refused) and drop_prints and tree.reason == "not valid Python":
        # Only a print statement of Python 2 may stand in the way, and it will not be there.
        tree = parse(without_prints(program))
    if isinstance(tree, Refused):
        return tree
    if not any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in ast.walk(tree)
    ):
        return Refused("no function or class", "")
    return None


_PRINT = re.compile(r"[ \t]*print\b(?!\s*[=.,)\]])")


def without_prints(program: str) -> str:
    """A program without the lines that begin with a call of `print` (upstream rule; other lines of a longer call stay,
    and so may a block without a body: a seed's program is a hint and is never run)."""
    return "\n".join(line for line in program.split("\n") if not _PRINT.match(line))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
