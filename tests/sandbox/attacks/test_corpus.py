"""Every attack of the corpus, in every environment that the machine offers: what was tried must not have worked.

`acesandbox check` runs the same attacks on a user's machine. An environment that cannot be had is a skip, and a failure
under ACE_MUST_WORK=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from acesandbox import _check
from acesandbox._check import Attack
from acesandbox._check.records import CROSS_PROGRAM, KERNEL
from tests.conftest import unavailable

from .environments import ENVIRONMENTS, Checker, Environment

_checkers: dict[str, Checker] = {}

# These take many seconds wherever they run, since they end by a limit of time.
_LONG = {
    "blocked_signals",
    "catastrophic_regex",
    "children_burn",
    "endless_c_call",
    "endless_sleep",
    "endless_sum",
    "endless_wait",
    "handled_signals",
    "naps",
    "never_leaves",
    "power_tower",
    "threads_share_the_burn",
}

# An ordinary user has no control group and, in the seccomp tier, no count of processes of his own.
_UNLIKE_ROOT = {"memory_by_objects", "raw_thread_bomb"}


@pytest.fixture(scope="module", autouse=True)
def _close_checkers() -> Iterator[None]:
    yield
    for checker in _checkers.values():
        checker.close()
    _checkers.clear()


def _cases() -> Iterator[pytest.param]:
    mine = [environment for environment in ENVIRONMENTS if environment.needs_root == (os.getuid() == 0)]
    for environment in mine:
        # The full corpus runs by default in the first environment; in the others what depends on the environment does.
        for attack in _check.ALL:
            if environment.profile not in attack.profiles:
                continue
            everywhere = (
                attack.family in (KERNEL, CROSS_PROGRAM)
                or attack.profiles == (environment.profile,)
                or attack.name in _UNLIKE_ROOT
            )
            slow = attack.name in _LONG or (environment is not mine[0] and not everywhere)
            yield pytest.param(
                environment,
                attack,
                id=f"{environment.name}-{attack.family}-{attack.name}",
                marks=[pytest.mark.slow] if slow else [],
            )


@pytest.mark.parametrize(("environment", "attack"), list(_cases()))
def test_attack_does_not_work(environment: Environment, attack: Attack) -> None:
    checker = _checkers.setdefault(environment.name, Checker(environment))
    outcome = {} if checker.unavailable else checker.check(attack.name)
    if checker.unavailable:
        unavailable(f"{environment.name}: {checker.unavailable}")
    if outcome["state"] == _check.UNTRIED:
        pytest.skip(outcome["detail"])
    assert outcome["state"] == _check.HELD, f"{attack.tries}: {outcome['detail']}"
