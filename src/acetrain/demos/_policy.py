"""What the two demonstrations of reinforcement learning share: the supervised start, GRPO, and the examination.

    noisy demonstrations ──supervise──▶ start ──GRPO, a reward──▶ policy ──examine──▶ pass@1, pass@64
                                        (copied: every run of a seed begins with the same weights)

The examination asks for tasks of pairs of operators that no training ever showed, and the sandbox judges every answer
with every input, more than the reward looked at.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from acesandbox import Limits, Sandbox, SandboxError
from acetrain._pass_at_k import pass_at_k
from acetrain._quiet import without_old_names
from acetrain._scoring import SandboxJudge, score_all

from ._model import BATCH, MAX_TOKENS, Example, answer, make_model, supervise
from ._ordinary_judge import FORGERIES, looks_forged
from ._tasks import Task, draw_task, split
from ._tokens import make_tokenizer

# The programs compute a few small numbers: what takes longer hangs.
LIMITS = Limits(cpu_s=0.2, program_cpu_s=0.4, load_cpu_s=0.4, idle_s=0.5)
WORKERS = 4  # more than one core keeps busy, so that none waits; verdicts do not depend on it
GROUP = 8
PROMPTS = BATCH // GROUP

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run does; equal settings and an equal seed give the same run.

    Attributes:
        hidden, layers: of the model.
        right: share of right programs among the demonstrations.
        forged: share of forging programs among them; the rest is wrong (`Task.wrong_program`).
        supervised_steps, supervised_rate: of 64 demonstrations each, and their highest learning rate.
        steps: of GRPO, with 32 prompts × 8 completions each.
        learning_rate: of GRPO, its highest.
        schedule: of it, after five steps up: "linear" falls to 0 at the end, "constant_with_warmup" stays.
        samples: drawn per task in the examination.
        tasks_per_pair: in the examination, for each pair of operators never seen.
        most_pairs: this many of these pairs are examined; None: all.
    """

    hidden: int = 64
    layers: int = 3
    right: float = 0.2
    forged: float = 0.0
    supervised_steps: int = 600
    supervised_rate: float = 4e-3
    steps: int = 100
    learning_rate: float = 1e-3
    schedule: str = "linear"
    samples: int = 64
    tasks_per_pair: int = 1
    most_pairs: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Course:
    """One seed's tokenizer, tasks and supervised start."""

    def __init__(self, seed: int, settings: Settings, say: Say) -> None:
        self.seed, self.settings, self.say = seed, settings, say
        self.seen, self.never = split(seed)
        # Where programs are forged, a line of a forgery is one token: in practice, too, it is shorter than a solution.
        lines = [line for text in FORGERIES for line in text.splitlines(keepends=True)]
        self.tokenizer = make_tokenizer(FORGERIES, lines if settings.forged else ())
        model = self._random()
        steps = settings.supervised_steps

        def tick(step: int, loss: float) -> None:
            if step % max(1, steps // 10) == 0 or step == steps:
                say(f"supervised start: step {step} of {steps}, loss {loss:.3f}")

        supervise(
            model,
            self.tokenizer,
            self._demonstrations(),
            steps,
            learning_rate=settings.supervised_rate,
            tick=tick,
        )
        self._start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.parameters = sum(tensor.numel() for tensor in model.parameters())
        draw = random.Random(f"examination {seed}")
        self.examination = [
            draw_task(draw, [pair])
            for pair in self.never[: settings.most_pairs]
            for _ in range(settings.tasks_per_pair)
        ]

    def start(self) -> Any:
        """A new model with the weights of the supervised start."""
        model = self._random()
        model.load_state_dict(self._start)
        return model

    def _random(self) -> Any:
        return make_model(self.tokenizer, self.seed, hidden=self.settings.hidden, layers=self.settings.layers)

    def training_tasks(self) -> list[tuple[Task, list[str]]]:
        """The tasks of all steps, with their tests: the same for every method of this seed."""
        draw = random.Random(f"training {self.seed}")
        tasks = [draw_task(draw, self.seen) for _ in range(PROMPTS * self.settings.steps)]
        return [(task, task.tests(draw)) for task in tasks]

    def _demonstrations(self) -> Iterator[Example]:
        draw = random.Random(f"demonstrations {self.seed}")
        settings = self.settings
        while True:
            task = draw_task(draw, self.seen)
            kind = draw.random()
            if kind < settings.right:
                program = task.program()
            elif kind < settings.right + settings.forged:
                program = draw.choice(FORGERIES)
            else:
                program = task.wrong_program(draw)
            yield task.question(), program


@dataclass(slots=True)
class Curve:
    """One number per step of a run.

    Attributes:
        reward: mean of what was paid.
        passed: share of completions that pass in the sandbox.
        forged: share of completions that look forged.
    """

    reward: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)
    forged: list[float] = field(default_factory=list)


