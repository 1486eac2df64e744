"""Whole build directories for tests of what reads them: made of seeds that nobody wrote and results that nobody ran,
by the real views, in several shards."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from acedata._directory import Building, Counts, Directory, drops_table
from acedata._extract import extract_code
from acedata._recipe import Recipe, parse_recipe
from acedata._records import (
    CPU,
    DROPS,
    FILTERED,
    HARD,
    MATRIX,
    PAIRS,
    PASS_RATES,
    PROGRAMS,
    QUESTIONS,
    SEEDS,
    Drop,
)
from acedata._stages import ORDER
from acedata._views import filter_questions, hard_questions, pass_rates, preference_pairs, published

RECIPE = """\
# A build for tests.
name: tiny
definition: {definition}
seed: 7
seeds:
  sources:
    - {{name: evol, from: hub, path: ise-uiuc/Magicoder-Evol-Instruct-110K}}
    - {{name: oss, from: hub, path: ise-uiuc/Magicoder-OSS-Instruct-75K}}
    - {{name: stack_python_fns, from: hub, path: bigcode/stack-dedup-python-fns}}
models:
  writer: {{backend: replay, provider: openai, model: gpt-4o-mini, temperature: 0.7, answers: a.jsonl}}
  strong: {{backend: replay, provider: vllm, model: Strong-32B, answers: a.jsonl}}
  small: {{backend: replay, provider: vllm, model: Small-7B, temperature: 0.7, answers: a.jsonl}}
  other: {{backend: replay, provider: vllm, model: Other-8B, temperature: 1.0, answers: a.jsonl}}
questions: {{model: writer}}
references: {{models: [strong]}}
samples: {{models: [small, other], n: {n}}}
pairs: {{models: [small, other]}}
hard: {{models: [small, other]}}
export:
  forms: [acecode, pairs, extended, hard, trl, verl, openrlhf, llama-factory]
  validation: {validation}
