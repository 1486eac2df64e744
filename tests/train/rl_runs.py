"""A small policy and questions for the tests of reinforcement learning, made once per session."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

TEXT = """
name: small
algorithm: reinforce++
policy: {path: start, load: float32}
data: {path: start/questions.jsonl, config: null}
reward:
  kind: rule
  mode: pass_rate
  shared: false
  workers: 1
  limits: {cpu_s: 0.2, program_cpu_s: 0.4, load_cpu_s: 0.4, idle_s: 0.5}
rollout: {questions: 4, programs: 4, prompt_tokens: 64, completion_tokens: 30}
update:
  batch: 8
  device_batch: 4
  learning_rate: 0.002
  schedule: constant
  kl: 0.02
  gradient_checkpointing: false
run: {rollouts: 2, save_every: 1, cpu: true, threads: 1}
"""


PAIRS = [(one, two) for one in ("double", "triple", "increment") for two in ("negate", "invert")]


def make_start(folder: Path) -> Path:
    """A policy that gets about half right, its tokenizer and twelve questions, in `folder/start`."""
    from acetrain.demos._model import make_model, supervise
    from acetrain.demos._tasks import Task, draw_task
    from acetrain.demos._tokens import make_tokenizer

    start = folder / "start"
    start.mkdir()
    draw = random.Random(0)

    def demonstrations() -> Iterator[tuple[str, str]]:
        while True:
            task = draw_task(draw, PAIRS)
            yield task.question(), task.program() if draw.random() < 0.6 else task.wrong_program(draw)

    tokenizer = make_tokenizer()
    model = make_model(tokenizer, 0, hidden=32, layers=1)
    supervise(model, tokenizer, demonstrations(), 60, batch=32, learning_rate=0.01)
    model.save_pretrained(start)
    tokenizer.save_pretrained(start)
    tasks = [Task(pair, (2, 2)) for pair in PAIRS * 2]
    rows = [{"prompt": task.question(), "test_cases": json.dumps(task.tests(draw))} for task in tasks]
    (start / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return start


def recipe_file(folder: Path, start: Path, **changes: Any) -> Path:
    """The recipe above as a file, with other settings in some places: `algorithm="grpo", update={"kl": 0.0}`."""
    values = yaml.safe_load(TEXT)
    values["policy"]["path"], values["data"]["path"] = str(start), str(start / "questions.jsonl")
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
