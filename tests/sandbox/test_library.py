"""The library with real jails: every kind of test, whole scripts, other processes, deaths, other interpreters."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from acesandbox import (
    Asserts,
    BadInput,
    CheckScript,
    Functional,
    IsolationUnavailable,
    Limits,
    Sandbox,
    SandboxError,
    Status,
    Stdio,
    UnitTests,
    Unsealed,
)
from acesandbox._pool import Pool
from tests.conftest import unavailable

ADD = "def add(a, b):\n    return a + b\n"
SUB = "def add(a, b):\n    return a - b\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(workers=2)
    try:
        made.open()
    except IsolationUnavailable as error:
        unavailable(str(error))
    with made:
        yield made


@pytest.mark.parametrize(
    "tests",
    [
        Asserts(["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"], entry_point="add"),
        CheckScript(
            "def check(candidate):\n    for n in range(5):\n        assert candidate(n, 1) == n + 1\n", "add"
        ),
        CheckScript("for n in range(5):\n    assert add(n, 1) == n + 1\n", "add"),
        UnitTests(
            "import unittest\n"
            "class T(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n",
            entry_point="add",
        ),
        Functional([((1, 2), 3), ((0.5, 0.25), 0.75)], "add"),
    ],
    ids=lambda tests: tests.kind,
)
def test_every_kind_passes_the_right_and_fails_the_wrong(sandbox: Sandbox, tests: object) -> None:
    right = sandbox.judge(ADD, tests)  # type: ignore[arg-type]
    assert right.passed, right.tests
    assert right.sealed, right.tests
    wrong = sandbox.judge(SUB, tests)  # type: ignore[arg-type]
    assert not wrong.passed
    assert wrong.sealed


def test_stdio_uses_real_descriptors(sandbox: Sandbox) -> None:
    tests = Stdio([("1 2\n", "3\n"), ("10 -4\n", "6\n")])
    programs = [
        "print(sum(map(int, input().split())))",
        "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))",
        "import os\nos.write(1, b'%d' % sum(map(int, os.read(0, 100).split())))",
        "print(sum(map(int, open(0).read().split())), flush=True)\nquit()",
    ]
    for verdict in sandbox.judge_many((program, tests) for program in programs):
        assert verdict.passed, verdict.tests
        assert verdict.sealed
        assert {test.mode for test in verdict.tests} == {"stdio"}
    assert sandbox.judge("print(3)", tests).pass_rate == 0.5
    assert not sandbox.judge("print(sum(map(int, input().split())), 'and more')", tests).passed


def test_float_tolerance_is_off_unless_asked_for(sandbox: Sandbox) -> None:
    program = "print(0.1 + 0.2)"
    assert not sandbox.judge(program, Stdio([("", "0.3")])).passed
    assert sandbox.judge(program, Stdio([("", "0.3")], float_tolerance=1e-9)).passed


def test_run_gives_output_files_arguments_and_exit_code(sandbox: Sandbox) -> None:
    script = """
        import sys
        print(__name__, sys.argv[1:], sys.stdin.read(), open("d/data.txt").read())
        print("oops", file=sys.stderr)
        sys.exit(3)
    """
    result = sandbox.run(textwrap.dedent(script), "input", {"d/data.txt": "data"}, ["-x"])
    assert result.stdout == "__main__ ['-x'] input data\n"
    assert result.stderr == "oops\n"
    assert result.exit_code == 3
    assert result.status is not Status.PASSED
    assert sandbox.run("print(1)").status is Status.PASSED


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "", "a/b": ""}, "'a' is a file, and also the folder of another file"),
        ({"a/b/c": "", "a/b": ""}, "'a/b' is a file, and also the folder of another file"),
        ({"\u00e9": "", "\udcc3\udca9": ""}, "is there twice"),
        ({f"d/{number}": "" for number in range(20_000)}, "20,000 files, their 1 folders .*the 4,096 that"),
        ({f"{number}/f": "" for number in range(2_048)}, "2,048 files, their 2,048 folders .*the 4,096 that"),
        (
            {"a": bytes((64 << 20) + 1)},
            "'a' has 67,108,865 bytes, and a file may have 64 MB: raise .*file_mb",
        ),
        ({"a": "1", "b": bytes(64 << 20)}, "take 67,112,960 bytes .*64 MB: raise .*scratch_mb"),
        ({"n" * 256: ""}, "511 bytes, and each name in it 255; 'nnn.* has more"),
        ({"\u00e9" * 128: ""}, "511 bytes, and each name in it 255"),
        ({"/".join(["n" * 127] * 4) + "n": ""}, "511 bytes, and each name in it 255"),
        ({"d/" * 64 + "f": ""}, "63 folders deep, and 'd/d/.* is 64 deep"),
        ({"a\ud800": ""}, "lone surrogate"),
    ],
)
def test_files_that_the_jail_could_not_write_are_no_fault_of_the_program(
    sandbox: Sandbox, files: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        sandbox.run("print(1)", files=files)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("tier", ["namespaces", "seccomp"])
def test_files_just_within_the_bounds_are_all_there(tier: str) -> None:
    count = "import os\nprint(sum(len(f) for _, _, f in os.walk('.')))"
    limits = Limits(scratch_files=80, scratch_mb=1, file_mb=1)
    deep = "d/" * 63 + "f"
    given: list[dict[str, str | bytes]] = [
        {f"d/{number}": "" for number in range(78)},  # with d and the directory itself, 80
        {"a": bytes(1 << 20)},
        {"a": "1", "b": bytes((1 << 20) - os.sysconf("SC_PAGE_SIZE"))},
        {"n" * 255: "", "/".join(["m" * 127] * 4): ""},
        {deep: "", deep + "\udcff": ""},
    ]
    with Sandbox(workers=1, isolation=tier, limits=limits) as sandbox:
        results = [sandbox.run(count, files=files) for files in given]
        assert [result.stdout for result in results] == [f"{len(files)}\n" for files in given]
        with pytest.raises(BadInput, match="79 files, their 1 folders"):
            sandbox.run(count, files={f"d/{number}": "" for number in range(79)})


def test_limits_of_a_job_are_its_own(sandbox: Sandbox) -> None:
    hang = "def add(a, b):\n    while True: pass\n"
    tests = Asserts(["assert add(1, 2) == 3"])
    verdict = sandbox.judge(hang, tests, limits=Limits(cpu_s=0.2, program_cpu_s=0.4))
    assert verdict.status is Status.CPU_TIMEOUT
    assert verdict.cpu_s < 1.0


def test_fail_fast_spends_nothing_on_what_comes_after_a_failure(sandbox: Sandbox) -> None:
    del sandbox
    program = "def add(a, b):\n    while a: pass\n    return a - b\n"
    with Sandbox(workers=1, fail_fast=True) as other:
        verdict = other.judge(program, Asserts(["assert add(0, 1) == 1", *["assert add(1, 1) == 2"] * 9]))
    assert verdict.status is Status.FAILED
    assert verdict.tests[-1].status is Status.NOT_RUN
    assert verdict.cpu_s < 0.5


def test_fail_fast_has_no_verdict_behind_the_failure(sandbox: Sandbox) -> None:
    """Whether the next answers had arrived when the first failure was seen is chance."""
    del sandbox
    tests = Asserts(["assert add(1, 1) == 2", "assert add(1, 2) == 4", *["assert add(1, 1) == 2"] * 3])
    with Sandbox(workers=1, fail_fast=True) as other:
        verdict = other.judge(ADD, tests)
    assert [test.status for test in verdict.tests] == [Status.PASSED, Status.FAILED, *[Status.NOT_RUN] * 3]


def _judge_here(sandbox: Sandbox) -> tuple[bool, int]:
    return sandbox.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed, os.getpid()


@pytest.fixture
def _sigterm_ends() -> Iterator[None]:
    """Ray leaves a handler behind that raises; a pool's process that waits for a lock then may not hear the signal."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_sigterm_ends")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_works_in_the_processes_of_a_pool(method: str) -> None:
    """As `datasets.map(num_proc=2)` uses it: pickled into processes that were forked from one with a sandbox in use."""
    with Sandbox(workers=1) as made:
        assert _judge_here(made)[0]
        with multiprocessing.get_context(method).Pool(2) as pool:
            outcomes = pool.map(_judge_here, [made] * 4)
        assert all(passed for passed, _ in outcomes)
        assert os.getpid() not in {pid for _, pid in outcomes}
        assert _judge_here(made)[0]


