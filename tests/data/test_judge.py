"""Judging whole questions: what stands in the matrix, and what never may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from acedata import _judge
from acedata._errors import JudgingFailed
from acedata._judge import Item, Program, clean, judge_questions
from acedata._records import CPU, MATRIX
from acesandbox import Closed, Limits, Sandbox, SandboxError, Status, WorkerDied
from tests.data.matrices import through_parquet

TESTS = [f"assert f({n}) == {n + 1}" for n in range(5)]
RIGHT = "def f(x):\n    return x + 1\n"
WRONG = "def f(x):\n    return x\n"
RAISES = "def f(x):\n    raise KeyError(x)\n"
RANDOM = "import os\ndef f(x):\n    return os.urandom(8).hex()\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as made:
        yield made


def judged(items: list[Item], sandbox: Sandbox, **options: Any) -> list[dict[str, Any]]:
    rows = []
    for batch in judge_questions(items, sandbox, **options):
        batch.matrix.validate(full=True)
        batch.cpu.validate(full=True)
        assert batch.matrix.schema.equals(MATRIX)
        assert batch.cpu.schema.equals(CPU)
        keys = ["order", "completion_id"]
        assert batch.matrix.select(keys).equals(batch.cpu.select(keys))
        for row, times in zip(batch.matrix.to_pylist(), batch.cpu["cpu_us"].to_pylist(), strict=True):
            rows.append({**row, "cpu_us": times})
    return rows


def item(order: int, *programs: str | None, tests: list[str] | None = None) -> Item:
    rows = [Program("model", number, program) for number, program in enumerate(programs)]
    return Item(f"evol_{order}", order, TESTS if tests is None else tests, "f", rows)


def test_every_program_has_a_row_with_every_test(sandbox: Sandbox) -> None:
    rows = judged([item(0, RIGHT, WRONG), item(3, RAISES, tests=TESTS[:2])], sandbox)
    assert [(row["id"], row["order"], row["model"], row["completion_id"]) for row in rows] == [
        ("evol_0", 0, "model", 0),
        ("evol_0", 0, "model", 1),
        ("evol_3", 3, "model", 0),
    ]
    assert [row["statuses"] for row in rows] == [["passed"] * 5, ["failed"] * 5, ["error"] * 2]
    assert [row["sealed"] for row in rows] == [[True] * 5, [True] * 5, [True] * 2]
    assert [row["modes"] for row in rows] == [["plan"] * 5, ["plan"] * 5, ["plan"] * 2]
    assert rows[0]["messages"] == [None] * 5
    assert rows[1]["messages"] == [f"returned {n}" for n in range(5)]
    assert "KeyError" in rows[2]["messages"][1]
    assert [len(row["cpu_us"]) for row in rows] == [5, 5, 2]


def test_an_answer_without_code_is_not_run(sandbox: Sandbox) -> None:
    rows = judged([item(0, None), item(1, RIGHT, None), item(2, None, None)], sandbox)
    assert [row["completion_id"] for row in rows] == [0, 0, 1, 0, 1]
    for row in (rows[0], *rows[2:]):
        assert row["statuses"] == ["not_run"] * 5
        assert row["messages"] == [None] * 5
        assert row["modes"] == ["none"] * 5
        assert row["sealed"] == [False] * 5
        assert row["cpu_us"] == [0] * 5
    assert rows[1]["statuses"] == ["passed"] * 5


def test_equal_programs_of_a_question_are_run_once_and_share_the_result(sandbox: Sandbox) -> None:
    rows = judged([item(0, RANDOM, WRONG, RANDOM), item(1, RANDOM)], sandbox)
    assert rows[0]["messages"] == rows[2]["messages"]
    assert rows[0]["messages"] != rows[3]["messages"]
    assert rows[0]["messages"] != rows[1]["messages"]


def test_questions_without_programs_or_tests_have_no_results(sandbox: Sandbox) -> None:
    assert judged([item(0), item(1, RIGHT, tests=[])], sandbox)[0]["statuses"] == []
    assert judged([], sandbox) == []


def test_a_broken_test_and_a_broken_program_have_their_statuses(sandbox: Sandbox) -> None:
    rows = judged([item(0, RIGHT, "def f(:", tests=[*TESTS[:1], "assert f(1 =="])], sandbox)
    assert rows[0]["statuses"][0] == "passed"
    assert rows[0]["statuses"][1] != "passed"
    assert rows[0]["modes"][1] == "broken"
    assert rows[1]["statuses"][0] == "syntax_error"


def test_what_no_sandbox_takes_is_said_and_stops_nothing(sandbox: Sandbox) -> None:
    long = RIGHT + "#" * (16 << 20)
    rows = judged([item(0, RIGHT, long), item(1, RIGHT, tests=["assert f(1) == 2", long])], sandbox)
    assert rows[0]["statuses"] == ["passed"] * 5
    assert rows[1]["statuses"] == ["not_run"] * 5
    assert rows[1]["messages"][0] == f"the program is {len(long):,} bytes long; a sandbox takes 16,777,216"
    assert rows[2]["statuses"] == ["not_run"] * 2
    assert "a test is" in rows[2]["messages"][0]
    many = judged([item(0, RIGHT, tests=["assert f(1) == 2"] * 50_001)], sandbox)
    assert set(many[0]["statuses"]) == {"not_run"}
    assert many[0]["messages"][0] == "50,001 tests; a sandbox takes 50,000 of one question"


def test_a_batch_ends_with_a_question(sandbox: Sandbox) -> None:
    items = [item(number, RIGHT, WRONG, RAISES) for number in range(7)]
    batches = list(judge_questions(items, sandbox, rows=5))
    assert [batch.matrix.num_rows for batch in batches] == [6, 6, 6, 3]
    whole = pa.Table.from_batches([batch.matrix for batch in judge_questions(items, sandbox)])
    assert (
        pa.Table.from_batches([batch.matrix for batch in batches])
        .combine_chunks()
        .equals(whole.combine_chunks())
    )


def test_questions_are_taken_as_there_is_room() -> None:
    taken = 0

    def many() -> Iterator[Item]:
        nonlocal taken
        for number in range(100_000):
            taken += 1
            yield item(number, RIGHT, WRONG)

    with Sandbox(workers=1) as small:
        batches = judge_questions(many(), small, rows=20)
        for _ in range(3):
            next(batches)
        batches.close()
    assert taken < 1000


# ---- our own faults ----


class Failing(Sandbox):
    """A sandbox of which some programs' verdicts get lost, as when a worker dies twice."""

    def __init__(self, error: Exception, lost: int, lost_again: bool) -> None:
        super().__init__(workers=1)
        self.error, self.lost, self.lost_again = error, lost, lost_again
        self.asked_again = 0

    def judge_many(self, *args: Any, **options: Any) -> Iterator[Any]:
        assert options["return_errors"]
        for number, verdict in enumerate(super().judge_many(*args, **options)):
            yield self.error if number == self.lost else verdict

    def judge(self, *args: Any, **options: Any) -> Any:
        self.asked_again += 1
        if self.lost_again:
            raise self.error
        return super().judge(*args, **options)


