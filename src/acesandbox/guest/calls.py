"""The player's side of a conversation with a test process: performs what stand-ins ask for on the real objects.

`handle_call` gets the payload of a `C` frame and returns that of the `A` frame. A request names an operation and its
target: a global of the program or an object that an earlier answer referred to. Operations are what a test does to a
function or an object from outside: call, attributes, items, length, iteration, conversion to str. There is none that
compares, tests membership, or applies an operator: what something is equal to is never this side's word.

While a request is performed, what the program prints is recorded, and goes back with the answer, so that a test that
replaces `sys.stdout` sees it. The state of the module `random` travels both ways if the test uses that module.

A function of the test's that the program got as an argument is a `_Callback` here: calling it sends an `A` frame that
asks for it, and waits for the `C` frame that answers.
"""

from __future__ import annotations

import builtins
import io
import sys
from typing import Any, Dict, List, Optional, Tuple

from . import _native
from .graph import Flat, Graph, Unsendable, exception_names

MAX_PRINTED = 1 << 20
MAX_TEXT = 2000

_CALL, _ANSWER = ord("C"), ord("A")

# The frames of ours between `player.play` and the program are `handle_call`, `_Session.handle` and the operation; the
# player has already allowed for two of them.
_OWN_DEPTH = 3

_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    frozenset,
    bytearray,
    range,
)


def handle_call(payload: bytes, namespace: Dict[str, Any]) -> bytes:
    """Perform one request of the test process.

    Args:
        namespace: the globals of the program.

    Raises:
        Nothing that the program or the request is to blame for: that is the answer.
    """
    global _session
    if _session is None or _session.namespace is not namespace:
        sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_DEPTH)
        _session = _Session(namespace)
    return _session.handle(payload)


_session: Optional["_Session"] = None


