"""One worker as the host sees it: a launcher process, its control socket, and the work in flight on it.

Everything here is called from the pool's I/O thread only. Nothing blocks: the socket is non-blocking, what cannot be
sent at once is kept, and the end of the process is an event on its pidfd.

Two things about starting it:

- `posix_spawn`, never `fork`: the host may be a trainer with CUDA, sixty threads and half the machine's memory.
- From the I/O thread, because the kernel ties PR_SET_PDEATHSIG to the *thread* that made the process: a launcher
  started from a short-lived thread of the user's would be killed when that thread ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from ._errors import ProtocolError, SandboxError
from ._uids import Lease
from ._wire import FrameReader

if TYPE_CHECKING:
    from ._pool import Task, Unit

CONTROL_FD = 3
READ_BYTES = 1 << 18
LOG_BYTES = 8192
LOOK_S = 5.0
# What a launcher is given of our environment: where it may put private directories, and what sanitizers read.
PASSED_ON = ("TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")


def launcher_path() -> str:
    """The launcher's executable.

    Raises:
        SandboxError: the native part was not built.
    """
    folder = os.environ.get("ACESANDBOX_NATIVE_DIR") or os.path.dirname(os.path.abspath(__file__))
    for path in (os.path.join(folder, "_bin", "acejail"), os.path.join(folder, "acejail")):
        if os.access(path, os.X_OK):
            return path
    raise SandboxError(
        f"there is no launcher at {folder}/_bin/acejail: this installation lacks its native part; "
        "in a source tree, run 'make native'"
    )


class Worker:
    """A launcher and what hangs on it.

    Attributes:
        ready: what the worker said about itself, once it is up.
        units: work in flight, oldest first, by unit id.
        heard: when the worker last said anything (monotonic seconds).
        solo: it runs one suspect program by itself; nothing else is sent to it.
        trial: the suspect that this worker was started for.
        stop_at, stop_signal: once it is to end: when to press it again, and with which signal.
    """

    __slots__ = (
        "_out",
        "_stderr",
        "heard",
        "lease",
        "log",
        "number",
        "open_tasks",
        "pid",
        "pidfd",
        "reader",
        "ready",
        "silence",
        "sock",
        "solo",
        "started",
        "stop_at",
        "stop_signal",
        "trial",
        "units",
    )

    def __init__(self, number: int, lease: Lease | None, command: list[str], configuration: bytes) -> None:
        self.number = number
        self.lease = lease
        self.ready: dict[str, Any] | None = None
        self.units: dict[int, Unit] = {}
        self.open_tasks = 0
        self.solo = False
        self.trial: Task | None = None
        self.reader = FrameReader()
        self.log = bytearray()
        self.started = self.heard = monotonic()
        self.silence: Silence | None = None
        self.stop_at = 0.0
        self.stop_signal = signal.SIGTERM
        self._out: deque[memoryview] = deque()
        self.sock, self.pid, self._stderr = _spawn(command)
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:  # before Linux 5.3: the pool looks now and then
            self.pidfd = -1
        self._out.append(memoryview(configuration))

    def describe(self) -> str:
        return f"worker {self.number} (launcher {self.pid})"

    # Events. The pool registers these with its epoll.

    def register(
        self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]], on_event: Any
    ) -> None:
        for fd in (self.sock.fileno(), self._stderr, self.pidfd):
            if fd >= 0:
                epoll.register(fd, select.EPOLLIN)
                handlers[fd] = lambda events, fd=fd: on_event(self, fd, events)  # type: ignore[misc]

    def unregister(self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]], fd: int) -> None:
        if handlers.pop(fd, None) is not None:
            epoll.unregister(fd)

    # The socket.

    def send(self, data: bytes, epoll: select.epoll) -> None:
        """Sends now what fits and keeps the rest."""
        waiting = bool(self._out)
        self._out.append(memoryview(data))
        if not waiting:
            self.flush(epoll, was_waiting=False)

    def flush(self, epoll: select.epoll, was_waiting: bool = True) -> None:
        """Goes on sending. A dead peer is left to the read side to notice, which also reads its last words."""
        while self._out:
            part = self._out[0]
            try:
                sent = self.sock.send(part, socket.MSG_NOSIGNAL)  # the host may not ignore SIGPIPE
            except BlockingIOError:
                break
            except OSError:
                self._out.clear()
                break
            if sent == len(part):
                self._out.popleft()
            else:
                self._out[0] = part[sent:]
        if bool(self._out) != was_waiting and self.sock.fileno() >= 0:
            epoll.modify(self.sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def receive(self) -> list[tuple[int, int, int, bytes]] | None:
        """Frames that have arrived; None at the end of the stream.

        Raises:
            ProtocolError: a frame beyond the bound.
        """
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.heard = monotonic()
        self.silence = None
        return self.reader.feed(data)

    def read_log(self) -> bool:
        """Takes what the launcher wrote to standard error; False at its end."""
        try:
            data = os.read(self._stderr, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.log += data
        del self.log[:-LOG_BYTES]
        return bool(data)

    def last_words(self) -> str:
        """The end of the launcher's standard error, for messages."""
        if self._stderr >= 0:
            waiting = select.poll()  # not select.select: the host may have more than 1024 descriptors
            waiting.register(self._stderr, select.POLLIN)
            while waiting.poll(0) and self.read_log():
                pass
        return self.log.decode("utf-8", "replace").strip()

    # The process.

    def signal(self, number: int) -> None:
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)
        except OSError:
            pass

    def reap(self) -> bool:
        """True once the launcher has ended and left the process table."""
        try:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # the host ignores SIGCHLD, or waited for somebody else's child
            return True
        return pid == self.pid

    def close_control(self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]]) -> None:
        """Ends the conversation: the supervisor sees the end of the stream and goes."""
        if self.sock.fileno() >= 0:
            self.unregister(epoll, handlers, self.sock.fileno())
            self.sock.close()
        self._out.clear()

    def dispose(self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]]) -> None:
        """Gives everything back; the process has been reaped."""
        self.close_control(epoll, handlers)
        for fd in (self._stderr, self.pidfd):
            if fd >= 0:
                self.unregister(epoll, handlers, fd)
                os.close(fd)
        self._stderr = self.pidfd = -1
        if self.lease is not None:
            self.lease.release()

    def stderr_fd(self) -> int:
        return self._stderr

    def drop_log(self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]]) -> None:
        self.unregister(epoll, handlers, self._stderr)
        os.close(self._stderr)
        self._stderr = -1

    def forget(self) -> None:
        """In a forked child: closes our copies of the descriptors and touches nothing that belongs to the parent."""
        self.sock.close()
        for fd in (self._stderr, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._stderr = self.pidfd = -1
        if self.lease is not None:
            self.lease.release()


def _spawn(command: list[str]) -> tuple[socket.socket, int, int]:
    """Starts a launcher; returns our end of its control socket, its pid, and the read end of its standard error."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    log_read, log_write = os.pipe()
    high: list[int] = []
    try:
        # The host may have closed 0, 1 or 2, so that any descriptor may be any number. Copies above those that are
        # put into place cannot be overwritten while they are.
        for fd in (theirs.fileno(), log_write):
            high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16))
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        pid = os.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, high[1], 2),
                (os.POSIX_SPAWN_DUP2, high[0], CONTROL_FD),
            ],
            setpgroup=0,  # the terminal's Ctrl-C is for the host, which then closes its sandboxes
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except BaseException:
        ours.close()
        os.close(log_read)
        raise
    finally:
        theirs.close()
        os.close(log_write)
        for fd in high:
            os.close(fd)
    ours.setblocking(False)
    os.set_blocking(log_read, False)
    return ours, pid, log_read


class Silence:
    """Decides whether a worker that says nothing is busy or stuck, in a way that load on the machine does not change.

    The supervisor enforces all limits, so a healthy worker speaks in time. This watch is for a broken one. It looks
    at the processor time that the worker's processes have used, and waited for, since the worker last spoke:

    - more processor time than the programs and tests in question may use, twice over: it does not keep its limits;
    - neither used nor waited for more than a twentieth of a stretch of time: that stretch counts as standing still, and
      such stretches add up to more than sleeping programs are allowed: it hangs.

    On a machine too busy to run it, a worker waits for a processor, which counts as neither.
    """

    __slots__ = ("_activity", "_at", "_busy", "_busy_bound", "_still", "_still_bound")

    def __init__(self, pid: int, busy_bound: float, still_bound: float, now: float) -> None:
        self._busy_bound = busy_bound
        self._still_bound = still_bound
        self._busy = 0.0
        self._still = 0.0
        self._at = now
        self._activity = activity(pid)

    def due(self, now: float) -> bool:
        """Looking costs a walk through /proc, so it is done every few seconds only."""
        return now - self._at >= LOOK_S

    def verdict(self, pid: int, now: float) -> str | None:
        """None while all is well, else what is wrong."""
        used, waited = activity(pid)
        elapsed = now - self._at
        busy = max(used - self._activity[0], 0.0)
        queued = max(waited - self._activity[1], 0.0)
        self._activity, self._at = (used, waited), now
        self._busy += busy
        if busy + queued < elapsed / 20:
            self._still += elapsed
        if self._busy > self._busy_bound:
            return f"used {self._busy:.0f} s of processor time without a word; at most {self._busy_bound:.0f} s are due"
        if self._still > self._still_bound:
            return f"stood still for {self._still:.0f} s; at most {self._still_bound:.0f} s are due"
        return None


def activity(pid: int) -> tuple[float, float]:
    """Processor seconds used by a process and all below it, those already gone included; and seconds queued for one."""
    import psutil

    used = waited = 0.0
    try:
        tree = [psutil.Process(pid)]
        tree += tree[0].children(recursive=True)
    except psutil.Error:
        return 0.0, 0.0
    for process in tree:
        try:
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
            with open(f"/proc/{process.pid}/schedstat", encoding="ascii") as file:
                waited += int(file.read().split()[1]) / 1e9
        except (psutil.Error, OSError, ValueError, IndexError):
            continue
    return used, waited


def parse_ready(payload: bytes) -> dict[str, Any]:
    """What a worker says about itself when it is up.

    Raises:
        ProtocolError: not a JSON object.
    """
    try:
        said = json.loads(payload)
    except ValueError as error:
        raise ProtocolError(f"a worker introduced itself in a way that cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise ProtocolError(f"a worker introduced itself in a way that cannot be read: {payload[:200]!r}")
    return said
