"""What a program may use. Units are in the names, defaults are right for model-written programs."""

from __future__ import annotations

import math
from typing import Any

from ._errors import BadInput

# Decided when a worker starts: they shape its jail. All others travel with each problem.
WORKER_LEVEL = ("processes", "threads", "scratch_mb", "scratch_files", "file_mb", "open_files")


class Limits:
    """Limits of one program. Times are CPU time unless said otherwise, so load does not change a verdict.

    A program is loaded once and its tests run in order. In a first pass every test gets a short quantum (`quantum_s`);
    what is unfinished then gets its full `cpu_s` in a fresh process, until the program has used `program_cpu_s`.
    What is left after that is `not_run`.

    Immutable, comparable, hashable. A plain class: a dataclass would double what importing this package costs.

    Args:
        cpu_s: CPU seconds of one test.
        program_cpu_s: CPU seconds of all tests of one program together, beyond the first short pass. A test that ran
            out of `idle_s` or `judge_cpu_s` counts with that.
        load_cpu_s: CPU seconds for loading the program, before its first test.
        quantum_s: CPU seconds that every test gets in the first pass.
        idle_s: seconds a program may sleep or wait without using the processor or queueing for it.
        wall_s: seconds by the clock on the wall for one program; 0 is off. With it, a busy machine can change a
            verdict.
        judge_cpu_s: CPU seconds that one test's own code, or one decision of the judge, may use.
        memory_mb: megabytes (2**20 bytes) of memory.
        output_kb: kilobytes (2**10 bytes) kept of standard output and of standard error each; the rest is read and
            dropped.
        processes: new processes the program may have at a time; 0: it cannot make any. More than 0 needs the
            `namespaces` tier, and without a cgroup `memory_mb` then bounds each process by itself.
        threads: threads the program may have at a time, the first included.
        scratch_mb: megabytes of files in its private /tmp.
        scratch_files: files and directories in its private /tmp.
        file_mb: megabytes of one file.
        open_files: open file descriptors.

    Raises:
        BadInput: a value of the wrong type or out of range; the message says which and why.
    """

    __slots__ = (
        "cpu_s",
        "file_mb",
        "idle_s",
        "judge_cpu_s",
        "load_cpu_s",
        "memory_mb",
        "open_files",
        "output_kb",
        "processes",
        "program_cpu_s",
        "quantum_s",
        "scratch_files",
        "scratch_mb",
        "threads",
        "wall_s",
    )
    cpu_s: float
    program_cpu_s: float
    load_cpu_s: float
    quantum_s: float
    idle_s: float
    wall_s: float
    judge_cpu_s: float
    memory_mb: int
    output_kb: int
    processes: int
    threads: int
    scratch_mb: int
    scratch_files: int
    file_mb: int
    open_files: int

    def __init__(
        self,
        *,
        cpu_s: float = 1.0,
        program_cpu_s: float = 4.0,
        load_cpu_s: float = 2.0,
        quantum_s: float = 0.01,
        idle_s: float = 2.0,
        wall_s: float = 0.0,
        judge_cpu_s: float = 2.0,
        memory_mb: int = 1024,
        output_kb: int = 64,
        processes: int = 0,
        threads: int = 64,
        scratch_mb: int = 64,
        scratch_files: int = 4096,
        file_mb: int = 64,
        open_files: int = 256,
    ) -> None:
        given = locals()
        for name, (kind, low, high, unit) in _BOUNDS.items():
            value = given[name]
            if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
                raise BadInput(
                    f"Limits.{name} must be {_KIND_NAMES[kind]}, not {type(value).__name__}: {value!r}"
                )
            if not low <= value <= high:  # false for nan
                raise BadInput(
                    f"Limits.{name}={value!r} is out of range: it is in {unit}, from {low} to {high}"
                )
            object.__setattr__(self, name, kind(value))
        if quantum_s > cpu_s:
            raise BadInput(
                f"Limits.quantum_s={quantum_s} is longer than cpu_s={cpu_s}: the quantum is the short first try of a "
                "test, cpu_s its full time"
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Limits are immutable; limits.replace({name}=...) makes others")

    def to_dict(self) -> dict[str, float]:
        """All limits by name."""
        return {name: getattr(self, name) for name in _BOUNDS}

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Limits) and self.to_dict() == other.to_dict())

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_dict, (self.to_dict(),)

    def replace(self, **changes: float) -> Limits:
        """A copy with some limits changed, e.g. `limits.replace(cpu_s=3)`.

        Raises:
            BadInput: unknown name or bad value.
        """
        unknown = sorted(set(changes) - set(_BOUNDS))
        if unknown:
            raise BadInput(f"there is no limit called {unknown[0]!r}; there are {', '.join(_BOUNDS)}")
        return _from_dict({**self.to_dict(), **changes})

    @classmethod
    def from_reference(
        cls, cpu_s: float, factor: float = 20.0, floor_s: float = 0.1, **other: float
    ) -> Limits:
        """Limits that follow a problem: CPU time of a reference program's slowest test x `factor`, at least `floor_s`.

        A program may spend two tests' limits beyond the first pass. Hangs decide throughput: with limits that fit the
        problem they cost a fraction. `other` is passed on.
        """
        if not 0 <= cpu_s < math.inf:
            raise BadInput(f"the reference's CPU time must be a number of seconds, not {cpu_s!r}")
        test = min(max(cpu_s * factor, floor_s), _BOUNDS["cpu_s"][2])
        given: dict[str, float] = {"cpu_s": test, "program_cpu_s": test * 2, **other}
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


def _from_dict(values: dict[str, Any]) -> Limits:
    return Limits(**values)
