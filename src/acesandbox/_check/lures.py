"""Things on the host that no jailed program may touch, and the means to tell whether one did.

A file anybody on the host may read and one that only its owner may, listening sockets of four kinds, System V and POSIX
shared memory, a queue, a variable in the environment, and a process in the host's own process group that notes every
signal it gets. All carry one fresh tag, so that traces can be told from other people's files.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from .._interpreter import SYSTEM_FILES
from .records import SECRET_PREFIX

_ENVIRONMENT_NAME = "ACE_CHECK_LURE"

# SIGURG: ignored by default, so whoever else is hit takes no harm. The process reports ready, then every hit.
_WATCHMAN = """
import os, signal, sys
signal.signal(signal.SIGURG, lambda *_: os.write(1, b"hit "))
os.write(1, b"ready ")
os.read(0, 1)
"""

_IPC_CREAT, _IPC_RMID = 0o1000, 0


class Lures:
    """Set up on entry, removed on exit. `values` is what attacks are told; `touched()` what has happened so far."""

    def __init__(self, alone: bool = False, profile: str = "compute") -> None:
        """`alone`: the host's processes live in a pid namespace of their own, so attacks may signal every number.

        `profile`: attacks are told which it is, since some of what one holds back another gives.
        """
        self._alone = alone
        self._profile = profile
        self._undo = contextlib.ExitStack()
        self.values: dict[str, str | int] = {}

    def __enter__(self) -> Lures:
        with contextlib.ExitStack() as undo:
            tag = secrets.token_hex(8)
            self._tag = tag
            self._secret = SECRET_PREFIX + secrets.token_hex(16)
            self._make_files(undo)
            self._make_sockets(undo)
            self._make_ipc(undo)
            self._start_watchman(undo)
            os.environ[_ENVIRONMENT_NAME] = self._secret
            undo.callback(os.environ.pop, _ENVIRONMENT_NAME, None)
            self._nice = self._niceness()
            self._settings = self._kernel_settings()
            user = pwd.getpwuid(os.getuid()).pw_name if _has_name(os.getuid()) else ""
            self.values.update(
                tag=tag,
                secret=self._secret,
                parent=os.getpid(),
                # 0: led by a process of an outer pid namespace. To an attack 0 is its own group.
                group=os.getpgrp() or os.getpid(),
                user="" if user == "root" else user,
                home=str(Path.home()) if Path.home() != Path("/") else "",
                node=os.uname().nodename,
                alone=int(self._alone),
                profile=self._profile,
                made_hosts=SYSTEM_FILES["/etc/hosts"],
            )
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def touched(self) -> list[str]:
        """What somebody did to the lures since they were set up, in words; empty is as it should be."""
        found = [f"somebody reached the host's {name} socket" for name, hit in self._hits() if hit]
        if self._watchman.poll() is not None:
            found.append(f"the host's process ended with {self._watchman.returncode}")
        elif _read_ready(self._watchman_output):
            found.append("the host's process got a signal")
        if self._niceness() != self._nice:
            found.append(f"priorities of the host changed from {self._nice} to {self._niceness()}")
        if self._kernel_settings() != self._settings:
            found.append("settings of the kernel changed")
        for path in (self._file, self._private, self._shm):
            try:
                if path.read_text() != self._secret:
                    found.append(f"{path} was changed")
            except OSError as error:
                found.append(f"{path}: {error.strerror}")
        if len(list(self._folder.iterdir())) != 3:
            found.append(f"files in {self._folder} came or went")
        for place in {"/", "/tmp", "/var/tmp", "/dev/shm", os.getcwd(), str(Path.home())}:
            mark = Path(place) / f"ace-corpus-{self._tag}"
            if mark.exists():
                found.append(f"{mark} was made")
                mark.unlink()
        return found

    # Making.

    def _make_files(self, undo: contextlib.ExitStack) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=f"ace-lure-{self._tag}-"))
        undo.callback(shutil.rmtree, self._folder, True)
        self._folder.chmod(0o755)
        self._file = self._folder / f"lure-{self._tag}"
        self._private = self._folder / f"private-{self._tag}"
        shm = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else self._folder.parent
        self._shm = shm / f"ace-lure-shm-{self._tag}"
        for path, mode in ((self._file, 0o644), (self._private, 0o600), (self._shm, 0o644)):
            path.write_text(self._secret)
            path.chmod(mode)
        undo.callback(self._shm.unlink, True)
        self.values.update(
            folder=str(self._folder),
            file=str(self._file),
            private_file=str(self._private),
            shm_file=str(self._shm),
        )

    def _make_sockets(self, undo: contextlib.ExitStack) -> None:
        def bound(family: int, kind: int, address: object) -> socket.socket:
            made = undo.enter_context(socket.socket(family, kind))
            made.bind(address)  # type: ignore[arg-type]
            made.setblocking(False)
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        path = str(self._folder / "socket")
        tcp = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        udp = bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        names = {"abstract_stream": f"ace-lure-s-{self._tag}", "abstract_datagram": f"ace-lure-d-{self._tag}"}
        self._sockets = {
            "TCP": tcp,
            "UDP": udp,
            "UNIX": bound(socket.AF_UNIX, socket.SOCK_STREAM, path),
            "abstract": bound(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + names["abstract_stream"]),
            "abstract datagram": bound(socket.AF_UNIX, socket.SOCK_DGRAM, "\0" + names["abstract_datagram"]),
        }
        os.chmod(path, 0o777)
        self.values.update(
            names, unix_path=path, tcp_port=tcp.getsockname()[1], udp_port=udp.getsockname()[1]
        )

    def _make_ipc(self, undo: contextlib.ExitStack) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        key = 0x41430000 | secrets.randbelow(1 << 16)
        segment = libc.shmget(key, 4096, _IPC_CREAT | 0o666)
        if segment >= 0:
            undo.callback(libc.shmctl, segment, _IPC_RMID, None)
        queue = libc.msgget(key, _IPC_CREAT | 0o666)
        if queue >= 0:
            undo.callback(libc.msgctl, queue, _IPC_RMID, None)
        self.values.update(shm_id=segment, shm_key=key, msg_key=key if queue >= 0 else 0)

    def _start_watchman(self, undo: contextlib.ExitStack) -> None:
        self._watchman = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHMAN, self._tag],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._watchman.stdin is not None and self._watchman.stdout is not None
        undo.callback(self._stop_watchman)
        self._watchman_output = self._watchman.stdout.fileno()
        if os.read(self._watchman_output, 6) != b"ready ":
            raise RuntimeError("the process that watches for signals did not start")
        os.set_blocking(self._watchman_output, False)
        self.values["pid"] = self._watchman.pid

    def _stop_watchman(self) -> None:
        self._watchman.kill()
        self._watchman.wait()
        for pipe in (self._watchman.stdin, self._watchman.stdout):
            if pipe is not None:
                pipe.close()

    # Looking.

    def _hits(self) -> list[tuple[str, bool]]:
        found = []
        for name, listening in self._sockets.items():
            try:
                if listening.type == socket.SOCK_STREAM:
                    listening.accept()[0].close()
                else:
                    listening.recv(100)
                found.append((name, True))
            except BlockingIOError:
                found.append((name, False))
        return found

    def _niceness(self) -> tuple[int, int]:
        try:
            return os.getpriority(os.PRIO_PROCESS, self._watchman.pid), os.getpriority(os.PRIO_PROCESS, 0)
        except ProcessLookupError:
            return 0, os.getpriority(os.PRIO_PROCESS, 0)

    @staticmethod
    def _kernel_settings() -> tuple[str, ...]:
        found = []
        for name in ("core_pattern", "hostname", "domainname", "randomize_va_space"):
            try:
                found.append(Path("/proc/sys/kernel", name).read_text())
            except OSError:
                found.append("")
        return tuple(found)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _read_ready(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""
