"""What the host does when workers fail, shown with workers that fail on request (`fake_worker.py`)."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acesandbox import (
    Asserts,
    Closed,
    IsolationUnavailable,
    Limits,
    ProtocolError,
    Sandbox,
    SandboxError,
    Status,
    Unsealed,
    WorkerDied,
    _pool,
    _sandbox,
    _worker,
)
from acesandbox._pool import Problem

FAKE = str(Path(__file__).with_name("fake_worker.py"))
ONE = Asserts(["assert one"])
THREE = Asserts(["assert one", "assert two", "assert three"])

Maker = Callable[..., Sandbox]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """`fake("refuse", workers=1)`: a sandbox whose workers are `fake_worker.py refuse`."""
    made: list[Sandbox] = []

    def make(behaviour: str = "normal", **options: object) -> Sandbox:
        start = _sandbox.Pool

        def pool(size: int, command: list[str], *rest: object) -> object:
            del command
            return start(size, [sys.executable, "-S", FAKE, behaviour], *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(_sandbox, "Pool", pool)
        pool.close = start.close  # type: ignore[attr-defined]
        monkeypatch.setattr(_sandbox, "launcher_path", lambda: "unused")
        monkeypatch.setattr(_sandbox._interpreter, "guest_directory", lambda: "/nonexistent")
        sandbox = Sandbox(**options)  # type: ignore[arg-type]
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        sandbox.close()


def test_verdict_says_what_the_worker_said(fake: Maker) -> None:
    verdict = fake(workers=1).judge("fail", THREE)
    assert not verdict.passed
    assert verdict.pass_rate == pytest.approx(2 / 3)
    assert verdict.status is Status.FAILED
    assert verdict.sealed
    assert [test.status for test in verdict.tests] == [Status.FAILED, Status.PASSED, Status.PASSED]
    assert verdict.tests[0].message == "returned 7"
    assert (verdict.cpu_s, verdict.wall_s, verdict.peak_memory_mb) == (0.25, 0.5, 3.0)
    assert verdict.tests[1].cpu_s == 0.125
    assert verdict.tests[1].test == "assert two"
    assert verdict.to_dict()["tests"][0]["mode"] == "plan"


def test_order_is_kept_and_jobs_are_taken_as_room_becomes_free(fake: Maker) -> None:
    sandbox = fake(workers=2)
    taken = 0

    def jobs() -> Iterator[tuple[str, Asserts]]:
        nonlocal taken
        for number in range(300):
            taken += 1
            yield ("fail" if number % 3 == 0 else "pass", THREE if number % 7 else ONE)

    for number, verdict in enumerate(sandbox.judge_many(jobs(), window=20, dedupe=False)):
        assert verdict.passed is (number % 3 != 0)
        assert len(verdict.tests) == (3 if number % 7 else 1)
        assert taken <= number + 21, "the stream ran ahead of its window"
    assert taken == 300


def test_equal_programs_in_the_window_are_judged_once(fake: Maker) -> None:
    sandbox = fake(workers=1)
    same = list(sandbox.judge_many([("sleep 0.2", ONE)] * 10))
    assert len({id(verdict) for verdict in same}) == 1
    different = list(sandbox.judge_many([("pass", ONE)] * 10, dedupe=False))
    assert len({id(verdict) for verdict in different}) == 10
    other_tests = list(sandbox.judge_many([("pass", ONE), ("pass", THREE)]))
    assert [len(verdict.tests) for verdict in other_tests] == [1, 3]


def test_program_that_kills_its_worker_once_gets_its_verdict(fake: Maker, tmp_path: Path) -> None:
    verdict = fake(workers=1).judge(f"die-once {tmp_path / 'mark'}", ONE)
    assert verdict.passed


def test_program_that_kills_every_worker_is_killed_and_its_neighbours_are_not(fake: Maker) -> None:
    jobs = [("pass", THREE), ("die", THREE), ("fail", THREE), ("pass", ONE)]
    verdicts = list(fake(workers=1).judge_many(jobs))
    assert [verdict.status for verdict in verdicts] == [
        Status.PASSED,
        Status.KILLED,
        Status.FAILED,
        Status.PASSED,
    ]
    assert all(test.status is Status.KILLED for test in verdicts[1].tests)
    assert len(verdicts[1].tests) == 3
    assert "dies each time" in verdicts[1].tests[0].message


@pytest.mark.parametrize("word", ["trouble", "garbage", "short", "long", "twice", "leave-out", "fatal"])
def test_whatever_a_program_makes_its_worker_say_it_cannot_choose_not_to_be_judged(
    fake: Maker, word: str
) -> None:
    sandbox = fake(workers=1)
    assert sandbox.judge(word, ONE).status in (Status.KILLED, Status.PASSED)
    if word != "twice":  # whose first verdict stands
        assert sandbox.judge(word, ONE).status is Status.KILLED
    assert sandbox.judge("pass", ONE).passed


@pytest.mark.parametrize("behaviour", ["no-canary", "bad-canary"])
def test_no_program_is_blamed_when_the_canary_fails_too(fake: Maker, behaviour: str) -> None:
    with pytest.raises(WorkerDied, match="harmless"):
        fake(behaviour, workers=1).judge("die", ONE)


def test_no_program_is_blamed_for_tests_that_kill_the_judge(fake: Maker) -> None:
    sandbox = fake("unprepared", workers=1)
    outcomes = list(sandbox.judge_many([("pass", ONE), ("fail", ONE), ("pass 2", ONE)], return_errors=True))
    assert all(isinstance(outcome, WorkerDied) for outcome in outcomes)
    assert "tests could not be prepared" in str(outcomes[0])


def test_refusal_is_raised_with_reason_and_remedies(fake: Maker) -> None:
    with pytest.raises(IsolationUnavailable) as caught:
        fake("refuse").open()
    assert "user namespace: Operation not permitted" in caught.value.reason
    assert caught.value.remedies == ("set the sysctl", "or be root")


def test_best_names_the_reason_of_both_tiers(fake: Maker) -> None:
    with pytest.raises(IsolationUnavailable, match=r"'namespaces'.*'seccomp'"):
        fake("refuse", isolation="best").open()


def test_worker_that_dies_while_starting_is_tried_again_and_then_said(fake: Maker) -> None:
    started = time.monotonic()
    with pytest.raises(WorkerDied, match=r"while it was starting.*fake worker: hello"):
        fake("die-at-start", workers=1).open()
    assert time.monotonic() - started < 20


def _look_often(monkeypatch: pytest.MonkeyPatch, busy_s: float, still_s: float) -> None:
    monkeypatch.setattr(_pool, "QUIET_S", 0.2)
    monkeypatch.setattr(_pool, "TICK_S", 0.1)
    monkeypatch.setattr(_worker, "LOOK_S", 0.1)
    real = _pool.Problem.__init__

    def impatient(self: _pool.Problem, *args: object, **kwargs: object) -> None:
        real(self, *args, **kwargs)  # type: ignore[arg-type]
        self.busy_s, self.still_s = busy_s, still_s

    monkeypatch.setattr(_pool.Problem, "__init__", impatient)


@pytest.mark.parametrize("word", ["hang", "burn"])
def test_worker_that_falls_silent_is_replaced(
    fake: Maker, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    _look_often(monkeypatch, busy_s=0.5, still_s=0.5)
    sandbox = fake(workers=1)
    assert sandbox.judge(word, ONE).status is Status.KILLED
    assert sandbox.judge("pass", ONE).passed


def test_a_worker_that_works_is_not_called_silent(fake: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it works, or waits for a processor, is no standing still."""
    _look_often(monkeypatch, busy_s=60.0, still_s=0.5)
    sandbox = fake(workers=1)
    pid = sandbox.judge("pid", ONE).stdout
    assert sandbox.judge("work 1.5", ONE).passed
    assert sandbox.judge("pid", ONE).stdout == pid


