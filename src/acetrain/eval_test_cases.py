"""Drop-in for `acecoder.eval_test_cases`, the released project's judge: the same call, files and command line.

    from acetrain.eval_test_cases import evaluate
    results, pass_rates = evaluate(samples)

    python -m acetrain.eval_test_cases --samples FILE --output_file FILE --n_workers 8 ...

What differs, each on purpose: programs run in jails; the limits are CPU time, `gt_time_limit_factor` x 1 s per test
but at least `min_time_limit`, and 15 s for one program's tests together; the program of an answer is found as it is
everywhere in this project, and the whole answer is taken where that does not hold the entry point; a test that cannot
be parsed is one that fails, as there, and every program fails it; and a sample that could not be judged raises, or gets
the pass rate 0.0 with the status "unknown" if `unknown="zero"`.

Source: github.com/TIGER-AI-Lab/AceCoder, src/acecoder/eval_test_cases.py; read, not copied.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acedata import extract_code
from acesandbox import Asserts, BadInput, Limits, Sandbox, SandboxError, Status, Verdict

from ._scoring import MAX_PROGRAM
from ._whole import write_whole

PROGRAM_S = 15.0

_REASONS = {
    Status.PASSED: "pass",
    Status.CPU_TIMEOUT: "timeout",
    Status.WALL_TIMEOUT: "timeout",
    Status.MISSING_MODULE: "missing_dependency",
    Status.SYNTAX_ERROR: "syntax_error",
    Status.NOT_RUN: "unexecuted",
}


def evaluate(
    samples: str | os.PathLike[str] | Sequence[dict[str, Any]],
    dataset: str | None = None,
    base_only: bool = False,
    parallel: int | None = None,
    i_just_wanna_run: bool = False,
    test_details: bool = True,
    min_time_limit: float = 1.0,
    gt_time_limit_factor: float = 4.0,
    output_file: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    extract_solution: bool = True,
    *,
    unknown: str = "raise",
) -> tuple[list[dict[str, Any]], list[float]]:
    """Judges samples against their tests.

    Args:
        samples: dictionaries with `task_id`, `output` (answer or program), `tests` (list of asserts) and
            `_identifier` (unique); or a .jsonl or .json file of them.
        dataset, base_only: accepted and not used, as in the original.
        parallel, n_workers: programs at a time; the second counts. None: one per core.
        i_just_wanna_run: judge even if the result file exists; otherwise that is read.
        test_details: judge all tests; False: stop each program at its first failure, the rest is "unexecuted".
        min_time_limit, gt_time_limit_factor: seconds of CPU time per test: the larger of the two.
        output_file: where to write the results, .jsonl or .json. None: beside a file of samples,
            `NAME.eval_results.json`; nowhere for a list.
        extract_solution: find the program in the answer.
        unknown: "raise", or "zero".

    Returns:
        One result per sample, in order: `task_id`, `completion_id` (count within the task), `_identifier`,
        `solution`, `n_tests` and `eval_results`: `status` ("pass", "fail", "timeout", "syntax_error",
        "missing_dependency"), `code_error`, `details` (per test `pass`, `reason`, `error_message`, `time_limit`) and
        `pass_rate`. And the pass rates, 0 to 1.

    Raises:
        ValueError: a sample lacks something; the message names it.
        RuntimeError: a sample could not be judged, and `unknown` is "raise"; nothing is written.
        OSError: a file cannot be read or written.
    """
    del dataset, base_only
    if unknown not in ("raise", "zero"):
        raise ValueError(f'unknown must be "raise" or "zero", not {unknown!r}')
    result_path = None if output_file is None else Path(output_file)
    if isinstance(samples, (str, os.PathLike)):
        path = Path(samples)
        if result_path is None:
            result_path = path.with_name(path.name.removesuffix(".jsonl") + ".eval_results.json")
        if result_path.is_file() and not i_just_wanna_run:
            return _with_rates(_read(result_path))
        rows = _read(path)
    else:
        if result_path is not None and result_path.is_file() and not i_just_wanna_run:
            return _with_rates(_read(result_path))
        rows = list(samples)
    test_s = max(min_time_limit, gt_time_limit_factor * 1.0)
    results = _judged(rows, test_s, n_workers or parallel, not test_details, extract_solution, unknown)
    if result_path is not None:
        _write(result_path, results)
    return _with_rates(results)


def _judged(
    rows: list[dict[str, Any]],
    test_s: float,
    workers: int | None,
    fail_fast: bool,
    extract: bool,
    unknown: str,
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    jobs: list[tuple[str, Asserts, Limits]] = []
    places: list[int] = []
    counts: Counter[Any] = Counter()
    seen: set[Any] = set()
    for number, row in enumerate(rows):
        missing = [name for name in ("task_id", "output", "tests", "_identifier") if name not in row]
        if missing:
            raise ValueError(f"samples[{number}] has no {missing[0]!r}")
        for name in ("task_id", "_identifier"):
            if not isinstance(row[name], (str, int)):
                raise ValueError(
                    f"samples[{number}]: {name!r} must be a text or a number, not {row[name]!r:.60}"
                )
        if row["_identifier"] in seen:
            raise ValueError(
                f"samples[{number}] has the _identifier of an earlier one: {row['_identifier']!r}"
            )
        seen.add(row["_identifier"])
        try:
            tests = Asserts(row["tests"])
        except (BadInput, TypeError) as error:
            raise ValueError(f"samples[{number}]: {error}") from None
        solution = _program(row["output"], row["tests"], extract)
        result: dict[str, Any] = {
            "completion_id": counts[row["task_id"]],
            "task_id": row["task_id"],
            "_identifier": row["_identifier"],
            "solution": solution,
            "n_tests": len(tests),
        }
        counts[row["task_id"]] += 1
        results.append(result)
        if not _readable(solution):
            error_text = "the program is no text that an interpreter reads"
            result["eval_results"] = _nothing_ran("syntax_error", error_text, len(tests), test_s)
            continue
        limits = Limits(cpu_s=test_s, program_cpu_s=min(PROGRAM_S, test_s * len(tests)), load_cpu_s=PROGRAM_S)
        jobs.append((solution, tests, limits))
        places.append(number)
    with Sandbox(workers=workers, fail_fast=fail_fast, keep_output=False) as sandbox:
        stream: Any = sandbox.judge_many(jobs, return_errors=True)
        for place, job, verdict in zip(places, jobs, stream, strict=True):
            if isinstance(verdict, SandboxError):
                try:
                    verdict = sandbox.judge(*job[:2], limits=job[2])
                except SandboxError as error:
                    if unknown == "raise":
                        raise RuntimeError(f"samples[{place}] could not be judged: {error}") from error
                    results[place]["eval_results"] = _nothing_ran("unknown", str(error), len(job[1]), test_s)
                    continue
            results[place]["eval_results"] = _eval_results(verdict, test_s)
    return results


def _program(output: object, tests: Sequence[str], extract: bool) -> str:
    text = output if isinstance(output, str) else ""
    if not extract:
        return text
    program = extract_code(text)
    entry_point = tests[0].partition("assert ")[2].partition("(")[0].strip()
    return program if program is not None and entry_point in program else text


def _readable(program: str) -> bool:
    try:
        return "\0" not in program and len(program.encode()) <= MAX_PROGRAM
    except UnicodeEncodeError:
        return False


def _eval_results(verdict: Verdict, test_s: float) -> dict[str, Any]:
    details = [
        {
            "pass": test.passed,
            "reason": _REASONS.get(test.status, "fail"),
            "error_message": test.message or None,
            "time_limit": test_s,
        }
        for test in verdict.tests
    ]
    reason = _REASONS.get(verdict.status, "fail")
    same = len({test.message for test in verdict.tests}) == 1
    broken = not verdict.passed and same and verdict.status is not Status.FAILED
    return {
        "status": reason,
        "code_error": (verdict.tests[0].message or None) if broken else None,
        "details": details,
        "pass_rate": verdict.pass_rate,
    }


def _nothing_ran(status: str, why: str, tests: int, test_s: float) -> dict[str, Any]:
    detail = {"pass": False, "reason": "unexecuted", "error_message": None, "time_limit": test_s}
    return {
        "status": status,
        "code_error": why,
        "details": [dict(detail) for _ in range(tests)],
        "pass_rate": 0.0,
    }


def _with_rates(results: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
    return results, [result["eval_results"]["pass_rate"] for result in results]


def _read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    rows = (
        [_parsed(line, f"{path}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if path.suffix == ".jsonl"
        else _parsed(text, str(path))
    )
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of objects, or one per line")
    return rows


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: no JSON: {error}") from None


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    """Whole or not at all: a file that is there is taken for the results of a run that ended."""
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(result) + "\n" for result in results)
    else:
        text = json.dumps(results, indent=4)
    write_whole(path, text)


def _flag(word: str) -> bool:
    if word not in ("True", "False", "true", "false"):
        raise argparse.ArgumentTypeError(f"True or False, not {word}")
    return word.lower() == "true"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of the original: every argument of `evaluate` as `--name VALUE`, a bare `--name` for True.

    Raises:
        SystemExit: 2, an argument is none of these; or with a sentence, where `evaluate` raises.
    """
    parser = argparse.ArgumentParser(
        "acetrain.eval_test_cases", description="judge samples against their tests"
    )
    parser.add_argument("--samples", required=True)
    for name in ("output_file", "dataset"):
        parser.add_argument(f"--{name}")
    for name in ("n_workers", "parallel"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("min_time_limit", "gt_time_limit_factor"):
        parser.add_argument(f"--{name}", type=float, default=1.0 if name == "min_time_limit" else 4.0)
    for name in ("test_details", "extract_solution", "i_just_wanna_run", "base_only"):
        default = name in ("test_details", "extract_solution")
        parser.add_argument(f"--{name}", type=_flag, nargs="?", const=True, default=default)
    parser.add_argument("--unknown", choices=("raise", "zero"), default="raise")
    given = vars(parser.parse_args(arguments))
    try:
        _, rates = evaluate(**given)
    except (ValueError, RuntimeError, OSError, SandboxError) as error:
        sys.exit(f"acetrain.eval_test_cases: {error}")
    print(f"Pass rate: {sum(rates) / len(rates) if rates else 0.0}")


if __name__ == "__main__":
    main()
