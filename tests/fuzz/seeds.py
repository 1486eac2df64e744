"""Where the native targets start: for each a folder of inputs that the real parts would send, from examples of ours.

    python -m tests.fuzz.seeds FOLDER

The other half of a conversation is played by the code that plays it in earnest: frames by `acesandbox._wire`, plans by
the judge's planner, values by the encoder; so a change of the wire changes the seeds.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acesandbox import Limits, _wire
from acesandbox.guest import codec, plan

PROBLEMS: list[dict[str, Any]] = [
    {
        "kind": "asserts",
        "tests": ["assert f(1) == [1, 'a']", "assert not f(2)", "assert ("],
        "entry_point": "f",
    },
    {
        "kind": "asserts",
        "tests": ["assert abs(f(2) - 1.5) < 1e-6", "for i in range(3):\n    assert f(i) == i"],
    },
    {"kind": "check_script", "tests": ["def check(c):\n    assert c(1) == 2\n"], "entry_point": "f"},
    {"kind": "stdio", "tests": [["1 2\n", "3\n"], ["", "x"]], "compare": {"mode": "tokens"}},
    {"kind": "functional", "tests": [["[1, [2]]", "3"]], "entry_point": "f"},
    {"kind": "asserts", "tests": ["import unittest.mock\nwith unittest.mock.patch('f'):\n    assert f(1)"]},
]
PROGRAMS = [b"def f(x):\n    return x\n", "def f(x): return 'é'\n".encode(), b""]


def _limits() -> bytes:
    return _wire.limits_block(Limits(), fail_fast=False, keep_output=True, unsealed="allow")


def _payload(frame: bytes) -> bytes:
    return frame[_wire.HEADER.size :]


def units() -> Iterator[bytes]:
    for problem in PROBLEMS:
        yield b"\0" + _payload(_wire.unit_frame(7, _limits(), json.dumps(problem).encode(), PROGRAMS))
    yield b"\0" + _payload(_wire.unit_frame(0, _limits(), b"{}", []))
    files = [(b"a.txt", b"content"), (b"b/c.txt", b"")]
    yield b"\1" + _payload(_wire.script_frame(9, _limits(), b'{"args": []}', PROGRAMS[0], b"input\n", files))
    yield b"\1" + _payload(_wire.script_frame(9, _limits(), b"{}", b"", b"", []))


def plans() -> Iterator[bytes]:
    for problem in PROBLEMS:
        yield plan.make_plan(problem).to_bytes()
    unknown_kind = struct.pack("<IIIIBI", 1, 0, 0, 1, 5, 1)
    yield unknown_kind + struct.pack("<HBBII", 0, 0, 0, 0, 0)


def configurations() -> Iterator[bytes]:
    common = [("protocol", "1"), ("python", "/usr/bin/python3"), ("guest", "{}"), ("env", "LANG=C.UTF-8")]
    paths = [("ro", "/usr\x1f/usr"), ("ro", "/ace\x1f/somewhere/guest"), ("link", "/bin\x1fusr/bin")]
    names = "uid gid memory_mb threads processes nofile file_mb scratch_mb scratch_inodes cpu"
    numbers = [(name, "64") for name in names.split()]
    for tier in ("namespaces", "seccomp", "none"):
        yield _wire.config_frame([*common, ("tier", tier), *paths, ("cgroup", "off"), *numbers])
    yield _wire.config_frame(common)
    yield _wire.config_frame([*common, ("unknown", "key")])
    yield _wire.frame("C", _payload(_wire.config_frame(common))[:-1])


def _answer(kind: str, index: int, data: bytes, flags: int = 0) -> bytes:
    return _wire.frame(kind, struct.pack("<I", 1500) + data, flags, index)


def streams() -> Iterator[bytes]:
    """One byte for the bound (22: 4 MiB), then frames."""
    yield b"\x16" + _answer("V", 0, b"N") + _wire.frame("L", b"") + _answer("X", 1, b"ValueError: no", 2)
    yield b"\x02" + _wire.frame("V", b"12345")
    yield b"\x16" + _wire.frame("R", b"{}")[:-1]


def conversations() -> Iterator[bytes]:
    """For `native/frames.c`: the tests, then who says what."""

    def tests(*described: tuple[int, int, int]) -> bytes:
        parts = [bytes([kind | compare << 4, value]) for kind, compare, value in described]
        return bytes([len(described) - 1]) + b"".join(parts)

    def player(data: bytes) -> bytes:
        return b"\0" + struct.pack("<H", len(data)) + data

    def test_process(data: bytes) -> bytes:
        return b"\2" + struct.pack("<H", len(data)) + data

    loaded = _wire.frame("L", b"")
    one, two, odd = codec.encode(1), codec.encode(2), codec.encode([1.5, {}])
    planned, proxied, shared = 0, 1, 2
    yield tests((planned, 1, 0)) + player(loaded + _answer("V", 0, one, 1))
    wrong = _answer("V", 0, two, 1) + _answer("V", 1, two)
    yield tests((planned, 2, 0), (planned, 1, 3)) + player(loaded + wrong)
    raised = _answer("V", 0, odd) + _answer("X", 1, b"ValueError", 2)
    yield tests((planned, 0, 6), (planned, 1, 5)) + player(loaded) + player(raised)
    yield tests((shared, 0, 6)) + player(loaded + _answer("S", 0, b"AssertionError", 1))
    yield tests((planned, 1, 1)) + player(_answer("X", 0xFFFF, b"SyntaxError: line 1", 3))
    yield tests((planned, 1, 1)) + player(loaded + _answer("X", 0, b"", 0) + _answer("V", 1, one))
    yield tests((planned, 1, 1)) + player(loaded + _answer("X", 0, b"long" * 2000, 2))
    yield (
        tests((planned, 1, 0), (proxied, 0, 6))
        + player(loaded + _answer("V", 0, one))
        + b"\3"
        + test_process(_wire.frame("C", b"call", 0, 1))
        + player(_wire.frame("A", b"answer", 0, 1))
        + test_process(_wire.frame("T", b"\0", 0, 1))
    )
    yield tests((planned, 1, 0)) + player(_wire.frame("E", b"step", 0, 12))


def judges() -> Iterator[bytes]:
    """For `native/judge.c`: what is asked, then the stream of each life of the judge."""

    def life(*frames: bytes) -> bytes:
        data = b"".join(frames)
        return struct.pack("<H", len(data)) + data

    known = _wire.frame("P", plan.make_plan(PROBLEMS[0]).to_bytes())
    answers = [(0, b""), (1, b""), (2, b"TypeError")]
    decided = [_wire.frame("D", text, status, index) for index, (status, text) in enumerate(answers)]
    forked, refused = (_wire.frame("J", struct.pack("<i", number)) for number in (4321, -11))
    yield b"\0" + life(known, *decided)
    yield b"\0" + life(known, decided[0]) + life(known, *decided[1:])
    yield b"\0" + life(known) + life(known) + life(known, *decided[1:])
    yield b"\0" + life(known, _wire.frame("D", b"", 0, 2))
    yield b"\1" + life(known)
    yield b"\1" + life(_wire.frame("E", b"ValueError: unknown kind"))
    yield b"\2" + life(known, forked)
    yield b"\2" + life(known, refused) + life(known, forked)


TARGETS = {
    "unit": units,
    "plan": plans,
    "config": configurations,
    "wire": streams,
    "frames": conversations,
    "judge": judges,
}


def write(folder: Path) -> None:
    for name, make in TARGETS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(make()):
            (folder / name / f"{number:03}").write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
