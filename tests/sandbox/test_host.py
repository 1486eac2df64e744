"""What the host finds out about its machine: cores, user ids, interpreters, and the view a jail gets."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from acesandbox import BadInput, SandboxError, _cpus, _interpreter, _uids


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))


@pytest.mark.usefixtures("many_cores")
def test_quota_of_cgroup_v2_counts_and_the_smallest_on_the_way_wins(tmp_path: Path) -> None:
    proc = tmp_path / "cgroup"
    proc.write_text("0::/pod/container\n")
    root = tmp_path / "fs"
    group(root, "pod/container", cpu__max="max 100000\n")
    group(root, "pod", cpu__max="350000 100000\n")
    assert _cpus.usable(str(proc), str(root)) == 3
    group(root, "pod/container", cpu__max="200000 100000\n")
    assert _cpus.usable(str(proc), str(root)) == 2
    group(root, "pod/container", cpu__max="50000 100000\n")
    assert _cpus.usable(str(proc), str(root)) == 1


@pytest.mark.usefixtures("many_cores")
def test_quota_of_cgroup_v1_counts(tmp_path: Path) -> None:
    proc = tmp_path / "cgroup"
    proc.write_text("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    root = tmp_path / "fs"
    # Inside a container the group's own path does not exist: its files are at the root of the mount.
    group(root, "cpu,cpuacct", cpu__cfs_quota_us="400000\n", cpu__cfs_period_us="100000\n")
    (root / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("400000\n")
    assert _cpus.usable(str(proc), str(root)) == 4
    (root / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("-1\n")
    assert _cpus.usable(str(proc), str(root)) == 64


@pytest.mark.usefixtures("many_cores")
def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert _cpus.usable(str(tmp_path / "none"), str(tmp_path)) == 64


def test_each_lease_is_another_uid_until_it_is_released() -> None:
    first, second = _uids.take(), _uids.take()
    assert first.uid != second.uid
    first.release()
    third = _uids.take()
    assert third.uid == first.uid
    second.release()
    third.release()


def test_uid_is_one_that_the_user_namespace_maps(tmp_path: Path) -> None:
    table = tmp_path / "uid_map"
    table.write_text("         0     100000      65536\n")
    lease = _uids.take(str(table))
    assert 0 < lease.uid < 65536
    lease.release()
    table.write_text("         0       1000          1\n")
    with pytest.raises(SandboxError, match="maps too few user ids"):
        _uids.take(str(table))


def test_two_processes_do_not_get_the_same_uid() -> None:
    lease = _uids.take()
    code = "from acesandbox import _uids; print(_uids.take().uid)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = int(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert other != lease.uid
    lease.release()


# Interpreters


def view(python: str | None, tier: str = "namespaces") -> _interpreter.View:
    return _interpreter.view(_interpreter.find(python), tier)


@pytest.fixture(autouse=True)
def guest(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "native" not in request.node.name:
        monkeypatch.setattr(_interpreter, "guest_directory", lambda: "/nowhere/guest")


def test_default_interpreter_comes_without_packages() -> None:
    shown = view(None)
    assert shown.site == []
    assert shown.ro[-1] == ("/ace/_ace_guest", "/nowhere/guest")
    inside = [path for path, _ in shown.ro]
    assert not any(
        path.endswith(("site-packages", "dist-packages"))
        for path, source in shown.ro
        if "_nothing" not in source
    )
    assert shown.python.startswith(("/usr/", "/py/"))
    assert not any(
        path.startswith(("/home", "/root", "/etc/")) for path in inside if path != "/etc/ld.so.cache"
    )


def test_nothing_but_the_interpreter_its_packages_and_libraries_is_shown() -> None:
    for python in (None, sys.executable):
        for inside, outside in view(python).ro:
            assert os.path.isabs(inside)
            assert inside not in (
                "/",
                "/usr",
                "/usr/bin",
                "/bin",
                "/etc",
                "/home",
                "/root",
                "/var",
                "/tmp",
                "/proc",
                "/sys",
            )
            assert inside.startswith(
                ("/usr/lib", "/usr/local/lib", "/usr/share/", "/lib", "/etc/ld.so.cache", "/py/", "/ace/")
            ) or (os.path.isfile(outside))


def test_package_directories_inside_the_standard_library_are_covered(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    library = prefix / "lib" / "python3.12"
    (library / "site-packages" / "secrets_of_evaluators").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3.12").touch()
    (prefix / "lib" / "libpython3.12.so.1.0").touch()
    made = _interpreter.Interpreter(
        str(prefix / "bin" / "python3.12"), (3, 12, 1), str(prefix), str(prefix), "lib", str(library), ()
    )
    shown = _interpreter.view(made, "namespaces")
    binds = dict(shown.ro)
    assert shown.python == "/py/bin/python3.12"
    assert binds["/py/lib/python3.12"] == str(library)
    assert binds["/py/lib/python3.12/site-packages"].endswith("_nothing")
    assert binds["/py/lib/libpython3.12.so.1.0"] == str(prefix / "lib" / "libpython3.12.so.1.0")
    assert shown.env["LD_LIBRARY_PATH"] == "/py/lib"
    order = [path for path, _ in shown.ro]
    assert order.index("/py/lib/python3.12") < order.index("/py/lib/python3.12/site-packages")
    assert not any("prefix" in path for path in order), "the host's path is not told"

    asked = _interpreter.Interpreter(
        str(prefix / "bin" / "python3.12"),
        (3, 12, 1),
        str(prefix),
        str(prefix),
        "lib",
        str(library),
        (str(library / "site-packages"),),
    )
    shown = _interpreter.view(asked, "namespaces")
    assert shown.site == ["/py/lib/python3.12/site-packages"]
    assert not any("_nothing" in source for _, source in shown.ro)


def test_virtual_environment_brings_its_packages_and_no_other(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    shown = view(str(tmp_path / "env" / "bin" / "python"))
    assert len(shown.site) == 1
    assert dict(shown.ro)[shown.site[0]].startswith(str(tmp_path / "env"))
    assert not any(str(tmp_path) in inside for inside, _ in shown.ro)


def test_seccomp_tier_has_real_paths(tmp_path: Path) -> None:
    shown = view(None, "seccomp")
    assert all(
        inside == os.path.realpath(outside) or os.path.realpath(inside) == outside
        for inside, outside in shown.ro[:-1]
    )
    assert os.path.exists(shown.python)


def test_environment_is_ours_and_nothing_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    env = view(None).env
    assert env["PYTHONHASHSEED"] == "0"
    assert env["PYTHONPATH"] == "/ace"
    assert "secret" not in repr(env)
    assert "PATH" not in env


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("#!/bin/sh\necho hello\n", "not a Python interpreter"),
        ('#!/bin/sh\necho \'{"implementation": "pypy", "version": [3, 10, 1]}\'\n', "only CPython"),
        (
            '#!/bin/sh\necho \'{"implementation": "cpython", "version": [3, 8, 1]}\'\n',
            "oldest that can be jailed is 3.9",
        ),
    ],
)
def test_interpreter_that_cannot_be_jailed_is_refused(tmp_path: Path, content: str, message: str) -> None:
    script = tmp_path / "python"
    script.write_text(content)
    script.chmod(0o755)
    with pytest.raises(BadInput, match=message):
        _interpreter.find(str(script))


def test_missing_interpreter_is_refused() -> None:
    with pytest.raises(BadInput, match="no such executable"):
        _interpreter.find("/nonexistent/python")


def test_missing_native_part_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from acesandbox._worker import launcher_path

    (tmp_path / "guest").mkdir()
    monkeypatch.setenv("ACESANDBOX_NATIVE_DIR", str(tmp_path))
    with pytest.raises(SandboxError, match="make native"):
        _interpreter.guest_directory()
    with pytest.raises(SandboxError, match="make native"):
        launcher_path()
