"""The back-ends against a loopback server: what is sent, what is read, what an endpoint lacks, and whose key it is."""

from __future__ import annotations

import asyncio
import email.utils
import importlib
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acedata import _store
from acedata._ask import ask_all
from acedata._backends import open_backend
from acedata._backends._chat import Features, answers_of, body_of, grouped
from acedata._backends._limiter import Limiter
from acedata._backends._secrets import Secrets
from acedata._backends.openai import OpenAIBackend, retry_after
from acedata._backends.openai_batch import OpenAIBatchBackend
from acedata._backends.replay import ReplayBackend
from acedata._budget import Budget, Price
from acedata._errors import BackendError, BadInput, MissingAnswer
from acedata._recipe import ModelConfig
from acedata._requests import Answer, Backend, Failure, Outcome, Request, Sampling
from acedata._store import ResponseStore
from tests.data.asking import make_requests
from tests.data.loopback import Loopback

SRC = Path(_store.__file__).resolve().parents[1]
KEY = "sk-test-0123456789abcdef"


def live(server: Loopback, **options: Any) -> OpenAIBackend:
    settings = {"base_url": server.url, "api_key_env": None, "backoff_s": 0.02, "timeout_s": 10.0, **options}
    return OpenAIBackend(**settings)


def batched(server: Loopback, journal: Path, **options: Any) -> OpenAIBatchBackend:
    settings = {"base_url": server.url, "api_key_env": None, "backoff_s": 0.02, "poll_s": 0.05, **options}
    return OpenAIBatchBackend(journal=journal, **settings)


def ask_once(
    requests: list[Request], backend: Backend, path: Path, budget: Budget | None = None
) -> dict[bytes, Outcome]:
    with ResponseStore(path) as store:
        return {
            request.key: outcome for request, outcome in ask_all(requests, backend, store, budget, close=True)
        }


def texts(found: dict[bytes, Outcome]) -> dict[bytes, str]:
    assert all(isinstance(one, Answer) for one in found.values()), found
    return {key: one.text for key, one in found.items() if isinstance(one, Answer)}


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


# ---- what is sent ----


def test_a_body_says_what_the_request_says_and_no_more() -> None:
    messages = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "```python\n"})
    request = Request("p", "m", messages, Sampling(0.7, 0.9, ("STOP",), json=True), 77, 3)  # type: ignore[arg-type]
    assert body_of([request], Features()) == {
        "model": "m",
        "messages": list(messages),
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["STOP"],
        "seed": 3,
        "max_tokens": 77,
        "response_format": {"type": "json_object"},
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    bare = Request("p", "m", messages[:1], Sampling(), 77)  # type: ignore[arg-type]
    assert body_of([bare] * 4, Features(old_limit=False)) == {
        "model": "m",
        "messages": list(messages[:1]),
        "temperature": 0.0,
        "n": 4,
        "max_completion_tokens": 77,
    }
    without = body_of([request], Features(prefill=False, json=False, seed=False))
    assert without["messages"] == [messages[0]]
    assert not {"continue_final_message", "response_format", "seed"} & without.keys()


def test_consecutive_samples_of_one_prompt_are_one_call() -> None:
    async def groups(requests: list[Request], most: int) -> list[list[int]]:
        async def source() -> Any:
            for request in requests:
                yield request

        return [[one.sample for one in group] async for group in grouped(source(), Features(samples=most))]

    both = make_requests(2, 5)
    assert asyncio.run(groups(both, 4)) == [[0, 1, 2, 3], [4], [0, 1, 2, 3], [4]]
    # A hole: its samples would get each other's seeds.
    assert asyncio.run(groups([both[0], both[2], both[3]], 4)) == [[0], [2, 3]]
    assert asyncio.run(groups([*both[:2], *make_requests(1, 3, max_tokens=9)[2:]], 4)) == [[0, 1], [2]]


def test_the_tokens_of_a_call_are_shared_out_exactly() -> None:
    group = make_requests(1, 3)
    choices = [{"message": {"content": "x" * size}, "finish_reason": "stop"} for size in (1, 0, 5)]
    usage = {"prompt_tokens": 9, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 4}}
    answers = answers_of(group, {}, {"choices": choices, "usage": usage}, Features())
    assert sum(one.completion_tokens for one in answers) == 100
    assert [one.prompt_tokens for one in answers] == [9, 0, 0]
    assert [one.cached_tokens for one in answers] == [4, 0, 0]
    # An endpoint that does not say what it billed is taken to have billed the most.
    unsaid = answers_of(group[:1], {}, {"choices": choices[2:]}, Features())[0]
    assert unsaid.completion_tokens == 5 and unsaid.prompt_tokens > 30


