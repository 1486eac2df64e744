"""A reward model trained by two processes, with the environment that `accelerate launch` gives them, is the one that a
single process makes; the command that it prints at the end reports on what was held out."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from acedata._export import export
from acetrain import RewardModel
from acetrain._cli import main
from acetrain._reward_model._recipe import load_recipe
from tests.data.builds import make_build


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_make_the_model_that_one_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = export(make_build(tmp_path / "build"), tmp_path / "data", validation=0.1).path
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(load_recipe("rm-tiny").text.replace("device_batch: 16", "device_batch: 8"))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def run(processes: int) -> tuple[Path, str]:
        out = tmp_path / f"by-{processes}"
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        words += ["--nproc_per_node", str(processes), "-m", "acetrain._cli"]
        words += ["rm", "train", str(recipe), "--pairs", str(pairs), "--out", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=400, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return out, done.stderr

    one, _ = run(1)
    two, said = run(2)
    steps = [[line["step"] for line in json.loads((out / "log.json").read_text())] for out in (one, two)]
    assert steps[0] == steps[1]  # as many updates: the global batch does not grow with the processes
    texts = ["def f(x):\n    return x\n", "a b c", "1"]
    scores = [RewardModel.load(str(out / "model"), device="cpu").score(texts) for out in (one, two)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)

    [command] = [line for line in said.splitlines() if "acetrain rm report" in line]
    words = shlex.split(command[command.index("acetrain ") :])
    assert main(words[1:]) == 0
    assert "held-out pairs" in capsys.readouterr().out
    reports = [json.loads((out / "report.json").read_text()) for out in (one, two)]
    assert [report["pairs"] for report in reports] == [16, 16]
    assert reports[0]["accuracy"] == reports[1]["accuracy"]


def test_a_report_on_other_pairs_does_not_call_them_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = export(make_build(tmp_path / "build"), tmp_path / "data", validation=0.1).path
    out = tmp_path / "out"
    assert main(["rm", "train", "rm-tiny", "--pairs", str(pairs), "--out", str(out)]) == 0
    assert "held-out pairs" in capsys.readouterr().out
    assert main(["rm", "report", str(out / "model"), "--pairs", str(pairs), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "all pairs of" in printed and "held-out" not in printed
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["of"], found["pairs"]) == (f"all pairs of {pairs}", 96)
    assert "held-out" not in (tmp_path / "report.md").read_text() + (tmp_path / "report.svg").read_text()
