"""Makes system calls under the filter and reports what became of each: `python prober.py` with JSON on stdin.

Input: {"native": path of the extension, "profile": str, "processes": int, "calls": [[number, [args]] | ["code", str]],
"apart": bool}. With `apart` every call has a process of its own, cloned from a locked-down parent as players are: then
a call may be fatal. Output: a list with one string per call:

    "ok N"          it returned N
    "ENAME"         it failed with this errno
    "named NUMBER"  the filter asked the listener, which saw this number
    "killed NAME"   the process ended by this signal

A list entry ["code", source] is Python that sets `answer`, for what is more than one call.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import json
import os
import select
import signal
import socket
import sys
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWUSER = 0x10000000
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def attempt(call: list[Any]) -> str:
    """Make one call (or run one piece of code) in this process."""
    if call[0] == "code":
        scope: dict[str, Any] = {"libc": libc, "ctypes": ctypes, "errno": errno, "os": os}
        try:
            exec(call[1], scope)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return str(scope["answer"])
    number, arguments = call
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else f"ok {result}"


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("_native", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def together(native: Any, job: dict[str, Any]) -> list[str]:
    """All calls in one locked-down process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        listener = native.lockdown(job["profile"], job["processes"])
        if listener >= 0:
            os.close(listener)
        os.write(writer, json.dumps([attempt(call) for call in job["calls"]]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    result: list[str] = json.loads(answer)
    return result


def apart(native: Any, job: dict[str, Any], call: list[Any]) -> str:
    """One call in a process cloned as a player is: lock down, clone (which seals), call."""
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    zygote = os.fork()
    if zygote == 0:
        listener = native.lockdown(job["profile"], job["processes"])
        socket.send_fds(theirs, [b"l"], [listener] if listener >= 0 else [])
        if listener >= 0:
            os.close(listener)
        native.configure(not job["profile"].endswith("-no-pidns"), "/")
        child = native.spawn((writer,), 0, 0)
        if child == 0:  # a player's descriptors: 3 is the pipe, the rest is /dev/null
            os.write(3, attempt(call).encode())
            os._exit(0)
        os.write(theirs.fileno(), child.to_bytes(4, "little"))
        os._exit(0)
    theirs.close()
    os.close(writer)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    child = int.from_bytes(ours.recv(4), "little")
    ours.close()
    os.waitpid(zygote, 0)
    answer = wait_for_outcome(child, reader, fds[0] if fds else -1)
    for fd in [*fds, reader]:
        os.close(fd)
    return answer


def wait_for_outcome(child: int, reader: int, listener: int) -> str:
    """The child's own word, or the listener's, or the signal that ended it."""
    waiting = [fd for fd in (reader, listener) if fd >= 0]
    named = ""
    while True:
        ready, _, _ = select.select(waiting, [], [], 10)
        if listener in ready and listener >= 0:
            request = ctypes.create_string_buffer(1024)
            if libc.ioctl(listener, ctypes.c_ulong(SECCOMP_IOCTL_NOTIF_RECV), request) == 0:
                number = int.from_bytes(request.raw[16:20], "little")
                named = f"named {number}"
                os.kill(child, signal.SIGKILL)
            waiting.remove(listener)
            continue
        text = os.read(reader, 4096).decode() if reader in ready else "no answer in time"
        if not ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if named:
            return named
        if not text and os.WIFSIGNALED(status):
            return f"killed {signal.Signals(os.WTERMSIG(status)).name}"
        return text or f"ended with {status}"


def main() -> None:
    """Read one job, print its answers."""
    job = json.load(sys.stdin)
    native = load(job["native"])
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if job["apart"]:
        if os.geteuid() != 0 and libc.unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "a user namespace, in which to clone players")
        print(json.dumps([apart(native, job, call) for call in job["calls"]]))
    else:
        print(json.dumps(together(native, job)))


if __name__ == "__main__":
    main()
