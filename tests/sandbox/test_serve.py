"""`acesandbox serve`: SandboxFusion's form over HTTP, and what a service must withstand."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psutil
import pytest

from acesandbox import (
    BadInput,
    Closed,
    IsolationUnavailable,
    Limits,
    RunResult,
    Sandbox,
    WorkerDied,
    _run_code,
    _serve,
)
from acesandbox._serve import MAX_BODY, Service
from tests.conftest import unavailable

LIMITS = Limits(cpu_s=20, idle_s=20, output_kb=64, memory_mb=512)
ECHO = "print(input())"
HANG = "print('begun', flush=True)\nwhile True: pass"
SLEEP = "import time\nprint('begun', flush=True)\ntime.sleep(100)"


def sandboxes(count: int) -> list[Sandbox]:
    return [Sandbox(workers=1, limits=LIMITS) for _ in range(count)]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    try:
        with Service(sandboxes(2), port=0) as service:
            yield service
    except IsolationUnavailable as error:
        unavailable(str(error))


def talk(
    service: Service, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


def ask(service: Service, code: Any = ECHO, **fields: Any) -> tuple[int, Any]:
    """What a request for a run is answered: status and JSON."""
    fields = {"code": code, "language": "python", **fields}
    return talk(service, "POST", "/run_code", json.dumps(fields).encode())


def works(service: Service) -> bool:
    return bool(ask(service, stdin="all is well")[1]["run_result"]["stdout"] == "all is well\n")


class Odd(Sandbox):
    """A sandbox whose runs end as a test wants."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.runs: list[str] = []

    def run(self, *given: Any, limits: Limits | None = None, **more: Any) -> RunResult:
        assert limits is not None
        self.runs.append(given[0])
        if given[0] == "dies":
            raise WorkerDied("two workers died, and it was not the program")
        if given[0] == "bug":
            raise KeyError("secret of ours")
        result = super().run(*given, limits=limits, **more)
        if given[0] == "late":
            result.wall_s = limits.wall_s + 0.001
        return result


# The form.


def test_a_ping_is_answered_with_pong(service: Service) -> None:
    assert talk(service, "GET", "/v1/ping") == (200, "pong")


def test_a_run_is_answered_in_sandboxfusions_form(service: Service) -> None:
    everything = {
        "compile_timeout": 10,
        "run_timeout": 10,
        "code": ECHO,
        "stdin": "1 2\nrest",
        "memory_limit_MB": 512,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    code, said = ask(service, **everything)
    took = said["run_result"].pop("execution_time")
    assert code == 200
    assert 0 < took < 10
    assert said == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "run_result": {"status": "Finished", "return_code": 0, "stdout": "1 2\n", "stderr": ""},
        "executor_pod_name": None,
        "files": {},
    }


@pytest.mark.parametrize(
    ("program", "status", "outcome", "returned", "stdout", "stderr"),
    [
        ("print('x')", "Success", "Finished", 0, "x\n", ""),
        ("input()", "Failed", "Finished", 1, "", "EOFError"),
        ("print('x')\n1/0", "Failed", "Finished", 1, "x\n", "ZeroDivisionError"),
        ("x = = 1", "Failed", "Finished", 1, "", "SyntaxError"),
        ("import no_such_module", "Failed", "Finished", 1, "", "No module named"),
        ("import sys\nprint('x')\nsys.exit(7)", "Failed", "Finished", 7, "x\n", ""),
        ("import os\nos._exit(0)\nprint('x')", "Success", "Finished", 0, "", ""),
        ("import os\nos._exit(9)", "Failed", "Finished", 9, "", ""),
        ("import os\nos.kill(os.getpid(), 11)", "Failed", "Finished", 139, "", ""),
        ("import ctypes\nctypes.string_at(0)", "Failed", "Finished", -11, "", ""),
        ("bytearray(1 << 33)", "Failed", "Finished", 1, "", "MemoryError"),
        ("import os\nwhile True: os.fork()", "Failed", "Finished", 1, "", "PermissionError"),
        (HANG, "Failed", "TimeLimitExceeded", None, "begun\n", ""),
        (SLEEP, "Failed", "TimeLimitExceeded", None, "begun\n", ""),
        ("import sys\nsys.stdout.buffer.write(b'a\\xff\\n')", "Success", "Finished", 0, "a\ufffd\n", ""),
    ],
)
def test_what_a_program_does_is_never_an_error_of_the_sandbox(
    service: Service, program: str, status: str, outcome: str, returned: int, stdout: str, stderr: str
) -> None:
    code, said = ask(service, program, run_timeout=0.3)
    run = said["run_result"]
    assert (code, said["status"], said["compile_result"]) == (200, status, None)
    assert (run["status"], run["return_code"], run["stdout"]) == (outcome, returned, stdout)
    assert stderr in run["stderr"]
    assert bool(run["stderr"]) is bool(stderr)


