"""What happens when parts of the sandbox are killed, or the host is?

Two questions, both with SIGKILL and at random times:

  parts   while jobs run, now the launcher, now the supervisor, zygote, judge or a player is killed. Every job must end,
          with the right verdict or with `SandboxError` (which the library raises after one retry of its own). A player
          that somebody else kills may also be reported as just that: `killed` by signal 9.
  host    a process that judges is killed; one second later nothing that it started may be alive, also when a forked
          child of the host lives on and holds its descriptors.

Killing what runs under other user ids needs root; as an ordinary user all processes of the tree are the user's own.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil

from acesandbox import Asserts, Sandbox, SandboxError
from benchmarks._programs import benign
from benchmarks._run import parser, publish, table, talk

ROLES = ("launcher", "supervisor", "zygote", "judge", "player")

HOST = """
import os, sys, time
from acesandbox import Asserts, Sandbox
tests = Asserts(["assert f(1) == 1"])
sandbox = Sandbox(workers=2)
sandbox.judge("def f(x):\\n    return x\\n", tests)
if sys.argv[1] == "forked" and os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("judging", flush=True)
while True:
    sandbox.judge("def f(x):\\n    return sum(range(x * 10000)) * 0 + x\\n", tests)
"""


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--jobs", type=int, default=2000)
    made.add_argument("--hosts", type=int, default=20, help="how many hosts are killed (default: 20)")
    made.add_argument("--seed", type=int, default=1)
    given = made.parse_args()
    jobs, hosts = (200, 2) if given.quick else (given.jobs, given.hosts)
    parts = kill_parts(jobs, given.seed)
    left = [
        kill_host(forked=turn % 2 == 1, wait_s=random.Random(turn).uniform(0, 0.3)) for turn in range(hosts)
    ]

    text = f"{jobs} jobs while parts were killed\n\n"
    text += table(["killed", "times"], sorted(parts["kills"].items())) + "\n\n"
    text += table(["outcome of a job", "jobs"], sorted(parts["outcomes"].items()))
    text += f"\n\n{hosts} hosts killed; processes of theirs alive a second later: {sum(left)}"
    publish("survival", {"parts": parts, "hosts": hosts, "left_after_host": left}, text, given.out)


def kill_parts(jobs: int, seed: int = 1) -> dict[str, Any]:
    """Judge `jobs` programs while a thread kills parts at random; how each job ended."""
    outcomes: collections.Counter[str] = collections.Counter()
    kills: collections.Counter[str] = collections.Counter()
    over = threading.Event()
    with Sandbox(workers=2) as sandbox:
        sandbox.judge(benign(0).program, Asserts(benign(0).tests))
        killer = threading.Thread(target=_kill_now_and_then, args=(random.Random(seed), kills, over))
        killer.start()
        try:
            futures = []
            for number in range(jobs):
                case = benign(number)
                # Work that lasts long enough for a player to be met alive.
                program = case.program + "\nfor _ in range(150000): pass\n"
                futures.append((case, sandbox.submit(program, Asserts(case.tests, entry_point="f"))))
            for done, (case, future) in enumerate(futures, 1):
                outcomes[_outcome(case.expected, future)] += 1
                if done % 200 == 0:
                    talk(f"{done} jobs: {dict(outcomes)}; killed {dict(kills)}")
        finally:
            over.set()
            killer.join()
    return {"jobs": jobs, "outcomes": dict(outcomes), "kills": dict(kills)}


def _outcome(expected: Any, future: Any) -> str:
    try:
        verdict = future.result(timeout=120)
    except SandboxError as error:
        return f"SandboxError ({type(error).__name__})"
    except TimeoutError:
        return "never ended"
    if tuple(test.passed for test in verdict.tests) == expected:
        return "right verdict"
    if any(test.status.value == "killed" and test.number == signal.SIGKILL for test in verdict.tests):
        return "killed by signal 9, and said so"
    return f"wrong verdict ({verdict.status.value})"


def _kill_now_and_then(order: random.Random, kills: collections.Counter[str], over: threading.Event) -> None:
    while not over.wait(order.uniform(0.02, 0.2)):
        role = order.choice(ROLES)
        # A player lives for milliseconds: it is looked for until one is met.
        until = time.monotonic() + 0.2
        while time.monotonic() < until and not over.is_set():
            found = tree(os.getpid())[role]
            if found:
                try:
                    order.choice(found).kill()
                except psutil.Error:
                    continue
                kills[role] += 1
                break


def tree(host: int) -> dict[str, list[psutil.Process]]:
    """The processes of all sandboxes of a host, by role. Judge and zygote are the elders of their kind."""
    found: dict[str, list[psutil.Process]] = {role: [] for role in ROLES}
    for launcher in _children(host):
        if _name(launcher) != "acejail":
            continue
        found["launcher"].append(launcher)
        for supervisor in _children(launcher.pid):
            found["supervisor"].append(supervisor)
            elders: dict[str, psutil.Process] = {}
            for guest in sorted(
                _children(supervisor.pid), key=lambda process: (process.create_time(), process.pid)
            ):
                kind = "judge" if "_ace_guest.judge" in _command(guest) else "zygote"
                if kind not in elders:
                    elders[kind] = guest
                    found[kind].append(guest)
                elif kind == "zygote":
                    found["player"].append(guest)
    return found


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.Error:
        return []


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_host(forked: bool, wait_s: float) -> int:
    """Kill a host that judges; how many of the sandbox's processes are alive a second later."""
    mode = "forked" if forked else "alone"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, mode], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert host.stdout is not None
    if host.stdout.readline().strip() != "judging":
        raise RuntimeError("the host did not come to judging")
    time.sleep(wait_s)
    forks = [child for child in _children(host.pid) if _name(child) != "acejail"]
    parts = [
        part
        for launcher in _children(host.pid)
        if launcher not in forks
        for part in [launcher, *_descendants(launcher)]
    ]
    if not parts:
        raise RuntimeError("no process of a sandbox was found under its host")
    host.kill()
    host.wait()
    host.stdout.close()
    time.sleep(1)
    alive = [part for part in parts if _lives(part)]
    for child in forks:
        child.kill()
    return len(alive)


def _lives(process: psutil.Process) -> bool:
    """Not gone, and not dead and merely waiting for the machine's init to reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
