"""Samples files: what a model wrote for the problems of a benchmark, one JSON object per line.

    {"task_id": "HumanEval/0", "solution": "…"}       a whole program
    {"task_id": "HumanEval/0", "completion": "…"}     goes on from the problem's prompt
    {"task_id": "HumanEval/0", "sample": "…"}         an answer, from which the program is taken

`program` is another name of `solution`; `answer`, `output` and `response` are other names of `sample`. LiveCodeBench's
own form, `{"question_id", "code_list": […]}` or `"output_list"`, holds several samples in one object. A row may also
say `"greedy": true`, or `"prefilled": true` of an answer that goes on inside a code block which its prompt had opened,
and bring a `"score"`, or `"scores": {"name": number}`, of a reward model.

Samples of a task are numbered from 0 in the order of the file; the greedy one is not among them. A file of scores
refers to these numbers: `{"task_id", "index", "score"}` per sample, or `{"task_id", "scores": […]}` per task.

All programs of a file are held in memory: 64 samples of a thousand problems are about a hundred megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acedata import extract_code
from acedata._errors import BadInput
from acedata._rows import Place, Row, iter_rows

from ._benchmarks import Problem, key_of
from ._finite import finite
from ._scoring import MAX_ANSWER

Kind = Literal["solution", "completion", "answer", "continuation"]
_COLUMNS: dict[str, Kind] = {
    "solution": "solution",
    "program": "solution",
    "completion": "completion",
    "sample": "answer",
    "answer": "answer",
    "output": "answer",
    "response": "answer",
}
_LISTS: dict[str, Kind] = {"code_list": "solution", "output_list": "answer"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a model.

    Attributes:
        kind: how `text` becomes a program.
        text: what the model wrote.
        where: file and line.
        scores: numbers of reward models by name, "score" where the row does not name it.
    """

    kind: Kind
    text: str
    where: str
    scores: dict[str, float] = field(default_factory=dict)

    def program(self, problem: Problem) -> str | None:
        """The whole program; None where an answer has none, or is too long to look for one (see `too_long`)."""
        if self.kind == "completion":
            return problem.prompt + self.text
        if self.too_long:
            return None
        if self.kind in ("answer", "continuation"):
            return extract_code(self.text, self.kind == "continuation")
        return self.text

    @property
    def too_long(self) -> bool:
        """Whether it is an answer of more than `MAX_ANSWER` characters, in which no program is looked for."""
        return self.kind in ("answer", "continuation") and len(self.text) > MAX_ANSWER


@dataclass(slots=True)
class TaskSamples:
    """The samples of one task, and its greedy one if the file has it."""

    task_id: str
    where: str
    samples: list[Sample] = field(default_factory=list)
    greedy: Sample | None = None


class Samples:
    """A samples file, read whole.

    Args:
        path: file, folder or glob; JSON Lines, JSON or Parquet, plain or gzip.
        prefix: of the benchmark's task ids, for files with bare numbers.
        greedy: every row is a greedy one.

    Raises:
        BadInput: with file and line, a row that is no sample, or whose score is no finite number; or a second greedy
            sample of a task.
    """

    def __init__(self, path: str | Path, prefix: str = "", *, greedy: bool = False) -> None:
        self.path = str(path)
        self.prefix = prefix
        self.tasks: dict[str, TaskSamples] = {}
        self.add(path, greedy=greedy)

    def add(self, path: str | Path, *, greedy: bool = False) -> None:
        """Reads one more file, for instance that of the greedy samples.

        Raises:
            BadInput: as for the first file.
        """
        rows = 0
        for row in iter_rows(Place(str(path)), hint=""):
            rows += 1
            task_id = task_id_in(row)
            key = key_of(task_id, self.prefix)
            task = self.tasks.setdefault(key, TaskSamples(task_id, row.where))
            for sample, is_greedy in _samples(row):
                if not (greedy or is_greedy):
                    task.samples.append(sample)
                elif task.greedy is None:
                    task.greedy = sample
                else:
                    raise BadInput(
                        f"{row.where}: a second greedy sample of {task_id}; the first is at {task.greedy.where}"
                    )
        if not rows:
            raise BadInput(f"{path}: there is no sample in it")

    @property
    def count(self) -> int:
        """How many samples there are, greedy ones among them."""
        return sum(len(task.samples) + (task.greedy is not None) for task in self.tasks.values())

    def score_names(self) -> list[str]:
        """Names of the scores that every sample has.

        Raises:
            BadInput: some samples have a score and others have not.
        """
        first: dict[str, str] = {}
        lacking: str | None = None
        every = [sample for task in self.tasks.values() for sample in task.samples]
        for sample in every:
            for name in sample.scores:
                first.setdefault(name, sample.where)
        for name, where in first.items():
            lacking = next((sample.where for sample in every if name not in sample.scores), None)
            if lacking is not None:
                raise BadInput(f"{lacking}: no score {name!r}, though {where} has one")
        return list(first)

    def add_scores(self, name: str, path: str | Path) -> None:
        """Reads a file of scores.

        Raises:
            BadInput: with file and line: an unknown task or sample, a score that is no finite number, a second score;
                or a sample that got none; or the rows of the samples have scores of this name already.
        """
        for one in self.tasks.values():
            for sample in one.samples:
                if name in sample.scores:
                    raise BadInput(f"{path}: there are scores named {name!r} already, at {sample.where}")
        given: dict[tuple[str, int], tuple[str, float]] = {}
        for row in iter_rows(Place(str(path)), hint=""):
            task_id = task_id_in(row)
            key = key_of(task_id, self.prefix)
            task = self.tasks.get(key)
            if task is None:
                raise BadInput(f"{row.where}: no samples of {task_id} in {self.path}")
            for index, score in _scores(row):
                if not 0 <= index < len(task.samples):
                    raise BadInput(
                        f"{row.where}: {task_id} has no sample {index}; it has {len(task.samples)}, numbered from 0"
                    )
                if (key, index) in given:
                    raise BadInput(
                        f"{row.where}: a second score of sample {index} of {task_id}; the first is at "
                        f"{given[key, index][0]}"
                    )
                given[key, index] = row.where, score
        for key, task in self.tasks.items():
            for index, sample in enumerate(task.samples):
                if (key, index) not in given:
                    raise BadInput(f"{path}: no score of sample {index} of {task.task_id} ({sample.where})")
        for (key, index), (_, score) in given.items():
            self.tasks[key].samples[index].scores[name] = score


