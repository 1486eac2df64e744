"""What is drawn of a build: the same pictures in the card's folder and in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from . import _plots as plots
from ._figures import RATE_LABELS, Figures, OfModel
from ._funnel import Step

STATUS_COLOURS = {
    "passed": plots.GREEN,
    "failed": plots.RED,
    "error": plots.ORANGE,
    "syntax_error": "#8c6d1f",
    "missing_module": "#6b5b95",
    "cpu_timeout": plots.PURPLE,
    "wall_timeout": "#c079a7",
    "memory_limit": plots.BLUE,
    "output_limit": "#4aa3d8",
    "process_limit": "#7fa8c9",
    "killed": "#4a4a4a",
    "blocked_syscall": "#111111",
    "exited": "#7a1f2b",
    "not_run": plots.GREY,
}
# Question by question: the stages that are drawn as one funnel. Programs are counted in the table beside it.
_DRAWN = ("seeds", "questions", "checked", "filtered", "strength", "hard", "pairs")
_NAMES = {"pairs": "pairs (questions)"}


def funnel_picture(steps: Sequence[Step]) -> str:
    """How many seeds are still there after each stage."""
    bars = []
    for step in steps:
        if step.stage not in _DRAWN:
            continue
        lost = step.rows_in - step.rows_out
        parts = [(step.rows_out, plots.BLUE, f"{step.rows_out:,} kept")]
        parts += [(count, "#d8c3c0", f"{count:,} dropped: {reason}") for reason, count in step.dropped]
        note = f"{step.rows_out:,} kept" + (f", {lost:,} dropped" if lost else "")
        bars.append(plots.Bar(_NAMES.get(step.stage, step.stage), parts, note))
    legend = [("kept", plots.BLUE), ("dropped", "#d8c3c0")]
    return plots.horizontal(
        "What is left after each stage", bars, legend=legend, label_width=150, note_width=200
    )


def tests_picture(figures: Figures) -> str:
    """How many tests questions have, before and after the filter."""
    most = max([*figures.tests_before, *figures.tests_after, 1])
    wide = max(1, -(-(most + 1) // 40))
    before, after = _binned(figures.tests_before, wide), _binned(figures.tests_after, wide)
    bars = []
    for place in range(most // wide + 1):
        low, high = place * wide, place * wide + wide - 1
        label = f"{low}" if wide == 1 else f"{low}–{high}"
        kept, all_ = after[place], before[place]
        # "Before" stands behind "after" and shows where it is higher.
        what = f"{kept:,} questions after, {all_:,} before"
        bars.append(plots.Bar(label, [(kept, plots.BLUE, what), (all_ - kept, "#c9d6e2", what)]))
    return plots.columns(
        "Tests per question, before and after the filter",
        bars,
        across="tests of a question",
        up="questions",
        every=max(1, -(-len(bars) // (24 if wide == 1 else 10))),
        width=600,
        legend=(("after", plots.BLUE), ("before", "#c9d6e2")),
    )


def rates_picture(name: str, model: OfModel) -> str:
    """A model's programs by pass rate."""
    colours = [plots.RED, *[plots.BLUE] * (len(RATE_LABELS) - 2), plots.GREEN]
    bars = [
        plots.Bar(label, [(count, colour, f"{count:,} programs")])
        for label, count, colour in zip(RATE_LABELS, model.rates, colours, strict=True)
    ]
    return plots.columns(
        f"Pass rates of {name}",
        bars,
        across="pass rate; 0 and 1 are exact",
        up="programs",
        width=372,
        height=210,
    )


def failures_picture(models: Mapping[str, OfModel]) -> str:
    """What became of the tests that programs did not pass."""
    seen: Counter[str] = Counter()
    bars = []
    for name, model in models.items():
        missed = model.results - model.statuses["passed"]
        if not missed:
            continue
        parts = []
        for status, colour in STATUS_COLOURS.items():
            count = model.statuses[status]
            if status != "passed" and count:
                seen[status] += count
                parts.append((count / missed, colour, f"{status}: {count:,} ({count / missed:.1%})"))
        bars.append(plots.Bar(name, parts, f"{missed:,} of {model.results:,}"))
    legend = [(status, STATUS_COLOURS[status]) for status in STATUS_COLOURS if seen[status]]
    return plots.horizontal(
        "Results that are not passes, by status", bars, legend=legend, label_width=190, note_width=170
    )


def pairs_picture(figures: Figures) -> str:
    """Pairs by margin."""
    bars = []
    for tenth in range(10):
        count = figures.margins[tenth]
        bars.append(plots.Bar(f".{tenth}" if tenth else "<.1", [(count, plots.BLUE, f"{count:,} pairs")]))
    return plots.columns(
        "Pairs by margin",
        bars,
        across="margin of the pass rates",
        up="pairs",
        width=372,
        height=210,
    )


def _binned(counts: Counter[int], wide: int) -> Counter[int]:
    made: Counter[int] = Counter()
    for length, count in counts.items():
        made[length // wide] += count
    return made
