"""Finds questions that are a benchmark's problem, also where it was edited.

A synthesizer has read the benchmarks, so a question can turn into one of theirs whatever seed it was made from. Hence
the check comes after synthesis, and asks two things of every question:

*Is it told in the same words?* Question and problem are reduced to the word trigrams of their sentences; what a copyist
changes at no cost is taken out before. Examples, code, numbers and quoted strings are not looked at (changed
constants); trigrams do not cross the ends of sentences (reordered sentences); and each text is read twice, once as it
is and once with every identifier, in code and in prose, replaced by one sign (renamed identifiers). The score is the
share of a problem's trigrams that the question has, the better of the two readings. A trigram weighs as its words do,
and a word the more, the fewer problems use it: "write a function that" is worth next to nothing.

*Does it have the same tests?* Asserts are reduced to constants and operators, the function's name replaced. A test that
holds enough constants to be nobody's coincidence counts, and two of them that are a problem's make a copy. This finds a
problem told in other words that kept its examples.

What is not found: a problem told in other words with other tests, or in another language.

The index holds some 50 to 200 trigrams per problem; a question costs about a millisecond.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ._errors import BadInput
from ._python import Refused, parse
from ._recipe import ColumnsConfig
from ._rows import Row

NGRAM = 3
THRESHOLD = 0.65
MIN_SHARED_TESTS = 2
MAX_TEXT = 100_000
"""How much of a question is looked at, in characters; no benchmark's is a tenth as long."""


class Problem(NamedTuple):
    """A benchmark's problem.

    Attributes:
        benchmark, id: which.
        texts: its question, in each form that the benchmark has.
        tests: Python sources with asserts; what is not, is passed over.
    """

    benchmark: str
    id: str
    texts: tuple[str, ...]
    tests: tuple[str, ...] = ()


class Match(NamedTuple):
    """Why a question is taken for a benchmark's problem.

    Attributes:
        benchmark, id: the problem.
        level: "question" or "asserts".
        score: share of the problem's weighted trigrams that the question has; or number of tests that are the same.
    """

    benchmark: str
    id: str
    level: str
    score: float


class Contamination:
    """The problems of benchmarks, ready to be looked for.

    Args:
        problems: of all benchmarks together.
        ngram: words per n-gram.
        threshold: score from which a question is a copy.
    """

    NGRAM = NGRAM
    THRESHOLD = THRESHOLD

    def __init__(self, problems: Iterable[Problem], ngram: int = NGRAM, threshold: float = THRESHOLD) -> None:
        self._ngram = ngram
        self._threshold = threshold
        self._names: list[tuple[str, str]] = []
        self._weights: dict[str, float] = {}
        self._exact: dict[str, int] = {}
        self._grams: dict[str, list[int]] = defaultdict(list)
        # Of each reading of each text: whose it is, and how much all its n-grams weigh.
        self._readings: list[tuple[int, float]] = []
        self._tests: dict[str, list[int]] = defaultdict(list)
        self._test_counts: list[int] = []
        self._index(list(problems))

    def __len__(self) -> int:
        return len(self._names)

    def _index(self, problems: list[Problem]) -> None:
        read = [[_readings(text[:MAX_TEXT], problem.tests) for text in problem.texts] for problem in problems]
        users: Counter[str] = Counter()
        for readings in read:
            users.update({word for plain, _ in readings for sentence in plain for word in sentence})
        total = len(problems) + 1
        self._weights = {word: math.log(total / count) for word, count in users.items()}
        self._weights[_NAME] = math.log(total) / 20
        for number, (problem, readings) in enumerate(zip(problems, read, strict=True)):
            self._names.append((problem.benchmark, problem.id))
            for text, pair in zip(problem.texts, readings, strict=True):
                self._exact.setdefault(" ".join(text.split()), number)
                for sentences in pair:
                    grams = _ngrams(sentences, self._ngram)
                    weight = sum(map(self._weight, grams))
                    if weight <= 0:
                        continue
                    place = len(self._readings)
                    self._readings.append((number, weight))
                    for gram in grams:
                        self._grams[gram].append(place)
            tests = _telling_tests(problem.tests)
            self._test_counts.append(len(tests))
            for test in tests:
                self._tests[test].append(number)

    def _weight(self, gram: str) -> float:
        words = gram.split(" ")
        return sum(self._weights.get(word, 0.0) for word in words) / len(words)

    def find(self, question: str, tests: Iterable[str] = ()) -> Match | None:
        """The problem that a question is, or None. Of several, the one with the highest score; then the first."""
        listed = list(tests)
        number = self._exact.get(" ".join(question.split()))
        if number is not None:
            return Match(*self._names[number], "question", 1.0)
        score, number = self.score(question, listed)
        if number is not None and score >= self._threshold:
            return Match(*self._names[number], "question", round(score, 4))
        return self._by_tests(listed)

    def score(self, question: str, tests: Iterable[str] = ()) -> tuple[float, int | None]:
        """The highest score of a question over all problems, and the problem's number."""
        found: Counter[int] = Counter()
        for sentences in _readings(question[:MAX_TEXT], list(tests)):
            here: dict[int, float] = defaultdict(float)
            for gram in _ngrams(sentences, self._ngram):
                places = self._grams.get(gram)
                if places:
                    weight = self._weight(gram)
                    for place in places:
                        here[place] += weight
            for place, weight in here.items():
                number, whole = self._readings[place]
                found[number] = max(found[number], weight / whole)  # type: ignore[assignment]
        if not found:
            return 0.0, None
        best = min(found, key=lambda number: (-found[number], number))
        return found[best], best

    def _by_tests(self, tests: list[str]) -> Match | None:
        shared: Counter[int] = Counter()
        for test in _telling_tests(tests):
            shared.update(set(self._tests.get(test, ())))
        enough = [number for number, count in shared.items() if count >= MIN_SHARED_TESTS]
        if not enough:
            return None
        best = min(enough, key=lambda number: (-shared[number], number))
        return Match(*self._names[best], "asserts", float(shared[best]))


