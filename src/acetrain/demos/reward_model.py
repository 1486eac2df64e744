"""A reward model that must read the question: `acetrain demo rm`.

A pair of tasks that are nearly the same ("double, then subtract 42" and "subtract 42, then double") with the program of
each gives two preference pairs: the same two programs, chosen under one question and rejected under the other. Whoever
looks at the programs alone, at their lengths or at anything else but the question is right in exactly half of them.

    noisy demonstrations ──supervise──▶ policy ──its weights──▶ reward model ◀──trl.RewardTrainer── pairs of seen tasks
                                          │                          │
                                          └──16 samples per task──▶ the best by score, judged by the sandbox

All pairs are judged by the sandbox: a program that also solves the other question makes no pair. Training shows 70 % of
the pairs of operators, and single operators; every held-out question is composed of pairs of operators that neither
the policy nor the reward model has met, on both sides of every pair.

Controls: the same model on the same pairs with their questions dealt out anew must be right in half of them (exact
binomial test); so are the shorter and the longer program. Best of 16 is compared with the policy's greedy answer, the
criterion of the paper (Zeng et al., 2025, section 4.2), with the mean and the best possible of the same samples beside
it. Candidates are what the policy draws, nothing is put among them.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from acedata import _plots as plots
from acesandbox import Sandbox
from acetrain._bootstrap import difference
from acetrain._reward_model._forms import Form
from acetrain._reward_model._model import RewardModel
from acetrain._reward_model._pairs import Tokens
from acetrain._reward_model._recipe import TrainConfig
from acetrain._reward_model._train import make_trainer

from ._model import answer, quiet_and_alone
from ._policy import LIMITS, Course, Say, passes
from ._policy import Settings as PolicySettings
from ._runs import Demonstration, Promise, Result, as_row, percent, run
from ._tasks import CONSTANTS, OPERATORS, Pair, Task, draw_task

SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run does; equal settings and an equal seed give the same run.

    Attributes:
        hidden, layers: of the policy, and so of the reward model.
        right: share of right programs among the policy's demonstrations.
        supervised_steps, supervised_rate: of the policy, 64 demonstrations each, and their highest learning rate.
        twins: pairs of tasks to train on; each gives two preference pairs.
        held_out: pairs of tasks to examine with.
        batch: preference pairs of one step.
        epochs: times through the pairs.
        learning_rate: of the reward model.
        tasks_per_pair: of operators never seen, for best-of-N.
        most_pairs: this many of these pairs of operators; None: all.
        n: samples per task.
    """

    hidden: int = 64
    layers: int = 3
    right: float = 0.2
    supervised_steps: int = 600
    supervised_rate: float = 4e-3
    twins: int = 5000
    held_out: int = 1050
    batch: int = 64
    epochs: int = 6
    learning_rate: float = 2e-3
    tasks_per_pair: int = 2
    most_pairs: int | None = None
    n: int = 16

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


FULL = Settings()
QUICK = replace(
    FULL, supervised_steps=20, twins=64, held_out=40, epochs=1, tasks_per_pair=1, most_pairs=4, n=2
)


@dataclass(frozen=True, slots=True)
class Twins:
    """Two tasks of which each one's program fails the other's tests.

    Attributes:
        kind: how the second was made of the first.
    """

    one: Task
    other: Task
    kind: str

    def pairs(self) -> list[tuple[str, str, str]]:
        """(question, chosen, rejected), twice: what is chosen first is rejected second."""
        programs = self.one.program(), self.other.program()
        return [(self.one.question(), *programs), (self.other.question(), *programs[::-1])]


def main(seeds: Sequence[int], settings: Settings, out: Path, *, check: bool = True) -> int:
    """Runs the demonstration; 0, or 1 when a promise did not hold."""
    quiet_and_alone()
    return run(DEMONSTRATION, seeds, settings, out, check=check)


