"""All prompts of the project: named formats that turn a question and its tests, or a seed, into text.

A name stands for its wording for ever: whatever is changed in a text gets a new name, since every row of a dataset
records the format it was made with. Nothing here is configurable.

What models are asked to solve (`render`), and how a solution is written beside it (`answer_text`):

| name | prompt | tests shown | answer |
|---|---|---|---|
| `rl-0` | the question alone, as the published `context_messages` | 0 | fenced |
| `rl-0-named` | the same and a sentence that names the function | 0 | fenced |
| `pair-1` | the pair instruction: a docstring with the question and a test | 1 | in the pair's frame |
| `sample-2` | the same with two tests; the answer is prefilled up to the fence | 2 | in the pair's frame |
| `sample-2-named` | the same and a sentence that names the function | 2 | in the pair's frame |
| `sample-2-upstream` | as the released scripts have it: one line break less at the end | 2 | in the pair's frame |
| `raw` | the question alone | 0 | the program alone |

What a synthesizer is asked (`question_messages`): `synthesis-1`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ._python import Refused, parse
from ._requests import Message


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt.

    Attributes:
        format: the format's name.
        user: text of the one user message.
        shown_tests: how many of the question's tests, from the first, the text shows.
        prefill: how the assistant's answer begins; None where it is free.
    """

    format: str
    user: str
    shown_tests: int
    prefill: str | None

    def continues(self, prefilled: bool) -> bool:
        """Whether `messages(prefilled)` ends with the beginning of an answer."""
        return prefilled and self.prefill is not None

    def messages(self, prefilled: bool = True) -> tuple[Message, ...]:
        """The chat.

        Args:
            prefilled: whether the endpoint goes on from a last assistant message. Where not, a prefill is left out and
                the model writes the fence itself; its answer is read with `extract_code(..., prefilled=False)`.
        """
        chat: list[Message] = [{"role": "user", "content": self.user}]
        if prefilled and self.prefill is not None:
            chat.append({"role": "assistant", "content": self.prefill})
        return tuple(chat)


_ASKED = "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
_FRAME = (
    "Below is a Python script with a self-contained function that solves the problem "
    "and passes corresponding tests:"
)
_PREFILL = f"{_FRAME}\n```python"
_CALLED = "\n\nThe function must be called `{}`."


def _alone(question: str, tests: Sequence[str], entry_point: str | None) -> str:
    return question


def _named(question: str, tests: Sequence[str], entry_point: str | None) -> str:
    if entry_point is None:
        return question
    return f"{question}{_CALLED.format(entry_point)}"


def _docstring(question: str, tests: Sequence[str]) -> str:
    return "\n".join(['"""', question, *(test.strip() for test in tests), '"""'])


def _pair(question: str, tests: Sequence[str], entry_point: str | None) -> str:
    return f"{_ASKED}\n```\n{_docstring(question, tests)}\n\n```\n"


def _pair_named(question: str, tests: Sequence[str], entry_point: str | None) -> str:
    return _pair(_named(question, tests, entry_point), tests, None)


def _upstream(question: str, tests: Sequence[str], entry_point: str | None) -> str:
    return f"{_ASKED}\n```\n{_docstring(question, tests)}\n```\n"


def _fenced(program: str) -> str:
    return f"```python\n{program.strip()}\n```"


def _framed(program: str) -> str:
    return f"{_FRAME}\n{_fenced(program)}"


def _bare(program: str) -> str:
    return program


@dataclass(frozen=True, slots=True)
class _Format:
    prompt: Callable[[str, Sequence[str], str | None], str]
    answer: Callable[[str], str]
    shown: int = 0
    prefill: str | None = None


_FORMATS = {
    "rl-0": _Format(_alone, _fenced),
    "rl-0-named": _Format(_named, _fenced),
    "pair-1": _Format(_pair, _framed, shown=1),
    "sample-2": _Format(_pair, _framed, shown=2, prefill=_PREFILL),
    "sample-2-named": _Format(_pair_named, _framed, shown=2, prefill=_PREFILL),
    "sample-2-upstream": _Format(_upstream, _framed, shown=2, prefill=_PREFILL),
    "raw": _Format(_alone, _bare),
}

FORMATS = tuple(_FORMATS)
"""Names that `render` and `answer_text` know."""


def render(format: str, question: str, tests: Sequence[str], entry_point: str | None = None) -> Rendered:
    """A question in a format.

    Args:
        format: one of `FORMATS`.
        question: its text.
        tests: its tests; the first ones are shown, as many as the format wants and the question has.
        entry_point: name of the function, for formats that say it.

    Raises:
        ValueError: there is no such format.
    """
    how = _known(format)
    shown = tests[: how.shown]
    return Rendered(format, how.prompt(question, shown, entry_point), len(shown), how.prefill)


