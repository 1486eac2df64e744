"""Cross-program attacks: one program leaves something behind, the next one, or one beside it, finds it.

In sequence both run on the same worker, one after the other; in parallel on two workers at the same time. A collector
that finds nothing has held; one that finds its surroundings spoilt by the planter has not.
"""

from __future__ import annotations

from .records import Pair

# The program's own scratch, wherever the tier has it.
_OWN = "\nimport tempfile\nOWN = tempfile.gettempdir()\n"


def _pair(name: str, tries: str, plant: str, collect: str, parallel: bool = False, **rest: object) -> Pair:
    return Pair(name, tries, _OWN + plant, _OWN + collect, parallel, **rest)  # type: ignore[arg-type]


ATTACKS = (
    _pair(
        "files_left_behind",
        "leave files, folders, links, pipes and odd names in every place it can write to",
        """
def attack():
    for place in {OWN, '/tmp', '/dev/shm', '/var/tmp', '/run', os.getcwd(), '/'}:
        for name in (b'ace-left', b'.ace-left', b'\\xff\\xfe', b'-rf', b'a\\nb', b'*', b' '):
            try:
                path = os.path.join(place.encode(), name)
                os.makedirs(path + b'.d/e/f', exist_ok=True)
                with open(path, 'w') as file:
                    file.write('message')
                os.chmod(path + b'.d', 0)
                os.symlink(b'/', path + b'.l')
                os.mkfifo(path + b'.p')
            except OSError:
                pass
""",
        """
def attack():
    for place in {OWN, '/dev/shm', '/var/tmp', '/run', os.getcwd()}:
        def look(place=place):
            return [n for n in os.listdir(place) if place == OWN or 'ace-left' in n]
        trial(place, look)
""",
    ),
    _pair(
        "folder_attributes",
        "leave a message in mode, times, owner and attributes of the scratch itself",
        """
def attack():
    for action in (lambda: os.setxattr(OWN, 'user.ace', b'message'), lambda: os.utime(OWN, (86400 * 365, 86400 * 365)), lambda: os.chmod(OWN, 0o2755),
                   lambda: os.chown(OWN, -1, os.getgid())):
        try:
            action()
        except OSError:
            pass
""",
        """
def attack():
    trial('times', lambda: abs(os.stat(OWN).st_mtime - 86400 * 365) < 2 and 'the planted time')
    trial('mode', lambda: os.stat(OWN).st_mode & 0o7777 == 0o2755 and 'the planted mode')
    trial('attributes', lambda: b'message' == os.getxattr(OWN, 'user.ace') and 'the planted attribute')
    def spoilt():
        try:
            with open(OWN + '/ace-try', 'w') as file:
                file.write('x')
        except OSError as e:
            return 'cannot write any more: %s' % e
    trial('use', spoilt)
""",
    ),
    _pair(
        "scratch_locked",
        "take away all rights from the scratch",
        "def attack():\n    os.makedirs(OWN + '/a/b/c', exist_ok=True)\n    for path in (OWN + '/a/b', OWN + '/a', OWN):\n        try:\n"
        "            os.chmod(path, 0)\n        except OSError:\n            pass\n",
        """
def attack():
    def spoilt():
        try:
            with open(OWN + '/ace-try', 'w') as file:
                file.write('x')
            return os.listdir(OWN) != ['ace-try'] and os.listdir(OWN)
        except OSError as e:
            return 'cannot write any more: %s' % e
    trial('use', spoilt)
""",
    ),
    _pair(
        "scratch_removed",
        "remove or rename the scratch itself",
        "import shutil\ndef attack():\n    for action in (lambda: os.rename(OWN, OWN + '-gone'), lambda: os.rmdir(OWN), lambda: shutil.rmtree(OWN, True)):\n"
        "        try:\n            action()\n        except OSError:\n            pass\n",
        """
def attack():
    def spoilt():
        try:
            with open(OWN + '/ace-try', 'w') as file:
                file.write('x')
        except OSError as e:
            return 'cannot write any more: %s' % e
    trial('use', spoilt)
""",
    ),
    _pair(
        "scratch_full",
        "fill the scratch to the last byte and leave",
        """
def attack():
    try:
        with open(OWN + '/full', 'wb', 0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError:
        pass
    for n in range(100000):
        try:
            os.close(os.open(OWN + '/n%d' % n, os.O_CREAT | os.O_WRONLY))
        except OSError:
            break
""",
        """
def attack():
    def spoilt():
        try:
            with open(OWN + '/ace-try', 'wb') as file:
                file.write(bytes(4 << 20))
        except OSError as e:
            return 'no room: %s' % e
    trial('room', spoilt)
    trial('inodes', lambda: [n for n in os.listdir(OWN) if n != 'ace-try'][:3])
""",
    ),
    _pair(
        "deep_folders_left",
        "leave folders so deep that no path reaches them, and names that no listing shows",
        """
def attack():
    os.chdir(OWN)
    try:
        for n in range(3000):
            os.mkdir('d' * 200)
            os.chdir('d' * 200)
    except OSError:
        pass
""",
        "def attack():\n    trial('left', lambda: os.listdir(OWN))\n    trial('working directory', lambda: 'ddd' in os.getcwd())\n",
    ),
    _pair(
        "unlinked_but_open",
        "keep an unlinked file open from a thread that should die with the program",
        """
import threading, time
def attack():
    fd = os.open(OWN + '/ghost', os.O_CREAT | os.O_RDWR)
    os.write(fd, bytes(40 << 20))
    os.unlink(OWN + '/ghost')
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
""",
        """
def attack():
    def spoilt():
        try:
            with open(OWN + '/ace-try', 'wb') as file:
                file.write(bytes(40 << 20))
        except OSError as e:
            return 'no room: %s' % e
    trial('room', spoilt)
""",
    ),
    _pair(
        "interpreter_poisoning",
        "change modules, builtins, seeds and settings, hoping that the next program is forked from what it leaves",
        """
import builtins, decimal, gc, locale, math, random, signal, threading, warnings
def attack():
    builtins.ace_planted = 1
    math.pi = 3
    sys.modules['ace_planted'] = math
    os.environ['ACE_PLANTED'] = '1'
    sys.path.insert(0, '/ace-planted')
    sys.setrecursionlimit(12345)
    sys.setswitchinterval(0.123)
    decimal.getcontext().prec = 3
    random.seed(7)
    gc.set_threshold(1234)
    warnings.simplefilter('error')
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    os.umask(0o777)
    os.nice(5)
""",
        """
import builtins, decimal, gc, math, random, signal
def attack():
    trial('builtins', lambda: getattr(builtins, 'ace_planted', None))
    trial('a module', lambda: math.pi == 3 or 'ace_planted' in sys.modules)
    trial('environment', lambda: os.environ.get('ACE_PLANTED'))
    trial('path', lambda: '/ace-planted' in sys.path)
    trial('recursion limit', lambda: sys.getrecursionlimit() == 12345)
    trial('switch interval', lambda: sys.getswitchinterval() == 0.123)
    trial('decimal context', lambda: decimal.getcontext().prec == 3)
    trial('seed', lambda: random.random() == random.Random(7).random())
    trial('gc', lambda: gc.get_threshold()[0] == 1234)
    trial('signals', lambda: signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN or signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    def mask():
        was = os.umask(0o22)
        return was == 0o777
    trial('umask', mask)
    trial('nice', lambda: os.nice(0) >= 5 and os.nice(0))
""",
    ),
    _pair(
        "worker_reniced",
        "slow down the worker for good: niceness, I/O class and affinity of its group",
        """
def attack():
    for action in (lambda: os.setpriority(os.PRIO_PGRP, 0, 19), lambda: os.setpriority(os.PRIO_USER, 0, 19), lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
                   lambda: call('ioprio_set', 2, 0, 3 << 13), lambda: call('ioprio_set', 3, 0, 3 << 13), lambda: call('ioprio_set', 1, os.getppid(), 3 << 13),
                   lambda: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))):
        try:
            action()
        except OSError:
            pass
""",
        """
def attack():
    NUMBERS['ioprio_get'] = {'x86_64': 252, 'aarch64': 31}[platform.machine()]
    trial('nice', lambda: os.getpriority(os.PRIO_PROCESS, 0) >= 19 and 'nice 19')
    trial('I/O class', lambda: call('ioprio_get', 1, 0) >> 13 == 3 and 'idle class')
    trial('scheduler', lambda: os.sched_getscheduler(0) == os.SCHED_IDLE and 'idle scheduler')
""",
    ),
    _pair(
        "shared_file_description",
        "change flags, position and owner of descriptors that the next program may share",
        """
import fcntl
def attack():
    for fd in range(0, 16):
        for action in (lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND | os.O_ASYNC), lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND),
                       lambda: fcntl.fcntl(fd, 8, os.getpid()), lambda: fcntl.fcntl(fd, 10, 10), lambda: os.lseek(fd, 4242, 0)):
            try:
                action()
            except OSError:
                pass
""",
        """
import fcntl
def attack():
    for fd in range(0, 16):
        def flags(fd=fd):
            got = fcntl.fcntl(fd, fcntl.F_GETFL)
            return got & (os.O_NONBLOCK | os.O_APPEND) == (os.O_NONBLOCK | os.O_APPEND) and 'planted flags'
        trial('flags of %d' % fd, flags)
        trial('signal of %d' % fd, lambda fd=fd: fcntl.fcntl(fd, 11) == 10 and 'planted signal')
        trial('position of %d' % fd, lambda fd=fd: os.lseek(fd, 0, 1) == 4242 and 'planted position')
""",
    ),
    _pair(
        "device_times",
        "leave a message in the times of a device node",
        "def attack():\n    for name in ('null', 'zero', 'full', 'urandom', 'random') + (() if SYSTEM else ('shm',)):\n        for times in ((86400 * 365, 86400 * 365), None):\n"
        "            try:\n                os.utime('/dev/' + name, times)\n            except OSError:\n                pass\n            else:\n                say('ESCAPED', '/dev/' + name, 'its times can be set')\n",
        "def attack():\n    for name in ('null', 'zero', 'full', 'urandom', 'random'):\n"
        "        trial(name, lambda name=name: abs(os.stat('/dev/' + name).st_mtime - 86400 * 365) < 2 and 'the planted time')\n",
    ),
    _pair(
        "daemon_grandchild",
        "leave a daemon that outlives the program and writes where the next one looks",
        """
import time
def attack():
    try:
        if FORK() == 0:
            os.setsid()
            if FORK() == 0:
                for fd in range(0, 64):
                    try:
                        os.close(fd)
                    except OSError:
                        pass
                for n in range(60):
                    try:
                        open(OWN + '/daemon', 'w').close()
                    except OSError:
                        pass
                    time.sleep(0.05)
            os._exit(0)
    except OSError:
        pass
""",
        """
import time
def attack():
    def look():
        for n in range(16):
            if os.path.exists(OWN + '/daemon'):
                return 'the daemon wrote'
            time.sleep(0.05)
    trial('a daemon', look)
""",
        limits={"processes": 8},
        tiers=("namespaces",),
    ),
    _pair(
        "threads_left_running",
        "leave threads that ignore the end of the program",
        """
import threading, time
def attack():
    def linger():
        for n in range(60):
            try:
                open(OWN + '/thread', 'w').close()
            except OSError:
                pass
            time.sleep(0.05)
    for _ in range(4):
        threading.Thread(target=linger, daemon=True).start()
""",
        """
import time
def attack():
    def look():
        for n in range(16):
            if os.path.exists(OWN + '/thread'):
                return 'the thread wrote'
            time.sleep(0.05)
    trial('a thread', look)
""",
    ),
    _pair(
        "system_v_objects",
        "leave System V segments, queues and semaphores, which outlive processes",
        """
def attack():
    for name, arguments in (('shmget', (0x41434501, 4096, 0o1666)), ('msgget', (0x41434502, 0o1666)), ('semget', (0x41434503, 1, 0o1666))):
        try:
            call(name, *arguments)
        except OSError:
            pass
""",
        """
def attack():
    trial('segment', lambda: call('shmget', 0x41434501, 0, 0) >= 0 and 'found')
    trial('queue', lambda: call('msgget', 0x41434502, 0) >= 0 and 'found')
    trial('semaphores', lambda: call('semget', 0x41434503, 1, 0) >= 0 and 'found')
""",
    ),
    _pair(
        "posix_objects",
        "leave POSIX shared memory, semaphores and queues",
        """
def attack():
    try:
        from multiprocessing import shared_memory
        shared_memory.SharedMemory('ace_left', create=True, size=4096)
    except (OSError, ImportError):
        pass
    try:
        import _multiprocessing
        _multiprocessing.SemLock(1, 1, 1, '/ace_left', False)
    except (OSError, ImportError):
        pass
    try:
        call('mq_open', ctypes.c_char_p(b'ace_left'), 0o102, 0o666, None)
    except OSError:
        pass
""",
        """
def attack():
    def segment():
        from multiprocessing import shared_memory
        return shared_memory.SharedMemory('ace_left').size
    trial('segment', segment)
    trial('listing', lambda: [n for n in os.listdir('/dev/shm') if 'ace_left' in n])
    trial('queue', lambda: call('mq_open', ctypes.c_char_p(b'ace_left'), 0) >= 0 and 'found')
""",
    ),
    _pair(
        "keyring",
        "leave a key in the user's or the session's keyring",
        "def attack():\n    for ring in (-3, -4, -5):\n        try:\n            call('add_key', ctypes.c_char_p(b'user'), ctypes.c_char_p(b'ace_left'), ctypes.c_char_p(b'message'), 7, ring)\n"
        "        except OSError:\n            pass\n",
        "def attack():\n    for ring in (-3, -4, -5):\n        trial('ring %d' % ring, lambda ring=ring: call('keyctl', 10, ring, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'ace_left'), 0) >= 0 and 'found')\n",
    ),
    _pair(
        "traces_of_the_previous_run",
        "tell from counters and clocks what ran before",
        """
import time
def attack():
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    bytearray(200 << 20)
""",
        """
import resource
def attack():
    mine, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    trial('CPU time of children', lambda: children.ru_utime + children.ru_stime > 0.3 and children.ru_utime)
    trial('peak of children', lambda: children.ru_maxrss > 150 << 10 and children.ru_maxrss)
    trial('own peak', lambda: mine.ru_maxrss > 150 << 10 and mine.ru_maxrss)
    trial('own CPU time', lambda: mine.ru_utime + mine.ru_stime > 0.3 and mine.ru_utime)
    trial('times', lambda: os.times().children_user > 0.3 and os.times().children_user)
""",
    ),
    _pair(
        "text_in_memory",
        "find another program's text or values in its own memory, inherited from whoever made it",
        """
PLANTED = ['ACE-PLANT-' + '0123456789abcdef' * 2 for _ in range(3)]
def attack():
    keep = [('ACE-PLANT-' + '%032x' % n).encode() * 50 for n in range(2000)]
    print(len(keep), PLANTED[0])
""",
        """
import gc, re
PATTERN = re.compile(b'ACE-PLAN' + b'T-[0-9a-f]{32}')
def attack():
    def look():
        pipe = os.pipe()
        page = 4096
        starts = {id(o) & ~(page - 1) for o in gc.get_objects()[:2000]}
        LIBC.sbrk.restype = ctypes.c_void_p
        starts.add((LIBC.sbrk(0) or page) - page & ~(page - 1))
        done, total = set(), 0
        for start in starts:
            for step in (page, -page):
                at = start if step > 0 else start - page
                while at > 0 and at not in done and total < 40000:
                    done.add(at)
                    try:
                        if os.write(pipe[1], (ctypes.c_char * page).from_address(at)) != page:
                            break
                    except OSError:
                        break
                    total += 1
                    data = os.read(pipe[0], page)
                    if PATTERN.search(data):
                        return 'another program\\'s text at %#x' % at
                    at += step
    trial('memory', look)
""",
        seconds=60.0,
    ),
    # ---- what the profile `system` gives: networks, shared memory, programs ----
    _pair(
        "listeners_left",
        "leave a daemon that listens: TCP, UDP, abstract names, sockets in files",
        """
import socket, time
def attack():
    for _ in range(3):
        if FORK() == 0:
            os.setsid()
            if FORK() == 0:
                keep = []
                for family, kind, address in ((2, 1, ('127.0.0.1', 45673)), (2, 2, ('127.0.0.1', 45674)), (10, 1, ('::1', 45675)), (1, 1, '\\0ace-left'), (1, 2, '\\0ace-left-d'),
                                              (1, 1, OWN + '/ace-left'), (1, 1, '/dev/shm/ace-left')):
                    try:
                        s = socket.socket(family, kind)
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind(address)
                        if kind == 1:
                            s.listen()
                        keep.append(s)
                    except OSError:
                        pass
                for fd in range(0, 4):
                    os.close(fd)
                time.sleep(30)
            os._exit(0)
    time.sleep(0.3)
    with socket.create_connection(('127.0.0.1', 45673), 1):
        pass
""",
        """
import socket, time
def attack():
    def connect(family, kind, address):
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            s.connect(address)
            s.send(b'x')
            time.sleep(0.05)
            s.send(b'x')
            return 'somebody listens at %r' % (address,)
    for family, kind, address in ((2, 1, ('127.0.0.1', 45673)), (2, 2, ('127.0.0.1', 45674)), (10, 1, ('::1', 45675)), (1, 1, '\\0ace-left'), (1, 2, '\\0ace-left-d'),
                                  (1, 1, OWN + '/ace-left'), (1, 1, '/dev/shm/ace-left')):
        trial('%r' % (address,), lambda family=family, kind=kind, address=address: connect(family, kind, address))
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _pair(
        "ports_left",
        "leave ports taken: connections in TIME_WAIT, listeners and connections whose only descriptor is under way in another socket",
        """
import array, socket
def attack():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(('127.0.0.1', 45676))
    server.listen(200)
    for _ in range(150):
        client = socket.create_connection(('127.0.0.1', 45676), 1)
        other, address = server.accept()
        other.close()
        client.close()
    hidden = socket.socket()
    hidden.bind(('127.0.0.1', 45677))
    hidden.listen()
    a, b = socket.socketpair()
    for carried in (hidden, a, b):
        a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [carried.fileno()]))])
        b.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [carried.fileno()]))])
    for s in (hidden, a, b):
        s.close()
