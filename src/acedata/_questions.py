"""Reads a synthesizer's answer: a question and its tests, or the reason why there is none.

`_formats.question_messages` asks for `{"question": ..., "tests": ["assert ...", ...]}`. What comes is read with the
liberties that `_loose_json` lists and these:

- thinking before the answer is skipped;
- the object may be called by other keys: `tests` also `test_cases`, any case;
- a test may be several lines that hold nothing but asserts: each becomes a test of its own; so may the whole list be
  one text;
- a test that is not one assert (set-up lines, a bare comparison, prose) is left out, and so is one that is there twice.

What is left out is said, test by test. Whether a test is right is not asked here: that is what reference programs are
for. Answers are stored as they came, so that a better reader re-reads them without asking anybody again.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ._extract import without_thinking
from ._loose_json import Unreadable, Value, read_object
from ._python import Refused, parse

MAX_ANSWER = 400_000
"""Longest answer that is read, in characters: more than ten times what 8,192 tokens are."""
MAX_TEST = 20_000
"""Longest test, in characters."""
MAX_TESTS = 500
"""Most tests of one answer; a model that goes on is stuck in a loop."""


@dataclass(frozen=True, slots=True)
class DroppedTest:
    """A test that was left out.

    Attributes:
        item: its place in the answer's list, from 0.
        reason: "not valid Python", "not one assert", "not a string", "duplicate", "too long", "nested too deeply".
        detail: for people.
    """

    item: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """What an answer says.

    Attributes:
        question: never empty; white space around it is taken off.
        tests: never empty; each one assert statement of valid Python, without white space around it, no two equal.
        computed: places of tests whose arguments or expected results are not all constants.
        dropped: what was left out, in the answer's order.
    """

    question: str
    tests: tuple[str, ...]
    computed: tuple[int, ...]
    dropped: tuple[DroppedTest, ...]


@dataclass(frozen=True, slots=True)
class Unparsable:
    """An answer that cannot be used.

    Attributes:
        reason: "empty answer", "answer too long", "broken JSON", "no question", "no tests", "no usable test",
            "not valid Unicode".
        detail: for people.
    """

    reason: str
    detail: str = ""


def parse_question(answer: str) -> ParsedQuestion | Unparsable:
    """The question and tests in a synthesizer's answer. Raises nothing, whatever the text."""
    if len(answer) > MAX_ANSWER:
        return Unparsable("answer too long", f"{len(answer):,} characters; the limit is {MAX_ANSWER:,}")
    text = without_thinking(answer)
    if not text.strip():
        return Unparsable("empty answer")
    try:
        found = read_object(text, _FIRST_KEYS)
    except Unreadable as why:
        return Unparsable("broken JSON", str(why))
    values = {key.strip().lower(): value for key, value in found.items()}
    question = values.get("question")
    if not isinstance(question, str) or not question.strip():
        return Unparsable("no question", f"the object has {_keys(found)}")
    listed = values.get("tests", values.get("test_cases"))
    if isinstance(listed, str):
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        return Unparsable("no tests", f"the object has {_keys(found)}")
    tests, dropped = normalise_tests(listed)
    if not tests:
        return Unparsable(
            "no usable test", f"test {dropped[0].item}: {dropped[0].reason}; {dropped[0].detail}"
        )
    if not _is_unicode(question):
        return Unparsable("not valid Unicode", "the question holds half a character")
    computed = tuple(place for place, test in enumerate(tests) if not is_constant(test))
    return ParsedQuestion(question.strip(), tests, computed, dropped)


_FIRST_KEYS = ("question", "tests", "test_cases", "Question", "Tests")


