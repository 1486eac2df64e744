"""Evaluations as a table in the paper's order of columns: terminal, Markdown, JSON; and a plot of score against N.

Columns are the benchmarks (HumanEval, MBPP, BigCodeBench-Complete, BigCodeBench-Instruct, LiveCodeBench, each with its
variants) and their average; rows are Greedy, Average, Oracle, one per score and N, and how far that is above Greedy (a
paired comparison: both are of the same problems), in percent. A benchmark without a headline number has dashes in its
column and its reasons under the table; the average is given only where every column of the table has a number, and says
over how many benchmarks it is.

The plot is SVG text, as all plots of this project: the same figures give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from acedata import _plots as plots

from ._benchmarks import SPECS, Spec
from ._bootstrap import Interval, average, interval
from ._evaluate import Evaluation, Numbers
from ._pass_at_k import best_of_k, pass_at_k

if TYPE_CHECKING:
    from rich.table import Table as RichTable

DASH = "–"
Kind = Literal["greedy", "average", "oracle", "score"]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table.

    Attributes:
        method: "Greedy", "Average", "Oracle", or the name of a score.
        n: samples per problem; None where that says nothing.
        cells: by benchmark; None where there is no number.
        mean: over all benchmarks of the table; None where one has no number.
        above_greedy: the cells are differences to the greedy row.
        kind: what the row is; only this says it, since a score may have any name.
    """

    method: str
    n: int | None
    cells: dict[str, Interval | None]
    mean: Interval | None
    above_greedy: bool = False
    kind: Kind = "score"

    @property
    def title(self) -> str:
        return f"Δ {self.method} – Greedy" if self.above_greedy else self.method


