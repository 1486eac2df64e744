"""Finds the program in a model's answer: the one extractor of sampling, pairs, rewards and evaluation.

What is looked for, in this order:

1. the last complete block labelled Python (```` ```python ````, `py`, `python3`, any case);
2. the last block labelled Python that is not complete (the answer was cut, or the closing fence forgotten);
3. the last complete block of any label, then the last that is not;
4. the text as it is.

A *prefilled* answer starts inside the block that its prompt opened: its program is what stands before the closing
fence, or the whole answer where none follows. If there is nothing but white space before the first fence, the model
opened a block of its own and the answer is read as any other.

A fence is three or more backticks. It closes a block when it stands alone on its line with at least as many backticks
as the opening one and is indented by at most three more spaces (so the fences in an indented docstring do not count);
it opens one when only a label follows. A labelled one where a block of Python or without a label could close ends that
block unfinished. Two habits of models are tolerated: an opening fence labelled Python at the end of a line of prose,
and a closing fence glued to the last line of code, where no proper one follows. A block labelled `markdown` is looked
into. A block inside a list is indented with its fence; that is taken off.

Thinking (`<think>...</think>` at the beginning, or what precedes `</think>` where the prompt opened it) is no part of
the answer. An answer that never stops thinking has no program.

The text is read once: the time is linear in its length whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Cut = Literal["none", "upstream"]

_PYTHON = frozenset({"python", "py", "python3"})
_WRAPPERS = frozenset({"markdown", "md"})


def extract_code(answer: str, prefilled: bool = False, cut: Cut = "none") -> str | None:
    """The program in an answer.

    Args:
        answer: the model's text, without the prefill.
        prefilled: whether the prompt had already opened the block.
        cut: "upstream" also ends the program where the released scripts do: at the first `assert`, `if __name__`,
            `import unittest` or `from unittest`, wherever in the text it stands (a word at the very beginning of the
            program does not count).

    Returns:
        The program without blank lines before it and white space after it; None where there is none.
    """
    text = without_thinking(answer, opened_by_prompt=not prefilled)
    code = _prefilled_code(text) if prefilled else None
    if code is None:
        code = _code(text)
    if cut == "upstream":
        code = _cut_as_upstream(code)
    return _trimmed(code) or None


def python_blocks(answer: str) -> list[str]:
    """All complete blocks labelled Python, first to last, trimmed as programs are. Empty blocks are left out."""
    texts = (_trimmed(block.text) for block in blocks(answer) if block.complete and block.label in _PYTHON)
    return [text for text in texts if text]


def without_thinking(answer: str, opened_by_prompt: bool = True) -> str:
    """The answer without the thinking before it.

    Args:
        answer: the model's text.
        opened_by_prompt: whether a `</think>` with no `<think>` before it ends thinking that the prompt began.
    """
    start = 0
    while True:
        begins = _skip_space(answer, start)
        if not answer.startswith("<think>", begins):
            break
        end = answer.find("</think>", begins)
        if end < 0:
            return ""
        start = end + len("</think>")
        opened_by_prompt = False
    if opened_by_prompt:
        end = answer.find("</think>")
        if end >= 0 and answer.find("<think>", 0, end) < 0:
            start = end + len("</think>")
    return answer[start:] if start else answer


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        label: first word after the opening fence, in lower case; "" where there is none.
        text: what stands between the fences, the fence's own indentation taken off.
        complete: whether a closing fence was found.
    """

    label: str
    text: str
    complete: bool


def blocks(answer: str) -> list[Block]:
    """All fenced blocks of a text, first to last."""
    return list(_blocks(answer.split("\n")))


