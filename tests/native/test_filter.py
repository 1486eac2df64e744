"""The seccomp filter, call by call: each row of a table is one test with its name.

The calls are really made, by prober.py, under the filter that players get. Arguments are such that the kernel, if it
were asked, would answer something else: a filter that lets a call through is seen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from acesandbox import _interpreter
from tests.conftest import unavailable
from tests.native.jails import NATIVE

MACHINE = os.uname().machine
PROBER = Path(__file__).parent / "prober.py"
ROW = re.compile(r"S\((\w+), (-?\d+), (-?\d+), (\w+)\)")
ROWS = [
    (name, int(x86_64), int(aarch64), policy)
    for name, x86_64, aarch64, policy in ROW.findall((NATIVE / "common" / "syscalls.h").read_text())
]
NUMBER = {name: (x86_64 if MACHINE == "x86_64" else aarch64) for name, x86_64, aarch64, _ in ROWS}
COMPUTE = ("player", "judge", "player-no-pidns", "judge-no-pidns")
SYSTEM = ("player-system", "judge-system")
PROFILES = (*COMPUTE, *SYSTEM)
BAD = -1  # no descriptor, no address, no pid


def extension() -> str:
    return str(Path(_interpreter.guest_directory()) / "_native.abi3.so")


def outcomes(profile: str, calls: list[list[Any]], processes: int = 0, apart: bool = False) -> list[str]:
    """What became of each call; with `apart`, each in a player of its own."""
    job = {"native": extension(), "profile": profile, "processes": processes, "calls": calls, "apart": apart}
    done = subprocess.run(
        [sys.executable, "-I", str(PROBER)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if "in which to clone players" in done.stderr:
        unavailable(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    result: list[str] = json.loads(done.stdout)
    return result


def call(name: str, *arguments: int) -> list[Any]:
    return [NUMBER[name], [*arguments, *[BAD] * (6 - len(arguments))]]


@cache
def answers_to_all(profile: str) -> dict[str, str]:
    """The answers to every call whose policy is a plain errno, made in one process."""
    plain = {"REFUSE", "ABSENT", "NO_XATTR", "PRETEND"}
    names = [name for name, _, _, policy in ROWS if policy in plain and NUMBER[name] >= 0]
    return dict(zip(names, outcomes(profile, [call(name) for name in names]), strict=True))


ANSWER = {"REFUSE": "EPERM", "ABSENT": "ENOSYS", "NO_XATTR": "EOPNOTSUPP", "PRETEND": "ok 0"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("name", "policy"),
    [(name, policy) for name, _, _, policy in ROWS if policy in ANSWER and NUMBER[name] >= 0],
)
def test_call_is_answered_without_the_kernel(profile: str, name: str, policy: str) -> None:
    answer = answers_to_all(profile)[name]
    assert answer.replace("ENOTSUP", "EOPNOTSUPP").replace("EOPNOTSUPPP", "EOPNOTSUPP") == ANSWER[policy]


@pytest.mark.parametrize("profile", COMPUTE)
def test_there_is_no_network_without_the_profile_system(profile: str) -> None:
    names = [name for name, _, _, policy in ROWS if policy in ("NETWORK", "SOCKET", "SETSOCKOPT")]
    answers = outcomes(profile, [call(name, 1, 1, 0) for name in names])
    assert dict(zip(names, answers, strict=True)) == dict.fromkeys(names, "EPERM")
    assert {"socket", "connect", "bind", "listen", "accept", "accept4", "setsockopt", "sendmmsg"} <= set(
        names
    )


# Attacks in every process that runs a program or a test; a zygote of the profile `system` may mount and enter networks.
SET_UP = ("SETNS", "MOUNT")
ATTACKS = [name for name, _, _, policy in ROWS if policy in ("ATTACK", *SET_UP) and NUMBER[name] >= 0]
SEALED = [name for name, _, _, policy in ROWS if policy in SET_UP]


# Written down apart from the table, so that a slip in the table is seen.
HOPELESS = """
ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd bpf perf_event_open userfaultfd
io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl
mount umount2 pivot_root chroot unshare setns open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
kexec_load kexec_file_load init_module finit_module delete_module name_to_handle_at open_by_handle_at
quotactl swapon swapoff reboot settimeofday clock_settime acct
""".split()  # noqa: SIM905
NETWORK = "socket connect bind listen accept4".split()  # noqa: SIM905
CHANNELS = """
shmget shmat semget msgget mq_open inotify_init1 fanotify_init memfd_create execve execveat fork vfork clone3
setpriority sched_setaffinity mincore cachestat splice tee vmsplice process_madvise
""".split()  # noqa: SIM905


def test_hopeless_calls_are_attacks() -> None:
    assert set(HOPELESS) - set(ATTACKS) == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_channels_are_closed(profile: str) -> None:
    names = [name for name in CHANNELS if NUMBER[name] >= 0] + (NETWORK if profile in COMPUTE else [])
    answers = dict(zip(names, outcomes(profile, [call(name) for name in names]), strict=True))
    assert {name for name, answer in answers.items() if answer not in ("EPERM", "ENOSYS")} == set()


@cache
def answers_to_attacks(profile: str) -> dict[str, str]:
    return dict(zip(ATTACKS, outcomes(profile, [call(name) for name in ATTACKS], apart=True), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_named_by_the_listener(name: str) -> None:
    assert answers_to_attacks("player")[name] == f"named {NUMBER[name]}"


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_named_or_killed_in_the_profile_system(name: str) -> None:
    expected = "killed SIGSYS" if name in SEALED else f"named {NUMBER[name]}"
    assert answers_to_attacks("player-system")[name] == expected


@pytest.mark.parametrize("profile", ["judge", "judge-system"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_kills_a_test_process(profile: str, name: str) -> None:
    assert answers_to_attacks(profile)[name] == "killed SIGSYS"


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_named_without_a_pid_namespace(name: str) -> None:
    assert answers_to_attacks("player-no-pidns")[name] == f"named {NUMBER[name]}"


# Calls that must reach the kernel, and what it answers to these arguments.
ALLOWED: list[tuple[str, tuple[int, ...], str]] = [
    ("read", (BAD,), "EBADF"),
    ("write", (BAD,), "EBADF"),
    ("close", (BAD,), "EBADF"),
    ("lseek", (BAD,), "EBADF"),
    ("pread64", (BAD, 0, 0, 0), "EBADF"),
    ("readv", (BAD,), "EBADF"),
    ("openat", (BAD, 0, 0, 0), "EFAULT"),
    ("newfstatat", (BAD, 0, 0, 0), "EFAULT"),
    ("statx", (BAD, 0, 0, 0, 0), "EFAULT"),
    ("getdents64", (BAD,), "EBADF"),
    ("getcwd", (0, 0), "ERANGE"),
    ("munmap", (1, 0), "EINVAL"),
    ("mprotect", (1, 0, 0), "EINVAL"),
    ("mremap", (1, 0, 0), "EINVAL"),
    ("madvise", (1, 0, 4), "EINVAL"),
    ("brk", (0,), "ok"),
    ("futex", (0, 0), "EFAULT"),
    ("getrandom", (0, 0, 0), "ok 0"),
    ("clock_gettime", (0, 0), "EFAULT"),
    ("sched_yield", (), "ok 0"),
    ("sched_getaffinity", (0, 0, 0), "EINVAL"),
    ("rt_sigaction", (9, 0, 0, 8), "ok 0"),
    ("pipe2", (0, 0), "EFAULT"),
    ("dup3", (0, 0, 0), "EINVAL"),
    ("eventfd2", (0, BAD), "EINVAL"),
    ("epoll_create1", (BAD,), "EINVAL"),
    ("timerfd_create", (BAD,), "EINVAL"),
    ("ppoll", (0, 0, 1, 0, 8), "EFAULT"),
    ("sendmsg", (BAD, 0, 0), "EBADF"),
    ("recvmsg", (BAD, 0, 0), "EBADF"),
    ("getsockname", (BAD,), "EBADF"),
    ("shutdown", (BAD,), "EBADF"),
    ("wait4", (BAD, 0, 1, 0), "ECHILD"),
    ("mkdirat", (BAD, 0, 0o777), "EFAULT"),
    ("unlinkat", (BAD, 0, 0), "EFAULT"),
    ("symlinkat", (0, BAD, 0), "EFAULT"),
    ("ftruncate", (BAD, 0), "EBADF"),
    ("copy_file_range", (BAD, 0, BAD, 0, 1, 0), "EBADF"),
    ("getpid", (), "ok"),
    ("sysinfo", (0,), "EFAULT"),
    ("membarrier", (0, 0), "ok"),
    ("capget", (0, 0), "EFAULT"),
    ("close_range", (1, 0), "EINVAL"),
    ("set_robust_list", (0, 0), "EINVAL"),
    ("rseq", (1, 1, 0, 0), "EINVAL"),
    ("umask", (0o22,), "ok"),
    ("setsid", (), "ok|EPERM"),
    ("prlimit64", (0, 7, 0, 0), "ok 0"),
    ("sendfile", (BAD, BAD, 0, 1), "EBADF"),
]


@cache
def answers_to_allowed(profile: str) -> dict[str, str]:
    calls = [call(name, *arguments) for name, arguments, _ in ALLOWED]
    return dict(zip((name for name, _, _ in ALLOWED), outcomes(profile, calls), strict=True))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, _, expected in ALLOWED])
def test_call_reaches_the_kernel(profile: str, name: str, expected: str) -> None:
    answer = answers_to_allowed(profile)[name]
    assert any(answer == one or (one == "ok" and answer.startswith("ok ")) for one in expected.split("|"))


THREAD = 0x3D0F00
FORK = 0x01200011
SPAWN = 0x4111
PARENT, NEWPID, TIDS, SIGCHLD = 0x8000, 0x20000000, 0x01200000, 17

# Calls whose arguments decide: (name of the property, call, answer of a player).
BY_ARGUMENT: list[tuple[str, list[Any], str]] = [
    ("fork", call("clone", FORK, 0, 0, 0, 0), "EPERM"),
    ("posix_spawn", call("clone", SPAWN, 0, 0, 0, 0), "EPERM"),
    ("clone_of_a_sibling", call("clone", PARENT | SIGCHLD, 0, 0, 0, 0), "EPERM"),
    # let through by the filter in the namespaces tier: init of a pid namespace may not have siblings, says the kernel
    ("the_zygotes_own_word", call("clone", PARENT | NEWPID | TIDS | SIGCHLD, 0, 0, 0, 0), "EINVAL"),
    ("thread_without_CLONE_THREAD", call("clone", THREAD & ~0x10000, 0, 0, 0, 0), "EPERM"),
    ("thread_that_shares_no_files", call("clone", THREAD & ~0x400, 0, 0, 0, 0), "EPERM"),
    ("untraced", call("clone", FORK | 0x800000, 0, 0, 0, 0), "EPERM"),
    *(
        (f"clone_into_new_{name}", call("clone", flag | SIGCHLD, 0, 0, 0, 0), f"named {NUMBER['clone']}")
        for name, flag in {
            "user": 0x10000000,
            "pid": NEWPID,
            "net": 0x40000000,
            "mount": 0x20000,
            "ipc": 0x08000000,
            "uts": 0x04000000,
            "cgroup": 0x02000000,
        }.items()
    ),
    ("clone_flags_above_32_bits", call("clone", 1 << 33 | FORK, 0, 0, 0, 0), f"named {NUMBER['clone']}"),
    ("clone3", call("clone3", 0, 88), "ENOSYS"),
    ("execve", call("execve", 0, 0, 0), "EPERM"),
    ("execveat", call("execveat", BAD, 0, 0, 0, 0x1000), "EPERM"),
    ("TIOCSTI", call("ioctl", 0, 0x5412, 0), f"named {NUMBER['ioctl']}"),
    ("TIOCLINUX", call("ioctl", 0, 0x541C, 0), f"named {NUMBER['ioctl']}"),
    ("TCGETS_of_no_terminal", call("ioctl", 0, 0x5401, 0), "ENOTTY"),
    ("FIONREAD_of_nothing", call("ioctl", BAD, 0x541B, 0), "EBADF"),
    ("other_ioctl", call("ioctl", BAD, 0x1234, 0), "ENOTTY"),
    ("ioctl_with_high_bits", call("ioctl", BAD, 1 << 40 | 0x541B, 0), "EBADF"),
    ("F_DUPFD_of_nothing", call("fcntl", BAD, 0, 0), "EBADF"),
    ("F_SETLK_pretends", call("fcntl", BAD, 6, 0), "ok 0"),
    ("F_SETLKW_pretends", call("fcntl", BAD, 7, 0), "ok 0"),
    ("F_OFD_SETLK_pretends", call("fcntl", BAD, 37, 0), "ok 0"),
    ("F_OFD_SETLKW_pretends", call("fcntl", BAD, 38, 0), "ok 0"),
    ("F_GETLK", call("fcntl", BAD, 5, 0), "EPERM"),
    ("F_SETOWN", call("fcntl", BAD, 8, 1), "EPERM"),
    ("F_SETLEASE", call("fcntl", BAD, 1024, 0), "EPERM"),
    ("F_NOTIFY", call("fcntl", BAD, 1026, 0), "EPERM"),
    ("F_SETPIPE_SZ", call("fcntl", BAD, 1031, 1 << 20), "EPERM"),
    ("PR_SET_PDEATHSIG", call("prctl", 1, 9, 0, 0, 0), "EPERM"),
    ("PR_SET_DUMPABLE", call("prctl", 4, 1, 0, 0, 0), "EPERM"),
    ("PR_SET_SECCOMP", call("prctl", 22, 2, 0, 0, 0), "EPERM"),
    ("PR_SET_MM", call("prctl", 35, 1, 0, 0, 0), "EPERM"),
    ("PR_SET_PTRACER", call("prctl", 0x59616D61, BAD, 0, 0, 0), "EPERM"),
    ("PR_SET_CHILD_SUBREAPER", call("prctl", 36, 1, 0, 0, 0), "EPERM"),
    ("PR_SET_MEMORY_MERGE", call("prctl", 67, 1, 0, 0, 0), "EPERM"),
    ("PR_GET_DUMPABLE_is_0", call("prctl", 3, 0, 0, 0, 0), "ok 0"),
    ("stream_pair", ["code", "import socket; socket.socketpair(); answer = 'ok'"], "ok"),
    ("datagram_pair", call("socketpair", 1, 2, 0, 0), "EPERM"),
    ("seqpacket_pair", call("socketpair", 1, 5, 0, 0), "EPERM"),
    ("inet_pair", call("socketpair", 2, 1, 0, 0), "EPERM"),
    ("inet_socket", call("socket", 2, 1, 0), "EPERM"),
    ("netlink_socket", call("socket", 16, 3, 0), "EPERM"),
    ("vsock_socket", call("socket", 40, 1, 0), "EPERM"),
    ("packet_socket", call("socket", 17, 3, 0), "EPERM"),
    ("limits_of_others", call("prlimit64", 1, 7, 0, 0), "EPERM"),
    ("personality_question", call("personality", 0xFFFFFFFF), "ok 0"),
    ("personality_change", call("personality", 0x0040000), f"named {NUMBER['personality']}"),
    ("MADV_MERGEABLE", call("madvise", 0, 0, 12), "EINVAL"),
    ("another_filter", call("seccomp", 1, 0, 0), "EPERM"),
    ("seccomp_strict_mode", call("seccomp", 0, 0, 0), "EPERM"),
    ("a_number_of_the_future", [700, [BAD] * 6], "ENOSYS"),
    ("no_number", [BAD, [BAD] * 6], "killed SIGSYS"),
]


# The same calls where a player has a network of its own, and more of their kind: what differs from the list above.
IN_SYSTEM: dict[str, str] = {
    "datagram_pair": "EFAULT",
    "seqpacket_pair": "EFAULT",
    "inet_socket": "ok",
    "netlink_socket": "EAFNOSUPPORT",
    "vsock_socket": "EAFNOSUPPORT",
    "packet_socket": "EAFNOSUPPORT",
}
ONLY_IN_SYSTEM: list[tuple[str, list[Any], str]] = [
    ("unix_socket", call("socket", 1, 1, 0), "ok"),
    ("unix_datagrams", call("socket", 1, 2, 0), "ok"),
    ("inet6_socket", call("socket", 10, 1, 6), "ok"),
    ("udp_socket", call("socket", 2, 2 | 0o4000 | 0o2000000, 17), "ok"),
    ("raw_socket", call("socket", 2, 3, 0), "EPERM"),
    ("icmp_socket", call("socket", 2, 2, 1), "EPROTONOSUPPORT"),
    ("sctp_socket", call("socket", 2, 1, 132), "EPROTONOSUPPORT"),
    ("mptcp_socket", call("socket", 2, 1, 262), "EPROTONOSUPPORT"),
    ("kernel_crypto_socket", call("socket", 38, 5, 0), "EAFNOSUPPORT"),
    ("connect_of_nothing", call("connect", BAD, 0, 0), "EBADF"),
    ("accept_of_nothing", call("accept4", BAD, 0, 0, 0), "EBADF"),
    ("listen_of_nothing", call("listen", BAD, 0), "EBADF"),
    ("SO_REUSEADDR", call("setsockopt", BAD, 1, 2, 0, 0), "EBADF"),
    ("TCP_NODELAY", call("setsockopt", BAD, 6, 1, 0, 0), "EBADF"),
    ("IP_TTL", call("setsockopt", BAD, 0, 2, 0, 0), "EBADF"),
    ("IPV6_V6ONLY", call("setsockopt", BAD, 41, 26, 0, 0), "EBADF"),
    ("SO_RCVBUF_is_pretended", call("setsockopt", BAD, 1, 8, 0, 0), "ok 0"),
    ("SO_SNDBUF_is_pretended", call("setsockopt", BAD, 1, 7, 0, 0), "ok 0"),
    ("SO_ATTACH_FILTER", call("setsockopt", BAD, 1, 26, 0, 0), "ENOPROTOOPT"),
    ("SO_ATTACH_BPF", call("setsockopt", BAD, 1, 50, 0, 0), "ENOPROTOOPT"),
    ("SO_ZEROCOPY", call("setsockopt", BAD, 1, 60, 0, 0), "ENOPROTOOPT"),
    ("SO_SNDBUFFORCE", call("setsockopt", BAD, 1, 32, 0, 0), "ENOPROTOOPT"),
    ("TCP_ULP", call("setsockopt", BAD, 6, 31, 0, 0), "ENOPROTOOPT"),
    ("IPT_SO_SET_REPLACE", call("setsockopt", BAD, 0, 64, 0, 0), "ENOPROTOOPT"),
    ("IPV6_FLOWLABEL_MGR", call("setsockopt", BAD, 41, 32, 0, 0), "ENOPROTOOPT"),
    ("UDP_ENCAP", call("setsockopt", BAD, 17, 100, 0, 0), "ENOPROTOOPT"),
    ("SIOCSIFFLAGS", call("ioctl", BAD, 0x8914, 0), "ENOTTY"),
    ("SIOCGSKNS", call("ioctl", BAD, 0x894C, 0), "ENOTTY"),
    ("its_zygotes_own_word", call("clone", PARENT | NEWPID | 0x20000 | TIDS | SIGCHLD, 0, 0, 0, 0), "EINVAL"),
    ("setns_of_the_network", call("setns", 4, 0x40000000), "killed SIGSYS"),
    ("setns_of_another", call("setns", 5, 0x40000000), "killed SIGSYS"),
]


# What the supervisor could not add up where the scratch is a plain directory: (call, answer with mounts, without).
FILES: list[tuple[str, list[Any], str, str]] = [
    ("O_TMPFILE", call("openat", BAD, 0, 0o20200002, 0o600), "EFAULT", "ENOTSUP|EOPNOTSUPP"),
    ("fallocate", call("fallocate", BAD, 0, 0, 1), "EBADF", "ENOTSUP|EOPNOTSUPP"),
    ("mkdir_unreadable", call("mkdirat", BAD, 0, 0o300), "EFAULT", "EPERM"),
    ("mkdir_unsearchable", call("mkdirat", BAD, 0, 0o600), "EFAULT", "EPERM"),
    ("mkdir_private", call("mkdirat", BAD, 0, 0o500), "EFAULT", "EFAULT"),
    ("umask", call("umask", 0o022), "ok 18", "ok 18"),
    ("umask_of_the_owner", call("umask", 0o400), "ok 18", "ok 0"),
]


@cache
def answers_about_files(profile: str) -> dict[str, str]:
    calls = [one for _, one, _, _ in FILES]
    return dict(zip((name for name, _, _, _ in FILES), outcomes(profile, calls, apart=True), strict=True))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "bounded", "plain"), [(name, *answers) for name, _, *answers in FILES])
def test_files_that_nobody_could_add_up(profile: str, name: str, bounded: str, plain: str) -> None:
    expected = plain if profile.endswith("no-pidns") else bounded
    assert answers_about_files(profile)[name] in expected.split("|")


@cache
def answers_by_argument(profile: str) -> dict[str, str]:
    table = BY_ARGUMENT + (ONLY_IN_SYSTEM if profile in SYSTEM else [])
    calls = [one for _, one, _ in table]
    return dict(zip((name for name, _, _ in table), outcomes(profile, calls, apart=True), strict=True))


@pytest.mark.parametrize("profile", ["player", "player-no-pidns", "player-system"])
@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, _, expected in BY_ARGUMENT])
def test_arguments_decide(profile: str, name: str, expected: str) -> None:
    answer = answers_by_argument(profile)[name]
    if profile == "player-no-pidns" and name == "the_zygotes_own_word":
        expected = "EPERM"  # by the seal
    if profile in SYSTEM:
        expected = IN_SYSTEM.get(name, expected)
    assert answer == expected or (expected == "ok" and answer.startswith("ok "))


@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, _, expected in ONLY_IN_SYSTEM])
def test_arguments_decide_in_the_profile_system(name: str, expected: str) -> None:
    answer = answers_by_argument("player-system")[name]
    assert answer == expected or (expected == "ok" and answer.startswith("ok "))


def test_the_judge_of_the_profile_system_enters_a_network_and_nothing_else() -> None:
    """The one descriptor is let through to the kernel, which refuses what is no namespace; all else is an attack."""
    calls = [call("setns", 4, 0x40000000), call("setns", 5, 0x40000000), call("setns", 4, 0x20000)]
    calls += [call("setns", 1 << 32 | 4, 0x40000000), call("mount", 0, 0, 0, 0, 0), call("seccomp", 1, 0, 0)]
    answers = outcomes("judge-system", calls, apart=True)
    assert answers == ["EBADF", *["killed SIGSYS"] * 4, "EPERM"]


@pytest.mark.parametrize("profile", SYSTEM)
def test_test_code_of_the_profile_system_may_start_processes(profile: str) -> None:
    assert outcomes(profile, [["code", CHILD], ["code", PROGRAM]], processes=2, apart=True) == ["7", "5"]
    assert outcomes("judge", [["code", CHILD]], processes=2, apart=True) == ["EPERM"]


CODE = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
answer = "ran %d" % ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""


@pytest.mark.skipif(MACHINE != "x86_64", reason="x86-64 only")
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "foreign"), [("32 bit", ["code", CODE]), ("x32", [0x40000000 | 39, []])])
def test_foreign_call_tables_are_fatal(profile: str, name: str, foreign: list[Any]) -> None:
    assert outcomes(profile, [foreign], apart=True) == ["killed SIGSYS"], name


THREADS = """
import threading
seen = []
thread = threading.Thread(target=lambda: seen.append(1))
thread.start()
thread.join()
answer = seen
"""
SELF_SIGNAL = "import os, signal; signal.signal(10, lambda *_: None); os.kill(os.getpid(), 10); answer = 'ok'"
OTHERS_SIGNAL = "import os; os.kill(os.getppid(), 0); answer = 'reached'"
GROUP_SIGNAL = "import os; os.kill(0, 0); answer = 'reached'"
ABORT = "import os; os.abort()"
CHILD = "import os\npid = os.fork()\nif pid == 0: os._exit(7)\nanswer = os.waitpid(pid, 0)[1] >> 8"
PROGRAM = "import subprocess; answer = subprocess.run(['/bin/sh', '-c', 'exit 5'], check=False).returncode"


@pytest.mark.parametrize("profile", PROFILES)
def test_threads_work(profile: str) -> None:
    assert outcomes(profile, [["code", THREADS]], apart=True) == ["[1]"]


# init of a pid namespace is deaf to its own SIGABRT; glibc's abort then executes an illegal instruction
@pytest.mark.parametrize(("profile", "ends"), [("player", "SIGSEGV"), ("player-no-pidns", "SIGABRT")])
def test_a_player_may_signal_itself(profile: str, ends: str) -> None:
    assert outcomes(profile, [["code", SELF_SIGNAL], ["code", ABORT]], apart=True) == ["ok", f"killed {ends}"]


def test_a_child_of_a_player_gets_no_pid_namespace() -> None:
    """The zygote's word again, from a process that may have siblings: it lacks the capability."""
    code = f"""
import os
flags = {PARENT | NEWPID | TIDS | SIGCHLD}
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    result = libc.syscall({NUMBER["clone"]}, flags, 0, 0, 0, 0)
    os.write(writer, str(errno.errorcode.get(ctypes.get_errno()) if result == -1 else result).encode())
    os._exit(0)
os.waitpid(pid, 0)
answer = os.read(reader, 99).decode()
"""
    assert outcomes("player", [["code", code]], processes=2, apart=True) == ["EPERM"]


