"""One optimizer step after the other: the state of a run in memory."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.packing.head import token_statistics
from distill.packing.layout import GroupTokens, pack_rows
from distill.train.checkpoint import Progress
from distill.train.data import TrainData
from distill.train.losses.base import Method
from distill.train.optimizer import build_optimizer, learning_rate
from distill.train.plan import TrainPlan, micro_batches
from distill.train.student import Student

if TYPE_CHECKING:
    from distill.train.losses.base import Coefficients

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepRows:
    """The completions of one optimizer step, in the order of its groups."""

    rows: Sequence[GroupTokens]
    """Each completion with its prompt."""
    coefficients: Coefficients
    """Arrays as long as ``rows``."""
    num_tokens: int
    """Supervised tokens."""


class Trainer:
    """Takes the steps of a plan; ``progress`` says how many are done."""

    def __init__(self, config: TrainConfig, data: TrainData, student: Student, method: Method) -> None:
        self.data, self.student, self.method = data, student, method
        self.plan = TrainPlan(data.ids, config.groups_per_step, config.epochs, config.seed)
        self.optimizer = build_optimizer(student.trained_parameters().values(), config.optimizer)
        self.progress = Progress()
        self._config = config
        self._token_budget = config.tokens_per_micro_batch

    def take_step(self) -> dict[str, Any]:
        """Take the next optimizer step and say what happened, as a line for the metrics file.

        A step whose loss or gradient is not finite changes no weight; it is logged and counted.

        Raises:
            DistillError: that happened ``max_skipped_steps`` times, or one completion alone exceeds the memory.
        """
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        done = self.progress
        step = self.step_rows(self.plan.groups_of(done.step))
        rate = learning_rate(done.step, self.plan.num_steps, self._config.optimizer)
        metrics = self.gradients(step)
        is_finite = math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])
        if is_finite:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        cpu_seconds, wall_seconds = time.process_time() - cpu_start, time.perf_counter() - wall_start
        self.progress = Progress(
            step=done.step + 1,
            skipped_steps=done.skipped_steps + (not is_finite),
            tokens=done.tokens + step.num_tokens,
            cpu_seconds=done.cpu_seconds + cpu_seconds,
            wall_seconds=done.wall_seconds + wall_seconds,
        )
        if not is_finite:
            self._tell_of_skipped(metrics)
        return {
            "step": done.step + 1,
            "epoch": self.plan.epoch_of(done.step) + 1,
            **{name: value if math.isfinite(value) else None for name, value in metrics.items()},
            "learning_rate": rate,
            "tokens": step.num_tokens,
            "tokens_per_second": step.num_tokens / wall_seconds,
            "peak_memory_bytes": self.peak_memory(),
            "cpu_seconds": self.progress.cpu_seconds,
            **({} if is_finite else {"skipped": True}),
        }

    def step_rows(self, groups: Sequence[int]) -> StepRows:
        """The completions of these groups with their share in the step's loss."""
        tokens = [self.data.tokens(group) for group in groups]
        rows = [GroupTokens(group.prompt_ids, (ids,)) for group in tokens for ids in group.completion_ids]
        coefficients = self.method.coefficients([self.data.judged(group) for group in groups])
        return StepRows(rows, coefficients, sum(len(row.completion_ids[0]) for row in rows))

    def gradients(self, step: StepRows) -> dict[str, float]:
        """Leave the step's clipped gradients on the weights; return loss, its metrics and the gradient's norm.

        When memory runs out the token budget is halved for good and the step begins again: what it
        computes does not depend on the budget.
        """
        import torch

        while True:
            try:
                return self._accumulate(step)
            except torch.OutOfMemoryError:
                longest = max(len(row.prompt_ids) + len(row.completion_ids[0]) for row in step.rows)
                if self._token_budget <= longest:
                    raise DistillError(
                        f"a single completion of {longest} tokens with its prompt does not fit into memory",
                        hint="set gradient_checkpointing to true, lower max_tokens, or train with lora",
                    ) from None
            # out of the handler, whose traceback still holds the tensors of the failed pass
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            self._token_budget //= 2
            logger.warning("out of memory: tokens_per_micro_batch is %d from here on", self._token_budget)

    def peak_memory(self) -> int:
        """Bytes: on CUDA the most that was allocated, else the most that the process was given."""
        import torch

        if self.student.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.student.device)
        try:
            import resource
        except ModuleNotFoundError:  # Windows
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def _accumulate(self, step: StepRows) -> dict[str, float]:
        """Forward and backward over the micro-batches of a step; the device is waited for once, at the end."""
        import torch

        torch.manual_seed(_step_seed(self._config.seed, self.progress.step))
        device, totals = self.student.device, defaultdict[str, Any](float)
        lengths = [len(row.prompt_ids) + len(row.completion_ids[0]) for row in step.rows]
        for chosen in micro_batches(lengths, self._token_budget):
            batch = pack_rows([step.rows[row] for row in chosen], self.student.pad_id).to(device, non_blocking=True)
            shares = {
                name: torch.as_tensor(values[chosen], dtype=torch.float32).to(device, non_blocking=True)
                for name, values in step.coefficients.items()
            }
            with self.student.autocast():
                statistics = token_statistics(self.student.model, batch)
            outputs = self.method.loss(statistics, batch, shares)
            outputs.loss.backward()  # type: ignore[no-untyped-call]
            totals["loss"] += outputs.loss.detach()
            for name, value in outputs.metrics.items():
                totals[name] += value
            totals["entropy"] += statistics.entropies.sum() / step.num_tokens
        weights = self.student.trained_parameters().values()
        totals["grad_norm"] = torch.nn.utils.clip_grad_norm_(weights, self._config.optimizer.max_grad_norm)
        return dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True))

    def _tell_of_skipped(self, metrics: dict[str, float]) -> None:
        skipped, step = self.progress.skipped_steps, self.progress.step
        logger.warning(
            "step %d skipped: loss %s, gradient norm %s (%d of at most %d)",
            step, metrics["loss"], metrics["grad_norm"], skipped, self._config.max_skipped_steps,
        )  # fmt: skip
        if skipped >= self._config.max_skipped_steps:
            raise DistillError(
                f"{skipped} steps had a loss or gradient that is not finite, the last one step {step}",
                hint="lower optimizer.learning_rate, or raise max_skipped_steps if they are rare",
            )


def _step_seed(seed: int, step: int) -> int:
    """A seed of its own for every step, far from its neighbours'."""
    return int.from_bytes(blake2b(f"{seed}/{step}".encode(), digest_size=7).digest())
