"""The workers of one sandbox and the one thread that serves them.

Who talks to whom: users' threads put tasks into `Pool` and wait at a sink of their own; the I/O thread cuts units from
the queue, sends them to workers, reads verdicts, and delivers them to the sinks. It alone touches workers. The
lock guards the queue only, and is held for microseconds.

    Problem   tests + limits, ready to send, with the programs that wait for it
    Task      one program, and in the end its verdict or an error
    Unit      some tasks of one problem, in flight on one worker

Sharing the load. Workers pull: a unit is cut when a worker has room. It has room below two units in flight, so that
the next is there when one ends; while much is waiting and units are tiny, below sixteen programs. The size of a unit
shrinks with the queue, so that the last ones end at about the same time on all workers. While every worker has enough
to go on with, the I/O thread looks every two milliseconds rather than at every frame, as a network card moderates its
interrupts: sixteen workers with a program a millisecond each would otherwise wake it sixteen thousand times a second.

When a worker dies, the first program without a verdict is the suspect, since a supervisor judges one after the other;
everything behind it goes back into the queue as if nothing had happened. A suspect is run again by itself. If that
worker dies too, a fresh one judges a harmless program first, the canary, and then the suspect: if it dies in the
suspect's turn, the program is the killer and gets the verdict `killed`, since "could not be judged" must not be
something that a program can choose. If the canary fails, or the tests alone are enough to bring the judge down, it is
not the program's fault: `SandboxError`.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

from ._errors import BadInput, Closed, IsolationUnavailable, ProtocolError, SandboxError, WorkerDied
from ._limits import Limits
from ._status import CODES, Status
from ._tests import Asserts, Tests
from ._verdict import NO_INFO, UnitInfo, Verdict
from ._wire import (
    DONE,
    MAX_TO_WORKER,
    UNIT_ID,
    VERDICT_KEY,
    killed_verdict,
    limits_block,
    script_frame,
    unit_frame,
)
from ._worker import Silence, Worker, parse_ready

MAX_UNIT_PROGRAMS = 64
MAX_UNIT_BYTES = 4 << 20
MAX_PROBLEM_BYTES = MAX_TO_WORKER - (64 << 20)  # what a unit holds besides: its programs
UNITS_IN_FLIGHT = 2
PROGRAMS_IN_FLIGHT = 16
MODERATION_S = 0.002
START_ATTEMPTS = 3
START_STILL_S = 60.0
QUIET_S = 10.0
TICK_S = 1.0
HOLD_S = 0.004
STOP_S = 2.0

_READY, _FATAL, _INFO, _VERDICT, _DONE = (ord(letter) for letter in "RFIVD")


class Sink:
    """Where a task's outcome goes. `deliver` runs in the I/O thread and must be quick."""

    __slots__ = ()

    def wanted(self, task: Task) -> bool:
        """Asked before a program is sent: does anybody still wait for it?"""
        del task
        return True

    def deliver(self, task: Task) -> None:
        raise AssertionError("a sink must say where outcomes go")


class Task:
    """One program on its way to a verdict."""

    __slots__ = ("arrival", "deaths", "done", "error", "problem", "program", "sink", "verdict")

    def __init__(self, problem: Problem, program: bytes, sink: Sink) -> None:
        self.problem = problem
        self.program = program
        self.sink = sink
        self.arrival = 0
        self.deaths = 0
        self.done = False
        self.verdict: Verdict | None = None
        self.error: SandboxError | None = None

    def result(self) -> Verdict:
        """The verdict.

        Raises:
            SandboxError: there is none.
        """
        if self.error is not None:
            raise self.error
        if self.verdict is None:
            raise ProtocolError("a task was asked for its verdict before it had one")
        return self.verdict


