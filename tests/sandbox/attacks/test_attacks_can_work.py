"""The other half of the proof: outside our sandbox the attacks do work, and honest programs pass the same tests.

An attack that no judge falls for and that no kernel answers would pass `test_corpus.py` against anything.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from acesandbox import _check
from acesandbox._check import prelude
from acesandbox._check.lures import Lures
from acesandbox._check.records import Escape, Forgery, Form, fill, fresh
from tests.conftest import unavailable

from . import environments, plain

_FORGERIES = [attack for attack in _check.ALL if isinstance(attack, Forgery)]
_FORMS: dict[str, Form] = {form.name: form for attack in _FORGERIES for form in attack.forms}

# Harmless without a jail, and sure to get through in one of their trials on any Linux machine.
_FREE_TO_WORK = (
    "descriptors_at_birth",
    "foreign_abi_int80",
    "host_files",
    "host_ipc",
    "identity",
    "listen",
    "memfd_and_fexecve",
    "multiprocessing",
    "network_lures",
    "new_processes",
    "other_processes_reachable",
    "other_processes_visible",
    "sockets_of_every_family",
    "watch_files",
)


def test_names_are_unique() -> None:
    names = [attack.name for attack in _check.ALL]
    assert len(set(names)) == len(names)


def test_every_form_has_one_meaning() -> None:
    """Honest programs are tried once per name of a form."""
    for attack in _FORGERIES:
        for form in attack.forms:
            assert _FORMS[form.name] == form, form.name


def test_every_forgery_names_its_victim_or_says_why_there_is_none() -> None:
    for attack in _FORGERIES:
        assert bool(attack.fools) != bool(attack.not_plain), attack.name
        assert set(attack.fools) <= set(plain.JUDGES), attack.name


def test_choose_knows_names_and_families_only() -> None:
    assert [attack.name for attack in _check.choose(["os_exit"])] == ["os_exit"]
    assert {attack.family for attack in _check.choose(["kernel"])} == {"kernel"}
    with pytest.raises(ValueError, match="nonsense"):
        _check.choose(["nonsense"])


def _victims() -> Iterator[pytest.param]:
    for attack in _FORGERIES:
        for judge in attack.fools:
            yield pytest.param(attack, judge, id=f"{attack.name}-{judge}")


@pytest.mark.parametrize(("attack", "judge"), list(_victims()))
def test_a_plain_judge_is_fooled(attack: Forgery, judge: str) -> None:
    def falls(form: Form) -> bool:
        return plain.fooled(judge, attack.program, form, fresh(form.secrets))

    assert any(falls(form) for form in attack.forms if plain.knows(judge, form))


@pytest.mark.parametrize("form", list(_FORMS.values()), ids=list(_FORMS))
def test_an_honest_program_passes_every_plain_judge_and_a_wrong_one_none(form: Form) -> None:
    values = fresh(form.secrets)
    wrong = "print('wrong')\n" if form.kind == "stdio" else "def f(x):\n    return 'wrong'\n"
    for judge in plain.JUDGES:
        if plain.knows(judge, form):
            assert plain.fooled(judge, fill(form.honest, values), form, values), judge
            assert not plain.fooled(judge, wrong, form, values), judge


def test_a_process_group_without_a_number_is_not_the_attackers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # what getpgrp says where the leader is in an outer pid namespace, as for a process that was put into a container
    monkeypatch.setattr(os, "getpgrp", lambda: 0)
    with Lures() as lures:
        assert lures.values["group"] == os.getpid()


@pytest.mark.parametrize("name", _FREE_TO_WORK)
def test_an_escape_works_where_there_is_no_jail(name: str, tmp_path: Path) -> None:
    (attack,) = _check.choose([name])
    assert isinstance(attack, Escape)
    uid = environments.ORDINARY_UID if os.getuid() == 0 else os.getuid()
    python = environments._python_for(uid)
    if not python:
        unavailable(f"no interpreter that uid {uid} could run")
    with Lures() as lures:
        text = prelude.whole_text(attack.program, "script", lures.values)
        user = {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 else {}
        left_open = os.open("/", os.O_RDONLY)
        try:
            done = subprocess.run(
                [python, "-S", "-"],
                input=text.encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                pass_fds=(left_open,),
                timeout=60,
                **user,  # type: ignore[call-overload]
            )
        finally:
            os.close(left_open)
    reports = prelude.reports(done.stdout.decode("utf-8", "replace"))
    kinds = {kind for kind, _, _ in reports}
    assert "ESCAPED" in kinds, done.stdout[-1000:]
    assert "fault" not in kinds, reports
