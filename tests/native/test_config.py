"""The `C` frame: what is not understood is refused with a text that says what, and nothing is left behind."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.native import conftest, jails

WAY = "own-uid" if conftest.ROOT else "caller"


def failure(harness: Path, *extra: tuple[str, str], **keys: object) -> str:
    tier = keys.pop("tier", "namespaces")
    with jails.Jail(harness, tier=str(tier), extra=extra, **keys) as jail:
        assert jail.ready == {}
        assert jail.process.wait(5) == 2
        return jail.failure


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"protocol": 2}, "protocol 2"),
        ({"protocol": None}, "protocol 0"),
        ({"tier": "magic"}, 'tier is called "magic"'),
        ({"colour": "blue"}, 'unknown key "colour"'),
        ({"scratch_mb": "much"}, 'scratch_mb must be a whole number, not "much"'),
        ({"scratch_mb": -1}, "whole number"),
        ({"scratch_mb": 1 << 70}, "whole number"),
        ({"scratch_inodes": 0}, "above 0"),
        ({"profile": "everything"}, 'profile is called "everything"'),
        ({"text": "/etc/hosts"}, "separator"),
        ({"text": "/usr/lib\x1fa directory"}, "could not be made in the jail"),
        ({"ro": "/usr"}, "separator"),
        ({"ro": "usr\x1f/usr"}, "absolute path"),
        ({"link": "/x"}, "separator"),
        ({"ro": "/nothing\x1f/no/such/place"}, "/no/such/place cannot be opened"),
        ({"ro": "/etc/../../../x\x1f/usr/bin"}, ""),
    ],
)
def test_a_bad_key_is_explained(harness: Path, keys: dict[str, object], words: str) -> None:
    if words == "":  # not refused: `..` resolves inside the new root, which has no outside
        with jails.Jail(harness, **keys) as jail:  # type: ignore[arg-type]
            assert jail.run("import os; result = os.path.isdir('/x')")
        return
    text = failure(harness, **keys)
    assert words in text
    assert "\n" in text, "step and remedy are two lines"


def test_guest_must_be_an_object(harness: Path) -> None:
    assert "JSON object" in failure(harness, ("guest", "[]"))


def test_interpreter_must_be_absolute(harness: Path) -> None:
    assert "absolute" in failure(harness, ("python", "python3"))


def test_a_processor_that_is_not_there(harness: Path) -> None:
    assert "processor 1000" in failure(harness, cpu=1000)


@pytest.mark.skipif(not conftest.ROOT, reason="for root")
@pytest.mark.parametrize("tier", ["namespaces", "seccomp"])
@pytest.mark.parametrize("key", ["uid", "gid"])
def test_uid_0_is_refused(harness: Path, tier: str, key: str) -> None:
    assert "refusing" in failure(harness, **{"tier": tier, key: 0})


def test_a_bind_inside_a_read_only_one_needs_its_place(harness: Path) -> None:
    text = failure(harness, ("ro", "/x\x1f/usr/bin"), ("ro", "/x/no-such-place/y\x1f/usr/bin"))
    assert "could not be made in the jail" in text


@pytest.mark.parametrize("seed", range(30))
def test_rubbish_ends_the_launcher(harness: Path, seed: int) -> None:
    """Random bytes in place of the frame: an answer `F` or silence, never a hang, never a crash."""
    chance = random.Random(seed)
    payload = bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
    if seed % 3 == 0:
        payload = b"protocol=1\0tier=namespaces\0" + payload + b"\0"
    length = len(payload) if seed % 2 else chance.choice([0, 1, len(payload) + 5, 0xFFFFFFFF])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec 3<&0 </dev/null; exec "$0"', str(harness)], stdin=theirs
        )
        theirs.close()
        ours.sendall(
            struct.pack("<IBBH", length, ord("C") if seed % 5 else chance.randrange(256), 0, 0) + payload
        )
        ours.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := ours.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass  # it did not read all of it
        assert process.wait(5) in (0, 2)
        assert answer == b"" or answer[4:5] == b"F"


def test_a_host_that_says_nothing(harness: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec 3<&0 </dev/null; exec "$0"', str(harness)], stdin=theirs
        )
    ours.close()
    assert process.wait(5) == 0


def test_started_by_hand_it_explains_itself(harness: Path) -> None:
    done = subprocess.run(
        [str(harness)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, close_fds=True
    )
    assert done.returncode == 2
    assert "--probe" in done.stderr


@pytest.mark.skipif(not conftest.ROOT, reason="for root")
def test_seccomp_tier_of_a_user_without_landlock_says_what_it_needs(harness: Path) -> None:
    with jails.Jail(
        harness,
        tier="seccomp",
        where=("no-landlock",),
        user=jails.NOBODY,
        python=jails.SYSTEM_PYTHON,
    ) as jail:
        assert "Landlock" in jail.failure
        assert "CAP_SYS_CHROOT" in jail.failure


@pytest.mark.skipif(not conftest.ROOT, reason="for root")
def test_namespaces_in_a_default_container_say_what_they_need(harness: Path) -> None:
    with jails.Jail(harness, where=("docker",), python=jails.SYSTEM_PYTHON) as jail:
        assert "CAP_SYS_ADMIN" in jail.failure
        assert 'isolation="seccomp"' in jail.failure


def test_probe_agrees_with_what_can_be_had(harness: Path) -> None:
    tiers = jails.probe(harness)["tiers"]
    with jails.Jail(harness) as jail:
        assert tiers["namespaces"]["available"] == (jail.failure == "")


@pytest.mark.parametrize(
    ("where", "missing"),
    [
        (("docker",), {"user namespace", "mounts in new namespaces", "pid namespace"}),
        (("no-userns",), {"user namespace"}),
        (("no-landlock",), {"Landlock"}),
        (("old-kernel",), {"pidfd", "pidfd of a socket's peer", "close_range", "mount_setattr"}),
        (("no-listener",), {"seccomp user notification"}),
    ],
)
def test_probe_sees_what_is_missing(harness: Path, where: tuple[str, ...], missing: set[str]) -> None:
    here = {one["name"]: one["available"] for one in jails.probe(harness)["mechanisms"]}
    there = {one["name"]: one for one in jails.probe(harness, where)["mechanisms"]}
    for name in missing:
        assert not there[name]["available"]
        assert there[name]["why"]
    if conftest.ROOT and where != ("docker",):
        assert {name for name, one in there.items() if one["available"]} == {
            name for name, available in here.items() if available
        } - missing
