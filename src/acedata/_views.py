"""What a dataset is made of, as pure views of execution matrices: kept tests, pass rates, pairs, hard questions.

Every view takes streams of batches sorted by `order` and gives a stream of (rows, drops). It holds a few hundred
questions at a time, never loops over results, and its output depends on its input and arguments alone. Rows of one
question are never spread over two of its batches.

Two definitions. "paper" is the text of AceCoder (2025), section 3: strict inequalities, pass rates over the kept tests,
both compared as fractions of whole numbers, so that a pass rate which exceeds another by 0.4 exactly is not taken for
more. "upstream" is what the released scripts compute from the same matrix:

- the pass rate is divided by the number of tests before filtering;
- pairs are also made for questions with one kept test fewer than published questions have (4 where 5 is the least):
  they stay in `filtered`, and `published` leaves them out of everything else;
- `>=` stands for `>`, in double precision as there: a difference of 0.4 exactly counts as 0.4 or as a hair less,
  depending on the two rates (0.85 - 0.45 is less);
- no pairs for questions with a character outside ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._agreement import agreed
from ._errors import BadInput
from ._flaky import same_programs, shaky_tests
from ._matrix import (
    PASSED,
    Beside,
    Bools,
    Floats,
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
from ._records import FILTERED, HARD, PAIRS, PASS_RATES, TEXTS

Definition = Literal["paper", "upstream"]
MIN_TESTS = 5


class View(NamedTuple):
    """Rows of a view and what it left out, for the same stretch of questions."""

    rows: pa.RecordBatch
    drops: pa.RecordBatch


# ---- filter ----


def filter_questions(
    questions: Iterable[Any],
    matrix: Iterable[Any],
    *,
    definition: Definition = "paper",
    min_tests: int = MIN_TESTS,
    agreement: float = 1.0,
    again: Iterable[Any] | None = None,
    entry_point: Callable[[list[str]], str | None] | None = None,
) -> Iterator[View]:
    """Keeps the tests that the reference programs pass, and the questions that have enough of them.

    Args:
        questions: QUESTIONS.
        matrix: MATRIX of the reference programs over all tests of their questions.
        definition: "upstream" keeps questions with one test fewer too, for pairs (see `published`).
        min_tests: least kept tests of a question.
        agreement: least share of a question's reference programs that must pass a test. Any share of one program is 1.
        again: MATRIX of the same programs judged again with another hash seed; a test that a program passes only once
            is dropped as non-deterministic.
        entry_point: names the function that tests call; asked for questions that are kept. None: the column is null.

    Yields:
        FILTERED, and drops: a row per test ("fails on the reference program", "too few reference programs pass",
        "non-deterministic test") and per question ("no reference program", "fewer than 5 tests").

    Raises:
        BadInput: the streams do not belong together.
    """
    programs = Beside(matrix, "reference matrix")
    repeats = None if again is None else Beside(again, "second reference matrix")
    least = min_tests - (definition == "upstream")
    share = exact(agreement)
    if not 0 < share <= 1:
        raise BadInput(
            f"agreement={agreement!r} must be a share of reference programs, above 0 and at most 1"
        )
    for chunk in chunks(questions):
        yield _filtered(chunk, programs, repeats, least, min_tests, share, entry_point)
    programs.finish()
    if repeats is not None:
        repeats.finish()


def _filtered(
    chunk: Any,
    programs: Beside,
    repeats: Beside | None,
    least: int,
    min_tests: int,
    share: Any,
    entry_point: Callable[[list[str]], str | None] | None,
) -> View:
    places = orders(chunk)
    texts, counts = lists(chunk.column("tests"))
    starts = offsets_of(counts)
    total = int(starts[-1])

    rows = programs.through(int(places[-1]))
    results = _results(rows, places, counts, starts, "reference matrix")
    solvers = np.bincount(results.question, minlength=len(places))
    passed = np.bincount(results.test[results.passed], minlength=total)
    of_test = np.repeat(solvers, counts)
    keep = agreed(passed, of_test, share)

    shaky = np.zeros(total, np.bool_)
    if repeats is not None:
        second = repeats.through(int(places[-1]))
        other = _results(second, places, counts, starts, "second reference matrix")
        if not same_programs(rows, second):
            raise BadInput(
                "the two reference matrices do not hold the same programs "
                f"between orders {int(places[0])} and {int(places[-1])}"
            )
        shaky = shaky_tests(total, results.test, results.passed, other.passed)
        keep &= ~shaky

    kept_counts = sums(keep, starts)
    survives = kept_counts >= least
    stays = np.flatnonzero(survives)
    taken: Bools = keep & np.repeat(survives, counts)
    taken_places = np.flatnonzero(taken)
    with np.errstate(invalid="ignore"):
        confidence = passed / of_test

    left = pa.array(stays)
    kept_lengths = kept_counts[stays]
    tests = make_lists(TEXTS, kept_lengths, texts.take(pa.array(taken_places)))
    columns = {
        name: flat(chunk.column(name)).take(left).cast(FILTERED.field(name).type)
        for name in ("id", "source", "order", "question")
    }
    columns["tests"] = tests
    columns["kept"] = make_lists(
        FILTERED.field("kept").type, kept_lengths, pa.array(within(counts)[taken_places])
    )
    columns["tests_before"] = pa.array(counts[stays].astype(np.int32))
    columns["entry_point"] = (
        pa.nulls(len(stays), pa.string())
        if entry_point is None
        else pa.array([entry_point(listed) for listed in tests.to_pylist()], pa.string())
    )
    columns["confidence"] = make_lists(
        FILTERED.field("confidence").type, kept_lengths, pa.array(confidence[taken_places])
    )
    kept = pa.record_batch([columns[name] for name in FILTERED.names], schema=FILTERED)

    of_question = np.repeat(np.arange(len(places)), counts)
    drops = [
        *_test_drops(chunk, of_question, within(counts), keep, shaky, solvers, passed, results),
    ]
    unsolved = solvers == 0
    drops.append(make_drops(chunk, np.flatnonzero(unsolved & ~survives), "no reference program", ""))
    poor = np.flatnonzero(~survives & ~unsolved)
    details = [f"{kept_counts[place]} of {counts[place]}" for place in poor]
    drops.append(make_drops(chunk, poor, f"fewer than {least} tests", pa.array(details, pa.large_string())))
    return View(kept, join_drops(drops))


def _test_drops(
    chunk: Any,
    of_question: Ints,
    number: Ints,
    keep: Bools,
    shaky: Bools,
    solvers: Ints,
    passed: Ints,
    results: _Results,
) -> Iterator[Any]:
    """A drop for every test that was not kept; the detail is a status where there is one reference program."""
    lone = solvers[of_question] == 1
    places = np.flatnonzero(~keep & lone & ~shaky)
    if len(places):
        # Where each test's result lies; one program, so there is one.
        where = np.zeros(len(keep), np.int64)
        where[results.test] = np.arange(len(results.test))
        statuses = results.statuses.take(pa.array(where[places])).cast(pa.string())
        yield make_drops(
            chunk, of_question[places], "fails on the reference program", statuses, number[places]
        )
    places = np.flatnonzero(~keep & (solvers[of_question] > 1) & ~shaky)
    if len(places):
        details = [f"{passed[place]} of {solvers[of_question[place]]}" for place in places]
        yield make_drops(
            chunk,
            of_question[places],
            "too few reference programs pass",
            pa.array(details, pa.large_string()),
            number[places],
        )
    places = np.flatnonzero(shaky)
    yield make_drops(chunk, of_question[places], "non-deterministic test", "", number[places])


class _Results(NamedTuple):
    """All results of a stretch of questions, flat. `question`: per program; the others: per result."""

    question: Ints
    test: Ints
    passed: Bools
    statuses: Any


def _results(rows: Any, places: Ints, counts: Ints, starts: Ints, what: str) -> _Results:
    if rows is None:
        none = np.zeros(0, np.int64)
        return _Results(none, none, none.astype(np.bool_), pa.array([], pa.string()))
    question = rows_in(places, orders(rows), what)
    statuses, lengths = lists(rows.column("statuses"))
    wrong = np.flatnonzero(lengths != counts[question])
    if len(wrong):
        row = int(wrong[0])
        raise BadInput(
            f"{what}: question {rows.column('id')[row].as_py()} has {int(counts[question[row]])} tests and "
            f"{int(lengths[row])} results"
        )
    test = np.repeat(starts[question], lengths) + within(lengths)
    return _Results(question, test, names_equal(statuses, PASSED), statuses)


def published(filtered: Iterable[Any], min_tests: int = MIN_TESTS) -> Iterator[Any]:
    """The questions that are published: under "upstream", `filtered` holds some more, for pairs."""
    for batch in filtered:
        enough = pc.greater_equal(pc.list_value_length(batch.column("tests")), min_tests)
        yield batch.filter(enough)


# ---- pass rates ----


def pass_rates(
    filtered: Iterable[Any],
    matrix: Iterable[Any],
    *,
    definition: Definition = "paper",
    judged: Iterable[Any] | None = None,
) -> Iterator[View]:
    """How much of its question's tests each program passes.

    Args:
        filtered: FILTERED.
        matrix: MATRIX of the samples over the kept tests.
        judged: FILTERED of the same questions with the tests that `matrix` is over, where these are more than those of
            `filtered`: then results of the others do not count. None: they are the same.
        definition: "paper" divides by the kept tests, "upstream" by the tests before filtering.

    Yields:
        PASS_RATES, a row per program, and no drops.

    Raises:
        BadInput: the streams do not belong together.
    """
    samples = Beside(matrix, "sample matrix")
    wider = None if judged is None else Beside(judged, "judged questions")
    for chunk in chunks(filtered):
        places = orders(chunk)
        _, of = lists(chunk.column("tests"))
        rows = samples.through(int(places[-1]))
        asked = chunk if wider is None else wider.through(int(places[-1]))
        if rows is None or not rows.num_rows:
            continue
        _, counts = lists(asked.column("tests"))
        results = _results(rows, places, counts, offsets_of(counts), "sample matrix")
        passing = results.passed
        if wider is not None:
            passing = passing & _still_there(chunk, asked)[results.test]
        passed = sums(passing, offsets_of(counts[results.question]))
        if definition == "upstream":
            of = flat(chunk.column("tests_before")).to_numpy().astype(np.int64)
        tests = of[results.question]
        made = {name: flat(rows.column(name)) for name in ("id", "order", "model", "completion_id")}
        made["passed"] = pa.array(passed.astype(np.int32))
        made["tests"] = pa.array(tests.astype(np.int32))
        made["pass_rate"] = pa.array(passed / np.maximum(tests, 1))
        yield View(
            pa.record_batch(
                [made[name].cast(PASS_RATES.field(name).type) for name in PASS_RATES.names], schema=PASS_RATES
            ),
            join_drops([]),
        )
    samples.finish()
    if wider is not None:
        wider.finish()


def _still_there(chunk: Any, judged: Any) -> Bools:
    """Which of the judged tests, flat, are among a chunk's."""
    if not np.array_equal(orders(chunk), orders(judged)):
        raise BadInput(f"the judged questions are not those of the tests, near order {int(orders(chunk)[0])}")
    left, lengths = lists(chunk.column("kept"))
    all_of_them, widths = lists(judged.column("kept"))
    left, all_of_them = left.to_numpy().astype(np.int64), all_of_them.to_numpy().astype(np.int64)
    size = int(max(left.max(initial=0), all_of_them.max(initial=0))) + 1
    wanted = np.repeat(np.arange(len(lengths)), lengths) * size + left
    there = np.repeat(np.arange(len(widths)), widths) * size + all_of_them
    if not np.isin(wanted, there).all():
        raise BadInput(f"a test was kept that was not judged, near order {int(orders(chunk)[0])}")
    return np.isin(there, wanted)


