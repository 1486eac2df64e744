"""The encoders beside objects whose every hook raises what `except Exception` does not catch: they become tokens."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from acesandbox.guest import codec

ENCODERS: list[Callable[[Any], tuple[bytes, bool]]] = [codec.encode_value, codec.encode_in_python]


class HookRan(BaseException):
    pass


def interrupt(*_: Any) -> Any:
    raise HookRan


class Meta(type):
    __eq__ = __getattribute__ = __instancecheck__ = __subclasscheck__ = __repr__ = interrupt  # type: ignore[assignment]
    __hash__ = interrupt  # type: ignore[assignment]
    __mro__ = property(interrupt)  # type: ignore[assignment]


def with_hostile_type(base: type, *arguments: Any) -> Any:
    return Meta("Hostile", (base,), {})(*arguments)


class Descriptor:
    __get__ = interrupt


class Unequal:
    __eq__ = interrupt  # type: ignore[assignment]
    __hash__ = object.__hash__
    __class__ = property(interrupt)  # type: ignore[assignment]


class Money(decimal.Decimal):
    __str__ = as_tuple = interrupt  # type: ignore[assignment]


class Half(fractions.Fraction):
    numerator = denominator = property(interrupt)  # type: ignore[assignment]


class Zone(datetime.tzinfo):
    utcoffset = tzname = dst = interrupt


class Shade(enum.Enum):
    DARK = 1
    name = value = property(interrupt)  # type: ignore[assignment]


class Named(tuple):  # type: ignore[type-arg]
    _fields = Descriptor()


class Walked(tuple):  # type: ignore[type-arg]
    _fields = ("a", "b")
    __iter__ = __len__ = __getitem__ = interrupt  # type: ignore[assignment]


class Ordered(collections.OrderedDict):  # type: ignore[type-arg]
    __iter__ = items = keys = interrupt  # type: ignore[assignment]


class Lazy(collections.defaultdict):  # type: ignore[type-arg]
    __missing__ = __getitem__ = copy = interrupt  # type: ignore[assignment]


class Error(ValueError):
    __getattribute__ = interrupt


def hostile_generator() -> Any:
    yield 1
    raise HookRan


HOSTILE: dict[str, Callable[[], Any]] = {
    **{
        f"a {base.__name__} with a hostile type": lambda base=base, plain=plain: with_hostile_type(
            base, plain
        )
        for base, plain in (
            *((int, 5), (str, "a"), (bytes, b"a"), (float, 1.5), (complex, 1j), (list, [1]), (tuple, (1,))),
            *((dict, {1: 2}), (set, {1}), (frozenset, {1}), (bytearray, b"a")),
        )
    },
    "an object with a hostile type": lambda: with_hostile_type(object),
    "a hostile type": lambda: type(with_hostile_type(object)),
    "objects without equality as keys": lambda: {Unequal(): {Unequal()}},
    "a Decimal": lambda: Money("1.5"),
    "a Fraction": lambda: Half(1, 2),
    "a datetime in a zone": lambda: datetime.datetime(2020, 1, 1, tzinfo=Zone()),
    "an Enum member": lambda: Shade.DARK,
    "a namedtuple without fields": lambda: Named((1,)),
    "a namedtuple": lambda: Walked((1, 2)),
    "an OrderedDict": lambda: Ordered(a=1),
    "a defaultdict": lambda: Lazy(int, a=1),
    "an exception": lambda: Error("x"),
    "a deque of them": lambda: collections.deque([with_hostile_type(object)]),
    "a generator": hostile_generator,
    "a frame, code, a module": lambda: [
        sys._getframe(),
        interrupt.__code__,
        sys,
        memoryview(b"a"),
        NotImplemented,
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("encoder", ENCODERS, ids=["native", "python"])
def test_no_object_stops_the_encoder(name: str, encoder: Any) -> None:
    value = HOSTILE[name]()
    arrived = codec.decode_value(encoder([value, 1, value])[0])
    assert len(arrived) == 3 and arrived[1] == 1


def test_objects_that_clear_what_is_encoded_when_they_die() -> None:
    class Dying:
        def __init__(self, victims: list[Any]) -> None:
            self.victims = victims
            self.me = self

        def __del__(self) -> None:
            for victim in self.victims:
                victim.clear()

    before = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for _ in range(50):
            rows: list[Any] = [[] for _ in range(300)]
            table = {n: (n, {n}) for n in range(100)}
            Dying([rows, table])
            data, _ = codec.encode_value([rows, table, frozenset({(n,) for n in range(50)}), rows])
            assert len(codec.decode_value(data)) == 4
    finally:
        gc.set_threshold(*before)


def test_containers_that_another_thread_changes() -> None:
    rows: list[Any] = [1] * 300
    table: dict[int, Any] = {n: [n] for n in range(300)}
    members = set(range(300))
    ended = threading.Event()

    def change() -> None:
        for n in range(1 << 40):
            if ended.is_set():
                return
            if n % 100:
                rows.append([])
            else:
                rows.clear()
            table[n + 1000] = n
            table.pop(next(iter(table)), None)
            members.add(n)
            members.discard(n - 500)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            arrived = codec.decode_value(codec.encode_value([rows, table, members])[0])
            assert [type(one) for one in arrived] == [list, dict, set]
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(before)
