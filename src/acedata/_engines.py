"""Where programs run and models answer: this machine, or a Ray cluster. What comes out is the same.

An engine gives judged rows in the order of the questions and back-ends that carry requests; it writes nothing. The
process that builds writes.

`LocalEngine` holds one sandbox with a worker per core, and opens back-ends in this process.

`RayEngine`: one actor per `cpus_per_actor` cores of the cluster holds a sandbox of its own and judges small groups of
questions. Each actor has one group in work and one waiting, and groups come back in order. A model of back-end `vllm`
gets actors with GPUs that hold its engine (as many as its GPUs allow); other models are asked from the driver,
since waiting for an endpoint needs no second machine. An actor that dies with its node is started again by Ray and its
groups are done again; programs are judged by what they are, so nothing shows.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from acesandbox import Limits, Sandbox

from ._backends import open_backend
from ._errors import BackendError
from ._judge import Item, Judged, judge_questions
from ._recipe import JudgeConfig, ModelConfig, RayConfig, Recipe
from ._requests import Backend, Outcome, Request
from ._strength import mutant_limits

# Judged rows are handed on at least this often: progress is told, and shards begin to be written.
ROWS_AT_A_TIME = 512
# Programs in one group: about a second's work of one core, so that no actor waits long for the last group.
GROUP_PROGRAMS = 256
ACTOR_RESTARTS = 3
# Of the second judging: what depends on the order of a set shows.
SECOND_HASH_SEED = 1


class Engine(Protocol):
    """What a build needs of the machines it runs on."""

    name: str

    def judge(
        self, items: Iterable[Item], config: JudgeConfig, *, again: bool = False, mutants: bool = False
    ) -> Iterator[Judged]:
        """Judges questions; batches of whole questions in the order of `items`, which is drawn from as there is room.

        Args:
            items: questions with their programs.
            config: the recipe's `judge`.
            again: the second time, with another hash seed.
            mutants: programs with faults put into them: many hang.

        Raises:
            JudgingFailed: as `judge_questions`.
        """
        ...

    def backend(self, recipe: Recipe, name: str, journal: Path) -> Backend:
        """A back-end for one of the recipe's models. Whoever asks closes it."""
        ...

    def describe(self) -> dict[str, Any]:
        """What telemetry says of it."""
        ...

    def close(self) -> None:
        """Gives processes back. Idempotent."""
        ...


def open_engine(recipe: Recipe) -> Engine:
    """The engine that a recipe names."""
    if recipe.engine == "ray":
        return RayEngine(recipe.ray, recipe.workers)
    return LocalEngine(recipe.workers)


def sandbox_options(config: JudgeConfig, again: bool = False, mutants: bool = False) -> dict[str, Any]:
    """Arguments of a sandbox for a recipe's `judge`."""
    limits = Limits().replace(**config.limits)
    return {
        "limits": mutant_limits(limits) if mutants else limits,
        "isolation": config.isolation,
        "python": config.python,
        "preload": tuple(config.preload),
        "unsealed": config.unsealed,
        "keep_output": False,
        "hash_seed": SECOND_HASH_SEED if again else 0,
    }


class LocalEngine:
    """This machine.

    Args:
        workers: programs at a time; None: one per core that may be used.
    """

    name = "local"

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers
        self._said: dict[str, Any] = {}

    def judge(
        self, items: Iterable[Item], config: JudgeConfig, *, again: bool = False, mutants: bool = False
    ) -> Iterator[Judged]:
        with Sandbox(self._workers, **sandbox_options(config, again, mutants)) as sandbox:
            self._said = {"workers": sandbox.workers, "tier": sandbox.tier}
            yield from judge_questions(items, sandbox, rows=ROWS_AT_A_TIME)

    def backend(self, recipe: Recipe, name: str, journal: Path) -> Backend:
        model = recipe.models[name]
        return open_backend(model, answers=_answers(recipe, model), journal=journal)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name, **self._said}

    def close(self) -> None:
        pass