def test_a_flood_of_output_is_cut_and_said_to_be(service: Service) -> None:
    code, said = ask(service, "while True: print('x' * 65536)", run_timeout=0.3)
    assert (code, said["run_result"]["status"]) == (200, "TimeLimitExceeded")
    assert len(said["run_result"]["stdout"]) == 64 << 10
    assert "--output-kb" in said["message"]
    assert works(service)


def test_a_text_that_is_no_unicode_is_the_programs_fault(service: Service) -> None:
    code, said = ask(service, "print('\ud800')")
    assert (code, said["status"]) == (200, "Failed")
    code, said = ask(service, "import sys\nprint(ascii(sys.stdin.buffer.read()))", stdin="\ud800")
    assert (code, said["status"]) == (200, "Success")


# What a request may bring.


def test_memory_is_what_the_request_says_and_the_servers_where_it_says_nothing(service: Service) -> None:
    program = "x = bytearray(200 << 20)"
    assert ask(service, program, memory_limit_MB=64)[1]["status"] == "Failed"
    assert ask(service, program, memory_limit_MB=512)[1]["status"] == "Success"
    assert ask(service, program, memory_limit_MB=-1)[1]["status"] == "Success"
    code, said = ask(service, program, memory_limit_MB=513)
    assert code == 422
    assert "memory_limit_MB: must be from 16 to the server's 512" in said["detail"]


def test_a_longer_run_timeout_is_cut_to_the_servers_and_the_answer_says_so() -> None:
    with Service([Sandbox(workers=1, limits=Limits(cpu_s=0.2, idle_s=0.1))], port=0) as service:
        for program, allowed in ((HANG, "0.2"), (SLEEP, "0.1")):
            _, said = ask(service, program, run_timeout=10)
            assert said["run_result"]["status"] == "TimeLimitExceeded"
            assert said["run_result"]["execution_time"] < 5
            assert said["message"] == f"run_timeout was cut to the server's {allowed} s (--cpu-s, --idle-s)"


