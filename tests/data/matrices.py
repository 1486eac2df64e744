"""Made-up questions and matrices for tests: plain Python values, and the batches that views read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acedata._records import FILTERED, MATRIX, PASS_RATES, PROGRAMS, QUESTIONS

FAILURES = ("failed", "error", "cpu_timeout", "not_run")


@dataclass
class Sample:
    """A program and what came of it; `text` None: no code."""

    model: str
    completion_id: int
    text: str | None
    statuses: list[str]

    @property
    def passes(self) -> list[bool]:
        return [status == "passed" for status in self.statuses]


@dataclass
class Question:
    id: str
    order: int
    text: str
    tests: list[str]
    before: int
    programs: list[Sample] = field(default_factory=list)


def split(schema: pa.Schema, rows: Sequence[dict[str, Any]], seed: int) -> list[pa.RecordBatch]:
    """The rows in batches of random sizes, some of them empty, and in different dictionaries."""
    chance = random.Random(seed)
    made = []
    start = 0
    while start < len(rows) or not made:
        size = chance.choice((0, 1, 2, 3, 5, 100))
        made.append(pa.RecordBatch.from_pylist(list(rows[start : start + size]), schema=schema))
        start += size
    return made


def through_parquet(folder: Path, batches: Sequence[pa.RecordBatch], rows: int = 3) -> list[pa.RecordBatch]:
    """What a build writes and reads again."""
    path = folder / "part.parquet"
    with pq.ParquetWriter(path, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    file = pq.ParquetFile(path)
    return [
        batch
        for group in range(file.num_row_groups)
        for batch in file.iter_batches(batch_size=rows, row_groups=[group])
    ]


def question_rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {"id": q.id, "source": "evol", "order": q.order, "question": q.text, "tests": q.tests}
        | {"model": "writer", "format": "f", "sample": 0}
        for q in questions
    ]


def filtered_rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {"id": q.id, "source": "evol", "order": q.order, "question": q.text, "tests": q.tests}
        | {"kept": list(range(len(q.tests))), "tests_before": q.before, "entry_point": "f"}
        | {"confidence": [1.0] * len(q.tests)}
        for q in questions
    ]


def matrix_rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {"id": q.id, "order": q.order, "model": p.model, "completion_id": p.completion_id}
        | {"statuses": p.statuses, "sealed": [True] * len(p.statuses), "modes": ["plan"] * len(p.statuses)}
        | {"messages": [None if status == "passed" else "why" for status in p.statuses]}
        for q in questions
        for p in q.programs
    ]


def program_rows(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {"id": q.id, "order": q.order, "model": p.model, "completion_id": p.completion_id, "sample": 0}
        | {"format": "f", "shown_tests": 0, "ended": "stop", "answer": p.text or "", "program": p.text}
        for q in questions
        for p in q.programs
    ]


def questions_of(questions: Sequence[Question], seed: int = 0) -> list[pa.RecordBatch]:
    return split(QUESTIONS, question_rows(questions), seed)


def filtered_of(questions: Sequence[Question], seed: int = 1) -> list[pa.RecordBatch]:
    return split(FILTERED, filtered_rows(questions), seed)


def matrix_of(questions: Sequence[Question], seed: int = 2) -> list[pa.RecordBatch]:
    return split(MATRIX, matrix_rows(questions), seed)


def programs_of(questions: Sequence[Question], seed: int = 3) -> list[pa.RecordBatch]:
    return split(PROGRAMS, program_rows(questions), seed)


def rates_of(rows: Sequence[dict[str, Any]], seed: int = 4) -> list[pa.RecordBatch]:
    return split(PASS_RATES, rows, seed)


def listed(views: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows and all drops of a view, as Python values."""
    rows: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    for view in views:
        view.rows.validate(full=True)
        view.drops.validate(full=True)
        rows += view.rows.to_pylist()
        drops += view.drops.to_pylist()
    return rows, drops
