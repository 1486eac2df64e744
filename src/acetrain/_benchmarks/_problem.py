"""What every benchmark becomes: problems, one at a time, each with its tests and how its programs are judged."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from acedata._errors import BadInput
from acedata._python import parse
from acedata._rows import Row
from acesandbox import BadInput as BadTests
from acesandbox import Limits
from acesandbox._tests import Tests

Ask = Literal["code", "text"]
WORKER_LIMITS = Limits(memory_mb=4096)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a benchmark.

    Attributes:
        task_id: as published, with the benchmark's prefix where its files have bare numbers.
        prompt: the code that a `completion` goes on from; "" where there is none.
        question: what a model is asked.
        ask: "code": the question is the beginning of a program; "text": it is prose.
        tests: what programs are judged by.
        entry_point: name of the function under test.
        preamble, after: source that the benchmark's own harness sets before and behind every program.
        modules: top-level modules outside the standard library that prompt, tests or reference import.
        reference: a right program, where the benchmark has one.
        limits: of one program.
        where: file and line that it was read from.
        framed: the question as the benchmark's own harness shows it, between its instruction and the answer; None:
            that harness has no such form.
    """

    task_id: str
    prompt: str
    question: str
    ask: Ask
    tests: Tests
    entry_point: str | None
    preamble: str
    modules: frozenset[str]
    reference: str | None
    limits: Limits
    where: str
    after: str = ""
    framed: str | None = None

    def judged(self, program: str) -> str:
        """The program as it is judged."""
        return f"{self.preamble}{program}{self.after}"


@dataclass(frozen=True, slots=True)
class Spec:
    """A benchmark as it is published.

    Attributes:
        name: what users call it.
        title, variant: head of its column in the table, in two rows.
        hub: name of the data set on the hub.
        split: of it.
        sizes: numbers of problems that its published releases have; others are called partial.
        prefix: of its task ids, where its files may have bare numbers.
        problem: from a row to a problem.
        wide: programs may start processes and others' programs, use loopback sockets and shared memory.
        limits: of the sandbox's workers; problems bring their own times.
        hub_files: files to be read from the data set on the hub, where `datasets` cannot load it.
        preload: modules that every program imports.
    """

    name: str
    title: str
    variant: str
    hub: str
    split: str
    sizes: tuple[int, ...]
    prefix: str
    problem: Callable[[Row, Spec], Problem]
    wide: bool = False
    limits: Limits = WORKER_LIMITS
    hub_files: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()


@dataclass
class Benchmark:
    """A benchmark and where its rows are. Iterating reads it from the start, one problem in memory at a time; only the
    ids are kept."""

    spec: Spec
    rows: Callable[[], Iterable[Row]]
    path: str = ""
    problems: int = field(default=0, init=False)
    """How many there are; known after a whole pass."""
    _ids: dict[str, str] | None = field(default=None, init=False, repr=False)

    def ids(self) -> dict[str, str]:
        """Every task's id, by its `key_of`, in order. The first call reads the benchmark once, unless that was done
        already; so all that is wrong with its rows is found before anything is asked or judged.

        Raises:
            BadInput: a row that cannot be read.
        """
        if self._ids is None:
            for _ in self:
                pass
        return dict(self._ids or {})

    @property
    def name(self) -> str:
        return self.spec.name

    def __iter__(self) -> Iterator[Problem]:
        seen: dict[str, str] = {}
        ids: dict[str, str] = {}
        for row in self.rows():
            try:
                problem = self.spec.problem(row, self.spec)
            except BadTests as error:
                raise BadInput(f"{row.where}: {error}") from None
            key = key_of(problem.task_id, self.spec.prefix)
            if key in seen:
                raise BadInput(f"{row.where}: {problem.task_id} was there before, at {seen[key]}")
            seen[key] = row.where
            ids[key] = problem.task_id
            yield problem
        if not ids:
            raise BadInput(f"{self.path}: there is no problem in it")
        self.problems, self._ids = len(ids), ids


def key_of(task_id: object, prefix: str) -> str:
    """A task's id, the same for `2`, `"2"`, `Mbpp/2` and `MBPP/2` where the prefix is `Mbpp`."""
    text = str(task_id).strip()
    if prefix and text.isdigit():
        text = f"{prefix}/{text}"
    return text.casefold()


def text_of(row: Row, *names: str, optional: bool = False) -> str:
    """The first of these columns, which must hold text.

    Raises:
        BadInput: there is none, or it holds something else.
    """
    for name in names:
        value = row.values.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            raise BadInput(
                f"{row.where}: column {name!r} holds {type(value).__name__} where text is expected"
            )
    if optional:
        return ""
    wanted = " or ".join(map(repr, names))
    if any(name in row.values for name in names):
        raise BadInput(f"{row.where}: no column {wanted}: it is there, and null")
    have = ", ".join(map(repr, row.values)) or "none"
    raise BadInput(f"{row.where}: no column {wanted}; there are {have}")


def texts_of(row: Row, name: str) -> list[str]:
    """A column with a list of texts; [] where it is missing or null."""
    value = row.values.get(name)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{row.where}: column {name!r} must hold a list of texts")
    return list(value)


def task_id_of(row: Row, prefix: str, *names: str) -> str:
    for name in names:
        value: Any = row.values.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            text = str(value)
            return f"{prefix}/{text}" if prefix and text.isdigit() else text
    raise BadInput(f"{row.where}: no {' or '.join(map(repr, names))} that names the problem")


def foreign_modules(*sources: str | None) -> frozenset[str]:
    """Top-level modules outside the standard library that these sources import. What cannot be parsed, or is
    very long, is searched for lines that look like imports."""
    found: set[str] = set()
    for source in sources:
        if not source:
            continue
        tree = parse(source) if len(source) <= _LONG else None
        if not isinstance(tree, ast.Module):
            found.update(first or second for first, second in _IMPORT.findall(source))
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return frozenset(found - sys.stdlib_module_names)


_LONG = 30_000
"""Characters from which a script is not parsed: EvalPlus' are up to half a megabyte of literals under two imports."""
_IMPORT = re.compile(
    r"^[ \t]*(?:import[ \t]+([A-Za-z_]\w*)|from[ \t]+([A-Za-z_]\w*)[\w.]*[ \t]+import\b)", re.MULTILINE
)