# ---- pairs ----


def preference_pairs(
    filtered: Iterable[Any],
    samples: Iterable[Any],
    rates: Iterable[Any],
    *,
    models: Sequence[str],
    definition: Definition = "paper",
    margin: float = 0.4,
    chosen_above: float = 0.8,
    rejected_above: float = 0.0,
    cap: int | None = None,
    balance: bool = False,
    seed: int = 0,
) -> Iterator[View]:
    """Pairs of one policy's programs for one question, the better of which is clearly better.

    A pair (i, j) of programs with pass rates s_i and s_j is made if s_i > s_j + `margin`, s_i > `chosen_above` and
    s_j > `rejected_above`. Under "upstream" the first two are >=, in double precision.

    Args:
        filtered: FILTERED.
        samples: PROGRAMS of the policies; needed for their text, by which duplicates are known.
        rates: PASS_RATES of the same programs, row for row.
        models: whose programs are paired, each with its own only.
        cap: most pairs of a question, chosen by `seed`; None: all.
        balance: under a cap, prefer pairs of programs that are in few pairs of the question yet.
        seed: of the choice under a cap. The choice of one question does not depend on the others.

    Yields:
        PAIRS, by question and policy, the best chosen program first and against it the worst first, as the released
        pairs are; and drops: per question ("no sample", "no pair", under "upstream" "question is not ASCII"), per pair
        ("duplicate pair", "over the cap of the question", `item` being the chosen program's completion_id). A pair with
        a program that is null is never made, since that passes no test.

    Raises:
        BadInput: the streams do not belong together, or a threshold is out of range.
    """
    rule = _Rule.of(definition, margin, chosen_above, rejected_above)
    if cap is not None and cap < 1:
        raise BadInput(f"cap={cap!r} must be at least one pair per question")
    programs, passes = Beside(samples, "samples"), Beside(rates, "pass rates")
    for chunk in chunks(filtered):
        last = int(orders(chunk)[-1])
        yield _pairs(
            chunk, programs.through(last), passes.through(last), tuple(models), rule, cap, balance, seed
        )
    programs.finish()
    passes.finish()