def test_input_files_are_in_the_working_directory(service: Service) -> None:
    content = base64.b64encode(b"7\n").decode()
    files = {"data/a.txt": content[:2] + "\n" + content[2:], "nothing": None}
    code, said = ask(service, "import os\nprint(open('data/a.txt').read(), os.listdir())", files=files)
    assert (code, said["run_result"]["stdout"]) == (200, "7\n ['data']\n")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"code": None}, "code: must be a text, not null"),
        ({"code": 1}, "code: must be a text, not a number"),
        ({"stdin": 1}, "stdin: must be a text, not a number"),
        ({"language": "cpp"}, "language: only \"python\" is served, not 'cpp'"),
        ({"language": None}, "language: must be a text, not null"),
        ({"run_timeout": "10"}, "run_timeout: must be a number of seconds, not a text"),
        ({"run_timeout": True}, "run_timeout: must be a number of seconds, not true"),
        ({"run_timeout": 0}, "run_timeout: must be a number of seconds from 0.01, not 0"),
        ({"run_timeout": float("nan")}, "run_timeout: must be a number of seconds from 0.01, not nan"),
        ({"run_timeout": float("inf")}, "run_timeout: must be a number of seconds from 0.01, not inf"),
        ({"run_timeout": 10**400}, "run_timeout: must be a number of seconds from 0.01, not 1000"),
        ({"compile_timeout": -1}, "compile_timeout: must be a number of seconds from 0, not -1"),
        ({"memory_limit_MB": 1.5}, "memory_limit_MB: must be a whole number, not a number"),
        ({"memory_limit_MB": 1}, "memory_limit_MB: must be from 16"),
        ({"files": []}, "files: must be an object of path and content, not a list"),
        ({"files": {"a": 1}}, "files: the content of 'a' must be base64 or null, not a number"),
        ({"files": {"a": "?"}}, "files: the content of 'a' is not base64"),
        ({"files": {"../a": ""}}, "must be relative and stay inside the directory, not '../a'"),
        ({"files": {"../" * 1000: ""}}, "must be relative and stay inside the directory, not '../../"),
        ({"files": {"a": "", "a/b": ""}}, "files: 'a' is a file, and also the folder of another file"),
        ({"files": {f"{n}": "" for n in range(20_000)}}, "files: 20,000 files, their 0 folders"),
        ({"files": {"n" * 300: ""}}, "each name in it 255; 'nnn"),
        ({"files": {"a\ud800": ""}}, "it holds a lone surrogate"),
        ({"fetch_files": ["a"]}, "fetch_files: files that a program writes are not sent back"),
        ({"fetch_files": "a"}, "fetch_files: must be a list, not a text"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(service: Service, fields: dict[str, Any], detail: str) -> None:
    code, said = ask(service, **{"code": ECHO, **fields})
    assert code == 422
    assert detail in said["detail"]
    assert len(said["detail"]) < 300
    assert set(said) == {"detail"}


def test_files_beyond_the_servers_limits_are_refused_by_the_name_of_the_limit() -> None:
    limits = LIMITS.replace(file_mb=1, scratch_mb=2)
    content = base64.b64encode(bytes(1 << 20)).decode()
    with Service([Sandbox(workers=1, limits=limits)], port=0) as service:
        code, said = ask(service, files={"a": content[:-4] + "AAAA" * 2})
        assert code == 422
        assert "files: 'a' has " in said["detail"] and "--file-mb" in said["detail"]
        code, said = ask(service, files=dict.fromkeys("abc", content))
        assert code == 422
        assert "files: they take 3,145,728 bytes" in said["detail"] and "--scratch-mb" in said["detail"]
        assert ask(service, "print(1)", files=dict.fromkeys("ab", content))[1]["status"] == "Success"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body: not JSON"),
        (b"{", "the body: not JSON"),
        (b"\xff{}", "the body: not JSON"),
        (b"[" * 200_000, "the body: JSON that is nested too deeply"),
        (b"[]", "the body: must be a JSON object, not a list"),
        (b'{"language": "python"}', "code: is missing"),
        (b'{"code": ""}', "language: is missing"),
        (b'{"run_timeout": ' + b"1" * 5000 + b"}", "the body: not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(service: Service, body: bytes, detail: str) -> None:
    code, said = talk(service, "POST", "/run_code", body)
    assert code == 422
    assert detail in said["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/run_code", {}, 405),
        ("POST", "/v1/ping", {}, 405),
        ("POST", "/submit", {}, 404),
        ("GET", "/", {}, 404),
        ("PUT", "/run_code", {}, 501),
        ("POST", "/run_code", {"Content-Type": "text/plain"}, 415),
        ("POST", "/run_code", {"Origin": "http://127.0.0.1:8080"}, 403),
        ("POST", "/run_code", {"Origin": "null"}, 403),
        ("POST", "/run_code", {"X": "x" * 70_000}, 431),
        ("POST", "/run_code?" + "x" * 70_000, {}, 414),
        ("POST", "/run_code", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/run_code", {"Content-Length": "-1"}, 411),
        ("POST", "/run_code", {"Content-Length": "9" * 400}, 413),
    ],
)
def test_what_is_no_call_is_refused_in_json(
    service: Service, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    code, said = talk(service, method, path, b"{}" if method == "POST" else None, **headers)
    assert code == status
    assert set(said) == {"detail"}
    assert works(service)


def test_a_body_beyond_the_bound_is_refused_and_the_client_gets_to_read_why(service: Service) -> None:
    code, said = talk(service, "POST", "/run_code", bytes(MAX_BODY + 1))
    assert code == 413
    assert f"at most {MAX_BODY:,} bytes" in said["detail"]


def test_bodies_beyond_what_all_may_hold_are_answered_504_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_serve, "MAX_BODIES", 1000)
    notices: list[str] = []
    with (
        Service(sandboxes(1), port=0, say=notices.append) as service,
        socket.create_connection(("127.0.0.1", service.port), timeout=30) as slow,
    ):
        head = b"POST /run_code HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        slow.sendall(head)  # the body's room is taken, though none of it is there yet
        while not service._runs._held:
            time.sleep(0.01)
        code, said = ask(service, stdin="x" * 500)
        assert (code, said) == (504, {"detail": "too many bytes of requests in flight"})
        assert works(service)  # one that there is room for
        slow.sendall(b" " * 900)
        assert slow.recv(1000).startswith(b"HTTP/1.1 422 ")
        while service._runs._held:
            time.sleep(0.01)
        assert ask(service, stdin="x" * 500)[0] == 200
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as gone:
            gone.sendall(head)
            while not service._runs._held:
                time.sleep(0.01)
        while service._runs._held:  # who goes away before the end leaves the room free
            time.sleep(0.01)
        assert service.answers() == {504: 1, 200: 2, 422: 1}
    assert "/run_code: 504: too many bytes of requests in flight (said once)" in notices


def test_a_connection_serves_one_request_after_another(service: Service) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        for number in range(3):
            body = json.dumps({"code": ECHO, "language": "python", "stdin": str(number)})
            connection.request("POST", "/run_code", body, {"Content-Type": "application/json"})
            assert json.load(connection.getresponse())["run_result"]["stdout"] == f"{number}\n"


# Many at a time.


def test_64_requests_at_a_time_get_their_own_answers(service: Service) -> None:
    with ThreadPoolExecutor(64) as threads:
        answers = threads.map(lambda number: ask(service, stdin=str(number)), range(64))
        assert [said["run_result"]["stdout"] for _, said in answers] == [f"{n}\n" for n in range(64)]


def test_what_is_too_much_is_answered_504_and_the_rest_as_usual(service: Service) -> None:
    notices: list[str] = []
    sandbox = Sandbox(workers=1, limits=LIMITS)
    with (
        Service([sandbox], port=0, in_flight=4, say=notices.append) as small,
        ThreadPoolExecutor(12) as threads,
    ):
        answers = list(threads.map(lambda _: ask(small, HANG, run_timeout=0.3), range(12)))
    codes = [code for code, _ in answers]
    assert codes.count(200) >= 4
    assert codes.count(504) >= 1
    assert set(codes) == {200, 504}
    assert all(said["run_result"]["status"] == "TimeLimitExceeded" for code, said in answers if code == 200)
    assert notices == ["/run_code: 504: too many requests in flight (said once)"]


def test_a_request_that_nobody_waits_for_any_longer_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run_code, "CLIENT_EXTRA_S", 2.2)  # less the 2 s that are kept for the way back
    box = Odd(workers=1, limits=LIMITS)
    with Service([box], port=0) as service, ThreadPoolExecutor(2) as threads:
        for taken in (0.5, 1.5):  # less than the client waits, but too late to begin; longer than it waits
            first = threads.submit(ask, service, SLEEP, compile_timeout=10, run_timeout=taken)
            while not service._runs._under_way:
                time.sleep(0.01)
            time.sleep(0.1)
            code, said = ask(service, HANG, compile_timeout=0, run_timeout=0.3)
            assert code == 504
            assert "no worker was free" in said["detail"]
            assert first.result()[1]["run_result"]["status"] == "TimeLimitExceeded"
    assert box.runs == [SLEEP, SLEEP]


