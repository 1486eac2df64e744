"""A run that is killed goes on where its last whole checkpoint stands, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.train.rl_runs import make_start, recipe_file

# Three rollouts of two updates are an epoch: it ends at checkpoint-6, and the run in the middle of the second.
RUN = {"rollouts": 5, "save_every": 1, "keep": 10}


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    return recipe_file(folder, make_start(folder), run=RUN)


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """A run that nothing happened to."""
    return run(recipe, recipe.parent / "whole")


@pytest.fixture(scope="module")
def whole_by(recipe: Path, whole: Path) -> Callable[[str], Path]:
    """The same by other algorithms; each is made once."""
    made = {"reinforce++": whole}

    def by(algorithm: str) -> Path:
        if algorithm not in made:
            made[algorithm] = run(
                recipe, recipe.parent / f"whole-{algorithm}", f"algorithm={algorithm}", "run.completions=true"
            )
        return made[algorithm]

    return by


def stopped(whole: Path, out: Path, step: int) -> Path:
    """The folder of a run that was ended just after that checkpoint."""
    shutil.copytree(whole, out)
    shutil.rmtree(out / "final")
    for folder in out.glob("checkpoint-*"):
        if int(folder.name.rpartition("-")[2]) > step:
            shutil.rmtree(folder)
    return out


def asked(out: Path) -> list[list[str]]:
    """The prompts of each rollout, where completions are kept."""
    import pyarrow.parquet as parquet

    files = sorted((out / "completions").glob("*.parquet"))
    return [parquet.read_table(file)["prompt"].to_pylist() for file in files]


def run(recipe: Path, out: Path, *changes: str, resume: bool = False, said: list[str] | None = None) -> Path:
    from acetrain._rl._recipe import load_recipe
    from acetrain._rl._train import train

    heard = [] if said is None else said
    train(load_recipe(recipe, changes), out, resume=resume, say=heard.append)
    return out


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]


def figures(out: Path) -> list[tuple[Any, ...]]:
    """What must be equal in two runs: all but the clock."""
    return [
        (line["rollout"], line["update"], line["reward"], line["tokens"], line["kl"], line["grad_norm"])
        for line in lines(out)
    ]


def difference(one: Path, other: Path) -> float:
    from transformers import AutoModelForCausalLM

    first = dict(AutoModelForCausalLM.from_pretrained(one / "final").named_parameters())
    second = dict(AutoModelForCausalLM.from_pretrained(other / "final").named_parameters())
    return max(float((first[name] - second[name]).detach().abs().max()) for name in first)


def killed(recipe: Path, out: Path, checkpoint: str, timeout: float = 240.0) -> None:
    """Starts the command, and kills it hard as soon as that checkpoint is whole."""
    command = [sys.executable, "-m", "acetrain._cli", "rl", str(recipe), "--out", str(out)]
    started = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    deadline = time.monotonic() + timeout
    try:
        while not (out / checkpoint / "trainer_state.json").exists():
            assert started.poll() is None, started.stderr.read().decode() if started.stderr else ""
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.002)
        started.send_signal(signal.SIGKILL)
    finally:
        started.kill()
        started.communicate()


def test_a_killed_run_goes_on_to_the_same_end(recipe: Path, whole: Path) -> None:
    out = recipe.parent / "killed"
    killed(recipe, out, "checkpoint-4")
    assert not (out / "final").exists()
    said: list[str] = []
    run(recipe, out, resume=True, said=said)
    assert any(text.startswith(f"going on from {out}/checkpoint-") for text in said), said
    assert [line["rollout"] for line in lines(out)] == [1, 2, 3, 4, 5]
    assert figures(out) == figures(whole)
    assert difference(out, whole) == 0.0


def test_a_checkpoint_that_is_not_whole_is_passed_over_and_lines_after_the_last_whole_one_are_dropped(
    recipe: Path, whole: Path
) -> None:
    out = recipe.parent / "broken"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "final")
    for update in (6, 8, 10):
        (out / f"checkpoint-{update}" / "trainer_state.json").write_text("{")
    said: list[str] = []
    run(recipe, out, resume=True, said=said)
    assert sum("not whole, passed over" in text for text in said) == 3
    assert f"going on from {out}/checkpoint-4" in said
    assert figures(out) == figures(whole)
    assert difference(out, whole) == 0.0


@pytest.mark.parametrize(
    ("algorithm", "step"),
    [
        ("reinforce++", 2),
        ("reinforce++", 6),
        ("reinforce++", 8),
        ("grpo", 6),
        ("grpo", 8),
        ("rloo", 6),
        ("rloo", 8),
    ],
)
def test_a_run_that_ends_with_an_epoch_or_within_the_second_goes_on_to_the_same_end(
    recipe: Path, whole_by: Callable[[str], Path], algorithm: str, step: int
) -> None:
    whole = whole_by(algorithm)
    out = stopped(whole, recipe.parent / f"{algorithm}-{step}", step)
    said: list[str] = []
    run(recipe, out, f"algorithm={algorithm}", "run.completions=true", resume=True, said=said)
    assert f"going on from {out}/checkpoint-{step}" in said
    assert figures(out) == figures(whole)
    assert difference(out, whole) == 0.0
    if algorithm != "reinforce++":
        assert asked(out) == asked(whole)


def test_every_epoch_has_its_own_order_and_asks_every_question(
    recipe: Path, whole_by: Callable[[str], Path]
) -> None:
    rollouts = asked(whole_by("grpo"))
    first = [prompt for prompts in rollouts[:3] for prompt in prompts]
    questions = [
        json.loads(line) for line in (recipe.parent / "start" / "questions.jsonl").read_text().splitlines()
    ]
    assert sorted(first) == sorted(row["prompt"] for row in questions for _ in range(4))
    assert rollouts[3:] != rollouts[:2]


def test_a_run_that_ends_between_its_last_checkpoint_and_its_model_only_saves_it(
    recipe: Path, whole: Path
) -> None:
    """The trainer would make one update more, since it counts after it."""
    out = stopped(whole, recipe.parent / "unsaved", 10)
    (out / "final.partial").mkdir()  # where it was when it ended
    (out / "final.partial" / "model.safetensors").write_bytes(b"cut")
    said: list[str] = []
    run(recipe, out, resume=True, said=said)
    assert not (out / "checkpoint-11").exists() and not (out / "final.partial").exists()
    assert figures(out) == figures(whole)
    assert difference(out, whole) == 0.0
    names = {path.name for path in (whole / "final").iterdir()}
    assert {path.name for path in (out / "final").iterdir()} == names
    for name in names - {"README.md", "training_args.bin"}:
        assert (out / "final" / name).read_bytes() == (whole / "final" / name).read_bytes(), name
    assert (out / "final" / "README.md").read_text() == (whole / "final" / "README.md").read_text()
    assert "5 of 5 rollouts, finished" in (out / "curve.html").read_text()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("remove optimizer.pt", "optimizer.pt is missing"),
        ("remove rng_state.pth", "rng_state.pth is missing"),
        ("cut model.safetensors", "model.safetensors is cut"),
    ],
)
def test_a_checkpoint_that_lacks_a_file_or_has_one_that_was_cut_is_passed_over(
    recipe: Path, whole: Path, damage: str, why: str
) -> None:
    """Without the first two the trainer goes on, to another end; the third is a traceback of its own."""
    what, name = damage.split()
    out = stopped(whole, recipe.parent / damage.replace(" ", "-"), 8)
    file = out / "checkpoint-8" / name
    if what == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    said: list[str] = []
    run(recipe, out, resume=True, said=said)
    assert said[:2] == [
        f"{out}/checkpoint-8: not whole, passed over: {why}",
        f"going on from {out}/checkpoint-6",
    ]
    assert figures(out) == figures(whole)
    assert difference(out, whole) == 0.0


def test_a_run_of_which_no_checkpoint_is_whole_does_not_start_again_over_them(
    recipe: Path, whole: Path
) -> None:
    from acedata import BadInput

    out = stopped(whole, recipe.parent / "all-cut", 4)
    for step in (2, 4):
        (out / f"checkpoint-{step}" / "optimizer.pt").unlink()
    with pytest.raises(
        BadInput, match=r"checkpoint-4: not whole, .*optimizer.pt(?s:.*)no whole checkpoint to go on"
    ):
        run(recipe, out, resume=True)
    assert len(lines(out)) == 5 and (out / "checkpoint-2").exists()
    # One that was never finished is no loss.
    for step in (2, 4):
        (out / f"checkpoint-{step}" / "trainer_state.json").unlink()
    said: list[str] = []
    run(recipe, out, resume=True, said=said)
    assert "no checkpoint yet: from the start" in said
    assert figures(out) == figures(whole) and difference(out, whole) == 0.0


def test_a_micro_batch_may_not_change_where_the_loss_is_its_mean(recipe: Path, whole: Path) -> None:
    from acedata import BadInput

    by_tokens = recipe.parent / "tokens"
    run(recipe, by_tokens, "update.mean=tokens", "run.rollouts=1")
    out = stopped(by_tokens, recipe.parent / "tokens-stopped", 2)
    said = r"update.device_batch: 4, not 8; with `mean: tokens` it decides"
    with pytest.raises(BadInput, match=said):
        run(recipe, out, "update.mean=tokens", "run.rollouts=1", "update.device_batch=8", resume=True)
    other = run(
        recipe, recipe.parent / "tokens-8", "update.mean=tokens", "run.rollouts=1", "update.device_batch=8"
    )
    assert difference(other, by_tokens) > 1e-4, "it would have learned the same"


def test_another_recipe_does_not_go_on_and_what_only_decides_how_fast_may_change(
    recipe: Path, whole: Path
) -> None:
    from acedata import BadInput

    out = recipe.parent / "other"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "final")
    with pytest.raises(BadInput, match=r"was started with update.kl: 0.02, not 0.5"):
        run(recipe, out, "update.kl=0.5", resume=True)
    said: list[str] = []
    run(recipe, out, "update.device_batch=8", "run.keep=2", resume=True, said=said)
    assert (out / "final" / "model.safetensors").exists()


def test_a_finished_run_is_not_trained_again(recipe: Path, whole: Path) -> None:
    before = (whole / "final" / "model.safetensors").stat().st_mtime_ns
    said: list[str] = []
    run(recipe, whole, resume=True, said=said)
    assert said == [f"{whole}/final: was finished before"]
    assert (whole / "final" / "model.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_is_not_said_to_be_another_recipes(recipe: Path, whole: Path) -> None:
    from acedata import BadInput

    with pytest.raises(BadInput, match=r"was started with update.kl: 0.02, not 0.5"):
        run(recipe, whole, "update.kl=0.5", resume=True)
    said: list[str] = []
    run(recipe, whole, "run.keep=2", resume=True, said=said)
    assert said == [f"{whole}/final: was finished before"]


def test_a_run_goes_on_by_its_own_recipe_from_another_folder(
    recipe: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Paths of the command line start where the command is run, and are kept as they were meant."""
    out = recipe.parent / "elsewhere"
    home = recipe.parent / "home"
    home.mkdir()
    shutil.copy(recipe.parent / "start" / "questions.jsonl", home)
    monkeypatch.chdir(home)
    run(recipe, out, "data.path=questions.jsonl", "run.rollouts=2")
    kept = yaml.safe_load((out / "recipe.yaml").read_text())
    assert kept["data"]["path"] == str(home / "questions.jsonl")
    monkeypatch.chdir(tmp_path)
    stopped(out, recipe.parent / "went", 2)
    run(out / "recipe.yaml", recipe.parent / "went", resume=True)
    assert difference(recipe.parent / "went", out) == 0.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_go_on_within_the_second_epoch_to_the_same_end(recipe: Path) -> None:
    def together(out: Path, *more: str) -> str:
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        words += [
            "-m",
            "acetrain._cli",
            "rl",
            str(recipe),
            "--out",
            str(out),
            "--set",
            "run.completions=true",
        ]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*words, *more], capture_output=True, text=True, timeout=400, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    whole = recipe.parent / "two"
    together(whole)
    out = stopped(whole, recipe.parent / "two-went", 8)
    assert f"going on from {out}/checkpoint-8" in together(out, "--resume")
    assert asked(out) == asked(whole) and figures(out) == figures(whole)
    assert difference(out, whole) == 0.0
    # The second process has a random state of its own, and the run does not go on without it.
    shutil.rmtree(out / "final")
    (out / "checkpoint-10" / "rng_state_1.pth").unlink()
    said = together(out, "--resume")
    assert (
        "checkpoint-10: not whole, passed over: rng_state_1.pth is missing, and 2 processes are to go on"
        in said
    )
    assert difference(out, whole) == 0.0
