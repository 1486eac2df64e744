"""Bytes that are cheap to make and would be dear to read: what each construct costs stays in proportion to its bytes.

A judge has two seconds of CPU time for the results of a program; one that spends more is killed and replaced, which
is safe and slow. So nothing of a few megabytes may take it there.
"""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest

from acesandbox import _verdict
from acesandbox.guest import codec, codec_kinds


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


def sized(tag: bytes, *items: bytes) -> bytes:
    return tag + u32(len(items)) + b"".join(items)


def text(value: str) -> bytes:
    return codec.encode(value)


def namedtuple(name: str, *fields: str) -> bytes:
    return b"Mn" + sized(
        b"(", text(name), sized(b"(", *map(text, fields)), sized(b"(", *[b"N"] * len(fields))
    )


def all_to_all(count: int) -> bytes:
    """So many lists, each of which holds all of them: there are more than `count!` ways through them."""

    def one(number: int) -> bytes:
        before = [b"@" + u32(k) for k in range(number + 1)]
        inside = [one(number + 1)] if number + 1 < count else []
        behind = [b"@" + u32(k) for k in range(number + 2, count)]
        return sized(b"[", *before, *inside, *behind)

    return one(0)


def cpu_seconds_of(data: bytes) -> float:
    start = time.process_time()
    try:
        codec.decode_value(data)
    except codec.CodecError:
        pass
    return time.process_time() - start


def refused(data: bytes) -> str:
    with pytest.raises(codec.CodecError) as caught:
        codec.decode_value(data)
    return str(caught.value)


def test_many_types_of_namedtuples_are_refused() -> None:
    assert "takes too long" in refused(sized(b"[", *[namedtuple(f"T{n}") for n in range(2000)]))
    fields = [f"field{n}" for n in range(200)]
    assert "takes too long" in refused(sized(b"[", *[namedtuple(f"T{n}", *fields) for n in range(100)]))


def test_many_namedtuples_of_few_types_are_not() -> None:
    few = [namedtuple(f"Honest{n % 50}", "x", "y") for n in range(5000)]
    assert len(codec.decode_value(sized(b"[", *few))) == 5000
    for _ in range(5):  # and the count begins anew with every value
        codec_kinds._named_types.clear()
        codec.decode_value(sized(b"[", *few))


def test_many_time_zones_that_do_not_exist_are_refused() -> None:
    assert "takes too long" in refused(sized(b"[", *[b"Mo" + text(f"Nowhere{n}") for n in range(1000)]))


@pytest.mark.parametrize("dtype", [b"<U0", b"|S0"])
def test_an_array_is_not_larger_than_its_bytes(dtype: bytes) -> None:
    assert "dtype" in refused(b"n" + u32(3) + dtype + u32(1) + u32(1_000_000) + u32(0))


def test_truth_values_of_arrays_are_true_or_false() -> None:
    numpy = pytest.importorskip("numpy")
    head = b"n" + u32(3) + b"|b1" + u32(1) + u32(2) + u32(2)
    assert (codec.decode_value(head + b"\0\1") == numpy.array([False, True])).all()
    assert "truth value" in refused(head + b"\2\1")


def test_many_small_parts_of_numpy_and_many_tokens_count_as_memory() -> None:
    array = b"n" + u32(3) + b"<f8" + u32(1) + u32(0) + u32(0)
    for part in (array, b"O" + u32(1) + u32(0) * 2):
        assert "memory" in refused(sized(b"[", *[part] * 600_000))


def test_a_range_of_very_large_numbers_is_not_measured() -> None:
    data = b"r" + b"".join(map(codec.encode, (0, 1 << 2_000_000, 1 << 1_000_000)))
    assert cpu_seconds_of(data) < 0.1
    assert isinstance(codec.decode_value(data), codec.Opaque)
    assert codec.decode_value(codec.encode(range(0, 2**70, 2**69))) == range(0, 2**70, 2**69)


def test_the_host_shows_any_value_at_once() -> None:
    doubling = b"N"
    for level in range(40, 0, -1):
        doubling = sized(b"(", doubling, b"@" + u32(level) if level < 40 else b"N")
    deep = b"[\1\0\0\0" * 800 + b"N"
    for data in (all_to_all(14), doubling, deep, b"I" + u32(4000) + b"\x7f" * 4000, b"Md" + text("1E+99999")):
        assert len(data) <= 4096
        start = time.process_time()
        message = _verdict._shown(data)
        assert time.process_time() - start < 0.2
        assert message.startswith("returned ") and len(message) <= 320


def test_the_host_shows_what_was_cut_as_far_as_it_goes() -> None:
    value: Any = ["abc", {"k": [1, 2.5]}, *range(1000)]
    whole = codec.encode(value)
    assert _verdict._shown(whole[:4096]).startswith("returned ['abc', {'k': [1, 2.5]}, 0, 1, 2")
    for end in range(200):
        assert _verdict._shown(whole[:end]).startswith("returned ")
