"""The values that travel by constructor (tag `M` of the codec), numpy's (tag `n`), and tokens (tag `O`).

Both directions stand side by side, so that one can be checked against the other. `describe` runs beside the program:
the encoder asks it about every object that is not exactly of a plain type. `make` and `make_array` run beside the
tests, with arguments from a process that a program controls: they check types and sizes and then call constructors of
the standard library or of this file, nothing else.

Whether an object is, say, a Decimal is asked of its type's bases, by identity with what the loaded module holds: nobody
imports a module for the question, and `__class__` is not believed.

An Enum member that is also an int, str or float travels with its name, and arrives as such a number or text which has
`name` and `value`: `Color.RED == 1` stays true. A plain Enum member is equal to nothing but itself, so it is a token. A
namedtuple arrives as a tuple with the same field names. An exception arrives as the nearest built-in type. An iterator
of a built-in type (generators, `map`, `zip`, those of itertools) is walked before it travels, and arrives as one of the
same items: `list(f(x))` is what tests do with it.
"""

from __future__ import annotations

import keyword
import re
import struct
import sys
from operator import itemgetter
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

MAX_NAME = 200  # bytes of a type's name
MAX_TEXT = 400  # bytes of a token's text
MAX_DIGITS = 10_000  # of a Decimal
MAX_EXPONENT = 100_000
MAX_FRACTION_BITS = 8192  # of each part; reducing a fraction is quadratic
MAX_FIELDS = 255
MAX_COSTLY = 5000  # see `_spend`
MAX_DRAWN = 100_000  # items of an iterator; it may be endless
MAX_DIMENSIONS = 32
SCALAR = 0xFFFFFFFF  # in the place of an array's number of dimensions


class CodecError(ValueError):
    """Bytes that are not a value, or a value over a bound."""


class Opaque:
    """Something that stayed where it is: truthy, equal only to itself.

    Attributes:
        type_name: as the sender gave it.
        text: printable; what its repr shows.
    """

    __slots__ = ("text", "type_name")

    def __init__(self, type_name: str, text: str = "") -> None:
        self.type_name = type_name
        self.text = "".join([c if c.isprintable() else "?" for c in text or f"<{type_name} object>"])

    def __repr__(self) -> str:
        return self.text


class _Unknown(Exception):
    """No constructor carries this object: it becomes a token."""


# A kind in upper case is a container that can change: the decoder makes it empty before it reads the argument, which
# may refer to it. The encoders know no more of a kind than its case.
_DECIMAL, _FRACTION, _DATE, _TIME, _DATETIME, _TIMEDELTA, _TIMEZONE, _ZONE = b"dfyhmlzo"
_NAMEDTUPLE, _ENUM, _TYPE, _EXCEPTION, _KEYS, _VALUES, _ITEMS, _ITERATOR, _ARRAY = b"netxkvwia"
_COUNTER, _ORDERED, _DEFAULT, _DEQUE = b"COFQ"

NAMES = {
    _DECIMAL: "Decimal",
    _FRACTION: "Fraction",
    _DATE: "datetime.date",
    _TIME: "datetime.time",
    _DATETIME: "datetime.datetime",
    _TIMEDELTA: "datetime.timedelta",
    _TIMEZONE: "datetime.timezone",
    _ZONE: "zoneinfo.ZoneInfo",
    _NAMEDTUPLE: "namedtuple",
    _ENUM: "Enum",
    _TYPE: "type",
    _EXCEPTION: "exception",
    _KEYS: "dict_keys",
    _VALUES: "dict_values",
    _ITEMS: "dict_items",
    _ITERATOR: "iterator",
    _ARRAY: "array",
    _COUNTER: "Counter",
    _ORDERED: "OrderedDict",
    _DEFAULT: "defaultdict",
    _DEQUE: "deque",
}