class _Rule(NamedTuple):
    definition: Definition
    margin: Any
    chosen: Any
    rejected: Any

    @classmethod
    def of(cls, definition: Definition, margin: float, chosen: float, rejected: float) -> _Rule:
        for name, value in (("margin", margin), ("chosen_above", chosen), ("rejected_above", rejected)):
            if not 0 <= value <= 1:
                raise BadInput(f"{name}={value!r} must be from 0 to 1")
        if definition not in ("paper", "upstream"):
            raise BadInput(f"definition={definition!r} is unknown; there are paper, upstream")
        return cls(definition, exact(margin), exact(chosen), exact(rejected))

    def may_be_chosen(self, passed: Ints, tests: Ints) -> Bools:
        left, right = passed * self.chosen.denominator, tests * self.chosen.numerator
        # A correctly rounded quotient meets the double nearest to a fraction exactly when it equals that fraction.
        good: Bools = left >= right if self.definition == "upstream" else left > right
        return good

    def may_be_rejected(self, passed: Ints, tests: Ints) -> Bools:
        good: Bools = passed * self.rejected.denominator > tests * self.rejected.numerator
        return good

    def most_rejected(self, passed: Ints, tests: Ints) -> Ints:
        """How many tests a program may pass at most to be rejected against one that passes `passed`."""
        gap = passed * self.margin.denominator - tests * self.margin.numerator
        if self.definition == "paper":
            strict: Ints = (gap - 1) // self.margin.denominator
            return strict
        at = gap // self.margin.denominator
        limit = float(self.margin)
        rate = passed / tests
        most: Ints = np.where(rate - at / tests >= limit, at, at - 1)
        return np.minimum(np.where(rate - (at + 1) / tests >= limit, at + 1, most), passed)


