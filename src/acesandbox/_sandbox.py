"""The public face: `Sandbox`. It checks what it is given, turns it into tasks, and waits for outcomes.

All state that matters is in the pool (`_pool.py`), which is made on first use and belongs to the process that made it.
A `Sandbox` that arrives in another process, by pickle or by fork, makes a pool of its own there when it is first used;
that is all there is to working under `datasets.map(num_proc=…)`, `multiprocess` or Ray.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _cpus, _interpreter, _uids
from ._errors import BadInput, Closed, IsolationUnavailable, SandboxError, Unsealed
from ._limits import WORKER_LEVEL, Limits, differing_worker_limits
from ._pool import Gate, Pool, Problem, Sink, Task, forget_all
from ._tests import Tests, text_bytes
from ._verdict import RunResult, Verdict
from ._wire import MAX_TO_WORKER, PROTOCOL, config_frame
from ._worker import launcher_path

if TYPE_CHECKING:
    from concurrent.futures import Future

    Job = tuple[str, Tests] | tuple[str, Tests, Limits | None]

ISOLATIONS = ("namespaces", "seccomp", "best", "none")
PROFILES = _interpreter.PROFILES
SYSTEM_PROCESSES = 32
UNSEALED = ("allow", "fail", "error")
MAX_WORKERS = 1024
MAX_HASH_SEED = (1 << 32) - 1
WINDOW_PER_WORKER = 256
WINDOW_BYTES = 128 << 20
RECENT_PROBLEMS = 32
MAX_PATH_BYTES = 511  # native/jail/program.c has room for no more
MAX_NAME_BYTES = 255  # NAME_MAX
MAX_FOLDERS = 63  # native/jail/scratch.c allows 64, and the working directory is one of them


class Sandbox:
    """Judges programs in jails of its own making.

    Workers are separate processes, one per usable core, started when work arrives. A `Sandbox` is safe to use from many
    threads. It can be pickled: the copy has the same configuration and its own workers. It closes at the end of a
    `with` block, when it is collected, and when the process ends, in whatever way.

    Args:
        workers: most workers at a time; None: the cores this process may use, its cgroup's CPU quota included.
        limits: what a program may use. Jobs may bring their own, except for limits that shape a worker's jail
            (processes, threads, scratch_mb, scratch_files, file_mb, open_files).
        isolation: "namespaces" (default), "seccomp" (where namespaces are forbidden), "best" (the stronger of the
            two that the machine offers; `tier` says which), or "none", for debugging only: no isolation at all.
        python: the interpreter that runs programs, CPython 3.9 or newer, *with* its site-packages. None: the running
            one with its standard library only, since packages installed next to a trainer may hold solutions.
        preload: modules that programs find imported already, e.g. ("numpy",). Saves their import per program.
        unsealed: what to do with a test that can only be judged in the program's own process, where the program could
            forge it: "allow" (judge, and say `sealed=False`), "fail" (count it as not passed), or "error" (raise).
        fail_fast: stop at the first test that is not passed; the rest is `not_run`. What a binary reward needs.
        profile: what a program may use beside the interpreter and a /tmp of its own. "compute" (default): nothing.
            "system": processes, the machine's programs (read-only /usr/bin and /bin), TCP, UDP and Unix sockets on a
            loopback network of its own, shared memory, and a /proc of its own; needs the `namespaces` tier and
            `Limits(processes=...)` above 0, which it is by default then. No profile leads out of the jail.
        keep_output: keep what programs print, capped at `output_kb`, in `Verdict.stdout` and `.stderr`.
        pin: bind each worker to a core of its own.
        hash_seed: seed of programs' hashes of texts, and so of the order of their sets, from 0 (no randomization) to
            4294967295. It stays the same so that verdicts do. A verdict that changes with it depends on the order of
            a set: judge with two seeds to find such programs and tests.

    Raises:
        BadInput: a bad argument. What the machine cannot give is raised on first use, or by `open`.
    """

    def __init__(
        self,
        workers: int | None = None,
        limits: Limits | None = None,
        isolation: str = "namespaces",
        python: str | os.PathLike[str] | None = None,
        preload: Sequence[str] = (),
        *,
        unsealed: str = "allow",
        fail_fast: bool = False,
        profile: str = "compute",
        keep_output: bool = True,
        pin: bool = False,
        hash_seed: int = 0,
    ) -> None:
        if workers is not None and (
            isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS
        ):
            raise BadInput(f"workers must be None or a whole number from 1 to {MAX_WORKERS}, not {workers!r}")
        if profile not in PROFILES:
            raise BadInput(f"profile={profile!r} is unknown; there are {', '.join(PROFILES)}")
        if limits is None:
            limits = default_limits(profile)
        if not isinstance(limits, Limits):
            raise BadInput(f"limits must be Limits(...), not {type(limits).__name__}")
        if profile == _interpreter.SYSTEM and limits.processes == 0:
            raise BadInput(
                f"profile={profile!r} lets programs start others: say how many with Limits(processes=...), e.g. "
                f"{SYSTEM_PROCESSES}, which is the default where no limits are given"
            )
        if isolation not in ISOLATIONS:
            raise BadInput(f"isolation={isolation!r} is unknown; there are {', '.join(ISOLATIONS)}")
        if unsealed not in UNSEALED:
            raise BadInput(f"unsealed={unsealed!r} is unknown; there are {', '.join(UNSEALED)}")
        if (
            isinstance(hash_seed, bool)
            or not isinstance(hash_seed, int)
            or not 0 <= hash_seed <= MAX_HASH_SEED
        ):
            raise BadInput(f"hash_seed must be a whole number from 0 to {MAX_HASH_SEED}, not {hash_seed!r}")
        if isinstance(preload, str):
            raise BadInput(f"preload must be a list of module names, not one str: [{preload!r}]")
        for module in preload:
            if not isinstance(module, str) or not all(part.isidentifier() for part in module.split(".")):
                raise BadInput(f"preload must be module names, not {module!r}")
        self._options: dict[str, Any] = {
            "workers": workers,
            "limits": limits,
            "isolation": isolation,
            "python": None if python is None else os.fspath(python),
            "preload": tuple(preload),
            "unsealed": unsealed,
            "fail_fast": bool(fail_fast),
            "profile": profile,
            "keep_output": bool(keep_output),
            "pin": bool(pin),
            "hash_seed": hash_seed,
        }
        self._limits = limits
        self._size = workers
        self._closed = False
        self._pool: Pool | None = None
        self._recent: dict[tuple[Tests, Limits | None], Problem] = {}
        self._pool_lock = threading.RLock()  # a signal handler may close what the same thread is opening
        _remember(self)

    # Life.

    def open(self) -> Sandbox:
        """Starts the first worker now, rather than on first use. Returns itself.

        Raises:
            IsolationUnavailable: this machine does not offer the isolation that was asked for.
            BadInput: `python` is not an interpreter that can be jailed.
            Closed: it was closed.
        """
        self._opened()
        return self

    def close(self) -> None:
        """Ends all workers; what is waiting fails with `Closed`. Idempotent."""
        self._closed = True
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def __enter__(self) -> Sandbox:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_options, (self._options,)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._options.items() if name != "limits")
        return f"Sandbox({shown})"

    @property
    def workers(self) -> int:
        """Most workers at a time."""
        if self._size is None:
            self._size = _cpus.usable() if sys.platform == "linux" else 1
        return self._size

    @property
    def limits(self) -> Limits:
        """The limits of jobs that bring none of their own."""
        return self._limits

    @property
    def tier(self) -> str:
        """The isolation in force: "namespaces", "seccomp" or "none". Opens the sandbox if need be."""
        return self._opened().tier

    def describe(self) -> dict[str, Any]:
        """What a worker said about itself: tier, mechanisms in force, pids. Opens the sandbox if need be."""
        return dict(self._opened().start())

    # Judging.

    def judge(self, program: str, tests: Tests, *, limits: Limits | None = None) -> Verdict:
        """Judges one program and waits for the verdict.

        Args:
            program: Python source.
            tests: `Asserts`, `CheckScript`, `UnitTests`, `Stdio` or `Functional`.
            limits: instead of the sandbox's.

        Raises:
            SandboxError: it could not be judged; that says nothing about the program.
            BadInput: not something that can be judged.
        """
        pool = self._opened()
        task = Task(self._problem(tests, limits), _program_bytes(program), gate := Gate(pool))
        self._wait(pool, task, gate)
        return self._checked(task.result())

    def submit(self, program: str, tests: Tests, *, limits: Limits | None = None) -> Future[Verdict]:
        """As `judge`, without waiting. A future that is cancelled before its program was sent costs nothing.

        The queue is not bounded: for more programs than fit into memory there is `judge_many`.
        """
        from concurrent.futures import Future

        pool = self._opened()
        future: Future[Verdict] = Future()
        task = Task(self._problem(tests, limits), _program_bytes(program), _FutureSink(future, self._checked))
        pool.put(task.problem, (task,))
        return future

    async def ajudge(self, program: str, tests: Tests, *, limits: Limits | None = None) -> Verdict:
        """As `judge`, for asyncio. The event loop is not blocked, except to open a sandbox that is not open yet."""
        import asyncio

        return await asyncio.wrap_future(self.submit(program, tests, limits=limits))

    def judge_many(
        self,
        jobs: Iterable[Job],
        *,
        dedupe: bool = True,
        return_errors: bool = False,
        window: int | None = None,
    ) -> Iterator[Verdict]:
        """Judges a stream of programs; yields verdicts in the order of the jobs, in bounded memory.

        Jobs are taken from the iterable as room becomes free. Neighbours with equal tests and limits are judged
        together, which saves reading the tests anew: keep the programs of one problem next to each other.

        Args:
            jobs: (program, tests) or (program, tests, limits) each.
            dedupe: judge an equal program for the same tests once while it is in the window.
            return_errors: yield a `SandboxError` in the place of a verdict that could not be had, rather than
                raise it and end the stream.
            window: most jobs taken and not yet yielded; None: 256 per worker. Fewer are taken while their programs and
                tests exceed 128 MB together.

        Raises:
            SandboxError: a job could not be judged, and `return_errors` is off.
            BadInput: a job is not something that can be judged; earlier verdicts have been yielded.
        """
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            raise BadInput(f"window must be a whole number from 1 up, not {window!r}")
        return self._stream(iter(jobs), dedupe, return_errors, window or WINDOW_PER_WORKER * self.workers)

    def run(
        self,
        program: str,
        stdin: str | bytes = "",
        files: Mapping[str, str | bytes] | None = None,
        args: Sequence[str] = (),
        *,
        limits: Limits | None = None,
    ) -> RunResult:
        """Runs a whole script, as `python program.py args…` in an empty directory, and returns its output.

        Args:
            program: Python source; runs as `__main__`.
            stdin: what it reads from standard input.
            files: relative path to content; put into its working directory beforehand, so `file_mb`, `scratch_mb` and
                `scratch_files` hold for them too.
            args: `sys.argv[1:]`.
            limits: instead of the sandbox's. `cpu_s` is for the whole run.

        Raises:
            SandboxError: it could not be run.
            BadInput: wrong types, a path that leads out of the directory, or files that the limits leave no room for.
        """
        pool = self._opened()
        source = _program_bytes(program)
        options = json.dumps({"args": [_argument(arg) for arg in args]}).encode("ascii")
        given = stdin if isinstance(stdin, bytes) else text_bytes(stdin, "stdin")
        listed = [(_relative_path(path), _content(content, path)) for path, content in (files or {}).items()]
        total = len(source) + len(given) + sum(len(content) for _, content in listed)
        if total > MAX_TO_WORKER // 2:
            raise BadInput(
                f"program, stdin and files are {total:,} bytes; the limit is {MAX_TO_WORKER // 2:,}"
            )
        effective = self._effective(limits)
        _check_files(listed, effective)
        problem = Problem(
            None,
            effective,
            fail_fast=False,
            keep_output=True,
            unsealed="allow",
            script=(options, given, listed),
        )
        task = Task(problem, source, gate := Gate(pool))
        self._wait(pool, task, gate)
        return RunResult(task.result())

    # Within.

    def _opened(self) -> Pool:
        pool = self._pool
        if pool is not None and not pool.forgotten:
            return pool
        with self._pool_lock:
            self._check_open()
            pool = self._pool
            if pool is None or pool.forgotten:
                pool = self._start_pool()
                try:
                    self._check_open()
                except Closed:
                    pool.close()
                    raise
                self._pool = pool
            return pool

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the sandbox is closed")

    def _start_pool(self) -> Pool:
        if sys.platform != "linux":
            raise IsolationUnavailable(
                f"programs can be judged on Linux only; this is {sys.platform}",
                ["use a Linux machine, a virtual machine, or a container"],
            )
        asked = self._options["isolation"]
        tiers = ("namespaces", "seccomp") if asked == "best" else (asked,)
        interpreter = _interpreter.find(self._options["python"])
        command = [launcher_path()]
        reasons: list[IsolationUnavailable] = []
        for tier in tiers:
            configure = _Configuration(self._options, interpreter, tier)
            pool = Pool(self.workers, command, configure, tier, self._limits)
            # Garbage is collected anywhere, and what a signal's handler raises there is lost: nobody waits.
            finalizer = weakref.finalize(self, Pool.close, pool, wait=False)
            try:
                pool.start()
            except IsolationUnavailable as error:
                reasons.append(error)
            except BaseException:
                finalizer.detach()
                pool.close()
                raise
            else:
                return pool
            finalizer.detach()
            pool.close()
        if len(reasons) == 1:
            raise reasons[0]
        raise IsolationUnavailable(
            "; ".join(error.reason for error in reasons),
            [remedy for error in reasons for remedy in error.remedies],
        )

    def _effective(self, limits: Limits | None) -> Limits:
        if limits is None:
            return self._limits
        if not isinstance(limits, Limits):
            raise BadInput(f"limits must be Limits(...), not {type(limits).__name__}")
        differing = differing_worker_limits(limits, self._limits)
        if differing:
            raise BadInput(
                f"{differing[0]}: {', '.join(WORKER_LEVEL)} shape the worker's jail; set them on the Sandbox, "
                "or use another Sandbox for these jobs"
            )
        if limits.memory_mb > self._limits.memory_mb:
            raise BadInput(
                f"memory_mb={limits.memory_mb} is more than the sandbox's {self._limits.memory_mb}, "
                "which bounds its workers; raise it on the Sandbox"
            )
        return limits

    def _problem(self, tests: Tests, limits: Limits | None) -> Problem:
        if not isinstance(tests, Tests):
            raise BadInput(
                f"tests must be Asserts, CheckScript, UnitTests, Stdio or Functional, not {type(tests).__name__}"
            )
        key = (tests, limits)
        problem = self._recent.get(key)
        if problem is None:
            options = self._options
            problem = Problem(
                tests,
                self._effective(limits),
                fail_fast=options["fail_fast"],
                keep_output=options["keep_output"],
                unsealed=options["unsealed"],
            )
            # Programs of one problem that come one by one, from several threads, still travel together.
            if len(self._recent) >= RECENT_PROBLEMS:
                self._recent = {}
            self._recent[key] = problem
        return problem

    def _wait(self, pool: Pool, task: Task, gate: Gate) -> None:
        _not_in_a_callback(pool)
        pool.put(task.problem, (task,))
        try:
            gate.wait(task)
        except BaseException:
            gate.abandon()
            raise

    def _checked(self, verdict: Verdict) -> Verdict:
        if self._options["unsealed"] == "error" and not verdict.sealed:
            number, test = next(
                ((n, test) for n, test in enumerate(verdict.tests) if not test.sealed), (0, verdict.tests[0])
            )
            raise Unsealed(f"tests[{number}] cannot be judged sealed: {test.why or 'no reason was given'}")
        return verdict

    def _stream(
        self, jobs: Iterator[Job], dedupe: bool, return_errors: bool, window: int
    ) -> Iterator[Verdict]:
        pool = self._opened()
        _not_in_a_callback(pool)
        gate = Gate(pool, patient=True)
        waiting: deque[tuple[Task, int]] = (
            deque()
        )  # with the bytes that each keeps in memory, its tests' included
        size = 0
        problem: Problem | None = None
        given: tuple[Tests, Limits | None] | None = None
        known: dict[bytes, Task] = {}
        exhausted = False
        trouble: Exception | None = None
        refilling = True
        try:
            while waiting or not exhausted:
                if not exhausted and refilling and not (waiting and waiting[0][0].done):
                    try:
                        job = next(jobs)
                        program, tests, limits = _job(job)
                        data = _program_bytes(program)
                        cost = len(data)
                        if (
                            problem is None
                            or given is None
                            or not ((tests is given[0] or tests == given[0]) and limits == given[1])
                        ):
                            problem = self._problem(tests, limits)
                            given = (tests, limits)
                            known = {}
                            cost += problem.size
                    except StopIteration:
                        exhausted = True
                        continue
                    except Exception as error:  # yield what came before it first
                        exhausted, trouble = True, error
                        continue
                    task = known.get(data) if dedupe else None
                    if task is None:
                        task = Task(problem, data, gate)
                        if dedupe:
                            known[data] = task
                        pool.put(problem, (task,))
                    waiting.append((task, cost))
                    size += cost
                    refilling = len(waiting) < window and size < WINDOW_BYTES
                    continue
                task, cost = waiting[0]
                gate.wait(task)
                waiting.popleft()
                size -= cost
                refilling = refilling or (len(waiting) <= window // 2 and size <= WINDOW_BYTES // 2)
                if dedupe and not (waiting and waiting[0][0] is task) and known.get(task.program) is task:
                    del known[task.program]
                try:
                    verdict = self._checked(task.result())
                except SandboxError as error:
                    if not return_errors:
                        raise
                    yield error  # type: ignore[misc]  # what return_errors asks for
                else:
                    yield verdict
            if trouble is not None:
                raise trouble
        finally:
            gate.abandon()


def _not_in_a_callback(pool: Pool) -> None:
    if pool.in_io_thread():
        raise SandboxError(
            "judging from a future's callback would wait for itself; use submit, or another thread"
        )


class _Configuration:
    """Makes the `C` frame of worker number n. Holds no reference to the sandbox, so that it can be collected."""

    def __init__(self, options: dict[str, Any], interpreter: _interpreter.Interpreter, tier: str) -> None:
        limits: Limits = options["limits"]
        view = _interpreter.view(interpreter, tier, options["hash_seed"], options["profile"])
        guest = {
            "site": view.site,
            "preload": options["preload"],
            "processes": limits.processes,
            "memory_mb": limits.memory_mb,
        }
        self._entries = [
            ("protocol", str(PROTOCOL)),
            ("tier", tier),
            ("profile", options["profile"]),
            *(("ro", f"{inside}\x1f{outside}") for inside, outside in view.ro),
            *(("link", f"{inside}\x1f{target}") for inside, target in view.links),
            *(("text", f"{path}\x1f{content}") for path, content in view.texts),
            ("python", view.python),
            *(("env", f"{name}={value}") for name, value in view.env.items()),
            ("guest", json.dumps(guest)),
            ("scratch_mb", str(limits.scratch_mb)),
            ("scratch_inodes", str(limits.scratch_files)),
            ("memory_mb", str(limits.memory_mb)),
            ("threads", str(limits.threads)),
            ("processes", str(limits.processes)),
            ("nofile", str(limits.open_files)),
            ("file_mb", str(limits.file_mb)),
            ("cgroup", "auto"),
        ]
        self._has_accounts = bool(view.texts)
        self._pin = sorted(os.sched_getaffinity(0)) if options["pin"] else []

    def __call__(self, number: int) -> tuple[bytes, _uids.Lease | None]:
        entries = list(self._entries)
        lease = None
        if os.geteuid() == 0:
            lease = _uids.take()
            entries += [("uid", str(lease.uid)), ("gid", str(lease.uid))]
        else:
            entries += [("uid", str(os.geteuid())), ("gid", str(os.getegid()))]
        if self._has_accounts:
            accounts = _interpreter.accounts(lease.uid if lease else None)
            entries += [("text", f"{path}\x1f{content}") for path, content in accounts]
        if self._pin:
            entries.append(("cpu", str(self._pin[number % len(self._pin)])))
        return config_frame(entries), lease


def default_limits(profile: str) -> Limits:
    """The limits of a sandbox that was given none."""
    return Limits(processes=SYSTEM_PROCESSES if profile == _interpreter.SYSTEM else 0)


class _FutureSink(Sink):
    __slots__ = ("_check", "_future", "_started")

    def __init__(self, future: Future[Verdict], check: Any) -> None:
        self._future = future
        self._check = check
        self._started = False

    def wanted(self, task: Task) -> bool:
        del task
        if not self._started:  # a program that is sent again has been asked about already
            self._started = bool(self._future.set_running_or_notify_cancel())
        return self._started

    def deliver(self, task: Task) -> None:
        if not self._started and not self._future.set_running_or_notify_cancel():
            return
        try:
            verdict = self._check(task.result())
        except Exception as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(verdict)


def _job(job: Any) -> tuple[str, Tests, Limits | None]:
    if isinstance(job, (tuple, list)) and len(job) in (2, 3):
        return job[0], job[1], job[2] if len(job) == 3 else None
    raise BadInput(f"a job is (program, tests) or (program, tests, limits), not {type(job).__name__}")


def _program_bytes(program: object) -> bytes:
    return text_bytes(program, "the program")


def _argument(arg: object) -> str:
    if not isinstance(arg, str):
        raise BadInput(f"args must be str, not {type(arg).__name__}: {arg!r}")
    if "\0" in arg:
        raise BadInput(f"an argument holds a NUL character, which no command line can: {arg!r}")
    return arg


def _content(content: object, path: str) -> bytes:
    if isinstance(content, bytes):
        return content
    return text_bytes(content, f"the content of {_shown(path)}")


def _relative_path(path: object) -> bytes:
    if not isinstance(path, str):
        raise BadInput(f"a file's path must be str, not {type(path).__name__}")
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise BadInput(f"a file's path must be relative and stay inside the directory, not {_shown(path)}")
    try:
        encoded = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadInput(
            f"a file's path must be text that UTF-8 has, not {_shown(path)}: it holds a lone surrogate"
        ) from None
    if len(encoded) > MAX_PATH_BYTES or max(map(len, encoded.split(b"/"))) > MAX_NAME_BYTES:
        raise BadInput(
            f"a file's path may have {MAX_PATH_BYTES} bytes, and each name in it {MAX_NAME_BYTES}; {_shown(path)} "
            "has more: shorten it"
        )
    if len(parts) > MAX_FOLDERS + 1:
        raise BadInput(
            f"a file may be {MAX_FOLDERS} folders deep, and {_shown(path)} is {len(parts) - 1} deep"
        )
    return encoded


def _check_files(listed: Sequence[tuple[bytes, bytes]], limits: Limits) -> None:
    """Refuses what the jail could not write: found out there, it would look like a fault of the program.

    Raises:
        BadInput: says which file or which limit.
    """
    names, folders = set(), set()
    page = os.sysconf("SC_PAGE_SIZE")
    room = 0
    for name, content in listed:
        if name in names:  # two texts may have the same bytes
            raise BadInput(f"files: {_shown(name)} is there twice")
        names.add(name)
        if len(content) > limits.file_mb << 20:
            raise BadInput(
                f"files: {_shown(name)} has {len(content):,} bytes, and a file may have {limits.file_mb} MB: "
                "raise Limits.file_mb (--file-mb)"
            )
        room += -(-len(content) // page) * page  # a file takes whole pages of a tmpfs
        slash = name.find(b"/")
        while slash >= 0:
            folders.add(name[:slash])
            slash = name.find(b"/", slash + 1)
    for both in names & folders:
        raise BadInput(f"files: {_shown(both)} is a file, and also the folder of another file")
    entries = len(names) + len(folders) + 1  # the directory itself is one of the tmpfs's
    if listed and entries > limits.scratch_files:
        raise BadInput(
            f"files: {len(names):,} files, their {len(folders):,} folders and the working directory are more than "
            f"the {limits.scratch_files:,} that it has room for: raise Limits.scratch_files (--scratch-files)"
        )
    if room > limits.scratch_mb << 20:
        raise BadInput(
            f"files: they take {room:,} bytes in whole pages, and all files together may take {limits.scratch_mb} MB: "
            "raise Limits.scratch_mb (--scratch-mb)"
        )


def _shown(path: str | bytes) -> str:
    """A path for a message: whoever chose it does not choose how long the message is."""
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _from_options(options: dict[str, Any]) -> Sandbox:
    return Sandbox(**options)


# Fork. The child of a fork has copies of our descriptors and none of our threads. It gives the copies up, so that a
# worker sees the end of the stream when the parent closes it, and makes workers of its own if it needs any.

_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_registered = False


def _remember(sandbox: Sandbox) -> None:
    global _registered
    _sandboxes.add(sandbox)
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    for sandbox in list(_sandboxes):
        sandbox._pool_lock = threading.RLock()
        sandbox._recent = {}
        sandbox._pool = None
    forget_all()
