"""Asking: the store first, durable before used, each key once, and nothing that was paid for is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acedata._ask import Progress, ask, ask_all
from acedata._budget import Budget, Price
from acedata._errors import BackendError, BudgetReached, StoreError
from acedata._requests import Answer, Failure, Outcome, Request
from acedata._store import ResponseStore
from tests.data.asking import Local, make_requests


def by_key(pairs: Iterable[tuple[Request, Outcome]]) -> dict[bytes, Outcome]:
    found: dict[bytes, Outcome] = {}
    for request, outcome in pairs:
        assert request.key not in found
        found[request.key] = outcome
    return found


def test_every_request_gets_its_outcome_once_and_the_second_run_asks_nobody(tmp_path: Path) -> None:
    requests = make_requests(50, 3)
    with ResponseStore(tmp_path) as store:
        first = by_key(ask_all(requests, backend := Local(delay_s=0.002), store, close=True))
        assert backend.closed
        assert len(first) == 150 and backend.asked != []
        second = by_key(ask_all(requests, backend := Local(), store))
        assert second == first
        assert backend.asked == []


def test_an_answer_is_on_the_disk_before_it_is_given(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        for request, outcome in ask_all(make_requests(60), Local(delay_s=0.001), store):
            with ResponseStore(tmp_path, readonly=True) as disk:
                assert disk.get(request) == outcome


def test_the_same_prompt_in_two_rows_is_sent_once(tmp_path: Path) -> None:
    requests = make_requests(20)
    twins = [
        Request(one.provider, one.model, one.messages, one.sampling, 500, 0, f"twin of {one.row}")
        for one in requests
    ]
    with ResponseStore(tmp_path) as store:
        backend = Local(delay_s=0.003, concurrency=64)
        given = list(
            ask_all([one for pair in zip(requests, twins, strict=True) for one in pair], backend, store)
        )
    assert len(backend.asked) == 20
    assert {request.row for request, _ in given} == {one.row for one in requests + twins}
    answers: dict[bytes, set[Outcome]] = {}
    for request, outcome in given:
        answers.setdefault(request.key, set()).add(outcome)
    assert all(len(same) == 1 for same in answers.values())


def test_a_twin_with_a_higher_limit_is_asked_again_only_if_the_answer_was_cut(tmp_path: Path) -> None:
    low, high = make_requests(1, max_tokens=10)[0], make_requests(1, max_tokens=99)[0]

    def cut(request: Request) -> Outcome:
        return Answer(f"{request.max_tokens} tokens", "length", request.max_tokens, 1, request.max_tokens)

    with ResponseStore(tmp_path) as store:
        given = list(ask_all([low, high], backend := Local(cut, delay_s=0.01), store))
        assert [one.max_tokens for one in backend.asked] == [10, 99]
        assert {outcome.text for _, outcome in given if isinstance(outcome, Answer)} == {
            "10 tokens",
            "99 tokens",
        }
        # The longer one serves both from now on.
        assert len(list(ask_all([low, high], backend := Local(cut), store))) == 2
        assert backend.asked == []


def test_what_ended_by_itself_stays_valid_when_the_limit_is_raised_and_what_was_cut_does_not(
    tmp_path: Path,
) -> None:
    def half_cut(request: Request) -> Outcome:
        number = int(request.row[1:])
        return Answer("a", "length" if number % 2 else "stop", request.max_tokens, 1, 1)

    with ResponseStore(tmp_path) as store:
        list(ask_all(make_requests(10, max_tokens=10), Local(half_cut), store))
        list(ask_all(make_requests(10, max_tokens=20), backend := Local(half_cut), store))
        assert sorted(one.row for one in backend.asked) == ["r1", "r3", "r5", "r7", "r9"]
        list(ask_all(make_requests(10, max_tokens=15), backend := Local(half_cut), store))
        assert backend.asked == []


def test_failures_are_given_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    def fails(request: Request) -> Outcome:
        return Failure("server error", "down") if request.row == "r3" else Answer("a", "stop", 500)

    with ResponseStore(tmp_path) as store:
        told: list[Progress] = []
        given = list(ask_all(make_requests(6), Local(fails), store, on_progress=told.append))
        assert [one.row for one, outcome in given if isinstance(outcome, Failure)] == ["r3"]
        assert told[-1].usage["here", "m"].failures == {"server error": 1}
        assert (told[-1].answered, told[-1].failed, told[-1].found) == (5, 1, 0)
        list(ask_all(make_requests(6), backend := Local(), store))
        assert [one.row for one in backend.asked] == ["r3"]


def test_half_a_surrogate_pair_in_an_answer_becomes_text_that_any_file_can_hold(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        ((_, outcome),) = ask_all(make_requests(1), Local(lambda _: Answer("a\ud800b😀", "stop", 9)), store)
        assert isinstance(outcome, Answer) and outcome.text == "a\ufffdb😀"
        assert store.get(make_requests(1)[0]) == outcome


# ---- ends that are not the end ----


def test_an_error_of_the_back_end_comes_after_all_that_arrived(tmp_path: Path) -> None:
    def dies(request: Request) -> Any:
        return BackendError("no such model") if request.row == "r30" else Answer("a", "stop", 9)

    given = []
    with ResponseStore(tmp_path) as store:
        with pytest.raises(BackendError, match="no such model"):
            for pair in ask_all(make_requests(60), Local(dies, concurrency=4, delay_s=0.002), store):
                given.append(pair)
        assert len(given) >= 20
        assert all(store.get(request) is not None for request, _ in given)
        assert len(store) == len(given)


def test_an_error_of_the_source_lets_what_is_in_flight_come_home(tmp_path: Path) -> None:
    def source() -> Iterator[Request]:
        yield from make_requests(10)
        raise ZeroDivisionError("a bug of the caller's")

    with ResponseStore(tmp_path) as store:
        given = []
        with pytest.raises(ZeroDivisionError):
            for pair in ask_all(source(), Local(delay_s=0.01), store):
                given.append(pair)
        assert len(given) == 10


def test_a_caller_that_stops_listening_keeps_what_arrived_and_leaves_no_thread(tmp_path: Path) -> None:
    import threading

    before = threading.active_count()
    backend = Local(delay_s=0.001)
    with ResponseStore(tmp_path) as store:
        answers = ask_all(make_requests(500), backend, store, close=True)
        for _ in range(5):
            next(answers)
        answers.close()  # type: ignore[attr-defined]
        assert backend.closed
        assert 5 <= len(store) < 500
        list(ask_all(make_requests(500), again := Local(), store))
        assert len(again.asked) == 500 - (len(store) - len(again.asked))
    assert threading.active_count() <= before + 1


def test_a_store_that_cannot_be_written_stops_the_asking(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        list(ask_all(make_requests(5), Local(), store))


def test_a_back_end_that_forgets_a_request_is_told_so(tmp_path: Path) -> None:
    class Forgetful(Local):
        async def answers(self, requests: Any, lost: Any = None) -> Any:
            async for request in requests:
                if request.row != "r2":
                    yield request, Answer("a", "stop", 9)

    with (
        ResponseStore(tmp_path) as store,
        pytest.raises(RuntimeError, match="1 requests and gave no outcome"),
    ):
        list(ask_all(make_requests(5), Forgetful(), store))


def test_a_slow_caller_holds_the_feed_back_and_not_the_answers(tmp_path: Path) -> None:
    requests = make_requests(10_000)
    drawn = 0

    def source() -> Iterator[Request]:
        nonlocal drawn
        for request in requests:
            drawn += 1
            yield request

    async def run() -> None:
        with ResponseStore(tmp_path) as store:
            store.put_many((request, Answer("a", "stop", 9)) for request in requests)
            answers = ask(source(), Local(), store)
            await anext(answers)
            await asyncio.sleep(0.3)
            assert drawn < 6000
            assert sum([1 async for _ in answers]) == 9_999

    asyncio.run(run())


def test_found_answers_do_not_keep_the_loop_from_others(tmp_path: Path) -> None:
    requests = make_requests(5000)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            # Its own time on the processor: what the machine does meanwhile is not the loop's doing.
            begun = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - begun)

    async def run() -> None:
        with ResponseStore(tmp_path) as store:
            store.put_many((request, Answer("a", "stop", 9)) for request in requests)
            watcher = asyncio.create_task(watch())
            assert sum([1 async for _ in ask(requests, Local(), store)]) == 5000
            watcher.cancel()

    asyncio.run(run())
    assert longest < 0.25


# ---- any mixture ----


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_mixture_of_ends_and_runs_comes_to_the_same_answers(tmp_path: Path, seed: int) -> None:
    """Runs that stop early, fail, hit budgets or lose tries, in any order: each request's answer is paid for once."""
    draw = random.Random(seed)
    place = tmp_path / str(seed)
    requests = make_requests(draw.randint(1, 30), draw.randint(1, 3), max_tokens=50)
    paid: dict[bytes, int] = {}
    doomed = {request.key for request in requests if draw.random() < 0.1}

    def answer(request: Request) -> Any:
        if draw.random() < 0.02:
            return BackendError("gone")
        if draw.random() < 0.1 or request.key in doomed:
            return Failure("server error")
        paid[request.key] = paid.get(request.key, 0) + 1
        return Answer(f"{request.row}.{request.sample}", "stop", 50, 5, 40)

    for turn in range(12):
        with ResponseStore(place) as store:
            backend = Local(
                answer, concurrency=draw.randint(1, 16), delay_s=draw.choice([0, 0.001]), seed=turn
            )
            backend.lose = lambda request: draw.random() < 0.1
            budget = Budget(draw.choice([None, 0.0005, 0.01]), {("here", "m"): Price(1.0, 2.0)})
            try:
                for request, outcome in ask_all(requests, backend, store, budget):
                    if isinstance(outcome, Answer):
                        assert outcome.text == f"{request.row}.{request.sample}"
            except (BackendError, BudgetReached):
                pass
            assert budget.limit is None or budget.spent + budget.reserved <= budget.limit
    with ResponseStore(place) as store:
        doomed.clear()
        backend = Local(lambda request: Answer(f"{request.row}.{request.sample}", "stop", 50, 5, 40))
        given = by_key(ask_all(requests, backend, store))
    wanted = {f"{one.row}.{one.sample}" for one in requests}
    assert wanted == {one.text for one in given.values() if isinstance(one, Answer)}
    assert all(times == 1 for times in paid.values())
