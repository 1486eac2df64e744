"""Values for the codec's tests: plain ones, graphs with shared and cyclic parts, and one of every rarer type."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import random
from typing import Any, NamedTuple

from hypothesis import strategies as st

texts = st.text(st.characters(), max_size=8) | st.text(st.sampled_from("ab\x00é\ud800\U0001f600"), max_size=4)
ints = (
    st.integers()
    | st.integers(-3, 3)
    | st.sampled_from([2**63, -(2**63), 2**63 - 1, -(2**63) - 1, -(2**71), 2**71 - 1])
)
strict_leaves = st.none() | ints | texts | st.binary(max_size=6)
hashable_leaves = strict_leaves | st.booleans() | st.floats() | st.complex_numbers() | st.just(...)


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=4) | st.lists(items, max_size=4).map(tuple)


strict_values = st.recursive(strict_leaves, _containers, max_leaves=20)
# Few different ones, so that two drawn independently are often equal.
small_strict_values = st.recursive(
    st.sampled_from([None, 0, 1, "", "a", b"", b"a"]), _containers, max_leaves=4
)

keys = st.recursive(
    hashable_leaves,
    lambda items: st.lists(items, max_size=3).map(tuple) | st.frozensets(items, max_size=3),
    max_leaves=6,
)
_steps = st.integers(1, 9) | st.integers(-9, -1)
_bounds = st.none() | st.integers(-5, 5)
values = st.recursive(
    hashable_leaves
    | st.binary(max_size=6).map(bytearray)
    | st.builds(slice, _bounds, _bounds, _bounds)
    | st.builds(
        lambda start, count, step: range(start, start + count, step), ints, st.integers(-99, 99), _steps
    ),
    lambda items: (
        _containers(items)
        | st.dictionaries(keys, items, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=25,
)


class Color(enum.IntEnum):
    RED = 1
    BLUE = 2


class Shade(str, enum.Enum):  # noqa: UP042 (jailed interpreters may be older than StrEnum)
    DARK = "dark"


class Plain(enum.Enum):
    ONE = 1


class Point(NamedTuple):
    x: Any
    y: Any


UTC = datetime.timezone.utc  # noqa: UP017 (jailed interpreters may be older than datetime.UTC)
EAST = datetime.timezone(datetime.timedelta(hours=2, minutes=30), "east")

# Each arrives as an equal value of the same type.
BY_CONSTRUCTOR: list[Any] = [
    *map(decimal.Decimal, ("1.50", "-0", "0E-7", "1E+5000", "Infinity", "-Infinity", "123456789" * 30)),
    *(fractions.Fraction(3, -7), fractions.Fraction(10**50)),
    *(datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.time(23, 59, 59, 999999, fold=1)),
    *(datetime.datetime(2020, 2, 29, 1, 2, 3, 4), datetime.datetime(2020, 2, 29, tzinfo=UTC)),
    *(datetime.datetime(2021, 1, 1, tzinfo=EAST, fold=1), datetime.time(1, tzinfo=UTC), UTC, EAST),
    *(datetime.timedelta(-3, 5, 7), datetime.timedelta.max, datetime.timedelta.min),
    *(collections.Counter("abca"), collections.Counter()),
    *(collections.deque([1, [2]], maxlen=5), collections.deque(), collections.deque(maxlen=0)),
    *(collections.defaultdict(list, {1: [2]}), collections.defaultdict(None, a=1)),
    *(collections.OrderedDict([("b", 1), ("a", 2)]),),
    *(int, str, type(None), list, KeyError, ValueError),
    *({1: 2, "a": 3}.keys(), {1: 2}.items()),
]


def random_graph(seed: int) -> Any:
    """A value whose containers are shared and refer to each other in cycles, of plain and rarer types."""
    draw = random.Random(seed)
    leaves: list[Any] = [
        "long" * 2000,
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        "a",
        b"b",
        ...,
        range(3),
        Color.RED,
        Plain.ONE,
        len,
        object(),
    ]
    mutable: list[Any] = [
        draw.choice(
            [list, dict, set, collections.deque, collections.OrderedDict, bytearray, _SubList, _SubDict]
        )()
        for _ in range(draw.randrange(1, 30))
    ]
    fixed: list[Any] = []
    for _ in range(draw.randrange(10)):
        parts = [draw.choice(leaves + mutable + fixed) for _ in range(draw.randrange(4))]
        fixed.append(Point(parts, draw.choice(leaves)) if draw.random() < 0.2 else tuple(parts))
    hashable = [1, "k", (1, 2), frozenset({3}), Color.BLUE, 2**64, None]
    everything = leaves + mutable + fixed
    for container in mutable:
        for _ in range(draw.randrange(5)):
            item = draw.choice(everything)
            if isinstance(container, dict):
                container[draw.choice(hashable)] = item
            elif isinstance(container, set):
                container.add(draw.choice(hashable))
            elif isinstance(container, bytearray):
                container.append(7)
            else:
                container.append(item)
    return draw.choice([mutable, fixed, mutable[0], draw.choice(everything)])


def _says(*arguments: Any, **keywords: Any) -> Any:
    raise AssertionError("code of a subclass ran")


_OVERRIDES = {
    name: _says
    for name in (
        *(
            "__iter__",
            "__len__",
            "__getitem__",
            "__contains__",
            "__eq__",
            "__bool__",
            "__str__",
            "__repr__",
            "__int__",
        ),
        *(
            "__index__",
            "__float__",
            "__complex__",
            "__bytes__",
            "__reversed__",
            "__format__",
            "items",
            "keys",
            "values",
        ),
        *(
            "__invert__",
            "__add__",
            "__abs__",
            "__neg__",
            "bit_length",
            "to_bytes",
            "encode",
            "copy",
            "__copy__",
        ),
        *("__reduce__", "__reduce_ex__", "__getattr__", "__getattribute__", "__del__", "__class_getitem__"),
    )
    if name != "__del__"
}


def liar(base: type, *arguments: Any) -> Any:
    """An object of a subclass of a plain type, all of whose methods raise."""
    members = {**_OVERRIDES, "__hash__": base.__hash__, "__class__": property(_says)}
    return type(f"Liar_{base.__name__}", (base,), members)(*arguments)


class _SubList(list):  # type: ignore[type-arg]
    pass


class _SubDict(dict):  # type: ignore[type-arg]
    pass