# ---- live ----


def test_a_sample_is_the_same_alone_and_in_a_call_of_sixteen(server: Loopback, tmp_path: Path) -> None:
    requests = make_requests(5, 16)
    together = texts(ask_once(requests, live(server), tmp_path / "a"))
    alone = live(server)
    alone.features.samples = 1
    assert texts(ask_once(requests, alone, tmp_path / "b")) == together
    assert len(set(together.values())) == 80


def test_the_money_that_is_counted_is_the_money_that_is_billed(tmp_path: Path) -> None:
    with Loopback() as server:
        price = Price(0.15, 0.60)
        budget = Budget(10.0, {("here", "m"): price})
        found = ask_once(make_requests(30, 4, max_tokens=25), live(server), tmp_path, budget)
        stats = server.stats()
    assert any(isinstance(one, Answer) and one.ended == "length" for one in found.values())
    assert budget.spent == price.pico(stats["billed_prompt_tokens"], stats["billed_completion_tokens"])
    assert stats["billed_requests"] == 30
    assert budget.reserved == 0


@pytest.mark.parametrize(("how", "prefilled", "noted"), [("continue", True, 0), ("refuse", False, 1)])
def test_an_answer_says_whether_it_goes_on_from_the_prefill(
    tmp_path: Path, how: str, prefilled: bool, noted: int
) -> None:
    with Loopback(prefill=how) as server:
        backend = live(server)
        found = ask_once(make_requests(6, prefill="```python\n"), backend, tmp_path)
        assert len(texts(found)) == 6
        assert {one.prefilled for one in found.values() if isinstance(one, Answer)} == {prefilled}
        assert len(backend.notes) == noted
        # It is found out once, not with every request.
        assert backend.tries["bad request"] <= 6
        found = ask_once(make_requests(6), live(server), tmp_path / "none")
        assert not any(one.prefilled for one in found.values() if isinstance(one, Answer))


def test_an_endpoint_that_silently_begins_anew_is_seen_by_its_fence(tmp_path: Path) -> None:
    with Loopback(prefill="ignore", answer="tests.data.test_backends:fenced") as server:
        backend = live(server)
        found = ask_once(make_requests(4, prefill="```python\n"), backend, tmp_path)
        assert not any(one.prefilled for one in found.values() if isinstance(one, Answer))
        assert "begins a new message" in backend.notes[0]


def fenced(body: Any, messages: Any, seed: int) -> str:
    return "Sure:\n```python\nx = 1\n```\n"


def test_what_an_endpoint_lacks_is_done_without_and_said_once(tmp_path: Path) -> None:
    requests = [
        Request("here", "m", one.messages, Sampling(0.7, json=True), 50, one.sample, one.row)
        for one in make_requests(10, 4)
    ]
    with Loopback(json_mode="refuse", seed_known=False, old_max_tokens=False, most_n=1) as server:
        backend = live(server, concurrency=4)
        found = ask_once(requests, backend, tmp_path)
        assert len(texts(found)) == 40
        assert len(backend.notes) == 3
        assert server.stats()["answered"] == 40
    with Loopback(most_n=3, short_n=True) as server:
        backend = live(server, concurrency=1)
        assert len(texts(ask_once(requests, backend, tmp_path / "short"))) == 40
        assert backend.notes == ["the endpoint gives 3 samples per call at most"]