def one_seed(seed: int, settings: Settings, say: Say, keep: Callable[[Result], None]) -> Result:
    """Policy, pairs, reward model, examination."""
    with Sandbox(workers=1, limits=LIMITS, keep_output=False) as sandbox:
        course = Course(seed, policy_settings(settings), say)
        draw = random.Random(f"twins {seed}")
        training, tried = draw_twins(draw, course.seen, settings.twins, sandbox, single=True)
        say(
            f"{2 * len(training):,} pairs to train on; {tried - len(training):,} of {tried:,} twins solve each other"
        )
        held, _ = draw_twins(draw, course.never, settings.held_out, sandbox, single=False)
        shown, asked = (
            {task.pair for one in twins for task in (one.one, one.other)} for twins in (training, held)
        )
        assert not shown & asked, "a held-out pair of operators was shown"
        model, log = fit(course, training, settings, say)
        result: Result = {"parameters": course.parameters, "training_pairs": 2 * len(training), "log": log}
        result["accuracy"] = accuracies(model, held, seed)
        say(
            f"right in {percent(result['accuracy']['right'])} of {result['accuracy']['pairs']:,} held-out pairs, "
            f"{percent(result['accuracy']['permuted'])} with permuted questions"
        )
        keep(result)
        result["best_of"] = best_of(course, model, sandbox, settings)
        found = result["best_of"]
        say(
            f"greedy {percent(found['greedy'])}, best of {settings.n} {percent(found['best'])}, "
            f"mean {percent(found['mean'])}, oracle {percent(found['oracle'])}"
        )
        keep(result)
    return result


def policy_settings(settings: Settings) -> PolicySettings:
    """Those of the policy that answers and whose weights the reward model starts from."""
    return PolicySettings(
        hidden=settings.hidden,
        layers=settings.layers,
        right=settings.right,
        supervised_steps=settings.supervised_steps,
        supervised_rate=settings.supervised_rate,
        tasks_per_pair=settings.tasks_per_pair,
        most_pairs=settings.most_pairs,
    )


# ---- pairs ----


def draw_twins(
    draw: random.Random, pairs: Sequence[Pair], count: int, sandbox: Sandbox, *, single: bool
) -> tuple[list[Twins], int]:
    """Twins of these pairs of operators, no two the same, and how many had to be drawn.

    Args:
        single: whether the second may be one operator alone.
    """
    allowed, known, tried = set(pairs), set(), 0
    found: list[Twins] = []
    while len(found) < count:
        drawn: list[Twins] = []
        while len(drawn) < count - len(found):
            task = draw_task(draw, list(pairs))
            made = _neighbour(task, draw, allowed, single)
            if made is None or (task.question(), made.other.question()) in known:
                continue
            known.add((task.question(), made.other.question()))
            drawn.append(made)
        tried += len(drawn)
        found += _judged(drawn, sandbox)
    return found, tried


def _judged(twins: Sequence[Twins], sandbox: Sandbox) -> list[Twins]:
    """Those of which each program passes its own tests and fails the other's, as the sandbox says."""
    programs, tests = [], []
    for one in twins:
        for task in (one.one, one.other):
            programs += [one.one.program(), one.other.program()]
            tests += [json.dumps(task.tests())] * 2
    right = passes(sandbox, programs, tests)
    verdicts = [tuple(right[place : place + 4]) for place in range(0, len(right), 4)]
    return [
        one for one, verdict in zip(twins, verdicts, strict=True) if verdict == (True, False, False, True)
    ]


def _neighbour(task: Task, draw: random.Random, allowed: set[Pair], single: bool) -> Twins | None:
    """A task that is nearly `task`: steps swapped, one operator another, one constant another, or one step missing."""
    kinds = ["swapped", "operator", "constant", *(["missing"] if single else [])]
    kind = draw.choice(kinds)
    pair, constants = list(task.pair), list(task.constants)
    place = draw.randrange(2)
    if kind == "swapped":
        pair, constants = pair[::-1], constants[::-1]
    elif kind == "operator":
        wrong = OPERATORS[pair[place]].mistaken_for
        pair[place] = wrong if draw.random() < 0.5 else draw.choice(list(OPERATORS))
    elif kind == "constant":
        constants[place] = draw.randint(*CONSTANTS)
    else:
        pair[place] = ""
    other = Task((pair[0], pair[1]), (constants[0], constants[1]))
    if kind != "missing" and other.pair not in allowed:
        return None
    if other.question() == task.question() or other.program() == task.program():
        return None
    return Twins(task, other, kind) if draw.random() < 0.5 else Twins(other, task, kind)


# ---- the model ----


