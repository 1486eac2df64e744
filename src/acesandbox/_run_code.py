"""SandboxFusion's `POST /run_code`: what a request asks for, and what it is answered. Nothing here does I/O.

A request is {"code", "language", "stdin", "run_timeout", "compile_timeout", "memory_limit_MB", "files", "fetch_files"};
the first two must be there. The answer is {"status": Success | Failed, "message", "compile_result": null,
"run_result": {"status": Finished | TimeLimitExceeded, "execution_time", "return_code", "stdout", "stderr"},
"executor_pod_name": null, "files": {}}. There is a third status, SandboxError, and it is never sent: no program may be
able to choose it, and for a fault of ours HTTP 504 does more, since verl's client asks again then.

Times. `run_timeout` is in seconds by the clock there, and a busy machine changes verdicts. Here it is CPU seconds
(`cpu_s`), and as many seconds in which the program may sleep or wait (`idle_s`). The clock on the wall decides nothing
about a program: it ends a run only when the client is about to give up, and then the answer is 504.

Source: SandboxFusion's server (sandbox/server/sandbox_api.py, sandbox/runners/base.py) and verl 0.9.1's client
(verl/utils/reward_score/sandbox_fusion/utils.py).
"""

from __future__ import annotations

import binascii
import json
import math
from base64 import b64decode
from typing import Any

from ._limits import Limits
from ._status import Status
from ._verdict import RunResult

PORT = 8080  # SandboxFusion's; these two are here because the command line shows them and loads no HTTP server for it
IN_FLIGHT = 256

USUAL_TIMEOUT_S = 10.0  # of either kind, where a request has none
CLIENT_EXTRA_S = 10.0  # verl's client waits for the sum of the two timeouts and as long as this
LEAST_S, MOST_PATIENCE_S = 0.01, 3600.0
LEAST_MEMORY_MB = 16

_MISSING = object()


class Refused(ValueError):
    """The request cannot be served, whatever the machine; the message names the field."""


class Request:
    """What was asked for, checked.

    Attributes:
        code: Python source.
        stdin: what it reads from standard input.
        files: path to content.
        asked_s: `run_timeout` as it was given.
        run_s: CPU seconds of the run: `run_timeout`, cut at what the server allows.
        idle_s: seconds that it may sleep or wait; cut likewise.
        memory_mb: megabytes (2**20 bytes).
        patience_s: how long the client waits for an answer.
    """

    __slots__ = ("asked_s", "code", "files", "idle_s", "memory_mb", "patience_s", "run_s", "stdin")

    def __init__(self, body: bytes, most: Limits) -> None:
        """
        Args:
            body: JSON.
            most: the server's own limits, which no request goes beyond.

        Raises:
            Refused: no JSON, a field of the wrong type or value, or something that is not served.
        """
        given = _object(body)
        self.code: str = _text(given, "code")
        language = _text(given, "language")
        if language != "python":
            raise Refused(f'language: only "python" is served, not {language[:40]!r}')
        stdin = given.get("stdin")
        self.stdin: str = "" if stdin is None else _text(given, "stdin")
        if _list(given, "fetch_files"):
            raise Refused("fetch_files: files that a program writes are not sent back; leave it empty")
        self.files = _files(given)
        self.asked_s = _seconds(given, "run_timeout", LEAST_S)
        self.run_s = min(self.asked_s, most.cpu_s)
        self.idle_s = min(self.run_s, most.idle_s)
        self.memory_mb = _memory(given, most)
        patience_s = _seconds(given, "compile_timeout", 0.0) + self.asked_s + CLIENT_EXTRA_S
        self.patience_s = min(patience_s, MOST_PATIENCE_S)

    def limits(self, most: Limits, wall_s: float) -> Limits:
        """The limits of the run; `wall_s`: seconds by the clock until nobody waits for the answer any longer."""
        return most.replace(
            cpu_s=self.run_s,
            program_cpu_s=max(
                most.program_cpu_s, self.run_s
            ),  # a worker is given up by it when it says nothing
            quantum_s=min(most.quantum_s, self.run_s),
            idle_s=self.idle_s,
            wall_s=wall_s,
            memory_mb=self.memory_mb,
        )

    def answer(self, result: RunResult) -> dict[str, Any]:
        """The response's JSON. `message` says what the client cannot see otherwise: what was cut by the server."""
        timeout = result.status in (Status.CPU_TIMEOUT, Status.WALL_TIMEOUT)
        passed = result.status is Status.PASSED
        notes = []
        allowed_s = self.run_s if result.status is Status.CPU_TIMEOUT else self.idle_s
        if timeout and allowed_s < self.asked_s:
            notes.append(f"run_timeout was cut to the server's {allowed_s:g} s (--cpu-s, --idle-s)")
        if result.truncated:
            notes.append("output was cut at the server's limit (--output-kb)")
        return {
            "status": "Success" if passed else "Failed",
            "message": "; ".join(notes),
            "compile_result": None,
            "run_result": {
                "status": "TimeLimitExceeded" if timeout else "Finished",
                "execution_time": result.wall_s,
                "return_code": None if timeout else 0 if passed else result.exit_code or 1,
                "stdout": result.stdout,
                "stderr": result.stderr,
            },
            "executor_pod_name": None,
            "files": {},
        }


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except RecursionError:
        raise Refused("the body: JSON that is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"the body: not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Refused(f"the body: must be a JSON object, not {_kind(given)}")
    return given


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, _MISSING)
    if value is _MISSING:
        raise Refused(f"{name}: is missing")
    if not isinstance(value, str):
        raise Refused(f"{name}: must be a text, not {_kind(value)}")
    return value


def _list(given: dict[str, Any], name: str) -> list[Any]:
    value = given.get(name, [])
    if not isinstance(value, list):
        raise Refused(f"{name}: must be a list, not {_kind(value)}")
    return value


def _seconds(given: dict[str, Any], name: str, least: float) -> float:
    value = given.get(name, USUAL_TIMEOUT_S)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused(f"{name}: must be a number of seconds, not {_kind(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not least <= seconds < math.inf:  # false for nan
        raise Refused(f"{name}: must be a number of seconds from {least:g}, not {str(value)[:40]}")
    return seconds


def _memory(given: dict[str, Any], most: Limits) -> int:
    value = given.get("memory_limit_MB", -1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"memory_limit_MB: must be a whole number, not {_kind(value)}")
    if value <= 0:  # as in SandboxFusion: no limit of the request's own
        return most.memory_mb
    if not LEAST_MEMORY_MB <= value <= most.memory_mb:
        raise Refused(
            f"memory_limit_MB: must be from {LEAST_MEMORY_MB} to the server's {most.memory_mb}, or -1 for that, not "
            f"{str(value)[:40]}; acesandbox serve --memory-mb N allows more"
        )
    return value


def _files(given: dict[str, Any]) -> dict[str, bytes]:
    value = given.get("files", {})
    if not isinstance(value, dict):
        raise Refused(f"files: must be an object of path and content, not {_kind(value)}")
    files = {}
    for path, content in value.items():
        if content is None:  # SandboxFusion passes over such a file
            continue
        if not isinstance(content, str):
            raise Refused(f"files: the content of {path[:80]!r} must be base64 or null, not {_kind(content)}")
        try:
            files[path] = b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(f"files: the content of {path[:80]!r} is not base64") from None
    return files


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]
