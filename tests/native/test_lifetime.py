"""Who outlives whom: nothing does. Each test kills one process and waits for the rest to be gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.native import conftest, jails
from tests.native.test_jail import descendants

SLEEPER = "import time; time.sleep(600)"
WAYS = [way for way, (needs_root, _) in conftest.WAYS.items() if needs_root == conftest.ROOT]
# Making and removing a copied tree takes seconds: two of the tests do it.
QUICK_WAYS = [way for way in WAYS if way != "chroot"]
# Programs may start processes here: what they leave behind must go too.
FAMILY = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """Not even a zombie counts as gone, unless it waits for us to reap it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def patience(way: str) -> float:
    """Seconds until everything must be gone; the copied tree of `chroot` takes a while to remove."""
    return 30.0 if way == "chroot" else 1.0


def busy(jail: jails.Jail, source: str, processes: int) -> list[int]:
    """Start a guest that stays, and return every process below the launcher once there are so many."""
    jail.send("J", source.encode())
    assert wait_until(lambda: len(descendants(jail.process.pid)) >= processes, 5)
    return descendants(jail.process.pid)


def cgroups() -> set[str]:
    """The groups of launchers that exist now."""
    found = set()
    for top in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
        for folder, names, _ in os.walk(top):
            found |= {f"{folder}/{name}" for name in names if name.startswith("acesandbox-")}
    return found


def leftovers(harness_way: jails.Jail) -> list[str]:
    pid = harness_way.process.pid
    return [path for path in cgroups() if path.endswith(f"-{pid}")]


@pytest.mark.parametrize("way", WAYS)
def test_end_of_file_ends_everything(harness: Path, way: str) -> None:
    jail = conftest.start(harness, way)
    everyone = descendants(jail.process.pid)
    jail.close()
    assert jail.process.returncode == 0
    assert wait_until(lambda: not any(alive(pid) for pid in everyone))
    assert leftovers(jail) == []


@pytest.mark.parametrize("way", WAYS)
def test_supervisors_death_takes_everyone_along(harness: Path, way: str) -> None:
    held = not any(view in way for view in ("landlock", "chroot"))  # elsewhere new processes are refused
    jail = conftest.start(harness, way, processes=8 if held else 0)
    everyone = busy(jail, FAMILY, 5) if held else busy(jail, SLEEPER, 2)
    os.kill(descendants(jail.process.pid)[0], signal.SIGKILL)
    assert jail.process.wait(patience(way) + 1) == 128 + signal.SIGKILL
    assert wait_until(lambda: not any(alive(pid) for pid in everyone))
    assert leftovers(jail) == []
    jail.close()


@pytest.mark.parametrize("way", QUICK_WAYS)
def test_launchers_death_takes_everyone_along(harness: Path, way: str) -> None:
    jail = conftest.start(harness, way)
    everyone = busy(jail, SLEEPER, 2)
    jail.process.kill()
    jail.process.wait(2)
    assert wait_until(lambda: not any(alive(pid) for pid in everyone))
    jail.close()


@pytest.mark.parametrize("way", QUICK_WAYS)
def test_a_request_to_end_is_heard(harness: Path, way: str) -> None:
    jail = conftest.start(harness, way)
    everyone = busy(jail, SLEEPER, 2)
    jail.process.terminate()
    assert jail.process.wait(patience(way) + 1) == 0
    assert wait_until(lambda: not any(alive(pid) for pid in everyone))
    assert leftovers(jail) == []
    jail.close()


HOST = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from tests.native import conftest, jails
from tests.native.test_lifetime import busy, SLEEPER
import os
jail = conftest.start(Path({harness!r}), {way!r})
keeper = os.fork() if {forked} else 1
if keeper == 0:
    time.sleep(600)  # a forked child of the host, which holds the control socket open
everyone = busy(jail, SLEEPER, 2)
print(jail.process.pid, *everyone, keeper, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("way", QUICK_WAYS)
@pytest.mark.parametrize("forked", [False, True], ids=["alone", "with_a_forked_child"])
def test_hosts_death_takes_everyone_along(harness: Path, way: str, forked: bool) -> None:
    source = HOST.format(path=sys.path, harness=str(harness), way=way, forked=forked)
    host = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    line = host.stdout.readline().split()
    assert line, "the host did not start its jail"
    *everyone, keeper = (int(word) for word in line)
    host.kill()
    host.wait()
    gone = wait_until(lambda: not any(alive(pid) for pid in everyone[1:]))
    gone = gone and wait_until(lambda: not alive(everyone[0]), patience(way))
    if keeper > 1:
        os.kill(keeper, signal.SIGKILL)
    host.stdout.close()
    assert gone
    assert [path for path in cgroups() if path.endswith(f"-{everyone[0]}")] == []


def test_a_dead_launchers_cgroup_is_swept(harness: Path) -> None:
    way = "own-uid" if conftest.ROOT else "caller"
    jail = conftest.start(harness, way)
    if jail.ready["mechanisms"]["cgroup"] == "none":
        jail.close()
        conftest.unavailable(jail.ready["mechanisms"]["cgroup_why"])
    everyone = descendants(jail.process.pid)
    jail.process.kill()
    jail.process.wait(2)
    jail.close()
    assert wait_until(lambda: not any(alive(pid) for pid in everyone))
    # it is there still, unless another launcher came by already
    conftest.start(harness, way).close()
    assert leftovers(jail) == []


def test_private_directories_go_and_are_swept(harness: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = "landlock" if conftest.ROOT else "caller-landlock"
    with jails.public_folder() as folder:
        monkeypatch.setenv("TMPDIR", str(folder))
        folder.chmod(0o1777)
        jail = conftest.start(harness, way)
        assert len(list(folder.iterdir())) == 1
        jail.run("import os; os.makedirs(guest['scratch'] + '/a' + '/b' * 90)")
        jail.close()
        assert list(folder.iterdir()) == []

        jail = conftest.start(harness, way)
        everyone = descendants(jail.process.pid)
        jail.process.kill()
        jail.process.wait(2)
        jail.close()
        assert wait_until(lambda: not any(alive(pid) for pid in everyone))
        assert len(list(folder.iterdir())) == 1
        with conftest.start(harness, way) as other:
            with conftest.start(harness, way) as third:
                assert len(list(folder.iterdir())) == 2, "the dead one's is gone, the living ones' are not"
                assert third.run("result = 1") == other.run("result = 1")
        assert list(folder.iterdir()) == []


def test_exit_status_is_the_supervisors(harness: Path) -> None:
    jail = conftest.start(harness, WAYS[0])
    jail.send("E", b"41")
    assert jail.process.wait(2) == 41
    jail.close()


def test_the_terminal_does_not_reach_the_launcher(harness: Path) -> None:
    with conftest.start(harness, WAYS[0]) as jail:
        assert os.getsid(jail.process.pid) == jail.process.pid


def test_start_is_quick(harness: Path) -> None:
    """The launcher's own part, which is a few milliseconds; the bound leaves room for a busy machine."""
    took = []
    for _ in range(5):
        begin = time.monotonic()
        jail = conftest.start(harness, WAYS[0])
        took.append(time.monotonic() - begin)
        jail.close()
    assert min(took) < (0.5 if os.environ.get("ACE_SANITIZED") else 0.1)
