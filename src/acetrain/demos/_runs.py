"""Running a demonstration seed by seed, and what it leaves: a file per seed, a report, a table, a plot.

    FOLDER/seed-1.json …    what one seed did; kept, and not run again with equal settings. Other settings are refused
    FOLDER/report.json      all seeds, and which of the promises held
    FOLDER/table.md         the same for people
    FOLDER/NAME.svg         the plot

Each file is written when what is in it is done, so Ctrl-C leaves all of that.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from acedata import _plots as plots
from acedata._errors import BadInput
from acetrain._whole import write_whole

Say = Callable[[str], None]
Result = dict[str, Any]

HELD, MISSED = 0, 1


@dataclass(frozen=True, slots=True)
class Promise:
    """One bar: what must hold of a seed.

    Attributes:
        text: for people.
        holds: of the result of one seed.
    """

    text: str
    holds: Callable[[Result], bool]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What `run` needs to know of one.

    Attributes:
        name: of the files and in messages.
        one_seed: runs a seed: (seed, settings, say, keep), where `keep(result)` may be called with what is done so far.
        table: Markdown, from the results.
        plot: SVG, from the results.
        promises: what is checked for each seed.
    """

    name: str
    one_seed: Callable[[int, Any, Say, Callable[[Result], None]], Result]
    table: Callable[[Sequence[Result]], str]
    plot: Callable[[Sequence[Result]], str]
    promises: tuple[Promise, ...]


def run(
    demonstration: Demonstration,
    seeds: Sequence[int],
    settings: Any,
    out: Path,
    *,
    check: bool = True,
    say: Say = lambda text: print(text, file=sys.stderr, flush=True),
) -> int:
    """Runs the seeds that `out` does not hold yet, writes the files, prints the table to standard output.

    Args:
        settings: a dataclass with `to_dict`.
        check: whether the promises are checked; they are about the full settings.

    Returns:
        0; 1 when a promise was checked and did not hold.

    Raises:
        BadInput: the folder has seeds that were finished with other settings.
    """
    wanted = {"demonstration": demonstration.name, **settings.to_dict()}
    for file in sorted(out.glob("seed-*.json")):
        found = _read(file)
        if found is not None and found.get("done") and found.get("settings") != wanted:
            raise BadInput(
                f"{file}: was finished with other settings, and would be lost; name another folder with --out"
            )
    out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for seed in seeds:
        file = out / f"seed-{seed}.json"
        found = _read(file)
        if found is not None and found.get("done"):
            say(f"seed {seed}: already in {file}")
            results.append(found)
            continue
        started, cpu = time.monotonic(), time.process_time()
        head: Result = {"seed": seed, "settings": wanted, "done": False, "versions": _versions()}

        def keep(part: Result, file: Path = file, head: Result = head) -> None:
            write_whole(file, json.dumps({**head, **part}, indent=1) + "\n")

        def tell(text: str, seed: int = seed, started: float = started) -> None:
            say(f"seed {seed}, {time.monotonic() - started:4.0f} s: {text}")

        part = demonstration.one_seed(seed, settings, tell, keep)
        head.update(
            done=True,
            minutes=round((time.monotonic() - started) / 60, 1),
            cpu_minutes=round((time.process_time() - cpu) / 60, 1),
        )
        keep(part)
        results.append({**head, **part})
        _publish(demonstration, results, wanted, out, check)
    held = _publish(demonstration, results, wanted, out, check)
    print(demonstration.table(results))
    for promise, by_seed in held.items():
        missed = [seed for seed, ok in by_seed.items() if not ok]
        say(
            f"{'held' if not missed else 'MISSED'}: {promise}"
            + (f" (seeds {', '.join(missed)})" if missed else "")
        )
    say(f"written to {out}")
    return HELD if all(ok for by_seed in held.values() for ok in by_seed.values()) else MISSED