_PLAIN_TYPES: Dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice),
        type(None),
    )
}
_EXCEPTIONS: Dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(
            Exception,
            ArithmeticError,
            AssertionError,
            AttributeError,
            BufferError,
            EOFError,
            FloatingPointError,
        ),
        *(ImportError, IndexError, KeyError, LookupError, MemoryError, ModuleNotFoundError, NameError),
        *(NotImplementedError, OSError, OverflowError, PermissionError, FileNotFoundError, FileExistsError),
        *(
            RecursionError,
            ReferenceError,
            RuntimeError,
            StopIteration,
            SyntaxError,
            SystemError,
            TimeoutError,
        ),
        *(TypeError, UnboundLocalError, UnicodeDecodeError, UnicodeEncodeError, UnicodeError, ValueError),
        *(ZeroDivisionError, Warning, DeprecationWarning, RuntimeWarning, UserWarning),
    )
}
_TYPES: Dict[str, Any] = {**_PLAIN_TYPES, **_EXCEPTIONS}
_TYPE_NAMES: Dict[Any, str] = {kind: name for name, kind in _TYPES.items()}
_FACTORIES = ("bool", "int", "float", "complex", "str", "bytes", "list", "tuple", "dict", "set", "frozenset")

_CARRIED_BASES = (int, str, bytes, float, complex, list, tuple, dict, bytearray, frozenset, set)
_arguments_of: Callable[[BaseException], Any] = BaseException.__dict__["args"].__get__
_bases_of: Callable[[Any], Tuple[type, ...]] = type.__dict__["__mro__"].__get__

Described = Optional[Any]  # None, bytes or (kind, argument)


NAMED_FIRST = frozenset({_NAMEDTUPLE, _ENUM, _EXCEPTION})  # the argument is a tuple that begins with a name

# ---- beside the program: what an object is ---------------------------------------------------------------------------


def describe(value: Any, tokens: Dict[int, Tuple[int, Any]], must_be_token: bool) -> Described:
    """How an object that is not exactly of a plain type travels.

    Args:
        value: the object.
        tokens: those of this message so far, by identity; they are kept alive in it.
        must_be_token: nothing else is possible, because the object contains itself.

    Returns:
        None: as the plain type that it derives from. Bytes: its encoding. Or `(kind, argument)`.
    """
    if not must_be_token:
        try:
            return _describe(value)
        except BaseException:  # _Unknown, or code of the object's class, which may raise what it likes
            pass
    return token(value, tokens)


def token(value: Any, tokens: Dict[int, Tuple[int, Any]]) -> bytes:
    """The encoding of a token; the same object has the same number throughout a message."""
    found = tokens.get(id(value))
    if found is None:
        found = tokens[id(value)] = (len(tokens), value)
    name, text = b"object", b""
    try:
        type_name = type.__dict__["__name__"].__get__(type(value))
        name = _bounded(type_name, MAX_NAME)
        text = _bounded(_text_of(value, type_name), MAX_TEXT)
    except BaseException:
        pass
    return b"".join((b"O", _u32(found[0]), _u32(len(name)), name, _u32(len(text)), text))


def _text_of(value: Any, type_name: str) -> str:
    """A short text that says what the object is, without asking code of the program, and without an address."""
    enum = sys.modules.get("enum")
    if enum is not None and enum.Enum in _bases_of(type(value)):
        return f"<{type_name}.{object.__getattribute__(value, '_name_')}>"
    kind = type(value)
    if kind is type:
        return f"<class '{type.__dict__['__qualname__'].__get__(value)}'>"
    if kind.__module__ == "builtins" and kind in _NAMED_BUILTINS:
        return f"<{type_name} {value.__name__}>"
    return f"<{type_name} object>"


_NAMED_BUILTINS = frozenset({type(describe), type(len), type(sys)})


def _bounded(text: str, longest: int) -> bytes:
    data = str.encode(text, "utf-8", "replace")
    return data if len(data) <= longest else data[: longest - 3].decode("utf-8", "ignore").encode() + b"..."


def _u32(number: int) -> bytes:
    return int.to_bytes(number, 4, "little")


def _describe(value: Any) -> Described:
    kind = type(value)
    if kind is type and value in _TYPE_NAMES:
        return _TYPE, _TYPE_NAMES[value]
    bases = _bases_of(kind)
    for base in bases:
        handler = _HANDLERS.get(base.__name__)
        if handler is not None and getattr(sys.modules.get(handler[0]), base.__name__, None) is base:
            return handler[1](value, base)
    view = _VIEWS.get(kind)
    if view is not None:
        return view, list(value) if view == _VALUES else dict(value) if view == _ITEMS else dict.fromkeys(
            value
        )
    if kind in _ITERATORS or (kind.__module__ == "itertools" and hasattr(kind, "__next__")):
        return _ITERATOR, _drawn(value)
    if tuple in bases:
        return _describe_tuple(value, kind)
    if any(base in bases for base in _CARRIED_BASES):
        return None
    raise _Unknown