def test_a_row_that_the_endpoint_cannot_take_fails_alone_and_at_once(tmp_path: Path) -> None:
    with Loopback(bad_requests=0.2, refusals=0.2) as server:
        found = ask_once(make_requests(60), live(server), tmp_path)
        failures = [one for one in found.values() if isinstance(one, Failure)]
        assert {one.reason for one in failures} == {"context too long"}
        assert 2 < len(failures) < 30
        assert any(isinstance(one, Answer) and one.ended == "refused" for one in found.values())
        assert server.stats()["tries"] == 60
    lone = [Request("here", "m", ({"role": "user", "content": "half \ud800"},), Sampling(), 9)]
    assert ask_once(lone, live(server), tmp_path / "half") == {
        lone[0].key: Failure("bad request", "the prompt holds half a surrogate pair")
    }


# ---- whose key ----


def test_a_wrong_key_or_model_stops_everything_and_shows_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACE_TEST_KEY", KEY)
    with Loopback(key="another", echo_key=True, model="n") as server:
        budget = Budget(1.0, {("here", "m"): Price(1.0, 1.0)})
        with pytest.raises(BackendError, match="the key in ACE_TEST_KEY") as refused:
            ask_once(make_requests(300), live(server, api_key_env="ACE_TEST_KEY"), tmp_path, budget)
        assert KEY not in everything(refused.value)
        assert "[key]" in str(refused.value)
        # Nothing was billed, and nothing stays reserved.
        assert budget.spent == budget.reserved == 0
        assert server.stats()["tries"] <= 64
        server.set(key=None)
        with pytest.raises(BackendError, match="no model m"):
            ask_once(make_requests(3), live(server), tmp_path)


def everything(error: BaseException | None) -> str:
    """An error as a traceback that shows local variables would, with all that hangs on it."""
    seen = []
    while error is not None:
        seen += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        seen.append(repr(vars(error)))
        request = getattr(error, "request", None)
        seen.append(str(dict(request.headers)) if request is not None else "")
        error = error.__cause__ or error.__context__
    return "".join(seen)


def test_no_key_in_any_log_at_any_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ACE_TEST_KEY", f"  {KEY}\n")
    faults = {"429": 0.15, "500": 0.15, "cut": 0.1, "malformed": 0.1}
    with (
        caplog.at_level(logging.DEBUG),
        Loopback(key=KEY, echo_key=True, faults=faults, bad_requests=0.2) as server,
    ):
        backend = live(server, api_key_env="ACE_TEST_KEY", retries=2)
        found = ask_once(make_requests(40), backend, tmp_path)
        logging.getLogger("httpcore2.http11").debug("a library's record with %s", KEY)
    assert len(caplog.records) > 50
    assert not any(
        KEY in record.getMessage() or KEY in str(record.exc_text) for record in caplog.records[:-1]
    )
    assert not any(KEY in one.detail for one in found.values() if isinstance(one, Failure))
    assert any("[key]" in one.detail for one in found.values() if isinstance(one, Failure))
    assert KEY not in repr(backend) and KEY not in str(vars(backend))
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_a_record_with_the_key_is_cleaned_while_a_back_end_works(caplog: pytest.LogCaptureFixture) -> None:
    secrets = Secrets([KEY])
    secrets.guard()
    try:
        with caplog.at_level(logging.DEBUG, "httpx2"):
            try:
                raise ValueError(f"Bearer {KEY}")
            except ValueError:
                logging.getLogger("httpx2").exception("sent %s", {"authorization": f"Bearer {KEY}"})
    finally:
        secrets.release()
    assert KEY not in caplog.text and "[key]" in caplog.text and "ValueError" in caplog.text
    assert repr(secrets) == "Secrets(…)"


