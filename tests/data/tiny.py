"""A small build with everything in it that builds meet: seeds and replayed answers made on the spot.

Every question is "add k": its seed is a function of that kind, its tests are right except for one, policies write right,
wrong, broken, hanging and empty programs in turn. All of it follows from numbers, so two calls make the same files.
"""

from __future__ import annotations

import json
from pathlib import Path

from acedata._recipe import Recipe, load_recipe

RECIPE = """\
name: tiny
seeds:
  sources:
    - {{name: evol, from: files, path: evol.jsonl}}
    - {{name: oss, from: files, path: oss.jsonl}}
models:
  synthesizer: {{backend: replay, provider: replay, model: synthesizer, temperature: 0.7, answers: answers.jsonl, json: true}}
  solver: {{backend: replay, provider: replay, model: solver, answers: answers.jsonl}}
  policy-a: {{backend: replay, provider: replay, model: policy-a, temperature: 0.7, answers: answers.jsonl}}
  policy-b: {{backend: replay, provider: replay, model: policy-b, temperature: 0.7, answers: answers.jsonl}}
questions: {{model: synthesizer, attempts: 2}}
references: {{models: [solver]}}
samples: {{models: [policy-a, policy-b], n: {draws}}}
judge: {{limits: {{cpu_s: 0.1, program_cpu_s: 0.2, idle_s: 0.5}}}}
pairs: {{models: [policy-a]}}
hard: {{models: [policy-a, policy-b]}}
shard_rows: {shard_rows}
"""


def write(folder: Path, seeds: int = 12, draws: int = 4, shard_rows: int = 4, more: str = "") -> Recipe:
    """Writes recipe.yaml, sources and answers into a folder; returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, object]] = []
    half = seeds // 2
    for source, numbers in (("evol", range(half)), ("oss", range(half, seeds))):
        with (folder / f"{source}.jsonl").open("w") as file:
            for place, number in enumerate(numbers):
                file.write(json.dumps(_seed(source, number)) + "\n")
                answers += _answers(f"{source}_{place}", number, draws)
    with (folder / "answers.jsonl").open("w") as file:
        file.writelines(json.dumps(answer) + "\n" for answer in answers)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(draws=draws, shard_rows=shard_rows) + more)
    return load_recipe(path)


def _seed(source: str, number: int) -> dict[str, str]:
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

    def answer(model: str, text: str, sample: int = 0, **more: object) -> None:
        tokens = {"prompt_tokens": 100, "completion_tokens": len(text) // 4}
        made.append({"model": model, "row": id, "sample": sample, "text": text, **tokens, **more})

    tests = [f"assert add_{number}({x}) == {x + number}" for x in range(6)]
    tests.append(f"assert add_{number}(100) == {number}")  # imagined wrongly
    question = json.dumps({"question": f"Write `add_{number}(x)`, which adds {number} to x.", "tests": tests})
    if number % 5 == 3:
        answer("synthesizer", "I would rather not say.")
        answer("synthesizer", question, 1)
    elif number % 11 == 9:
        answer("synthesizer", "", ended="refused")
        answer("synthesizer", question[: len(question) // 3], 1, ended="length")
    else:
        answer("synthesizer", question)
    answer("solver", _code(f"def add_{number}(x):\n    return x + {number}"))
    for model, shift in (("policy-a", 0), ("policy-b", 2)):
        for sample in range(draws):
            answer(model, _code(_program(number, sample + shift)), sample)
    return made


def _program(number: int, kind: int) -> str:
    name = f"add_{number}"
    return (
        f"def {name}(x):\n    return x + {number}",
        f"def {name}(x):\n    return x + {number} if x < 3 else x",
        f"def {name}(x):\n    return",
        f"def {name}(x)\n    return x",
        f"def {name}(x):\n    while x > 4:\n        pass\n    return x + {number}",
        "",
    )[(number + kind) % 6]


def _code(program: str) -> str:
    return f"\n{program}\n```\n"


def snapshot(directory: Path) -> dict[str, bytes]:
    """Everything in data/, and the manifest."""
    files = [directory / "manifest.json", *(directory / "data").rglob("*")]
    return {str(file.relative_to(directory)): file.read_bytes() for file in files if file.is_file()}