class RayEngine:
    """A Ray cluster. Joins the one this process is in already, else the configured one, else makes one here.

    Args:
        config: the recipe's `ray`.
        workers: most cores to judge on; None: all of the cluster.

    Raises:
        BackendError: Ray is not installed, or there is no cluster at the address.
    """

    name = "ray"

    def __init__(self, config: RayConfig, workers: int | None = None) -> None:
        # Nobody asked for a report to Ray's makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise BackendError("engine: ray needs Ray: pip install 'acestack[ray]'") from None
        self._ray = ray
        self._config = config
        self._workers = workers
        self._ours = not ray.is_initialized()
        self._actors = 0
        if self._ours:
            options = {"num_cpus": workers, "include_dashboard": False} if config.address is None else {}
            try:
                ray.init(config.address, logging_level="error", log_to_driver=False, **options)
            except (ConnectionError, ValueError) as error:
                raise BackendError(f"ray.address: no cluster at {config.address!r}: {error}") from error

    def judge(
        self, items: Iterable[Item], config: JudgeConfig, *, again: bool = False, mutants: bool = False
    ) -> Iterator[Judged]:
        ray, cores = self._ray, self._config.cpus_per_actor
        usable = int(ray.cluster_resources().get("CPU", 0))
        self._actors = max(1, min(usable, self._workers or usable) // cores)
        remote = ray.remote(num_cpus=cores, max_restarts=ACTOR_RESTARTS, max_task_retries=ACTOR_RESTARTS)
        judges = [
            remote(_JudgeActor).remote(cores, sandbox_options(config, again, mutants))
            for _ in range(self._actors)
        ]
        try:
            for group in self._in_order(judges, _groups(items)):
                for matrix, cpu in group:
                    yield Judged(matrix, cpu)
        finally:
            for judge in judges:
                ray.kill(judge)

    def _in_order(self, judges: Sequence[Any], groups: Iterator[list[Item]]) -> Iterator[Any]:
        """Each group's outcome, in order. Two groups per actor are out, so that none waits for the driver."""
        ray = self._ray
        ordered: deque[Any] = deque()
        at_work: dict[Any, Any] = {}
        more = True
        while more or ordered:
            # A slow group in front lets the others run ahead only so far: outcomes take memory.
            while more and len(ordered) < 8 * len(judges):
                load = dict.fromkeys(judges, 0)
                for judge in at_work.values():
                    load[judge] += 1
                free = min(judges, key=load.__getitem__)
                if load[free] >= 2:
                    break
                group = next(groups, None)
                if group is None:
                    more = False
                    break
                outcome = free.judge.remote(group)
                ordered.append(outcome)
                at_work[outcome] = free
            if not ordered:
                return
            if ordered[0] not in at_work:
                yield ray.get(ordered.popleft())
                continue
            done, _ = ray.wait(list(at_work), num_returns=1)
            for outcome in done:
                del at_work[outcome]

    def backend(self, recipe: Recipe, name: str, journal: Path) -> Backend:
        model = recipe.models[name]
        if model.backend != "vllm":
            return open_backend(model, answers=_answers(recipe, model), journal=journal)
        gpus = int(model.engine_options.get("tensor_parallel_size", 1))
        usable = int(self._ray.cluster_resources().get("GPU", 0))
        if usable < gpus:
            raise BackendError(f"model {name!r} needs {gpus} GPUs of one node; the cluster has {usable}")
        return ActorBackend(
            self._ray, lambda: open_backend(model), usable // gpus, model.concurrency, num_gpus=gpus
        )

    def describe(self) -> dict[str, Any]:
        nodes = sum(bool(node["Alive"]) for node in self._ray.nodes()) if self._ray.is_initialized() else 0
        return {"engine": self.name, "nodes": nodes, "actors": self._actors}

    def close(self) -> None:
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()


def _answers(recipe: Recipe, model: ModelConfig) -> Path | None:
    return None if model.answers is None else recipe.resolve(model.answers)


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    programs = 0
    for item in items:
        group.append(item)
        programs += len(item.programs)
        if programs >= GROUP_PROGRAMS:
            yield group
            group, programs = [], 0
    if group:
        yield group


class _JudgeActor:
    """Runs on the cluster: a sandbox of its own."""

    def __init__(self, cores: int, options: dict[str, Any]) -> None:
        self._sandbox = Sandbox(cores, **options)

    def judge(self, group: list[Item]) -> list[tuple[Any, Any]]:
        return [tuple(judged) for judged in judge_questions(group, self._sandbox)]


class _AnswerActor:
    """Runs on the cluster: a back-end of its own, in an event loop of its own."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._loop = asyncio.new_event_loop()
        self._backend = opener()

    def answer(self, requests: list[Request]) -> list[tuple[Request, Outcome]]:
        async def collect() -> list[tuple[Request, Outcome]]:
            return [pair async for pair in self._backend.answers(_each(requests))]

        return self._loop.run_until_complete(collect())

    def close(self) -> None:
        self._loop.run_until_complete(self._backend.close())


async def _each(requests: list[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request


class ActorBackend:
    """A back-end whose work is done by actors, each with a copy of it.

    Requests go out in bundles; an actor has one in work and one waiting.

    Args:
        ray: the module.
        opener: makes the back-end, in the actor.
        actors: how many.
        bundle: requests at a time.
        resources: what an actor takes of the cluster, such as num_gpus.
    """

    def __init__(
        self, ray: Any, opener: Callable[[], Backend], actors: int, bundle: int, **resources: float
    ) -> None:
        self._ray = ray
        self._bundle = bundle
        remote = ray.remote(**resources, max_restarts=ACTOR_RESTARTS, max_task_retries=ACTOR_RESTARTS)
        self._actors = [remote(_AnswerActor).remote(opener) for _ in range(actors)]
        self.notes: list[str] = []

    async def answers(
        self, requests: AsyncIterable[Request], lost: Callable[[Request], bool] = lambda request: True
    ) -> AsyncIterator[tuple[Request, Outcome]]:
        at_work: dict[asyncio.Future[list[tuple[Request, Outcome]]], Any] = {}
        try:
            async for bundle in self._bundles(requests):
                while len(at_work) >= 2 * len(self._actors):
                    for pair in await self._landed(at_work):
                        yield pair
                busy = list(at_work.values())
                free = min(self._actors, key=busy.count)
                at_work[asyncio.wrap_future(free.answer.remote(bundle).future())] = free
            while at_work:
                for pair in await self._landed(at_work):
                    yield pair
        finally:
            for future in at_work:
                future.cancel()

    async def _landed(
        self, at_work: dict[asyncio.Future[list[tuple[Request, Outcome]]], Any]
    ) -> list[tuple[Request, Outcome]]:
        done, _ = await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
        pairs = []
        for future in done:
            del at_work[future]
            pairs += future.result()
        return pairs

    async def _bundles(self, requests: AsyncIterable[Request]) -> AsyncIterator[list[Request]]:
        bundle: list[Request] = []
        async for request in requests:
            bundle.append(request)
            if len(bundle) >= self._bundle:
                yield bundle
                bundle = []
        if bundle:
            yield bundle

    async def close(self) -> None:
        for actor in self._actors:
            with_close = actor.close.remote()
            await asyncio.wrap_future(with_close.future())
            self._ray.kill(actor)
