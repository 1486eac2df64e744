"""The public names, and the values that jobs are made of: limits and tests."""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import acesandbox
from acesandbox import (
    Asserts,
    BadInput,
    CheckScript,
    Functional,
    IsolationUnavailable,
    Limits,
    Sandbox,
    SandboxError,
    Status,
    Stdio,
    UnitTests,
    Verdict,
    WorkerDied,
)
from acesandbox._cli import LIMIT_HELP
from acesandbox._limits import _BOUNDS
from acesandbox._status import STATUSES
from acesandbox._tests import MAX_TEXT_BYTES, Tests, literal
from acesandbox._verdict import UnitInfo
from acesandbox._wire import FrameReader, config_frame, frame

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_public_names_are_the_listed_ones() -> None:
    public = {name for name in vars(acesandbox) if not name.startswith("_")}
    assert public - {"guest"} == set(
        acesandbox.__all__
    )  # a submodule shows up once something has imported it
    assert sorted(acesandbox.__all__) == [
        "Asserts",
        "BadInput",
        "CheckScript",
        "Closed",
        "Functional",
        "IsolationUnavailable",
        "Limits",
        "ProtocolError",
        "RunResult",
        "Sandbox",
        "SandboxError",
        "Status",
        "Stdio",
        "TestResult",
        "UnitTests",
        "Unsealed",
        "Verdict",
        "WorkerDied",
    ]


def test_our_fault_is_a_sandbox_error_and_the_callers_is_not() -> None:
    for name in ("Closed", "IsolationUnavailable", "ProtocolError", "Unsealed", "WorkerDied"):
        assert issubclass(getattr(acesandbox, name), SandboxError)
    assert not issubclass(BadInput, SandboxError)
    assert issubclass(BadInput, ValueError)


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(IsolationUnavailable("no namespaces", ["set the sysctl"])))
    assert (error.reason, error.remedies) == ("no namespaces", ("set the sysctl",))
    assert str(error) == "no namespaces\n  remedy: set the sysctl"
    assert str(pickle.loads(pickle.dumps(WorkerDied("gone")))) == "gone"


def test_status_codes_are_those_of_the_protocol() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    start = text.index("0 passed, 1 failed")
    words = text[start : text.index(".", start)].replace("\n", " ").split(",")
    assert [word.split() for word in words] == [
        [str(code), status.value] for code, status in enumerate(STATUSES)
    ]


# Limits


def test_limits_defaults_are_within_their_own_bounds_and_documented() -> None:
    limits = Limits()
    assert set(limits.to_dict()) == set(_BOUNDS) == set(LIMIT_HELP) == set(Limits.__slots__)
    for name in _BOUNDS:
        assert f"{name}:" in (Limits.__doc__ or "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpu_s": "1"}, "cpu_s must be a number, not str: '1'"),
        ({"cpu_s": True}, "cpu_s must be a number, not bool"),
        ({"cpu_s": -1}, "cpu_s=-1 is out of range: it is in seconds, from 0.001 to 86400"),
        ({"cpu_s": float("nan")}, "cpu_s=nan is out of range"),
        ({"wall_s": float("inf")}, "wall_s=inf is out of range"),
        ({"memory_mb": 1.5}, "memory_mb must be a whole number, not float: 1.5"),
        ({"memory_mb": 1}, "memory_mb=1 is out of range: it is in megabytes, from 16"),
        ({"cpu_s": 0.005}, "quantum_s=0.01 is longer than cpu_s=0.005"),
    ],
)
def test_bad_limit_is_refused_with_its_name_and_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        Limits(**given)
    assert message in str(caught.value)


def test_limits_are_values() -> None:
    limits = Limits(cpu_s=3)
    assert limits == Limits().replace(cpu_s=3.0)
    assert limits != Limits()
    assert hash(limits) == hash(Limits(cpu_s=3.0))
    assert pickle.loads(pickle.dumps(limits)) == limits
    assert eval(repr(limits)) == limits
    with pytest.raises(AttributeError):
        limits.cpu_s = 4
    with pytest.raises(BadInput, match="no limit called 'cpu'"):
        limits.replace(cpu=3)


def test_limits_follow_a_reference() -> None:
    assert Limits.from_reference(0.05, factor=20).cpu_s == pytest.approx(1.0)
    assert Limits.from_reference(0.0001).cpu_s == 0.1
    assert Limits.from_reference(0.0001, floor_s=0.01).quantum_s == 0.01
    assert Limits.from_reference(1, memory_mb=64).memory_mb == 64
    with pytest.raises(BadInput):
        Limits.from_reference(-1)


# Tests

KINDS = [
    Asserts(["assert f(1) == 2", "assert f(2) == 3"], entry_point="f", prompt="import math"),
    CheckScript("def check(candidate): pass", "f"),
    UnitTests("import unittest", entry_point="f"),
    Stdio([("1\n", "2\n")], compare="tokens", float_tolerance=1e-6),
    Functional([((1, [2]), {"a": {1}})], "f"),
]


@pytest.mark.parametrize("tests", KINDS, ids=lambda tests: tests.kind)
def test_kinds_of_tests_are_values(tests: Tests) -> None:
    again = pickle.loads(pickle.dumps(tests))
    assert again == tests
    assert hash(again) == hash(tests)
    assert again._problem() == tests._problem()
    assert all(other == tests or other != again for other in KINDS)
    assert len(tests._texts()) == len(tests)
    with pytest.raises(AttributeError, match="immutable"):
        tests.kind = "other"


