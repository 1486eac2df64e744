"""What is wrong is said in a sentence that names its place, before anything is judged; and what was judged is kept."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BackendError, BadInput
from acesandbox import Sandbox, SandboxError
from acetrain import _evaluate_command as command
from acetrain._cli import main
from acetrain._evaluate import Evaluation, Judged, Task, _Modules
from acetrain._generate import Asked
from acetrain._reward_model._identity import of_folder
from acetrain._reward_scores import Named, scores_file
from acetrain._table import as_json, table, terminal
from acetrain.evaluation import SPECS, Samples, evaluate, open_benchmark, open_sandbox
from tests.train import published
from tests.train.model_answers import problem
from tests.train.published import Row

INFINITE = ["Infinity", "-Infinity", "1e999", "1" + "0" * 400]
MBPP = {
    "task_id": 1,
    "text": "Return it.",
    "code": "def f(x):\n    return x",
    "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
    "test": "assert f(1) == 1",
}
BIG = {
    "task_id": "BigCodeBench/7",
    "complete_prompt": 'import os\ndef task_func():\n    """Do."""\n',
    "instruct_prompt": "Do.",
    "code_prompt": "import os\ndef task_func():",
    "canonical_solution": "    return os.sep",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test(self): pass\n",
    "entry_point": "task_func",
    "libs": "['os']",
}


def right(number: int) -> Row:
    return {"task_id": f"HumanEval/{number}", "completion": f"    return x + {number}\n"}


def wrong(number: int) -> Row:
    return {"task_id": f"HumanEval/{number}", "completion": "    return None\n"}


def humaneval(path: Path, count: int) -> str:
    return f"humaneval={published.write(path / 'he.jsonl', map(problem, range(count)))}"


def task(name: str, passed: Sequence[bool], greedy: bool | None = None, **scores: list[float]) -> Task:
    def judged(one: bool) -> Judged:
        return Judged(one, "passed" if one else "failed")

    return Task(name, [judged(one) for one in passed], None if greedy is None else judged(greedy), scores)


def report(path: Path, *evaluations: Evaluation) -> Path:
    path.write_text(as_json(table(evaluations), evaluations))
    return path


@pytest.fixture
def nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(self: Sandbox, *arguments: Any, **options: Any) -> Any:
        pytest.fail("something was judged")

    monkeypatch.setattr(Sandbox, "judge_many", judged)
    monkeypatch.setattr(Sandbox, "run", judged)


# ---- the table is printed last, and however it can be ----


class Full(io.TextIOBase):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def isatty(self) -> bool:
        return False


def test_a_disk_that_fills_up_before_the_report_leaves_the_table_on_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = report(tmp_path / "r.json", Evaluation("humaneval", [task("a", [True, False], True)]))

    def write(*arguments: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "write", write)
    with pytest.raises(BadInput, match="No space left on device; the table was printed"):
        command.run([], joined=[joined], out=tmp_path / "out")
    assert "Oracle" in capsys.readouterr().out


def test_modules_that_could_not_be_asked_for_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    run = Sandbox.run

    def fails_once(self: Sandbox, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise SandboxError("the workers were killed")
        return run(self, *arguments, **options)

    monkeypatch.setattr(Sandbox, "run", fails_once)
    with Sandbox(workers=1) as sandbox:
        assert _Modules(sandbox).missing(["json", "no_such_module"]) == ["no_such_module"]
    assert asked == 2


def test_a_table_that_cannot_be_printed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = report(tmp_path / "r.json", Evaluation("humaneval", [task("a", [True, False], True)]))
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(BadInput, match=r"cannot be printed \(No space left.*table\.md"):
        command.run([], joined=[joined], out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["evaluations"]
    assert "| Oracle | 2 |" in (tmp_path / "out" / "table.md").read_text()
    said: list[str] = []
    with pytest.raises(BadInput, match="went to standard error"):
        command.run([], joined=[joined], say=said.append)
    assert "Oracle" in "".join(said)


def test_an_encoding_without_dashes_and_deltas_still_gets_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Evaluation(
        "humaneval",
        [task("a", [True, False], True, rm=[1.0, 2.0]), task("b", [True, True], False, rm=[1.0, 2.0])],
    )
    joined = report(tmp_path / "r.json", one)
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, "ascii"))
    assert command.run([], joined=[joined]) == 0
    assert "rm - Greedy" in data.getvalue().decode("ascii")


def test_a_pipe_gets_whole_lines_and_a_terminal_whole_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    every = [
        Evaluation(name, [task("a", [True, False] * 8, True), task("b", [False] * 16, False)])
        for name in SPECS
    ]
    assert command.run([], joined=[report(tmp_path / "r.json", *every)]) == 0
    out = capsys.readouterr().out
    [average] = [line for line in out.splitlines() if line.strip().startswith("Average ")]
    assert average.split() == ["Average", *["25.0"] * 10] and "…" not in out
    from rich.console import Console

    from acetrain._table import terminals

    shown = Console(width=80, file=io.StringIO(), record=True)
    for one in terminals(table(every), 80):
        shown.print(one)
    text = shown.export_text()
    assert "…" not in text and text.count("25.0") >= 10 and max(map(len, text.splitlines())) <= 80


# ---- a benchmark's own tests ----


HE = problem(0)


@pytest.mark.parametrize(
    ("name", "good", "change", "said"),
    [
        ("humaneval", HE, {"test": "def check(candidate:\n    pass\n"}, "column 'test' is not valid Python"),
        ("humaneval+", HE, {"test": "x = 1\n"}, "column 'test' does not define 'check'"),
        ("humaneval", HE, {"test": "def f():\n    def check(candidate): pass\n"}, "does not define 'check'"),
        ("humaneval", HE, {"entry_point": "a b"}, "column 'entry_point' must be the name of a function"),
        ("humaneval", HE, {"entry_point": "lambda"}, "column 'entry_point' must be the name of a function"),
        (
            "mbpp",
            MBPP,
            {"test_list": ["assert f(1) == 1", "assert f(1 =="]},
            r"test_list\[1\] is not valid Python",
        ),
        ("mbpp", MBPP, {"test_setup_code": "import ("}, "setup .* is not valid Python"),
        ("mbpp+", MBPP, {"test": "assert f(1 =="}, "column 'test' is not valid Python"),
        ("bigcodebench-complete", BIG, {"test": "def test(): pass"}, "no class of unittest.TestCase"),
        (
            "bigcodebench-complete",
            BIG,
            {"test": "class A(TestCase): pass"},
            "column 'test' has no test method",
        ),
        ("bigcodebench-instruct", BIG, {"test": "class A(unittest.TestCase)\n"}, "is not valid Python"),
        ("bigcodebench-complete", BIG, {"entry_point": ""}, "column 'entry_point' must be the name"),
    ],
)
def test_a_test_that_judges_nothing_is_refused_with_its_row(
    tmp_path: Path, name: str, good: Row, change: Row, said: str
) -> None:
    path = published.write(tmp_path / "b.jsonl", [{**good, "task_id": "X/9"}, {**good, **change}])
    with pytest.raises(BadInput, match=rf"b\.jsonl line 2: .*{said}"):
        list(open_benchmark(name, path))


def test_tests_that_the_interpreter_cannot_read_and_answers_too_long_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acetrain._samples.MAX_ANSWER", 100)
    # A placeholder parses, and holds for no program.
    rows = [{**MBPP, "test_list": ["assert f(1) == ____"]}, {**MBPP, "task_id": 2}]
    benchmark = open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", rows))
    answer = "```python\ndef f(x): return x\n```\n"
    given = [
        {"task_id": 1, "solution": "def f(x): return x"},
        {"task_id": 2, "sample": answer},
        {"task_id": 2, "sample": answer + "x" * 100},
    ]
    samples = Samples(published.write(tmp_path / "s.jsonl", given), "Mbpp")
    with open_sandbox(benchmark.spec, workers=1) as sandbox:
        found = evaluate(benchmark, samples, sandbox)
    assert [(one.passed, one.status) for one in found.tasks[0].samples] == [(None, "bad_tests")]
    assert found.headline() is None and any("cannot read: Mbpp/1" in reason for reason in found.reasons)
    assert [(one.passed, one.status) for one in found.tasks[1].samples] == [
        (True, "passed"),
        (False, "too_long"),
    ]
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))).to_dict() == found.to_dict()


# ---- scores ----


@pytest.mark.parametrize("number", INFINITE, ids=["inf", "-inf", "1e999", "1e400"])
def test_an_infinite_score_is_refused_where_it_stands(tmp_path: Path, number: str) -> None:
    path, scores = tmp_path / "s.jsonl", tmp_path / "f.jsonl"
    path.write_text(
        f'{{"task_id": 1, "solution": "x"}}\n{{"task_id": 1, "solution": "x", "score": {number}}}\n'
    )
    with pytest.raises(BadInput, match=r"s\.jsonl line 2: score must be a finite number"):
        Samples(path)
    samples = Samples(published.write(path, [{"task_id": 1, "solution": "x"}]))
    scores.write_text(f'{{"task_id": 1, "scores": [{number}]}}\n')
    with pytest.raises(BadInput, match=r"f\.jsonl line 1: scores\[0\] must be a finite number"):
        samples.add_scores("rm", scores)
    one = Evaluation("mbpp", [task("a", [True], None, rm=[1.5])])
    text = json.dumps(one.to_dict()).replace("1.5", number)
    with pytest.raises(BadInput, match=r"tasks\[0\]\.scores\.rm\[0\] must be a finite number"):
        Evaluation.from_dict(json.loads(text))


@pytest.mark.parametrize(
    "number", [float("inf"), 10**400, "high", None], ids=["inf", "1e400", "text", "null"]
)
def test_a_function_or_a_model_that_gives_no_finite_score_is_named(tmp_path: Path, number: Any) -> None:
    benchmark = open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", [MBPP]))
    samples = Samples(published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": "x"}]), "Mbpp")
    with open_sandbox(benchmark.spec, workers=1) as sandbox:
        with pytest.raises(BadInput, match=r"bad gave a score that is no number for Mbpp/1: .* must be a"):
            evaluate(benchmark, samples, sandbox, scorers={"bad": lambda p, _: [number]})
    with pytest.raises(BadInput, match="rm gave 1 scores for 1 programs of Mbpp/1: one of them must be a"):
        scores_file(benchmark, samples, Named("rm", "x", {}), tmp_path, opened=lambda: Rating(number))


class Rating:
    """Gives every chat one score, and counts how often it is asked."""

    format = "raw"

    def __init__(self, score: Any = 1.0) -> None:
        self.score, self.asked = score, 0

    def rate(self, chats: Sequence[Any]) -> Sequence[float]:
        self.asked += 1
        return [self.score for _ in chats]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("number", INFINITE, ids=["inf", "-inf", "1e999", "1e400"])
def test_an_endpoint_that_gives_an_infinite_score_is_named(tmp_path: Path, number: str) -> None:
    benchmark = open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", [MBPP]))
    samples = Samples(published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": "x"}]), "Mbpp")
    with models_served([], number) as url:
        named = Named.read(f"rm={url}/pooling")
        rater = named.open()
        with pytest.raises(BackendError, match="/pooling: a score must be a finite number"):
            scores_file(benchmark, samples, named, tmp_path, opened=lambda: rater)
        rater.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scores", "SCORES"], "expected SCORE=FILE"),
        (["--scores", "rm="], "expected SCORE=FILE"),
        (["--scores", "=SCORES"], "expected SCORE=FILE"),
        (["--scores", "humaneval:=SCORES"], "expected SCORE=FILE"),
        (["--scores", "mbpp:rm=SCORES"], "'mbpp' is none of the benchmarks given"),
        (["--scores", "Oracle=SCORES"], "a score cannot be named 'Oracle'"),
        (["--scores", "Consensus=SCORES"], "a score cannot be named 'Consensus'"),
        (["--rm", "greedy=/x"], "a score cannot be named 'greedy'"),
        (["--rm", "rm="], "expected NAME=MODEL"),
        (["--scores", "rm=SCORES", "--scores", "RM=SCORES"], "two scores have the same name, 'rm' and 'RM'"),
        (["--scores", "humaneval:rm=SCORES", "--rm", "rm=/x"], "two scores have the same name"),
        (["--synthetic", "humaneval="], "there is no file named"),
        (["--synthetic", ""], "there is no file named"),
        (["--greedy", "humaneval="], "there is no file named"),
        (["--greedy", "mbpp=SCORES"], "'mbpp' is none of the benchmarks given"),
        (["--scores", "score=SCORES"], "there are scores named 'score' already"),
        (["--rm", "a=http://[bad/pooling"], "--rm a: is no address"),
        (["-b", "mbpp="], "there is no file named"),
    ],
)
def test_names_of_scores_and_files_are_whole_and_different(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    nothing_is_judged: None,
    options: list[str],
    said: str,
) -> None:
    scores = published.write(tmp_path / "sc.jsonl", [{"task_id": 0, "scores": [1.0]}])
    samples = published.write(tmp_path / "s.jsonl", [{**right(0), "score": 1}])
    line = [
        "evaluate",
        "-b",
        humaneval(tmp_path, 1),
        "--samples",
        str(samples),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*line, *(option.replace("SCORES", str(scores)) for option in options)]) == 2
    assert said in capsys.readouterr().err


def test_a_score_may_have_any_name_and_is_no_other_row() -> None:
    found = table(
        [Evaluation("mbpp", [task("a", [True, False], True, Oracle=[0.0, 1.0], oracle=[0.0, 1.0])])]
    )
    rows = {
        (line.kind, line.method, line.n): line.cells["mbpp"] for line in found.lines if not line.above_greedy
    }
    oracle, score = rows["oracle", "Oracle", 2], rows["score", "Oracle", 2]
    assert oracle is not None and oracle.value == 1.0 and score is not None and score.value == 0.0
    assert terminal(found).row_count == len(found.lines)
    from acetrain._table import plot

    drawn = plot(Evaluation("mbpp", [task("a", [True, False], True, oracle=[0.0, 1.0])]))
    assert drawn is not None and drawn.count("oracle, N = 2") == 2


def test_a_file_with_an_equals_sign_and_another_name_of_a_benchmark_are_understood(
    tmp_path: Path, nothing_is_judged: None
) -> None:
    unknown = {"task_id": "HumanEval/77", "solution": "x"}
    path = published.write(tmp_path / "a=b.jsonl", [unknown])
    (tmp_path / "he").mkdir()
    bench = humaneval(tmp_path / "he", 1)
    for text in (str(path), f"HumanEval={path}"):
        with pytest.raises(BadInput, match=r"a=b\.jsonl line 1: humaneval has no task"):
            command.run([bench], samples=[text])
    plus = bench.replace("humaneval=", "humanevalplus=")
    for text in (f"humaneval+={path}", f"humanevalplus={path}"):
        with pytest.raises(BadInput, match=r"humaneval\+ has no task 'HumanEval/77'"):
            command.run([plus], samples=[text])


# ---- something is missing ----


def test_samples_that_only_some_tasks_have_leave_no_number(tmp_path: Path) -> None:
    some = Evaluation("humaneval", [task("a", [True], True), task("b", [True]), task("c", [True])])
    assert some.reasons == ["greedy samples are missing for 2 tasks: b, c"] and some.headline() is None
    some = Evaluation("humaneval", [task("a", [True], True), task("b", [], True)])
    assert some.reasons == ["samples are missing for 1 tasks: b"] and some.headline() is None
    for whole in ([task("a", [True])], [task("a", [], True)], [task("a", [True], False)]):
        assert not Evaluation("humaneval", whole).reasons


def test_fewer_samples_of_one_task_are_noted_and_are_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = published.write(tmp_path / "he.jsonl", map(problem, range(2)))
    samples = published.write(tmp_path / "s.jsonl", [right(0), right(0), wrong(0), right(1)])
    assert (
        command.run([f"humaneval={benchmark}"], samples=[str(samples)], out=tmp_path / "out", workers=1) == 1
    )
    assert "1 to 3 samples per problem; N goes to 1" in capsys.readouterr().out
    assert command.run([], joined=[tmp_path / "out" / "report.json"]) == 1


# ---- faults are found before anything is judged ----


def test_unknown_tasks_and_a_fault_at_the_end_are_found_before_anything_is_judged(
    tmp_path: Path, nothing_is_judged: None
) -> None:
    samples = published.write(tmp_path / "s.jsonl", [right(0), right(1), right(9)])
    with pytest.raises(BadInput, match=r"s\.jsonl line 3: humaneval has no task 'HumanEval/9'"):
        command.run([humaneval(tmp_path, 2)], samples=[str(samples)])
    benchmark = open_benchmark("humaneval", tmp_path / "he.jsonl")
    with open_sandbox(benchmark.spec, workers=1) as sandbox:
        with pytest.raises(BadInput, match="has no task 'HumanEval/9'"):
            evaluate(benchmark, Samples(samples, "HumanEval"), sandbox)
    published.write(tmp_path / "he.jsonl", [problem(0), problem(1), {**problem(2), "test": None}])
    published.write(tmp_path / "s.jsonl", [right(0), right(1)])
    with pytest.raises(BadInput, match=r"he\.jsonl line 3: no column 'test'"):
        command.run([f"humaneval={tmp_path / 'he.jsonl'}"], samples=[str(samples)])


def test_a_folder_that_takes_no_files_is_found_before_anything_is_judged(
    tmp_path: Path, nothing_is_judged: None
) -> None:
    samples = published.write(tmp_path / "s.jsonl", [right(0)])
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"--out .*file: nothing can be written there"):
        command.run([humaneval(tmp_path, 1)], samples=[str(samples)], out=tmp_path / "file")


def test_a_plot_that_cannot_be_written_costs_only_the_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    (out / "humaneval.svg").mkdir(parents=True)
    (out / "report.json").write_text("old")
    joined = report(tmp_path / "r.json", Evaluation("humaneval", [task("a", [True, False])]))
    said: list[str] = []
    assert command.run([], joined=[joined], out=out, say=said.append) == 1
    assert any("humaneval.svg: no plot" in one for one in said)
    assert json.loads((out / "report.json").read_text())["evaluations"]
    assert sorted(os.listdir(out)) == ["humaneval.svg", "report.json", "table.md"]

    def fails(*arguments: Any) -> None:
        raise OSError("the disk has gone")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(BadInput, match="the disk has gone; the table was printed"):
        command.run([], joined=[joined], out=out)
    assert json.loads((out / "report.json").read_text())["evaluations"], "what was there is whole"
    assert sorted(os.listdir(out)) == ["humaneval.svg", "report.json", "table.md"]


def changed(**values: Any) -> Callable[[Row], Any]:
    return lambda one: {**one, **values}


def first_task(**values: Any) -> Callable[[Row], Any]:
    return lambda one: {**one, "tasks": [{**one["tasks"][0], **values}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(benchmark="humanevil"), r"evaluations\[0\]: benchmark: there is no 'humanevil'"),
        (changed(benchmark=3), "benchmark must be a text, not 3"),
        (changed(tasks=[]), "tasks: there is none"),
        (changed(tasks="x"), "tasks must be a list"),
        (changed(notes="hello"), "notes must be a list"),
        (changed(notes=[1]), r"notes\[0\] must be a text"),
        (changed(missing_modules=[]), "missing_modules must be an object"),
        (changed(missing_modules={"numpy": "a"}), "missing_modules.numpy must be a list"),
        (changed(generated=3), "generated must be an object"),
        (first_task(passed=["no"]), r"tasks\[0\]\.passed\[0\] must be true, false or null, not 'no'"),
        (first_task(passed=[None]), r"tasks\[0\]\.passed\[0\] does not go with the status 'passed'"),
        (first_task(passed=[True, True]), r"tasks\[0\] has 2 samples in 'passed' and 1 in 'statuses'"),
        (first_task(statuses=[1]), r"tasks\[0\]\.statuses\[0\] must be a text"),
        (first_task(task_id=1), r"tasks\[0\]\.task_id must be a text"),
        (
            first_task(greedy={"passed": 1, "status": "passed"}),
            r"tasks\[0\]\.greedy\.passed must be true, false",
        ),
        (
            first_task(scores={"rm": [float("nan")]}),
            r"tasks\[0\]\.scores\.rm\[0\] must be a finite number, not nan",
        ),
        (first_task(scores={"rm": ["1"]}), r"tasks\[0\]\.scores\.rm\[0\] must be a number"),
        (first_task(scores={"rm": []}), r"tasks\[0\]\.scores\.rm has 0 scores for 1 samples"),
        (lambda one: 3, "an evaluation must be an object, not int"),
    ],
)
def test_a_report_that_is_none_is_refused_with_the_place(
    tmp_path: Path, change: Callable[[Row], Any], said: str
) -> None:
    one = Evaluation("humaneval", [task("a", [True], True)]).to_dict()
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"evaluations": [one]}))
    assert command.run([], joined=[path]) == 0
    path.write_text(json.dumps({"evaluations": [change(one)]}))
    with pytest.raises(BadInput, match=rf"r\.json: .*{said}"):
        command.run([], joined=[path])


def test_a_report_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"evaluations": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(BadInput, match=r"r\.json: "):
        command.run([], joined=[path])


# ---- a reward model's scores ----


@contextmanager
def models_served(listed: list[Row], score: str = "1.0") -> Iterator[str]:
    """An endpoint that says what it serves, and gives everything one score."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            data = f'{{"data": [{{"data": [{score}]}}]}}'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            # vLLM gives every answer a time and ids of its own.
            shown = [{**one, "created": len(seen), "permission": [{"id": len(seen)}]} for one in listed]
            seen.append(self.path)
            data = json.dumps({"object": "list", "data": shown}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    seen: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Evaluates with a reward model, and says how often it was asked for scores."""
    bench = humaneval(tmp_path, 1)
    samples = published.write(tmp_path / "s.jsonl", [right(0), wrong(0)])

    def judged(benchmark: Any, given: Samples, sandbox: Any, **more: Any) -> Evaluation:
        return Evaluation("humaneval", [task("HumanEval/0", [True, False])])

    monkeypatch.setattr(command, "evaluate", judged)
    monkeypatch.setattr(command, "open_sandbox", lambda *arguments, **more: nullcontext())

    def rated(text: str) -> int:
        rating = Rating()
        monkeypatch.setattr(Named, "open", lambda self: rating)
        assert (
            command.run([bench], samples=[str(samples)], raters=[Named.read(text)], out=tmp_path / "out") == 0
        )
        return rating.asked

    return rated


def test_a_model_that_changed_in_its_folder_scores_anew(tmp_path: Path, rate: Callable[[str], int]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights = folder / "model.safetensors"
    weights.write_bytes(b"0" * (2 << 20))
    assert [rate(f"rm={folder}") for _ in range(2)] == [1, 0]
    state = weights.stat()
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert [rate(f"rm={folder}") for _ in range(2)] == [1, 0]
    state = (folder / "config.json").stat()
    (folder / "config.json").write_text("[]")
    os.utime(folder / "config.json", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert [rate(f"rm={folder}") for _ in range(2)] == [1, 0]


def test_another_model_at_an_endpoint_or_under_a_name_scores_anew(
    rate: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [{"id": "rm", "root": "/models/one"}, {"id": "other", "root": "/models/x"}]
    with models_served(listed) as url:
        text = f"rm={url}/pooling,model=rm"
        assert [rate(text) for _ in range(2)] == [1, 0]
        listed[1]["root"] = "/models/y"
        assert rate(text) == 0, "another model of the endpoint is not the one that scores"
        listed[0]["root"] = "/models/two"
        assert [rate(text) for _ in range(2)] == [1, 0]
    assert rate(text) == 0, "scores hold while nobody can say that the model changed"

    from huggingface_hub import HfApi

    commits = ["a" * 40, "a" * 40, "b" * 40]

    class Info:
        def __init__(self, sha: str) -> None:
            self.sha = sha

    monkeypatch.setattr(HfApi, "model_info", lambda self, *a, **k: Info(commits.pop(0)))
    assert [rate("hub=someone/model") for _ in range(3)] == [1, 0, 1]


# ---- synthetic tests ----


GOOD = {"task_id": "HumanEval/0", "tests": ["assert f0(1) == 1"]}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "there are no synthetic tests in it"),
        (
            [GOOD, {**GOOD, "task_id": 0}],
            "line 2: a second list of synthetic tests of 0; the first is at .*line 1",
        ),
        ([GOOD, {**GOOD, "task_id": "HumanEval/9"}], "line 2: humaneval has no task 'HumanEval/9'"),
        ([{**GOOD, "task_id": True}], "line 1: 'task_id' must be a text or a whole number, not true"),
        ([{**GOOD, "tests": "assert f0(1) == 1"}], "line 1: a row of synthetic tests has"),
        ([{**GOOD, "tests": [3]}], "line 1: 'tests' must be a list of texts"),
        (
            [{**GOOD, "tests": ["assert f0(1) == 1", "assert f0(1"]}],
            r"line 1: tests\[1\] is not valid Python",
        ),
    ],
)
def test_a_file_of_synthetic_tests_is_checked_before_anything_is_judged(
    tmp_path: Path, nothing_is_judged: None, rows: list[Row], said: str
) -> None:
    tests = published.write(tmp_path / "t.jsonl", rows)
    samples = published.write(tmp_path / "s.jsonl", [right(0), right(1)])
    with pytest.raises(BadInput, match=rf"t\.jsonl.*{said}"):
        command.run([humaneval(tmp_path, 2)], samples=[str(samples)], synthetic=[str(tests)])


def test_a_sandbox_that_fails_over_synthetic_tests_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, calls, again = Sandbox.judge_many, [], []

    def fails(self: Sandbox, jobs: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:  # the synthetic tests come first
            return whole(self, jobs, **options)
        return iter([SandboxError("the machine is on fire") for _ in jobs])

    def judge(self: Sandbox, *arguments: Any, **options: Any) -> Any:
        again.append(arguments)
        raise SandboxError("still")

    monkeypatch.setattr(Sandbox, "judge_many", fails)
    monkeypatch.setattr(Sandbox, "judge", judge)
    tests = published.write(tmp_path / "t.jsonl", [GOOD])
    samples = published.write(tmp_path / "s.jsonl", [right(0), right(1)])
    line = [humaneval(tmp_path, 2)]
    assert (
        command.run(line, samples=[str(samples)], synthetic=[str(tests)], out=tmp_path / "o", workers=1) == 1
    )
    assert len(again) == 1
    out = capsys.readouterr().out
    assert "1 tasks could not be judged by the synthetic tests: HumanEval/0" in out
    assert "there are no synthetic tests for 1 tasks" in out
    [found] = json.loads((tmp_path / "o" / "report.json").read_text())["evaluations"]
    assert found["unscored"] == ["HumanEval/0"] and found["headline"] is None


def test_synthetic_tests_give_their_rows_to_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = published.write(tmp_path / "t.jsonl", [GOOD])
    samples = published.write(tmp_path / "s.jsonl", [right(0), wrong(0)])
    assert (
        command.run([humaneval(tmp_path, 1)], samples=[str(samples)], synthetic=[str(tests)], workers=1) == 0
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for method in ("tests", "consensus"):
        assert [method, "2", "100.0", "100.0"] in lines


# ---- hints ----


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"task_id": 1.0, "solution": "x"}, "'task_id' must be a text or a whole number, not 1.0"),
        ({"task_id": None, "solution": "x"}, "'task_id' must be a text or a whole number, not null"),
        ({"solution": "x"}, "no 'task_id'; there are 'solution'"),
    ],
)
def test_a_task_id_of_another_type_is_told_from_none(tmp_path: Path, row: Row, said: str) -> None:
    with pytest.raises(BadInput, match=rf"s\.jsonl line 1: {re.escape(said)}"):
        Samples(published.write(tmp_path / "s.jsonl", [row]))


def test_what_is_not_there_is_named_without_a_hint_that_does_not_help(tmp_path: Path) -> None:
    for reads in (
        lambda: Samples(tmp_path / "nix.jsonl"),
        lambda: list(open_benchmark("humaneval", tmp_path / "nix.jsonl")),
    ):
        with pytest.raises(BadInput, match=r"there is no file .*nix\.jsonl$"):
            reads()
    with pytest.raises(BadInput, match="there is no benchmark 'qqqq'; there are humaneval, "):
        open_benchmark("qqqq")
    with pytest.raises(BadInput, match=r"'humaneva'; did you mean humaneval[?] There are humaneval, "):
        open_benchmark("humaneva")


def test_options_of_the_model_asked_that_are_no_numbers_or_addresses_are_refused() -> None:
    with pytest.raises(BadInput, match="the endpoint is no address"):
        Asked("m", endpoint="http://[bad/v1")
    pytest.importorskip("torch")
    from acetrain._local_model import TransformersBackend

    for value in ("abc", 0, 1.5, True):
        with pytest.raises(BadInput, match="batch_size must be a whole number of 1 or more, not"):
            TransformersBackend("m", {"batch_size": value})
    with pytest.raises(BadInput, match="threads must be a whole number"):
        TransformersBackend("m", {"threads": "many"})


def test_an_adapter_is_another_model_when_its_base_is(tmp_path: Path) -> None:

    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    (base / "model.safetensors").write_bytes(b"one")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = of_folder(adapter)
    assert of_folder(adapter) == before
    (base / "model.safetensors").write_bytes(b"other")
    assert of_folder(adapter) != before
