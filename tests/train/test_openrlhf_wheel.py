"""Our reward under OpenRLHF's own code, loaded from its wheel: the executor that asks for the reward of one completion,
by our file form, by our HTTP form over loopback, and by the shipped recipe.

The package itself wants an environment of its own, so what its file imports is put in its place here; what runs is
theirs. The wheel is fetched from the package index, or is named by ACE_OPENRLHF_WHEEL. Its HTTP client, aiohttp, is
used where it is installed; elsewhere a few lines post in its place.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import types
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import acetrain
from acetrain import NodeJudge, _neighbours, openrlhf
from tests.train.answers import HALF, HOSTILE, RIGHT, TESTS, WRONG

pytestmark = pytest.mark.slow
OPTIONS: dict[str, Any] = {
    "limits": {"cpu_s": 0.1, "program_cpu_s": 0.2, "load_cpu_s": 0.2, "idle_s": 0.5},
    "workers": 1,
    "shared": False,
    "mode": "pass_rate",
}
PROMPT = "<|im_start|>user\nWrite add.<|im_end|>\n<|im_start|>assistant\n"
ANSWERS = (RIGHT, HALF, WRONG, "", HOSTILE["exits in the call"])
PAID = [1.0, 0.5, 0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    place = tmp_path_factory.mktemp("openrlhf")
    named = os.environ.get("ACE_OPENRLHF_WHEEL")
    if named is None:
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "openrlhf==0.11.2",
            "-d",
            str(place),
        ]
        # The wheel is marked for one Python on one platform; the file that is read here is for any.
        words += ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux1_x86_64"]
        subprocess.run(words, check=True, timeout=300)
        [found] = place.glob("openrlhf-*.whl")
    else:
        found = Path(named)
    with zipfile.ZipFile(found) as opened:
        yield opened
    for reward in _neighbours._rewards.values():
        reward.close()
    _neighbours._rewards.clear()


class ClientError(Exception):
    pass


class Response:
    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    def raise_for_status(self) -> None:
        if self.status >= 400:
            raise ClientError(f"{self.status}: {self.body.decode()}")

    async def json(self) -> Any:
        return json.loads(self.body)

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass


class Posting:
    """A post of aiohttp's session, entered: it really goes over loopback."""

    def __init__(self, url: str, data: Any, timeout: float) -> None:
        self.request = urllib.request.Request(
            url, json.dumps(data).encode(), {"Content-Type": "application/json"}
        )
        self.timeout = timeout

    def post(self) -> Response:
        try:
            with urllib.request.urlopen(self.request, timeout=self.timeout) as answer:
                return Response(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.read())

    async def __aenter__(self) -> Response:
        return await asyncio.to_thread(self.post)

    async def __aexit__(self, *exc: object) -> None:
        pass


class Session:
    def __init__(self, timeout: Any) -> None:
        self.timeout = timeout.total

    def post(self, url: str, json: Any) -> Posting:
        return Posting(url, json, self.timeout)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass


