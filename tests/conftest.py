"""What every test shares: how a missing kernel feature or a missing workload is treated.

ACE_MUST_WORK=1 says that this machine has everything: then what would be skipped fails. Our CI sets it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests import workloads

# Whoever starts the tests in the background of a shell makes them ignore Ctrl-C, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tables for people are as wide as the terminal, which is none of a test's business.
os.environ["COLUMNS"] = "150"

MUST_WORK = os.environ.get("ACE_MUST_WORK") == "1"


def unavailable(reason: str) -> None:
    """Skip the running test because the machine lacks something; fail it where the machine must have it."""
    if MUST_WORK:
        pytest.fail(f"ACE_MUST_WORK=1, and yet: {reason}")
    pytest.skip(reason)


@pytest.fixture
def workload() -> Callable[..., list[workloads.Row]]:
    """`workload("mbpp_canonical", limit=100)`: rows of a real workload, or a skip that says what is missing."""

    def rows(name: str, limit: int | None = None, step: int = 1) -> list[workloads.Row]:
        try:
            return workloads.rows(name, limit, step)
        except workloads.NotAvailable as missing:
            unavailable(str(missing))
            raise

    return rows


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a workload carries the marker, so `-m 'not workloads'` needs no bookkeeping."""
    for item in items:
        if "workload" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.workloads)