def _describe_tuple(value: Any, kind: Any) -> Described:
    fields = getattr(kind, "_fields", None)
    if type(fields) is tuple and len(fields) == tuple.__len__(value) and _are_field_names(fields):
        return _NAMEDTUPLE, (kind.__name__[:MAX_NAME], fields, tuple(tuple.__iter__(value)))
    return None


def _are_field_names(fields: Tuple[Any, ...]) -> bool:
    return len(fields) <= MAX_FIELDS and len(set(fields)) == len(fields) and all(map(_is_field_name, fields))


def _is_field_name(name: Any) -> bool:
    return (
        type(name) is str
        and len(name) <= MAX_NAME
        and name.isidentifier()
        and not name.startswith("_")
        and not keyword.iskeyword(name)
    )


def _parts(base: Any, names: Tuple[str, ...], value: Any) -> Tuple[Any, ...]:
    return tuple([getattr(base, name).__get__(value) for name in names])


def _describe_decimal(value: Any, base: Any) -> Described:
    _, digits, exponent = base.as_tuple(value)
    if len(digits) > MAX_DIGITS or (type(exponent) is int and abs(exponent) > MAX_EXPONENT):
        raise _Unknown
    return _DECIMAL, base.__str__(value)


def _describe_fraction(value: Any, base: Any) -> Described:
    parts = value._numerator, value._denominator
    if any(type(part) is not int or part.bit_length() > MAX_FRACTION_BITS for part in parts):
        raise _Unknown
    return _FRACTION, parts


_DATE_FIELDS = ("year", "month", "day")
_TIME_FIELDS = ("hour", "minute", "second", "microsecond", "fold", "tzinfo")
_DELTA_FIELDS = ("days", "seconds", "microseconds")


def _describe_date(value: Any, base: Any) -> Described:
    return _DATE, _parts(base, _DATE_FIELDS, value)


def _describe_time(value: Any, base: Any) -> Described:
    return _TIME, _with_known_zone(_parts(base, _TIME_FIELDS, value))


def _describe_datetime(value: Any, base: Any) -> Described:
    if type(value).__name__ == "NaTType":  # pandas: a datetime by ancestry, with the fields of the year 1
        raise _Unknown
    return _DATETIME, _with_known_zone(_parts(base, _DATE_FIELDS + _TIME_FIELDS, value))


def _with_known_zone(parts: Tuple[Any, ...]) -> Tuple[Any, ...]:
    zone = parts[-1]
    if zone is not None and type(zone).__name__ not in ("timezone", "ZoneInfo"):
        raise _Unknown
    return parts


def _describe_timedelta(value: Any, base: Any) -> Described:
    return _TIMEDELTA, _parts(base, _DELTA_FIELDS, value)


def _describe_timezone(value: Any, base: Any) -> Described:
    return _TIMEZONE, tuple(base.__getinitargs__(value))


def _describe_zone(value: Any, base: Any) -> Described:
    if type(value.key) is not str:
        raise _Unknown
    return _ZONE, value.key


def _describe_counter(value: Any, base: Any) -> Described:
    return _COUNTER, dict.copy(value)


def _describe_ordered(value: Any, base: Any) -> Described:
    # Its own order: move_to_end does not touch the order of the dict below.
    return _ORDERED, {key: dict.__getitem__(value, key) for key in base.__iter__(value)}


def _describe_default(value: Any, base: Any) -> Described:
    factory = base.default_factory.__get__(value)
    name = _TYPE_NAMES.get(factory) if type(factory) is type else None
    return _DEFAULT, (name if name in _FACTORIES else None, dict.copy(value))


def _describe_deque(value: Any, base: Any) -> Described:
    return _DEQUE, (base.maxlen.__get__(value), list(base.__iter__(value)))


