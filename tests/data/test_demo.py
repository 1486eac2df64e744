"""The embedded example: its files are what its maker writes, and its build shows what it is there to show."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from acedata import Directory, build, load_recipe
from acedata._demo import make
from acedata._demo.problems import PROBLEMS
from acedata._figures import figures
from acedata._funnel import check_funnel
from acedata._report import render_report
from acedata._show import show


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    where = tmp_path_factory.mktemp("demo")
    build(load_recipe("demo"), where / "build")
    yield Directory(where / "build")
    shutil.rmtree(where)


def rows(directory: Directory, stage: str) -> list[dict[str, object]]:
    return [row for batch in directory.batches(stage) for row in batch.to_pylist()]


def reasons(directory: Directory, stage: str) -> Counter[str]:
    return Counter(row["reason"] for batch in directory.drops(stage) for row in batch.to_pylist())


def test_the_files_are_what_the_maker_writes() -> None:
    for name, text in make.files().items():
        assert (make.HERE / name).read_text(encoding="utf-8") == text, f"{name}: python -m acedata._demo.make"


def test_programs_called_right_are_right_and_wrong_ones_are_not() -> None:
    for problem in PROBLEMS:
        wanted = [make._value(problem.right, problem.name, call) for call in problem.calls]
        assert None not in wanted, problem.name
        got = [make._value(problem.other, problem.name, call) for call in problem.calls]
        assert [eval(text) for text in got if text] == [eval(text) for text in wanted if text], problem.name
        for program in problem.wrong:
            assert [make._value(program, problem.name, call) for call in problem.calls] != wanted, (
                problem.name
            )


def test_every_seed_is_accounted_for(built: Directory) -> None:
    check_funnel(built)
    dropped = reasons(built, "seeds")
    assert dropped == {"not Python": 1, "no function or class": 1, "too short": 1, "exact duplicate": 1}
    assert sum(1 for _ in rows(built, "seeds")) + dropped.total() == len(PROBLEMS) + 7


def test_hallucinated_tests_are_dropped_and_true_ones_kept(built: Directory) -> None:
    by_name = {problem.name: problem for problem in PROBLEMS}
    checked = 0
    for row in rows(built, "filtered"):
        for test in row["tests"]:  # type: ignore[attr-defined]
            name = test.removeprefix("assert ").partition("(")[0]
            names: dict[str, object] = {}
            exec(by_name[name].right, names)
            exec(test, names)  # raises if a wrong test was kept
            checked += 1
    assert checked > 500
    assert reasons(built, "filtered")["fails on the reference program"] > 20


def test_a_second_reference_model_is_heard(built: Directory, tmp_path: Path) -> None:
    recipe = load_recipe("demo")
    second = {
        **recipe.model_dump(by_alias=True, exclude_unset=True)["models"]["reference"],
        "model": "second",
    }
    counts = {}
    for share in (1.0, 0.5):
        changed = recipe.changed(
            models__second=second, references__models=["reference", "second"], filter__agreement=share
        )
        build(changed, tmp_path, until="filtered")
        filtered = rows(Directory(tmp_path), "filtered")
        counts[share] = len(filtered), sum(len(row["tests"]) for row in filtered)  # type: ignore[arg-type]
    # docs/dataset.md has these.
    assert counts == {1.0: (35, 518), 0.5: (36, 552)}
    counted = figures(Directory(tmp_path)).agreement
    assert counted is not None and (counted.judged, counted.disputed) == (581, 34)
    assert counted.alone == {"reference": 29, "second": 5}
    page = render_report(Directory(tmp_path))
    assert "34 of 581 tests are disputed" in page
    text = io.StringIO()
    show(Directory(tmp_path), console=Console(file=text, width=160))
    assert "disputed: 34; kept where a share of 0.5 of the programs pass" in text.getvalue()
    assert figures(built).agreement is None and "are disputed" not in render_report(built)


def test_forging_programs_pass_nothing(built: Directory) -> None:
    passed = {(r["id"], r["model"], r["completion_id"]): r["passed"] for r in rows(built, "pass_rates")}
    tests = {r["id"]: r["tests"] for r in rows(built, "filtered")}
    forgers = 0
    for row in rows(built, "samples"):
        program = str(row["program"])
        if not any(mark in program for mark in ("__eq__", "_exit(", "Never")):
            continue
        forgers += 1
        # The one that patches asserts away returns None: where None is right, it is right.
        earned = sum(test.endswith("== None") for test in tests[row["id"]]) if "Never" in program else 0  # type: ignore[attr-defined]
        assert passed[row["id"], row["model"], row["completion_id"]] == earned, program
    assert forgers > 20


def test_pairs_and_the_hard_subset_come_out(built: Directory) -> None:
    assert len(rows(built, "pairs")) > 100
    assert len(rows(built, "hard")) >= 5


def test_the_maker_runs_as_a_command(tmp_path: Path) -> None:
    copy = tmp_path / "src" / "acedata" / "_demo"
    copy.mkdir(parents=True)
    for name in ("__init__.py", "make.py", "problems.py"):
        shutil.copy(make.HERE / name, copy / name)
    (copy.parent / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "acedata._demo.make"],
        cwd=tmp_path / "src",
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 4
    assert {path.name for path in copy.glob("*.jsonl")} == set(make.files())
