"""A run that is killed goes on where its last whole checkpoint stands, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.train.rl_runs import make_start, recipe_file

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
