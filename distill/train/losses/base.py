"""What a training method is: which completions it trains on, and a loss out of per-token statistics.

The loss of an optimizer step is a sum over its completions. Everything that looks across completions
(softmax over a group, number of groups, number of supervised tokens) is known before the model runs
and goes into per-completion coefficients, computed once for the whole step. So the loss of a step is
the sum of its micro-batches' losses, however the completions are spread over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from distill.records import Outcome

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from distill.packing.head import TokenStatistics
    from distill.packing.layout import PackedBatch

    Coefficients = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """What is known of one group's N completions before the model runs; the tuples are parallel."""

    advantages: tuple[float | None, ...]
    """None for a completion without a reward: it was not verified."""
    outcomes: tuple[Outcome, ...]
    completion_lengths: tuple[int, ...]
    """Supervised tokens of each completion."""

    def __len__(self) -> int:
        return len(self.outcomes)


@dataclass(frozen=True, slots=True)
class LossOutputs:
    """A micro-batch's share of a step; the shares of all micro-batches add up to the step's values."""

    loss: torch.Tensor
    """Scalar, differentiable."""
    metrics: Mapping[str, torch.Tensor]
    """Detached scalars for the log, additive like the loss."""


class Method(Protocol):
    """Made from a ``LossConfig``; see ``distill.train.losses.sft`` for the shortest one."""

    def select(self, group: JudgedGroup) -> Sequence[int]:
        """Indices of the completions that are trained on, ascending; empty leaves the group out."""

    def coefficients(self, groups: Sequence[JudgedGroup]) -> Coefficients:
        """For the selected completions of all groups of one step: arrays (C,) in the groups' order.

        The names are the method's own; ``loss`` gets the same names for the completions of a micro-batch.
        """

    def loss(
        self, statistics: TokenStatistics, batch: PackedBatch, coefficients: Mapping[str, torch.Tensor]
    ) -> LossOutputs:
        """A pure function of the micro-batch's per-token statistics and per-completion coefficients."""


def weighted_cross_entropy(statistics: TokenStatistics, batch: PackedBatch, coefficients: torch.Tensor) -> torch.Tensor:
    """sum_i a_i sum_t -log p_it for coefficients a (C,): every supervised loss here is of this form."""
    return -(statistics.logprobs * coefficients[batch.completion_index]).sum()


def sum_per_completion(values: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Sums (C,) of the token values (M,) of each completion."""
    return values.new_zeros(len(batch.completion_lengths)).index_add(0, batch.completion_index, values)
