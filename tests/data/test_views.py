"""The views against a literal reading of the paper, and of the released scripts, over random matrices.

The reading is written in the slowest and plainest way: loops over questions, programs and tests, in fractions where the
paper has real numbers and in doubles where the scripts have them.
"""

from __future__ import annotations

import statistics
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acedata._errors import BadInput
from acedata._records import FILTERED, HARD, PAIRS, PASS_RATES
from acedata._views import filter_questions, hard_questions, pass_rates, preference_pairs, published
from tests.data.matrices import (
    FAILURES,
    Question,
    Sample,
    filtered_of,
    listed,
    matrix_of,
    program_rows,
    programs_of,
    questions_of,
    rates_of,
    split,
    through_parquet,
)

MODELS = ("small", "large", "other")
settings.register_profile("views", deadline=None)  # the first example pays for imports
settings.load_profile("views")

POINT_FOUR, POINT_EIGHT = Fraction(2, 5), Fraction(4, 5)


@st.composite
def statuses(draw: st.DrawFn, tests: int) -> list[str]:
    """Many programs pass all tests or nearly so, many few: random subsets would hardly ever make a pair."""
    passed = min(draw(st.sampled_from((0, 1, 2, tests, tests, tests - 1, tests // 2))), tests)
    passed = draw(st.integers(0, tests)) if passed < 0 or draw(st.booleans()) else passed
    failure = draw(st.sampled_from(FAILURES))
    first = draw(st.integers(0, max(tests - 1, 0)))
    names = ["passed"] * passed + [failure] * (tests - passed)
    return names[first:] + names[:first]


@st.composite
def questions(draw: st.DrawFn, programs: int = 6, models: tuple[str, ...] = MODELS) -> list[Question]:
    """Questions with programs over all their tests. Numbers of tests at which 0.4 and 0.8 are met exactly are many."""
    made = []
    order = draw(st.integers(0, 5))
    for number in range(draw(st.integers(0, 5))):
        tests = draw(st.sampled_from((0, 3, 4, 5, 5, 6, 10, 15, 20, 25, 35)))
        text = draw(st.sampled_from(("Write f.", "Schreib f, größer.", "Write g.")))
        before = tests + draw(st.integers(0, 5))
        question = Question(f"evol_{number}", order, text, [f"assert f({n})" for n in range(tests)], before)
        order += draw(st.integers(1, 3))
        for completion in range(draw(st.integers(0, programs))):
            program = draw(st.sampled_from(("a", "b", "c", "d", None)))
            verdict = ["not_run"] * tests if program is None else draw(statuses(tests))
            question.programs.append(Sample(draw(st.sampled_from(models)), completion, program, verdict))
        made.append(question)
    return made


# ---- the literal reading ----


def read_filter(asked: list[Question], least: int) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Which tests of which question are kept, and why a question is not."""
    kept: dict[str, list[int]] = {}
    gone: dict[str, str] = {}
    for question in asked:
        if not question.programs:
            gone[question.id] = "no reference program"
            continue
        numbers = []
        for number in range(len(question.tests)):
            if all(program.passes[number] for program in question.programs):
                numbers.append(number)
        if len(numbers) < least:
            gone[question.id] = f"fewer than {least} tests"
        else:
            kept[question.id] = numbers
    return kept, gone


def read_pairs_of_the_paper(question: Question, models: tuple[str, ...]) -> list[tuple[str, int, int]]:
    pairs = []
    for model in models:
        own = [program for program in question.programs if program.model == model]
        found = []
        for better in own:
            for worse in own:
                if not question.tests:
                    continue
                s_i = Fraction(sum(better.passes), len(question.tests))
                s_j = Fraction(sum(worse.passes), len(question.tests))
                if s_i > s_j + POINT_FOUR and s_i > POINT_EIGHT and s_j > 0:
                    found.append((-s_i, better.completion_id, s_j, -worse.completion_id, better, worse))
        for *_, better, worse in sorted(found, key=lambda entry: entry[:4]):
            pairs.append((model, better, worse))
    seen = set()
    distinct = []
    for model, better, worse in pairs:
        if (better.text, worse.text) not in seen:
            seen.add((better.text, worse.text))
            distinct.append((model, better.completion_id, worse.completion_id))
    return distinct


def read_pairs_of_the_scripts(question: Question, models: tuple[str, ...]) -> list[tuple[str, int, int]]:
    if not question.text.isascii() or not question.before:
        return []
    distinct = []
    seen = set()
    for model in models:
        own = [program for program in question.programs if program.model == model]
        rated = [(program, sum(program.passes) / question.before) for program in own]
        rated = sorted(rated, key=lambda entry: entry[1], reverse=True)
        for j in range(len(rated) - 1):
            for k in range(len(rated) - 1, j, -1):
                (better, high), (worse, low) = rated[j], rated[k]
                good = max(high, low) >= 0.8 and abs(low - high) >= 0.4 and min(high, low) > 0
                if good and (better.text, worse.text) not in seen:
                    seen.add((better.text, worse.text))
                    distinct.append((model, better.completion_id, worse.completion_id))
    return distinct


def read_hard(asked: list[Question], models: tuple[str, ...], divisors: dict[str, int]) -> set[str]:
    figures = {}
    for question in asked:
        rates = [
            Fraction(sum(program.passes), max(divisors[question.id], 1))
            for program in question.programs
            if program.model in models
        ]
        if rates:
            mean = sum(rates) / len(rates)
            variance = sum((rate - mean) ** 2 for rate in rates) / len(rates)
            figures[question.id] = (mean, (Decimal(variance.numerator) / variance.denominator).sqrt())
    if not figures:
        return set()
    middle = statistics.median(mean for mean, _ in figures.values())
    low = {name: deviation for name, (mean, deviation) in figures.items() if mean <= middle}
    bound = statistics.median(low.values())
    # Square roots are irrational: half the sum of two equal ones may differ from them in the last of the 80 digits.
    return {name for name, deviation in low.items() if deviation >= bound - Decimal("1e-70")}


# ---- the views against it ----


def rates_rows(asked: list[Question], definition: Any = "paper", seed: int = 0) -> list[dict[str, Any]]:
    rows, drops = listed(
        pass_rates(filtered_of(asked, seed), matrix_of(asked, seed + 1), definition=definition)
    )
    assert drops == []
    return rows


def without_identical_contradictions(asked: list[Question]) -> list[Question]:
    """Programs with the same text have the same verdict, as judging makes sure."""
    for question in asked:
        first: dict[str | None, list[str]] = {}
        for program in question.programs:
            program.statuses = first.setdefault(program.text, program.statuses)
    return asked


@given(
    questions(programs=1, models=("reference",)), st.integers(0, 99), st.sampled_from(("paper", "upstream"))
)
def test_filter_keeps_what_the_paper_keeps(asked: list[Question], seed: int, definition: Any) -> None:
    views = filter_questions(questions_of(asked, seed), matrix_of(asked, seed + 1), definition=definition)
    rows, drops = listed(views)
    kept, gone = read_filter(asked, 5 if definition == "paper" else 4)
    assert {row["id"]: row["kept"] for row in rows} == kept
    assert {drop["id"]: drop["reason"] for drop in drops if drop["item"] is None} == gone
    assert len(rows) + len(gone) == len(asked)
    by_id = {question.id: question for question in asked}
    for row in rows:
        question = by_id[row["id"]]
        assert row["tests"] == [question.tests[number] for number in row["kept"]]
        assert row["tests_before"] == len(question.tests)
        assert row["confidence"] == [1.0] * len(row["kept"])
    failing = {
        (question.id, number): status
        for question in asked
        for program in question.programs
        for number, status in enumerate(program.statuses)
        if status != "passed"
    }
    assert {
        (drop["id"], drop["item"]): drop["detail"] for drop in drops if drop["item"] is not None
    } == failing


@given(questions(), st.integers(0, 99))
def test_pass_rates_are_passed_tests_over_kept_tests(asked: list[Question], seed: int) -> None:
    expected = [
        (question.id, program.completion_id, sum(program.passes), len(question.tests))
        for question in asked
        for program in question.programs
    ]
    rows = rates_rows(asked, seed=seed)
    assert [(row["id"], row["completion_id"], row["passed"], row["tests"]) for row in rows] == expected
    assert all(row["pass_rate"] == row["passed"] / max(row["tests"], 1) for row in rows)
    upstream = rates_rows(asked, "upstream", seed)
    before = {question.id: question.before for question in asked}
    assert all(row["tests"] == before[row["id"]] for row in upstream)
    assert all(row["pass_rate"] == row["passed"] / max(row["tests"], 1) for row in upstream)


@settings(max_examples=300)
@given(questions(programs=9), st.integers(0, 99), st.sampled_from(("paper", "upstream")))
def test_pairs_are_those_of_the_definition(asked: list[Question], seed: int, definition: Any) -> None:
    without_identical_contradictions(asked)
    models = ("small", "large")
    rates = rates_of(rates_rows(asked, definition), seed)
    views = preference_pairs(
        filtered_of(asked, seed), programs_of(asked, seed), rates, models=models, definition=definition
    )
    rows, drops = listed(views)
    read = read_pairs_of_the_paper if definition == "paper" else read_pairs_of_the_scripts
    expected = [(question.id, *pair) for question in asked for pair in read(question, models)]
    assert [(row["id"], row["model"], row["chosen"], row["rejected"]) for row in rows] == expected
    by_rate = {(row["id"], row["completion_id"]): row for batch in rates for row in batch.to_pylist()}
    for row in rows:
        high, low = by_rate[row["id"], row["chosen"]], by_rate[row["id"], row["rejected"]]
        assert (row["chosen_pass_rate"], row["rejected_pass_rate"]) == (high["pass_rate"], low["pass_rate"])
        assert row["margin"] == (high["passed"] - low["passed"]) / high["tests"]
    without = {drop["id"] for drop in drops if drop["item"] is None}
    assert {row["id"] for row in rows} | without == {question.id for question in asked}
    assert not {row["id"] for row in rows} & without


@settings(max_examples=300)
@given(questions(programs=4), st.sampled_from(("paper", "upstream")), st.integers(0, 99))
def test_hard_questions_are_those_of_the_code(asked: list[Question], definition: Any, seed: int) -> None:
    asked = [question for question in asked if len(question.tests) >= 5]
    models = ("small", "large")
    rates = rates_of(rates_rows(asked, definition), seed)
    rows, drops = listed(hard_questions(filtered_of(asked, seed), rates, models=models))
    divisors = {q.id: len(q.tests) if definition == "paper" else q.before for q in asked}
    with localcontext() as context:
        context.prec = 80
        expected = read_hard(asked, models, divisors)
    assert {row["id"] for row in rows} == expected
    assert {row["id"] for row in rows} | {drop["id"] for drop in drops} == {question.id for question in asked}
    assert len(rows) + len(drops) == len(asked)


# ---- what floats would get wrong ----


def question_with(tests: int, better: int, worse: int, before: int | None = None) -> list[Question]:
    question = Question("evol_0", 0, "Write f.", [f"assert f({n})" for n in range(tests)], before or tests)
    for completion, passed in enumerate((better, worse)):
        verdict = ["passed"] * passed + ["failed"] * (tests - passed)
        question.programs.append(Sample("small", completion, f"program {completion}", verdict))
    return [question]


def pairs_of(asked: list[Question], definition: Any, **options: Any) -> list[dict[str, Any]]:
    rates = rates_of(rates_rows(asked, definition))
    options = {"models": ("small",), **options}
    rows, _ = listed(
        preference_pairs(filtered_of(asked), programs_of(asked), rates, definition=definition, **options)
    )
    return rows


def test_a_difference_of_exactly_0_4_is_not_more_than_0_4() -> None:
    for tests in range(1, 65):
        for better in range(tests + 1):
            for worse in range(1, better + 1):
                if Fraction(better - worse, tests) == POINT_FOUR and Fraction(better, tests) > POINT_EIGHT:
                    assert pairs_of(question_with(tests, better, worse), "paper") == []
    # Doubles would have made these two of them.
    assert 29 / 35 > 15 / 35 + 0.4
    assert 45 / 55 > 23 / 55 + 0.4


def test_upstream_takes_a_difference_of_0_4_as_doubles_have_it() -> None:
    assert pairs_of(question_with(10, 9, 5), "upstream") != []
    assert pairs_of(question_with(20, 17, 9), "upstream") == []  # 0.85 - 0.45 == 0.39999999999999997
    for tests in range(5, 65, 5):
        for better in range(tests + 1):
            for worse in range(1, better + 1):
                if Fraction(better - worse, tests) == POINT_FOUR:
                    asked = question_with(tests, better, worse)
                    taken = better / tests >= 0.8 and abs(worse / tests - better / tests) >= 0.4
                    assert bool(pairs_of(asked, "upstream")) == taken


def test_exactly_0_8_is_chosen_upstream_only() -> None:
    asked = question_with(5, 4, 1)
    assert pairs_of(asked, "paper") == []
    assert len(pairs_of(asked, "upstream")) == 1


def test_upstream_makes_no_pairs_of_questions_outside_ascii() -> None:
    asked = question_with(5, 5, 2)
    asked[0].text = "Schreib f, größer."
    assert len(pairs_of(asked, "paper")) == 1
    rates = rates_of(rates_rows(asked, "upstream"))
    rows, drops = listed(
        preference_pairs(
            filtered_of(asked), programs_of(asked), rates, models=("small",), definition="upstream"
        )
    )
    assert rows == []
    assert [drop["reason"] for drop in drops] == ["question is not ASCII"]


def test_upstream_divides_by_the_tests_before_filtering() -> None:
    asked = question_with(5, 5, 2, before=10)
    assert len(pairs_of(asked, "paper")) == 1
    assert pairs_of(asked, "upstream") == []


def test_a_program_that_passes_nothing_is_never_rejected() -> None:
    assert pairs_of(question_with(5, 5, 0), "paper") == []


def test_thresholds_are_the_numbers_that_were_written() -> None:
    asked = question_with(10, 9, 2)
    assert pairs_of(asked, "paper", margin=0.7) == []
    assert len(pairs_of(asked, "paper", margin=0.69)) == 1
    assert pairs_of(asked, "paper", chosen_above=0.9) == []
    assert pairs_of(asked, "paper", rejected_above=0.2) == []
    assert len(pairs_of(asked, "paper", rejected_above=0.1)) == 1
    with pytest.raises(BadInput, match=r"margin=1\.5 must be from 0 to 1"):
        pairs_of(asked, "paper", margin=1.5)


def test_four_kept_tests_make_pairs_upstream_and_are_not_published() -> None:
    asked = question_with(4, 4, 2)
    rows, _ = listed(
        filter_questions(questions_of(asked), matrix_of(drop_samples(asked)), definition="upstream")
    )
    assert [len(row["tests"]) for row in rows] == [4]
    batches = [pa.RecordBatch.from_pylist(rows, schema=FILTERED)]
    assert sum(batch.num_rows for batch in published(batches)) == 0
    rows, drops = listed(filter_questions(questions_of(asked), matrix_of(drop_samples(asked))))
    assert rows == []
    assert [(drop["reason"], drop["detail"]) for drop in drops] == [("fewer than 5 tests", "4 of 4")]


def drop_samples(asked: list[Question]) -> list[Question]:
    """The same questions with their first program only."""
    return [Question(q.id, q.order, q.text, q.tests, q.before, q.programs[:1]) for q in asked]


# ---- caps ----


def crowded(questions: int = 5) -> list[Question]:
    made = []
    for number in range(questions):
        question = Question(f"evol_{number}", number, "Write f.", [f"assert f({n})" for n in range(10)], 10)
        for completion in range(12):
            passed = 10 if completion < 6 else 1 + completion % 3
            verdict = ["passed"] * passed + ["failed"] * (10 - passed)
            question.programs.append(Sample("small", completion, f"{number} {completion}", verdict))
        made.append(question)
    return made


def test_a_cap_keeps_so_many_of_each_question_and_counts_the_rest() -> None:
    asked = crowded()
    whole = pairs_of(asked, "paper")
    rates = rates_of(rates_rows(asked))
    rows, drops = listed(
        preference_pairs(filtered_of(asked), programs_of(asked), rates, models=("small",), cap=7)
    )
    assert len(whole) == 5 * 36
    assert [sum(row["id"] == f"evol_{n}" for row in rows) for n in range(5)] == [7] * 5
    assert len(drops) == 5 * 29
    assert {drop["reason"] for drop in drops} == {"over the cap of 7 pairs"}
    assert all(row in whole for row in rows)


def test_a_capped_choice_depends_on_the_seed_and_not_on_the_other_questions() -> None:
    asked = crowded()
    some = pairs_of(asked, "paper", cap=7, seed=1)
    assert some == pairs_of(asked, "paper", cap=7, seed=1)
    assert some != pairs_of(asked, "paper", cap=7, seed=2)
    alone = pairs_of(asked[2:3], "paper", cap=7, seed=1)
    assert alone == [row for row in some if row["id"] == "evol_2"]


def test_balance_spreads_a_capped_choice_over_the_programs() -> None:
    asked = crowded()
    rows = pairs_of(asked, "paper", cap=6, balance=True)
    for number in range(5):
        own = [row for row in rows if row["id"] == f"evol_{number}"]
        assert len({row["chosen"] for row in own}) >= 4
        assert len({row["rejected"] for row in own}) >= 4
    uneven = pairs_of(asked, "paper", cap=6)
    most = max(sum(row["chosen"] == n for row in uneven if row["id"] == "evol_0") for n in range(6))
    assert most > 1


# ---- several reference programs, twice ----


@given(questions(programs=4, models=("a", "b")), st.sampled_from((1.0, 0.5, 0.75, 2 / 3)))
def test_agreement_is_the_share_of_reference_programs(asked: list[Question], share: float) -> None:
    rows, drops = listed(
        filter_questions(questions_of(asked), matrix_of(asked), agreement=share, min_tests=1)
    )
    wanted = Fraction(repr(share))
    expected = {}
    for question in asked:
        confident = []
        for number in range(len(question.tests)):
            votes = [program.passes[number] for program in question.programs]
            if votes and Fraction(sum(votes), len(votes)) >= wanted:
                confident.append((number, sum(votes) / len(votes)))
        if confident:
            expected[question.id] = confident
    assert {row["id"]: list(zip(row["kept"], row["confidence"], strict=True)) for row in rows} == expected
    assert len(rows) + sum(drop["item"] is None for drop in drops) == len(asked)


def test_a_test_that_passes_once_of_two_times_is_dropped() -> None:
    asked = question_with(7, 7, 0)
    asked[0].programs = asked[0].programs[:1]
    again = question_with(7, 7, 0)
    again[0].programs = again[0].programs[:1]
    again[0].programs[0].statuses[3] = "failed"
    for first, second in ((asked, again), (again, asked)):
        rows, drops = listed(filter_questions(questions_of(asked), matrix_of(first), again=matrix_of(second)))
        assert rows[0]["kept"] == [0, 1, 2, 4, 5, 6]
        assert [(drop["item"], drop["reason"]) for drop in drops] == [(3, "non-deterministic test")]


# ---- streams that do not belong together ----


def test_rows_out_of_order_are_refused() -> None:
    asked = crowded(2)
    batches = matrix_of(asked[1:]) + matrix_of(asked[:1])
    with pytest.raises(BadInput, match="not sorted by 'order'"):
        listed(pass_rates(filtered_of(asked), batches))


@pytest.mark.parametrize("stranger", [0, 1, 2])
def test_rows_of_unknown_questions_are_refused(stranger: int) -> None:
    asked = crowded(3)
    known = [question for question in asked if question.order != stranger]
    with pytest.raises(BadInput, match="not there"):
        listed(pass_rates(filtered_of(known), matrix_of(asked)))


def test_a_matrix_of_other_tests_is_refused() -> None:
    asked = crowded(2)
    matrix = matrix_of(asked)
    asked[1].tests = asked[1].tests[:-1]
    with pytest.raises(BadInput, match="question evol_1 has 9 tests and 10 results"):
        listed(pass_rates(filtered_of(asked), matrix))


def test_samples_without_pass_rates_are_refused() -> None:
    asked = crowded(2)
    rates = rates_rows(asked)[1:]
    with pytest.raises(BadInput, match="the same programs"):
        listed(preference_pairs(filtered_of(asked), programs_of(asked), rates_of(rates), models=("small",)))


# ---- schemas and streams ----


@given(questions(programs=9), st.integers(0, 99))
@settings(max_examples=30)
def test_how_rows_are_cut_into_batches_changes_nothing(asked: list[Question], seed: int) -> None:
    without_identical_contradictions(asked)
    rates = rates_rows(asked)

    def made(cut: int) -> Any:
        pairs = preference_pairs(
            filtered_of(asked, cut), programs_of(asked, cut + 1), rates_of(rates, cut + 2), models=MODELS
        )
        return (
            listed(pass_rates(filtered_of(asked, cut), matrix_of(asked, cut + 3))),
            listed(pairs),
            listed(hard_questions(filtered_of(asked, cut), rates_of(rates, cut + 4), models=MODELS)),
        )

    assert made(seed) == made(seed + 50)


def test_views_read_what_parquet_gives_back(tmp_path: Path) -> None:
    asked = crowded()
    rates = list(
        pass_rates(through_parquet(tmp_path, filtered_of(asked)), through_parquet(tmp_path, matrix_of(asked)))
    )
    assert [row for view in rates for row in view.rows.to_pylist()] == rates_rows(asked)


def test_names_may_be_plain_strings() -> None:
    asked = crowded(1)
    matrix = [
        batch.set_column(
            batch.schema.get_field_index("statuses"), "statuses", pa.array(batch["statuses"].to_pylist())
        )
        for batch in matrix_of(asked)
        if batch.num_rows
    ]
    assert listed(pass_rates(filtered_of(asked), matrix))[0] == rates_rows(asked)


def test_rows_have_the_written_schemas() -> None:
    asked = crowded()
    rates = list(pass_rates(filtered_of(asked), matrix_of(asked)))
    again = [view.rows for view in rates]
    pairs = list(preference_pairs(filtered_of(asked), programs_of(asked), again, models=("small",)))
    hard = list(hard_questions(filtered_of(asked), again, models=("small",)))
    kept = list(filter_questions(questions_of(asked), matrix_of(drop_samples(asked))))
    for views, schema in ((kept, FILTERED), (rates, PASS_RATES), (pairs, PAIRS), (hard, HARD)):
        assert views
        assert all(view.rows.schema.equals(schema) for view in views)


def test_no_questions_make_no_rows() -> None:
    assert listed(filter_questions([], [])) == ([], [])
    assert listed(pass_rates([], [])) == ([], [])
    assert listed(preference_pairs([], [], [], models=("small",))) == ([], [])
    assert listed(hard_questions([], [], models=("small",))) == ([], [])


def test_a_program_without_code_is_in_no_pair() -> None:
    asked = question_with(5, 5, 2)
    asked[0].programs.append(Sample("small", 2, None, ["not_run"] * 5))
    assert [(row["chosen"], row["rejected"]) for row in pairs_of(asked, "paper")] == [(0, 1)]
    assert program_rows(asked)[2]["program"] is None
    assert split(PAIRS, [], 0)[0].num_rows == 0
