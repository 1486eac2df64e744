#!/usr/bin/env python3
"""A stand-in for `acejail` that does no isolation and no judging: it speaks docs/protocol.md and obeys the programs.

Failure is hard to provoke in a real worker and easy here. A "program" is a line of words:

    pass                all tests pass
    fail                the first test fails, with a codec value as detail
    sleep SECONDS       pass, after a while
    work SECONDS        pass, after that much processor time
    die                 kill this worker
    die-once PATH       kill this worker unless PATH exists, which is made first
    hang                say nothing more (stands still)
    burn                say nothing more (uses the processor)
    trouble             answer `D` failed
    garbage             send a frame of an unknown type
    short               send a verdict that ends too early
    long                send a verdict with more behind it
    twice               send the verdict twice
    leave-out           send no verdict for this program and end the unit
    fatal               say what only a worker that cannot start says
    wait-for PATH       pass once PATH exists
    pid                 pass, with our pid as standard output

Anything else passes. The behaviour of the worker itself is its one argument: `refuse`, `stale` (a launcher of another
version), `empty` (no interpreter in the jail), `die-at-start`, `unprepared` (dies on each unit before `I`), `no-canary`
(dies in every unit that has the canary's program), `bad-canary` (fails it), or `normal`.
"""

import json
import os
import signal
import socket
import struct
import sys
import time

HEADER = struct.Struct("<IBBH")


def main(behaviour: str) -> None:
    control = socket.socket(fileno=3)
    kind, config = receive(control)
    assert kind == b"C", kind
    entries = [entry.decode().partition("=") for entry in config.rstrip(b"\0").split(b"\0")]
    assert ("protocol", "=", "1") in entries
    print("fake worker: hello", file=sys.stderr, flush=True)
    if behaviour == "refuse":
        send(control, "F", b"user namespace: Operation not permitted\nset the sysctl\nor be root")
        sys.exit(2)
    if behaviour == "stale":
        send(control, "F", b'configuration: Invalid argument\nunknown key "x"')
        sys.exit(2)
    if behaviour == "empty":
        send(control, "F", b"start the zygote\nno module named x")
        sys.exit(2)
    if behaviour == "die-at-start":
        os.kill(os.getpid(), signal.SIGKILL)
    send(control, "R", json.dumps({"tier": "fake", "config": [[k, v] for k, _, v in entries]}).encode())
    while True:
        kind, payload = receive(control)
        if not kind:
            return
        unit(control, kind, payload, behaviour)


def unit(control: socket.socket, kind: bytes, payload: bytes, behaviour: str) -> None:
    (unit_id,) = struct.unpack_from("<Q", payload)
    at = 8 + struct.calcsize("<7dQI4B")
    problem, at = blob(payload, at)
    if kind == b"S":
        source, at = blob(payload, at)
        send(control, "V", verdict(unit_id, 0, 1, b"", stdout=source))
        send(control, "D", struct.pack("<QI", unit_id, 0))
        return
    count = len(json.loads(problem)["tests"])
    (programs,) = struct.unpack_from("<I", payload, at)
    at += 4
    if behaviour == "unprepared":
        os.kill(os.getpid(), signal.SIGKILL)
    info = {"tests": [{"mode": "plan", "sealed": True, "why": "", "oracle": "entry_point"}] * count}
    send(control, "I", struct.pack("<Q", unit_id) + json.dumps(info).encode())
    for number in range(programs):
        program, at = blob(payload, at)
        if b"increment" in program and behaviour == "no-canary":
            os.kill(os.getpid(), signal.SIGKILL)
        if b"increment" in program and behaviour == "bad-canary":
            program = b"fail"
        if not obey(control, unit_id, number, count, program.split()):
            return
    send(control, "D", struct.pack("<QI", unit_id, 0))


def obey(control: socket.socket, unit_id: int, number: int, count: int, words: list) -> bool:
    word = words[0] if words else b"pass"
    stdout = b""
    if word == b"sleep":
        time.sleep(float(words[1]))
    elif word == b"work":
        end = time.process_time() + float(words[1])
        while time.process_time() < end:
            pass
    elif word == b"die-once":
        if not os.path.exists(words[1]):
            with open(words[1], "w"):
                os.kill(os.getpid(), signal.SIGKILL)
    elif word == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == b"hang":
        time.sleep(600)
    elif word == b"burn":
        while True:
            pass
    elif word == b"trouble":
        send(control, "D", struct.pack("<QI", unit_id, 1) + b"out of luck")
        return False
    elif word == b"garbage":
        send(control, "?", b"")
    elif word == b"short":
        send(control, "V", verdict(unit_id, number, count, b"")[:20])
    elif word == b"long":
        send(control, "V", verdict(unit_id, number, count, b"") + b"more")
        return True
    elif word == b"twice":
        send(control, "V", verdict(unit_id, number, count, b""))
    elif word == b"leave-out":
        return True
    elif word == b"fatal":
        send(control, "F", b"this jail cannot be built")
        return False
    elif word == b"wait-for":
        while not os.path.exists(words[1]):
            time.sleep(0.01)
    elif word == b"pid":
        stdout = str(os.getpid()).encode()
    send(control, "V", verdict(unit_id, number, count, word, stdout))
    return True


def verdict(unit_id: int, number: int, count: int, word: bytes, stdout: bytes = b"") -> bytes:
    data = struct.pack("<QIIddQIIiI", unit_id, number, count, 0.25, 0.5, 3 << 20, 1, 0, 0, 0)
    data += struct.pack("<I", len(stdout)) + stdout + struct.pack("<I", 0)
    for test in range(count):
        if word == b"fail" and test == 0:
            detail = b"i" + struct.pack("<q", 7)
            data += struct.pack("<BBHfI", 1, 4, 0, 0.125, len(detail)) + detail
        else:
            data += struct.pack("<BBHfI", 0, 0, 0, 0.125, 0)
    return data


def blob(payload: bytes, at: int) -> tuple:
    (size,) = struct.unpack_from("<I", payload, at)
    return payload[at + 4 : at + 4 + size], at + 4 + size


def receive(control: socket.socket) -> tuple:
    header = read(control, 8)
    if not header:
        return b"", b""
    length, kind, _, _ = HEADER.unpack(header)
    return bytes([kind]), read(control, length)


def read(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            return b""
        data += part
    return data


def send(control: socket.socket, kind: str, payload: bytes) -> None:
    control.sendall(HEADER.pack(len(payload), ord(kind), 0, 0) + payload)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "normal")