def task_id_in(row: Row) -> str:
    """The task that a row is of: `task_id`, or LiveCodeBench's `question_id`.

    Raises:
        BadInput: with the row's place: there is none, or it is neither a text nor a whole number.
    """
    present = [name for name in ("task_id", "question_id") if name in row.values]
    for name in present:
        value = row.values[name]
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    if present:
        said = json.dumps(row.values[present[0]], default=str)[:80]
        raise BadInput(f"{row.where}: {present[0]!r} must be a text or a whole number, not {said}")
    raise BadInput(f"{row.where}: no 'task_id'; there are {', '.join(map(repr, row.values)) or 'no columns'}")


def _samples(row: Row) -> Iterator[tuple[Sample, bool]]:
    scores = _row_scores(row)
    greedy, prefilled = row.values.get("greedy"), row.values.get("prefilled")
    for name, value in (("greedy", greedy), ("prefilled", prefilled)):
        if value is not None and not isinstance(value, bool):
            raise BadInput(f"{row.where}: {name!r} must be true or false, not {value!r}")
    for column, kind in _LISTS.items():
        texts = row.values.get(column)
        if texts is None:
            continue
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadInput(f"{row.where}: {column!r} must be a list of texts")
        for text in texts:
            yield Sample(kind, text, row.where, dict(scores)), bool(greedy)
        return
    present = [column for column in _COLUMNS if row.values.get(column) is not None]
    if not present:
        have = ", ".join(repr(name) for name, value in row.values.items() if value is not None) or "none"
        raise BadInput(f"{row.where}: no 'solution', 'completion' or 'sample'; there are {have}")
    text = row.values[present[0]]
    if not isinstance(text, str):
        raise BadInput(f"{row.where}: {present[0]!r} must be a text, not {type(text).__name__}")
    kind = _COLUMNS[present[0]]
    if prefilled and kind != "answer":
        raise BadInput(f"{row.where}: 'prefilled' is for an answer ('sample'), not for {present[0]!r}")
    yield Sample("continuation" if prefilled else kind, text, row.where, scores), bool(greedy)


def _row_scores(row: Row) -> dict[str, float]:
    found: dict[str, float] = {}
    named = row.values.get("scores")
    if named is not None:
        if not isinstance(named, dict):
            raise BadInput(f"{row.where}: 'scores' must be an object from name to number")
        for name, value in named.items():
            found[str(name)] = _number(row, f"scores.{name}", value)
    if row.values.get("score") is not None:
        found["score"] = _number(row, "score", row.values["score"])
    return found


def _scores(row: Row) -> Iterator[tuple[int, float]]:
    listed = row.values.get("scores")
    if isinstance(listed, list):
        for index, value in enumerate(listed):
            yield index, _number(row, f"scores[{index}]", value)
        return
    at = row.values.get("index")
    if isinstance(at, bool) or not isinstance(at, int):
        raise BadInput(f"{row.where}: a row of scores has 'index' and 'score', or a list 'scores'")
    yield at, _number(row, "score", row.values.get("score"))


def _number(row: Row, what: str, value: Any) -> float:
    return finite(value, f"{row.where}: {what}")
