"""Resource attacks: use up processes, memory, files, output, descriptors or time, or die in a way that takes others along.

Every one of them must end by itself or by a limit, within its time, with the worker's memory and processes under the
ceilings given here while it runs, and the next program must find everything as it should be.
"""

from __future__ import annotations

from .records import RESOURCES, Escape

# The program's own scratch, wherever the tier has it.
_OWN = "\nimport tempfile\nOWN = tempfile.gettempdir()\n"
_MEMORY = {"memory_mb": 256}


def _bomb(name: str, tries: str, program: str, **rest: object) -> Escape:
    rest.setdefault("seconds", 40.0)
    return Escape(name, RESOURCES, tries, _OWN + program, **rest)  # type: ignore[arg-type]


ATTACKS = (
    # ---- processes and threads ----
    _bomb(
        "fork_bomb",
        "fork without end",
        "def attack():\n    for _ in range(100000):\n        try:\n            FORK()\n        except OSError:\n            break\n",
        most_processes=40,
        positions=("script", "program"),
        profiles=("compute",),
    ),
    _bomb(
        "fork_bomb_by_a_shell",
        "let a shell fork without end, and start programs without end",
        "import time\ndef attack():\n    os.system('b() { b | b & }; b')\n    os.system('for i in $(seq 3000); do sleep 5 & done')\n    time.sleep(0.5)\n",
        limits={"processes": 8, "threads": 8},
        tiers=("namespaces",),
        profiles=("system",),
        most_processes=60,
    ),
    _bomb(
        "fork_bomb_where_processes_are_allowed",
        "fork without end where a few processes are allowed",
        """
import time
def attack():
    parent = os.getpid()
    for _ in range(5000):
        try:
            FORK()
        except OSError:
            break
    time.sleep(0.5)
    if os.getpid() != parent:
        os._exit(0)
""",
        limits={"processes": 8, "threads": 8},
        tiers=("namespaces",),
        most_processes=60,
        positions=("script", "program"),
    ),
    _bomb(
        "thread_bomb",
        "start threads without end",
        """
import threading, time
def attack():
    n = 0
    try:
        for n in range(100000):
            threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
    except RuntimeError:
        pass
    trial('more than a thousand threads', lambda: n > 1000 and n)
""",
        most_processes=400,
    ),
    _bomb(
        "raw_thread_bomb",
        "clone threads by number, past the threading module",
        """
import _thread, time
def attack():
    n = 0
    _thread.stack_size(32768)
    try:
        for n in range(100000):
            _thread.start_new_thread(time.sleep, (1,))
    except RuntimeError:
        pass
    trial('more than a thousand threads', lambda: n > 1000 and n)
""",
        most_processes=400,
    ),
    # ---- memory ----
    _bomb(
        "memory_by_objects",
        "grow a list",
        "def attack():\n    keep = []\n    while True:\n        keep.append([0] * 100000)\n",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_one_block",
        "ask for 100 GB at once and touch it",
        "def attack():\n    trial('100 GB', lambda: len(bytearray(100 << 30)))\n    trial('repetition', lambda: len(b'x' * (20 << 30)))\n",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_mapping",
        "map anonymous memory, private and shared, and touch every page",
        """
import mmap
def attack():
    keep = []
    def fill(flags):
        for _ in range(64):
            m = mmap.mmap(-1, 32 << 20, flags=flags)
            for at in range(0, len(m), 4096):
                m[at] = 1
            keep.append(m)
        return '2 GB'
    trial('shared', lambda: fill(mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
    keep.clear()
    trial('private', lambda: fill(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
""",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_memfd",
        "write to files that live in memory and are in no file system",
        """
def attack():
    def fill():
        total = 0
        for n in range(200):
            fd = os.memfd_create('x%d' % n)
            for _ in range(16):
                total += os.write(fd, bytes(1 << 20))
        return '%d MB' % (total >> 20)
    trial('memfd', fill)
""",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_pipes_and_sockets",
        "keep data in kernel buffers",
        """
import fcntl, socket
def attack():
    total = 0
    keep = []
    try:
        for _ in range(5000):
            r, w = os.pipe()
            keep += [r, w]
            try:
                fcntl.fcntl(w, 1031, 1 << 20)
            except OSError:
                pass
            os.set_blocking(w, False)
            try:
                while True:
                    total += os.write(w, bytes(1 << 16))
            except BlockingIOError:
                pass
    except OSError:
        pass
    trial('kept in pipes', lambda: total > 600 << 20 and '%d MB' % (total >> 20))
    sent = 0
    for fd in keep:
        os.close(fd)
    try:
        for _ in range(5000):
            a, b = socket.socketpair()
            keep += [a, b]
            a.setblocking(False)
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
            try:
                while True:
                    sent += a.send(bytes(1 << 16))
            except BlockingIOError:
                pass
    except OSError:
        pass
    trial('kept in sockets', lambda: sent > 600 << 20 and '%d MB' % (sent >> 20))
""",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_connections",
        "keep data in the buffers of TCP, UDP and Unix sockets, which are the kernel's",
        """
import socket
def attack():
    def fill(kind, pairs):
        sent, keep = 0, []
        try:
            for _ in range(5000):
                a, b = pairs()
                keep += [a, b]
                for s in (a, b):
                    s.setblocking(False)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
                try:
                    for _ in range(100000):
                        sent += a.send(bytes(1 << 15))
                except BlockingIOError:
                    pass
        except OSError:
            pass
        for s in keep:
            s.close()
        return sent > 200 << 20 and '%d MB in %s' % (sent >> 20, kind)
    def tcp():
        server = socket.create_server(('127.0.0.1', 0))
        try:
            client = socket.create_connection(server.getsockname())
            return client, server.accept()[0]
        finally:
            server.close()
    trial('TCP', lambda: fill('TCP', tcp))
    trial('Unix', lambda: fill('Unix', socket.socketpair))
    def memory():
        found = [line.split() for line in open('/proc/net/sockstat') if line.startswith('TCP:')]
        return int(found[0][-1]) * 4096 > 1 << 30 and 'the whole machine has %s pages in TCP' % found[0][-1]
    trial('of the machine', memory)
""",
        profiles=("system",),
        tiers=("namespaces",),
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "memory_by_many_processes",
        "let each of several processes take nearly all that one may have",
        """
import time
def attack():
    children = []
    try:
        for _ in range(8):
            pid = FORK()
            if pid == 0:
                keep = []
                try:
                    for _ in range(25):
                        keep.append(bytearray(8 << 20))
                        for block in keep[-1:]:
                            block[::4096] = b'x' * len(block[::4096])
                except MemoryError:
                    pass
                time.sleep(0.7)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.waitpid(pid, 0)
""",
        limits={"memory_mb": 256, "processes": 8},
        tiers=("namespaces",),
        most_mb=2400,  # without a cgroup the limit is each process's own: nine times 256
        positions=("script", "program"),
    ),
    _bomb(
        "memory_limit_raised",
        "raise its own limits: memory, CPU, files, processes, core size",
        """
import resource
def attack():
    for name in ('AS', 'CPU', 'FSIZE', 'NOFILE', 'NPROC', 'CORE', 'DATA', 'STACK', 'MEMLOCK', 'RTPRIO', 'NICE', 'SIGPENDING', 'MSGQUEUE'):
        kind = getattr(resource, 'RLIMIT_' + name, None)
        if kind is None:
            continue
        soft, hard = resource.getrlimit(kind)
        def lift(kind=kind, hard=hard):
            if hard == resource.RLIM_INFINITY:
                return False
            resource.setrlimit(kind, (hard + 1, hard + 1))
            return 'raised above %d' % hard
        trial(name, lift)
        if name in ('AS', 'FSIZE', 'NOFILE', 'NPROC', 'CORE'):
            trial(name + ' is limited', lambda hard=hard: hard == resource.RLIM_INFINITY and name != 'AS' and 'unlimited')
""",
    ),
    _bomb(
        "locked_memory",
        "lock memory so that it cannot be reclaimed",
        """
import mmap
def attack():
    m = mmap.mmap(-1, 64 << 20)
    at = ctypes.addressof(ctypes.c_char.from_buffer(m))
    def lock():
        if LIBC.mlock(ctypes.c_void_p(at), ctypes.c_size_t(64 << 20)) != 0:
            raise OSError(ctypes.get_errno(), 'mlock')
        return '64 MB locked'
    trial('mlock', lock)
    def everything():
        if LIBC.mlockall(2) != 0:
            raise OSError(ctypes.get_errno(), 'mlockall')
        return len(bytearray(64 << 20)) and 'all that comes is locked'
    trial('mlockall', everything)
""",
    ),
    # ---- files ----
    _bomb(
        "scratch_overflow",
        "write files until something gives",
        """
def attack():
    total = 0
    try:
        for n in range(100):
            with open(OWN + '/big%d' % n, 'wb', 0) as file:
                for _ in range(30):
                    total += file.write(bytes(1 << 20))
    except OSError:
        pass
    trial('more than 200 MB', lambda: total > 200 << 20 and '%d MB' % (total >> 20))
""",
        most_mb=700,
        may_die=True,
    ),
    _bomb(
        "space_without_writing",
        "allocate files without writing them, with names and without",
        """
def attack():
    import os
    total, kept = 0, []
    for flags in (os.O_CREAT, os.O_TMPFILE):
        try:
            for n in range(50):
                path = OWN + ('/file%d' % n if flags == os.O_CREAT else '')
                kept.append(os.open(path, os.O_RDWR | flags, 0o600))
                os.posix_fallocate(kept[-1], 0, 60 << 20)
                total += 60 << 20
        except OSError:
            pass
    trial('more than 200 MB', lambda: total > 200 << 20 and '%d MB' % (total >> 20))
""",
        most_mb=700,
        may_die=True,
    ),
    _bomb(
        "shared_memory_overflow",
        "fill /dev/shm with files, segments and semaphores until something gives",
        """
def attack():
    from multiprocessing import shared_memory
    import _multiprocessing
    total, made = 0, 0
    try:
        for n in range(100):
            with open('/dev/shm/big%d' % n, 'wb', 0) as file:
                for _ in range(30):
                    total += file.write(bytes(1 << 20))
    except OSError:
        pass
    trial('more than 100 MB', lambda: total > 100 << 20 and '%d MB' % (total >> 20))
    try:
        for made in range(100000):
            _multiprocessing.SemLock(1, 1, 1, '/ace%d' % made, False)
    except OSError:
        pass
    trial('10,000 semaphores', lambda: made > 10000 and made)
""",
        profiles=("system",),
        tiers=("namespaces",),
        most_mb=700,
    ),
    _bomb(
        "sparse_pebibyte",
        "make a file of 1 PiB that occupies nothing",
        """
import signal
def attack():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open(OWN + '/sparse', os.O_CREAT | os.O_RDWR)
    trial('ftruncate', lambda: os.ftruncate(fd, 1 << 50) is None and os.fstat(fd).st_size)
    trial('seek and write', lambda: os.lseek(fd, 1 << 50, 0) and os.write(fd, b'x'))
    trial('fallocate', lambda: os.posix_fallocate(fd, 0, 1 << 50) is None and 'allocated')
""",
    ),
    _bomb(
        "sparse_without_care",
        "make a file of 1 PiB and die of SIGXFSZ",
        "def attack():\n    fd = os.open(OWN + '/sparse', os.O_CREAT | os.O_RDWR)\n    os.ftruncate(fd, 1 << 50)\n",
    ),
    _bomb(
        "many_files",
        "make files until there are no inodes left",
        """
def attack():
    n = 0
    try:
        for n in range(300000):
            os.close(os.open(OWN + '/f%d' % n, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pass
    trial('100,000 files', lambda: n > 100000 and n)
""",
    ),
    _bomb(
        "symlink_farm",
        "make links to links without end, and follow them",
        """
def attack():
    n = 0
    try:
        os.symlink('loop', OWN + '/loop')
        for n in range(300000):
            os.symlink('s%d' % (n + 1), OWN + '/s%d' % n)
    except OSError:
        pass
    trial('follow', lambda: open(OWN + '/s0').read())
    trial('100,000 links', lambda: n > 100000 and n)
""",
    ),
    _bomb(
        "hard_link_farm",
        "make hard links, which cost no inodes",
        """
def attack():
    n = 0
    try:
        open(OWN + '/one', 'w').close()
        for n in range(300000):
            os.link(OWN + '/one', OWN + '/l%d' % n)
    except OSError:
        pass
    trial('100,000 links', lambda: n > 100000 and n)
""",
    ),
    _bomb(
        "deep_folders",
        "make folders ten thousand levels deep",
        """
def attack():
    os.chdir(OWN)
    n = 0
    try:
        for n in range(10000):
            os.mkdir('d')
            os.chdir('d')
    except OSError:
        pass
    say('held', 'levels', n)
""",
    ),
    _bomb(
        "odd_file_names",
        "make files with names of newlines, control characters, bad UTF-8 and the greatest length",
        """
def attack():
    for name in (b'\\xff' * 255, b'a\\nb\\rc', b'\\x1b[2J', b'..a', b'%s%n', b'-' * 255, '\\u202e'.encode() * 60, b'$(reboot)', b'|true'):
        try:
            with open(os.path.join(OWN.encode(), name), 'wb') as file:
                file.write(b'\\x00\\xff')
        except OSError:
            pass
    trial('a name with NUL', lambda: open(OWN + '/a\\x00b', 'w'))
""",
    ),
    _bomb(
        "descriptors_used_up",
        "open descriptors without end",
        """
def attack():
    n = 0
    try:
        for n in range(200000):
            os.dup(0)
    except OSError:
        pass
    trial('10,000 descriptors', lambda: n > 10000 and n)
""",
    ),
    # ---- output ----
    _bomb(
        "output_flood",
        "print 400 MB to standard output",
        "def attack():\n    for _ in range(400):\n        os.write(1, b'x' * (1 << 20))\n",
        most_mb=700,
        positions=("script", "program"),
    ),
    _bomb(
        "error_flood",
        "print 400 MB to standard error",
        "def attack():\n    for _ in range(400):\n        os.write(2, b'x' * (1 << 20))\n",
        most_mb=700,
    ),
    _bomb(
        "output_and_error_flood",
        "print to both, a little at a time",
        "def attack():\n    for _ in range(20000):\n        os.write(1, b'out\\n' * 500)\n        os.write(2, b'err\\n' * 500)\n",
        most_mb=700,
        positions=("script", "program"),
    ),
    _bomb(
        "output_of_bad_text",
        "print NUL bytes, bad UTF-8, half characters and terminal sequences",
        "def attack():\n    for fd in (1, 2):\n        os.write(fd, bytes(range(256)) * 20 + b'\\xf0\\x9f\\x98' + b'\\x1b]0;title\\x07\\x1b[2J' + b'\\xed\\xa0\\x80')\n",
        positions=("script", "program"),
        may_die=False,
    ),
    _bomb(
        "closed_output",
        "close and replace its outputs, then print",
        "def attack():\n    keep = os.dup(1)\n    os.close(1)\n    os.close(2)\n    try:\n        print('x' * 100000)\n    except OSError:\n        pass\n    os.dup2(keep, 1)\n",
        positions=("script", "program"),
    ),
    # ---- crashes ----
    _bomb("segmentation_fault", "read address 0", "def attack():\n    ctypes.string_at(0)\n"),
    _bomb("jump_into_nothing", "call address 8", "def attack():\n    ctypes.CFUNCTYPE(None)(8)()\n"),
    _bomb(
        "illegal_instruction",
        "execute what is no instruction",
        """
import mmap
def attack():
    code = mmap.mmap(-1, 4096)
    code.write(b'\\x0f\\x0b' * 8)
    at = ctypes.addressof(ctypes.c_char.from_buffer(code))
    LIBC.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), 5)
    ctypes.CFUNCTYPE(None)(at)()
""",
    ),
    _bomb(
        "stack_overflow_in_python",
        "recurse without end after raising the recursion limit",
        "def attack():\n    sys.setrecursionlimit(10 ** 9)\n    class A:\n        def __repr__(self):\n            return repr([self])\n    repr(A())\n",
    ),
    _bomb(
        "stack_overflow_in_c",
        "recurse inside the C parts of the interpreter",
        "def attack():\n    sys.setrecursionlimit(10 ** 9)\n    v = ()\n    for _ in range(3000000):\n        v = (v,)\n    hash(v)\n    del v\n",
    ),
    _bomb(
        "corrupted_interpreter",
        "overwrite the interpreter's own memory",
        "def attack():\n    for o in (None, True, int, type, sys, os, (), ''):\n        ctypes.memset(id(o), 0x41, 64)\n",
    ),
    _bomb(
        "corrupted_heap",
        "free what was never allocated and write past a block",
        "def attack():\n    LIBC.malloc.restype = ctypes.c_void_p\n    p = LIBC.malloc(32)\n    ctypes.memset(p, 0x41, 4096)\n    LIBC.free(ctypes.c_void_p(p))\n"
        "    LIBC.free(ctypes.c_void_p(p))\n    LIBC.free(ctypes.c_void_p(0x1234))\n    for _ in range(100):\n        LIBC.malloc(3000)\n",
    ),
    # ---- time ----
    _bomb(
        "power_tower",
        "10**10**8",
        "def attack():\n    trial('10**10**8', lambda: (10 ** 10 ** 8) > 0 and None)\n",
        most_mb=1700,
    ),
    _bomb(
        "catastrophic_regex",
        "a regular expression that backtracks for ever, inside one C call",
        "import re\ndef attack():\n    re.match('(a+)+$', 'a' * 60 + 'b')\n",
    ),
    _bomb(
        "endless_c_call",
        "one call of a C function that never returns to the interpreter",
        "import hashlib\ndef attack():\n    hashlib.pbkdf2_hmac('sha256', b'', b'', 2 ** 31 - 1)\n",
    ),
    _bomb(
        "endless_sum", "sum(range(10**13)), inside one C call", "def attack():\n    sum(range(10 ** 13))\n"
    ),
    _bomb("endless_sleep", "sleep for a day", "import time\ndef attack():\n    time.sleep(86400)\n"),
    _bomb(
        "endless_wait",
        "wait for input, for a lock, for a signal, for a thread",
        "import threading\ndef attack():\n    lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()\n",
    ),
    _bomb(
        "naps",
        "sleep almost all of the time and work a little, for ever",
        "import time\ndef attack():\n    while True:\n        time.sleep(0.001)\n        sum(range(100))\n",
        seconds=90.0,
    ),
    _bomb(
        "blocked_signals",
        "block and ignore every signal, then spin",
        """
import signal
def attack():
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        pass
""",
    ),
    _bomb(
        "handled_signals",
        "handle every signal and go on spinning",
        """
import signal
def attack():
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
""",
    ),
    _bomb(
        "threads_share_the_burn",
        "burn CPU time in many threads, outside the interpreter's lock",
        """
import hashlib, threading
def attack():
    for _ in range(16):
        threading.Thread(target=hashlib.pbkdf2_hmac, args=('sha256', b'', b'', 2 ** 31 - 1), daemon=True).start()
    hashlib.pbkdf2_hmac('sha256', b'', b'', 2 ** 31 - 1)
""",
    ),
    _bomb(
        "children_burn",
        "let children burn CPU time and wait for them",
        """
def attack():
    pids = []
    try:
        for _ in range(4):
            pid = FORK()
            if pid == 0:
                while True:
                    pass
            pids.append(pid)
    except OSError:
        pass
    if pids:
        os.waitpid(pids[0], 0)
""",
        limits={"processes": 8},
        tiers=("namespaces",),
        positions=("script", "program"),
    ),
    _bomb(
        "programs_burn",
        "let programs of the machine burn CPU time, wait for them, and leave some behind",
        "def attack():\n    os.system('(while :; do :; done) & (while :; do :; done) & setsid sh -c \"while :; do :; done\" & wait')\n",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _bomb(
        "never_leaves",
        "refuse to go: handlers at exit, finalizers and threads that spin when the program should end",
        """
import atexit, threading
def spin():
    while True:
        pass
class Late:
    def __del__(self):
        spin()
def attack():
    atexit.register(spin)
    threading.Thread(target=spin).start()
    global late
    late = Late()
""",
    ),
    _bomb(
        "timers_and_signals_queued",
        "make timers and queue signals until the kernel refuses",
        """
import signal
def attack():
    NUMBERS['timer_create'] = {'x86_64': 222, 'aarch64': 107}[platform.machine()]
    made, number = 0, ctypes.c_int()
    try:
        for made in range(200000):
            call('timer_create', 1, None, ctypes.byref(number))
    except OSError:
        pass
    trial('150,000 timers', lambda: made > 150000 and made)
""",
    ),
    _bomb(
        "many_mappings",
        "split its memory into as many mappings as there can be",
        """
def attack():
    LIBC.mmap.restype = ctypes.c_void_p
    n = 0
    for n in range(200000):
        at = LIBC.mmap(None, ctypes.c_size_t(8192), n % 2 + 1, 0x22, -1, ctypes.c_long(0))
        if at in (None, ctypes.c_void_p(-1).value):
            break
        LIBC.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), 0)
    say('held', 'mappings', n)
""",
    ),
    # ---- texts that are hard to load ----
    _bomb(
        "source_nested",
        "compile a text nested a hundred thousand levels",
        "def attack():\n    for pair in ('()', '[]', '{}'):\n        try:\n            compile(pair[0] * 100000 + pair[1] * 100000, 'x', 'exec')\n"
        "        except (SyntaxError, RecursionError, MemoryError):\n            pass\n",
    ),
    _bomb(
        "source_long_expression",
        "compile a sum of a million terms, and a chain of a hundred thousand attributes",
        "def attack():\n    for text in ('1' + '+1' * 1000000, 'a' + '.a' * 100000, '-' * 300000 + '1', 'not ' * 300000 + '1', '[' * 199 + ']' * 199):\n"
        "        try:\n            compile(text, 'x', 'exec')\n        except (SyntaxError, RecursionError, MemoryError):\n            pass\n",
    ),
    _bomb(
        "source_constant_folding",
        "compile constants that fold into giants",
        "def attack():\n    for text in ('((1,) * 4000) * 4000', '\"a\" * 4096 * 4096', '2 ** 127 ** 3', '((((1,) * 20) * 20) * 20) * 20', '1 << 10 ** 9'):\n"
        "        try:\n            exec(compile('def g():\\n return ' + text, 'x', 'exec'))\n        except (SyntaxError, RecursionError, MemoryError, OverflowError):\n            pass\n",
        limits=_MEMORY,
        most_mb=700,
    ),
    _bomb(
        "source_marshal",
        "load hand-made code objects",
        "import types\ndef attack():\n    def g():\n        pass\n    code = g.__code__.replace(co_code=bytes([100, 255, 90, 255, 131, 200, 1, 0] * 50), co_stacksize=0)\n    exec(code)\n",
    ),
    _bomb(
        "imports_everything",
        "import every module of the standard library",
        """
def attack():
    skip = {'antigravity', 'this', 'idlelib', 'turtledemo', '__phello__', 'turtle'}
    for name in sorted(getattr(sys, 'stdlib_module_names', ['json', 'asyncio', 'xml'])):
        if name not in skip:
            try:
                __import__(name)
            except BaseException:
                pass
""",
        limits={"load_cpu_s": 10, "cpu_s": 10, "program_cpu_s": 20, "judge_cpu_s": 20},
        seconds=90.0,
    ),
)