def _describe_enum(value: Any, base: Any) -> Described:
    bases = _bases_of(type(value))
    for plain, read in ((int, int.__int__), (str, str.__str__), (float, float.__float__)):
        if plain in bases:
            name = object.__getattribute__(value, "_name_")
            return _ENUM, (type(value).__name__[:MAX_NAME], name if type(name) is str else None, read(value))
    raise _Unknown


def _describe_exception(value: Any, base: Any) -> Described:
    for kind in _bases_of(type(value)):
        name = _TYPE_NAMES.get(kind) if type(kind) is type else None
        if name is not None:
            return _EXCEPTION, (name, _arguments_of(value))
        if "__str__" in kind.__dict__:
            raise _Unknown  # its text is the program's to make
    raise _Unknown


def _drawn(iterator: Any) -> Tuple[List[Any], Optional[str]]:
    """What an iterator has to give, and why that is not all."""
    items: List[Any] = []
    try:
        for item in iterator:
            if len(items) >= MAX_DRAWN:
                return items, f"an iterator's first {MAX_DRAWN} items travel"
            items.append(item)
    except Exception as error:  # of the program: it is raised again when whoever walks the copy comes to it
        name = type.__dict__["__name__"].__get__(type(error))
        try:
            return items, f"{name}: {error}"[:MAX_TEXT]
        except Exception:
            return items, name
    return items, None


def _describe_array_of_numbers(value: Any, base: Any) -> Described:
    return _ARRAY, (base.typecode.__get__(value), base.tolist(value))


_ITERATORS = frozenset(
    (
        *(type(_ for _ in ()), map, filter, zip, enumerate, reversed, type(reversed([])), type(iter(int, 1))),
        *map(
            type, map(iter, ((), [], "", "é", b"", bytearray(), {}, {}.values(), {}.items(), set(), range(0)))
        ),
        *(
            type(iter(range(1 << 70))),
            type(reversed({})),
            type(reversed({}.values())),
            type(reversed({}.items())),
        ),
    )
)
_VIEWS = {type({}.keys()): _KEYS, type({}.values()): _VALUES, type({}.items()): _ITEMS}


# ---- beside the tests: making it -------------------------------------------------------------------------------------


_costly = 0


def begin() -> None:
    """A value is about to be decoded."""
    global _costly
    _costly = 0


def _spend(steps: int) -> None:
    """Some constructors take far longer than their bytes suggest; this bounds them together, per value.

    Raises:
        CodecError: it is too much.
    """
    global _costly
    _costly += steps
    if _costly > MAX_COSTLY:
        raise CodecError("making the parts of the value takes too long")


def empty(kind: int) -> Any:
    """A container that can change, still empty; None for other kinds."""
    if kind not in (_COUNTER, _ORDERED, _DEFAULT, _DEQUE):
        return None
    import collections

    if kind == _COUNTER:
        return collections.Counter()
    if kind == _ORDERED:
        return collections.OrderedDict()
    return collections.defaultdict() if kind == _DEFAULT else collections.deque()


def make(kind: int, container: Any, argument: Any) -> Any:
    """The value of this kind.

    Args:
        kind: the byte after `M`.
        container: what `empty` gave, to be filled.
        argument: decoded, and not trusted.

    Raises:
        Exception: of many types; the argument is none that `describe` gives.
    """
    maker = _MAKERS.get(kind)
    if maker is None:
        raise CodecError(f"unknown kind {kind}")
    return maker(argument) if container is None else maker(argument, container)


def _all(kind: type, values: Any, count: int) -> Tuple[Any, ...]:
    if type(values) is not tuple or len(values) != count or any(type(value) is not kind for value in values):
        raise CodecError(f"not {count} of type {kind.__name__}")
    return values


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise CodecError(f"not of type {kind.__name__}")
    return value


_DECIMAL_TEXT = re.compile(
    r"-?(?:[0-9]+(?:\.[0-9]+)?(?:[Ee][+-]?[0-9]{1,7})?|s?NaN[0-9]*|Infinity)", re.ASCII
)


