"""Those who carry requests to models: `openai`, `openai-batch`, `vllm`, `replay`, behind `Backend` in `_requests`.

`_ask` uses them and is all they know. Each is one file, imported when a recipe names it: its libraries are heavy. What
a back-end cannot do as asked (continue a prefill, promise JSON, give several samples at once) it does in another way,
says so once in the log and keeps in `notes`, which the report shows.
"""

from __future__ import annotations

import os
from pathlib import Path
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
        journal: `openai-batch`: a folder (the response store's), in which `batches/` remembers what was sent, so that
            another run picks it up.

    Raises:
        BackendError: it cannot work: no key, a library is not installed, no file of answers.
    """
    if model.backend == "replay":
        from .replay import ReplayBackend

        if answers is None:
            raise BackendError(f"{model.model}: the replay back-end needs `answers:`, a file of answers")
        return ReplayBackend(answers)
    try:
        if model.backend == "openai":
            from .openai import OpenAIBackend

            return OpenAIBackend(
                base_url=model.base_url,
                api_key_env=_key_env(model),
                concurrency=model.concurrency,
                timeout_s=model.timeout_s,
                retries=model.retries,
                prefill=model.prefill,
            )
        if model.backend == "openai-batch":
            from .openai_batch import OpenAIBatchBackend

            if journal is None:
                raise BackendError(f"{model.model}: the Batch API needs a folder to remember its batches in")
            return OpenAIBatchBackend(
                journal=Path(journal) / "batches",
                base_url=model.base_url,
                api_key_env=_key_env(model),
                prefill=model.prefill,
                retries=model.retries,
            )
        if model.backend == "vllm":
            from .vllm import VllmBackend

            return VllmBackend(model.model, model.engine_options, prefill=model.prefill)
    except ModuleNotFoundError as error:
        extra = "vllm" if model.backend == "vllm" else "data"
        raise BackendError(
            f"the back-end {model.backend} needs {error.name}: pip install 'acestack[{extra}]'"
        ) from None
    raise BackendError(f"unknown back-end {model.backend!r}")


def _key_env(model: ModelConfig) -> str | None:
    """Where the key is. The one of OPENAI_API_KEY goes to OpenAI, and elsewhere only when the recipe says so."""
    named = "api_key_env" in model.model_fields_set
    return model.api_key_env if named or model.base_url is None else None
