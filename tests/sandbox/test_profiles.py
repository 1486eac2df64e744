"""Profiles: what `system` gives to programs and to tests, what `compute` does not, and where it is refused.

That nothing gets out, or from one program to the next, is shown by the attack corpus, which runs in both profiles
(tests/sandbox/attacks). Here is what must work.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acesandbox import (
    Asserts,
    BadInput,
    CheckScript,
    IsolationUnavailable,
    Limits,
    Sandbox,
    Status,
    UnitTests,
)
from acesandbox._sandbox import SYSTEM_PROCESSES
from tests.conftest import unavailable

AS_IF = Path(__file__).parents[1] / "native" / "as_if.py"


@pytest.fixture(scope="module")
def system() -> Iterator[Sandbox]:
    made = Sandbox(workers=1, limits=Limits(processes=32, cpu_s=5, idle_s=10), profile="system")
    try:
        made.open()
    except IsolationUnavailable as error:
        unavailable(str(error))
    with made:
        yield made


@pytest.fixture(scope="module")
def compute() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as made:
        yield made


def said(sandbox: Sandbox, script: str) -> str:
    """What a script prints; it must end well."""
    result = sandbox.run(textwrap.dedent(script))
    assert result.status is Status.PASSED, (result.message, result.stderr)
    return result.stdout.strip()


# What programs are given.

GIVEN = {
    "a program of the machine": "import subprocess\nprint(subprocess.run(['ls', '/'], capture_output=True).returncode)",
    "a shell": "import os\nprint(os.system('echo x | tr x y > /dev/null'))",
    "a script with a first line": """
        import os, subprocess
        with open('s.sh', 'w') as file:
            file.write('#!/bin/bash\\nexit 0\\n')
        os.chmod('s.sh', 0o755)
        print(subprocess.call(['./s.sh']))
    """,
    "an archive": """
        import subprocess
        open('a', 'w').close()
        print(subprocess.call(['tar', '-czf', 'a.tar.gz', 'a']))
    """,
    "python and pip": """
        import subprocess, sys
        found = subprocess.check_output(['python', '-c', 'import sys; print(sys.version)'], text=True).strip()
        assert found == sys.version, found
        print(subprocess.call(['pip', '--version'], stdout=subprocess.DEVNULL))
    """,
    "processes": """
        from multiprocessing import Pool
        with Pool(3) as pool:
            print(sum(pool.map(len, ['', '', ''])))
    """,
    "semaphores and shared memory": """
        import multiprocessing
        from multiprocessing import shared_memory
        multiprocessing.Semaphore(1)
        segment = shared_memory.SharedMemory(create=True, size=1 << 20)
        segment.buf[0] = 0
        again = shared_memory.SharedMemory(segment.name)
        print(again.buf[0])
    """,
    "loopback": """
        import socket
        for family, host in ((socket.AF_INET, 'localhost'), (socket.AF_INET6, '::1')):
            with socket.create_server((host, 0), family=family) as server:
                with socket.create_connection(server.getsockname()[:2]) as client:
                    client.sendall(b'x' * (1 << 20 >> 6))
                    peer, _ = server.accept()
                    assert peer.recv(1) == b'x'
        print(0)
    """,
    "a server of the standard library": """
        import http.server, threading, urllib.request
        server = http.server.ThreadingHTTPServer(('localhost', 0), http.server.SimpleHTTPRequestHandler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(urllib.request.urlopen('http://localhost:%d/' % server.server_port).status - 200)
    """,
    "datagrams and names of Unix sockets": """
        import socket
        a = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        a.bind('\\0name')
        b = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        b.sendto(b'x', '\\0name')
        print(a.recv(1)[0] - ord('x'))
    """,
    "an event loop": """
        import asyncio
        async def main():
            server = await asyncio.start_server(lambda r, w: w.close(), 'localhost', 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            print(len(await reader.read()))
        asyncio.run(main())
    """,
    "a /proc of its own": """
        import os
        numbers = [int(name) for name in os.listdir('/proc') if name.isdigit()]
        print(numbers != [os.getpid()] or os.readlink('/proc/self') != str(os.getpid()))
    """,
    "its name": "import getpass, os\nassert getpass.getuser() == 'ace' == os.uname().nodename\nprint(0)",
    "descriptors as files": "import subprocess\nprint(subprocess.call('echo x > /dev/stderr', shell=True))",
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_program_is_given(system: Sandbox, name: str) -> None:
    assert said(system, GIVEN[name]) in ("0", "False")


@pytest.mark.parametrize(
    "name",
    sorted(set(GIVEN) - {"a program of the machine"}),
)
def test_no_program_is_given_that_in_the_profile_compute(compute: Sandbox, name: str) -> None:
    result = compute.run(textwrap.dedent(GIVEN[name]))
    assert result.status is not Status.PASSED or result.stdout.strip() not in ("0", "False"), name


def test_the_machine_numbers_itself_where_programs_ask(system: Sandbox) -> None:
    """`top` and `ps` read /proc: they see the program's own processes and the machine's load."""
    listed = said(system, "import os\nprint(os.popen('ps axo comm').read())").split()
    assert sorted(set(listed)) == sorted({"COMMAND", "sh", "ps", listed[1]})
    assert "Cpu" in said(system, "import os\nprint(os.popen('top -b -n1').read())")


def test_the_way_out_is_unreachable_and_says_so(system: Sandbox) -> None:
    script = """
        import errno, socket
        for address in ('192.168.0.1', '8.8.8.8'):
            try:
                socket.create_connection((address, 80), 1)
            except OSError as error:
                assert error.errno == errno.ENETUNREACH, error
        try:
            socket.gethostbyname('example.org')
        except socket.gaierror:
            print('no names')
    """
    assert said(system, script) == "no names"


def test_packages_of_the_jailed_interpreter_are_found_by_interpreters_that_a_program_starts() -> None:
    with Sandbox(
        workers=1, python=sys.executable, profile="system", limits=Limits(processes=8, cpu_s=5)
    ) as made:
        script = "import os\nprint(os.popen('python -c \\'import psutil; print(1)\\'').read())"
        assert said(made, script) == "1"


# Programs and tests that work together.

SERVER = """
import socket
def serve(port, seconds):
    server = socket.create_server(('localhost', port))
    server.settimeout(seconds)
    try:
        client, _ = server.accept()
        with client:
            client.sendall(client.recv(100).upper())
    finally:
        server.close()
    return 'done'
"""
TALK = """
import socket, threading, time, unittest
class T(unittest.TestCase):
    def test_talk(self):
        thread = threading.Thread(target=lambda: serve(45681, 5))
        thread.start()
        for _ in range(100):
            try:
                client = socket.create_connection(('localhost', 45681))
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        with client:
            client.sendall(b'hello')
            self.assertEqual(client.recv(100), b'HELLO')
        thread.join()
"""


def test_a_sealed_test_talks_to_a_server_that_the_program_runs_meanwhile(system: Sandbox) -> None:
    """The stand-in's thread waits for the program; the test's own thread goes on."""
    for _ in range(2):  # the second program finds the port free
        verdict = system.judge(SERVER, UnitTests(TALK, entry_point="serve"))
        assert verdict.passed, verdict.tests
        assert verdict.sealed


def test_a_server_that_never_ends_holds_up_neither_its_verdict_nor_the_next_test(system: Sandbox) -> None:
    program = """
import time
def serve():
    while True:
        time.sleep(0.1)
def add(a, b):
    return a + b
"""
    start = "import threading\nthreading.Thread(target=lambda: serve(), daemon=True).start()\n"
    before = time.monotonic()
    alone = system.judge(program, CheckScript(start + "def check(candidate):\n    pass\n", "add"))
    assert alone.passed, alone.tests
    assert alone.sealed
    assert time.monotonic() - before < system.limits.idle_s / 2
    verdict = system.judge(program, Asserts([start, "for n in range(2):\n    assert add(n, 1) == n + 1"]))
    assert verdict.passed, verdict.tests
    assert verdict.sealed


def test_calls_of_several_threads_of_a_test_do_not_mix(system: Sandbox) -> None:
    tests = """
import threading
def check(candidate):
    found = {}
    def ask(n):
        for _ in range(20):
            found.setdefault(n, set()).add(candidate(n))
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: {n * n} for n in range(8)}
"""
    verdict = system.judge("def f(n):\n    return n * n\n", CheckScript(tests, "f"))
    assert verdict.passed, verdict.tests
    assert verdict.sealed


def test_test_code_starts_programs_too_and_is_clocked_with_them(system: Sandbox) -> None:
    right = (
        "import subprocess\ndef check(candidate):\n"
        "    assert subprocess.check_output(['echo', candidate()]) == b'x\\n'\n"
    )
    assert system.judge("def f():\n    return 'x'\n", CheckScript(right, "f")).passed
    burning = "import os\ndef check(candidate):\n    os.system('while :; do :; done')\n"
    verdict = system.judge("def f():\n    return 'x'\n", CheckScript(burning, "f"), limits=system.limits)
    assert verdict.status is Status.CPU_TIMEOUT
    assert verdict.tests[0].origin == "test"
    assert verdict.tests[0].sealed


def test_what_a_program_starts_is_on_its_account_and_not_on_the_tests(system: Sandbox) -> None:
    program = "import os\ndef f():\n    os.system('while :; do :; done')\n"
    limits = system.limits.replace(cpu_s=0.5, program_cpu_s=0.5)
    tests = "import time\ndef check(candidate):\n    assert candidate() is None\n"
    verdict = system.judge(program, CheckScript(tests, "f"), limits=limits)
    assert verdict.status is Status.CPU_TIMEOUT
    assert verdict.tests[0].origin == "program"


def test_a_test_that_makes_processes_shares_one_with_the_program(system: Sandbox) -> None:
    """Two processes cannot use one conversation, so its shape puts it beside the program, and it says so."""
    tests = (
        "from multiprocessing import Pool\ndef check(candidate):\n"
        "    with Pool(2) as pool:\n        assert pool.map(candidate, [1, 2]) == [2, 3]\n"
    )
    verdict = system.judge("def f(x):\n    return x + 1\n", CheckScript(tests, "f"))
    assert verdict.passed, verdict.tests
    assert verdict.tests[0].mode == "shared"
    assert verdict.tests[0].why == "starts processes that share its memory"


def test_what_a_test_executes_does_not_get_its_conversation_with_the_judge(system: Sandbox) -> None:
    """A test may run what the program under test wrote: descriptor 3 is not handed on."""
    program = r"""
import os
def f():
    with open('forge.sh', 'w') as file:
        file.write('#!/bin/sh\n(echo x >&3) 2> /dev/null && echo written\n')
    os.chmod('forge.sh', 0o755)
    return os.getcwd() + '/forge.sh'
"""
    tests = """
import os
def check(candidate):
    os.system(candidate() + ' > said; echo ran >> said')
    assert open('said').read() == 'ran\\n'
"""
    verdict = system.judge(program, CheckScript(tests, "f"))
    assert verdict.passed, verdict.tests
    assert verdict.tests[0].mode == "proxy"


# How it is asked for.


def test_the_profile_is_said_and_travels_with_a_copy(system: Sandbox) -> None:
    assert system.describe()["profile"] == "system"
    copy = pickle.loads(pickle.dumps(system))
    with copy:
        assert copy.describe()["profile"] == "system"


def test_the_default_is_compute_without_processes(compute: Sandbox) -> None:
    said_of_itself = compute.describe()
    assert said_of_itself["profile"] == "compute"
    given = ("loopback", "shared_memory", "own_proc")
    assert [said_of_itself["mechanisms"][name] for name in given] == [False] * 3
    assert compute.limits.processes == 0


def test_without_limits_the_profile_brings_processes() -> None:
    assert Sandbox(profile="system").limits.processes == SYSTEM_PROCESSES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"profile": "everything"}, "there are compute, system"),
        ({"profile": "system", "limits": Limits()}, r"Limits\(processes=\.\.\.\)"),
    ],
)
def test_a_bad_profile_is_refused_at_once(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Sandbox(**arguments)  # type: ignore[arg-type]


def test_where_it_cannot_be_held_it_is_refused() -> None:
    with pytest.raises(IsolationUnavailable, match="needs network, pid and mount namespaces") as raised:
        Sandbox(workers=1, isolation="seccomp", profile="system").open()
    assert 'isolation="namespaces"' in raised.value.remedies[0]


@pytest.mark.skipif(os.getuid() != 0, reason="set up by root only")
@pytest.mark.parametrize("where", ["no-userns", "old-kernel"])
def test_it_works_in_other_ways_to_have_namespaces(where: str) -> None:
    inner = """
        import getpass, os, socket, subprocess
        with socket.create_server(("localhost", 45682)) as server:
            socket.create_connection(server.getsockname()).close()
            server.accept()[0].close()
        print(getpass.getuser(), len(os.listdir("/dev/shm")), subprocess.call(["ps"], stdout=subprocess.DEVNULL))
        open("/dev/shm/left", "w").close()
    """
    outer = """
        import sys
        sys.path[:0] = PATH
        from acesandbox import Sandbox
        with Sandbox(workers=1, profile="system") as made:
            for _ in range(2):
                print(made.run(INNER).stdout.strip())
    """
    paths, inner = [path for path in sys.path if path], textwrap.dedent(inner)
    script = textwrap.dedent(outer).replace("PATH", repr(paths)).replace("INNER", repr(inner))
    command = [sys.executable, "-I", "-S", str(AS_IF), where, "--", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n") == ["ace 0 0", "ace 0 0", ""], done.stderr


# On the command line.


def acesandbox(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "acesandbox", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_commands_take_the_profile_and_its_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os\nprint(os.system('true'))\n")
    given = acesandbox("run", script, "--profile", "system")
    assert (given.returncode, given.stdout) == (0, "0\n"), given.stderr
    assert acesandbox("run", script).stdout.strip() not in ("", "0")
    none = acesandbox("run", script, "--profile", "system", "--processes", 0)
    assert none.returncode == 2
    assert "Limits(processes=...)" in none.stderr


def test_results_of_another_profile_are_not_mixed(tmp_path: Path) -> None:
    samples, out = tmp_path / "s.jsonl", tmp_path / "out.jsonl"
    row = {
        "task_id": 1,
        "program": "def f():\n    return 1\n",
        "tests": ["assert f() == 1"],
        "test_kind": "asserts",
    }
    samples.write_text(json.dumps(row) + "\n")
    assert acesandbox("judge", samples, "--out", out, "--profile", "system", "--quiet").returncode == 0
    other = acesandbox("judge", samples, "--out", out)
    assert other.returncode == 2
    assert "profile" in other.stderr


def test_doctor_says_what_each_profile_gives() -> None:
    report = json.loads(acesandbox("doctor", "--json").stdout)
    assert report["profiles"]["compute"]["works"]
    assert report["profiles"]["system"]["works"], report["profiles"]["system"]
    assert report["profiles"]["system"]["mechanisms"]["loopback"]
