"""The text that a reward model of format `pair-1` was trained on, made of a run's question and a completion.

Such a model saw the question and one test in a docstring, and the program in the pairs' frame. A run's prompt is
another text, and a completion may think before its program: it would be scored in a form that the model never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acedata import BadInput, extract_code
from acedata._formats import pair_question, rl_question
from acesandbox import BadInput as BadTests
from acetrain._reward_model._forms import Form, messages
from acetrain._scoring import read_tests


def pair_chat(form: Form, prompt: Any, answer: str, tests: Any) -> list[Any] | None:
    """Question and program as the model was shown them; None where the answer has no program.

    Args:
        prompt, tests: of a row that `check_rows` took.
        answer: the completion's text, and before it what the prompt began the answer with.
    """
    program = extract_code(answer)
    if program is None:
        return None
    return messages(*form.of_program(str(_question(prompt)), program, read_tests(tests)))


def check_rows(rows: Sequence[Any], place: str) -> None:
    """Looks for what the text is made of in every row.

    Args:
        rows: with `prompt` and `test_cases`.
        place: where they come from, for the message.

    Raises:
        BadInput: a prompt does not say what the question is, or there is no test to show.
    """
    for number, row in enumerate(rows):
        where = f"{place}: question {row.get('id') or number}"
        if _question(row["prompt"]) is None:
            raise BadInput(
                f"{where}: the reward model wants pair-1, a question and a test in its frame, and which part of this "
                "prompt is the question is not known; prompts must be messages, one of them the user's, or the reward "
                "model one of format raw"
            )
        try:
            read_tests(row["test_cases"])
        except BadTests as error:
            raise BadInput(f"{where}: the reward model wants pair-1, which shows a test: {error}") from error


def _question(prompt: Any) -> str | None:
    """The question that a prompt's one user message asks, without what a format puts around it."""
    if isinstance(prompt, str):
        return None
    asked = [message["content"] for message in prompt if message["role"] == "user"]
    if len(asked) != 1 or not asked[0].strip():
        return None
    found = pair_question(asked[0])
    return found[0] if found is not None else rl_question(asked[0])
