"""How much a question's tests can tell apart: mutants of the reference program, and the samples themselves.

Two measures, both off unless a recipe asks for them:

- **mutation score**: of small faults put into a program that passes all kept tests (`_mutants`), the share that at
  least one kept test notices. Questions whose tests notice too few are dropped: their pass rates say little.
- **telling tests**: a test that all samples pass, or none, moves every pass rate alike; one with the same passes as an
  earlier test counts the same thing twice. Such tests are dropped, but never below the least number of a published
  question. What is left weighs every difference between samples once.

As stages: `mutants` (a view: PROGRAMS), `mutant_matrix` (judged like samples, with `mutant_limits`), `strength` (a
view: STRENGTH); and after the samples were judged, `telling` (a view, in the schema of its questions), whose pass rates
are `pass_rates(telling, sample_matrix, judged=strength)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from acesandbox import Limits

from ._errors import BadInput
from ._matrix import (
    PASSED,
    Beside,
    Ints,
    chunks,
    exact,
    flat,
    join_drops,
    lists,
    make_drops,
    make_lists,
    names_equal,
    offsets_of,
    orders,
    rows_in,
    sums,
    within,
)
from ._mutants import mutants
from ._records import PROGRAMS, STRENGTH
from ._views import MIN_TESTS, View, mixed

MUTANT = "mutant"
NOT_RUN = "not_run"


def mutant_limits(limits: Limits) -> Limits:
    """Limits for judging mutants: a fault that makes a program hang is noticed by the first test that runs out of time.

    The time of all tests together shrinks to that of one. That costs no mutant its death and makes hanging ones, of
    which there are many, several times cheaper.
    """
    return limits.replace(program_cpu_s=min(limits.cpu_s, limits.program_cpu_s))


def mutant_programs(
    filtered: Iterable[Any],
    references: Iterable[Any],
    matrix: Iterable[Any],
    *,
    limit: int,
    seed: int = 0,
) -> Iterator[View]:
    """Mutants of every reference program that passes all kept tests of its question.

    Args:
        filtered: FILTERED.
        references: PROGRAMS of the reference models.
        matrix: MATRIX of the same programs over all tests of their questions.
        limit: most mutants of each reference program.
        seed: draws them, together with the question's id.

    Yields:
        PROGRAMS: `model` the reference's, `format` "mutant", `answer` what the fault is, `completion_id` counting on
        within a question; and drops: "no mutant" for questions without any.

    Raises:
        BadInput: the streams do not belong together.
    """
    programs, results = Beside(references, "references"), Beside(matrix, "reference matrix")
    for chunk in chunks(filtered):
        last = int(orders(chunk)[-1])
        sources, outcomes = _known(chunk, programs.through(last)), _known(chunk, results.through(last))
        rows: list[dict[str, Any]] = []
        made = np.zeros(chunk.num_rows, np.int64)
        for place, source in _believed(chunk, sources, outcomes):
            drawn = mutants(source["program"], limit, f"{seed} {source['id']} {source['completion_id']}")
            first = int(made[place])
            made[place] += len(drawn)
            for number, mutant in enumerate(drawn, first):
                rows.append(
                    {name: source[name] for name in ("id", "order", "model")}
                    | {"completion_id": number, "sample": 0, "format": MUTANT, "shown_tests": 0}
                    | {"ended": MUTANT, "answer": mutant.what, "program": mutant.program}
                )
        drops = make_drops(chunk, np.flatnonzero(made == 0), "no mutant", "")
        yield View(pa.RecordBatch.from_pylist(rows, schema=PROGRAMS), join_drops([drops]))


def _known(chunk: Any, rows: Any) -> Any:
    """Only the rows of a chunk's questions: the others were dropped by the filter."""
    if rows is None or not rows.num_rows:
        return None
    return rows.filter(pa.array(np.isin(orders(rows), orders(chunk))))


