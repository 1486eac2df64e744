"""One graph of objects in two processes: how a test process and a player share lists, dicts and objects.

Both ends of a conversation hold a `Graph`. What cannot change travels by value. A list, dict, set, bytearray or deque
that both ends know has a number, lives once at each end, and its content follows: every message carries the content of
the shared containers that its sender has changed since the last message. So a program that sorts its argument in place,
keeps it, or hands out a list that the test then appends to behaves as it would in the test's own process.

What is neither plain nor a container stays where it is and travels as a reference: the other end makes a stand-in.

On the wire a value is `flat`: atoms are themselves, every tuple is a mark. `("T", …)` tuple, `("F", …)` frozenset,
`("N", name, fields, …)` namedtuple, `("R", number)` a shared container or an object, `("P", …)` a stand-in by name.
Flat values hold atoms and tuples only, so the codec (`codec.py`) carries them, bounded, and this file decodes nothing.

The end that holds the program prunes: a container that nothing of the program refers to any more is forgotten by both
ends after its last content was sent. Nobody else is trusted to say so, and the worst that a false word does is a
container whose changes are no longer seen.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import codec

MAX_BYTES = 32 << 20
MAX_SHARED = 20_000

Flat = Any

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis)})
_CONTAINERS: Dict[type, str] = {
    list: "L",
    dict: "D",
    set: "S",
    bytearray: "B",
    deque: "Q",
    OrderedDict: "O",
    Counter: "C",
    defaultdict: "E",
}
# A subclass of a container travels as the container; the nearer kind first.
_INHERITED: Tuple[Tuple[type, str], ...] = (
    *((list, "L"), (OrderedDict, "O"), (dict, "D"), (set, "S"), (bytearray, "B"), (deque, "Q")),
)
_FACTORIES: Dict[Any, str] = {
    None: "",
    int: "int",
    list: "list",
    dict: "dict",
    set: "set",
    str: "str",
    float: "float",
}
_FACTORY_TYPES: Dict[str, Any] = {name: factory for factory, name in _FACTORIES.items()}
_FACTORY_TYPES["tuple"] = tuple
_FACTORIES[tuple] = "tuple"

_PLAIN: Tuple[Tuple[type, Callable[[Any], Any]], ...] = (
    *((str, str.__str__), (int, int.__int__), (float, float.__float__)),
)

# Types of the standard library that the codec carries by constructor, by module and name (they are only looked up
# where the module is loaded, so that nobody imports them for the question).
_BY_CONSTRUCTOR = {
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "datetime": ("date", "time", "datetime", "timedelta", "timezone"),
}


class Unsendable(TypeError):
    """A value that this end cannot send."""


class Graph:
    """One end's view of what both ends share.

    Args:
        first: the first number that this end gives out; the other end starts one higher.
        reference: called with an object that stays here; returns its flat form or raises `Unsendable`.
        resolve: called with a flat reference of the other end that is not in the table; returns what stands for it.
        owner: this end holds the program and prunes.
    """

    def __init__(
        self,
        first: int,
        reference: Callable[["Graph", Any], Flat],
        resolve: Callable[["Graph", Flat], Any],
        owner: bool,
    ) -> None:
        self._next = first
        self._reference = reference
        self._resolve = resolve
        self._owner = owner
        self.containers: Dict[int, Any] = {}
        self._numbers: Dict[int, int] = {}
        self._sent: Dict[int, bytes] = {}
        self._kinds: Dict[int, str] = {}
        self._pending: List[int] = []

    def new_number(self) -> int:
        number = self._next
        self._next += 2
        return number

    # ---- sending ----

    def pack(self, values: List[Any]) -> bytes:
        """A message with these values, and with the content of every shared container that changed.

        The list is emptied, so that it does not keep alive what only it refers to: see `_prune`.

        Raises:
            Unsendable: a value holds something that has no flat form at this end.
            MemoryError: it is too large for this process.
        """
        try:
            flat = tuple(map(self.flatten, values))
            contents = self._changed_contents()
        except RecursionError:
            raise Unsendable("nested too deeply to be sent") from None
        finally:
            values.clear()
        forgotten = self._prune() if self._owner else ()
        return _encoded((flat, tuple(contents), tuple(forgotten)))

    def _changed_contents(self) -> List[Tuple[int, str, bytes]]:
        """Walk the shared containers, those found on the way included, and collect what the other end lacks."""
        contents: List[Tuple[int, str, bytes]] = []
        walk = list(self.containers)
        self._pending = []
        while walk:
            for number in walk:
                container = self.containers[number]
                kind = self._kinds[number]
                data = _encoded(self._content(kind, container))
                if self._sent.get(number) != data:
                    self._sent[number] = data
                    contents.append((number, kind, data))
            container = None
            walk, self._pending = self._pending, []
        return contents

    def flatten(self, value: Any) -> Flat:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is tuple:
            return ("T", *[self.flatten(item) for item in value])
        number = self._numbers.get(id(value))
        if number is not None:
            return ("R", number)
        if kind is frozenset:
            return ("F", *[self.flatten(item) for item in value])
        tag = _CONTAINERS.get(kind)
        if tag is None:
            return self._flatten_other(value, kind)
        return ("R", self._share(value, tag))

    def _flatten_other(self, value: Any, kind: type) -> Flat:
        if _is_enum(kind):
            return self._reference(self, value)
        if kind.__module__.partition(".")[0] != "numpy":
            for base, plain in _PLAIN:
                if issubclass(kind, base):
                    return plain(value)
        if issubclass(kind, tuple):
            fields = getattr(kind, "_fields", None)
            if (
                type(fields) is tuple
                and len(fields) == tuple.__len__(value)
                and all(type(f) is str for f in fields)
            ):
                return ("N", kind.__name__, fields, *[self.flatten(item) for item in tuple.__iter__(value)])
            return ("T", *[self.flatten(item) for item in tuple.__iter__(value)])
        module = kind.__module__
        if kind.__name__ in _BY_CONSTRUCTOR.get(module, ()) or module.partition(".")[0] == "numpy":
            try:
                data, _ = codec.encode_value(value, MAX_BYTES)
            except Exception:
                data = b"O"
            if data[:1] in (b"M", b"n"):
                return ("V", bytes(data))
        if module == "array" and kind.__name__ == "array":
            return ("R", self._share(value, "A"))
        for container, tag in _INHERITED:
            if issubclass(kind, container):
                return ("R", self._share(value, tag))
        if issubclass(kind, frozenset):
            return ("F", *[self.flatten(item) for item in frozenset.__iter__(value)])
        if issubclass(kind, bytes):
            return bytes.__getitem__(value, slice(None))
        return self._reference(self, value)

    def _share(self, container: Any, tag: str) -> int:
        number = self.new_number()
        self._register(number, container, tag)
        self._pending.append(number)
        return number

    def _register(self, number: int, container: Any, tag: str) -> None:
        self.containers[number] = container
        self._numbers[id(container)] = number
        self._kinds[number] = tag

    def _content(self, tag: str, container: Any) -> Flat:
        flatten = self.flatten
        if tag == "L":
            return tuple([flatten(item) for item in list.__iter__(container)])
        if tag in ("D", "O", "C", "E"):
            flat: List[Flat] = []
            if tag == "E":
                flat.append(_FACTORIES.get(container.default_factory, ""))
            for key, value in (OrderedDict if tag == "O" else dict).items(container):
                flat.append(flatten(key))
                flat.append(flatten(value))
            return tuple(flat)
        if tag == "S":
            return tuple([flatten(item) for item in set.__iter__(container)])
        if tag == "B":
            return (bytes(container),)
        if tag == "A":
            return (container.typecode, *container)
        return (container.maxlen, *[flatten(item) for item in deque.__iter__(container)])

    # ---- receiving ----

    def unpack(self, data: bytes) -> Tuple[Any, ...]:
        """The values of a message; shared containers of this end have the content that the other end gave them.

        Raises:
            codec.CodecError: the bytes are none.
            ValueError, TypeError, LookupError, RecursionError: the message is malformed.
        """
        flat, contents, forgotten = codec.decode_value(data)
        decoded = []
        for number, tag, data in contents:
            content = codec.decode_value(data)
            if number not in self.containers:
                self._register(number, _empty(tag, content), tag)
            decoded.append((number, tag, content))
        # All containers exist by now, and none is a key of another: the order of filling them does not matter.
        for number, tag, content in decoded:
            self._fill(number, tag, content)
        values = tuple([self.unflatten(value) for value in flat])
        for number, _, _ in decoded:
            # In this end's own words: a set is iterated in another order here, and that is not a change.
            self._sent[number] = self._own_words(number)
        for number in forgotten:
            self.forget(number)
        return values

    def _own_words(self, number: int) -> bytes:
        return _encoded(self._content(self._kinds[number], self.containers[number]))

    def _fill(self, number: int, tag: str, content: Tuple[Any, ...]) -> None:
        container, thaw = self.containers[number], self.unflatten
        if tag == "L":
            list.__setitem__(container, slice(None), [thaw(item) for item in content])
        elif tag in ("D", "O", "C", "E"):
            if tag == "E":
                if container.default_factory is None:
                    container.default_factory = _FACTORY_TYPES[content[0]]
                content = content[1:]
            items = [(thaw(content[i]), thaw(content[i + 1])) for i in range(0, len(content), 2)]
            dict_type: Any = OrderedDict if tag == "O" else dict
            dict_type.clear(container)
            for key, value in items:
                dict_type.__setitem__(container, key, value)
        elif tag == "S":
            set.clear(container)
            set.update(container, [thaw(item) for item in content])
        elif tag == "B":
            bytearray.__setitem__(container, slice(None), content[0])
        elif tag == "A":
            del container[:]
            container.extend(content[1:])
        else:
            deque.clear(container)
            deque.extend(container, [thaw(item) for item in content[1:]])

    def unflatten(self, flat: Flat) -> Any:
        if type(flat) is not tuple:
            return flat
        tag = flat[0]
        if tag == "R":
            container = self.containers.get(flat[1], self)
            return self._resolve(self, flat) if container is self else container
        if tag == "T":
            return tuple([self.unflatten(item) for item in flat[1:]])
        if tag == "F":
            return frozenset([self.unflatten(item) for item in flat[1:]])
        if tag == "N":
            return _named(flat[1], flat[2])._make([self.unflatten(item) for item in flat[3:]])
        if tag == "V":
            return codec.decode_value(flat[1])
        return self._resolve(self, flat)

    # ---- forgetting ----

    def forget(self, number: int) -> None:
        container = self.containers.pop(number, None)
        if container is not None:
            self._numbers.pop(id(container), None)
            self._sent.pop(number, None)
            self._kinds.pop(number, None)

    def _prune(self) -> List[int]:
        """Forget the containers that only this table, and other such containers, still refer to.

        The same subtraction as the cycle collector's: references from inside are taken off the reference count, and
        what has some left, with all that can be reached from it, stays.
        """
        containers = self.containers
        if not containers:
            return []
        inside: Dict[int, int] = {}
        nodes: Dict[int, Any] = dict(zip(map(id, containers.values()), containers.values()))
        walk = list(nodes.values())
        children: Dict[int, List[int]] = {}
        while walk:
            node = walk.pop()
            below = children.setdefault(id(node), [])
            for item in _items(node):
                kind = type(item)
                if kind is tuple or kind is frozenset:
                    key = id(item)
                    if key not in nodes:
                        nodes[key] = item
                        walk.append(item)
                elif id(item) not in nodes:
                    continue
                key = id(item)
                inside[key] = inside.get(key, 0) + 1
                below.append(key)
            item = None
        node = None
        shared = set(map(id, containers.values()))
        nodes[0] = []
        ours = sys.getrefcount(
            nodes[0]
        )  # `nodes` itself and the asking; the table comes on top for what is in it
        del nodes[0]
        alive = [
            key for key in nodes if sys.getrefcount(nodes[key]) - ours - (key in shared) > inside.get(key, 0)
        ]
        kept = set(alive)
        while alive:
            for key in children.get(alive.pop(), ()):
                if key not in kept:
                    kept.add(key)
                    alive.append(key)
        forgotten = [number for number, container in containers.items() if id(container) not in kept]
        if len(containers) - len(forgotten) > MAX_SHARED:
            forgotten = list(containers)
        for number in forgotten:
            self.forget(number)
        return forgotten


def _encoded(flat: Flat) -> bytes:
    data, _ = codec.encode_value(flat, MAX_BYTES)
    if data[:1] == b"O":
        raise Unsendable("too large or nested too deeply to be sent")
    return bytes(data)


def _items(node: Any) -> List[Any]:
    if isinstance(node, dict):
        return [*dict.keys(node), *dict.values(node)]
    if isinstance(node, (bytearray,)):
        return []
    if isinstance(node, list):
        return list(list.__iter__(node))
    return list(node)


def _empty(tag: str, content: Tuple[Any, ...]) -> Any:
    if tag == "Q":
        return deque(maxlen=content[0])
    if tag == "A":
        import array

        return array.array(content[0])
    for kind, name in _CONTAINERS.items():
        if name == tag:
            return kind()
    raise ValueError(f"unknown kind of container {tag!r}")


_named_types: Dict[Tuple[str, Tuple[str, ...]], Any] = {}


def _named(name: Any, fields: Any) -> Any:
    key = (name, fields)
    found = _named_types.get(key)
    if found is None:
        if len(_named_types) > 100 or len(fields) > 100:
            raise ValueError("too many kinds of namedtuple")
        found = _named_types[key] = namedtuple(str(name), [str(f) for f in fields])
    return found


def _is_enum(kind: type) -> bool:
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(kind, enum.Enum)


def exception_names(error: BaseException) -> Optional[List[str]]:
    """An exception's ancestry, nearest first: `["json.decoder.JSONDecodeError", "ValueError", "Exception", …]`."""
    names = []
    for kind in type(error).__mro__:
        if kind.__module__ == "builtins":
            names.append(kind.__name__)
        else:
            names.append(f"{kind.__module__}.{kind.__qualname__}")
    return names
