"""Right numbers: verdicts equal the labels of real programs, right and wrong, and numbers equal their definitions."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BadInput
from acedata._mutants import mutants
from acesandbox import Sandbox, SandboxError
from acetrain._benchmarks import open_benchmark
from acetrain._evaluate import (
    Evaluation,
    Judged,
    Numbers,
    Task,
    evaluate,
    ladder,
    open_sandbox,
    score_by_tests,
)
from acetrain._samples import Samples
from tests.plain_judge import PlainJudge
from tests.train import published

Row = dict[str, Any]


def judged(
    name: str, path: Path, problems: Sequence[Row], samples: Sequence[Row], python: str | None = None
) -> Evaluation:
    benchmark = open_benchmark(name, published.write(path / "benchmark.jsonl", problems))
    given = Samples(published.write(path / "samples.jsonl", samples), benchmark.spec.prefix)
    with open_sandbox(benchmark.spec, python=python) as sandbox:
        return evaluate(benchmark, given, sandbox)


def by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["task_id"]].append(row)
    return found


def differences(found: Evaluation, labelled: dict[str, list[Row]]) -> list[tuple[Row, Judged]]:
    """Samples whose verdict is not their label; every sample must have one."""
    out = []
    for task in found.tasks:
        for one, row in zip(task.samples, labelled[task.task_id], strict=True):
            if one.passed != row["expected"]:
                out.append((row, one))
    return out


# ---- labels of others ----


def ldb(path: Path, step: int) -> tuple[int, list[tuple[Row, Judged]], Evaluation]:
    labelled = [row for row in published.rows("ldb_humaneval_multimodel") if row.get("expected") is not None][
        ::step
    ]
    tasks = by_task(labelled)
    problems = [
        published.humaneval(row) for row in published.rows("humaneval_canonical") if row["task_id"] in tasks
    ]
    samples = [{"task_id": row["task_id"], "solution": row["program"]} for row in labelled]
    found = judged("humaneval", path, problems, samples)
    return len(labelled), differences(found, tasks), found


def explained(row: Row, one: Judged) -> bool:
    """The publisher ran programs where `math` and the names of `typing` were imported already; the benchmark's own
    harness, and ours, runs the program as it is."""
    missing = re.match(r"NameError: name '(List|Dict|Tuple|Optional|Any|math)' is not defined", one.message)
    return bool(row["expected"] and missing and not re.search(rf"import.*\b{missing[1]}\b", row["program"]))


@pytest.mark.workloads
def test_verdicts_equal_the_labels_of_several_models(tmp_path: Path) -> None:
    rows, different, found = ldb(tmp_path, step=9)
    assert rows > 150 and {False, True} == {one.passed for task in found.tasks for one in task.samples}
    assert not [pair for pair in different if not explained(*pair)]
    numbers = found.headline()
    assert numbers is not None
    closed_forms(found, numbers)


def closed_forms(found: Evaluation, numbers: Numbers) -> None:
    """pass@k of real verdicts, in whole numbers instead of the estimator's logarithms."""
    least = min(task.n for task in found.tasks)
    assert list(numbers.oracle) == ladder(least)
    for k, cell in numbers.oracle.items():
        exact = [1 - Fraction(comb(task.n - sum(task.passed), k), comb(task.n, k)) for task in found.tasks]
        assert cell.value == pytest.approx(float(sum(exact) / len(exact)), rel=1e-12)


@pytest.mark.slow
@pytest.mark.workloads
def test_all_1650_labels_of_several_models(tmp_path: Path) -> None:
    rows, different, found = ldb(tmp_path, step=1)
    assert rows == 1650
    assert not [pair for pair in different if not explained(*pair)]
    assert len(different) == 3
    numbers = found.headline()
    assert numbers is not None and numbers.average is not None
    flipped = [row["task_id"] for row, _ in different]
    means = [
        (sum(row["expected"] for row in listed) - flipped.count(task_id)) / len(listed)
        for task_id, listed in by_task_of_ldb().items()
    ]
    assert numbers.average.value == pytest.approx(sum(means) / len(means), abs=1e-12)
    closed_forms(found, numbers)


