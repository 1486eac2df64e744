"""Time in which a program neither computes nor waits for a processor: no trick buys more of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from acesandbox import Asserts, Limits, Sandbox, Status, Verdict

NAPPER = """
import time
def add(a, b):
    while True:
        time.sleep(0.02)
"""

# Sixty threads queue for the processors all at once; then all sleep, and the first says since when.
QUEUER = """
import hashlib, threading, time
def add(a, b):
    data = bytes(200000)
    gate = threading.Barrier(60)
    def work():
        gate.wait()
        while time.process_time() < 0.6:
            hashlib.sha256(data).digest()
    threads = [threading.Thread(target=lambda: (work(), time.sleep(1000)), daemon=True) for _ in range(59)]
    for thread in threads:
        thread.start()
    work()
    print(time.monotonic(), flush=True)
    time.sleep(1000)
"""


def judge(program: str, limits: Limits) -> Verdict:
    with Sandbox(workers=1) as sandbox:
        return sandbox.judge(program, Asserts(["assert add(1, 2) == 3"]), limits=limits)


def test_threads_that_queue_side_by_side_buy_no_time_to_sleep() -> None:
    verdict = judge(QUEUER, Limits(idle_s=0.5))
    slept = time.monotonic() - float(verdict.stdout)
    assert verdict.tests[0].status is Status.WALL_TIMEOUT
    assert slept < 5, "half a second and a judge's moment, on an idle machine"


def test_short_naps_are_idle_time() -> None:
    limits = Limits(idle_s=0.5, cpu_s=5)  # it would take minutes to spend these
    verdict = judge(NAPPER, limits)
    assert verdict.tests[0].status is Status.WALL_TIMEOUT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can cover a part of /proc")
def test_without_a_complete_proc_waiting_is_told_from_idling_by_cpu_time() -> None:
    """A container that masks parts of /proc: no /proc can be mounted in a user namespace below it."""
    script = f"""if True:
        from acesandbox import Asserts, Limits, Sandbox
        tests, limits = Asserts(["assert add(1, 2) == 3"]), Limits(idle_s=0.2, cpu_s=5)
        with Sandbox(workers=1) as sandbox:
            if sandbox.describe()["mechanisms"]["proc"]:
                raise SystemExit("there is a /proc")
            busy = "def add(a, b):\\n    for i in range(3000000): pass\\n    return a + b\\n"
            for program in ({NAPPER!r}, {NAPPER!r}.replace("0.02", "1000"), busy):
                print(sandbox.judge(program, tests, limits=limits).tests[0].status.value)
    """
    cover = 'mount --bind /dev/null /proc/interrupts && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", cover, "sh", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["wall_timeout", "wall_timeout", "passed"], done.stderr
