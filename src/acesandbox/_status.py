"""The statuses of a test, and their codes on the wire (docs/protocol.md)."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What came of one test, or of a whole run. Every value but `PASSED` counts as not passed."""

    PASSED = "passed"
    FAILED = "failed"
    """The assertion is false, or the output is wrong."""
    ERROR = "error"
    """The program (or the test, see `TestResult.origin`) raised; type and message are kept."""
    SYNTAX_ERROR = "syntax_error"
    MISSING_MODULE = "missing_module"
    """The program imports a module that the jailed interpreter does not have."""
    CPU_TIMEOUT = "cpu_timeout"
    """CPU time ran out. Load on the machine has no part in it."""
    WALL_TIMEOUT = "wall_timeout"
    """It slept or waited for longer than `idle_s`, or ran past `wall_s`."""
    MEMORY_LIMIT = "memory_limit"
    """It needed more than `memory_mb`."""
    OUTPUT_LIMIT = "output_limit"
    """A stdio test printed more than `output_kb`. Elsewhere output is cut, and `truncated` says so."""
    PROCESS_LIMIT = "process_limit"
    """It could not start a thread or a process, since it had as many as `threads` or `processes` allow."""
    KILLED = "killed"
    """Ended by a signal, which `TestResult.number` names; or the program ends the worker that judges it."""
    BLOCKED_SYSCALL = "blocked_syscall"
    """Stopped at a system call that only an attack makes; `TestResult.number` names it."""
    EXITED = "exited"
    """The program exited before the test was finished."""
    NOT_RUN = "not_run"
    """Not tried, or not decided: the program's budget was spent, or `fail_fast` had its failure."""


STATUSES: tuple[Status, ...] = tuple(Status)
"""Indexed by the code on the wire: the order of definition above is part of the protocol."""

CODES: dict[Status, int] = {status: code for code, status in enumerate(STATUSES)}
