"""Keeps keys out of everything people read: messages of errors, details of failures, log records and their tracebacks.

The back-ends hand every text that came from outside through `Secrets.clean`, and raise their errors `from None`, since
the errors of HTTP libraries carry the request with its headers. `guard` does the same for the loggers of the libraries
underneath, whatever their level is set to.

What is not covered: a server that repeats part of a key, or spells it in another way.
"""

from __future__ import annotations

import logging
import os
import re
import urllib.parse
from collections.abc import Iterable

from .._errors import BackendError

_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "acedata")
# Longer texts of servers are cut: they end in one line for people.
MOST_CHARS = 400


class Secrets:
    """Texts that nobody may see, and what removes them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found = {form for one in secrets if one for form in (one, urllib.parse.quote(one, safe=""))}
        longest_first = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if found else None

    def clean(self, text: str) -> str:
        return self._pattern.sub("[key]", text) if self._pattern else text

    def line(self, text: object) -> str:
        """One line of at most 400 characters, clean."""
        # Cleaned before it is cut: half a key is not recognised.
        flat = " ".join(self.clean(str(text)).split())
        return flat if len(flat) <= MOST_CHARS else f"{flat[:MOST_CHARS]}…"

    def guard(self) -> None:
        """Put a filter on the loggers that see requests. A filter on a parent does not see its children's records."""
        if self._pattern is None:
            return
        names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LOGGERS]
        for name in {*names, *_LOGGERS}:
            logging.getLogger(name).addFilter(self._filter)

    def release(self) -> None:
        """Take the filter off again."""
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] in _LOGGERS:
                logging.getLogger(name).removeFilter(self._filter)

    def _filter(self, record: logging.LogRecord) -> bool:
        if self._pattern is not None:
            record.msg, record.args = self.clean(record.getMessage()), None
            if record.exc_info and not record.exc_text:
                record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
            # Formatters print `exc_text` where there is one; the exception itself holds the request.
            record.exc_info = None
        return True

    def __repr__(self) -> str:
        return "Secrets(…)"


def key_from_environment(name: str) -> str | None:
    """The key in an environment variable; None where it is not set or empty.

    Raises:
        BackendError: it cannot be sent in a header. The message does not show it.
    """
    key = os.environ.get(name, "").strip()
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BackendError(
            f"the key in {name} holds characters that no key has (a line break, a space?); set it again"
        )
    return key
