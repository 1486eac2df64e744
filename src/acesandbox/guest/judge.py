"""The judge: holds one problem's tests, plans them, and decides what the player's values mean.

It talks to the supervisor on fd 3 and to nobody else (frames of `docs/protocol.md`): `P` brings a problem and is
answered with its plan, `D` and `O` bring a value or an output to decide on, `J` asks for a test process, which is a
clone of this process with the current problem in its memory (`proxy.py`). It never executes a byte of a program: what
it knows of one are decoded values of exact built-in types.

It serves many problems and keeps nothing from one to the next but imported modules. Tests are written by models too, so
the supervisor watches its CPU time; what a test or a value makes it do beyond that ends this process, and the
supervisor starts another.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from typing import Any, Dict, Optional, Tuple

from . import _native, codec
from .expressions import evaluate
from .plan import EQUALITY, FALSE, FUNCTIONAL, IDENTITY, PLAN, PROXY, STDIO, TRUTH, Plan, make_plan

PASSED, FAILED, ERROR = 0, 1, 2

MAX_TEXT = 2000

_PROBLEM, _DECIDE, _OUTPUT, _FORK, _REFUSED = ord("P"), ord("D"), ord("O"), ord("J"), ord("E")

# Address space of a judge that cannot read in /proc how much it has, and what one may take however little programs may:
# reading tests takes memory too.
_UNSEEN_SPACE = 512 << 20
_LEAST_ROOM = 256 << 20

# A test process that the supervisor somehow lost ends by itself.
_TEST_CPU_SECONDS = 600


def main() -> None:
    """Warm up, lock down, and serve until the supervisor closes the socket."""
    config = json.loads(sys.argv[1])
    _forget_start_up(config)
    _warm_up()
    _bound_memory(int(config.get("memory_mb", 0)) << 20)
    tier = config.get("tier")
    _native.configure(tier == "namespaces", config.get("scratch", "/tmp"))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    if tier != "none":
        filter_name = "judge-no-pidns"
        if tier == "namespaces":
            filter_name = "judge-system" if config.get("profile") == "system" else "judge"
        _native.lockdown(filter_name, int(config.get("processes", 0)))
    serve()


def _forget_start_up(config: Dict[str, Any]) -> None:
    """Only the interpreter's own folders are imported from, above all not the working directory.

    Programs write to the scratch directory, and a test process starts there: `import json` must not find theirs.
    """
    sys.path[:] = [p for p in sys.path if p and p != config.get("guest_parent", "/ace")]
    sys.path.extend(p for p in config.get("site", ()) if p not in sys.path)
    sys.argv[:] = ["test.py"]
    sys.dont_write_bytecode = True
    for name in ("PYTHONPATH", "LD_BIND_NOW", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    if config.get("profile") == "system" and config.get("site"):
        os.environ["PYTHONPATH"] = os.pathsep.join(config["site"])


def _bound_memory(program: int) -> None:
    """Where no cgroup bounds the worker, nothing else bounds what a value or a test makes of this process.

    Twice a program's memory holds the largest value that a program can have, beside the expected one or the bytes it
    came in. Test processes lower the limit for themselves (`spawn`), so the hard one stays.

    Args:
        program: bytes that a program may use; 0 for no bound.
    """
    if program <= 0:
        return
    try:
        with open("/proc/self/statm", "rb") as file:
            own = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        own = _UNSEEN_SPACE
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = own + max(2 * program, _LEAST_ROOM)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


_REHEARSAL = {
    "kind": "asserts",
    "tests": [
        "assert f(1, [2], k='x') == [1, 'a', 2.5, None, (1,), {'k': {1}}], 'message'",
        "assert abs(f(2) - 1.5) < 1e-6",
        "assert not f('a') is None",
        "assert ____ == f(1)",
        "assert (",
        "for i in range(3):\n    assert f(i) == i",
    ],
    "entry_point": "f",
    "prompt": "def f(x): ...",
}


def _warm_up() -> None:
    """Go once through every path, so that what the interpreter builds lazily is there (and is there in clones)."""
    plan = make_plan(_REHEARSAL)
    plan.to_bytes()
    for value in (2.0, None):
        data, _ = codec.encode_value(value, 1000)
        decide(plan, 1, bytes(data))
    decide(plan, 0, plan.tests[0].expected)


def serve() -> None:
    """Answer frames until the end of the socket."""
    read, write = _native.read_frame, _native.write_frame
    plan: Optional[Plan] = None
    while True:
        frame = read(3)
        if frame is None:
            return
        kind, _, index, payload, fds = frame
        if kind in (_DECIDE, _OUTPUT):
            if plan is None:
                raise RuntimeError("a value to decide on, and no problem")
            status, text = decide(plan, index, payload)
            write(3, kind if kind == _DECIDE else _DECIDE, status, index, _bounded(text))
        elif kind == _PROBLEM:
            plan = None  # the last problem is forgotten before this one is looked at
            try:
                plan = make_plan(json.loads(payload))
                answer = plan.to_bytes()
            except Exception as error:
                write(3, _REFUSED, 0, 0, _bounded(_described(error)))
                continue
            if any(test.mode == PROXY for test in plan.tests):
                _prepare_test_processes(plan)
            write(3, _PROBLEM, 0, 0, answer)
        elif kind == _FORK:
            _fork_test_process(plan, fds, int.from_bytes(payload, "little"))
        else:
            raise RuntimeError(f"unexpected frame {kind}")


def _prepare_test_processes(plan: Plan) -> None:
    """Import here what every test process of this problem would import after its clone."""
    from . import proxy

    proxy.prepare(plan)


def _fork_test_process(plan: Optional[Plan], fds: Tuple[int, ...], address_space: int) -> None:
    try:
        # the control socket, and with it the network of the program under test where the profile gives it one
        network = fds[1] if len(fds) > 1 else -1
        pid = _native.spawn(tuple(fds[:1]), _TEST_CPU_SECONDS, address_space, network)
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        from . import proxy

        try:
            assert plan is not None
            proxy.serve(plan)
        finally:
            os._exit(0)
    _native.write_frame(3, _FORK, 0, 0, int(pid).to_bytes(4, "little", signed=True))


def decide(plan: Plan, index: int, payload: bytes) -> Tuple[int, str]:
    """The status of a planned test whose value has come, and a text where the value alone does not say it.

    Args:
        index: the test.
        payload: the value as the player encoded it, or for a stdio test what the program wrote.
    """
    test = plan.tests[index]
    try:
        if test.mode == STDIO:
            difference = test.rule[1].difference(payload)
            return (PASSED, "") if difference is None else (FAILED, difference)
        if test.mode != PLAN:
            raise RuntimeError(f"test {index} is not decided by a value")
        return (PASSED if _holds(test.rule, codec.decode_value(payload)) else FAILED), ""
    except codec.CodecError as error:
        return FAILED, f"the value cannot be judged: {error}"
    except MemoryError:
        return FAILED, "the value cannot be judged: it needs too much memory"
    except Exception as error:
        return ERROR, _described(error)


def _holds(rule: Tuple[int, Any], value: Any) -> bool:
    kind, expected = rule
    if kind == EQUALITY:
        return bool(value == expected)
    if kind == TRUTH:
        return bool(value)
    if kind == FALSE:
        return not value
    if kind == IDENTITY:
        return value is expected
    if kind == FUNCTIONAL:
        return _same_with_lists(value, expected)
    code, count = expected
    return bool(evaluate(code, value if count > 1 else (value,)))


def _same_with_lists(value: Any, expected: Any) -> bool:
    """Equal once the tuples of the result count as lists: expected values come from JSON, which has no tuples.

    LiveCodeBench converts the outermost tuple (`testing_util.py`, `grade_call_based`), its ancestor APPS those one
    level down as well; here it is done at every depth of lists and tuples.
    """
    return bool(value == expected or _without_tuples(value) == expected)


def _without_tuples(value: Any) -> Any:
    if type(value) in (list, tuple):
        return [_without_tuples(item) for item in value]
    return value


def _described(error: BaseException) -> str:
    text = str(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _bounded(text: str) -> bytes:
    return text[:MAX_TEXT].encode("utf-8", "replace")