def _keys(found: dict[str, Value]) -> str:
    return ", ".join(repr(key[:40]) for key in list(found)[:8]) or "no keys"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def normalise_tests(listed: list[Value] | list[str]) -> tuple[tuple[str, ...], tuple[DroppedTest, ...]]:
    """The single asserts of a list, and what was left out of it."""
    kept: dict[str, None] = {}
    dropped: list[DroppedTest] = []
    for item, value in enumerate(listed):
        if item >= MAX_TESTS:
            dropped.append(DroppedTest(item, "too many", f"{len(listed)} tests; the limit is {MAX_TESTS}"))
            break
        if not isinstance(value, str):
            dropped.append(DroppedTest(item, "not a string", type(value).__name__))
            continue
        for test in _asserts(value):
            if isinstance(test, Refused):
                dropped.append(DroppedTest(item, *test))
            elif test in kept:
                dropped.append(DroppedTest(item, "duplicate", test[:200]))
            else:
                kept[test] = None
    return tuple(kept), tuple(dropped)


def _asserts(text: str) -> Iterator[str | Refused]:
    text = text.strip()
    if len(text) > MAX_TEST:
        yield Refused("too long", f"{len(text):,} characters; the limit is {MAX_TEST:,}")
        return
    tree = parse(text)
    if isinstance(tree, Refused):
        yield tree
    elif not tree.body or not all(isinstance(statement, ast.Assert) for statement in tree.body):
        yield Refused("not one assert", text[:200])
    elif len(tree.body) == 1:
        yield text
    else:
        lines = text.split("\n")
        for statement in tree.body:
            yield _segment(lines, statement)


def _segment(lines: list[str], statement: ast.stmt) -> str:
    # Columns are in bytes of UTF-8; `parse` has refused what cannot be encoded.
    assert statement.end_lineno is not None and statement.end_col_offset is not None
    chosen = [line.encode() for line in lines[statement.lineno - 1 : statement.end_lineno]]
    chosen[-1] = chosen[-1][: statement.end_col_offset]
    chosen[0] = chosen[0][statement.col_offset :]
    return b"\n".join(chosen).decode().strip()


def is_constant(test: str) -> bool:
    """Whether a test compares calls with constant arguments to constants: the form that is asked for.

    A call of a method or a nested call is not constant; a sign, a container, `set()`, `float("inf")` and the like are.
    """
    tree = parse(test)
    if isinstance(tree, Refused) or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
        return False
    claim = tree.body[0].test
    if isinstance(claim, ast.UnaryOp) and isinstance(claim.op, ast.Not):
        claim = claim.operand
    sides = [claim.left, *claim.comparators] if isinstance(claim, ast.Compare) else [claim]
    calls = 0
    for side in sides:
        if isinstance(side, ast.Call) and not _is_literal(side):
            calls += 1
            arguments = [*side.args, *(keyword.value for keyword in side.keywords)]
            if not isinstance(side.func, ast.Name) or not all(map(_is_literal, arguments)):
                return False
        elif not _is_literal(side):
            return False
    return calls == 1


_VALUE_MAKERS = frozenset(
    {"set", "frozenset", "float", "int", "complex", "bytes", "bytearray", "tuple", "list", "dict"}
)


def _is_literal(tree: ast.expr) -> bool:
    if isinstance(tree, ast.Constant):
        return True
    if isinstance(tree, ast.Call):
        return (
            isinstance(tree.func, ast.Name)
            and tree.func.id in _VALUE_MAKERS
            and not tree.keywords
            and all(map(_is_literal, tree.args))
        )
    if isinstance(tree, (ast.List, ast.Tuple, ast.Set)):
        return all(map(_is_literal, tree.elts))
    if isinstance(tree, ast.Dict):
        return all(key is not None and _is_literal(key) for key in tree.keys) and all(
            map(_is_literal, tree.values)
        )
    if isinstance(tree, ast.UnaryOp):
        return isinstance(tree.op, (ast.USub, ast.UAdd)) and _is_literal(tree.operand)
    if isinstance(tree, ast.BinOp):
        # 1 + 2j, as the literal of a complex number is written; and 10 ** 9, as models write large ones.
        numbers = (tree.left, tree.right)
        return all(isinstance(side, (ast.Constant, ast.UnaryOp)) and _is_literal(side) for side in numbers)
    return False
