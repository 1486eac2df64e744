"""Two processes, with the environment that `accelerate launch` gives them: one rollout, one whitening, one voice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.rl_runs import make_start, recipe_file


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_are_one_run(tmp_path: Path) -> None:
    start = make_start(tmp_path)
    recipe = recipe_file(tmp_path, start, reward={"shared": True}, run={"completions": True})
    out = tmp_path / "run"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words += ["-m", "acetrain._cli", "rl", str(recipe), "--out", str(out)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=800, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    curve = [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]
    assert [(line["rollout"], line["update"]) for line in curve] == [(1, 2), (2, 4)]
    assert done.stderr.count("rollout 1 of 2:") == 1  # one process speaks
    assert (out / "final" / "model.safetensors").exists()

    import pyarrow.parquet as parquet

    first = parquet.read_table(sorted((out / "completions").glob("*.parquet"))[0]).to_pylist()
    assert len(first) == 16
    # Whitened over both processes together: the token-weighted mean is 0 over all, and not over either half.
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(start)

    def mean(rows: list[dict[str, object]]) -> float:
        sizes = [min(30, len(tokenizer(str(row["completion"]))["input_ids"]) + 1) for row in rows]
        return sum(float(str(row["advantage"])) * n for row, n in zip(rows, sizes, strict=True)) / sum(sizes)

    assert mean(first) == pytest.approx(0.0, abs=0.02)
    assert abs(mean(first[:8])) > 0.05