def _publish(
    demonstration: Demonstration, results: Sequence[Result], settings: Result, out: Path, check: bool
) -> dict[str, dict[str, bool]]:
    held = (
        {
            promise.text: {str(one["seed"]): bool(promise.holds(one)) for one in results}
            for promise in demonstration.promises
        }
        if check
        else {}
    )
    report = {"settings": settings, "promises": held, "seeds": list(results)}
    write_whole(out / "report.json", json.dumps(report, indent=1) + "\n")
    write_whole(out / "table.md", demonstration.table(results) + "\n")
    write_whole(out / f"{demonstration.name}.svg", demonstration.plot(results))
    return held


def _read(file: Path) -> Result | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "trl")},
    }


def as_row(cells: Sequence[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def percent(value: float) -> str:
    """0.8349 as 83.5 %."""
    return f"{100 * value:.1f} %"


# ---- curves ----


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity over steps: a faint line per seed, and their mean.

    Attributes:
        label: at its end.
        colour: one of `acedata._plots`.
        seeds: one series per seed, from 0 to 1, a value per step.
        dash: SVG's pattern of dashes; "" is a whole line.
    """

    label: str
    colour: str
    seeds: Sequence[Sequence[float]]
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of several beside each other."""

    title: str
    lines: Sequence[Line]


def curves(title: str, panels: Sequence[Panel], *, smooth: int = 3) -> str:
    """Lines over steps as SVG, one panel beside the other; means over `smooth` steps are drawn."""
    left, top, tall, wide, gap, bottom = 52, 62, 230, 300, 150, 44
    width, height = left + len(panels) * (wide + gap), top + tall + bottom
    out = [plots._open(title, width, height), plots._text(14, 22, title, "start", plots.INK, 15)]
    for place, panel in enumerate(panels):
        out += _panel(panel, left + place * (wide + gap), top, wide, tall, smooth)
    return plots._close(out)


def _panel(panel: Panel, left: float, top: float, wide: float, tall: float, smooth: int) -> list[str]:
    steps = max((len(series) for line in panel.lines for series in line.seeds), default=1)

    def at(step: int, value: float) -> str:
        return f"{left + wide * step / max(1, steps - 1):.1f},{top + tall * (1 - value):.1f}"

    def drawn(series: Sequence[float], line: Line, thick: float, opacity: float) -> str:
        points = " ".join(at(step, value) for step, value in enumerate(series))
        dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
        return (
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="{thick}" '
            f'stroke-opacity="{opacity}"{dash}/>'
        )

    out = [plots._text(left, top - 14, panel.title, "start", plots.INK, 13)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        out.append(
            f'<polyline points="{at(0, share)} {at(steps - 1, share)}" stroke="{plots.RULE}" stroke-width="1"/>'
        )
        out.append(
            plots._text(
                left - 7, top + tall * (1 - share) + 4, f"{100 * share:.0f} %", "end", plots.FAINT, 11
            )
        )
    for step in sorted({0, (steps - 1) // 2, steps - 1}):
        out.append(
            plots._text(
                left + wide * step / max(1, steps - 1),
                top + tall + 16,
                str(step + 1),
                "middle",
                plots.FAINT,
                11,
            )
        )
    out.append(plots._text(left + wide / 2, top + tall + 34, "step", "middle", plots.INK, 12))
    ends: list[tuple[float, Line]] = []
    for line in panel.lines:
        smoothed = [_smoothed(series, smooth) for series in line.seeds if series]
        if not smoothed:
            continue
        shortest = min(map(len, smoothed))
        mean = [sum(series[step] for series in smoothed) / len(smoothed) for step in range(shortest)]
        if len(smoothed) > 1:
            out += [drawn(series, line, 1, 0.35) for series in smoothed]
        out.append(drawn(mean, line, 2.2, 1))
        ends.append((top + tall * (1 - mean[-1]), line))
    floor = -1e9
    for y, line in sorted(ends, key=lambda end: end[0]):
        floor = max(y, floor + 14)
        out.append(plots._text(left + wide + 7, floor + 4, line.label, "start", line.colour, 12))
    return out


def _smoothed(series: Sequence[float], width: int) -> list[float]:
    """Means over the last `width` values."""
    return [
        sum(series[max(0, end - width) : end]) / (end - max(0, end - width))
        for end in range(1, len(series) + 1)
    ]
