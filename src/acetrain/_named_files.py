"""Files as the command line names them: `FILE` for all benchmarks, `NAME=FILE` for one, `[NAME:]SCORE=FILE` for scores.

Everything is checked before a file is opened: a name that is no benchmark's, a file that is not named, a score's name
that another has.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from acedata._errors import BadInput

from ._benchmarks import canonical

RESERVED = ("greedy", "average", "oracle", "tests", "consensus")
"""Names of rows of the table, which no score from a file or a reward model can have."""


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A file of scores. `benchmark` is None where it is for all."""

    benchmark: str | None
    name: str
    path: str


def files_by_benchmark(texts: Sequence[str], benchmarks: Sequence[str], option: str) -> dict[str, str]:
    """The file for each benchmark that has one: its own before the one for all.

    Args:
        texts: `FILE` or `NAME=FILE` each; a name of a benchmark in any of its forms.
        benchmarks: names, as in `SPECS`.
        option: of the command, for messages.

    Raises:
        BadInput: an empty name or file, a name that is none of the benchmarks, or several files for one.
    """
    given: dict[str | None, list[str]] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        for_all = not equals or (canonical(name) not in benchmarks and bool(glob.glob(text)))
        if for_all:
            name, path = "", text
        elif canonical(name) not in benchmarks:
            raise _none_of(f"--{option} {text}", name, benchmarks)
        if not path:
            raise BadInput(f"--{option} {text}: there is no file named; expected FILE or NAME=FILE")
        given.setdefault(None if for_all else canonical(name), []).append(path)
    found = {}
    for benchmark in benchmarks:
        chosen = given.get(benchmark) or given.get(None) or []
        if len(chosen) > 1:
            raise BadInput(f"several files for {benchmark}: {', '.join(chosen)}")
        if chosen:
            found[benchmark] = chosen[0]
    return found


def score_files(texts: Sequence[str], benchmarks: Sequence[str]) -> list[ScoreFile]:
    """Files of scores, `SCORE=FILE`, or `NAME:SCORE=FILE` for one benchmark.

    Raises:
        BadInput: not in that form, a name that is none of the benchmarks, or a reserved one.
    """
    found = []
    for text in texts:
        name, _, path = text.partition("=")
        of, colon, score = name.rpartition(":")
        if not score or not path:
            raise BadInput(f"--scores {text}: expected SCORE=FILE, or NAME:SCORE=FILE for one benchmark")
        if colon and canonical(of) not in benchmarks:
            raise _none_of(f"--scores {text}", of, benchmarks)
        refuse_reserved(f"--scores {text}", score)
        found.append(ScoreFile(canonical(of) if colon else None, score, path))
    return found


def refuse_reserved(where: str, name: str) -> None:
    """Raises BadInput where a score has the name of another row of the table."""
    if name.casefold() in RESERVED:
        raise BadInput(f"{where}: a score cannot be named {name!r}; that is a row of the table by itself")


def refuse_same(names: Iterable[str], benchmark: str) -> None:
    """Raises BadInput where two scores of a benchmark have one name, but for small and capital letters."""
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            raise BadInput(
                f"{benchmark}: two scores have the same name, {seen[name.casefold()]!r} and {name!r}"
            )
        seen[name.casefold()] = name


def _none_of(where: str, name: str, benchmarks: Sequence[str]) -> BadInput:
    return BadInput(f"{where}: {name!r} is none of the benchmarks given ({', '.join(benchmarks)})")
