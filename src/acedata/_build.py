"""The build: looks at what a recipe wants and what a directory has, and makes what is missing, stage by stage.

`plan` says what would happen and why. `build` takes the directory's lock and, for each stage in turn,

1. compares its fingerprint with the manifest's; equal and nothing left to mend: done;
2. finds the shards that are there already, from before a crash or under an unchanged key;
3. has `_make` make the others;
4. publishes the stage.

Whatever ends a build (a full budget, Ctrl-C, a power cut) leaves shards in work/ and answers in the store; the same
command goes on from there. A stage with `incomplete` rows (a model gave no answer) counts as done for the stages after
it, and is taken up again by the next build: only those rows are asked again, and only what they change is made again.

Money: what was spent is the directory's, over all builds. `telemetry/spent.json` holds a sum that is never less than
what was or may have been spent: it is written down before it is used up, a little ahead, so that even a killed build's
requests in flight are counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ._budget import PICO, Budget, Price, dollars
from ._directory import Building, Directory, StageRecord, _write_durably
from ._engines import open_engine
from ._errors import AceDataError, BadInput
from ._make import Work, make
from ._recipe import Recipe
from ._stages import ORDER, Stage, stages
from ._store import ResponseStore

State = Literal["done", "run", "mend", "wait"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a build would do about one stage.

    Attributes:
        stage: which.
        state: `done`; `run`; `mend`: ask again for rows without an answer; `wait`: depends on what a stage before it
            comes to.
        why: for people.
    """

    stage: Stage
    state: State
    why: str


class Watcher(Protocol):
    """Is told how a build goes. All calls come from the thread that builds."""

    def skipped(self, stage: Stage, record: StageRecord) -> None:
        """A stage is done already."""
        ...

    def begun(self, stage: Stage, why: str, total: int | None) -> None:
        """A stage begins; `total` of what `advanced` will count, None where nobody can know."""
        ...

    def advanced(self, count: int, cost: float) -> None:
        """So much more is done, for so many more US dollars."""
        ...

    def ended(self, stage: Stage, record: StageRecord, seconds: float) -> None:
        """A stage is done."""
        ...


class Silence:
    """A watcher that says nothing."""

    def skipped(self, stage: Stage, record: StageRecord) -> None: ...
    def begun(self, stage: Stage, why: str, total: int | None) -> None: ...
    def advanced(self, count: int, cost: float) -> None: ...
    def ended(self, stage: Stage, record: StageRecord, seconds: float) -> None: ...


@dataclass(slots=True)
class Built:
    """What a build came to.

    Attributes:
        path: the build directory.
        ran: stages that were made, in order; the others were done already.
        stages: all of them as the manifest has them.
        dollars: spent in this build.
        spent: spent in all builds of this directory.
        seconds: by the clock.
        incomplete: rows that got no answer; the next build asks again.
    """

    path: Path
    ran: list[str] = field(default_factory=list)
    stages: dict[str, StageRecord] = field(default_factory=dict)
    dollars: float = 0.0
    spent: float = 0.0
    seconds: float = 0.0
    incomplete: int = 0


def plan(recipe: Recipe, path: str | os.PathLike[str]) -> list[Step]:
    """What a build would do, and why. Touches nothing.

    Raises:
        BadInput: the directory is of another recipe or a newer version, or a local source is missing.
    """
    manifest: Mapping[str, StageRecord] = {}
    if (Path(path) / "manifest.json").exists():
        directory = Directory(path)
        _check_owner(directory, recipe)
        manifest = directory.manifest
    steps: list[Step] = []
    moving: set[str] = set()
    for stage in stages(recipe):
        step = _step(stage, manifest, moving, Path(path))
        if step.state != "done":
            moving.add(stage.name)
        steps.append(step)
    return steps