def test_a_fault_of_ours_is_504_and_a_bug_500_without_its_inside() -> None:
    notices: list[str] = []
    with Service([Odd(workers=1, limits=LIMITS)], port=0, say=notices.append) as service:
        code, said = ask(service, "dies")
        assert (code, set(said)) == (504, {"detail"})
        assert "two workers died" in said["detail"]
        code, said = ask(service, "late")
        assert (code, set(said)) == (504, {"detail"})
        assert "too busy" in said["detail"]
        code, said = ask(service, "bug")
        assert (code, set(said)) == (500, {"detail"})
        assert "secret" not in said["detail"]
        assert any("KeyError: 'secret of ours'" in text for text in notices)
        assert works(service)
        assert service.answers() == {504: 2, 500: 1, 200: 1}


def test_what_clients_choose_does_not_crowd_out_what_is_said_of_our_own_faults() -> None:
    notices: list[str] = []
    with Service([Odd(workers=1, limits=LIMITS)], port=0, say=notices.append) as service:
        for number in range(_serve.MAX_NOTICES + 5):
            assert ask(service, language=f"no {number}")[0] == 422
        refused = len(notices)
        for program in ("dies", "dies", "bug", "bug"):
            ask(service, program)
    assert refused == _serve.MAX_NOTICES
    assert notices[refused - 1].endswith("(said once; no more is said about 422)")
    assert notices[refused:] == [
        "/run_code: 504: the sandbox could not run it: two workers died, and it was not the program (said once)",
        "/run_code: a fault of this service: KeyError: 'secret of ours' (said once)",
    ]