def test_without_a_pid_namespace_a_player_signals_nobody_else() -> None:
    both = outcomes("player-no-pidns", [["code", OTHERS_SIGNAL], ["code", GROUP_SIGNAL]], apart=True)
    assert both == ["EPERM", "EPERM"]


@pytest.mark.parametrize("name", ["kill", "tgkill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"])
def test_no_signal_call_is_forgotten_without_a_pid_namespace(name: str) -> None:
    assert outcomes("player-no-pidns", [call(name, 1, 1, 0)], apart=True) == ["EPERM"]


@pytest.mark.parametrize("name", ["chmod", "fchmod", "fchmodat", "chown", "fchown", "utimensat", "truncate"])
def test_calls_that_landlock_misses_are_refused(name: str) -> None:
    if NUMBER[name] < 0:
        pytest.skip("not on this machine")
    assert outcomes("player-no-pidns", [call(name)]) == ["EPERM"]
    assert outcomes("player", [call(name)]) != ["EPERM"]


@pytest.mark.parametrize("profile", ["player", "player-no-pidns"])
def test_processes_can_be_allowed(profile: str) -> None:
    assert outcomes(profile, [["code", CHILD], ["code", PROGRAM]], processes=2, apart=True) == ["7", "5"]


def test_allowed_processes_allow_no_namespace() -> None:
    new_user = call("clone", 0x10000000 | SIGCHLD, 0, 0, 0, 0)
    assert outcomes("player", [new_user], processes=2, apart=True) == [f"named {NUMBER['clone']}"]