def _make_decimal(text: Any) -> Any:
    import decimal

    # "0.000…" has up to six zeros more than digits, and a point.
    if len(_exactly(str, text)) > MAX_DIGITS + 20 or not _DECIMAL_TEXT.fullmatch(text):
        raise CodecError("not a decimal number")
    made = decimal.Decimal(text)
    exponent = made.as_tuple().exponent
    if isinstance(exponent, int) and abs(exponent) > MAX_EXPONENT:
        raise CodecError("the exponent of a decimal number is too large")
    return made


def _make_fraction(parts: Any) -> Any:
    import fractions

    numerator, denominator = _all(int, parts, 2)
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise CodecError("a fraction is too large")
    return fractions.Fraction(numerator, denominator)


def _make_date(parts: Any) -> Any:
    import datetime

    return datetime.date(*_all(int, parts, 3))


def _make_time(parts: Any) -> Any:
    import datetime

    fields, fold, zone = _split_time(parts, 6)
    return Opaque("time") if isinstance(zone, Opaque) else datetime.time(*fields, tzinfo=zone, fold=fold)  # type: ignore[misc]


def _make_datetime(parts: Any) -> Any:
    import datetime

    fields, fold, zone = _split_time(parts, 9)
    return (
        Opaque("datetime") if isinstance(zone, Opaque) else datetime.datetime(*fields, tzinfo=zone, fold=fold)  # type: ignore[misc]
    )


def _split_time(parts: Any, count: int) -> Tuple[Any, int, Any]:
    import datetime

    if len(_exactly(tuple, parts)) != count:
        raise CodecError("not a time")
    zone = parts[-1]  # an Opaque where the zone is not known here
    if zone is not None and not isinstance(zone, (datetime.tzinfo, Opaque)):
        raise CodecError("not a time zone")
    numbers = _all(int, parts[:-1], count - 1)
    return numbers[:-1], numbers[-1], zone


def _make_timedelta(parts: Any) -> Any:
    import datetime

    return datetime.timedelta(*_all(int, parts, 3))


def _make_timezone(arguments: Any) -> Any:
    import datetime

    _exactly(datetime.timedelta, _exactly(tuple, arguments)[0])
    if len(arguments) > 1:
        _exactly(str, arguments[1])
    return datetime.timezone(*arguments[:2])


def _make_zone(key: Any) -> Any:
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,3}", _exactly(str, key)):
        raise CodecError("not a time zone")
    _spend(20)  # it may be looked for in several files
    try:
        import zoneinfo

        return zoneinfo.ZoneInfo(key)
    except Exception:  # no time zone data beside the judge
        return Opaque("ZoneInfo", f"zoneinfo.ZoneInfo(key={key!r})")


class _NamedTuple(tuple):  # type: ignore[type-arg]
    """A namedtuple made without evaluating text, as `collections.namedtuple` does."""

    __slots__ = ()
    _fields: Tuple[str, ...] = ()

    def _asdict(self) -> Dict[str, Any]:
        return dict(zip(self._fields, self))

    def _replace(self, **changes: Any) -> Any:
        made = type(self)([changes.pop(name, value) for name, value in zip(self._fields, self)])
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self))})"


_named_types: Dict[Any, Any] = {}


def _make_namedtuple(description: Any) -> Any:
    name, fields, values = _exactly(tuple, description)
    if not (type(name) is str and len(name) <= MAX_NAME and name.isidentifier()):
        raise CodecError("not the name of a namedtuple")
    if len(_exactly(tuple, values)) != len(_exactly(tuple, fields)) or not _are_field_names(fields):
        raise CodecError("not the fields of a namedtuple")
    kind = _named_types.get((name, fields))
    if kind is None:
        _spend(5 + len(fields))
        if len(_named_types) >= 64:
            _named_types.clear()  # a value may name any number of them
        members: Dict[str, Any] = {field: property(itemgetter(at)) for at, field in enumerate(fields)}
        kind = type(name, (_NamedTuple,), {"__slots__": (), "_fields": fields, **members})
        _named_types[name, fields] = kind
    return kind(values)


class _Member:
    """An Enum member that is also a number or a text. Set once, by `_make_enum`."""

    name: Any
    value: Any
    _type_name: str

    def __repr__(self) -> str:
        return f"<{self._type_name}.{self.name}: {self.value!r}>"


class EnumInt(_Member, int):
    """A member of an Enum of the program that is also an int."""