def fit(
    course: Course, twins: Sequence[Twins], settings: Settings, say: Say
) -> tuple[RewardModel, list[Any]]:
    """A reward model of the policy's weights and a new head, trained by `trl.RewardTrainer`; and its log."""
    import torch
    from transformers import Qwen3ForSequenceClassification, TrainerCallback

    policy = course.start()
    config = type(policy.config).from_dict({**policy.config.to_dict(), "num_labels": 1})
    torch.manual_seed(course.seed)
    model = Qwen3ForSequenceClassification(config)
    model.model.load_state_dict(policy.model.state_dict())
    tokenizer = course.tokenizer
    tokens = Tokens()
    for one in twins:
        for question, chosen, rejected in one.pairs():
            tokens.chosen.append(_ids(tokenizer, question, chosen))
            tokens.rejected.append(_ids(tokenizer, question, rejected))
            tokens.margin.append(None)
    train = TrainConfig(
        epochs=float(settings.epochs),
        learning_rate=settings.learning_rate,
        global_batch=settings.batch,
        device_batch=settings.batch,
        precision="float32",
        gradient_checkpointing=False,
        cpu=True,
        log_steps=10,
        seed=course.seed,
    )

    class Told(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                say(
                    f"reward model: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}, "
                    f"right in {percent(logs['accuracy'])} of the training pairs"
                )

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model, tokenizer, tokens, train, Path(folder), save=False)
        trainer.add_callback(Told())
        trainer.train()
    log = [
        {"step": one["step"], "loss": round(one["loss"], 4), "accuracy": round(one["accuracy"], 4)}
        for one in trainer.state.log_history
        if "loss" in one
    ]
    return RewardModel(model, tokenizer, form=Form("raw", "plain")), log


def _ids(tokenizer: Any, question: str, program: str) -> list[int]:
    return [*tokenizer(question)["input_ids"], *tokenizer(program)["input_ids"], tokenizer.eos_token_id]


def _text(tokenizer: Any, question: str, program: str) -> str:
    return question + program + str(tokenizer.eos_token)


# ---- the examination ----


def accuracies(model: RewardModel, twins: Sequence[Twins], seed: int) -> Result:
    """How often the chosen program scores higher; ties count half."""
    pairs = [pair for one in twins for pair in one.pairs()]
    kinds = [one.kind for one in twins for _ in range(2)]
    right = _compare(model, pairs)
    dealt = [question for question, _, _ in pairs]
    random.Random(f"permuted {seed}").shuffle(dealt)
    permuted = _compare(
        model, [(question, pair[1], pair[2]) for question, pair in zip(dealt, pairs, strict=True)]
    )
    blind = _compare(model, [("", chosen, rejected) for _, chosen, rejected in pairs])
    longer = [_win(len(chosen), len(rejected)) for _, chosen, rejected in pairs]
    by_kind = {}
    for kind in sorted(set(kinds)):
        of = [value for value, name in zip(right, kinds, strict=True) if name == kind]
        by_kind[kind] = {"pairs": len(of), "right": sum(of) / len(of)}
    return {
        "pairs": len(pairs),
        "right": sum(right) / len(right),
        "p": binomial_p(round(sum(right)), len(right)),
        "permuted": sum(permuted) / len(permuted),
        "permuted_p": binomial_p(round(sum(permuted)), len(permuted)),
        "without_question": sum(blind) / len(blind),
        "longer": sum(longer) / len(longer),
        "by_kind": by_kind,
    }


