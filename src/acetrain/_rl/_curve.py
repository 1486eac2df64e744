"""What a person looks at while a run trains: a line per rollout in `curve.jsonl`, and `curve.html`, drawn from it.

The page is one file without network or script, written anew after every rollout, whole or not at all; while the run
goes on it asks the browser to read it again every half minute.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acedata._plots import BLUE, FAINT, GREEN, GREY, INK, ORANGE, PURPLE, RED, RULE, text
from acetrain._whole import write_whole

# Name in our line: names in the trainers' logs, the first that is there. `*` is any reward function.
_NAMES: dict[str, tuple[str, ...]] = {
    "reward": ("reward",),
    "reward_std": ("reward_std",),
    "pass_rate": ("rule_reward/pass_rate",),
    "all_passed": ("rule_reward/all_passed",),
    "timeout": ("rule_reward/timeout",),
    "unknown": ("unknown", "reward_model/unknown", "rule_reward/unknown"),
    "sealed": ("rule_reward/sealed",),
    "no_code": ("rule_reward/no_code",),
    "tokens": ("completions/mean_length",),
    "longest": ("completions/max_length",),
    "cut": ("completions/clipped_ratio",),
    "kl": ("kl",),
    "entropy": ("entropy",),
    "ratio_clipped": ("clip_ratio/region_mean",),
    "score_clipped": ("reward_model/clipped",),
    "grad_norm": ("grad_norm",),
    "learning_rate": ("learning_rate",),
    "judge_s": ("rule_reward/seconds",),
    "judge_cpu_s": ("rule_reward/cpu_seconds",),
    "reward_model_s": ("reward_model/seconds",),
}


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    series: tuple[tuple[str, str, str], ...]  # name in the line, label, colour
    share: bool = False
    whole: bool = False  # the axis goes to 100 %


_PANELS = (
    _Panel("reward, mean of the rollout", (("reward", "reward", BLUE),)),
    _Panel(
        "tests", (("pass_rate", "tests passed", GREEN), ("all_passed", "all passed", BLUE)), True, whole=True
    ),
    _Panel("tokens of a completion", (("tokens", "mean", BLUE), ("longest", "longest", GREY))),
    _Panel(
        "completions that",
        (
            ("timeout", "timed out", RED),
            ("unknown", "are unknown", PURPLE),
            ("cut", "ran out of tokens", ORANGE),
            ("no_code", "hold no code", GREY),
        ),
        share=True,
    ),
    _Panel("distance to the start (KL per token)", (("kl", "KL", BLUE),)),
    _Panel("entropy per token", (("entropy", "entropy", BLUE),)),
    _Panel("gradient's norm before the clip", (("grad_norm", "norm", BLUE),)),
    _Panel(
        "seconds per rollout",
        (("seconds", "all", INK), ("judge_s", "judging", RED), ("reward_model_s", "reward model", PURPLE)),
    ),
)


class Curve:
    """The lines of a run, on disk.

    Args:
        folder: of the run.
        title: over the page.
        rollouts: how many the run will have.
        updates: optimizer steps per rollout.
        upto: lines of later updates are dropped: the run went on from there.
    """

    def __init__(
        self, folder: Path, title: str, rollouts: int, updates: int, upto: int | None = None
    ) -> None:
        self.folder, self.title, self.rollouts, self.updates = folder, title, rollouts, updates
        self.path = folder / "curve.jsonl"
        self.lines = [line for line in read(self.path) if upto is None or line["update"] <= upto]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
        self._clock = time.monotonic()

    def add(self, update: int, logs: Mapping[str, Any]) -> dict[str, Any]:
        """A rollout is done; returns its line."""
        now = time.monotonic()
        numbers = {name: value for name, value in logs.items() if _is_number(value)}
        line: dict[str, Any] = {"rollout": update // self.updates, "update": update}
        for name, places in _NAMES.items():
            found = next((numbers[place] for place in places if place in numbers), None)
            if found is not None:
                line[name] = found
        line["seconds"] = now - self._clock
        self._clock = now
        line["log"] = numbers
        self.lines.append(line)
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
        self.draw(done=False)
        return line

    def draw(self, *, done: bool) -> None:
        """Writes the page."""
        write_whole(self.folder / "curve.html", page(self.title, self.lines, self.rollouts, done=done))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a curve; one that is not whole is left out."""
    if not path.exists():
        return []
    lines = []
    for written in path.read_bytes().splitlines():
        try:
            line = json.loads(written)
        except ValueError:  # bytes that are not UTF-8 too
            continue
        if isinstance(line, dict) and all(isinstance(line.get(name), int) for name in ("rollout", "update")):
            lines.append(line)
    return lines


