"""One judge per node for the many processes of a training job.

verl starts eight reward workers, TRL runs one process per GPU; a sandbox in each would start eight times as many
workers as there are cores, and read every problem's tests eight times. So:

    rank 0 ─┐
    rank 1 ─┼─ Unix socket ─ judge process ─ one Sandbox ─ workers      (NodeJudge | main | acesandbox)
    rank 2 ─┘

Starting. The first user starts the judge: a process of its own, detached, which imports no torch. A file lock in the
same private directory lets one user at a time look for the socket and start what is missing. Users with other limits,
workers or fail_fast have another judge: the file's name is a digest of the options, the version and the interpreter.

Ending. Each user keeps at least one connection open as long as it lives. The judge ends `LINGER_S` after the last one
closed, whatever ended its user, and after `IDLE_S` without work. To end, it takes the same lock, looks once more for
a user at the door, and removes the socket; so nobody can be lost between finding and connecting. If the judge itself
is killed, its sandbox's workers end with it, and users start another one and ask again, once.

Talking. Frames of a length (4 bytes, big-endian) and JSON. A request holds tests and programs (a step with very long
ones makes several, one after the other); the answer comes as frames of scores in order, an empty one as a sign of life
every few seconds, and a last one. A user that hears nothing for `SILENCE_S` gives that judge up. A user that goes away
in the middle takes its waiting programs along.

Fork. A child closes its copies of the connections and makes its own.

Trust. The directory belongs to this user alone (mode 0700, checked), and both ends check each other's user id. Programs
under judgement are in jails without sight of any of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import resource
import select
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import acesandbox
from acesandbox import Asserts, IsolationUnavailable, Limits, Sandbox, SandboxError

from ._scoring import UNJUDGED, SandboxJudge, Score

DIRECTORY = "ACETRAIN_JUDGE_DIR"
LINGER_S = 10.0
IDLE_S = 1800.0
ALIVE_S = 5.0
SILENCE_S = 60.0
START_S = 120.0
BATCH_S = 0.2
MAX_FRAME = 1 << 30
REQUEST_CHARS = 64 << 20
MOST_IDLE = 8
DYING_S = 10.0  # how long a killed judge may take to vanish, on a busy machine
BUSY_S = 0.2

_LENGTH = struct.Struct(">I")

logger = logging.getLogger("acetrain")


class NodeJudge:
    """A user of the node's judge. Safe to use from many threads; makes its own connections after a fork or pickle.

    Args:
        limits: what a program may use; None: 1 s CPU per test, 2 s per program.
        workers: most programs at a time on this node; None: one per core that the first user may use.
        fail_fast: stop each program at its first test that does not pass.
        directory: where socket and lock lie; None: ACETRAIN_JUDGE_DIR, or a private one of this user's.
        linger_s: seconds that a judge stays after its last user; counts when this user starts it.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        workers: int | None = None,
        fail_fast: bool = False,
        directory: str | os.PathLike[str] | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        limits = limits or Limits(cpu_s=1.0, program_cpu_s=2.0)
        self._options = {"limits": limits.to_dict(), "workers": workers, "fail_fast": fail_fast}
        self._directory = None if directory is None else Path(directory)
        self._linger_s = linger_s
        self._met = False
        self._fresh()
        _remember(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_options", "_directory", "_linger_s")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _met=False)
        self._fresh()
        _remember(self)

    def _fresh(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    # What `score_all` calls.

    def open(self) -> NodeJudge:
        """Finds the node's judge, or starts it. Once it was found, a lost one is a matter of `scores`.

        Raises:
            IsolationUnavailable: this machine cannot judge.
            SandboxError: the judge cannot be started or reached.
        """
        if not self._met:
            try:
                self._give_back(self._connection())
            except OSError as error:
                raise SandboxError(f"the node's judge cannot be reached: {error}") from error
            self._met = True
        return self

    def scores(self, jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Score]:
        """One score per (program, tests), in order. A judge that is lost is started again once."""
        for part in _parts(jobs):
            yield from self._scores(part)

    def _scores(self, jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Score]:
        done = losses = 0
        trouble = ""
        dying_until = 0.0
        while losses < 2:
            if done == len(jobs):
                return
            before = done
            try:
                for score in self._ask(jobs[done:]):
                    yield score
                    done += 1
            except (OSError, ValueError, SandboxError) as error:
                trouble = f"{type(error).__name__}: {error}"
                logger.warning("the node's judge was lost: %s", trouble)
                self.close()  # the other connections lead to the same one
                if isinstance(error, ConnectionError) and done == before and time.monotonic() < dying_until:
                    # A killed judge takes connections until the kernel is through with it: still the first loss.
                    time.sleep(0.05)
                    continue
                losses += 1
                dying_until = time.monotonic() + DYING_S
        for _ in range(len(jobs) - done):
            yield Score(UNJUDGED, why=f"the node's judge was lost twice: {trouble}")

    def close(self) -> None:
        """Stops being a user. The next call makes it one again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        for connection in self.__dict__.get("_idle", ()):  # absent where the arguments were refused
            connection.close()

    def __enter__(self) -> NodeJudge:
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def socket_path(self) -> Path:
        """Where the judge for these options listens."""
        return _place(self._directory) / f"{self._key()}.sock"

    def pid(self) -> int:
        """Process id of the judge; finds or starts it as `open` does."""
        connection = self._connection()
        pid = _peer(connection)[0]
        self._give_back(connection)
        return pid

    # Within.

    def _key(self) -> str:
        told = [self._options, acesandbox.__version__, sys.executable]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]

    def _ask(self, jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Score]:
        connection = self._connection()
        whole = False
        try:
            _send(connection, _request(jobs))
            left = len(jobs)
            while True:
                frame = _receive(connection)
                if frame is None:
                    raise ConnectionError("it closed the connection in the middle of an answer")
                if "error" in frame:
                    raise SandboxError(str(frame["error"]))
                for values in frame.get("scores", ()):
                    left -= 1
                    if left < 0:
                        raise ValueError("it sent more scores than there were programs")
                    yield Score(*values)
                if frame.get("end"):
                    break
            if left:
                raise ValueError(f"{left} scores are missing in its answer")
            whole = True
        finally:
            if whole:
                self._give_back(connection)
            else:
                connection.close()

    def _connection(self) -> socket.socket:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if _lives(connection):
                    return connection
                connection.close()
        place = _place(self._directory)
        path = place / f"{self._key()}.sock"
        with _locked(place / f"{self._key()}.lock"):
            found = _connect(path)
            if found is None:
                _start(path, self._options, self._linger_s)
                found = _connect(path)
        if found is None:
            raise SandboxError(f"the node's judge started and cannot be reached at {path}")
        return found

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _forget(self) -> None:
        """In a forked child: the connections are the parent's."""
        for connection in self._idle:
            connection.close()
        self._fresh()


def _parts(jobs: Sequence[tuple[str, Asserts]]) -> Iterator[Sequence[tuple[str, Asserts]]]:
    """Jobs by requests of bounded size. Nearly always there is one."""
    begin = size = 0
    seen: set[int] = set()
    for end, (program, tests) in enumerate(jobs):
        more = len(program)
        if id(tests) not in seen:
            seen.add(id(tests))
            more += sum(map(len, tests._texts()))
        if size and size + more > REQUEST_CHARS:
            yield jobs[begin:end]
            begin, size, seen = end, 0, {id(tests)}
            more = len(program) + sum(map(len, tests._texts()))
        size += more
    yield jobs[begin:]


def _request(jobs: Sequence[tuple[str, Asserts]]) -> dict[str, Any]:
    problems: dict[Asserts, int] = {}
    programs = [[program, problems.setdefault(tests, len(problems))] for program, tests in jobs]
    return {"problems": [list(tests._texts()) for tests in problems], "programs": programs}


# The directory, the lock, the socket.


def _place(directory: Path | None) -> Path:
    if directory is None:
        named = os.environ.get(DIRECTORY)
        if named:
            directory = Path(named).expanduser().absolute()  # the judge does not run where its users do
        else:
            # Containers and batch systems often pass on the name of a runtime directory that is not there.
            runtime = os.environ.get("XDG_RUNTIME_DIR", "")
            if not (os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK)):
                runtime = tempfile.gettempdir()
            directory = Path(runtime) / f"acetrain-{os.getuid()}"
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
    except OSError as error:
        raise SandboxError(
            f"{directory} cannot hold the node's judge: {error.strerror}; name another directory in {DIRECTORY}"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SandboxError(
            f"{directory} must be a directory of this user's alone (mode 0700) to hold the node's judge; "
            f"remove it, or name another one in {DIRECTORY}"
        )
    if len(os.fsencode(directory)) > 80:
        raise SandboxError(f"{directory} is too long for a socket's address; name another one in {DIRECTORY}")
    return directory


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _connect(path: Path) -> socket.socket | None:
    """A connection to who listens there; None where nobody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(SILENCE_S)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    if _peer(connection)[1] != os.getuid():
        connection.close()
        raise SandboxError(f"another user listens at {path}")
    return connection


def _lives(connection: socket.socket) -> bool:
    """Whether the other end of an idle connection is there: it has nothing to say, so all there may be is the end."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return not poll.poll(0)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user id of the other end. Of a listener: those at the time it began to listen."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def _start(path: Path, options: dict[str, Any], linger_s: float) -> None:
    """Starts a judge and waits until it listens. The caller holds the lock."""
    # Appended, not PYTHONPATH: what lies next to this package must not come before the standard library.
    code = "import sys; sys.path.append(sys.argv[2]); from acetrain._node import main; main()"
    source = str(Path(__file__).resolve().parents[1])
    told = json.dumps({"path": str(path), "options": options, "linger_s": linger_s})
    with open(path.with_suffix(".log"), "wb") as log:
        # The child leaves at once and a grandchild stays, so that no user has to bury it.
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code, told, source],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    try:
        said, _ = child.communicate(timeout=START_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise SandboxError(f"the node's judge did not start within {START_S:g} s") from None
    try:
        answer = json.loads(said)
    except ValueError:
        why = path.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1:]
        raise SandboxError(f"the node's judge did not start: {''.join(why) or 'it said nothing'}") from None
    if "unavailable" in answer:
        raise IsolationUnavailable(answer["unavailable"], answer["remedies"])
    if "error" in answer:
        raise SandboxError(f"the node's judge did not start: {answer['error']}")


# Frames.


def _send(connection: socket.socket, value: object) -> None:
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    if len(data) > MAX_FRAME:
        raise ValueError(f"a request of {len(data):,} bytes; the limit is {MAX_FRAME:,}")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next frame; None at the end of the stream."""
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    size = _LENGTH.unpack(head)[0]
    if size > MAX_FRAME:
        raise ValueError(f"a frame of {size:,} bytes")
    body = _exactly(connection, size)
    if body is None:
        raise ConnectionError("the stream ends in the middle of a frame")
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("a frame that is no object")
    return value


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            if data:
                raise ConnectionError("the stream ends in the middle of a frame")
            return None
        data += part
    return bytes(data)


# The judge's side.


def main() -> None:
    """The judge process, as `_start` starts it: the first argument is JSON.

    Says on standard output, as JSON, that it listens or why it cannot, and closes it.
    """
    told = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)
    path = Path(told["path"])
    options = told["options"]
    try:
        sandbox = Sandbox(
            workers=options["workers"],
            limits=Limits(**options["limits"]),
            fail_fast=options["fail_fast"],
            keep_output=False,
        ).open()
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        listener.listen(1024)
    except IsolationUnavailable as error:
        _say({"unavailable": error.reason, "remedies": list(error.remedies)})
    except Exception as error:
        _say({"error": f"{type(error).__name__}: {error}"})
    else:
        # Many processes with many threads each may ask at once, a connection for each.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        _say({"listening": True})
        with sandbox:
            _Service(sandbox, listener, path, told["linger_s"]).run()


def _say(value: object) -> None:
    os.write(1, json.dumps(value).encode("ascii"))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # the user reads until the end of the stream
    os.close(null)


class _Service:
    """Accepts users, one thread each, until nobody is left."""

    def __init__(self, sandbox: Sandbox, listener: socket.socket, path: Path, linger_s: float) -> None:
        self._judge = SandboxJudge(sandbox)
        self._listener = listener
        self._path = path
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._users = 0
        self._working = 0
        self._last = time.monotonic()

    def run(self) -> None:
        self._listener.settimeout(min(1.0, self._linger_s / 2))
        while True:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                if self._nobody() and self._ended():
                    return
                continue
            except OSError:  # no descriptor is free: whoever knocks waits, and those inside are served
                time.sleep(BUSY_S)
                continue
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        if _peer(connection)[1] != os.getuid():
            connection.close()
            return
        connection.settimeout(None)
        with self._lock:
            self._users += 1
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError:  # no thread is free: the user will ask again
            connection.close()
            with self._lock:
                self._users -= 1
            time.sleep(BUSY_S)

    def _nobody(self) -> bool:
        with self._lock:
            quiet = time.monotonic() - self._last
            return quiet > (IDLE_S if self._users else self._linger_s) and not self._working

    def _ended(self) -> bool:
        """Removes the socket unless somebody is at the door."""
        with open(self._path.with_suffix(".lock"), "ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody looks for us right now
                return False
            self._listener.setblocking(False)
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                self._path.unlink(missing_ok=True)
                self._path.with_suffix(".log").unlink(missing_ok=True)
                self._listener.close()
                return True
            self._listener.settimeout(min(1.0, self._linger_s / 2))
            self._admit(connection)
            return False

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while (request := _receive(connection)) is not None:
                    with self._lock:
                        self._working += 1
                    try:
                        self._answer(connection, request)
                    finally:
                        with self._lock:
                            self._working -= 1
                            self._last = time.monotonic()
        except (OSError, ValueError):  # the user went away, in whatever way
            pass
        finally:
            with self._lock:
                self._users -= 1
                self._last = time.monotonic()

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> None:
        """Streams scores. One thread judges; this one sends what is ready, and signs of life."""
        ready: list[Score] = []
        changed = threading.Condition()
        state = {"end": False, "gone": False}
        trouble: list[str] = []

        def judge() -> None:
            try:
                problems = [Asserts(tests) for tests in request["problems"]]
                jobs = [(program, problems[number]) for program, number in request["programs"]]
                scores = self._judge.scores(jobs)
                for score in scores:
                    with changed:
                        ready.append(score)
                        if state["gone"]:
                            break
            except Exception as error:
                trouble.append(f"{type(error).__name__}: {error}")
            with changed:
                state["end"] = True
                changed.notify()

        thread = threading.Thread(target=judge, daemon=True)
        thread.start()
        spoke = time.monotonic()
        try:
            while True:
                with changed:
                    if not state["end"]:
                        changed.wait(BATCH_S)
                    scores, ready[:] = list(ready), []
                    end = state["end"]
                if end and trouble:
                    _send(connection, {"error": trouble[0]})
                    return
                if scores or end or time.monotonic() - spoke > ALIVE_S:
                    _send(connection, {"scores": [_values(score) for score in scores], "end": end})
                    spoke = time.monotonic()
                if end:
                    return
        finally:
            with changed:
                state["gone"] = True


def _values(score: Score) -> list[Any]:
    return [score.status, score.passed, score.tests, score.sealed, score.cpu_s, score.why]


# Fork.

_users: weakref.WeakSet[NodeJudge] = weakref.WeakSet()
_registered = False


def _remember(user: NodeJudge) -> None:
    global _registered
    _users.add(user)
    if not _registered:
        _registered = True
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    for user in list(_users):
        user._forget()
