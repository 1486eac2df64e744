"""Kernel surface: system calls, sockets, files, devices, identities and signals that lead out of the jail.

Calls that no honest program makes must not even reach the kernel: for them an answer such as EINVAL or EFAULT, which only
the kernel itself can have given, counts as an escape.
"""

from __future__ import annotations

from .records import KERNEL, Escape

# What may be tried blindly: with these arguments none of them does harm, even where it succeeds.
_REACH: dict[str, str] = {
    "unshare": "0x10000000",
    "setns": "-1, 0",
    "mount": "0, 0, 0, 0, 0",
    "umount2": "0, 0",
    "pivot_root": "0, 0",
    "chroot": "0",
    "ptrace": "16, 0x7ffffffe, 0, 0",
    "process_vm_readv": "0x7ffffffe, 0, 0, 0, 0, 0",
    "process_vm_writev": "0x7ffffffe, 0, 0, 0, 0, 0",
    "process_madvise": "-1, 0, 0, 0, 0",
    "process_mrelease": "-1, 0",
    "kcmp": "0x7ffffffe, 0x7ffffffe, 0, 0, 0",
    "pidfd_getfd": "-1, 0, 0",
    "bpf": "0, 0, 0",
    "perf_event_open": "0, 0, -1, -1, 0",
    "userfaultfd": "1",
    "io_uring_setup": "0, 0",
    "io_uring_enter": "-1, 0, 0, 0, 0, 0",
    "io_uring_register": "-1, 0, 0, 0",
    "add_key": "0, 0, 0, 0, -1",
    "request_key": "0, 0, 0, -1",
    "keyctl": "0, -3, 0, 0, 0",
    "kexec_load": "0, 0, 0, 0x7fff0000",
    "kexec_file_load": "-1, -1, 0, 0, 0",
    "init_module": "0, 0, 0",
    "finit_module": "-1, 0, 0",
    "delete_module": "0, 0",
    "reboot": "0, 0, 0, 0",
    "swapon": "0, 0",
    "swapoff": "0",
    "acct": "1",
    "sethostname": "1, 5",
    "setdomainname": "1, 5",
    "settimeofday": "1, 0",
    "clock_settime": "0, 1",
    "clock_adjtime": "0, 1",
    "iopl": "4",
    "ioperm": "0, 0, 0",
    "modify_ldt": "0x7f, 0, 0",
    "uselib": "0",
    "_sysctl": "0",
    "syslog": "2, 0, 0",
    "quotactl": "0, 0, 0, 0",
    "quotactl_fd": "-1, 0, 0, 0",
    "lookup_dcookie": "0, 0, 0",
    "vhangup": "",
    "name_to_handle_at": "-1, 0, 0, 0, 0",
    "open_by_handle_at": "-1, 0, 0",
    "fanotify_init": "0x7fffffff, 0",
    "open_tree": "-1, 0, 0",
    "move_mount": "-1, 0, -1, 0, 0",
    "fsopen": "0, 0",
    "fsconfig": "-1, 99, 0, 0, 0",
    "fsmount": "-1, 0, 0",
    "fspick": "-1, 0, 0",
    "mount_setattr": "-1, 0, 0, 0, 0",
    "move_pages": "0x7ffffffe, 0, 0, 0, 0, 0",
    "migrate_pages": "0x7ffffffe, 0, 0, 0",
    "clone3": "0, 0",
    "shmget": "0x41434501, 0, 0",
    "semget": "0x41434501, 0, 0",
    "msgget": "0x41434501, 0",
    "mq_open": "0, 0, 0, 0",
    "memfd_secret": "0xffff",
}


def _syscall(name: str, arguments: str) -> Escape:
    call = f"reaches({name!r}, {arguments})" if arguments else f"reaches({name!r})"
    return Escape(
        f"syscall_{name.strip('_')}",
        KERNEL,
        f"reach the kernel's {name}",
        f"def attack():\n    trial({name!r}, lambda: {call})\n",
        positions=("program", "tests"),
    )


def _escape(name: str, tries: str, program: str, **rest: object) -> Escape:
    return Escape(name, KERNEL, tries, program, **rest)  # type: ignore[arg-type]


