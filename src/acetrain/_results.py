"""What an evaluation leaves: `report.json`, `table.md` and plots in a folder, then the table on standard output.

Files come first, each whole or not at all; so nothing that is wrong with standard output (a pipe whose reader has gone,
a full disk, an encoding without – and Δ) costs a verdict. Without a folder, a table that cannot be printed goes to
standard error.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from acedata._errors import BadInput

from ._evaluate import Evaluation
from ._table import Table, as_json, markdown, plot, terminals
from ._whole import write_whole

_WIDE = 10_000
"""Width of a console that is no terminal, in characters: whoever reads a file or a pipe has no edge to wrap at."""


def prepare(out: Path) -> None:
    """Makes the folder of the results, and sees that it takes files.

    Raises:
        BadInput: it does not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as file:
            file.write(b"-")
            file.flush()
    except OSError as error:
        raise BadInput(f"--out {out}: nothing can be written there: {error.strerror or error}") from error


def write(out: Path, made: Table, done: Sequence[Evaluation], say: Callable[[str], None]) -> bool:
    """Writes the report, the table and the plots; returns whether all plots could be drawn.

    Raises:
        OSError: the report or the table cannot be written.
    """
    write_whole(out / "report.json", as_json(made, done), errors="backslashreplace")
    write_whole(out / "table.md", markdown(made), errors="backslashreplace")
    drawn = True
    for one in done:
        path = out / f"{one.benchmark}.svg"
        try:
            text = plot(one)
            if text is not None:
                write_whole(path, text, errors="backslashreplace")
        except (OSError, ArithmeticError, ValueError) as error:
            drawn = False
            say(f"{path}: no plot: {type(error).__name__}: {error}")
    return drawn


def show(made: Table, out: Path | None, say: Callable[[str], None]) -> None:
    """Prints the table and its footnotes.

    Args:
        out: where the results lie already; None: nowhere.

    Raises:
        BrokenPipeError: the reader has gone.
        BadInput: standard output does not take it for another reason.
    """
    text = _rendered(made)
    if sys.stdout is None:  # closed by who started us
        return say(text)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if out is None:
            say(text)
        _give_up_output()
        if isinstance(error, BrokenPipeError):
            raise
        kept = f"it is in {out / 'table.md'}" if out is not None else "it went to standard error"
        raise BadInput(f"the table cannot be printed ({error.strerror}); {kept}") from error


def _rendered(made: Table) -> str:
    from rich.console import Console

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "–Δ─".encode(encoding)
        plain = False
    except UnicodeEncodeError:
        plain = True
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = Console().width if at_terminal else _WIDE
    to = io.StringIO()
    console = Console(file=to, width=width, force_terminal=at_terminal)
    for one in terminals(made, width, plain=plain):
        console.print(one)
    for note in made.footnotes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    text = to.getvalue()
    if plain:
        text = text.replace("–", "-").replace("─", "-")
    return text.encode(encoding, "replace").decode(encoding)


def _give_up_output() -> None:
    """What is left in standard output's buffer would be written, and fail, once more when Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # standard output is no file: there is no buffer to be flushed
