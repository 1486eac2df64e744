"""The native fuzz targets without a fuzzer: every seed, and each of them damaged 200 times in a fixed way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import unavailable
from tests.fuzz import seeds

HERE = Path(__file__).parent
JAIL = HERE.parents[1] / "native" / "jail"
# As in run.sh.
LINKED = {
    "unit": ("unit",),
    "plan": ("unit",),
    "config": ("wire",),
    "wire": ("wire",),
    "frames": ("unit", "wire", "program", "guests", "processes", "report"),
    "judge": ("unit", "wire", "program", "player", "processes", "report"),
}
FLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        unavailable("there is no C compiler")
    folder = tmp_path_factory.mktemp("seeds")
    seeds.write(folder)
    return folder


@pytest.mark.parametrize("name", LINKED)
def test_seeds_and_damaged_seeds_break_no_promise(name: str, folder: Path) -> None:
    sources = [
        HERE / "native" / f"{name}.c",
        HERE / "native" / "replay.c",
        *(JAIL / f"{n}.c" for n in LINKED[name]),
    ]
    executable = folder / f"replay-{name}"
    compiled = subprocess.run(
        ["cc", *FLAGS, "-fsanitize=address,undefined", "-o", executable, *sources],
        capture_output=True,
        text=True,
    )
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run(
        [executable, folder / name],
        env={**os.environ, "ASAN_OPTIONS": "abort_on_error=0"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= 201 * len(list((folder / name).iterdir())) - 200


def test_there_are_seeds_for_every_target(folder: Path) -> None:
    assert {path.stem for path in (HERE / "native").glob("*.c")} - {"replay", "encoder"} == set(LINKED)
    assert set(seeds.TARGETS) == set(LINKED)
    assert all(list((folder / name).iterdir()) for name in LINKED)
