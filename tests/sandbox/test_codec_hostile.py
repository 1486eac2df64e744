"""The decoder against bytes that no encoder writes: `CodecError` or a value, soon and in little room."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acesandbox.guest import codec
from tests.sandbox import codec_values as v

P = 2**61 - 1  # hash(n) == n % P


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


def integer(n: int) -> bytes:
    return codec.encode(n)


def sized(tag: bytes, *items: bytes) -> bytes:
    return tag + u32(len(items) // (2 if tag == b"{" else 1)) + b"".join(items)


def text(value: str) -> bytes:
    return codec.encode(value)


def doubling(levels: int, tag: bytes = b"(", outside: int = 0) -> bytes:
    """A container that holds another twice, which holds another twice, and so on: 2**levels leaves when walked.

    Containers are numbered from the outermost, of which `outside` begin before these.
    """
    data = b"N"
    for level in range(levels, 0, -1):
        inner = b"@" + u32(outside + level) if level < levels else b"N"
        data = tag + u32(2) + data + inner
    return data


def same_hash_ints(count: int) -> list[bytes]:
    return [integer(P * (i + 2)) for i in range(count)]


def same_hash_tuples(count: int) -> list[bytes]:
    """Pairs whose hashes are equal because those of their parts are."""
    return [sized(b"(", integer(P * i), integer(0)) for i in range(2, count + 2)]


def made(kind: str, argument: bytes) -> bytes:
    return b"M" + kind.encode() + argument


BOMBS: dict[str, Callable[[], bytes]] = {
    "ints of one hash in a set": lambda: sized(b"<", *same_hash_ints(400_000)),
    "ints of one hash in a frozenset": lambda: sized(b">", *same_hash_ints(400_000)),
    "ints of one hash as keys": lambda: sized(b"{", *[p for i in same_hash_ints(300_000) for p in (i, b"N")]),
    "tuples of one hash in a set": lambda: sized(b"<", *same_hash_tuples(300_000)),
    "many small sets of one hash": lambda: sized(b"[", *[sized(b"<", *same_hash_ints(2000))] * 300),
    "a counter of one hash": lambda: made(
        "C", sized(b"{", *[p for i in same_hash_ints(200_000) for p in (i, b"N")])
    ),
    "keys of a dict view": lambda: made(
        "k", sized(b"{", *[p for i in same_hash_ints(200_000) for p in (i, b"N")])
    ),
    "one long tuple as a key of many sets": lambda: sized(
        b"[", sized(b"(", *[b"N"] * 1_000_000), *[sized(b"<", b"@" + u32(1))] * 500_000
    ),
    "one long text as a part of many keys": lambda: sized(
        b"[", sized(b"(", b"s" + u32(1_000_000) + b"a" * 1_000_000), *[sized(b"<", b"@" + u32(1))] * 500_000
    ),
    "doubling tuples": lambda: doubling(60),
    "doubling tuples as a key": lambda: sized(b"<", doubling(60, outside=1)),
    "doubling lists": lambda: doubling(60, b"["),
    "doubling, allowed": lambda: doubling(22),
    "a deep list": lambda: b"[\1\0\0\0" * 1_000_000 + b"N",
    "a deep tuple": lambda: b"(\1\0\0\0" * 1_000_000 + b"N",
    "deep slices": lambda: b":" * 3_000_000,
    "deep constructors": lambda: b"Md" * 3_000_000,
    "empty sets": lambda: sized(b"[", *[sized(b"<")] * 3_000_000),
    "empty dicts": lambda: sized(b"[", *[sized(b"{")] * 3_000_000),
    "empty lists": lambda: sized(b"[", *[sized(b"[")] * 3_000_000),
    "empty deques": lambda: sized(b"[", *[made("Q", sized(b"(", b"N", sized(b"[")))] * 1_000_000),
    "empty bytearrays": lambda: sized(b"[", *[b"B" + u32(0)] * 3_000_000),
    "tokens": lambda: sized(b"[", *[b"O" + u32(i) + u32(0) * 2 for i in range(400_000)]),
    "a wide text": lambda: b"s" + u32(15_000_003) + b"a" * 15_000_000 + "€".encode(),
    "nothing, often": lambda: sized(b"[", *[b"N"] * 15_000_000),
    "a count without items": lambda: b"[" + u32(2**32 - 1),
    "a count of pairs without items": lambda: b"{" + u32(2**32 - 1) + b"N" * 100,
    "a text without bytes": lambda: b"s" + u32(2**32 - 1) + b"a",
    "a large int": lambda: b"I" + u32(16_000_000) + b"\x7f" * 16_000_000,
    "large ints as keys": lambda: sized(
        b"<", *[b"I" + u32(50_000) + b"\x7f" * 49_996 + u32(i | 1 << 30) for i in range(300)]
    ),
    "fractions of large numbers": lambda: sized(
        b"[",
        *[made("f", sized(b"(", b"I" + u32(2000) + b"\x55" * 2000, b"I" + u32(2000) + b"\x35" * 2000))]
        * 3000,
    ),
    "fractions as large as they may be": lambda: sized(
        b"[",
        *[made("f", sized(b"(", b"I" + u32(1000) + b"\x55" * 1000, b"I" + u32(1000) + b"\x35" * 1000))]
        * 3000,
    ),
    "a decimal of many digits": lambda: made("d", text("9" * 15_000_000)),
    "decimals of many digits": lambda: sized(b"[", *[made("d", text("9" * 9_000))] * 1500),
    "a decimal with a large exponent": lambda: made("d", text("1E+999999999")),
    "decimals with large exponents as keys": lambda: sized(
        b"<", *[made("d", text(f"{i}E+99999")) for i in range(1, 20_000)]
    ),
    "sNaN as a key": lambda: sized(b"<", made("d", text("sNaN"))),
    "a long range": lambda: b"r" + integer(0) + integer(10**30) + integer(1),
    "namedtuples of many types": lambda: sized(
        b"[",
        *[
            made("n", sized(b"(", text(f"T{i}"), sized(b"(", text("a")), sized(b"(", b"N")))
            for i in range(10_000)
        ],
    ),
    "a namedtuple of many fields": lambda: made(
        "n",
        sized(
            b"(",
            text("T"),
            sized(b"(", *[text(f"f{i}") for i in range(200_000)]),
            sized(b"(", *[b"N"] * 200_000),
        ),
    ),
    "an array of a large shape": lambda: b"n" + u32(3) + b"<f8" + u32(3) + u32(2**32 - 1) * 3 + u32(0),
    "an array of empty texts": lambda: b"n" + u32(3) + b"<U0" + u32(2) + u32(2**31) * 2 + u32(0),
    "an array of large texts": lambda: b"n" + u32(9) + b"<U9999999" + u32(1) + u32(0) + u32(0),
}


# What a judge may spend on one value of 16 MiB, generously: the machine may be busy, and CPU time is what counts.
CPU_SECONDS = 20
MEMORY = 2 << 30
SANITIZED = os.environ.get("ACE_SANITIZED") == "1"  # then address space is used by the terabyte


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(name: str) -> None:
    """In a process of its own with hard limits; the value, if there is one, can be compared and hashed as well."""
    script = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_CPU, ({CPU_SECONDS}, {CPU_SECONDS}))\n"
        "data = sys.stdin.buffer.read()\n"
        "import acesandbox.guest.codec as codec\n"
        f"if not {SANITIZED}: resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        "codec.shown(data)\n"
        "try:\n"
        "    value = codec.decode_value(data)\n"
        "except codec.CodecError as error:\n"
        "    print('refused:', error)\n"
        "else:\n"
        "    print('a value')\n"
        "    value == [1], value == 1\n"
        "    try: bool(value), hash(value)\n"
        "    except (TypeError, ValueError): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=BOMBS[name](), capture_output=True, timeout=250
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    assert done.stdout.startswith((b"refused:", b"a value"))


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "an unknown tag": b"Z",
    "bytes behind the value": b"NN",
    "a cut int": b"i\0\0\0",
    "a cut float": b"d\0",
    "a cut complex": b"c" + bytes(15),
    "a cut count": b"[\1\0",
    "a cut text": b"s" + u32(3) + b"ab",
    "a missing item": sized(b"[", b"N")[:-1],
    "a missing value of a dict": b"{" + u32(1) + b"N",
    "a list in a set": sized(b"<", sized(b"[")),
    "a list in a frozenset": sized(b">", sized(b"[")),
    "a list as a key": sized(b"{", sized(b"["), b"N"),
    "a list in a tuple as a key": sized(b"{", sized(b"(", sized(b"[")), b"N"),
    "a slice as a key": sized(b"{", b":NNN", b"N") if sys.version_info < (3, 12) else b"",
    "a key twice": sized(b"{", b"N", b"N", b"N", b"N"),
    "a member twice": sized(b"<", integer(1), b"T"),
    "bad UTF-8": b"s" + u32(2) + b"\xff\xfe",
    "a reference to nothing": b"@" + u32(0),
    "a reference ahead": sized(b"[", b"@" + u32(1), sized(b"[")),
    "a tuple in itself": sized(b"(", b"@" + u32(0)),
    "a tuple in itself, and an item that is not counted": sized(b"(", b"@" + u32(0)) + b"N",
    "a frozenset in itself": sized(b">", b"@" + u32(0)),
    "a set in itself": sized(b"<", b"@" + u32(0)),
    "a dict as its own key": sized(b"{", b"@" + u32(0), b"N"),
    "a fraction in itself": b"Mf" + b"@" + u32(0),
    "a small int in the long form": b"I" + u32(1) + b"\1",
    "a long int with a byte too many": b"I" + u32(10) + bytes(8) + b"\1\0",
    "a negative long int with a byte too many": b"I" + u32(10) + b"\0" * 8 + b"\x80\xff",
    "an empty long int": b"I" + u32(0),
    "a range of texts": b"r" + text("a") * 3,
    "a range of step zero": b"r" + integer(0) * 3,
    "an unknown kind": b"M\0N",
    "an unknown kind in upper case": b"MZN",
    "a decimal of no number": made("d", text("abc")),
    "a decimal with spaces": made("d", text(" 1")),
    "a decimal in other digits": made("d", text("١")),
    "a decimal of an int": made("d", integer(1)),
    "a decimal with too large an exponent": made("d", text("1E+200000")),
    "a decimal with too small an exponent": made("d", text("1E-200000")),
    "a fraction over zero": made("f", sized(b"(", integer(1), integer(0))),
    "a fraction of truths": made("f", sized(b"(", b"T", b"T")),
    "a date of month 13": made("y", sized(b"(", integer(2020), integer(13), integer(1))),
    "a date of floats": made("y", sized(b"(", *[codec.encode(1.0)] * 3)),
    "a datetime with a zone that is none": made("m", sized(b"(", *[integer(1)] * 8, integer(1))),
    "a timedelta that overflows": made("l", sized(b"(", *[integer(10**12)] * 3)),
    "a time zone of two days": made(
        "z", sized(b"(", made("l", sized(b"(", integer(2), integer(0), integer(0))))
    ),
    "a time zone named by a path": made("o", text("../../etc/passwd")),
    "a time zone of an int": made("o", integer(1)),
    "a namedtuple with a field twice": made(
        "n", sized(b"(", text("T"), sized(b"(", text("a"), text("a")), sized(b"(", b"N", b"N"))
    ),
    "a namedtuple with a hidden field": made(
        "n", sized(b"(", text("T"), sized(b"(", text("__eq__")), sized(b"(", b"N"))
    ),
    "a namedtuple with a keyword": made(
        "n", sized(b"(", text("T"), sized(b"(", text("class")), sized(b"(", b"N"))
    ),
    "a namedtuple with code for a name": made("n", sized(b"(", text("T(x)"), sized(b"("), sized(b"("))),
    "a namedtuple that lacks a value": made("n", sized(b"(", text("T"), sized(b"(", text("a")), sized(b"("))),
    "an enum of a list": made("e", sized(b"(", text("T"), text("A"), sized(b"["))),
    "a type that is not carried": made("t", text("type")),
    "a type by a dunder": made("t", text("__import__")),
    "an exception that ends processes": made("x", sized(b"(", text("SystemExit"), sized(b"("))),
    "an exception that is a type": made("x", sized(b"(", text("int"), sized(b"("))),
    "an exception with wrong arguments": made("x", sized(b"(", text("UnicodeDecodeError"), sized(b"("))),
    "a counter of a list": made("C", sized(b"[")),
    "a defaultdict of eval": made("F", sized(b"(", text("eval"), sized(b"{"))),
    "a deque of negative length": made("Q", sized(b"(", integer(-1), sized(b"["))),
    "a deque of a text": made("Q", sized(b"(", b"N", text("ab"))),
    "an array of objects": b"n" + u32(2) + b"|O" + u32(1) + u32(1) + u32(8) + bytes(8),
    "an array of records": b"n" + u32(5) + b"f8,i4" + u32(1) + u32(1) + u32(12) + bytes(12),
    "an array of void": b"n" + u32(3) + b"|V8" + u32(1) + u32(1) + u32(8) + bytes(8),
    "an array with too few bytes": b"n" + u32(3) + b"<f8" + u32(1) + u32(2) + u32(8) + bytes(8),
    "an array of too many dimensions": b"n" + u32(3) + b"<f8" + u32(33) + u32(1) * 33 + u32(8) + bytes(8),
    "an array of code points that are none": b"n" + u32(3) + b"<U1" + u32(1) + u32(1) + u32(4) + b"\xff" * 4,
    "a scalar of two": b"n" + u32(3) + b"<f8" + u32(2**32 - 1) + u32(16) + bytes(16),
    "a token with a long name": b"O" + u32(0) + u32(5000) + b"a" * 5000 + u32(0),
    "a token with a long text": b"O" + u32(0) + u32(0) + u32(5000) + b"a" * 5000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_bytes_that_are_no_value_are_refused(name: str) -> None:
    with pytest.raises(codec.CodecError):
        codec.decode_value(MALFORMED[name])


def test_limits_are_limits() -> None:
    assert codec.decode_value(codec.encode([[[]]]), codec.Limits(depth=3)) == [[[]]]
    refused = (
        (codec.encode([[[]]]), codec.Limits(depth=2), "deeper than 2"),
        (codec.encode([1] * 1000), codec.Limits(memory=10_000), "memory"),
        (codec.encode("a" * 10_000), codec.Limits(memory=10_000), "memory"),
        (codec.encode([[0] * 50] * 50), codec.Limits(work=2000), "too often"),
        (codec.encode({(i, "a"): 1 for i in range(100)}), codec.Limits(work=200), "compare"),
    )
    for data, limits, message in refused:
        codec.decode_value(data)
        with pytest.raises(codec.CodecError, match=message):
            codec.decode_value(data, limits)
    assert codec.decode_value(codec.encode(range(10)), codec.Limits(items=10)) == range(10)
    assert isinstance(codec.decode_value(codec.encode(range(11)), codec.Limits(items=10)), codec.Opaque)


def test_honest_values_pass_the_default_limits() -> None:
    for value in (
        *(
            list(range(300_000)),
            {i: str(i) for i in range(100_000)},
            {(i, j) for i in range(300) for j in range(300)},
        ),
        *(
            ["ab" * 10] * 200_000,
            "x" * 15_000_000,
            [[0] * 100] * 10_000,
            {2.0**i for i in range(-1000, 1000)},
        ),
        [True, None] * 1_000_000,
    ):
        assert codec.decode_value(codec.encode(value)) == value


def test_a_tokens_text_is_printable() -> None:
    name, says = b"T\x1b[2J", b"\x1b[31mred\n\x00"
    token = codec.decode_value(b"O" + u32(0) + u32(len(name)) + name + u32(len(says)) + says)
    assert repr(token).isprintable()
    assert repr(codec.decode_value(b"O" + u32(0) + u32(len(name)) + name + u32(0))).isprintable()


def test_forged_tokens_are_equal_to_nothing() -> None:
    forged = [codec.decode_value(b"O" + u32(n) + u32(3) + b"int" + u32(1) + b"5") for n in (0, 0, 2**32 - 1)]
    assert forged[0] != forged[1] and all(token != 5 and token != 5 and token != "5" for token in forged)


@given(st.binary(max_size=80))
def test_random_bytes_are_refused_or_are_a_value(data: bytes) -> None:
    check(data)


@given(v.values, st.data())
def test_damaged_values_are_refused_or_are_a_value(value: Any, draw: Any) -> None:
    data = bytearray(codec.encode(value))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at : at + draw.draw(st.integers(0, 3))] = draw.draw(
            st.binary(max_size=3) | st.sampled_from(TAGS)
        )
        if not data:
            return
    check(bytes(data))


TAGS = [bytes([tag]) for tag in b"NTF.iIdcsbB[({<>r:@MnO"]


def test_generated_bytes_are_refused_or_are_a_value() -> None:
    """Bytes in the shape of the grammar reach deeper than random ones; a fixed seed, for ten seconds at most."""
    draw = random.Random(1)
    until = time.monotonic() + 10
    accepted = 0
    for _ in range(20_000):
        accepted += check(grammatical(draw, 0))
        if time.monotonic() > until:
            break
    assert accepted > 100


def grammatical(draw: random.Random, depth: int) -> bytes:
    """Bytes like a value's; lengths are right, references, arguments and keys are what they happen to be."""
    tag = draw.choice(b"NTF.iIdcsbB" if depth > 5 else b"NTi@@sbB[[(({{<<>>r:MMMMMMnO")
    inner = lambda: grammatical(draw, depth + 1)
    few = draw.randrange(4)
    if tag in b"NTF.":
        return bytes([tag])
    if tag in b"id":
        return bytes([tag]) + (
            struct.pack("<q", draw.choice([0, 1, -1, 2020, 12, P])) if tag == 105 else draw.randbytes(8)
        )
    if tag == ord("c"):
        return b"c" + draw.randbytes(16)
    if tag in b"IsbB":
        part = draw.choice([b"", b"a", b"x", b"int", b"list", b"1E5", b"KeyError", b"UTC", draw.randbytes(9)])
        return bytes([tag]) + u32(len(part)) + part
    if tag == ord("@"):
        return b"@" + u32(draw.randrange(6))
    if tag in b"[(<>{":
        return bytes([tag]) + u32(few) + b"".join(inner() for _ in range(few * (2 if tag == ord("{") else 1)))
    if tag in b"r:":
        return bytes([tag]) + b"".join(draw.choice([integer(few), b"N", inner()]) for _ in range(3))
    if tag == ord("M"):
        kind = draw.choice("dfyhmlzonetxkvwiaCOFQZ")
        return made(kind, draw.choice([inner, lambda: sized(b"(", *[inner() for _ in range(few)])])())
    if tag == ord("n"):
        dtype = draw.choice([b"<f8", b"|b1", b"<U2", b"|S3", b"<M8[D]", b"|O", b"<U0"])
        part = draw.choice([b"", bytes(8), bytes(24), draw.randbytes(8)])
        dimensions = draw.choice([2**32 - 1, 0, 1, 2])
        shape = (
            b"" if dimensions > 2 else b"".join(u32(draw.choice([0, 1, 3, 2**31])) for _ in range(dimensions))
        )
        return b"n" + u32(len(dtype)) + dtype + u32(dimensions) + shape + u32(len(part)) + part
    return b"O" + u32(few) + u32(1) + b"T" + u32(0)


def check(data: bytes) -> bool:
    """True if these bytes were a value; then both encoders write it the same way, and it can be read again."""
    assert len(codec.shown(data, 100)) <= 100
    try:
        value = codec.decode_value(data)
    except codec.CodecError:
        return False
    repr(value)[:0]
    again = codec.encode(value)
    if b"Mi" not in data:  # encoding an iterator uses it up
        assert codec.encode_in_python(value)[0] == again
    codec.decode_value(again)
    return True
