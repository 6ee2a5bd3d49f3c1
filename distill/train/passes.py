"""The forward passes of one optimizer step: cut to the memory, spread over processes, each with its own randomness."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.packing.group_check import use_group_attention
from distill.packing.layout import GroupTokens, PackedBatch
from distill.packing.micro_batches import MicroBatch, micro_batches, pack
from distill.train.ranks import Ranks
from distill.train.student import Student

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass of one process."""

    completions: tuple[int, ...]
    """Places in the step of the completions that it reads."""
    batch: PackedBatch
    counts: bool
    """False for a pass that is read only because others read one."""


class Passes:
    """Cuts steps into passes; a budget that proves too large is halved for good."""

    def __init__(self, config: TrainConfig, student: Student, ranks: Ranks) -> None:
        self.student, self.ranks = student, ranks
        self.is_packed = config.packing == "groups" and _reads_groups(student, ranks)
        self.is_sharded = config.shards and not ranks.is_alone
        self._seed, self._token_budget = config.seed, config.tokens_per_micro_batch

    def of_step(self, step: int, groups: Sequence[GroupTokens]) -> Iterator[Pass]:
        """This process's share of a step's passes, one after the other.

        Every pass draws its dropout anew, whoever reads it. All processes read equally many, since they may have to
        meet in each: who is short of one reads the first once more, which does not count.
        """
        import torch

        batches = self._batches(groups)
        shares = Ranks.shares([batch.num_tokens for batch in batches], self.ranks.size)
        own = shares[self.ranks.rank]
        most = max(map(len, shares))
        for place in range(most):
            number = own[place] if place < len(own) else 0
            torch.manual_seed(_pass_seed(self._seed, step, number))
            batch = pack(batches[number], packed=self.is_packed, pad_id=self.student.pad_id)
            batch = batch.to(self.student.device, non_blocking=True)
            yield Pass(batches[number].completions, batch, counts=place < len(own))

    def num_tokens(self, groups: Sequence[GroupTokens]) -> int:
        """Tokens that all processes read of a step, padding not counted."""
        return sum(batch.num_tokens for batch in self._batches(groups))

    def _batches(self, groups: Sequence[GroupTokens]) -> list[MicroBatch]:
        return micro_batches(groups, self._token_budget, packed=self.is_packed)

    def within_memory(
        self, groups: Sequence[GroupTokens], optimizer: torch.optim.Optimizer, work: Callable[[], FoundT]
    ) -> FoundT:
        """Do the work on a step's groups.

        When memory runs out, of whichever process, all halve the token budget for good and begin again: what is
        computed does not depend on it. Processes that share the weights meet in every pass and cannot.

        Raises:
            DistillError: one completion alone exceeds the memory, or processes that share the weights ran out of it.
        """
        import torch

        while True:
            found: FoundT | None = None
            try:
                found = work()
            except torch.OutOfMemoryError:
                if self.is_sharded:
                    raise DistillError(
                        f"process {self.ranks.rank} ran out of memory",
                        hint=f"set tokens_per_micro_batch to {self._token_budget // 2} and run the command again",
                    ) from None
            # out of the handler, whose traceback still holds the tensors of the failed pass
            ran_out = any(self.ranks.gather(found is None))
            if found is not None and not ran_out:
                return found
            longest = max(len(group.prompt_ids) + max(map(len, group.completion_ids)) for group in groups)
            if self._token_budget <= longest:
                raise DistillError(
                    f"a single completion of {longest} tokens with its prompt does not fit into memory",
                    hint="set gradient_checkpointing to true, lower max_tokens, or train with lora",
                )
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self._token_budget //= 2
            if self.ranks.is_first:
                logger.warning("out of memory: tokens_per_micro_batch is %d from here on", self._token_budget)


def _reads_groups(student: Student, ranks: Ranks) -> bool:
    """Whether the student reads packed groups, which it is prepared for; if not, the log says why."""
    reason = use_group_attention(student.model)
    if reason and ranks.is_first:
        logger.warning("this model reads every completion with a prompt of its own: %s", reason)
    return not reason


def _pass_seed(seed: int, step: int, number: int) -> int:
    """A seed of its own for every pass, far from its neighbours'."""
    return int.from_bytes(blake2b(f"{seed}/{step}/{number}".encode(), digest_size=7).digest())