@dataclass(frozen=True, slots=True)
class Table:
    """A table of evaluations, columns in the paper's order.

    Attributes:
        footnotes: what keeps a benchmark from having numbers, and what a reader should know besides.
    """

    columns: list[Spec]
    lines: list[Line]
    footnotes: list[str] = field(default_factory=list)
    level: float = 0.95

    @property
    def complete(self) -> bool:
        """Whether every benchmark has its numbers."""
        return all(any(line.cells[spec.name] for line in self.lines) for spec in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON; null where a cell or an average has no number."""
        return {
            "columns": [spec.name for spec in self.columns],
            "level": self.level,
            "lines": [
                {
                    "method": line.method,
                    "kind": line.kind,
                    "n": line.n,
                    "above_greedy": line.above_greedy,
                    "scores": {name: cell and cell.to_dict() for name, cell in line.cells.items()},
                    "average": line.mean and line.mean.to_dict(),
                }
                for line in self.lines
            ],
            "footnotes": self.footnotes,
        }


def table(evaluations: Sequence[Evaluation], ns: Sequence[int] | None = None) -> Table:
    """Puts evaluations of different benchmarks side by side.

    Args:
        evaluations: one per benchmark, in any order.
        ns: values of N that get a row; None: the largest that all benchmarks have, and 16, 32 and 64 below it.

    Raises:
        ValueError: two of the same benchmark, or one that is unknown.
    """
    by_name: dict[str, Evaluation] = {}
    for one in evaluations:
        if one.benchmark in by_name:
            raise ValueError(f"two evaluations of {one.benchmark}")
        if one.benchmark not in SPECS:
            raise ValueError(f"there is no benchmark {one.benchmark!r}")
        by_name[one.benchmark] = one
    columns = [spec for name, spec in SPECS.items() if name in by_name]
    headlines = {name: one.headline() for name, one in by_name.items()}
    complete = [numbers for numbers in headlines.values() if numbers is not None]
    common = set.intersection(*(set(numbers.oracle) for numbers in complete)) if complete else set()
    if ns is None:
        top = max(common, default=0)
        ns = sorted({n for n in (16, 32, 64) if n in common and n < top} | ({top} if top else set()))
    scores = list(dict.fromkeys(name for numbers in complete for name in numbers.best_of))
    wanted: list[tuple[Kind, str, int | None]] = []
    if any(numbers.greedy for numbers in complete):
        wanted.append(("greedy", "Greedy", None))
    if any(numbers.average for numbers in complete):
        wanted.append(("average", "Average", None))
        wanted += [("oracle", "Oracle", n) for n in ns]
        wanted += [("score", name, n) for name in scores for n in ns]
    lines = []
    for kind, method, n in wanted:
        cells = {spec.name: _cell(headlines[spec.name], kind, method, n) for spec in columns}
        mean = None
        if all(cells.values()):
            mean = average([_values(by_name[spec.name], kind, method, n) for spec in columns])
        lines.append(Line(method, n, cells, mean, kind=kind))
    if any(numbers.greedy for numbers in complete):
        lines += [_above_greedy(by_name, headlines, columns, name, n) for name in scores for n in ns]
    footnotes = []
    for spec in columns:
        footnotes += [f"{spec.name}: no number: {reason}" for reason in by_name[spec.name].reasons]
        footnotes += [f"{spec.name}: {note}" for note in by_name[spec.name].notes]
    return Table(columns, lines, footnotes)


def _above_greedy(
    by_name: dict[str, Evaluation],
    headlines: dict[str, Numbers | None],
    columns: list[Spec],
    name: str,
    n: int,
) -> Line:
    values: dict[str, list[float]] = {}
    for spec in columns:
        numbers = headlines[spec.name]
        if (
            numbers is not None
            and numbers.greedy is not None
            and _cell(numbers, "score", name, n) is not None
        ):
            one = by_name[spec.name]
            pairs = zip(_values(one, "greedy", "", None), _values(one, "score", name, n), strict=True)
            values[spec.name] = [best - greedy for greedy, best in pairs]
    cells = {spec.name: interval(values[spec.name]) if spec.name in values else None for spec in columns}
    mean = average([values[spec.name] for spec in columns]) if all(cells.values()) else None
    return Line(name, n, cells, mean, above_greedy=True)


def _cell(numbers: Numbers | None, kind: Kind, score: str, n: int | None) -> Interval | None:
    if numbers is None:
        return None
    if n is None:
        return numbers.greedy if kind == "greedy" else numbers.average
    by_n = numbers.oracle if kind == "oracle" else numbers.best_of.get(score, {})
    return by_n.get(n)


def _values(one: Evaluation, kind: Kind, score: str, n: int | None) -> list[float]:
    """A value per problem, of which the cell is the mean."""
    if kind == "greedy":
        return [float(bool(task.greedy and task.greedy.passed)) for task in one.tasks]
    if n is None:
        return [sum(task.passed) / task.n for task in one.tasks]
    if kind == "oracle":
        return [pass_at_k(task.n, sum(task.passed), n) for task in one.tasks]
    return [best_of_k(task.scores[score], task.passed, n) for task in one.tasks]


def _percent(cell: Interval | None, signed: bool = False) -> str:
    return DASH if cell is None else f"{100 * cell.value:+.1f}" if signed else f"{100 * cell.value:.1f}"


def _bounds(cell: Interval | None, signed: bool = False) -> str:
    if cell is None:
        return ""
    low, high = 100 * cell.low, 100 * cell.high
    return f"{low:+.1f} to {high:+.1f}" if signed else f"{low:.1f}–{high:.1f}"


def markdown(found: Table) -> str:
    """As a Markdown table, with the bounds of each interval behind its value."""

    def shown(cell: Interval | None, signed: bool) -> str:
        return _percent(cell) if cell is None else f"{_percent(cell, signed)} ({_bounds(cell, signed)})"

    heads = [_head(spec) for spec in found.columns]
    out = [
        "| " + " | ".join(["Method", "N", *heads, "Average"]) + " |",
        "|---|--:|" + "--:|" * (len(heads) + 1),
    ]
    for line in found.lines:
        n = "" if line.n is None else str(line.n)
        cells = [shown(cell, line.above_greedy) for cell in _row(line, found.columns)]
        out.append("| " + " | ".join([_escaped(line.title), n, *cells]) + " |")
    out += ["", f"Percent of problems, with {found.level:.0%} bootstrap intervals over problems."]
    out += [f"- {_escaped(note)}" for note in found.footnotes]
    return "\n".join(out) + "\n"


def _row(line: Line, columns: Sequence[Spec]) -> list[Interval | None]:
    return [*(line.cells[spec.name] for spec in columns), line.mean]


def _head(spec: Spec) -> str:
    return spec.title if spec.variant == "-" else f"{spec.title} {spec.variant}"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def as_json(found: Table, evaluations: Sequence[Evaluation]) -> str:
    """The table and all that it was made from; `Evaluation.from_dict` reads `evaluations` again."""
    whole = {"table": found.to_dict(), "evaluations": [one.to_dict() for one in evaluations]}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def terminal(found: Table, *, places: Sequence[int] | None = None, plain: bool = False) -> RichTable:
    """As a `rich` table: values, and their intervals dimmed under them. No number is ever cut.

    Args:
        places: of the columns that are shown, the average being the last; None: all.
        plain: without – and Δ.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    def said(text: str) -> str:
        return text.replace("Δ ", "").replace(DASH, "-") if plain else text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("Method", overflow="fold")
    shown.add_column("N", justify="right", no_wrap=True)
    heads = [
        spec.title.replace("-", "-\n", 1) + ("" if spec.variant == "-" else f"\n{spec.variant}")
        for spec in found.columns
    ]
    chosen = range(len(heads) + 1) if places is None else places
    for place in chosen:
        shown.add_column([*heads, "Average"][place], justify="right", no_wrap=True)
    for line in found.lines:
        signed = line.above_greedy
        cells = _row(line, found.columns)
        row = [
            said(f"{_percent(cell, signed)}\n[dim]{_bounds(cell, signed)}[/dim]" if cell else DASH)
            for cell in (cells[place] for place in chosen)
        ]
        shown.add_row(escape(said(line.title)), "" if line.n is None else str(line.n), *row)
    return shown


def terminals(found: Table, width: int, *, plain: bool = False) -> list[RichTable]:
    """As `terminal`, in as many tables one under the other as it takes to fit into a width, in characters."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(width=10_000)

    def fits(places: Sequence[int]) -> bool:
        one = terminal(found, places=places, plain=plain)
        return Measurement.get(console, console.options, one).maximum <= width

    blocks: list[list[int]] = [[]]
    for place in range(len(found.columns) + 1):
        if blocks[-1] and not fits([*blocks[-1], place]):
            blocks.append([])
        blocks[-1].append(place)
    return [terminal(found, places=places, plain=plain) for places in blocks]


_COLOURS = (plots.BLUE, plots.ORANGE, plots.PURPLE, plots.RED, plots.FAINT)


def plot(one: Evaluation, *, width: int = 620, height: int = 340) -> str | None:
    """Score against N as SVG: oracle, each score, average and greedy, with a band for each interval.

    None where there is no headline number, or only greedy samples.
    """
    numbers = one.headline()
    if numbers is None or not numbers.oracle:
        return None
    curves = [("oracle", numbers.oracle, plots.GREEN)]
    curves += [
        (name, by_n, _COLOURS[place % len(_COLOURS)])
        for place, (name, by_n) in enumerate(numbers.best_of.items())
    ]
    flat = {"average": (numbers.average, plots.GREY), "greedy": (numbers.greedy, plots.INK)}
    ns = list(numbers.oracle)
    every = [cell for _, by_n, _ in curves for cell in by_n.values()]
    every += [cell for cell, _ in flat.values() if cell]
    low = math.floor(10 * min(cell.low for cell in every)) / 10
    high = math.ceil(10 * max(cell.high for cell in every)) / 10
    high = max(high, low + 0.1)
    left, right, top, bottom = 58, 128, 34, 46
    wide, tall = width - left - right, height - top - bottom

    def x(n: int) -> float:
        return left + (wide * math.log(n) / math.log(ns[-1]) if ns[-1] > 1 else wide / 2)

    def y(value: float) -> float:
        return top + tall * (high - value) / (high - low)

    title = f"{_head(SPECS[one.benchmark])}: score against N"
    out = [plots._open(title, width, height), plots._text(left, 18, title, "start", plots.INK, 14)]
    steps = round((high - low) * 10)
    for step in range(0, steps + 1, max(1, math.ceil(steps / 6))):
        value = low + step / 10
        out.append(_line([(left, y(value)), (left + wide, y(value))], plots.RULE, 1))
        out.append(plots._text(left - 7, y(value) + 4, f"{100 * value:.0f} %", "end", plots.FAINT, 11))
    for n in ns:
        out.append(plots._text(x(n), top + tall + 17, str(n), "middle", plots.FAINT, 11))
    out.append(plots._text(left + wide / 2, height - 8, "samples per problem, N", "middle", plots.INK, 12))
    ends: list[tuple[float, str, str]] = []
    for name, (cell, colour) in flat.items():
        if cell is not None:
            out.append(_line([(left, y(cell.value)), (left + wide, y(cell.value))], colour, 1.5, "5 4"))
            ends.append((y(cell.value), name, colour))
    for name, by_n, colour in curves:
        upper = [(x(n), y(cell.high)) for n, cell in by_n.items()]
        lower = [(x(n), y(cell.low)) for n, cell in by_n.items()]
        band = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*upper, *reversed(lower)])
        out.append(f'<polygon points="{band}" fill="{colour}" fill-opacity="0.13"/>')
        out.append(_line([(x(n), y(cell.value)) for n, cell in by_n.items()], colour, 2))
        for n, cell in by_n.items():
            what = f"{name}, N = {n}: {100 * cell.value:.1f} % ({_bounds(cell)})"
            out.append(
                f'<circle cx="{x(n):.1f}" cy="{y(cell.value):.1f}" r="3.2" fill="{colour}">'
                f"<title>{plots.text(what)}</title></circle>"
            )
        ends.append((y(by_n[ns[-1]].value), name, colour))
    for at, name, colour in _apart(ends, 14):
        out.append(plots._text(left + wide + 9, at + 4, plots._cut(name, right), "start", colour, 12))
    return plots._close(out)


def _apart(ends: list[tuple[float, str, str]], least: float) -> list[tuple[float, str, str]]:
    """Labels at the ends of curves, moved down until they do not overlap."""
    found: list[tuple[float, str, str]] = []
    for at, name, colour in sorted(ends):
        found.append((max(at, found[-1][0] + least) if found else at, name, colour))
    return found


def _line(points: Sequence[tuple[float, float]], colour: str, thick: float, dash: str = "") -> str:
    at = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="{thick}"{dashed}/>'
