"""What tests can tell apart: mutants of a reference program, and samples."""

from __future__ import annotations

import ast
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acedata._errors import BadInput
from acedata._judge import Item, Program, judge_questions
from acedata._mutants import mutants
from acedata._records import FILTERED, PROGRAMS, STRENGTH
from acedata._strength import mutant_limits, mutant_programs, mutation_scores, telling_tests
from acedata._views import pass_rates
from acesandbox import Limits, Sandbox
from tests.data.matrices import (
    Question,
    Sample,
    filtered_of,
    filtered_rows,
    listed,
    matrix_of,
    programs_of,
    split,
)

CLAMP = '''"""Keeps a number within bounds."""
import math


def clamp(x: int, low: int = 0, high: int = 10) -> int:
    """x, but at least low and at most high."""
    if x < low or x > high:
        x = min(max(x, low), high)
    return x


if __name__ == "__main__":
    print(clamp(3))
'''


def names(found: list[Any]) -> list[str]:
    return [mutant.what for mutant in found]


def test_a_mutant_is_the_program_with_one_fault() -> None:
    found = mutants(CLAMP, 1000)
    original = ast.unparse(ast.parse(CLAMP)).splitlines()
    assert len(found) > 10
    assert len({mutant.program for mutant in found}) == len(found)
    for mutant in found:
        compile(mutant.program, "mutant", "exec")
        lines = mutant.program.splitlines()
        assert len(lines) == len(original)
        assert sum(one != other for one, other in zip(lines, original, strict=True)) == 1, mutant.what
    assert "line 7: x < low to x <= low" in names(found)
    assert "line 7: x < low or x > high to x < low and x > high" in names(found)
    assert "line 8: x = min(max(x, low), high) left out" in names(found)
    assert "line 9: return x to return None" in names(found)
    assert "line 5: 10 to 11" in names(found)


def test_nothing_outside_the_programs_work_is_mutated() -> None:
    for mutant in mutants(CLAMP, 1000):
        assert '"""x, but at least low and at most high."""' in mutant.program
        assert "import math" in mutant.program
        assert "if __name__ == '__main__':\n    print(clamp(3))" in mutant.program
        assert "x: int" in mutant.program


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(a):\n    return a + 1", "return a - 1"),
        ("def f(a):\n    a += 1\n    return a", "a -= 1"),
        ("def f(a):\n    return not a", "return a"),
        ("def f(a):\n    return -a", "return a"),
        ("def f(a):\n    return [x for x in a if x]", "[x for x in a]"),
        ("def f(a):\n    return a and 1", "a or 1"),
        ("def f(a):\n    return True", "return False"),
        ("def f(a):\n    return 'x'", "return ''"),
        ("def f(a):\n    return ''", "return 'mutant'"),
        ("def f(a):\n    return 1.5", "return 2.5"),
        ("def f(a):\n    return a if a else 1", "a if not a else 1"),
        ("def f(a):\n    while a:\n        break", "pass"),
        ("def f(a):\n    return a in (1,)", "a not in (1,)"),
        ("def f(a):\n    return a is None", "a is not None"),
        ("def f(a):\n    return a.sort(reverse=True)", "reverse=False"),
    ],
)
def test_every_operator_makes_its_fault(source: str, fault: str) -> None:
    assert any(fault in mutant.program for mutant in mutants(source, 100)), names(mutants(source, 100))


def test_a_draw_depends_on_the_seed_alone() -> None:
    few = mutants(CLAMP, 5, seed=1)
    assert len(few) == 5
    assert few == mutants(CLAMP, 5, seed=1)
    assert few != mutants(CLAMP, 5, seed=2)
    assert set(few) <= set(mutants(CLAMP, 1000))


@pytest.mark.parametrize(
    "source",
    ["def f(:", "\0", "x" * 200_000, "(" * 5000 + ")" * 5000, "", "a = " + "-" * 900 + "1", "\ud800"],
)
def test_what_cannot_be_read_has_no_mutants(source: str) -> None:
    assert mutants(source, 10) == []