def test_garbage_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the handler of a signal raises while garbage is collected is lost: a pool's SIGTERM was."""
    may_end = threading.Event()
    ended = threading.Event()
    end = Pool._end_everything

    def slowly(pool: Pool) -> None:
        may_end.wait()
        end(pool)
        ended.set()

    monkeypatch.setattr(Pool, "_end_everything", slowly)
    sandbox = Sandbox(workers=1)
    assert _judge_here(sandbox)[0]
    del sandbox
    gc.collect()
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(20)


def test_garbage_is_waited_for_at_the_end() -> None:
    """A process that drops a sandbox and ends at once leaves nothing."""
    script = (
        "from acesandbox import Asserts, Sandbox\n"
        "import psutil\n"
        "sandbox = Sandbox(workers=1)\n"
        "assert sandbox.judge('def f(): return 1', Asserts(['assert f() == 1'])).passed\n"
        "children = [child.pid for child in psutil.Process().children()]\n"
        "del sandbox\n"
        "print(*children)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    launchers = done.stdout.split()
    assert launchers and not any(Path("/proc", pid).exists() for pid in launchers)


_HOST = """
import sys, time
from acesandbox import Asserts, Sandbox
sandbox = Sandbox(workers=2)
futures = [sandbox.submit("def f(x):\\n while True: pass", Asserts(["assert f(1)"])) for _ in range(4)]
print("up", sandbox.describe()["tier"], flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_one_second_after_the_host_dies(sandbox: Sandbox, number: int) -> None:
    del sandbox  # a machine without isolation skips
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert host.stdout is not None
    assert host.stdout.readline().startswith(b"up")
    deadline = time.monotonic() + 60
    while len(family := psutil.Process(host.pid).children(recursive=True)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # let them be at work
    host.send_signal(number)
    host.wait(10)
    host.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=1)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_workers_killed_at_work_are_replaced_and_every_verdict_is_right() -> None:
    def murder(number: int) -> None:
        family = psutil.Process().children(recursive=True)
        if family:
            try:
                family[number % len(family)].kill()
            except psutil.NoSuchProcess:
                pass

    jobs = [
        (ADD if n % 2 else SUB + f"# {n}", Asserts([f"assert add({n}, 1) == {n + 1}"])) for n in range(300)
    ]
    outcomes = []
    with Sandbox(workers=2) as made:
        for outcome in made.judge_many(jobs, return_errors=True, window=40):
            outcomes.append(outcome)
            if len(outcomes) % 25 == 0:
                murder(len(outcomes) // 25 * 7)
        assert made.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed
    wrong = [
        n
        for n, outcome in enumerate(outcomes)
        if not isinstance(outcome, SandboxError)
        and outcome.status is not (Status.PASSED if n % 2 else Status.FAILED)
    ]
    # A player killed from outside is, to its supervisor, a program that was killed.
    assert all(outcomes[n].status is Status.KILLED for n in wrong), [outcomes[n] for n in wrong]
    assert sum(isinstance(outcome, SandboxError) for outcome in outcomes) <= 15


def test_interpreter_of_ones_own_brings_its_packages(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "import lonely\ndef f():\n    return lonely.VALUE\n"
    tests = Asserts(["assert f() == 42"])
    assert sandbox.judge(program, tests).status is Status.MISSING_MODULE
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (packages,) = (tmp_path / "env" / "lib").glob("python3*/site-packages")
    (packages / "lonely.py").write_text("VALUE = 42\n")
    with Sandbox(workers=1, python=tmp_path / "env" / "bin" / "python", preload=["lonely"]) as other:
        assert other.judge(program, tests).passed


def test_missing_preload_is_our_fault_and_says_so(sandbox: Sandbox) -> None:
    del sandbox
    with pytest.raises(SandboxError, match="cannot start the zygote"):
        Sandbox(workers=1, preload=["no_such_module"]).open()


@pytest.mark.workloads
def test_real_problems_in_one_stream(sandbox: Sandbox, workload: object) -> None:
    from tests.workloads import tests_of

    rows = workload("mbpp_canonical", limit=60)  # type: ignore[operator]
    verdicts = list(sandbox.judge_many((row["program"], tests_of(row)) for row in rows))
    assert sum(verdict.passed for verdict in verdicts) >= len(rows) - 1


SCALARS = (
    "None",
    "True",
    "False",
    "0",
    "1",
    "-1",
    "0.0",
    "-0.0",
    "1.0",
    "''",
    "'1'",
    "b'1'",
    "()",
    "(1,)",
    "[]",
    "[1]",
    "{}",
)


def test_scalars_compare_as_python_compares_them(sandbox: Sandbox) -> None:
    """The supervisor answers some comparisons without the judge: every pair, under ==, is, and truth."""
    forms = ("assert f(0) == {}", "assert f(0)", "assert not f(0)")
    for returned in SCALARS:
        value = eval(returned)
        wanted = [value == eval(expected) for expected in SCALARS] + [bool(value), not value]
        wanted += [value is None, value is True, value is False]
        texts = [forms[0].format(expected) for expected in SCALARS] + [forms[1], forms[2]]
        texts += ["assert f(0) is None", "assert f(0) is True", "assert f(0) is False"]
        verdict = sandbox.judge(f"def f(x): return {returned}", Asserts(texts, entry_point="f"))
        got = [test.status == Status.PASSED for test in verdict.tests]
        assert got == wanted, (returned, [t for t, g, w in zip(texts, got, wanted, strict=True) if g != w])


def test_pretending_a_failure_of_the_sandbox_costs_no_worker(sandbox: Sandbox) -> None:
    program = """
        import os, struct, time
        os.write(3, struct.pack("<IBBH", 4, ord("E"), 0, 11) + b"oops")
        time.sleep(30)
    """
    start = time.monotonic()
    verdict = sandbox.judge(textwrap.dedent(program) + ADD, Asserts(["assert add(1, 2) == 3"]))
    assert verdict.status == Status.ERROR
    assert "pretended" in verdict.tests[0].message
    assert time.monotonic() - start < 20


def _launcher(sandbox: Sandbox) -> int:
    (worker,) = sandbox._opened()._workers
    return worker.pid


def test_a_program_cannot_signal_the_group_of_the_worker(sandbox: Sandbox) -> None:
    del sandbox
    program = "import ctypes\nctypes.CDLL(None).kill(0, 9)\n" + ADD
    with Sandbox(workers=1) as made:
        assert made.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed
        before = {process.pid for process in psutil.Process(_launcher(made)).children(recursive=True)}
        # init ignores its own signal, and nobody else is in its group: the program is judged like any other
        assert made.judge(program, Asserts(["assert add(1, 2) == 3"])).passed
        after = {process.pid for process in psutil.Process(_launcher(made)).children(recursive=True)}
    assert after == before, "the judge or the zygote had to be replaced"


def test_a_thread_at_work_is_not_idle(sandbox: Sandbox) -> None:
    program = """
        import threading, time
        def work():
            end = time.process_time() + 0.4
            while time.process_time() < end:
                pass
        def add(a, b):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return a + b
    """
    limits = Limits(idle_s=0.3)
    assert sandbox.judge(textwrap.dedent(program), Asserts(["assert add(1, 2) == 3"]), limits=limits).passed


@pytest.mark.parametrize("tests", [1, 2, 6])
def test_how_long_loading_may_sleep_does_not_depend_on_the_number_of_tests(
    sandbox: Sandbox, tests: int
) -> None:
    program = "import time\ntime.sleep({})\ndef f(x):\n    return x\n"
    asserts = Asserts([f"assert f({number}) == {number}" for number in range(tests)])
    limits = Limits(idle_s=0.8)
    assert sandbox.judge(program.format(0.4), asserts, limits=limits).passed
    verdict = sandbox.judge(program.format(60), asserts, limits=limits)
    assert {test.status for test in verdict.tests} == {Status.WALL_TIMEOUT}
    assert "idle while loading for more than 0.8 s" in verdict.tests[0].message


def test_a_busy_machine_makes_nobody_idle(sandbox: Sandbox) -> None:
    """A wait for a processor that still goes on is in no counter of the kernel's."""
    del sandbox
    program = """
        import threading, time
        def work():
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
        def add(a, b):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return a + b
    """
    burners: list[subprocess.Popen[bytes]] = []
    with Sandbox(workers=1) as made:
        try:
            assert made.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed
            for process in psutil.Process(_launcher(made)).children(recursive=True):
                process.nice(10)  # each turn that it gets is followed by a third of a second without one
            for _ in range(12 * len(os.sched_getaffinity(0))):
                burners.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
            tests, limits = Asserts(["assert add(1, 2) == 3"]), Limits(idle_s=0.1)
            jobs = [(textwrap.dedent(program) + f"# {n}", tests, limits) for n in range(4)]
            found = [verdict.status for verdict in made.judge_many(jobs)]
        finally:
            for burner in burners:
                burner.kill()
            for burner in burners:
                burner.wait()
    assert found == [Status.PASSED] * 4


def test_who_waits_for_a_late_supervisor_is_not_idle() -> None:
    """A full pipe is emptied by the supervisor alone: while that stands still, so does whoever prints."""
    program = "import time\ndef add(a, b):\n    time.sleep(0.2)\n    print('x' * 1000000)\n    return a + b\n"
    with Sandbox(workers=1) as made:
        assert made.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed
        (supervisor,) = psutil.Process(_launcher(made)).children()
        waiting = made.submit(program, Asserts(["assert add(1, 2) == 3"]), limits=Limits(idle_s=0.4))
        for _ in range(3):
            time.sleep(0.1)
            supervisor.suspend()
            time.sleep(0.6)
            supervisor.resume()
        assert waiting.result(30).status is Status.PASSED


def test_children_that_nobody_waits_for_are_charged() -> None:
    program = """
        import os
        def add(a, b):
            for _ in range(2):
                if os.fork() == 0:
                    while True:
                        pass
            time.sleep(60)
    """
    program = "import time\n" + textwrap.dedent(program)
    with Sandbox(workers=1, limits=Limits(processes=4, cpu_s=0.5)) as made:
        verdict = made.judge(textwrap.dedent(program), Asserts(["assert add(1, 2) == 3"]))
    assert verdict.status == Status.CPU_TIMEOUT
    assert verdict.cpu_s > 0.4


def test_new_processes_need_a_pid_namespace() -> None:
    with pytest.raises(IsolationUnavailable, match="processes"):
        Sandbox(workers=1, isolation="seccomp", limits=Limits(processes=1)).open()


def test_a_hash_seed_decides_the_order_of_sets_and_travels_with_a_copy() -> None:
    program = "def f():\n    return ''.join(set('abcdefghijklmnopqrst'))\n"
    orders = []
    for seed in (0, 7, 7):
        with Sandbox(workers=1, hash_seed=seed) as made:
            copy = pickle.loads(pickle.dumps(made))
            (message,) = (test.message for test in made.judge(program, Asserts(["assert f() == 0"])).tests)
            with copy:
                assert copy.judge(program, Asserts(["assert f() == 0"])).tests[0].message == message
        orders.append(message)
    assert orders[0] != orders[1] == orders[2]


@pytest.mark.parametrize("seed", [-1, 1 << 32, True, "0", 1.0])
def test_a_hash_seed_that_python_would_refuse_is_refused(seed: object) -> None:
    with pytest.raises(BadInput, match=r"hash_seed must be a whole number from 0 to 4294967295"):
        Sandbox(hash_seed=seed)  # type: ignore[arg-type]


def test_sleeping_in_every_test_spends_the_programs_budget(sandbox: Sandbox) -> None:
    program = "import time\ndef f(x):\n    time.sleep(x)\n    return x\n"
    tests = Asserts(
        ["assert f(0) == 0", *[f"assert f({n}) == {n}" for n in range(100, 115)], "assert f(0) == 0"]
    )
    limits = Limits(idle_s=0.4, program_cpu_s=0.8)
    verdict = sandbox.judge(program, tests, limits=limits)
    assert [test.status for test in verdict.tests] == [
        Status.PASSED,
        *[Status.WALL_TIMEOUT] * 2,
        *[Status.NOT_RUN] * 13,
        Status.PASSED,
    ]


def test_values_that_overwork_the_judge_spend_the_programs_budget(sandbox: Sandbox) -> None:
    program = "M = (1 << 61) - 1\ndef f(x):\n    return [k * M for k in range(1, 60000)] if x else []\n"
    tests = Asserts(["assert set(f(0)) == set()", *[f"assert set(f({n})) == {{1}}" for n in range(1, 9)]])
    limits = Limits(judge_cpu_s=0.2, program_cpu_s=0.4)
    verdict = sandbox.judge(program, tests, limits=limits)
    assert [test.status for test in verdict.tests] == [
        Status.PASSED,
        *[Status.FAILED] * 2,
        *[Status.NOT_RUN] * 6,
    ]


@pytest.mark.parametrize("tier", ["namespaces", "seccomp"])
def test_values_that_need_too_much_memory_do_not_kill_the_judge(tier: str) -> None:
    tests = Asserts([f"assert sum(f(10) * {n}) == 0" for n in (1, *[40_000_000] * 3)])
    limits = Limits(memory_mb=256)
    with Sandbox(workers=1, isolation=tier, limits=limits) as sandbox:
        verdict = sandbox.judge("def f(n):\n    return [0] * n\n", tests)
    assert [(test.status, test.message) for test in verdict.tests] == [
        (Status.PASSED, ""),
        *[(Status.FAILED, "the value cannot be judged: it needs too much memory")] * 3,
    ]


FULL = [
    "for n in range(99):\n with open(f'{n}', 'wb', 0) as file:\n   for m in range(30): file.write(bytes(1 << 20))",
    "for n in range(100_000): open(f'{n}', 'w').close()",
    "for n in range(100): os.posix_fallocate(os.open(f'{n}', os.O_RDWR | os.O_CREAT), 0, 60 << 20)",
]


@pytest.mark.parametrize("tier", ["namespaces", "seccomp"])
def test_files_are_bounded_in_sum_and_number(tier: str) -> None:
    tests = Asserts(["assert f() == 1"])
    programs = [
        "import os\ndef f():\n" + "".join(f"  {line}\n" for line in body.splitlines()) + "  return 1\n"
        for body in FULL
    ]
    honest = """
import os, tempfile
def f():
    with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
        file.write(bytes(30 << 20))
        os.makedirs(folder + "/a/b")
        with open(folder + "/a/b/c", "wb") as other:
            os.posix_fallocate(other.fileno(), 0, 30 << 20)
        return file.seek(0) + len(file.read()) == 30 << 20
"""
    limits = Limits(scratch_files=300, cpu_s=3.0)
    with Sandbox(workers=1, isolation=tier, limits=limits) as sandbox:
        verdicts = [sandbox.judge(program, tests) for program in [*programs, honest]]
    full = [verdict.tests[0] for verdict in verdicts[:-1]]
    assert [test.status for test in full] == [Status.ERROR] * len(FULL)
    assert all("[Errno 28] No space left on device" in test.message for test in full)
    assert verdicts[-1].passed, verdicts[-1].tests[0].message


def test_a_test_close_to_its_limit_is_marked(sandbox: Sandbox) -> None:
    program = "import time\ndef f(s):\n    while time.process_time() < s: pass\n    return s\n"
    tests = Asserts(["assert f(0) == 0", "assert f(0.44) == 0.44"])
    verdict = sandbox.judge(program, tests, limits=Limits(cpu_s=0.5))
    assert [(test.status, test.near_limit) for test in verdict.tests] == [
        (Status.PASSED, False),
        (Status.PASSED, True),
    ]


MOCKED = UnitTests(
    "import unittest\nfrom unittest import mock\n"
    "class T(unittest.TestCase):\n"
    "    def test_add(self):\n"
    "        with mock.patch('os.getcwd', return_value='/'):\n"
    "            self.assertEqual(add(1, 2), 3)\n",
    entry_point="add",
)


def test_unsealed_tests_are_judged_refused_or_raised_as_asked_for(sandbox: Sandbox) -> None:
    allowed = sandbox.judge(ADD, MOCKED)
    assert (allowed.passed, allowed.sealed) == (True, False)
    assert allowed.tests[0].why == "replaces objects by mocks"
    with Sandbox(workers=1, unsealed="fail") as refusing:
        refused = refusing.judge(ADD, MOCKED)
        assert (refused.status, refused.sealed) == (Status.FAILED, False)
        assert "cannot be judged sealed" in refused.tests[0].message
        assert refusing.judge(ADD, Asserts(["assert add(1, 2) == 3"])).passed
    with Sandbox(workers=1, unsealed="error") as raising, pytest.raises(Unsealed, match="mocks"):
        raising.judge(ADD, MOCKED)


def test_output_is_kept_up_to_its_limit_and_the_rest_is_said_to_be_missing(sandbox: Sandbox) -> None:
    limits = Limits(output_kb=2)
    program = "import sys\nprint('a' * 10_000)\nsys.stderr.write('b' * 1000)\n"
    for verdict in (
        sandbox.judge(program + ADD, Asserts(["assert add(1, 2) == 3"]), limits=limits),
        sandbox.run(program, limits=limits),
    ):
        assert verdict.status is Status.PASSED
        assert verdict.stdout == "a" * 2048
        assert verdict.stderr == "b" * 1000
        assert verdict.truncated
    assert not sandbox.run("print('a' * 2047)", limits=limits).truncated
    judged = sandbox.judge(program, Stdio([("", "a" * 10_000)]), limits=limits)
    assert judged.status is Status.OUTPUT_LIMIT