shard_rows: {shard_rows}
"""

HOSTILE = (
    "</script><script>document.documentElement.dataset.pwned = 'yes'</script>"
    '<img src=x onerror="document.documentElement.dataset.pwned = 1"> <!-- ]]> {{ 7 * 7 }} {% raw %} '
    "\u2028\u2029 ${1} `x` | <b>bold</b> & &lt; ' \" \\ \x00 \ud7ff \U0001f4a5 ```` ```python \r\n end"
)
"""Text that becomes markup, script or Markdown wherever somebody forgets to escape."""

_STATUSES = ("failed", "error", "cpu_timeout", "syntax_error", "exited", "not_run")


def make_build(
    path: Path,
    *,
    seeds: int = 60,
    n: int = 4,
    shard_rows: int = 16,
    definition: str = "paper",
    validation: float = 0.2,
    hostile: bool = True,
    seed: int = 0,
) -> Directory:
    """Makes a finished build of about two thirds as many questions as seeds."""
    recipe = parse_recipe(
        RECIPE.format(definition=definition, n=n, shard_rows=shard_rows, validation=validation)
    )
    made = _Made(recipe, seeds, n, hostile, random.Random(seed))
    with Building(path) as building:
        building.keep_recipe(recipe)
        for stage, (rows, drops, counted, unit_out) in made.stages().items():
            _write(building, recipe, stage, rows, drops, counted, unit_out)
            building.note_run(stage, {"seconds": 1.25, "rows": rows.num_rows, "host": "h"})
    return Directory(path)


def _write(
    building: Building, recipe: Recipe, stage: str, rows: Any, drops: Any, counted: list[int], out: list[int]
) -> None:
    """Cuts a stage into shards. `counted`, `out`: the order of every row taken in, and of every one that is left."""
    files = building.stage(stage, f"{stage:f<64}")
    size = recipe.shard_rows
    shards = {order // size for order in counted} or {0}
    for shard in sorted(shards):

        def cut(table: Any, shard: int = shard) -> Any:
            return table.filter(
                pa.array([order // size == shard for order in table["order"].to_pylist()], pa.bool_())
            )

        counts = Counts(
            rows_in=sum(order // size == shard for order in counted),
            rows_out=sum(order // size == shard for order in out),
        )
        part = cut(rows)
        cpu = None
        if rows.schema.equals(MATRIX):
            cpu = pa.table(
                {
                    "order": part["order"],
                    "completion_id": part["completion_id"],
                    "cpu_us": [[1500] * len(one) for one in part["sealed"].to_pylist()],
                },
                schema=CPU,
            )
        files.write(shard, "k", part, counts, cut(drops), cpu)
    files.finish(dict.fromkeys(sorted(shards), "k"), ORDER)


class _Made:
    def __init__(self, recipe: Recipe, seeds: int, n: int, hostile: bool, chance: random.Random) -> None:
        self.recipe, self.count, self.n, self.hostile, self.chance = recipe, seeds, n, hostile, chance

    def stages(self) -> dict[str, tuple[Any, Any, list[int], list[int]]]:
        recipe, made = self.recipe, {}
        everyone = list(range(self.count))
        lost = [Drop(self.id(order), order, "no function or class") for order in everyone if order % 11 == 10]
        kept = [order for order in everyone if order % 11 != 10]
        made["seeds"] = _stage(SEEDS, [self.seed(order) for order in kept], lost, everyone, kept)

        lost = [
            Drop(self.id(order), order, "no JSON in the answer", "x" * 9) for order in kept if order % 13 == 5
        ]
        asked = [order for order in kept if order % 13 != 5]
        questions = [self.question(order) for order in asked]
        made["questions"] = _stage(QUESTIONS, questions, lost, kept, asked)
        made["checked"] = _stage(QUESTIONS, questions, [], asked, asked)

        references = [self.reference(row) for row in questions]
        made["references"] = _stage(PROGRAMS, references, [], asked, asked)
        judged = [self.judge(row, program) for row, program in zip(questions, references, strict=True)]
        made["reference_matrix"] = _stage(MATRIX, judged, [], asked, asked)

        views = filter_questions(
            made["checked"][0].to_batches(),
            made["reference_matrix"][0].to_batches(),
            definition=recipe.definition,
        )
        filtered, drops = _viewed(FILTERED, views)
        left = filtered["order"].to_pylist()
        made["filtered"] = (filtered, drops, asked, left)

        samples = [self.sample(row, number) for row in filtered.to_pylist() for number in range(2 * self.n)]
        rows = {row["order"]: row for row in filtered.to_pylist()}
        orders = [row["order"] for row in samples]
        made["samples"] = _stage(PROGRAMS, samples, [], orders, orders)
        matrix = [self.judge(rows[row["order"]], row) for row in samples]
        made["sample_matrix"] = _stage(MATRIX, matrix, [], orders, orders)
        rates, drops = _viewed(
            PASS_RATES,
            pass_rates(
                filtered.to_batches(), made["sample_matrix"][0].to_batches(), definition=recipe.definition
            ),
        )
        made["pass_rates"] = (rates, drops, orders, orders)
        pairs, drops = _viewed(
            PAIRS,
            preference_pairs(
                filtered.to_batches(),
                made["samples"][0].to_batches(),
                rates.to_batches(),
                models=["small", "other"],
                definition=recipe.definition,
            ),
        )
        made["pairs"] = (pairs, drops, left, sorted(set(pairs["order"].to_pylist())))
        public = list(published(filtered.to_batches()))
        taken = {order for batch in public for order in batch["order"].to_pylist()}
        counted = rates.filter(pa.array([order in taken for order in rates["order"].to_pylist()]))
        hard, drops = _viewed(HARD, hard_questions(public, counted.to_batches(), models=["small", "other"]))
        few = [Drop(self.id(order), order, "not published") for order in left if order not in taken]
        drops = pa.concat_tables([drops, drops_table(few)]).sort_by("order")
        made["hard"] = (hard, drops, left, hard["order"].to_pylist())
        return made

    def source(self, order: int) -> str:
        return ("evol", "oss", "stack_python_fns")[3 * order // self.count]

    def id(self, order: int) -> str:
        return f"{self.source(order)}_{order}"

    def seed(self, order: int) -> dict[str, Any]:
        instruction = None if self.source(order) == "stack_python_fns" else f"Do the thing {order}."
        return {
            "id": self.id(order),
            "source": self.source(order),
            "order": order,
            "instruction": instruction,
            "program": "def f(x):\n    return x\n",
        }

    def question(self, order: int) -> dict[str, Any]:
        text = f"Write a function `add_{order}(a, b)` that adds {order} to the sum of `a` and `b`."
        tests = [
            f"assert add_{order}({a}, {a + 1}) == {2 * a + 1 + order}" for a in range(6 + order * 7 % 13)
        ]
        if self.hostile and order == 3:
            text += "\n" + HOSTILE
            tests[1] = f"assert add_3(0, {HOSTILE!r}) == 'ä'  # </script>"
        if order == 4:
            text += " Größe, 数."
        return {
            "id": self.id(order),
            "source": self.source(order),
            "order": order,
            "question": text,
            "tests": tests,
            "model": "writer",
            "format": "synthesis-1",
            "sample": 0,
        }

    def reference(self, row: dict[str, Any]) -> dict[str, Any]:
        return self.program(row["id"], row["order"], "strong", 0, 0)

    def sample(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        model = "small" if number < self.n else "other"
        return self.program(row["id"], row["order"], model, number, number % self.n)

    def program(self, name: str, order: int, model: str, number: int, sample: int) -> dict[str, Any]:
        text: str | None = (
            f"def add_{order}(a, b):\n    # {model} {number}\n    return a + b + {order if number % 3 else number}"
        )
        if self.hostile and order == 3:
            text = f"def add_3(a, b):\n    return '''{HOSTILE}'''  # {number}"
        if model == "other" and number % 7 == 6:
            text = None
        answer = "I cannot." if text is None else f"\n{text}\n```\nThat is it."
        assert self.hostile or text is None or extract_code(answer, prefilled=True) == text
        return {
            "id": name,
            "order": order,
            "model": model,
            "completion_id": number,
            "sample": sample,
            "format": "sample-2",
            "shown_tests": 2,
            "ended": "stop",
            "answer": answer,
            "program": text,
        }

    def judge(self, row: dict[str, Any], program: dict[str, Any]) -> dict[str, Any]:
        tests, chance = len(row["tests"]), self.chance
        if program["program"] is None:
            statuses = ["not_run"] * tests
        elif program["model"] == "strong":
            bad = 0.65 if row["order"] % 9 == 8 else 0.1
            statuses = ["failed" if chance.random() < bad else "passed" for _ in range(tests)]
        else:
            good = chance.choice((0.0, 0.3, 0.6, 0.95, 1.0, 1.0))
            failure = chance.choice(_STATUSES)
            statuses = ["passed" if chance.random() < good else failure for _ in range(tests)]
        message = HOSTILE if self.hostile and row["order"] == 3 else "AssertionError: got 7, expected 8"
        return {
            "id": program["id"],
            "order": program["order"],
            "model": program["model"],
            "completion_id": program["completion_id"],
            "statuses": statuses,
            "sealed": [status != "not_run" and chance.random() < 0.97 for status in statuses],
            "modes": ["none" if status == "not_run" else "plan" for status in statuses],
            "messages": [None if status in ("passed", "not_run") else message for status in statuses],
        }


def _stage(
    schema: Any, rows: list[dict[str, Any]], drops: list[Drop], counted: list[int], out: list[int]
) -> tuple[Any, Any, list[int], list[int]]:
    return pa.Table.from_pylist(rows, schema=schema), drops_table(drops), counted, out


def _viewed(schema: Any, views: Iterable[Any]) -> tuple[Any, Any]:
    listed = list(views)
    rows = pa.Table.from_batches([view.rows for view in listed], schema)
    drops = pa.Table.from_batches([view.drops for view in listed], DROPS)
    order = [("order", "ascending")]
    return rows, drops.sort_by(order) if drops.num_rows else drops