def by_task_of_ldb() -> dict[str, list[Row]]:
    return by_task(
        [row for row in published.rows("ldb_humaneval_multimodel") if row.get("expected") is not None]
    )


# ---- reference solutions, and small faults in them, against a plain interpreter ----


# Its published test unpacks the number that the function returns, `_poly(*candidate(*inp), inp)`: nothing passes it.
BROKEN_IN_PLUS = "HumanEval/32"


def with_mutants(rows: Sequence[Row], each: int, seconds: float, packages: bool = False) -> list[Row]:
    """Reference solutions and mutants of them; a plain judge labels the mutants (None: it ran out of time)."""
    found = []
    with PlainJudge(packages=packages) as plain:
        for row in rows:
            right = not (packages and row["task_id"] == BROKEN_IN_PLUS)
            found.append({**row, "expected": right, "solution": row["program"]})
            for mutant in mutants(row["program"], each, seed=row["task_id"]):
                outcomes = plain.judge(
                    mutant.program,
                    row["test_kind"],
                    row["tests"],
                    row["entry_point"],
                    seconds=seconds,
                    max_hangs=1,
                )
                late = any(outcome.status in ("timeout", "not_run", "died") for outcome in outcomes)
                label = None if late else all(outcome.passed for outcome in outcomes)
                found.append({**row, "expected": label, "solution": mutant.program})
    return found


def against_plain(
    name: str,
    path: Path,
    rows: Sequence[Row],
    form: Any,
    each: int,
    python: str | None,
    seconds: float = 5.0,
) -> None:
    # What our judge may import, the reference must be able to: a test without its numpy fails every program.
    mutated = with_mutants(rows, each, seconds, packages=python is not None)
    labelled = [row for row in mutated if row["expected"] is not None]
    labels = [row["expected"] for row in labelled]
    assert labels.count(False) > len(rows) / 2
    samples = [{"task_id": row["task_id"], "solution": row["solution"]} for row in labelled]
    found = judged(name, path, [form(row) for row in rows], samples, python)
    assert not found.reasons
    tasks = by_task(labelled)
    if name.startswith("mbpp"):
        tasks = {task_id.replace("MBPP", "Mbpp"): listed for task_id, listed in tasks.items()}
    assert not differences(found, tasks)


@pytest.mark.workloads
def test_humaneval_references_pass_and_their_mutants_as_a_plain_interpreter_says(tmp_path: Path) -> None:
    rows = published.rows("humaneval_canonical", step=8)
    against_plain("humaneval", tmp_path, rows, published.humaneval, 3, None)


@pytest.mark.workloads
def test_humanevalplus_references_pass_and_their_mutants_do_not(tmp_path: Path) -> None:
    rows = [
        row for row in published.rows("humanevalplus_canonical", step=11) if len(row["tests"][0]) < 100_000
    ]
    samples = []
    for row in rows:
        samples.append({"task_id": row["task_id"], "completion": row["program"][len(row["prompt"]) :]})
        wrong = f"{row['prompt']}    return (None,)\n"
        samples.append({"task_id": row["task_id"], "solution": wrong})
    found = judged(
        "humaneval+", tmp_path, [published.humaneval(row) for row in rows], samples, sys.executable
    )
    assert not found.reasons
    assert not [task for task in found.tasks if task.passed != [True, False]]


@pytest.mark.slow
@pytest.mark.workloads
@pytest.mark.parametrize("name", ["humaneval", "humaneval+"])
def test_all_humaneval_references_and_mutants(tmp_path: Path, name: str) -> None:
    workload = "humanevalplus_canonical" if "+" in name else "humaneval_canonical"
    rows = published.rows(workload)
    against_plain(name, tmp_path, rows, published.humaneval, 2, sys.executable if "+" in name else None)


