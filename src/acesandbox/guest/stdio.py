"""Deciding a stdio test: is what the program wrote the expected output?

Compared line by line: nothing missing, nothing extra. Modes: `lines` (white space at the end of a line and empty lines
at the end of the output do not count; the default), `tokens` (word by word, all white space alike), `exact` (to the
last byte), `decimal_lines` (LiveCodeBench's rule: lines, where white space at their start and empty lines at the start
of the output do not count either, and lines of numbers alone are compared as decimal numbers, exactly). With a
tolerance, two words that both read as decimal numbers are also the same when they differ by at most that much,
absolutely or relative to the expected one.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\Z")


class Expected:
    """What a test expects, prepared once per problem."""

    def __init__(self, text: str, options: Dict[str, Any]) -> None:
        self.data = text.encode("utf-8", "surrogatepass")
        self.mode = options.get("mode") or "lines"
        if self.mode not in ("lines", "tokens", "exact", "decimal_lines"):
            raise ValueError(f"unknown way to compare output: {self.mode!r}")
        self.tolerance: Optional[float] = options.get("float_tolerance")

    def difference(self, output: bytes) -> Optional[str]:
        """None if the output is right, else a short text that says where it is not."""
        if output == self.data:
            return None
        if self.mode == "exact":
            return _first_difference_exact(output, self.data)
        got, wanted = _lines(output, self.mode), _lines(self.data, self.mode)
        for number, (line, right) in enumerate(zip(got, wanted), 1):
            if line != right and not self._same_words(line, right):
                what = "word" if self.mode == "tokens" else "line"
                return f"{what} {number}: got {_shown(line)}, expected {_shown(right)}"
        what = "words" if self.mode == "tokens" else "lines"
        if len(got) != len(wanted):
            return f"{len(got)} {what} of output, expected {len(wanted)}"
        return None

    def _same_words(self, line: bytes, right: bytes) -> bool:
        if self.mode == "decimal_lines" and _same_decimals(line, right):
            return True
        if self.tolerance is None:
            return False
        got, wanted = line.split(), right.split()
        return len(got) == len(wanted) and all(_close(a, b, self.tolerance) for a, b in zip(got, wanted))


def _lines(data: bytes, mode: str) -> List[bytes]:
    if mode == "tokens":
        return data.split()
    if mode == "decimal_lines":
        return [line.strip() for line in data.strip().split(b"\n")]
    lines = [line.rstrip() for line in data.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_decimals(line: bytes, right: bytes) -> bool:
    """Both hold numbers alone, and the same: without rounding, so that neighbours beyond 2**53 differ."""
    got, wanted = line.split(), right.split()
    if len(got) != len(wanted) or not all(_NUMBER.match(word) for word in got + wanted):
        return False
    from decimal import Decimal

    return all(a == b or Decimal(a.decode()) == Decimal(b.decode()) for a, b in zip(got, wanted))


def _close(word: bytes, right: bytes, tolerance: float) -> bool:
    if word == right:
        return True
    if len(word) > 400 or len(right) > 400 or not (_NUMBER.match(word) and _NUMBER.match(right)):
        return False
    got, wanted = float(word), float(right)
    return abs(got - wanted) <= tolerance * max(1.0, abs(wanted)) and abs(got) != float("inf")


def _first_difference_exact(output: bytes, right: bytes) -> str:
    for position, (got, wanted) in enumerate(zip(output, right)):
        if got != wanted:
            around = slice(max(0, position - 20), position + 20)
            return f"byte {position}: got {_shown(output[around])}, expected {_shown(right[around])}"
    return f"{len(output)} bytes of output, expected {len(right)}"


def _shown(line: bytes) -> str:
    text = line[:200].decode("utf-8", "replace")
    return repr(text) + ("..." if len(line) > 200 else "")
