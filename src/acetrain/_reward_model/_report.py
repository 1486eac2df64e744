"""How good a reward model is on pairs, held-out ones as a rule: accuracy over all, by margin, by length; JSON, a table,
a plot.

A pair counts 1 where the chosen answer scores higher, 1/2 where both score the same. Pairs of one question are no
independent observations, so intervals are drawn over questions (percentile bootstrap, 95 %).

Length is the shortcut that reward models like best: the report has accuracy by which answer is longer, and what a model
would reach that always takes the longer, or the shorter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acedata import _plots as plots
from acedata._errors import BadInput
from acetrain._whole import write_whole

from ._pairs import Counts, Tokens

if TYPE_CHECKING:
    from rich.table import Table

    from ._model import RewardModel

DRAWS = 2000
MARGINS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LENGTHS = (128, 256, 512, 1024)


HELD_OUT = "held-out pairs"


def make_report(
    model: RewardModel, pairs: Tokens, counts: Counts | None = None, *, of: str = HELD_OUT
) -> dict[str, Any]:
    """Scores the pairs.

    Args:
        of: what pairs they are, for people who read the report.

    Raises:
        ValueError: there is no pair.
        BadInput: a score is no finite number.
    """
    if not len(pairs):
        raise ValueError("there is no report on no pairs")
    scores = model.score_ids([*pairs.chosen, *pairs.rejected])
    unknown = sum(not math.isfinite(score) for score in scores)
    if unknown:
        raise BadInput(
            f"there is no report: {unknown:,} of {len(scores):,} scores ({of}) are no finite numbers; "
            "the model's weights are damaged, or its training diverged"
        )
    chosen, rejected = scores[: len(pairs)], scores[len(pairs) :]
    return report_on(chosen, rejected, pairs, counts, of=of)


def report_on(
    chosen: Sequence[float],
    rejected: Sequence[float],
    pairs: Tokens,
    counts: Counts | None = None,
    *,
    of: str = HELD_OUT,
) -> dict[str, Any]:
    """The report of scores that are there already."""
    right = [_win(one, other) for one, other in zip(chosen, rejected, strict=True)]
    lengths = [(len(one), len(other)) for one, other in zip(pairs.chosen, pairs.rejected, strict=True)]
    groups: dict[str, list[dict[str, Any]]] = {"margin": [], "length": [], "longer": []}
    if any(margin is not None for margin in pairs.margin):
        known = [math.nan if margin is None else margin for margin in pairs.margin]
        bounds = [-math.inf, *MARGINS, math.inf]
        for low, high in pairwise(bounds):
            label = (
                f"< {high:g}"
                if low == -math.inf
                else f"≥ {low:g}"
                if high == math.inf
                else f"{low:g} – {high:g}"
            )
            # A margin is a difference of two fractions: 0.8 - 0.4 is not 0.4 in binary.
            inside = [low <= round(margin, 9) < high for margin in known]
            groups["margin"] += _group(label, inside, right)
    edges = [0, *LENGTHS, math.inf]
    for low, high in pairwise(edges):
        label = f"> {low:g} tokens" if high == math.inf else f"{low + 1:g} – {high:g} tokens"
        groups["length"] += _group(label, [low < max(both) <= high for both in lengths], right)
    sides: list[tuple[str, Callable[[int, int], bool]]] = [
        ("chosen is longer", lambda a, b: a > b),
        ("as long", lambda a, b: a == b),
        ("chosen is shorter", lambda a, b: a < b),
    ]
    for label, holds in sides:
        groups["longer"] += _group(label, [holds(*both) for both in lengths], right)
    longer = [_win(*both) for both in lengths]
    return {
        "of": of,
        "pairs": len(pairs),
        "questions": len(set(pairs.key)) if pairs.key else len(pairs),
        "accuracy": _interval(right, pairs.key or [str(place) for place in range(len(right))]),
        "ties": sum(value == 0.5 for value in right),
        "always_longer": sum(longer) / len(longer),
        "always_shorter": 1 - sum(longer) / len(longer),
        "by": groups,
        "scores": {"chosen": _spread(chosen), "rejected": _spread(rejected)},
        "loss": sum(_loss(one - other) for one, other in zip(chosen, rejected, strict=True)) / len(right),
        "counts": None if counts is None else counts.to_dict(),
    }


def _win(one: float, other: float) -> float:
    return 1.0 if one > other else 0.5 if one == other else 0.0


def _loss(gap: float) -> float:
    return max(-gap, 0.0) + math.log1p(math.exp(-abs(gap)))


def _group(label: str, inside: Sequence[bool], right: Sequence[float]) -> list[dict[str, Any]]:
    of = [value for value, there in zip(right, inside, strict=True) if there]
    return [{"label": label, "pairs": len(of), "accuracy": sum(of) / len(of)}] if of else []


def _interval(right: Sequence[float], keys: Sequence[str]) -> dict[str, float]:
    import numpy as np

    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    whose = np.array([places[key] for key in keys])
    sums = np.bincount(whose, weights=np.asarray(right), minlength=len(places))
    sizes = np.bincount(whose, minlength=len(places))
    random = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        drawn = random.integers(0, len(places), len(places))
        means.append(sums[drawn].sum() / sizes[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return {"value": float(sums.sum() / sizes.sum()), "low": float(low), "high": float(high)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return {"mean": mean, "deviation": deviation, "lowest": min(values), "highest": max(values)}


def rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(what, pairs, accuracy in percent) for a table."""
    found = report["accuracy"]
    bounds = f"{100 * found['value']:.1f} ({100 * found['low']:.1f}–{100 * found['high']:.1f})"
    out = [("all", f"{report['pairs']:,}", bounds)]
    for name, groups in report["by"].items():
        prefix = "margin " if name == "margin" else ""
        for one in groups:
            out.append((f"{prefix}{one['label']}", f"{one['pairs']:,}", f"{100 * one['accuracy']:.1f}"))
    out.append(("always the longer", f"{report['pairs']:,}", f"{100 * report['always_longer']:.1f}"))
    out.append(("always the shorter", f"{report['pairs']:,}", f"{100 * report['always_shorter']:.1f}"))
    return out


