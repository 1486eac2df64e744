"""What only a host with control groups of version 2 can show. Run by inside.sh, in the virtual machine, as root.

Every test starts the launcher in a cgroup made for it: pytest itself goes there, and comes back. What a cgroup looks
like to its owner is as Documentation/admin-guide/cgroup-v2.rst describes delegation: the directory, cgroup.procs,
cgroup.threads and cgroup.subtree_control belong to him, everything else to root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acesandbox._worker import launcher_path
from tests.native import jails
from tests.native.conftest import harness  # noqa: F401 - a fixture
from tests.native.test_lifetime import HOST, alive, descendants, wait_until

TOP = Path("/sys/fs/cgroup")
ABOVE = TOP / "cgroup-tests"
USER = jails.NOBODY
WORKER_TASKS = 24  # native/jail/jail.h


def children(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


@pytest.fixture
def group() -> Iterator[Path]:
    """An empty cgroup that belongs to root, below one that hands everything down."""
    above = ABOVE
    above.mkdir()
    (TOP / "cgroup.subtree_control").write_text("+memory +pids +cpu +cpuset")
    (above / "cgroup.subtree_control").write_text("+memory +pids +cpu +cpuset")
    folder = above / "group"
    folder.mkdir()
    yield folder
    for path, names, _ in os.walk(above, topdown=False):
        for name in names:
            os.rmdir(f"{path}/{name}")
    above.rmdir()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = TOP / Path("/proc/self/cgroup").read_text().strip().removeprefix("0::/")
    (folder / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (before / "cgroup.procs").write_text("0")


def delegate(folder: Path) -> None:
    for name in (".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
        os.chown(folder / name, USER, USER)


def leaf_of(folder: Path) -> Path:
    leaf = folder / "leaf"
    leaf.mkdir()
    os.chown(leaf, USER, USER)
    os.chown(leaf / "cgroup.procs", USER, USER)
    return leaf


def memory_limit(user: int | None = None, before: tuple[str, ...] = ()) -> tuple[bool, str]:
    """What the probe says of it."""
    command = [*before, launcher_path(), "--probe"]
    done = subprocess.run(
        command, user=user, group=user, extra_groups=[], capture_output=True, text=True, check=True
    )
    (found,) = [
        each for each in json.loads(done.stdout)["mechanisms"] if each["name"] == "memory limit by cgroup"
    ]
    return found["available"], found["why"]


def test_a_child_of_a_delegated_cgroup_will_do(group: Path) -> None:
    delegate(group)
    with inside(leaf_of(group)):
        assert memory_limit(USER) == (True, "version 2")
        assert memory_limit(USER) == (True, "version 2")
    assert children(group) == ["leaf"]


def test_a_delegated_cgroup_that_holds_processes_will_not_and_the_reason_says_so(group: Path) -> None:
    delegate(group)
    with inside(group):
        available, why = memory_limit(USER)
    assert not available
    assert "holds processes" in why and "DelegateSubgroup=" in why


def test_a_process_above_is_told(group: Path) -> None:
    delegate(group)
    above = subprocess.Popen(["sleep", "600"])
    (group / "cgroup.procs").write_text(str(above.pid))
    with inside(leaf_of(group)):
        available, why = memory_limit(USER)
    above.kill()
    above.wait()
    assert not available
    assert "above the caller's holds processes" in why


def test_without_delegation_there_is_none_and_the_remedy_is_told(group: Path) -> None:
    with inside(group):
        available, why = memory_limit(USER)
    assert not available
    assert "no cgroup is delegated to this user (systemd-run --user --scope" in why


def test_without_the_right_to_move_processes_there_is_none(group: Path) -> None:
    os.chown(group, USER, USER)
    (group / "cgroup.subtree_control").write_text("+memory +pids")
    with inside(leaf_of(group)):
        available, why = memory_limit(USER)
    assert not available, why
    assert children(group) == ["leaf"]


def test_a_delegated_cgroup_without_a_memory_controller_is_told(group: Path) -> None:
    (group.parent / "cgroup.subtree_control").write_text("-memory")
    delegate(group)
    with inside(leaf_of(group)):
        available, why = memory_limit(USER)
    assert not available
    assert "no memory controller is handed down" in why


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory.max", "300M"), ("memory.high", "300M"), ("cpu.max", "50000 100000"), ("cpuset.cpus", "0")],
)
def test_a_worker_never_leaves_a_limited_cgroup(group: Path, name: str, value: str) -> None:
    (group / name).write_text(value)
    with inside(group):
        available, why = memory_limit()
        assert not available
        assert f"has a limit, {name}," in why
    with inside(leaf_of(group)):
        assert memory_limit() == (True, "version 2")
    assert children(group) == ["leaf"], "the worker's was below the limited one"


def test_a_read_only_file_system_is_told(group: Path) -> None:
    script = 'mount -o remount,ro,bind /sys/fs/cgroup && exec "$@"'
    with inside(group):
        available, why = memory_limit(before=("unshare", "-m", "sh", "-c", script, "sh"))
    assert not available
    assert why.endswith("the cgroup file system is mounted read-only")


def test_the_root_of_a_container_is_told(group: Path) -> None:
    script = 'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
    (group / "memory.max").write_text("500M")
    with inside(group):
        available, why = memory_limit(before=("unshare", "-m", "-C", "sh", "-c", script, "sh"))
    assert not available
    assert "holds processes" in why


def test_a_living_group_of_the_same_name_is_not_shared(group: Path) -> None:
    with inside(leaf_of(group)):
        # the probe is process 1 of its own pid namespace, as in a container
        taken = group / "acesandbox-1"
        taken.mkdir()
        assert memory_limit(before=("unshare", "-p", "-f")) == (True, "version 2"), (
            "an empty one is a dead one's"
        )
        taken.mkdir()
        living = subprocess.Popen(["sleep", "600"])
        (taken / "cgroup.procs").write_text(str(living.pid))
        available, why = memory_limit(before=("unshare", "-p", "-f"))
        living.kill()
        living.wait()
    assert not available
    assert "a worker of another pid namespace" in why


@pytest.mark.parametrize("user", [None, USER], ids=["root", "user"])
def test_limits_are_in_the_kernels_files(harness: Path, group: Path, user: int | None) -> None:  # noqa: F811
    delegate(group)
    with inside(leaf_of(group)):
        python = jails.SYSTEM_PYTHON
        with jails.Jail(harness, user=user, python=python, memory_mb=64, threads=7, processes=2) as jail:
            assert jail.ready["mechanisms"]["cgroup"] == "v2", jail.ready
            assert jail.ready["mechanisms"]["cgroup_why"] == ""
            (name,) = [each for each in children(group) if each != "leaf"]
            folder = group / name
            assert name == f"acesandbox-{jail.process.pid}"
            read = {path: (folder / path).read_text().strip() for path in ("memory.max", "memory.oom.group")}
            assert read == {"memory.max": str(64 << 20), "memory.oom.group": "0"}
            assert (folder / "memory.swap.max").read_text() == "0\n"
            assert int((folder / "pids.max").read_text()) == 7 + 2 + WORKER_TASKS
            supervisor = descendants(jail.process.pid)
            assert sorted(map(int, (folder / "cgroup.procs").read_text().split())) == sorted(supervisor)
            status, _ = jail.run_status("b = bytearray(200 << 20)")
            assert status == signal.SIGKILL
            after = jail.ask("S")
            assert after["oom"] == 1 and 32 << 20 < after["peak"] <= 64 << 20
            assert jail.run("result = 'alive'") == "alive"
        assert children(group) == ["leaf"]


def test_several_processes_share_the_memory(group: Path) -> None:
    source = """
