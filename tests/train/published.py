"""Benchmark files in their published forms, made from the real workloads (or of nothing) for the evaluation's tests."""

from __future__ import annotations

import ast
import base64
import gzip
import json
import pickle
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from acedata._python import parse
from acetrain._benchmarks._problem import foreign_modules
from tests import workloads

Row = dict[str, Any]


def write(path: Path, rows: Iterable[Row]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def humaneval(row: Row) -> Row:
    prompt = row["prompt"]
    assert row["program"].startswith(prompt)
    return {
        "task_id": row["task_id"],
        "prompt": prompt,
        "entry_point": row["entry_point"],
        "canonical_solution": row["program"][len(prompt) :],
        "test": row["tests"][0],
    }


def mbpp(row: Row) -> Row:
    return {
        "task_id": int(row["task_id"].split("/")[1]),
        "text": row["prompt"],
        "code": row["program"],
        "test_list": row["tests"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }


def _parsed(program: str) -> list[ast.stmt]:
    tree = parse(program)
    assert isinstance(tree, ast.Module)
    return tree.body


def bigcodebench(row: Row) -> Row:
    prompt, program = row["prompt"], row["program"]
    assert program.startswith(prompt)
    function = next(
        node
        for node in _parsed(program)
        if isinstance(node, ast.FunctionDef) and node.name == row["entry_point"]
    )
    head = "\n".join(program.split("\n")[: function.body[0].lineno - 1])
    return {
        "task_id": row["task_id"],
        "complete_prompt": prompt,
        "instruct_prompt": f"Write it. Start with:\n```\n{head}\n```",
        "code_prompt": head,
        "canonical_solution": program[len(prompt) :],
        "test": row["tests"][0],
        "entry_point": row["entry_point"],
        "libs": str(row["needs"]),
    }


def bare_function(row: Row) -> str:
    """The reference's function and nothing above it: no imports, no constants."""
    program = row["program"]
    function = next(
        node
        for node in _parsed(program)
        if isinstance(node, ast.FunctionDef) and node.name == row["entry_point"]
    )
    return ast.get_source_segment(program, function) or ""


def packed(tests: object) -> str:
    """Private tests as LiveCodeBench packs them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def livecodebench(
    question_id: str,
    tests: Sequence[tuple[str, str]],
    *,
    function: str | None = None,
    pack: bool = True,
    public: int = 1,
) -> Row:
    kind = "functional" if function else "stdin"
    cases = [{"input": given, "output": expected, "testtype": kind} for given, expected in tests]
    private = cases[public:]
    return {
        "question_title": "A title",
        "question_content": "A question.",
        "platform": "leetcode" if function else "atcoder",
        "question_id": question_id,
        "contest_id": "1",
        "contest_date": "2024-01-01T00:00:00",
        "starter_code": f"class Solution:\n    def {function}(self, x):\n        " if function else "",
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases[:public]),
        "private_test_cases": packed(private) if pack else json.dumps(private),
        "metadata": json.dumps({"func_name": function} if function else {}),
    }


def standard_library_only(rows: Iterable[Row]) -> list[Row]:
    """Rows whose program and whose tests need nothing else."""
    return [row for row in rows if not foreign_modules(row["program"], row["tests"][0])]


def rows(name: str, limit: int | None = None, step: int = 1) -> list[Row]:
    return workloads.rows(name, limit, step)
