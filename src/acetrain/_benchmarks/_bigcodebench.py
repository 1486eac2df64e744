"""BigCodeBench: `task_id, complete_prompt, instruct_prompt, code_prompt, canonical_solution, test, entry_point, libs`.

Two questions per task, *complete* (go on from imports, head and docstring) and *instruct* (prose that ends in the
head), and two sets of tasks, *full* (`bigcode/bigcodebench`, 1140) and *hard* (`bigcode/bigcodebench-hard`, 148).

Programs are judged calibrated, as the benchmark's own harness does: `code_prompt`, which ends in the function's head,
and a line `pass` go before each program, so that a model that leaves out the imports it was shown is not failed for it.
"""

from __future__ import annotations

import ast
from typing import Any

from acedata._errors import BadInput
from acedata._rows import Row
from acesandbox import Limits, UnitTests

from ._problem import Problem, Spec, foreign_modules, task_id_of, text_of
from ._readable import check_name, check_unit_tests

# Its harness gives a task 240 s by the wall, waiting included: one reference waits for a minute. Every reference that
# needs the standard library alone is done within a minute of computing.
LIMITS = Limits(
    cpu_s=60.0,
    program_cpu_s=60.0,
    load_cpu_s=60.0,
    judge_cpu_s=60.0,
    idle_s=240.0,
    memory_mb=8192,
    processes=64,
)


def bigcodebench(row: Row, spec: Spec) -> Problem:
    instruct = "instruct" in spec.name
    complete_prompt = text_of(row, "complete_prompt")
    question = text_of(row, "instruct_prompt") if instruct else complete_prompt
    code_prompt = text_of(row, "code_prompt")
    test = text_of(row, "test")
    entry_point = text_of(row, "entry_point")
    solution = text_of(row, "canonical_solution", optional=True)
    tests = UnitTests(test, entry_point=entry_point, prompt=code_prompt)
    check_name(row, "column 'entry_point'", entry_point)
    check_unit_tests(row, "column 'test'", test)
    return Problem(
        task_id=task_id_of(row, spec.prefix, "task_id"),
        prompt=complete_prompt,
        question=question,
        ask="text" if instruct else "code",
        tests=tests,
        entry_point=entry_point,
        preamble=code_prompt + "\n    pass\n",
        modules=foreign_modules(complete_prompt + solution, test)
        | foreign_modules("\n".join(f"import {name}" for name in _libs(row))),
        reference=complete_prompt + solution if solution else None,
        limits=LIMITS,
        where=row.where,
        framed=question.strip() if instruct else f"```\n{question.strip()}\n```",
    )


def _libs(row: Row) -> list[str]:
    """`libs`: a list, or its Python source."""
    value: Any = row.values.get("libs")
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            value = None
            raise BadInput(f"{row.where}: column 'libs' is no list of module names") from None
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise BadInput(f"{row.where}: column 'libs' is no list of module names")
    return [name.split(".")[0] for name in value if name.split(".")[0].isidentifier()]