def sentence(line: Mapping[str, Any], rollouts: int) -> str:
    """A rollout in one line for people."""
    said = [f"rollout {line['rollout']} of {rollouts}:"]
    parts = []
    for name, label, percent in (
        ("reward", "reward", False),
        ("pass_rate", "tests passed", True),
        ("all_passed", "all passed", True),
        ("timeout", "timeouts", True),
        ("unknown", "unknown", True),
    ):
        if name in line:
            value = line[name]
            parts.append(f"{label} {value:.1%}" if percent else f"{label} {value:.3f}")
    if "tokens" in line:
        parts.append(f"{line['tokens']:.0f} tokens")
    if "kl" in line:
        parts.append(f"KL {line['kl']:.4f}")
    parts.append(f"{line['seconds']:.1f} s")
    return " ".join([*said, ", ".join(parts)])


def page(title: str, lines: Sequence[Mapping[str, Any]], rollouts: int, *, done: bool) -> str:
    """The page as HTML."""
    again = "" if done else '<meta http-equiv="refresh" content="30">'
    state = f"{len(lines)} of {rollouts} rollouts{', finished' if done else ''}"
    drawn = "".join(f"<figure>{svg}</figure>" for svg in (_panel(one, lines) for one in _PANELS) if svg)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}<title>{text(title)}</title>'
        "<style>body{font:15px system-ui,'Segoe UI','DejaVu Sans',sans-serif;margin:2em auto;max-width:1080px;"
        f"padding:0 1em;color:{INK};background:#fff}}main{{display:flex;flex-wrap:wrap;gap:16px}}figure{{margin:0}}"
        f"table{{border-collapse:collapse;font-size:13px}}td,th{{padding:2px 10px;text-align:right;"
        f"border-bottom:1px solid {RULE}}}</style></head><body><h1>{text(title)}</h1><p>{text(state)}</p>"
        f"<main>{drawn}</main>{_last(lines)}</body></html>\n"
    )


def _panel(panel: _Panel, lines: Sequence[Mapping[str, Any]], width: int = 510, height: int = 240) -> str:
    series = [
        (label, colour, [(line["rollout"], line[name]) for line in lines if name in line])
        for name, label, colour in panel.series
    ]
    series = [one for one in series if one[2]]
    if not series:
        return ""
    left, right, top, bottom = 62, 14, 46, 34
    xs = [x for _, _, points in series for x, _ in points]
    ys = [y for _, _, points in series for _, y in points]
    low, high = _range(min(ys), max(ys))
    if panel.share:
        low, high = 0.0, 1.0 if panel.whole else min(1.0, max(0.05, 1.1 * max(ys)))
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - first) / (last - first) * (width - left - right),
            height - bottom - (y - low) / (high - low) * (height - top - bottom),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{text(panel.title)}" font-family="system-ui, sans-serif">'
        f'<text x="{left}" y="16" font-size="14" fill="{INK}">{text(panel.title)}</text>'
    ]
    x_label = float(left)
    for label, colour, _ in series:
        out.append(
            f'<circle cx="{x_label + 4:.0f}" cy="30" r="4" fill="{colour}"/>'
            f'<text x="{x_label + 12:.0f}" y="34" font-size="12" fill="{INK}">{text(label)}</text>'
        )
        x_label += 30 + 6.6 * len(label)
    for tick in _ticks(low, high):
        _, y = at(first, tick)
        shown = f"{tick:.0%}" if panel.share else f"{tick:.4g}"
        out.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{RULE}"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" font-size="11" text-anchor="end" fill="{FAINT}">{shown}</text>'
        )
    for x in sorted({first, (first + last) // 2, last}):
        place, _ = at(x, low)
        out.append(
            f'<text x="{place:.1f}" y="{height - bottom + 16}" font-size="11" text-anchor="middle" '
            f'fill="{FAINT}">{x}</text>'
        )
    out.append(
        f'<text x="{(left + width - right) / 2:.0f}" y="{height - 4}" font-size="12" text-anchor="middle" '
        f'fill="{INK}">rollout</text>'
    )
    for label, colour, points in series:
        places = [at(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for (x, y), (px, py) in zip(points, places, strict=True):
            value = f"{y:.2%}" if panel.share else f"{y:.5g}"
            out.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" fill="{colour}">'
                f"<title>rollout {x}: {text(label)} {value}</title></circle>"
            )
    return "\n".join([*out, "</svg>"])


def _last(lines: Sequence[Mapping[str, Any]], count: int = 20) -> str:
    names = ("rollout", "reward", "pass_rate", "all_passed", "timeout", "unknown", "tokens", "kl", "seconds")
    shown = [name for name in names if any(name in line for line in lines)]
    head = "".join(f"<th>{text(name)}</th>" for name in shown)
    rows = "".join(
        "<tr>" + "".join(f"<td>{text(_cell(line.get(name)))}</td>" for name in shown) + "</tr>"
        for line in lines[-count:][::-1]
    )
    return f"<h2>last rollouts</h2><table><tr>{head}</tr>{rows}</table>" if lines else ""


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def _range(low: float, high: float) -> tuple[float, float]:
    if low == high:
        return low - 0.5, high + 0.5
    room = 0.05 * (high - low)
    return low - room if low < 0 or low > 2 * (high - low) else 0.0, high + room


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10(high - low))
    for factor in (0.1, 0.2, 0.25, 0.5, 1.0):
        if (high - low) / (step * factor) <= 6:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