def test_allowed_processes_are_nobodys_siblings() -> None:
    """CLONE_PARENT would put a process beside the player, out of its reach and of the supervisor's accounts."""
    sibling = call("clone", PARENT | SIGCHLD, 0, 0, 0, 0)
    assert outcomes("player-no-pidns", [sibling], processes=2, apart=True) == ["EPERM"]
    assert outcomes("player", [sibling], processes=2, apart=True) == ["EPERM"]


NUMPY = """
try:
    import numpy
except ImportError:
    answer = "not installed"
else:
    matrix = numpy.random.default_rng(1).random((200, 200))
    answer = (matrix @ numpy.linalg.inv(matrix)).trace().round()
"""


def test_numpy_works() -> None:
    answer = outcomes("player", [["code", NUMPY]], apart=True)
    if answer == ["not installed"]:
        pytest.skip("numpy is not installed")
    assert answer == ["200.0"]


def test_unknown_profile_is_refused() -> None:
    code = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("_native", {extension()!r})
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
try:
    native.lockdown("everything", 0)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "everything" in done.stdout


def test_table_has_each_number_once() -> None:
    for column in (1, 2):
        numbers = [row[column] for row in ROWS if row[column] >= 0]
        assert len(numbers) == len(set(numbers))
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_table_agrees_with_the_headers() -> None:
    """x86-64 against this machine's header, aarch64 against the generic table that it uses."""
    headers = {
        1: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        2: Path("/usr/include/asm-generic/unistd.h"),
    }
    for column, path in headers.items():
        if not path.exists():
            pytest.skip(f"no {path}")
        defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text()))
        if column == 2:
            defined["newfstatat"] = defined.pop("fstatat")
            defined = {name: number for name, number in defined.items() if not 244 <= int(number) < 260}
        table = {row[0]: row[column] for row in ROWS}
        wrong = {
            name: table[name]
            for name, number in defined.items()
            if table.get(name, int(number)) != int(number)
        }
        assert wrong == {}


def test_every_call_of_the_headers_is_decided() -> None:
    path = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not path.exists():
        pytest.skip(f"no {path}")
    defined = set(re.findall(r"#define __NR_(\w+)\s+\d+", path.read_text()))
    assert defined - {row[0] for row in ROWS} == set()