ATTACKS = (
    *(_syscall(name, arguments) for name, arguments in _REACH.items()),
    _escape(
        "clone_new_namespaces",
        "clone with each of the namespace flags",
        """
def attack():
    def clone(flag):
        pid = call('clone', flag | 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return 'made a process with flag %#x' % flag
    for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000, 0x00000080, 0x7e020000):
        trial('clone %#x' % flag, lambda flag=flag: clone(flag))
""",
    ),
    _escape(
        "new_processes",
        "fork, vfork, clone, posix_spawn, subprocess, system and popen, where the limit says no processes",
        """
import subprocess, _posixsubprocess
def attack():
    def forked(pid):
        if pid == 0:
            LIBC._exit(0)
        os.waitpid(pid, 0)
        return 'made process %d' % pid
    trial('os.fork', lambda: forked(FORK()))
    trial('fork by number', lambda: forked(call('fork')))
    trial('clone SIGCHLD', lambda: forked(call('clone', 17, 0, 0, 0, 0)))
    trial('clone without a signal', lambda: forked(call('clone', 0, 0, 0, 0, 0)))
    trial('clone CLONE_VFORK', lambda: forked(call('clone', 0x4000 | 17, 0, 0, 0, 0)))
    trial('clone CLONE_PARENT', lambda: forked(call('clone', 0x8000 | 17, 0, 0, 0, 0)))
    trial('posix_spawn', lambda: forked(os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {})))
    trial('subprocess', lambda: subprocess.run([sys.executable, '-c', 'print(1)'], stdout=subprocess.PIPE).stdout)
    trial('os.system', lambda: os.system('true') == 0 and 'a shell ran')
    trial('forkpty', lambda: forked(getattr(os, 'forkpty')()[0]))
""",
        profiles=("compute",),
    ),
    _escape(
        "multiprocessing",
        "processes, pools and managers of the standard library",
        """
def work(x):
    return x + 1
def attack():
    import concurrent.futures, multiprocessing
    def pool():
        with getattr(concurrent.futures, 'ProcessPoolExecutor')(1) as e:
            return e.submit(os.getpid).result(3)
    def process(kind):
        context = multiprocessing.get_context(kind)
        p = getattr(context, 'Process')(target=os.getpid)
        p.start()
        p.join(3)
        return p.exitcode == 0 and 'a process ran'
    trial('fork', lambda: process('fork'))
    trial('spawn', lambda: process('spawn'))
""",
        profiles=("compute",),
    ),
    _escape(
        "foreign_abi_int80",
        "call the kernel through the 32-bit gate, where system calls have other numbers",
        """
import mmap
def attack():
    if platform.machine() != 'x86_64':
        return say('held', 'int 0x80', 'no such gate on this machine')
    def gate(number):
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        code.write(b'\\x53\\xb8' + number.to_bytes(4, 'little') + b'\\xcd\\x80\\x5b\\xc3')
        at = ctypes.addressof(ctypes.c_char.from_buffer(code))
        if LIBC.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), 5) != 0:
            raise OSError(ctypes.get_errno(), 'mprotect')
        got = ctypes.CFUNCTYPE(ctypes.c_int)(at)()
        return got > 0 and 'getpid by the 32-bit table: %d' % got
    trial('int 0x80', lambda: gate(20))
""",
    ),
    _escape(
        "foreign_abi_x32",
        "call the kernel with the x32 bit set in the number",
        """
def attack():
    NUMBERS['x32'] = 0x40000000 + 39
    NUMBERS['x32_execve'] = 0x40000000 + 520
    NUMBERS['x32_ptrace'] = 0x40000000 + 521
    if platform.machine() == 'x86_64':
        for name in ('x32', 'x32_execve', 'x32_ptrace'):
            trial(name, lambda name=name: reaches(name, 0, 0, 0))
    else:
        say('held', 'x32', 'not on this machine')
""",
        positions=("script", "program", "tests"),
    ),
    _escape(
        "numbers_out_of_range",
        "system call numbers beyond the table, negative and in the upper half",
        """
def attack():
    for n in (-1, -2, 470, 480, 500, 511, 512, 547, 548, 1000, 4095, 65535, 0x3fffffff, 0x7fffffff, 0x80000027, 0xffffffff):
        NUMBERS['n'] = n
        trial('number %d' % n, lambda: reaches('n', 0, 0, 0, 0, 0, 0))
""",
    ),
    _escape(
        "memfd_and_fexecve",
        "run an image that exists in memory only",
        """
def attack():
    def image():
        fd = os.memfd_create('x', 0)
        with open(sys.executable, 'rb') as source:
            data = source.read()
        os.write(fd, data)
        code = "import os; os.write(1, b'\\\\nace|ESCAPED|memfd|the image ran\\\\nace|end||\\\\n')"
        argv = (ctypes.c_char_p * 5)(b'python', b'-S', b'-c', code.encode(), None)
        call('execveat', fd, ctypes.c_char_p(b''), argv, (ctypes.c_char_p * 1)(None), 0x1000)
    trial('execveat', image)
""",
        positions=("script", "program"),
    ),
    _escape(
        "sockets_of_every_family",
        "make a socket of any family, type and protocol",
        """
import socket
def attack():
    made = []
    why = {}
    given = {(family, kind) for family in (1, 2, 10) for kind in (1, 2)} | {(1, 5)} if SYSTEM else set()
    for family in range(0, 46):
        for kind in (1, 2, 3, 4, 5, 10):
            for protocol in (0, 1, 6, 17, 255):
                try:
                    s = socket.socket(family, kind, protocol)
                except OSError as e:
                    why[e.errno] = 1
                else:
                    if (family, kind) not in given or protocol not in (0, 6, 17):
                        made.append((family, kind, protocol))
                    s.close()
    trial('sockets', lambda: made[:20])
""",
    ),
    _escape(
        "network_lures",
        "reach the host's TCP, UDP and UNIX sockets, or any name or address",
        """
import socket, time
def attack():
    def connect(family, kind, address, data=b'hello'):
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            s.connect(address)
            s.send(data)
            time.sleep(0.1)
            s.send(data)  # where nobody listens, this is refused
            return 'sent to %r' % (address,)
    trial('tcp', lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', LURES['tcp_port'])))
    trial('udp', lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', LURES['udp_port'])))
    trial('tcp6', lambda: connect(socket.AF_INET6, socket.SOCK_STREAM, ('::ffff:127.0.0.1', LURES['tcp_port'])))
    trial('unix path', lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, LURES['unix_path']))
    trial('unix abstract', lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, '\\0' + LURES['abstract_stream']))
    trial('unix abstract datagram', lambda: connect(socket.AF_UNIX, socket.SOCK_DGRAM, '\\0' + LURES['abstract_datagram']))
    trial('any name', lambda: socket.gethostbyname('localhost.localdomain') and None)
    trial('netlink', lambda: socket.socket(16, 3, 0).bind((0, 0)) or 'bound')
    trial('vsock', lambda: socket.socket(40, 1, 0))
    trial('raw', lambda: socket.socket(2, 3, 1))
    trial('packet', lambda: socket.socket(17, 3, 0))
    trial('alg', lambda: socket.socket(38, 5, 0))
""",
    ),
    _escape(
        "datagram_pair_to_abstract_address",
        "address the host's abstract socket from one end of a socketpair",
        """
import socket
def attack():
    def send(kind, family=socket.AF_UNIX):
        a, b = socket.socketpair(family, kind)
        for n in range(3):
            try:
                a.sendto(b'hello', '\\0' + LURES['abstract_datagram'])
            except OSError as e:
                if n == 2:
                    raise
            else:
                b.setblocking(False)
                return b.recv(9) != b'hello' and 'sent'  # a connected pair may ignore the address
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM, socket.SOCK_RAW):
        trial('kind %d' % kind, lambda kind=kind: send(kind))
    def send_message():
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return a.sendmsg([b'hello'], [], 0, '\\0' + LURES['abstract_datagram'])
    trial('sendmsg', send_message)
    def reconnect():
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        a.connect('\\0' + LURES['abstract_datagram'])
        return a.send(b'hello')
    trial('connect a pair', reconnect)
    def own_socket():
        for fd in range(0, 64):
            try:
                s = socket.socket(fileno=os.dup(fd))
                s.sendto(b'', '\\0' + LURES['abstract_datagram'])
                return 'sent from %d' % fd
            except OSError:
                pass
    trial('sockets it was given', own_socket)
""",
    ),
    _escape(
        "listen",
        "bind and listen: TCP, abstract and in a file",
        """
import socket
def attack():
    def listen(family, address):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.bind(address)
        s.listen()
        return 'listens at %r' % (address,)
    trial('tcp', lambda: listen(socket.AF_INET, ('0.0.0.0', 0)))
    trial('abstract', lambda: listen(socket.AF_UNIX, '\\0ace-listen'))
    trial('path', lambda: listen(socket.AF_UNIX, '/tmp/ace-listen'))
    def pair():
        a, b = socket.socketpair()
        a.bind('\\0ace-listen-pair')
        return 'a pair got a name'
    trial('name a pair', pair)
""",
        profiles=("compute",),
    ),
    _escape(
        "host_files",
        "read the host's files: the lure, passwords, keys, homes",
        """
def attack():
    def read(path):
        with open(path, 'rb') as file:
            text = file.read(1 << 16)
        if LURES['secret'].encode() in text:
            return 'read the lure'
        if LURES['user'] and (LURES['user'] + ':').encode() in text:
            return 'has the name of the host\\'s user'
    for path in (LURES['file'], LURES['private_file'], LURES['shm_file'], '/proc/1/root' + LURES['file'], '/../..' + LURES['file']):
        trial(path.replace(LURES['tag'], 'TAG')[-40:], lambda path=path: read(path))
    def any_text(path):
        with open(path, 'rb') as file:
            text = file.read(1 << 16)
            made = SYSTEM and path == '/etc/hosts' and text == LURES['made_hosts'].encode()
            return text and not made and 'could be read'
    for path in ('/etc/shadow', '/etc/hostname', '/etc/machine-id', '/etc/resolv.conf', '/etc/hosts', '/root/.bashrc', '/root/.ssh/id_rsa',
                 '/var/log/syslog', '/var/log/dpkg.log', '/boot/config', '/.dockerenv', '/run/secrets/token'):
        trial(path, lambda path=path: any_text(path))
    trial('/etc/passwd', lambda: read('/etc/passwd'))
    trial('environment', lambda: [k for k, v in os.environ.items() if LURES['secret'] in v])
    own = (sys.prefix, sys.base_prefix, sys.executable, LIBRARY, scratch())
    def home():
        names = [] if LURES['home'] in ('', '/') else os.listdir(LURES['home'])
        return [n for n in names if not any(p.startswith(os.path.join(LURES['home'], n)) for p in own)]
    trial('home', home)
""",
    ),
    _escape(
        "walk_the_tree",
        "walk the whole file system for the lure, for setuid files, sockets, devices and anything writable",
        """
import stat
def attack():
    odd, writable, lures, seen = [], [], [], 0
    own = scratch()
    given = ('/tmp', own, '/dev/shm') if SYSTEM else ('/tmp', own)
    for place, folders, files in os.walk('/'):
        if place.startswith(('/proc', '/sys', own)):
            folders[:] = []
            continue
        seen += len(files)
        if seen > 60000:
            break
        for name in folders + files:
            path = os.path.join(place, name)
            if LURES['tag'] in name:
                lures.append(path)
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID) and not os.statvfs(path).f_flag & os.ST_NOSUID:
                odd.append(path)
            elif stat.S_ISBLK(mode) or stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                odd.append(path)
            if not stat.S_ISLNK(mode) and not stat.S_ISCHR(mode) and os.access(path, os.W_OK) and path not in given:
                writable.append(path)
        if os.access(place, os.W_OK) and place not in given:
            writable.append(place)
    trial('lures', lambda: lures)
    trial('setuid files, sockets, pipes, block devices', lambda: odd[:5])
    trial('writable places', lambda: writable[:5])
""",
        tiers=("namespaces",),
        seconds=40.0,
    ),
    _escape(
        "write_outside",
        "create, change, rename, link and remove outside the scratch",
        """
def attack():
    own = scratch()
    library = os.path.dirname(LIBRARY)
    def create(place):
        path = os.path.join(place, 'ace-corpus-' + LURES['tag'])
        with open(path, 'w') as file:
            file.write('x')
        return 'created ' + place
    for place in ('/', '/usr', '/usr/lib', '/etc', '/var/tmp', '/dev', '/dev/shm', '/run', '/home', '/root', '/ace', '/proc', '/sys', library, LURES['folder']):
        if not os.path.realpath(place).startswith(os.path.realpath(own)) and not (SYSTEM and place == '/dev/shm'):
            trial('create in ' + place[-30:], lambda place=place: create(place))
    for path in (LIBRARY, sys.executable, '/ace', '/', library, LURES['file'], '/dev/null', '/etc/passwd'):
        trial('open for writing ' + path[-20:], lambda path=path: path != '/dev/null' and os.close(os.open(path, os.O_WRONLY | os.O_APPEND)) is None)
        trial('chmod ' + path[-20:], lambda path=path: os.chmod(path, 0o777) is None and path)
        trial('utime ' + path[-20:], lambda path=path: os.utime(path, (1, 1)) is None and path)
        trial('rename ' + path[-20:], lambda path=path: os.rename(path, path + '-ace') is None and path)
        trial('unlink ' + path[-20:], lambda path=path: os.unlink(path) is None and path)
        trial('hard link ' + path[-20:], lambda path=path: os.link(path, os.path.join(own, 'ace-link')) is None and path)
        trial('xattr ' + path[-20:], lambda path=path: os.setxattr(path, 'user.ace', b'1') is None and path)
        trial('truncate ' + path[-20:], lambda path=path: path != '/dev/null' and os.truncate(path, 0) is None and path)
""",
    ),
    _escape(
        "devices",
        "open devices other than the few harmless ones, and make new ones",
        """
import stat
def attack():
    for name in ('mem', 'kmem', 'port', 'kmsg', 'kvm', 'fuse', 'tty', 'ptmx', 'console', 'vsock', 'net/tun', 'sda', 'vda', 'nvme0n1', 'loop-control',
                 'loop0', 'hpet', 'rtc0', 'input/event0', 'snapshot', 'userfaultfd', 'vhost-net', 'autofs', 'cpu_dma_latency', 'uinput', 'nvidiactl'):
        trial('/dev/' + name, lambda name=name: os.open('/dev/' + name, os.O_RDONLY) and 'opened')
    own = scratch()
    for n, (major, minor) in enumerate([(1, 1), (1, 3), (1, 11), (8, 0), (254, 0), (10, 232), (0, 0)]):
        for kind in (stat.S_IFCHR, stat.S_IFBLK):
            def make(kind=kind, major=major, minor=minor, n=n):
                path = os.path.join(own, 'node%d-%d' % (n, kind))
                os.mknod(path, kind | 0o666, os.makedev(major, minor))
                os.close(os.open(path, os.O_RDONLY))
                return 'made and opened %d:%d' % (major, minor)
            trial('mknod %d:%d' % (major, minor), make)
""",
    ),
    _escape(
        "sysctl_writes",
        "write kernel settings, which uid 0 may do even without capabilities",
        """
def attack():
    for name in ('kernel/core_pattern', 'kernel/hostname', 'kernel/domainname', 'kernel/modprobe', 'kernel/hotplug', 'kernel/sysrq', 'vm/overcommit_memory', 'vm/swappiness',
                 'fs/file-max', 'net/ipv4/ip_forward', 'kernel/randomize_va_space', 'kernel/ns_last_pid', 'user/max_user_namespaces', 'fs/binfmt_misc/register'):
        def write(name=name):
            fd = os.open('/proc/sys/' + name, os.O_WRONLY)
            os.close(fd)
            return 'could be opened for writing'
        trial(name, write)
    for path in ('/proc/sysrq-trigger', '/sys/kernel/uevent_helper', '/sys/power/state', '/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/release_agent',
                 '/proc/self/oom_score_adj', '/proc/self/uid_map', '/proc/self/setgroups', '/proc/self/coredump_filter', '/proc/self/loginuid'):
        if path.startswith('/proc/self/oom'):
            trial(path, lambda: open('/proc/self/oom_score_adj', 'w').write('-1000') and open('/proc/self/oom_score_adj').read().strip() == '-1000')
        elif not path.startswith('/proc/self'):
            trial(path, lambda path=path: os.open(path, os.O_WRONLY) and 'could be opened for writing')
""",
    ),
    _escape(
        "identity",
        "become another user, get capabilities back, or leave no_new_privs",
        """
def attack():
    uid, gid = os.getuid(), os.getgid()
    for name, action in (('setuid', lambda: os.setuid(0)), ('setreuid', lambda: os.setreuid(0, 0)), ('setresuid', lambda: os.setresuid(0, 0, 0)),
                         ('setgid', lambda: os.setgid(0)), ('setresgid', lambda: os.setresgid(0, 0, 0)), ('setgroups', lambda: os.setgroups([0, 27, 999])),
                         ('setuid 1', lambda: os.setuid(1)), ('setfsuid', lambda: LIBC.setfsuid(0))):
        def change(name=name, action=action):
            action()
            if name == 'setfsuid':
                return LIBC.setfsuid(-1) == 0 and uid != 0 and 'fsuid 0'
            return (os.getuid(), os.getgid()) != (uid, gid) and 'is now %d:%d' % (os.getuid(), os.getgid()) or name == 'setgroups' and os.getgroups()
        trial(name, change)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    def held():
        call('capget', header, data)
        return any(data) and 'capabilities %s' % [hex(v) for v in data]
    trial('capabilities held', held)
    def take():
        full = (ctypes.c_uint32 * 6)(*([0xffffffff] * 6))
        call('capset', header, full)
        return held()
    trial('capabilities taken', take)
    trial('ambient', lambda: LIBC.prctl(47, 2, 21, 0, 0) == 0 and 'raised')
    trial('securebits', lambda: LIBC.prctl(28, 0, 0, 0, 0) == 0 and held())
    trial('without no_new_privs', lambda: LIBC.prctl(39, 0, 0, 0, 0) == 0)
    trial('without seccomp', lambda: LIBC.prctl(21, 0, 0, 0, 0) == 0)
    trial('uid 0 inside', lambda: os.getuid() == 0 or os.geteuid() == 0)
    trial('keeps supplementary groups of root', lambda: 0 in os.getgroups())
""",
    ),
    _escape(
        "signals_to_the_host",
        "signal the host's processes by number, by group, by user, by descriptor",
        """
import fcntl, signal
def attack():
    for pid in (LURES['pid'], LURES['parent'], -LURES['pid'], -LURES['group']):
        trial('kill %s' % ('group' if pid < 0 else 'process'), lambda pid=pid: os.kill(pid, signal.SIGURG) is None and 'sent')
    trial('pidfd', lambda: call('pidfd_open', LURES['pid'], 0))
    trial('own group', lambda: os.kill(0, signal.SIGURG))
    trial('own group by killpg', lambda: os.killpg(os.getpgid(0), signal.SIGURG) and None)
    def asynchronous(owner):
        r, w = os.pipe()
        fcntl.fcntl(r, 8, owner)
        fcntl.fcntl(r, 10, signal.SIGURG)
        fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(w, b'x')
        return None
    for owner in (LURES['pid'], -LURES['pid'], -LURES['group']):
        trial('F_SETOWN', lambda owner=owner: asynchronous(owner))
    def pgrp():
        r, w = os.pipe()
        fcntl.fcntl(r, 15, (ctypes.c_int * 2)(2, 0))
        fcntl.fcntl(r, 10, signal.SIGURG)
        fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(w, b'x')
    trial('F_SETOWN_EX own group', pgrp)
    if os.getpid() == 1 or LURES['alone']:
        trial('everybody', lambda: os.kill(-1, signal.SIGURG))
""",
    ),
    _escape(
        "kill_own_group",
        "SIGKILL to its own process group, which may hold zygote, judge and host",
        """
import signal
def attack():
    trial('SIGSTOP to the group', lambda: os.kill(0, signal.SIGSTOP))
    trial('SIGKILL to the group', lambda: os.kill(0, signal.SIGKILL))
""",
        after="signals_to_the_host",
    ),
    _escape(
        "kill_everybody",
        "SIGKILL to every process it may signal",
        """
import signal
def attack():
    if os.getpid() == 1 or LURES['alone']:
        trial('everybody', lambda: os.kill(-1, signal.SIGKILL))
    for pid in range(1, 300 if os.getpid() == 1 or LURES['alone'] else 1):
        if pid != os.getpid():
            trial('pid', lambda pid=pid: os.kill(pid, signal.SIGKILL))
    say('held', 'signals')
""",
        positions=("script", "program", "tests"),
        after="signals_to_the_host",
    ),
    _escape(
        "priorities_of_others",
        "change niceness, I/O priority, CPU affinity and limits of the host's and the worker's processes",
        """
import resource
def attack():
    trial('nice of the lure', lambda: os.setpriority(os.PRIO_PROCESS, LURES['pid'], 19) is None and 'changed')
    trial('nice of the group', lambda: os.setpriority(os.PRIO_PGRP, 0, 19))
    trial('nice of the lure\\'s group', lambda: os.setpriority(os.PRIO_PGRP, LURES['group'], 19) is None and 'changed')
    trial('nice of the user', lambda: os.setpriority(os.PRIO_USER, 0, 19))
    trial('I/O of the group', lambda: call('ioprio_set', 2, 0, 3 << 13) and None)
    trial('I/O of the user', lambda: call('ioprio_set', 3, os.getuid(), 3 << 13) and None)
    trial('affinity of the lure', lambda: os.sched_setaffinity(LURES['pid'], {0}) is None and 'changed')
    trial('scheduler of the lure', lambda: os.sched_setscheduler(LURES['pid'], os.SCHED_IDLE, os.sched_param(0)) is None and 'changed')
    trial('limits of the lure', lambda: resource.prlimit(LURES['pid'], resource.RLIMIT_CPU, (1, 1)) and 'changed')
    trial('limits of the parent', lambda: os.getppid() and resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE) and 'read')
    trial('real-time for itself', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)) is None and 'real-time')
    trial('a better nice for itself', lambda: os.setpriority(os.PRIO_PROCESS, 0, -10) is None and os.getpriority(os.PRIO_PROCESS, 0) < 0)
""",
    ),
    _escape(
        "host_ipc",
        "reach the host's System V and POSIX shared memory, queues and semaphores",
        """
def attack():
    LIBC.shmat.restype = ctypes.c_void_p
    def attach(number):
        at = LIBC.shmat(number, None, 0)
        if at in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno() or errno.EINVAL, 'shmat')
        return 'attached a segment'
    if LURES['shm_id'] >= 0:
        trial('by id', lambda: attach(LURES['shm_id']))
        trial('by key', lambda: call('shmget', LURES['shm_key'], 0, 0) >= 0 and 'found')
    if LURES['msg_key']:
        trial('queue', lambda: call('msgget', LURES['msg_key'], 0) >= 0 and 'found')
    trial('posix shm', lambda: open(LURES['shm_file'], 'rb').read() and 'read')
    trial('a new segment', lambda: call('shmget', 0, 4096, 0o1600) >= 0 and 'made')
    trial('a new queue', lambda: call('msgget', 0, 0o1600) >= 0 and 'made')
    trial('new semaphores', lambda: call('semget', 0, 1, 0o1600) >= 0 and 'made')
    trial('a posix queue', lambda: call('mq_open', ctypes.c_char_p(b'ace-corpus'), 0o102, 0o600, None) >= 0 and 'made')
""",
    ),
    _escape(
        "terminal",
        "push characters into the host's terminal (TIOCSTI, TIOCLINUX) or take it over",
        """
import fcntl
def attack():
    for fd in (0, 1, 2, 3):
        trial('TIOCSTI on %d' % fd, lambda fd=fd: fcntl.ioctl(fd, 0x5412, b'x') is not None and 'pushed')
        trial('TIOCLINUX on %d' % fd, lambda fd=fd: fcntl.ioctl(fd, 0x541C, b'\\x03') is not None and 'pushed')
        trial('TIOCSCTTY on %d' % fd, lambda fd=fd: fcntl.ioctl(fd, 0x540E, 1) is not None and 'taken')
        trial('TIOCSPGRP on %d' % fd, lambda fd=fd: os.tcsetpgrp(fd, os.getpgrp()) is None and 'taken')
    trial('/dev/tty', lambda: os.open('/dev/tty', os.O_RDWR) and 'opened')
    trial('a new terminal', lambda: os.openpty() and 'opened')
""",
    ),
    _escape(
        "watch_files",
        "watch the host's files through inotify, fanotify, dnotify and leases",
        """
import fcntl
def attack():
    trial('inotify', lambda: call('inotify_init1', 0) >= 0 and 'made')
    trial('fanotify', lambda: call('fanotify_init', 0, 0) >= 0 and 'made')
    def notify():
        fd = os.open(os.path.dirname(LIBRARY), os.O_RDONLY)
        fcntl.fcntl(fd, 1026, 1)
        return 'watches a folder of the host'
    trial('dnotify', notify)
    def lease(kind):
        fd = os.open(LIBRARY, os.O_RDONLY)
        fcntl.fcntl(fd, 1024, kind)
        return 'holds a lease on a file of the host'
    trial('read lease', lambda: lease(0))
    trial('write lease', lambda: lease(1))
""",
    ),
    _escape(
        "open_by_handle",
        "open the root of a file system by handle, past every mount",
        """
def attack():
    class Handle(ctypes.Structure):
        _fields_ = [('size', ctypes.c_uint), ('kind', ctypes.c_int), ('data', ctypes.c_ubyte * 128)]
    def attempt(inode):
        handle = Handle(8, 1)
        handle.data[:4] = inode.to_bytes(4, 'little')
        fd = os.open('/', os.O_RDONLY)
        got = call('open_by_handle_at', fd, ctypes.byref(handle), 0)
        return 'opened inode %d' % inode
    trial('inode 2', lambda: attempt(2))
    trial('inode 128', lambda: attempt(128))
""",
    ),
    _escape(
        "leave_by_directory",
        "leave the root by .., by an open directory, by chroot and by links",
        """
def attack():
    here = os.stat('/')
    def upwards():
        os.chdir('/')
        for _ in range(64):
            os.chdir('..')
        now = os.stat('.')
        return (now.st_dev, now.st_ino) != (here.st_dev, here.st_ino) and 'stands elsewhere'
    trial('..', upwards)
    def by_descriptor():
        for fd in range(0, 256):
            try:
                os.fchdir(fd)
            except OSError:
                continue
            return 'descriptor %d is a directory' % fd
    trial('descriptors', by_descriptor)
    def chroot():
        own = scratch()
        os.makedirs(own + '/ace-root', exist_ok=True)
        fd = os.open('/', os.O_RDONLY)
        os.chroot(own + '/ace-root')
        os.fchdir(fd)
        return 'changed its root'
    trial('chroot', chroot)
    def link():
        own = scratch()
        os.symlink('../../../../../../../../' + LURES['file'], own + '/ace-symlink')
        return LURES['secret'] in open(own + '/ace-symlink').read()
    trial('link', link)
    def root():
        there = os.stat('/proc/1/root')
        return not (SYSTEM and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)) and 'another root'
    trial('/proc/self/root', root)
    trial('/proc/self/cwd', lambda: os.listdir('/proc/%d/cwd' % LURES['pid']))
""",
    ),
    _escape(
        "other_processes_visible",
        "see the host's processes",
        """
def attack():
    trial('/proc of the lure', lambda: LURES['tag'] in open('/proc/%d/cmdline' % LURES['pid']).read() and 'read its command line')
    trial('/proc of the parent', lambda: open('/proc/%d/environ' % LURES['parent'], 'rb').read() and 'read its environment')
    trial('memory of the parent', lambda: os.open('/proc/%d/mem' % LURES['parent'], os.O_RDONLY) and 'opened')
    trial('signal 0', lambda: os.kill(LURES['pid'], 0) is None and 'exists')
    trial('getpgid', lambda: os.getpgid(LURES['pid']) and 'exists')
    trial('getsid', lambda: os.getsid(LURES['pid']) and 'exists')
    trial('affinity', lambda: os.sched_getaffinity(LURES['pid']) and 'exists')
    clock = ctypes.c_int()
    trial('CPU clock', lambda: LIBC.clock_getcpuclockid(LURES['pid'], ctypes.byref(clock)) == 0 and 'exists')
""",
        tiers=("namespaces",),
    ),
    _escape(
        "other_processes_reachable",
        "read memory, environment and descriptors of the host's processes",
        """
def attack():
    for who in ('pid', 'parent'):
        for name in ('mem', 'environ', 'maps', 'fd', 'root', 'cwd', 'exe', 'auxv', 'io', 'syscall'):
            path = '/proc/%d/%s' % (LURES[who], name)
            def look(path=path, name=name):
                if name in ('root', 'cwd', 'exe'):
                    return os.readlink(path)
                return os.listdir(path) if name == 'fd' else os.open(path, os.O_RDONLY)
            trial('%s of %s' % (name, who), look)
    trial('pidfd', lambda: call('pidfd_open', LURES['pid'], 0))
""",
    ),
    _escape(
        "names_of_the_host",
        "learn the host's name, its user, its boot, its mounts",
        """
def attack():
    trial('node name', lambda: os.uname().nodename == LURES['node'] and LURES['node'])
    import getpass, pwd
    def user():
        for entry in pwd.getpwall():
            if entry.pw_name == LURES['user'] and LURES['user'] != 'root':
                return entry.pw_name
    trial('user', user)
    def look(path):
        text = os.listdir(path) if os.path.isdir(path) else open(path).read()
        if SYSTEM and path == '/proc/self/cgroup':
            return [line for line in text.splitlines() if not line.endswith(':/')]
        if SYSTEM and path == '/proc/net/dev':
            return [line for line in text.splitlines()[2:] if not line.strip().startswith('lo:')]
        if SYSTEM and path in ('/proc/self/mountinfo', '/proc/mounts'):
            return LURES['folder'] in text and 'has the lure'
        return text and 'readable'
    for path in ('/proc/self/mountinfo', '/proc/mounts', '/proc/cmdline', '/proc/keys', '/proc/self/cgroup', '/sys/class/net', '/proc/net/dev'):
        trial(path, lambda path=path: look(path))
""",
        tiers=("namespaces",),
    ),
    # ---- what the profile `system` gives, and what lies behind it ----
    _escape(
        "setuid_programs",
        "become somebody else through the machine's programs: those with a setuid bit, and those that make namespaces",
        """
import os, subprocess
def attack():
    def run(*words):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=3)
        return b'uid=0' in done.stdout and done.stdout.decode()
    for words in (('su', '-c', 'id'), ('sudo', '-n', 'id'), ('pkexec', 'id'), ('newgrp', '-', 'root'), ('setpriv', '--reuid', '0', 'id'),
                  ('unshare', '-r', 'id'), ('unshare', '-Urm', 'id'), ('nsenter', '-t', '1', '-a', 'id'), ('chroot', '/', 'id'),
                  ('setarch', '-R', 'id'), ('perl', '-e', '$> = 0; exec "id"'), ('sh', '-c', 'mount -t tmpfs x /tmp && echo uid=0')):
        def attempt(words=words):
            try:
                return run(*words)
            except subprocess.TimeoutExpired:
                return None
        trial(' '.join(words), attempt)
    def bits():
        found = []
        for folder in ('/usr/bin', '/bin'):
            for name in os.listdir(folder):
                path = folder + '/' + name
                about = os.lstat(path)
                if about.st_mode & 0o6000 and not about.st_mode & 0o170000 == 0o120000 and not os.statvfs(path).f_flag & os.ST_NOSUID:
                    found.append(path)
        return found[:3]
    trial('bits that count', bits)
""",
        profiles=("system",),
        tiers=("namespaces",),
        seconds=60.0,
    ),
    _escape(
        "lures_by_programs",
        "reach the host's files, names and sockets through the machine's programs",
        """
import subprocess
def attack():
    def said(text, *wanted):
        done = subprocess.run(text, shell=True, executable='/bin/bash', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=8)
        return [word for word in wanted if word and word.encode() in done.stdout]
    trial('cat', lambda: said('cat %s %s %s' % (LURES['file'], LURES['private_file'], LURES['shm_file']), LURES['secret']))
    trial('find', lambda: said('find / -name "*%s*" -not -path "/proc/*"' % LURES['tag'], LURES['tag']))
    trial('grep', lambda: said('grep -ral %s /etc /dev/shm /tmp /var /home /root' % LURES['secret'], '/'))
    trial('ps', lambda: said('ps axww', LURES['tag'], 'acejail', '_ace_guest.judge'))
    trial('env', lambda: said('env; cat /proc/*/environ', LURES['secret']))
    trial('hostname', lambda: said('hostname; uname -n; cat /proc/sys/kernel/hostname', LURES['node'] if LURES['node'] != 'ace' else ''))
    trial('getent', lambda: said('getent passwd; cat /etc/passwd; whoami', LURES['user']))
    trial('tcp', lambda: said('exec 3<>/dev/tcp/127.0.0.1/%d && echo reached' % LURES['tcp_port'], 'reached'))
    trial('kill', lambda: said('kill -URG %d && echo reached' % LURES['pid'], 'reached') if LURES['pid'] > 100000 else None)
    trial('keyctl', lambda: said('cat /proc/keys /proc/key-users', ':'))
""",
        positions=("script", "program", "tests"),
        profiles=("system",),
        tiers=("namespaces",),
        seconds=60.0,
    ),
    _escape(
        "beyond_loopback",
        "send something to an address that is not its own, or give itself another device, address or route",
        """
import fcntl, socket, struct
def attack():
    def connect(family, kind, address):
        with socket.socket(family, kind) as s:
            s.settimeout(1)
            if kind == socket.SOCK_DGRAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.connect(address)
            return 'a way to %r' % (address,)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for address in ('8.8.8.8', '10.0.0.1', '172.17.0.1', '192.168.0.1', '169.254.169.254', '255.255.255.255', '224.0.0.1'):
            trial('to ' + address, lambda address=address, kind=kind: connect(socket.AF_INET, kind, (address, 80)))
        for address in ('2001:4860:4860::8888', 'fe80::1', 'ff02::1', '::ffff:8.8.8.8'):
            trial('to ' + address, lambda address=address, kind=kind: connect(socket.AF_INET6, kind, (address, 80, 0, 0)))
    trial('a name', lambda: socket.create_connection(('example.org', 80), 2))
    def device(number, *values):
        with socket.socket() as s:
            fcntl.ioctl(s, number, struct.pack('16sH22x', b'lo', *values))
            return 'done'
    for name, number in (('address', 0x8916), ('flags', 0x8914), ('route', 0x890B), ('mtu', 0x8922), ('name', 0x8923), ('bridge', 0x89A0), ('namespace', 0x894C)):
        trial('ioctl ' + name, lambda number=number: device(number, 1))
    def devices():
        return [line for line in open('/proc/net/dev').read().splitlines()[2:] if not line.strip().startswith('lo:')]
    trial('devices', devices)
    trial('routes', lambda: open('/proc/net/route').read().splitlines()[1:])
""",
        profiles=("system",),
        tiers=("namespaces",),
        seconds=60.0,
    ),
    _escape(
        "socket_options",
        "load packet filters, protocol modules and flow labels through a socket's options",
        """
import socket
def attack():
    def option(family, kind, level, name, value):
        with socket.socket(family, kind) as s:
            s.setsockopt(level, name, value)
            return 'set'
    one = b'\\x01\\0\\0\\0'
    for level, name, value in ((1, 26, bytes(16)), (1, 50, one), (1, 51, bytes(16)), (1, 52, one), (1, 60, one), (1, 61, one), (1, 25, b'lo'), (1, 36, one), (1, 33, one), (1, 32, one),
                               (6, 31, b'tls'), (6, 14, bytes(64)), (6, 38, bytes(64)), (6, 19, one), (6, 33, bytes(16)), (6, 13, b'bbr'), (0, 64, bytes(64)), (0, 65, bytes(64)), (0, 16, one),
                               (41, 64, bytes(64)), (41, 32, bytes(32)), (41, 34, one), (41, 57, one), (17, 100, one), (17, 103, one), (132, 0, one), (255, 1, one)):
        family = 10 if level == 41 else 2
        kind = 2 if level == 17 else 1
        trial('%d %d' % (level, name), lambda family=family, kind=kind, level=level, name=name, value=value: option(family, kind, level, name, value))
    def larger():
        with socket.socket() as s:
            s.setsockopt(1, 7, 1 << 30)
            s.setsockopt(1, 8, 1 << 30)
            return max(s.getsockopt(1, 7), s.getsockopt(1, 8)) > 1 << 20 and 'larger buffers'
    trial('buffers', larger)
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _escape(
        "own_proc",
        "use its /proc to see, write or enter what is not its own",
        """
def attack():
    numbers = [n for n in os.listdir('/proc') if n.isdigit()]
    def strangers():
        found = []
        for n in numbers:
            said = open('/proc/%s/cmdline' % n, 'rb').read()
            if b'acejail' in said or b'_ace_guest.judge' in said or LURES['tag'].encode() in said:
                found.append(said[:80])
        return found
    trial('strangers', strangers)
    for name in ('self/mem', 'self/oom_score_adj', 'self/clear_refs', 'self/uid_map', 'self/setgroups', 'self/attr/current', 'self/comm', 'self/timerslack_ns', 'sysrq-trigger',
                 'sys/kernel/core_pattern', 'sys/net/ipv4/ip_forward', 'sys/net/ipv4/tcp_rmem', 'sys/vm/drop_caches', 'sys/kernel/hostname', 'self/fd/3'):
        trial('write ' + name, lambda name=name: os.close(os.open('/proc/' + name, os.O_WRONLY)) is None and 'opened')
    for name in ('kcore', 'kmsg', 'keys', 'key-users', 'cmdline', 'slabinfo', 'vmallocinfo', 'self/root' + LURES['file'], '1/cwd/..' + LURES['file'], 'self/stack', 'self/syscall'):
        def look(name=name):
            with open('/proc/' + name, 'rb') as file:
                text = file.read(4096)
            return text and name not in ('self/stack', 'self/syscall') and 'read %r' % text[:40]
        trial('read ' + name, look)
    def enter(name, flag):
        fd = os.open('/proc/self/ns/' + name, os.O_RDONLY)
        os.dup2(fd, 4)
        return call('setns', 4, flag) == 0 and 'entered'
    for name, flag in (('net', 0x40000000), ('mnt', 0x20000), ('pid', 0x20000000), ('user', 0x10000000)):
        trial('enter ' + name, lambda name=name, flag=flag: enter(name, flag))
    trial('mount', lambda: call('mount', ctypes.c_char_p(b'proc'), ctypes.c_char_p(b'/proc'), ctypes.c_char_p(b'proc'), 0, 0) == 0 and 'mounted')
    trial('unmount', lambda: call('umount2', ctypes.c_char_p(b'/proc'), 2) == 0 and 'unmounted')
""",
        profiles=("system",),
        tiers=("namespaces",),
    ),
    _escape(
        "kernel_identity",
        "run as the kernel's uid 0, with capabilities, without a filter, or able to gain rights by exec",
        "import time\ndef attack():\n    time.sleep(0.7)\n    say('held', 'looked at from outside')\n",
        may_die=False,
        inspect=True,
    ),
    _escape(
        "descriptors_at_birth",
        "use a descriptor that was left open: directories, files, sockets beyond the one it needs",
        """
import stat
def attack():
    left = []
    for fd in range(0, 1024):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if fd > 3 or stat.S_ISDIR(mode) or (fd == 3 and not stat.S_ISSOCK(mode)):
            left.append((fd, oct(mode)))
    trial('left open', lambda: left)
""",
    ),
    _escape(
        "personality",
        "turn off address randomisation or take on another ABI",
        "def attack():\n    for n in (0x0040000, 0x0008, 0x0400000, 0x20000):\n"
        "        trial('personality %#x' % n, lambda n=n: call('personality', n) >= 0 and call('personality', 0xffffffff) == n and 'set')\n",
    ),
)