def _pairs(
    chunk: Any,
    programs: Any,
    rates: Any,
    models: tuple[str, ...],
    rule: _Rule,
    cap: int | None,
    balance: bool,
    seed: int,
) -> View:
    places = orders(chunk)
    if rates is None or not rates.num_rows:
        everyone = np.arange(len(places))
        return View(
            pa.RecordBatch.from_pylist([], schema=PAIRS),
            join_drops([make_drops(chunk, everyone, "no sample", "")]),
        )
    if programs is None or not programs.select(["order", "completion_id"]).equals(
        rates.select(["order", "completion_id"])
    ):
        raise BadInput(
            f"samples and pass rates do not hold the same programs between orders {int(places[0])} "
            f"and {int(places[-1])}"
        )
    question = rows_in(places, orders(rates), "pass rates")
    completion = flat(rates.column("completion_id")).to_numpy()
    passed = flat(rates.column("passed")).to_numpy().astype(np.int64)
    tests = flat(rates.column("tests")).to_numpy().astype(np.int64)
    policy = pc.fill_null(pc.index_in(flat(rates.column("model")), pa.array(models, pa.string())), -1)
    policy = policy.to_numpy(zero_copy_only=False).astype(np.int64)
    counted = policy >= 0
    sampled = np.bincount(question[counted], minlength=len(places)) > 0
    usable = counted & (tests > 0)
    plain = np.ones(len(places), np.bool_)
    if rule.definition == "upstream":
        plain = pc.string_is_ascii(flat(chunk.column("question"))).to_numpy(zero_copy_only=False)
        usable &= plain[question]

    # Programs of one policy for one question stand together, the best first.
    row = np.flatnonzero(usable)
    row = row[np.lexsort((completion[row], -passed[row], policy[row], question[row]))]
    first, second = _matched(row, question, policy, passed, tests, rule)
    text = flat(pc.dictionary_encode(flat(programs.column("program")))).indices
    text = pc.fill_null(text, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    fresh = _first_of_each(question[first], text[first], text[second])
    drops = _pair_drops(chunk, question, completion, first[~fresh], second[~fresh], "duplicate pair")
    first, second = first[fresh], second[fresh]
    if cap is not None:
        under = _under_cap(places[question[first]], completion[first], completion[second], cap, balance, seed)
        over = f"over the cap of {cap} pairs"
        drops += _pair_drops(chunk, question, completion, first[~under], second[~under], over)
        first, second = first[under], second[under]

    paired = np.zeros(len(places), np.bool_)
    paired[question[first]] = True
    drops.append(make_drops(chunk, np.flatnonzero(~sampled), "no sample", ""))
    drops.append(make_drops(chunk, np.flatnonzero(sampled & ~plain), "question is not ASCII", ""))
    drops.append(make_drops(chunk, np.flatnonzero(sampled & plain & ~paired), "no pair", ""))
    rate = flat(rates.column("pass_rate")).to_numpy()
    taken = pa.array(first)
    columns = {
        "id": flat(rates.column("id")).take(taken),
        "order": flat(rates.column("order")).take(taken),
        "model": flat(rates.column("model")).take(taken),
        "chosen": pa.array(completion[first]),
        "rejected": pa.array(completion[second]),
        "chosen_pass_rate": pa.array(rate[first]),
        "rejected_pass_rate": pa.array(rate[second]),
        "margin": pa.array((passed[first] - passed[second]) / np.maximum(tests[first], 1)),
    }
    made = pa.record_batch([columns[name].cast(PAIRS.field(name).type) for name in PAIRS.names], schema=PAIRS)
    return View(made, join_drops(drops))


def _matched(
    row: Ints, question: Ints, policy: Ints, passed: Ints, tests: Ints, rule: _Rule
) -> tuple[Ints, Ints]:
    """All pairs the rule allows. `row`: programs by question, policy and falling number of passed tests.

    Within a group, what may be rejected against a program is a stretch at the group's lower end: whoever passes few
    enough tests, and not too few. So the work is in proportion to the pairs that come out.
    """
    if not len(row):
        return row, row
    begins = np.flatnonzero(
        np.r_[True, (question[row][1:] != question[row][:-1]) | (policy[row][1:] != policy[row][:-1])]
    )
    group = np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, len(row)]))
    counts, of = passed[row], tests[row]
    # One rising key over all groups: the group, then falling numbers of passed tests.
    width = int(of.max()) + 2
    key = group * width + (width - 1 - counts)
    most = np.clip(rule.most_rejected(counts, of), -1, width - 2)
    start = np.searchsorted(key, group * width + (width - 1 - most), side="left")
    allowed = rule.may_be_rejected(counts, of)
    ends = np.r_[begins[1:], len(row)]
    stop = ends[group] - sums(~allowed, np.r_[begins, len(row)])[group]
    length = np.where(rule.may_be_chosen(counts, of), np.maximum(stop - start, 0), 0)
    i = np.repeat(np.arange(len(row)), length)
    j = np.repeat(stop, length) - 1 - within(length)  # the worst first
    return row[i], row[j]