def build(
    recipe: Recipe,
    path: str | os.PathLike[str],
    *,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    until: str | None = None,
    spent: str | os.PathLike[str] | None = None,
) -> Built:
    """Makes everything that a recipe wants and a directory has not.

    Args:
        recipe: what to build.
        path: the build directory; made if there is none.
        watcher: is told how it goes.
        stop: asked now and then, from several threads; once it says yes nothing new is begun, what is in flight comes
            home, and the build ends with `Stopped`.
        until: the last stage to make, to look before the next is paid for; None: all. The next build goes on.
        spent: file of the sum that was spent so far, when this build spends another directory's money; None: its own.

    Raises:
        BuildInUse: another process builds there, or writes to the store.
        BudgetReached: the budget does not cover the next request.
        BackendError: a model cannot be asked at all.
        JudgingFailed: the sandbox cannot judge. Its own errors (`acesandbox.SandboxError`) too: no isolation here.
        BadInput: a source, or the directory, is not what it should be; the recipe has no stage `until`.
        Stopped: `stop` said so.

    Whatever it raises, what was done stays done.
    """
    watcher = watcher or Silence()
    begun = time.monotonic()
    built = Built(Path(path))
    listed = stages(recipe)
    names = [stage.name for stage in listed]
    if until is not None and until not in names:
        raise BadInput(f"{until!r}: this recipe has no such stage; it has {', '.join(names)}")
    with Building(path) as building, contextlib.ExitStack() as open_things:
        _check_owner(building, recipe)
        building.keep_recipe(recipe)
        building.forget(set(building.manifest) - set(names))
        ledger = Path(spent or building.path / "telemetry" / "spent.json")
        budget = open_things.enter_context(_Ledger(ledger, recipe))
        before = budget.spent
        engine = open_engine(recipe)
        open_things.callback(engine.close)
        store: ResponseStore | None = None
        for stage in listed[: None if until is None else names.index(until) + 1]:
            step = _step(stage, building.manifest, set(), building.path)
            if step.state == "done":
                watcher.skipped(stage, building.manifest[stage.name])
                continue
            if stage.kind == "ask" and store is None and stage.settings.get("models", True):
                store = open_things.enter_context(ResponseStore(store_path(recipe, path)))
            files = building.stage(stage.name, stage.fingerprint(building.manifest))
            work = Work(stage, recipe, building, files, engine, store, budget, watcher.advanced, stop)
            _find_shards(work)
            watcher.begun(stage, step.why, _total(work))
            record, seconds = _run(work, budget)
            watcher.ended(stage, record, seconds)
            built.ran.append(stage.name)
        if until is None:
            building.clear_work()
        built.stages = dict(building.manifest)
        built.dollars = dollars(budget.spent - before)
        built.spent = dollars(budget.spent)
    built.incomplete = sum(record.incomplete for record in built.stages.values())
    built.seconds = time.monotonic() - begun
    return built


def store_path(recipe: Recipe, path: str | os.PathLike[str]) -> Path:
    """Where a build keeps model answers."""
    return Path(path) / "store" if recipe.store is None else recipe.resolve(recipe.store)


def _check_owner(directory: Directory, recipe: Recipe) -> None:
    """One directory, one recipe's name: another one's stages would be thrown away."""
    if not (directory.path / "recipe.yaml").exists():
        return
    try:
        owner = directory.recipe.name
    except AceDataError:  # written by hand, or by another version: for reading only
        return
    if owner != recipe.name:
        raise BadInput(
            f"{directory.path}: holds a build of {owner!r}, and this recipe is {recipe.name!r}; give another --dir, "
            "or the recipe that name"
        )


def _step(stage: Stage, manifest: Mapping[str, StageRecord], moving: set[str], path: Path) -> Step:
    waits = [name for name in stage.reads if name in moving or name not in manifest]
    record = manifest.get(stage.name)
    if waits:
        if record is None:
            return Step(stage, "run", "not built yet")
        changed = _changes(record, stage)
        if changed:
            return Step(stage, "run", changed)
        return Step(stage, "wait", f"runs if {' or '.join(waits)} comes out otherwise")
    if record is None:
        return Step(stage, "run", "not built yet")
    if record.fingerprint != stage.fingerprint(manifest):
        changed = _changes(record, stage)
        inputs = stage.inputs(manifest)
        others = [name for name in inputs if record.inputs.get(name) != inputs[name]]
        return Step(stage, "run", changed or f"{' and '.join(others)} came out otherwise")
    missing = [name for name in record.files if not (path / "data" / stage.name / name).is_file()]
    if missing:
        return Step(stage, "run", f"{missing[0]} is missing")
    if record.incomplete:
        return Step(stage, "mend", f"{record.incomplete:,} without an answer are asked again")
    return Step(stage, "done", "up to date")


