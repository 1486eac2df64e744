"""verl's own client of SandboxFusion, from verl's wheel, against `acesandbox serve`.

The client is one package of two files that needs `requests` only. The wheel, and `requests` where it is not installed,
are fetched from the package index; ACE_VERL_WHEEL names a wheel that is there already.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acesandbox import Limits, RunResult, Sandbox, WorkerDied
from acesandbox._serve import Service

pytestmark = pytest.mark.slow

SUM = "a, b = map(int, input().split())\nprint(a + b)"
CASES = {"inputs": ["1 2", "2 2", "0 5"], "outputs": ["3", "4\n", "5\n\n"]}
LIMITS = Limits(cpu_s=20, idle_s=20, output_kb=1024)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """verl.utils.reward_score.sandbox_fusion, as it is in the wheel."""
    place = tmp_path_factory.mktemp("verl")
    fetch = [sys.executable, "-m", "pip", "download", "-q", "-d", str(place)]
    named = os.environ.get("ACE_VERL_WHEEL")
    if named is None:
        subprocess.run([*fetch, "--no-deps", "verl==0.9.1"], check=True, timeout=300)
        [wheel] = place.glob("verl-*.whl")
    else:
        wheel = Path(named)
    zipfile.ZipFile(wheel).extractall(place / "files")
    if importlib.util.find_spec("requests") is None:
        subprocess.run([*fetch, "requests"], check=True, timeout=300)
        for one in place.glob("*.whl"):
            if not one.name.startswith("verl-"):
                zipfile.ZipFile(one).extractall(place / "beside")
        sys.path.append(str(place / "beside"))
    folder = place / "files" / "verl" / "utils" / "reward_score" / "sandbox_fusion"
    spec = importlib.util.spec_from_file_location(
        "verl_sandbox_fusion", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def sandboxes(count: int) -> list[Sandbox]:
    return [Sandbox(workers=1, limits=LIMITS) for _ in range(count)]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service(sandboxes(2), port=0) as service:
        yield service


def scored(
    client: Any, service: Service, program: str, cases: Any = CASES, **more: Any
) -> tuple[float, list[dict[str, Any]]]:
    """verl's score, and its record of each case."""
    more = {"concurrent_semaphore": None, "memory_limit_mb": 1024, **more}
    answer = f"Here it is:\n```python\n{program}\n```\n"
    score, record = client.compute_score(service.url, completion=answer, test_cases=cases, **more)
    return score, record


def results(client: Any, service: Service, program: str, cases: Any = CASES, **more: Any) -> list[Any]:
    """verl's own code for each case: True, False, -1 not to be had, -2 runtime error, -3 timeout, -4 compile error."""
    return list(client.check_correctness(service.url, dict(cases), program, **more)[0])


def test_right_wrong_and_half_right_programs(client: Any, service: Service) -> None:
    for program, score, codes, status in [
        (SUM, 1.0, [True, True, True], ["success"] * 3),
        ("print(4)", 1 / 3, [False, True, False], ["wrong_answer", "success", "wrong_answer"]),
        (SUM.replace("+", "-"), 0.0, [False, False, False], ["wrong_answer"] * 3),
        ("", 0.0, [False, False, False], ["wrong_answer"] * 3),
    ]:
        paid, record = scored(client, service, program)
        assert paid == pytest.approx(score)
        assert [one["status"] for one in record] == status
        assert results(client, service, program) == codes
        assert {one["run_status"] for one in record} == {"Finished"}
        assert {one["exit_code"] for one in record} == {0}
        assert {one["api_status"] for one in record} == {"Success"}
        assert {one["compile_status"] for one in record} == {None}
        assert all(0 < one["duration"] < 10 for one in record)


def test_programs_that_fail_are_minus_two(client: Any, service: Service) -> None:
    for program, code, text in [
        ("1/0", 1, "ZeroDivisionError"),
        (
            "print(",
            1,
            "SyntaxError",
        ),  # nothing is compiled for Python, so it is no compile error, as with the original
        ("import sys\nsys.exit(3)", 3, ""),
        ("import os\nos.kill(os.getpid(), 9)", 137, ""),
        ("import os\nwhile True: os.fork()", 1, "PermissionError"),
        ("x = bytearray(1 << 33)", 1, "MemoryError"),
        ("import os\nprint(3)\nos._exit(1)", 1, ""),
    ]:
        paid, record = scored(client, service, program)
        assert paid == 0.0
        assert results(client, service, program) == [-2, -2, -2]
        assert [one["status"] for one in record] == ["runtime_error"] * 3
        assert [one["api_status"] for one in record] == ["Failed"] * 3
        assert [one["exit_code"] for one in record] == [code] * 3
        assert all(text in one["stderr"] for one in record)


def test_programs_that_hang_or_sleep_are_minus_three(client: Any, service: Service) -> None:
    for end in ("while True: pass", "import time; time.sleep(60)"):
        program = f"n = input()\nprint(n, flush=True)\nif n == '2 2':\n    {end}\nprint(3)"
        paid, record = scored(
            client, service, program, {**CASES, "outputs": ["1 2\n3", "", "0 5\n4"]}, timeout=1
        )
        assert paid == pytest.approx(1 / 3)
        assert [one["status"] for one in record] == ["success", "timeout", "wrong_answer"]
        assert (record[1]["run_status"], record[1]["exit_code"]) == ("TimeLimitExceeded", None)
        assert record[1]["stdout"] == "2 2\n"
    assert results(client, service, "while True: pass", timeout=1) == [-3, -3, -3]


