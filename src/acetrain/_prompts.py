"""The prompts that a benchmark's problems are asked with. A name stands for its wording for ever.

- `bench-1`: the instruction that EvalPlus and BigCodeBench set before a problem, and the problem as they show it. The
  answer is prefilled up to the opening fence, as theirs is, where the endpoint can go on from there.
- `eval-1`: our own instruction and the question.

EvalPlus shows MBPP as a docstring with the first assert, which is `pair-1` of acedata's formats; HumanEval and
BigCodeBench-Complete as code between fences; BigCodeBench-Instruct as prose. LiveCodeBench's harness has a wording for
each family of models; both names ask it in our own words.
"""

from __future__ import annotations

from collections.abc import Callable

from acedata._errors import BadInput
from acedata._formats import _ASKED, _PREFILL
from acedata._requests import Message

from ._benchmarks import Problem

DEFAULT = "bench-1"


def messages(prompt: str, problem: Problem) -> tuple[Message, ...]:
    """The chat that asks for a problem's program. A last assistant message is the beginning of the answer.

    Raises:
        BadInput: there is no prompt of that name.
    """
    form = _FORMS.get(prompt)
    if form is None:
        raise BadInput(f"there is no prompt {prompt!r}; there are {', '.join(_FORMS)}")
    return form(problem)


def _bench(problem: Problem) -> tuple[Message, ...]:
    if problem.framed is None:
        return _eval(problem)
    return (
        {"role": "user", "content": f"{_ASKED}\n{problem.framed}\n"},
        {"role": "assistant", "content": _PREFILL},
    )


def _eval(problem: Problem) -> tuple[Message, ...]:
    if problem.ask == "code":
        text = (
            "Complete the following Python program. Answer with the whole program, imports included, in one Python "
            f"code block.\n\n```python\n{problem.question.rstrip()}\n```"
        )
    else:
        text = (
            "Write a Python program that solves the following task. Answer with the whole program, imports included, "
            f"in one Python code block.\n\n{problem.question.strip()}"
        )
    return ({"role": "user", "content": text},)


_FORMS: dict[str, Callable[[Problem], tuple[Message, ...]]] = {"bench-1": _bench, "eval-1": _eval}
