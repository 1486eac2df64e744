"""A policy and questions made on the spot, for runs on a processor: the composed tasks of the demonstrations.

The policy is a model of some 660,000 parameters after a supervised start on demonstrations that are mostly wrong, so
that there is something to learn; the questions are tasks of the pairs of operators that the start was shown.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from acetrain.demos._model import Example, make_model, supervise
from acetrain.demos._tasks import draw_task, split
from acetrain.demos._tokens import make_tokenizer

from ._recipe import TinyConfig


def make_policy(config: TinyConfig, folder: Path) -> None:
    """Writes a policy into a folder: model and tokenizer. The same settings give the same weights."""
    if (folder / "tokenizer.json").exists():
        return
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, config.seed, hidden=config.hidden, layers=config.layers)
    supervise(model, tokenizer, _demonstrations(config), config.supervised_steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tasks(count: int, seed: int, path: Path) -> None:
    """Writes so many questions with their tests, as JSON lines."""
    draw = random.Random(f"questions {seed}")
    shown, _ = split(seed)
    with open(path, "w", encoding="utf-8") as out:
        for number in range(count):
            task = draw_task(draw, shown)
            row = {
                "prompt": task.question(),
                "test_cases": json.dumps(task.tests(draw)),
                "id": f"task_{number}",
            }
            out.write(json.dumps(row) + "\n")


def _demonstrations(config: TinyConfig) -> Iterator[Example]:
    draw = random.Random(f"demonstrations {config.seed}")
    shown, _ = split(config.seed)
    while True:
        task = draw_task(draw, shown)
        right = draw.random() < config.right
        yield task.question(), task.program() if right else task.wrong_program(draw)
