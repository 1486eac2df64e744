"""The `acedata` command: results on standard output, talk on standard error, exit codes, and no key anywhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import acedata
from acedata._cli import main
from acedata._directory import Directory
from tests.data import tiny
from tests.data.loopback import Loopback

KEY = "sk-test-0123456789abcdef"


def acedata_command(
    *words: object, folder: Path | None = None, alone: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, in a folder; `alone`: in one of its own, which takes a second to start."""
    if alone:
        # Wherever it runs: the package that is tested, though its folder be named relatively.
        found = str(Path(acedata.__file__).parents[1])
        return subprocess.run(
            [sys.executable, "-m", "acedata._cli", *map(str, words)],
            capture_output=True,
            text=True,
            env={**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": found},
            cwd=folder,
            check=False,
        )
    out, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.chdir(folder or Path.cwd())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(list(map(str, words)))
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipe.yaml and a finished build in out/."""
    folder = tmp_path_factory.mktemp("cli")
    tiny.write(folder, seeds=8)
    assert main(["build", str(folder / "recipe.yaml"), "--dir", str(folder / "out"), "--quiet"]) == 0
    return folder


def test_help_names_every_command() -> None:
    done = acedata_command("--help", alone=True)
    assert done.returncode == 0
    for command in ("build", "estimate", "import", "show", "report", "export", "recipes", "store"):
        assert f"\n  {command} " in done.stdout


def test_a_build_says_a_line_per_stage_and_prints_nothing(tmp_path: Path) -> None:
    tiny.write(tmp_path, seeds=4)
    done = acedata_command("build", "recipe.yaml", folder=tmp_path, alone=True)
    assert done.returncode == 0 and done.stdout == ""
    stages = list(Directory(tmp_path / "tiny").manifest)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [*stages, "tiny"]
    again = acedata_command("build", "recipe.yaml", folder=tmp_path)
    assert again.returncode == 0 and again.stderr.startswith("tiny: nothing to do")


def test_a_terminal_is_shown_bars_and_what_came_of_each_stage(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    ours, theirs = pty.openpty()
    words = [
        sys.executable,
        "-m",
        "acedata._cli",
        "build",
        str(tmp_path / "recipe.yaml"),
        "--dir",
        str(tmp_path / "out"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(acedata.__file__).parents[1]),
        "TERM": "xterm",
        "COLUMNS": "120",
    }
    process = subprocess.Popen(words, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = seen.decode()
    assert "━" in text
    for stage in Directory(tmp_path / "out").manifest:
        assert f"{stage}: " in text
    assert recipe.name == "tiny" and "built 11 of 11 stages" in text


def test_json_and_quiet(built: Path) -> None:
    done = acedata_command(
        "build", built / "recipe.yaml", "--dir", built / "out", "--json", "--quiet", alone=True
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["ran"] == [] and found["incomplete"] == 0
    assert found["stages"]["seeds"]["rows_in"] == 8


def test_a_dry_run_says_what_would_run_and_why(built: Path) -> None:
    recipe = built / "recipe.yaml"
    done = acedata_command("build", recipe, "--dir", built / "out", "--dry-run", "--limit", 2)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split(None, 2) == ["seeds", "runs", "limit was None, is 2"]
    assert done.stdout.splitlines()[1].split(None, 2) == [
        "questions",
        "may",
        "run  runs if seeds comes out otherwise",
    ]
    steps = json.loads(acedata_command("build", recipe, "--dir", built / "new", "--dry-run", "--json").stdout)
    assert {step["state"] for step in steps} == {"run"}
    assert not (built / "new").exists()


def test_mistakes_end_with_2_and_one_sentence(built: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text((built / "recipe.yaml").read_text().replace("pairs:", "pears:"))
    for words, said in {
        ("build", bad): f"{bad}:15: pears is no setting; did you mean pairs?",
        ("build", "acecode-89k-papr"): "did you mean acecode-89k-paper?",
        ("build", built / "recipe.yaml", "--engine", "spark"): "engine is 'spark'; expected local or ray",
        ("build", built / "recipe.yaml", "--dir", bad): "is a file",
        ("show", tmp_path): "is no build directory",
        ("show", built / "out", "--question", "evol_99"): "evol_99",
        ("export", tmp_path / "none", "--out", tmp_path / "x"): "does not exist",
        ("import", tmp_path / "none.jsonl", "--dir", tmp_path / "x"): "none.jsonl",
        ("store", "info", tmp_path): "store",
        ("build",): "Missing argument",
        ("bild",): "Did you mean 'build'?",
    }.items():
        done = acedata_command(*words)
        assert done.returncode == 2, (words, done.stderr)
        assert said in done.stderr and "Traceback" not in done.stderr
        assert done.stdout == ""


def test_rows_without_an_answer_end_with_1(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", bad_requests=0.2, key=KEY, echo_key=True) as server:
        tiny.write(tmp_path, seeds=8, url=server.url)
        done = acedata_command("build", "recipe.yaml", "--dir", "out", folder=tmp_path)
        assert done.returncode == 1
        assert "rows got no answer" in done.stderr and "the same command asks again" in done.stderr
        server.set(bad_requests=0.0)
        assert acedata_command("build", "recipe.yaml", "--dir", "out", folder=tmp_path).returncode == 0
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), f"{file} holds the key"
    assert KEY not in done.stderr + done.stdout


def test_a_full_budget_ends_with_1(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer") as server:
        tiny.write(tmp_path, seeds=8, url=server.url)
        done = acedata_command("build", "recipe.yaml", "--budget", 0.004, folder=tmp_path)
    assert done.returncode == 1
    assert "the budget of $0.00 does not cover" in done.stderr or "the budget" in done.stderr


def test_a_wrong_key_ends_with_2(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", key="another", echo_key=True) as server:
        tiny.write(tmp_path, seeds=4, url=server.url)
        done = acedata_command("build", "recipe.yaml", folder=tmp_path, alone=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert KEY not in done.stderr


def test_an_estimate_is_told_before_anything_is_built(tmp_path: Path) -> None:
    tiny.write(tmp_path, seeds=8)
    assumed = acedata_command("estimate", "recipe.yaml", "--sample", 0, "--json", folder=tmp_path)
    assert assumed.returncode == 0, assumed.stderr
    assert json.loads(assumed.stdout)["sampled"] == 0
    measured = acedata_command("estimate", "recipe.yaml", "--sample", 4, "--quiet", folder=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert measured.stderr == "" and "4 of " in measured.stdout and "total" in measured.stdout
    done = acedata_command("build", "recipe.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(
        acedata_command("estimate", "recipe.yaml", "--sample", 0, "--json", folder=tmp_path).stdout
    )
    assert found["total"]["requests"]["high"] == 0


def test_show_report_and_export_read_the_build(built: Path) -> None:
    out = built / "out"
    shown = acedata_command("show", out)
    assert shown.returncode == 0 and "Funnel" in shown.stdout and shown.stderr == ""
    assert json.loads(acedata_command("show", out, "--json").stdout)["seeds"]["rows_in"] == 8
    assert "evol_0" in acedata_command("show", out, "--question", "evol_0").stdout
    page = acedata_command("report", out, "--out", built / "page.html")
    assert page.stdout.strip() == str(built / "page.html") and (built / "page.html").read_text().startswith(
        "<!"
    )
    exported = acedata_command("export", out, "--out", built / "dataset", "--form", "acecode", "--json")
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["rows"]["acecode"] == Directory(out).manifest["filtered"].rows_out
    assert tiny.snapshot(out) and Directory(out).damage() == []


def test_imported_questions_are_judged_and_compared(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"q_{number}",
            "source": "mine",
            "question": "Add.",
            "test_cases": [f"assert f({x}) == {x + number}" for x in range(5)],
            "inferences": [
                {
                    "completion": f"def f(x):\n    return x + {number}",
                    "completion_id": 0,
                    "model_name": "a",
                    "pass_rate": 1.0,
                },
                {
                    "completion": "def f(x):\n    return x + 1",
                    "completion_id": 1,
                    "model_name": "a",
                    "pass_rate": 1.0,
                },
            ],
        }
        for number in range(1, 4)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = acedata_command("import", "q.jsonl", "--dir", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 equal, 0 higher, 2 lower" in done.stderr
    found = json.loads((tmp_path / "out" / "telemetry" / "published-pass-rates.json").read_text())
    assert [row["id"] for row in found["differences"]] == ["q_2", "q_3"]
    directory = Directory(tmp_path / "out")
    assert list(directory.manifest)[-2:] == ["pairs", "hard"]
    rates = [row["pass_rate"] for batch in directory.batches("pass_rates") for row in batch.to_pylist()]
    assert rates == [1.0, 1.0, 1.0, 0.0, 1.0, 0.0]
    again = acedata_command("build", "out/recipe.yaml", "--dir", "out", folder=tmp_path)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    wrong = acedata_command("import", "q.jsonl", "--dir", "out2", "--model", "b", folder=tmp_path)
    assert (
        wrong.returncode == 2 and "'b' wrote none of the first programs; their models are a" in wrong.stderr
    )


def test_a_closed_pipe_ends_the_command_as_it_ends_any_filter(built: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "acedata._cli", "show", str(built / "out"), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
        assert command.wait(60) == 128 + signal.SIGPIPE


def test_recipes_are_listed_and_printed() -> None:
    listed = json.loads(acedata_command("recipes", "--json").stdout)
    assert set(listed) == set(acedata.shipped_recipes())
    assert all(listed.values())
    paper = acedata.shipped_recipes()["acecode-89k-paper"].read_text()
    assert acedata_command("recipes", "acecode-89k-paper").stdout == paper


def test_stores_are_looked_at_copied_and_mended(built: Path, tmp_path: Path) -> None:
    store = built / "out" / "store"
    found = json.loads(acedata_command("store", "info", store, "--json").stdout)
    lines = acedata_command("store", "dump", store).stdout.splitlines()
    assert found["answers"] == len(lines) > 0
    merged = acedata_command("store", "merge", tmp_path / "other", store)
    assert f"{len(lines)} answers are new" in merged.stderr
    assert acedata_command("store", "repair", tmp_path / "other").returncode == 0
    segment = next((tmp_path / "other").glob("segment-*"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 255
    segment.write_bytes(content)
    assert acedata_command("store", "info", tmp_path / "other").returncode == 2
    assert acedata_command("store", "repair", tmp_path / "other").returncode == 1
    assert acedata_command("store", "info", tmp_path / "other").returncode == 0


# The package itself.


def test_the_public_names_are_these() -> None:
    assert acedata.__all__ == sorted(acedata.__all__)
    for name in acedata.__all__:
        assert getattr(acedata, name) is not None
        assert name in dir(acedata)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = acedata.nothing


def test_every_public_name_is_in_the_docs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "dataset.md").read_text()
    told = page.partition("## From Python\n")[2].partition("\n## ")[0]
    assert {name for name in acedata.__all__ if f"`{name}`" not in told} == set()


def test_the_version_is_the_distributions() -> None:
    import acesandbox

    assert acedata.__version__ == acesandbox.__version__
    assert acedata_command("--version", alone=True).stdout == f"acedata {acedata.__version__}\n"
