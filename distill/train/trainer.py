"""One optimizer step after the other: the state of a run in memory."""

from __future__ import annotations

import inspect
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.packing.backward import backpropagate
from distill.packing.head import token_statistics
from distill.packing.layout import GroupTokens, num_tokens_in_rows
from distill.train.checkpoint import Progress
from distill.train.cost import stated_flops, training_flops, work_of
from distill.train.data import TrainData
from distill.train.estimate import student_shape
from distill.train.losses.base import Method
from distill.train.optimizer import build_optimizer, learning_rate
from distill.train.passes import Pass, Passes
from distill.train.plan import TrainPlan, hold_out
from distill.train.ranks import ALONE, Ranks
from distill.train.sharding import shard, whole
from distill.train.step_mask import StepMask, step_mask
from distill.train.student import Student

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from distill.packing.head import TokenStatistics
    from distill.packing.layout import TokenIds
    from distill.train.losses.base import Coefficients, JudgedGroup

logger = logging.getLogger(__name__)

ENTROPY_STEP, ENTROPY_STEPS = 0.25, 24
"""Nats of a bin of the entropies' histogram, and how many there are."""


@dataclass(frozen=True, slots=True)
class StepData:
    """What one optimizer step learns from: C completions."""

    groups: Sequence[GroupTokens]
    """All completions with their prompts, in the order of the step's groups."""
    coefficients: Coefficients
    """Arrays (C,)."""
    num_tokens: int
    """Supervised tokens."""
    mask: StepMask | None = None
    """Which of them the cross entropy sees; None is all."""


