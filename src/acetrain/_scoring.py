"""From a model's answer and a list of tests to what came of it: the core under every reward and adapter.

    answer ──extract──▶ program ──Judge──▶ Score          a Judge is `SandboxJudge` here, or `NodeJudge` (_node.py)

Three outcomes are kept apart. The program's fault is a score (no code, wrong, hanging, crashing, forging: 0 of n). The
data's fault (tests that are no list of texts, an empty list) and our fault (`SandboxError` after the retry) are
*unknown*: such a completion must not move a policy, so it has no number at all.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from acedata import extract_code
from acesandbox import Asserts, BadInput, Sandbox, SandboxError, Verdict

NO_CODE = "no_code"
UNREADABLE = "unreadable"
UNJUDGED = "unjudged"
BAD_TESTS = "bad_tests"

MAX_PROGRAM = 1 << 20
MAX_ANSWER = 4 << 20  # characters; no thinking is that long, and a list of fences costs time to read
MAX_TESTS_TEXT = 8 << 20  # the sandbox takes more; a list of tests of this size is an accident

logger = logging.getLogger("acetrain")


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one completion.

    Attributes:
        status: "passed" when every test passed; otherwise the status of the first test that was run and did not
            (`acesandbox.Status`). Without a verdict: "no_code" (the answer has no program), "unreadable" (a program
            with a NUL, a lone surrogate, or of more than 2**20 bytes; an answer of more than 2**22 characters),
            "unjudged" (our fault) or "bad_tests" (the data's).
        passed, tests: how many of how many tests passed, without those that the prompt showed if they are left out.
        sealed: of the tests, those that were judged where the program could not forge. Where nothing was run nothing
            was forged, so all of them.
        cpu_s: CPU seconds of all the program's processes, its loading included.
        why: for people, where there is no verdict.
    """

    status: str
    passed: int = 0
    tests: int = 0
    sealed: int = 0
    cpu_s: float = 0.0
    why: str = ""

    @property
    def judged(self) -> bool:
        """Whether a program was run."""
        return self.status not in (NO_CODE, UNREADABLE, UNJUDGED, BAD_TESTS)

    @property
    def unknown(self) -> bool:
        """Whether nothing can be said about the program."""
        return self.status in (UNJUDGED, BAD_TESTS)

    @property
    def all_passed(self) -> bool:
        """Whether there were tests and every one passed."""
        return self.tests > 0 and self.passed == self.tests

    @property
    def pass_rate(self) -> float:
        """0 to 1."""
        return self.passed / self.tests if self.tests else 0.0


class Judge(Protocol):
    """Who judges: a sandbox of this process, or the node's."""

    def open(self) -> object:
        """Makes sure that programs can be judged at all.

        Raises:
            acesandbox.SandboxError: they cannot.
        """

    def scores(self, jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Score]:
        """One score per (program, tests), in order; "unjudged" where it failed twice."""

    def close(self) -> None:
        """Gives up what `open` took."""


@dataclass(slots=True)
class Tally:
    """Sums over the completions of one call, for a trainer's log. What is unknown is in no mean."""

    completions: int = 0
    unknown: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    all_passed: int = 0
    pass_rates: float = 0.0
    judged_tests: int = 0
    sealed: int = 0
    cpu_s: float = 0.0

    @classmethod
    def of(cls, scores: Sequence[Score]) -> Tally:
        tally = cls(completions=len(scores))
        for score in scores:
            tally.statuses[score.status] += 1
            tally.unknown += score.unknown
            tally.all_passed += score.all_passed
            tally.pass_rates += score.pass_rate
            tally.cpu_s += score.cpu_s
            if score.judged:
                tally.judged_tests += score.tests
                tally.sealed += score.sealed
        return tally

    @property
    def known(self) -> int:
        return self.completions - self.unknown

    @property
    def pass_rate(self) -> float:
        """Mean over the known completions; 0 where there is none."""
        return self.pass_rates / self.known if self.known else 0.0

    @property
    def all_passed_share(self) -> float:
        return self.all_passed / self.known if self.known else 0.0

    @property
    def sealed_share(self) -> float:
        """Of the tests that were run."""
        return self.sealed / self.judged_tests if self.judged_tests else 1.0

    def share(self, *statuses: str) -> float:
        """Of all completions, those with one of these statuses."""
        return (
            sum(self.statuses[status] for status in statuses) / self.completions if self.completions else 0.0
        )


def read_tests(value: object) -> list[str]:
    """The tests of one row: a list of texts, or such a list as JSON (the form that data sets keep without harm).

    Arrays (what verl reads from Parquet) count as lists.

    Raises:
        BadInput: it is neither, or it is empty.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadInput("the tests are a text that is no JSON list") from None
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise BadInput(f"the tests must be a list of texts, or one as JSON, not {type(value).__name__}")
    tests = list(value)
    if not tests:
        raise BadInput("the list of tests is empty")
    for number, test in enumerate(tests):
        if not isinstance(test, str):
            raise BadInput(f"tests[{number}] must be a text, not {type(test).__name__}")
    size = sum(map(len, tests))
    if size > MAX_TESTS_TEXT:
        raise BadInput(f"the tests have {size:,} characters; the limit is {MAX_TESTS_TEXT:,}")
    return tests


def completion_text(completion: object) -> str:
    """The answer's text, from a string or from TRL's list of messages (the last of the assistant's).

    Anything else has no text: it is scored as an answer without code.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence):
        for message in reversed(completion):
            if isinstance(message, dict) and message.get("role", "assistant") == "assistant":
                content = message.get("content")
                return _parts(content)
    return ""