def test_memory_is_what_verl_says(client: Any, service: Service) -> None:
    program = "x = bytearray(200 << 20)\n" + SUM
    assert results(client, service, program, memory_limit_mb=1024) == [True] * 3
    assert results(client, service, program, memory_limit_mb=64) == [-2] * 3


def test_functions_are_called_by_verls_wrapper(client: Any, service: Service) -> None:
    cases = {"fn_name": "add", "inputs": ["1\n2", "2\n2", "[1]\n[2]"], "outputs": ["3", "5", "[1, 2]"]}
    plain = "def add(a, b):\n    return a + b"
    in_class = "class Solution:\n    def add(self, a, b):\n        return a + b"
    for program in (plain, in_class):
        paid, record = scored(client, service, program, json.dumps(cases))
        assert paid == pytest.approx(2 / 3)
        assert [one["status"] for one in record] == ["success", "wrong_answer", "success"]
    # Its wrapper ends with 0 whatever the function raises, so this is a wrong answer to it.
    assert results(client, service, "def add(a, b): return 1 / 0", cases) == [False] * 3
    assert results(client, service, "def add(a, b) return 1", cases) == [-2] * 3


def test_asserts_beside_the_program(client: Any, service: Service) -> None:
    cases = {"assert_case": ["assert add(1, 2) == 3", "assert add(1, 2) == 4"]}
    paid, record = scored(client, service, "def add(a, b): return a + b", cases)
    assert paid == 0.5
    assert [one["status"] for one in record] == ["success", "runtime_error"]


def test_the_share_of_the_first_ten(client: Any, service: Service) -> None:
    cases = {"inputs": ["1 1"] * 12, "outputs": ["2"] * 5 + ["3"] * 7}
    assert scored(client, service, SUM, cases, continuous=True)[0] == 0.5
    assert scored(client, service, SUM, cases)[0] == pytest.approx(5 / 12)


def test_many_cases_of_many_programs_under_verls_semaphore(client: Any, service: Service) -> None:
    semaphore, found = threading.Semaphore(16), {}
    cases = {"inputs": [f"{n} 1" for n in range(20)], "outputs": [str(n + 1) for n in range(20)]}

    def one(number: int) -> None:
        program = SUM if number % 2 else SUM.replace("+", "*")
        found[number] = scored(client, service, program, cases, concurrent_semaphore=semaphore)[0]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: 1.0 if number % 2 else 0.0 for number in range(12)}


def test_text_that_is_no_ascii_comes_back_as_it_was(client: Any, service: Service) -> None:
    cases = {"inputs": ["grüße\t😀"], "outputs": ["😀grüße\t"]}
    assert scored(client, service, "s = input()\nprint(s[-1] + s[:-1])", cases)[0] == 1.0


class Failing(Sandbox):
    """Fails as often as it is told to, by a fault of its own."""

    failures = 0

    def run(self, *given: Any, **more: Any) -> RunResult:
        if self.failures:
            self.failures -= 1
            raise WorkerDied("two workers died, and it was not the program")
        return super().run(*given, **more)


def test_a_fault_of_ours_is_asked_again_and_at_last_minus_one(client: Any) -> None:
    sandbox = Failing(workers=1, limits=LIMITS)
    cases = {"inputs": ["1 2"], "outputs": ["3"]}
    with Service([sandbox], port=0) as service:
        sandbox.failures = 2
        paid, record = scored(client, service, SUM, cases)
        assert (paid, record[0]["status"]) == (1.0, "success")
        assert service.answers() == {504: 2, 200: 1}
        sandbox.failures = 3
        paid, record = scored(client, service, SUM, cases)
        assert (paid, record[0]["status"], record[0]["api_status"]) == (0.0, "api_error", None)
        assert "504" in record[0]["api_request_error"]
        assert results(client, service, SUM, cases) == [True]
        sandbox.failures = 3
        assert results(client, service, SUM, cases) == [-1]


def test_too_much_at_a_time_is_asked_again(client: Any) -> None:
    program = "import time\ntime.sleep(0.2)\n" + SUM
    cases = {"inputs": ["1 2"] * 6, "outputs": ["3"] * 6}
    with Service(sandboxes(2), port=0, in_flight=4) as service:
        assert results(client, service, program, cases) == [True] * 6
        assert service.answers()[504] >= 1


def test_what_is_refused_is_minus_one_with_the_servers_word_in_its_log(client: Any) -> None:
    notices: list[str] = []
    with Service(sandboxes(1), port=0, say=notices.append) as service:
        assert results(client, service, SUM, memory_limit_mb=4096) == [-1] * 3
        assert results(client, service, "int main() {}", language="cpp") == [-1] * 3
    assert len(notices) == 2
    assert "memory_limit_MB" in notices[0] and "--memory-mb" in notices[0]
    assert "language" in notices[1]
