"""Decontamination: copies of benchmark problems are found, edited or not; other questions are left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from acedata._checks import checked_questions, read_benchmarks
from acedata._decontaminate import Contamination, Match, Problem, read_problems
from acedata._errors import BadInput
from acedata._recipe import ChecksConfig, DecontaminateConfig
from acedata._records import QUESTIONS
from acedata._rows import Row
from benchmarks import bench_decontamination as bench

FRUIT = Problem(
    "fruit",
    "Fruit/0",
    (
        'def pick_ripe(basket, weight):\n    """Choose from the basket those apples whose sugar exceeds the weight.\n'
        "    Bruised apples are put aside first. Ties are broken by the colour of the stem.\n"
        "    >>> pick_ripe([3, 17, 25], 16)\n    [17, 25]\n"
        '    """\n',
    ),
    (
        "def check(candidate):\n    assert candidate([3, 17, 25], 16) == [17, 25]\n"
        "    assert candidate([110, 220], 215) == [220]\n    assert candidate([], 1) == []",
    ),
)
TRAINS = Problem(
    "trains", "7", ("Write a function that returns the longest chain of connected trains at a station.",)
)
TIMES = Problem(
    "trains", "8", ("Write a function that returns the number of minutes between two departures.",)
)
INDEX = Contamination([FRUIT, TRAINS, TIMES])


def test_an_exact_copy_is_found_also_inside_a_longer_question() -> None:
    assert INDEX.find(FRUIT.texts[0]) == Match("fruit", "Fruit/0", "question", 1.0)
    assert INDEX.find(f"Welcome! Read on.\n\n{TRAINS.texts[0]}\n\nTake care of empty lists.") == Match(
        "trains", "7", "question", 1.0
    )
    assert INDEX.find(TRAINS.texts[0].replace(" ", "\n ")) == Match("trains", "7", "question", 1.0)


@pytest.mark.parametrize(
    "copy",
    [
        FRUIT.texts[0].replace("basket", "crate").replace("weight", "limit").replace("pick_ripe", "select"),
        FRUIT.texts[0].replace("3, 17, 25", "1, 2, 99").replace("16", "50").replace("[17, 25]", "[99]"),
        "Ties are broken by the colour of the stem. Bruised apples are put aside first. Implement `pick(basket)`. "
        "Choose from the basket those apples whose sugar exceeds the weight.",
        "Choose from the crate those apples whose sugar exceeds the limit. Bruised apples are put aside first. "
        "Ties are broken by the colour of the stem.\n\n```python\ndef choose(crate, limit):\n    pass\n```",
    ],
)
def test_edited_copies_are_found_by_their_question(copy: str) -> None:
    match = INDEX.find(copy)
    assert match is not None and match.id == "Fruit/0" and match.level == "question"


def test_the_same_tests_under_another_name_are_found_whatever_the_question() -> None:
    tests = ["assert f([3, 17, 25], 16) == [17, 25], 'ripe'", "assert [220.0] == f([110, 220], 215)"]
    assert INDEX.find("Do as told.", tests) == Match("fruit", "Fruit/0", "asserts", 2.0)
    assert INDEX.find("Do as told.", tests[:1]) is None
    assert INDEX.find("Do as told.", ["assert f([], 1) == []"] * 3) is None
    assert INDEX.find("Do as told.", [tests[0].replace("25", "26"), tests[1].replace("220", "221")]) is None


@pytest.mark.parametrize(
    "question",
    [
        "",
        "Write a function that returns the number of vowels in a text.",
        "Write a function that returns the longest word.",
        "Choose from the basket the oranges.",
        "def pick_ripe(basket, weight):\n    pass",
        "0 1 2 ?!",
    ],
)
def test_other_questions_are_left_alone(question: str) -> None:
    assert INDEX.find(question, ["assert f(1) == 2", "assert ("]) is None


def test_an_index_of_nothing_finds_nothing() -> None:
    assert len(Contamination([])) == 0
    assert Contamination([]).find("Sort a list.", ["assert f([31, 21]) == [21, 31]"]) is None
    assert Contamination([Problem("a", "b", ("42",))]).find("Sort a list.") is None