def test_the_clock_on_the_wall_ends_no_run_before_the_client_gives_up() -> None:
    limits = _run_code.Request(b'{"code": "", "language": "python"}', LIMITS).limits(LIMITS, wall_s=28)
    assert (limits.cpu_s, limits.idle_s, limits.wall_s, limits.memory_mb) == (10, 10, 28, 512)
    assert limits.cpu_s + limits.idle_s < limits.wall_s


def test_a_killed_worker_costs_nobody_an_answer(service: Service) -> None:
    program = "import time\ntime.sleep(0.5)\n" + ECHO
    with ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(ask, service, program, stdin=str(number)) for number in range(2)]
        time.sleep(0.2)
        jails = [box._opened()._workers[0].pid for box in service._runs._sandboxes]
        for jail in jails:
            os.kill(jail, signal.SIGKILL)
        said = [answer.result()[1] for answer in answers]
    assert len(jails) == 2
    assert [one["run_result"]["stdout"] for one in said] == ["0\n", "1\n"]


def test_a_run_waits_behind_no_other_while_a_worker_is_free(service: Service) -> None:
    """Two runs may travel to one worker together, so each has a sandbox of its own."""
    program = "import time\ntime.sleep(0.5)\n" + ECHO
    with Service(sandboxes(2), port=0) as fresh, ThreadPoolExecutor(2) as threads:
        assert works(fresh)
        began = time.monotonic()
        for answer in [threads.submit(ask, fresh, program, stdin=str(number)) for number in range(2)]:
            assert answer.result()[1]["status"] == "Success"
        assert time.monotonic() - began < 0.95


# Clients that do not behave.


def half_a_request(service: Service) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall(b"POST /run_code HTTP/1.1\r\nContent-Length: 100\r\n")
    return connection


def test_slow_clients_hold_up_nobody(service: Service) -> None:
    slow = [half_a_request(service) for _ in range(50)]
    began = time.monotonic()
    assert works(service)
    assert time.monotonic() - began < 10
    for connection in slow:
        connection.close()


def test_a_client_that_sends_byte_by_byte_is_cut_off(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_serve, "ARRIVAL_S", 0.6)
    with half_a_request(service) as connection:
        connection.sendall(b"Content-Type: application/json\r\n\r\n")
        began = time.monotonic()
        connection.settimeout(0.05)
        while time.monotonic() - began < 20:
            try:
                if connection.recv(1000) == b"":
                    break
            except TimeoutError:
                connection.sendall(b" ")
            except ConnectionError:
                break
        assert 0.5 < time.monotonic() - began < 10


def test_connections_beyond_the_bound_wait_for_one_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serve, "SPARE_CONNECTIONS", 1)
    with Service(sandboxes(1), port=0, in_flight=1) as service:
        idle = [half_a_request(service) for _ in range(3)]
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(works, service)
            time.sleep(0.3)
            assert not answer.done()
            idle.pop().close()  # the third of them waits itself: two must go
            idle.pop(0).close()
            assert answer.result(20)
        idle += [half_a_request(service) for _ in range(3)]
        time.sleep(0.2)  # it must close also while nothing can be accepted
    for connection in idle:
        connection.close()


def test_a_client_that_goes_away_disturbs_nobody(service: Service) -> None:
    for _ in range(5):
        with half_a_request(service) as connection:
            connection.sendall(b"Content-Type: application/json\r\n\r\n")
            body = json.dumps({"code": "print('x' * 60000)", "language": "python"})
            connection.sendall(body.ljust(100).encode()[:100])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert works(service)


