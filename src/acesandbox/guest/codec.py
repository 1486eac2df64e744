"""Values as canonical bytes ("Value codec" in docs/protocol.md), and back.

Who encodes: the player, what the program returned; the judge, what a test expects. Equal bytes mean the same value, so
most results are decided without being decoded. Who decodes: the judge, and bytes come from a process that a program
controls. So the decoder builds exact built-in types, and a closed list of others by constructors of ours
(`codec_kinds.py`); there is no pickle, no marshal and no eval behind it; and it is bounded in depth, in memory and in
work, where work is what hashing and comparing the value may cost its reader, not only what building it costs here.

The encoder exists twice, in C (`native/guest/encode.c`) and here; a test compares them byte for byte. Neither runs code
of the program to read a plain value: subclasses are read through the base type's own methods.

What cannot travel arrives as an `Opaque`: truthy, equal only to itself. That is also what becomes of a whole value that
is too large or too deep.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from . import codec_kinds as kinds
from .codec_kinds import CodecError, Opaque

_native_encode: Optional[Callable[..., Tuple[bytes, bool]]]
try:
    from ._native import encode as _native_encode
except ImportError:  # the encoder below gives the same bytes
    _native_encode = None

__all__ = ["CodecError", "Limits", "Opaque", "decode", "decode_value", "encode", "encode_value", "shown"]

MAX_BYTES = 16 << 20
MAX_DEPTH = 1000

_I64 = struct.Struct("<q")
_U32 = struct.Struct("<I")
_F64 = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")


def encode_value(value: Any, max_bytes: int = MAX_BYTES) -> Tuple[bytes, bool]:
    """The canonical bytes of a value, and whether it is strict.

    Strict values consist of None, int, str, bytes, list and tuple of exactly these types and nothing else, no container
    twice: for two of them equal bytes and equality are the same. A value that takes more than `max_bytes`, or is nested
    deeper than `MAX_DEPTH`, is encoded as one opaque token.
    """
    try:
        if _native_encode is not None:
            return _native_encode(value, max_bytes, kinds.describe)
        return encode_in_python(value, max_bytes)
    except (ValueError, OverflowError):
        return kinds.token(value, {}), False


def encode(value: Any) -> bytes:
    """The canonical bytes of a value (`encode_value` without the flag)."""
    return encode_value(value)[0]


# ---- the encoder in Python -------------------------------------------------------------------------------------------

_SIZED_TAGS: Dict[Any, bytes] = {list: b"[", tuple: b"(", set: b"<", frozenset: b">"}
_CONTAINER_TYPES = (list, tuple, dict, set, frozenset, bytearray)
_PLAIN_BASES = (int, str, bytes, float, complex, list, tuple, dict, bytearray, frozenset, set)


def encode_in_python(value: Any, max_bytes: int = MAX_BYTES) -> Tuple[bytes, bool]:
    """What `_native.encode(value, max_bytes, codec_kinds.describe)` gives, by the same rules.

    Raises:
        ValueError: the value takes more than `max_bytes` or is nested too deeply.
    """
    out = bytearray()
    strict = True
    numbers: Dict[int, int] = {}  # of the containers begun, by identity
    containers: List[Any] = []  # keeps them alive, so that no later object gets the identity of one
    unfinished: Set[int] = (
        set()
    )  # tuples and their like whose items are being encoded: nothing can refer to them yet
    tokens: Dict[int, Tuple[int, Any]] = {}
    stack: List[Tuple[Iterator[Any], int]] = [(iter((value,)), -1)]

    def begin(container: Any) -> int:
        numbers[id(container)] = number = len(containers)
        containers.append(container)
        return number

    while stack:
        items, walked = stack[-1]
        for item in items:
            if len(out) > max_bytes:
                break
            kind = type(item)
            if kind is int:
                out += _int_bytes(item)
                continue
            if kind is str:
                out += _blob(b"s", item.encode("utf-8", "surrogatepass"))
                continue
            if item is None:
                out += b"N"
                continue
            if kind is bytes:
                out += _blob(b"b", item)
                continue
            if kind is not list and kind is not tuple:
                strict = False
                leaf = _leaf_bytes(item, kind)
                if leaf is not None:
                    out += leaf
                    continue
            if kind is range or kind is slice:
                if len(stack) > MAX_DEPTH:
                    raise _too_deep()
                out += b"r" if kind is range else b":"
                stack.append((iter((item.start, item.stop, item.step)), -1))
                break

            # There is one empty tuple in a process: its identity says nothing, and as a reference it would cost strict.
            seen = numbers.get(id(item)) if kind is not tuple or item else None
            if seen is not None:
                strict = False
                out += kinds.token(item, tokens) if seen in unfinished else b"@" + _U32.pack(seen)
                continue
            if len(stack) > MAX_DEPTH:
                raise _too_deep()
            base = kind
            if not any(
                kind is exact for exact in _CONTAINER_TYPES
            ):  # by identity: a metaclass may define equality
                answer = kinds.describe(item, tokens, False)
                if type(answer) is bytes:
                    out += answer
                    continue
                if answer is not None:
                    letter, argument = answer
                    out += b"M" + bytes([letter])
                    number = begin(item)
                    if not 65 <= letter <= 90:
                        unfinished.add(number)
                    stack.append((iter((argument,)), number))
                    break
                base = next(b for b in _PLAIN_BASES if issubclass(kind, b))
                leaf = _plain_leaf_bytes(item, base)
                if leaf is not None:
                    out += leaf
                    continue
            number = begin(item)
            if base is bytearray:
                out += _blob(b"B", bytes(memoryview(item)))
                continue
            if base is dict:
                pairs = list(dict.items(item))
                out += b"{" + _U32.pack(len(pairs))
                stack.append((iter([part for pair in pairs for part in pair]), number))
                break
            parts = list(base.__iter__(item))
            out += _SIZED_TAGS[base] + _U32.pack(len(parts))
            if base is tuple or base is frozenset:
                unfinished.add(number)
            stack.append((iter(parts), number))
            break
        else:
            stack.pop()
            unfinished.discard(walked)
        if len(out) > max_bytes:
            raise CodecError(f"the value takes more than {max_bytes} bytes")
    return bytes(out), strict


def _too_deep() -> CodecError:
    return CodecError(f"the value is nested deeper than {MAX_DEPTH} levels")


def _blob(tag: bytes, data: bytes) -> bytes:
    if len(data) > 0xFFFFFFFF:
        raise CodecError("a part of the value takes more than 4 GiB")
    return tag + _U32.pack(len(data)) + data


def _int_bytes(value: int) -> bytes:
    try:
        return b"i" + _I64.pack(value)
    except struct.error:
        size = int.bit_length(value if value >= 0 else ~value) // 8 + 1
        return _blob(b"I", int.to_bytes(value, size, "little", signed=True))


def _leaf_bytes(value: Any, kind: type) -> Optional[bytes]:
    """Of a value of exactly such a type; None for every other."""
    if kind is bool:
        return b"T" if value else b"F"
    if kind is float:
        return b"d" + _F64.pack(value)
    if kind is complex:
        return b"c" + _COMPLEX.pack(value.real, value.imag)
    return b"." if value is Ellipsis else None


def _plain_leaf_bytes(value: Any, base: type) -> Optional[bytes]:
    """Of a value of a subclass of a plain type, without asking the subclass."""
    if base is int:
        return _int_bytes(int.__int__(value))
    if base is str:
        return _blob(b"s", str.encode(value, "utf-8", "surrogatepass"))
    if base is bytes:
        return _blob(b"b", bytes.__getitem__(value, slice(None)))
    if base is float:
        return b"d" + _F64.pack(float.__float__(value))
    if base is complex:
        get: Any = complex.__dict__
        return b"c" + _COMPLEX.pack(get["real"].__get__(value), get["imag"].__get__(value))
    return None


# ---- the decoder -----------------------------------------------------------------------------------------------------


class Limits:
    """What decoding, and then using, a value may cost.

    Attributes:
        depth: containers within containers.
        memory: bytes, estimated from above before anything is allocated.
        work: steps that hashing, comparing or printing the value takes when every container that is referred to several
            times counts as often, and every key as often as there are keys of the same hash before it.
        items: of a range; a longer one arrives as an opaque token, because a test that walks one would hang its judge.
    """

    __slots__ = ("depth", "items", "memory", "work")

    def __init__(
        self, depth: int = MAX_DEPTH, memory: int = 256 << 20, work: int = 1 << 24, items: int = 1 << 24
    ) -> None:
        self.depth, self.memory, self.work, self.items = depth, memory, work, items


_DEFAULT_LIMITS = Limits()

_NONE, _TRUE, _FALSE, _ELLIPSIS, _INT, _LARGE_INT, _FLOAT, _COMPLEX_TAG, _STR, _BYTES = b"NTF.iIdcsb"
_BYTEARRAY, _LIST, _TUPLE, _DICT, _SET, _FROZENSET, _RANGE, _SLICE, _REFERENCE, _MADE, _ARRAY, _TOKEN = (
    b"B[({<>r:@MnO"
)
_COUNTED = frozenset(b"[({<>")
_HASHING = frozenset(b"{<>")
_THREE_PARTS = frozenset(b"r:")
_CONTAINERS = _COUNTED | _THREE_PARTS | {_MADE}
_CONSTANTS = {_NONE: None, _TRUE: True, _FALSE: False, _ELLIPSIS: Ellipsis}
_MADE_OFFSET = 256  # a frame for kind k of `M` has the tag _MADE_OFFSET + k

# From above, in bytes: an empty container with its collector header and its place in our tables, and one item: a slot
# in a growing list, another one in the container, and an int or a float.
_CONTAINER_COST = {_LIST: 160, _TUPLE: 160, _DICT: 340, _SET: 340, _FROZENSET: 340}
_MADE_COST = 1000
_ITEM_COST = 56
_TEXT_COST = 4  # per byte of UTF-8: one wide character widens all others

_UNFINISHED = object()


def decode_value(data: bytes, limits: Limits = _DEFAULT_LIMITS) -> Any:
    """The value that these bytes stand for.

    Raises:
        CodecError: they are not one value, or it costs more than `limits` allow.
    """
    kinds.begin()
    try:
        return _decode(data if type(data) is bytes else bytes(data), limits)
    except CodecError:
        raise
    except (struct.error, IndexError):
        raise CodecError("the value is cut short") from None
    except MemoryError:
        raise CodecError("the value takes too much memory") from None
    except UnicodeDecodeError:
        raise CodecError("a text of the value is not UTF-8") from None
    except Exception as error:  # constructors and hashing refuse what no encoder would write
        raise CodecError(f"not a value: {type(error).__name__}: {str(error)[:100]}") from None


decode = decode_value


def _decode(data: bytes, limits: Limits) -> Any:
    end, at = len(data), 0
    unpack_int, unpack_u32, unpack_float = _I64.unpack_from, _U32.unpack_from, _F64.unpack_from
    memory, work = limits.memory, limits.work
    seen: List[Any] = []  # the containers begun
    weights: List[int] = []  # of each: the steps that walking it takes
    tokens: Dict[int, Opaque] = {}
    stack: List[Tuple[Any, ...]] = []
    # The container being read: its tag, its items so far, how many are missing, its number, its weight so far, and the
    # weight of each item where items are hashed.
    tag, items, missing, number, weight = 0, [], 1, -1, 0  # type: Tuple[int, List[Any], int, int, int]
    item_weights: Optional[List[int]] = None

    while True:
        read = data[at]
        at += 1
        step = 1
        if read == _INT:
            value: Any = unpack_int(data, at)[0]
            at += 8
        elif read in _CONSTANTS:
            value = _CONSTANTS[read]
        elif read == _FLOAT:
            value = unpack_float(data, at)[0]
            at += 8
        elif read == _REFERENCE:
            referred = unpack_u32(data, at)[0]
            at += 4
            if referred >= len(seen):
                raise CodecError("a reference to a container that there is not")
            value = seen[referred]
            if value is _UNFINISHED:
                raise CodecError("a container that cannot change contains itself")
            step = weights[referred]
        elif read in _CONTAINERS:
            stack.append((tag, items, missing, number, weight, item_weights))
            if len(stack) > limits.depth:
                raise CodecError(f"the value is nested deeper than {limits.depth} levels")
            tag, items, weight, item_weights = read, [], 1, None
            if read in _COUNTED:
                missing = unpack_u32(data, at)[0] * (2 if read == _DICT else 1)
                at += 4
                if missing > end - at:
                    raise CodecError("the value is cut short")
                memory -= _CONTAINER_COST[read] + _ITEM_COST * missing
                if read in _HASHING:
                    memory -= _ITEM_COST * missing
                    item_weights = []
            elif read == _MADE:
                missing = 1
                tag = _MADE_OFFSET + data[at]
                at += 1
                memory -= _MADE_COST
            else:
                missing = 3
            if memory < 0:
                raise CodecError("the value takes too much memory")
            if read in _THREE_PARTS:
                number = -1
            else:
                number = len(seen)
                weights.append(1)
                # What can change exists before its items do, because they may refer to it.
                if read == _LIST:
                    seen.append(items)
                elif read == _DICT:
                    seen.append({})
                elif read == _SET:
                    seen.append(set())
                else:
                    seen.append(kinds.empty(data[at - 1]) if read == _MADE else None)
                    if seen[number] is None:
                        seen[number] = _UNFINISHED
            value = _UNFINISHED
        elif read == _COMPLEX_TAG:
            value = complex(*_COMPLEX.unpack_from(data, at))
            at += 16
        elif read == _ARRAY:
            value, at, step = _read_array(data, at)
            memory -= 2 * step + _MADE_COST
            if memory < 0:
                raise CodecError("the value takes too much memory")
        elif read == _TOKEN:
            value, at = _read_token(data, at, tokens)
            memory -= _MADE_COST
            if memory < 0:
                raise CodecError("the value takes too much memory")
        else:
            size = unpack_u32(data, at)[0]
            at += 4
            if size > end - at:
                raise CodecError("the value is cut short")
            memory -= 60 + size * _TEXT_COST
            if memory < 0:
                raise CodecError("the value takes too much memory")
            part = data[at : at + size]
            at += size
            step = 1 + (size >> 4)
            if read == _STR:
                value = part.decode("utf-8", "surrogatepass")
            elif read == _BYTES:
                value = part
            elif read == _LARGE_INT:
                value = int.from_bytes(part, "little", signed=True)
                if -(1 << 63) <= value < 1 << 63 or _int_bytes(value)[5:] != part:
                    raise CodecError("an int is not in its shortest form")
            elif read == _BYTEARRAY:
                value = bytearray(part)
                seen.append(value)
                weights.append(step)
            else:
                raise CodecError(f"unknown tag {read}")

        if value is not _UNFINISHED:
            items.append(value)
            weight += step
            missing -= 1
            if item_weights is not None:
                item_weights.append(step)
        while not missing:
            if not stack:
                if at != end:
                    raise CodecError("more bytes than the value takes")
                return items[0]
            if tag == _LIST:
                value = items
            elif tag == _TUPLE:
                value = tuple(items)
            elif tag in _HASHING:
                value = seen[number]
                extra = _hashing_steps(items, item_weights or (), 2 if tag == _DICT else 1, work)
                work -= extra
                weight += extra
                value = _fill_hashing(tag, value, items)
            elif tag == _RANGE:
                value = _make_range(items, limits)
            elif tag == _SLICE:
                value = slice(*items)
            else:
                made = seen[number]
                value = kinds.make(tag - _MADE_OFFSET, None if made is _UNFINISHED else made, items[0])
            if weight > limits.work:
                raise CodecError("the value refers to its parts too often")
            if number >= 0:
                seen[number] = value
                weights[number] = weight
            step = weight
            tag, items, missing, number, weight, item_weights = stack.pop()
            items.append(value)
            weight += step
            missing -= 1
            if item_weights is not None:
                item_weights.append(step)


def _hashing_steps(items: List[Any], item_weights: Any, stride: int, allowed: int) -> int:
    """What it costs to put these keys into a table: hashing each, and comparing those of the same hash pairwise.

    Equal hashes are easily made (every multiple of 2**61 - 1, and tuples of numbers at will), unlike sequences of
    different hashes that collide in a table all the way.
    """
    steps = 0
    counts: Dict[int, int] = {}
    for at in range(0, len(items), stride):
        hashed = hash(items[at])
        before = counts.get(hashed, 0)
        counts[hashed] = before + 1
        steps += item_weights[at] * (1 + before)
        if steps > allowed:
            raise CodecError("the keys of the value take too long to compare")
    return steps


def _fill_hashing(tag: int, container: Any, items: List[Any]) -> Any:
    if tag == _DICT:
        container.update(zip(items[::2], items[1::2]))
        expected = len(items) // 2
    else:
        expected = len(items)
        if tag == _FROZENSET:
            container = frozenset(items)
        else:
            container.update(items)
    if len(container) != expected:
        raise CodecError("a key of the value is there twice")
    return container


def _make_range(parts: List[Any], limits: Limits) -> Any:
    if any(type(part) is not int and type(part) is not bool for part in parts):
        raise CodecError("a range is not made of integers")
    if max(part.bit_length() for part in parts) > 1024:  # its length takes a division, which is quadratic
        return Opaque("range", "a range of very large numbers")
    made = range(*parts)
    try:
        if len(made) <= limits.items:
            return made
    except OverflowError:
        pass
    return Opaque("range", "a very long range")


def _read_blob(data: bytes, at: int, longest: int) -> Tuple[bytes, int]:
    size = _U32.unpack_from(data, at)[0]
    at += 4
    if size > len(data) - at:
        raise CodecError("the value is cut short")
    if size > longest:
        raise CodecError("a name is too long")
    return data[at : at + size], at + size


def _read_token(data: bytes, at: int, tokens: Dict[int, Opaque]) -> Tuple[Opaque, int]:
    number = _U32.unpack_from(data, at)[0]
    type_name, at = _read_blob(data, at + 4, kinds.MAX_NAME)
    text, at = _read_blob(data, at, kinds.MAX_TEXT)
    token = tokens.get(number)
    if token is None:
        token = tokens[number] = Opaque(type_name.decode("utf-8", "replace"), text.decode("utf-8", "replace"))
    return token, at


def _read_array(data: bytes, at: int) -> Tuple[Any, int, int]:
    dtype, at = _read_blob(data, at, kinds.MAX_NAME)
    dimensions = _U32.unpack_from(data, at)[0]
    at += 4
    shape: Optional[Tuple[int, ...]] = None
    if dimensions != kinds.SCALAR:
        if dimensions > kinds.MAX_DIMENSIONS:
            raise CodecError("an array has too many dimensions")
        shape = struct.unpack_from(f"<{dimensions}I", data, at)
        at += 4 * dimensions
    content, at = _read_blob(data, at, len(data))
    return kinds.make_array(dtype.decode("ascii", "replace"), shape, content), at, 1 + len(content)


# ---- for people ------------------------------------------------------------------------------------------------------


def shown(data: bytes, room: int = 200) -> str:
    """The value of these bytes as text of about `room` characters, like its repr; they may be hostile or cut short.

    Nothing is built: bytes become text, so that the host may ask. What is left out is shown as three dots, and nothing
    but printable characters comes out.
    """
    text = "".join(_Shower(bytes(data), room).pieces())
    text = "".join([c if c.isprintable() else "?" for c in text])
    return text if len(text) <= room else text[: max(0, room - 3)] + "..."


_BRACKETS = {
    _LIST: ("[", "]"),
    _TUPLE: ("(", ")"),
    _DICT: ("{", "}"),
    _SET: ("{", "}"),
    _FROZENSET: ("{", "}"),
}


class _Cut(Exception):
    pass


class _Shower:
    def __init__(self, data: bytes, room: int) -> None:
        self.data, self.room = data, room
        self.at = 0
        self.starts: List[int] = []  # of the containers met, for references
        self.out: List[str] = []
        self.length = 0

    def pieces(self) -> List[str]:
        try:
            self.value(0, True)
        except (_Cut, struct.error, IndexError):
            self.out.append("...")
        return self.out

    def say(self, text: str) -> None:
        self.out.append(text)
        self.length += len(text)
        if self.length > self.room:
            raise _Cut

    def number(self) -> int:
        value: int = _U32.unpack_from(self.data, self.at)[0]
        self.at += 4
        return value

    def blob(self) -> Tuple[bytes, bool]:
        """What there is of it, at most as much as there is room for, and whether that is all."""
        size = self.number()
        part = self.data[self.at : self.at + min(size, 4 * self.room)]
        self.at += size
        return part, len(part) == size

    def value(self, depth: int, first: bool) -> None:
        """Write the value at `at`; `first`: its containers are met for the first time."""
        start = self.at
        tag = self.data[start]
        self.at += 1
        if tag in _CONSTANTS:
            self.say(repr(_CONSTANTS[tag]))
        elif tag == _INT:
            self.say(str(_I64.unpack_from(self.data, self.at)[0]))
            self.at += 8
        elif tag == _FLOAT:
            self.say(repr(_F64.unpack_from(self.data, self.at)[0]))
            self.at += 8
        elif tag == _COMPLEX_TAG:
            self.say(repr(complex(*_COMPLEX.unpack_from(self.data, self.at))))
            self.at += 16
        elif tag == _LARGE_INT:
            part, whole = self.blob()
            self.say(
                str(int.from_bytes(part, "little", signed=True))
                if whole and len(part) < 100
                else "(a large int)"
            )
        elif tag in (_STR, _BYTES, _BYTEARRAY):
            if tag == _BYTEARRAY and first:
                self.starts.append(start)
            part, whole = self.blob()
            said = repr(part.decode("utf-8", "replace") if tag == _STR else part)
            self.say(f"bytearray({said})" if tag == _BYTEARRAY else said)
            if not whole:
                raise _Cut
        elif tag == _REFERENCE:
            self.referred(self.number(), depth)
        elif tag in _COUNTED or tag == _MADE:
            if first:
                self.starts.append(start)
            if depth > 20:
                raise _Cut
            self.container(tag, depth, first)
        elif tag in _THREE_PARTS:
            if depth > 20:
                raise _Cut
            self.say("range(" if tag == _RANGE else "slice(")
            self.listed(3, depth, first)
            self.say(")")
        elif tag == _TOKEN:
            self.number()
            type_name, _ = self.blob()
            text, _ = self.blob()
            self.say(text.decode("utf-8", "replace") or f"<{type_name.decode('utf-8', 'replace')} object>")
        elif tag == _ARRAY:
            dtype, _ = self.blob()
            dimensions = self.number()
            if dimensions == kinds.SCALAR:
                self.say(kinds.scalar_text(dtype.decode("ascii", "replace"), self.blob()[0]))
            else:
                shape = struct.unpack_from(f"<{dimensions}I", self.data, self.at) if dimensions < 33 else ()
                self.at += 4 * dimensions
                self.blob()
                self.say(f"array(shape={shape}, dtype={dtype.decode('ascii', 'replace')!r})")
        else:
            raise _Cut

    def referred(self, number: int, depth: int) -> None:
        if depth > 20:
            raise _Cut
        back, self.at = self.at, self.starts[number]
        self.value(depth + 1, False)
        self.at = back

    def container(self, tag: int, depth: int, first: bool) -> None:
        if tag == _MADE:
            self.at += 2
            kind, argument = self.data[self.at - 2], self.data[self.at - 1]
            self.at -= 1
            if argument == _TUPLE and kind in kinds.NAMED_FIRST:
                self.named(depth, first)
                return
            self.say(kinds.NAMES.get(kind, "?"))
            self.say("" if argument == _TUPLE else "(")
            self.value(depth + 1, first)
            self.say("" if argument == _TUPLE else ")")
            return
        count = self.number()
        if tag in (_SET, _FROZENSET) and not count:
            self.say("set()" if tag == _SET else "frozenset()")
            return
        before, after = _BRACKETS[tag]
        self.say(("frozenset(" if tag == _FROZENSET else "") + before)
        if tag == _DICT:
            for i in range(count):
                self.say(", " if i else "")
                self.value(depth + 1, first)
                self.say(": ")
                self.value(depth + 1, first)
        else:
            self.listed(count, depth, first)
            self.say("," if tag == _TUPLE and count == 1 else "")
        self.say(after + (")" if tag == _FROZENSET else ""))

    def named(self, depth: int, first: bool) -> None:
        """A made value whose argument is a tuple that begins with a name: `Name(the others)`."""
        if first:
            self.starts.append(self.at)
        self.at += 1
        count = self.number()
        if not count or self.data[self.at] != _STR:
            raise _Cut
        self.at += 1
        self.say(self.blob()[0].decode("utf-8", "replace") + "(")
        self.listed(count - 1, depth, first)
        self.say(")")

    def listed(self, count: int, depth: int, first: bool) -> None:
        for i in range(count):
            self.say(", " if i else "")
            self.value(depth + 1, first)
