"""RL on held-out compositions: `acetrain demo rl`.

A tiny policy learns from noisy demonstrations, few of them right, and then from the rule reward
alone. Per seed, from the same supervised start:

    RL          GRPO with `RuleReward`; every completion is judged in the sandbox
    shuffled    the control: the same steps, the rewards dealt out at random
    rejection   rejection fine-tuning: as many completions judged as in RL, all drawn from the start; what passed is
                trained on

and each is examined on pairs of operators that no training showed. Rejection fine-tuning gets the best of its
checkpoints, chosen on the examination itself: that favours it, so it is no weaker a rival than it could be.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from acedata import _plots as plots
from acesandbox import Sandbox
from acetrain._rewards import RuleReward

from ._model import Example, answer, quiet_and_alone, supervise
from ._policy import GROUP, LIMITS, WORKERS, Course, Marks, Say, Settings, examine, passes, reinforce
from ._runs import Demonstration, Line, Panel, Promise, Result, as_row, curves, percent, run

SEEDS = (1, 2, 3)
FULL = Settings()
QUICK = replace(FULL, supervised_steps=30, steps=2, samples=2, most_pairs=6)
FEWER_SAMPLES = 16  # for the two whose pass@64 nobody asks for
EPOCHS = (1, 1, 2, 4, 8)  # of rejection fine-tuning: examined after 1, 2, 4, 8 and 16
REJECTION_RATE = 1e-3


def main(seeds: Sequence[int], settings: Settings, out: Path, *, check: bool = True) -> int:
    """Runs the demonstration; 0, or 1 when a promise did not hold."""
    quiet_and_alone()
    return run(DEMONSTRATION, seeds, settings, out, check=check)


def one_seed(seed: int, settings: Settings, say: Say, keep: Callable[[Result], None]) -> Result:
    """All three methods from one start."""
    fewer = min(FEWER_SAMPLES, settings.samples)
    with Sandbox(workers=WORKERS, limits=LIMITS, keep_output=False) as sandbox:
        course = Course(seed, settings, say)
        result: Result = {"parameters": course.parameters, "tasks": len(course.examination)}

        def note(name: str, marks: Marks, **more: Any) -> None:
            result[name] = {**asdict(marks), **more}
            say(f"{name}: {percent(marks.sampled)} sampled, {percent(marks.greedy)} greedy on unseen pairs")
            keep(result)

        note("start", examine(course, course.start(), sandbox))
        reward = RuleReward("binary", sandbox=sandbox)
        model, curve = reinforce(course, reward, sandbox, "RL")
        note("rl", examine(course, model, sandbox), curve=_rounded(curve.passed))
        model, curve = reinforce(course, reward, sandbox, "shuffled", shuffled=True)
        note("shuffled", examine(course, model, sandbox, samples=fewer), curve=_rounded(curve.passed))
        result["rejection"] = _rejection(course, sandbox, fewer)
        keep(result)
    return result


def _rejection(course: Course, sandbox: Sandbox, samples: int) -> Result:
    """Rejection fine-tuning with the tasks and the number of sandbox calls that RL had."""
    model = course.start()
    tasks = course.training_tasks()

    def tick(done: int, total: int) -> None:
        if done % 2560 == 0 or done == total:
            course.say(f"rejection: {done:,} of {total:,} completions drawn")

    drawn = answer(
        model,
        course.tokenizer,
        [task.question() for task, _ in tasks],
        n=GROUP,
        seed=course.seed,
        tick=tick,
    )
    flat = [
        (task.question(), program) for (task, _), said in zip(tasks, drawn, strict=True) for program in said
    ]
    tests = [json.dumps(listed) for _, listed in tasks for _ in range(GROUP)]
    right = passes(sandbox, [program for _, program in flat], tests)
    # Each right answer once: with its copies, what the model already does would drown what it does rarely.
    kept = sorted({example for example, ok in zip(flat, right, strict=True) if ok})
    course.say(f"rejection: {sum(right):,} of {len(flat):,} passed, {len(kept):,} different")
    order = random.Random(f"rejection {course.seed}")
    checkpoints, epochs = [], 0
    for more in EPOCHS if kept else ():
        examples: list[Example] = []
        for _ in range(more):
            order.shuffle(kept)
            examples += kept
        supervise(
            model,
            course.tokenizer,
            iter(examples),
            -(-len(examples) // 64),
            learning_rate=REJECTION_RATE,
        )
        epochs += more
        marks = examine(course, model, sandbox, samples=samples)
        checkpoints.append({"epochs": epochs, **asdict(marks)})
        course.say(
            f"rejection, {epochs} epochs: {percent(marks.sampled)} sampled, {percent(marks.greedy)} greedy"
        )
    best = max(checkpoints, key=lambda one: one["sampled"]) if checkpoints else {}
    return {**best, "kept": len(kept), "judged": len(flat), "checkpoints": checkpoints}


def _rounded(series: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in series]


def table(results: Sequence[Result]) -> str:
    """One row per seed and method."""
    lines = [
        as_row(["seed", "", "pass@1 sampled", "pass@1 greedy", "pass@n", "n"]),
        as_row(["---"] * 2 + ["---:"] * 4),
    ]
    names = {
        "start": "supervised start",
        "rl": "RL",
        "shuffled": "shuffled rewards",
        "rejection": "rejection",
    }
    for one in results:
        for key, name in names.items():
            marks = one.get(key, {})
            if "sampled" not in marks:
                continue
            if key == "rejection":
                name = f"rejection fine-tuning, best of {len(marks['checkpoints'])} (epoch {marks['epochs']})"
            cells = [percent(marks[cell]) for cell in ("sampled", "greedy", "pass_at_n")]
            lines.append(as_row([one["seed"], name, *cells, marks["n"]]))
    return "\n".join(lines)


def plot(results: Sequence[Result]) -> str:
    """Pass rate of the completions of each step, for the reward and for its control."""

    def of(name: str) -> list[list[float]]:
        return [one[name]["curve"] for one in results if name in one]

    return curves(
        "RL on composed tasks: completions that pass in the sandbox",
        [
            Panel(
                f"{len(results)} seeds, training pairs",
                [
                    Line("rule reward", plots.BLUE, of("rl")),
                    Line("shuffled", plots.ORANGE, of("shuffled"), "5 4"),
                ],
            )
        ],
    )


PROMISES = (
    Promise("start at most 30 % on unseen pairs (sampled)", lambda one: one["start"]["sampled"] <= 0.30),
    Promise("RL at least 80 % on unseen pairs (sampled)", lambda one: one["rl"]["sampled"] >= 0.80),
    Promise(
        "shuffled rewards end at most at the start (sampled)",
        lambda one: one["shuffled"]["sampled"] <= one["start"]["sampled"],
    ),
    Promise(
        "RL above every checkpoint of rejection fine-tuning (sampled)",
        lambda one: one["rl"]["sampled"] > max(point["sampled"] for point in one["rejection"]["checkpoints"]),
    ),
)

DEMONSTRATION = Demonstration("rl", one_seed, table, plot, PROMISES)
