"""Values as canonical bytes, as `docs/protocol.md` lists them: the encoder for players, the decoder for judges.

The encoder runs beside the program and is trusted by nobody. The decoder runs beside the tests and trusts nobody: it
builds exact built-in types and a closed list of constructor types, bounded in size, in depth and in work, and raises
`CodecError` for everything else. There is no pickle, no marshal and no eval here.

What cannot travel arrives as an `Opaque`: truthy, equal only to itself.
"""

from __future__ import annotations

import struct
import sys
from typing import Any, Dict, List, Optional, Tuple

try:
    from ._native import encode as _native_encode
except ImportError:  # the pure Python encoder below gives the same bytes
    _native_encode = None

MAX_DEPTH = 900
MAX_INT_BYTES = 1 << 17
MAX_ITEMS = 4_000_000

_D = struct.Struct("<d")
_Q = struct.Struct("<q")
_I = struct.Struct("<I")


class CodecError(ValueError):
    """Bytes that are not a value, or a value over a bound."""


class Opaque:
    """Something that stayed in the player: truthy, equal only to itself."""

    __slots__ = ("number", "type_name", "text")

    def __init__(self, number: int, type_name: str, text: str) -> None:
        self.number, self.type_name, self.text = number, type_name, text

    def __repr__(self) -> str:
        return self.text or f"<{self.type_name}>"


def encode_value(value: Any, max_bytes: int = 16 << 20) -> Tuple[bytes, bool]:
    """The canonical bytes of a value, and whether it is strict (see docs/protocol.md)."""
    if _native_encode is not None:
        encoded = _native_encode(value, max_bytes)
        if encoded is not None:
            return encoded  # type: ignore[no-any-return]
    encoder = _Encoder(max_bytes)
    try:
        encoder.put(value, 0)
    except (RecursionError, _TooLarge):
        encoder = _Encoder(max_bytes)
        encoder.opaque(value)
    return bytes(encoder.out), encoder.strict


class _TooLarge(Exception):
    pass


class _Encoder:
    def __init__(self, max_bytes: int) -> None:
        self.out = bytearray()
        self.strict = True
        self.memo: Dict[int, int] = {}
        self.keep: List[Any] = []
        self.max_bytes = max_bytes

    def put(self, value: Any, depth: int) -> None:
        out = self.out
        kind = type(value)
        if kind is int:
            if -(1 << 63) <= value < 1 << 63:
                out += b"i" + _Q.pack(value)
            else:
                self.big(value)
        elif kind is str:
            data = value.encode("utf-8", "surrogatepass")
            out += b"s" + _I.pack(len(data)) + data
        elif value is None:
            out += b"N"
        elif kind is bool:
            self.strict = False
            out += b"T" if value else b"F"
        elif kind is float:
            self.strict = False
            out += b"d" + _D.pack(value)
        elif kind is list or kind is tuple:
            self.sequence(b"[" if kind is list else b"(", value, depth)
        elif kind is bytes:
            out += b"b" + _I.pack(len(value)) + value
        else:
            self.strict = False
            self.rare(value, kind, depth)
        if len(out) > self.max_bytes:
            raise _TooLarge

    def big(self, value: int) -> None:
        size = (value.bit_length() + 8) // 8
        if size > MAX_INT_BYTES:
            raise _TooLarge
        self.out += b"I" + _I.pack(size) + value.to_bytes(size, "little", signed=True)

    def begin(self, value: Any, depth: int) -> bool:
        """False when the container was seen already and a back-reference stands for it."""
        if depth >= MAX_DEPTH:
            raise _TooLarge
        seen = self.memo.get(id(value))
        if seen is not None:
            self.strict = False
            self.out += b"@" + _I.pack(seen)
            return False
        self.memo[id(value)] = len(self.keep)
        self.keep.append(value)
        return True

    def sequence(self, tag: bytes, value: Any, depth: int) -> None:
        if self.begin(value, depth):
            items = list(value)
            self.out += tag + _I.pack(len(items))
            for item in items:
                self.put(item, depth + 1)

    def rare(self, value: Any, kind: type, depth: int) -> None:
        out = self.out
        if kind is dict:
            if self.begin(value, depth):
                pairs = list(value.items())
                out += b"{" + _I.pack(len(pairs))
                for key, item in pairs:
                    self.put(key, depth + 1)
                    self.put(item, depth + 1)
        elif kind is set:
            self.sequence(b"<", value, depth)
        elif kind is frozenset:
            self.sequence(b">", value, depth)
        elif kind is complex:
            out += b"c" + _D.pack(value.real) + _D.pack(value.imag)
        elif kind is bytearray:
            if self.begin(value, depth):
                out += b"B" + _I.pack(len(value)) + bytes(value)
        elif kind is range or kind is slice:
            out += b"r" if kind is range else b":"
            for part in (value.start, value.stop, value.step):
                self.put(part, depth + 1)
        elif value is Ellipsis:
            out += b"."
        else:
            self.other(value, kind, depth)

    def other(self, value: Any, kind: type, depth: int) -> None:
        for plain in (bool, int, float, complex, str, bytes):
            if issubclass(kind, plain):
                return self.put(_PLAIN[plain](value), depth)
        for base in (list, tuple, dict, set, frozenset):
            if issubclass(kind, base):
                return self.put(_PLAIN[base](value), depth)
        made = _by_constructor(value, kind)
        if made is None:
            return self.opaque(value)
        if self.begin(value, depth):
            self.out += b"M" + bytes([made[0]])
            self.put(made[1], depth + 1)

    def opaque(self, value: Any) -> None:
        self.strict = False
        name = type(value).__name__.encode("utf-8", "replace")[:200]
        self.out += b"O" + _I.pack(register(value)) + _I.pack(len(name)) + name + _I.pack(0)


