"""What OpenRLHF's --reward.remote_url names: our rule reward, with the choices of this run."""

from __future__ import annotations

from typing import Any

from acetrain.openrlhf import score


def reward_func(queries: Any, prompts: Any, labels: Any, **kwargs: Any) -> dict[str, Any]:
    """One reward per query. A completion that could not be judged is paid 0.0 and logged as unknown."""
    return score(queries, prompts, labels, unknown="zero", mode="binary")