@pytest.mark.workloads
def test_mbpp_references_pass_and_their_mutants_as_a_plain_interpreter_says(tmp_path: Path) -> None:
    rows = published.rows("mbpp_canonical", step=40)
    against_plain("mbpp", tmp_path, rows, published.mbpp, 2, None)


@pytest.mark.slow
@pytest.mark.workloads
def test_all_mbpp_references_and_mutants(tmp_path: Path) -> None:
    rows = published.rows("mbpp_canonical")
    # A reference that fails in a plain interpreter is labelled so: each of these does.
    with PlainJudge() as plain:
        wrong = {
            row["task_id"]
            for row in rows
            if not all(
                outcome.passed
                for outcome in plain.judge(
                    row["program"], row["test_kind"], row["tests"], row["entry_point"], seconds=3.0
                )
            )
        }
    assert len(wrong) <= 3, wrong
    rows = [row for row in rows if row["task_id"] not in wrong]
    against_plain("mbpp", tmp_path, rows, published.mbpp, 2, None, seconds=1.0)


# ---- BigCodeBench ----


def bigcodebench(
    path: Path, step: int, first: int = 0, more: Sequence[str] = ()
) -> tuple[list[Row], list[tuple[Row, Judged]], Evaluation]:
    """Every `step`-th row from the `first`, with a wrong program each, and of these `more` the references alone."""
    every = published.standard_library_only(published.rows("bigcodebench_canonical"))
    rows = [row for place, row in enumerate(every) if place % step == first or row["task_id"] in more]
    samples, labelled = [], []
    for row in rows:
        # As a model writes them: without the imports it was shown, which calibration brings back; and a wrong one.
        samples.append({"task_id": row["task_id"], "solution": published.bare_function(row)})
        labelled.append(row)
        if row["task_id"] not in more:
            samples.append({"task_id": row["task_id"], "solution": "x = 1"})
            labelled.append({**row, "expected": False})
    problems = [published.bigcodebench(row) for row in rows]
    found = judged("bigcodebench-complete", path, problems, samples)
    return rows, differences(found, by_task(labelled)), found


# References that do not pass here, and why.
DIFFERENT = {
    "BigCodeBench/176": "looks a name up on the internet",
    "BigCodeBench/314": "looks a name up on the internet",
    "BigCodeBench/1005": "fetches a file from the internet",
    "BigCodeBench/541": "asks for numpy by its name, which the interpreter lacks",
}


# References that pass with profile="system" only: one starts processes, one listens on loopback, where a wrong program
# would be waited for until its time is up.
WIDE = ("BigCodeBench/16", "BigCodeBench/1038")


@pytest.mark.workloads
def test_bigcodebench_functions_without_their_imports_pass_calibrated(tmp_path: Path) -> None:
    rows, different, found = bigcodebench(tmp_path, step=25, first=1, more=WIDE)
    assert len(rows) > 10 and not found.reasons
    assert {*WIDE} < {row["task_id"] for row in rows}
    assert not [(row["task_id"], one) for row, one in different]


@pytest.mark.slow
@pytest.mark.workloads
@pytest.mark.timeout(1800)
def test_all_bigcodebench_standard_library_rows(tmp_path: Path) -> None:
    rows, different, found = bigcodebench(tmp_path, step=1)
    assert len(rows) == 300 and not found.reasons
    assert not [(row["task_id"], one) for row, one in different if row["task_id"] not in DIFFERENT]


