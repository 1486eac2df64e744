"""Published datasets as a start: nothing lost, mistakes named by file, row and column, pass rates beside ours."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acedata._directory import drops_table
from acedata._errors import BadInput
from acedata._formats import answer_text, render
from acedata._import import ImportedProgram, Start, compare, iter_starts, program_rows, question_row
from acedata._judge import judge_questions
from acedata._recipe import SeedsConfig, SourceConfig
from acedata._records import MATRIX, PROGRAMS, QUESTIONS, Drop
from acedata._signature import entry_point
from tests import workloads
from tests.conftest import unavailable

PUBLISHED: dict[str, Any] = {
    "id": "evol_12",
    "source": "evol",
    "question": "Add one.\n",
    "test_cases": ["assert f(1) == 2", " assert f(2) == 3", "nonsense ("],
    "inferences": [
        {
            "completion": "\ndef f(x):\n    return x + 1\n\n",
            "completion_id": 0,
            "model_name": "a",
            "pass_rate": 1.0,
        },
        {"completion": "\ndef f(x):\n", "completion_id": 1, "model_name": "a", "pass_rate": 0.0},
        {"completion": " ", "completion_id": 2, "model_name": "b", "pass_rate": 0.5},
    ],
    "context_messages": [{"content": "Add one.\n", "role": "user"}],
}


def starts_of(path: Path, **more: Any) -> list[Start | Drop]:
    source = SourceConfig.model_validate({"name": "mine", "from": "start", "path": str(path), **more})
    return list(iter_starts(SeedsConfig(sources=[source])))


def lines(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(tmp_path: Path, row: dict[str, Any], **more: Any) -> Start:
    (found,) = starts_of(lines(tmp_path, row), **more)
    assert isinstance(found, Start), found
    return found


@pytest.mark.parametrize("parquet", [False, True])
def test_a_published_row_is_taken_to_the_letter(tmp_path: Path, parquet: bool) -> None:
    if parquet:
        path = tmp_path / "rows.parquet"
        pq.write_table(pa.Table.from_pylist([PUBLISHED]), path)
        (found,) = starts_of(path)
        assert isinstance(found, Start)
    else:
        found = one(tmp_path, PUBLISHED)
    assert (found.id, found.source, found.order) == ("evol_12", "evol", 0)
    assert found.question == PUBLISHED["question"]
    assert list(found.tests) == PUBLISHED["test_cases"]
    assert [
        {
            "completion": program.answer,
            "completion_id": program.completion_id,
            "model_name": program.model,
            "pass_rate": program.pass_rate,
        }
        for program in found.programs
    ] == PUBLISHED["inferences"]
    assert [program.program for program in found.programs] == [
        PUBLISHED["inferences"][0]["completion"],
        PUBLISHED["inferences"][1]["completion"],
        None,
    ]
    assert [program.sample for program in found.programs] == [0, 1, 0]


def test_its_rows_fit_the_builds_columns(tmp_path: Path) -> None:
    found = one(tmp_path, PUBLISHED)
    questions = pa.RecordBatch.from_pylist([question_row(found)], schema=QUESTIONS)
    programs = pa.RecordBatch.from_pylist(list(program_rows(found)), schema=PROGRAMS)
    assert (questions.num_rows, programs.num_rows) == (1, 3)
    assert programs.column("program").null_count == 1


@pytest.mark.parametrize(
    ("row", "more"),
    [
        ({"question": "Q", "tests": ["assert f(1)"]}, {}),
        ({"text": "Q", "task_id": 7, "test_list": ["assert f(1)"], "code": "x"}, {}),
        ({"prompt": "Q", "test_cases": json.dumps(["assert f(1)"])}, {}),
        ({"q": "Q", "t": ["assert f(1)"], "tests": 3}, {"columns": {"question": "q", "tests": "t"}}),
    ],
)
def test_any_file_of_questions_and_tests_will_do(
    tmp_path: Path, row: dict[str, Any], more: dict[str, Any]
) -> None:
    found = one(tmp_path, row, **more)
    assert found == Start("mine_0", "mine", 0, "Q", ("assert f(1)",), ())


def test_csv_holds_tests_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('question,tests,programs\nQ,"[""assert f(1)""]",\nR,"[""assert g()""]",def g(): pass\n')
    first, second = starts_of(path)
    assert first == Start("mine_0", "mine", 0, "Q", ("assert f(1)",), ())
    assert isinstance(second, Start) and [each.program for each in second.programs] == ["def g(): pass"]


def test_programs_may_be_texts_and_answers_go_through_the_extractor(tmp_path: Path) -> None:
    docstring = 'def f():\n    """\n    ```\n    f()\n    ```\n    """\n'
    row = {
        "question": "Q",
        "tests": ["assert f(1)"],
        "programs": [
            "def f(x): pass",
            "Sure:\n```python\nx = 1\n```\n",
            docstring,
            {"program": "y", "model": "m"},
        ],
    }
    found = one(tmp_path, row)
    assert [program.program for program in found.programs] == ["def f(x): pass", "x = 1", docstring, "y"]
    assert [program.model for program in found.programs] == ["imported"] * 3 + ["m"]
    assert found.programs[3] == ImportedProgram("m", 3, 0, "y", "y", None)


def test_rows_that_hold_no_question_are_dropped_with_a_reason(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"id": "a", "question": "Q", "tests": ["assert f(1)"]},
        {"id": "b", "question": "  ", "tests": ["assert f(1)"]},
        {"id": "c", "question": "Q", "tests": []},
        {"id": "d", "question": "Q", "tests": None},
        {"id": "a", "question": "other", "tests": ["assert f(1)"]},
        {"id": "e", "question": "\ud800", "tests": ["assert f(1)"]},
        {"id": "f", "question": None, "tests": ["assert f(1)"]},
        {"id": "g", "question": "Q", "tests": ["assert f(2)"]},
        {"id": "\ud800", "question": "", "tests": ["assert f(2)"]},
        {"id": "h", "question": "Q", "tests": ["assert f(2)"], "source": "\ud800"},
        {
            "id": "i",
            "question": "Q",
            "tests": ["assert f(2)"],
            "inferences": [{"completion": "", "model_name": "\ud800"}],
        },
    )
    found = starts_of(path)
    assert [(each.id, each.order, getattr(each, "reason", "")) for each in found] == [
        ("a", 0, ""),
        ("b", 1, "no question"),
        ("c", 2, "no tests"),
        ("d", 3, "no tests"),
        ("a", 4, "duplicate id"),
        ("e", 5, "not valid Unicode"),
        ("f", 6, "no question"),
        ("g", 7, ""),
        ("?", 8, "no question"),
        ("h", 9, "not valid Unicode"),
        ("i", 10, "not valid Unicode"),
    ]
    pa.Table.from_pylist([question_row(each) for each in found if isinstance(each, Start)], schema=QUESTIONS)
    drops_table(each for each in found if isinstance(each, Drop))
    assert found == starts_of(path)
    assert [each.id for each in starts_of(path, limit=1)] == ["a"]


ROW: dict[str, Any] = {"question": "Q", "tests": ["assert f(1)"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"tests": []},
            "line 2: no column 'question' or 'prompt' or 'text' or 'problem' for the question; there are",
        ),
        (
            {"question": "Q"},
            "line 2: no column 'test_cases' or 'tests' or 'test_list' for the tests; there are",
        ),
        ({"question": [], "tests": []}, "line 2, column 'question': list where a text is expected"),
        (
            {"question": "Q", "tests": {"a": 1}},
            "line 2, column 'tests': dict where a list of texts is expected",
        ),
        (
            {"question": "Q", "tests": "assert"},
            "line 2, column 'tests': a text that is no JSON list of tests",
        ),
        (
            {"question": "Q", "tests": ["a", 3]},
            "line 2, column 'tests', item 1: int where a text is expected",
        ),
        ({**ROW, "programs": 3}, "line 2, column 'programs': int where a list of programs is expected"),
        ({**ROW, "programs": ["a", 3]}, "line 2, column 'programs', item 1: int where a program is expected"),
        (
            {**ROW, "inferences": [{"completion": "a", "completion_id": "x"}]},
            "line 2, column 'inferences', item 0, completion_id: str where a whole number is expected",
        ),
        (
            {**ROW, "inferences": [{"completion": "a", "pass_rate": "high"}]},
            "line 2, column 'inferences', item 0, pass_rate: str where a number is expected",
        ),
        (
            {**ROW, "inferences": [{"completion": "a", "completion_id": 10**30}]},
            "line 2, column 'inferences', item 0, completion_id: does not fit in 64 bits",
        ),
        (
            {**ROW, "inferences": [{"completion": "a", "pass_rate": 10**400}]},
            "line 2, column 'inferences', item 0, pass_rate: 10000000000000000000 where a number from 0 to 1",
        ),
        (
            {**ROW, "inferences": [{"completion": "a", "pass_rate": float("nan")}]},
            "line 2, column 'inferences', item 0, pass_rate: nan where a number from 0 to 1 is expected",
        ),
        (
            {**ROW, "inferences": [{"completion": "a", "completion_id": 1}, {"completion": "b"}]},
            "line 2, column 'inferences', item 1: completion_id 1 comes twice",
        ),
    ],
)
def test_mistakes_are_named_by_file_row_and_column(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as raised:
        starts_of(lines(tmp_path, ROW, row))
    assert f"rows.jsonl {message}" in str(raised.value)


def pair(question: str, test: str, chosen: str, rejected: str, number: int) -> dict[str, Any]:
    return {
        "instruction": render("pair-1", question, [test]).user,
        "input": "",
        "chosen": answer_text("pair-1", chosen),
        "rejected": answer_text("pair-1", rejected),
        "id": number,
    }


def test_of_published_pairs_is_rebuilt_what_can_be(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        pair("Add.", "assert f(1) == 2", "good = 1", "bad = 1", 0),
        pair("Add.", "assert f(1) == 2", "good = 1", "bad = 2", 1),
        {**pair("Sub.", "assert g(1) == 0", "good = 2", "bad = 3", 2), "instruction": "Sub."},
        pair("Mul.\nassert nothing", "assert h(2) == 4", "good = 3", "bad = 4", 3),
    )
    first, second, third = starts_of(path)
    assert isinstance(first, Start) and isinstance(third, Start)
    assert (first.id, first.question, first.tests, first.pairs) == (
        "mine_0",
        "Add.",
        ("assert f(1) == 2",),
        2,
    )
    assert [program.program for program in first.programs] == ["good = 1", "bad = 1", "bad = 2"]
    assert second == Drop("mine_2", 1, "not in the pair format", "the instruction is not that of pair-1")
    assert (third.id, third.order, third.question) == ("mine_3", 2, "Mul.\nassert nothing")


def test_published_rates_are_compared_with_ours_and_differences_have_a_reason(tmp_path: Path) -> None:
    inferences = [
        {"completion": "x", "completion_id": place, "model_name": "m", "pass_rate": rate}
        for place, rate in enumerate([1.0, 0.5, 0.0, 1.0, None])
    ]
    tests = ["assert f(1)", "assert f(2)"]
    path = lines(
        tmp_path, *({"id": id, "question": "Q", "tests": tests, "inferences": inferences} for id in "ab")
    )
    outcomes = [
        (["passed", "passed"], [None, None]),
        (["error", "error"], ["NameError: x", "NameError: x"]),
        (["passed", "passed"], [None, None]),
        (["failed", "timeout"], ["1 != 2", "1 s"]),
        (["passed", "passed"], [None, None]),
    ]
    rows = [
        {
            "id": "b",
            "order": 1,
            "model": "m",
            "completion_id": place,
            "statuses": statuses,
            "sealed": [True] * 2,
            "modes": ["plan"] * 2,
            "messages": messages,
        }
        for place, (statuses, messages) in enumerate(outcomes)
    ]
    found = compare(starts_of(path), [pa.RecordBatch.from_pylist(rows, schema=MATRIX)])
    assert (found.equal, found.higher, found.lower, found.unknown) == (1, 1, 2, 1)
    assert dict(found.reasons) == {"error: NameError: x": 1, "passes here": 1, "failed: 1 != 2": 1}
    assert found.rows[0] == ("b", 1, "m", 0.5, 0.0, "error: NameError: x")


def published_row() -> Path:
    try:
        path = workloads.folder() / "acecode87k_one_row.json"
    except workloads.NotAvailable as missing:
        unavailable(str(missing))
        raise
    if not path.exists():
        unavailable(f"the workload is not available: no file {path}")
    return path


@pytest.mark.workloads
def test_a_published_row_judged_again_has_its_published_pass_rates_where_its_libraries_are() -> None:
    from acesandbox import Sandbox

    path = published_row()
    starts = [start for start in starts_of(path) if isinstance(start, Start)]
    row = json.loads(path.read_text())
    assert list(starts[0].tests) == row["test_cases"]
    assert [program.program for program in starts[0].programs] == [
        inference["completion"] for inference in row["inferences"]
    ]

    def judged(python: str | None) -> Any:
        items = [
            (
                start.id,
                start.order,
                start.tests,
                entry_point(start.tests),
                [(each.model, each.completion_id, each.program) for each in start.programs],
            )
            for start in starts
        ]
        with Sandbox(workers=2, python=python) as sandbox:
            return compare(starts, [matrix for matrix, _ in judge_questions(items, sandbox)])

    # By default a jail has the standard library alone; three of the eighty programs import pytest.
    bare = judged(None)
    assert (bare.equal, bare.higher, bare.lower) == (77, 0, 3)
    assert all(reason.startswith("missing_module") and "'pytest'" in reason for reason in bare.reasons)
    # This interpreter has it: then every rate is the published one.
    assert find_spec("pytest") is not None
    whole = judged(sys.executable)
    assert (whole.equal, whole.higher, whole.lower, whole.unknown) == (80, 0, 0, 0)


@pytest.mark.workloads
def test_a_published_row_imported_judged_and_exported_is_the_same_row(tmp_path: Path) -> None:
    from acedata import build, export
    from acedata._starting import recipe_for

    path = published_row()
    recipe = recipe_for(str(path), tmp_path / "recipe.yaml", name="oss")
    build(recipe, tmp_path / "build")
    export(tmp_path / "build", tmp_path / "out")
    (exported,) = pq.read_table(tmp_path / "out" / "data").to_pylist()
    published = json.loads(path.read_text())
    assert list(exported) == list(published)
    for ours, theirs in zip(exported["inferences"], published["inferences"], strict=True):
        assert list(ours) == list(theirs)
        if "import pytest" not in theirs["completion"]:
            assert ours == theirs
        else:
            assert ours == {**theirs, "pass_rate": 0.0}
    assert {**exported, "inferences": None} == {**published, "inferences": None}
