"""Answers of every kind to one question, "write add(a, b)", for the tests of rewards."""

from __future__ import annotations

TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 5) == 5", "assert add(-1, 1) == 0"]


def block(program: str) -> str:
    return f"Here it is.\n\n```python\n{program}\n```\n"


RIGHT = block("def add(a, b):\n    return a + b")
HALF = block("def add(a, b):\n    return a + b if a > 0 else 99")
WRONG = block("def add(a, b):\n    return 99")

# What a policy may come up with. None of it passes a test, and none of it may end a run.
HOSTILE = {
    "empty": "",
    "white space": " \n\t\n",
    "prose in a fence": block("I cannot do this."),
    "never closed": "```python\ndef add(a, b",
    "thinking for ever": "<think>" + "hmm " * 1000,
    "NUL": block("def add(a, b):\n    return '\0'"),
    "lone surrogate": block("def add(a, b):\n    return '\ud800'"),
    "lone surrogate in prose": "\udfff" + WRONG,
    "huge": block("x = '" + "a" * 3_000_000 + "'"),
    "endless": "```python\n" * (1 << 20),
    "not UTF-8": block("def add(a, b):\n    return '" + b"\xff\xfe".decode("utf-8", "surrogateescape") + "'"),
    "deep": block("x = " + "(" * 50_000),
    "exits": block("import os\nos._exit(0)"),
    "exits in the call": block("import os\ndef add(a, b):\n    os._exit(0)"),
    "kills": block("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(0, signal.SIGKILL)"),
    "equal to everything": block(
        "class All:\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef add(a, b):\n    return All()"
    ),
    "recursion": block("def add(a, b):\n    return add(a, b)"),
    "memory": block("def add(a, b):\n    return len(bytearray(1 << 40))"),
    "output": block("def add(a, b):\n    print('x' * 10_000_000)"),
    "imports what is not there": block("import not_there"),
}
