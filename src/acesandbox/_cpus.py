"""How many workers this machine has room for: the cores this process may use, cut by its control group's CPU quota.

A container with 64 visible cores and a quota of 4 has four. Sources: sched_getaffinity(2), and the kernel's
Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and scheduler/sched-bwc.rst (`cpu.cfs_quota_us`).
"""

from __future__ import annotations

import os
from collections.abc import Callable


def usable(proc: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int:
    """Cores this process may keep busy; at least 1.

    A quota of 1.5 cores gives 1: a worker that is throttled looks, from outside, like one that sleeps.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(proc, root)
    if quota is not None:
        cores = min(cores, int(quota))
    return max(cores, 1)


def _quota(proc: str, root: str) -> float | None:
    """The smallest quota on the way from our control group to the root, in cores; None without one."""
    try:
        with open(proc, encoding="utf-8") as lines:
            groups = [line.rstrip("\n").split(":", 2) for line in lines]
    except (OSError, ValueError):
        return None
    found: list[float] = []
    for number, controllers, path in (group for group in groups if len(group) == 3):
        if number == "0" and not controllers:
            # With a cgroup namespace the path is relative to the namespace's root, which is what is mounted.
            found += _walk(root, path, _read_v2)
            found += _walk(f"{root}/unified", path, _read_v2)
        elif "cpu" in controllers.split(","):
            for name in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                found += _walk(f"{root}/{name}", path, _read_v1)
    return min(found, default=None)


def _walk(base: str, path: str, read: Callable[[str], float | None]) -> list[float]:
    found = []
    part = path.strip("/")
    while True:
        quota = read(f"{base}/{part}")
        if quota is not None:
            found.append(quota)
        if not part:
            return found
        part = part.rpartition("/")[0]


def _read_v2(folder: str) -> float | None:
    words = _words(f"{folder}/cpu.max")
    if len(words) != 2 or words[0] == "max":
        return None
    return _ratio(words[0], words[1])


def _read_v1(folder: str) -> float | None:
    quota, period = _words(f"{folder}/cpu.cfs_quota_us"), _words(f"{folder}/cpu.cfs_period_us")
    if len(quota) != 1 or len(period) != 1 or quota[0].startswith("-"):
        return None
    return _ratio(quota[0], period[0])


def _ratio(quota: str, period: str) -> float | None:
    try:
        return int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except (OSError, ValueError):
        return []
