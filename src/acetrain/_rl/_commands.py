"""`acetrain rl RECIPE`: reads the recipe, trains, says where the model is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from acetrain._quiet import quiet

from ._recipe import load_recipe


def rl(recipe: str, changes: Sequence[str], out: Path | None, resume: bool, show: bool) -> int:
    """The command; returns its exit code.

    Args:
        changes: settings in the place of the recipe's, `name=value` each.
        out: the run's folder; None: `runs/NAME`.
        resume: go on with the run in that folder.
        show: only print the recipe, whole.
    """
    read = load_recipe(recipe, changes)
    if show:
        import yaml

        from ._run import settled

        print(yaml.safe_dump(settled(read), sort_keys=False), end="")
        return 0
    quiet(forks=True)
    from ._train import train

    final = train(read, out or Path("runs") / read.name, resume=resume, say=_say)
    if os.environ.get("RANK", "0") == "0":
        print(final)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
