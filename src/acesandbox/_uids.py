"""User ids for workers when the host is root: each worker has its own, across all sandboxes on the machine.

Two workers under one uid could signal each other's programs in the `seccomp` tier, and would share the kernel's
count of processes per user in every tier. So ids are taken from a range nobody else uses, and each one in use is
marked by an abstract unix socket bound to its number: it needs no directory, no clean-up and no privilege, and the
kernel drops it with the last process that holds it, however that process ends. Such names belong to a network
namespace: containers with networks of their own do not see each other's, and may take the same ids.

Somebody who binds such names for mischief makes us skip their numbers, and nothing worse.
"""

from __future__ import annotations

import socket

from ._errors import SandboxError

# First choice, second choice, and how many. The first is above what login, subuid and systemd ranges use.
_RANGES = (2_000_000_000, 400_000, 50_000)
_COUNT = 4096


class Lease:
    """A uid that is ours until `release`, or until the process ends."""

    __slots__ = ("_mark", "uid")

    def __init__(self, uid: int, mark: socket.socket) -> None:
        self.uid = uid
        self._mark = mark

    def release(self) -> None:
        self._mark.close()


def take(uid_map: str = "/proc/self/uid_map") -> Lease:
    """A uid that no other worker on this machine has.

    Raises:
        SandboxError: all are taken, which means that sandboxes are not being closed.
    """
    for base in _usable_ranges(uid_map):
        for uid in range(base, base + _COUNT):
            mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                mark.bind(f"\0acesandbox-uid-{uid}")
            except OSError:
                mark.close()
                continue
            return Lease(uid, mark)
    raise SandboxError(
        f"all {_COUNT} user ids for workers are taken: too many sandboxes are open on this machine"
    )


def _usable_ranges(uid_map: str) -> list[int]:
    """The first of our ranges that this user namespace maps: root in a container may have 65,536 ids only."""
    try:
        with open(uid_map, encoding="ascii") as lines:
            mapped = [(int(line.split()[0]), int(line.split()[2])) for line in lines]
    except (OSError, ValueError, IndexError):
        return list(_RANGES[:1])
    fit = [base for base in _RANGES if any(s <= base and base + _COUNT <= s + n for s, n in mapped)]
    if not fit:
        raise SandboxError(
            "this process is root in a user namespace that maps too few user ids for workers to have their own; "
            "run it as an ordinary user, or map at least 65,536 ids"
        )
    return fit[:1]
