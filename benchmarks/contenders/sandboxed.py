"""acesandbox, through its public API, with every default: isolated, sealed, limited, accounted.

    sandboxed.py ROWS WARM WORKERS SECONDS RESULTS [OPTIONS]

OPTIONS is JSON: `isolation`, and `limits` by name. A row may carry limits of its own. Identical pairs are judged as
often as they occur.
"""

from __future__ import annotations

import collections
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import protocol

from acesandbox import Limits, Sandbox
from tests.workloads import tests_of


def main() -> None:
    path, warm, workers, _, out = protocol.arguments()
    options: dict[str, Any] = json.loads(sys.argv[6]) if len(sys.argv) > 6 else {}
    limits = Limits(**options.get("limits", {}))
    rows = list(protocol.rows(path))
    jobs = [job(row, limits) for row in rows]
    results: dict[int, bytes] = {}
    statuses: collections.Counter[str] = collections.Counter()
    sealed = 0
    with Sandbox(workers=workers, isolation=options.get("isolation", "namespaces"), limits=limits) as sandbox:
        for _ in sandbox.judge_many(jobs[:warm], dedupe=False):
            pass
        begun = time.perf_counter()
        verdicts = list(sandbox.judge_many(jobs[warm:], dedupe=False))
        taken = time.perf_counter() - begun
        tier = sandbox.tier
    by_row = {}
    for (number, *_), verdict in zip(rows[warm:], verdicts, strict=True):
        results[number] = bytes(b"1"[0] if test.passed else b"0"[0] for test in verdict.tests)
        by_row[number] = [test.status.value for test in verdict.tests]
        statuses.update(by_row[number])
        sealed += sum(test.sealed for test in verdict.tests)
    protocol.write(
        out,
        results,
        taken,
        statuses=dict(statuses),
        by_row=by_row,
        sealed_tests=sealed,
        tier=tier,
    )


def job(row: tuple[int, str, list[str], dict[str, Any]], limits: Limits) -> tuple[Any, ...]:
    _, program, tests, kept = row
    own = Limits(**kept["limits"]) if kept["limits"] else limits
    return program, tests_of({"tests": tests, "task_id": row[0], **kept}), own


main()