def test_missing_modules_are_listed_and_there_is_no_number(tmp_path: Path) -> None:
    def task(number: int, imports: str) -> Row:
        return {
            "task_id": f"HumanEval/{number}",
            "prompt": f"{imports}def f(x):\n",
            "entry_point": "f",
            "canonical_solution": "    return x\n",
            "test": "def check(candidate):\n    assert candidate(1) == 1\n",
        }

    problems = [
        task(0, ""),
        task(1, "import no_such_module_a\nimport os\n"),
        task(2, "import no_such_module_a, json\n"),
    ]
    samples = [{"task_id": f"HumanEval/{n}", "completion": "    return x\n"} for n in range(3)]
    samples.append({"task_id": "HumanEval/0", "solution": "import not_there_either\ndef f(x): return x"})
    found = judged("humaneval", tmp_path, problems, samples)
    assert found.missing_modules == {"no_such_module_a": ["HumanEval/1", "HumanEval/2"]}
    assert found.headline() is None and found.to_dict()["headline"] is None
    assert "2 of 3 tasks need modules that the interpreter lacks: no_such_module_a (2)" in found.reasons
    assert [one.passed for one in found.tasks[0].samples] == [True, False]
    assert [one.passed for one in found.tasks[1].samples] == [None]
    assert "1 programs import modules that the interpreter lacks: not_there_either (1)" in found.notes
    over = found.over_judged().average
    assert over is not None and over.value == 0.5 and over.problems == 1


# ---- LiveCodeBench ----


def test_livecodebench_scripts_and_functions_are_judged(tmp_path: Path) -> None:
    problems = [
        published.livecodebench(
            "s", [("1 2\n", "3\n"), ("5000000000 7\n", "5000000007\n"), ("0.5 1\n", "1.50")]
        ),
        published.livecodebench("f", [("[3,1,2]", "[1,2,3]"), ("[]", "[]")], function="go"),
        published.livecodebench("m", [('"ab"\n2', '"abab"')], function="times", public=1, pack=False),
    ]
    right = [
        {
            "question_id": "s",
            "code_list": ["print(sum(map(Decimal, input().split())))".replace("Decimal", "float")],
        },
        {
            "question_id": "f",
            "code_list": [
                "class Solution:\n    def go(self, x: List[int]):\n        return tuple(sorted(x))"
            ],
        },
        {"question_id": "m", "output_list": ["Sure:\n```python\ndef times(s, n): return s * n\n```"]},
    ]
    wrong = [
        # Right on the public test, wrong on a private one.
        {"question_id": "s", "code_list": ["a, b = map(float, input().split())\nprint(int(a + b) % 10**9)"]},
        {"question_id": "f", "code_list": ["class Solution:\n    def go(self, x): return sorted(x) or None"]},
        {"question_id": "m", "output_list": ["no program at all, only words"]},
    ]
    found = judged("livecodebench-v4", tmp_path, problems, [*right, *wrong])
    assert [task.passed for task in found.tasks] == [[True, False]] * 3, found.tasks
    assert found.tasks[1].samples[1].status == "failed"