@pytest.fixture
def agent(wheel: zipfile.ZipFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """OpenRLHF's utils/agent.py."""
    if importlib.util.find_spec("aiohttp") is None:
        stand_in = types.ModuleType("aiohttp")
        timeout = lambda total: SimpleNamespace(total=total)
        vars(stand_in).update(ClientError=ClientError, ClientSession=Session, ClientTimeout=timeout)
        monkeypatch.setitem(sys.modules, "aiohttp", stand_in)
    for name in ("openrlhf", "openrlhf.utils", "openrlhf.utils.logging_utils"):
        module = types.ModuleType(name)
        vars(module).update(init_logger=logging.getLogger)
        monkeypatch.setitem(sys.modules, name, module)
    [member] = [name for name in wheel.namelist() if name.endswith("openrlhf/utils/agent.py")]
    path = tmp_path / "agent.py"
    path.write_bytes(wheel.read(member))
    spec = importlib.util.spec_from_file_location("openrlhf_agent", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text: str, **options: Any) -> dict[str, Any]:
        return {"input_ids": torch.tensor([[ord(letter) for letter in text]])}

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


class Engine:
    """In vLLM's place: its answer is known beforehand."""

    def __init__(self, answer: str) -> None:
        self.answer = answer + "<|im_end|>"

    async def generate(self, ids: list[int], params: Any, multi_modal_data: Any) -> Any:
        said = SimpleNamespace(
            token_ids=[ord(letter) for letter in self.answer], finish_reason="stop", logprobs=None
        )
        return SimpleNamespace(outputs=[said])


def asked(executor: Any, rows: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """What OpenRLHF keeps of answers and their labels: all at once, a call for each."""

    async def run() -> list[dict[str, Any]]:
        params = SimpleNamespace(max_tokens=None, logprobs=None)
        calls = [
            executor.execute(PROMPT, label, params, 1 << 20, Letters(), Engine(answer))
            for answer, label in rows
        ]
        return await asyncio.gather(*calls)

    return asyncio.run(run())


def as_numbers(found: list[dict[str, Any]]) -> list[float | None]:
    """Rewards as its samples generator makes them tensors."""
    return [None if one["reward"] is None else torch.tensor([one["reward"]]).item() for one in found]


def logged(found: list[dict[str, Any]], name: str) -> list[float]:
    values = [one["extra_logs"][name] for one in found]
    return [torch.as_tensor(value).flatten()[0].item() for value in values]


ROWS = [(answer, json.dumps(TESTS)) for answer in ANSWERS] + [(RIGHT, "broken")]


@pytest.mark.parametrize("unknown", ["zero", "raise"])
def test_the_file_form_is_paid_and_an_error_is_swallowed(
    agent: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    monkeypatch.setenv("ACETRAIN_REWARD", json.dumps({**OPTIONS, "unknown": unknown}))
    caplog.set_level(logging.INFO)
    found = asked(agent.SingleTurnAgentExecutor([openrlhf.__file__]), ROWS)
    assert as_numbers(found) == [*PAID, 0.0 if unknown == "zero" else None]
    assert logged(found[:5], "unknown") == [0.0] * 5
    assert logged(found[:5], "no_code") == [0.0, 0.0, 0.0, 1.0, 0.0]
    if unknown == "zero":
        assert logged(found[5:], "unknown") == [1.0]
    else:
        assert found[5]["extra_logs"] == {} and "a completion could not be judged (bad_tests)" in caplog.text


@pytest.mark.parametrize("unknown", ["zero", "raise"])
def test_the_http_form_is_paid_and_an_error_is_swallowed_after_five_tries(
    agent: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    caplog.set_level(logging.INFO)
    scored: list[str] = []
    score = openrlhf.plain_score

    def counted(queries: Any, *rest: Any, **options: Any) -> Any:
        scored.extend(queries)
        return score(queries, *rest, **options)

    monkeypatch.setattr(openrlhf, "plain_score", counted)
    with openrlhf.serve(port=0, unknown=unknown, **OPTIONS) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/get_reward"
            found = asked(agent.SingleTurnAgentExecutor(url), ROWS)
        finally:
            server.shutdown()
            thread.join()
    assert as_numbers(found) == [*PAID, 0.0 if unknown == "zero" else None]
    if unknown == "zero":
        assert logged(found, "unknown") == [0.0] * 5 + [1.0] and len(scored) == 6
    else:
        assert len(scored) == 5 + 5 and "Request error for 5 times" in caplog.text


def test_the_shipped_recipe_pays_zero_for_what_could_not_be_judged(
    agent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(tmp_path / "judge"))
    recipe = Path(acetrain.__file__).parent / "recipes" / "openrlhf" / "reward.py"
    try:
        found = asked(
            agent.SingleTurnAgentExecutor([str(recipe)]), [(RIGHT, TESTS), (HALF, TESTS), (RIGHT, "broken")]
        )
        assert as_numbers(found) == [1.0, 0.0, 0.0] and logged(found, "unknown") == [0.0, 0.0, 1.0]
    finally:
        judge = _neighbours.reward_for("zero", mode="binary")._judge
        assert isinstance(judge, NodeJudge)
        os.kill(judge.pid(), signal.SIGKILL)  # rather than wait until it has lingered