class EnumStr(_Member, str):
    """A member of an Enum of the program that is also a str."""


class EnumFloat(_Member, float):
    """A member of an Enum of the program that is also a float."""


_MEMBER_TYPES: Dict[type, Any] = {int: EnumInt, str: EnumStr, float: EnumFloat}


def _make_enum(description: Any) -> Any:
    type_name, name, value = _exactly(tuple, description)
    if (
        type(type_name) is not str
        or not (name is None or type(name) is str)
        or type(value) not in _MEMBER_TYPES
    ):
        raise CodecError("not a member of an Enum")
    member = _MEMBER_TYPES[type(value)](value)
    member.name, member.value, member._type_name = name, value, type_name
    return member


def _make_type(name: Any) -> Any:
    return _TYPES[_exactly(str, name)]


def _make_exception(description: Any) -> Any:
    name, arguments = _exactly(tuple, description)
    return _EXCEPTIONS[_exactly(str, name)](*_exactly(tuple, arguments))


def _make_keys(items: Any) -> Any:
    return _exactly(dict, items).keys()


def _make_values(items: Any) -> Any:
    return dict(enumerate(_exactly(list, items))).values()


def _make_items(items: Any) -> Any:
    return _exactly(dict, items).items()


def _make_iterator(description: Any) -> Any:
    items, ended = _exactly(tuple, description)
    _exactly(list, items)
    return iter(items) if ended is None else _broken_off(items, _exactly(str, ended))


def _broken_off(items: List[Any], why: str) -> Iterator[Any]:
    yield from items
    raise RuntimeError(why)


def _make_array_of_numbers(description: Any) -> Any:
    import array

    typecode, numbers = _exactly(tuple, description)
    if type(typecode) is not str or typecode not in "bBhHiIlLqQfd" or len(typecode) != 1:
        raise CodecError("not the type of an array")
    return array.array(typecode, _exactly(list, numbers))


def _make_dict(items: Any, container: Any) -> Any:
    for key, value in _exactly(dict, items).items():
        container[key] = value
    return container


def _make_default(description: Any, container: Any) -> Any:
    factory, items = _exactly(tuple, description)
    if factory is not None:
        if type(factory) is not str or factory not in _FACTORIES:
            raise CodecError("not the factory of a defaultdict")
        container.default_factory = _TYPES[factory]
    return _make_dict(items, container)


def _make_deque(description: Any, container: Any) -> Any:
    longest, items = _exactly(tuple, description)
    if longest is not None and (type(longest) is not int or not 0 <= longest < 1 << 31):
        raise CodecError("not the length of a deque")
    container.__init__(_exactly(list, items), longest)  # the way to give a deque that exists its maxlen
    return container


_MAKERS: Dict[int, Callable[..., Any]] = {
    _DECIMAL: _make_decimal,
    _FRACTION: _make_fraction,
    _DATE: _make_date,
    _TIME: _make_time,
    _DATETIME: _make_datetime,
    _TIMEDELTA: _make_timedelta,
    _TIMEZONE: _make_timezone,
    _ZONE: _make_zone,
    _NAMEDTUPLE: _make_namedtuple,
    _ENUM: _make_enum,
    _TYPE: _make_type,
    _EXCEPTION: _make_exception,
    _KEYS: _make_keys,
    _VALUES: _make_values,
    _ITEMS: _make_items,
    _ITERATOR: _make_iterator,
    _ARRAY: _make_array_of_numbers,
    _COUNTER: _make_dict,
    _ORDERED: _make_dict,
    _DEFAULT: _make_default,
    _DEQUE: _make_deque,
}


# ---- numpy -----------------------------------------------------------------------------------------------------------

# numpy's names, and those of the struct module.
_NUMBER_TYPES = {
    "|b1": "?",
    "|i1": "b",
    "|u1": "B",
    "<i2": "<h",
    "<u2": "<H",
    "<i4": "<i",
    "<u4": "<I",
    "<i8": "<q",
    "<u8": "<Q",
    "<f2": "<e",
    "<f4": "<f",
    "<f8": "<d",
    "<c8": "<ff",
    "<c16": "<dd",
}
# No texts of length 0: numpy makes them longer, so that an array is larger than its bytes.
_OTHER_TYPES = re.compile(
    r"<U[1-9][0-9]{0,6}|\|S[1-9][0-9]{0,6}|<[Mm]8(\[(Y|M|W|D|h|m|s|ms|us|ns)\])?", re.ASCII
)


