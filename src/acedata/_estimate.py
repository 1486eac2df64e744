"""What a build will take, before anything much is paid: requests, tokens, dollars and hours, as intervals.

How: a small build of its own, of a sample of the rows that the real one begins with, in `telemetry/estimate/` of the
build directory and with the real response store. So everything is measured on the recipe's own prompts, models, judge
and filter; each sampled answer is one the real build needs, and finds; its cost is counted in the real build's budget.
Rows are sampled by a hash of their id: a larger sample holds the smaller one, and asks only for the difference.

What is measured is a row's cost through all stages: a seed that gives no question costs one request, one that comes
through costs those of its samples too. The unsampled rows are expected to cost the sample's mean. The interval is
Student's, 99 %, on a logarithmic scale (a mean of lengths is off by a factor rather than by a sum, and never negative),
its upper half widened by the sample's skewness: in samples of long-tailed lengths the few longest, which carry much of
the sum, are more often missing than present.

Tries that brought no answer (time-outs, cut connections) may be billed, by how much only the provider knows; the budget
counts their worst case. So the low end is without them, the expected figure and the high end as the budget counts: the
interval is meant to hold both what the provider bills and what the build says it spent.

What was not measured is assumed, and each line says which it is (`basis`). Without a sample, and for stages that no
sampled row reached, survival is taken from the paper (124,006 seeds gave 89,422 questions), answers are taken to be
between a twentieth and the whole of the token limit, and prompts of four bytes a token.

Hours are the roughest: calls one after the other, shared by the concurrency that the recipe allows; judging by the
sample's CPU time (the low end) and by its wall time with the sandbox's start (the high end).

What is not covered: near-duplicates are rarer in a sample than among all rows, so fewer rows survive than estimated;
weather is taken to stay as it was; answers beyond the sample's that the store holds already.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa

from ._backends._chat import MOST_SAMPLES
from ._budget import Price, dollars
from ._build import Silence, Watcher, build, plan, store_path
from ._directory import Building, Counts, Directory
from ._make import _ASKS, _COLUMNS, _LOADERS, Work, _Asking, _usable
from ._recipe import ModelConfig, Recipe
from ._requests import Request
from ._stages import ORDER, Stage, stages
from ._store import ResponseStore

Basis = Literal["measured", "assumed", "done"]

# Where nothing was measured (low, expected, high). The paper's: 89,422 of 124,006 seeds came through.
_PARSED = (0.8, 0.95, 1.0)
_FILTERED = (0.5, 0.72 / 0.95, 1.0)
_QUESTION_TOKENS = (150.0, 400.0, 1200.0)
_ANSWER_SHARE = (0.05, 0.25, 1.0)
_BYTES_PER_TOKEN = (5.0, 4.0, 2.5)
_JUDGE_SECONDS = (0.002, 0.01, 0.1)
# A batch is done within a day; most are within hours.
_BATCH_HOURS = (0.2, 24.0)
_BATCH_ROWS = 200_000
# Rows whose prompts are looked at where nobody is asked.
_LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure that is not known: between `low` and `high` in about 99 of 100 cases where it was measured."""

    low: float = 0.0
    expected: float = 0.0
    high: float = 0.0

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def beside(self, other: Interval) -> Interval:
        """The sum of two that have nothing to do with each other: seldom are both at their ends."""
        expected = self.expected + other.expected
        below = math.hypot(self.expected - self.low, other.expected - other.low)
        above = math.hypot(self.high - self.expected, other.high - other.expected)
        return Interval(max(0.0, expected - below), expected, expected + above)

    def perhaps(self, other: Interval) -> Interval:
        """With what may be billed or not: the low end is without it, the others as beside it."""
        both = self.beside(other)
        return Interval(self.low, both.expected, both.high)

    def times(self, low: float, expected: float, high: float) -> Interval:
        return Interval(self.low * low, self.expected * expected, self.high * high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(slots=True)
class Line:
    """One stage's part that one model has, or the sandbox; or the total.

    Attributes:
        stage: its name, or "total".
        model: as the recipe names it; "" for judging and the total.
        basis: whether it was measured on the sample, assumed, or is done already.
        requests: answers wanted (each sample of a prompt is one); programs, for judging.
        prompt_tokens, completion_tokens: of the answers, as billed; what lost tries may cost is in the dollars alone.
        dollars: US. From what the provider bills at least to what the budget counts at most.
        hours: None where nothing is known.
    """

    stage: str
    model: str
    basis: Basis
    requests: Interval = field(default_factory=Interval)
    prompt_tokens: Interval = field(default_factory=Interval)
    completion_tokens: Interval = field(default_factory=Interval)
    dollars: Interval = field(default_factory=Interval)
    hours: Interval | None = None


@dataclass(slots=True)
class Estimate:
    """What is still to come for a recipe in a directory; what the sample cost is paid.

    Attributes:
        recipe: its name.
        rows: seeds (or questions, where the recipe starts from some) of the whole build.
        sampled: of them, those that were measured.
        lines: by stage and model, in the order of the build.
        total: their sum; its dollars are not the sum of the lines' ends, since not every line is at its worst at once.
        paid: US dollars that this estimate itself spent.
        notes: for people.
    """

    recipe: str
    rows: int
    sampled: int
    lines: list[Line]
    total: Line
    paid: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    recipe: Recipe,
    path: str | os.PathLike[str],
    *,
    sample: int = 50,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Estimate:
    """What a build of `recipe` in `path` will take from here on.

    Args:
        sample: rows to measure; 0: assume, ask nobody.
        watcher, stop: as of `build`, for the sample's build.

    Raises:
        BudgetReached: the recipe's budget does not cover the sample.
        Whatever a build raises.
    """
    real = Path(path)
    place = real / "telemetry" / "estimate"
    small = _small(recipe, real)
    done = {step.stage.name for step in plan(recipe, real) if step.state == "done"}
    rows, orders = _choose(recipe, small, real, place, sample)
    paid = 0.0
    if sample > 0 and orders:
        built = build(
            small, place, watcher=watcher or Silence(), stop=stop, spent=real / "telemetry" / "spent.json"
        )
        paid = built.dollars
    return _Estimator(recipe, small, real, place, rows, orders if sample > 0 else [], done, paid).estimate()


# ---- the sample ----


def _small(recipe: Recipe, real: Path) -> Recipe:
    """The recipe of the sample's build: the same answers, from the same store, in one shard, and none by batches."""
    changes: dict[str, Any] = {"store": str(store_path(recipe, real).absolute()), "shard_rows": 10**9}
    for name, model in recipe.models.items():
        if model.backend == "openai-batch":
            # A day is too long to wait for an estimate. The answer's key does not know who fetched it.
            changes[f"models__{name}__backend"] = "openai"
    return recipe.changed(**changes)


def _choose(recipe: Recipe, small: Recipe, real: Path, place: Path, sample: int) -> tuple[int, list[int]]:
    """Counts the rows that a build begins with, and begins the sample's build with `sample` of them.

    Returns:
        How many rows there are, and the orders of those chosen.
    """
    loads = [stage for stage in stages(small) if stage.kind == "load"]
    first, *others = loads
    count = 0
    # The largest of the negative hashes: the smallest hashes, in memory of the sample's size.
    chosen: list[tuple[int, int, dict[str, Any]]] = []
    for batch in _loaded(recipe, small, first, real):
        for row in batch.to_pylist():
            count += 1
            digest = hashlib.sha256(f"{recipe.seed} {row['id']}".encode()).digest()
            mark = (-int.from_bytes(digest[:8], "big"), row["order"], row)
            if len(chosen) < (sample or _LOOKED_AT):
                heapq.heappush(chosen, mark)
            elif mark > chosen[0]:
                heapq.heapreplace(chosen, mark)
    picked = sorted((row for _, _, row in chosen), key=lambda row: int(row["order"]))
    orders = [row["order"] for row in picked]
    place.mkdir(parents=True, exist_ok=True)
    with Building(place) as building:
        _begin(building, first, pa.Table.from_pylist(picked, schema=first.schema))
        for stage in others:
            wanted = set(orders)
            kept = [
                row
                for batch in _loaded(recipe, small, stage, real)
                for row in batch.to_pylist()
                if row["order"] in wanted
            ]
            _begin(building, stage, pa.Table.from_pylist(kept, schema=stage.schema))
    return count, orders


def _loaded(recipe: Recipe, small: Recipe, stage: Stage, real: Path) -> Iterator[pa.RecordBatch]:
    """Rows of a loading stage: as the real build has loaded them, or as it would."""
    if (real / "manifest.json").exists():
        directory = Directory(real)
        there = directory.manifest.get(stage.name)
        wanted = next(one for one in stages(recipe) if one.name == stage.name)
        if there is not None and there.fingerprint == wanted.fingerprint({}):
            yield from directory.batches(stage.name)
            return
    for rows, _ in _LOADERS[stage.name](_work(small, stage, None)):
        yield from rows.to_batches() if isinstance(rows, pa.Table) else [rows]


def _work(recipe: Recipe, stage: Stage, store: ResponseStore | None) -> Work:
    """What the makers of requests and loaders of rows look at of a stage's work; nothing is built with it."""
    nothing = cast(Any, None)
    return Work(stage, recipe, nothing, nothing, nothing, store, nothing, lambda count, cost: None)


def _begin(building: Building, stage: Stage, table: pa.Table) -> None:
    """Makes the chosen rows a finished stage."""
    files = building.stage(stage.name, stage.fingerprint({}))
    key = stage.shard_key(0, {})
    files.write(0, key, table, Counts(rows_in=table.num_rows, rows_out=table.num_rows))
    files.finish({0: key}, ORDER, stage.facts, {})


# ---- what was measured ----


@dataclass(slots=True)
class _Cost:
    """What one row cost, or all that is known of one."""

    requests: int = 0
    prompt: int = 0
    completion: int = 0
    pico: int = 0
    worst: int = 0


class _Estimator:
    def __init__(
        self,
        recipe: Recipe,
        small: Recipe,
        real: Path,
        place: Path,
        rows: int,
        orders: list[int],
        done: set[str],
        paid: float,
    ) -> None:
        self.recipe, self.small, self.real, self.place = recipe, small, real, place
        self.rows, self.orders, self.done, self.paid = rows, orders, done, paid
        self.more = max(0, rows - len(orders))
        self.sampled = Directory(place)
        self.notes: list[str] = []
        # What tries without an answer are expected to cost; no row has that.
        self.lost = Interval()
        # By (stage, model): what each sampled row cost there. Rows that did not come so far cost nothing.
        self.costs: dict[tuple[str, str], dict[int, _Cost]] = {}

    def estimate(self) -> Estimate:
        lines: list[Line] = []
        # Rows that reach a stage, where that has to be assumed.
        reach = Interval(self.more, self.more, self.more)
        store = self._store()
        try:
            for stage in stages(self.small):
                if stage.kind == "ask":
                    if stage.name != "questions":
                        reach = self._reach(stage, reach)
                    for asking in _ASKS[stage.name](_work(self.small, stage, store)):
                        lines.append(self._asked(stage, asking, reach, store))
                elif stage.kind == "judge":
                    lines.append(self._judged(stage, lines))
        finally:
            if store is not None:
                store.close()
        return Estimate(
            self.recipe.name, self.rows, len(self.orders), lines, self._total(lines), self.paid, self.notes
        )

    def _store(self) -> ResponseStore | None:
        path = store_path(self.small, self.place)
        return ResponseStore(path, readonly=True) if path.is_dir() else None

    def _reach(self, stage: Stage, reach: Interval) -> Interval:
        """How many unsampled rows come to a stage, by assumption."""
        if stage.name == "references":
            return reach if self.recipe.starts else reach.times(*_PARSED)
        if not self.recipe.references.models and not self.recipe.starts:
            reach = reach.times(*_PARSED)
        return reach.times(*_FILTERED)

    def _asked(self, stage: Stage, asking: _Asking, reach: Interval, store: ResponseStore | None) -> Line:
        name = asking.name
        if stage.name in self.done:
            return Line(stage.name, name, "done", hours=Interval())
        model = self.recipe.models[name]
        costs = self._measure(stage, asking, store, model)
        if not costs:
            self.notes.append(
                f"{stage.name}: no sampled row came so far, so {name}'s part is assumed"
                if self.orders
                else f"{stage.name}: nothing was measured; {name}'s part is assumed"
            )
            return self._assumed(stage, asking, reach, model)
        self.costs[stage.name, name] = costs
        rows = [costs.get(order, _Cost()) for order in self.orders]
        requests = interval([one.requests for one in rows], self.more)
        money = interval([one.pico for one in rows], self.more).times(1e-12, 1e-12, 1e-12)
        worst = sum(one.worst for one in rows) * 1e-12 / max(1, sum(one.requests for one in rows))
        extra = Interval(*(requests.expected * worst * rate for rate in self._lost_rate(model)))
        # One weather over all stages: its part of each is high, or low, together.
        self.lost += extra
        money = money.perhaps(extra)
        runs = self._runs(stage.name, name)
        answered = sum(run.get("answered", 0) for run in runs)
        seconds = sum(run.get("call_seconds", 0.0) for run in runs) / answered if answered else None
        return Line(
            stage.name,
            name,
            "measured",
            requests,
            interval([one.prompt for one in rows], self.more),
            interval([one.completion for one in rows], self.more),
            money,
            _hours(model, requests, seconds),
        )

    def _measure(
        self, stage: Stage, asking: _Asking, store: ResponseStore | None, model: ModelConfig
    ) -> dict[int, _Cost]:
        """What the sampled rows cost at one model in one stage, by order."""
        costs: dict[int, _Cost] = {}
        if not self.orders or store is None or not self.sampled.has(stage.reads[0]):
            return costs
        price, batch = _price(model), model.backend == "openai-batch"
        for part in self.sampled.batches(stage.reads[0], _COLUMNS[stage.name]):
            for row in part.to_pylist():
                cost = costs.setdefault(row["order"], _Cost())
                for request in asking.requests(row):
                    answer = store.get(request)
                    cost.requests += 1
                    cost.worst += price.worst(request, batch)
                    if answer is None:
                        # It failed in the sample's build; the real one asks again.
                        continue
                    cost.prompt += answer.prompt_tokens
                    cost.completion += answer.completion_tokens
                    cost.pico += price.pico(
                        answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens, batch
                    )
                    if stage.name == "questions" and _usable(answer) is not None:
                        break
        return costs

    def _runs(self, stage: str, name: str) -> list[Mapping[str, Any]]:
        """What earlier and this estimate's builds noted of a model."""
        runs = self.sampled.telemetry(stage).get("runs", [])
        return [models[name] for run in runs if name in (models := run.get("models", {}))]

    def _lost_rate(self, model: ModelConfig) -> tuple[float, float, float]:
        """Tries per answer that bring nothing and may be billed, at this model's endpoint: low, expected, high."""
        calls = lost = 0.0
        for stage in ("questions", "references", "samples"):
            # The samples of one call come, and are lost, together.
            together = min(self.recipe.samples.n, MOST_SAMPLES) if stage == "samples" else 1
            for name, other in self.recipe.models.items():
                if (other.provider, other.base_url) == (model.provider, model.base_url):
                    for run in self._runs(stage, name):
                        calls += run.get("answered", 0) / together
                        lost += run.get("lost", 0) / together
        if not calls:
            return 0.0, 0.0, 0.0
        low, high = _poisson(lost)
        return low / calls, lost / calls, high / calls

    # ---- what was not ----

    def _assumed(self, stage: Stage, asking: _Asking, reach: Interval, model: ModelConfig) -> Line:
        draws = self.recipe.samples.n if stage.name == "samples" else 1
        requests = reach.times(draws, draws, draws)
        if stage.name == "questions":
            if self.recipe.questions is not None and self.recipe.questions.attempts > 1:
                requests = requests.times(1.0, 1.05, min(1.3, self.recipe.questions.attempts))
            sizes = [_bytes(asking.requests(row)[0]) for row in self._first_rows(stage)]
            mean = sum(sizes) / max(1, len(sizes))
            prompt = requests.times(*(mean / share for share in _BYTES_PER_TOKEN))
        else:
            prompt = requests.times(*_QUESTION_TOKENS)
        completion = requests.times(*(model.max_tokens * share for share in _ANSWER_SHARE))
        price, batch = _price(model), model.backend == "openai-batch"
        money = Interval(
            *(
                dollars(price.pico(getattr(prompt, end), getattr(completion, end), 0, batch))
                for end in ("low", "expected", "high")
            )
        )
        hours = _hours(model, requests, None)
        return Line(stage.name, asking.name, "assumed", requests, prompt, completion, money, hours)

    def _first_rows(self, stage: Stage) -> list[dict[str, Any]]:
        name = stage.reads[0]
        if not self.sampled.has(name):
            return []
        return [row for part in self.sampled.batches(name, _COLUMNS[stage.name]) for row in part.to_pylist()]

    def _judged(self, stage: Stage, lines: Sequence[Line]) -> Line:
        if stage.name in self.done:
            return Line(stage.name, "", "done", hours=Interval())
        asked = stage.reads[0]
        programs = Interval()
        for line in lines:
            if line.stage == asked:
                programs += line.requests
        workers = self.recipe.workers or len(os.sched_getaffinity(0))
        record = self.sampled.manifest.get(stage.name) if self.orders else None
        runs = [run for run in self.sampled.telemetry(stage.name).get("runs", []) if run.get("shards_made")]
        if record is None or not record.rows or not runs:
            return Line(stage.name, "", "assumed", programs, hours=_spread(programs, _JUDGE_SECONDS, workers))
        spent = sum(
            sum(one or ())
            for part in self.sampled.cpu(stage.name)
            for one in part.column("cpu_us").to_pylist()
        )
        low = spent / 1e6 / record.rows / workers
        high = max(low, runs[-1]["seconds"] / record.rows)
        imported = self._imported(stage)
        programs += imported
        seconds = (0.8 * low, math.sqrt(max(low, 1e-6) * high), 1.2 * high)
        return Line(stage.name, "", "measured", programs, hours=_spread(programs, seconds, 1))

    def _imported(self, stage: Stage) -> Interval:
        """Programs that came with the questions are judged too."""
        if stage.name != "sample_matrix" or not self.sampled.has("imported"):
            return Interval()
        counts = dict.fromkeys(self.orders, 0)
        for part in self.sampled.batches("imported", ["order"]):
            for order in part.column("order").to_pylist():
                counts[order] += 1
        return interval(list(counts.values()), self.more)

    # ---- together ----

    def _total(self, lines: Sequence[Line]) -> Line:
        total = Line("total", "", "measured" if all(line.basis != "assumed" for line in lines) else "assumed")
        whole = [_Cost() for _ in self.orders]
        for costs in self.costs.values():
            for row, order in zip(whole, self.orders, strict=True):
                one = costs.get(order, _Cost())
                row.requests += one.requests
                row.prompt += one.prompt
                row.completion += one.completion
                row.pico += one.pico
        if self.costs:
            total.requests = interval([one.requests for one in whole], self.more)
            total.prompt_tokens = interval([one.prompt for one in whole], self.more)
            total.completion_tokens = interval([one.completion for one in whole], self.more)
            total.dollars = interval([one.pico for one in whole], self.more).times(1e-12, 1e-12, 1e-12)
            total.dollars = total.dollars.perhaps(self.lost)
        hours: list[Interval | None] = []
        for line in lines:
            hours.append(line.hours)
            if line.model and (line.stage, line.model) not in self.costs:
                total.requests += line.requests
                total.prompt_tokens += line.prompt_tokens
                total.completion_tokens += line.completion_tokens
                total.dollars += line.dollars
        known = [one for one in hours if one is not None]
        if len(known) == len(hours):
            total.hours = sum(known, Interval())
        else:
            self.notes.append("hours: not known for every stage, so not for all of them together")
        if self.rows and not self.more and self.orders:
            self.notes.append("every row was sampled: the build finds all of its answers in the store")
        return total


def interval(values: Sequence[float], more: int) -> Interval:
    """The sum of `more` further values, of which `values` are a sample: 99 %, skewed to the right as the sample is."""
    count = len(values)
    if not count or not more:
        return Interval()
    mean = sum(values) / count
    if count < 2 or mean <= 0:
        return Interval(0.0, mean * more, 4 * mean * more)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    if variance == 0:
        return Interval(mean * more, mean * more, mean * more)
    third = sum((value - mean) ** 3 for value in values) / count
    skewness = max(0.0, third / variance**1.5)
    # Of the difference between the sample's mean and that of the others.
    error = math.sqrt(variance * (1 / count + 1 / more))
    z = _student(count - 1)
    below = z * error / mean
    above = below * (1 + z * skewness / (3 * math.sqrt(count)))
    return Interval(mean * more * math.exp(-below), mean * more, mean * more * math.exp(min(above, 5.0)))


def _student(freedom: int) -> float:
    """Student's 99.5 % point, by the first terms of its expansion about the normal one (Abramowitz & Stegun 26.7.5)."""
    z = 2.5758
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def _poisson(events: float) -> tuple[float, float]:
    """99 % for the mean of what was seen `events` times (Wilson and Hilferty's approximation of the exact limits)."""
    z = 2.5758
    low = events * (1 - 1 / (9 * events) - z / (3 * math.sqrt(events))) ** 3 if events else 0.0
    more = events + 1
    return max(0.0, low), more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3


def _hours(model: ModelConfig, requests: Interval, seconds: float | None) -> Interval | None:
    """How long a model takes for so many requests, each of which takes so many seconds of calls."""
    if model.backend == "replay" or not requests.high:
        return Interval()
    if model.backend == "openai-batch":
        times = max(1, math.ceil(requests.high / _BATCH_ROWS))
        return Interval(_BATCH_HOURS[0], sum(_BATCH_HOURS) / 2 * times, _BATCH_HOURS[1] * times)
    if seconds is None:
        return None
    if model.backend == "vllm":
        # A sample is too small to fill an engine: a large build is faster, by up to the size of its batches.
        return _spread(requests, (0.05 * seconds, 0.3 * seconds, 1.2 * seconds), 1)
    return _spread(requests, (0.8 * seconds, seconds, 1.5 * seconds), model.concurrency)


def _spread(count: Interval, seconds: tuple[float, float, float], at_a_time: int) -> Interval:
    low, expected, high = (one / at_a_time / 3600 for one in seconds)
    return count.times(low, expected, high)


def _price(model: ModelConfig) -> Price:
    price = model.price
    if price is None:
        return Price()
    return Price(price.input, price.output, price.cached_input, price.batch_factor)


def _bytes(request: Request) -> int:
    return sum(len(message["content"].encode("utf-8", "replace")) for message in request.messages)


# ---- for people ----


def lines(found: Estimate) -> list[str]:
    """An estimate as a table."""
    head = ["stage", "model", "basis", "requests", "tokens in", "tokens out", "US dollars", "hours"]
    table = [head]
    for line in [*found.lines, found.total]:
        table.append(
            [
                line.stage,
                line.model,
                line.basis,
                _shown(line.requests),
                _shown(line.prompt_tokens),
                _shown(line.completion_tokens),
                _shown(line.dollars, 2),
                "unknown" if line.hours is None else _shown(line.hours, 1),
            ]
        )
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    told = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    measured = (
        f"{found.sampled} of {found.rows:,} rows were measured" if found.sampled else "nothing was measured"
    )
    return [
        *told,
        "",
        f"{measured}; the figures are what is still to come",
        f"the estimate itself cost ${found.paid:,.4f}; its answers are kept, and the build finds them",
        *found.notes,
    ]


def _shown(one: Interval, digits: int = 0) -> str:
    if not one.high:
        return "0"
    if digits and one.high < 10**-digits:
        return f"under {10**-digits:g}"
    low, expected, high = (_number(value, digits) for value in (one.low, one.expected, one.high))
    return expected if low == high else f"{expected} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    if value >= 10_000_000:
        return f"{value / 1e6:,.0f} M"
    if value >= 1_000_000:
        return f"{value / 1e6:,.1f} M"
    if digits and value >= 100:
        digits = 0
    return f"{value:,.{digits}f}"
