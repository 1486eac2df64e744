"""A small build with everything in it that builds meet: seeds and answers made on the spot.

Every question is "add k": its seed is a function of that kind, its tests are right except for one, policies write
right, wrong, broken, hanging and empty programs in turn. All of it follows from numbers, so two calls make the same
files, and the loopback server (`answer`) says what the replayed file says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acedata import Recipe

RECIPE = """\
name: tiny
seeds:
  sources:
    - {{name: evol, from: files, path: evol.jsonl}}
    - {{name: oss, from: files, path: oss.jsonl}}
models:
  synthesizer: {{{how}, model: synthesizer, temperature: 0.7, json: true}}
  solver: {{{how}, model: solver}}
  policy-a: {{{how}, model: policy-a, temperature: 0.7}}
  policy-b: {{{how}, model: policy-b, temperature: 0.7}}
questions: {{model: synthesizer, attempts: 2}}
references: {{models: [solver]}}
samples: {{models: [policy-a, policy-b], n: {draws}}}
judge: {{limits: {{cpu_s: 0.05, program_cpu_s: 0.1}}}}
pairs: {{models: [policy-a]}}
hard: {{models: [policy-a, policy-b]}}
shard_rows: {shard_rows}
"""
REPLAYED = "backend: replay, provider: replay, answers: answers.jsonl"


def write(
    folder: Path, seeds: int = 12, draws: int = 4, shard_rows: int = 4, more: str = "", url: str | None = None
) -> Recipe:
    """Writes recipe.yaml, sources and answers into a folder; returns the recipe.

    Args:
        more: further lines of the recipe.
        url: ask the server there instead of replaying the answers.
    """
    # Here, since the server's process, which starts often, needs nothing of it.
    from acedata import load_recipe

    folder.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, object]] = []
    half = seeds // 2
    for source, numbers in (("evol", range(half)), ("oss", range(half, seeds))):
        with (folder / f"{source}.jsonl").open("w") as file:
            for place, number in enumerate(numbers):
                file.write(json.dumps(_seed(number)) + "\n")
                answers += _answers(f"{source}_{place}", number, draws)
    with (folder / "answers.jsonl").open("w") as file:
        file.writelines(json.dumps(answer) + "\n" for answer in answers)
    how = REPLAYED
    if url is not None:
        # Loopback counts words: few of them are many tokens.
        how = (
            f"backend: openai, provider: loopback, base_url: '{url}', api_key_env: OPENAI_API_KEY, "
            "price: {input: 1.0, output: 2.0}, concurrency: 8, timeout_s: 5"
        )
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(how=how, draws=draws, shard_rows=shard_rows) + more)
    return load_recipe(path)


def _seed(number: int) -> dict[str, str]:
    program = (
        f"def plus(x):\n    print(x)\n    return x + {number}" if number % 7 != 5 else f"plus = {number}"
    )
    return {
        "instruction": f"Add {number} to a number.",
        "response": f"Like this:\n\n```python\n{program}\n```\n",
        "lang": "python",
    }


def _answers(id: str, number: int, draws: int) -> list[dict[str, object]]:
    made: list[dict[str, object]] = []
    for model in ("synthesizer", "solver", "policy-a", "policy-b"):
        for sample in range({"synthesizer": 2, "solver": 1}.get(model, draws)):
            text = said(model, number, sample)
            line: dict[str, object] = {"model": model, "row": id, "sample": sample, "text": text or ""}
            if text is None:
                line["ended"] = "refused"
            made.append({**line, "prompt_tokens": 100, "completion_tokens": len(text or "") // 4})
    return made


def said(model: str, number: int, sample: int) -> str | None:
    """What a model says to the question "add `number`"; None: it refuses."""
    if model == "solver":
        return _code(f"def add_{number}(x):\n    return x + {number}")
    if model != "synthesizer":
        return _code(_program(number, sample + (2 if model == "policy-b" else 0)))
    tests = [f"assert add_{number}({x}) == {x + number}" for x in range(6)]
    tests.append(f"assert add_{number}(100) == {number}")  # imagined wrongly
    question = json.dumps({"question": f"Write `add_{number}(x)`, which adds {number} to x.", "tests": tests})
    if number % 5 == 3 and sample == 0:
        return "I would rather not say."
    if number % 11 == 9:
        return None if sample == 0 else question[: len(question) // 3]
    return question


def answer(body: dict[str, Any], messages: list[dict[str, str]], seed: int) -> str | None:
    """For the loopback server: finds out what is asked, and says what the file says."""
    number = re.search(r"(?:Add|which adds) (\d+) to", "\n".join(message["content"] for message in messages))
    assert number is not None, messages
    return said(body["model"], int(number[1]), seed if body.get("temperature") else 0)


def _program(number: int, kind: int) -> str:
    name = f"add_{number}"
    return (
        f"def {name}(x):\n    return x + {number}",
        f"def {name}(x):\n    return x + {number} if x < 3 else x",
        f"def {name}(x):\n    return",
        f"def {name}(x)\n    return x",
        # Hangs cost their whole time limit: every fourth question's is enough.
        f"def {name}(x):\n    while x > 4:\n        pass\n    return x + {number}"
        if number % 4 == 0
        else f"def {name}(x):\n    return x + {number} if x <= 4 else None",
        "",
    )[(number + kind) % 6]


def _code(program: str) -> str:
    return f"\n{program}\n```\n"


def snapshot(directory: Path) -> dict[str, bytes]:
    """Everything in data/, and the manifest."""
    files = [directory / "manifest.json", *(directory / "data").rglob("*")]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files if file.is_file()}
