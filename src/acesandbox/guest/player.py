"""The player: the process that holds one program, answers calls to it, and knows nothing else.

Its only counterpart is the supervisor, on fd 3 (frames of `docs/protocol.md`). It never sees an expected value,
a test's text (except in shared mode, which says so), another program or the verdict channel. Nothing in this file is
trusted by anybody: a program may patch all of it and can only change what its own calls return.

What the reference harnesses do is kept: the program is executed once as a module and its tests' calls run in order in
that module; the recursion limit is raised by the depth of our own frames; `__main__` blocks do not run.
"""

from __future__ import annotations

import builtins
import gc
import marshal
import os
import sys
from time import process_time_ns
from types import ModuleType
from typing import Any, Dict, Optional

from . import _native, codec

FAILED, ERROR, SYNTAX_ERROR, MISSING_MODULE = 1, 2, 3, 4
MEMORY_LIMIT, PROCESS_LIMIT, EXITED = 7, 9, 12

AT_LOAD = 0xFFFF
MAX_VALUE_BYTES = 16 << 20
MAX_TEXT = 2000

_AS_SCRIPT, _SETUP_IS_JSON = 1, 2

_LOAD, _REQUEST, _CALL, _SHARED, _QUIT = ord("P"), ord("R"), ord("C"), ord("X"), ord("Q")
_LOADED, _VALUE, _EXCEPTION, _ANSWER, _RESULT = ord("L"), ord("V"), ord("X"), ord("A"), ord("S")

# The frames of ours below a program's own: `play` and `_answer`. The limit is raised by them so that a program
# recurses exactly as deep as in the reference harness.
_OWN_DEPTH = 2


def play() -> None:
    """Serve frames until `Q` or the end of the socket; never returns."""
    read, exit_now = _native.read_frame, os._exit
    namespace: Dict[str, Any] = {}
    while True:
        frame = read(3)
        if frame is None:
            exit_now(0)
        kind, flags, index, payload, _ = frame
        if kind == _REQUEST:
            _answer(namespace, index, payload)
        elif kind == _LOAD:
            setup_length = int.from_bytes(payload[:4], "little")
            setup_bytes = payload[4 : 4 + setup_length]
            program = payload[8 + setup_length :]
            if flags & _SETUP_IS_JSON:
                import json

                _run_script(json.loads(setup_bytes), program)
            setup = marshal.loads(setup_bytes)
            if flags & _AS_SCRIPT:
                _run_script(setup, program)
            loaded = _load(setup, program)
            if loaded is None:
                _finish(0)
            else:
                namespace = loaded
            _native.write_frame(3, _LOADED, 0, 0)
        elif kind == _CALL:
            from . import calls

            _native.write_frame(3, _ANSWER, 0, index, calls.handle_call(payload, namespace))
        elif kind == _SHARED:
            _run_shared(namespace, index, payload)
        elif kind == _QUIT:
            _finish(0)
        else:
            exit_now(112)


def _load(setup: Dict[str, Any], program: bytes) -> Optional[Dict[str, Any]]:
    """Execute the program as a module; None when it did not load (the supervisor has been told)."""
    started = process_time_ns()
    name = setup.get("module", "solution")
    module = ModuleType(name)
    sys.modules[name] = module
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    if setup.get("prelude"):
        program = setup["prelude"].encode("utf-8", "surrogatepass") + b"\n" + program
    try:
        text = program.decode("utf-8", "surrogatepass")
        code = compile(text, "<program>", "exec", 0, True)
    except BaseException as error:
        memory = isinstance(error, MemoryError)
        _send_exception(AT_LOAD, MEMORY_LIMIT if memory else SYNTAX_ERROR, started, error)
        return None
    sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_DEPTH)
    try:
        exec(code, namespace)
    except BaseException as error:
        _send_exception(AT_LOAD, status_of(error), started, error)
        return None
    return namespace


def _answer(namespace: Dict[str, Any], index: int, payload: bytes) -> None:
    """One planned request: evaluate, encode, send."""
    started = process_time_ns()
    try:
        request = marshal.loads(payload)
        if request[0] == 0:
            name = request[1]
            try:
                function = namespace[name]
            except KeyError:
                function = _builtin_or_name_error(name)
            value = function(*request[2], **request[3])
        else:
            value = eval(request[1], namespace)
        if type(value) is _COROUTINE:
            value = _run_coroutine(value)
        data, strict = codec.encode_value(value, MAX_VALUE_BYTES)
    except BaseException as error:
        _send_exception(index, status_of(error), started, error)
        return
    spent = (process_time_ns() - started) // 1000
    _native.write_frame(3, _VALUE, strict, index, spent.to_bytes(4, "little"), data)


def _builtin_or_name_error(name: str) -> object:
    try:
        return getattr(builtins, name)
    except AttributeError:
        raise NameError(f"name {name!r} is not defined") from None


async def _nothing() -> None:
    return None


_coroutine = _nothing()
_COROUTINE = type(_coroutine)
_coroutine.close()


def _run_coroutine(value: object) -> object:
    import asyncio

    return asyncio.run(value)  # type: ignore[arg-type]