class _Tee(io.TextIOBase):
    """Standard output or error while a request is performed: it records and passes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._parts: List[str] = []
        self._room = MAX_PRINTED

    def write(self, text: str) -> int:
        if self._room > 0:
            part = str(text)[: self._room]
            self._parts.append(part)
            self._room -= len(part)
        self._stream.write(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return int(self._stream.fileno())

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def buffer(self) -> Any:
        return self._stream.buffer

    def printed(self) -> str:
        return "".join(self._parts)


class _Callback:
    """A function that lives in the test process."""

    def __init__(self, session: "_Session", number: int) -> None:
        self._ace_session = session
        self._ace_number = number

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._ace_session.call_back(self._ace_number, arguments, keywords)


class _Session:
    """The conversation of this process with its test process."""

    def __init__(self, namespace: Dict[str, Any]) -> None:
        self.namespace = namespace
        self.graph = Graph(1, self._reference, self._resolve, owner=True)
        self._objects: Dict[int, Any] = {}
        self._object_numbers: Dict[int, int] = {}
        self._callbacks: Dict[int, _Callback] = {}
        self._sequence = 0
        self._out = self._err = _Tee(None)

    # ---- one request ----

    def handle(self, payload: bytes) -> bytes:
        try:
            request = self.graph.unpack(payload)
            self._sequence = request[0]
        except Exception as error:
            return self.graph.pack(["fault", f"{type(error).__name__}: {error}", "", "", None])
        return self._answer_to(list(request))

    def _answer_to(self, request: List[Any]) -> bytes:
        """Perform a request; the list is emptied, so that no name of ours keeps an argument alive (`Graph._prune`)."""
        operation = getattr(self, "_do_" + request[1])
        uses_random = request[4]
        request[:] = request[2:4]
        if uses_random is not None:
            sys.modules["random"].setstate(uses_random)
        kept = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._out, self._err = _Tee(kept[0]), _Tee(kept[1])
        answer: List[Any]
        try:
            answer = ["value", operation(*_taken_from(request))]
        except BaseException as error:
            answer = self._raised(error)
            error.__traceback__ = None
        finally:
            sys.stdout, sys.stderr = kept
        answer += [*self._printed(), _random_state(uses_random)]
        try:
            return self.graph.pack(answer)
        except Unsendable as error:
            return self.graph.pack(["fault", str(error), "", "", None])
        except MemoryError:
            return self.graph.pack(["raise", (["MemoryError", "Exception"], (), "", 0), "", "", None])
        except Exception as error:  # the codec's: too large
            return self.graph.pack(["fault", f"a value cannot be sent: {error}", "", "", None])

    def _printed(self) -> Tuple[str, str]:
        return self._out.printed(), self._err.printed()

    def _raised(self, error: BaseException) -> List[Any]:
        try:
            text = str(error)[:MAX_TEXT]
        except BaseException:
            text = ""
        arguments = getattr(error, "args", ())
        if not (
            type(arguments) is tuple
            and all(type(a) in (str, int, float, bool, type(None)) for a in arguments)
        ):
            arguments = (text,)
        number = self._number_of(type(error)) if type(error).__module__ == self._module() else 0
        line = 0
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<program>":
                line = trace.tb_lineno
            trace = trace.tb_next
        return ["raise", (exception_names(error), arguments, text, number, line)]

    def _module(self) -> Any:
        return self.namespace.get("__name__")

    def call_back(self, number: int, arguments: Tuple[Any, ...], keywords: Dict[str, Any]) -> Any:
        """Have the test process call a function of its own; requests that it makes meanwhile are served here."""
        out, err = self._printed()
        message = self.graph.pack(["callback", (number, list(arguments), keywords), out, err, None])
        _native.write_frame(3, _ANSWER, 0, self._sequence & 0xFFFF, message)
        kept_streams, kept_tees = (sys.stdout, sys.stderr), (self._out, self._err)
        self._out._parts.clear()
        self._err._parts.clear()
        while True:
            frame = _native.read_frame(3)
            if frame is None or frame[0] != _CALL:
                raise SystemExit("the test process is gone")
            request = list(self.graph.unpack(frame[3]))
            self._sequence = request[0]
            if request[1] == "return":
                return request[3]
            if request[1] == "raise":
                raise getattr(builtins, request[2], Exception)(*request[3])
            answer = self._answer_to(request)
            sys.stdout, sys.stderr = kept_streams
            self._out, self._err = kept_tees
            _native.write_frame(3, _ANSWER, 0, self._sequence & 0xFFFF, answer)

    # ---- references ----

    def _number_of(self, value: Any) -> int:
        number = self._object_numbers.get(id(value))
        if number is None:
            number = self.graph.new_number()
            self._objects[number] = value
            self._object_numbers[id(value)] = number
        return number

    def _reference(self, graph: Graph, value: Any) -> Flat:
        kind = type(value)
        if kind is _Kept:
            return self._object(value.value)
        if kind is _Callback:
            return ("C", value._ace_number)
        if isinstance(value, type):
            named: Any = value
            if getattr(builtins, named.__name__, None) is value:
                return ("P", named.__name__)
        if kind.__module__ in ("pathlib", "uuid") and kind.__name__ in ("PosixPath", "PurePosixPath", "UUID"):
            return ("K", kind.__name__, str(value))
        if _is_generator(value):
            return ("G", self._number_of(value))
        return self._object(value)

    def _object(self, value: Any) -> Flat:
        number, kind = self._number_of(value), type(value)
        chain = []
        for ancestor in value.__mro__ if isinstance(value, type) else kind.__mro__:
            if ancestor.__module__ == self._module():
                chain.append(self._number_of(ancestor))
        form = "class" if isinstance(value, type) else "object"
        name = value.__name__ if isinstance(value, type) else kind.__name__
        return ("X", number, form, str(name), tuple(chain))

    def _resolve(self, graph: Graph, flat: Flat) -> Any:
        tag, number = flat[0], flat[1]
        if tag == "X":
            return self._objects[number]
        if tag == "C":
            callback = self._callbacks.get(number)
            if callback is None:
                callback = self._callbacks[number] = _Callback(self, number)
            return callback
        if tag == "P":
            value: Any = __import__(number, fromlist=["*"])
            for part in flat[2].split("."):
                value = getattr(value, part)
            return value
        if tag == "K":
            module = "uuid" if number == "UUID" else "pathlib"
            return getattr(__import__(module), number)(flat[2])
        raise LookupError(f"unknown reference {tag!r}")

    # ---- operations: each takes (target, argument) ----

    def _target(self, target: Any) -> Any:
        if type(target) is not str:
            return target
        try:
            return self.namespace[target]
        except KeyError:
            return getattr(builtins, target)

    def _do_describe(self, names: Tuple[str, ...], imports: Tuple[Tuple[str, str], ...]) -> List[Any]:
        """What the program's names are; and modules that the test imports are given to a program that lacks them."""
        for name, module in imports:
            if name not in self.namespace:
                try:
                    found = __import__(module)
                    self.namespace[name] = sys.modules[module] if name != module.partition(".")[0] else found
                except ImportError:
                    continue
        return [self._description(name) for name in names]

    def _description(self, name: str) -> Tuple[Any, ...]:
        if name in self.namespace:
            value = self.namespace[name]
        elif hasattr(builtins, name):
            value = getattr(builtins, name)
        else:
            return ("missing",)
        if isinstance(value, type):
            base = None
            if issubclass(value, BaseException):
                base = next(k.__name__ for k in value.__mro__ if k.__module__ == "builtins")
                if value.__module__ == "builtins":
                    return ("value", value)
            chain = tuple([self._number_of(k) for k in value.__mro__ if k.__module__ == self._module()])
            return ("class", self._number_of(value), value.__name__, base, chain)
        if type(value) is type(sys):
            return ("module", value.__name__)
        if callable(value):
            flags = getattr(getattr(value, "__code__", None), "co_flags", 0)
            shown = getattr(value, "__name__", name), getattr(value, "__doc__", None)
            form = "coroutine" if flags & 0x80 else "function"
            return (form, self._number_of(value), *[s if type(s) is str else None for s in shown])
        return ("value", value)

    def _do_call(self, target: Any, arguments: Tuple[Any, Any]) -> Any:
        function = self._target(target)
        value = function(*arguments[0], **arguments[1])
        if type(value).__name__ == "coroutine":
            import asyncio

            value = asyncio.run(value)
        if (
            isinstance(function, type)
            and type(value) not in _PLAIN
            and not isinstance(value, (tuple, str, int, float))
        ):
            return _Kept(value)
        return value

    def _do_global(self, target: str, _: Any) -> Any:
        return self._target(target)

    def _do_get(self, target: Any, name: str) -> Any:
        return getattr(target, name)

    def _do_set(self, target: Any, pair: Tuple[str, Any]) -> None:
        setattr(target, pair[0], pair[1])

    def _do_delete(self, target: Any, name: str) -> None:
        delattr(target, name)

    def _do_item(self, target: Any, key: Any) -> Any:
        return target[key]

    def _do_set_item(self, target: Any, pair: Tuple[Any, Any]) -> None:
        target[pair[0]] = pair[1]

    def _do_delete_item(self, target: Any, key: Any) -> None:
        del target[key]

    def _do_length(self, target: Any, _: Any) -> int:
        return len(target)

    def _do_iterate(self, target: Any, _: Any) -> Any:
        return _Kept(iter(target))

    def _do_next(self, target: Any, _: Any) -> Tuple[bool, Any]:
        try:
            return True, next(target)
        except StopIteration:
            return False, None

    def _do_text(self, target: Any, form: str) -> str:
        if form == "str":
            return str(target)
        return repr(target) if form == "repr" else format(target, form[1:])

    def _do_number(self, target: Any, form: str) -> Any:
        return int(target) if form == "int" else float(target)


class _Kept:
    """A result that stays here whatever it is: an instance that a test has constructed, an iterator."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _taken_from(request: List[Any]) -> List[Any]:
    taken = request[:]
    request.clear()
    return taken


def _is_generator(value: Any) -> bool:
    return type(value).__name__ == "generator"


def _random_state(wanted: Any) -> Any:
    return None if wanted is None else sys.modules["random"].getstate()
