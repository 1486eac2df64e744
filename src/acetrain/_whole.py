"""Files that are whole or not there at all, whenever the process is killed and however full the disk is."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, errors: str = "strict") -> None:
    """Writes a file beside its place and moves it there.

    Args:
        errors: what is done with characters that UTF-8 has not got, as for `open`.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write the same file
    try:
        part.write_text(text, encoding="utf-8", errors=errors)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
