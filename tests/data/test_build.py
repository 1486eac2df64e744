"""Builds: the same data whatever happens on the way, nothing done or paid for twice, every row accounted for."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from acedata._build import Built, Step, build, plan
from acedata._directory import Directory
from acedata._errors import BadInput, BudgetReached, BuildInUse, MissingAnswer, Stopped, StoreError
from acedata._funnel import check_funnel
from acedata._recipe import Recipe, load_recipe
from acedata._store import ResponseStore
from tests.data import tiny
from tests.data.loopback import Loopback

STAGES = [
    "seeds",
    "questions",
    "checked",
    "references",
    "reference_matrix",
    "filtered",
    "samples",
    "sample_matrix",
    "pass_rates",
    "pairs",
    "hard",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A finished build, not to be touched."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = tiny.write(folder)
    built = build(recipe, folder / "out")
    assert built.ran == STAGES
    return recipe, folder / "out"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def states(steps: list[Step]) -> dict[str, str]:
    return {step.stage.name: step.state for step in steps}


def made(directory: Path, stage: str) -> int:
    """Shards that the last run of a stage made."""
    count: int = Directory(directory).telemetry(stage)["runs"][-1]["shards_made"]
    return count


def edited(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.changed(**changes)


# What is built.


def test_every_stage_has_the_rows_it_should(finished: tuple[Recipe, Path]) -> None:
    directory = Directory(finished[1])
    questions = [row for batch in directory.batches("questions") for row in batch.to_pylist()]
    # Of 12 seeds, number 5 is no function, and 9 is refused, and then broken.
    assert [row["id"] for row in questions] == [
        "evol_0",
        "evol_1",
        "evol_2",
        "evol_3",
        "evol_4",
        "oss_0",
        "oss_1",
        "oss_2",
        "oss_4",
        "oss_5",
    ]
    assert {row["id"]: row["sample"] for row in questions if row["sample"]} == {"evol_3": 1, "oss_2": 1}
    filtered = [row for batch in directory.batches("filtered") for row in batch.to_pylist()]
    assert all(row["kept"] == [0, 1, 2, 3, 4, 5] and row["tests_before"] == 7 for row in filtered)
    assert {row["entry_point"] for row in filtered} == {
        f"add_{number}" for number in (0, 1, 2, 3, 4, 6, 7, 8, 10, 11)
    }
    samples = [row for batch in directory.batches("samples") for row in batch.to_pylist()]
    assert [row["completion_id"] for row in samples[:8]] == list(range(8))
    assert [row["model"] for row in samples[:8]] == ["policy-a"] * 4 + ["policy-b"] * 4
    assert {row["program"] for row in samples if row["answer"] == "\n\n```\n"} == {None}
    matrix = [row for batch in directory.batches("sample_matrix") for row in batch.to_pylist()]
    found = Counter(status for row in matrix for status in row["statuses"])
    assert set(found) == {"passed", "failed", "syntax_error", "cpu_timeout", "not_run"}, found
    cpu = [row for batch in directory.cpu("sample_matrix") for row in batch.to_pylist()]
    assert [(row["order"], row["completion_id"], len(row["cpu_us"])) for row in cpu] == [
        (row["order"], row["completion_id"], len(row["statuses"])) for row in matrix
    ]


def test_every_row_that_went_in_came_out_or_was_dropped(finished: tuple[Recipe, Path]) -> None:
    directory = Directory(finished[1])
    check_funnel(directory)
    manifest = directory.manifest
    assert list(manifest) == STAGES
    assert (manifest["seeds"].rows_in, manifest["seeds"].dropped) == (12, {"no function or class": 1})
    assert manifest["questions"].dropped == {"broken JSON": 1}
    assert manifest["filtered"].dropped_items == {"fails on the reference program": 10}


def test_the_files_are_those_of_the_manifest(finished: tuple[Recipe, Path]) -> None:
    directory = Directory(finished[1])
    assert directory.damage() == []
    named = {f"data/{stage}/{name}" for stage, record in directory.manifest.items() for name in record.files}
    assert named == {name for name in tiny.snapshot(finished[1]) if name != "manifest.json"}
    assert list((finished[1] / "work").iterdir()) == []
    assert "time" not in (finished[1] / "manifest.json").read_text().replace("timeout", "")


def test_everything_beyond_the_paper_at_once_adds_up(tmp_path: Path) -> None:
    more = """\
