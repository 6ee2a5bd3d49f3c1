r"""AdvDistill (arXiv:2507.00054), equations 5 to 9: imitate by advantage, push away from what is wrong.

For the N verified completions y_i of a group, of T_i tokens with probabilities p_it,

    L    = sum_i w_i CE_i + lambda * red_i( 1[wrong_i] C_i )
    CE_i = -(1/T_i) sum_t log p_it
    w_i  = softmax(A / temperature)_i
    C_i  = -log(1 - min(pbar_i, p_max))          pbar_i = (1/T_i) sum_t p_it

and the loss of a step is the mean over its groups. The displayed equations are not public: the form of
C_i is inferred from the text, and ``red``, p_max, pbar and wrong are options (``LossConfig``).

Departures: a completion that could not be verified has no reward, so it is not trained on and not
counted in N. ``red = sum`` is the literal reading; the default is the mean over the group, because the
sum overwhelms a cross entropy whose weights add up to one. Where low-entropy masking takes tokens out of
the cross entropy, pbar_i leaves them out as well: pushed away and never imitated, they would be unlearnt
(docs/ladder.md). ``contrastive_tokens: unshared`` takes only tokens behind the longest beginning that y_i
has in common with a correct completion of its group: what both begin with is not what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distill.records import Outcome
from distill.train.losses.base import (
    JudgedGroup,
    LossOutputs,
    place_in_completion,
    sum_per_completion,
    weighted_cross_entropy,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from distill.config import LossConfig
    from distill.packing.head import TokenStatistics
    from distill.packing.layout import PackedBatch
    from distill.train.losses.base import Coefficients


def softmax_weights(advantages: Sequence[float], temperature: float) -> npt.NDArray[np.float64]:
    """w = softmax(A / temperature) over the completions of one group; sums to 1.

    >>> softmax_weights([0.0, 0.0, 0.0, 0.0], temperature=0.5).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    import numpy as np

    scaled = np.array(advantages, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max())
    weights: npt.NDArray[np.float64] = exponentials / exponentials.sum()
    return weights


class AdvDistill:
    """Advantage-weighted cross entropy and a contrastive term on wrong completions."""

    def __init__(self, options: LossConfig) -> None:
        self.options = options

    def select(self, group: JudgedGroup) -> Sequence[int]:
        """Every completion that has an advantage: an unverified one has weight 0 in both terms."""
        return [i for i, advantage in enumerate(group.advantages) if advantage is not None]

    def coefficients(self, groups: Sequence[JudgedGroup]) -> Coefficients:
        """``cross_entropy`` on summed -log p, ``contrastive`` on C_i, and ``wrong``: 1 / number of wrong ones."""
        import numpy as np

        weights = [softmax_weights([a or 0.0 for a in group.advantages], self.options.temperature) for group in groups]
        wrong = [self._wrong(group) for group in groups]
        cross_entropy = [
            w if self.options.cross_entropy == "sum" else w / np.maximum(group.normalisers, 1)
            for w, group in zip(weights, groups, strict=True)
        ]
        contrastive = [self._contrastive(w, is_wrong) for w, is_wrong in zip(weights, wrong, strict=True)]
        is_wrong = np.concatenate(wrong)
        found = {
            "cross_entropy": np.concatenate(cross_entropy) / len(groups),
            "contrastive": np.concatenate(contrastive) / len(groups),
            "wrong": is_wrong / max(is_wrong.sum(), 1.0),
        }
        if self.options.contrastive_tokens == "unshared":
            found["shared"] = np.array(
                [length for group in groups for length in group.shared_lengths], dtype=np.float64
            )
        return found

    def loss(
        self,
        statistics: TokenStatistics,
        batch: PackedBatch,
        coefficients: Mapping[str, torch.Tensor],
        kept: torch.Tensor | None = None,
    ) -> LossOutputs:
        """The micro-batch's share of both terms; the metrics keep them apart.

        ``wrong_probability`` is the mean of pbar over the step's wrong completions: what the contrastive
        term pushes down.
        """
        import torch

        cross_entropy = weighted_cross_entropy(statistics, batch, coefficients["cross_entropy"], kept)
        mean_probability = self._mean_probability(statistics, batch, self._pushed(batch, coefficients, kept))
        penalty = -torch.log1p(-mean_probability.clamp(max=self.options.max_probability))
        contrastive = (coefficients["contrastive"] * penalty).sum()
        metrics = {
            "cross_entropy": cross_entropy.detach(),
            "contrastive": contrastive.detach(),
            "wrong_probability": (coefficients["wrong"] * mean_probability.detach()).sum(),
        }
        return LossOutputs(cross_entropy + contrastive, metrics)

    def _wrong(self, group: JudgedGroup) -> npt.NDArray[np.float64]:
        """1.0 for the completions (N,) that the contrastive term pushes away, else 0.0."""
        import numpy as np

        if self.options.wrong == "negative_advantage":
            return np.array([float((advantage or 0.0) < 0) for advantage in group.advantages])
        wrong = {Outcome.INCORRECT} if self.options.wrong == "incorrect" else {Outcome.INCORRECT, Outcome.NO_ANSWER}
        return np.array([float(outcome in wrong) for outcome in group.outcomes])

    def _contrastive(self, weights: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """lambda * 1[wrong] * the reduction's factor (* w) for the completions (N,) of one group."""
        sizes = {"mean_over_group": len(wrong), "sum": 1.0, "mean_over_wrong": max(wrong.sum(), 1.0)}
        factors: npt.NDArray[np.float64] = wrong * (
            self.options.contrastive_weight / sizes[self.options.contrastive_reduction]
        )
        return factors * weights if self.options.contrastive_weighting == "w_i" else factors

    def _pushed(
        self, batch: PackedBatch, coefficients: Mapping[str, torch.Tensor], kept: torch.Tensor | None
    ) -> torch.Tensor | None:
        """The tokens (M,) that pbar is a mean over; None for all of them."""
        if self.options.contrastive_tokens == "all":
            return None
        if self.options.contrastive_tokens == "kept":
            return kept
        unshared = place_in_completion(batch) >= coefficients["shared"][batch.completion_index]
        return unshared if kept is None else unshared & kept

    def _mean_probability(
        self, statistics: TokenStatistics, batch: PackedBatch, pushed: torch.Tensor | None
    ) -> torch.Tensor:
        """pbar (C,): arithmetic or geometric mean of a completion's token probabilities, of those that are pushed.

        A completion of which none is has 0, or 1 if geometric, and no gradient.
        """
        values = statistics.logprobs if self.options.mean_probability == "geometric" else statistics.logprobs.exp()
        lengths = batch.completion_lengths
        if pushed is not None:
            values = values * pushed
            lengths = sum_per_completion(pushed.to(values.dtype), batch).clamp(min=1)
        means = sum_per_completion(values, batch) / lengths
        return means.exp() if self.options.mean_probability == "geometric" else means