def test_a_program_that_hangs_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    problems = [published.livecodebench("a", [("1", "1")]), published.livecodebench("b", [("1", "1")])]
    samples = [
        {"task_id": "a", "solution": "import time\nwhile True: time.sleep(1)"},
        {"task_id": "a", "solution": "print(input())"},
        {"task_id": "b", "solution": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"},
        {"task_id": "b", "solution": "\0"},
        {"task_id": "b", "solution": "\ud800"},
        {"task_id": "b", "solution": "print(input())"},
    ]
    found = judged("livecodebench-v4", tmp_path, problems, samples)
    assert [task.passed for task in found.tasks] == [[False, True], [False, False, False, True]]


# ---- numbers ----


def made(passed: dict[str, list[bool]], scores: dict[str, list[float]] | None = None) -> Evaluation:
    tasks = [
        Task(
            name,
            [Judged(one, "passed" if one else "failed") for one in listed],
            Judged(listed[0], "passed" if listed[0] else "failed"),
            {"rm": scores[name]} if scores else {},
        )
        for name, listed in passed.items()
    ]
    return Evaluation("humaneval", tasks)


def test_numbers_are_what_they_are_called() -> None:
    passed = {"a": [True, False, False, True], "b": [False] * 4, "c": [True, True, True, False]}
    scores = {"a": [3.0, 2.0, 1.0, 0.0], "b": [1.0] * 4, "c": [0.0, 1.0, 2.0, 9.0]}
    numbers = made(passed, scores).headline()
    assert numbers is not None and numbers.greedy is not None and numbers.average is not None
    assert numbers.greedy.value == pytest.approx(2 / 3)
    assert numbers.average.value == pytest.approx((2 / 4 + 0 + 3 / 4) / 3)
    for k, cell in numbers.oracle.items():
        exact = [1 - comb(4 - sum(listed), k) / comb(4, k) for listed in passed.values()]
        assert cell.value == pytest.approx(sum(exact) / 3)
    assert list(numbers.oracle) == [1, 2, 4] and numbers.oracle[1].value == pytest.approx(
        numbers.average.value
    )
    assert numbers.best_of["rm"][4].value == pytest.approx(1 / 3)
    assert ladder(6) == [1, 2, 4, 6] and ladder(1) == [1]


def test_tasks_without_samples_and_without_verdict_leave_no_number(tmp_path: Path) -> None:
    one = made({"a": [True], "b": [True]})
    one.unattempted = ["b"]
    assert one.headline() is None and one.reasons == ["1 of 2 tasks have no samples: b"]
    two = made({"a": [True], "b": [True]})
    two.tasks[1].samples[0] = Judged(None, "unjudged")
    assert two.headline() is None and two.reasons == ["1 tasks could not be judged: b"]
    again = Evaluation.from_dict(json.loads(json.dumps(two.to_dict())))
    assert again.to_dict() == two.to_dict()
    with pytest.raises(BadInput):
        Evaluation.from_dict({"benchmark": "humaneval"})


ECHO = {
    "task_id": 1,
    "text": "Return it.",
    "code": "def f(x):\n    return x",
    "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
}


def mbpp(path: Path, samples: Sequence[Row], **more: Any) -> Evaluation:
    return judged("mbpp", path, [{**ECHO, **more}], samples)


def test_a_sandbox_that_fails_twice_leaves_the_sample_unjudged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(self: Sandbox, jobs: Any, **options: Any) -> Any:
        for _ in jobs:
            yield SandboxError("the machine is on fire")

    def again(self: Sandbox, *arguments: Any, **options: Any) -> Any:
        tried.append(arguments)
        raise SandboxError("still")

    monkeypatch.setattr(Sandbox, "judge_many", fails)
    monkeypatch.setattr(Sandbox, "judge", again)
    found = mbpp(tmp_path, [{"task_id": 1, "solution": "def f(x): return x"}])
    assert len(tried) == 1 and found.unjudged == ["Mbpp/1"] and found.headline() is None
    assert found.tasks[0].samples[0].message == "the machine is on fire; then still"


def test_scores_come_from_rows_files_functions_and_synthetic_tests(tmp_path: Path) -> None:
    programs = ["def f(x): return x", "def f(x): return 1", "def f(x): return x * 1", "nonsense ("]
    benchmark = open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", [ECHO]))
    rows = [{"task_id": "MBPP/1", "solution": text, "score": n} for n, text in enumerate(programs)]
    samples = Samples(published.write(tmp_path / "s.jsonl", rows), "Mbpp")
    samples.add_scores(
        "file", published.write(tmp_path / "f.jsonl", [{"task_id": 1, "scores": [9, 1, 2, 3]}])
    )
    with open_sandbox(benchmark.spec, fail_fast=False, workers=1) as sandbox:
        listed = {"mbpp/1": ["assert f(3) == 3", "assert f(1) == 1", "assert f(5) == 0"]}
        scored = score_by_tests(benchmark, samples, listed, sandbox)
    assert scored["tests"] == {"mbpp/1": [2.0, 1.0, 2.0, 0.0]}
    assert scored["consensus"] == {"mbpp/1": [4.0, 1.0, 4.0, 0.0]}
    scorers = {
        "length": lambda problem, programs: [len(text or "") for text in programs],
        **{name: lambda p, _, by=by: by["mbpp/1"] for name, by in scored.items()},
    }
    with open_sandbox(benchmark.spec, workers=1) as sandbox:
        found = evaluate(benchmark, samples, sandbox, scorers=scorers)
        numbers = found.headline()
        assert numbers is not None
        best = {name: by_k[4].value for name, by_k in numbers.best_of.items()}
        assert best == {"score": 0.0, "file": 1.0, "length": 1.0, "tests": 1.0, "consensus": 1.0}
        with pytest.raises(BadInput, match="gave 1 scores for 4 samples"):
            evaluate(benchmark, samples, sandbox, scorers={"bad": lambda p, _: [1.0]})
        with pytest.raises(BadInput, match="no number"):
            evaluate(benchmark, samples, sandbox, scorers={"bad": lambda p, _: [float("nan")] * 4})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"solution": "x"}, "no 'task_id'"),
        ({"task_id": 1}, "no 'solution', 'completion' or 'sample'"),
        ({"task_id": 1, "solution": 3}, "must be a text, not int"),
        ({"task_id": 1, "solution": "x", "score": "high"}, "score must be a number"),
        ({"task_id": 1, "solution": "x", "greedy": "yes"}, "'greedy' must be true or false"),
        ({"task_id": 1, "code_list": "x"}, "must be a list of texts"),
    ],
)
def test_faults_of_samples_are_named_with_file_and_line(tmp_path: Path, row: Row, said: str) -> None:
    path = published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": "x"}, row])
    with pytest.raises(BadInput, match=rf"s\.jsonl line 2: .*{re.escape(said)}"):
        Samples(path)
    (tmp_path / "s.jsonl").write_text('{"task_id": 1, "solution": "x"}\n{"task_id"')
    with pytest.raises(BadInput, match=r"s\.jsonl line 2: not JSON"):
        Samples(path)


