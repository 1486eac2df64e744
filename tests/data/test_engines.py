"""Engines: this machine and a Ray cluster of two nodes give the same bytes, whoever judges and whoever answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import acesandbox
from acedata._backends import open_backend
from acedata._build import build
from acedata._directory import Directory
from acedata._engines import ActorBackend, LocalEngine, RayEngine, open_engine
from acedata._errors import BackendError
from acedata._judge import Item, Program
from acedata._recipe import JudgeConfig, RayConfig, load_recipe
from acedata._requests import Answer, Outcome, Request, Sampling
from tests.data import tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes on this machine, one core each, and this process joined to them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = os.environ.get("PYTHONPATH")
    # What this run imports, be it installed or built in the tree: `src` alone has no native part after an installation.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(acesandbox.__file__).parents[1])])
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(cluster.address, logging_level="error", log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def items(count: int) -> Iterator[Item]:
    for number in range(count):
        programs = [
            Program("m", place, f"def f(x):\n    return x + {number + (place % 3 == 1)}\n# {place}")
            for place in range(40)
        ]
        yield Item(f"q_{number}", number, [f"assert f({x}) == {x + number}" for x in range(3)], "f", programs)


def test_local_with_one_and_two_workers_and_two_nodes_of_ray_give_the_same_bytes(
    cluster: Any, tmp_path: Path
) -> None:
    recipe = tiny.write(tmp_path, seeds=12)
    expected = None
    for name, changes in {
        "local-1": {"workers": 1},
        "local-2": {"workers": 2},
        "ray": {"engine": "ray", "ray": {"address": cluster.address}},
    }.items():
        build(recipe.changed(**changes), tmp_path / name)
        made = tiny.snapshot(tmp_path / name)
        expected = expected or made
        assert made == expected, name
    run = Directory(tmp_path / "ray").telemetry("sample_matrix")["runs"][0]
    assert (run["engine"], run["nodes"], run["actors"]) == ("ray", 2, 2)


def test_both_nodes_judge_and_the_matrix_is_the_local_one_in_the_same_order(cluster: Any) -> None:
    import pyarrow as pa

    tables, said = [], []
    for engine in (LocalEngine(2), RayEngine(RayConfig(address=cluster.address))):
        batches = [judged.matrix for judged in engine.judge(items(40), JudgeConfig())]
        tables.append(pa.Table.from_batches(batches).combine_chunks())
        said.append(engine.describe())
        engine.close()
    assert tables[0].equals(tables[1]) and tables[0].num_rows == 40 * 40
    assert list(dict.fromkeys(tables[1].column("order").to_pylist())) == list(range(40))
    assert said[1] == {"engine": "ray", "nodes": 2, "actors": 2}


def test_an_error_in_an_actor_is_the_same_error(cluster: Any) -> None:
    from acesandbox import BadInput

    engine = RayEngine(RayConfig(address=cluster.address), workers=1)
    with pytest.raises(BadInput, match="no-such-python"):
        list(engine.judge(items(1), JudgeConfig(python="/no-such-python")))


def requests(count: int) -> list[Request]:
    return [
        Request("p", "m", ({"role": "user", "content": str(number)},), Sampling(), 10, row=f"r_{number}")
        for number in range(count)
    ]


async def collect(backend: Any, asked: list[Request]) -> list[tuple[Request, Outcome]]:
    async def each() -> AsyncIterator[Request]:
        for request in asked:
            yield request

    try:
        return [pair async for pair in backend.answers(each())]
    finally:
        await backend.close()


def test_a_model_held_by_actors_answers_every_request_once(cluster: Any, tmp_path: Path) -> None:
    import ray

    asked = requests(50)
    (tmp_path / "answers.jsonl").write_text(
        "".join(f'{{"model": "m", "row": "{one.row}", "text": "{one.row}!"}}\n' for one in asked)
    )
    (tmp_path / "r.yaml").write_text(
        "name: x\nseeds: {sources: [{name: a, from: start, path: a}]}\n"
        "models: {m: {backend: replay, provider: p, model: m, answers: answers.jsonl}}\n"
    )
    model = load_recipe(tmp_path / "r.yaml").models["m"]
    path = tmp_path / "answers.jsonl"
    backend = ActorBackend(ray, lambda: open_backend(model, answers=path), actors=2, bundle=4, num_cpus=0.5)
    found = asyncio.run(collect(backend, asked))
    assert sorted(request.row for request, _ in found) == sorted(one.row for one in asked)
    assert all(isinstance(answer, Answer) and answer.text == f"{request.row}!" for request, answer in found)


def test_a_model_that_needs_gpus_says_so(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "name: x\nengine: ray\nseeds: {sources: [{name: a, from: start, path: a}]}\n"
        "models: {m: {backend: vllm, provider: p, model: m, engine_options: {tensor_parallel_size: 2}}}\n"
    )
    engine = open_engine(load_recipe(tmp_path / "r.yaml"))
    with pytest.raises(BackendError, match="needs 2 GPUs of one node; the cluster has 0"):
        engine.backend(load_recipe(tmp_path / "r.yaml"), "m", tmp_path)


def test_the_recipe_names_the_engine(tmp_path: Path) -> None:
    assert isinstance(open_engine(tiny.write(tmp_path, seeds=2)), LocalEngine)