# The end.


def test_closing_answers_what_is_in_flight_and_leaves_nothing_behind() -> None:
    threads_before = set(threading.enumerate())
    service = Service(sandboxes(1), port=0)
    idle = socket.create_connection(("127.0.0.1", service.port))
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ask, service, HANG) for _ in range(3)]
        while service._runs._under_way < 3:
            time.sleep(0.01)
        time.sleep(0.2)
        began = time.monotonic()
        service.close()
        service.close()
        took = time.monotonic() - began
        assert [answer.result()[0] for answer in answers] == [504] * 3
    idle.close()
    assert took < 5
    assert set(threading.enumerate()) <= threads_before
    with pytest.raises(OSError):
        works(service)


def test_a_port_that_is_taken_is_refused_with_a_remedy(service: Service) -> None:
    with pytest.raises(BadInput, match=rf"127.0.0.1:{service.port}: Address already in use; .*--port 0"):
        Service(sandboxes(1), port=service.port)
    with pytest.raises(BadInput, match="from 0 to 65535, not 70000"):
        Service(sandboxes(1), port=70000)
    with pytest.raises(BadInput, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign"):
        Service(sandboxes(1), "192.0.2.1", port=0)
    with pytest.raises(BadInput, match="from 1 to"):
        Service(sandboxes(1), port=0, in_flight=0)


def test_a_host_that_no_name_can_be_is_refused_and_leaves_nothing_behind(service: Service) -> None:
    for host in ("a..b", "x" * 70 + ".example", "a\0b"):
        box = Sandbox(workers=1, limits=LIMITS)
        with pytest.raises(BadInput, match=r"cannot listen on .*; --host and --port say where"):
            Service([box], host, port=0)
        with pytest.raises(Closed):
            box.open()


# The command.


@contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    full = [sys.executable, "-m", "acesandbox", "serve", "--port", "0", "--workers", "1", *words]
    with subprocess.Popen(
        full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end_and_leaves_no_process(
    service: Service, number: signal.Signals
) -> None:
    with command("--cpu-s", "5") as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/run_code")
        port = int(url.rpartition(":")[2].partition("/")[0])
        for _ in range(2):  # gone before the answer: no signal for a broken pipe
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(b"GET /v1/ping HTTP/1.1\r\n\r\n" * 200)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            body = json.dumps({"code": "print(6 * 7)", "language": "python"})
            connection.request("POST", "/run_code", body, {"Content-Type": "application/json"})
            assert json.load(connection.getresponse())["run_result"]["stdout"] == "42\n"
            children = psutil.Process(process.pid).children(recursive=True)
            hanging = json.dumps({"code": HANG, "language": "python"})
            connection.request("POST", "/run_code", hanging, {"Content-Type": "application/json"})
            time.sleep(0.2)
            process.send_signal(number)
            assert connection.getresponse().status == 504
        assert process.wait(20) == 0
        said = process.stderr.read()
    assert children
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]
    assert "1 workers, isolation " in said
    assert said.endswith("acesandbox serve: ended; answers: 1 x 200, 1 x 504\n")
    assert "other machines" not in said


def test_the_command_warns_where_others_can_reach_it(service: Service) -> None:
    with command("--host", "0.0.0.0") as process:
        assert process.stderr is not None
        assert "--host 0.0.0.0: other machines can reach this, and there is no authentication" in (
            process.stderr.readline()
        )
        process.terminate()


def test_the_command_serves_on_when_nobody_reads_what_it_says(service: Service) -> None:
    with command() as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        process.stderr.close()
        port = int(url.rpartition(":")[2].partition("/")[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/run_code", "{}", {"Content-Type": "application/json"})
            assert connection.getresponse().status == 422
        process.terminate()
        assert process.wait(20) == 0


def test_the_command_says_in_a_line_that_a_host_is_no_name(service: Service) -> None:
    with command("--host", "a..b") as process:
        assert process.stderr is not None
        assert process.wait(30) == 2
        said = process.stderr.read()
    assert "cannot listen on a..b:0" in said
    assert "Traceback" not in said


def test_importing_the_package_brings_in_no_http_server() -> None:
    code = (
        "import sys, acesandbox, acesandbox._cli; print('http' in sys.modules, 'socketserver' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False False\n"
