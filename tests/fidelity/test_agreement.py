"""Per-test agreement with the plain judge on real programs, the share of sealed tests, and the publishers' labels.

The default run takes a sample of every file; `-m slow` takes all rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.fidelity.agreement import (
    MOMENT,
    UNEXPLAINED,
    WRONG_ONCE,
    Agreement,
    Difference,
    Row,
    classify,
    compare,
    labelled,
)
from tests.plain_judge import Outcome

Workload = Callable[..., list[Row]]

# File: every n-th row by default, least share of sealed tests.
FILES = {
    "mbpp_canonical": (4, 0.995),
    "mbppplus_base_asserts_canonical": (2, 0.995),
    "humaneval_canonical": (1, 0.995),
    "cruxeval_llm_functions": (4, 0.995),
    "codet_16asserts_programs": (25, 0.98),
    "ldb_humaneval_multimodel": (10, 0.995),
}
AGREEMENT = 0.9995


def check(found: Agreement, least_sealed: float) -> None:
    assert found.tests > 0
    not_excused = found.unexplained + found.wrong_once
    assert not_excused == [], "\n".join(map(str, not_excused[:20]))
    # In a sample one explained difference may weigh more than the bar; the bar is for whole files.
    assert found.share >= AGREEMENT or sum(map(len, found.differences.values())) <= 1, "\n".join(
        str(difference) for listed in found.differences.values() for difference in listed[:10]
    )
    assert found.sealed_share >= least_sealed, found.unsealed_because.most_common(10)


@pytest.mark.parametrize("name", FILES)
def test_a_sample_is_judged_as_a_plain_interpreter_would(name: str, workload: Workload) -> None:
    step, least_sealed = FILES[name]
    # The sample's own share may be a little under the file's.
    check(compare(name, workload(name, step=step)), least_sealed - 0.01)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FILES)
def test_every_row_is_judged_as_a_plain_interpreter_would(name: str, workload: Workload) -> None:
    check(compare(name, workload(name)), FILES[name][1])


@pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_the_publishers_labels_are_confirmed(step: int, workload: Workload) -> None:
    count, differing = labelled(workload("ldb_humaneval_multimodel", step=step))
    assert count > 0
    assert len(differing) <= 0.005 * count + 1, [
        (row["task_id"], row["model"], v.status) for row, v in differing
    ]


def check_references(found: Agreement) -> None:
    """A reference solution that passes in a plain interpreter, every time, passes here, every time."""
    assert found.agreed > 0
    refused = [
        difference
        for listed in found.differences.values()
        for difference in listed
        if difference in found.wrong_once or (difference.plain.passed and not difference.plain_varies)
    ]
    assert refused == [], "\n".join(map(str, refused))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_reference_solutions_that_need_only_the_standard_library_pass_their_unit_tests(
    workload: Workload,
) -> None:
    rows = [
        row
        for row in workload("bigcodebench_canonical")
        if all(name.partition(".")[0] in sys.stdlib_module_names for name in row["needs"])
    ]
    check_references(compare("bigcodebench_canonical", rows))


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_reference_classes_pass_their_unit_tests(step: int, workload: Workload) -> None:
    check_references(compare("classeval_canonical", workload("classeval_canonical", step=step)))


def difference(plain_again: tuple[bool, ...], ours_again: tuple[bool, ...]) -> Difference:
    row = {
        "program": "def f(): return 1",
        "tests": ["assert f() == 1"],
        "test_kind": "asserts",
        "task_id": "x",
    }
    return Difference(row, 0, Outcome("passed"), "failed", "", "plan", plain_again, ours_again)


def test_a_verdict_of_ours_that_does_not_repeat_is_not_excused() -> None:
    """Only a plain judge that contradicts itself says that a test depends on the moment."""
    assert classify(difference((True, True, True), (True, True, True))) == WRONG_ONCE
    assert classify(difference((True, True, True), (False, True, False))) == WRONG_ONCE
    assert classify(difference((True, False, True), (True, True, True))) == MOMENT
    assert classify(difference((True, True, True), (False, False, False))) == UNEXPLAINED
    found = Agreement("x", agreed=1, differences={WRONG_ONCE: [difference((True,) * 3, (True,) * 3)]})
    for refuses in (check_references, lambda agreement: check(agreement, 0.0)):
        with pytest.raises(AssertionError):
            refuses(found)