def _first_of_each(*keys: Ints) -> Bools:
    """Which rows are the first with their keys."""
    fresh = np.ones(len(keys[0]), np.bool_)
    if len(fresh):
        by = np.lexsort(keys[::-1])  # stable
        same = np.ones(len(by) - 1, np.bool_)
        for key in keys:
            same &= key[by][1:] == key[by][:-1]
        fresh[by[1:][same]] = False
    return fresh


def _under_cap(order: Ints, chosen: Ints, rejected: Ints, cap: int, balance: bool, seed: int) -> Bools:
    """Which pairs are among the `cap` of their question that the seed prefers."""
    lot = mixed(seed, order, chosen, rejected)
    turn = np.zeros(len(order), np.int64)
    if balance:
        # How many pairs of the same chosen (rejected) program the lot puts before this one.
        turn = np.maximum(_rank(lot, order, chosen), _rank(lot, order, rejected))
    by = np.lexsort((lot, turn, order))
    under = np.zeros(len(order), np.bool_)
    if len(by):
        begins = np.flatnonzero(np.r_[True, order[by][1:] != order[by][:-1]])
        under[by[within(np.diff(np.r_[begins, len(by)])) < cap]] = True
    return under


def _rank(lot: Any, *group: Ints) -> Ints:
    by = np.lexsort((lot, *group))
    changes = np.zeros(max(len(by) - 1, 0), np.bool_)
    for key in group:
        changes |= key[by][1:] != key[by][:-1]
    begins = np.flatnonzero(np.r_[True, changes]) if len(by) else by
    ranks = np.zeros(len(by), np.int64)
    ranks[by] = within(np.diff(np.r_[begins, len(by)])) if len(by) else by
    return ranks


