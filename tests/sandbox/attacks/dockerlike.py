"""Run a command as a default Docker container would: `python dockerlike.py [--user UID] COMMAND...`, as root.

    this process ── unshare ── fork ──> container's pid 1 ── fork ──> the command
                                        (reaps, ends with it)

What a default container has and this one too: its own mount, pid, IPC, UTS, network and cgroup namespaces; a /proc
with read-only and masked parts; Docker's fourteen capabilities in the bounding set; and a seccomp filter that answers
EPERM where Docker's default profile does (moby's profiles/seccomp/default.json, for a container without
CAP_SYS_ADMIN): in particular no new namespaces and no mounts, so that only the seccomp tier is left.
What it lacks: an image (it sees the host's files) and AppArmor.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
import sys
import warnings  # noqa: F401  os.execvp wants it, when the files may no longer be readable

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
NAMESPACE_FLAGS = 0x7E020000  # as in the profile: every CLONE_NEW* but CLONE_NEWTIME
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
PR_CAPBSET_DROP, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 24, 22, 2

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE
# SETFCAP, by their numbers in <linux/capability.h>.
DOCKER_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)

# x86-64, aarch64
_DENIED = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None),
    "iopl": (172, None), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "move_pages": (279, 239), "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "pivot_root": (155, 41), "quotactl": (179, 60), "quotactl_fd": (443, 443), "reboot": (169, 142),
    "request_key": (249, 218), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116), "umount2": (166, 39),
    "unshare": (272, 97), "userfaultfd": (323, 282), "uselib": (134, None), "vhangup": (153, 58),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
AF_VSOCK = 40


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {target}"
    )


def _filter() -> bytes:
    """The profile as a BPF program: a refusal where the profile refuses, else allowed."""
    arm = platform.machine() == "aarch64"
    load, equal, bits, answer = 0x20, 0x15, 0x45, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    refuse = 0x00050000 | errno.EPERM
    rules = [
        (load, 0, 0, 4),
        (equal, 1, 0, _AUDIT_ARCH[platform.machine()]),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),
    ]
    for pair in _DENIED.values():
        number = pair[arm]
        if number is not None:
            rules += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    rules += [(equal, 0, 1, _CLONE3[arm]), (answer, 0, 0, 0x00050000 | errno.ENOSYS)]
    # The low half of the first argument: clone's flags, socket's family.
    rules += [
        (equal, 0, 3, _CLONE[arm]),
        (load, 0, 0, 16),
        (bits, 0, 1, NAMESPACE_FLAGS),
        (answer, 0, 0, refuse),
    ]
    rules += [(load, 0, 0, 0)]
    rules += [(equal, 0, 3, _SOCKET[arm]), (load, 0, 0, 16), (equal, 0, 1, AF_VSOCK), (answer, 0, 0, refuse)]
    rules += [(answer, 0, 0, allow)]
    return b"".join(struct.pack("<HBBI", *rule) for rule in rules)


def _install_filter() -> None:
    code = _filter()
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0), "seccomp")


def _set_up_files() -> None:
    _mount("none", "/", "none", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"):
        if os.path.exists(path):
            _mount(path, path, "none", MS_BIND | MS_REC)
            _mount(path, path, "none", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"):
        if os.path.exists(path):
            _mount("/dev/null", path, "none", MS_BIND)
    for path in ("/proc/acpi", "/proc/scsi", "/sys/firmware"):
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", MS_RDONLY)
    _mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,mode=1777")
    _mount(
        "none", "/sys", "none", MS_BIND | MS_REC | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
    )


def _set_up_loopback() -> None:
    with socket.socket() as any_socket:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(any_socket, 0x8913, request)  # SIOCGIFFLAGS
        flags = struct.unpack_from("16xh", request)[0] | 1  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", flags))  # SIOCSIFFLAGS


def _limit_capabilities(keep: tuple[int, ...]) -> None:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in DOCKER_CAPABILITIES:
            _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "PR_CAPBSET_DROP")
    low = sum(1 << number for number in keep)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, 0, 0, 0)), "capset")


def _contained(user: int | None, command: list[str]) -> int:
    _set_up_files()
    _set_up_loopback()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            # Before the capabilities go, as runc does it: a container may be without no_new_privs.
            _install_filter()
            _limit_capabilities(DOCKER_CAPABILITIES)
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            os.execvp(command[0], command)
        except BaseException as error:
            print(f"dockerlike: {error}", file=sys.stderr, flush=True)
        os._exit(127)
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def main(arguments: list[str]) -> int:
    user = None
    if arguments[:1] == ["--user"]:
        user, arguments = int(arguments[1]), arguments[2:]
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP
    _check(_libc.unshare(flags), "unshare")
    # The first process of the pid namespace: when it ends, everything in it ends.
    child = os.fork()
    if child == 0:
        _libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
        os._exit(_contained(user, arguments) & 0xFF)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