def _run_shared(namespace: Dict[str, Any], index: int, payload: bytes) -> None:
    """Run a test's own text beside the program (shared mode: the result says that it is not sealed)."""
    from . import shared

    started = process_time_ns()
    try:
        status, text = shared.run_test(namespace, payload)
    except BaseException as error:
        status, text = status_of(error), describe(error)
    spent = max(0, (process_time_ns() - started) // 1000)
    _native.write_frame(3, _RESULT, status, index, spent.to_bytes(4, "little"), _bounded(text))


def _run_script(setup: Dict[str, Any], program: bytes) -> None:
    """Run the program as `__main__`, as `python program.py` would, and exit with its code; never returns."""
    started = process_time_ns()
    sys.argv[:] = ["program.py", *setup.get("args", ())]
    sys.path.insert(0, os.getcwd())
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    namespace["__file__"] = "program.py"
    try:
        try:
            code = compile(program.decode("utf-8", "surrogatepass"), "program.py", "exec", 0, True)
        except BaseException as error:
            _print_traceback(error)
            _send_exception(AT_LOAD, SYNTAX_ERROR, started, error)
            _finish(1)
        sys.setrecursionlimit(sys.getrecursionlimit() + _OWN_DEPTH)
        exec(code, namespace)
    except SystemExit as error:
        code_given = error.code
        if code_given is None:
            _finish(0)
        if isinstance(code_given, int):
            _finish(code_given & 0xFF)
        print(code_given, file=sys.stderr)
        _finish(1)
    except BaseException as error:
        _print_traceback(error)
        _send_exception(AT_LOAD, status_of(error), started, error)
        _finish(1)
    _join_threads()
    _finish(0)


def _join_threads() -> None:
    """As interpreter shutdown does: wait for non-daemon threads, then run atexit handlers."""
    threading = sys.modules.get("threading")
    try:
        if threading is not None:
            threading._shutdown()
        import atexit

        atexit._run_exitfuncs()
    except BaseException as error:
        _print_traceback(error)


def _print_traceback(error: BaseException) -> None:
    import traceback

    try:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != "program.py":
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
    except BaseException:
        pass


def _finish(code: int) -> None:
    """Flush what the program printed, say so, and leave without running anything else of the program's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    os._exit(code)


def status_of(error: BaseException) -> int:
    """The status that an exception of the program stands for."""
    if isinstance(error, ModuleNotFoundError):
        return MISSING_MODULE
    if isinstance(error, MemoryError):
        return MEMORY_LIMIT
    if isinstance(error, SystemExit):
        return EXITED
    if isinstance(error, OSError) and error.errno == 11 and not isinstance(error, TimeoutError):
        return PROCESS_LIMIT
    if type(error) is RuntimeError and "can't start new thread" in str(error):
        return PROCESS_LIMIT
    return ERROR


def describe(error: BaseException) -> str:
    """`Type: message (line n)`, bounded; the line is the innermost one of the program's own text."""
    name = type(error).__name__
    try:
        text = str(error)
    except BaseException:
        text = "(its message cannot be printed)"
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        line = 0  # the message has it already
    shown = f"{name}: {text[:MAX_TEXT]}" if text else name
    return f"{shown} (line {line})" if line else shown


def _bounded(text: str) -> bytes:
    return text[:MAX_TEXT].encode("utf-8", "replace")


def _send_exception(index: int, status: int, started: int, error: BaseException) -> None:
    spent = max(0, (process_time_ns() - started) // 1000)
    try:
        text = _bounded(describe(error))
    except BaseException:
        text = b"exception"
    error.__traceback__ = None
    _native.write_frame(3, _EXCEPTION, status, index, min(spent, 0xFFFFFFFF).to_bytes(4, "little"), text)


def complete_builtins() -> None:
    """Called once in the zygote: what `site` adds to a program's world, and signals to oneself.

    A player is init of its pid namespace, and the kernel drops deadly signals that init sends to itself: without the
    wrappers `os.kill(os.getpid(), 9)` would do nothing, while any other process would be gone. Exit code 128 + n is
    reported as killed by signal n.
    """
    import _sitebuiltins
    import signal

    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _sitebuiltins._Helper()

    deadly = set(signal.Signals) - {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
    really_kill, really_abort = os.kill, os.abort

    def die_if_deadly(number: int) -> None:
        if number in (signal.SIGKILL, signal.SIGSTOP):
            os._exit(128 + number)
        if number in deadly and signal.getsignal(number) is signal.SIG_DFL:
            os._exit(128 + number)

    def kill(pid: int, sig: int, /) -> None:
        really_kill(pid, sig)
        if pid == os.getpid() == 1:
            die_if_deadly(sig)

    def raise_signal(signalnum: int, /) -> None:
        kill(os.getpid(), signalnum)

    def abort() -> None:
        if os.getpid() == 1:
            os._exit(128 + signal.SIGABRT)
        really_abort()

    for function, original in (
        (kill, really_kill),
        (raise_signal, signal.raise_signal),
        (abort, really_abort),
    ):
        function.__doc__ = original.__doc__
    os.kill, os.abort, signal.raise_signal = kill, abort, raise_signal  # type: ignore[assignment]


def rehearse() -> None:
    """Called once in the zygote: go through the paths that every player takes, so that they are warm."""
    from . import calls  # noqa: F401  (a player with a proxied test would read and run it at its first call)

    codec.encode_value([1, "a", 2.5, None, True, (1,), {"k": {1}}, -(10**30)], MAX_VALUE_BYTES)
    try:
        raise ValueError("rehearsal")
    except ValueError as error:
        _bounded(describe(error))
        status_of(error)
    gc.collect()