# ---- words ----

_NAME = "\x00"
_DEFINITION = re.compile(
    r"\bdef[ \t]+(\w{1,100})[ \t]*\(([^()]{0,2000}(?:\([^()]{0,200}\)[^()]{0,2000}){0,20})\)[^:\n]{0,200}:?"
)
_PARAMETER = re.compile(r"(?:^|,)\s*\*{0,2}([^\W\d]\w{0,100})(?=\s*(?:[:=,]|$))")
_QUOTED_NAME = re.compile(r"`([^\W\d]\w{0,100})(?=\(|`)")
_WORD = re.compile(r"[^\W\d]\w*")
_CAMEL = re.compile(r"[a-z][A-Z]|\d")
_STRING = re.compile(r"(?<!\w)(?:'[^'\n]{0,200}'|\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”)(?!\w)")
_STATEMENT = re.compile(r"\s*(?:from\s+\S+\s+import\b|import\s+\w|assert\b)")
# A call with its result, wherever it stands; its strings are gone already.
_RESULT = re.compile(
    r"\b\w{1,100}\([^()\n]{0,500}\)\s*(?:==>?|=>|->|=|➞|→|returns?\b|should\s+return\b)\s*(?:True|False|None)?"
)
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|\n\s*\n\s*|\n\s*(?:[-*•]|\d+[.)])\s+")


