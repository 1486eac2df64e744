"""A wheel holds all there is, and works in a fresh environment without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
from acesandbox import Asserts, Sandbox
with Sandbox(workers=1, isolation="best") as sandbox:
    verdict = sandbox.judge("def f(x):\\n    return x\\n", Asserts(["assert f(1) == 1", "assert f(1) == 2"]))
    print([test.status.value for test in verdict.tests])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(place),
    ]
    # The build tools are those of this environment; pip looks for them on the PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run([*words, str(ROOT)], check=True, env={**os.environ, "PATH": path})
    (built,) = place.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_is_for_the_stable_abi_of_this_platform(wheel: Path) -> None:
    assert "-cp311-abi3-linux_" in wheel.name


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_no_cache(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert {name.removeprefix("src/") for name in listed.stdout.split()} <= names
    assert {"acesandbox/_bin/acejail", "acesandbox/guest/_native.abi3.so"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".c")]


@pytest.mark.slow
def test_the_wheel_works_where_there_is_no_compiler(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "fresh")], check=True)
    python = tmp_path / "fresh" / "bin" / "python"
    # Nothing but the environment itself on the PATH: no compiler can be found.
    environment = {"PATH": str(python.parent), "HOME": str(tmp_path)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    subprocess.run([*pip, str(wheel)], check=True, env=environment)
    done = subprocess.run(
        [str(python), "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['passed', 'failed']", done.stderr
