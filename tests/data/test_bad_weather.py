"""Bad weather: storms, cuts, stalls and kills. Everything completes, is named, is retried, and is paid for once.

Sixty-second stalls are scaled: the server stalls for longer than the client waits, which is what decides.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from acedata import _store
from acedata._ask import ask_all
from acedata._backends.openai import OpenAIBackend
from acedata._budget import PICO, Budget, Price
from acedata._errors import BackendError, BudgetReached
from acedata._requests import Answer, Failure, Outcome, Request
from acedata._store import ResponseStore
from tests.data.asking import make_requests
from tests.data.loopback import Loopback

SRC = Path(_store.__file__).resolve().parents[1]
KEY = "sk-weather-0123456789"
ALL = {
    "429": 0.08,
    "503": 0.04,
    "500": 0.08,
    "cut": 0.06,
    "stall": 0.02,
    "truncated": 0.05,
    "malformed": 0.05,
    "garbage": 0.02,
    "empty": 0.02,
}


def live(server: Loopback, **options: Any) -> OpenAIBackend:
    settings = {"base_url": server.url, "api_key_env": None, "backoff_s": 0.02, "timeout_s": 1.5, **options}
    return OpenAIBackend(**settings)


def ask_once(requests: list[Request], backend: OpenAIBackend, path: Path) -> list[tuple[Request, Outcome]]:
    with ResponseStore(path) as store:
        return list(ask_all(requests, backend, store, close=True))


def test_everything_at_once_completes_and_the_next_run_asks_only_for_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ACE_TEST_KEY", KEY)
    requests = make_requests(150, 2)
    with (
        caplog.at_level(logging.DEBUG),
        Loopback(faults=ALL, stall_s=60, refusals=0.05, storm=(3.0, 0.3), key=KEY, echo_key=True) as server,
    ):
        backend = live(server, api_key_env="ACE_TEST_KEY", retries=2)
        first = ask_once(requests, backend, tmp_path)
        assert len(first) == 300
        failed = {request.key: outcome for request, outcome in first if isinstance(outcome, Failure)}
        assert 0 < len(failed) < 100
        known = {"server error", "connection", "malformed answer", "timeout", "rate limited"}
        assert {one.reason for one in failed.values()} <= known
        assert all(one.detail and KEY not in one.detail for one in failed.values())
        assert any(isinstance(one, Answer) and one.ended == "refused" for _, one in first)
        # Ours are all the tries there are: the library underneath makes none of its own. (On a machine so busy that a
        # connection times out before it is made, the server sees fewer.)
        assert server.stats()["tries"] <= sum(backend.tries.values())
        server.set(faults={}, storm=None)
        before = server.stats()["answered"]
        second = ask_once(requests, live(server, api_key_env="ACE_TEST_KEY"), tmp_path)
        assert all(isinstance(outcome, Answer) for _, outcome in second)
        assert 0 < server.stats()["answered"] - before <= len(failed)
    kept = {request.key: outcome for request, outcome in first if isinstance(outcome, Answer)}
    assert all(outcome == kept.get(request.key, outcome) for request, outcome in second)
    assert not any(KEY in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("500", "server error"),
        ("cut", "connection"),
        ("stall", "timeout"),
        ("truncated", "connection"),
        ("malformed", "malformed answer"),
        ("garbage", "malformed answer"),
        ("empty", "malformed answer"),
        ("huge", "malformed answer"),
    ],
)
def test_each_kind_of_weather_is_named_after_as_many_tries_as_were_set(
    tmp_path: Path, fault: str, reason: str
) -> None:
    rows = 1 if fault == "huge" else 4
    with Loopback(always=fault, stall_s=60) as server:
        found = ask_once(
            make_requests(rows), live(server, retries=1, timeout_s=10 if fault == "huge" else 0.4), tmp_path
        )
        assert [outcome.reason for _, outcome in found if isinstance(outcome, Failure)] == [reason] * rows
        assert server.stats()["tries"] == 2 * rows
        server.set(always=None)
        found = ask_once(make_requests(rows), live(server), tmp_path)
        assert all(isinstance(outcome, Answer) for _, outcome in found)


def test_a_body_without_an_end_is_left_before_it_fills_the_memory(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from acedata._ask import ask_all
from acedata._backends.openai import OpenAIBackend
from acedata._store import ResponseStore
from tests.data.asking import make_requests
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
backend = OpenAIBackend(base_url=sys.argv[1], api_key_env=None, retries=0)
with ResponseStore(Path(sys.argv[2])) as store:
    ((_, outcome),) = ask_all(make_requests(1), backend, store, close=True)
assert outcome.detail == "the answer is longer than any answer can be", outcome
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), str(SRC.parent)])}
    with Loopback(always="huge") as server:
        words = [sys.executable, "-c", code, server.url, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150


def test_a_storm_is_no_fault_of_a_rows_and_costs_it_no_try(tmp_path: Path) -> None:
    # A storm of half a second, every other half, against rows that may be tried once.
    with Loopback(storm=(1.0, 0.5), latency_s=0.05, retry_after="") as server:
        found = ask_once(make_requests(200), live(server, retries=0, concurrency=32), tmp_path)
        assert all(isinstance(outcome, Answer) for _, outcome in found)
        assert server.stats()["fault_429"] > 0


def test_a_storm_without_an_end_fails_with_its_name(tmp_path: Path) -> None:
    with Loopback(always="429", retry_after_s=0.05) as server:
        found = ask_once(make_requests(5), live(server, patience_s=0.5), tmp_path)
    assert {outcome.reason for _, outcome in found if isinstance(outcome, Failure)} == {"rate limited"}


def test_an_endpoint_that_is_gone_ends_the_run_before_every_row_was_tried(tmp_path: Path) -> None:
    with Loopback() as server:
        address = server.url
    backend = OpenAIBackend(base_url=address, api_key_env=None, retries=1, backoff_s=0.01)
    with pytest.raises(BackendError, match=r"the last 100 requests failed.*connection"):
        ask_once(make_requests(5000), backend, tmp_path)
    assert sum(backend.tries.values()) < 1000


class Watched(Budget):
    """Knows the most that was reserved at a time."""

    most = 0

    def reserve(self, amount: int) -> bool:
        covered = super().reserve(amount)
        self.most = max(self.most, self.reserved)
        return covered


def test_the_budget_holds_in_bad_weather_and_covers_what_the_provider_billed(tmp_path: Path) -> None:
    """64 in flight; cut connections, time-outs and unreadable answers are billed by the server all the same."""
    price = Price(0.15, 0.60)
    requests = make_requests(400, max_tokens=300)
    spent, runs, most = 0.0, 0, 0
    faults = {"cut": 0.08, "malformed": 0.06, "stall": 0.02, "429": 0.05, "500": 0.05}
    with Loopback(faults=faults, stall_s=60, latency_s=0.25) as server:
        for limit in (0.013, 0.016, 10.0):
            runs += 1
            budget = Watched(limit, {("here", "m"): price}, spent)
            with ResponseStore(tmp_path) as store:
                try:
                    answers = list(ask_all(requests, live(server, timeout_s=0.75), store, budget, close=True))
                    break
                except BudgetReached:
                    pass
            assert budget.limit is not None and budget.spent <= budget.limit
            assert budget.reserved == 0
            stats = server.stats()
            billed = price.pico(stats["billed_prompt_tokens"], stats["billed_completion_tokens"])
            assert billed <= budget.spent
            spent = budget.spent / PICO
            most = max(most, budget.most)
            # Reserved at a time, which is what is at stake; how many of them the server holds is the machine's matter.
            assert most >= 60 * price.worst(requests[0])
    assert runs == 3
    assert len(answers) == 400


ASKER = """
import sys
from pathlib import Path
from acedata._ask import ask_all
from acedata._backends.openai import OpenAIBackend
from acedata._store import ResponseStore
from tests.data.asking import make_requests
backend = OpenAIBackend(base_url=sys.argv[1], api_key_env=None, concurrency=16, backoff_s=0.02)
with ResponseStore(Path(sys.argv[2])) as store:
    print("open", flush=True)
    for request, outcome in ask_all(make_requests(250), backend, store, close=True):
        print(request.row, flush=True)