def test_a_program_that_the_sandbox_failed_at_is_tried_again(sandbox: Sandbox) -> None:
    items = [item(0, RIGHT, WRONG, None, RAISES), item(1, WRONG, RIGHT)]
    expected = [row["statuses"] for row in judged(items, sandbox)]
    for lost in range(5):
        with Failing(WorkerDied("died"), lost, lost_again=False) as failing:
            assert [row["statuses"] for row in judged(items, failing)] == expected
            assert failing.asked_again == 1


def test_a_program_that_the_sandbox_failed_at_twice_stops_the_build_and_is_named() -> None:
    items = [item(0, RIGHT, WRONG), item(1, None, WRONG, RIGHT)]
    with Failing(WorkerDied("died"), 3, lost_again=True) as failing:
        batches = judge_questions(items, failing, rows=1)
        assert next(batches).matrix["id"].to_pylist() == ["evol_0", "evol_0"]
        with pytest.raises(JudgingFailed, match=r"question evol_1, completion 2 of model: .* twice: died"):
            next(batches)


def test_a_sandbox_that_is_gone_is_not_asked_again() -> None:
    error: SandboxError = Closed("the sandbox is closed")
    with Failing(error, 0, lost_again=True) as failing:
        with pytest.raises(Closed):
            judged([item(0, RIGHT)], failing)
        assert failing.asked_again == 0