def _changes(record: StageRecord, stage: Stage) -> str:
    """Which settings differ from those it was built with."""
    was, now = dict(_flat(record.settings)), dict(_flat(stage.facts))
    changed = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    said = []
    for name in changed[:3]:
        if name in ("rules", "schema"):
            said.append("this version makes it differently")
        else:
            said.append(f"{name} was {was.get(name, 'not set')}, is {now.get(name, 'not set')}")
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return "; ".join(dict.fromkeys(said)) + more


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and value:
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{number}]")
    else:
        yield name, value


def _find_shards(work: Work) -> None:
    """Which shards there are to be, and which are missing. Loading stages find out as they go."""
    stage, manifest = work.stage, work.building.manifest
    if not stage.reads:
        return
    for number in manifest[stage.reads[0]].shards:
        shard = int(number)
        work.shards[shard] = stage.shard_key(shard, manifest)
        # What needs all rows at once is made at once.
        if stage.kind == "whole" or not work.files.has(shard, work.shards[shard]):
            work.missing.append(shard)


def _total(work: Work) -> int | None:
    """How much there is to do, in what `advance` counts."""
    stage, recipe = work.stage, work.recipe
    if stage.kind == "load":
        return None
    record = work.building.record(stage.reads[0])
    rows = sum(record.shards[f"{shard:05d}"].rows for shard in work.missing)
    if stage.name == "references":
        return rows * len(recipe.references.models)
    if stage.name == "samples":
        return rows * len(recipe.samples.models) * recipe.samples.n
    return rows


def _run(work: Work, budget: Budget) -> tuple[StageRecord, float]:
    """Makes one stage and publishes it; keeps what it took, however it ends."""
    stage, building = work.stage, work.building
    begun, spent = time.monotonic(), budget.spent
    outcome = "stopped"
    try:
        make(work)
        record = work.files.finish(work.shards, ORDER, stage.facts, stage.inputs(building.manifest))
        outcome = "finished"
    finally:
        seconds = time.monotonic() - begun
        building.note_failures(stage.name, work.failures)
        building.note_run(
            stage.name,
            {
                "outcome": outcome,
                "seconds": round(seconds, 3),
                "dollars": dollars(budget.spent - spent),
                "shards_made": len(work.missing) if stage.reads else len(work.shards),
                "shards": len(work.shards),
                "host": socket.gethostname(),
                "python": platform.python_version(),
                **(work.engine.describe() if stage.kind == "judge" else {}),
                **work.facts,
            },
        )
    return record, seconds


class _Ledger(Budget):
    """A budget that survives a kill: the sum on the disk is never less than what was, or may yet be, spent."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        prices = {}
        for model in recipe.models.values():
            price = model.price
            prices[model.provider, model.model] = (
                Price()
                if price is None
                else Price(price.input, price.output, price.cached_input, price.batch_factor)
            )
        super().__init__(recipe.budget_usd, prices)
        self._path = path
        self._noted = 0
        with contextlib.suppress(FileNotFoundError):
            try:
                self.spent = self._noted = int(json.loads(path.read_bytes())["pico_dollars"])
                if self.spent < 0:
                    raise ValueError("less than nothing")
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise BadInput(
                    f"{path}: is damaged ({error}); it says what this build has spent. Write "
                    f'{{"pico_dollars": N}} into it, N being US dollars x 10**12'
                ) from None

    def reserve(self, amount: int) -> bool:
        if not super().reserve(amount):
            return False
        most = self.spent + self.reserved
        if most > self._noted and amount:
            # Ahead by a hundredth of the budget (without one, by a cent): few writes, and little is counted in vain.
            ahead = PICO // 100 if self.limit is None else self.limit // 100
            self._note(most + ahead if self.limit is None else min(most + ahead, self.limit))
        return True

    def _note(self, amount: int) -> None:
        self._noted = amount
        _write_durably(self._path, json.dumps({"pico_dollars": amount}).encode())

    def __enter__(self) -> _Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        # Whatever was in flight has come home or was given up; what was given up may be billed.
        self._note(self.spent + self.reserved)
