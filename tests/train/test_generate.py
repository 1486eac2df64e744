"""A model is asked once for each answer, whatever stopped the command, and its answers become the right numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from math import comb
from pathlib import Path
from typing import Any

import pytest

from acedata._errors import BackendError, BadInput, BudgetReached
from acedata._requests import Answer, Failure
from acetrain import _prompts
from acetrain._benchmarks import open_benchmark
from acetrain._cli import main
from acetrain._generate import Asked, generate
from acetrain._samples import Samples
from tests.data.loopback import Loopback
from tests.train import published
from tests.train.model_answers import problem

ANSWERS = "tests.train.model_answers:programs"


def benchmark(path: Path, problems: int, name: str = "humaneval") -> str:
    return f"{name}={published.write(path / f'{name}.jsonl', [problem(n) for n in range(problems)])}"


def report(out: Path, name: str = "humaneval") -> dict[str, Any]:
    found = json.loads((out / "report.json").read_text())
    [one] = [one for one in found["evaluations"] if one["benchmark"] == name]
    return dict(one)


def words(path: Path, server: Loopback, *more: str, problems: int = 5) -> list[str]:
    given = ["evaluate", "-b", benchmark(path, problems), "--model", "m", "--endpoint", server.url]
    return [*given, "--out", str(path / "out"), "--workers", "1", *more]


def test_a_model_is_asked_and_its_programs_become_the_right_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Loopback(answer=ANSWERS, log=tmp_path / "log") as server:
        line = words(tmp_path, server, "-n", "4", "--temperature", "0.7", "--price", "1,2")
        assert main(line) == 0
        asked = server.stats()["billed_choices"]
        found = report(tmp_path / "out")
        out, said = capsys.readouterr()
        assert main(line) == 0
        assert server.stats()["billed_choices"] == asked == 5 * 5, "nothing is asked twice"
        assert report(tmp_path / "out") == found
    assert [task["passed"] for task in found["tasks"]] == [[True, False, True, False]] * 5
    assert [task["greedy"]["passed"] for task in found["tasks"]] == [True, False, True, False, True]
    numbers = found["headline"]
    assert numbers["greedy"]["value"] == pytest.approx(3 / 5)
    assert numbers["average"]["value"] == pytest.approx(1 / 2)
    assert numbers["oracle"]["2"]["value"] == pytest.approx(1 - comb(2, 2) / comb(4, 2))
    generated = found["generated"]
    assert generated["answers"] == 25 and generated["ended"] == {"stop": 25}
    assert generated["prompt"] == "bench-1" and generated["temperature"] == 0.7
    cost = (generated["prompt_tokens"] + 2 * generated["completion_tokens"]) / 1e6
    assert generated["dollars"] == pytest.approx(cost) and cost > 0
    assert "Greedy" in out and "Oracle" in out and "25 answers" in said and "$" in said


def test_a_command_that_was_killed_half_way_asks_for_the_rest_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Loopback(answer=ANSWERS, log=log, latency_s=0.05) as server:
        line = words(tmp_path, server, "-n", "6", "--concurrency", "1", problems=20)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-m", "acetrain._cli", *line], env=environment, stderr=subprocess.DEVNULL
        ) as process:
            end = time.monotonic() + 240
            while log.stat().st_size == 0 if log.exists() else True:
                assert time.monotonic() < end, "it asked for nothing"
                time.sleep(0.01)
            time.sleep(0.3)
            process.send_signal(signal.SIGKILL)
        assert not (tmp_path / "out" / "humaneval.samples.jsonl").exists()
        before = server.stats()["billed_choices"]
        assert 0 < before < 20 * 7
        server.set(latency_s=0.0)
        assert main(words(tmp_path, server, "-n", "6", problems=20)) == 0
        # One call was in flight when it was killed: its samples are drawn again.
        assert server.stats()["billed_choices"] - 20 * 7 in range(7)
    assert [task["passed"] for task in report(tmp_path / "out")["tasks"]] == [[True, False] * 3] * 20


def test_benchmarks_with_the_same_prompts_share_their_answers(tmp_path: Path) -> None:
    with Loopback(answer=ANSWERS) as server:
        line = ["evaluate", "-b", benchmark(tmp_path, 3), "-b", benchmark(tmp_path, 3, "humaneval+")]
        line += ["--model", "m", "--endpoint", server.url, "-n", "2", "--out", str(tmp_path / "out")]
        assert main([*line, "--workers", "1"]) == 0
        assert server.stats()["billed_choices"] == 3 * 3
    for name in ("humaneval", "humaneval+"):
        assert [task["passed"] for task in report(tmp_path / "out", name)["tasks"]] == [[True, False]] * 3


@pytest.mark.parametrize("prefill", ["continue", "refuse", "ignore"])
def test_answers_are_read_right_whether_or_not_the_endpoint_goes_on_from_a_prefill(
    tmp_path: Path, prefill: str
) -> None:
    with Loopback(answer=ANSWERS, prefill=prefill) as server:
        assert main(words(tmp_path, server, "-n", "2", problems=2)) == 0
    found = report(tmp_path / "out")
    assert [task["passed"] for task in found["tasks"]] == [[True, False]] * 2
    assert any("does not go on from a prefill" in note for note in found["notes"]) == (prefill != "continue")


def test_a_batch_is_sent_without_a_prefill(tmp_path: Path) -> None:
    with Loopback(answer=ANSWERS, batch_s=0.0) as server:
        assert main(words(tmp_path, server, "-n", "2", "--backend", "openai-batch", problems=2)) == 0
        assert server.stats()["batch_billed_choices"] == 6 and not server.stats()["answered"]
    found = report(tmp_path / "out")
    assert [task["passed"] for task in found["tasks"]] == [[True, False]] * 2
    assert any("6 of 6 answers began by themselves" in note for note in found["notes"])


def test_a_budget_ends_the_asking_and_a_larger_one_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Loopback(answer=ANSWERS) as server:
        more = ("-n", "2", "--price", "100,100", "--max-tokens", "100", "--concurrency", "1", "--budget")
        assert main(words(tmp_path, server, *more, "0.08")) == 1
        assert "budget of $0.08" in capsys.readouterr().err
        first = server.stats()["billed_choices"]
        assert 0 < first < 15
        assert main(words(tmp_path, server, *more, "0.08")) == 1, "what earlier runs spent counts"
        assert server.stats()["billed_choices"] == first
        assert main(words(tmp_path, server, *more, "10")) == 0
        assert server.stats()["billed_choices"] == 15
        spent = server.stats()
    assert report(tmp_path / "out")["generated"]["dollars"] <= (
        (spent["billed_prompt_tokens"] * 3 + spent["billed_completion_tokens"]) * 100 / 1e6
    )


def test_bad_weather_changes_no_number(tmp_path: Path) -> None:
    with Loopback(answer=ANSWERS, faults={"500": 0.1, "429": 0.1, "cut": 0.1, "malformed": 0.05}) as server:
        assert main(words(tmp_path, server, "-n", "4", problems=8)) == 0
    assert [task["passed"] for task in report(tmp_path / "out")["tasks"]] == [[True, False] * 2] * 8


def test_a_model_that_cannot_be_asked_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Loopback(answer=ANSWERS, model="other") as server:
        assert main(words(tmp_path, server, problems=1)) == 2
    assert "has no model m" in capsys.readouterr().err
    assert main(["evaluate", "-b", benchmark(tmp_path, 1), "--model", "m", "--out", str(tmp_path)]) == 2
    assert "say who asks m" in capsys.readouterr().err
    assert main(["evaluate", "-b", benchmark(tmp_path, 1), "-n", "4"]) == 2
    assert "--model" in capsys.readouterr().err


def test_answers_are_replayed_from_a_file(tmp_path: Path) -> None:
    rows = []
    for number in range(2):
        body = f"def f{number}(x):\n    return x + {number}\n```"
        rows.append({"model": "m", "row": f"HumanEval/{number} greedy", "text": body})
        rows += [
            {"model": "m", "row": f"HumanEval/{number}", "sample": n, "text": body.replace("+", "+-"[n])}
            for n in range(2)
        ]
    file = published.write(tmp_path / "answers.jsonl", rows)
    line = ["evaluate", "-b", benchmark(tmp_path, 2), "--model", "m", "--answers", str(file), "-n", "2"]
    assert main([*line, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    found = report(tmp_path / "out")
    assert [task["passed"] for task in found["tasks"]] == [[True, True], [True, False]]
    assert [task["greedy"]["passed"] for task in found["tasks"]] == [True, True]


# ---- what is asked ----


def test_prompts_are_the_benchmarks_and_keep_their_wording(tmp_path: Path) -> None:
    rows = {
        "humaneval": problem(3),
        "mbpp": {
            "task_id": 1,
            "text": "Return it.",
            "code": "def f(x): return x",
            "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
        },
        "bigcodebench-instruct": {
            "task_id": "BigCodeBench/0",
            "complete_prompt": "import os\ndef task_func():\n    '''Do.'''\n",
            "instruct_prompt": "Do.\nStart with:\n```\ndef task_func():\n```",
            "code_prompt": "import os\ndef task_func():\n",
            "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_a(self): task_func()\n",
            "entry_point": "task_func",
            "libs": "['os']",
        },
    }
    instruction = (
        "Please provide a self-contained Python script that solves the following problem in a markdown code "
        "block:\n"
    )
    shown = {
        "humaneval": f"```\n{problem(3)['prompt'].strip()}\n```\n",
        "mbpp": '```\n"""\nReturn it.\nassert f(1) == 1\n"""\n```\n',
        "bigcodebench-instruct": "Do.\nStart with:\n```\ndef task_func():\n```\n",
    }
    for name, row in rows.items():
        [asked] = open_benchmark(name, published.write(tmp_path / f"{name}.jsonl", [row]))
        user, assistant = _prompts.messages("bench-1", asked)
        assert user["content"] == instruction + shown[name]
        assert assistant["role"] == "assistant" and assistant["content"].endswith("\n```python")
        [alone] = _prompts.messages("eval-1", asked)
        assert alone["role"] == "user"
        with pytest.raises(BadInput, match="there are bench-1, eval-1"):
            _prompts.messages("bench-2", asked)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"backend": "mail"}, "not 'mail'"),
        ({"backend": None, "answers": None}, "say who asks"),
        ({"backend": "vllm", "endpoint": "http://h/v1"}, "endpoint is for"),
        ({"backend": "vllm", "answers": "a.jsonl"}, "go together"),
        ({"backend": "vllm", "greedy": False}, "nothing to ask for"),
        ({"backend": "vllm", "n": 2, "temperature": 0.0}, "all be the greedy one"),
        ({"backend": "vllm", "temperature": 3.0}, "between 0 and 2"),
        ({"backend": "vllm", "budget": 1.0}, "needs a price"),
        ({"backend": "vllm", "price": (-1.0, 0.0)}, "0 or more"),
    ],
)
def test_what_does_not_go_together_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Asked("m", **more)


class Writer:
    """A back-end that answers by the sample's number, or fails."""

    def __init__(self, failures: dict[int, str]) -> None:
        self.asked: Counter[int] = Counter()
        self.failures = failures

    async def answers(self, requests: Any, lost: Any = None) -> Any:
        async for request in requests:
            self.asked[request.sample] += 1
            if request.sample in self.failures:
                yield request, Failure(self.failures[request.sample], "so it is")
            else:
                yield request, Answer(f"Said:\n```python\n{request.sample}\n```", "stop", request.max_tokens)

    async def close(self) -> None:
        return None


