"""The ways a jail can be had: each test that takes `jail` runs in every one that this machine offers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.native import jails

ROOT = os.geteuid() == 0

# name: (needs root, arguments of Jail)
WAYS: dict[str, tuple[bool, dict[str, object]]] = {
    "own-uid": (True, {"tier": "namespaces"}),
    "user": (True, {"tier": "namespaces", "user": jails.NOBODY, "python": jails.SYSTEM_PYTHON}),
    "caller": (False, {"tier": "namespaces"}),
    "no-userns": (True, {"tier": "namespaces", "where": ("no-userns",)}),
    "old-kernel": (True, {"tier": "namespaces", "where": ("old-kernel",)}),
    "landlock": (True, {"tier": "seccomp", "where": ("docker",), "python": jails.SYSTEM_PYTHON}),
    "chroot": (True, {"tier": "seccomp", "where": ("docker", "no-landlock"), "python": jails.SYSTEM_PYTHON}),
    "user-landlock": (
        True,
        {"tier": "seccomp", "where": ("docker",), "user": jails.NOBODY, "python": jails.SYSTEM_PYTHON},
    ),
    "caller-landlock": (False, {"tier": "seccomp", "where": ("docker",)}),
}


@pytest.fixture(scope="session")
def harness() -> Iterator[Path]:
    """The jail with the test supervisor, in a directory that every user can read."""
    if shutil.which("cc") is None:
        unavailable("no C compiler")
    with jails.public_folder() as folder:
        executable = jails.build(folder)
        package = folder / "guest_package"
        shutil.copytree(jails.HERE / "guest_package", package)
        # Anybody may write here, as far as permissions go: what keeps a guest from it is the jail.
        package.chmod(0o777)
        for path in package.iterdir():
            path.chmod(0o777 if path.is_dir() else 0o666)
        shutil.copy(jails.HERE / "as_if.py", folder)
        yield executable


def start(harness: Path, way: str, **keys: object) -> jails.Jail:
    """A jail made in one of the WAYS, or a skip that says why not."""
    needs_root, arguments = WAYS[way]
    if needs_root != ROOT:
        pytest.skip("for root" if needs_root else "for an ordinary user")
    if arguments.get("python") == jails.SYSTEM_PYTHON and not os.path.exists(jails.SYSTEM_PYTHON):
        pytest.skip(f"no {jails.SYSTEM_PYTHON}")
    jail = jails.Jail(harness, **{**arguments, **keys})  # type: ignore[arg-type]
    if jail.failure:
        jail.close()
        unavailable(jail.failure)
    return jail


@pytest.fixture(scope="module", params=[way for way, (needs_root, _) in WAYS.items() if needs_root == ROOT])
def jail(request: pytest.FixtureRequest, harness: Path) -> Iterator[jails.Jail]:
    """A jail shared by a module's tests, in every way."""
    with start(harness, request.param) as jail:
        yield jail
