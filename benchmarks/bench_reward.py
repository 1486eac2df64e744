"""What does the reward of one training step cost, next to the trainer that asks for it?

A step: 256 questions x 8 completions, 16 tests each, 5 % of the programs hang (half of them while they load), 20 % are
wrong, 5 % of the answers have no program; the rest is right. A trainer process beside it: 60 threads, of which as many
as there are cores are always computing, as data loaders, samplers and collectives do.

Timed: `RuleReward.__call__`, from the second call on (the first, with 64 completions, opens the judge). `cpu s` is the
CPU time of everything that the step needs: this process, its sandbox's workers, and the programs. `cores` is what a
step of 60 s wants for the reward to take at most 5 % of it (3 s): cpu s / 3. It falls with the limits, since hanging
programs are nearly all of it.

Not covered: a GPU beside it, more than one trainer process, real programs' share of slow right answers.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from acesandbox import Limits
from acetrain import RuleReward
from benchmarks._run import parser, publish, table, talk

QUESTIONS, DRAWS, TESTS = 256, 8, 16
TRAINER = """
import os, threading
busy = threading.Semaphore(len(os.sched_getaffinity(0)))
data = bytes(1 << 20)
def turn():
    import hashlib
    while True:
        with busy:
            for _ in range(20):
                hashlib.sha256(data)  # computes without the interpreter's lock
for _ in range(60):
    threading.Thread(target=turn, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fail_fast": {"fail_fast": True},
    "fitted": {"limits": Limits(cpu_s=0.1, program_cpu_s=0.2, load_cpu_s=0.2, idle_s=0.5)},
}
TITLES = {
    "default": "1 s per test, 2 s per program (the default)",
    "fail_fast": "the default, fail_fast",
    "fitted": "0.1 s per test, 0.2 s per program",
}


def completions(question: int) -> tuple[list[str], str]:
    """Eight answers to one question, and its tests as a data set has them."""
    name = f"mix_{question}"
    tests = [f"assert {name}([{n}, {n + 1}, {question}]) == {3 * n + 2 + 2 * question}" for n in range(TESTS)]
    body = "    total = 0\n    for place, x in enumerate(xs):\n        total += x * (place + 1)\n    return total"
    # total = n + 2 (n + 1) + 3 question; the tests above want 2 question, so one question is taken off.
    right = f"def {name}(xs):\n{body} - {question}"
    answers = []
    for draw in range(DRAWS):
        kind = (question * DRAWS + draw) % 40
        program: str | None = right
        if kind == 7:
            program = "while True:\n    pass"
        elif kind == 23:
            program = f"def {name}(xs):\n    while xs:\n        pass"
        elif kind % 5 == 1:
            program = f"def {name}(xs):\n    return sum(xs)"
        elif kind in (10, 30):
            program = None
        answers.append("I do not know." if program is None else f"So:\n\n```python\n{program}\n```")
    return answers, json.dumps(tests)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--workers", type=int, default=None)
    made.add_argument("--limits", choices=SETTINGS, nargs="+", default=list(SETTINGS), help="which ones")
    given = made.parse_args()
    questions = 16 if given.quick else QUESTIONS
    answers: list[str] = []
    tests: list[str] = []
    for question in range(questions):
        said, column = completions(question)
        answers += said
        tests += [column] * len(said)

    lines: list[list[object]] = []
    found: dict[str, Any] = {"completions": len(answers), "tests": TESTS, "settings": {}}
    load = os.getloadavg()[0]
    found["load_before"] = load
    talk(f"load before: {load:.1f} on {len(os.sched_getaffinity(0))} cores")
    for beside in (False, True):
        for setting in ["fitted"] if given.quick else given.limits:
            name, options = TITLES[setting], SETTINGS[setting]
            outcome = step(answers, tests, options, given.workers, beside)
            where = "60-thread trainer" if beside else "nothing"
            talk(f"{name}, beside {where}: {outcome['seconds']:.1f} s, {outcome['cpu_s']:.1f} s of CPU")
            programs = outcome["programs_cpu_s"]
            lines.append([name, where, outcome["seconds"], outcome["cpu_s"], programs, outcome["cpu_s"] / 3])
            found["settings"][f"{name}, beside {where}"] = outcome
    head = [f"{len(answers):,} completions", "beside", "s", "cpu s", "programs' cpu s", "cores"]
    publish("reward", found, table(head, lines), given.out)


def step(
    answers: list[str], tests: list[str], options: dict[str, Any], workers: int | None, beside: bool
) -> dict[str, Any]:
    """One step's seconds and CPU seconds; fails where a reward is missing or a process is left."""
    trainer = None
    if beside:
        trainer = subprocess.Popen([sys.executable, "-c", TRAINER], stdout=subprocess.PIPE)
        assert trainer.stdout is not None
        trainer.stdout.readline()
    logged: dict[str, float] = {}
    reward = RuleReward("binary", workers=workers, **options)
    try:
        reward(["p"] * 64, answers[:64], test_cases=tests[:64])
        before, started = _cpu(), time.perf_counter()
        rewards = reward(["p"] * len(answers), answers, test_cases=tests, log_metric=logged.__setitem__)
        seconds = time.perf_counter() - started
        programs = logged["rule_reward/cpu_seconds"]
        own = _cpu() - before
    finally:
        reward.close()
        if trainer is not None:
            trainer.kill()
            trainer.communicate()
    left = _children()
    if left:
        raise SystemExit(f"processes were left behind: {left}")
    if None in rewards:
        raise SystemExit(f"{rewards.count(None)} completions could not be judged")
    return {
        "seconds": seconds,
        "cpu_s": own + programs,
        "programs_cpu_s": programs,
        "host_cpu_s": own,
        "paid": sum(1 for value in rewards if value == 1.0),
        "timeouts": logged["rule_reward/timeout"],
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + _workers_cpu()


def _workers_cpu() -> float:
    """Of the sandbox's own processes (supervisor, judge, zygote): what they used themselves, programs not counted."""
    ticks = 0
    for pid in _descendants(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if "acejail" in _command(pid) or "_ace_guest" in _command(pid):
            ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    except OSError:
        pass
    return found


def _children() -> list[int]:
    return [pid for pid in _descendants(os.getpid()) if _command(pid)]


if __name__ == "__main__":
    main()