@pytest.mark.parametrize(
    "piece",
    [
        "def f(",
        "def f(a,(b),",
        "f(x) == ",
        "'",
        '"',
        "`a",
        "- ",
        "\n\n",
        ". ",
        ">>> x\n",
        "a ",
        "word",
        "\x00 ",
    ],
)
def test_long_questions_take_linear_time(piece: str) -> None:
    start = time.process_time()
    INDEX.find(piece * (400_000 // len(piece)))
    assert time.process_time() - start < 5


# ---- published forms ----


def problems(**values: Any) -> list[Problem]:
    return list(read_problems("b", [Row(3, "b.jsonl line 4", values)]))


def test_benchmarks_in_their_published_forms() -> None:
    test = "def check(candidate):\n    assert candidate(1) == 2"
    assert problems(task_id="HumanEval/0", prompt="P", entry_point="f", canonical_solution="", test=test) == [
        Problem("b", "HumanEval/0", ("P",), (test,))
    ]
    assert problems(
        task_id=11, text="T", code="", test_list=["assert f(1)"], challenge_test_list=["assert f(2)"]
    ) == [Problem("b", "11", ("T",), ("assert f(1)", "assert f(2)"))]
    assert problems(
        task_id="BigCodeBench/0", complete_prompt="C", instruct_prompt="I", code_prompt="x", test="t"
    ) == [Problem("b", "BigCodeBench/0", ("C", "I"), ("t",))]
    lcb = problems(question_title="x", question_content="Q", question_id="1873_A", public_test_cases="[{}]")
    assert lcb == [Problem("b", "1873_A", ("Q",), ())]
    assert problems(question="Q", tests='["assert f(1)"]') == [Problem("b", "3", ("Q",), ("assert f(1)",))]


def test_a_benchmark_without_text_is_named_with_its_row() -> None:
    with pytest.raises(
        BadInput, match=r"b.jsonl line 4: no text in 'question' or .*benchmark 'b'.*there are 'title'"
    ):
        problems(title="x")


# ---- in a build ----


def question(place: int, text: str, tests: list[str]) -> dict[str, Any]:
    return {
        "id": f"evol_{place}",
        "source": "evol",
        "order": place,
        "question": text,
        "tests": tests,
        "model": "m",
        "format": "synthesis-1",
        "sample": 0,
    }


def test_a_builds_questions_are_checked_and_every_drop_has_its_reason(tmp_path: Path) -> None:
    benchmark = tmp_path / "trains.jsonl"
    benchmark.write_text(json.dumps({"task_id": "7", "prompt": TRAINS.texts[0], "test_list": []}) + "\n")
    fine = ["assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4"]
    long = "Reverse the order of the words of a sentence and keep its capital letters where they are, please"
    rows = [
        question(0, long, [*fine, "assert g(1) == 2"]),
        question(1, f"{TRAINS.texts[0]} Name it `f`.", fine),
        question(2, f"{long} now.", fine),
        question(3, "Two functions.", ["assert f(1)", "assert g(1)"]),
        question(4, "Add one.", fine),
    ]
    checks = ChecksConfig.model_validate(
        {
            "signature": True,
            "decontaminate": {"benchmarks": [{"name": "trains", "path": str(benchmark)}]},
            "near_duplicates": {},
        }
    )
    batches = [pa.RecordBatch.from_pylist(part, schema=QUESTIONS) for part in (rows[:2], rows[2:])]
    kept, drops = zip(*checked_questions(batches, checks, seed=1), strict=True)
    left = pa.concat_tables(kept).to_pylist()
    assert [row["id"] for row in left] == ["evol_0", "evol_4"]
    assert left[0]["tests"] == fine
    assert [(drop.id, drop.item, drop.reason) for part in drops for drop in part] == [
        ("evol_0", 3, "calls another function"),
        ("evol_1", None, "contaminated: trains"),
        ("evol_2", None, "near-duplicate"),
        ("evol_3", None, "no single entry point"),
    ]
    assert drops[1][0].detail.endswith("like evol_0")


def test_a_benchmark_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    config = DecontaminateConfig.model_validate(
        {"benchmarks": [{"name": "b", "path": str(tmp_path / "missing.jsonl")}]}
    )
    with pytest.raises(BadInput, match="there is no file"):
        read_benchmarks(config)


# ---- the promise, on real benchmarks ----

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def indexes() -> dict[str, Contamination]:
    return {}


@pytest.fixture
def rows(workload: Callable[..., list[dict[str, Any]]], indexes: dict[str, Contamination]) -> Rows:
    """A third of each benchmark is looked for among all of it; `benchmarks.bench_decontamination` looks for all."""
    found = {name: workload(file) for name, file in bench.FILES.items()}
    for name, listed in found.items():
        if name not in indexes:
            indexes[name] = Contamination(bench.problems(name, listed))
    return {name: listed[::3] for name, listed in found.items()}


@pytest.mark.parametrize("edit", bench.PROMISED)
def test_copies_of_real_problems_are_found(edit: str, rows: Rows, indexes: dict[str, Contamination]) -> None:
    for name, listed in rows.items():
        count, planted, missed = bench.found(indexes[name], listed, edit)
        print(f"{name}, {edit}: {count} of {planted} found; not {missed}")
        least = 1.0 if edit == "exact" else 0.95
        assert count >= least * planted, missed
        changed = sum(
            bench.EDITS[edit](row, row["prompt"], [], bench.random.Random(0))[0] != row["prompt"]
            for row in listed
        )
        # The edit is one: except that MBPP's questions are one sentence and name nothing.
        assert edit == "exact" or name == "MBPP" or changed > 0.7 * planted, changed


def test_real_problems_of_other_benchmarks_are_left_alone(
    rows: Rows, indexes: dict[str, Contamination]
) -> None:
    for name, listed in rows.items():
        for other, index in indexes.items():
            if other != name:
                taken = bench.alarms(index, listed)
                print(f"{name} against {other}: {len(taken)} of {len(listed)}: {taken}")
                assert len(taken) < 0.01 * len(listed), taken
