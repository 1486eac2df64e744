"""What this package raises.

Two kinds, never mixed. *Our* fault: the judge could not do its work. That says nothing about the program, is never to
be scored as a wrong answer, and may be tried again:

    SandboxError
    ├── IsolationUnavailable   this machine does not offer the isolation that was asked for
    ├── WorkerDied             a worker died again and again, and it is not this program that kills it
    ├── ProtocolError          the two halves of the package disagree; a bug of ours
    ├── Unsealed               unsealed="error", and a test cannot be judged sealed
    └── Closed                 the sandbox was closed while work was waiting

*The caller's* fault: what was handed over cannot be judged by anybody, and trying again does not help:

    ValueError
    └── BadInput

The *program's* fault is never raised. It is a status in the `Verdict`.
"""

from __future__ import annotations

from collections.abc import Sequence


class SandboxError(Exception):
    """The sandbox could not judge. Says nothing about the program; trying again is sensible."""


class IsolationUnavailable(SandboxError):
    """This machine does not offer the isolation that was asked for.

    Attributes:
        reason: what exactly is missing, e.g. which sysctl or which capability.
        remedies: what would help, most sensible first; may be empty.
    """

    def __init__(self, reason: str, remedies: Sequence[str] = ()) -> None:
        self.reason = reason
        self.remedies = tuple(remedies)
        super().__init__("\n  ".join([reason, *(f"remedy: {remedy}" for remedy in self.remedies)]))

    def __reduce__(self) -> tuple[type[IsolationUnavailable], tuple[str, tuple[str, ...]]]:
        return type(self), (self.reason, self.remedies)


class WorkerDied(SandboxError):
    """A worker died, and so did the retry, without this program being the reason.

    Tests that are too much for the judge (literals of millions of items) end so too, since nothing can be said of any
    program by them; the message says which limits would have to be raised.
    """


class ProtocolError(SandboxError):
    """A worker said something that the protocol does not know. A bug of ours."""


class Unsealed(SandboxError):
    """With `unsealed="error"`: a test can only be judged in the program's own process, where it could be forged."""


class Closed(SandboxError):
    """The sandbox was closed, or belongs to a process that this one was forked from."""


class BadInput(ValueError):
    """What was handed over cannot be judged: wrong types, no tests, beyond a size limit. The message says which."""
