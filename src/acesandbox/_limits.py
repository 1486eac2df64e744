"""What a program may use. Units are in the names, defaults are right for model-written programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from ._errors import BadInput

# Decided when a worker starts: they shape its jail. All others travel with each problem.
WORKER_LEVEL = ("processes", "threads", "scratch_mb", "scratch_files", "file_mb", "open_files")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one program. Times are CPU time unless said otherwise, so load does not change a verdict.

    A program is loaded once and its tests run in order. In a first pass every test gets a short quantum (`quantum_s`);
    what is unfinished then gets its full `cpu_s` in a fresh process, until the program has used `program_cpu_s`.
    What is left after that is `not_run`.
    """

    cpu_s: float = 1.0
    """CPU seconds of one test."""
    program_cpu_s: float = 4.0
    """CPU seconds of all tests of one program together, beyond the first short pass."""
    load_cpu_s: float = 2.0
    """CPU seconds for loading the program, before its first test."""
    quantum_s: float = 0.02
    """CPU seconds that every test gets in the first pass."""
    idle_s: float = 2.0
    """Seconds a program may sleep or wait without using the processor or queueing for it."""
    wall_s: float = 0.0
    """Seconds by the clock on the wall for one test; 0 is off. With it, a busy machine can change a verdict."""
    judge_cpu_s: float = 2.0
    """CPU seconds that the test code itself may use, for one program."""
    memory_mb: int = 1024
    """Megabytes (2**20 bytes) of memory."""
    output_kb: int = 64
    """Kilobytes (2**10 bytes) kept of standard output and of standard error each; the rest is read and dropped."""
    processes: int = 0
    """New processes the program may have at a time; 0: it cannot make any."""
    threads: int = 64
    """Threads the program may have at a time, the first included."""
    scratch_mb: int = 64
    """Megabytes of files in its private /tmp."""
    scratch_files: int = 4096
    """Files and directories in its private /tmp."""
    file_mb: int = 64
    """Megabytes of one file."""
    open_files: int = 256
    """Open file descriptors."""

    def __post_init__(self) -> None:
        for name, (kind, low, high, unit) in _BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
                raise BadInput(
                    f"Limits.{name} must be {_KIND_NAMES[kind]}, not {type(value).__name__}: {value!r}"
                )
            if not math.isfinite(value) or not low <= value <= high:
                raise BadInput(
                    f"Limits.{name}={value!r} is out of range: it is in {unit}, from {low} to {high}"
                )
        if self.quantum_s > self.cpu_s:
            raise BadInput(
                f"Limits.quantum_s={self.quantum_s} is longer than cpu_s={self.cpu_s}: the quantum is the short "
                "first try of a test, cpu_s its full time"
            )

    def replace(self, **changes: float) -> Limits:
        """A copy with some limits changed, e.g. `limits.replace(cpu_s=3)`.

        Raises:
            BadInput: unknown name or bad value.
        """
        unknown = sorted(set(changes) - set(_BOUNDS))
        if unknown:
            raise BadInput(f"there is no limit called {unknown[0]!r}; there are {', '.join(_BOUNDS)}")
        return replace(self, **changes)  # type: ignore[arg-type]

    @classmethod
    def from_reference(
        cls, cpu_s: float, factor: float = 20.0, floor_s: float = 0.1, **other: float
    ) -> Limits:
        """Limits that follow a problem: CPU time of a reference program's slowest test x `factor`, at least `floor_s`.

        Hangs decide throughput: with limits that fit the problem they cost a fraction. `other` is passed on.
        """
        if not math.isfinite(cpu_s) or cpu_s < 0:
            raise BadInput(f"the reference's CPU time must be a number of seconds, not {cpu_s!r}")
        test = min(max(cpu_s * factor, floor_s), _BOUNDS["cpu_s"][2])
        given: dict[str, float] = {"cpu_s": test, "program_cpu_s": test * 4, **other}
        given.setdefault("quantum_s", min(cls().quantum_s, test))
        return cls().replace(**given)


_KIND_NAMES: dict[type, str] = {float: "a number", int: "a whole number"}
_DAY = 86400.0
# name: type, least, most, unit
_BOUNDS: dict[str, tuple[type, float, float, str]] = {
    "cpu_s": (float, 0.001, _DAY, "seconds"),
    "program_cpu_s": (float, 0.0, _DAY, "seconds"),
    "load_cpu_s": (float, 0.001, _DAY, "seconds"),
    "quantum_s": (float, 0.0, _DAY, "seconds"),
    "idle_s": (float, 0.01, _DAY, "seconds"),
    "wall_s": (float, 0.0, _DAY, "seconds (0: off)"),
    "judge_cpu_s": (float, 0.01, _DAY, "seconds"),
    "memory_mb": (int, 16, 1 << 20, "megabytes"),
    "output_kb": (int, 0, 1 << 16, "kilobytes"),
    "processes": (int, 0, 4096, "processes"),
    "threads": (int, 1, 16384, "threads"),
    "scratch_mb": (int, 1, 1 << 20, "megabytes"),
    "scratch_files": (int, 16, 10_000_000, "files"),
    "file_mb": (int, 1, 1 << 20, "megabytes"),
    "open_files": (int, 16, 65536, "descriptors"),
}


def differing_worker_limits(job: Limits, worker: Limits) -> list[str]:
    """The worker-level limits in which a job's limits differ from its sandbox's, readable, for an error message."""
    return [
        f"{name}={getattr(job, name)} (the sandbox has {getattr(worker, name)})"
        for name in WORKER_LEVEL
        if getattr(job, name) != getattr(worker, name)
    ]


if set(_BOUNDS) != {field.name for field in fields(Limits)}:  # a limit without bounds would go unchecked
    raise AssertionError("every limit needs its bounds")
