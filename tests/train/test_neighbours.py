"""verl, OpenRLHF and the released project get what they expect, called as they call."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import os
import signal
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest

from acesandbox import Sandbox, SandboxError
from acetrain import NodeJudge, _neighbours, openrlhf, verl
from acetrain.eval_test_cases import evaluate, main
from tests.train.answers import HALF, HOSTILE, RIGHT, TESTS, WRONG, block

LIMITS = {"cpu_s": 0.1, "program_cpu_s": 0.2, "load_cpu_s": 0.2, "idle_s": 0.5}
OPTIONS: dict[str, Any] = {"limits": LIMITS, "workers": 1, "shared": False}


@pytest.fixture(scope="module", autouse=True)
def end_the_judges() -> Iterator[None]:
    yield
    for reward in _neighbours._rewards.values():
        reward.close()
    _neighbours._rewards.clear()


# verl 0.9.


def test_verls_naive_manager_gets_numbers_for_score_and_log() -> None:
    said = verl.compute_score(
        data_source="acecode",
        solution_str=HALF,
        ground_truth=numpy.array(TESTS),
        extra_info={"num_turns": None, "rollout_reward_scores": {}},
        reward_router_address="http://127.0.0.1:1",
        reward_model_tokenizer=None,
        mode="pass_rate",
        unknown="zero",
        **OPTIONS,
    )
    assert said["score"] == said["pass_rate"] == 0.5 and said["acc"] == 0.0
    assert all(type(value) is float for value in said.values())


def test_verls_loader_reads_the_file_by_its_path_and_binds_options() -> None:
    # As verl.utils.import_utils.load_module and trainer.ppo.reward.get_custom_reward_fn do.
    spec = importlib.util.spec_from_file_location("custom_module_1", inspect.getfile(verl))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not inspect.iscoroutinefunction(module.compute_score)
    bound = partial(_call_with_kwargs, module.compute_score, {"unknown": "zero", **OPTIONS})

    async def run() -> list[Any]:  # one call per completion, in threads of the loop's executor
        loop = asyncio.get_running_loop()
        rows = [RIGHT, HALF, WRONG, "", HOSTILE["NUL"]] * 3
        return await asyncio.gather(
            *(
                loop.run_in_executor(
                    None,
                    lambda text=text: bound(
                        data_source="a", solution_str=text, ground_truth=json.dumps(TESTS), extra_info={}
                    ),
                )
                for text in rows
            )
        )

    assert [said["score"] for said in asyncio.run(run())] == [1.0, 0.0, 0.0, 0.0, 0.0] * 3


def _call_with_kwargs(function: Any, extra: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **{**kwargs, **extra})


def test_verls_batch_manager_gets_a_list_with_the_same_names_for_all() -> None:
    said = verl.compute_scores(
        data_sources=numpy.array(["a", "a", "a"]),
        solution_strs=[RIGHT, "", WRONG],
        ground_truths=[TESTS, json.dumps(TESTS), "broken"],
        extra_infos=[{}, {}, {}],
        unknown="zero",
        **OPTIONS,
    )
    assert [one["score"] for one in said] == [1.0, 0.0, 0.0]
    assert [one["unknown"] for one in said] == [0.0, 0.0, 1.0]
    assert len({tuple(one) for one in said}) == 1


def test_what_an_unknown_completion_gets_must_be_chosen() -> None:
    with pytest.raises(ValueError, match="unknown="):
        verl.compute_score("a", RIGHT, TESTS)
    with pytest.raises(ValueError, match="unknown="):
        openrlhf.plain_score([RIGHT], [""], [TESTS], unknown="skip")
    with pytest.raises(_neighbours.Unknown, match="bad_tests"):
        verl.compute_score("a", RIGHT, "broken", unknown="raise", **OPTIONS)
    with pytest.raises(ValueError, match="overlong"):
        verl.compute_score("a", RIGHT, TESTS, unknown="zero", overlong=(1, 2, 0.5))


def test_the_log_says_of_each_completion_how_it_ended() -> None:
    unsealed = "import sys\nassert sys.modules[add.__module__].__dict__['add'](1, 2) == 3"
    answers = [RIGHT, block("while True:\n    pass"), "", RIGHT]
    tests = [TESTS, TESTS, TESTS, [TESTS[0], unsealed]]
    said = verl.compute_scores(["a"] * 4, answers, tests, unknown="zero", **OPTIONS)
    expected = {
        "score": [1.0, 0.0, 0.0, 1.0],
        "acc": [1.0, 0.0, 0.0, 1.0],
        "pass_rate": [1.0, 0.0, 0.0, 1.0],
        "unknown": [0.0] * 4,
        "timeout": [0.0, 1.0, 0.0, 0.0],
        "no_code": [0.0, 0.0, 1.0, 0.0],
    }
    assert {name: [one[name] for one in said] for name in expected} == expected
    assert [said[place]["sealed"] for place in (0, 2, 3)] == [1.0, 1.0, 0.5]
    logs = openrlhf.plain_score(answers, [""] * 4, tests, unknown="zero", **OPTIONS)["extra_logs"]
    assert logs == {name: [one[name] for one in said] for name in said[0] if name != "score"}


def test_reward_workers_share_the_nodes_judge_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACETRAIN_JUDGE_DIR", str(tmp_path / "judge"))
    options = {name: value for name, value in OPTIONS.items() if name != "shared"}
    assert verl.compute_score("a", RIGHT, TESTS, unknown="zero", **options)["score"] == 1.0
    judge = _neighbours.reward_for("zero", **options)._judge
    assert isinstance(judge, NodeJudge) and judge.socket_path.is_socket()
    os.kill(judge.pid(), signal.SIGKILL)  # rather than wait until it has lingered
    assert _neighbours.reward_for("zero", **OPTIONS) is not _neighbours.reward_for("zero", **options)
    assert not _neighbours.reward_for("zero", **OPTIONS).shared


# OpenRLHF.

PROMPT = (
    "<|im_start|>user\nWrite add.\n```python\nassert add(1, 2) == 3\n```<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (PROMPT + "x = 1", "x = 1"),
        (PROMPT + "x = 1<|im_end|>", "x = 1"),
        (PROMPT + "x = 1<|im_end|>\n<|endoftext|><|endoftext|>", "x = 1"),
        ("<s>" + PROMPT + "x = 1</s>", "x = 1"),
        ("something else", "something else"),
        (PROMPT, ""),
    ],
)
def test_the_answer_of_a_query(query: str, answer: str) -> None:
    assert openrlhf.answer_of(query, PROMPT) == answer


def test_openrlhfs_file_form_returns_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    spec = importlib.util.spec_from_file_location("reward_func", inspect.getfile(openrlhf))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asked = {"unknown": "zero", "mode": "pass_rate", "bonus": 0.5, **OPTIONS}
    monkeypatch.setenv("ACETRAIN_REWARD", json.dumps(asked))
    queries = [PROMPT + text + "<|im_end|>" for text in (RIGHT, HALF, "", RIGHT)]
    said = module.reward_func(queries, [PROMPT] * 4, [json.dumps(TESTS)] * 3 + ["broken"])
    assert torch.equal(said["rewards"], torch.tensor([1.5, 0.5, 0.0, 0.0]))
    assert torch.equal(said["scores"], torch.tensor([1.0, 0.5, 0.0, 0.0]))
    assert torch.equal(said["extra_logs"]["unknown"], torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert all(isinstance(value, torch.Tensor) and len(value) == 4 for value in said["extra_logs"].values())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = openrlhf.serve(port=0, unknown="raise", **OPTIONS)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/get_reward"
    server.shutdown()
    thread.join()
    server.server_close()


def post(url: str, value: object) -> tuple[int, Any]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_openrlhfs_http_form(url: str) -> None:
    asked = {
        "query": [PROMPT + RIGHT, PROMPT + WRONG],
        "prompts": [PROMPT] * 2,
        "labels": [TESTS, json.dumps(TESTS)],
    }
    code, said = post(url, asked)
    assert code == 200
    assert said["rewards"] == said["scores"] == [1.0, 0.0]
    assert said["extra_logs"]["pass_rate"] == [1.0, 0.0]


def test_a_client_that_goes_away_is_nobodys_trouble(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"query": [RIGHT], "prompts": [""], "labels": [TESTS]}).encode()
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as client:
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # reset, not closed
            head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
    assert post(url, {"query": [RIGHT], "prompts": [""], "labels": [TESTS]})[0] == 200
    time.sleep(0.5)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [({"modus": "binary"}, "modus"), ({"limits": {"cpu": 1}}, "cpu"), ({"limits": {"cpu_s": -1}}, "cpu_s")],
)
def test_an_option_that_there_is_not_is_a_value_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verl.compute_score("a", RIGHT, TESTS, unknown="zero", **options)


def test_the_variable_holds_for_the_adapters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {name: value for name, value in OPTIONS.items() if name != "shared"}
    monkeypatch.setenv("ACETRAIN_SHARED_JUDGE", "0")
    assert not _neighbours.reward_for("zero", **options).shared
    monkeypatch.delenv("ACETRAIN_SHARED_JUDGE")
    assert _neighbours.reward_for("zero", **options).shared


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no JSON", 400),
        ([], 400),
        ({"query": [RIGHT]}, 400),
        ({"query": [RIGHT], "prompts": [""], "labels": []}, 400),
        ({"query": [1], "prompts": [""], "labels": [TESTS]}, 400),
        ({"query": [RIGHT], "prompts": [""], "labels": ["broken"]}, 500),
    ],
    ids=repr,
)
def test_a_bad_request_is_told_and_the_next_one_answered(url: str, body: object, code: int) -> None:
    found, said = post(url, body)
    assert found == code and said["detail"]
    assert post(url, {"query": [RIGHT], "prompts": [""], "labels": [TESTS]})[1]["rewards"] == [1.0]


# The released project.


def samples(*outputs: str) -> list[dict[str, Any]]:
    return [
        {"task_id": f"t{n // 2}", "prompt": "q", "output": text, "tests": TESTS, "_identifier": f"t_{n}"}
        for n, text in enumerate(outputs)
    ]


def test_the_drop_in_gives_results_and_pass_rates_in_order() -> None:
    outputs = (
        HALF,
        RIGHT,
        "def add(a, b): return a + b",
        block("def add(a, b)"),
        HOSTILE["lone surrogate"],
        "",
    )
    results, rates = evaluate(samples(*outputs), n_workers=1, extract_solution=True)
    assert rates == [0.5, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert [result["_identifier"] for result in results] == [f"t_{n}" for n in range(6)]
    assert [result["completion_id"] for result in results] == [0, 1, 0, 1, 0, 1]
    assert [result["eval_results"]["status"] for result in results][:4] == [
        "fail",
        "pass",
        "pass",
        "syntax_error",
    ]
    first = results[0]
    assert set(first) == {"completion_id", "task_id", "_identifier", "solution", "n_tests", "eval_results"}
    assert set(first["eval_results"]) == {"status", "code_error", "details", "pass_rate"}
    assert [detail["pass"] for detail in first["eval_results"]["details"]] == [True, True, False, False]
    assert set(first["eval_results"]["details"][0]) == {"pass", "reason", "error_message", "time_limit"}
    assert results[3]["eval_results"]["code_error"]


def test_the_drop_in_stops_at_the_first_failure_without_details() -> None:
    tests = ["assert add(0, 5) == 5", "assert add(1, 2) == 3"]
    [result], rates = evaluate([{**samples(HALF)[0], "tests": tests}], n_workers=1, test_details=False)
    assert rates == [0.0]
    assert [detail["reason"] for detail in result["eval_results"]["details"]] == ["fail", "unexecuted"]


def test_the_drop_ins_command_line_is_the_one_that_training_scripts_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "step-1.jsonl", tmp_path / "step-1.eval_results_binary.jsonl"
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples(RIGHT, WRONG)))
    words = f"--samples {file} --n_workers 1 --extract_solution True --output_file {out} --test_details True"
    main(
        [
            *words.split(),
            *["--i_just_wanna_run", "True", "--min_time_limit", "1", "--gt_time_limit_factor", "1"],
        ]
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["eval_results"]["pass_rate"] for row in rows] == [1.0, 0.0]
    assert rows[0]["eval_results"]["details"][0]["time_limit"] == 1.0
    assert "Pass rate: 0.5" in capsys.readouterr().out
    out.write_text(out.read_text().replace('"pass_rate": 0.0', '"pass_rate": 0.25'))
    assert evaluate(str(file), output_file=out)[1] == [1.0, 0.25], (
        "an existing result is read, not judged again"
    )


def test_the_drop_ins_command_line_takes_every_argument_of_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def evaluates(**arguments: Any) -> tuple[list[Any], list[float]]:
        asked.append(arguments)
        return [], [0.25, 0.75]

    given: dict[str, Any] = {
        "samples": "a.jsonl",
        "dataset": "acecode",
        "base_only": True,
        "parallel": 3,
        "i_just_wanna_run": True,
        "test_details": False,
        "min_time_limit": 0.5,
        "gt_time_limit_factor": 2.5,
        "output_file": "b.jsonl",
        "n_workers": 2,
        "extract_solution": False,
        "unknown": "zero",
    }
    signature = inspect.signature(evaluate)
    assert list(given) == list(signature.parameters)
    monkeypatch.setattr("acetrain.eval_test_cases.evaluate", evaluates)
    main([word for name, value in given.items() for word in (f"--{name}", str(value))])
    main(["--samples", "a.jsonl"])
    main(["--samples", "a.jsonl", "--base_only", "--test_details"])
    defaults = {name: one.default for name, one in signature.parameters.items()} | {"samples": "a.jsonl"}
    assert asked == [given, defaults, {**defaults, "base_only": True}]
    assert capsys.readouterr().out == "Pass rate: 0.5\n" * 3
    with pytest.raises(SystemExit, match="2"):
        main(["--samples", "a.jsonl", "--base_only", "perhaps"])
    assert "True or False, not perhaps" in capsys.readouterr().err


def test_the_drop_in_pays_what_it_could_not_judge_as_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, tries = Sandbox.judge, []

    def loses(self: Sandbox, jobs: Any, **options: Any) -> Any:
        for program, tests, limits in jobs:
            yield SandboxError("lost") if "99" in program else judge(self, program, tests, limits=limits)

    def fails(self: Sandbox, *job: Any, **options: Any) -> Any:
        tries.append(job)
        raise SandboxError("the workers were killed")

    monkeypatch.setattr(Sandbox, "judge_many", loses)
    assert evaluate(samples(RIGHT, WRONG), n_workers=1)[1] == [1.0, 0.0], "it is tried a second time"
    monkeypatch.setattr(Sandbox, "judge", fails)
    results, rates = evaluate(samples(RIGHT, WRONG, RIGHT), n_workers=1, unknown="zero")
    assert rates == [1.0, 0.0, 1.0] and len(tries) == 1
    lost = results[1]["eval_results"]
    assert (lost["status"], lost["code_error"]) == ("unknown", "the workers were killed")
    assert [detail["reason"] for detail in lost["details"]] == ["unexecuted"] * 4
    with pytest.raises(RuntimeError, match=r"samples\[1\] could not be judged: the workers were killed"):
        evaluate(samples(RIGHT, WRONG), n_workers=1)


def test_the_drop_in_names_a_sample_that_lacks_something() -> None:
    with pytest.raises(ValueError, match=r"samples\[1\] has no 'tests'"):
        evaluate([samples(RIGHT)[0], {"task_id": "a", "output": "", "_identifier": "b"}])
    with pytest.raises(ValueError, match=r"samples\[1\].*earlier"):
        evaluate([samples(RIGHT)[0]] * 2)
    with pytest.raises(ValueError, match=r"samples\[0\]"):
        evaluate([{**samples(RIGHT)[0], "tests": []}])
    with pytest.raises(ValueError, match=r"samples\[0\]: 'task_id' must be"):
        evaluate([{**samples(RIGHT)[0], "task_id": ["a"]}])


def test_the_drop_in_reads_lines_as_json_has_them_and_writes_whole_files(tmp_path: Path) -> None:
    odd = RIGHT + "# one line\u2028 for JSON, two for Python\x85"
    file, out = tmp_path / "a.jsonl", tmp_path / "out.json"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in samples(odd, WRONG)))
    assert evaluate(str(file), output_file=out, n_workers=1)[1] == [1.0, 0.0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "out.json"]
    assert evaluate(str(file), output_file=out)[1] == [1.0, 0.0]  # read again


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}\n{", r"a\.jsonl:2: no JSON"), ("[]", "list of objects"), ('{"task_id": 1}', "has no 'output'")],
)
def test_the_drop_ins_command_line_ends_with_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(SystemExit, match=message):
        main(["--samples", str(tmp_path / "a.jsonl")])
    with pytest.raises(SystemExit, match="No such file"):
        main(["--samples", str(tmp_path / "b.jsonl")])