_PLAIN: Dict[type, Any] = {
    bool: bool,
    int: lambda v: int.__add__(v, 0),
    float: lambda v: float.__add__(v, 0.0) if float.__ne__(v, 0.0) else float.__pos__(v),
    complex: lambda v: complex.__pos__(v),
    str: lambda v: str.__str__(v) if type(v) is str else "".join(str.__iter__(v)),
    bytes: lambda v: bytes.__add__(v, b""),
    list: lambda v: list.__getitem__(v, slice(None)),
    tuple: lambda v: tuple(tuple.__iter__(v)),
    dict: lambda v: {k: dict.__getitem__(v, k) for k in dict.__iter__(v)},
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
}

DECIMAL, FRACTION, DATE, TIME, DATETIME, TIMEDELTA, DEQUE = 1, 2, 3, 4, 5, 6, 7


def _by_constructor(value: Any, kind: type) -> Optional[Tuple[int, Any]]:
    module, name = kind.__module__, kind.__name__
    loaded = sys.modules.get(module)
    if loaded is None or getattr(loaded, name, None) is not kind:
        return None
    if (module, name) == ("decimal", "Decimal"):
        return DECIMAL, str(value)
    if (module, name) == ("fractions", "Fraction"):
        return FRACTION, (value.numerator, value.denominator)
    if module == "datetime" and getattr(value, "tzinfo", None) is None:
        if name == "date":
            return DATE, (value.year, value.month, value.day)
        if name == "time":
            return TIME, (value.hour, value.minute, value.second, value.microsecond)
        if name == "datetime":
            parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
            return DATETIME, parts
        if name == "timedelta":
            return TIMEDELTA, (value.days, value.seconds, value.microseconds)
    if (module, name) == ("collections", "deque"):
        return DEQUE, (list(value), value.maxlen)
    return None


_registry: List[Any] = []


def register(value: Any) -> int:
    """The number under which the player keeps something that did not travel."""
    _registry.append(value)
    return len(_registry) - 1


def decode_value(data: bytes) -> Any:
    """Build the value; `CodecError` for anything that is not one within the bounds."""
    decoder = _Decoder(data)
    try:
        value = decoder.take(0)
    except CodecError:
        raise
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise CodecError(f"not a value: {type(error).__name__}") from None
    if decoder.at != len(data):
        raise CodecError("bytes behind the value")
    return value


