"""Judge model-written Python programs against tests: contained, right, and fast.

    from acesandbox import Asserts, Sandbox

    with Sandbox() as sandbox:
        verdict = sandbox.judge("def f(x): return x + 1", Asserts(["assert f(1) == 2"]))
        print(verdict.passed, verdict.tests)

General layout: `_sandbox` is the public face, `_pool` shares work out among `_worker`s, `_wire` speaks with them in
frames, `_interpreter` says what a jail shows. `native/jail` builds the jail, `guest/` runs in it: none of it is
imported here. docs/protocol.md is the contract between the two sides.
"""

from ._errors import (
    BadInput,
    Closed,
    IsolationUnavailable,
    ProtocolError,
    SandboxError,
    Unsealed,
    WorkerDied,
)
from ._limits import Limits
from ._sandbox import Sandbox
from ._status import Status
from ._tests import Asserts, CheckScript, Functional, Stdio, UnitTests
from ._verdict import RunResult, TestResult, Verdict

__version__ = "0.1.0"

__all__ = [
    "Asserts",
    "BadInput",
    "CheckScript",
    "Closed",
    "Functional",
    "IsolationUnavailable",
    "Limits",
    "ProtocolError",
    "RunResult",
    "Sandbox",
    "SandboxError",
    "Status",
    "Stdio",
    "TestResult",
    "UnitTests",
    "Unsealed",
    "Verdict",
    "WorkerDied",
]
