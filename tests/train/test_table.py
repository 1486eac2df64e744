"""Tables, reports and plots: the paper's order, no number where something is missing, and the command end to end."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from acedata._errors import BadInput
from acetrain._bootstrap import difference
from acetrain._cli import main
from acetrain._evaluate import Evaluation, Judged, Task
from acetrain._evaluate_command import run
from acetrain._table import DASH, markdown, plot, table, terminal
from tests.train import published


def made(benchmark: str, passed: list[list[bool]], score: str = "AceCodeRM") -> Evaluation:
    tasks = [
        Task(
            f"T/{number}",
            [Judged(one, "passed" if one else "failed") for one in listed],
            Judged(listed[-1], "passed" if listed[-1] else "failed"),
            {score: [float(one) for one in listed]},
        )
        for number, listed in enumerate(passed)
    ]
    return Evaluation(benchmark, tasks)


def two() -> list[Evaluation]:
    return [
        made("mbpp+", [[True, False, False, False], [True, True, True, True]]),
        made("humaneval", [[False, False, False, True], [False] * 4]),
    ]


def test_columns_and_rows_are_the_papers() -> None:
    found = table(two())
    assert [spec.name for spec in found.columns] == ["humaneval", "mbpp+"]
    assert [(line.title, line.n) for line in found.lines] == [
        ("Greedy", None),
        ("Average", None),
        ("Oracle", 4),
        ("AceCodeRM", 4),
        ("Δ AceCodeRM – Greedy", 4),
    ]
    lines = markdown(found).splitlines()
    assert lines[0] == "| Method | N | HumanEval | MBPP Plus | Average |"
    assert (
        lines[3].startswith("| Average |  | 12.5 (") and " | 62.5 (" in lines[3] and " | 37.5 (" in lines[3]
    )
    assert lines[4].startswith("| Oracle | 4 | 50.0 (") and " | 100.0 (" in lines[4]
    assert table(two(), [1, 2]).lines[2].n == 1


def test_rows_of_n_are_16_32_64_and_the_most_that_there_is() -> None:
    def rows(samples: int) -> list[int | None]:
        one = made("mbpp", [[True] + [False] * (samples - 1), [False] * samples])
        return [line.n for line in table([one]).lines if line.title == "Oracle"]

    assert rows(100) == [16, 32, 64, 100]
    assert rows(64) == [16, 32, 64] and rows(33) == [16, 32, 33] and rows(15) == [15]


def test_what_a_score_is_above_greedy_is_a_paired_difference() -> None:
    # Greedy passes the second problem of three, the score's best the first and the second.
    passed = [[True, False], [True, True], [False, False]]
    one = made("mbpp", passed)
    line = table([one]).lines[-1]
    assert line.above_greedy and line.cells["mbpp"] is not None and line.mean is not None
    assert line.cells["mbpp"].value == pytest.approx(1 / 3) == line.mean.value
    assert line.cells["mbpp"] == difference([0.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    assert markdown(table([one])).splitlines()[6].startswith("| Δ AceCodeRM – Greedy | 2 | +33.3 (+0.0 to +")
    for task in one.tasks:
        task.greedy = None
    assert not any(line.above_greedy for line in table([one]).lines)


def test_a_benchmark_with_something_missing_has_dashes_and_reasons() -> None:
    whole, lacking = two()
    lacking.missing_modules = {"pandas": ["T/1"]}
    found = table([whole, lacking])
    assert all(line.cells["humaneval"] is None and line.mean is None for line in found.lines)
    text = markdown(found)
    assert f"| Average |  | {DASH} | 62.5 (" in text and text.splitlines()[3].endswith(f"| {DASH} |")
    assert "humaneval: no number: 1 of 2 tasks need modules that the interpreter lacks: pandas (1)" in text
    assert plot(lacking) is None
    with pytest.raises(ValueError, match="two evaluations"):
        table([whole, whole])
    with pytest.raises(ValueError, match="no benchmark"):
        table([made("humanevil", [[True]])])


def test_names_from_outside_cannot_write_markup() -> None:
    evil = made("mbpp", [[True, False]] * 3, score="<script>|[red]x")
    text = markdown(table([evil]))
    assert "<script>" not in text and "\\|" in text
    drawn = plot(evil)
    assert drawn is not None and "<script>" not in drawn
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal(table([evil])))
    assert "[red]x" in console.export_text()


def test_plots_are_the_same_bytes_and_hold_every_point() -> None:
    one = two()[0]
    drawn = plot(one)
    assert drawn is not None and drawn == plot(one)
    root = ElementTree.fromstring(drawn)
    circles = [node for node in root.iter() if node.tag.endswith("circle")]
    assert len(circles) == 6  # oracle and one score at N = 1, 2, 4
    titles = [node.text for node in root.iter() if node.tag.endswith("title")]
    assert any(title and title.startswith("oracle, N = 4: 100.0 %") for title in titles)
    assert plot(made("mbpp", [[True], [False]])) is not None


ECHO = {
    "task_id": 1,
    "text": "Return it.",
    "code": "def f(x):\n    return x",
    "test_list": ["assert f(1) == 1"],
}


def test_the_command_writes_table_report_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = [{**ECHO, "task_id": n} for n in range(1, 4)]
    bench = published.write(tmp_path / "mbpp.jsonl", problems)
    rows = [
        {"task_id": n, "sample": f"```python\ndef f(x): return {x}\n```", "score": n * (x == "x")}
        for n in range(1, 4)
        for x in ("x", "2", "x", "None")
    ]
    samples = published.write(tmp_path / "s.jsonl", rows)
    greedy = published.write(
        tmp_path / "g.jsonl", [{"task_id": n, "solution": "f = int"} for n in range(1, 4)]
    )
    tests = published.write(
        tmp_path / "t.jsonl", [{"task_id": n, "tests": ["assert f(5) == 5"]} for n in (1, 2)]
    )
    out = tmp_path / "out"
    code = run(
        [f"mbpp={bench}"],
        samples=[str(samples)],
        greedy=[f"mbpp={greedy}"],
        scores=[],
        synthetic=[str(tests)],
        out=out,
        workers=1,
    )
    assert code == 0 and "Oracle" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    lines = {
        (line["method"], line["n"]): line["scores"]["mbpp"]["value"]
        for line in report["table"]["lines"]
        if not line["above_greedy"]
    }
    assert lines[("Greedy", None)] == 1.0 and lines[("Average", None)] == 0.5 and lines[("Oracle", 4)] == 1.0
    assert lines[("score", 4)] == 1.0 and lines[("tests", 4)] == pytest.approx((1 + 1 + 0.5) / 3)
    ElementTree.parse(out / "mbpp.svg")
    # The report joins another table, and says the same there.
    assert run([], joined=[out / "report.json"], out=tmp_path / "again") == 0
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again == report
    lacking = published.write(tmp_path / "few.jsonl", rows[:4])
    assert run([f"mbpp={bench}"], samples=[str(lacking)], workers=1) == 1
    assert "2 of 3 tasks have no samples: Mbpp/2, Mbpp/3" in capsys.readouterr().out


def test_the_command_judges_with_the_interpreter_that_it_is_given(tmp_path: Path) -> None:
    # Without one there is the standard library alone.
    bench = published.write(tmp_path / "mbpp.jsonl", [ECHO])
    programs = ["import numpy\ndef f(x): return int(numpy.int64(x))", "def f(x): return 1"]
    samples = published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": one} for one in programs])
    tests = published.write(tmp_path / "t.jsonl", [{"task_id": 1, "tests": ["assert f(5) == 5"]}])
    for python, passed, score in (
        (sys.executable, [True, True], [1.0, 0.0]),
        (None, [False, True], [0.0, 0.0]),
    ):
        words = [] if python is None else ["--python", python]
        out = tmp_path / f"out-{python is None}"
        words += ["--samples", str(samples), "--synthetic", str(tests), "--out", str(out), "--workers", "1"]
        assert main(["evaluate", "-b", f"mbpp={bench}", *words]) == 0
        [report] = json.loads((out / "report.json").read_text())["evaluations"]
        [task] = report["tasks"]
        assert (task["passed"], task["scores"]["tests"]) == (passed, score)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    bench = published.write(tmp_path / "mbpp.jsonl", [ECHO])
    samples = published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": "f = int"}])
    with pytest.raises(BadInput, match="there are no samples of mbpp"):
        run([f"mbpp={bench}"])
    with pytest.raises(BadInput, match="'mbbp' is none of the benchmarks"):
        run([f"mbpp={bench}"], samples=[f"mbbp={samples}"])
    with pytest.raises(BadInput, match="several files for mbpp"):
        run([f"mbpp={bench}"], samples=[str(samples), str(samples)])
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(BadInput, match=r"r\.json: is no report"):
        run([], joined=[tmp_path / "r.json"])
    with pytest.raises(BadInput, match="named twice"):
        run([f"mbpp={bench}"] * 2, samples=[str(samples)])
    assert run([f"mbpp={bench}"], samples=[str(samples)], out=tmp_path / "out", workers=1) == 0
    with pytest.raises(BadInput, match="two evaluations of mbpp"):
        run([f"mbpp={bench}"], samples=[str(samples)], joined=[tmp_path / "out" / "report.json"])
    with pytest.raises(BadInput, match="no benchmark to evaluate"):
        run([])
