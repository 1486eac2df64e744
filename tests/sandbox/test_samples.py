"""Samples files: every fault is reported with its place; results files survive interruption."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from acesandbox import Asserts, BadInput, CheckScript, Functional, Stdio, UnitTests, WorkerDied
from acesandbox._samples import Results, Sample, Samples, line_bytes, result

GOOD: dict[str, Any] = {
    "task_id": "a",
    "program": "def f(x): return x",
    "tests": ["assert f(1) == 1"],
    "test_kind": "asserts",
}


def samples(tmp_path: Path, *lines: object) -> list[Sample]:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else line_bytes(dict(line)) for line in lines))  # type: ignore[call-overload]
    return list(Samples(str(path)))


def test_every_kind_is_read(tmp_path: Path) -> None:
    read = samples(
        tmp_path,
        {**GOOD, "entry_point": "f", "prompt": None},
        {**GOOD, "test_kind": "check_script", "tests": ["def check(f): pass"], "entry_point": "f"},
        {**GOOD, "test_kind": "unittest", "tests": ["import unittest"]},
        {**GOOD, "test_kind": "stdio", "tests": [{"input": "1", "output": "2"}], "float_tolerance": 0.5},
        {**GOOD, "test_kind": "functional", "tests": [{"args": [[1]], "expected": 2}], "entry_point": "f"},
        {
            **GOOD,
            "test_kind": "functional",
            "tests": [{"input": '[1]\n"x"', "output": "2"}],
            "entry_point": "f",
        },
    )
    assert [sample.tests for sample in read] == [
        Asserts(["assert f(1) == 1"], entry_point="f"),
        CheckScript("def check(f): pass", "f"),
        UnitTests("import unittest"),
        Stdio([("1", "2")], float_tolerance=0.5),
        Functional([([[1]][0:1], 2)], "f"),
        Functional([([[1], "x"], 2)], "f"),
    ]


def test_neighbours_with_the_same_tests_share_them(tmp_path: Path) -> None:
    read = samples(tmp_path, GOOD, {**GOOD, "program": "x"}, {**GOOD, "tests": ["assert True"]}, GOOD)
    assert read[0].tests is read[1].tests
    assert read[1].tests is not read[2].tests
    assert read[3].tests == read[0].tests


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"task_id": "a", }\n', "bad JSON at column 18"),
        (b'{"task_id": "a"\n', "bad JSON at column"),
        (b'{"a": "\0"}\n', "a NUL character"),
        (b"[" * 100_000 + b"\n", "bad JSON"),
        (b'"text"\n', "a sample is a JSON object, not a string"),
        (b"null\n", "not null"),
        (b'{"task_id": "\xff\xfe"}\n', "not UTF-8: byte 14 of the line is 0xff"),
        (without("program"), "the key 'program' is missing"),
        (without("task_id"), "the key 'task_id' is missing"),
        ({**GOOD, "task_id": None}, "'task_id' must be a string or a whole number, not null"),
        ({**GOOD, "program": 3}, "'program' must be a string, not a number"),
        (
            {**GOOD, "program": "x" * (17 << 20)},
            "'program' is 17,825,792 bytes long; the limit is 16,777,216",
        ),
        ({**GOOD, "test_kind": "pytest"}, "unknown test_kind 'pytest'; there are asserts, check_script"),
        ({**GOOD, "test_kind": ["asserts"]}, "unknown test_kind ['asserts']"),
        ({**GOOD, "tests": "assert f(1) == 1"}, "'tests' must be a list, not a string"),
        ({**GOOD, "tests": []}, "'tests' is empty"),
        ({**GOOD, "tests": ["pass", 1]}, "tests[1] must be a string, not a number"),
        ({**GOOD, "test_kind": "check_script", "tests": ["a", "b"]}, "one text in 'tests', not 2"),
        (
            {**GOOD, "test_kind": "stdio", "tests": ["a"]},
            "tests[0] must be an object with 'input' and 'output'",
        ),
        (
            {**GOOD, "test_kind": "stdio", "tests": [{"input": 1, "output": ""}]},
            "tests[0].input must be a string",
        ),
        ({**GOOD, "test_kind": "functional", "tests": [{"args": [], "expected": 1}]}, "needs 'entry_point'"),
        (
            {**GOOD, "test_kind": "functional", "tests": [{"args": 1, "expected": 1}], "entry_point": "f"},
            "tests[0].args must be a list",
        ),
        (
            {**GOOD, "test_kind": "functional", "tests": [{"input": "x", "output": "1"}], "entry_point": "f"},
            "tests[0] does not hold JSON",
        ),
        ({**GOOD, "entry_point": 1}, "'entry_point' must be a string or null"),
    ],
)
def test_fault_is_reported_with_its_place(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        samples(tmp_path, GOOD, b"\n", line, GOOD)
    assert str(caught.value).startswith(f"{tmp_path / 's.jsonl'}:3: ")
    assert message in str(caught.value)


def test_gzip_is_recognised_by_its_content_and_its_faults_are_told(tmp_path: Path) -> None:
    data = gzip.compress(b"".join(line_bytes({**GOOD, "task_id": str(n)}) for n in range(2000)), mtime=0)
    path = tmp_path / "s.jsonl"
    path.write_bytes(data)
    assert len(list(Samples(str(path)))) == 2000
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="cut off here"):
        list(Samples(str(path)))
    path.write_bytes(data[:10] + b"\xff" * 20 + data[30:])
    with pytest.raises(BadInput, match=r"broken here|cannot be read past line"):
        list(Samples(str(path)))


def test_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        list(Samples(str(tmp_path / "none")))
    with pytest.raises(BadInput, match="Is a directory"):
        list(Samples(str(tmp_path)))


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert len(samples(tmp_path, b"\xef\xbb\xbf" + line_bytes(GOOD))) == 1


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, two = Samples(str(tmp_path / "1")), Samples(str(tmp_path / "2"))
    (tmp_path / "1").write_bytes(line_bytes(GOOD))
    (tmp_path / "2").write_bytes(gzip.compress(line_bytes(GOOD)))
    assert list(one)
    assert list(two)
    assert one.fingerprint == two.fingerprint
    (tmp_path / "2").write_bytes(line_bytes({**GOOD, "program": "y"}))
    assert list(two)
    assert one.fingerprint != two.fingerprint


# Results

RUN = {"samples_sha256": "abc", "limits": {"cpu_s": 1.0}}


def written(path: Path, *ids: str) -> None:
    results = Results(str(path), RUN)
    for task_id in ids:
        results.write({"task_id": task_id})
    results.close()


def test_neighbours_whose_arguments_python_calls_equal_do_not_share_tests(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "test_kind": "functional", "tests": [{"args": [x], "expected": x}], "entry_point": "f"}
        for x in (1, True, 1.0)
    ]
    read = samples(tmp_path, *rows)
    assert [list(sample.tests._texts()) for sample in read] == [
        ["f(*(1,)) == 1"],
        ["f(*(True,)) == True"],
        ["f(*(1.0,)) == 1.0"],
    ]


def test_two_runs_do_not_write_to_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = Results(str(out), RUN)
    first.write({"task_id": "a"})
    for overwrite in (False, True):
        with pytest.raises(BadInput, match="another run is writing to it"):
            Results(str(out), RUN, overwrite)
    first.close()
    second = Results(str(out), RUN)
    assert second.task_ids == ["a"]
    second.close()


def test_full_disk_is_told(tmp_path: Path) -> None:
    results = Results(str(tmp_path / "out"), RUN)
    results._file.close()
    results._file = open("/dev/full", "ab")  # noqa: SIM115
    results.write({"task_id": "a"})
    with pytest.raises(BadInput, match="No space left on device; what is there stays"):
        results.flush()
    with pytest.raises(BadInput, match="No space left"):
        results.close()


def test_results_go_on_after_the_last_whole_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(out, "a", "b")
    with out.open("ab") as file:
        file.write(b'{"task_id": "c", "pas')
    again = Results(str(out), RUN)
    assert again.task_ids == ["a", "b"]
    again.write({"task_id": "c"})
    again.close()
    assert out.read_bytes() == b'{"task_id":"a"}\n{"task_id":"b"}\n{"task_id":"c"}\n'


def test_results_of_other_samples_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(out, "a")
    with pytest.raises(BadInput, match=r"holds results of other samples.*--overwrite"):
        Results(str(out), {**RUN, "samples_sha256": "def"})
    with pytest.raises(BadInput, match=r"begun with limits=.*1\.0.*this run has.*2\.0"):
        Results(str(out), {**RUN, "limits": {"cpu_s": 2.0}})
    assert out.read_bytes() == b'{"task_id":"a"}\n', "a refusal changes nothing"
    Results(str(out), {**RUN, "samples_sha256": "def"}, overwrite=True).close()
    assert out.read_bytes() == b""


def test_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("my thesis\n")
    with pytest.raises(BadInput, match="no record of a run"):
        Results(str(out), RUN)
    assert out.read_text() == "my thesis\n"
    (tmp_path / "out.run.json").write_text("{")
    with pytest.raises(BadInput, match="not a record of a run"):
        Results(str(out), RUN)


def test_damage_in_the_middle_is_not_cut_off(tmp_path: Path) -> None:
    out = tmp_path / "out"
    written(out, "a")
    damaged = out.read_bytes() + b"garbage\n" + b'{"task_id":"c"}\n'
    out.write_bytes(damaged)
    with pytest.raises(BadInput, match=":2: not a line of results, and more lines follow"):
        Results(str(out), RUN)
    assert out.read_bytes() == damaged


def test_unwritable_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written: No such file"):
        Results(str(tmp_path / "none" / "out"), RUN)


def test_sample_that_could_not_be_judged_has_null_and_not_zero() -> None:
    line = result("a", WorkerDied("gone"))
    assert line["passed"] is None
    assert line["pass_rate"] is None
    assert line["error"] == "WorkerDied: gone"


def test_line_is_utf8_whatever_a_program_printed() -> None:
    assert json.loads(line_bytes({"message": "\ud800\u2028é"}).decode("utf-8"))["message"] == "\ud800\u2028é"
