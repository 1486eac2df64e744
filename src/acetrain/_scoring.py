"""From a model's answer and a list of tests to what came of it: the core under every reward and adapter.

    answer ──extract──▶ program ──acesandbox──▶ Verdict ──▶ Score

Three outcomes are kept apart. The program's fault is a score (no code, wrong, hanging, crashing, forging: 0 of n). The
data's fault (tests that are no list of texts, an empty list) and our fault (`SandboxError` after the retry) are
*unknown*: such a completion must not move a policy, so it has no number at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from acedata import extract_code
from acesandbox import Asserts, BadInput, Sandbox, SandboxError, Status, Verdict

NO_CODE = "no_code"
UNJUDGED = "unjudged"
BAD_TESTS = "bad_tests"


@dataclass(frozen=True, slots=True)
class Score:
    """What came of one completion.

    Attributes:
        status: "passed" when every test passed; otherwise the status of the first test that did not; "no_code" where
            the answer has no program; "unjudged" (ours) or "bad_tests" (the data's) where nothing can be said.
        passed, tests: how many of how many tests passed, without those that the prompt showed if they are left out.
        sealed: of the tests, those that were judged where the program could not forge.
        cpu_s: CPU seconds of the program over all tests.
        why: for people, where the status is unknown.
    """

    status: str
    passed: int = 0
    tests: int = 0
    sealed: int = 0
    cpu_s: float = 0.0
    why: str = ""

    @property
    def unknown(self) -> bool:
        """Whether nothing can be said about the program."""
        return self.status in (UNJUDGED, BAD_TESTS)

    @property
    def all_passed(self) -> bool:
        return self.tests > 0 and self.passed == self.tests

    @property
    def pass_rate(self) -> float:
        """0 to 1."""
        return self.passed / self.tests if self.tests else 0.0


@dataclass(slots=True)
class Tally:
    """Sums over the completions of one call, for a trainer's log."""

    completions: int = 0
    unknown: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    passed: int = 0
    tests: int = 0
    sealed: int = 0

    @classmethod
    def of(cls, scores: Sequence[Score]) -> Tally:
        tally = cls(completions=len(scores))
        for score in scores:
            tally.statuses[score.status] += 1
            tally.unknown += score.unknown
            tally.passed += score.passed
            tally.tests += score.tests
            tally.sealed += score.sealed
        return tally


def read_tests(value: object) -> list[str]:
    """The tests of one row: a list of texts, or such a list as JSON (the form that data sets keep without harm).

    Raises:
        BadInput: it is neither, or it is empty.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise BadInput("the tests are a text that is no JSON list") from None
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise BadInput(f"the tests must be a list of texts, or one as JSON, not {type(value).__name__}")
    tests = list(value)
    if not tests:
        raise BadInput("the list of tests is empty")
    for number, test in enumerate(tests):
        if not isinstance(test, str):
            raise BadInput(f"tests[{number}] must be a text, not {type(test).__name__}")
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
    sandbox: Sandbox,
    completions: Sequence[object],
    tests: Sequence[object],
    *,
    skip_shown: int = 0,
    prefilled: bool = False,
) -> list[Score]:
    """Judges completions against their tests, in order; never raises for a bad program or a bad row.

    Args:
        sandbox: who judges; shared and reused.
        completions: answers as strings or message lists.
        tests: of each completion, as `read_tests` takes them.
        skip_shown: this many tests at the head of each list were shown in the prompt and do not count.
        prefilled: the answers go on inside a code block that the prompt opened.

    Raises:
        ValueError: not as many tests as completions.
        acesandbox.IsolationUnavailable: this machine cannot judge at all. (One program that could not be judged is
            "unjudged"; a machine that cannot judge any is no reason to train on nothing.)
    """
    if len(completions) != len(tests):
        raise ValueError(f"{len(completions)} completions, but tests for {len(tests)}")
    sandbox.open()
    scores: list[Score | None] = [None] * len(completions)
    jobs: list[tuple[int, str, Asserts]] = []
    known: dict[int, tuple[object, Asserts | BadInput]] = {}  # rows of one prompt often share the list itself
    for number, (completion, given) in enumerate(zip(completions, tests, strict=True)):
        kept = known.get(id(given))
        if kept is None or kept[0] is not given:
            kept = known[id(given)] = (given, _asserts(given, skip_shown))
        asserts = kept[1]
        if isinstance(asserts, BadInput):
            scores[number] = Score(BAD_TESTS, why=str(asserts))
            continue
        program = extract_code(completion_text(completion), prefilled)
        if program is None:
            scores[number] = Score(NO_CODE, tests=len(asserts))
        elif (refusal := _refused(program)) is not None:
            scores[number] = Score("error", tests=len(asserts), sealed=len(asserts), why=refusal)
        else:
            jobs.append((number, program, asserts))
    for (number, _, _), verdict in zip(jobs, _verdicts(sandbox, jobs), strict=True):
        scores[number] = _score(verdict)
    return [score for score in scores if score is not None]


def _asserts(given: object, skip_shown: int) -> Asserts | BadInput:
    try:
        tests = read_tests(given)
        if len(tests) <= skip_shown:
            raise BadInput(f"all of the {len(tests)} tests were shown in the prompt; none is left to score")
        return Asserts(tests[skip_shown:])
    except BadInput as error:
        return error


def _refused(program: str) -> str | None:
    """Why no interpreter would read this text; the sandbox takes everything else."""
    if "\0" in program:
        return "the program holds a NUL byte"
    try:
        size = len(program.encode())
    except UnicodeEncodeError:
        return "the program holds a lone surrogate"
    return f"the program has {size:,} bytes" if size > _MAX_PROGRAM else None


_MAX_PROGRAM = 1 << 20


def _verdicts(sandbox: Sandbox, jobs: list[tuple[int, str, Asserts]]) -> Iterator[Verdict | SandboxError]:
    """In order. What could not be judged is tried once more at the end of the line."""
    stream: Iterator[Any] = sandbox.judge_many(
        ((program, tests) for _, program, tests in jobs), return_errors=True
    )
    for (_, program, tests), verdict in zip(jobs, stream, strict=True):
        if isinstance(verdict, SandboxError):
            try:
                yield sandbox.judge(program, tests)
            except SandboxError as error:
                yield error
        else:
            yield verdict


def _score(verdict: Verdict | SandboxError) -> Score:
    if isinstance(verdict, SandboxError):
        return Score(UNJUDGED, why=f"{type(verdict).__name__}: {verdict}")
    results: Any = verdict.tests
    passed = sum(1 for result in results if result.passed)
    first = next((result.status.value for result in results if not result.passed), Status.PASSED.value)
    sealed = sum(1 for result in results if result.sealed)
    return Score(first, passed, len(results), sealed, sum(result.cpu_s for result in results))