def test_workers_share_the_load(fake: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = fake(workers=2)
    list(sandbox.judge_many([("pid", ONE)] * 2, dedupe=False))
    sent: Counter[int] = Counter()
    real = _pool.Pool._send

    def send(self: _pool.Pool, worker: _worker.Worker, unit: _pool.Unit) -> None:
        sent[worker.pid] += len(unit.tasks)
        real(self, worker, unit)

    monkeypatch.setattr(_pool.Pool, "_send", send)
    list(sandbox.judge_many([(f"sleep 0.05 {number}", ONE) for number in range(30)]))
    # Sleeping takes as long on a busy machine, so it is about a half each.
    assert sum(sent.values()) == 30 and len(sent) == 2
    assert min(sent.values()) >= 8, sent


def test_submit_returns_futures_and_threads_share_a_sandbox(fake: Maker) -> None:
    sandbox = fake(workers=2)
    futures = [sandbox.submit("fail" if number % 2 else "pass", ONE) for number in range(50)]
    assert [future.result(30).passed for future in futures] == [number % 2 == 0 for number in range(50)]
    outcomes: list[bool] = []
    threads = [
        threading.Thread(target=lambda: outcomes.extend(sandbox.judge("pass", ONE).passed for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == [True] * 160


def test_cancelled_future_is_not_run(fake: Maker, tmp_path: Path) -> None:
    sandbox = fake(workers=1)
    busy = [sandbox.submit("sleep 0.2", ONE) for _ in range(4)]
    mark = tmp_path / "mark"
    cancelled = sandbox.submit(f"die-once {mark}", THREE)
    assert cancelled.cancel()
    assert all(future.result(30).passed for future in busy)
    assert sandbox.judge("pass", ONE).passed
    assert not mark.exists()


def test_judging_from_a_callback_is_refused_rather_than_waiting_for_itself(fake: Maker) -> None:
    sandbox = fake(workers=1)
    caught: list[BaseException] = []
    called = threading.Event()

    def callback(_: object) -> None:
        try:
            sandbox.judge("pass", ONE)
        except SandboxError as error:
            caught.append(error)
        called.set()

    sandbox.submit("sleep 0.5", ONE).add_done_callback(callback)
    assert called.wait(30)
    assert "callback" in str(caught[0])


def test_ajudge_does_not_block_the_event_loop(fake: Maker) -> None:
    import asyncio

    sandbox = fake(workers=2).open()

    async def both() -> tuple[bool, int]:
        turns = 0
        task = asyncio.gather(*(sandbox.ajudge("sleep 0.4", ONE) for _ in range(2)))
        while not task.done():
            turns += 1
            await asyncio.sleep(0.01)
        return all(verdict.passed for verdict in task.result()), turns

    passed, turns = asyncio.run(both())
    assert passed
    assert turns > 3  # of 40; a loop that is held up has one or two


def test_bad_job_ends_the_stream_after_what_came_before_it(fake: Maker) -> None:
    stream = fake(workers=1).judge_many([("pass", ONE), ("fail", ONE), ("pass",), ("pass", ONE)])  # type: ignore[list-item]
    assert next(stream).passed
    assert not next(stream).passed
    with pytest.raises(ValueError, match="a job is"):
        next(stream)


def test_errors_can_stand_in_the_place_of_verdicts(fake: Maker) -> None:
    jobs = [("pass", ONE), ("die", ONE), ("pass 2", ONE)]
    outcomes = list(fake("no-canary", workers=1).judge_many(jobs, return_errors=True))
    assert [isinstance(outcome, SandboxError) for outcome in outcomes] == [False, True, False]


def test_unsealed_error_raises(fake: Maker) -> None:
    sandbox = fake(workers=1, unsealed="error")
    assert sandbox.judge("pass", ONE).sealed
    verdict = sandbox.judge("pass", THREE)
    verdict._info = _pool.UnitInfo(
        b'{"tests": [{"sealed": true}, {"sealed": false, "why": "mock.patch"}, {}]}'
    )
    with pytest.raises(Unsealed, match=r"tests\[1\].*mock\.patch"):
        sandbox._checked(verdict)


def test_close_fails_what_waits_and_leaves_no_process(fake: Maker) -> None:
    sandbox = fake(workers=1)
    pid = int(sandbox.judge("pid", ONE).stdout)
    future = sandbox.submit("sleep 30", ONE)
    time.sleep(0.1)
    sandbox.close()
    with pytest.raises(Closed):
        future.result(5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Closed):
        sandbox.judge("pass", ONE)


def test_collected_sandbox_ends_its_workers_and_gives_back_descriptors(fake: Maker) -> None:
    gc.collect()  # what earlier tests left
    before = _descriptors()
    sandbox = Sandbox
    options = {"workers": 2}
    made = fake(**options)
    pid = int(made.judge("pid", ONE).stdout)
    copy = sandbox(workers=1)
    assert copy.judge("pass", ONE).passed
    other = int(copy.judge("pid", ONE).stdout)
    del copy
    gc.collect()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{other}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{other}")
    assert os.path.exists(f"/proc/{pid}")
    made.close()
    assert _descriptors() == before


def test_forked_child_gives_up_our_workers_and_makes_its_own(fake: Maker) -> None:
    sandbox = fake(workers=1)
    ours = int(sandbox.judge("pid", ONE).stdout)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            theirs = int(sandbox.judge("pid", ONE).stdout)
            code = 0 if theirs != ours else 2
            sandbox.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert int(sandbox.judge("pid", ONE).stdout) == ours


def test_limits_of_a_job_may_not_reshape_the_jail(fake: Maker) -> None:
    sandbox = fake(workers=1)
    assert sandbox.judge("pass", ONE, limits=Limits(cpu_s=3)).passed
    with pytest.raises(ValueError, match=r"threads=3 .*the sandbox has 64.*shape the worker's jail"):
        sandbox.judge("pass", ONE, limits=Limits(threads=3))
    with pytest.raises(ValueError, match="memory_mb=4096 is more than the sandbox's 1024"):
        sandbox.judge("pass", ONE, limits=Limits(memory_mb=4096))


def test_large_units_pass_through_a_slow_socket(fake: Maker) -> None:
    program = "pass " + "x" * (3 << 20)
    verdicts = list(fake(workers=1).judge_many([(program + str(number), ONE) for number in range(8)]))
    assert all(verdict.passed for verdict in verdicts)


def test_host_spends_little_on_each_program(fake: Maker) -> None:
    """Not a benchmark: a guard against doing something per program that belongs to a problem."""
    sandbox = fake(workers=1)
    tests = Asserts([f"assert f({number}) == {number}" for number in range(16)])
    list(sandbox.judge_many([("pass", tests)] * 100, dedupe=False))
    started = time.process_time()
    assert all(verdict.passed for verdict in sandbox.judge_many([("pass", tests)] * 3000, dedupe=False))
    per_program = (time.process_time() - started) / 3000
    assert per_program < 200e-6, f"{per_program * 1e6:.0f} µs"


def test_a_jail_that_stands_empty_is_no_lack_of_isolation(fake: Maker) -> None:
    """`best` must not fall to a weaker tier because, say, a module to preload is missing."""
    with pytest.raises(SandboxError, match="cannot start the zygote: no module") as caught:
        fake("empty", isolation="best").open()
    assert not isinstance(caught.value, IsolationUnavailable)


def test_a_launcher_of_another_version_is_no_lack_of_isolation(fake: Maker) -> None:
    """Nor does a test that skips for want of isolation skip for it."""
    with pytest.raises(ProtocolError, match=r"the launcher refuses its configuration.*unknown key"):
        fake("stale", isolation="best").open()


def test_programs_of_one_problem_travel_together_however_they_come(fake: Maker) -> None:
    sandbox = fake(workers=1)
    sandbox.judge("pass", ONE)
    sent: list[int] = []
    real = _pool.Pool._send

    def send(self: _pool.Pool, worker: object, unit: _pool.Unit) -> None:
        sent.append(len(unit.tasks))
        real(self, worker, unit)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pool.Pool, "_send", send)
        busy = [sandbox.submit("sleep 0.3", THREE) for _ in range(2)]
        futures = [sandbox.submit(f"pass {number}", Asserts(["assert same"])) for number in range(20)]
        assert all(future.result(30).passed for future in busy + futures)
    assert sum(sent) == 22
    assert len(sent) < 15


def test_forked_child_does_not_keep_our_workers_alive(fake: Maker) -> None:
    sandbox = fake(workers=1)
    assert sandbox.judge("pass", ONE).passed
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        started = time.monotonic()
        sandbox.close()
        assert time.monotonic() - started < _pool.STOP_S / 2, "the worker did not see the end of the stream"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_what_a_dropped_stream_had_queued_is_not_run(fake: Maker, tmp_path: Path) -> None:
    sandbox = fake(workers=1)
    mark = tmp_path / "mark"
    stream = sandbox.judge_many(
        [("sleep 0.1", ONE), *[(f"sleep 0.1 {n}", ONE) for n in range(40)], (f"die-once {mark}", ONE)]
    )
    assert next(stream).passed
    stream.close()
    assert sandbox.judge("pass", THREE).passed
    assert not mark.exists()


def test_closing_ends_a_stream_that_another_thread_waits_on(fake: Maker) -> None:
    sandbox = fake(workers=1)
    caught: list[BaseException] = []
    under_way = threading.Event()

    def consume() -> None:
        try:
            for _ in sandbox.judge_many([("pass", ONE), ("sleep 30", ONE)]):
                under_way.set()
        except Closed as error:
            caught.append(error)

    thread = threading.Thread(target=consume, daemon=True)
    thread.start()
    assert under_way.wait(30)
    time.sleep(0.1)
    sandbox.close()
    thread.join(10)
    assert caught


def test_closing_does_not_wait_for_programs_at_work(fake: Maker) -> None:
    sandbox = fake(workers=2)
    futures = [sandbox.submit(f"sleep 30 {number}", ONE) for number in range(4)]
    assert sandbox.judge_many([]) is not None
    while len(sandbox._pool._workers) < 2 or not all(w.units for w in sandbox._pool._workers):  # type: ignore[union-attr]
        time.sleep(0.01)
    started = time.monotonic()
    sandbox.close()
    assert time.monotonic() - started < _pool.STOP_S / 2
    assert all(isinstance(future.exception(1), Closed) for future in futures)


def test_a_launcher_that_is_let_go_is_asked_before_it_is_killed(
    fake: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at once it would leave its control group and its directories behind."""
    sent: list[int] = []
    monkeypatch.setattr(_pool, "STOP_S", 0.1)
    monkeypatch.setattr(_worker.Worker, "signal", lambda self, number: sent.append(number))
    sandbox = fake(workers=1)
    pid = int(sandbox.judge("pid", ONE).stdout)
    sandbox.submit("sleep 0.5", ONE)
    sandbox.submit("sleep 0.5", THREE)
    time.sleep(0.2)
    sandbox.close()
    assert sent[0] == 15
    assert set(sent[1:]) <= {9}
    assert not os.path.exists(f"/proc/{pid}")


def test_interrupt_in_the_callers_iterator_is_not_held_back(fake: Maker) -> None:
    """A verdict that is still awaited may be seconds away: Ctrl-C must not wait for it."""

    def jobs() -> Iterator[tuple[str, Asserts]]:
        yield "sleep 30", ONE
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(fake(workers=1).open().judge_many(jobs()))
    assert time.monotonic() - started < 10


def test_streaming_from_a_callback_is_refused_too(fake: Maker) -> None:
    sandbox = fake(workers=1)
    caught: list[BaseException] = []
    called = threading.Event()

    def callback(_: object) -> None:
        try:
            list(sandbox.judge_many([("pass", ONE)]))
        except SandboxError as error:
            caught.append(error)
        called.set()

    sandbox.submit("sleep 0.5", ONE).add_done_callback(callback)
    assert called.wait(30)
    assert "callback" in str(caught[0])


def test_a_queue_that_never_ends_holds_nobody_up(fake: Maker) -> None:
    sandbox = fake(workers=1)
    stop = threading.Event()

    def again(_: object) -> None:
        if not stop.is_set():
            sandbox.submit(f"sleep 0.02 {time.monotonic()}", ONE).add_done_callback(again)

    for _ in range(6):
        again(None)
    try:
        assert sandbox.submit("pass", THREE).result(20).passed
    finally:
        stop.set()


def test_worker_dies_well_in_a_host_with_many_descriptors(fake: Maker) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        sandbox = fake(workers=1)
        assert sandbox.judge("garbage", ONE).status is Status.KILLED
        assert sandbox.judge("pass", ONE).passed
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_worker_that_dies_while_it_is_written_to_does_not_end_a_host_that_minds_sigpipe(fake: Maker) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            sandbox = fake(workers=1)
            sandbox.judge("pass", ONE)
            futures = [sandbox.submit(f"die {number} " + "x" * (3 << 20), ONE) for number in range(3)]
            code = 0 if all(future.result(60).status is Status.KILLED for future in futures) else 2
            sandbox.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_tests_count_in_the_memory_of_a_stream(fake: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sandbox, "WINDOW_BYTES", 1 << 20)
    taken = 0

    def jobs() -> Iterator[tuple[str, Asserts]]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield "pass", Asserts([f"assert {number}" + " " * 100_000])

    for number, _ in enumerate(fake(workers=1).judge_many(jobs())):
        assert taken <= number + 13
    assert taken == 100


def test_tests_too_long_for_a_worker_are_the_callers_fault(
    fake: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "MAX_PROBLEM_BYTES", 1000)
    sandbox = fake(workers=1)
    with pytest.raises(ValueError, match="the limit is 1,000"):
        sandbox.judge("pass", Asserts(["assert f()" + " " * 1000]))
    assert sandbox.judge("pass", ONE).passed


def test_deaths_before_the_tests_are_read_count_in_a_row_only(
    fake: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = fake(workers=1)
    sandbox.judge("pass", ONE)
    problem = sandbox._problem(ONE, None)
    problem.not_prepared = 1  # a worker was lost there once
    sandbox.judge("pass 2", ONE)
    assert problem.not_prepared == 0


def test_a_suspect_is_not_kept_waiting_for_a_worker_that_cannot_be_started(
    fake: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "START_ATTEMPTS", 1)
    sandbox = fake(workers=2)
    pool = sandbox._opened()
    real = _pool.Worker

    def start(*arguments: object) -> object:
        if pool._trials:
            raise OSError("out of processes")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_pool, "Worker", start)
    list(sandbox.judge_many([(f"sleep 0.3 {number}", ONE) for number in range(4)]))
    assert len(pool._workers) == 2
    gate = tmp_path / "gate"
    busy = sandbox.submit(f"wait-for {gate}", ONE)
    with pytest.raises(SandboxError, match="out of processes"):
        sandbox.submit("die", THREE).result(30)
    gate.touch()
    assert busy.result(30).passed


def test_collected_while_the_queue_is_locked_ends_its_workers(fake: Maker) -> None:
    fake()
    sandbox = Sandbox(workers=1)
    pool = sandbox._opened()
    held = [sandbox]
    del sandbox

    class Dropping(_pool.Sink):
        def wanted(self, task: _pool.Task) -> bool:
            held.clear()
            gc.collect()
            return True

        def deliver(self, task: _pool.Task) -> None:
            pass

    problem = held[0]._problem(ONE, None)
    pool.put(problem, (_pool.Task(problem, b"pass", Dropping()),))
    pool._thread.join(10)
    assert not pool._thread.is_alive()


def test_close_from_a_signal_handler_while_the_same_thread_opens(
    fake: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = fake(workers=1)
    before = signal.signal(signal.SIGUSR1, lambda *_: sandbox.close())
    real = _pool.Pool.start

    def start(self: _pool.Pool) -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        return real(self)

    monkeypatch.setattr(_pool.Pool, "start", start)
    try:
        with pytest.raises(Closed):
            sandbox.open()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sandbox._pool is None


def test_a_closed_sandbox_writes_to_no_descriptor(fake: Maker, tmp_path: Path) -> None:
    """The number of the one it had may be that of somebody's file by now."""
    sandbox = fake(workers=1)
    pool = sandbox._opened()
    number = pool._wake
    sandbox.close()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.dup2(file, number)
    pool._poke()
    pool.close()
    assert os.fstat(file).st_size == 0
    os.close(number)
    if file != number:
        os.close(file)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_worker_may_be_silent_for_as_long_as_its_program_may_compute() -> None:
    # A script has no other limit than cpu_s: with 120 s it was taken for lost after a minute, and begun again for ever.
    for limits in (Limits(cpu_s=120.0), Limits(program_cpu_s=120.0), Limits(load_cpu_s=120.0)):
        problem = Problem(
            None, limits, fail_fast=False, keep_output=True, unsealed="allow", script=(b"", b"", ())
        )
        assert problem.busy_s >= 2 * 120.0