def test_faults_between_files_are_named(tmp_path: Path) -> None:
    two = [{"task_id": 1, "solution": "x", "score": 1}, {"task_id": 1, "solution": "y"}]
    samples = Samples(published.write(tmp_path / "s.jsonl", two), "Mbpp")
    with pytest.raises(BadInput, match=r"s\.jsonl line 2: no score 'score', though .*line 1"):
        samples.score_names()
    for row, said in (
        ({"task_id": 2, "scores": [1]}, "line 1: no samples of 2"),
        ({"task_id": 1, "scores": [1, 2, 3]}, "line 1: 1 has no sample 2"),
        ({"task_id": 1, "index": 0, "score": None}, "line 1: score must be a number"),
        ({"task_id": 1, "score": 1}, "line 1: a row of scores has"),
        ({"task_id": 1, "index": 0, "score": 1}, r"no score of sample 1 of 1 \(.*s\.jsonl line 2\)"),
    ):
        with pytest.raises(BadInput, match=said):
            samples.add_scores("rm", published.write(tmp_path / "f.jsonl", [row]))
    with pytest.raises(BadInput, match=r"samples\.jsonl line 2: mbpp has no task 'Mbpp/77'"):
        mbpp(tmp_path, [{"task_id": 1, "solution": "x"}, {"task_id": "Mbpp/77", "solution": "x"}])
    greedy = published.write(tmp_path / "g.jsonl", [{"task_id": 1, "solution": "x"}] * 2)
    with pytest.raises(
        BadInput, match=r"g\.jsonl line 2: a second greedy sample of 1; the first is at .*line 1"
    ):
        samples.add(greedy, greedy=True)


def test_the_public_names_are_there_and_work(tmp_path: Path) -> None:
    from acetrain import evaluation

    names = {name for name in vars(evaluation) if not name.startswith("_")}
    assert sorted(evaluation.__all__) == sorted(names) and len(set(evaluation.__all__)) == len(
        evaluation.__all__
    )
    benchmark = evaluation.open_benchmark("mbpp", published.write(tmp_path / "b.jsonl", [ECHO]))
    samples = evaluation.Samples(
        published.write(tmp_path / "s.jsonl", [{"task_id": 1, "solution": "def f(x): return x"}]),
        benchmark.spec.prefix,
    )
    with evaluation.open_sandbox(benchmark.spec, workers=1) as sandbox:
        found = evaluation.evaluate(benchmark, samples, sandbox)
    assert "| Oracle | 1 | 100.0" in evaluation.markdown(evaluation.table([found]))
