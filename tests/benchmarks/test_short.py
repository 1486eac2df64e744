"""The benchmarks in small. Figures are not judged here, but for those that are no matter of speed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _programs, _run
from benchmarks.__main__ import QUESTIONS
from tests.plain_judge import PlainJudge

ROOT = Path(__file__).resolve().parents[2]


def quick(name: str, out: Path) -> dict[str, Any]:
    """Run `python -m benchmarks.bench_NAME --quick` and return its findings."""
    words = [sys.executable, "-m", f"benchmarks.bench_{name}", "--quick", "--out", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "|" in done.stdout
    findings: dict[str, Any] = json.loads(out.read_text())
    assert findings["machine"]["python"]
    return findings


def test_the_harmless_programs_have_the_verdicts_that_are_written_down() -> None:
    with PlainJudge() as plain:
        for number in range(60):
            case = _programs.benign(number)
            outcomes = plain.judge(case.program, "asserts", list(case.tests))
            assert tuple(outcome.passed for outcome in outcomes) == case.expected, case


def test_every_block_of_the_mix_has_the_same_composition() -> None:
    names = [case.name for case in _programs.mix(400, 0.05, block=200)]
    assert sorted(names[:200]) == sorted(names[200:])
    assert names[:200] != names[200:]


@pytest.mark.parametrize("contender", [name for name in _run.COMMANDS if name != "acesandbox"])
def test_a_contender_reports_every_test(contender: str, tmp_path: Path) -> None:
    if not _run.available(contender):
        pytest.skip(f"not on the PATH: {contender}")
    cases = [_programs.benign(number) for number in range(12)]
    rows = [{"program": case.program, "tests": list(case.tests)} for case in cases]
    rows.append(
        {"program": "def f(x):\n    while x: pass\n", "tests": ["assert f(1)", "assert f(0) is None"]}
    )
    _run.write_rows(tmp_path / "rows", rows)
    outcome = _run.run(contender, tmp_path / "rows", warm=0, seconds=0.5)
    for number, case in enumerate(cases):
        assert tuple(_run.passes(outcome.results[number])) == case.expected
    assert outcome.results[12] == b"t1"
    assert outcome.cpu_seconds > 0


def test_acesandbox_as_a_contender_agrees_with_the_bare_loop(tmp_path: Path) -> None:
    cases = [_programs.benign(number) for number in range(40)]
    rows = [
        {"program": case.program, "tests": list(case.tests), "test_kind": "asserts", "entry_point": "f"}
        for case in cases
    ]
    _run.write_rows(tmp_path / "rows", rows)
    ours = _run.run("acesandbox", tmp_path / "rows", warm=10, workers=2)
    bare = _run.run("bare os.fork loop", tmp_path / "rows", warm=10, workers=2)
    assert len(bare.results) == 30
    for number, results in bare.results.items():
        assert _run.passes(ours.results[number]) == _run.passes(results)
    assert ours.more["sealed_tests"] == 30 * 4


def test_every_benchmark_is_listed_and_run_here_in_small() -> None:
    there = {path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")}
    assert set(QUESTIONS) == there
    here = ast.parse(Path(__file__).read_text())
    named = {node.value for node in ast.walk(here) if isinstance(node, ast.Constant)}
    assert there <= named, there - named


def test_benchmarks_use_what_users_may_use() -> None:
    """Nothing private of our packages: what a figure is about is what a user gets."""
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                package, *inside = name.split(".")
                private = any(part.startswith("_") for part in inside)
                assert not (package in ("acesandbox", "acedata", "acetrain") and private), f"{path}: {name}"


def test_startup_is_measured(tmp_path: Path) -> None:
    found = quick("startup", tmp_path / "out.json")
    assert all(seconds > 0 for listed in found["seconds"].values() for seconds in listed)


@pytest.mark.slow
def test_judging_in_a_build_agrees_with_the_bare_sandbox(tmp_path: Path) -> None:
    found = quick("build_judging", tmp_path / "out.json")
    assert found["programs"] == 640
    assert len({run["passed"] for runs in found["runs"].values() for run in runs}) == 1
    assert all(run["cpu_seconds"] > 0 for runs in found["runs"].values() for run in runs)


@pytest.mark.slow
def test_requests_are_counted_and_found_again(tmp_path: Path) -> None:
    runs = quick("requests", tmp_path / "out.json")["runs"]
    assert runs["acedata"][0]["most_in_flight"] > 0
    assert runs["acedata, warm"][0]["most_in_flight"] == 0
    assert all(run["wall"] > 0 and run["cpu"] > 0 for listed in runs.values() for run in listed)


@pytest.mark.slow
def test_profiles_are_measured(tmp_path: Path) -> None:
    assert quick("profiles", tmp_path / "out.json")["seconds"]


@pytest.mark.slow
def test_rewards_of_a_step_are_measured(tmp_path: Path) -> None:
    assert quick("reward", tmp_path / "out.json")["question"] == "reward"


@pytest.mark.workloads
@pytest.mark.slow
def test_planted_problems_are_found(tmp_path: Path, workload: Callable[..., Any]) -> None:
    workload("bigcodebench_canonical", limit=1)
    copies = quick("decontamination", tmp_path / "out.json")["copies"]
    for name, found in copies["exact"].items():
        assert found["found"] == found["planted"] > 0, name


@pytest.mark.slow
def test_views_of_a_made_up_build_are_measured(tmp_path: Path) -> None:
    sizes = quick("views", tmp_path / "out.json")["sizes"]
    for questions, steps in sizes.items():
        assert steps["filtered"]["rows"] == int(questions)
        assert steps["pass_rates"]["rows"] == int(questions) * 80
        assert steps["pairs"]["rows"] > 0
        assert steps["export"]["rows"] > int(questions)


@pytest.mark.workloads
@pytest.mark.slow
@pytest.mark.parametrize("name", ["throughput", "hangs", "scaling"])
def test_a_benchmark_on_real_programs_runs(name: str, tmp_path: Path, workload: Callable[..., Any]) -> None:
    workload("codet_16asserts_programs", limit=1)
    assert quick(name, tmp_path / "out.json")["question"] == name


@pytest.mark.workloads
@pytest.mark.slow
def test_load_flips_no_verdict(tmp_path: Path, workload: Callable[..., Any]) -> None:
    workload("ldb_humaneval_multimodel", limit=1)
    assert quick("load", tmp_path / "out.json")["flips"] == {}


@pytest.mark.slow
def test_a_short_soak_leaves_nothing_behind(tmp_path: Path) -> None:
    found = quick("soak", tmp_path / "out.json")
    assert found["wrong"] == {}
    summary = found["summary"]
    assert summary["processes left a second after closing"] == 0
    assert summary["host descriptors gained"] <= 0
    assert summary["host memory growth, MB"] < 20


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_hundred_thousand_programs(tmp_path: Path) -> None:
    from benchmarks.bench_soak import soak

    found = soak(200_000, None, 0.02)
    (tmp_path / "soak.json").write_text(json.dumps(found))
    summary = found["summary"]
    assert found["wrong"] == {}
    assert summary["most zombies seen at once"] <= 4
    assert summary["host descriptors gained"] <= 0
    assert summary["host memory growth, MB"] < 20
    assert summary["processes left a second after closing"] == 0
    assert summary["last stretch against the first, programs/s"] > 0.85


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_parts_cost_no_wrong_verdict_and_a_killed_host_leaves_nothing(tmp_path: Path) -> None:
    found = quick("survival", tmp_path / "out.json")
    bad = {what for what in found["parts"]["outcomes"] if what.startswith(("wrong", "never"))}
    assert bad == set()
    assert sum(found["parts"]["kills"].values()) > 0
    assert sum(found["left_after_host"]) == 0
