"""How each stage's rows are made: the hands of `_build`, which decides what is to be made.

`make(work)` finishes every missing shard of one stage. There are four ways:

- loaded, and views of all rows: one stream of rows and drops, cut into shards as it comes;
- views of a shard: each missing shard by itself, from the same shard of the stages it reads;
- asked: first every request of all missing shards goes through the asker, so that no slow answer holds a shard up;
  what comes back is not kept, since the store keeps it. Then each shard's rows are made of what the store holds;
- judged: the questions of all missing shards are one stream into the sandboxes, so that no worker waits at a border;
  the rows that come back in order are cut into shards.

Writing (compression, fsync) happens in a thread of its own, while programs run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from . import _records as records
from ._ask import Progress as Asked
from ._ask import ask_all
from ._budget import Budget
from ._checks import checked_questions
from ._directory import Building, Counts, StageFiles, drops_table
from ._engines import Engine
from ._errors import BadInput, Stopped
from ._extract import extract_code
from ._formats import question_messages, render
from ._judge import Item, Program
from ._questions import ParsedQuestion, parse_question
from ._recipe import Recipe, SamplesConfig
from ._records import Drop
from ._requests import Answer, Failure, Request, Sampling
from ._signature import entry_point
from ._stages import Stage, local_files
from ._store import ResponseStore
from ._strength import mutant_programs, mutation_scores, telling_tests
from ._views import filter_questions, hard_questions, pass_rates, preference_pairs, published

NO_ANSWER = "no answer"


@dataclass(slots=True)
class Work:
    """One stage that is to be made, and what it is made with.

    Attributes:
        stage, recipe, building: which, by what, where.
        files: of the stage.
        engine, store, budget: judge, keep and pay. The store is None where no model is asked.
        advance: told about rows done, and about dollars spent since last told.
        stop: whether a person wants the build to stop: then nothing new is begun.
        shards: number and key of each shard, as far as known beforehand; filled in by loading stages.
        missing: which of them are not there, in order.
        facts: what the stage's telemetry is to say beside times.
        failures: requests without an answer, and why.
    """

    stage: Stage
    recipe: Recipe
    building: Building
    files: StageFiles
    engine: Engine
    store: ResponseStore | None
    budget: Budget
    advance: Callable[[int, float], None]
    stop: Callable[[], bool] = lambda: False
    shards: dict[int, str] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def shard(self, stage: str, shard: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of one shard of a stage that was read."""
        return self.building.shard(stage, shard, columns)

    def asked(self, name: str, progress: Asked, notes: Sequence[str]) -> None:
        """Adds what asking one model came to."""
        models = self.facts.setdefault("models", {})
        facts = models.setdefault(name, {"found": 0, "answered": 0, "failed": 0, "dollars": 0.0, "notes": []})
        facts["found"] += progress.found
        facts["answered"] += progress.answered
        facts["failed"] += progress.failed
        facts["dollars"] += progress.dollars
        facts["notes"] = sorted({*facts["notes"], *notes})
        for measured in ("lost", "lost_dollars", "call_seconds"):
            facts[measured] = facts.get(measured, 0) + getattr(progress, measured)
        for usage in progress.usage.values():
            for counted in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens"):
                facts[counted] = facts.get(counted, 0) + getattr(usage, counted)

    def failed(self, request: Request, failure: Failure) -> None:
        """Notes a request that got no answer."""
        self.failures.append(
            {
                "row": request.row,
                "model": request.model,
                "sample": request.sample,
                "reason": failure.reason,
                "detail": failure.detail,
            }
        )

    def number(self, order: int) -> int:
        """The shard that a row belongs to."""
        return order // self.recipe.shard_rows


