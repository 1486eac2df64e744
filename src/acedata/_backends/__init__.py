"""Those who carry requests to models: `openai`, `openai-batch`, `vllm`, `replay`, behind `Backend` in `_requests`.

`_ask` uses them and is all they know. Each is one file, imported when a recipe names it: its libraries are heavy. What
a back-end cannot do as asked (continue a prefill, promise JSON, give several samples at once) it does in another way,
says so once in the log and keeps in `notes`, which the report shows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._errors import BackendError
from .._requests import Backend

if TYPE_CHECKING:
    from .._recipe import ModelConfig


def open_backend(
    model: ModelConfig,
    *,
    answers: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> Backend:
    """The back-end that a recipe's model names.

    Args:
        model: one of the recipe's `models`.
        answers: `replay`: the file of answers, resolved (`Recipe.resolve(model.answers)`).
        journal: `openai-batch`: folder that remembers which batches were sent, so that another run picks them up; the
            response store's is right.

    Raises:
        BackendError: it cannot work: no key, a library is not installed, no file of answers.
    """
    if model.backend == "replay":
        from .replay import ReplayBackend

        if answers is None:
            raise BackendError(f"{model.model}: the replay back-end needs `answers:`, a file of answers")
        return ReplayBackend(answers)
    raise BackendError(f"unknown back-end {model.backend!r}")
