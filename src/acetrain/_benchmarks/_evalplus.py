"""HumanEval, MBPP and their extended forms by EvalPlus, in the forms that ship their tests as Python.

HumanEval (`openai/openai_humaneval`) and HumanEval+ (`evalplus/humanevalplus`, `HumanEvalPlus-OriginFmt`):
`task_id, prompt, entry_point, canonical_solution, test`, where `test` defines `check(candidate)`.

MBPP (`google-research-datasets/mbpp`, both configurations) and MBPP+ (`evalplus/mbppplus`, `MbppPlus-OriginFmt`):
`task_id, text | prompt, code, test_list`, and of these `test_setup_code` or `test_imports`, and `test`: a script that
calls the function. MBPP is judged by `test_list` whichever file it comes from, MBPP+ by `test`.

EvalPlus' other form, inputs without expected outputs (`base_input, plus_input, atol`), is refused with a pointer to
these: its expected values and special comparisons live in EvalPlus' code.
"""

from __future__ import annotations

import ast
import re

from acedata._errors import BadInput
from acedata._python import parse
from acedata._rows import Row
from acedata._signature import entry_point as entry_point_of
from acesandbox import Asserts, CheckScript, Limits

from ._problem import Problem, Spec, foreign_modules, task_id_of, text_of, texts_of
from ._readable import check_name, check_source

BASE_LIMITS = Limits(cpu_s=3.0, program_cpu_s=9.0, load_cpu_s=3.0, memory_mb=4096)
# The script imports numpy while the program waits for its first call; on a busy machine that takes seconds by the wall.
PLUS_LIMITS = Limits(
    cpu_s=15.0, program_cpu_s=15.0, load_cpu_s=5.0, judge_cpu_s=30.0, idle_s=30.0, memory_mb=4096
)


def humaneval(row: Row, spec: Spec) -> Problem:
    _refuse_inputs_only(row)
    prompt = text_of(row, "prompt")
    test = text_of(row, "test")
    entry_point = text_of(row, "entry_point")
    reference = prompt + text_of(row, "canonical_solution", optional=True)
    tests = CheckScript(test, entry_point, prompt=prompt)
    check_name(row, "column 'entry_point'", entry_point)
    check_source(row, "column 'test'", test, defines="check")
    return Problem(
        task_id=task_id_of(row, spec.prefix, "task_id"),
        prompt=prompt,
        question=prompt,
        ask="code",
        tests=tests,
        entry_point=entry_point,
        preamble="",
        modules=foreign_modules(reference, test),
        reference=reference if reference != prompt else None,
        limits=PLUS_LIMITS if "+" in spec.name else BASE_LIMITS,
        where=row.where,
        framed=f"```\n{prompt.strip()}\n```",
    )


def mbpp(row: Row, spec: Spec) -> Problem:
    _refuse_inputs_only(row)
    question = text_of(row, "text", "prompt")
    code = text_of(row, "code", "canonical_solution", optional=True)
    listed = texts_of(row, "test_list")
    if not listed:
        raise BadInput(f"{row.where}: no column 'test_list' with the asserts")
    setup = "\n".join(
        [*texts_of(row, "test_imports"), text_of(row, "test_setup_code", optional=True)]
    ).strip()
    entry_point = _entry_point(row, listed)
    if entry_point is not None:
        check_name(row, "column 'entry_point'", entry_point)
    for number, test in enumerate(listed):
        check_source(row, f"test_list[{number}]", test)
    check_source(row, "the test's setup ('test_imports', 'test_setup_code')", setup)
    plus = "+" in spec.name
    if plus:
        script = text_of(row, "test")
        tests: CheckScript | Asserts = CheckScript(script, entry_point)
        check_source(row, "column 'test'", script)
    else:
        script = "\n".join(listed)
        tests = Asserts(listed, entry_point=entry_point)
    return Problem(
        task_id=task_id_of(row, spec.prefix, "task_id"),
        prompt="",
        question=f"{question.strip()}\nYour code should satisfy these tests:\n" + "\n".join(listed),
        ask="text",
        tests=tests,
        entry_point=entry_point,
        preamble="",
        after=f"\n{setup}\n" if setup and not plus else "",
        modules=foreign_modules(code, script, setup),
        reference=code or None,
        limits=PLUS_LIMITS if plus else BASE_LIMITS,
        where=row.where,
        framed=f'```\n"""\n{question.strip()}\n{listed[0].strip()}\n"""\n```',
    )


def _entry_point(row: Row, tests: list[str]) -> str | None:
    """The function that the tests call: EvalPlus names it, MBPP does not."""
    named = row.values.get("entry_point")
    if isinstance(named, str) and named:
        return named
    found = entry_point_of(tests)
    if found is not None:
        return found
    # All else that MBPP's asserts do: the called name that the reference defines.
    defined = _defined(text_of(row, "code", optional=True))
    called = re.findall(r"\b([A-Za-z_]\w*)\s*\(", "\n".join(tests))
    return next((str(name) for name in called if name in defined), None)


def _defined(code: str) -> set[str]:
    tree = parse(code)
    if not isinstance(tree, ast.Module):
        return set(re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _refuse_inputs_only(row: Row) -> None:
    if "plus_input" in row.values and not row.values.get("test"):
        raise BadInput(
            f"{row.where}: this is EvalPlus' form with inputs alone (`plus_input`), whose expected outputs are in no "
            "file; give its form with a `test` column: evalplus/humanevalplus or evalplus/mbppplus on the hub, or the "
            "release file that ends in OriginFmt"
        )
