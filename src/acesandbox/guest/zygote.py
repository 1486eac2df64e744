"""The player zygote: a warm interpreter that is cloned once per program and never reads a byte of a problem.

It talks to the supervisor on fd 3 and to nobody else. `main` runs these steps once, then spends its life in
`_native.serve`, in C; every return from there is a new process, the player.

What is warm here is not warmed in every player, and what is written here after the clone is copied in every player
(copy on write), so both the imports and the order matter:

1. import what programs import most (an import costs milliseconds, the pages of a loaded module nearly nothing);
2. run the interpreter's lazy set-up once: the first `compile` builds the ast types (1.2 ms), the first exception
   with a traceback, the first generator, the first codec lookup;
3. collect, freeze: the collector must not walk (and so write to) the zygote's objects in a player;
4. install the seccomp filter, which every player inherits (installing it per player costs 0.2 ms).
"""

from __future__ import annotations

import gc
import marshal
import sys
from typing import Any, Dict, Sequence

from . import _native, player

# What model-written programs import most, in the AceCode, MBPP and HumanEval shapes of problems. Not more: a module
# that one program in a hundred imports costs the other ninety-nine its pages and mappings at every clone.
COMMON_MODULES = ("typing", "collections", "itertools", "functools", "math", "re", "heapq")

_WARM_UP = """
import sys
class Thing:
    def __init__(self, value):
        self.value = value
    def double(self):
        return self.value * 2
def walk(n):
    for i in range(n):
        yield i
def solve(numbers, flag=True, *rest, **names):
    table = {str(k): [k, float(k), f"{k:>3}"] for k in numbers}
    try:
        table["missing"]
    except KeyError as error:
        text = str(error)
    with_lambda = sorted(numbers, key=lambda x: -x)
    return [Thing(x).double() for x in walk(3)], {x for x in with_lambda}, text if flag else (1, 2.5, None)
result = solve([3, 1, 2])
"""


def main() -> None:
    """Warm up, lock down, announce readiness, and clone players until the supervisor closes the socket."""
    config = _parse_config(sys.argv[1])
    _forget_start_up(config)
    player.complete_builtins()
    _import_all(config.get("preload", ()))
    _warm_up()
    namespaces = config.get("tier") == "namespaces"
    _native.configure(namespaces, config.get("scratch", "/tmp"), config.get("own_proc", False))
    _native.share_libraries()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    filter_name = "player-no-pidns"
    if namespaces:
        filter_name = "player-system" if config.get("profile") == "system" else "player"
    listener = -1
    if config.get("tier") != "none":
        listener = _native.lockdown(filter_name, int(config.get("processes", 0)))
    _native.send_with_fd(3, ord("Z"), b"", listener)
    _native.serve(3)
    player.play()


def _parse_config(text: str) -> Dict[str, Any]:
    """The launcher's JSON, read as a Python literal: the json module would stay in every player's page tables.

    Valid for what the launcher writes: objects, lists, strings without escaped surrogates, numbers, true, false, null.
    """
    return eval(text, {"__builtins__": {}, "true": True, "false": False, "null": None})  # type: ignore[no-any-return]


def _forget_start_up(config: Dict[str, Any]) -> None:
    """Make `sys.path`, `sys.argv` and the environment what a program may see: the interpreter and its packages."""
    import os

    sys.path[:] = [p for p in sys.path if p and p != config.get("guest_parent", "/ace")]
    sys.path.extend(p for p in config.get("site", ()) if p not in sys.path)
    sys.argv[:] = ["program.py"]
    sys.dont_write_bytecode = True
    for name in ("PYTHONPATH", "LD_BIND_NOW", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    if config.get("profile") == "system" and config.get("site"):
        # interpreters that a program starts find the packages too
        os.environ["PYTHONPATH"] = os.pathsep.join(config["site"])


def _import_all(preload: Sequence[str]) -> None:
    import importlib

    for name in COMMON_MODULES:
        importlib.import_module(name)
    for name in preload:
        importlib.import_module(name)


def _warm_up() -> None:
    code = compile(_WARM_UP, "<program>", "exec")
    namespace: Dict[str, Any] = {"__name__": "warm_up"}
    exec(code, namespace)
    request = marshal.dumps((0, "solve", ([1, 2], True), {}), 2)
    marshal.loads(request)
    player.rehearse()
