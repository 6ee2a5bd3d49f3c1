"""What a training method is: which completions it trains on, and a loss out of per-token statistics.

The loss of an optimizer step is a sum over its completions. Everything that looks across completions
(softmax over a group, number of groups, number of supervised tokens) is known before the model runs
and goes into per-completion coefficients, computed once for the whole step. So the loss of a step is
the sum of its micro-batches' losses, however the completions are spread over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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
    kept_lengths: tuple[int, ...] = ()
    """Where some of those are masked: how many are left; empty where none is, and where all of them normalise."""
    shared_lengths: tuple[int, ...] = ()
    """How many of its first tokens another, correct completion of the group begins with, too; empty if unknown."""

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def normalisers(self) -> tuple[int, ...]:
        """What each completion's summed cross entropy is divided by; 0 where all is masked and nothing summed."""
        return self.kept_lengths or self.completion_lengths


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
        self,
        statistics: TokenStatistics,
        batch: PackedBatch,
        coefficients: Mapping[str, torch.Tensor],
        kept: torch.Tensor | None = None,
    ) -> LossOutputs:
        """A pure function of the micro-batch's per-token statistics and per-completion coefficients.

        ``kept`` (M,) is False on tokens that are to add no cross entropy, and None where nothing is masked; a
        method without this argument works wherever nothing is masked.
        """


@dataclass(frozen=True, slots=True)
class Lesson:
    """A part of a completion that is taught for itself."""

    context: str
    """Read after the group's prompt and before ``text``; not learnt."""
    text: str
    place: int
    """Where ``text`` begins in the completion."""
    is_last: bool = False
    """True when ``text`` ends where the completion does, and so has an end token only if that one has."""


@runtime_checkable
class TeachesInParts(Protocol):
    """A method that makes several things to learn out of one completion; ``coefficients`` gets them as completions."""

    def lessons(self, completion: str) -> Sequence[Lesson]:
        """The parts of a completion's text, the same number for each; empty leaves the completion out."""


def weighted_cross_entropy(
    statistics: TokenStatistics, batch: PackedBatch, coefficients: torch.Tensor, kept: torch.Tensor | None = None
) -> torch.Tensor:
    """sum_i a_i sum_t m_it (-log p_it) for coefficients a (C,) and mask m (M,): the form of all supervised losses."""
    token_coefficients = coefficients[batch.completion_index]
    if kept is not None:
        token_coefficients = token_coefficients * kept
    return -(statistics.logprobs * token_coefficients).sum()


def sum_per_completion(values: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Sums (C,) of the token values (M,) of each completion."""
    return values.new_zeros(len(batch.completion_lengths)).index_add(0, batch.completion_index, values)


def place_in_completion(batch: PackedBatch) -> torch.Tensor:
    """Each token's place (M,) in its completion, counted from 0."""
    import torch

    starts = batch.completion_lengths.cumsum(0) - batch.completion_lengths
    return torch.arange(len(batch.completion_index), device=starts.device) - starts[batch.completion_index]