@given(st.text(alphabet="abx=+-<>()[]:0 1\n'\"%{}fnotrdeiw ", max_size=60))
def test_any_text_is_taken(source: str) -> None:
    found = mutants(source, 5)
    assert len(found) <= 5 and all(mutant.program != source for mutant in found)


# ---- mutation scores ----


def question(number: int, tests: list[str], references: list[tuple[str, list[str]]]) -> Question:
    made = Question(f"evol_{number}", number, "Write clamp.", tests, len(tests))
    for place, (text, statuses) in enumerate(references):
        made.programs.append(Sample(f"solver {place}", 0, text, statuses))
    return made


def kept(asked: list[Question], numbers: list[list[int]]) -> list[pa.RecordBatch]:
    rows = filtered_rows(asked)
    for row, those in zip(rows, numbers, strict=True):
        row["tests"] = [row["tests"][number] for number in those]
        row["kept"] = those
        row["confidence"] = [1.0] * len(those)
    return split(FILTERED, rows, 0)


def test_only_programs_that_pass_all_kept_tests_have_mutants() -> None:
    asked = [
        question(0, ["a", "b"], [(CLAMP, ["passed", "failed"]), ("def g():\n    return 1", ["passed"] * 2)]),
        question(1, ["a"], [(CLAMP, ["failed"])]),
        question(2, ["a"], [("", ["passed"])]),
        question(3, ["a"], []),
    ]
    references = programs_of(asked)
    for numbers, solvers in (([0], ["solver 0", "solver 1"]), ([0, 1], ["solver 1"])):
        filtered = kept(asked, [numbers, [0], [0], [0]])
        rows, drops = listed(mutant_programs(filtered, references, matrix_of(asked), limit=3))
        assert sorted({row["model"] for row in rows}) == solvers
        assert [row["completion_id"] for row in rows] == list(range(len(rows)))
        assert {row["id"] for row in rows} == {"evol_0"}
        assert [(drop["id"], drop["reason"]) for drop in drops] == [
            (f"evol_{number}", "no mutant") for number in (1, 2, 3)
        ]


def test_references_of_dropped_questions_are_passed_over() -> None:
    asked = [question(n, ["a"], [(CLAMP, ["passed"])]) for n in range(5)]
    filtered = kept(asked[1:3], [[0], [0]])
    rows, _ = listed(mutant_programs(filtered, programs_of(asked), matrix_of(asked), limit=2))
    assert [row["id"] for row in rows] == ["evol_1", "evol_1", "evol_2", "evol_2"]


STATUSES = ("passed", "failed", "error", "cpu_timeout", "not_run")


@given(
    st.lists(st.lists(st.lists(st.sampled_from(STATUSES), min_size=3, max_size=3), max_size=4), max_size=5),
    st.sampled_from((0.0, 0.25, 0.5, 1.0)),
    st.integers(0, 99),
)
def test_a_mutant_is_dead_when_a_test_noticed_it(
    outcomes: list[list[list[str]]], least: float, seed: int
) -> None:
    asked = []
    for number, results in enumerate(outcomes):
        asked.append(Question(f"q{number}", number, "", ["a", "b", "c"], 3))
        asked[-1].programs = [Sample("m", place, "p", statuses) for place, statuses in enumerate(results)]
    rows, drops = listed(mutation_scores(filtered_of(asked, seed), matrix_of(asked, seed), min_score=least))
    expected = {}
    for one in asked:
        dead = 0
        for mutant in one.programs:
            dead += any(status not in ("passed", "not_run") for status in mutant.statuses)
        score = dead / len(one.programs) if one.programs else None
        if score is None or score >= least:
            expected[one.id] = (len(one.programs), dead, score)
    assert {row["id"]: (row["mutants"], row["killed"], row["score"]) for row in rows} == expected
    assert len(rows) + len(drops) == len(asked)


def test_scores_have_the_written_schema() -> None:
    asked = [question(0, ["a"], [("p", ["failed"])])]
    views = list(mutation_scores(filtered_of(asked), matrix_of(asked)))
    assert all(view.rows.schema.equals(STRENGTH) for view in views)
    with pytest.raises(BadInput, match="min_score"):
        list(mutation_scores(filtered_of(asked), matrix_of(asked), min_score=1.5))