def test_problem_is_what_the_protocol_says() -> None:
    problem = json.loads(KINDS[0]._problem())
    assert problem == {
        "kind": "asserts",
        "tests": ["assert f(1) == 2", "assert f(2) == 3"],
        "entry_point": "f",
        "prompt": "import math",
    }
    stdio = json.loads(KINDS[3]._problem())
    assert stdio["tests"] == [["1\n", "2\n"]]
    assert stdio["compare"] == {"mode": "tokens", "float_tolerance": 1e-6}
    functional = json.loads(KINDS[4]._problem())
    assert functional["entry_point"] == "f"
    assert [ast.literal_eval(text) for text in functional["tests"][0]] == [(1, [2]), {"a": {1}}]


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda text: Asserts([text] * 8), r"tests\[4\]"),
        (lambda text: Stdio([(text, text)] * 4), r"the input of cases\[2\]"),
        (lambda text: Functional([((text,), 1)] * 8, "f"), r"the arguments of cases\[4\]"),
    ],
)
def test_tests_that_are_too_long_together_are_refused_at_once(
    make: Callable[[str], Tests], where: str
) -> None:
    """Each is short enough; together they are more than the judge may answer with."""
    with pytest.raises(BadInput, match=where + "; the limit for all tests of one problem is 50,331,648"):
        make("x" * (11 << 20))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Asserts("assert f(1) == 2"),  # type: ignore[arg-type]
        lambda: Asserts([]),
        lambda: Asserts([1]),  # type: ignore[list-item]
        lambda: Asserts(["x" * (MAX_TEXT_BYTES + 1)]),
        lambda: Asserts(["pass"], entry_point=3),  # type: ignore[arg-type]
        lambda: CheckScript(" \n"),
        lambda: CheckScript(None),  # type: ignore[arg-type]
        lambda: UnitTests(""),
        lambda: Stdio([]),
        lambda: Stdio([("a",)]),  # type: ignore[list-item]
        lambda: Stdio([("a", b"b")]),  # type: ignore[list-item]
        lambda: Stdio([("a", "b")], compare="fuzzy"),
        lambda: Stdio([("a", "b")], float_tolerance=-1),
        lambda: Functional([], "f"),
        lambda: Functional([((1,), 2)], "not a name"),
        lambda: Functional([(1, 2)], "f"),  # type: ignore[list-item]
        lambda: Functional([((object(),), 2)], "f"),
        lambda: Functional([((float("nan"),), 2)], "f"),
    ],
)
def test_bad_tests_are_refused(make: Any) -> None:
    with pytest.raises(BadInput):
        make()


@pytest.mark.parametrize(
    "value",
    [
        None,
        -5,
        -(2**256),
        1.5,
        -0.0,
        float("-inf"),
        "a'\"\n\ud800",
        b"\xff\0",
        (),
        (1,),
        [[], {}],
        {1: {"k": (2, set())}},
        {3, 1, 2},
        True,
    ],
)
def test_literal_reads_back_as_the_same_value(value: Any) -> None:
    again = ast.literal_eval(literal(value, "it"))
    assert again == value
    assert repr(type(again)) == repr(type(value))


# Arguments of Sandbox


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, "workers must be"),
        ({"workers": True}, "workers must be"),
        ({"limits": {"cpu_s": 1}}, "limits must be Limits"),
        ({"isolation": "docker"}, "namespaces, seccomp, best, none"),
        ({"unsealed": "maybe"}, "allow, fail, error"),
        ({"preload": "numpy"}, r"\['numpy'\]"),
        ({"preload": ["os; import sys"]}, "module names"),
    ],
)
def test_bad_argument_is_refused_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Sandbox(**given)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a//b", "a/../b", "a\0b", "./a"])
def test_file_may_not_leave_its_directory(path: str) -> None:
    from acesandbox._sandbox import _relative_path

    with pytest.raises(BadInput, match="stay inside the directory"):
        _relative_path(path)


def test_sandbox_is_pickled_by_configuration() -> None:
    sandbox = Sandbox(3, Limits(cpu_s=2), "best", preload=["math"], fail_fast=True, unsealed="fail")
    again = pickle.loads(pickle.dumps(sandbox))
    assert again._options == sandbox._options
    assert again.workers == 3


# Frames


def test_frames_are_cut_wherever_the_stream_is_cut() -> None:
    frames = [(ord("V"), 0, 0, b"x" * 9), (ord("D"), 1, 2, b""), (ord("I"), 0, 65535, b"yz")]
    stream = b"".join(frame(chr(kind), payload, flags, index) for kind, flags, index, payload in frames)
    for step in range(1, len(stream) + 1):
        reader = FrameReader()
        found = [each for at in range(0, len(stream), step) for each in reader.feed(stream[at : at + step])]
        assert found == frames


def test_frame_beyond_the_bound_is_refused() -> None:
    with pytest.raises(acesandbox.ProtocolError):
        FrameReader().feed(b"\xff\xff\xff\xffV\0\0\0")


def test_configuration_cannot_be_smuggled() -> None:
    with pytest.raises(acesandbox.ProtocolError, match="NUL"):
        config_frame([("env", "A=1\0tier=none")])


def test_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"verdict\.passed"):
        bool(Verdict(b"", None, UnitInfo(b"{}"), "none"))


def test_statuses_are_strings() -> None:
    assert Status.PASSED == "passed"
    assert json.dumps(Status.CPU_TIMEOUT) == '"cpu_timeout"'


def test_literal_is_not_stopped_by_the_limit_on_digits() -> None:
    value = 10**5000
    assert ast.literal_eval(literal(value, "it")) == value
