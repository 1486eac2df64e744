"""The codec: two encoders that agree, bytes that say the same as equality, and values that arrive as they left."""

from __future__ import annotations

import collections
import decimal
import math
import sys
import weakref
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesandbox.guest import codec, codec_kinds
from tests.sandbox import codec_values as v

MAX = 1 << 24


def native(value: Any, max_bytes: int = MAX) -> Any:
    assert codec._native_encode is not None, "the extension is not built"
    return codec._native_encode(value, max_bytes, codec_kinds.describe)


def there_and_back(value: Any) -> Any:
    return codec.decode_value(codec.encode(value))


def same(a: Any, b: Any) -> bool:
    """Equal, of the same types all the way down, and with the same floats bit by bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return (
            len(a) == len(b) and all(map(same, a.keys(), b.keys())) and all(map(same, a.values(), b.values()))
        )
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return bool(a == b)


# ---- two encoders ----


@given(v.values)
def test_both_encoders_write_the_same_bytes(value: Any) -> None:
    assert native(value) == codec.encode_in_python(value)


@given(st.integers(0, 2**32))
@settings(max_examples=300)
def test_both_encoders_write_the_same_bytes_of_graphs(seed: int) -> None:
    graph = v.random_graph(seed)
    assert native(graph) == codec.encode_in_python(graph)


@given(v.values, st.integers(0, 60))
def test_both_encoders_refuse_at_the_same_size(value: Any, room: int) -> None:
    whole = len(native(value)[0])
    for encoder in (native, codec.encode_in_python):
        if whole <= room:
            assert len(encoder(value, room)[0]) == whole
        else:
            with pytest.raises(ValueError, match="bytes"):
                encoder(value, room)


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {1: x}, lambda x: slice(x), lambda x: v.Point(x, 1)]
)
def test_both_encoders_refuse_at_the_same_depth(wrap: Any) -> None:
    deep: Any = 1
    levels = 0
    while True:
        try:
            expected = codec.encode_in_python(deep)
        except ValueError:
            break
        if levels > 990 or levels % 100 == 0:
            assert native(deep) == expected
            assert codec.decode_value(expected[0]) is not None
        deep = wrap(deep)
        levels += 1
    assert levels in (1001, 334)  # a namedtuple takes three levels
    with pytest.raises(ValueError, match="deep"):
        native(deep)


# ---- there and back ----


@given(v.values)
def test_a_value_arrives_as_it_left(value: Any) -> None:
    assert same(there_and_back(value), value)


@pytest.mark.parametrize("value", v.BY_CONSTRUCTOR, ids=repr)
def test_a_rarer_type_arrives_as_itself(value: Any) -> None:
    arrived = there_and_back([value])[0]
    assert type(arrived) is type(value)
    assert arrived == value
    assert repr(arrived) == repr(value)


def test_dict_values_arrive_in_order() -> None:
    assert list(there_and_back({1: "a", 2: "b"}.values())) == ["a", "b"]


def test_a_decimal_that_is_not_a_number_arrives() -> None:
    for text in ("NaN", "-NaN", "sNaN", "NaN123"):
        assert str(there_and_back(decimal.Decimal(text))) == text


def test_a_time_zone_by_name() -> None:
    zone = zoneinfo.ZoneInfo("UTC")
    assert there_and_back(zone) is zone


def test_sharing_and_cycles_survive() -> None:
    inner: list[Any] = [1]
    table: dict[str, Any] = {"a": inner}
    queue = collections.deque([inner])
    lazy = collections.defaultdict(list)
    inner += [inner, table, queue, lazy]
    lazy["x"].append(lazy)
    arrived = there_and_back((inner, table, inner))
    assert arrived[0] is arrived[2] is arrived[0][1] is arrived[1]["a"] is arrived[0][3][0]
    assert arrived[0][2] is arrived[1]
    assert arrived[0][4]["x"][0] is arrived[0][4]


def test_a_tuple_inside_itself_is_cut_by_a_token() -> None:
    inner: list[Any] = []
    knot = (inner,)
    inner.append(knot)
    arrived = there_and_back(knot)
    assert isinstance(arrived[0][0], codec.Opaque)


def test_enum_members_that_are_numbers_compare_as_such_and_keep_their_names() -> None:
    red, dark = there_and_back([v.Color.RED, v.Shade.DARK])
    assert red == 1 and red + 1 == 2 and (red.name, red.value) == ("RED", 1) and isinstance(red, int)
    assert dark == "dark" and (dark.name, dark.value) == ("DARK", "dark")
    assert {1: "one"}[red] == "one"


def test_a_plain_enum_member_is_equal_to_nothing_but_itself() -> None:
    first, second, number = there_and_back([v.Plain.ONE, v.Plain.ONE, 1])
    assert first == second and first != number and repr(first) == "<Plain.ONE>"


def test_a_namedtuple_is_a_tuple_with_names() -> None:
    arrived = there_and_back(v.Point([1], 2))
    assert arrived == ([1], 2) and isinstance(arrived, tuple)
    assert (arrived.x, arrived.y, arrived._fields) == ([1], 2, ("x", "y"))
    assert arrived._asdict() == {"x": [1], "y": 2} and arrived._replace(y=3) == ([1], 3)
    assert repr(arrived) == "Point(x=[1], y=2)"
    with pytest.raises(ValueError, match="unexpected"):
        arrived._replace(z=1)


def test_an_exception_arrives_as_the_nearest_builtin() -> None:
    class Own(KeyError):
        pass

    arrived = there_and_back(Own("k", [1]))
    assert type(arrived) is KeyError and arrived.args == ("k", [1])

    class Speaking(ValueError):
        def __str__(self) -> str:
            return "forged"

    assert isinstance(there_and_back(Speaking()), codec.Opaque)


# ---- numpy ----


def test_numpy_arrays_and_scalars_arrive_as_themselves() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.array
    for value in (
        *(
            array([[1, 2], [3, 4]]),
            array([1.5]),
            array([True, False]),
            array(5),
            numpy.zeros((0, 3)),
            array([1j]),
        ),
        *(
            array(["a", "bcd", "\U0001f600"]),
            array([b"a"]),
            array(["2020-01-01"], "M8[D]"),
            array([7], "m8[s]"),
        ),
        *(numpy.arange(12).reshape(3, 4)[::2, ::-1], numpy.asfortranarray(numpy.eye(3)), array([1], "f2")),
    ):
        arrived = there_and_back(value)
        assert (
            type(arrived) is numpy.ndarray and arrived.dtype == value.dtype and arrived.shape == value.shape
        )
        assert (arrived == value).all()
        arrived.flags.writeable = True
    for name in ("int8", "uint64", "float16", "float64", "complex64", "bool_"):
        value = getattr(numpy, name)(1)
        arrived = there_and_back(value)
        assert type(arrived) is type(value) and arrived == value == 1
    assert there_and_back(numpy.str_("h")) == "h" and there_and_back(
        numpy.datetime64("2020-01-01")
    ) == numpy.datetime64("2020-01-01")
    swapped = there_and_back(array([1, 2], ">i4"))
    assert swapped.dtype == "<i4" and list(swapped) == [1, 2]


def test_numpy_arrays_that_cannot_travel_are_tokens() -> None:
    numpy = pytest.importorskip("numpy")
    for value in (
        *(numpy.array([1, "a"], object), numpy.longdouble(1), numpy.zeros(1, "i4,f8"), numpy.ma.array([1])),
        numpy.zeros(2).view(numpy.recarray),
    ):
        assert isinstance(there_and_back(value), codec.Opaque)


def test_numpy_scalars_without_numpy_are_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    data = codec.encode(
        [numpy.float32(1.5), numpy.int8(-1), numpy.bool_(True), numpy.complex64(1j), numpy.zeros(2)]
    )
    monkeypatch.setattr(codec_kinds, "_numpy_tried", [None])
    *scalars, array = codec.decode_value(data)
    assert scalars == [1.5, -1, True, 1j] and list(map(type, scalars)) == [float, int, bool, complex]
    assert isinstance(array, codec.Opaque)


# ---- strict ----


def is_strict(value: Any) -> bool:
    return codec.encode_value(value)[1]


@given(v.strict_values)
def test_strict_values_are_marked(value: Any) -> None:
    assert is_strict(value)


@given(v.small_strict_values, v.small_strict_values)
def test_for_strict_values_equal_bytes_and_equality_are_the_same(a: Any, b: Any) -> None:
    assert (codec.encode(a) == codec.encode(b)) == (a == b)


@pytest.mark.parametrize(
    "value",
    [
        True,
        1.0,
        1j,
        {1: 2},
        {1},
        frozenset(),
        bytearray(),
        range(1),
        slice(1),
        ...,
        v.Color.RED,
        len,
        v.Point(1, 2),
    ],
    ids=repr,
)
def test_what_equals_values_of_other_bytes_is_not_strict(value: Any) -> None:
    assert not is_strict(value)
    assert not is_strict([1, (value,)])


def test_a_shared_part_is_not_strict_because_an_equal_value_has_other_bytes() -> None:
    part = [1]
    assert not is_strict([part, part])
    assert is_strict([(), ()])


def test_a_subclass_is_not_strict() -> None:
    assert not is_strict(v._SubList()) and not is_strict(type("Sub", (int,), {})(1))


# ---- beside hostile code ----


@pytest.mark.parametrize(
    ("base", "plain"),
    [
        *((int, 5), (int, -(2**90)), (str, "a\ud800"), (bytes, b"a"), (float, -0.0), (complex, 1j)),
        *((list, [1, [2]]), (tuple, (1, 2)), (dict, {1: 2}), (set, {1, 2}), (frozenset, frozenset({1}))),
        (bytearray, bytearray(b"x")),
    ],
    ids=repr,
)
def test_a_subclass_travels_as_its_plain_type_and_none_of_its_code_runs(base: type, plain: Any) -> None:
    lying = v.liar(base, plain)
    data, strict = native(lying)
    assert data == codec.encode(plain) and not strict
    assert codec.encode_in_python(lying) == (data, strict)
    assert same(codec.decode_value(data), plain)


def test_objects_become_tokens_without_running_their_code() -> None:
    hostile = v.liar(object)
    first, second, other = there_and_back([hostile, hostile, v.liar(object)])
    assert isinstance(first, codec.Opaque) and first is second and first != other and bool(first)
    assert first.type_name == "Liar_object"


def test_a_metaclass_that_lies_gives_a_token() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            raise ZeroDivisionError

    class Thing(metaclass=Meta):
        pass

    for value in (Thing(), Thing):
        assert native(value) == codec.encode_in_python(value)
        assert isinstance(there_and_back(value), codec.Opaque)


def test_tokens_show_no_address() -> None:
    for value in (object(), lambda: 1, there_and_back, v.Plain, sys, len):
        assert "0x" not in repr(there_and_back(value))
    assert repr(there_and_back(there_and_back)) == "<function there_and_back>"


@pytest.mark.parametrize("change", ["clear", "grow", "replace"])
@pytest.mark.parametrize("kind", [list, dict, set])
def test_containers_that_change_while_they_are_walked(kind: type, change: str) -> None:
    """Only the fallback runs Python code; here it changes the container that is being encoded."""

    class Thing:
        pass

    things = [Thing() for _ in range(50)]
    container: Any = {t: t for t in things} if kind is dict else kind(things)

    def fallback(value: Any, tokens: Any, must_be_token: bool) -> bytes:
        nonlocal changes
        changes += 1
        if changes == 3:
            if change != "grow":
                container.clear()
                things.clear()
            if change != "clear":
                more = [Thing() for _ in range(100)]
                container.update(
                    dict.fromkeys(more, 1) if kind is dict else more
                ) if kind is not list else container.extend(more)
        return b"N"

    changes = 0
    assert codec._native_encode is not None
    data, _ = codec._native_encode(container, MAX, fallback)
    count = int.from_bytes(data[1:5], "little")
    assert len(data) == 5 + data[5:].count(b"N") + 9 * data[5:].count(b"i")
    assert count * (2 if kind is dict else 1) == data[5:].count(b"N") + data[5:].count(b"i")


@pytest.mark.parametrize("answer", [5, (1,), (1, 2, 3), ("d", "1"), "text", (10**30, 1), [1]])
def test_a_fallback_that_answers_nonsense_is_an_error(answer: Any) -> None:
    assert codec._native_encode is not None
    with pytest.raises((TypeError, OverflowError)):
        codec._native_encode([object()], MAX, lambda *_: answer)


def test_a_fallback_that_raises_is_heard() -> None:
    def fallback(*_: Any) -> Any:
        raise ZeroDivisionError

    assert codec._native_encode is not None
    for value in (object(), [object()], {object(): 1}, {object()}, slice(object()), (object(),)):
        with pytest.raises(ZeroDivisionError):
            codec._native_encode(value, MAX, fallback)


def test_the_encoder_keeps_nothing() -> None:
    class Thing:
        pass

    thing = Thing()
    there = weakref.ref(thing)
    value = [thing, [1.5], {"k": (2**80, [])}, {2**81}]
    parts = [value, *value, value[2]["k"]]  # type: ignore[index]
    before = list(map(sys.getrefcount, parts))
    for _ in range(20):
        native(value)
        for room in range(0, len(native(value)[0])):
            with pytest.raises(ValueError, match="bytes"):
                native(value, room)
    assert list(map(sys.getrefcount, parts)) == before
    del thing, value, parts
    assert there() is None


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4), (1, -1), (1, 2**40), (1, "x")])
def test_the_native_encoder_refuses_other_arguments(arguments: Any) -> None:
    assert codec._native_encode is not None
    with pytest.raises((TypeError, ValueError)):
        codec._native_encode(*arguments)


# ---- too much ----


def test_what_is_too_large_or_too_deep_is_one_token() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    for value, room in (
        ([1] * 1000, 500),
        ("a" * 1000, 500),
        (deep, MAX),
        ([object()] * 100, 200),
        (b"x" * 1000, 10),
    ):
        data, strict = codec.encode_value(value, room)
        assert data[:1] == b"O" and not strict
        assert bool(codec.decode_value(data))


def test_many_containers_are_found_again() -> None:
    parts = [[i] for i in range(5000)]
    value = parts + parts[::-1]
    arrived = there_and_back(value)
    assert arrived == value and all(a is b for a, b in zip(arrived, arrived[::-1]))
    assert native(value) == codec.encode_in_python(value)


# ---- for people ----


@given(v.strict_values)
def test_what_fits_is_shown_as_its_repr(value: Any) -> None:
    text = "".join(c if c.isprintable() else "?" for c in repr(value))
    if "\ud800" not in text and not any(0xD800 <= ord(c) <= 0xDFFF for c in text) and "\\u" not in text:
        assert codec.shown(codec.encode(value), len(text) + 300) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(([1, 2.5, None, True, ...], "[1, 2.5, None, True, Ellipsis]"), ({}, "{}"), (set(), "set()")),
        *(
            ({"a": (1,)}, "{'a': (1,)}"),
            (frozenset({1}), "frozenset({1})"),
            (decimal.Decimal("1.5"), "Decimal('1.5')"),
        ),
        *(
            (v.Color.RED, "Color('RED', 1)"),
            (len, "<builtin_function_or_method len>"),
            (2**9999, "(a large int)"),
        ),
        *(
            (collections.deque([1], 2), "deque(2, [1])"),
            (range(3), "range(0, 3, 1)"),
            ("\x1b[31m", r"'\x1b[31m'"),
        ),
    ],
    ids=str,
)
def test_a_value_is_shown(value: Any, text: str) -> None:
    assert codec.shown(codec.encode(value)) == text


def test_bytes_that_are_cut_short_are_shown_as_far_as_they_go() -> None:
    data = codec.encode(list(range(1000)))
    assert codec.shown(data[:50], 100).startswith("[0, 1, 2, 3, 4, ")
    assert codec.shown(data, 20) == "[0, 1, 2, 3, 4, 5..."
    for end in range(60):
        assert codec.shown(data[:end]).endswith("...")