def mixed(seed: int, *keys: Ints) -> Any:
    """64 well-mixed bits of each row of whole numbers: the steps of SplitMix64 (Steele et al., 2014), key by key."""
    with np.errstate(over="ignore"):
        state = np.full(len(keys[0]), np.uint64(seed & (1 << 64) - 1), np.uint64)
        for key in keys:
            state = (state ^ key.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    return state


def _pair_drops(
    chunk: Any, question: Ints, completion: Ints, first: Ints, second: Ints, reason: str
) -> list[Any]:
    if not len(first):
        return []
    detail = pc.binary_join_element_wise(
        "chosen ",
        pa.array(completion[first]).cast(pa.string()),
        ", rejected ",
        pa.array(completion[second]).cast(pa.string()),
        "",
    )
    return [make_drops(chunk, question[first], reason, detail, completion[first])]


# ---- hard ----


def hard_questions(filtered: Iterable[Any], rates: Iterable[Any], *, models: Sequence[str]) -> Iterator[View]:
    """The questions for reinforcement learning: low mean pass rate, and among those high spread.

    First stay the questions whose mean pass rate is at most the median of all means; of these, those whose population
    standard deviation is at least the median of theirs. Ties stay, so the result can be more than a quarter.

    Args:
        filtered: FILTERED, published questions only (see `published`).
        rates: PASS_RATES.
        models: whose programs count.

    Yields:
        HARD, and drops: "mean pass rate above the median", "deviation below the median", "no sample".

    Raises:
        BadInput: the streams do not belong together.
    """
    passes = Beside(rates, "pass rates")
    kept: list[Any] = []
    mean_parts, variance_parts, counted_parts = [], [], []
    for chunk in chunks(filtered):
        places = orders(chunk)
        rows = passes.through(int(places[-1]))
        mean, variance, counted = _spread(rows, places, models)
        kept.append(pa.record_batch([flat(chunk.column("id")), flat(chunk.column("order"))], ["id", "order"]))
        mean_parts.append(mean)
        variance_parts.append(variance)
        counted_parts.append(counted)
    if not kept:
        return
    mean, variance = np.concatenate(mean_parts), np.concatenate(variance_parts)
    counted = np.concatenate(counted_parts)
    middle = np.median(mean[counted]) if counted.any() else 0.0
    low = counted & (mean <= middle)
    # Variances order as deviations do, and their median falls between the same two questions.
    bound = np.median(variance[low]) if low.any() else 0.0
    hard = low & (variance >= bound)
    deviation = np.sqrt(variance)

    start = 0
    for batch in kept:
        stretch = slice(start, start + batch.num_rows)
        start += batch.num_rows
        chosen = np.flatnonzero(hard[stretch])
        columns = {
            "id": flat(batch.column("id")).take(pa.array(chosen)),
            "order": flat(batch.column("order")).take(pa.array(chosen)),
            "mean": pa.array(mean[stretch][chosen]),
            "deviation": pa.array(deviation[stretch][chosen]),
        }
        rows = pa.record_batch(
            [columns[name].cast(HARD.field(name).type) for name in HARD.names], schema=HARD
        )
        drops = [make_drops(batch, np.flatnonzero(~counted[stretch]), "no sample", "")]
        for places, reason, value, limit in (
            (
                np.flatnonzero((counted & ~low)[stretch]),
                "mean pass rate above the median",
                mean[stretch],
                middle,
            ),
            (
                np.flatnonzero((low & ~hard)[stretch]),
                "deviation below the median",
                deviation[stretch],
                bound**0.5,
            ),
        ):
            details = [f"{value[place]:.4f}; the median is {limit:.4f}" for place in places]
            drops.append(make_drops(batch, places, reason, pa.array(details, pa.large_string())))
        yield View(rows, join_drops(drops))


def _spread(rows: Any, places: Ints, models: Sequence[str]) -> tuple[Floats, Floats, Bools]:
    """Mean and population variance of each question's pass rates, and whether it has any.

    All programs of a question have the same number of tests n, so both are quotients of whole numbers: with m programs
    that pass p tests each, sum(p) / mn and (m sum(p²) - sum(p)²) / (mn)². Rounded once, equal fractions are equal.
    """
    size = len(places)
    if rows is None or not rows.num_rows:
        return np.zeros(size), np.zeros(size), np.zeros(size, np.bool_)
    question = rows_in(places, orders(rows), "pass rates")
    wanted = pc.is_in(flat(rows.column("model")), pa.array(list(models), pa.string()))
    wanted = wanted.to_numpy(zero_copy_only=False)
    question = question[wanted]
    passed = flat(rows.column("passed")).to_numpy().astype(np.int64)[wanted]
    tests = np.zeros(size, np.int64)
    tests[question] = flat(rows.column("tests")).to_numpy().astype(np.int64)[wanted]
    programs = np.bincount(question, minlength=size).astype(np.int64)
    total, squares = np.zeros(size, np.int64), np.zeros(size, np.int64)
    np.add.at(total, question, passed)
    np.add.at(squares, question, passed * passed)
    of = np.maximum(programs * tests, 1)
    return total / of, (programs * squares - total * total) / (of * of), programs > 0
