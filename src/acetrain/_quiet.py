"""What the libraries would say besides: bars, telemetry, warnings that nobody here can act upon."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet(*, forks: bool = False) -> None:
    """No telemetry; no bars where nobody looks at a terminal. To be called before any library of the hub is imported.

    Args:
        forks: processes are started later, which tokenizers that use threads warn of.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false" if forks else "true")
    if sys.stderr is not None and sys.stderr.isatty():
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # the hub's too


@contextmanager
def without_old_names() -> Iterator[None]:
    """Without the warning that TRL and peft say `gradient_checkpointing`, which transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
        yield


@contextmanager
def without_loading_report() -> Iterator[None]:
    """Without transformers' table of weights that a head has and a language model has not."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def told(error: BaseException) -> str:
    """Another library's error in one line: its kind and the beginning of what it says."""
    said = " ".join(str(error).split())
    said = said if len(said) <= 300 else f"{said[:300]}…"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
