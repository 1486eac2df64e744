"""What a guest finds in the jail, in every way this machine can build one; one property per test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native import conftest, jails

MOUNTS = {"own-uid", "user", "caller", "no-userns", "old-kernel"}
STATUS_CALLS = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def capabilities():
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    assert libc.capget(header, data) == 0
    e0, p0, i0, e1, p1, i1 = struct.unpack("<6I", data.raw)
    return [e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32]
"""
CAP_SYS_ADMIN = 1 << 21


def has_mounts(jail: jails.Jail) -> bool:
    return bool(jail.ready["mechanisms"]["file_system"] == "mount namespace")


def test_ready_names_the_tier_and_what_hides_files(jail: jails.Jail, request: pytest.FixtureRequest) -> None:
    way = request.node.callspec.params["jail"]
    expected = {"landlock": "landlock", "user-landlock": "landlock", "caller-landlock": "landlock"}
    files = "mount namespace" if way in MOUNTS else expected.get(way, "chroot of a copy")
    assert jail.ready["mechanisms"]["file_system"] == files
    assert jail.ready["tier"] == ("namespaces" if way in MOUNTS else "seccomp")
    assert (jail.ready["mechanisms"]["identity_why"] != "") == (way == "no-userns")


def test_no_guest_is_uid_0(jail: jails.Jail) -> None:
    ids = jail.run("import os; result = [*os.getresuid(), *os.getresgid()]")
    assert 0 not in ids
    assert len(set(ids)) == 1


