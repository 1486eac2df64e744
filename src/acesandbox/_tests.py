"""The kinds of tests a program can be judged against.

Each is a value: immutable, hashable, equal when it says the same. `_problem` turns it into the JSON text that
the jailed judge reads (docs/protocol.md, frame `U`); the host itself never parses or runs a test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ._errors import BadInput

MAX_TEXT_BYTES = 16 << 20
"""Longest program and longest single test, in bytes of UTF-8. Far beyond anything written by a model or a person."""


def text_bytes(text: object, what: str) -> bytes:
    """UTF-8 of a text, lone surrogates kept.

    Raises:
        BadInput: not a str, or too long.
    """
    if not isinstance(text, str):
        raise BadInput(f"{what} must be a str, not {type(text).__name__}")
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_TEXT_BYTES:
        raise BadInput(f"{what} is {len(data):,} bytes long; the limit is {MAX_TEXT_BYTES:,}")
    return data


MAX_PROBLEM_TEXT_BYTES = 48 << 20
"""Longest that all tests of one problem may be together: what the judge answers after reading them has a bound."""


def _add(total: int, text: str, what: str) -> int:
    """`total` and the bytes of one more test.

    Raises:
        BadInput: as `text_bytes`, or too long together with those before it.
    """
    total += len(text_bytes(text, what))
    if total > MAX_PROBLEM_TEXT_BYTES:
        raise BadInput(
            f"the tests are {total:,} bytes long up to {what}; the limit for all tests of one problem is "
            f"{MAX_PROBLEM_TEXT_BYTES:,}"
        )
    return total


def _optional_text(text: object, what: str) -> str | None:
    if text is None:
        return None
    text_bytes(text, what)
    return str(text)


MAX_TESTS = 50_000
"""Most tests of one problem; the wire counts them in 16 bits."""

COMPARES = ("exact", "lines", "tokens", "decimal_lines")


class Tests:
    """What all kinds share. Not made by itself."""

    __test__ = False  # not a test case for pytest
    __slots__ = ("_hash", "_key")
    _key: tuple[Any, ...]
    _hash: int
    kind = ""

    def __init__(self, key: tuple[Any, ...]) -> None:
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_hash", hash((type(self), key)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        text = ", ".join(repr(part) for part in self._key)
        return f"{type(self).__name__}({text if len(text) <= 200 else text[:200] + '...'})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._key)

    def __len__(self) -> int:
        """How many results a verdict has."""
        return 1

    def _problem(self) -> bytes:
        raise AssertionError("Tests is made by its kinds only")

    def _texts(self) -> Sequence[str]:
        """The tests as text, one per result, for messages on the host. Empty where a verdict has no fixed number."""
        return ()


def _rebuild(kind: type[Tests], key: tuple[Any, ...]) -> Tests:
    tests = kind.__new__(kind)
    Tests.__init__(tests, key)
    return tests


def _problem_json(
    kind: str, tests: object, entry_point: str | None, prompt: str | None, **options: object
) -> bytes:
    problem = {"kind": kind, "tests": tests, "entry_point": entry_point, "prompt": prompt, **options}
    return json.dumps(problem, separators=(",", ":")).encode("ascii")


class Asserts(Tests):
    """Test statements, each judged and reported by itself: the form of AceCode and MBPP.

    Args:
        tests: Python source of one test each, usually `assert f(..) == ..`. They run in order, in one process.
        entry_point: name of the function under test; what else a test takes from the program is reported (`oracle`).
        prompt: the problem's own code. A helper function with a body that it defines is run from here when a test
            calls it, since a program could forge it; the program must define it too, as public harnesses expect.

    Raises:
        BadInput: no tests, not a sequence of str, or too long.
    """

    __slots__ = ()
    kind = "asserts"

    def __init__(
        self, tests: Iterable[str], *, entry_point: str | None = None, prompt: str | None = None
    ) -> None:
        if isinstance(tests, (str, bytes)):
            raise BadInput("Asserts takes a list of tests, not one str: Asserts([...])")
        listed = tuple(tests)
        if not listed:
            raise BadInput("Asserts needs at least one test")
        if len(listed) > MAX_TESTS:
            raise BadInput(f"{len(listed):,} tests for one problem; the limit is {MAX_TESTS:,}")
        total = 0
        for number, test in enumerate(listed):
            total = _add(total, test, f"tests[{number}]")
        super().__init__(
            (listed, _optional_text(entry_point, "entry_point"), _optional_text(prompt, "prompt"))
        )

    def __len__(self) -> int:
        return len(self._key[0])

    def _problem(self) -> bytes:
        return _problem_json(self.kind, self._key[0], self._key[1], self._key[2])

    def _texts(self) -> Sequence[str]:
        texts: tuple[str, ...] = self._key[0]
        return texts


class CheckScript(Tests):
    """One script: it defines `check(candidate)`, or simply runs: the form of HumanEval and EvalPlus.

    Args:
        text: the script's source. If it defines `check`, that is called with the entry point unless the script does.
        entry_point: name of the function under test.
        prompt: the problem's own code, as for `Asserts`.

    Raises:
        BadInput: not a str, or empty.
    """

    __slots__ = ()
    kind = "check_script"

    def __init__(self, text: str, entry_point: str | None = None, *, prompt: str | None = None) -> None:
        text_bytes(text, "the script")
        if not text.strip():
            raise BadInput("the script is empty: there is nothing to judge by")
        super().__init__((text, _optional_text(entry_point, "entry_point"), _optional_text(prompt, "prompt")))

    def _problem(self) -> bytes:
        return _problem_json(self.kind, [self._key[0]], self._key[1], self._key[2])

    def _texts(self) -> Sequence[str]:
        return (self._key[0],)


class UnitTests(Tests):
    """`unittest` classes, all run: the form of BigCodeBench and ClassEval. One result for the whole text.

    Args:
        text: source with `unittest.TestCase` classes.
        entry_point: name of the function or class under test.
        prompt: the problem's own code, as for `Asserts`.

    Raises:
        BadInput: not a str, or empty.
    """

    __slots__ = ()
    kind = "unittest"

    def __init__(self, text: str, *, entry_point: str | None = None, prompt: str | None = None) -> None:
        text_bytes(text, "the unit tests")
        if not text.strip():
            raise BadInput("the unit tests are empty: there is nothing to judge by")
        super().__init__((text, _optional_text(entry_point, "entry_point"), _optional_text(prompt, "prompt")))

    def _problem(self) -> bytes:
        return _problem_json(self.kind, [self._key[0]], self._key[1], self._key[2])

    def _texts(self) -> Sequence[str]:
        return (self._key[0],)


class Stdio(Tests):
    """Whole scripts, fed through standard input: the form of LiveCodeBench and CodeContests.

    Standard input and output are real file descriptors, so `open(0)`, `os.read(0)` and `sys.stdin.buffer` all work.
    Each case runs the program anew, as a script.

    Args:
        cases: (input, expected output) pairs.
        compare: what counts as the same output. "lines" (default): equal line by line, where white space at the end
            of a line and empty lines at the end of the output do not count; "exact": equal to the last byte;
            "tokens": equal word by word, all white space alike; "decimal_lines", LiveCodeBench's rule: as "lines",
            white space at the start of a line and empty lines at the start of the output do not count either, and two
            lines of numbers alone are the same when the numbers are, exactly.
        float_tolerance: if given, two words that both read as numbers are also the same when they differ by at
            most this much, absolutely or relative to the expected one.

    Raises:
        BadInput: no cases, wrong types, or too long.
    """

    __slots__ = ()
    kind = "stdio"

    def __init__(
        self,
        cases: Iterable[tuple[str, str]],
        *,
        compare: str = "lines",
        float_tolerance: float | None = None,
    ) -> None:
        listed = tuple(_pair(case, f"cases[{number}]") for number, case in enumerate(cases))
        if not listed:
            raise BadInput("Stdio needs at least one (input, output) pair")
        if len(listed) > MAX_TESTS:
            raise BadInput(f"{len(listed):,} cases for one problem; the limit is {MAX_TESTS:,}")
        total = 0
        for number, (given, expected) in enumerate(listed):
            total = _add(total, given, f"the input of cases[{number}]")
            total = _add(total, expected, f"the output of cases[{number}]")
        if compare not in COMPARES:
            raise BadInput(f"compare={compare!r} is unknown; there are {', '.join(COMPARES)}")
        if float_tolerance is not None:
            if isinstance(float_tolerance, bool) or not isinstance(float_tolerance, (int, float)):
                raise BadInput(f"float_tolerance must be a number or None, not {float_tolerance!r}")
            if not 0 <= float_tolerance < 1e300:
                raise BadInput(f"float_tolerance must be a number from 0 up, not {float_tolerance!r}")
        super().__init__((listed, compare, float_tolerance))

    def __len__(self) -> int:
        return len(self._key[0])

    def _problem(self) -> bytes:
        cases, compare, tolerance = self._key
        options = {"mode": compare, "float_tolerance": tolerance}
        return _problem_json(self.kind, cases, None, None, compare=options)

    def _texts(self) -> Sequence[str]:
        return [given for given, _ in self._key[0]]


class Functional(Tests):
    """Calls of one function with given arguments: the call-based form of LiveCodeBench, `class Solution` included.

    Args:
        cases: (arguments, expected result) pairs; the arguments are a list or tuple, one entry per parameter. Values
            are those that Python writes as literals: numbers, str, bytes, bool, None and containers of them.
        fn_name: the function, or the method of the program's `class Solution`.
        prompt: the problem's own code, as for `Asserts`.

    Raises:
        BadInput: no cases, wrong types, too long, or a value that has no literal.
    """

    __slots__ = ()
    kind = "functional"

    def __init__(
        self, cases: Iterable[tuple[Sequence[Any], Any]], fn_name: str, *, prompt: str | None = None
    ) -> None:
        if not isinstance(fn_name, str) or not fn_name.isidentifier():
            raise BadInput(f"fn_name must be the name of a function, not {fn_name!r}")
        listed, total = [], 0
        for number, case in enumerate(cases):
            arguments, expected = _pair(case, f"cases[{number}]")
            if not isinstance(arguments, (list, tuple)):
                raise BadInput(
                    f"the arguments of cases[{number}] must be a list or tuple, one entry per parameter, "
                    f"not {type(arguments).__name__}"
                )
            named = f"the arguments of cases[{number}]", f"the expected result of cases[{number}]"
            texts = literal(tuple(arguments), named[0]), literal(expected, named[1])
            for text, what in zip(texts, named, strict=True):
                total = _add(total, text, what)
            listed.append(texts)
        if not listed:
            raise BadInput("Functional needs at least one (arguments, expected) pair")
        if len(listed) > MAX_TESTS:
            raise BadInput(f"{len(listed):,} cases for one problem; the limit is {MAX_TESTS:,}")
        super().__init__((tuple(listed), fn_name, _optional_text(prompt, "prompt")))

    def __len__(self) -> int:
        return len(self._key[0])

    def _problem(self) -> bytes:
        return _problem_json(self.kind, self._key[0], self._key[1], self._key[2])

    def _texts(self) -> Sequence[str]:
        name = self._key[1]
        return [f"{name}(*{arguments}) == {expected}" for arguments, expected in self._key[0]]


def _pair(case: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(case, (list, tuple)) or len(case) != 2:
        raise BadInput(f"{what} must be a pair, not {type(case).__name__}")
    return case[0], case[1]


def literal(value: object, what: str, depth: int = 0) -> str:
    """Python source of a value made of literals; it reads back as the same value with the same types.

    Raises:
        BadInput: something in it has no literal.
    """
    if depth > 100:
        raise BadInput(f"{what} is nested more than 100 deep")
    kind = type(value)
    if value is None or value is True or value is False or kind in (str, bytes):
        return repr(value)
    if kind is int:
        return hex(value) if abs(value) >= 1 << 256 else repr(value)  # type: ignore[arg-type]  # no digit limit
    if kind is float:
        text = repr(value)
        if text == "nan":
            raise BadInput(f"{what} contains nan, which equals nothing")
        return text.replace("inf", "1e999")
    parts: list[str]
    if isinstance(value, (list, tuple, set)) and kind in (list, tuple, set):
        parts = [literal(item, what, depth + 1) for item in value]
        if kind is list:
            return f"[{', '.join(parts)}]"
        if kind is set:
            return "{" + ", ".join(sorted(parts)) + "}" if parts else "set()"
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    if isinstance(value, dict) and kind is dict:
        entries = [f"{literal(k, what, depth + 1)}: {literal(v, what, depth + 1)}" for k, v in value.items()]
        return "{" + ", ".join(entries) + "}"
    raise BadInput(f"{what} contains a {kind.__name__}, which has no literal in Python")