def make(work: Work) -> None:
    """Makes every missing shard of a stage durable.

    Raises:
        BudgetReached, BackendError, JudgingFailed, BadInput, Stopped: shards made so far, and answers, stay.
    """
    with _Writer(work.files) as writer:
        match work.stage.kind:
            case "load":
                _cut(work, writer, _LOADERS[work.stage.name](work), counted=True)
            case "whole":
                _cut(work, writer, _WHOLE[work.stage.name](work))
            case "view":
                for shard in work.missing:
                    _check_stop(work)
                    parts = list(_VIEWS[work.stage.name](work, shard))
                    _write_view(work, writer, shard, [part[0] for part in parts], [part[1] for part in parts])
            case "ask":
                _ask(work, writer)
            case "judge":
                _judge(work, writer)


def _check_stop(work: Work) -> None:
    if work.stop():
        raise Stopped(f"stopped in the stage {work.stage.name!r}; the same command goes on from here")


# Writing.


class _Writer:
    """Writes shards in a thread of its own, two behind at most."""

    def __init__(self, files: StageFiles) -> None:
        self._files = files
        self._thread = ThreadPoolExecutor(1, "acedata-write")
        self._waiting: list[Future[None]] = []

    def write(
        self, shard: int, key: str, table: pa.Table, counts: Counts, drops: pa.Table, cpu: Any = None
    ) -> None:
        while len(self._waiting) > 1:
            self._waiting.pop(0).result()
        self._waiting.append(self._thread.submit(self._files.write, shard, key, table, counts, drops, cpu))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        # What was handed over is written, whatever ended the stage: it is whole, and the next run need not make it.
        self._thread.shutdown()
        for one in self._waiting:
            if kind is None:
                one.result()