def _readings(text: str, tests: Iterable[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The sentences of a text in words, as they are and with identifiers replaced."""
    names = _identifiers(text, tests)
    plain = []
    renamed = []
    for sentence in _SENTENCE.split(_prose(text)):
        words = _WORD.findall(sentence)
        if words:
            plain.append([word.lower() for word in words])
            renamed.append([_NAME if word in names else word.lower() for word in words])
    return plain, renamed


def _identifiers(text: str, tests: Iterable[str]) -> set[str]:
    names = set(_QUOTED_NAME.findall(text))
    for definition in _DEFINITION.finditer(text):
        names.add(definition[1])
        # Defaults and annotations may hold commas in brackets; what looks like a parameter inside does no harm.
        names.update(_PARAMETER.findall(definition[2]))
    names.update(word for word in _WORD.findall(text) if "_" in word.strip("_") or _CAMEL.search(word))
    for test in tests:
        names.update(_CALLED.findall(test[:1000]))
    return names


_CALLED = re.compile(r"\bassert\s+(?:not\s+)?\(?([^\W\d]\w{0,100})\(")


def _prose(text: str) -> str:
    """A text without its code: definitions, imports, sessions, examples with their results, strings."""
    text = _DEFINITION.sub("\n\n", text).replace('"""', "\n\n").replace("'''", "\n\n")
    lines: list[str] = []
    session = False
    for line in text.split("\n"):
        if not line.strip():
            session = False
        elif line.lstrip().startswith(">>>"):
            session = True
        if session or _STATEMENT.match(line):
            # What follows is no longer the sentence that came before.
            lines.append("")
        else:
            lines.append(_RESULT.sub(". ", _STRING.sub(" ", line)))
    return "\n".join(lines)


def _ngrams(sentences: list[list[str]], n: int) -> set[str]:
    grams: set[str] = set()
    for words in sentences:
        # A sentence shorter than that is one gram, but one word alone is a heading.
        if 1 < len(words) < n:
            grams.add(" ".join(words))
        grams.update(" ".join(words[start : start + n]) for start in range(len(words) - n + 1))
    return grams


# ---- tests ----

_TELLING = 6


def _telling_tests(tests: Iterable[str]) -> set[str]:
    """The asserts in Python sources that hold enough constants to be nobody's coincidence, in a normal form."""
    found: set[str] = set()
    for source in tests:
        tree = parse(source)
        if isinstance(tree, Refused):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert) and _content(node.test) >= _TELLING:
                found.add(_normal(node.test))
    return found


def _content(claim: ast.expr) -> int:
    """How much chance would have to bring about: digits of numbers and letters of strings, but few of each constant."""
    content = 0
    for node in ast.walk(claim):
        if isinstance(node, ast.Constant):
            value = node.value
            if isinstance(value, (str, bytes)):
                content += min(len(value), 6)
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                content += min(len(str(abs(value)).replace(".", "")), 4) if value not in (0, 1) else 0
    return content


def _normal(claim: ast.expr) -> str:
    """A claim with the names in it replaced, the sides of `==` in a fixed order, numbers by value."""
    parts: list[str] = []
    _write(claim, parts)
    return "".join(parts)


def _write(tree: ast.AST, parts: list[str]) -> None:
    if isinstance(tree, ast.Constant):
        value = tree.value
        # 1 and 1.0 are the same constant.
        exact = not isinstance(value, bool) and isinstance(value, int) and abs(value) < 2**53
        parts.append(repr(float(value)) if isinstance(value, int) and exact else repr(value))
    elif isinstance(tree, ast.Name):
        parts.append("f" if tree.id not in _KEPT else tree.id)
    elif isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], (ast.Eq, ast.Is)):
        sides = sorted((_normal(tree.left), _normal(tree.comparators[0])))
        parts.append(f"{sides[0]}=={sides[1]}")
    else:
        parts.append(type(tree).__name__)
        parts.append("(")
        for child in ast.iter_child_nodes(tree):
            if not isinstance(child, ast.expr_context):
                _write(child, parts)
                parts.append(",")
        parts.append(")")


_KEPT = frozenset({"set", "sorted", "list", "tuple", "len", "abs", "round", "math", "float"})


# ---- benchmarks as they are published ----

_TEXTS = ("question", "prompt", "text", "complete_prompt", "instruct_prompt", "question_content")
_TESTS = ("test_cases", "tests", "test_list", "challenge_test_list", "test")
_IDS = ("task_id", "question_id", "id")


def read_problems(
    benchmark: str, rows: Iterable[Row], columns: ColumnsConfig | None = None
) -> Iterator[Problem]:
    """Problems of a benchmark in its published form.

    Texts: `prompt` (HumanEval, HumanEval+, MBPP+ and sanitized MBPP), `text` (MBPP), `complete_prompt` and
    `instruct_prompt` (BigCodeBench), `question_content` (LiveCodeBench), or `question`. Tests: `test_list` (MBPP) or
    the asserts in `test` (HumanEval, MBPP+); those of BigCodeBench and LiveCodeBench are of other kinds, and their
    questions alone are looked for.

    Raises:
        BadInput: a row has no text, with file and row.
    """
    named = columns or ColumnsConfig()
    for row in rows:
        values = row.values
        names = (named.question,) if named.question else _TEXTS
        texts = tuple(
            values[name] for name in names if isinstance(values.get(name), str) and values[name].strip()
        )
        if not texts:
            there = ", ".join(map(repr, values))
            raise BadInput(
                f"{row.where}: no text in {' or '.join(map(repr, names))}, where the benchmark {benchmark!r} should "
                f"have its problem; there are {there}"
            )
        id = next((str(values[name]) for name in _IDS if values.get(name) is not None), str(row.number))
        tests = [
            test for name in ((named.tests,) if named.tests else _TESTS) for test in _listed(values.get(name))
        ]
        yield Problem(benchmark, id, texts, tuple(tests))


def _listed(value: Any) -> list[str]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
