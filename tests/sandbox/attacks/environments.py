"""The environments in which the corpus runs, and the means to run it there.

    pytest ── names ──> (dockerlike.py, another uid) ── python -m acesandbox._check --follow ──> Sandbox
           <── one JSON line per attack ──

A subprocess, because some environments are another user's or a container's, and because an attack that brings down the
checking process itself must count as a hole and not as the end of the test run. When nothing has been heard for
`SILENCE_S`, the attack in progress is charged with it and the next one starts a new process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import acesandbox

SILENCE_S = 240.0
# An ordinary user whom no file on the machine belongs to and who runs nothing else.
ORDINARY_UID = 23456
_HERE = Path(__file__).parent
_SOURCES = Path(acesandbox.__file__).parents[1]


@dataclass(frozen=True)
class Environment:
    """Where the corpus runs: a tier, a user, a profile, and perhaps a container."""

    name: str
    isolation: str
    needs_root: bool
    """Whether it takes root to set it up."""
    container: bool = False
    uid: int | None = None
    profile: str = "compute"

    def missing(self) -> str:
        """Why this machine cannot offer the environment; empty when it can."""
        if self.needs_root and os.getuid() != 0:
            return f"{self.name} is set up by root only"
        if not self.needs_root and os.getuid() == 0:
            return f"{self.name} is for test runs of an ordinary user"
        if self.uid is not None and not _python_for(self.uid):
            return f"no interpreter that uid {self.uid} could run"
        return ""


ENVIRONMENTS = (
    Environment("namespaces_root", "namespaces", True),
    Environment("namespaces_user", "namespaces", True, uid=ORDINARY_UID),
    Environment("namespaces_self", "namespaces", False),
    Environment("system_root", "namespaces", True, profile="system"),
    Environment("system_user", "namespaces", True, uid=ORDINARY_UID, profile="system"),
    Environment("system_self", "namespaces", False, profile="system"),
    Environment("seccomp_container_root", "seccomp", True, container=True),
    Environment("seccomp_container_user", "seccomp", True, container=True, uid=ORDINARY_UID),
    Environment("seccomp_self", "seccomp", False),
)


def readable_by(uid: int, path: str) -> bool:
    """Whether another user may run this file: asked of the kernel by a process of that user."""
    if uid == os.getuid():
        return os.access(path, os.X_OK)
    done = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$0"', path], user=uid, group=uid, extra_groups=[], capture_output=True
    )
    return done.returncode == 0


def _python_for(uid: int | None) -> str:
    """The running interpreter, or another one of the machine where that user may not run it."""
    if uid is None or readable_by(uid, sys.executable):
        return sys.executable
    for name in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if os.path.exists(name) and readable_by(uid, name):
            asked = [name, "-c", "import sys; print(sys.version_info >= (3, 11))"]
            if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "True":
                return name
    return ""


def _readable_copies(place: Path) -> str:
    """acesandbox and psutil where everybody may read them: the working tree may lie in a closed folder."""
    for package in (_SOURCES / "acesandbox", Path(psutil.__file__).parent):
        shutil.copytree(package, place / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (place, *place.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    return str(place)


class Checker:
    """A checking process in one environment, started on first use and again after it was lost."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._undo = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self.unavailable = environment.missing()

    def check(self, name: str) -> dict[str, Any]:
        """What came of one attack there, as `acesandbox._check` writes it. See `unavailable` first and afterwards."""
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(name.encode() + b"\n")
            self._process.stdin.flush()
        while (line := self._line()) is not None:
            if "unavailable" in line:
                self.unavailable = line["unavailable"]
                self.close()
                return line
            if line.get("name") == name:
                return line
        silent = self._process.poll() is None
        self._end_process()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode("utf-8", "replace").strip()
        what = f"said nothing for {SILENCE_S} s" if silent else f"ended with {self._process.returncode}"
        self.close()
        return {
            "name": name,
            "state": "broken",
            "detail": f"the checking process {what} during this attack: {said}",
        }

    def close(self) -> None:
        """End the process and remove what was made for it. `check` starts anew."""
        self._end_process()
        self._process = None
        self._pending = b""
        self._undo.close()

    def _start(self) -> None:
        environment = self.environment
        place = Path(
            self._undo.enter_context(
                tempfile.TemporaryDirectory(prefix="ace-attacks-", ignore_cleanup_errors=True)
            )
        )
        packages = _readable_copies(place / "packages") if environment.uid is not None else str(_SOURCES)
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        home.chmod(0o777)
        command = [
            _python_for(environment.uid),
            "-m",
            "acesandbox._check",
            "--isolation",
            environment.isolation,
            "--profile",
            environment.profile,
        ]
        command.append("--follow")
        options: dict[str, Any] = {}
        if environment.container:
            user = [] if environment.uid is None else ["--user", str(environment.uid)]
            command = [sys.executable, str(_HERE / "dockerlike.py"), *user, *command, "--alone"]
        elif environment.uid is not None:
            options = {"user": environment.uid, "group": environment.uid, "extra_groups": []}
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": packages,
            "HOME": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._errors = self._undo.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=variables,
            cwd=home,
            start_new_session=True,
            **options,
        )

    def _line(self) -> dict[str, Any] | None:
        """The next line; None when there is none for too long, or ever again."""
        assert self._process is not None and self._process.stdout is not None
        while b"\n" not in self._pending:
            if not select.select([self._process.stdout], [], [], SILENCE_S)[0]:
                return None
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(10)
                return None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
