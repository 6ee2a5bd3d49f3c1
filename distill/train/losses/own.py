"""A loss of one's own that is one function: ``method: my_pkg.my_module:my_loss``.

    def my_loss(statistics, batch, coefficients, kept=None):
        weighted = coefficients["share"] * torch.relu(coefficients["advantage"])
        means = sum_per_completion(-statistics.logprobs, batch) / batch.completion_lengths
        return (weighted * means).sum()

It is trained on every completion that has an advantage, and gets, for the completions of a part of the step,

    advantage    A_i
    correct      1 where the completion is correct, else 0
    wrong        1 where it is incorrect or without an answer, else 0
    share        1 / (groups of the step * completions of the group): a sum with it is a mean over groups

Its value is that part's share of the step's loss. Leave ``kept`` out where masks have no meaning.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.records import Outcome
from distill.registry import load
from distill.train.losses.base import JudgedGroup, LossOutputs, Method

if TYPE_CHECKING:
    import torch

    from distill.config import LossConfig
    from distill.packing.head import TokenStatistics
    from distill.packing.layout import PackedBatch
    from distill.train.losses.base import Coefficients

WRONG = frozenset({Outcome.INCORRECT, Outcome.NO_ANSWER})


def load_method(name: str, options: LossConfig) -> Method:
    """The method of a registered name or of 'pkg.module:attribute': a class, a factory, or a function that is a loss.

    Raises:
        DistillError: there is none, or it is neither.
    """
    found = load("methods", name)
    first = next(iter(inspect.signature(found).parameters), "") if callable(found) else ""
    if not first:
        raise DistillError(
            f"the method '{name}' is neither a method nor a loss",
            hint="a loss takes (statistics, batch, coefficients), a method is made from the section 'loss'",
        )
    if first != "statistics":
        method: Method = found(options)
        return method
    takes_mask = "kept" in inspect.signature(found).parameters
    own: Any = MaskedLoss(found) if takes_mask else OwnLoss(found)  # what takes no mask is a method where none is asked
    made: Method = own
    return made


class OwnLoss:
    """A method around a function without masks."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def select(self, group: JudgedGroup) -> Sequence[int]:
        """Every completion that has an advantage."""
        return [i for i, advantage in enumerate(group.advantages) if advantage is not None]

    def coefficients(self, groups: Sequence[JudgedGroup]) -> Coefficients:
        """What the function is told of each completion."""
        import numpy as np

        flat = [
            (advantage or 0.0, outcome is Outcome.CORRECT, outcome in WRONG, 1 / (len(groups) * len(group)))
            for group in groups
            for advantage, outcome in zip(group.advantages, group.outcomes, strict=True)
        ]
        return dict(zip(("advantage", "correct", "wrong", "share"), np.array(flat, dtype=np.float64).T, strict=True))

    def loss(
        self, statistics: TokenStatistics, batch: PackedBatch, coefficients: Mapping[str, torch.Tensor]
    ) -> LossOutputs:
        """What the function says; a scalar, or ``LossOutputs`` where it has metrics to tell."""
        return _outputs(self._function(statistics, batch, coefficients))


class MaskedLoss(OwnLoss):
    """A method around a function that takes a mask."""

    def loss(
        self,
        statistics: TokenStatistics,
        batch: PackedBatch,
        coefficients: Mapping[str, torch.Tensor],
        kept: torch.Tensor | None = None,
    ) -> LossOutputs:
        """What the function says."""
        return _outputs(self._function(statistics, batch, coefficients, kept))


def _outputs(value: Any) -> LossOutputs:
    return value if isinstance(value, LossOutputs) else LossOutputs(value, {})