def _compare(model: RewardModel, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
    texts = [
        _text(model.tokenizer, question, program) for question, *programs in pairs for program in programs
    ]
    scores = model.score(texts)
    return [_win(scores[place], scores[place + 1]) for place in range(0, len(scores), 2)]


def _win(one: float, other: float) -> float:
    return 1.0 if one > other else 0.5 if one == other else 0.0


def binomial_p(right: int, total: int) -> float:
    """How likely at least so far from a half is by chance: the exact two-sided binomial test."""
    far = abs(right - total / 2)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(total + 1)
        if abs(k - total / 2) >= far
    ]
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def best_of(course: Course, model: RewardModel, sandbox: Sandbox, settings: Settings) -> Result:
    """The policy's greedy answer against the best of its samples by score, judged by the sandbox with all inputs."""
    tasks = course.examination
    policy = course.start()
    questions = [task.question() for task in tasks]
    tests = [json.dumps(task.tests()) for task in tasks]
    greedy = passes(
        sandbox, [said[0] for said in answer(policy, course.tokenizer, questions, greedy=True)], tests
    )
    drawn = answer(policy, course.tokenizer, questions, n=settings.n, seed=course.seed)
    flat = [(question, program) for question, said in zip(questions, drawn, strict=True) for program in said]
    right = passes(
        sandbox, [program for _, program in flat], [text for text in tests for _ in range(settings.n)]
    )
    scores = model.score([_text(course.tokenizer, question, program) for question, program in flat])
    best, mean, oracle, ranked = [], [], [], []
    for place in range(0, len(flat), settings.n):
        of, judged = scores[place : place + settings.n], right[place : place + settings.n]
        best.append(judged[max(range(settings.n), key=of.__getitem__)])
        mean.append(sum(judged) / settings.n)
        oracle.append(any(judged))
        ranked += [
            _win(of[good], of[bad])
            for good in range(settings.n)
            for bad in range(settings.n)
            if judged[good] and not judged[bad]
        ]
    gain = difference([float(one) for one in greedy], [float(one) for one in best])
    return {
        "tasks": len(tasks),
        "n": settings.n,
        "greedy": sum(greedy) / len(greedy),
        "best": sum(best) / len(best),
        "mean": sum(mean) / len(mean),
        "oracle": sum(oracle) / len(oracle),
        "gain": gain.to_dict(),
        "samples_ranked_right": sum(ranked) / len(ranked) if ranked else None,
    }


# ---- what it leaves ----


def table(results: Sequence[Result]) -> str:
    """A row per seed."""
    lines = [
        as_row(["seed", "pairs", "right", "permuted questions (p)", "no question", "longer wins", "greedy", "best of N",
                "mean", "oracle"]),
        as_row(["---"] + ["---:"] * 9),
    ]  # fmt: skip
    for one in results:
        found, best = one.get("accuracy"), one.get("best_of")
        if not found or not best:
            continue
        lines.append(
            as_row(
                [
                    one["seed"],
                    f"{found['pairs']:,}",
                    percent(found["right"]),
                    f"{percent(found['permuted'])} ({found['permuted_p']:.2f})",
                    percent(found["without_question"]),
                    percent(found["longer"]),
                    percent(best["greedy"]),
                    f"{percent(best['best'])} (N = {best['n']})",
                    percent(best["mean"]),
                    percent(best["oracle"]),
                ]
            )
        )
    return "\n".join(lines)


def plot(results: Sequence[Result]) -> str:
    """Shares of every seed, as bars."""
    bars = []
    for one in results:
        found, best = one.get("accuracy", {}), one.get("best_of", {})
        seed = one["seed"]
        for label, value, colour in (
            (f"seed {seed}: held-out pairs", found.get("right"), plots.BLUE),
            ("permuted questions", found.get("permuted"), plots.GREY),
            ("greedy", best.get("greedy"), plots.ORANGE),
            (f"best of {best.get('n')}", best.get("best"), plots.GREEN),
        ):
            if value is not None:
                bars.append(plots.Bar(label, [(100 * value, colour, percent(value))], percent(value)))
    return plots.horizontal("Reward model on counterfactual pairs, and best of N", bars, label_width=200)


DEMONSTRATION = Demonstration(
    name="rm",
    one_seed=one_seed,
    table=table,
    plot=plot,
    promises=(
        Promise("at least 2,000 held-out pairs", lambda one: bool(one["accuracy"]["pairs"] >= 2000)),
        Promise("right in at least 85 % of them", lambda one: bool(one["accuracy"]["right"] >= 0.85)),
        Promise(
            "half of them with permuted questions (p >= 0.01)",
            lambda one: bool(one["accuracy"]["permuted_p"] >= 0.01),
        ),
        Promise("length alone is right in exactly half", lambda one: bool(one["accuracy"]["longer"] == 0.5)),
        Promise(
            "best of N above greedy", lambda one: bool(one["best_of"]["best"] > one["best_of"]["greedy"])
        ),
    ),
)
