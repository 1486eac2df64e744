"""The command line: data on standard output, talk on standard error, and what the exit codes say."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from acetrain._cli import main
from tests.train.answers import HALF, RIGHT, TESTS, WRONG

UNSEALED = "import sys\nassert sys.modules[add.__module__].__dict__['add'](1, 2) == 3"


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


def test_reward_reads_packed_files_marks_of_order_and_bytes_that_are_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = json.dumps({"completion": RIGHT, "test_cases": TESTS}).encode()
    odd = line.replace(b"def", b"#\xff\\ndef", 1)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + line + b"\n" + odd + b"\n"))
    assert main(["reward", str(tmp_path / "a.jsonl.gz"), "--workers", "1"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["reward"] for one in said] == [1.0, 0.0]  # Python takes no source that is not UTF-8
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(line * 100)[:-9])
    assert main(["reward", str(tmp_path / "cut.jsonl.gz"), "--workers", "1"]) == 2
    assert "cut.jsonl.gz: cannot be unpacked" in capsys.readouterr().err


def test_the_limits_of_the_command_line_are_the_sandboxs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "def add(a, b):\n    for _ in range(3_000_000):\n        pass\n    return a + b\n"
    file = write(tmp_path / "a.jsonl", {"completion": slow, "test_cases": TESTS})
    tight = ["--limit", "cpu_s=0.02", "--limit", "program_cpu_s=0.04"]
    assert main(["reward", file, "--workers", "1", "--limit", "cpu_s=5", "--limit", "program_cpu_s=20"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "passed"
    assert main(["reward", file, "--workers", "1", *tight]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "cpu_timeout"


def test_what_could_be_forged_is_null_and_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"completion": RIGHT, "test_cases": [UNSEALED]}, {"completion": WRONG, "test_cases": TESTS}]
    file = write(tmp_path / "a.jsonl", *rows)
    assert main(["reward", file, "--workers", "1", "--unsealed", "unknown"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["reward"] for line in out.splitlines()] == [None, 0.0]
    assert "mean reward 0.0000, pass rate 0.0000" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "cpu=1"], "names no limit"),
        (["--limit", "cpu_s"], "is no number"),
        (["--limit", "cpu_s=-1"], "out of range"),
        (["--unsealed", "no"], "--unsealed"),
        (["--mode", "pass_rate", "--fail-fast"], "--fail-fast"),
        (["--bonus", "nan"], "--bonus"),
        (["--format", "inf"], "--format"),
    ],
)
def test_an_option_that_cannot_be_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    file = write(tmp_path / "a.jsonl", {"completion": "", "test_cases": TESTS})
    assert main(["reward", file, *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["reward", "a.jsonl"], ["--help"]])
def test_a_closed_pipe_ends_the_command_as_it_ends_any_filter(tmp_path: Path, words: list[str]) -> None:
    rows = [{"completion": RIGHT, "test_cases": TESTS, "id": "x" * 1000}] * 200
    file = write(tmp_path / "a.jsonl", *rows)
    with subprocess.Popen(
        [sys.executable, "-m", "acetrain._cli", *(file if word == "a.jsonl" else word for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        said = command.stderr.read()
        assert command.wait(60) == 128 + signal.SIGPIPE
    assert "Traceback" not in said and "Exception" not in said


def test_ctrl_c_is_said_and_ends_with_130(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "acetrain._cli", "reward", "-", "--workers", "1"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdin is not None and command.stderr is not None
        time.sleep(2)  # it waits for the first line
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 128 + signal.SIGINT
        assert command.stderr.read() == "acetrain: interrupted\n"


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
