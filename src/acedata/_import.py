"""Reads datasets that hold questions with tests already, as the start of a build in place of seeds and synthesis.

Any Parquet, JSON or CSV file and any dataset on the hub will do. Columns are found by their published names, the first
that is there; a recipe may name others:

- the question: `question`, `prompt`, `text` or `problem`, a text;
- the tests: `test_cases`, `tests` or `test_list`, a list of texts, or the same as JSON in a text;
- the programs, if there are any: `inferences` or `programs`, a list of texts, or of objects with `completion` or
  `program` and, where they have them, `model_name` or `model`, `completion_id`, `pass_rate`;
- `id` or `task_id`, a text; without one, the source's name and the row's place, as for seeds;
- `source`, a text; without one, the source's name.

So AceCode-87K, AceCode-89K and AceCode-V2-122K need no settings. AceCodePair-300K (`instruction`, `chosen`, `rejected`
and no question) has lost most of what it was made from; what can be rebuilt is: the question and one test, from the
instruction; the policy's programs that are in some pair, one after the other as they first appear; not which policy it
was, not the other tests, not the pass rates. Rows of one question follow one another there, and become one.

Tests and programs are taken as they are, to the letter: nothing is normalised, cut or dropped, except that a program
which is not Python and has a fence in it is an answer, and goes through the extractor. Published pass rates are no part
of the build; they come beside the programs, to be compared with (`compare`).

A file that is not what it should be raises, with file, row and column; a row that is merely empty is dropped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import BadInput
from ._extract import blocks, extract_code
from ._formats import PAIR_FORMAT, pair_answer_program, pair_question
from ._python import Refused, parse
from ._recipe import ColumnsConfig, SeedsConfig, SourceConfig
from ._records import Drop
from ._rows import Row, iter_rows
from ._seeds import place_of

FORMAT = "imported"
"""Stands where a row says which prompt it was made with: that is not known."""
MODEL = "imported"
"""Stands where a row says which model made it, and its dataset does not say."""


class ImportedProgram(NamedTuple):
    """A program that came with a question.

    Attributes:
        model: as published.
        completion_id: as published; otherwise its place in the row. No two of a question are equal.
        sample: its place among the programs of its model.
        answer: the text as published.
        program: the same, or what was extracted of it; None where it holds no code.
        pass_rate: as published, for comparison.
    """

    model: str
    completion_id: int
    sample: int
    answer: str
    program: str | None
    pass_rate: float | None


@dataclass(frozen=True, slots=True)
class Start:
    """A question to start from.

    Attributes:
        id, source, order: as for seeds.
        question, tests: as published.
        programs: those that came with it.
        pairs: number of preference pairs that it was rebuilt from; 0 for other datasets.
    """

    id: str
    source: str
    order: int
    question: str
    tests: tuple[str, ...]
    programs: tuple[ImportedProgram, ...]
    pairs: int = 0


def iter_starts(
    seeds: SeedsConfig, files: Callable[[SourceConfig], list[Path] | None] | None = None
) -> Iterator[Start | Drop]:
    """All questions of a recipe's `start` sources, and the rows that hold none, in order.

    Two calls on the same sources give the same rows with the same ids and orders. Memory: one row and the ids.

    Args:
        seeds: the recipe's `seeds`; other kinds of sources are passed over.
        files: the files of a source, None for one on the hub; without it, paths are looked up as they are.

    Drops' reasons: "no question", "no tests", "not valid Unicode", "duplicate id", "not in the pair format".

    Raises:
        BadInput: a source cannot be read, or a column is missing or holds something else than it should.
    """
    order = 0
    ids: set[str] = set()
    for source in seeds.sources:
        if source.kind != "start":
            continue
        limit = min(wanted for wanted in (source.limit, seeds.limit, 1 << 62) if wanted is not None)
        kept = 0
        for start in _starts(source, iter_rows(place_of(source, files))):
            if kept >= limit:
                break
            if isinstance(start, Start) and start.id in ids:
                start = Drop(start.id, 0, "duplicate id", "an earlier row has it too")
            ids.add(start.id)
            kept += isinstance(start, Start)
            yield _with_order(start, order)
            order += 1


def _with_order(start: Start | Drop, order: int) -> Start | Drop:
    if isinstance(start, Drop):
        return Drop(start.id, order, start.reason, start.detail)
    return Start(start.id, start.source, order, start.question, start.tests, start.programs, start.pairs)


def _starts(source: SourceConfig, rows: Iterator[Row]) -> Iterator[Start | Drop]:
    first = next(rows, None)
    if first is None:
        return
    if {"instruction", "chosen", "rejected"} <= first.values.keys() and "question" not in first.values:
        yield from _from_pairs(source, _chain(first, rows))
    else:
        for row in _chain(first, rows):
            yield _from_row(source, row)


def _chain(first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rows


def question_row(start: Start) -> dict[str, Any]:
    """A row of QUESTIONS."""
    return {
        "id": start.id,
        "source": start.source,
        "order": start.order,
        "question": start.question,
        "tests": list(start.tests),
        "model": MODEL,
        "format": FORMAT,
        "sample": 0,
    }


def program_rows(start: Start) -> Iterator[dict[str, Any]]:
    """Rows of PROGRAMS."""
    for program in start.programs:
        yield {
            "id": start.id,
            "order": start.order,
            "model": program.model,
            "completion_id": program.completion_id,
            "sample": program.sample,
            "format": FORMAT,
            "shown_tests": 0,
            "ended": "stop",
            "answer": program.answer,
            "program": program.program,
        }


# ---- questions with tests ----

_QUESTIONS = ("question", "prompt", "text", "problem")
_TESTS = ("test_cases", "tests", "test_list")
_PROGRAMS = ("inferences", "programs")
_IDS = ("id", "task_id")


def _from_row(source: SourceConfig, row: Row) -> Start | Drop:
    id = _id(source, row)
    columns = source.columns
    question = _text(row, _find(row, columns.question, _QUESTIONS, "question"))
    tests = _tests(row, _find(row, columns.tests, _TESTS, "tests"))
    programs = _programs(row, columns)
    if question is None or not question.strip():
        return Drop(_named(id), 0, "no question", "")
    if not tests:
        return Drop(_named(id), 0, "no tests", "")
    texts = [id, _source(source, row), question, *tests]
    texts += [text for program in programs for text in (program.answer, program.model)]
    if not all(map(_is_unicode, texts)):
        return Drop(_named(id), 0, "not valid Unicode", "half a character")
    return Start(id, _source(source, row), 0, question, tests, programs)


def _id(source: SourceConfig, row: Row) -> str:
    name = source.columns.id or next((name for name in _IDS if name in row.values), None)
    value = row.values.get(name) if name else None
    if isinstance(value, str) and value:
        return value
    return f"{source.name}_{row.number}"


def _named(id: str) -> str:
    """An id as a drop can hold it."""
    return id.encode("utf-8", "replace").decode()


def _source(source: SourceConfig, row: Row) -> str:
    value = row.values.get("source")
    return value if isinstance(value, str) and value else source.name


def _find(row: Row, named: str | None, published: tuple[str, ...], what: str) -> str:
    names = (named,) if named else published
    found = next((name for name in names if name in row.values), None)
    if found is None:
        there = ", ".join(map(repr, row.values)) or "none"
        raise BadInput(
            f"{row.where}: no column {' or '.join(map(repr, names))} for the {what}; there are {there} "
            "(the recipe's `columns` can name another)"
        )
    return found


def _text(row: Row, column: str) -> str | None:
    value = row.values[column]
    if value is None or isinstance(value, str):
        return value
    raise BadInput(f"{row.where}, column {column!r}: {_kind(value)} where a text is expected")


def _tests(row: Row, column: str) -> tuple[str, ...]:
    value = row.values[column]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadInput(
                f"{row.where}, column {column!r}: a text that is no JSON list of tests: {error}"
            ) from error
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadInput(f"{row.where}, column {column!r}: {_kind(value)} where a list of texts is expected")
    for place, test in enumerate(value):
        if not isinstance(test, str):
            raise BadInput(
                f"{row.where}, column {column!r}, item {place}: {_kind(test)} where a text is expected"
            )
    return tuple(value)


def _programs(row: Row, columns: ColumnsConfig) -> tuple[ImportedProgram, ...]:
    column = columns.program or next((name for name in _PROGRAMS if name in row.values), None)
    if column is None:
        return ()
    if column not in row.values:
        _find(row, column, (), "programs")
    value = row.values[column]
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise BadInput(f"{row.where}, column {column!r}: {_kind(value)} where a list of programs is expected")
    found: list[ImportedProgram] = []
    counts: Counter[str] = Counter()
    taken: set[int] = set()
    for place, item in enumerate(value):
        where = f"{row.where}, column {column!r}, item {place}"
        program = _program(where, item if isinstance(item, dict) else {"completion": item}, place)
        if program.completion_id in taken:
            raise BadInput(f"{where}: completion_id {program.completion_id} comes twice")
        taken.add(program.completion_id)
        found.append(program._replace(sample=counts[program.model]))
        counts[program.model] += 1
    return tuple(found)


def _program(where: str, item: dict[str, Any], place: int) -> ImportedProgram:
    answer = item.get("completion", item.get("program"))
    if answer is None:
        answer = ""
    if not isinstance(answer, str):
        raise BadInput(f"{where}: {_kind(answer)} where a program is expected")
    model = item.get("model_name", item.get("model")) or MODEL
    number = item.get("completion_id")
    number = place if number is None else number
    rate = item.get("pass_rate")
    if not isinstance(model, str):
        raise BadInput(f"{where}, model_name: {_kind(model)} where a text is expected")
    if isinstance(number, bool) or not isinstance(number, int):
        raise BadInput(f"{where}, completion_id: {_kind(number)} where a whole number is expected")
    if not -(2**63) <= number < 2**63:
        raise BadInput(f"{where}, completion_id: does not fit in 64 bits")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float))):
        raise BadInput(f"{where}, pass_rate: {_kind(rate)} where a number is expected")
    if rate is not None and not 0 <= rate <= 1:
        raise BadInput(f"{where}, pass_rate: {str(rate)[:20]} where a number from 0 to 1 is expected")
    return ImportedProgram(model, number, 0, answer, _code(answer), None if rate is None else float(rate))


def _code(answer: str) -> str | None:
    if not answer.strip():
        return None
    if "```" in answer and isinstance(parse(answer), Refused) and blocks(answer):
        return extract_code(answer)
    return answer


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- preference pairs ----


def _from_pairs(source: SourceConfig, rows: Iterator[Row]) -> Iterator[Start | Drop]:
    group: list[Row] = []
    for row in rows:
        instruction = _text(row, "instruction")
        if group and instruction != group[0].values["instruction"]:
            yield _from_group(source, group)
            group = []
        group.append(row)
    if group:
        yield _from_group(source, group)


def _from_group(source: SourceConfig, group: list[Row]) -> Start | Drop:
    id = f"{source.name}_{group[0].number}"
    found = pair_question(group[0].values["instruction"] or "")
    if found is None:
        return Drop(id, 0, "not in the pair format", f"the instruction is not that of {PAIR_FORMAT}")
    programs: dict[str, ImportedProgram] = {}
    for row in group:
        for column in ("chosen", "rejected"):
            answer = _text(row, column) or ""
            if answer not in programs:
                place = len(programs)
                code = pair_answer_program(answer) or extract_code(answer)
                programs[answer] = ImportedProgram(MODEL, place, place, answer, code, None)
    question, test = found
    if not all(map(_is_unicode, (question, test, *programs))):
        return Drop(id, 0, "not valid Unicode", "half a character")
    return Start(id, source.name, 0, question, (test,), tuple(programs.values()), len(group))


# ---- published pass rates beside ours ----


@dataclass(slots=True)
class Comparison:
    """Published pass rates beside ours.

    Attributes:
        equal, higher, lower: programs whose rate is the published one, above it, below it.
        unknown: programs without a published rate.
        reasons: for each difference, what kept our rate from being the published one: the commonest status among the
            tests that did not pass, and its message where all of them have one; or "passes here".
        rows: the differences, in order: (id, completion_id, model, published, ours, reason).
    """

    equal: int = 0
    higher: int = 0
    lower: int = 0
    unknown: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rows: list[tuple[str, int, str, float, float, str]] = field(default_factory=list)


MAX_ROWS = 1000
"""Most differences that a `Comparison` lists; all are counted."""


def compare(starts: Iterable[Start | Drop], matrix: Iterable[Any]) -> Comparison:
    """Published pass rates against an execution matrix of the same programs over the same tests.

    Both in the order of the build; memory: one batch of the matrix and one question.

    Args:
        starts: what `iter_starts` gives.
        matrix: batches or tables of MATRIX over the questions' own tests (no test filtered out).
    """
    found = Comparison()
    published: dict[tuple[int, int], float | None] = {}
    remaining = iter(starts)
    upto = -1
    for batch in matrix:
        for row in batch.select(
            ["id", "order", "model", "completion_id", "statuses", "messages"]
        ).to_pylist():
            while upto < row["order"]:
                start = next(remaining, None)
                if start is None:
                    break
                upto = start.order
                if isinstance(start, Start):
                    published = {(upto, each.completion_id): each.pass_rate for each in start.programs}
            _compare(found, row, published.get((row["order"], row["completion_id"])))
    return found


def _compare(found: Comparison, row: dict[str, Any], published: float | None) -> None:
    statuses: list[str] = row["statuses"]
    if published is None or not statuses:
        found.unknown += 1
        return
    passed = statuses.count("passed")
    ours = passed / len(statuses)
    # Published rates are fractions of some number of tests in double precision.
    if abs(ours - published) < 1e-9:
        found.equal += 1
        return
    if ours > published:
        found.higher += 1
        reason = "passes here"
    else:
        found.lower += 1
        failures = [pair for pair in zip(statuses, row["messages"], strict=True) if pair[0] != "passed"]
        status, _ = Counter(status for status, _ in failures).most_common(1)[0]
        messages = {message for each, message in failures if each == status}
        reason = f"{status}: {messages.pop()}"[:200] if len(messages) == 1 else status
    found.reasons[reason] += 1
    if len(found.rows) < MAX_ROWS:
        found.rows.append((row["id"], row["completion_id"], row["model"], published, ours, reason))