def test_a_missing_answer_ends_it_and_the_others_are_kept(tmp_path: Path) -> None:
    name, path = benchmark(tmp_path, 2).split("=")
    asked = Asked("m", backend="vllm", n=4, greedy=False)
    first, second = Writer({1: "timeout", 2: "server error"}), Writer({})
    with pytest.raises(
        BackendError, match=r"4 of 8 answers are missing \(2 × server error, 2 × timeout\).*HumanEval/0: so"
    ):
        generate([open_benchmark(name, path)], asked, tmp_path, tmp_path / "store", backend=first)
    assert not (tmp_path / "humaneval.samples.jsonl").exists()
    found = generate([open_benchmark(name, path)], asked, tmp_path, tmp_path / "store", backend=second)
    assert second.asked == {1: 2, 2: 2}
    samples = Samples(found["humaneval"].path)
    assert [sample.text[-5] for sample in samples.tasks["humaneval/1"].samples] == ["0", "1", "2", "3"]


def test_a_problem_that_does_not_fit_counts_as_wrong_and_is_noted(tmp_path: Path) -> None:
    name, path = benchmark(tmp_path, 2).split("=")
    asked = Asked("m", backend="vllm", n=2, greedy=False)
    writer = Writer({1: "context too long"})
    found = generate([open_benchmark(name, path)], asked, tmp_path, tmp_path / "store", backend=writer)
    [problem_0, _] = open_benchmark(name, path)
    samples = Samples(found["humaneval"].path).tasks["humaneval/0"].samples
    assert [sample.program(problem_0) for sample in samples] == ["0", None]
    assert "2 of 4 answers could not be asked for" in found["humaneval"].notes[0]


def test_a_password_in_an_address_is_in_no_report(tmp_path: Path) -> None:
    name, path = benchmark(tmp_path, 1).split("=")
    asked = Asked("m", endpoint="http://me:secret@host:8000/v1?key=hidden", n=1)
    found = generate([open_benchmark(name, path)], asked, tmp_path, tmp_path / "store", backend=Writer({}))
    assert found["humaneval"].figures["endpoint"] == "http://host:8000/v1"
    assert "secret" not in json.dumps(found["humaneval"].figures)


def test_budget_reached_is_an_error_of_its_own(tmp_path: Path) -> None:
    name, path = benchmark(tmp_path, 1).split("=")
    asked = Asked("m", backend="vllm", n=1, price=(1.0, 1.0), budget=0.0)
    with pytest.raises(BudgetReached):
        generate([open_benchmark(name, path)], asked, tmp_path, tmp_path / "store", backend=Writer({}))
