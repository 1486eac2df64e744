"""The rule reward as verl calls it: its configuration names this module and one of the functions below.

    reward:
      custom_reward_function:
        path: pkg://acetrain.verl          # older verl: the path of this file
        name: compute_score                # compute_scores with the reward manager "batch"
        reward_kwargs: {unknown: zero, mode: binary}

`reward_model.ground_truth` of a row holds its tests, a JSON list or an array of texts; `acedata export --form verl`
writes it so. verl has many reward workers: they share one judge per node unless `shared: false`.

`unknown: raise` ends the run under verl 0.9's managers "naive" and "dapo". "rate_limited" catches whatever a reward
raises, pays 0.0 and logs `error`: choose `zero` there.

Absolute imports, inside: verl may load this file by its path, and may send a function to other processes by value.
"""

from __future__ import annotations

from typing import Any


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: object,
    extra_info: dict[str, Any] | None = None,
    *,
    unknown: str | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **options: Any,
) -> dict[str, float]:
    """The reward of one completion (verl 0.9, reward managers "naive", "dapo" and "rate_limited").

    Args:
        data_source: not used: the tests say all.
        solution_str: the completion.
        ground_truth: its tests.
        extra_info: not used.
        unknown: "raise" or "zero"; must be chosen.
        reward_router_address, reward_model_tokenizer: of verl's; not used.
        options: of `acetrain.RuleReward`.

    Returns:
        `score`, and for the log `acc`, `pass_rate`, `unknown`, `timeout`, `no_code`, `sealed`: numbers all.

    Raises:
        ValueError: `unknown` was not chosen, or a bad option.
        RuntimeError: the completion could not be judged, and `unknown` is "raise".
        acesandbox.SandboxError: nothing can be judged, now or any longer (see `acetrain.RuleReward`).
    """
    del extra_info, reward_router_address, reward_model_tokenizer
    from acetrain import verl

    return verl.compute_scores([data_source], [solution_str], [ground_truth], unknown=unknown, **options)[0]


def compute_scores(
    data_sources: Any,
    solution_strs: Any,
    ground_truths: Any,
    extra_infos: Any = None,
    *,
    unknown: str | None = None,
    **options: Any,
) -> list[dict[str, float]]:
    """As `compute_score`, for a whole batch (reward manager "batch").

    Raises:
        ValueError, RuntimeError, acesandbox.SandboxError: as `compute_score`.
    """
    del data_sources, extra_infos
    from acetrain._neighbours import figures, number, reward_for

    reward = reward_for(unknown, **options)
    completions = list(solution_strs)
    scores = reward.scores(completions, list(ground_truths))
    return [
        {"score": number(reward, score, completion, unknown), **said}
        for score, completion, said in zip(scores, completions, figures(reward, scores), strict=True)
    ]