class Problem:
    """Tests and limits, encoded once for all programs; and the programs that wait."""

    __slots__ = (
        "_block",
        "_json",
        "busy_s",
        "count",
        "info",
        "not_prepared",
        "pending",
        "queued",
        "script",
        "size",
        "still_s",
        "tests",
    )

    def __init__(
        self,
        tests: Tests | None,
        limits: Limits,
        *,
        fail_fast: bool,
        keep_output: bool,
        unsealed: str,
        script: tuple[bytes, bytes, Sequence[tuple[bytes, bytes]]] | None = None,
    ) -> None:
        self.tests = tests
        self.count = 1 if tests is None else len(tests)
        self.script = script
        self._json = b"" if tests is None else tests._problem()
        self.size = len(self._json)
        if self.size > MAX_PROBLEM_BYTES:
            raise BadInput(
                f"the tests are {self.size:,} bytes long as JSON; the limit is {MAX_PROBLEM_BYTES:,}"
            )
        self._block = limits_block(limits, fail_fast=fail_fast, keep_output=keep_output, unsealed=unsealed)
        self.info: UnitInfo | None = NO_INFO if tests is None else None
        self.pending: deque[Task] = deque()
        self.queued = False
        self.not_prepared = 0  # how often in a row a worker died before it had read the tests
        # Longest that a worker may be silent; twice what is due, since verdicts are sent in small batches.
        due = (
            limits.load_cpu_s * 2
            + limits.program_cpu_s
            + limits.cpu_s  # the last test may go past program_cpu_s by its own time; a script has nothing else
            + limits.judge_cpu_s * 2
            + self.count * limits.quantum_s
        )
        self.busy_s = 30.0 + 2 * due
        self.still_s = 30.0 + 2 * min((self.count + 2) * max(limits.idle_s, limits.wall_s), 1800.0)

    def frame(self, unit_id: int, tasks: Sequence[Task]) -> bytes:
        if self.script is not None:
            options, stdin, files = self.script
            return script_frame(unit_id, self._block, options, tasks[0].program, stdin, files)
        return unit_frame(unit_id, self._block, self._json, [task.program for task in tasks])


class Unit:
    """Some tasks of one problem on one worker."""

    __slots__ = ("id", "open", "prepared", "problem", "tasks")

    def __init__(self, unit_id: int, problem: Problem, tasks: list[Task]) -> None:
        self.id = unit_id
        self.problem = problem
        self.tasks = tasks
        self.open = len(tasks)
        self.prepared = (
            problem.script is not None
        )  # the judge has read the tests; from here on it is the programs


class Gate(Sink):
    """Lets one thread wait for tasks, one at a time. The cheapest hand-over between two threads: one bare lock.

    A patient waiter, a stream with many tasks under way, is woken a few milliseconds later, for all that is done by
    then: waking a thread, and the fight for the interpreter's lock, cost more than all else the host does per program.
    """

    __slots__ = ("_abandoned", "_lock", "_patient", "_pool", "_waited_for")

    def __init__(self, pool: Pool, patient: bool = False) -> None:
        self._pool = pool
        self._patient = patient
        self._lock = threading.Lock()
        self._lock.acquire()
        self._waited_for: Task | None = None
        self._abandoned = False

    def wait(self, task: Task) -> None:
        """Returns when the task is done. If interrupted, give up with `abandon`."""
        self._waited_for = task
        while not task.done:
            if self._pool.forgotten:
                raise Closed("this process was forked while the work was under way; it belongs to the parent")
            self._lock.acquire()

    def abandon(self) -> None:
        """Nobody waits any longer: what was not sent yet is dropped."""
        self._abandoned = True

    def wanted(self, task: Task) -> bool:
        del task
        return not self._abandoned

    def deliver(self, task: Task) -> None:
        if self._waited_for is task:
            if self._patient:
                self._pool.hold(self)
            else:
                self.open()

    def open(self) -> None:
        """Wakes the waiter. It may wait for another task by now, and then looks once for nothing."""
        try:
            self._lock.release()
        except RuntimeError:  # still open from such a case
            pass


