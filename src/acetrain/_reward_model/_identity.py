"""Which model stands at a place now: what tells one reward model's kept scores from another's of the same name.

- A folder: names, sizes and times of change of its files, to the nanosecond, and what its small files (the
  configuration, the tokenizer's) hold; of an adapter the base model's folder too. A model that is trained on into the
  same folder is another one.
- A name on the hub: the commit that the name stands for now, or, where the hub cannot be asked, the one in the cache.
- An endpoint: what its `/v1/models` says of the model (name, path, parent, longest text), where it answers that. An
  endpoint that changes its model and says the same of it, or says nothing, cannot be told apart.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_SMALL = 1 << 20
_TOLD = ("id", "root", "parent", "max_model_len")
"""Of what an endpoint says of a model; the rest is made anew for every answer."""


def of_folder(folder: Path) -> str:
    """Digest of what a folder holds.

    Raises:
        OSError: it cannot be read.
    """
    seen = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state = path.stat()
            seen.update(
                json.dumps([str(path.relative_to(folder)), state.st_size, state.st_mtime_ns]).encode()
            )
            if state.st_size <= _SMALL:
                seen.update(path.read_bytes())
    base = _base(folder)
    if base is not None:
        seen.update(of_folder(base).encode())
    return f"folder {seen.hexdigest()[:32]}"


def _base(folder: Path) -> Path | None:
    """The folder of the model that an adapter changes; None where there is none here."""
    try:
        named = json.loads((folder / "adapter_config.json").read_bytes()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(named, str) or not Path(named).is_dir() or Path(named).resolve() == folder.resolve():
        return None
    return Path(named)


def of_hub(name: str, revision: str | None) -> str | None:
    """The commit of a name; None where neither the hub nor the cache knows one."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        return f"commit {HfApi().model_info(name, revision=revision, timeout=10).sha}"
    except Exception:  # network, permissions, offline mode, names: what may come here is listed nowhere
        pass
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
    except Exception:  # no name of the hub at all: who loads the model says so
        return None
    return f"commit {Path(cached).parent.name}" if isinstance(cached, str) else None


def of_endpoint(url: str, model: str | None) -> str | None:
    """What the server at an address says of its models, or of the one asked; None where it says nothing."""
    import httpx2

    parts = urlsplit(url)
    try:
        answer = httpx2.get(parts._replace(path="/v1/models", query="", fragment="").geturl(), timeout=10.0)
        listed: Any = answer.json()["data"] if answer.status_code == 200 else None
        told = [[one.get(name) for name in _TOLD] for one in listed if model in (None, one.get("id"))]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return f"served {hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}" if told else None