class Trainer:
    """Takes the steps of a plan; ``progress`` says how many are done.

    Raises:
        DistillError: masking was asked for, and the method's loss takes no mask.
    """

    def __init__(
        self, config: TrainConfig, data: TrainData, student: Student, method: Method, ranks: Ranks = ALONE
    ) -> None:
        if data.mask is not None and "kept" not in inspect.signature(method.loss).parameters:
            raise DistillError(
                f"method '{config.method}' cannot mask tokens: its loss has no argument 'kept'",
                hint="leave low_entropy_mask out, or give the loss that argument as distill.train.losses.sft does",
            )
        self.data, self.student, self.method, self.ranks = data, student, method, ranks
        self._trained, self.validation = hold_out(data.ids, config.validation_share)
        trained_ids = tuple(data.ids[number] for number in self._trained)
        self.plan = TrainPlan(trained_ids, config.groups_per_step, config.epochs, config.seed)
        self.passes = Passes(config, student, ranks)
        if self.passes.is_sharded:
            shard(student.model)
        self.optimizer = build_optimizer(student.trained_parameters().values(), config.optimizer)
        self.progress = Progress()
        self._stated_flops = _stated_flops(student)
        self._shape = None if self._stated_flops is None else student_shape(config)
        self._config = config

    def take_step(self) -> dict[str, Any]:
        """Take the next optimizer step and say what happened, as a line for the metrics file.

        ``entropy_counts`` tells how many supervised tokens have which entropy of the student, in steps of
        ``ENTROPY_STEP`` nats, the last for all beyond. ``tokens_per_second`` counts supervised tokens,
        ``tokens_read_per_second`` all that passed through the model; ``sharing`` is how many times as many these were
        if every completion had a prompt of its own; ``mfu``, where the device is known, the share of its stated speed
        that was used.

        A step whose loss or gradient is not finite changes no weight; it is logged and counted.

        Raises:
            DistillError: that happened ``max_skipped_steps`` times, or one completion alone exceeds the memory.
        """
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        done = self.progress
        step = self.step_data([self._trained[place] for place in self.plan.groups_of(done.step)])
        epoch = self.plan.epoch_of(done.step)
        rate = learning_rate(done.step, self.plan.num_steps, self._config.optimizer, epoch=epoch)
        metrics = self.gradients(step)
        is_finite = math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])
        if is_finite:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        num_read, in_rows = self.passes.num_tokens(step.groups), num_tokens_in_rows(step.groups)
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
            "epoch": epoch + 1,
            **{name: value if _is_finite(value) else None for name, value in metrics.items()},
            "learning_rate": rate,
            "tokens": step.num_tokens,
            **({} if step.mask is None else {"masked_tokens": step.mask.num_masked}),
            "tokens_per_second": step.num_tokens / wall_seconds,
            "tokens_read_per_second": num_read / wall_seconds,
            "sharing": in_rows / num_read,
            **self._utilisation(step, wall_seconds),
            "peak_memory_bytes": self.peak_memory(),
            "cpu_seconds": self.progress.cpu_seconds,
            **({} if is_finite else {"skipped": True}),
        }

    def _utilisation(self, step: StepData, seconds: float) -> dict[str, float]:
        """MFU: the arithmetic of a step, none of it counted twice, over what the devices could have done meanwhile."""
        if self._stated_flops is None or self._shape is None:
            return {}
        work = work_of(step.groups, packed=self.passes.is_packed)
        done = training_flops(self._shape, work, checkpointing=False)
        return {"mfu": done / (seconds * self._stated_flops * self.ranks.size)}

    def step_data(self, numbers: Sequence[int]) -> StepData:
        """The completions of these groups with their share in the step's loss."""
        groups = [tokens for number in numbers for tokens in self.data.tokens(number)]
        judged = [self.data.judged(number) for number in numbers]
        mask = self._mask(numbers, groups)
        if mask is not None and self._config.low_entropy_mask.normaliser == "kept":  # type: ignore[union-attr]
            judged = _with_kept_lengths(judged, mask)
        num_tokens = sum(map(len, _completions(groups)))
        return StepData(groups, self.method.coefficients(judged), num_tokens, mask)

    def gradients(self, step: StepData) -> dict[str, Any]:
        """Leave the step's clipped gradients on the weights; return loss, its metrics and the gradient's norm."""
        totals = self.passes.within_memory(step.groups, self.optimizer, lambda: self._accumulate(step))
        return self._add_up(totals)

    def validation_loss(self) -> float:
        """The method's loss on the groups that are held out, as if they were one step; for a model in eval mode."""
        import torch

        step, totals = self.step_data(self.validation), dict[str, "torch.Tensor"]()
        with torch.no_grad(), self.student.autocast():
            for one in self.passes.of_step(self.progress.step, step.groups):
                statistics = token_statistics(self.student.model, one.batch)
                self._loss(step, one, totals)(statistics, slice(0, len(one.completions)))
        loss: float = self._sums(totals)["loss"]
        return loss

    def _mask(self, numbers: Sequence[int], groups: Sequence[GroupTokens]) -> StepMask | None:
        """The mask of the completions of these groups, whose tokens they are; None where nothing is masked."""
        options, known = self._config.low_entropy_mask, self.data.mask
        if options is None or known is None:
            return None
        is_maskable = [flags for number in numbers for flags in self.data.learnt(known.is_maskable, number)]
        entropies = None
        if known.entropies is not None:
            entropies = [values for number in numbers for values in self.data.learnt(known.entropies, number)]
        elif options.rank == "batch":
            # one ranking over all passes needs all entropies before the first gradient: the step is read twice
            own = self.passes.within_memory(groups, self.optimizer, lambda: self._own_entropies(groups))
            found = {place: values for each in self.ranks.gather(own) for place, values in each.items()}
            entropies = [found[place] for place in range(len(found))]
        return step_mask(options, is_maskable, entropies)

    def _own_entropies(self, groups: Sequence[GroupTokens]) -> dict[int, npt.NDArray[np.float32]]:
        """The student's entropies of the completions that this process reads, by their places in the step."""
        import numpy as np
        import torch

        own: dict[int, npt.NDArray[np.float32]] = {}
        with torch.no_grad(), self.student.autocast():
            for one in self.passes.of_step(self.progress.step, groups):
                entropies = token_statistics(self.student.model, one.batch).entropies.float().cpu().numpy()
                own.update(zip(one.completions, np.split(entropies, one.batch.completion_ends[:-1]), strict=True))
        return own

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

    def _accumulate(self, step: StepData) -> dict[str, torch.Tensor]:
        """Forward and backward over this process's passes of a step; the numbers that the method's loss tells."""
        totals: dict[str, torch.Tensor] = {}
        for one in self.passes.of_step(self.progress.step, step.groups):
            with self.student.autocast():
                backpropagate(self.student.model, one.batch, self._loss(step, one, totals))
        return totals

    def _loss(
        self, step: StepData, one: Pass, totals: dict[str, torch.Tensor]
    ) -> Callable[[TokenStatistics, slice], torch.Tensor]:
        """The method's loss on a part of a pass's completions; what it tells is added to ``totals``."""
        import torch

        # FSDP takes the mean over processes, here as everywhere a sum is wanted
        scale = self.ranks.size if self.passes.is_sharded else 1

        def loss(statistics: TokenStatistics, chosen: slice) -> torch.Tensor:
            part, places = one.batch.part(chosen), list(one.completions[chosen])
            shares = {
                name: torch.as_tensor(values[places], dtype=torch.float32).to(self.student.device, non_blocking=True)
                for name, values in step.coefficients.items()
            }
            masked = {} if step.mask is None else {"kept": step.mask.kept(places, part, statistics.entropies)}
            outputs = self.method.loss(statistics, part, shares, **masked)
            told = {"loss": outputs.loss.detach(), **outputs.metrics, **_of_entropies(statistics, step.num_tokens)}
            for name, value in told.items():
                totals[name] = totals.get(name, 0) + value * one.counts
            return outputs.loss * (one.counts * scale)

        return loss

    def _add_up(self, totals: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Gradients and numbers of all processes, clipped and as numbers; the device is waited for here."""
        import torch

        weights, sums = self.student.trained_parameters().values(), self._sums(totals)
        if not self.passes.is_sharded:
            for weight in weights if not self.ranks.is_alone else ():
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            self.ranks.add_up([weight.grad for weight in weights if weight.grad is not None])
        norm = whole(torch.nn.utils.clip_grad_norm_(weights, self._config.optimizer.max_grad_norm))
        return {**sums, "grad_norm": norm.item()}

    def _sums(self, totals: dict[str, torch.Tensor]) -> dict[str, Any]:
        """The numbers of all processes, added up; lists of whole numbers where there are several of a name."""
        import torch

        together = torch.cat([value.double().reshape(-1) for value in totals.values()])
        self.ranks.add_up([together])
        parts = torch.split(together.cpu(), [value.numel() for value in totals.values()])
        return {
            name: part.item() if value.ndim == 0 else part.long().tolist()
            for (name, value), part in zip(totals.items(), parts, strict=True)
        }

    def _tell_of_skipped(self, metrics: dict[str, Any]) -> None:
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


def _stated_flops(student: Student) -> float | None:
    """What the student's device could do; known of some GPUs, in bfloat16."""
    import torch

    if student.device.type != "cuda" or student.dtype is not torch.bfloat16:
        return None
    return stated_flops(torch.cuda.get_device_name(student.device))


def _of_entropies(statistics: TokenStatistics, num_tokens: int) -> dict[str, torch.Tensor]:
    """The entropies' share of a step's mean, and how many tokens have which."""
    import torch

    most = ENTROPY_STEP * ENTROPY_STEPS
    counts = torch.histc(statistics.entropies.float().clamp(0, most), bins=ENTROPY_STEPS, min=0, max=most)
    return {"entropy": statistics.entropies.sum() / num_tokens, "entropy_counts": counts}


def _is_finite(value: float | list[int]) -> bool:
    return isinstance(value, list) or math.isfinite(value)


def _completions(groups: Sequence[GroupTokens]) -> Iterator[TokenIds]:
    for group in groups:
        yield from group.completion_ids


def _with_kept_lengths(groups: Sequence[JudgedGroup], mask: StepMask) -> list[JudgedGroup]:
    """The groups with what the mask leaves of each completion."""
    num_kept = iter(mask.num_kept)
    return [replace(group, kept_lengths=tuple(islice(num_kept, len(group)))) for group in groups]
