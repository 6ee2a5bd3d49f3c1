"""Training by several processes: who they are, what they add up, and who does what.

Started by ``torchrun`` or ``accelerate launch``, every process (rank) reads the same data, makes the same plan and
cuts a step into the same forward passes; each runs its share of them. Gradients and numbers are added up, so the
step is that of a single process. The first rank alone writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR")


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among ``size``; alone it needs nothing of torch.distributed."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """True when there is no other."""
        return self.size == 1

    def wait(self) -> None:
        """Go on when all have come here."""
        if not self.is_alone:
            import torch.distributed as dist

            dist.barrier()

    def add_up(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by the sum over all processes."""
        if not self.is_alone:
            import torch.distributed as dist

            pending = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in pending:
                work.wait()

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, in the order of their ranks."""
        if self.is_alone:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    @staticmethod
    def shares(costs: Sequence[float], size: int) -> list[list[int]]:
        """Which pieces of work each process has, ascending, so that all have about the same cost to bear.

        >>> Ranks.shares([5, 9, 4, 3], size=2)
        [[1, 3], [0, 2]]
        """
        loads, shares = [0.0] * size, [list[int]() for _ in range(size)]
        for piece in sorted(range(len(costs)), key=lambda piece: -costs[piece]):
            lightest = loads.index(min(loads))
            loads[lightest] += costs[piece]
            shares[lightest].append(piece)
        return [sorted(share) for share in shares]


ALONE = Ranks()


def join_ranks(device: str = "auto") -> Ranks:
    """The process that this is, by what its launcher says; alone when nothing launched it.

    Args:
        device: 'cpu' keeps ranks off the GPUs; otherwise each takes the GPU of its local rank where there are any.
    """
    if not all(os.environ.get(name) for name in LAUNCHED) or os.environ["WORLD_SIZE"] == "1":
        return ALONE
    import torch
    import torch.distributed as dist

    uses_cuda = device != "cpu" and torch.cuda.is_available()
    if uses_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if uses_cuda else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave_ranks() -> None:
    """End what ``join_ranks`` began; nothing when it began nothing."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