def _describe_scalar(value: Any, base: Any) -> Described:
    return _array_bytes(sys.modules["numpy"].asarray(value), None)


def _describe_array(value: Any, base: Any) -> Described:
    if type(value) is not base:  # matrices and masked arrays behave in other ways
        raise _Unknown
    return _array_bytes(value, value.shape)


def _array_bytes(array: Any, shape: Optional[Tuple[int, ...]]) -> bytes:
    dtype = array.dtype
    if dtype.str.startswith(">"):
        dtype = dtype.newbyteorder("<")
        array = array.astype(dtype)
    name = dtype.str
    if name not in _NUMBER_TYPES and not _OTHER_TYPES.fullmatch(name):
        raise _Unknown
    out: List[bytes] = [b"n", _u32(len(name)), name.encode(), _u32(SCALAR if shape is None else len(shape))]
    out += map(_u32, shape or ())
    data = array.tobytes()
    return b"".join([*out, _u32(len(data)), data])


def make_array(dtype: str, shape: Optional[Tuple[int, ...]], data: bytes) -> Any:
    """An array, or a scalar where `shape` is None. Without numpy a scalar is Python's, and an array is opaque.

    Raises:
        Exception: of many types; the parts do not belong together.
    """
    if dtype not in _NUMBER_TYPES and not _OTHER_TYPES.fullmatch(dtype):
        raise CodecError("not a dtype that travels")
    if dtype[1] == "U" and (any(data[3::4]) or max(data[2::4], default=0) > 16):
        raise CodecError("a text of the value is not Unicode")
    if dtype == "|b1" and data.translate(None, b"\0\1"):
        raise CodecError("a truth value of an array is neither 0 nor 1")
    numpy = _numpy()
    if numpy is None:
        return _without_numpy(dtype, shape, data)
    array = numpy.frombuffer(data, dtype) if data else numpy.zeros(0, dtype)
    if shape is not None:
        return array.reshape(shape).copy()
    if array.size != 1:
        raise CodecError("not one scalar")
    return array.reshape(())[()]


def _without_numpy(dtype: str, shape: Optional[Tuple[int, ...]], data: bytes) -> Any:
    if shape is not None or dtype not in _NUMBER_TYPES:
        return Opaque("ndarray" if shape is not None else "generic")
    parts = struct.unpack(_NUMBER_TYPES[dtype], data)
    return parts[0] if len(parts) == 1 else complex(*parts)


def scalar_text(dtype: str, data: bytes) -> str:
    """A numpy scalar as text, without numpy."""
    code = _NUMBER_TYPES.get(dtype)
    if code is None or struct.calcsize(code) != len(data):
        return f"(numpy {dtype})"
    return repr(_without_numpy(dtype, None, data))


_numpy_tried: List[Any] = []


def _numpy() -> Any:
    if not _numpy_tried:
        try:
            import numpy
        except Exception:
            numpy = None  # type: ignore[assignment]
        _numpy_tried.append(numpy)
    return _numpy_tried[0]


_HANDLERS: Dict[str, Tuple[str, Callable[[Any, Any], Described]]] = {
    "Decimal": ("decimal", _describe_decimal),
    "Fraction": ("fractions", _describe_fraction),
    "datetime": ("datetime", _describe_datetime),
    "date": ("datetime", _describe_date),
    "time": ("datetime", _describe_time),
    "timedelta": ("datetime", _describe_timedelta),
    "timezone": ("datetime", _describe_timezone),
    "ZoneInfo": ("zoneinfo", _describe_zone),
    "Counter": ("collections", _describe_counter),
    "OrderedDict": ("collections", _describe_ordered),
    "defaultdict": ("collections", _describe_default),
    "deque": ("collections", _describe_deque),
    "array": ("array", _describe_array_of_numbers),
    "Enum": ("enum", _describe_enum),
    "Exception": ("builtins", _describe_exception),
    "generic": ("numpy", _describe_scalar),
    "ndarray": ("numpy", _describe_array),
}
