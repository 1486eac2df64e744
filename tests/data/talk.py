"""Models that talk at length, for the loopback server: questions, programs, and answers with long-tailed lengths."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.data.loopback import Knobs, share

CAP = 2000


def lengths(kind: str, draw: random.Random) -> int:
    """Answer tokens: log-normal, or a Pareto tail that has a mean and hardly a variance; cut at the token limit."""
    size = draw.lognormvariate(4.5, 1.1) if kind == "log-normal" else 60 * draw.paretovariate(1.3)
    return min(CAP, max(1, round(size)))


def answer(body: dict[str, Any], messages: list[dict[str, str]], seed: int) -> str | None:
    """A synthesizer that sometimes breaks its JSON or imagines wrong tests, and solvers, with long-tailed talk."""
    knobs: Knobs = body["_knobs"]
    asked = " ".join(message["content"] for message in messages)
    drawn = seed if body.get("temperature") else 0
    draw = random.Random(repr((knobs.seed, body["model"], asked, drawn)))
    talk = " ".join(
        f"w{number}" for number in range(lengths("Pareto" if knobs.seed % 2 else "log-normal", draw))
    )
    number = asked.partition("shift_")[2].partition("(")[0]
    if body["model"] == "synthesizer":
        wrong = share(knobs.seed, "wrong", number) < 0.2
        tests = [
            f"assert shift_{number}({one}) == {one + int(number) + (wrong and one < 4)}" for one in range(7)
        ]
        question = f"Write a function shift_{number}(n) that adds {number} to n. {talk}"
        text = json.dumps({"question": question, "tests": tests})
        return text[:-9] if draw.random() < 0.08 else text
    return f"def shift_{number}(n):\n    return n + {number}\n```\n{talk}"
