"""Finds the real workloads: the one helper of tests and benchmarks.

Workloads are files of real problems and programs, one JSON object per line, in the form `acesandbox judge` reads. They
are other people's data and no part of this repository: they lie in the folder that ACE_WORKLOADS names, or in
`shared/workloads` beside the checkout. Without that folder, what needs it is skipped with "not available"; where
ACE_MUST_WORK=1 is set (our CI) it fails instead.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class NotAvailable(Exception):
    """The workloads are not on this machine."""


def folder() -> Path:
    """The folder of workloads.

    Raises:
        NotAvailable: there is none.
    """
    named = os.environ.get("ACE_WORKLOADS")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "workloads"
    if not path.is_dir():
        raise NotAvailable(
            f"real workloads are not available: no folder {path} (ACE_WORKLOADS names another)"
        )
    return path


def rows(name: str, limit: int | None = None, step: int = 1) -> list[Row]:
    """The rows of one file, e.g. `mbpp_canonical`: every `step`-th, at most `limit`.

    Raises:
        NotAvailable: the folder or the file is missing.
    """
    chosen = [row for number, row in enumerate(_read(name)) if number % step == 0]
    return chosen if limit is None else chosen[:limit]


def _read(name: str) -> Iterator[Row]:
    path = folder() / f"{name}.jsonl.gz"
    if not path.exists():
        raise NotAvailable(f"the workload {name} is not available: no file {path}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def tests_of(row: Row) -> Any:
    """A row's tests as the public API takes them."""
    from acesandbox import Asserts, CheckScript, UnitTests

    kind = row["test_kind"]
    if kind == "asserts":
        return Asserts(row["tests"], entry_point=row["entry_point"], prompt=row["prompt"])
    if kind == "check_script":
        return CheckScript(row["tests"][0], row["entry_point"], prompt=row["prompt"])
    if kind == "unittest":
        return UnitTests(row["tests"][0], entry_point=row["entry_point"], prompt=row["prompt"])
    raise ValueError(f"unknown test_kind {kind!r} in {row['task_id']}")