filter: {flaky: true, agreement: 0.5}
strength: {mutants: 5, min_score: 0.2, drop_redundant: true}
checks: {signature: true, near_duplicates: {threshold: 0.99}}
"""
    recipe = tiny.write(tmp_path, seeds=8, more=more)
    built = build(recipe, tmp_path / "out")
    assert [name for name in built.ran if name not in STAGES] == [
        "reference_matrix_again",
        "mutants",
        "mutant_matrix",
        "strength",
        "telling",
    ]
    directory = Directory(tmp_path / "out")
    check_funnel(directory)
    assert directory.manifest["mutants"].rows > directory.manifest["mutants"].rows_out > 0
    assert directory.manifest["telling"].dropped_items
    questions = [row for batch in directory.batches("telling") for row in batch.to_pylist()]
    rates = {
        row["order"]: row["tests"] for batch in directory.batches("pass_rates") for row in batch.to_pylist()
    }
    assert rates == {row["order"]: len(row["tests"]) for row in questions}
    for workers in (1, 2):
        build(edited(recipe, workers=workers), tmp_path / str(workers))
        assert tiny.snapshot(tmp_path / str(workers)) == tiny.snapshot(tmp_path / "out")
    assert build(recipe, tmp_path / "out").ran == []


def test_imported_programs_and_asked_ones_stand_side_by_side(tmp_path: Path) -> None:
    questions = [
        {
            "id": f"q_{number}",
            "source": "mine",
            "question": f"Write `add_{number}(x)`, which adds {number} to x.",
            "test_cases": [f"assert add_{number}({x}) == {x + number}" for x in range(5 if number else 2)],
            "inferences": [
                {
                    "completion": f"def add_{number}(x):\n    return x + 1",
                    "completion_id": place,
                    "model_name": "theirs",
                }
                for place in (3, 7)
            ],
        }
        for number in range(3)
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    answers = [
        {
            "model": "policy-b",
            "row": f"q_{number}",
            "sample": sample,
            "text": tiny.said("policy-b", number, sample),
        }
        for number in range(3)
        for sample in range(2)
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    (tmp_path / "recipe.yaml").write_text(
        "name: both\nseeds: {sources: [{name: mine, from: start, path: q.jsonl}]}\n"
        f"models: {{ours: {{{tiny.REPLAYED}, model: policy-b, temperature: 0.7}}}}\n"
        "samples: {models: [ours], n: 2}\nshard_rows: 2\n"
    )
    recipe = load_recipe(tmp_path / "recipe.yaml")
    build(recipe, tmp_path / "out")
    directory = Directory(tmp_path / "out")
    rows = [row for batch in directory.batches("samples") for row in batch.to_pylist()]
    assert [(row["id"], row["model"], row["completion_id"], row["sample"]) for row in rows] == [
        (f"q_{number}", model, completion, sample)
        for number in (1, 2)
        for model, completion, sample in (("theirs", 3, 0), ("theirs", 7, 1), ("ours", 8, 0), ("ours", 9, 1))
    ]
    check_funnel(directory)
    assert directory.manifest["filtered"].dropped == {"fewer than 5 tests": 1}
    # Without a model to ask, what came along is all there is.
    build(edited(recipe, samples__models=[]), tmp_path / "only")
    only = [row for batch in Directory(tmp_path / "only").batches("samples") for row in batch.to_pylist()]
    assert only == [row for row in rows if row["model"] == "theirs"]
    check_funnel(Directory(tmp_path / "only"))


# The same again.


def test_a_finished_build_does_nothing(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    build(recipe, tmp_path / "out")
    before = tiny.snapshot(tmp_path / "out")
    assert states(plan(recipe, tmp_path / "out")) == dict.fromkeys(STAGES, "done")
    assert build(recipe, tmp_path / "out").ran == []
    assert tiny.snapshot(tmp_path / "out") == before


def test_one_worker_and_two_give_the_same_bytes(finished: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, out = finished
    for workers in (1, 2):
        build(edited(recipe, workers=workers), tmp_path / str(workers))
        assert tiny.snapshot(tmp_path / str(workers)) == tiny.snapshot(out)


def test_answers_from_an_endpoint_give_the_same_data_as_replayed_ones(
    finished: tuple[Recipe, Path], tmp_path: Path
) -> None:
    with Loopback(answer="tests.data.tiny:answer") as server:
        recipe = tiny.write(tmp_path, url=server.url)
        build(recipe, tmp_path / "out")
    ours, theirs = tiny.snapshot(tmp_path / "out"), tiny.snapshot(finished[1])
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"manifest.json"}  # it names the provider


# Changes.


def test_a_changed_setting_runs_its_stage_and_what_depends_on_it(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=6)
    build(recipe, tmp_path / "out")
    other = edited(recipe, pairs__margin=0.2)
    steps = plan(other, tmp_path / "out")
    assert {name: state for name, state in states(steps).items() if state != "done"} == {"pairs": "run"}
    assert [step.why for step in steps if step.state == "run"] == ["margin was 0.4, is 0.2"]
    assert build(other, tmp_path / "out").ran == ["pairs"]

    other = edited(other, filter__min_tests=7)
    assert {
        name: state for name, state in states(plan(other, tmp_path / "out")).items() if state != "done"
    } == {
        "filtered": "run",
        "samples": "wait",
        "sample_matrix": "wait",
        "pass_rates": "wait",
        "pairs": "wait",
        "hard": "run",  # reads the least number of tests itself
    }
    assert build(other, tmp_path / "out").ran == STAGES[STAGES.index("filtered") :]
    assert Directory(tmp_path / "out").manifest["filtered"].rows_out == 0


def test_a_stage_that_comes_out_the_same_stops_the_rest(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=6)
    build(recipe, tmp_path / "out")
    # Six tests are left of each question: 4 or 5 as the least makes no difference.
    assert build(edited(recipe, filter__min_tests=4), tmp_path / "out").ran == ["filtered", "hard"]


def test_a_changed_row_is_made_again_with_its_shard_and_no_other(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path)
    build(recipe, tmp_path / "out")
    lines = (tmp_path / "oss.jsonl").read_text().splitlines()
    lines[5] = json.dumps({"instruction": "nothing", "response": "nothing", "lang": "python"})
    (tmp_path / "oss.jsonl").write_text("\n".join(lines))
    assert build(recipe, tmp_path / "out").ran == STAGES
    assert {stage: made(tmp_path / "out", stage) for stage in STAGES if stage not in ("seeds", "hard")} == (
        dict.fromkeys([stage for stage in STAGES if stage not in ("seeds", "hard")], 1)
    )
    check_funnel(Directory(tmp_path / "out"))
    build(recipe, tmp_path / "fresh")
    assert tiny.snapshot(tmp_path / "fresh") == tiny.snapshot(tmp_path / "out")


def test_stages_that_the_recipe_no_longer_has_go(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    build(recipe, tmp_path / "out")
    assert build(edited(recipe, pairs=None, hard=None), tmp_path / "out").ran == []
    assert list(Directory(tmp_path / "out").manifest) == STAGES[:-2]
    assert not (tmp_path / "out" / "data" / "pairs").exists()


def test_how_fast_and_where_changes_nothing(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    build(recipe, tmp_path / "out")
    other = edited(
        recipe, workers=1, budget_usd=5.0, models__solver__concurrency=1, models__solver__timeout_s=1.0
    )
    assert build(other, tmp_path / "out").ran == []


def test_a_lost_file_is_made_again(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=6)
    build(recipe, tmp_path / "out")
    before = tiny.snapshot(tmp_path / "out")
    (tmp_path / "out" / "data" / "sample_matrix" / "part-00000.parquet").unlink()
    assert states(plan(recipe, tmp_path / "out"))["sample_matrix"] == "run"
    assert build(recipe, tmp_path / "out").ran == ["sample_matrix"]
    assert made(tmp_path / "out", "sample_matrix") == 1
    assert tiny.snapshot(tmp_path / "out") == before


# Rows that got no answer.


def test_rows_without_an_answer_are_named_and_asked_again(
    finished: tuple[Recipe, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with Loopback(answer="tests.data.tiny:answer", bad_requests=0.15) as server:
        recipe = tiny.write(tmp_path, url=server.url)
        first = build(recipe, out)
        assert first.incomplete > 0
        check_funnel(Directory(out))
        failures = [
            json.loads(line)
            for path in out.glob("telemetry/*/failures.jsonl")
            for line in path.read_text().splitlines()
        ]
        assert {failure["reason"] for failure in failures} == {"context too long"}
        drops = [
            row for stage in STAGES for batch in Directory(out).drops(stage) for row in batch.to_pylist()
        ]
        assert sum(row["reason"] == "no answer" and "context too long" in row["detail"] for row in drops) == (
            first.incomplete
        )
        assert "mend" in states(plan(recipe, out)).values()
        asked = server.stats()["tries"]
        server.set(bad_requests=0.0)
        again = build(recipe, out)
        assert again.incomplete == 0
        assert build(recipe, out).ran == []
        stats = server.stats()
        assert 0 < stats["tries"] < asked
    assert not list(out.glob("telemetry/*/failures.jsonl"))
    assert (
        tiny.snapshot(out)["data/pairs/part-00000.parquet"]
        == tiny.snapshot(finished[1])["data/pairs/part-00000.parquet"]
    )
    ours, theirs = tiny.snapshot(out), tiny.snapshot(finished[1])
    assert {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)} == {
        "manifest.json"
    }


def test_a_missing_replayed_answer_is_an_error_that_names_it(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    lines = (tmp_path / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_text("".join(line for line in lines if '"solver"' not in line))
    with pytest.raises(MissingAnswer, match="evol_0"):
        build(recipe, tmp_path / "out")
    assert list(Directory(tmp_path / "out").manifest) == ["seeds", "questions", "checked"]
    (tmp_path / "answers.jsonl").write_text("".join(lines))
    assert build(recipe, tmp_path / "out").ran == STAGES[3:]


# Money.


def test_the_budget_stops_the_build_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Loopback(answer="tests.data.tiny:answer") as server:
        recipe = tiny.write(tmp_path, seeds=6, url=server.url)
        whole = build(recipe, tmp_path / "whole").dollars
        assert whole > 0
        # Room for the worst case of one request, which the limit of 1,024 answer tokens makes dear.
        tight = edited(recipe, budget_usd=round(whole / 2 + 0.003, 6))
        for _ in range(2):
            with pytest.raises(BudgetReached):
                build(tight, out)
            spent = json.loads((out / "telemetry" / "spent.json").read_text())["pico_dollars"] / 1e12
            assert 0 < spent <= whole / 2 + 0.003
        tries = server.stats()["tries"]
        built = build(recipe, out)
        assert built.spent == pytest.approx(whole)
        assert built.dollars == pytest.approx(whole - spent)
        assert server.stats()["tries"] > tries
    assert tiny.snapshot(out).keys() == tiny.snapshot(tmp_path / "whole").keys()
    with ResponseStore(out / "store") as store, ResponseStore(tmp_path / "whole" / "store") as other:
        assert len(store) == len(other)


def test_a_killed_build_counts_what_it_may_have_spent(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", latency_s=30) as server:
        tiny.write(tmp_path, seeds=6, url=server.url, more="budget_usd: 1.0\n")
        process = start(tmp_path)
        try:
            until(lambda: server.stats()["tries"] >= 3)
        finally:
            process.kill()
            process.communicate()
    spent = json.loads((tmp_path / "out" / "telemetry" / "spent.json").read_text())["pico_dollars"] / 1e12
    # Three requests of up to 1,024 answer tokens at $2 a million are in flight; a hundredth of the budget goes ahead.
    assert 3 * 1024 * 2e-6 <= spent <= 0.1


# Ends.


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """A build of folder/recipe.yaml in folder/out, in a process of its own."""
    words = [
        sys.executable,
        "-m",
        "acedata._cli",
        "build",
        str(folder / "recipe.yaml"),
        "--dir",
        str(folder / "out"),
    ]
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test-0123456789abcdef"}
    return subprocess.Popen(
        [*words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def until(condition: Any, seconds: float = 60.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to that")


def test_a_second_build_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", latency_s=30) as server:
        recipe = tiny.write(tmp_path, seeds=4, url=server.url)
        process = start(tmp_path)
        try:
            until(lambda: server.stats()["tries"] >= 1)
            with pytest.raises(BuildInUse, match=f"process {process.pid}"):
                build(recipe, tmp_path / "out")
        finally:
            process.kill()
            process.communicate()


def test_ctrl_c_lets_what_is_in_flight_come_home(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", latency_s=2) as server:
        recipe = tiny.write(tmp_path, seeds=4, url=server.url)
        process = start(tmp_path)
        until(lambda: server.stats()["tries"] >= 1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert "stopped in the stage 'questions'" in said
        answered = server.stats()["answered"]
        with ResponseStore(tmp_path / "out" / "store") as store:
            assert len(store) == answered > 0
        server.set(latency_s=0)
        build(recipe, tmp_path / "out")


def test_two_ctrl_c_stop_at_once(tmp_path: Path) -> None:
    with Loopback(answer="tests.data.tiny:answer", latency_s=60) as server:
        tiny.write(tmp_path, seeds=4, url=server.url)
        process = start(tmp_path)
        until(lambda: server.stats()["tries"] >= 1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        until(lambda: "once more" in (process.stderr.readline() if process.stderr else ""))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130


def test_stopping_between_shards_keeps_them(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path)
    build(recipe, tmp_path / "whole")

    class Watch:
        calls = 0

        def __call__(self) -> bool:
            self.calls += 1
            return self.calls >= self.limit

        limit = 10**9

    stops = 0
    for limit in range(5, 400, 25):
        watch = Watch()
        watch.limit = limit
        try:
            build(recipe, tmp_path / "out", stop=watch)
            break
        except Stopped:
            stops += 1
    build(recipe, tmp_path / "out")
    assert stops >= 3
    assert tiny.snapshot(tmp_path / "out") == tiny.snapshot(tmp_path / "whole")


def test_another_recipe_does_not_throw_a_build_away(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    build(recipe, tmp_path / "out")
    other = edited(recipe, name="other")
    for refused in (lambda: plan(other, tmp_path / "out"), lambda: build(other, tmp_path / "out")):
        with pytest.raises(BadInput, match="holds a build of 'tiny'"):
            refused()


def test_a_source_that_is_missing_is_named(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    (tmp_path / "oss.jsonl").unlink()
    with pytest.raises(BadInput, match=r"source 'oss': there is no file .*oss\.jsonl"):
        build(recipe, tmp_path / "out")


def killed_and_resumed(tmp_path: Path, kills: int, seed: int) -> None:
    """Kills a build again and again at random instants, and compares what comes out in the end."""
    log = tmp_path / "log"
    draw = random.Random(seed)
    with Loopback(answer="tests.data.tiny:answer", latency_s=0.01, log=log) as server:
        recipe = tiny.write(tmp_path, seeds=16, draws=4, url=server.url)
        words = [sys.executable, "-m", "acedata._cli", "build", str(tmp_path / "recipe.yaml"), "--dir"]

        def run(out: Path, seconds: float | None) -> float | None:
            """Seconds that a build took, or None: it was killed after those that were given."""
            begun = time.monotonic()
            process = subprocess.Popen(
                [*words, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(seconds)
                return time.monotonic() - begun
            except subprocess.TimeoutExpired:
                return None
            finally:
                process.kill()
                process.wait()

        length = run(tmp_path / "whole", None)
        expected = tiny.snapshot(tmp_path / "whole")
        whole = sum(answers(log).values())
        assert stored(tmp_path / "whole") == whole > 0
        killed = ended = 0
        while killed < kills:
            out = tmp_path / f"out{killed}-{ended}"
            log.write_bytes(b"")
            # Anywhere in the time that a build takes just now: one that came to its end first says how long that is.
            took = run(out, draw.uniform(0.1, 0.95) * length)
            killed, ended, length = killed + (took is None), ended + (took is not None), took or length
            assert ended <= 2 + kills, "builds end before they are killed"
            server.settle()
            answered, durable = sum(answers(log).values()), stored(out)
            # What was in flight, and what had arrived and was not yet on the disk: 8 calls of up to 4 draws, twice.
            assert 0 <= answered - durable <= 2 * 8 * 4
            built = build(recipe, out)
            assert built.incomplete == 0
            assert tiny.snapshot(out) == expected, out.name
            # Exactly what the store lacked was asked for: nothing durable was asked for again.
            assert sum(answers(log).values()) - answered == whole - durable, out.name
            assert stored(out) == whole


def answers(log: Path) -> Counter[tuple[str, int]]:
    """How often the server answered which request."""
    found: Counter[tuple[str, int]] = Counter()
    for line in log.read_text().splitlines():
        answer = json.loads(line)
        for index in range(answer["n"]):
            found[answer["digest"], answer["seed"] + index] += 1
    return found


def stored(directory: Path) -> int:
    """How many answers a build's store has."""
    try:
        with ResponseStore(directory / "store", readonly=True) as store:
            return len(store)
    except StoreError:  # it was not made yet
        return 0


def test_kill_9_at_any_instant_loses_nothing(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_9_at_fifty_instants_loses_nothing(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, kills=50, seed=2)


def test_the_result_says_what_was_done(tmp_path: Path) -> None:
    recipe = tiny.write(tmp_path, seeds=4)
    built = build(recipe, tmp_path / "out")
    assert isinstance(built, Built)
    assert built.ran == STAGES and list(built.stages) == STAGES and built.incomplete == 0
    telemetry = Directory(tmp_path / "out").telemetry("samples")["runs"]
    assert [run["outcome"] for run in telemetry] == ["finished"]
    assert telemetry[0]["models"]["policy-a"]["answered"] == 4 * built.stages["filtered"].rows_out
    judged = Directory(tmp_path / "out").telemetry("sample_matrix")["runs"][0]
    assert judged["engine"] == "local" and judged["workers"] >= 1 and judged["seconds"] > 0
    assert load_recipe(tmp_path / "out" / "recipe.yaml").name == "tiny"
