"""What the loopback model answers to the questions of the evaluation's tests: right and wrong programs by seed.

Even seeds are right, odd ones wrong, and a greedy answer is right for the problems whose function has an even number.
The function is named in the question: `f0`, `f1`, …, each of which returns its argument plus its number.
"""

from __future__ import annotations

import re
from typing import Any


def programs(body: dict[str, Any], messages: list[dict[str, str]], seed: int) -> str | None:
    found = re.search(
        r"\bf(\d+)\b", messages[-1]["content"] if len(messages) == 1 else messages[0]["content"]
    )
    assert found is not None
    number = int(found[1])
    right = seed % 2 == 0 if body.get("temperature") else number % 2 == 0
    program = f"def f{number}(x):\n    return x + {number if right else number + 1}\n"
    if body["_continues"]:
        return f"\n{program}```\nThat is all."
    return f"Here it is:\n\n```python\n{program}```\n\n{seed}"


def problem(number: int) -> dict[str, Any]:
    """A row in HumanEval's form."""
    name = f"f{number}"
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": f'def {name}(x):\n    """Add {number} to x."""\n',
        "entry_point": name,
        "canonical_solution": f"    return x + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}\n"
        f"    assert candidate(5) == {number + 5}\n",
    }
