"""Runs a command as if on another machine: `python as_if.py WHERE... -- COMMAND...`.

A seccomp filter takes system calls away and capabilities are dropped; then the command is executed with everything else
as it was. WHERE is one or more of

    docker          Docker's default: no namespaces, no mounts, fourteen capabilities when root
    no-userns       user namespaces refused, everything else allowed (user.max_user_namespaces=0 without the sysctl)
    no-landlock     a kernel before 5.13
    old-kernel      a kernel of 2019: no pidfd_open, close_range, mount_setattr, fsopen, SO_PEERPIDFD
    no-listener     a container runtime that listens to seccomp notifications itself
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

X86_64, AARCH64 = "x86_64", "aarch64"
NUMBERS = {
    # name: (x86-64, aarch64)
    "clone": (56, 220),
    "getsockopt": (55, 209),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "seccomp": (317, 277),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "mount_setattr": (442, 442),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}
EPERM, EINVAL, EBUSY, ENOSYS, ENOPROTOOPT = 1, 22, 16, 38, 92
CLONE_NEWUSER = 0x10000000
ALL_NAMESPACES = 0x7E020000
SO_PEERPIDFD = 77
NEW_LISTENER = 8

# What Docker gives root: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW
# SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP (docs.docker.com, "Runtime privilege and Linux capabilities").
DOCKER_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)

LD, JEQ, JSET, RET = 0x20, 0x15, 0x45, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAPBSET_DROP = 38, 22, 24
_libc = ctypes.CDLL(None, use_errno=True)


def _refuse(name: str, error: int) -> list[tuple[int, int, int, int]]:
    return [(JEQ, 0, 1, _number(name)), (RET, 0, 0, ERRNO | error)]


def _refuse_if_bits(name: str, argument: int, bits: int, error: int) -> list[tuple[int, int, int, int]]:
    """Refuses a call when an argument has one of `bits`; the accumulator holds the number again afterwards."""
    return [
        (JEQ, 0, 4, _number(name)),
        (LD, 0, 0, 16 + 8 * argument),
        (JSET, 0, 1, bits),
        (RET, 0, 0, ERRNO | error),
        (LD, 0, 0, 0),
    ]


def _refuse_if_equal(name: str, argument: int, value: int, error: int) -> list[tuple[int, int, int, int]]:
    return [
        (JEQ, 0, 4, _number(name)),
        (LD, 0, 0, 16 + 8 * argument),
        (JEQ, 0, 1, value),
        (RET, 0, 0, ERRNO | error),
        (LD, 0, 0, 0),
    ]


def _number(name: str) -> int:
    return NUMBERS[name][1 if os.uname().machine == AARCH64 else 0]


def _rules(where: str) -> list[tuple[int, int, int, int]]:
    if where == "docker":
        rules = _refuse_if_bits("clone", 0, ALL_NAMESPACES, EPERM) + _refuse("clone3", ENOSYS)
        refused = "mount umount2 pivot_root unshare setns keyctl bpf perf_event_open"
        for name in f"{refused} open_tree move_mount fsopen fsconfig fsmount mount_setattr".split():
            rules += _refuse(name, EPERM)
        return rules
    if where == "no-userns":
        return (
            _refuse_if_bits("clone", 0, CLONE_NEWUSER, EPERM)
            + _refuse_if_bits("unshare", 0, CLONE_NEWUSER, EPERM)
            + _refuse("clone3", ENOSYS)
        )
    if where == "no-landlock":
        names = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
        return [rule for name in names for rule in _refuse(name, ENOSYS)]
    if where == "old-kernel":
        names = ("pidfd_open", "close_range", "mount_setattr", "fsopen", "fsconfig", "fsmount")
        rules = [rule for name in names for rule in _refuse(name, ENOSYS)]
        return rules + _refuse_if_equal("getsockopt", 2, SO_PEERPIDFD, ENOPROTOOPT)
    if where == "no-listener":
        return _refuse_if_bits("seccomp", 1, NEW_LISTENER, EBUSY)
    raise SystemExit(f"as_if.py: no environment is called {where}")


def _install(rules: list[tuple[int, int, int, int]]) -> None:
    code = [(LD, 0, 0, 0), *rules, (RET, 0, 0, ALLOW)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(packed)))
    if _libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp filter")


def _keep_capabilities(kept: tuple[int, ...]) -> None:
    for number in range(64):
        if number not in kept:
            _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    mask = sum(1 << number for number in kept)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = ctypes.create_string_buffer(struct.pack("<6I", low, low, 0, high, high, 0))
    if _libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    wheres, command = arguments[:split], arguments[split + 1 :]
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if "docker" in wheres and os.geteuid() == 0:
        _keep_capabilities(DOCKER_CAPABILITIES)
    for where in wheres:
        _install(_rules(where))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