# ---- the same bytes ----


ADDRESSES = """
import tempfile, threading
class Node:
    pass
def f(x):
    if x == 0:
        return Node()
    if x == 1:
        raise ValueError(object())
    if x == 2:
        raise OSError(tempfile.mktemp())
    if x == 3:
        return id(Node())
    return threading.get_ident()
"""
HANGS = "def f(x):\n    while True:\n        pass\n"
LONG = "class N:\n    pass\ndef f(x):\n    return [N() for _ in range(1000)]\n"


def test_messages_hold_nothing_that_differs_from_run_to_run() -> None:
    tests = [f"assert f({n}) == 17" for n in range(10)]
    items = [item(0, ADDRESSES, HANGS, LONG, tests=tests)]
    runs = []
    for workers in (1, 2, 1):
        with Sandbox(workers=workers, limits=Limits(cpu_s=0.2, program_cpu_s=0.5)) as made:
            runs.append([batch.matrix for batch in judge_questions(items, made)])
    assert runs[0] == runs[1] == runs[2]
    rows = runs[0][0].to_pylist()
    assert rows[0]["messages"][2].endswith("'/tmp/tmp...'") or "/tmp/tmp..." in rows[0]["messages"][2]
    assert rows[0]["messages"][3] == "returned <address>"
    # Two whole limits fit into the budget; the third try had what was left, which is chance.
    assert rows[1]["statuses"] == ["cpu_timeout"] * 2 + ["not_run"] * 8
    assert rows[1]["messages"][0] == "the test took more than 0.2 s of CPU time"
    assert set(rows[1]["messages"][2:]) == {_judge._BUDGET_SPENT}


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("<__main__.Node object at 0x7f31c2a5d0f0>", "<__main__.Node object at 0x...>"),
        ("<function f at 0x7f31c2a5d0f0>, <fun", "<function f at 0x...>, <fun"),
        ("cut: object at 0x7f3", "cut: object at 0x..."),
        ("0x7f31c2a5d0f0", "0x..."),
        ("returned '0xff'", "returned '0xff'"),
        ("returned '0xdeadbeef'", "returned '0xdeadbeef'"),
        ("'/tmp/tmpab1_cd2e/x.txt'", "'/tmp/tmp.../x.txt'"),
        ("'/tmp/result.txt'", "'/tmp/result.txt'"),
        ("returned 140737353871312", "returned <address>"),
        ("returned 94092451843072", "returned <address>"),
        ("returned 123456789012345", "returned 123456789012345"),
        ("returned 0.140737353871312", "returned 0.140737353871312"),
        ("a lone \ud800 surrogate", "a lone \\ud800 surrogate"),
        ("größer", "größer"),
    ],
)
def test_cleaning_takes_addresses_and_leaves_values(message: str, cleaned: str) -> None:
    assert clean(message) == cleaned


def test_hostile_names_and_texts_reach_the_matrix_as_text(sandbox: Sandbox, tmp_path: Any) -> None:
    program = (
        "class E(Exception):\n    pass\nE.__name__ = '\\ud800\\0'\ndef f(x):\n    raise E('\\udfff\\0' * x)\n"
    )
    for row in judged([item(0, program)], sandbox):
        assert row["statuses"] == ["error"] * 5
    batches = [batch.matrix for batch in judge_questions([item(0, program, RIGHT)], sandbox)]
    again = pa.Table.from_batches(through_parquet(tmp_path, batches))
    assert again.to_pylist() == pa.Table.from_batches(batches).to_pylist()


def test_every_status_has_a_place_in_the_matrix() -> None:
    assert tuple(status.value for status in Status) == _judge.STATUSES
    assert len(_judge.STATUSES) < 128