def test_a_missing_or_impossible_key_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACE_TEST_KEY", raising=False)
    with pytest.raises(BackendError, match="ACE_TEST_KEY is not set"):
        OpenAIBackend(api_key_env="ACE_TEST_KEY")
    monkeypatch.setenv("ACE_TEST_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(BackendError, match="line break") as refused:
        OpenAIBackend(api_key_env="ACE_TEST_KEY")
    assert KEY not in str(refused.value)
    with pytest.raises(BackendError, match="is no address"):
        OpenAIBackend(base_url="localhost:8000", api_key_env=None)


def test_openais_key_goes_elsewhere_only_if_the_recipe_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Loopback(key=KEY) as server:
        settings = {"backend": "openai", "model": "m", "provider": "here", "base_url": server.url}
        with pytest.raises(BackendError, match="wants a key"):
            ask_once(make_requests(2), open_backend(ModelConfig(**settings)), tmp_path)
        named = ModelConfig(**settings, api_key_env="OPENAI_API_KEY")
        assert len(texts(ask_once(make_requests(2), open_backend(named), tmp_path))) == 2


# ---- waiting ----


def test_retry_after_is_read_in_all_its_forms() -> None:
    def read(**headers: str) -> float:
        return retry_after(httpx2.Headers({name.replace("_", "-"): value for name, value in headers.items()}))

    assert read(retry_after="7") == 7
    assert read(retry_after="0.5") == 0.5
    assert read(retry_after_ms="250", retry_after="7") == 0.25
    later = email.utils.formatdate(time.time() + 3600, usegmt=True)
    assert 3500 < read(retry_after=later) <= 3601
    for nothing in ("", "nan", "-3", "soon", "Mon, 99 Foo 2020"):
        assert read(retry_after=nothing) == 0
    assert read() == 0


def test_retry_after_holds_everybody_back(tmp_path: Path) -> None:
    with Loopback(always="429", first=8, retry_after="0.6") as server:
        begun = time.monotonic()
        found = ask_once(make_requests(40), live(server, concurrency=8, retries=0), tmp_path)
        assert time.monotonic() - begun >= 0.6
        assert len(texts(found)) == 40
        # Eight were refused, each once: nobody sent before the time, and no try was counted for it.
        assert server.stats()["tries"] == 48


def test_a_wait_beyond_all_patience_ends_the_run_with_the_time(tmp_path: Path) -> None:
    with Loopback(always="429", retry_after="86400") as server, pytest.raises(BackendError, match="86,400 s"):
        ask_once(make_requests(3), live(server), tmp_path)


def test_concurrency_settles_near_what_the_provider_takes(tmp_path: Path) -> None:
    with Loopback(capacity=8, latency_s=0.05, retry_after="") as server:
        backend = live(server, concurrency=64)
        assert len(texts(ask_once(make_requests(400), backend, tmp_path))) == 400
        stats = server.stats()
    # With 64 in flight throughout, seven of eight would be sent in vain.
    assert stats["tries"] < 1200


def test_the_limit_settles_near_what_the_provider_takes() -> None:
    """Round by round, without a clock: the provider answers eight of those that are sent, and turns the others away."""

    async def run() -> list[int]:
        limiter, sent = Limiter(64), []
        for _ in range(60):
            sent.append(int(limiter.limit))
            for _ in range(sent[-1]):
                await asyncio.wait_for(limiter.acquire(), 60)
            for place in range(sent[-1]):
                limiter.release(good=place < 8, overload=place >= 8)
        limiter.close()
        return sent

    sent = asyncio.run(run())
    assert sent[0] == 64
    assert all(6 <= one < 20 for one in sent[10:]), sent


def test_the_limiter_counts_and_wakes() -> None:
    async def run() -> None:
        limiter = Limiter(4)
        for _ in range(4):
            await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        limiter.release(good=True)
        await asyncio.sleep(0.01)
        assert [task.done() for task in waiting] == [True, True, False]
        limiter.release(overload=True)
        limiter.release(overload=True)
        assert limiter.limit == 3.0
        await asyncio.sleep(0.01)
        assert waiting[2].done() and limiter.in_flight == 3
        limiter.release(pause=0.1)
        begun = time.monotonic()
        await limiter.acquire()
        assert time.monotonic() - begun >= 0.1
        limiter.close()

    asyncio.run(run())


# ---- batches ----


def test_batches_bring_what_live_calls_bring_at_the_batch_price(tmp_path: Path) -> None:
    with Loopback(batch_s=0.05) as server:
        requests = make_requests(40, 4)
        live_answers = texts(ask_once(requests, live(server), tmp_path / "live"))
        budget = Budget(1.0, {("here", "m"): Price(1.0, 2.0, batch_factor=0.5)})
        backend = batched(server, tmp_path / "journal", chunk_rows=15)
        found = ask_once(requests, backend, tmp_path / "batch", budget)
        stats = server.stats()
    assert texts(found) == live_answers
    assert all(one.batch for one in found.values() if isinstance(one, Answer))
    assert stats["batches"] == 3 and stats["batch_billed_requests"] == 40
    live_price = stats["batch_billed_prompt_tokens"] + 2 * stats["batch_billed_completion_tokens"]
    # Half of it, each answer rounded up to a whole pico-dollar.
    assert 0 <= budget.spent - live_price * 500_000 <= 160


def test_a_chunk_is_never_larger_than_it_may_be(tmp_path: Path) -> None:
    with Loopback(batch_s=0.01) as server:
        backend = batched(server, tmp_path / "journal", chunk_bytes=5000)
        assert len(texts(ask_once(make_requests(100), backend, tmp_path))) == 100
        stats = server.stats()
    assert stats["batches"] >= 5
    assert stats["file_bytes"] <= 5000


def test_rows_that_expired_or_failed_go_into_a_later_batch(tmp_path: Path) -> None:
    with Loopback(batch_s=0.02, batch_expires=0.3, batch_row_errors=0.2, bad_requests=0.1) as server:
        backend = batched(server, tmp_path / "journal", retries=8)
        found = ask_once(make_requests(80, 2), backend, tmp_path)
        stats = server.stats()
    failures = {one.reason for one in found.values() if isinstance(one, Failure)}
    assert failures == {"context too long"}
    assert backend.tries["batch expired"] > 5 and backend.tries["server error"] > 5
    # What came is paid for once.
    assert stats["batch_billed_choices"] == sum(isinstance(one, Answer) for one in found.values())


def test_rows_that_never_come_fail_with_their_reason_and_are_tried_by_the_next_run(tmp_path: Path) -> None:
    with Loopback(batch_s=0.01, batch_expires=1.0) as server:
        backend = batched(server, tmp_path / "journal", retries=1)
        found = ask_once(make_requests(5), backend, tmp_path)
        assert {one.reason for one in found.values() if isinstance(one, Failure)} == {"batch expired"}
        server.set(batch_expires=0.0)
        assert len(texts(ask_once(make_requests(5), batched(server, tmp_path / "journal"), tmp_path))) == 5


def test_a_batch_whose_making_was_cut_off_is_found_and_not_made_twice(tmp_path: Path) -> None:
    with Loopback(batch_s=0.02, batch_create="lost") as server:
        found = ask_once(make_requests(30), batched(server, tmp_path / "journal", chunk_rows=10), tmp_path)
        stats = server.stats()
    assert len(texts(found)) == 30
    assert stats["batches"] == 3 and stats["batch_billed_requests"] == 30


def test_a_batch_that_is_refused_says_why(tmp_path: Path) -> None:
    with (
        Loopback(batch_fails=True, batch_s=0.01) as server,
        pytest.raises(BackendError, match="line 1: no good"),
    ):
        ask_once(make_requests(5), batched(server, tmp_path / "journal"), tmp_path)


BATCH_RUN = """
import sys
from pathlib import Path
from tests.data.asking import make_requests
from acedata._ask import ask_all
from acedata._backends.openai_batch import OpenAIBatchBackend
from acedata._store import ResponseStore
url, place = sys.argv[1], Path(sys.argv[2])
backend = OpenAIBatchBackend(journal=place / "batches", base_url=url, api_key_env=None, chunk_rows=20, poll_s=0.05)
with ResponseStore(place) as store:
    for _ in ask_all(make_requests(100, 2), backend, store, close=True):
        print("x", flush=True)
"""


def test_a_killed_run_picks_its_batches_up_and_pays_nothing_twice(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), str(SRC.parent)])}
    with Loopback(batch_s=0.4) as server:
        words = [sys.executable, "-c", BATCH_RUN, server.url, str(tmp_path)]
        for until in ("batches", "answers"):
            with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
                assert process.stdout is not None
                if until == "answers":
                    process.stdout.readline()
                else:
                    while server.stats()["batches"] < 4:
                        time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
        requests = make_requests(100, 2)
        backend = batched(server, tmp_path / "batches", chunk_rows=20)
        found = ask_once(requests, backend, tmp_path)
        stats = server.stats()
    assert len(texts(found)) == 200
    # The chunk that had no batch yet at the kill may be cut in another way; nothing else is sent again.
    assert stats["batch_billed_requests"] == 100
    assert stats["batches"] <= 6


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "abc.json").write_text("{")
    with Loopback() as server, pytest.raises(Exception, match=r"abc\.json is damaged"):
        ask_once(make_requests(1), batched(server, tmp_path), tmp_path / "store")


