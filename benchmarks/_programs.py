"""Small programs of our own with known verdicts, for the runs that last long or kill things."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A program, its tests, and which of them pass; `None`: hostile, no test may pass."""

    name: str
    program: str
    tests: tuple[str, ...]
    expected: tuple[bool, ...] | None


def benign(number: int) -> Case:
    """The n-th harmless case: ten shapes, each with constants of its own, about one in four tests false."""
    shape, k = number % 10, number // 10 % 50 + 2
    program, call, right = _SHAPES[shape]
    tests = []
    expected = []
    for argument in range(4):
        truth = right(argument + k, k)
        passes = (number + argument) % 4 != 0
        tests.append(f"assert {call.format(x=argument + k)} == {truth if passes else (truth, 'not this')!r}")
        expected.append(passes)
    return Case(f"benign {shape}", program.format(k=k), tuple(tests), tuple(expected))


def _digits(x: int, k: int) -> list[int]:
    return [int(digit) for digit in str(x * k)]


_SHAPES: list[tuple[str, str, Callable[[int, int], Any]]] = [
    ("def f(x):\n    return x * {k}\n", "f({x})", lambda x, k: x * k),
    (
        "def f(x):\n    return sum(i % {k} for i in range(x))\n",
        "f({x})",
        lambda x, k: sum(i % k for i in range(x)),
    ),
    ("def f(x):\n    return [int(d) for d in str(x * {k})]\n", "f({x})", _digits),
    (
        "import math\n\ndef f(x):\n    return math.gcd(x, {k}) + x\n",
        "f({x})",
        lambda x, k: __import__("math").gcd(x, k) + x,
    ),
    (
        "class Box:\n    def __init__(self, x):\n        self.x = x\n\ndef f(x):\n    return Box(x).x + {k}\n",
        "f({x})",
        lambda x, k: x + k,
    ),
    ("def f(x):\n    print('x' * {k})\n    return (x, {k})\n", "f({x})", lambda x, k: (x, k)),
    ("def f(x):\n    return {{'x': x, 'k': {k}}}['x']\n", "f({x})", lambda x, k: x),
    (
        "import re\n\ndef f(x):\n    return len(re.findall('a', 'ab' * x)) + {k}\n",
        "f({x})",
        lambda x, k: x + k,
    ),
    (
        "def f(x):\n    return x if x < 2 else f(x - 1) + {k}\n",
        "f({x})",
        lambda x, k: x if x < 2 else 1 + (x - 1) * k,
    ),
    (
        "def f(x):\n    return sorted(range(x), reverse=True)[:{k}]\n",
        "f({x})",
        lambda x, k: list(range(x))[::-1][:k],
    ),
]

_HOSTILE = {
    "leaves with success": "import os\ndef f(x):\n    os._exit(0)\n",
    "exits": "import sys\nsys.exit(0)\ndef f(x):\n    return x\n",
    "kills itself": "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    "crashes": "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    os.abort()\n",
    "loops": "def f(x):\n    while True:\n        pass\n",
    "sleeps": "import time\ndef f(x):\n    time.sleep(3600)\n",
    "eats memory": "def f(x):\n    return [bytearray(1 << 24) for _ in range(1 << 20)]\n",
    "forks": "import os\ndef f(x):\n    while True:\n        os.fork()\n",
    "starts threads": (
        "import threading, time\ndef f(x):\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(99,)).start()\n"
    ),
    "floods its output": "def f(x):\n    for _ in range(2000):\n        print('y' * 4096)\n    raise ValueError\n",
    "fills the disk": (
        "def f(x):\n    with open('/tmp/big', 'wb') as file:\n        while True:\n"
        "            file.write(b'z' * (1 << 20))\n"
    ),
    "makes files": "def f(x):\n    for n in range(10 ** 7):\n        open('/tmp/%d' % n, 'w').close()\n",
    "recurses": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x):\n    return f(x + 1)\n",
    "writes to every descriptor": (
        "import os\ndef f(x):\n    for fd in range(3, 256):\n        try:\n            os.write(fd, b'\\x00' * 64)\n"
        "        except OSError:\n            pass\n    raise ValueError\n"
    ),
    "equals everything": (
        "class Yes:\n    def __eq__(self, other):\n        return True\n    __hash__ = None\n"
        "def f(x):\n    return Yes()\n"
    ),
}


def hostile(number: int) -> Case:
    """The n-th hostile case."""
    names = list(_HOSTILE)
    name = names[number % len(names)]
    return Case(name, _HOSTILE[name], ("assert f(1) == 1", "assert f(2) == 2"), None)


def mix(count: int, hostile_share: float, block: int = 1000, seed: int = 0) -> Iterator[Case]:
    """`count` cases, lazily. Every block of `block` has the same composition in another order."""
    order = random.Random(seed)
    bad = round(block * hostile_share)
    made = 0
    while made < count:
        cases = [hostile(n) for n in range(bad)] + [benign(n) for n in range(block - bad)]
        order.shuffle(cases)
        yield from cases[: count - made]
        made += len(cases)