def _table(batches: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Batches or tables of the same columns as one table of exactly this schema."""
    tables = [batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch]) for batch in batches]
    tables = [table.select(schema.names).cast(schema) for table in tables if table.num_rows]
    return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()


def _whole_rows(drops: pa.Table) -> int:
    return int(drops.column("item").null_count)


def _write_view(work: Work, writer: _Writer, shard: int, rows: list[Any], drops: list[Any]) -> None:
    """A shard of a view: what went in is what the first stage it reads has in this shard."""
    table, dropped = _table(rows, work.stage.schema), _table(drops, records.DROPS)
    note = work.building.record(work.stage.reads[0]).shards[f"{shard:05d}"]
    counts = Counts(rows_in=note.rows, rows_out=_units(work.stage, table))
    writer.write(shard, work.shards[shard], table, counts, dropped)
    work.advance(note.rows, 0.0)


def _units(stage: Stage, table: pa.Table) -> int:
    """How many of the stage's units are in its rows: of pairs and mutants, the questions that have some."""
    several = stage.name in ("pairs", "mutants")
    return int(pc.count_distinct(table.column("order")).as_py()) if several else table.num_rows


def _cut(work: Work, writer: _Writer, parts: Iterable[tuple[Any, Any]], counted: bool = False) -> None:
    """A stream of (rows, drops), both sorted by order, cut into shards.

    Args:
        counted: what goes in is not known from a stage before: it is what came out and what was dropped.
    """
    rows: dict[int, list[Any]] = {}
    drops: dict[int, list[Any]] = {}

    def flush(before: int | None) -> None:
        known = set(rows) | set(drops) if counted else set(work.missing)
        for shard in sorted(known):
            if (before is None or shard < before) and shard not in written:
                written.add(shard)
                mine, dropped = rows.pop(shard, []), drops.pop(shard, [])
                if counted:
                    work.shards[shard] = work.stage.shard_key(shard, work.building.manifest)
                    table, lost = _table(mine, work.stage.schema), _table(dropped, records.DROPS)
                    counts = Counts(rows_in=table.num_rows + _whole_rows(lost), rows_out=table.num_rows)
                    writer.write(shard, work.shards[shard], table, counts, lost)
                else:
                    _write_view(work, writer, shard, mine, dropped)

    written: set[int] = set()
    for made, dropped in parts:
        last = -1
        for batch, into in ((made, rows), (dropped, drops)):
            for shard, piece in _pieces(work, batch):
                into.setdefault(shard, []).append(piece)
                last = max(last, shard)
        if counted:
            work.advance(made.num_rows + dropped.num_rows, 0.0)
        flush(last)
        _check_stop(work)
    flush(None)


def _pieces(work: Work, batch: Any) -> Iterator[tuple[int, Any]]:
    """A batch, sorted by order, cut at the borders of shards."""
    if not batch.num_rows:
        return
    orders = batch.column("order")
    start = 0
    while start < batch.num_rows:
        shard = work.number(orders[start].as_py())
        stop = start
        border = (shard + 1) * work.recipe.shard_rows
        # Borders are rare: halve the way to the next one.
        low, high = start, batch.num_rows
        while low < high:
            middle = (low + high) // 2
            if orders[middle].as_py() < border:
                low = middle + 1
            else:
                high = middle
        stop = low
        yield shard, batch.slice(start, stop - start)
        start = stop


# Loaded.

_LOAD_ROWS = 1024


def _seeds(work: Work) -> Iterator[tuple[Any, Any]]:
    from ._seeds import iter_seeds

    rows: list[dict[str, Any]] = []
    drops: list[Drop] = []
    for found in iter_seeds(work.recipe.seeds, lambda source: local_files(work.recipe, source)):
        if isinstance(found, Drop):
            drops.append(found)
        else:
            rows.append(found._asdict())
        if len(rows) + len(drops) >= _LOAD_ROWS:
            yield pa.Table.from_pylist(rows, schema=records.SEEDS), drops_table(drops)
            rows, drops = [], []
    yield pa.Table.from_pylist(rows, schema=records.SEEDS), drops_table(drops)


def _started(work: Work) -> Iterator[tuple[Any, Any]]:
    """Questions that exist already, or the programs that came with them."""
    from ._import import iter_starts, program_rows, question_row

    programs = work.stage.name == "imported"
    rows: list[dict[str, Any]] = []
    drops: list[Drop] = []
    for found in iter_starts(work.recipe.seeds, lambda source: local_files(work.recipe, source)):
        if programs:
            # A row that holds no question is a drop of the stage `questions`.
            rows += [] if isinstance(found, Drop) else program_rows(found)
        elif isinstance(found, Drop):
            drops.append(found)
        else:
            rows.append(question_row(found))
        if len(rows) + len(drops) >= _LOAD_ROWS:
            yield pa.Table.from_pylist(rows, schema=work.stage.schema), drops_table(drops)
            rows, drops = [], []
    yield pa.Table.from_pylist(rows, schema=work.stage.schema), drops_table(drops)


_LOADERS: dict[str, Callable[[Work], Iterator[tuple[Any, Any]]]] = {
    "seeds": _seeds,
    "questions": _started,
    "imported": _started,
}


# Views.


def _checked(work: Work, batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    checks = work.recipe.checks
    if not (checks.signature or checks.decontaminate or checks.near_duplicates):
        yield from ((batch, drops_table([])) for batch in batches)
        return
    for kept, drops in checked_questions(
        batches, checks, lambda source: local_files(work.recipe, source), work.recipe.seed
    ):
        yield kept, drops_table(drops)


def _view_checked(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    yield from _checked(work, work.shard("questions", shard))


def _view_filtered(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    recipe = work.recipe
    if not recipe.references.models:
        yield from _unreferenced(work, shard)
        return
    again = work.shard("reference_matrix_again", shard) if recipe.filter.flaky else None
    yield from filter_questions(
        work.shard("checked", shard),
        work.shard("reference_matrix", shard),
        definition=recipe.definition,
        min_tests=recipe.filter.min_tests,
        agreement=recipe.filter.agreement,
        again=again,
        entry_point=entry_point,
    )


def _unreferenced(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    """Without reference programs every test is kept, with nothing known of it."""
    least = work.recipe.filter.min_tests - (work.recipe.definition == "upstream")
    for batch in work.shard("checked", shard):
        rows, drops = [], []
        for row in batch.to_pylist():
            tests = row["tests"]
            if len(tests) < least:
                drops.append(
                    Drop(
                        row["id"], row["order"], f"fewer than {least} tests", f"{len(tests)} of {len(tests)}"
                    )
                )
                continue
            rows.append(
                {
                    **{name: row[name] for name in ("id", "source", "order", "question", "tests")},
                    "kept": list(range(len(tests))),
                    "tests_before": len(tests),
                    "entry_point": entry_point(tests),
                    "confidence": [1.0] * len(tests),
                }
            )
        yield pa.Table.from_pylist(rows, schema=records.FILTERED), drops_table(drops)


def _view_mutants(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    recipe = work.recipe
    assert recipe.strength is not None
    yield from mutant_programs(
        work.shard("filtered", shard),
        work.shard("references", shard),
        work.shard("reference_matrix", shard),
        limit=recipe.strength.mutants,
        seed=recipe.seed,
    )


def _view_strength(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    assert work.recipe.strength is not None
    yield from mutation_scores(
        work.shard("filtered", shard),
        work.shard("mutant_matrix", shard),
        min_score=work.recipe.strength.min_score,
    )


def _view_telling(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    questions, matrix = work.stage.reads
    yield from telling_tests(
        work.shard(questions, shard), work.shard(matrix, shard), min_tests=work.recipe.filter.min_tests
    )


def _view_pass_rates(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    matrix, questions, *tried = work.stage.reads
    yield from pass_rates(
        work.shard(questions, shard),
        work.shard(matrix, shard),
        definition=work.recipe.definition,
        judged=work.shard(tried[0], shard) if tried else None,
    )


def _view_pairs(work: Work, shard: int) -> Iterator[tuple[Any, Any]]:
    recipe = work.recipe
    assert recipe.pairs is not None
    yield from preference_pairs(
        work.shard(work.stage.reads[0], shard),
        work.shard("samples", shard, ["order", "completion_id", "program"]),
        work.shard("pass_rates", shard),
        **recipe.pairs.model_dump(),
        definition=recipe.definition,
        seed=recipe.seed,
    )


_VIEWS: dict[str, Callable[[Work, int], Iterator[tuple[Any, Any]]]] = {
    "checked": _view_checked,
    "filtered": _view_filtered,
    "mutants": _view_mutants,
    "strength": _view_strength,
    "telling": _view_telling,
    "pass_rates": _view_pass_rates,
    "pairs": _view_pairs,
}


def _whole_hard(work: Work) -> Iterator[tuple[Any, Any]]:
    """Questions that are kept for pairs only ("upstream") do not count here, nor do their programs."""
    recipe = work.recipe
    assert recipe.hard is not None
    final, least = work.stage.reads[0], recipe.filter.min_tests
    unpublished = []
    orders = []
    for batch in work.building.batches(final, ["id", "order", "tests"]):
        enough = pc.greater_equal(pc.list_value_length(batch.column("tests")), least)
        orders.append(batch.column("order").filter(enough))
        unpublished += batch.filter(pc.invert(enough)).select(["id", "order"]).to_pylist()
    published_orders = pa.chunked_array(orders, pa.int64())
    drops = [
        Drop(row["id"], row["order"], f"fewer than {least} tests", "kept for pairs only")
        for row in unpublished
    ]
    rates = (
        batch.filter(pc.is_in(batch.column("order"), published_orders))
        for batch in work.building.batches("pass_rates")
    )
    questions = published(work.building.batches(final), least)
    for rows, lost in hard_questions(questions, rates, models=recipe.hard.models):
        last = max(
            (batch.column("order")[-1].as_py() for batch in (rows, lost) if batch.num_rows), default=-1
        )
        due = [drop for drop in drops if drop.order <= last]
        drops = drops[len(due) :]
        yield rows, pa.concat_tables([pa.Table.from_batches([lost]), drops_table(due)]).sort_by("order")
    yield records.HARD.empty_table(), drops_table(drops)


_WHOLE: dict[str, Callable[[Work], Iterator[tuple[Any, Any]]]] = {
    "checked": lambda work: _checked(work, work.building.batches("questions")),
    "hard": _whole_hard,
}


# Asked.


@dataclass(slots=True)
class _Asking:
    """One model's part of a stage: which requests, by row.

    Attributes:
        name: of the model in the recipe.
        requests: the draws of a row; the second and later ones of a question are asked only if those before are no use.
    """

    name: str
    requests: Callable[[Mapping[str, Any]], list[Request]]


def _ask(work: Work, writer: _Writer) -> None:
    failures: dict[bytes, Failure] = {}
    askings = _ASKS[work.stage.name](work)
    source, columns = work.stage.reads[0], _COLUMNS[work.stage.name]
    in_turn = work.stage.name == "questions"

    def rows() -> Iterator[dict[str, Any]]:
        for shard in work.missing:
            for batch in work.shard(source, shard, columns):
                for row in batch.to_pylist():
                    if work.stop():
                        return
                    yield row

    for asking in askings:
        if in_turn:
            attempts = work.recipe.questions.attempts if work.recipe.questions else 1
            for attempt in range(attempts):
                _collect(work, asking.name, _in_turn(work, rows(), asking, attempt), failures)
        else:
            _collect(work, asking.name, (one for row in rows() for one in asking.requests(row)), failures)

    for shard in work.missing:
        _check_stop(work)
        made, drops, counts = _BUILD[work.stage.name](work, shard, askings, failures)
        writer.write(shard, work.shards[shard], made, counts, drops_table(drops))


def _in_turn(work: Work, rows: Iterable[dict[str, Any]], asking: _Asking, attempt: int) -> Iterator[Request]:
    """The given attempt of those rows whose earlier attempts brought nothing that can be used."""
    assert work.store is not None
    for row in rows:
        requests = asking.requests(row)
        for earlier in requests[:attempt]:
            answer = work.store.get(earlier)
            if answer is None or _usable(answer) is not None:
                break
        else:
            yield requests[attempt]


def _collect(work: Work, name: str, requests: Iterable[Request], failures: dict[bytes, Failure]) -> None:
    """Has every request answered, as far as can be; answers are in the store then."""
    assert work.store is not None
    backend = work.engine.backend(work.recipe, name, work.store.path)
    latest = Asked()
    told = 0.0

    def on_progress(progress: Asked) -> None:
        nonlocal latest
        latest = progress

    for request, outcome in ask_all(requests, backend, work.store, work.budget, on_progress, close=True):
        if isinstance(outcome, Failure):
            failures[request.key] = outcome
            work.failed(request, outcome)
        spent = latest.dollars
        work.advance(1, spent - told)
        told = spent
    work.asked(name, latest, getattr(backend, "notes", []))
    _check_stop(work)


def _usable(answer: Answer) -> ParsedQuestion | None:
    if answer.ended == "refused":
        return None
    parsed = parse_question(answer.text)
    return parsed if isinstance(parsed, ParsedQuestion) else None


def _ask_questions(work: Work) -> list[_Asking]:
    asked = work.recipe.questions
    assert asked is not None

    def requests(row: Mapping[str, Any]) -> list[Request]:
        messages = question_messages(row["instruction"], row["program"], asked.format)
        return [
            _request(work.recipe, asked.model, messages, sample, row["id"])
            for sample in range(asked.attempts)
        ]

    return [_Asking(asked.model, requests)]


def _ask_programs(work: Work) -> list[_Asking]:
    config = work.recipe.references if work.stage.name == "references" else work.recipe.samples
    draws = config.n if isinstance(config, SamplesConfig) else 1

    def asking(name: str) -> _Asking:
        def requests(row: Mapping[str, Any]) -> list[Request]:
            rendered = render(config.format, row["question"], row["tests"], _entry_point(row))
            messages = rendered.messages(work.recipe.models[name].prefill)
            return [_request(work.recipe, name, messages, sample, row["id"]) for sample in range(draws)]

        return _Asking(name, requests)

    return [asking(name) for name in config.models]


def _entry_point(row: Mapping[str, Any]) -> str | None:
    return row["entry_point"] if "entry_point" in row else entry_point(row["tests"])


def _request(recipe: Recipe, name: str, messages: Any, sample: int, row: str) -> Request:
    model = recipe.models[name]
    sampling = Sampling(model.temperature, model.top_p, tuple(model.stop), model.json_answer)
    return Request(model.provider, model.model, messages, sampling, model.max_tokens, sample, row)


_Built = tuple[pa.Table, list[Drop], Counts]


def _build_questions(
    work: Work, shard: int, askings: Sequence[_Asking], failures: Mapping[bytes, Failure]
) -> _Built:
    asked = work.recipe.questions
    assert asked is not None and work.store is not None
    rows: list[dict[str, Any]] = []
    drops: list[Drop] = []
    counts = Counts()
    for batch in work.shard("seeds", shard):
        for seed in batch.to_pylist():
            counts.rows_in += 1
            reason, detail = "", ""
            for request in askings[0].requests(seed):
                answer = work.store.get(request)
                if answer is None:
                    reason, detail = NO_ANSWER, _why(failures.get(request.key))
                    counts.incomplete += 1
                    break
                if answer.ended == "refused":
                    reason, detail = "refused", ""
                    continue
                parsed = parse_question(answer.text)
                if isinstance(parsed, ParsedQuestion):
                    reason = ""
                    rows.append(
                        {
                            **{name: seed[name] for name in ("id", "source", "order")},
                            "question": parsed.question,
                            "tests": list(parsed.tests),
                            "model": asked.model,
                            "format": asked.format,
                            "sample": request.sample,
                        }
                    )
                    drops += [
                        Drop(seed["id"], seed["order"], lost.reason, lost.detail, lost.item)
                        for lost in parsed.dropped
                    ]
                    break
                reason, detail = parsed.reason, parsed.detail
                if answer.ended == "length":
                    reason, detail = "answer cut at max_tokens", f"{parsed.reason}: {parsed.detail}"
            if reason:
                drops.append(Drop(seed["id"], seed["order"], reason, detail))
    counts.rows_out = len(rows)
    return pa.Table.from_pylist(rows, schema=records.QUESTIONS), drops, counts


def _build_programs(
    work: Work, shard: int, askings: Sequence[_Asking], failures: Mapping[bytes, Failure]
) -> _Built:
    config = work.recipe.references if work.stage.name == "references" else work.recipe.samples
    source, columns = work.stage.reads[0], _COLUMNS[work.stage.name]
    if not askings:
        return _only_imported(work, shard)
    imported = _imported(work, shard) if "imported" in work.stage.reads else {}
    rows: list[dict[str, Any]] = []
    drops: list[Drop] = []
    counts = Counts()
    for batch in work.shard(source, shard, columns):
        for question in batch.to_pylist():
            given = imported.get(question["order"], [])
            rows += given
            counts.rows_in += len(given)
            shown = render(
                config.format, question["question"], question["tests"], _entry_point(question)
            ).shown_tests
            completion = max((row["completion_id"] for row in given), default=-1)
            for asking in askings:
                for request in asking.requests(question):
                    assert work.store is not None
                    completion += 1
                    counts.rows_in += 1
                    answer = work.store.get(request)
                    failure = failures.get(request.key)
                    counts.incomplete += answer is None or failure is not None
                    if answer is None:
                        detail = f"{asking.name}, sample {request.sample}: {_why(failure)}"
                        drops.append(Drop(question["id"], question["order"], NO_ANSWER, detail))
                        continue
                    refused = answer.ended == "refused"
                    rows.append(
                        {
                            "id": question["id"],
                            "order": question["order"],
                            "model": asking.name,
                            "completion_id": completion,
                            "sample": request.sample,
                            "format": config.format,
                            "shown_tests": shown,
                            "ended": answer.ended,
                            "answer": answer.text,
                            "program": None
                            if refused
                            else extract_code(answer.text, answer.prefilled, config.cut),
                        }
                    )
    counts.rows_out = len(rows)
    return pa.Table.from_pylist(rows, schema=records.PROGRAMS), drops, counts


def _only_imported(work: Work, shard: int) -> _Built:
    """The programs that came with the questions which are still there; there may be millions of them."""
    orders = [batch.column("order") for batch in work.shard(work.stage.reads[0], shard, ["order"])]
    known = pa.chunked_array(orders, pa.int64())
    rows = [batch.filter(pc.is_in(batch.column("order"), known)) for batch in work.shard("imported", shard)]
    table = _table(rows, records.PROGRAMS)
    return table, [], Counts(rows_in=table.num_rows, rows_out=table.num_rows)


def _imported(work: Work, shard: int) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for batch in work.shard("imported", shard):
        for row in batch.to_pylist():
            found.setdefault(row["order"], []).append(row)
    return found


def _why(failure: Failure | None) -> str:
    """Only the reason: details hold times and addresses, and lie in telemetry."""
    return failure.reason if failure is not None else "not asked"


_ASKS: dict[str, Callable[[Work], list[_Asking]]] = {
    "questions": _ask_questions,
    "references": _ask_programs,
    "samples": _ask_programs,
}
_COLUMNS = {
    "questions": ["id", "source", "order", "instruction", "program"],
    "references": ["id", "order", "question", "tests"],
    "samples": ["id", "order", "question", "tests", "entry_point"],
}
_BUILD: dict[str, Callable[[Work, int, Sequence[_Asking], Mapping[bytes, Failure]], _Built]] = {
    "questions": _build_questions,
    "references": _build_programs,
    "samples": _build_programs,
}


# Judged.


def _judge(work: Work, writer: _Writer) -> None:
    programs, questions = work.stage.reads
    rows: dict[int, list[Any]] = {}
    cpu: dict[int, list[Any]] = {}
    left = list(work.missing)

    def flush(before: int | None) -> None:
        while left and (before is None or left[0] < before):
            shard = left.pop(0)
            table = _table(rows.pop(shard, []), records.MATRIX)
            times = _table(cpu.pop(shard, []), records.CPU)
            note = work.building.record(programs).shards[f"{shard:05d}"]
            counts = Counts(rows_in=note.rows, rows_out=table.num_rows)
            writer.write(shard, work.shards[shard], table, counts, drops_table([]), times)

    def items() -> Iterator[Item]:
        for shard in work.missing:
            for item in _items(work, programs, questions, shard):
                if work.stop():
                    return
                yield item

    how = {"again": bool(work.stage.settings.get("again")), "mutants": work.stage.name == "mutant_matrix"}
    for judged in work.engine.judge(items(), work.recipe.judge, **how):
        last = -1
        for batch, into in ((judged.matrix, rows), (judged.cpu, cpu)):
            for shard, piece in _pieces(work, batch):
                into.setdefault(shard, []).append(piece)
                last = max(last, shard)
        work.advance(judged.matrix.num_rows, 0.0)
        flush(last)
    _check_stop(work)
    flush(None)


def _items(work: Work, programs: str, questions: str, shard: int) -> Iterator[Item]:
    """The questions of a shard with their programs."""
    columns = ["order", "model", "completion_id", "program"]
    waiting = _by_order(work.shard(programs, shard, columns))
    held = next(waiting, None)
    names = ["id", "order", "tests", *([] if questions == "checked" else ["entry_point"])]
    for batch in work.shard(questions, shard, names):
        for row in batch.to_pylist():
            if held is None or held[0] != row["order"]:
                continue
            yield Item(row["id"], row["order"], row["tests"], _entry_point(row), held[1])
            held = next(waiting, None)
    if held is not None:
        raise BadInput(f"{programs}: holds programs of a question (order {held[0]}) that {questions} has not")


def _by_order(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[Program]]]:
    order, found = -1, list[Program]()
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("order", "model", "completion_id", "program")]
        for place, model, completion, program in zip(*columns, strict=True):
            if place != order:
                if found:
                    yield order, found
                order, found = place, []
            found.append(Program(model, completion, program))
    if found:
        yield order, found
