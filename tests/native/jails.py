"""Builds the jail with the test supervisor (harness.c) and talks to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from acesandbox import _interpreter

HERE = Path(__file__).parent
NATIVE = HERE.parent.parent / "native"
# The supervisor's own files; everything else in native/jail is the jail.
SUPERVISOR = {"supervisor.c", "guests.c", "player.c", "processes.c", "program.c", "report.c", "unit.c"}
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
NOBODY = 65534
WORKER_UID = 231_000
GROUP_OF_THE_HOST = 4242
SYSTEM_PYTHON = "/usr/bin/python3"


def build(folder: Path) -> Path:
    """Compile the jail with the test supervisor into `folder`, readable by every user."""
    sources = [path for path in sorted((NATIVE / "jail").glob("*.c")) if path.name not in SUPERVISOR]
    executable = folder / "acejail-harness"
    flags = FLAGS + (["-fsanitize=address,undefined"] if os.environ.get("ACE_SANITIZED") == "1" else [])
    command = ["cc", *flags, f"-I{NATIVE / 'jail'}", "-o", executable, *sources, HERE / "harness.c"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return executable


@contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary directory that other users can search, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="ace-native-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Jail:
    """One launcher with its test supervisor.

    Args:
        executable: what `build` made.
        tier: as in the `C` frame.
        where: environments of as_if.py to start it in.
        user: the uid to start it as; None is ours.
        python: the jailed interpreter; None is the one we run in.
        **keys: keys of the `C` frame, over the defaults.
    """

    def __init__(
        self,
        executable: Path,
        tier: str = "namespaces",
        where: tuple[str, ...] = (),
        user: int | None = None,
        python: str | None = None,
        extra: tuple[tuple[str, str], ...] = (),
        **keys: object,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        command = [str(executable)]
        if where:
            helper = executable.parent / "as_if.py"
            command = [SYSTEM_PYTHON, "-I", "-S", str(helper), *where, "--", *command]
        # A shell moves the socket to descriptor 3, because a pre-exec function is not safe with threads.
        script = 'exec 3<&0 </dev/null; exec "$@"'
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *command],
            stdin=theirs,
            user=user,
            group=user,
            extra_groups=[GROUP_OF_THE_HOST] if os.geteuid() == 0 else None,
        )
        theirs.close()
        settings = {
            "protocol": 1,
            "tier": tier,
            "uid": WORKER_UID,
            "gid": WORKER_UID,
            "scratch_mb": 16,
            "scratch_inodes": 200,
            "memory_mb": 512,
            "threads": 16,
            "processes": 0,
            "nofile": 64,
            "file_mb": 8,
            **keys,
        }
        lines = [f"{key}={value}" for key, value in settings.items() if value is not None]
        lines += self._view(executable.parent, tier, python, str(keys.get("profile", "compute")))
        lines += [f"{key}={value}" for key, value in extra]
        self.send("C", b"".join(line.encode() + b"\0" for line in lines))
        self.ready: dict[str, Any] = {}
        self.failure = ""
        kind, _, payload = self.receive()
        if kind == "R":
            self.ready = json.loads(payload)
        elif kind == "F":
            self.failure = payload.decode()

    @staticmethod
    def _view(folder: Path, tier: str, python: str | None, profile: str) -> list[str]:
        view = _interpreter.view(_interpreter.find(python), tier, profile=profile)
        lines = [f"ro={dst}\x1f{src}" for dst, src in view.ro if dst != _interpreter.GUEST]
        lines.append(f"ro={_interpreter.GUEST}\x1f{folder / 'guest_package'}")
        lines += [f"link={path}\x1f{target}" for path, target in view.links]
        lines += [f"text={path}\x1f{content}" for path, content in view.texts]
        lines += [f"env={key}={value}" for key, value in view.env.items()]
        return [*lines, f"python={view.python}", f"guest={json.dumps({'site': view.site})}"]

    def send(self, kind: str, payload: bytes = b"") -> None:
        self._socket.sendall(struct.pack("<IBBH", len(payload), ord(kind), 0, 0) + payload)

    def receive(self) -> tuple[str, int, bytes]:
        """(type, index, payload); type "" at end of file."""
        header = self._exactly(8)
        if len(header) < 8:
            return "", 0, b""
        length, kind, _, index = struct.unpack("<IBBH", header)
        return chr(kind), index, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            piece = self._socket.recv(size - len(got))
            if not piece:
                break
            got += piece
        return got

    def run(self, source: str) -> Any:
        """Run Python source in a jailed interpreter and return its global `result`."""
        self.send("J", source.encode())
        _, _, output = self.receive()
        _, status, log = self.receive()
        assert status == 0, f"wait status {status}: {log.decode(errors='replace')}"
        return json.loads(output)

    def run_status(self, source: str) -> tuple[int, bytes]:
        """As `run`, for source that does not end well: the wait status and what it wrote to stderr."""
        self.send("J", source.encode())
        self.receive()
        _, status, log = self.receive()
        return status, log

    def ask(self, kind: str) -> Any:
        """One of the harness's questions that are answered with JSON."""
        self.send(kind)
        return json.loads(self.receive()[2] or b"null")

    def close(self) -> None:
        self._socket.close()
        self.process.wait(60)

    def __enter__(self) -> Jail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def probe(executable: Path, where: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `acejail --probe` says, here or in an environment of as_if.py."""
    command = [str(executable), "--probe"]
    if where:
        command = [sys.executable, "-I", "-S", str(HERE / "as_if.py"), *where, "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