def answer_text(format: str, program: str) -> str:
    """A program as the answer to `render(format, ...)`: what a preference pair holds as chosen or rejected.

    White space around the program is taken off, except in `raw`.

    Raises:
        ValueError: there is no such format.
    """
    return _known(format).answer(program)


def _known(format: str) -> _Format:
    if format not in _FORMATS:
        raise ValueError(f"no prompt format {format!r}; there are {', '.join(FORMATS)}")
    return _FORMATS[format]


_ROLE = "You turn pieces of code into programming exercises that are checked by machine."

_TASK = """\
{given}
Write an exercise that this code suggests, in the style of LeetCode, and tests for it.

The exercise:
- stands by itself: whoever reads it has not seen the code above, and needs nothing but the text to solve it;
- is solved by one function and nothing else; no class, no second function, no program that reads input or prints. Give
the function's name and its parameters;
- says precisely what goes in, what comes out, and what happens in unusual cases;
- uses no file, network, database, clock or random numbers;
- may simplify or change what the code does, and does not mention the code;
- contains no tests and no question about running time or memory.

The tests:
- are about 20, each one `assert` statement on one line that calls the function and compares its result;
- do not depend on each other, and use only constants as arguments and as expected results;
- cover usual and unusual cases, and are right: work each result out before you write it down.

Answer with one JSON object and nothing else:
{{"question": "...", "tests": ["assert ...", "assert ..."]}}"""

_WITH_INSTRUCTION = """\
A task:

{instruction}

A program that solves it:

{fence}python
{program}
{fence}
"""

_WITHOUT_INSTRUCTION = """\
A program:

{fence}python
{program}
{fence}
"""

SYNTHESIS_FORMATS = ("synthesis-1",)
"""Names that `question_messages` knows."""


def question_messages(
    instruction: str | None, program: str, format: str = "synthesis-1"
) -> tuple[Message, ...]:
    """The chat that asks for a question and tests (paper, section 2; the wording is ours).

    Args:
        instruction: the seed's task in words, or None: then the variant that knows only the program.
        program: the seed's program, a hint and no more.
        format: one of `SYNTHESIS_FORMATS`.

    Raises:
        ValueError: there is no such format.
    """
    if format not in SYNTHESIS_FORMATS:
        raise ValueError(f"no synthesis format {format!r}; there are {', '.join(SYNTHESIS_FORMATS)}")
    # A fence longer than any in the program: nothing in a seed can end its own block.
    fence = "```"
    while fence in program:
        fence += "`"
    if instruction is None:
        given = _WITHOUT_INSTRUCTION.format(program=program, fence=fence)
    else:
        given = _WITH_INSTRUCTION.format(instruction=instruction, program=program, fence=fence)
    return (
        {"role": "system", "content": _ROLE},
        {"role": "user", "content": _TASK.format(given=given)},
    )


def rl_question(prompt: str) -> str:
    """The question of a prompt in the format `rl-0` or `rl-0-named`: `render` backwards."""
    text, called, rest = prompt.rpartition(_CALLED.partition("{}")[0])
    name = rest.removesuffix(_CALLED.partition("{}")[2])
    return text if called and name != rest and name.isidentifier() else prompt


PAIR_FORMAT = "pair-1"
"""The format of the published preference pairs."""


def pair_question(instruction: str) -> tuple[str, str] | None:
    """Question and test of an instruction in the format `pair-1`: `render` backwards.

    The test is the last statement before the docstring ends, from the last line on that begins with `assert` and is
    Python down to the end. None where the text has another frame or no test.
    """
    begins, ends = f'{_ASKED}\n```\n"""\n', '\n"""\n\n```\n'
    if not (instruction.startswith(begins) and instruction.endswith(ends)):
        return None
    body = instruction[len(begins) : -len(ends)]
    place = len(body)
    for _ in range(_LONGEST_TEST):
        place = body.rfind("\nassert", 0, place)
        if place < 0:
            return None
        tree = parse(body[place + 1 :])
        if not isinstance(tree, Refused) and len(tree.body) == 1 and body[:place].strip():
            return body[:place], body[place + 1 :]
    return None


# How many lines beginning with `assert` are tried: a text inside the test may hold some.
_LONGEST_TEST = 8


def pair_answer_program(answer: str) -> str | None:
    """The program of a chosen or rejected text in the format `pair-1`: `answer_text` backwards. None: another frame."""
    begins, ends = f"{_PREFILL}\n", "\n```"
    if answer.startswith(begins) and answer.endswith(ends) and len(answer) >= len(begins) + len(ends):
        return answer[len(begins) : -len(ends)]
    return None
