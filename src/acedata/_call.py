"""Calling a command line that typer describes, with our own exit codes.

Called as a program, typer's parser turns Ctrl-C into an exception of its own and a closed pipe into exit code 1, which
here means "there is something to look at". So its two steps are taken one by one: parse, invoke.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer


def call(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> Any:
    """Runs one command and returns what it returned; an exit that the parser asked for (`--help`) as its code.

    Args:
        name: of the program, in usage messages.
        arguments: without the program's name; None: those of this process.

    Raises:
        KeyboardInterrupt, BrokenPipeError, OSError, …: whatever the command raises, as it is.
        Exception: with `show()` and `exit_code`: a usage error.
    """
    command = typer.main.get_command(app)
    try:
        with command.make_context(name, list(sys.argv[1:] if arguments is None else arguments)) as context:
            return command.invoke(context)
    except Exception as error:
        # typer brings its own copy of click, or uses the installed one: the class has no one place.
        if type(error).__name__ == "Exit" and hasattr(error, "exit_code"):
            return error.exit_code
        raise
