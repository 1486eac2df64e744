"""pass@k and best-of-k, without bias and without drawing anything.

Both are expectations over all subsets of k of a problem's n samples, in closed form. Everything rests on one
probability: that a random subset of k holds none of m given samples,

    C(n - m, k) / C(n, k) = (1 - k/n) (1 - k/(n-1)) … (1 - k/(n-m+1)),

computed as a sum of logarithms: no large binomial, and no loss of digits where the result is near 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of k samples passes (Chen et al., 2021, eq. 1).

    Args:
        n: samples of the problem.
        c: those of them that pass.
        k: samples drawn without replacement.

    Raises:
        ValueError: not 0 <= c <= n, or not 1 <= k <= n.
    """
    _check(n, k)
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot have passed")
    if n - c < k:
        return 1.0
    return -math.expm1(_log_none(n, c, k))


def best_of_k(scores: Sequence[float], passed: Sequence[bool], k: int) -> float:
    """Probability that the sample with the highest score passes, of k drawn without replacement.

    Samples with equal scores share the choice: that is the mean over all ways to break the tie.

    Raises:
        ValueError: lengths differ, not 1 <= k <= n, or a score is not a number.
    """
    n = len(scores)
    if len(passed) != n:
        raise ValueError(f"{n} scores for {len(passed)} samples")
    _check(n, k)
    if any(math.isnan(score) for score in scores):
        raise ValueError("a score is not a number")
    groups: dict[float, list[bool]] = {}
    for score, verdict in zip(scores, passed, strict=True):
        groups.setdefault(float(score), []).append(bool(verdict))
    better, above, total = 0, 1.0, 0.0  # `above`: probability that no sample seen so far was drawn
    for score in sorted(groups, reverse=True):
        group = groups[score]
        better += len(group)
        below = math.exp(_log_none(n, better, k)) if n - better >= k else 0.0
        total += (above - below) * sum(group) / len(group)
        above = below
    return min(1.0, max(0.0, total))


def _log_none(n: int, m: int, k: int) -> float:
    """log of C(n-m, k) / C(n, k), for n - m >= k."""
    # The product over the m samples equals one over the k draws; the shorter is as good.
    few, many = (m, k) if m <= k else (k, m)
    return math.fsum(math.log1p(-many / (n - i)) for i in range(few))


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k = {k} of {n} samples: k must be from 1 to the number of samples")
