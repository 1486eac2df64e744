"""Does it last? Many programs in one sandbox, two in a hundred hostile; what grows, what slows down, what is left over?

Looked at after every tenth of the run (and every 10,000 programs in the full one), the programs of each stretch being
the same in another order:

  programs per second        the last stretch against the first
  host                       resident memory, descriptors, threads, of the process that uses the library
  tree                       descriptors and resident memory of everything the sandbox started, zombies among it
  files                      entries of the temporary folder and of /dev/shm, mounts, cgroups

Programs are small ones of our own with known verdicts (benchmarks/_programs.py); each verdict is compared.
"""

from __future__ import annotations

import collections
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from acesandbox import Asserts, Limits, Sandbox
from benchmarks._programs import Case, mix
from benchmarks._run import parser, publish, table, talk

# Short, so that the hostile fiftieth does not take all the time.
LIMITS = Limits(cpu_s=0.1, program_cpu_s=0.2, load_cpu_s=0.5, idle_s=0.2, memory_mb=256)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--programs", type=int, default=200_000)
    made.add_argument("--workers", type=int, help="default: one per usable core")
    made.add_argument("--hostile", type=float, default=0.02, help="share of hostile programs (default: 0.02)")
    given = made.parse_args()
    found = soak(2_000 if given.quick else given.programs, given.workers, given.hostile)
    head = [
        "programs",
        "programs/s",
        "host MB",
        "host fds",
        "tree MB",
        "tree fds",
        "processes",
        "zombies",
        "files",
    ]
    keys = ["programs", "rate", "host_mb", "host_fds", "tree_mb", "tree_fds", "processes", "zombies", "files"]
    lines = [[sample[key] for key in keys] for sample in found["samples"]]
    text = (
        table(head, lines)
        + "\n\n"
        + "\n".join(f"{name}: {value}" for name, value in found["summary"].items())
    )
    publish("soak", found, text, given.out)


def soak(programs: int, workers: int | None, hostile_share: float) -> dict[str, Any]:
    """Run it and say what was seen. A leak is what the last sample has more of than the first."""
    stretch = min(10_000, max(100, programs // 10))
    files_before = files()
    wrong: collections.Counter[str] = collections.Counter()
    samples: list[dict[str, Any]] = []
    waiting: collections.deque[Case] = collections.deque()

    def jobs() -> Iterator[tuple[str, Asserts]]:
        for case in mix(programs, hostile_share, block=min(1000, stretch)):
            waiting.append(case)
            yield case.program, Asserts(case.tests, entry_point="f")

    with Sandbox(workers=workers, limits=LIMITS) as sandbox:
        # What the first programs build lazily, in the host and in the guests, is not growth.
        for case in mix(200, hostile_share, block=200):
            sandbox.judge(case.program, Asserts(case.tests, entry_point="f"))
        begun = time.perf_counter()
        for done, verdict in enumerate(sandbox.judge_many(jobs(), dedupe=False), 1):
            case = waiting.popleft()
            passed = tuple(test.passed for test in verdict.tests)
            if passed != case.expected if case.expected is not None else any(passed):
                wrong[f"{case.name}: {verdict.status.value}"] += 1
            if done % stretch == 0:
                now = time.perf_counter()
                samples.append(sample(done, stretch / (now - begun)))
                talk(" ".join(f"{name}={value}" for name, value in samples[-1].items()))
                begun = time.perf_counter()
    time.sleep(1)
    left = [child.pid for child in psutil.Process().children(recursive=True)]
    first, last = samples[0], samples[-1]
    summary = {
        "last stretch against the first, programs/s": round(last["rate"] / first["rate"], 3),
        "host memory growth, MB": round(last["host_mb"] - first["host_mb"], 1),
        "host descriptors gained": last["host_fds"] - first["host_fds"],
        "tree descriptors gained": last["tree_fds"] - first["tree_fds"],
        "most zombies seen at once": max(one["zombies"] for one in samples),
        "files, mounts and cgroups left after closing": files() - files_before,
        "processes left a second after closing": len(left),
        "wrong verdicts": sum(wrong.values()),
    }
    return {
        "programs": programs,
        "hostile_share": hostile_share,
        "samples": samples,
        "summary": summary,
        "wrong": wrong,
    }


def sample(done: int, rate: float) -> dict[str, Any]:
    host = psutil.Process()
    tree_mb, tree_fds, zombies, processes = 0.0, 0, 0, 0
    for child in host.children(recursive=True):
        try:
            processes += 1
            zombies += child.status() == psutil.STATUS_ZOMBIE
            tree_mb += child.memory_info().rss / 2**20
            tree_fds += child.num_fds()
        except psutil.Error:
            # It ended between being listed and being looked at, or an ordinary user may not look into it.
            continue
    return {
        "programs": done,
        "rate": round(rate, 1),
        "host_mb": round(host.memory_info().rss / 2**20, 1),
        "host_fds": host.num_fds(),
        "host_threads": host.num_threads(),
        "tree_mb": round(tree_mb, 1),
        "tree_fds": tree_fds,
        "processes": processes,
        "zombies": zombies,
        "files": files(),
    }


def files() -> int:
    """Entries of the places where something could be left: temporary folder, /dev/shm, mounts, cgroups."""
    count = sum(
        len(os.listdir(folder)) for folder in (tempfile.gettempdir(), "/dev/shm") if os.path.isdir(folder)
    )
    count += len(Path("/proc/self/mountinfo").read_text().splitlines())
    return count + sum(1 for _ in os.walk("/sys/fs/cgroup"))


if __name__ == "__main__":
    main()
