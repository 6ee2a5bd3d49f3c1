"""Which groups make which optimizer step.

A pure function: the order of an epoch follows from (seed, epoch, group ids), a step is a fixed slice
of it. A resumed run asks for step n and needs nothing of the steps before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from distill.errors import DistillError


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """All optimizer steps of a run; every group once per epoch.

    The last step of an epoch takes what is left, so it may be smaller.

    >>> plan = TrainPlan(("a", "b", "c", "d", "e"), groups_per_step=2, epochs=2, seed=0)
    >>> plan.steps_per_epoch, plan.num_steps, [plan.epoch_of(step) for step in range(6)]
    (3, 6, [0, 0, 0, 1, 1, 1])
    >>> sorted(plan.groups_of(0) + plan.groups_of(1) + plan.groups_of(2))
    [0, 1, 2, 3, 4]
    """

    group_ids: tuple[str, ...]
    groups_per_step: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one epoch."""
        return -(-len(self.group_ids) // self.groups_per_step)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the run."""
        return self.epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that a step belongs to."""
        return step // self.steps_per_epoch

    def groups_of(self, step: int) -> tuple[int, ...]:
        """Positions in ``group_ids`` of the groups that make a step."""
        start = step % self.steps_per_epoch * self.groups_per_step
        order = _epoch_order(self.group_ids, self.seed, self.epoch_of(step))
        return order[start : start + self.groups_per_step]

    def ends_epoch(self, step: int) -> bool:
        """True for the last step of an epoch."""
        return (step + 1) % self.steps_per_epoch == 0


def hold_out(group_ids: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Positions of the groups to train on, and of those to measure: about ``share`` of all, by a hash of each id.

    Raises:
        DistillError: there is none to train on, or none to measure though a share was asked for.

    >>> hold_out(["a", "b", "c", "d", "e", "f"], share=0.5)
    ([0, 2, 5], [1, 3, 4])
    """

    def place(group_id: str) -> float:
        return int.from_bytes(blake2b(f"held out/{group_id}".encode(), digest_size=8).digest()) / 2**64

    measured = [position for position, group_id in enumerate(group_ids) if place(group_id) < share]
    if len(measured) == len(group_ids) or (share and not measured):
        raise DistillError(
            f"validation_share {share} holds out {len(measured)} of {len(group_ids)} groups",
            hint="choose a share that leaves some on both sides",
        )
    return sorted(set(range(len(group_ids))) - set(measured)), measured


@lru_cache(maxsize=2)
def _epoch_order(group_ids: tuple[str, ...], seed: int, epoch: int) -> tuple[int, ...]:
    """A shuffle by hash: the same on every machine and version, which a generator's stream need not be."""

    def key(position: int) -> bytes:
        return blake2b(f"{seed}/{epoch}/{group_ids[position]}".encode(), digest_size=8).digest()

    return tuple(sorted(range(len(group_ids)), key=key))