def _believed(chunk: Any, sources: Any, outcomes: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of its question and the row of each reference program that passes all kept tests."""
    if sources is None or outcomes is None or not sources.num_rows:
        return
    keys = ["order", "model", "completion_id"]
    if not sources.select(keys).equals(outcomes.select(keys)):
        raise BadInput(
            f"references and their matrix do not hold the same programs near order {int(orders(chunk)[0])}"
        )
    question = rows_in(orders(chunk), orders(outcomes), "reference matrix")
    kept, kept_lengths = lists(chunk.column("kept"))
    kept = kept.to_numpy().astype(np.int64)
    starts = offsets_of(kept_lengths)
    statuses, lengths = lists(outcomes.column("statuses"))
    passed, ends = names_equal(statuses, PASSED), offsets_of(lengths)
    for row in range(sources.num_rows):
        place = int(question[row])
        numbers = kept[starts[place] : starts[place + 1]]
        if len(numbers) and passed[ends[row] + numbers].all():
            source = sources.slice(row, 1).to_pylist()[0]
            if source["program"] is not None:
                yield place, source


def mutation_scores(
    filtered: Iterable[Any], matrix: Iterable[Any], *, min_score: float = 0.0
) -> Iterator[View]:
    """The share of mutants that the kept tests notice.

    A mutant is noticed ("killed") if at least one test does not pass. Tests that were not run, because the time of all
    tests was spent, notice nothing.

    Args:
        filtered: FILTERED.
        matrix: MATRIX of the mutants over the kept tests.
        min_score: questions below it are dropped. Those without mutants, of which nothing is known, stay.

    Yields:
        STRENGTH, and drops: "mutation score below 0.5".

    Raises:
        BadInput: the streams do not belong together.
    """
    if not 0 <= min_score <= 1:
        raise BadInput(f"min_score={min_score!r} must be from 0 to 1")
    least = exact(min_score)
    judged = Beside(matrix, "mutant matrix")
    for chunk in chunks(filtered):
        places = orders(chunk)
        rows = judged.through(int(places[-1]))
        made, killed = _deaths(rows, places)
        stays = killed * least.denominator >= made * least.numerator
        taken = pa.array(np.flatnonzero(stays))
        columns = [
            flat(chunk.column(field.name)).take(taken)
            for field in STRENGTH
            if field.name in chunk.schema.names
        ]
        counts = made[stays], killed[stays]
        score = pa.array(counts[1] / np.maximum(counts[0], 1), mask=counts[0] == 0)
        columns += [pa.array(count.astype(np.int32)) for count in counts] + [score]
        weak = np.flatnonzero(~stays)
        details = pa.array([f"{killed[place]} of {made[place]}" for place in weak], pa.large_string())
        drops = make_drops(chunk, weak, f"mutation score below {min_score:g}", details)
        yield View(pa.record_batch(columns, schema=STRENGTH), join_drops([drops]))
    judged.finish()


def _deaths(rows: Any, places: Ints) -> tuple[Ints, Ints]:
    """Mutants of each question, and how many of them some test noticed."""
    if rows is None or not rows.num_rows:
        return np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
    question = rows_in(places, orders(rows), "mutant matrix")
    statuses, lengths = lists(rows.column("statuses"))
    noticed = ~names_equal(statuses, PASSED) & ~names_equal(statuses, NOT_RUN)
    dead = sums(noticed, offsets_of(lengths)) > 0
    return np.bincount(question, minlength=len(places)), np.bincount(question[dead], minlength=len(places))


def telling_tests(
    filtered: Iterable[Any], matrix: Iterable[Any], *, min_tests: int = MIN_TESTS
) -> Iterator[View]:
    """Drops tests that tell no two samples apart, and those that tell apart only what an earlier test does.

    Args:
        filtered: FILTERED or STRENGTH.
        matrix: MATRIX of the samples over the kept tests.
        min_tests: a question keeps this many, the earliest of the dropped ones included.

    Yields:
        The same questions with fewer tests, in the schema of `filtered`; and drops per test: "tells no samples apart",
        "tells the same samples apart as an earlier test". Questions without samples keep all tests.

    Raises:
        BadInput: the streams do not belong together.
    """
    samples = Beside(matrix, "sample matrix")
    for chunk in chunks(filtered):
        places = orders(chunk)
        rows = samples.through(int(places[-1]))
        _, counts = lists(chunk.column("tests"))
        constant, repeated = _untelling(rows, places, counts)
        spare = constant | repeated
        starts = offsets_of(counts)
        # The earliest tests fill a question up that would be left with too few.
        missing = np.maximum(min_tests - sums(~spare, starts), 0)
        turn = np.zeros(len(spare), np.int64)
        turn[spare] = within(sums(spare, starts))
        keep = ~spare | (turn < np.repeat(missing, counts))

        kept = np.flatnonzero(keep)
        lengths = sums(keep, starts)
        columns = []
        for field in chunk.schema:
            column = flat(chunk.column(field.name))
            if field.name in ("tests", "kept", "confidence"):
                column = make_lists(field.type, lengths, lists(column)[0].take(pa.array(kept)))
            columns.append(column)
        of_question = np.repeat(np.arange(len(places)), counts)
        numbers = lists(chunk.column("kept"))[0].to_numpy().astype(np.int64)
        drops = []
        for which, reason in (
            (constant & ~keep, "tells no samples apart"),
            (repeated & ~keep, "tells the same samples apart as an earlier test"),
        ):
            gone = np.flatnonzero(which)
            drops.append(make_drops(chunk, of_question[gone], reason, "", numbers[gone]))
        yield View(pa.record_batch(columns, schema=chunk.schema), join_drops(drops))
    samples.finish()


def _untelling(rows: Any, places: Ints, counts: Ints) -> tuple[Any, Any]:
    """Which tests all samples pass or fail, and which others have the same passes as an earlier test of the question.

    A test's passes are compared by two sums of 64 mixed bits per sample. Two tests with different passes are taken for
    the same with a probability around 2 to the power of -120.
    """
    total = int(counts.sum())
    nothing = np.zeros(total, np.bool_)
    if rows is None or not rows.num_rows:
        return nothing, nothing
    question = rows_in(places, orders(rows), "sample matrix")
    statuses, lengths = lists(rows.column("statuses"))
    if not np.array_equal(lengths, counts[question]):
        raise BadInput(f"sample matrix: it is over other tests, somewhere from order {int(places[0])} on")
    starts = offsets_of(counts)
    test = np.repeat(starts[question], lengths) + within(lengths)
    passed = names_equal(statuses, PASSED)
    samples = np.repeat(np.bincount(question, minlength=len(places)), counts)
    passes = np.bincount(test[passed], minlength=total)
    constant = (samples > 0) & ((passes == 0) | (passes == samples))
    program = np.repeat(np.arange(len(question)), lengths)[passed]
    marks = []
    for seed in (1, 2):
        mark = np.zeros(total, np.uint64)
        np.add.at(mark, test[passed], mixed(seed, program))
        marks.append(mark)
    owner = np.repeat(np.arange(len(places)), counts)
    by = np.lexsort((np.arange(total), marks[1], marks[0], owner))
    same = np.zeros(total, np.bool_)
    alike = (owner[by][1:] == owner[by][:-1]) & (marks[0][by][1:] == marks[0][by][:-1])
    same[by[1:][alike & (marks[1][by][1:] == marks[1][by][:-1])]] = True
    return constant, same & ~constant & (samples > 0)