def test_stronger_tests_find_more_mutants() -> None:
    weak = ["assert clamp(5) == 5", "assert clamp(6) == 6"]
    strong = [*weak, "assert clamp(-1) == 0", "assert clamp(11) == 10", "assert clamp(7, 2, 6) == 6"]
    limits = mutant_limits(Limits(cpu_s=0.5))
    assert (limits.cpu_s, limits.program_cpu_s) == (0.5, 0.5)
    scores = {}
    with Sandbox(limits=limits, workers=1) as sandbox:
        for name, tests in (("weak", weak), ("strong", strong)):
            asked = [question(0, tests, [(CLAMP, ["passed"] * len(tests))])]
            made = list(mutant_programs(filtered_of(asked), programs_of(asked), matrix_of(asked), limit=50))
            assert all(view.rows.schema.equals(PROGRAMS) for view in made)
            programs = [
                Program(row["model"], row["completion_id"], row["program"])
                for view in made
                for row in view.rows.to_pylist()
            ]
            item = Item("evol_0", 0, tests, "clamp", programs)
            matrix = [batch.matrix for batch in judge_questions([item], sandbox)]
            ((row,), _) = listed(mutation_scores(filtered_of(asked), matrix))
            scores[name] = row["score"]
    assert scores["weak"] < 0.7 < scores["strong"]


# ---- telling tests ----


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(0, 63), max_size=4)), max_size=5),
    st.integers(0, 4),
    st.integers(0, 99),
)
def test_what_is_dropped_tells_nothing_new(
    shapes: list[tuple[int, list[int]]], least: int, seed: int
) -> None:
    asked = []
    for number, (tests, samples) in enumerate(shapes):
        made = Question(f"q{number}", number, "", [f"t{test}" for test in range(tests)], tests)
        for place, bits in enumerate(samples):
            statuses = ["passed" if bits >> test & 1 else "failed" for test in range(tests)]
            made.programs.append(Sample("m", place, "p", statuses))
        asked.append(made)
    rows, drops = listed(telling_tests(filtered_of(asked, seed), matrix_of(asked, seed), min_tests=least))
    assert [row["id"] for row in rows] == [one.id for one in asked]
    for one, row in zip(asked, rows, strict=True):
        vectors = [tuple(sample.passes[test] for sample in one.programs) for test in range(len(one.tests))]
        telling, spare = [], []
        for test, vector in enumerate(vectors):
            if one.programs and (len(set(vector)) == 1 or vector in vectors[:test]):
                spare.append(test)
            else:
                telling.append(test)
        missing = max(0, least - len(telling))
        assert row["kept"] == sorted(telling + spare[:missing])
        assert row["tests"] == [f"t{test}" for test in row["kept"]]
        assert len(row["confidence"]) == len(row["kept"])
        gone = {drop["item"]: drop["reason"] for drop in drops if drop["id"] == one.id}
        assert sorted(gone) == spare[missing:]
        for test, reason in gone.items():
            same_for_all = len(set(vectors[test])) == 1
            assert (reason == "tells no samples apart") == same_for_all


def test_pass_rates_over_fewer_tests_than_were_judged() -> None:
    made = Question("q", 0, "", ["a", "b", "c", "d"], 4)
    made.programs = [
        Sample("m", 0, "p", ["passed", "passed", "failed", "passed"]),
        Sample("m", 1, "q", ["passed", "failed", "failed", "passed"]),
    ]
    judged = filtered_of([made])
    fewer = [view.rows for view in telling_tests(judged, matrix_of([made]), min_tests=1)]
    assert fewer[0]["kept"].to_pylist() == [[1]]
    rows, _ = listed(pass_rates(fewer, matrix_of([made]), judged=judged))
    assert [(row["passed"], row["tests"]) for row in rows] == [(1, 1), (0, 1)]
    with pytest.raises(BadInput, match="was kept that was not judged"):
        made.programs = [Sample("m", 0, "p", ["passed"])]
        list(pass_rates(judged, matrix_of([made]), judged=fewer))
