"""Stands in for the guest package in tests of the jail: runs the source it is sent on fd 3 and sends `result` back."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Read u32 length and source, execute it, write the JSON of its global `result`."""
    length = int.from_bytes(os.read(3, 4), "little")
    source = b""
    while len(source) < length:
        source += os.read(3, length - len(source))
    scope: dict = {"guest": json.loads(sys.argv[1])}
    exec(compile(source, "<test>", "exec"), scope)
    answer = json.dumps(scope.get("result")).encode()
    while answer:
        answer = answer[os.write(3, answer) :]
