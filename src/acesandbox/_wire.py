"""Frames between the host and a worker: the host's half of docs/protocol.md.

Nothing here does I/O: bytes in, bytes out. What comes from a worker is checked for shape where it is parsed; a worker
is our own code, but it spent its life next to hostile programs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ._errors import ProtocolError
from ._limits import Limits

PROTOCOL = 1
HEADER = struct.Struct("<IBBH")
MAX_TO_WORKER = 512 << 20
MAX_FROM_WORKER = 512 << 20

UNSEALED_CODES = {"allow": 0, "fail": 1, "error": 1}

_LIMITS = struct.Struct("<7dQI4B")
_U32 = struct.Struct("<I")
_UNIT_HEAD = struct.Struct("<Q")

VERDICT_HEAD = struct.Struct("<QIIddQIIiI")
VERDICT_KEY = struct.Struct("<QII")
TEST_HEAD = struct.Struct("<BBHfI")
DONE = struct.Struct("<QI")
UNIT_ID = _UNIT_HEAD

TEST_ORIGIN_TEST = 1
TEST_NEAR_LIMIT = 2
TEST_DETAIL_VALUE = 4
STDOUT_TRUNCATED = 1
STDERR_TRUNCATED = 2


def frame(kind: str, payload: bytes, flags: int = 0, index: int = 0) -> bytes:
    """One message: header and payload."""
    return HEADER.pack(len(payload), ord(kind), flags, index) + payload


def blob(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


def config_frame(entries: Sequence[tuple[str, str]]) -> bytes:
    """The launcher's configuration; `\\x1f` inside a value separates fields.

    Raises:
        ProtocolError: a value holds NUL, which would end it early and smuggle in another key.
    """
    parts = []
    for key, value in entries:
        if "\0" in value:
            raise ProtocolError(f"the configuration {key!r} holds a NUL character: {value!r}")
        parts.append(f"{key}={value}".encode("utf-8", "surrogateescape") + b"\0")
    return frame("C", b"".join(parts))


def limits_block(limits: Limits, *, fail_fast: bool, keep_output: bool, unsealed: str) -> bytes:
    """The part of `U` and `S` that says what a program may use."""
    return _LIMITS.pack(
        limits.cpu_s,
        limits.program_cpu_s,
        limits.load_cpu_s,
        limits.quantum_s,
        limits.idle_s,
        limits.wall_s,
        limits.judge_cpu_s,
        limits.memory_mb << 20,
        limits.output_kb << 10,
        fail_fast,
        keep_output,
        UNSEALED_CODES[unsealed],
        0,
    )


def unit_frame(unit_id: int, limits: bytes, problem: bytes, programs: Sequence[bytes]) -> bytes:
    """`U`: one problem and its programs."""
    parts = [
        b"",
        _UNIT_HEAD.pack(unit_id),
        limits,
        _U32.pack(len(problem)),
        problem,
        _U32.pack(len(programs)),
    ]
    for program in programs:
        parts.append(_U32.pack(len(program)))
        parts.append(program)
    parts[0] = HEADER.pack(sum(map(len, parts)), ord("U"), 0, 0)
    return b"".join(parts)


def script_frame(
    unit_id: int,
    limits: bytes,
    options: bytes,
    source: bytes,
    stdin: bytes,
    files: Sequence[tuple[bytes, bytes]],
) -> bytes:
    """`S`: one whole script."""
    payload = [
        _UNIT_HEAD.pack(unit_id),
        limits,
        blob(options),
        blob(source),
        blob(stdin),
        _U32.pack(len(files)),
    ]
    for path, content in files:
        payload += (blob(path), blob(content))
    return frame("S", b"".join(payload))


def killed_verdict(unit_id: int, tests: int, status_code: int, message: str) -> bytes:
    """A `V` payload in the host's own words: for a program whose worker dies each time."""
    detail = message.encode("utf-8", "replace")
    head = VERDICT_HEAD.pack(unit_id, 0, tests, 0.0, 0.0, 0, 0, 0, -9, 0)
    return head + blob(b"") * 2 + (TEST_HEAD.pack(status_code, 0, 9, 0.0, len(detail)) + detail) * tests


class FrameReader:
    """Cuts a byte stream into frames. `feed` what was read, then take `frames`."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Takes bytes; returns the frames now complete, each as (type, flags, index, payload).

        Raises:
            ProtocolError: a frame beyond the bound.
        """
        if self._buffer:
            self._buffer += data
            whole: bytes | bytearray = self._buffer
        else:
            whole = data
        frames = []
        at, end = 0, len(whole)
        while end - at >= 8:
            length, kind, flags, index = HEADER.unpack_from(whole, at)
            if length > MAX_FROM_WORKER:
                raise ProtocolError(f"a worker announced a frame of {length} bytes")
            stop = at + 8 + length
            if stop > end:
                break
            frames.append((kind, flags, index, bytes(whole[at + 8 : stop])))
            at = stop
        if whole is self._buffer:
            del self._buffer[:at]
        elif at < end:
            self._buffer += data[at:]
        return frames
