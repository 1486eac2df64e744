"""Comparing output: nothing missing, nothing extra, and every leniency asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.pretend import guest

guest()
from acesandbox.guest.stdio import Expected  # noqa: E402


def same(output: bytes, expected: str, **options: Any) -> bool:
    return Expected(expected, options).difference(output) is None


@pytest.mark.parametrize("output", [b"1\n2\n", b"1\n2", b"1  \n2\t\r\n\n\n"])
def test_lines_forgive_white_space_at_ends(output: bytes) -> None:
    assert same(output, "1\n2\n")


@pytest.mark.parametrize(
    "output", [b"1\n", b"1\n2\n3\n", b"1 2", b"\n1\n2", b" 1\n2", b"1\n\n2", b"", b"2\n1"]
)
def test_lines_forgive_nothing_else(output: bytes) -> None:
    assert not same(output, "1\n2\n")


def test_exact_means_every_byte() -> None:
    assert same(b"1\n", "1\n", mode="exact")
    assert not same(b"1", "1\n", mode="exact")
    assert not same(b"1 \n", "1\n", mode="exact")


def test_tokens_are_compared_word_by_word() -> None:
    assert same(b"1   2\n3", "1\n2 3\n", mode="tokens")
    assert not same(b"1 2", "1 2 3", mode="tokens")
    assert not same(b"12 3", "1 2 3", mode="tokens")


def test_a_tolerance_is_for_numbers_and_only_if_asked_for() -> None:
    assert not same(b"0.30000000000000004", "0.3")
    assert same(b"0.30000000000000004 a", "0.3 a", float_tolerance=1e-9)
    assert same(b"1000001", "1000000", float_tolerance=1e-5)
    assert not same(b"0.31", "0.3", float_tolerance=1e-3)
    assert not same(b"0.3 b", "0.3 a", float_tolerance=1.0)
    assert not same(b"nan", "1.0", float_tolerance=0.5)
    assert not same(b"inf", "1.0", float_tolerance=0.5)
    assert not same(b"1e999", "1.0", float_tolerance=0.5)


def test_the_difference_says_where() -> None:
    assert "line 2" in str(Expected("1\n2\n", {}).difference(b"1\n3\n"))
    assert "3 lines" in str(Expected("1\n2\n", {}).difference(b"1\n2\n3\n"))


def test_output_that_is_not_text_is_only_different() -> None:
    assert not same(b"\xff\xfe\x00", "1")
    assert Expected("1", {}).difference(b"\xff" * 10_000) is not None


def test_an_unknown_way_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown way"):
        Expected("1", {"mode": "loosely"})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"  1 2\n\t3 \n\n", "1 2\n3\n"),
        (b"\n\nyes\n", "yes"),
        (b"1.0 2\n", "1 2.000"),
        (b"1e3\n", "1000"),
        (b"-0\n", "0"),
        (b"1  2\n", "1 2"),
        (b"", "\n"),
    ],
)
def test_decimal_lines_forgive_outer_white_space_and_ways_to_write_a_number(
    output: bytes, expected: str
) -> None:
    assert same(output, expected, mode="decimal_lines")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"50000000000000001\n", "50000000000000000"),
        (b"0.1000000000000000000000001\n", "0.1"),
        (b"a  b\n", "a b"),
        (b"case 1: 2.0\n", "case 1: 2"),
        (b"1\n\n2\n", "1\n2"),
        (b"1 2\n", "1\n2"),
        (b"nan\n", "NaN"),
        (b"1_000\n", "1000"),
        (b"1\n", "1\n2"),
        (b"1e9999\n", "1e9998"),
    ],
)
def test_decimal_lines_forgive_nothing_else(output: bytes, expected: str) -> None:
    assert not same(output, expected, mode="decimal_lines")