def test_no_guest_has_kernel_uid_0(jail: jails.Jail) -> None:
    """Seen from outside, not by the guest's word."""
    for pid in descendants(jail.process.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in uids, status


def test_roots_groups_do_not_reach_guests(jail: jails.Jail) -> None:
    """An ordinary user has no right to drop his own."""
    if not conftest.ROOT:
        pytest.skip("for root")
    for pid in descendants(jail.process.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        groups = next(line for line in status.splitlines() if line.startswith("Groups:")).split()[1:]
        as_user = "caller" in jail.ready["mechanisms"]["identity"]
        assert groups == ([str(jails.GROUP_OF_THE_HOST)] if as_user else []), status


def test_guests_keep_only_the_right_to_clone_players(jail: jails.Jail) -> None:
    effective, permitted, inheritable = jail.run(STATUS_CALLS + "result = capabilities()")
    allowed = CAP_SYS_ADMIN if has_mounts(jail) else 0
    assert (effective, permitted, inheritable) == (allowed, allowed, allowed)


def test_bounding_set_is_as_small(jail: jails.Jail) -> None:
    present = jail.run(STATUS_CALLS + "result = [n for n in range(41) if libc.prctl(23, n, 0, 0, 0) == 1]")
    if has_mounts(jail):
        assert present == [21]
    elif conftest.ROOT and jail.ready["mechanisms"]["identity"].startswith("changed"):
        assert present == []


def test_no_new_privs(jail: jails.Jail) -> None:
    assert jail.run(STATUS_CALLS + "result = libc.prctl(39, 0, 0, 0, 0)") == 1


def test_only_four_descriptors(jail: jails.Jail) -> None:
    source = """
import os
result = []
for fd in range(64):
    try:
        os.fstat(fd)
        result.append(fd)
    except OSError:
        pass
"""
    assert jail.run(source) == [0, 1, 2, 3]


def test_supervisor_keeps_no_descriptor_of_the_host(jail: jails.Jail) -> None:
    """0 to 3, its files of the cgroup, /proc, the guest's log, and the scratch's or rules' directories."""
    open_now = jail.ask("F")
    assert {0, 1, 2, 3} <= set(open_now)
    assert len(open_now) <= 12


def test_environment_is_the_configured_one(jail: jails.Jail) -> None:
    names = set(jail.run("import os; result = sorted(os.environ)"))
    # CPython's C locale coercion adds LC_CTYPE where no locale is set
    assert names - {"LC_CTYPE"} <= {
        "PYTHONPATH", "TMPDIR", "HOME", "LANG", "TZ", "PATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE",
        "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "LD_BIND_NOW", "LD_LIBRARY_PATH",
    }  # fmt: skip


def test_guest_is_told_its_tier_and_scratch(jail: jails.Jail) -> None:
    told = jail.run("import os; result = [guest['tier'], guest['scratch'], os.environ.get('TMPDIR', '')]")
    assert told[0] == jail.ready["tier"]
    assert told[2] in ("", told[1])


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/hostname", "/home", "/root", "/proc/self/status", "/sys"]
)
def test_host_files_are_out_of_reach(jail: jails.Jail, path: str) -> None:
    source = f"""
import os
try:
    result = os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}).read(20)
except OSError as error:
    result = "refused"
"""
    seen = jail.run(source)
    # a copied tree holds the interpreter at its own path, and nothing else below the same directory
    assert seen == "refused" or (path == "/root" and seen == [".pyenv"]), seen


def test_interpreter_is_read_only(jail: jails.Jail) -> None:
    source = """
import os
places = ["/", "/usr", "/usr/lib", os.path.dirname(os.__file__), os.path.dirname(__import__("_ace_guest").__file__)]
result = []
for place in places:
    for name in ("ace-test", "os.py", "__init__.py"):
        try:
            with open(os.path.join(place, name), "ab") as file:
                result.append(file.name)
        except OSError:
            pass
"""
    assert jail.run(source) == []


def test_root_holds_nothing_but_the_view(jail: jails.Jail) -> None:
    if not has_mounts(jail):
        pytest.skip("Landlock hides the list; a copy holds what was copied")
    assert set(jail.run("import os; result = os.listdir('/')")) <= {
        "ace", "bin", "dev", "etc", "lib", "lib64", "py", "tmp", "usr",
    }  # fmt: skip


def test_own_root_is_read_only_even_for_its_owner(jail: jails.Jail) -> None:
    source = """
import os
result = []
for call in (lambda: os.mkdir("/new"), lambda: os.rename("/usr", "/rsu"), lambda: os.symlink("x", "/link"),
             lambda: os.chmod("/dev/null", 0o777), lambda: os.unlink("/dev/null")):
    try:
        call()
        result.append("done")
    except OSError:
        pass
"""
    assert jail.run(source) == []


@pytest.mark.parametrize("name", ["null", "zero", "full", "random", "urandom"])
def test_harmless_devices_work(jail: jails.Jail, name: str) -> None:
    source = f"""
import os
fd = os.open("/dev/{name}", os.O_RDWR if "{name}" in ("null", "zero", "full") else os.O_RDONLY)
result = len(os.read(fd, 8))
"""
    assert jail.run(source) == (0 if name == "null" else 8)


def test_no_other_device(jail: jails.Jail) -> None:
    source = """
import os
def usable(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        return True
    except OSError:
        return False
names = ["mem", "kmsg", "tty", "vda", "sda", "kvm", "fuse", "ptmx", "shm", "userfaultfd", "net/tun", "console"]
result = [name for name in names if usable("/dev/" + name)]
"""
    assert jail.run(source) == []


def test_scratch_is_private_and_writable(jail: jails.Jail) -> None:
    source = """
import os
place = guest["scratch"]
os.makedirs(os.path.join(place, "a/b"))
with open(os.path.join(place, "a/b/file"), "w") as file:
    file.write("x")
result = oct(os.stat(place).st_mode & 0o7777)
"""
    assert jail.run(source) == "0o700"
    assert jail.ask("S")["clean"] == 0
    assert jail.ask("N") == 0
    assert jail.ask("S")["clean"] == 1
    assert jail.run("import os; result = os.listdir(guest['scratch'])") == []


@pytest.mark.parametrize(
    "mess",
    [
        "open(p + '/empty', 'w').close()",
        "os.mkdir(p + '/d')",
        "os.symlink('/etc/passwd', p + '/link')",
        "os.mkfifo(p + '/fifo')",
        "open(p + '/' + 'n' * 255, 'w').close()",
        "open(os.fsencode(p) + b'/\\xff\\n', 'w').close()",
        "os.chmod(p, 0o711)",
        "os.utime(p, (1, 2))",
        "open(p + '/gone', 'w').close(); os.unlink(p + '/gone')",
    ],
)
def test_anything_left_in_the_scratch_is_noticed(jail: jails.Jail, mess: str) -> None:
    assert jail.ask("N") == 0
    jail.run(f"import os; p = guest['scratch']; {mess}")
    assert jail.ask("S")["clean"] == 0
    assert jail.ask("N") == 0
    assert jail.ask("S")["clean"] == 1


def test_a_hostile_tree_is_gone_in_no_time(jail: jails.Jail) -> None:
    """Deeper than descriptors allow, with directories that nobody may enter."""
    source = """
import os
os.chdir(guest["scratch"])
for depth in range(150):
    os.mkdir("d")
    os.chdir("d")
os.mkdir("locked", 0)
result = os.getcwd().count("/d")
"""
    assert jail.run(source) == 150
    assert jail.ask("N") == 0
    assert jail.ask("S")["clean"] == 1
    assert jail.run("import os; result = os.listdir(guest['scratch'])") == []


def test_scratch_has_caps_where_it_is_a_mount(jail: jails.Jail) -> None:
    if not has_mounts(jail):
        pytest.skip("a plain directory has none")
    source = """
import errno, os
os.chdir(guest["scratch"])
written = files = 0
try:
    for n in range(100):
        with open(f"big{n}", "wb") as file:
            for _ in range(4):
                written += file.write(b"x" * (1 << 20))
except OSError as error:
    first = errno.errorcode[error.errno]
for n in range(100):
    if os.path.exists(f"big{n}"):
        os.unlink(f"big{n}")
try:
    for n in range(1000):
        open(f"small{n}", "w").close()
        files += 1
except OSError as error:
    second = errno.errorcode[error.errno]
result = [written >> 20, first, files, second]
"""
    written, first, files, second = jail.run(source)
    assert (first, second) == ("ENOSPC", "ENOSPC")
    assert written <= 16
    assert files < 200
    assert jail.ask("N") == 0


def test_files_have_a_largest_size(jail: jails.Jail) -> None:
    source = """
import signal, os
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open(os.path.join(guest["scratch"], "sparse"), "wb") as file:
        file.truncate(1 << 50)
    result = "made"
except OSError as error:
    result = error.errno
"""
    assert jail.run(source) == 27  # EFBIG
    assert jail.ask("N") == 0


def test_no_core_dumps(jail: jails.Jail) -> None:
    """1 is the only limit that keeps a core_pattern with a pipe from running."""
    assert jail.run("import resource; result = resource.getrlimit(resource.RLIMIT_CORE)") == [1, 1]


def test_limits_that_nobody_needs_are_zero(jail: jails.Jail) -> None:
    names = ["MEMLOCK", "MSGQUEUE", "RTPRIO"]
    source = (
        f"import resource; result = [resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in {names}]"
    )
    assert jail.run(source) == [[0, 0]] * 3


def test_threads_have_a_ceiling(jail: jails.Jail) -> None:
    """16 for the program and a few for the worker's own processes."""
    if jail.ready["mechanisms"]["identity"] == "caller's uid":
        pytest.skip("the kernel counts the user's other processes too")
    source = """
import threading
stop = threading.Event()
started = 0
try:
    for _ in range(400):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
stop.set()
result = started
"""
    assert 16 <= jail.run(source) <= 16 + 24


def test_no_network_but_an_empty_one(jail: jails.Jail) -> None:
    if not has_mounts(jail):
        pytest.skip("sockets are the filter's business there")
    source = """
import socket
def reached(address):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(address)
result = [[name for _, name in socket.if_nameindex()], reached(("127.0.0.1", 22)), reached(("1.1.1.1", 53))]
"""
    interfaces, loopback, outside = jail.run(source)
    assert set(interfaces) <= {
        "lo",
        "sit0",
        "tunl0",
        "ip6tnl0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip_vti0",
        "ip6_vti0",
    }
    assert loopback == 101  # ENETUNREACH: not even lo is up
    assert outside == 101


def test_tcp_is_denied_without_namespaces(jail: jails.Jail) -> None:
    """Landlock alone, before any seccomp filter."""
    if jail.ready["mechanisms"]["landlock_abi"] < 4:
        pytest.skip("Landlock denies TCP from ABI 4 on")
    source = """
import socket
def failed(call):
    with socket.socket() as s:
        try:
            call(s)
        except OSError as error:
            return error.errno
result = [failed(lambda s: s.connect(("127.0.0.1", 22))), failed(lambda s: s.bind(("127.0.0.1", 45999)))]
"""
    assert jail.run(source) == [13, 13]


def test_signals_stay_inside_without_namespaces(jail: jails.Jail) -> None:
    if jail.ready["mechanisms"]["landlock_abi"] < 6:
        pytest.skip("Landlock scopes signals from ABI 6 on")
    source = f"""
import os
result = []
for pid in ({os.getpid()}, {jail.process.pid}, os.getppid()):
    try:
        os.kill(pid, 0)
        result.append(pid)
    except PermissionError:
        pass
"""
    assert jail.run(source) == []


def test_host_processes_do_not_exist(jail: jails.Jail) -> None:
    if not jail.ready["mechanisms"]["pid_namespace"]:
        pytest.skip("no pid namespace")
    source = f"""
import os
def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
result = [os.getppid(), os.getpid() < 1000, exists({os.getpid()}), exists({jail.process.pid})]
"""
    assert jail.run(source) == [1, True, False, False]


def test_host_name_is_not_the_hosts(jail: jails.Jail) -> None:
    if not has_mounts(jail):
        pytest.skip("needs a namespace of its own")
    assert jail.run("import os; result = os.uname().nodename") == "ace"


def test_system_v_memory_is_the_jails_own(jail: jails.Jail) -> None:
    """A segment of the host's is not there. (Calls are the filter's business.)"""
    if not has_mounts(jail):
        pytest.skip("needs a namespace of its own")
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(0xACE, 4096, 0o1666)
    assert segment >= 0
    try:
        assert jail.run(STATUS_CALLS + "result = libc.shmget(0xACE, 4096, 0)") == -1
    finally:
        libc.shmctl(segment, 0, None)


def test_supervisor_sees_schedstat(jail: jails.Jail) -> None:
    if not jail.ready["mechanisms"]["proc"]:
        conftest.unavailable("no /proc for the supervisor")
    jail.send("P")
    numbers = jail.receive()[2].split()
    assert len(numbers) == 3
    assert int(numbers[0]) > 0


def test_a_guest_that_fails_leaves_its_reason(jail: jails.Jail) -> None:
    status, log = jail.run_status(
        "import os, sys; sys.stderr.write('because'); sys.stderr.flush(); os._exit(3)"
    )
    assert status == 3 << 8
    assert b"because" in log


def test_a_flood_on_stderr_blocks_nobody(jail: jails.Jail) -> None:
    source = """
import os
written = 0
try:
    while True:
        written += os.write(2, b"x" * 4096)
except BlockingIOError:
    pass
result = written
"""
    assert jail.run(source) <= 1 << 20


def test_a_guest_is_killed_with_its_supervisor(harness: Path) -> None:
    if not conftest.ROOT:
        pytest.skip("for root")
    for way in ("own-uid", "landlock"):
        with conftest.start(harness, way) as jail:
            answer = jail.run(
                STATUS_CALLS + "v = ctypes.c_int(); libc.prctl(2, ctypes.byref(v), 0, 0, 0); result = v.value"
            )
            assert answer == 9


def test_memory_is_limited_by_the_cgroup(harness: Path) -> None:
    with conftest.start(harness, "own-uid" if conftest.ROOT else "caller", memory_mb=64) as jail:
        if jail.ready["mechanisms"]["cgroup"] == "none":
            conftest.unavailable(jail.ready["mechanisms"]["cgroup_why"])
        status, _ = jail.run_status("b = bytearray(200 << 20)")
        assert status & 0x7F == 9
        after = jail.ask("S")
        assert after["oom"] == 1
        assert 32 << 20 < after["peak"] <= 64 << 20
        assert jail.run("result = 'alive'") == "alive"


def test_a_renewed_scratch_gives_its_memory_back(harness: Path) -> None:
    with conftest.start(harness, "own-uid" if conftest.ROOT else "caller", memory_mb=64) as jail:
        if jail.ready["mechanisms"]["cgroup"] == "none":
            conftest.unavailable(jail.ready["mechanisms"]["cgroup_why"])
        for _ in range(10):
            jail.run("import os; open(os.path.join(guest['scratch'], 'f'), 'wb').write(bytes(8_000_000))")
            assert jail.ask("N") == 0
        after = jail.ask("S")
        assert (after["clean"], after["oom"]) == (1, 0)
        assert after["peak"] < 40 << 20


def test_cgroup_can_be_switched_off(harness: Path) -> None:
    with conftest.start(harness, "own-uid" if conftest.ROOT else "caller", cgroup="off") as jail:
        assert jail.ready["mechanisms"]["cgroup"] == "none"
        assert jail.ready["mechanisms"]["cgroup_why"] == "switched off"


def test_processor_can_be_pinned(harness: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    with conftest.start(harness, "own-uid" if conftest.ROOT else "caller", cpu=cpu) as jail:
        assert jail.run("import os; result = sorted(os.sched_getaffinity(0))") == [cpu]


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, without `pid`."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


# ---- the profile `system` ----


@pytest.fixture(scope="module", params=sorted(MOUNTS))
def system(request: pytest.FixtureRequest, harness: Path) -> Iterator[jails.Jail]:
    """As `jail`, with the profile `system`, in every way that has mounts."""
    with conftest.start(harness, request.param, profile="system", processes=4) as made:
        yield made


def test_ready_says_what_the_profile_gives(system: jails.Jail, jail: jails.Jail) -> None:
    given = ("loopback", "bounded_sockets", "shared_memory", "own_proc")
    assert system.ready["profile"] == "system"
    assert [system.ready["mechanisms"][name] for name in given] == [True] * 4
    assert jail.ready["profile"] == "compute"
    assert [jail.ready["mechanisms"][name] for name in given] == [False] * 4


def test_guests_of_the_profile_get_no_further_right(system: jails.Jail) -> None:
    """CAP_NET_ADMIN, for the loopback devices of players, stays with the supervisor."""
    assert system.run(STATUS_CALLS + "result = capabilities()") == [CAP_SYS_ADMIN] * 3
    source = "result = [n for n in range(41) if libc.prctl(23, n, 0, 0, 0) == 1]"
    assert set(system.run(STATUS_CALLS + source)) <= {12, 21}


def test_programs_and_made_files_are_there_and_cannot_be_changed(system: jails.Jail) -> None:
    source = """
import os
result = []
for path in ("/usr/bin/env", "/bin/sh", "/etc/hosts", "/usr/local/bin/python", "/usr/local/bin/pip"):
    if not os.path.exists(path):
        result.append("no " + path)
    for change, more in ((open, "ab"), (os.unlink, None), (os.chmod, 0o777), (os.rename, path + "x")):
        try:
            change(path) if more is None else change(path, more)
            result.append("changed " + path)
        except OSError:
            pass
if not os.access("/usr/local/bin/pip", os.X_OK):
    result.append("pip is no program")
if open("/etc/hosts").read().splitlines()[0] != "127.0.0.1 localhost":
    result.append("hosts")
"""
    assert system.run(source) == []
    assert set(system.run("import os; result = os.listdir('/etc')")) <= {
        "alternatives", "hosts", "ld.so.cache", "nsswitch.conf",
    }  # fmt: skip


def test_guests_that_live_on_see_an_empty_proc(system: jails.Jail) -> None:
    """The complete one, which the kernel wants in the mount namespace, lies beneath."""
    assert system.run("import os; result = os.listdir('/proc')") == []


def test_the_workers_own_network_stays_empty_and_down(system: jails.Jail) -> None:
    source = """
import errno, socket
try:
    socket.create_server(("127.0.0.1", 0))
    socket.create_connection(("127.0.0.1", 1))
    result = "up"
except OSError as error:
    result = errno.errorcode[error.errno]
"""
    assert system.run(source) in ("ENETUNREACH", "EADDRNOTAVAIL")


@pytest.mark.parametrize(
    "mess",
    [
        "open('/dev/shm/empty', 'w').close()",
        "os.makedirs('/dev/shm/a/b'); os.chmod('/dev/shm/a', 0)",
        "os.chmod('/dev/shm', 0o755)",
        "os.utime('/dev/shm', (1, 1))",
    ],
)
def test_anything_left_in_shared_memory_is_noticed(system: jails.Jail, mess: str) -> None:
    assert system.ask("N") == 0
    assert system.ask("S")["clean"] == 1
    system.run(f"import os; {mess}")
    assert system.ask("S")["clean"] == 0
    assert system.ask("N") == 0
    assert system.ask("S")["clean"] == 1
    assert system.run("import os; result = [os.listdir('/dev/shm'), oct(os.stat('/dev/shm').st_mode)]") == [
        [],
        "0o41777",
    ]


def test_shared_memory_has_caps_and_leaves_the_scratch_alone(system: jails.Jail) -> None:
    source = """
import os
written = files = 0
try:
    for n in range(100):
        with open(f"/dev/shm/big{n}", "wb") as file:
            for _ in range(4):
                written += file.write(b"x" * (1 << 20))
except OSError:
    pass
with open(os.path.join(guest["scratch"], "mine"), "wb") as file:
    file.write(b"x" * (4 << 20))
result = written >> 20
"""
    assert 12 <= system.run(source) <= 16
    assert system.ask("N") == 0


@pytest.mark.parametrize("way", ["landlock", "chroot", "user-landlock", "caller-landlock"])
def test_without_namespaces_the_profile_is_refused(harness: Path, way: str) -> None:
    needs_root, arguments = conftest.WAYS[way]
    if needs_root != conftest.ROOT:
        pytest.skip("for root" if needs_root else "for an ordinary user")
    with jails.Jail(harness, **{**arguments, "profile": "system"}) as made:  # type: ignore[arg-type]
        assert "needs network, pid and mount namespaces" in made.failure
        assert made.process.wait(5) == 2
