"""The commands as a user has them: separate processes, exit codes, what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acesandbox import IsolationUnavailable, Sandbox
from acesandbox._cli import main
from acesandbox._doctor import STOPS
from tests.conftest import unavailable

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture(scope="module", autouse=True)
def jail() -> None:
    try:
        with Sandbox(workers=1):
            pass
    except IsolationUnavailable as error:
        unavailable(str(error))


def acesandbox(*arguments: object, stdin: bytes = b"", **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "acesandbox", *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, env=ENV, check=False, **more
    )


def row(task_id: object, program: str, **more: object) -> dict[str, object]:
    tests = ["assert f(1) == 2", "assert f(2) == 3"]
    return {"task_id": task_id, "program": program, "tests": tests, "test_kind": "asserts", **more}


RIGHT = "def f(x): return x + 1"
HALF = "def f(x): return 2"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.jsonl"
    rows = [row(1, RIGHT), row("two", HALF), row("three", "def f(x): 1/0")]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_judge_prints_one_line_per_sample_in_order(samples: Path) -> None:
    done = acesandbox("judge", samples, "--workers", 1)
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert [each["task_id"] for each in found] == [1, "two", "three"]
    assert [each["passed"] for each in found] == [True, False, False]
    assert [each["pass_rate"] for each in found] == [1.0, 0.5, 0.0]
    assert set(found[0]) == {
        "task_id",
        "passed",
        "pass_rate",
        "sealed",
        "status",
        "tests",
        "cpu_s",
        "wall_s",
        "peak_memory_mb",
    }
    assert set(found[0]["tests"][0]) == {"status", "sealed", "cpu_s", "message"}
    assert found[1]["tests"][1]["status"] == "failed"
    assert b"3 programs in" in done.stderr
    assert b"judged sealed" in done.stderr


def test_judge_reads_standard_input_and_details_say_more(samples: Path) -> None:
    done = acesandbox("judge", "-", "--details", "--quiet", stdin=samples.read_bytes())
    assert done.stderr == b""
    assert lines(done.stdout)[0]["tests"][0]["mode"] == "plan"


def test_nothing_is_judged_when_a_line_is_bad(samples: Path, tmp_path: Path) -> None:
    with samples.open("a") as file:
        file.write('{"task_id": 4}\n')
    done = acesandbox("judge", samples, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout == b""
    assert f"{samples}:4: the key 'program' is missing".encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "/nonexistent.jsonl"], "/nonexistent.jsonl: cannot be read: No such file"),
        (["judge", os.devnull], "nothing to do"),
        (["judge", "SAMPLES", "--out", "x.gz"], "--out cannot be compressed"),
        (["judge", "SAMPLES", "--out", "SAMPLES"], "--out would write to the samples file itself"),
        (["judge", "SAMPLES", "--overwrite"], "--overwrite needs --out"),
        (["judge", "SAMPLES", "--out", "/nonexistent/out"], "cannot be written"),
        (["judge", "SAMPLES", "--cpu-s", "-1"], "Limits.cpu_s=-1.0 is out of range"),
        (["judge", "SAMPLES", "--workers", "0"], "workers must be"),
        (["judge", "SAMPLES", "--python", "/nonexistent"], "no such executable"),
        (["judge", "SAMPLES", "--isolation", "trust"], "invalid choice: 'trust'"),
        (["run", "/nonexistent.py"], "/nonexistent.py: cannot be read"),
        (["run", "SAMPLES", "--file", "/nonexistent"], "/nonexistent: cannot be read"),
        (["check", "no_such_attack"], "no attack or family of attacks called 'no_such_attack'"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "usage"),
    ],
)
def test_usage_errors_are_told_in_a_line_and_exit_with_2(
    samples: Path, arguments: list[str], message: str
) -> None:
    done = acesandbox(*[str(samples) if each == "SAMPLES" else each for each in arguments])
    assert done.returncode == 2
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_interrupted_run_goes_on_and_ends_with_one_line_per_sample(tmp_path: Path) -> None:
    path, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    slow = "import time\ndef f(x):\n    time.sleep(0.2)\n    return x + 1  # {}\n"
    path.write_text("".join(json.dumps(row(n, slow.format(n))) + "\n" for n in range(12)))
    command = [sys.executable, "-m", "acesandbox", "judge", str(path), "--out", str(out), "--workers", "1"]
    first = subprocess.Popen(command, env=ENV, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with out.open("ab") as file:
        file.write(b'{"task_id": 99, "passed": tr')
    kept = out.read_bytes().count(b"\n")
    assert 2 <= kept < 12
    second = subprocess.run(command, env=ENV, capture_output=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr
    assert f"{kept} of 12 samples were judged before".encode() in second.stderr
    found = lines(out.read_bytes())
    assert [each["task_id"] for each in found] == list(range(12))
    assert all(each["passed"] for each in found)

    third = acesandbox("judge", path, "--out", out, "--workers", 1, "--json")
    assert third.returncode == 0
    assert json.loads(third.stdout)["judged_before"] == 12
    assert len(lines(out.read_bytes())) == 12

    path.write_text(path.read_text().replace("0.2", "0.1"))
    other = acesandbox("judge", path, "--out", out, "--workers", 1)
    assert other.returncode == 2
    assert b"holds results of other samples" in other.stderr
    assert len(lines(out.read_bytes())) == 12


def test_interrupt_from_the_keyboard_leaves_whole_lines(tmp_path: Path) -> None:
    path, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    slow = "import time\ndef f(x):\n    time.sleep(0.3)\n    return x + 1  # {}\n"
    path.write_text("".join(json.dumps(row(n, slow.format(n))) + "\n" for n in range(50)))
    command = [sys.executable, "-m", "acesandbox", "judge", str(path), "--out", str(out), "--workers", "1"]
    running = subprocess.Popen(command, env=ENV, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert out.read_bytes().endswith(b"\n")


def test_same_tests_are_judged_whatever_surrounds_them(tmp_path: Path) -> None:
    """Odd content is a verdict, not an error: NUL and lone surrogates in programs, tests that do not parse."""
    rows = [
        row(0, "x = '\0'\n"),
        row(1, "def f(x): return x + 1 # \ud800"),
        row(2, RIGHT, tests=["assert f(1 ==", "assert f(1) == 2"]),
    ]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    done = acesandbox("judge", path)
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert found[0]["status"] == "syntax_error"
    assert [test["status"] == "passed" for test in found[2]["tests"]] == [False, True]
    assert b"by their own fault" in done.stderr


def test_run_passes_streams_and_exit_code_through(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nprint(sys.argv[1:], input(), open('data.txt').read())\nprint('oops', file=sys.stderr)\n"
    )
    (tmp_path / "in").write_text("hello\n")
    (tmp_path / "data.txt").write_text("data")
    done = acesandbox(
        "run", script, "--stdin", tmp_path / "in", "--file", tmp_path / "data.txt", "--", "-x", "y"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"['-x', 'y'] hello data\n", b"oops\n")
    script.write_text("import sys\nsys.exit(3)\n")
    failed = acesandbox("run", script, "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["exit_code"] == 3


def test_run_says_why_a_script_ended(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("while True: pass\n")
    done = acesandbox("run", script, "--cpu-s", 0.3)
    assert done.returncode == 1
    assert b"cpu_timeout" in done.stderr


def test_doctor_reports_what_works() -> None:
    done = acesandbox("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["tiers"]["namespaces"]["works"]
    assert report["cores"]["usable"] >= 1
    mechanisms = report["probe"]["mechanisms"]
    assert {"name", "available", "why"} <= set(mechanisms[0])
    assert {each["name"] for each in mechanisms} <= set(STOPS), "each mechanism is explained"


def test_check_lists_and_runs_attacks() -> None:
    listed = acesandbox("check", "--list")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) > 50
    done = acesandbox("check", "sys_exit_in_call", "--json", "--isolation", "namespaces")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [each["state"] for each in lines(done.stdout)] == ["held"]


def test_demo_has_no_surprise() -> None:
    done = acesandbox("demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done.stdout)
    assert len(found) >= 12
    assert all(each["sealed"] for each in found)


def test_demo_has_a_table_for_people_and_is_over_soon() -> None:
    done = acesandbox("demo", "--cpu-s", "0.1")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert (
        "limits: 0.1 s CPU per test, 0.4 s per program, 0.2 s idle (elsewhere the defaults are 1, 4 and 2)"
        in text
    )
    assert "0 verdicts are a surprise" in text
    assert "the test took more than 0.1 s" in text


def test_closed_pipe_is_no_error(samples: Path) -> None:
    command = f"{sys.executable} -m acesandbox judge {samples} --quiet | head -c 1"
    done = subprocess.run(["bash", "-c", command], env=ENV, capture_output=True, timeout=60, check=False)
    assert done.stderr == b""


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    command = line.replace("acesandbox", f"{sys.executable} -m acesandbox")
    return subprocess.run(["bash", "-c", command], env=ENV, capture_output=True, timeout=60, check=False)


def test_samples_may_come_through_a_pipe_with_a_name(samples: Path) -> None:
    done = shell(f"acesandbox judge <(cat {samples}) --quiet")
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(lines(done.stdout)) == 3


@pytest.mark.parametrize(
    "line", ["judge SAMPLES --quiet", "check --list", "doctor", "run SCRIPT", "run SCRIPT --json"]
)
@pytest.mark.parametrize(
    ("where", "message"), [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_output_that_cannot_be_written_is_told_and_exits_with_2(
    samples: Path, tmp_path: Path, line: str, where: str, message: str
) -> None:
    (tmp_path / "script.py").write_text("print(1)")
    command = line.replace("SAMPLES", str(samples)).replace("SCRIPT", str(tmp_path / "script.py"))
    done = shell(f"acesandbox {command} {where}")
    assert done.returncode == 2
    assert done.stderr.decode() == f"acesandbox: standard output cannot be written to: {message}\n"


def test_other_closed_streams_are_no_fault(samples: Path) -> None:
    silent = shell(f"acesandbox judge {samples} 2>&-")
    assert (silent.returncode, len(lines(silent.stdout))) == (0, 3)
    empty = shell("acesandbox judge - <&-")
    assert (empty.returncode, empty.stdout) == (2, b"")
    assert b"nothing to do" in empty.stderr


def test_samples_are_not_written_over_by_the_record_of_a_run(samples: Path) -> None:
    named = samples.rename(samples.with_name("out.run.json"))
    before = named.read_bytes()
    done = acesandbox("judge", named, "--out", samples.with_name("out"), "--overwrite")
    assert done.returncode == 2
    assert b"--out would write to the samples file itself" in done.stderr
    assert named.read_bytes() == before


def test_output_does_not_depend_on_the_encoding_of_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('\\u20ac')")
    command = [sys.executable, "-m", "acesandbox", "run", str(script)]
    done = subprocess.run(
        command, env={**ENV, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\u20ac\n".encode(), b"")


def test_command_line_can_be_called_as_a_function(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGPIPE)
    assert main(["check", "--list"]) == 0
    signal.signal(signal.SIGPIPE, before)
    assert "forg" in capsys.readouterr().out
