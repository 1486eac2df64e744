"""The command line: data on standard output, talk on standard error, and what the exit codes say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from acetrain._cli import main
from tests.train.answers import HALF, RIGHT, TESTS, WRONG


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_reward_pays_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": n, "completion": text, "test_cases": json.dumps(TESTS)} for n, text in enumerate((RIGHT, HALF))
    ]
    assert main(["reward", write(tmp_path / "a.jsonl", *rows), "--mode", "pass_rate", "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    said = [json.loads(line) for line in out.splitlines()]
    assert [(one["id"], one["reward"], one["status"]) for one in said] == [
        (0, 1.0, "passed"),
        (1, 0.5, "failed"),
    ]
    assert "2 completions: mean reward 0.7500" in err


def test_reward_says_null_for_what_it_cannot_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": WRONG, "tests": TESTS}, {"text": RIGHT, "tests": "broken"}]
    file = write(tmp_path / "a.jsonl", *rows)
    assert main(["reward", file, "--completion", "text", "--tests", "tests", "--workers", "1"]) == 1
    assert [json.loads(line)["reward"] for line in capsys.readouterr().out.splitlines()] == [0.0, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "a.jsonl:2: no JSON"),
        ("[]", "a.jsonl:2: must be an object"),
        ("{}", "a.jsonl:2: no field 'completion'"),
    ],
)
def test_reward_names_the_line_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    (tmp_path / "a.jsonl").write_text("\n" + line + "\n")
    assert main(["reward", str(tmp_path / "a.jsonl")]) == 2
    assert message in capsys.readouterr().err


def test_usage_errors_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "a.jsonl", {"completion": "", "test_cases": TESTS})
    assert main(["reward", file, "--mode", "some"]) == 2
    assert main(["reward", str(tmp_path / "none.jsonl")]) == 2
    assert main(["reward-server", "--unknown", "skip"]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_the_reward_server_serves_until_interrupted() -> None:
    words = [sys.executable, "-m", "acetrain._cli", "reward-server", "--unknown", "zero", "--port", "0"]
    with subprocess.Popen([*words, "--workers", "1"], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = re.search(r"http://\S+", server.stderr.readline())
        assert found is not None
        body = json.dumps({"query": [RIGHT, WRONG], "prompts": ["", ""], "labels": [TESTS, TESTS]}).encode()
        with urllib.request.urlopen(urllib.request.Request(found[0], body), timeout=60) as answer:
            assert json.load(answer)["rewards"] == [1.0, 0.0]
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    "code", ["import acetrain", "from acetrain._cli import main", "from acetrain import RuleReward"]
)
def test_importing_brings_in_nothing_heavy(code: str) -> None:
    code += "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    words = [sys.executable, "-c", code]
    loaded = subprocess.run(
        words, capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout.split()
    assert not {"torch", "transformers", "trl", "datasets", "numpy", "pyarrow", "ray"} & set(loaded)