def terminal(report: dict[str, Any]) -> Table:
    """As a table for a terminal."""
    from rich.table import Table

    table = Table(title=f"{report['of']}, {report['questions']:,} questions")
    table.add_column("")
    table.add_column("pairs", justify="right")
    table.add_column("accuracy %", justify="right")
    for row in rows(report):
        table.add_row(*row)
    return table


def markdown(report: dict[str, Any]) -> str:
    """As a Markdown table."""
    lines = [f"| {report['of']} | pairs | accuracy % |", "|---|--:|--:|"]
    lines += [f"| {what} | {pairs} | {accuracy} |" for what, pairs, accuracy in rows(report)]
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any]) -> str:
    """Accuracy of every group, as bars; SVG."""
    colours = {"margin": plots.BLUE, "length": plots.GREEN, "longer": plots.ORANGE}
    bars = []
    for name, groups in report["by"].items():
        for one in groups:
            share = 100 * one["accuracy"]
            label = f"margin {one['label']}" if name == "margin" else one["label"]
            part = (share, colours[name], f"{share:.1f} %")
            bars.append(plots.Bar(label, [part], f"{share:.1f} % of {one['pairs']:,}"))
    legend = [
        (colours["margin"], "by margin"),
        (colours["length"], "by length"),
        (colours["longer"], "by the longer"),
    ]
    return plots.horizontal(f"Accuracy on {report['of']}", bars, legend=legend)


def write_report(report: dict[str, Any], out: Path) -> None:
    """report.json, report.md and report.svg in a folder; the first one last, so that it stands for all."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "report.md", markdown(report))
    write_whole(out / "report.svg", plot(report))
    write_whole(out / "report.json", json.dumps(report, indent=1) + "\n")