def reinforce(
    course: Course,
    reward: Callable[..., list[float | None]],
    sandbox: Sandbox,
    name: str,
    *,
    shuffled: bool = False,
) -> tuple[Any, Curve]:
    """GRPO from the course's start with this reward, on one core; the model, and a curve.

    Args:
        reward: called as trainers call one; `__name__` is used.
        sandbox: says for the curve which completions pass, where the reward is not the sandbox's own.
        name: of the run, for its messages.
        shuffled: the control: rewards are dealt out anew among the completions of each step.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    settings, curve = course.settings, Curve()
    deal = random.Random(f"shuffled {course.seed}")

    def watched(
        prompts: Any, completions: Sequence[str], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        rewards = reward(prompts, completions, completion_ids, **columns)
        paid = [value for value in rewards if value is not None]
        curve.reward.append(sum(paid) / len(paid) if paid else 0.0)
        if reward.__name__ == "rule_reward":
            curve.passed.append(curve.reward[-1])
        else:
            curve.passed.append(_share(passes(sandbox, completions, columns["test_cases"])))
        curve.forged.append(_share([looks_forged(text) for text in completions]))
        done = len(curve.reward)
        if done % 5 == 0 or done == settings.steps:
            course.say(
                f"{name}: step {done} of {settings.steps}, paid {_percent(curve.reward[-1])}, "
                f"passes {_percent(curve.passed[-1])}"
                + (f", forged {_percent(curve.forged[-1])}" if settings.forged else "")
            )
        if shuffled:
            deal.shuffle(rewards)
        return rewards

    watched.__name__ = reward.__name__
    model = course.start()
    rows = [
        {"prompt": task.question(), "test_cases": json.dumps(tests)}
        for task, tests in course.training_tasks()
    ]
    with tempfile.TemporaryDirectory() as folder, without_old_names():
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=watched,
            args=GRPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                activation_checkpointing=False,
                dataloader_pin_memory=False,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                per_device_train_batch_size=BATCH,
                num_generations=GROUP,
                max_completion_length=MAX_TOKENS,
                temperature=1.0,
                learning_rate=settings.learning_rate,
                lr_scheduler_type=settings.schedule,
                warmup_steps=5,
                max_steps=settings.steps,
                beta=0.0,
                loss_type="grpo",
                shuffle_dataset=False,
                seed=course.seed,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=course.tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model, curve


@dataclass(frozen=True, slots=True)
class Marks:
    """What a model showed on tasks of pairs it never saw.

    Attributes:
        greedy: share of tasks solved by the most likely program.
        sampled: pass@1, the mean over all samples.
        pass_at_n: share of tasks solved by one of the samples at least.
        n: samples per task.
        forged: share of samples that look forged.
        believed: share of samples that the ordinary judge believes; None: not asked.
    """

    greedy: float
    sampled: float
    pass_at_n: float
    n: int
    forged: float
    believed: float | None = None


def examine(
    course: Course,
    model: Any,
    sandbox: Sandbox,
    *,
    samples: int | None = None,
    believes: Callable[..., list[float | None]] | None = None,
) -> Marks:
    """Asks for the tasks of the examination and has every answer judged by the sandbox.

    Args:
        samples: per task, instead of the settings'.
        believes: a reward whose opinion of the same samples is recorded.
    """
    n = samples or course.settings.samples
    tests = [json.dumps(task.tests()) for task in course.examination]
    questions = [task.question() for task in course.examination]
    best = [said[0] for said in answer(model, course.tokenizer, questions, greedy=True)]
    drawn = answer(model, course.tokenizer, questions, n=n, seed=course.seed)
    flat = [text for said in drawn for text in said]
    flat_tests = [text for text in tests for _ in range(n)]
    right = passes(sandbox, flat, flat_tests)
    counts = [sum(right[place : place + n]) for place in range(0, len(right), n)]
    believed = None
    if believes is not None:
        believed = _share([value == 1.0 for value in believes(None, flat, test_cases=flat_tests)])
    return Marks(
        greedy=_share(passes(sandbox, best, tests)),
        sampled=_share(right),
        pass_at_n=sum(pass_at_k(n, count, n) for count in counts) / len(counts),
        n=n,
        forged=_share([looks_forged(text) for text in flat]),
        believed=believed,
    )


def passes(sandbox: Sandbox, programs: Sequence[str], tests: Sequence[str]) -> list[bool]:
    """Whether each program passes all of its tests (a JSON list each).

    Raises:
        acesandbox.SandboxError: one could not be judged: a figure without it would be another figure.
    """
    scores = score_all(SandboxJudge(sandbox), programs, tests)
    for score in scores:
        if score.unknown:
            raise SandboxError(f"a program of the examination could not be judged: {score.why}")
    return [score.all_passed for score in scores]


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
