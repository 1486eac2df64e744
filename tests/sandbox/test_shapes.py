"""Which tests are not sealed: decided by their text, with a reason, and run beside the program."""

from __future__ import annotations

import pytest

from tests.sandbox.pretend import guest, judge

PLAN = guest().plan


def reason(test: str, kind: str = "asserts") -> str:
    """Why a test is shared; "" if it is sealed."""
    problem = {"kind": kind, "tests": [test], "entry_point": "f", "prompt": None}
    planned = PLAN.make_plan(problem).tests[0]
    assert (planned.mode == PLAN.SHARED) == bool(planned.mode == PLAN.SHARED and planned.why)
    return planned.why if planned.mode == PLAN.SHARED else ""


SHARED = {
    "mocks": "from unittest.mock import patch\nwith patch('os.getcwd'):\n    f(1)",
    "patch.object": "from unittest import mock\nwith mock.patch.object(str, 'x'):\n    f(1)",
    "mock arguments": "from unittest.mock import MagicMock\nf(MagicMock())",
    "a thread of the program's": "import threading\nthreading.Thread(target=f, args=(1,)).start()",
    "such a thread, by position": "from threading import Thread\nt = Thread(None, f)\nt.start()",
    "a pool of processes": "from multiprocessing import Pool\nwith Pool(2) as p:\n    assert p.map(f, [1]) == [1]",
    "a process": "import multiprocessing as m\np = m.Process(target=f)\np.start()",
    "an executor of processes": "import concurrent.futures as c\nc.ProcessPoolExecutor().submit(f, 1)",
    "a fork": "import os\nif os.fork() == 0:\n    f(1)",
    "inspect": "import inspect\nassert inspect.getsource(f)",
    "code objects": "assert f.__code__.co_argcount == 1 or f(1)",
    "globals": "for i in (1,):\n    assert globals()['f'](i)",
    "modules": "import sys\nassert sys.modules['x'] or f(1)",
    "environment": "import os\nos.environ['A'] = '1'\nassert f(1)",
    "working directory": "import os\nos.chdir('/')\nassert f(1)",
    "standard input": "import sys, io\nsys.stdin = io.StringIO('1')\nassert f(1)",
    "builtins replaced": "import builtins\nbuiltins.input = lambda: '1'\nassert f(1)",
    "an iterator": "assert (lambda: f(iter([1, 2])))()",
    "an iterator by name": "it = iter([1])\nassert f(it) == 1",
    "a generator": "for n in (3,):\n    assert f(i for i in range(n))",
    "an open file": "with open('x') as file:\n    assert f(file)",
    "a StringIO": "import io\nbuffer = io.StringIO()\nf(buffer)\nassert buffer.getvalue()",
    "an instance of the test's class": "class Thing:\n    pass\nassert f(Thing())",
    "such an instance in a list": "class Thing:\n    pass\nt = Thing()\nassert f([1, t])",
    "a derived class": "class Mine(f):\n    pass\nassert Mine()",
    "a decorated function": "@f\ndef mine():\n    return 1\nassert mine()",
    "logs": (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        with self.assertLogs():\n            f(1)"
    ),
    "a function's attribute set": "f.cache = {}\nassert f(1)",
    "exec": "exec('assert f(1)')",
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_with_a_reason(name: str) -> None:
    assert reason(SHARED[name])


SEALED = {
    "standard output replaced": (
        "import io, sys\nkept = sys.stdout\nsys.stdout = io.StringIO()\nf(1)\nsys.stdout = kept"
    ),
    "standard output patched": (
        "import io\nfrom unittest.mock import patch\nwith patch('sys.stdout', new=io.StringIO()):\n    f(1)"
    ),
    "a file of the test's, by name": "with open('x.txt', 'w') as file:\n    file.write('1')\nassert f('x.txt')",
    "an iterator that stays": "for a, b in zip([1], [2]):\n    assert f(a) == b",
    "a class that stays": "class Case:\n    value = 1\nassert f(1) == Case.value",
    "a lambda": "g = lambda x: x\nassert f(g)",
    "exceptions": "try:\n    f(1)\nexcept ValueError as error:\n    assert 'x' in str(error)",
    "threads of its own": "import threading\nt = threading.Thread(target=lambda: f(1))\nt.start()\nt.join()",
    "programs of the machine": "import subprocess\nassert subprocess.check_output(['echo', f(1)])",
    "a multiprocessing that is imported only": "import multiprocessing\nassert f(1) == 1",
    "a file listing": "import os\nf('a')\nassert os.path.exists('a')",
}


@pytest.mark.parametrize("name", SEALED)
def test_sealed(name: str) -> None:
    assert reason(SEALED[name]) == ""


def test_a_test_that_uses_a_name_of_a_shared_test_is_shared_too() -> None:
    tests = [
        "import inspect\ncount = len(inspect.signature(f).parameters)",
        "assert f(count) == 2",
        "assert f(1) == 2",
    ]
    results = judge("def f(x): return x + 1", "asserts", tests, "f")
    assert [(r.status, r.mode) for r in results] == [
        ("passed", "shared"),
        ("passed", "shared"),
        ("passed", "plan"),
    ]


def test_a_shared_test_runs_beside_the_program() -> None:
    test = "from unittest.mock import patch\nwith patch('os.getcwd', return_value='here'):\n    assert f() == 'here'"
    (result,) = judge("import os\ndef f(): return os.getcwd()", "asserts", [test], "f")
    assert (result.status, result.mode) == ("passed", "shared")
    (result,) = judge("import os\ndef f(): return 'there'", "asserts", [test], "f")
    assert result.status == "failed"


def test_a_shared_unittest_and_check_script() -> None:
    text = (
        "import unittest\nfrom unittest.mock import patch\nclass T(unittest.TestCase):\n"
        "    @patch('os.getcwd', return_value='here')\n    def test(self, _):\n        self.assertEqual(f(), 'here')\n"
    )
    for program, status in (("import os\nf = lambda: os.getcwd()", "passed"), ("f = lambda: 1", "failed")):
        (result,) = judge(program, "unittest", [text], "f")
        assert (result.status, result.mode) == (status, "shared")
    script = "import inspect\ndef check(c):\n    assert len(inspect.signature(c).parameters) == 1\n"
    for program, status in (("def f(x): pass", "passed"), ("def f(x, y): pass", "failed")):
        (result,) = judge(program, "check_script", [script], "f")
        assert (result.status, result.mode) == (status, "shared")
