"""Our reward under verl's own code, loaded file by file from its wheel: what reads the configuration, what calls the
function, and verl's own scorer beside it.

The package itself wants an environment of its own (other versions of transformers), so what its files import from each
other is put in their place here; what runs is theirs. The wheel is fetched from the package index, or is named by
ACE_VERL_WHEEL.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acetrain import _neighbours, verl
from tests.train.answers import HALF, HOSTILE, RIGHT, TESTS, WRONG

pytestmark = pytest.mark.slow
OPTIONS: dict[str, Any] = {
    "limits": {"cpu_s": 0.1, "program_cpu_s": 0.2, "load_cpu_s": 0.2, "idle_s": 0.5},
    "workers": 1,
    "shared": False,
    "unknown": "zero",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("verl")
    named = os.environ.get("ACE_VERL_WHEEL")
    if named is None:
        words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "verl==0.9.1", "-d", str(place)]
        subprocess.run(words, check=True, timeout=300)
        [wheel] = place.glob("verl-*.whl")
    else:
        wheel = Path(named)
    zipfile.ZipFile(wheel).extractall(place / "files")
    yield place / "files" / "verl"
    for reward in _neighbours._rewards.values():
        reward.close()
    _neighbours._rewards.clear()


def load(path: Path, name: str, package: str | None = None) -> Any:
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)] if path.name == "__init__.py" else None
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts names in the place of modules that verl's files import."""

    def put(name: str, **values: Any) -> None:
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)

    return put


class Item:
    """The parts of a DataProto that a reward manager reads."""

    def __init__(self, answer: str, tests: Any) -> None:
        import torch

        ids = torch.tensor([[ord(letter) for letter in answer] + [0, 0]])
        seen = torch.ones_like(ids)
        seen[0, -2:] = 0
        self.batch = {"responses": ids[0], "attention_mask": seen[0]}
        self.non_tensor_batch = {
            "data_source": "acecode",
            "reward_model": {"ground_truth": tests, "style": "rule"},
            "extra_info": {"index": 1},
        }

    def __getitem__(self, place: Any) -> Item:
        return self


class Config(dict[str, Any]):
    """A configuration whose names are attributes too."""

    __getattr__ = dict.__getitem__


class Letters:
    def decode(self, ids: Any, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids.tolist()))


@pytest.fixture
def managers(package: Path, around: Any) -> dict[str, Any]:
    """verl's reward managers by name."""
    found: dict[str, Any] = {}

    class Base:
        def __init__(self, config: Any, tokenizer: Any, compute_score: Any) -> None:
            self.config, self.tokenizer, self.loop = config, tokenizer, asyncio.get_event_loop()
            self.init_class(config, tokenizer)

        @classmethod
        def init_class(cls, config: Any, tokenizer: Any) -> None:
            pass

    def register(name: str) -> Any:
        return lambda one: found.setdefault(name, one)

    around("verl", DataProto=Item)
    around("omegaconf", DictConfig=dict)
    around("verl.experimental.reward_loop.reward_manager", register=register)
    around("verl.experimental.reward_loop.reward_manager.base", RewardManagerBase=Base)
    around("verl.utils.ray_utils", get_event_loop=asyncio.get_event_loop)
    around("verl.utils.reward_score", default_compute_score=None, get_default_compute_score=lambda name: None)
    around("verl.workers.reward_manager", register=lambda name: lambda one: one)
    for name in ("naive", "dapo", "limited"):
        load(package / f"experimental/reward_loop/reward_manager/{name}.py", f"verl_{name}_manager")
    return found


@pytest.fixture
def reading(package: Path, managers: Any) -> Any:
    """verl's reader of the configuration."""
    utilities = load(package / "utils" / "import_utils.py", "verl.utils.import_utils")
    assert utilities.load_extern_object
    return load(package / "trainer" / "ppo" / "reward.py", "verl_trainer_ppo_reward")


def test_verls_naive_manager_pays_what_we_say(managers: dict[str, Any], reading: Any) -> None:
    async def paid() -> list[dict[str, Any]]:
        found = []
        for path in (inspect.getfile(verl), "pkg://acetrain.verl"):
            chosen = {
                "path": path,
                "name": "compute_score",
                "reward_kwargs": {**OPTIONS, "mode": "pass_rate"},
            }
            config = types.SimpleNamespace(reward={"custom_reward_function": chosen})
            score = reading.get_custom_reward_fn(config)
            manager = managers["naive"](config, Letters(), score)
            for answer in (RIGHT, HALF, WRONG, "no program", HOSTILE["exits in the call"]):
                found.append(await manager.run_single(Item(answer, json.dumps(TESTS))))
            found.append(await manager.run_single(Item(RIGHT, "broken")))
        return found

    found = asyncio.run(paid())
    assert [one["reward_score"] for one in found] == [1.0, 0.5, 0.0, 0.0, 0.0, 0.0] * 2
    assert [one["reward_extra_info"]["unknown"] for one in found] == [0.0] * 5 + [1.0] + [0.0] * 5 + [1.0]
    assert all(isinstance(value, float) for one in found for value in one["reward_extra_info"].values())


@pytest.mark.parametrize("name", ["naive", "dapo", "rate_limited"])
def test_what_raises_ends_verls_run_unless_the_manager_catches_it(
    managers: dict[str, Any], reading: Any, name: str
) -> None:
    options = {**OPTIONS, "unknown": "raise"}
    chosen = {"path": inspect.getfile(verl), "name": "compute_score", "reward_kwargs": options}
    config = Config(reward={"custom_reward_function": chosen})

    async def paid(*row: Any) -> dict[str, Any]:
        manager = managers[name](config, Letters(), reading.get_custom_reward_fn(config))
        return await manager.run_single(Item(*row))

    assert asyncio.run(paid(RIGHT, json.dumps(TESTS)))["reward_score"] == 1.0
    if name == "rate_limited":
        managers[name]._class_initialized = False  # its semaphore is the loop's that made it
        found = asyncio.run(paid(RIGHT, "broken"))
        assert found["reward_score"] == 0.0 and "bad_tests" in found["reward_extra_info"]["error"]
    else:
        with pytest.raises(_neighbours.Unknown, match="bad_tests"):
            asyncio.run(paid(RIGHT, "broken"))


def test_verls_own_scorer_says_the_same_of_whole_programs(package: Path) -> None:
    # Of whole programs only: for shares it forgets the name of the function, so that all its tests fail.
    prime = load(package / "utils" / "reward_score" / "prime_code" / "__init__.py", "verl_prime_code")
    cases = {
        "fn_name": "add",
        "inputs": ["1\n2", "2\n2", "0\n5", "-1\n1"],
        "outputs": ["3", "4", "5", "0"],
    }
    for answer in (RIGHT, HALF, WRONG):
        theirs, _ = prime.compute_score(answer, json.dumps(cases), continuous=True)
        ours = verl.compute_score("acecode", answer, TESTS, mode="binary", **OPTIONS)
        assert float(theirs) == ours["score"]