from acesandbox import Asserts, Limits, Sandbox
program = '''
import os, time
def killed(children, mb):
    for _ in range(children):
        if os.fork() == 0:
            held = bytearray(mb << 20)
            time.sleep(0.5)
            os._exit(0)
    return sum(os.wait()[1] == 9 for _ in range(children))
'''
with Sandbox(workers=1, limits=Limits(memory_mb=128, processes=4)) as sandbox:
    print(sandbox.describe()["mechanisms"]["cgroup"])
    for test in ("killed(3, 20) == 0", "killed(3, 60) >= 1", "killed(3, 20) == 0"):
        print(sandbox.judge(program, Asserts(["assert " + test])).tests[0].status.value)
"""
    with inside(leaf_of(group)):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=200)
        assert done.stdout.split() == ["v2", "passed", "passed", "passed"], done.stdout + done.stderr


def test_groups_go_with_the_host_and_with_the_next_launcher(harness: Path, group: Path) -> None:  # noqa: F811
    with inside(leaf_of(group)):
        source = HOST.format(path=sys.path, harness=str(harness), way="own-uid", forked=False)
        host = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None
        line = host.stdout.readline().split()
        assert len(children(group)) == 2
        host.kill()
        host.wait()
        host.stdout.close()
        assert wait_until(lambda: children(group) == ["leaf"], 5)
        assert not any(alive(int(pid)) for pid in line[:-1])

        jail = jails.Jail(harness)
        everyone = descendants(jail.process.pid)
        jail.process.kill()
        jail.process.wait(2)
        jail.close()
        assert wait_until(lambda: not any(alive(pid) for pid in everyone), 5)
        assert len(children(group)) == 2, "nobody was left to remove it"
        jails.Jail(harness).close()
        assert children(group) == ["leaf"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs VM_CPUS=2")
def test_what_a_worker_is_bound_to_survives_the_move_into_its_group(harness: Path, group: Path) -> None:  # noqa: F811
    (group / "cgroup.subtree_control").write_text("+memory +pids +cpuset")
    ours = os.sched_getaffinity(0)
    with inside(leaf_of(group)):
        asks = "import os; result = sorted(os.sched_getaffinity(0))"
        with jails.Jail(harness, cpu=max(ours)) as jail:
            assert jail.run(asks) == [max(ours)]
        os.sched_setaffinity(0, {min(ours)})
        try:
            with jails.Jail(harness) as jail:
                assert jail.run(asks) == [min(ours)]
        finally:
            os.sched_setaffinity(0, ours)
