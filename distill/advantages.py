"""Group-relative advantages: AdvDistill (arXiv:2507.00054), equation 4."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt


def group_advantages(rewards: Sequence[float | None], *, eps: float = 1e-4, ddof: int = 1) -> tuple[float | None, ...]:
    r"""How much better or worse each completion of one group was rewarded than the group's mean.

        A_i = (R_i - mean(R)) / (std(R) + eps)

    Mean and standard deviation are those of the group's rewarded completions. Where nothing tells the
    completions apart (all rewards equal, or fewer than two of them) every advantage is 0.

    Args:
        rewards: one per completion; None for a completion that has none (it was not verified).
        eps: added to the standard deviation; the paper leaves its value open, this is GRPO's.
        ddof: 1 divides the variance by n - 1 (unbiased, as in GRPO), 0 by n.

    Returns:
        One advantage per reward; None stays None.

    >>> group_advantages([3.0, None, 1.0], eps=0.0)  # mean 2, std sqrt((1 + 1) / (2 - 1))
    (0.7071067811865475, None, -0.7071067811865475)
    >>> group_advantages([2.5, 2.5, None]), group_advantages([2.5, None])
    ((0.0, 0.0, None), (0.0, None))
    """
    rewarded = [reward for reward in rewards if reward is not None]
    # Comparing the rewards themselves: the rounded mean of equal floats may differ from all of them.
    if len(set(rewarded)) < 2:
        return tuple(None if reward is None else 0.0 for reward in rewards)
    mean = fsum(rewarded) / len(rewarded)
    std = sqrt(fsum((reward - mean) ** 2 for reward in rewarded) / (len(rewarded) - ddof))
    return tuple(None if reward is None else (reward - mean) / (std + eps) for reward in rewards)
