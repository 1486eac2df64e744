"""Reads the JSON object that a model meant: JSON as the standard has it, and the liberties models take.

Taken without a word: prose or a fence before and after the object; raw line breaks and tabs in strings; a backslash
before a character that needs none (`\\d`, `\\'`); single or triple quotes; Python's True, False and None; comments
(`//`, `#`); a comma too many; brackets still open where the text ends. Everything else is refused: a quote inside a
string that is not escaped, a missing comma or colon, a key that is no string or comes twice. Nothing is guessed that
could be read in two ways.

One pass, no backtracking, bounded depth: linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Collection

MAX_DEPTH = 32

Value = str | float | bool | None | list["Value"] | dict[str, "Value"]


class Unreadable(Exception):
    """The text at a place is no JSON, even with the liberties above. `str()` says why and where."""


def read_object(text: str, first_keys: Collection[str]) -> dict[str, Value]:
    """The object that a text holds: the first that begins with one of the keys; without one, the first of all.

    Raises:
        Unreadable: there is none, or it is broken.
    """
    start = None
    if first_keys:
        keys = "|".join(map(re.escape, first_keys))
        start = re.search(rf"\{{(?=\s*([\"'])(?:{keys})\1)", text)
    start = start or _BEGINNING.search(text)
    if start is None:
        raise Unreadable("there is no JSON object")
    value = _Reader(text, start.start()).value(0)
    if not isinstance(value, dict):
        raise Unreadable("there is no JSON object")
    return value


_BEGINNING = re.compile(r"\{(?=\s*(?:[\"'}]|//|#))")
_SPACE = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*)*+")
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,4})?")
_WORDS: dict[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_WORD = re.compile("|".join(_WORDS))
# What a string is made of, up to its end or the next backslash.
_PLAIN = {quote: re.compile(rf"[^\\{quote}]+") for quote in "\"'"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_UNICODE = re.compile(
    r"u([0-9a-fA-F]{4})(?:(?<=u[dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2}))?"
)


class _Reader:
    def __init__(self, text: str, place: int) -> None:
        self.text = text
        self.place = place

    def fail(self, what: str) -> Unreadable:
        line = self.text.count("\n", 0, self.place) + 1
        seen = self.text[self.place : self.place + 20]
        return Unreadable(f"{what} in line {line}, before {seen!r}" if seen else f"{what} at the end")

    def peek(self) -> str:
        found = _SPACE.match(self.text, self.place)
        if found:
            self.place = found.end()
        # The fence around the object ends it as the text's end does.
        if self.text.startswith("```", self.place):
            return ""
        return self.text[self.place : self.place + 1]

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise self.fail("too deep a nesting")
        begins = self.peek()
        if begins == "{":
            return self.object(depth)
        if begins == "[":
            return self.array(depth)
        if begins and begins in "\"'":
            return self.string()
        number = _NUMBER.match(self.text, self.place)
        if number:
            self.place = number.end()
            return float(number.group())
        word = _WORD.match(self.text, self.place)
        if word:
            self.place = word.end()
            return _WORDS[word.group()]
        raise self.fail("a value is missing")

    def object(self, depth: int) -> dict[str, Value]:
        self.place += 1
        found: dict[str, Value] = {}
        while self.peek() not in ("}", ""):
            if self.peek() not in ('"', "'"):
                raise self.fail("a key is not a string")
            key = self.string()
            if self.peek() != ":":
                raise self.fail("a colon is missing")
            self.place += 1
            value = self.value(depth + 1)
            if key in found:
                raise self.fail(f"the key {key[:40]!r} comes twice")
            found[key] = value
            self.separator("}")
        self.place += 1
        return found

    def array(self, depth: int) -> list[Value]:
        self.place += 1
        found: list[Value] = []
        while self.peek() not in ("]", ""):
            found.append(self.value(depth + 1))
            self.separator("]")
        self.place += 1
        return found

    def separator(self, end: str) -> None:
        next_is = self.peek()
        if next_is == ",":
            self.place += 1
        elif next_is not in (end, ""):
            raise self.fail("a comma is missing")

    def string(self) -> str:
        text = self.text
        quote = text[self.place]
        triple = quote * 3
        end = triple if text.startswith(triple, self.place) else quote
        self.place += len(end)
        parts: list[str] = []
        while True:
            plain = _PLAIN[quote].match(text, self.place)
            if plain:
                parts.append(plain.group())
                self.place = plain.end()
            if self.place >= len(text):
                raise self.fail("a string does not end")
            if text[self.place] == "\\":
                self.place += 1
                parts.append(self.escape())
            elif text.startswith(end, self.place):
                self.place += len(end)
                return "".join(parts)
            else:
                parts.append(quote)
                self.place += 1

    def escape(self) -> str:
        text = self.text
        unicode = _UNICODE.match(text, self.place)
        if unicode:
            self.place = unicode.end()
            high, low = unicode.groups()
            if low is None:
                return chr(int(high, 16))
            return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
        letter = text[self.place : self.place + 1]
        self.place += 1
        return _ESCAPES.get(letter, "\\" + letter)