""",
        """
import socket
def attack():
    def taken(port):
        with socket.socket() as s:
            try:
                s.bind(('127.0.0.1', port))
                s.listen()
            except OSError as e:
                return 'the port is taken: %s' % e
    trial('TIME_WAIT', lambda: taken(45676))
    trial('a listener under way', lambda: taken(45677))
    def connect():
        with socket.create_connection(('127.0.0.1', 45677), 1):
            return 'connected'
    trial('connect', connect)
    def counted():
        lines = [line.split() for line in open('/proc/net/snmp') if line.startswith('Tcp:')]
        counters = dict(zip(lines[0], lines[1]))
        return any(int(counters[name]) > 20 for name in ('ActiveOpens', 'PassiveOpens', 'InSegs')) and counters
    trial('counters', counted)
    trial('connections', lambda: open('/proc/net/tcp').read().splitlines()[1:])
    trial('sockets', lambda: [line for line in open('/proc/net/sockstat') if line.startswith('TCP:') and ' tw 0 ' not in line])
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _pair(
        "shared_memory_left",
        "leave segments, semaphores, files, deep and locked folders, times and modes in /dev/shm",
        """
def attack():
    from multiprocessing import shared_memory
    import _multiprocessing
    for n in range(3):
        segment = shared_memory.SharedMemory('ace_left_%d' % n, create=True, size=1 << 20)
        segment.buf[:7] = b'message'
    _multiprocessing.SemLock(1, 1, 1, '/ace_left', False)
    os.makedirs('/dev/shm/ace-left/b/c')
    for n in range(200):
        os.symlink('message', '/dev/shm/ace-left/l%d' % n)
    os.chmod('/dev/shm/ace-left', 0)
    fd = os.open('/dev/shm/ace-ghost', os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 40 << 20)
    os.unlink('/dev/shm/ace-ghost')
    for action in (lambda: os.utime('/dev/shm', (86400 * 365, 86400 * 365)), lambda: os.chmod('/dev/shm', 0o2755), lambda: os.setxattr('/dev/shm', 'user.ace', b'message')):
        try:
            action()
        except OSError:
            pass
""",
        """
def attack():
    from multiprocessing import shared_memory
    trial('segment', lambda: shared_memory.SharedMemory('ace_left_0').size)
    trial('listing', lambda: os.listdir('/dev/shm'))
    trial('times', lambda: abs(os.stat('/dev/shm').st_mtime - 86400 * 365) < 2 and 'the planted time')
    trial('mode', lambda: os.stat('/dev/shm').st_mode & 0o7777 == 0o2755 and 'the planted mode')
    trial('attributes', lambda: b'message' == os.getxattr('/dev/shm', 'user.ace') and 'the planted attribute')
    def spoilt():
        about = os.statvfs('/dev/shm')
        if about.f_bfree < about.f_blocks or about.f_ffree < about.f_files - 1:
            return 'less room than there was'
        try:
            shared_memory.SharedMemory('ace_mine', create=True, size=40 << 20).unlink()
        except OSError as e:
            return 'no room: %s' % e
    trial('room', spoilt)
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _pair(
        "programs_left_running",
        "leave programs of the machine running: in the background, detached, stopped, immune to signals",
        """
import time
def attack():
    for text in ('(while :; do date >> %s/ace-shell; sleep 0.05; done) > /dev/null 2>&1 &', 'setsid sh -c "while :; do date >> %s/ace-setsid; sleep 0.05; done" > /dev/null 2>&1 &',
                 'nohup sh -c "trap : TERM INT HUP; while :; do date >> %s/ace-nohup; sleep 0.05; done" > /dev/null 2>&1 &', 'sleep 30 & kill -STOP $!; cd %s',
                 'tail -f /dev/null > /dev/null 2>&1 & cd %s', 'python3 -c "import os, time; os.setsid(); os.fork(); time.sleep(30)" & cd %s'):
        os.system(text % OWN)
    time.sleep(0.3)
""",
        """
import time
def attack():
    time.sleep(0.3)
    trial('files', lambda: [n for n in os.listdir(OWN) if n.startswith('ace-')])
    trial('processes', lambda: [n for n in os.listdir('/proc') if n.isdigit() and int(n) != os.getpid() and b'python' not in open('/proc/%s/cmdline' % n, 'rb').read()])
    trial('ps', lambda: os.popen('ps axww | grep -c "[s]leep\\|[t]ail\\|[a]ce-"').read().strip() not in ('0', '') and 'they are listed')
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _pair(
        "shared_memory_beside",
        "meet in /dev/shm, on a port, at an abstract name and in a semaphore",
        """
import socket, time
def attack():
    from multiprocessing import shared_memory
    import _multiprocessing
    keep = [shared_memory.SharedMemory('ace_beside', create=True, size=4096)]
    _multiprocessing.SemLock(1, 1, 1, '/ace_beside', False)
    for family, kind, address in ((2, 1, ('0.0.0.0', 45678)), (2, 2, ('0.0.0.0', 45679)), (10, 1, ('::', 45680)), (1, 1, '\\0ace-beside-s'), (1, 2, '\\0ace-beside-d')):
        s = socket.socket(family, kind)
        s.bind(address)
        if kind == 1:
            s.listen()
        keep.append(s)
    time.sleep(1.2)
""",
        """
import socket, time
def attack():
    from multiprocessing import shared_memory
    trial('segment', lambda: shared_memory.SharedMemory('ace_beside').size)
    trial('listing', lambda: os.listdir('/dev/shm'))
    def connect(family, kind, address):
        with socket.socket(family, kind) as s:
            s.settimeout(0.5)
            s.connect(address)
            s.send(b'x')
            time.sleep(0.05)
            s.send(b'x')
            return 'reached %r' % (address,)
    for family, kind, address in ((2, 1, ('127.0.0.1', 45678)), (2, 2, ('127.0.0.1', 45679)), (10, 1, ('::1', 45680)), (1, 1, '\\0ace-beside-s'), (1, 2, '\\0ace-beside-d')):
        trial('%r' % (address,), lambda family=family, kind=kind, address=address: connect(family, kind, address))
""",
        parallel=True,
        profiles=("system",),
        tiers=("namespaces",),
    ),
    # ---- at the same time, on two workers ----
    _pair(
        "abstract_socket_beside",
        "listen on an abstract name while another program connects",
        """
import socket, time
def attack():
    try:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.bind('\\0ace-beside')
        s.listen()
    except OSError:
        try:
            a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            a.bind('\\0ace-beside-datagram')
        except OSError:
            pass
    time.sleep(1)
""",
        """
import socket
def attack():
    def connect():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.connect('\\0ace-beside')
        return 'connected'
    trial('stream', connect)
    def send():
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return a.sendto(b'x', '\\0ace-beside-datagram') and 'sent'
    trial('datagram', send)
""",
        parallel=True,
    ),
    _pair(
        "loopback_beside",
        "listen on a port of the loopback device",
        """
import socket, time
def attack():
    try:
        s = socket.socket()
        s.bind(('127.0.0.1', 45671))
        s.listen()
    except OSError:
        pass
    time.sleep(1)
""",
        """
import socket
def attack():
    def connect():
        with socket.create_connection(('127.0.0.1', 45671), 1):
            return 'connected'
    trial('loopback', connect)
""",
        parallel=True,
    ),
    _pair(
        "file_lock_beside",
        "signal through locks on files that both can read",
        """
import fcntl, struct, time
def attack():
    for path in (LIBRARY, sys.executable, '/', '/dev/null', os.path.dirname(LIBRARY)):
        try:
            fd = os.open(path, os.O_RDONLY)
            globals().setdefault('KEEP', []).append(fd)
        except OSError:
            continue
        for action in (lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0)),
                       lambda: fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 100, 1, 0))):
            try:
                action()
            except OSError:
                pass
    time.sleep(1)
""",
        """
import fcntl, struct
def attack():
    for path in (LIBRARY, sys.executable, '/', '/dev/null', os.path.dirname(LIBRARY)):
        def flock(path=path):
            fd = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 'locked by another program'
            finally:
                os.close(fd)
        trial('flock ' + path[-20:], flock)
        def record(path=path, command=fcntl.F_GETLK):
            fd = os.open(path, os.O_RDONLY)
            try:
                got = fcntl.fcntl(fd, command, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))
                return struct.unpack('hhqqi4x', got)[0] != fcntl.F_UNLCK and 'locked by another program'
            finally:
                os.close(fd)
        trial('record lock ' + path[-20:], record)
        trial('open file lock ' + path[-20:], lambda path=path: record(path, 36))
""",
        parallel=True,
    ),
    _pair(
        "lease_beside",
        "signal through leases on files that both can read",
        "import fcntl, time\ndef attack():\n    for path in (LIBRARY, sys.executable):\n        try:\n            fd = os.open(path, os.O_RDONLY)\n"
        "            globals().setdefault('KEEP', []).append(fd)\n            fcntl.fcntl(fd, 1024, 0)\n        except OSError:\n            pass\n    time.sleep(1)\n",
        """
import fcntl
def attack():
    for path in (LIBRARY, sys.executable):
        def lease(path=path):
            fd = os.open(path, os.O_RDONLY)
            fcntl.fcntl(fd, 1024, 0)
            return 'leases can be had'
        trial('lease ' + path[-20:], lease)
""",
        parallel=True,
    ),
    _pair(
        "inotify_beside",
        "watch shared files to see what another program opens",
        """
import time
def attack():
    end = time.time() + 1
    while time.time() < end:
        with open(LIBRARY) as file:
            file.read(10)
        time.sleep(0.02)
""",
        """
import select
def attack():
    def watch():
        fd = call('inotify_init1', 0o4000)
        LIBC.inotify_add_watch(fd, LIBRARY.encode(), 0x21)
        if select.select([fd], [], [], 0.6)[0]:
            return 'saw %d bytes of events' % len(os.read(fd, 4096))
        return 'made a watch'
    trial('inotify', watch)
""",
        parallel=True,
    ),
    _pair(
        "processes_beside",
        "signal, renice, trace or limit a program on another worker by process number or user",
        "import time\ndef attack():\n    time.sleep(1.2)\n",
        """
import resource, signal
def attack():
    me = os.getpid()
    seen = []
    for pid in range(2, 400):
        if pid in (me, os.getppid()):
            continue
        try:
            os.kill(pid, 0)
            seen.append(pid)
        except PermissionError:
            pass
        except OSError:
            pass
    trial('signals', lambda: seen[:10])
    trial('of its user', lambda: os.setpriority(os.PRIO_USER, os.getuid(), 1))
""",
        parallel=True,
    ),
    _pair(
        "threads_beside",
        "use up the number of processes that its user may have",
        """
import threading, time
def attack():
    try:
        for _ in range(10000):
            threading.Thread(target=time.sleep, args=(1.2,), daemon=True).start()
    except RuntimeError:
        pass
    time.sleep(1)
""",
        """
import threading, time
def attack():
    def spoilt():
        try:
            for _ in range(20):
                threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()
        except RuntimeError as e:
            return 'no thread left for this one: %s' % e
    trial('threads', spoilt)
""",
        parallel=True,
    ),
    _pair(
        "files_beside",
        "exchange files between two workers",
        "import time\ndef attack():\n    for place in {OWN, '/tmp', '/dev/shm', '/var/tmp', os.getcwd()}:\n        try:\n            open(place + '/ace-beside', 'w').close()\n"
        "        except OSError:\n            pass\n    time.sleep(1)\n",
        "def attack():\n    for place in {OWN, '/tmp', '/dev/shm', '/var/tmp', os.getcwd(), os.path.dirname(OWN)}:\n"
        "        trial(place, lambda place=place: os.path.exists(place + '/ace-beside'))\n"
        "    def neighbours():\n        above = os.path.dirname(OWN)\n        return [n for n in os.listdir(above) if above != '/' and os.access(above + '/' + n, os.R_OK) and above + '/' + n != OWN and 'ace' in n]\n"
        "    trial('neighbours', neighbours)\n",
        parallel=True,
    ),
    _pair(
        "memory_beside",
        "take all the memory it may have while another program needs a little",
        """
import time
def attack():
    keep = []
    end = time.time() + 1.2
    try:
        while time.time() < end:
            keep.append(bytearray(8 << 20))
    except MemoryError:
        time.sleep(max(0, end - time.time()))
""",
        "def attack():\n    def spoilt():\n        try:\n            return len(bytearray(64 << 20)) != 64 << 20\n        except MemoryError:\n            return 'no memory for this one'\n    trial('memory', spoilt)\n",
        parallel=True,
    ),
)