def _blocks(lines: list[str]) -> Iterator[Block]:
    opening: _Fence | None = None
    first = glued = 0
    for number, line in enumerate(lines):
        fence = _fence(line)
        if opening is None:
            if fence is None:
                fence = _fence_after_prose(line)
            if fence is not None and fence.label not in _WRAPPERS:
                opening, first, glued = fence, number + 1, 0
        elif fence is not None and fence.closes(opening):
            yield Block(opening.label, _body(lines[first:number], opening.indent), True)
            opening = None
        elif fence is not None and (not opening.label or opening.label in _PYTHON) and fence.ends(opening):
            # A fence with a label is no Python: the closing one was forgotten, or what opened was meant to close.
            yield Block(opening.label, _body(lines[first:number], opening.indent), False)
            opening, first, glued = fence, number + 1, 0
        elif not glued and fence is None and _ends_glued(line):
            glued = number + 1
    if opening is not None:
        # No proper fence until the end of the text: one glued to a line of code is as good.
        body = lines[first:glued] if glued else lines[first:]
        if glued:
            body[-1] = body[-1].rstrip().rstrip("`")
        yield Block(opening.label, _body(body, opening.indent), bool(glued))


@dataclass(frozen=True, slots=True)
class _Fence:
    indent: int
    ticks: int
    info: str

    @property
    def label(self) -> str:
        # `python`, `{.python}`, `python:solution.py`, `python title="x"`; but `python-repl` is another language.
        found = _LABEL.match(self.info)
        return found[1].lower() if found else ""

    def ends(self, opening: _Fence) -> bool:
        """Whether the block can go no further than here."""
        return self.ticks >= opening.ticks and self.indent <= opening.indent + 3

    def closes(self, opening: _Fence) -> bool:
        return not self.info and self.ends(opening)


_LABEL = re.compile(r"[{.\s]*([\w+#-]*)")


def _fence(line: str) -> _Fence | None:
    body = line.lstrip(" \t")
    if not body.startswith("```"):
        return None
    info = body.lstrip("`")
    if "`" in info:
        return None
    return _Fence(len(line) - len(body), len(body) - len(info), info.strip())


def _fence_after_prose(line: str) -> _Fence | None:
    words = line.rsplit("```", 1)
    if len(words) == 2 and words[1].strip().lower() in _PYTHON and not words[0].endswith("`"):
        return _Fence(0, 3, words[1].strip())
    return None


def _ends_glued(line: str) -> bool:
    body = line.rstrip()
    return body.endswith("```") and body.count("```") % 2 == 1


def _body(lines: list[str], indent: int) -> str:
    if indent:
        lines = [line[min(indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines]
    return "\n".join(lines)


def _prefilled_code(text: str) -> str | None:
    """What stands before the fence that closes the prompt's block; None where the model opened a block of its own."""
    lines = text.split("\n")
    opening = _Fence(0, 3, "")
    glued = 0
    begun = False
    for number, line in enumerate(lines):
        fence = _fence(line)
        if fence is None:
            begun = begun or bool(line.strip())
            if not glued and _ends_glued(line):
                glued = number + 1
        elif not begun:
            return None
        elif fence.ends(opening):
            return "\n".join(_without_repeated_label(lines[:number]))
    if glued:
        lines = lines[:glued]
        lines[-1] = lines[-1].rstrip().rstrip("`")
    return "\n".join(_without_repeated_label(lines))


def _without_repeated_label(lines: list[str]) -> list[str]:
    # Where the endpoint starts a new line after the prefill, some models say the block's label again.
    if lines and lines[0].strip().lower() in _PYTHON:
        return lines[1:]
    return lines


def _code(text: str) -> str:
    found = blocks(text)
    python = [block for block in found if block.label in _PYTHON]
    for candidates in (python, found):
        complete = [block for block in candidates if block.complete]
        if complete:
            return complete[-1].text
        if candidates:
            return candidates[-1].text
    return text


# The first place of each counts, and only if it is not the very beginning: as the released scripts do it.
_UPSTREAM_ENDS = ("import unittest", "from unittest", "if __name__", "assert")


def _cut_as_upstream(code: str) -> str:
    places = [place for place in map(code.find, _UPSTREAM_ENDS) if place > 0]
    return code[: min(places)] if places else code


def _trimmed(code: str) -> str:
    code = code.rstrip()
    # Blank lines go, the first line's indentation stays: taking it off would change what the program says.
    start = 0
    while True:
        end = code.find("\n", start)
        if end < 0 or code[start:end].strip():
            return code[start:]
        start = end + 1
