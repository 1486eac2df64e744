"""Plots as SVG text, drawn here: `_card` writes them to files, `_report` puts them into its page.

Why not a plotting library: the same figures must give the same bytes on every machine and in every release (a card is
part of what is published), a page with ten plots must stay small, and bars that carry their own text for the pointer
and for screen readers are most of what is wanted. So these three shapes are all there is.

Every text is escaped: names of models may come from imported data.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

# Told apart by people with any colour vision (Okabe and Ito 2008), dark enough on white.
INK = "#1c2430"
FAINT = "#5b6675"
RULE = "#d9dee5"
BLUE = "#0072b2"
ORANGE = "#e69f00"
GREEN = "#00805a"
RED = "#c4402d"
PURPLE = "#8a4f8f"
GREY = "#9aa3af"

_FONT = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\""
# What XML 1.0 does not allow even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: text beside or under it.
        parts: (length, colour, what it is) from the axis outwards; those with a length of 0 or less are left out.
        note: text at its end.
    """

    label: str
    parts: Sequence[tuple[float, str, str]]
    note: str = ""

    @property
    def length(self) -> float:
        return sum(part[0] for part in self.parts if part[0] > 0)


def text(value: object) -> str:
    """Anything, as it may stand in markup."""
    return html.escape(_NOT_XML.sub("\ufffd", str(value)), quote=True)


def ink_on(colour: str) -> str:
    """The colour for text on a ground of `#rrggbb`: white, or dark where white would be hard to read (by the relative
    luminance of WCAG 2.2)."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < 0.24 else INK


def number(value: float) -> str:
    """12345 as 12,345; fractions with up to two places."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def horizontal(
    title: str,
    bars: Sequence[Bar],
    *,
    width: int = 860,
    label_width: int = 170,
    note_width: int = 170,
    legend: Sequence[tuple[str, str]] = (),
) -> str:
    """Bars that grow to the right, all on one scale, with a label before and a note after each."""
    top = 36 if legend else 8
    step, thick = 30, 20
    height = top + step * len(bars) + 6
    longest = max((bar.length for bar in bars), default=0) or 1
    room = width - label_width - note_width
    out = [_open(title, width, height), *_legend(legend, label_width)]
    for row, bar in enumerate(bars):
        y = top + row * step
        middle = y + thick / 2 + 4.5
        out.append(_text(label_width - 10, middle, _cut(bar.label, label_width), "end"))
        x = float(label_width)
        for length, colour, what in bar.parts:
            if length <= 0:
                continue
            wide = room * length / longest
            out.append(_rect(x, y, max(wide, 0.75), thick, colour, f"{bar.label}: {what}"))
            x += wide
        if bar.note:
            out.append(_text(x + 8, middle, bar.note, "start", FAINT))
    return _close(out)


def columns(
    title: str,
    bars: Sequence[Bar],
    *,
    across: str,
    up: str,
    width: int = 420,
    height: int = 220,
    every: int = 1,
    legend: Sequence[tuple[str, str]] = (),
) -> str:
    """A histogram: bars that grow upwards, an axis of counts, a label under every `every`-th bar."""
    left, right, bottom = 62, 10, 46
    top = 36 if legend else 14
    tall = height - top - bottom
    ticks = _ticks(max((bar.length for bar in bars), default=0))
    scale = tall / ticks[-1]
    slot = (width - left - right) / max(1, len(bars))
    gap = min(2.0, slot * 0.15)
    base = top + tall
    out = [_open(title, width, height), *_legend(legend, left)]
    for tick in ticks:
        y = base - tick * scale
        out.append(
            f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="{RULE}" stroke-width="1"/>'
        )
        out.append(_text(left - 6, y + 4, number(tick), "end", FAINT, 11))
    for place, bar in enumerate(bars):
        x, y = left + place * slot, base
        for length, colour, what in bar.parts:
            if length > 0:
                high = max(length * scale, 0.75)
                y -= high
                out.append(_rect(x + gap / 2, y, slot - gap, high, colour, f"{bar.label}: {what}"))
        if place % every == 0:
            out.append(_text(x + slot / 2, base + 15, bar.label, "middle", FAINT, 11))
    out.append(
        f'<line x1="{left}" y1="{base}" x2="{width - right}" y2="{base}" stroke="{INK}" stroke-width="1"/>'
    )
    out.append(_text(left + (width - left - right) / 2, height - 8, across, "middle", INK, 12))
    centre = top + tall / 2
    out.append(
        f'<text x="13" y="{centre:.1f}" text-anchor="middle" font-size="12" fill="{INK}" '
        f'transform="rotate(-90 13 {centre:.1f})">{text(up)}</text>'
    )
    return _close(out)


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to at least `largest`, five or so."""
    if largest <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(largest))
    for factor in (0.2, 0.25, 0.5, 1, 2):
        if largest / (step * factor) <= 5:
            step *= factor
            break
    if largest >= 1:
        step = max(1, step)
    return [step * n for n in range(math.ceil(largest / step - 1e-9) + 1)]


def _legend(entries: Sequence[tuple[str, str]], x: float) -> list[str]:
    out = []
    for name, colour in entries:
        out.append(_rect(x, 8, 12, 12, colour, name))
        out.append(_text(x + 17, 18, name, "start", INK, 12))
        x += 32 + 6.7 * len(name)
    return out


def _cut(label: str, width: int) -> str:
    longest = int((width - 14) / 7)
    return label if len(label) <= longest else label[: longest - 1] + "…"


def _open(title: str, width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{text(title)}" {_FONT}>'
        f'<title>{text(title)}</title><rect width="{width}" height="{height}" fill="#ffffff"/>'
    )


def _close(out: list[str]) -> str:
    return "\n".join([*out, "</svg>"]) + "\n"


def _rect(x: float, y: float, wide: float, high: float, colour: str, what: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.2f}" height="{high:.2f}" fill="{colour}">'
        f"<title>{text(what)}</title></rect>"
    )


def _text(x: float, y: float, value: str, anchor: str, colour: str = INK, size: int = 13) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
        f"{text(value)}</text>"
    )