decode = decode_value


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.seen: List[Any] = []
        self.items = 0

    def raw(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise CodecError("cut short")
        self.at += size
        return part

    def u32(self) -> int:
        return _I.unpack(self.raw(4))[0]  # type: ignore[no-any-return]

    def count(self) -> int:
        n = self.u32()
        self.items += n
        if n > len(self.data) - self.at or self.items > MAX_ITEMS:
            raise CodecError("more items than bytes")
        return n

    def take(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CodecError("too deep")
        tag = self.raw(1)
        if tag == b"i":
            return _Q.unpack(self.raw(8))[0]
        if tag == b"s":
            return self.raw(self.u32()).decode("utf-8", "surrogatepass")
        if tag == b"[":
            return self.fill([], depth)
        if tag == b"(":
            return self.frozen(tuple, depth)
        if tag == b"N":
            return None
        if tag == b"T":
            return True
        if tag == b"F":
            return False
        if tag == b"d":
            return _D.unpack(self.raw(8))[0]
        if tag == b"I":
            size = self.u32()
            if size > MAX_INT_BYTES:
                raise CodecError("integer too large")
            return int.from_bytes(self.raw(size), "little", signed=True)
        if tag == b"{":
            made: Dict[Any, Any] = {}
            self.seen.append(made)
            for _ in range(self.count()):
                key = self.take(depth + 1)
                made[key] = self.take(depth + 1)
            return made
        if tag == b"<":
            items: set = set()
            self.seen.append(items)
            for _ in range(self.count()):
                items.add(self.take(depth + 1))
            return items
        if tag == b">":
            return self.frozen(frozenset, depth)
        if tag == b"@":
            value = self.seen[self.u32()]
            if value is _UNFINISHED:
                raise CodecError("a tuple inside itself")
            return value
        return self.rare(tag, depth)

    def fill(self, into: List[Any], depth: int) -> List[Any]:
        self.seen.append(into)
        for _ in range(self.count()):
            into.append(self.take(depth + 1))
        return into

    def frozen(self, kind: Any, depth: int) -> Any:
        at = len(self.seen)
        self.seen.append(_UNFINISHED)
        value = kind([self.take(depth + 1) for _ in range(self.count())])
        self.seen[at] = value
        return value

    def rare(self, tag: bytes, depth: int) -> Any:
        if tag == b"b":
            return self.raw(self.u32())
        if tag == b"B":
            at = len(self.seen)
            self.seen.append(_UNFINISHED)
            self.seen[at] = value = bytearray(self.raw(self.u32()))
            return value
        if tag == b"c":
            return complex(*struct.unpack("<dd", self.raw(16)))
        if tag in (b"r", b":"):
            parts = [self.take(depth + 1) for _ in range(3)]
            return range(*parts) if tag == b"r" else slice(*parts)
        if tag == b".":
            return Ellipsis
        if tag == b"O":
            number = self.u32()
            name = self.raw(self.u32()).decode("utf-8", "replace")
            return Opaque(number, name, self.raw(self.u32()).decode("utf-8", "replace"))
        if tag == b"M":
            at = len(self.seen)
            self.seen.append(_UNFINISHED)
            kind = self.raw(1)[0]
            self.seen[at] = made = _construct(kind, self.take(depth + 1))
            return made
        raise CodecError(f"unknown tag {tag!r}")


_UNFINISHED = object()


def _construct(kind: int, value: Any) -> Any:
    if kind == DECIMAL:
        import decimal

        if type(value) is not str or len(value) > 10_000:
            raise CodecError("decimal")
        made = decimal.Decimal(value)
        exponent = made.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) > 100_000:
            raise CodecError("decimal exponent")
        return made
    if kind == FRACTION:
        import fractions

        return fractions.Fraction(*value)
    if kind == DEQUE:
        from collections import deque

        return deque(*value)
    import datetime

    types = {DATE: datetime.date, TIME: datetime.time, DATETIME: datetime.datetime, TIMEDELTA: datetime.timedelta}
    if kind not in types:
        raise CodecError("unknown constructor")
    return types[kind](*value)
