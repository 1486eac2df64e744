"""Kernel settings and mounts that hosts differ in, changed one at a time. Run by inside.sh as root: they are global."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.native.jails import SYSTEM_PYTHON

USER = 1000
JUDGE = """
import sys
from acesandbox import Asserts, IsolationUnavailable, Sandbox
with Sandbox(workers=1, isolation=sys.argv[1], python=sys.argv[2]) as sandbox:
    for program in ("def f(n): return n + 1", "def f(n): return n", "import os\\ndef f(n): os.abort()"):
        verdict = sandbox.judge(program, Asserts(["assert f(1) == 2"]))
        print(verdict.tests[0].status.value, verdict.sealed)
"""
RIGHT = ["passed True", "failed True", "killed True"]


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    path = Path("/proc/sys") / name.replace(".", "/")
    before = path.read_text().strip()
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(before)


def judge(user: int | None = None, tier: str = "namespaces", before: str = "true") -> list[str]:
    """The verdicts of a right, a wrong and a crashing program, in a mount namespace where `before` was run."""
    drop = f"setpriv --reuid {user} --regid {user} --clear-groups" if user is not None else ""
    command = [
        "unshare",
        "-m",
        "sh",
        "-c",
        f'{before} && exec {drop} "$@"',
        "sh",
        sys.executable,
        "-c",
        JUDGE,
        tier,
    ]
    done = subprocess.run([*command, SYSTEM_PYTHON], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def doctor(user: int) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "acesandbox", "doctor", "--json"]
    done = subprocess.run(command, user=user, group=user, extra_groups=[], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)["tiers"]


WHO = pytest.mark.parametrize("user", [None, USER], ids=["root", "user"])
TIERS = pytest.mark.parametrize(
    ("user", "tier"),
    [(None, "namespaces"), (None, "seccomp"), (USER, "namespaces")],
    ids=["root", "root-seccomp", "user"],
)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("user.max_user_namespaces", "0", "sysctl user.max_user_namespaces="),
        ("kernel.unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ],
)
def test_user_namespaces_switched_off_are_told_with_the_remedy(name: str, value: str, remedy: str) -> None:
    with setting(name, value):
        status, tiers = doctor(USER)
        assert status == 1
        assert not tiers["namespaces"]["works"]
        assert remedy in " ".join([tiers["namespaces"]["reason"], *tiers["namespaces"]["remedies"]])
        # Landlock of this kernel (6.1) is version 2: a user's programs could still truncate his files
        assert not tiers["seccomp"]["works"]
        said = " ".join([tiers["seccomp"]["reason"], *tiers["seccomp"]["remedies"]])
        assert "Landlock ABI 2; an ordinary user needs 3 (Linux 6.2)" in said
        assert judge() == RIGHT, "root needs no user namespace"
    status, tiers = doctor(USER)
    assert status == 0 and tiers["namespaces"]["works"]


@TIERS
@pytest.mark.parametrize(
    "before",
    [
        "mount -o remount,hidepid=2 /proc",
        # TMPDIR, because the checkout itself may be below /tmp
        "mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmp /mnt && export TMPDIR=/mnt",
        "mount -o remount,bind,ro / && mount -t tmpfs -o mode=1777 tmp /mnt && export TMPDIR=/mnt",
        "mount -t tmpfs -o size=64k shm /dev/shm",
        "umount /dev/shm",
        "umount /sys/fs/cgroup",
        "umount -R /sys",
        "ulimit -c unlimited",
        "ulimit -n 64",
    ],
    ids=lambda before: before.replace(" ", "_").replace("/", "."),
)
def test_mounts_and_limits_of_a_careful_host(user: int | None, tier: str, before: str) -> None:
    assert judge(user, tier, before) == RIGHT


@WHO
@pytest.mark.parametrize(
    ("name", "value"),
    [("vm.overcommit_memory", "2"), ("kernel.yama.ptrace_scope", "2"), ("kernel.pid_max", "400")],
)
def test_kernel_settings_of_a_careful_host(user: int | None, name: str, value: str) -> None:
    with setting(name, value):
        assert judge(user) == RIGHT


@TIERS
def test_a_crash_wakes_no_crash_handler_of_the_host(user: int | None, tier: str) -> None:
    mark = Path("/run/a-core-was-dumped")
    handler = Path("/run/handler")
    handler.write_text(f"#!/bin/sh\ncat > /dev/null\ntouch {mark}\n")
    handler.chmod(0o755)
    with setting("kernel.core_pattern", f"|{handler}"):
        # it works at all
        subprocess.run(["sh", "-c", "kill -ABRT $$"])
        for _ in range(100):
            if mark.exists():
                break
            os.sched_yield()
            subprocess.run(["sleep", "0.05"])
        assert mark.exists()
        mark.unlink()
        assert judge(user, tier, "ulimit -c unlimited") == RIGHT
        subprocess.run(["sleep", "0.5"])
        assert not mark.exists()
