"""Iterators travel as what they have to give: a test of a generator is `assert list(f(x)) == [...]`."""

from __future__ import annotations

import array
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from acesandbox.guest import codec, codec_kinds
from tests.sandbox import pretend


def there_and_back(value: Any) -> Any:
    return codec.decode_value(codec.encode(value))


def test_every_built_in_iterator_arrives_with_its_items() -> None:
    for make in (
        *(
            lambda: (n for n in (1, 2)),
            lambda: map(int, "12"),
            lambda: filter(None, [1, 0, 2]),
            lambda: iter([1, 2]),
        ),
        *(
            lambda: iter((1, 2)),
            lambda: iter(range(1, 3)),
            lambda: reversed([2, 1]),
            lambda: iter({1: 3, 2: 4}),
        ),
        *(
            lambda: iter({1, 2}),
            lambda: iter(b"\1\2"),
            lambda: itertools.chain([1], [2]),
            lambda: iter({3: 1, 4: 2}.values()),
        ),
        *(lambda: itertools.islice(itertools.count(1), 2), lambda: iter(iter([1, 2, 9]).__next__, 9)),
    ):
        arrived = there_and_back({"k": [make()]})["k"][0]
        assert iter(arrived) is arrived and arrived != [1, 2]
        assert list(arrived) == [1, 2] and list(arrived) == []
    assert list(there_and_back(zip("ab", [[1], [2]]))) == [("a", [1]), ("b", [2])]
    assert list(there_and_back(enumerate("é"))) == [(0, "é")]
    assert list(there_and_back(iter("aé"))) == ["a", "é"]


def test_both_encoders_walk_an_iterator_alike() -> None:
    def make() -> Any:
        return [(n for n in range(3)), zip("ab", [[], {}]), {1: iter([2.5])}]

    assert codec._native_encode is not None
    assert codec._native_encode(make(), 1 << 20, codec_kinds.describe) == codec.encode_in_python(
        make(), 1 << 20
    )


def test_an_endless_iterator_gives_its_first_items() -> None:
    arrived = there_and_back(itertools.count())
    assert [next(arrived) for _ in range(1000)] == list(range(1000))
    with pytest.raises(RuntimeError, match="first 100000 items travel"):
        list(arrived)


def test_what_a_generator_raises_is_raised_where_it_is_reached() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    arrived = there_and_back(broken())
    assert next(arrived) == 1
    with pytest.raises(RuntimeError, match="ValueError: no more"):
        next(arrived)

    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def mute() -> Iterator[int]:
        raise Mute
        yield

    with pytest.raises(RuntimeError, match="Mute"):
        next(there_and_back(mute()))


def test_a_generator_that_changes_what_is_being_encoded() -> None:
    holder: list[Any] = []

    def hostile() -> Iterator[int]:
        holder.clear()
        holder.extend([[]] * 100)
        yield 1

    holder += [hostile(), 2, 3]
    assert isinstance(codec.decode_value(codec.encode(holder)), list)


def test_a_generator_of_itself() -> None:
    def of_itself() -> Iterator[Any]:
        yield me

    me = of_itself()
    assert isinstance(next(there_and_back(me)), codec.Opaque)


def test_forged_iterators_are_refused() -> None:
    ended = codec.encode((1, "why"))
    for argument in (
        codec.encode([1]),
        codec.encode((range(3), None)),
        codec.encode(([], 5)),
        ended,
        codec.encode("ab"),
    ):
        with pytest.raises(codec.CodecError):
            codec.decode_value(b"Mi" + argument)


def test_arrays_of_numbers_arrive_as_themselves() -> None:
    for value in (
        array.array("i", [1, -2]),
        array.array("d", [0.5]),
        array.array("Q", [2**64 - 1]),
        array.array("b"),
    ):
        arrived = there_and_back(value)
        assert type(arrived) is array.array and arrived == value and arrived.typecode == value.typecode
    for typecode, numbers in (("u", []), ("", []), ("bb", []), ("b", [1000]), ("i", ["a"]), ("i", (1,))):
        with pytest.raises(codec.CodecError):
            codec.decode_value(b"Ma" + codec.encode((typecode, numbers)))


def test_planned_tests_walk_what_a_generator_gave() -> None:
    program = "def f(n):\n    for i in range(n):\n        yield i\n"
    tests = [
        *(
            "assert list(f(3)) == [0, 1, 2]",
            "assert sum(f(4)) == 6",
            "assert next(f(1)) == 0",
            "assert tuple(f(0)) == ()",
        ),
        *("assert [i for i in f(2)] == [0, 1]", "assert f(2) is not None"),
    ]
    results = pretend.judge(
        program, "asserts", [*tests, "assert list(f(2)) == [0]", "assert f(1) == [0]"], "f"
    )
    assert [r.status for r in results] == ["passed"] * len(tests) + ["failed"] * 2
    assert [r.mode for r in results].count("plan") == len(results) - 1  # next() is not for the judge