def _parts(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):  # [{"type": "text", "text": ...}, ...]
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def score_all(
    judge: Judge | Sandbox,
    completions: Sequence[object],
    tests: Sequence[object],
    *,
    skip_shown: int | Sequence[object] = 0,
    prefilled: bool = False,
) -> list[Score]:
    """Judges completions against their tests, in order; never raises for a bad program or a bad row.

    Args:
        judge: who judges; shared and reused.
        completions: answers as strings or message lists.
        tests: of each completion, as `read_tests` takes them.
        skip_shown: this many tests at the head of each list were shown in the prompt and do not count; one number, or
            one per completion.
        prefilled: the answers go on inside a code block that the prompt opened.

    Raises:
        ValueError: not as many tests as completions.
        acesandbox.IsolationUnavailable: this machine cannot judge at all. (One program that could not be judged is
            "unjudged"; a machine that cannot judge any is no reason to train on nothing.)
    """
    if len(completions) != len(tests):
        raise ValueError(f"{len(completions)} completions, but tests for {len(tests)}")
    shown = [skip_shown] * len(tests) if isinstance(skip_shown, int) else list(skip_shown)
    if len(shown) != len(tests):
        raise ValueError(f"{len(completions)} completions, but {len(shown)} numbers of shown tests")
    if isinstance(judge, Sandbox):
        judge = SandboxJudge(judge)
    judge.open()
    scores: list[Score | None] = [None] * len(completions)
    jobs: list[tuple[str, Asserts]] = []
    places: list[int] = []
    # Rows of one prompt share their tests: by value where they are a text, by identity where they are a list.
    known: dict[object, tuple[object, Asserts | BadInput]] = {}
    for number, (completion, given, skip) in enumerate(zip(completions, tests, shown, strict=True)):
        key = (given if isinstance(given, str) else id(given), type(skip), str(skip))
        if key not in known:
            known[key] = (given, _asserts(given, skip))  # keeps the list alive, and with it its identity
        asserts = known[key][1]
        if isinstance(asserts, BadInput):
            scores[number] = Score(BAD_TESTS, why=str(asserts))
            continue
        try:
            answer = completion_text(completion)
            long = len(answer) > MAX_ANSWER
            program = None if long else extract_code(answer, prefilled)
        except Exception as error:  # a bug of ours must not end a training run
            logger.warning("no program could be extracted from an answer", exc_info=True)
            scores[number] = Score(UNJUDGED, why=f"extraction failed: {type(error).__name__}: {error}")
            continue
        if long:
            why = f"the answer has {len(answer):,} characters; the limit is {MAX_ANSWER:,}"
            scores[number] = Score(UNREADABLE, tests=len(asserts), sealed=len(asserts), why=why)
        elif program is None:
            scores[number] = Score(NO_CODE, tests=len(asserts), sealed=len(asserts))
        elif (refusal := _refused(program)) is not None:
            scores[number] = Score(UNREADABLE, tests=len(asserts), sealed=len(asserts), why=refusal)
        else:
            jobs.append((program, asserts))
            places.append(number)
    for number, score in zip(places, judge.scores(jobs), strict=True):
        scores[number] = score
    return [score for score in scores if score is not None]


def _asserts(given: object, skip: object) -> Asserts | BadInput:
    try:
        tests = read_tests(given)
        if isinstance(skip, bool) or not hasattr(skip, "__index__"):
            raise BadInput(f"the number of shown tests must be a whole number, not {skip!r}")
        shown = skip.__index__()
        if not 0 <= shown < len(tests):
            raise BadInput(
                f"{shown} of the {len(tests)} tests were shown in the prompt; none is left to score"
            )
        return Asserts(tests[shown:])
    except BadInput as error:
        return error


def _refused(program: str) -> str | None:
    """Why no interpreter would read this text; the sandbox takes everything else."""
    if "\0" in program:
        return "the program holds a NUL character"
    try:
        size = len(program.encode())
    except UnicodeEncodeError:
        return "the program holds a lone surrogate"
    return f"the program has {size:,} bytes; the limit is {MAX_PROGRAM:,}" if size > MAX_PROGRAM else None


class SandboxJudge:
    """Judges in a sandbox of this process."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def open(self) -> object:
        return self.sandbox.open()

    def scores(self, jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Score]:
        """In order. What could not be judged is tried once more when its turn comes."""
        stream: Iterator[Any] = self.sandbox.judge_many(jobs, return_errors=True)
        for (program, tests), verdict in zip(jobs, stream, strict=True):
            if isinstance(verdict, SandboxError):
                try:
                    verdict = self.sandbox.judge(program, tests)
                except SandboxError as error:
                    yield Score(UNJUDGED, why=f"{type(error).__name__}: {error}")
                    continue
            yield score_of(verdict)

    def close(self) -> None:
        self.sandbox.close()


def score_of(verdict: Verdict) -> Score:
    """A verdict in numbers.

    A test that no interpreter can read makes the row a bad one: the judge finds that out before it loads any program,
    so no program can bring it about. A test that merely raises counts as not passed.
    """
    results = verdict.tests
    for number, result in enumerate(results):
        if result.mode == "broken":
            return Score(BAD_TESTS, why=f"tests[{number}] cannot be read: {result.message or result.why}")
    passed = sum(result.passed for result in results)
    sealed = sum(result.sealed for result in results)
    return Score(verdict.status.value, passed, len(results), sealed, verdict.cpu_s)
