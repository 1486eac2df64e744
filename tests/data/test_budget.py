"""The budget: prices to the last digit, and never over it, whatever is in flight."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acedata._ask import Progress, ask_all
from acedata._budget import PICO, Budget, Price, dollars, most_prompt_tokens
from acedata._build import _Ledger
from acedata._errors import BackendError, BadInput, BudgetReached
from acedata._requests import Answer, Outcome, Request
from acedata._store import ResponseStore
from tests.data import tiny
from tests.data.asking import Local, make_requests

PRICES = {("here", "m"): Price(input=0.15, output=0.60, cached_input=0.075, batch_factor=0.5)}


def test_prices_are_exact() -> None:
    price = PRICES["here", "m"]
    live = Answer("", "stop", 1, prompt_tokens=1_000_000, completion_tokens=2_000_000, cached_tokens=400_000)
    assert price.of(live) == round((0.6 * 0.15 + 0.4 * 0.075 + 2 * 0.60) * PICO)
    batch = Answer("", "stop", 1, prompt_tokens=1, completion_tokens=1, batch=True)
    assert price.of(batch) == 375_000
    # Sums of many small ones do not drift.
    assert sum(price.of(Answer("", "stop", 1, 1, 0)) for _ in range(10**5)) == 15 * PICO // 1000


def test_cached_tokens_cost_what_prompt_tokens_cost_where_nothing_else_is_said() -> None:
    assert Price(1.0, 1.0).of(Answer("", "stop", 1, 10, 0, cached_tokens=5)) == 10 * 10**6


@given(st.text(max_size=200), st.integers(1, 5000))
def test_the_worst_case_is_never_below_the_real_one(text: str, limit: int) -> None:
    # A tokenizer makes at most a token of each byte; templates add a few around each message.
    request = Request("here", "m", ({"role": "user", "content": text},), make_requests(1)[0].sampling, limit)
    worst = len(text.encode("utf-8", "surrogatepass")) + 10
    assert most_prompt_tokens(request) >= worst
    price = PRICES["here", "m"]
    assert price.worst(request) >= price.of(Answer("", "length", limit, worst, limit))


def test_a_budget_without_a_price_is_refused_and_without_a_limit_only_counts() -> None:
    request = make_requests(1)[0]
    with pytest.raises(BackendError, match="no price for m of here"):
        Budget(1.0).price(request)
    assert Budget().price(request) == Price()


@pytest.mark.parametrize("seed", range(5))
def test_with_64_in_flight_it_is_never_over_and_a_larger_one_goes_on(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    requests = make_requests(400, max_tokens=800)
    billed = answers = 0

    def answer(request: Request) -> Outcome:
        nonlocal billed, answers
        answers += 1
        tokens = min(800, round(draw.lognormvariate(4.5, 1.0)))
        made = Answer("a", "length" if tokens == 800 else "stop", 800, 30, tokens)
        billed += PRICES["here", "m"].of(made)
        return made

    def lose(request: Request) -> int:
        return draw.choices([0, 1, 2], [8, 1, 1])[0]

    limit, answered = 0.0, 0
    with ResponseStore(tmp_path) as store:
        spent = 0.0
        for limit in (0.004, 0.01, 0.02, None):
            budget = Budget(limit, PRICES, spent)
            backend = Local(answer, concurrency=64, delay_s=0.001, seed=seed, lose=lose)
            told: list[Progress] = []
            try:
                answered = sum(1 for _ in ask_all(requests, backend, store, budget, told.append))
                assert limit is None
            except BudgetReached as reached:
                assert limit is not None
                assert f"${limit:,.2f}" in str(reached) and "goes on from here" in str(reached)
                assert budget.spent <= budget.limit  # type: ignore[operator]
                # Stopped because of the next one, not long before.
                assert dollars(budget.limit - budget.spent) < 0.0008  # type: ignore[operator]
            assert budget.reserved == 0
            assert billed <= budget.spent
            spent = dollars(budget.spent)
            if limit == 0.004:
                assert backend.most_in_flight > 2
    assert answered == 400
    # Each request was paid for once over all four runs.
    assert answers == 400


def test_a_budget_that_covers_nothing_sends_nothing(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store, pytest.raises(BudgetReached):
        list(ask_all(make_requests(3), backend := Local(), store, Budget(0.0, PRICES)))
    assert backend.asked == []


def test_what_is_in_the_store_costs_nothing(tmp_path: Path) -> None:
    with ResponseStore(tmp_path) as store:
        list(ask_all(make_requests(3), Local(), store, Budget(1.0, PRICES)))
        assert len(list(ask_all(make_requests(3), Local(), store, Budget(0.0, PRICES)))) == 3


def test_batches_are_reserved_at_the_batch_price(tmp_path: Path) -> None:
    request = make_requests(1)[0]
    worst = PRICES["here", "m"].worst(request)
    limit = dollars(worst * 3 // 4)
    for batch in (False, True):
        backend = Local()
        backend.batch = batch
        with ResponseStore(tmp_path / str(batch)) as store:
            budget = Budget(limit, PRICES)
            if batch:
                assert len(list(ask_all([request], backend, store, budget))) == 1
            else:
                with pytest.raises(BudgetReached):
                    list(ask_all([request], backend, store, budget))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"pico_dollars": "x"}', '{"pico_dollars": 1e400}', '{"pico_dollars": -1}']
)
def test_a_damaged_sum_is_never_taken_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "spent.json").write_text(text)
    with pytest.raises(BadInput, match=r"spent\.json: is damaged"):
        _Ledger(tmp_path / "spent.json", tiny.write(tmp_path))
