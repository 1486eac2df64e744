"""The sample behind `acesandbox demo`: one problem, and programs that solve it, fail it, and try to get round it.

Each forging program here passes in a judge that keeps program, tests and expected values in one interpreter; the
attack corpus under tests/ shows that for each of its attacks. Here they are judged as any program is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ._sandbox import Sandbox
from ._tests import Asserts
from ._verdict import Verdict

TASK = "longest_run(text): the length of the longest run of one letter, e.g. 3 for 'abbbc'"

TESTS = Asserts(
    [
        "assert longest_run('abbbc') == 3",
        "assert longest_run('') == 0",
        "assert longest_run('aabbccddd') == 3",
        "assert longest_run('x') == 1, 'one letter'",
        "assert longest_run('zzzz' + 'y' * 6) == 6",
    ],
    entry_point="longest_run",
)

# A fifth of the defaults and less: what the right programs here need is far below, and nobody likes to watch the three
# that hang.
LIMITS = {"cpu_s": 0.2, "program_cpu_s": 0.4, "idle_s": 0.2}

_RIGHT = """
def longest_run(text):
    best = run = 0
    last = None
    for letter in text:
        run = run + 1 if letter == last else 1
        last = letter
        best = max(best, run)
    return best
"""


class Example:
    """A program, what it is up to in a few words, and whether it deserves to pass."""

    __slots__ = ("deserves", "name", "program", "what")

    def __init__(self, name: str, what: str, program: str, deserves: bool = False) -> None:
        self.name = name
        self.what = what
        self.program = textwrap.dedent(program)
        self.deserves = deserves


EXAMPLES = (
    Example("right", "solves it", _RIGHT, True),
    Example("right, noisy", "solves it and prints a megabyte", "print('x' * 1_000_000)\n" + _RIGHT, True),
    Example("wrong", "forgets the last run", _RIGHT.replace("best = max(best, run)", "pass")),
    Example("not Python", "prose instead of code", "Sure! Here is a function that does it:\n"),
    Example("raises", "fails on the empty text", "def longest_run(text):\n    return text.count(text[0])\n"),
    Example("hangs", "never ends", "def longest_run(text):\n    while True:\n        pass\n"),
    Example("sleeps", "waits for ever", "import time\ndef longest_run(text):\n    time.sleep(1000)\n"),
    Example(
        "hangs at times",
        "never ends on long texts",
        "def longest_run(text):\n    while len(text) > 5: pass\n    return {'': 0, 'x': 1}.get(text, 3)\n",
    ),
    Example("hoards", "asks for 8 GB", "def longest_run(text):\n    return len(bytearray(8 << 30))\n"),
    Example(
        "crashes",
        "reads address 0",
        """
        def longest_run(text):
            import ctypes
            return ctypes.string_at(0)
        """,
    ),
    Example("exits", "leaves with exit code 0", "import sys\ndef longest_run(text):\n    sys.exit(0)\n"),
    Example("exits hard", "leaves without clean-up", "import os\ndef longest_run(text):\n    os._exit(0)\n"),
    Example(
        "forges equality",
        "returns an object that equals everything",
        """
        class Everything(int):
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            def __hash__(self): return 0

        def longest_run(text):
            return Everything()
        """,
    ),
    Example(
        "steals the answer",
        "looks for expected values in the callers' frames and in all objects",
        """
        import gc, re, sys

        def longest_run(text):
            frame, seen = sys._getframe(), []
            while frame:
                seen += [v for v in (*frame.f_locals.values(), *frame.f_code.co_consts) if isinstance(v, str)]
                frame = frame.f_back
            seen += [o for o in gc.get_objects() if isinstance(o, str)]
            for line in seen:
                found = re.search(re.escape(repr(text)) + r"\\) == (\\d+)", line)
                if found:
                    return int(found.group(1))
        """,
    ),
    Example(
        "bribes the judge",
        "replaces what a judge might call",
        """
        import builtins, sys, unittest

        class Never(Exception):
            pass

        builtins.AssertionError = Never
        unittest.TestCase.assertEqual = lambda *rest, **named: None
        sys.modules["json"] = sys
        print("passed\\n5 passed in 0.01s\\n" * 3)

        def longest_run(text):
            return None
        """,
    ),
    Example(
        "writes the verdict",
        "writes to every descriptor it may have",
        """
        import os

        def longest_run(text):
            for fd in range(1, 256):
                try:
                    os.write(fd, b'{"passed": true}')
                except OSError:
                    pass
        """,
    ),
    Example(
        "reads files",
        "wants /etc/passwd and the host's home",
        """
        import os

        def longest_run(text):
            return len(open("/etc/passwd").read()) + len(os.listdir("/home"))
        """,
    ),
    Example(
        "phones home",
        "opens a connection",
        """
        import socket

        def longest_run(text):
            return len(socket.create_connection(("127.0.0.1", 22), timeout=1).recv(3))
        """,
    ),
    Example(
        "fork bomb",
        "makes processes without end",
        """
        import os

        def longest_run(text):
            while True:
                os.fork()
        """,
    ),
    Example(
        "leaves a note",
        "writes the answers where the next program could read them",
        "open('/tmp/note', 'w').write('6')\n" + _RIGHT,
        True,
    ),
    Example(
        "reads the note",
        "returns what the program before it left",
        """
        def longest_run(text):
            return int(open('/tmp/note').read())
        """,
    ),
)


def judge_all(sandbox: Sandbox) -> Iterator[tuple[Example, Verdict]]:
    """Judges every example; yields it with its verdict."""
    jobs = [(example.program, TESTS) for example in EXAMPLES]
    yield from zip(EXAMPLES, sandbox.judge_many(jobs), strict=True)


def explain(verdict: Verdict) -> str:
    """Why the verdict is what it is, in one line."""
    if verdict.passed:
        return "every test passed"
    test = next(test for test in verdict.tests if test.status is verdict.status)
    first = test.message.strip().splitlines()
    return first[-1] if first else test.status.value.replace("_", " ")
