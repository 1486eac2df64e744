"""The terminal view: numbers, one question with its matrix, and no control sequence of anybody's text obeyed."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from acedata._browse import draw, find, read
from acedata._directory import Building, Directory
from acedata._errors import BadInput
from acedata._funnel import FunnelBroken
from acedata._report import LETTERS
from acedata._show import safe, show
from acesandbox import Status
from tests.data.builds import make_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    return make_build(tmp_path_factory.mktemp("build") / "b")


def shown(build: Directory, width: int = 160, **asked: object) -> str:
    text = io.StringIO()
    show(build, console=Console(file=text, width=width, highlight=False), **asked)  # type: ignore[arg-type]
    return text.getvalue()


def test_the_build_s_numbers(build: Directory) -> None:
    text = shown(build)
    for stage, record in build.manifest.items():
        cells = next(line.split() for line in text.splitlines() if line.startswith(f"  {stage} "))
        assert cells[1:4] == [str(record.rows_in), str(record.rows_out), str(record.rows)]
        for reason, count in [*record.dropped.items(), *record.dropped_items.items()]:
            assert f"{reason} {count}" in text
    assert "Before filtering" in text
    assert "small" in text and "strong (reference)" in text


def test_a_question_s_matrix_is_the_stage_s(build: Directory) -> None:
    row = [row for batch in build.batches("filtered") for row in batch.to_pylist()][4]
    text = shown(build, question=row["id"])
    results = [
        result
        for batch in build.batches("sample_matrix")
        for result in batch.to_pylist()
        if result["id"] == row["id"]
    ]
    width = row["tests_before"]
    for result in results:
        start = f"{result['model']} #{result['completion_id']} "
        line = next(line for line in text.splitlines() if line.startswith(start))
        cells = line[-2 * width - 2 :][: 2 * width]
        for status, sealed, place in zip(result["statuses"], result["sealed"], row["kept"], strict=True):
            mark = "" if sealed or status == "not_run" else "*"
            assert cells[2 * place : 2 * place + 2].strip() == LETTERS[status] + mark
    for test in row["tests"]:
        assert test in text


def test_every_status_has_a_letter_of_its_own() -> None:
    assert set(LETTERS) == {status.value for status in Status}
    assert len(set(LETTERS.values())) == len(LETTERS)


def test_a_program_and_its_messages(build: Directory) -> None:
    text = shown(build, question="evol_0", program=2)
    assert "def add_0(a, b):" in text and "# small 2" in text
    with pytest.raises(BadInput, match="evol_0 has no program 99; there are 0, 0, 1, 2"):
        shown(build, question="evol_0", program=99)
    with pytest.raises(BadInput, match="say which question"):
        shown(build, program=1)


def test_a_question_that_is_not_there(build: Directory) -> None:
    with pytest.raises(BadInput, match="there is no question 'evol_999'"):
        shown(build, question="evol_999")
    with pytest.raises(BadInput, match="'evol_10' was dropped at `seeds`: no function or class"):
        shown(build, question="evol_10")
    with pytest.raises(BadInput, match="'evol_5' was dropped at `questions`: no JSON in the answer"):
        shown(build, question="evol_5")


def test_a_dropped_question_says_why(build: Directory) -> None:
    lost = [row for batch in build.drops("filtered") for row in batch.to_pylist() if row["item"] is None]
    text = shown(build, question=lost[0]["id"])
    assert "dropped at filtered: fewer than 5 tests" in text and "strong #0" in text


def test_a_narrow_terminal_keeps_every_cell(build: Directory) -> None:
    wide, narrow = (shown(build, width, question="stack_python_fns_41") for width in (160, 60))
    for letter in "✓✗":
        assert wide.count(letter) == narrow.count(letter)


def test_nothing_in_a_text_moves_the_terminal(build: Directory) -> None:
    assert safe("a\x1b[2J\x07\r\x9b\u202eb\r\nc\td") == "a\ufffd[2J\ufffd\ufffd\ufffd\ufffdb\nc\td"
    text = shown(build, question="evol_3", program=1)
    assert "</script>" in text and "\x00" not in text and "\u2028" not in text
    assert "[b]" in safe("[b]")


def test_questions_are_found_without_reading_the_rest(build: Directory) -> None:
    chosen, everyone = draw(build, 5, seed=1)
    assert everyone == 50 and chosen == sorted(chosen) and len(set(chosen)) == 5
    assert draw(build, 5, seed=1) == (chosen, 50) and draw(build, 5, seed=2)[0] != chosen
    assert draw(build, 50, seed=1)[0] == draw(build, 99, seed=2)[0]
    for question in read(build, chosen):
        assert find(build, question.id) == question.order
        row = next(
            row for batch in build.batches("checked") for row in batch.to_pylist() if row["id"] == question.id
        )
        assert [test.text for test in question.tests] == row["tests"] and question.text == row["question"]
        assert len(question.programs) == (1 if question.lost else 9)


def test_a_broken_funnel_is_not_shown(build: Directory, tmp_path: Path) -> None:
    path = shutil.copytree(build.path, tmp_path / "b")
    with Building(path) as building:
        manifest = building.manifest
        manifest["filtered"].rows_in += 1
        building._write_manifest(manifest)
    with pytest.raises(FunnelBroken):
        shown(Directory(path))