def test_a_raised_limit_asks_only_for_what_was_cut_though_the_journal_knows_all(tmp_path: Path) -> None:
    with Loopback(batch_s=0.01) as server:
        low, high = (make_requests(40, max_tokens=limit) for limit in (20, 400))
        first = ask_once(low, batched(server, tmp_path / "journal"), tmp_path)
        cut = sum(isinstance(one, Answer) and one.ended == "length" for one in first.values())
        assert 5 < cut < 35
        second = ask_once(high, batched(server, tmp_path / "journal"), tmp_path)
        assert all(isinstance(one, Answer) and one.ended == "stop" for one in second.values())
        assert server.stats()["batch_billed_requests"] == 40 + cut


# ---- replay ----


def test_replay_answers_by_key_and_by_row_and_never_invents(tmp_path: Path) -> None:
    requests = make_requests(3, 2, prefill="go")
    lines = [
        {"model": "m", "row": "r0", "text": "by row"},
        {"model": "m", "row": "r0", "sample": 1, "provider": "elsewhere", "text": "not ours"},
        {
            "model": "m",
            "row": "r0",
            "sample": 1,
            "text": "any provider",
            "ended": "length",
            "prefilled": False,
        },
        {"key": requests[2].key.hex(), "text": "by key", "prompt_tokens": 3},
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = ask_once(requests[:3], ReplayBackend(file), tmp_path / "store")
    assert [one.text for one in found.values() if isinstance(one, Answer)] == [
        "by row",
        "any provider",
        "by key",
    ]
    assert [one.prefilled for one in found.values() if isinstance(one, Answer)] == [True, False, True]
    with pytest.raises(MissingAnswer, match=r"no answer of m to r1, sample 1.*none is invented"):
        ask_once(requests, ReplayBackend(file), tmp_path / "store")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a JSON object"),
        ('{"model": "m", "row": "r"}', "`text` is missing"),
        ('{"text": "a"}', "neither a `key` nor"),
        ('{"key": "12", "text": "a"}', "64 hex digits"),
        ('{"model": "m", "row": "r", "text": "a", "ended": "soon"}', "`ended` is 'soon'"),
        ('{"model": "m", "row": "r", "text": "a", "prompt_tokens": -1}', "`prompt_tokens` is -1"),
        ('{"model": "m", "row": "first", "text": "again"}', "same request as an earlier line"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text('{"model": "m", "row": "first", "text": "a"}\n' + line + "\n")
    with pytest.raises(BadInput, match=r"answers\.jsonl, line 2") as refused:
        ReplayBackend(file)
    assert said in str(refused.value)


def test_no_file_to_replay_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot read answers to replay"):
        ReplayBackend(tmp_path / "none.jsonl")


# ---- vLLM ----

# Parameters of the documented interface (vLLM 0.29 to 0.31) that the adapter relies on.
CHAT = ("messages", "sampling_params", "use_tqdm", "add_generation_prompt", "continue_final_message")
SAMPLING = ("n", "temperature", "top_p", "seed", "stop", "max_tokens", "structured_outputs")


class Engine:
    """Stands in for vLLM's engine, which needs a GPU: the documented signatures, and answers that are known."""

    def __init__(self, model: str, *, max_model_len: int = 10_000, **kwargs: Any) -> None:
        self.most = max_model_len
        self.calls: list[int] = []

    def chat(
        self,
        messages: Any,
        sampling_params: Any = None,
        use_tqdm: bool = True,
        lora_request: Any = None,
        chat_template: Any = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Any = None,
        chat_template_kwargs: Any = None,
        tokenization_kwargs: Any = None,
        mm_processor_kwargs: Any = None,
    ) -> list[Any]:
        assert len(messages) == len(sampling_params)
        assert not (add_generation_prompt and continue_final_message)
        self.calls.append(len(messages))
        if any(len(chat[0]["content"]) > self.most for chat in messages):
            raise ValueError("The decoder prompt is longer than the maximum model length")
        made = []
        for chat, how in zip(messages, sampling_params, strict=True):
            assert (chat[-1]["role"] == "assistant") is continue_final_message
            outputs = [
                types.SimpleNamespace(
                    index=index,
                    text=f"{chat[0]['content']}/{(how.seed or 0) + index}",
                    token_ids=[1, 2, 3],
                    finish_reason="length" if how.max_tokens == 1 else "stop",
                )
                for index in range(how.n)
            ]
            made.append(types.SimpleNamespace(outputs=outputs[::-1], prompt_token_ids=[1] * 7))
        return made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    class SamplingParams:
        def __init__(
            self,
            n: int = 1,
            temperature: float = 1.0,
            top_p: float = 1.0,
            seed: int | None = None,
            stop: Any = None,
            max_tokens: int | None = 16,
            structured_outputs: Any = None,
        ) -> None:
            self.n, self.seed, self.max_tokens, self.structured = n, seed, max_tokens, structured_outputs

    vllm, inner = types.ModuleType("vllm"), types.ModuleType("vllm.sampling_params")
    vllm.LLM, vllm.SamplingParams = Engine, SamplingParams  # type: ignore[attr-defined]
    inner.StructuredOutputsParams = lambda json_object=None: {"json_object": json_object}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", inner)


def test_the_vllm_adapter_keeps_to_the_documented_calls(engine: None, tmp_path: Path) -> None:
    config = ModelConfig(backend="vllm", model="m", provider="here", engine_options={"max_model_len": 100})
    backend: Any = open_backend(config)
    backend.wave = 8
    requests = [
        *make_requests(20, 3),
        *make_requests(3, prefill="x"),
        *make_requests(1, max_tokens=1, temperature=0.0),
    ]
    long = Request("here", "m", ({"role": "user", "content": "q" * 200},), Sampling(0.7), 9, row="long")
    requests.insert(10, long)
    found = ask_once(requests, backend, tmp_path)
    assert found.pop(long.key) == Failure(
        "context too long", "The decoder prompt is longer than the maximum model length"
    )
    first = make_requests(20, 3)
    assert [texts(found)[one.key] for one in first] == [
        f"{one.messages[0]['content']}/{one.sample}" for one in first
    ]
    assert {one.prefilled for key, one in found.items() if isinstance(one, Answer)} == {True, False}
    assert found[requests[-1].key].ended == "length"  # type: ignore[union-attr]


def test_the_stand_in_and_an_installed_vllm_have_the_documented_signatures() -> None:
    assert set(CHAT) <= set(inspect.signature(Engine.chat).parameters)
    if importlib.util.find_spec("vllm") is None:
        return
    import vllm
    from vllm.sampling_params import StructuredOutputsParams

    assert set(CHAT) <= set(inspect.signature(vllm.LLM.chat).parameters)
    assert set(SAMPLING) <= set(inspect.signature(vllm.SamplingParams).parameters)
    assert "json_object" in inspect.signature(StructuredOutputsParams).parameters


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BackendError, match=r"pip install 'acestack\[vllm\]'"):
        open_backend(ModelConfig(backend="vllm", model="m", provider="here"))


def test_every_back_end_has_the_interface(server: Loopback, engine: None, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    for name in ("openai", "openai-batch", "vllm", "replay"):
        config = ModelConfig(backend=name, model="m", provider="here", base_url=server.url)  # type: ignore[arg-type]
        backend = open_backend(config, answers=tmp_path / "a.jsonl", journal=tmp_path)
        assert isinstance(backend, Backend)
        assert ask_once([], backend, tmp_path / "store") == {}