_open: set[Pool] = set()
"""Pools whose thread has not ended: also those whose sandbox is garbage."""


@atexit.register
def _close_at_exit() -> None:
    for pool in list(_open):
        pool.close()


def forget_all() -> None:
    """In a forked child: every pool is its parent's."""
    for pool in list(_open):
        pool.forget()


class Pool:
    """Workers of one tier and configuration, started as work arrives.

    Args:
        workers: most workers at a time.
        command: the launcher's command line.
        configure: gives the `C` frame and the user id's lease of worker number n.
        tier: stamped on every verdict.
        canary_limits: limits for the canary.
    """

    def __init__(
        self,
        workers: int,
        command: list[str],
        configure: Callable[[int], tuple[bytes, Any]],
        tier: str,
        canary_limits: Limits,
    ) -> None:
        self.size = workers
        self.tier = tier
        self.forgotten = False
        self._command = command
        self._configure = configure
        self._canary_limits = canary_limits
        # Reentrant: collecting garbage while it is held may run a finalizer, and with it any code.
        self._lock = threading.RLock()
        self._queue: deque[Problem] = deque()
        self._queued = 0
        self._arrivals = 0
        self._hungry = True
        self._closing = False
        self._start_waiters: list[_StartWaiter] = []

        # The I/O thread's own.
        self._workers: list[Worker] = []
        self._ending: list[Worker] = []
        self._retries: deque[Task] = deque()
        self._trials: deque[Task] = deque()
        self._last_unit = 0
        self._held: list[Gate] = []
        self._held_since = 0.0
        self._start_failures = 0
        self._ever_ready = False
        self._next_start = 0.0
        self._next_look = 0.0
        self._last_turn = 0.0
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._handlers[self._wake] = self._on_wake
        self.ready: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._main, name="acesandbox", daemon=True)
        _open.add(self)
        self._thread.start()

    # What users' threads call.

    def start(self) -> dict[str, Any]:
        """Waits until one worker is up; returns what it said about itself.

        Raises:
            SandboxError: none could be started.
        """
        waiter = _StartWaiter()
        with self._lock:
            self._check_open()
            if self.ready is not None:
                return self.ready
            self._start_waiters.append(waiter)
        self._poke()
        waiter.lock.acquire()
        if waiter.error is not None:
            raise waiter.error
        return waiter.said

    def put(self, problem: Problem, tasks: Sequence[Task]) -> None:
        """Queues programs of one problem; they join those of the same problem that wait already.

        Raises:
            Closed: the pool is.
        """
        with self._lock:
            self._check_open()
            self._arrivals += 1
            for task in tasks:
                task.arrival = self._arrivals
            problem.pending.extend(tasks)
            if not problem.queued:
                problem.queued = True
                self._queue.append(problem)
            self._queued += len(tasks)
            hungry, self._hungry = self._hungry, False
        if hungry or len(self._workers) < self.size:
            self._poke()

    def in_io_thread(self) -> bool:
        """Waiting for a verdict there would wait for ever."""
        return threading.current_thread() is self._thread

    def close(self, wait: bool = True) -> None:
        """Ends all workers. Waiting tasks fail with `Closed`. Idempotent.

        Args:
            wait: return when nothing is left.
        """
        if self.forgotten:
            return
        with self._lock:
            self._closing = True
        self._poke()
        if wait and not self.in_io_thread():
            self._thread.join()

    def forget(self) -> None:
        """In a forked child, where the I/O thread does not exist: gives up our copies, disturbs nothing."""
        self.forgotten = True
        _open.discard(self)
        self._closing = True
        self._lock = threading.RLock()  # a thread that the child does not have may hold the old one
        for worker in self._workers + self._ending:
            worker.forget()
        self._close_descriptors()

    def _check_open(self) -> None:
        if self._closing:
            raise Closed("the sandbox is closed")

    def _poke(self) -> None:
        with self._lock:  # or the number might by now be that of a file of the user's
            if self._wake >= 0:
                try:
                    os.eventfd_write(self._wake, 1)
                except OSError:  # already full of pokes
                    pass

    def _close_descriptors(self) -> None:
        with self._lock:
            self._epoll.close()
            os.close(self._wake)
            self._wake = -1

    # The I/O thread.

    def _main(self) -> None:
        try:
            while not self._closing:
                self._turn(TICK_S if self._workers else 60.0)
            self._end_everything()
        except BaseException as error:  # a bug of ours must not leave threads waiting for ever
            self._fail_everything(
                SandboxError(f"the sandbox's own thread failed: {type(error).__name__}: {error}")
            )
            for worker in self._workers + self._ending:
                worker.signal(signal.SIGTERM)
            raise
        finally:
            self._closing = True
            self._close_descriptors()
            _open.discard(self)

    def _turn(self, longest: float) -> None:
        self._dispatch()
        early = self._last_turn + MODERATION_S - monotonic()
        if early > 0 and self._comfortable():
            sleep(early)
        pause = longest
        if self._ending:
            pause = min(pause, 0.05)
        if self._next_start > monotonic():
            pause = min(pause, 0.05)
        if self._held:
            pause = min(pause, HOLD_S)
        for fd, events in self._epoll.poll(pause):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        self._last_turn = monotonic()
        if self._held and (monotonic() - self._held_since >= HOLD_S or not self._busy()):
            self._open_held()
        now = monotonic()
        if now >= self._next_look or self._ending:
            self._next_look = now + TICK_S
            self._look_after(now)

    def hold(self, gate: Gate) -> None:
        """From the I/O thread: takes charge of waking a patient waiter."""
        if not self._held:
            self._held_since = monotonic()
        if gate not in self._held:
            self._held.append(gate)

    def _open_held(self) -> None:
        held, self._held = self._held, []
        for gate in held:
            gate.open()

    def _busy(self) -> bool:
        return self._queued > 0 or any(worker.open_tasks for worker in self._workers)

    def _on_wake(self, events: int) -> None:
        del events
        os.eventfd_read(self._wake)

    def _on_event(self, worker: Worker, fd: int, events: int) -> None:
        if fd == worker.stderr_fd():
            if not worker.read_log():
                worker.drop_log(self._epoll, self._handlers)
        elif fd == worker.pidfd:
            worker.unregister(self._epoll, self._handlers, fd)
            self._read(worker)  # its last words
            self._lost(worker, "its launcher ended")
        else:
            if events & select.EPOLLOUT:
                worker.flush(self._epoll)
            if events & ~select.EPOLLOUT:
                self._read(worker)

    def _read(self, worker: Worker) -> None:
        if worker not in self._workers:
            return
        try:
            frames = worker.receive()
            if frames is None:
                self._lost(worker, "it closed its control socket")
                return
            for kind, flags, index, payload in frames:
                if worker not in self._workers:
                    return
                self._on_frame(worker, kind, flags, index, payload)
        except ProtocolError as error:
            self._lost(worker, str(error))

    def _on_frame(self, worker: Worker, kind: int, flags: int, index: int, payload: bytes) -> None:
        del flags, index
        try:
            if kind == _VERDICT:
                unit_id, number, count = VERDICT_KEY.unpack_from(payload)
                unit = worker.units[unit_id]
                problem = unit.problem
                if count != problem.count or problem.info is None:
                    raise ProtocolError(f"a verdict with {count} tests for a problem with {problem.count}")
                task = unit.tasks[number]
                if task.done:
                    raise ProtocolError(f"a second verdict for program {number}")
                verdict = Verdict(payload, problem.tests, problem.info, self.tier)
                verdict._test_statuses()  # what cannot be read is found here, where the program is tried again
                unit.open -= 1
                worker.open_tasks -= 1
                self._finish(task, verdict)
            elif kind == _DONE:
                unit_id, failed = DONE.unpack_from(payload)
                unit = worker.units[unit_id]
                if failed or unit.open:
                    text = payload[DONE.size :].decode("utf-8", "replace")
                    self._lost(worker, f"it could not go on: {text}" if failed else "it left out programs")
                    return
                del worker.units[unit_id]
                if worker.solo:
                    self._solo_done(worker, unit)
            elif kind == _INFO:
                (unit_id,) = UNIT_ID.unpack_from(payload)
                unit = worker.units[unit_id]
                unit.prepared = True
                unit.problem.not_prepared = 0
                if unit.problem.info is None:
                    unit.problem.info = UnitInfo(payload[UNIT_ID.size :])
            elif kind == _READY and worker.ready is None:
                self._up(worker, parse_ready(payload))
            elif kind == _FATAL and worker.ready is None:
                self._refused(worker, payload.decode("utf-8", "replace"))
            else:
                raise ProtocolError(f"a frame of type {kind}")
        except ProtocolError as error:
            raise ProtocolError(f"{worker.describe()} does not keep to the protocol: {error}") from None
        except Exception as error:  # short frames, unknown units
            raise ProtocolError(
                f"{worker.describe()} does not keep to the protocol: {type(error).__name__}: {error}"
            ) from None

    @staticmethod
    def _finish(task: Task, verdict: Verdict) -> None:
        task.verdict = verdict
        task.done = True
        task.sink.deliver(task)

    @staticmethod
    def _fail(task: Task, error: SandboxError) -> None:
        task.error = error
        task.done = True
        task.sink.deliver(task)

    # Sharing out work.

    def _dispatch(self) -> None:
        """Gives work to every worker that has room, and starts workers while there is more work than they take."""
        while self._retries:
            worker = next((w for w in self._workers if w.ready and not w.units and not w.trial), None)
            if worker is None:
                break
            self._send_solo(worker, self._retries.popleft())
        while True:
            worker = self._with_room()
            if worker is None:
                break
            unit = self._cut()
            if unit is None:
                break
            self._send(worker, unit)
        self._start_some()

    def _with_room(self) -> Worker | None:
        """The worker with the least to do that can take a unit."""
        best = None
        plenty = self._plenty()
        for worker in self._workers:
            if not worker.ready or worker.solo or worker.trial is not None:
                continue
            units = len(worker.units)
            if units >= UNITS_IN_FLIGHT and not (
                plenty and units < PROGRAMS_IN_FLIGHT and worker.open_tasks < PROGRAMS_IN_FLIGHT
            ):
                continue
            if best is None or worker.open_tasks < best.open_tasks:
                best = worker
        return best

    def _plenty(self) -> bool:
        """Much is waiting: depth matters more than an even end."""
        return self._queued > 2 * PROGRAMS_IN_FLIGHT * self.size

    def _comfortable(self) -> bool:
        """Much is waiting, and no worker will run dry in the next milliseconds."""
        return self._plenty() and all(
            worker.open_tasks >= PROGRAMS_IN_FLIGHT // 2 for worker in self._workers if worker.ready
        )

    def _cut(self) -> Unit | None:
        """Takes the next unit off the queue; None if there is nothing, after asking to be woken for more."""
        with self._lock:
            while self._queue:
                problem = self._queue[0]
                # Half of an even share: large while much is waiting, small towards the end.
                most = max(min(MAX_UNIT_PROGRAMS, -(-self._queued // (2 * self.size))), 1)
                if problem.script is not None:
                    most = 1
                tasks: list[Task] = []
                size = 0
                while problem.pending and len(tasks) < most and size < MAX_UNIT_BYTES:
                    task = problem.pending.popleft()
                    self._queued -= 1
                    if task.sink.wanted(task):
                        tasks.append(task)
                        size += len(task.program)
                if not problem.pending:
                    self._queue.popleft()
                    problem.queued = False
                elif len(self._queue) > 1 and self._queue[1].pending[0].arrival < problem.pending[0].arrival:
                    self._queue.rotate(
                        -1
                    )  # a problem that is given more and more must not hold up the others
                if tasks:
                    self._last_unit += 1
                    return Unit(self._last_unit, problem, tasks)
            self._hungry = True
            return None

    def _send(self, worker: Worker, unit: Unit) -> None:
        if not worker.units:
            worker.heard = monotonic()
        worker.units[unit.id] = unit
        worker.open_tasks += unit.open
        worker.send(unit.problem.frame(unit.id, unit.tasks), self._epoll)

    def _send_solo(self, worker: Worker, task: Task) -> None:
        worker.solo = True
        self._last_unit += 1
        self._send(worker, Unit(self._last_unit, task.problem, [task]))

    def _give_back(self, unit: Unit, tasks: list[Task]) -> None:
        """Innocent programs go back to the head of the queue."""
        if not tasks:
            return
        problem = unit.problem
        with self._lock:
            problem.pending.extendleft(reversed(tasks))
            self._queued += len(tasks)
            if problem.queued:
                self._queue.remove(problem)
            problem.queued = True
            self._queue.appendleft(problem)

    # The life of workers.

    def _start_some(self) -> None:
        if self._closing or monotonic() < self._next_start:
            return
        while self._trials:
            worker = self._start()
            if worker is None:
                return
            worker.trial = self._trials.popleft()
        starting = sum(worker.ready is None for worker in self._workers)
        wanted = self._queued + len(self._retries) + (len(self._start_waiters) if not self._workers else 0)
        while len(self._workers) < self.size and starting < wanted:
            if self._start() is None:
                return
            starting += 1

    def _start(self) -> Worker | None:
        used = {worker.number for worker in self._workers}
        number = next(n for n in range(len(used) + 1) if n not in used)
        lease = None
        try:
            configuration, lease = self._configure(number)
            worker = Worker(number, lease, self._command, configuration)
        except (SandboxError, OSError) as error:
            if lease is not None:
                lease.release()
            self._start_failed(
                error
                if isinstance(error, SandboxError)
                else SandboxError(f"a worker could not be started: {error}")
            )
            return None
        worker.register(self._epoll, self._handlers, self._on_event)
        self._workers.append(worker)
        worker.flush(self._epoll, was_waiting=False)
        return worker

    def _up(self, worker: Worker, said: dict[str, Any]) -> None:
        worker.ready = said
        self.ready = said
        self._ever_ready = True
        self._start_failures = 0
        self._answer_start(None)
        if worker.trial is not None:
            self._send_solo(worker, Task(self._canary_problem(), CANARY_PROGRAM, _NOWHERE))

    def _canary_problem(self) -> Problem:
        return Problem(
            CANARY_TESTS, self._canary_limits, fail_fast=False, keep_output=False, unsealed="allow"
        )

    def _solo_done(self, worker: Worker, unit: Unit) -> None:
        """A suspect ended without ending its worker; or the canary did, and the suspect is next."""
        worker.solo = False
        trial = worker.trial
        if trial is None:
            return
        if not trial.done and unit.tasks[0] is not trial:
            if unit.tasks[0].result().passed:
                self._send_solo(worker, trial)
                return
            self._fail(trial, WorkerDied("two workers died with it, and a third fails a harmless program"))
        worker.trial = None
        if len(self._workers) > self.size:
            self._end(worker)

    def _refused(self, worker: Worker, text: str) -> None:
        """The launcher says why it cannot build the jail."""
        reason, *more = [line.strip() for line in text.splitlines() if line.strip()] or [
            "it does not say why"
        ]
        error: SandboxError
        if reason.startswith("start the "):  # the jail is built; what is in it does not start
            error = SandboxError(f"a worker cannot {': '.join([reason, *more])}")
        elif reason.startswith("configuration"):  # whatever the machine offers: host and launcher disagree
            error = ProtocolError(f"the launcher refuses its {': '.join([reason, *more])}")
        else:
            error = IsolationUnavailable(f"the tier {self.tier!r} cannot be had: {reason}", more)
        self._workers.remove(worker)
        self._end(worker)
        if worker.trial is not None:
            self._fail(worker.trial, error)
        if not self._ever_ready:
            self._start_failures = START_ATTEMPTS  # it will say the same again
        self._start_failed(error)

    def _start_failed(self, error: SandboxError) -> None:
        self._start_failures += 1
        # What has worked before is given more time: the machine may be out of memory for a while.
        if self._start_failures < START_ATTEMPTS * (3 if self._ever_ready else 1):
            self._next_start = monotonic() + min(0.1 * 2**self._start_failures, 2.0)
            return
        self._start_failures = 0
        self._answer_start(error)
        if not any(worker.ready for worker in self._workers):
            self._fail_waiting(error)
            return
        self._next_start = monotonic() + 5.0
        while self._trials:  # these need a worker of their own
            self._fail(self._trials.popleft(), error)

    def _answer_start(self, error: SandboxError | None) -> None:
        with self._lock:
            waiters, self._start_waiters = self._start_waiters, []
        for waiter in waiters:
            waiter.error = error
            waiter.said = self.ready or {}
            waiter.lock.release()

    def _lost(self, worker: Worker, why: str) -> None:
        """A worker is gone, or has to go."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        words = worker.last_words()
        self._end(worker)
        why = f"{worker.describe()}: {why}" + (f"; it wrote: {words}" if words else "")
        if worker.ready is None:
            if worker.trial is not None:
                self._fail(
                    worker.trial, WorkerDied(f"no fresh worker could be started to judge it again; {why}")
                )
            self._start_failed(WorkerDied(f"a worker died while it was starting; {why}"))
            return
        if worker.trial is not None:
            self._trial_lost(worker, worker.trial, why)
            return
        suspect: Task | None = None
        blamed: Unit | None = None
        for unit in worker.units.values():
            waiting = [task for task in unit.tasks if not task.done]
            if suspect is None and waiting:
                suspect, blamed = waiting.pop(0), unit
            self._give_back(unit, waiting)
        worker.units.clear()
        if suspect is None or blamed is None:
            return
        suspect.deaths += 1
        if not self._blames_tests(blamed, suspect, why):
            (self._retries if suspect.deaths == 1 else self._trials).append(suspect)

    def _trial_lost(self, worker: Worker, task: Task, why: str) -> None:
        unit = next(iter(worker.units.values()), None)
        if task.done:
            return
        if unit is None or unit.tasks[0] is not task:
            self._fail(
                task, WorkerDied(f"the worker died three times, at last with a harmless program; {why}")
            )
        elif not self._blames_tests(unit, task, why):
            message = f"the worker that judges this program dies each time: {why}"
            payload = killed_verdict(0, task.problem.count, CODES[Status.KILLED], message[:2000])
            self._finish(task, Verdict(payload, task.problem.tests, task.problem.info or NO_INFO, self.tier))

    def _blames_tests(self, unit: Unit, task: Task, why: str) -> bool:
        """True, and all is settled, if the judge dies of the tests alone, before it has seen a program."""
        if unit.prepared:
            return False
        task.problem.not_prepared += 1
        if task.problem.not_prepared < 2:
            return False
        self._problem_fails(task, why)
        return True

    def _problem_fails(self, task: Task, why: str) -> None:
        """The judge does not survive these tests, whatever the program: no program of the problem can be judged."""
        error = WorkerDied(
            f"the tests could not be prepared, twice, so no program can be judged by them; {why}. They are "
            f"{task.problem.size:,} bytes as JSON, and reading them may use judge_cpu_s and memory_mb of the limits: "
            "raise these, or hand over fewer or smaller tests"
        )
        task.problem.not_prepared = 0
        with self._lock:
            others = list(task.problem.pending)
            task.problem.pending.clear()
            self._queued -= len(others)
            if task.problem.queued:
                self._queue.remove(task.problem)
                task.problem.queued = False
        for each in (task, *others):
            self._fail(each, error)

    def _end(self, worker: Worker, at_once: bool = True) -> None:
        """Lets a worker go: the end of the stream, which an idle one sees; a request; then force.

        The request comes first, since a launcher that is killed leaves what it has made on the machine behind.
        """
        if worker in self._workers:
            self._workers.remove(worker)
        worker.close_control(self._epoll, self._handlers)
        worker.stop_at = monotonic() + STOP_S
        worker.stop_signal = signal.SIGTERM
        if at_once:
            self._press(worker)
        self._ending.append(worker)

    @staticmethod
    def _press(worker: Worker) -> None:
        worker.signal(worker.stop_signal)
        worker.stop_signal = signal.SIGKILL
        worker.stop_at = monotonic() + STOP_S

    def _look_after(self, now: float) -> None:
        """What time brings: processes to reap, and workers that say nothing."""
        for worker in self._ending[:]:
            if worker.reap():
                self._ending.remove(worker)
                worker.dispose(self._epoll, self._handlers)
            elif now > worker.stop_at:
                self._press(worker)
        for worker in self._workers[:]:
            if worker.pidfd < 0 and worker.reap():
                self._lost(worker, "its launcher ended")
            elif (worker.units or worker.ready is None) and now - worker.heard > QUIET_S:
                self._question(worker, now)

    def _question(self, worker: Worker, now: float) -> None:
        if worker.silence is None:
            busy = still = START_STILL_S
            if worker.units:
                problem = next(iter(worker.units.values())).problem
                busy, still = problem.busy_s, problem.still_s
            worker.silence = Silence(worker.pid, busy, still, now)
        elif worker.silence.due(now):
            wrong = worker.silence.verdict(worker.pid, now)
            if wrong is not None:
                self._lost(worker, f"it {wrong}")

    # The end.

    def _end_everything(self) -> None:
        self._fail_everything(Closed("the sandbox was closed while work was waiting"))
        for worker in self._workers[:]:
            # One that is at work would see the end of the stream only after its program.
            self._end(worker, at_once=worker.ready is None or bool(worker.units))
        while self._ending:
            for fd, events in self._epoll.poll(0.05):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            self._look_after(monotonic())

    def _fail_waiting(self, error: SandboxError) -> None:
        """Fails everything that no worker has."""
        with self._lock:
            tasks = [task for problem in self._queue for task in problem.pending]
            for problem in self._queue:
                problem.pending.clear()
                problem.queued = False
            self._queue.clear()
            self._queued = 0
            self._hungry = True
        tasks += [*self._retries, *self._trials]
        self._retries.clear()
        self._trials.clear()
        for task in tasks:
            self._fail(task, error)

    def _fail_everything(self, error: SandboxError) -> None:
        self._fail_waiting(error)
        self._answer_start(error)
        for worker in self._workers:
            for unit in worker.units.values():
                for task in unit.tasks:
                    if not task.done:
                        self._fail(task, error)
            if worker.trial is not None and not worker.trial.done:
                self._fail(worker.trial, error)
        self._open_held()  # no other turn of the loop will


class _StartWaiter:
    __slots__ = ("error", "lock", "said")

    def __init__(self) -> None:
        self.error: SandboxError | None = None
        self.said: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.lock.acquire()


class _Nowhere(Sink):
    __slots__ = ()

    def deliver(self, task: Task) -> None:
        del task


_NOWHERE = _Nowhere()
CANARY_PROGRAM = b"def increment(n):\n    return n + 1\n"
CANARY_TESTS = Asserts(["assert increment(1) == 2"])