print("end", flush=True)
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_9_at_random_instants_repeats_no_request_whose_answer_was_durable(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), str(SRC.parent)])}
    log = tmp_path / "server.log"
    requests = make_requests(250)
    rows = {request.messages[0]["content"]: request.row for request in requests}
    kills = 0
    with Loopback(log=log, latency_s=0.02, faults={"500": 0.05, "cut": 0.03}) as server:
        words = [sys.executable, "-c", ASKER, server.url, str(tmp_path / "store")]
        while True:
            durable = set()
            if (tmp_path / "store").exists():
                with ResponseStore(tmp_path / "store", readonly=True) as store:
                    durable = {record.row for record in store.records()}
            offset = log.stat().st_size if log.exists() else 0
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
                assert process.stdout is not None
                process.stdout.readline()
                if kills < 3:
                    time.sleep(0.1 + draw.random() * 0.4)
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                given = process.stdout.read().split()
            time.sleep(0.1)
            asked = {rows[json.loads(line)["asked"]] for line in log.read_bytes()[offset:].splitlines()}
            assert not asked & durable
            with ResponseStore(tmp_path / "store") as store:
                kept = {record.row for record in store.records()}
            # Whatever was handed out is kept.
            assert set(given) - {"end"} <= kept | {request.row for request in requests if "end" in given}
            if "end" in given:
                break
        with ResponseStore(tmp_path / "store") as store:
            found = list(ask_all(requests, live(server, retries=8), store, close=True))
        times = Counter(rows[json.loads(line)["asked"]] for line in log.read_bytes().splitlines())
    assert all(isinstance(outcome, Answer) for _, outcome in found)
    # Only what was in flight at a kill was answered twice.
    assert sum(times.values()) - len(times) <= 16 * kills
    with Loopback() as other:
        undisturbed = ask_once(requests, live(other), tmp_path / "undisturbed")
    assert {r.key: o for r, o in undisturbed} == {r.key: o for r, o in found}
