"""What a training run would do, found out from a dataset and a student's config, without its weights.

Where the student's tokenizer is at hand, its tokens are counted. Where it is not, the teacher's stand in for them, and
of text that came without token ids every four characters are taken for a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.models import load_tokenizer, pick_device, pick_dtype
from distill.packing.micro_batches import MicroBatch, micro_batches
from distill.train import ReportProgress, silent
from distill.train.cost import ASSUMED_SHARE, Work, measured_flops, training_flops, work_of
from distill.train.data import DataCounts, TrainData
from distill.train.encode import EncodedGroup, StudentEncoder
from distill.train.estimate import (
    MemoryEstimate,
    StudentShape,
    checkpointing_pays,
    decide_checkpointing,
    device_memory,
    estimate_memory,
    student_shape,
)
from distill.train.passages import Passage
from distill.train.plan import TrainPlan, hold_out
from distill.train.reading import open_dataset, read_training_data

if TYPE_CHECKING:
    from distill.train.losses.base import Method
from distill.train.losses.own import load_method

CHARACTERS_PER_TOKEN = 4
TokenSource = Literal["the student's", "the teacher's"]


@dataclass(frozen=True, slots=True)
class PassPlan:
    """The forward passes of an epoch."""

    packed: bool
    """Whether a prompt is read once for all its completions."""
    why_rows: str
    """Why not; empty where it is."""
    passes_per_step: float
    largest_tokens: int
    """Of a pass, padding counted."""
    read_tokens: int
    """Of an epoch, padding counted."""
    sharing_ratio: float
    """Tokens of an epoch with a prompt for every completion, to those that are read."""


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Where it would run, and how long."""

    device: str
    dtype: str
    memory_bytes: int | None
    flops_per_second: float
    """What one large product reaches here, times ``assumed_share``."""
    assumed_share: float
    """Of it, that training is taken to reach."""
    flops: float
    """Of the whole run."""
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training run would do."""

    dataset: str
    model: str
    method: str
    tokens_are: TokenSource
    data: DataCounts
    validation_groups: int
    epochs: int
    steps: int
    passes: PassPlan
    student: StudentShape
    memory: MemoryEstimate
    total_bytes: int
    """Of memory, without gradient checkpointing."""
    checkpointed_bytes: int
    """Of memory, with it."""
    gradient_checkpointing: bool
    """As the recipe asks for it."""
    checkpointing_pays: bool | None
    """Whether it would not fit without; None where the device does not say how much memory it has."""
    device: DevicePlan


def plan_training(
    config: TrainConfig, progress: ReportProgress = silent, *, device_flops: float | None = None
) -> TrainingPlan:
    """What ``train_student`` would do with a recipe; reads the dataset and the student's config alone.

    Args:
        device_flops: FLOP per second that the device reaches in one large product; measured if not given.

    Raises:
        DistillError: the dataset, method or student's config does not fit.
    """
    method: Method = load_method(config.method, config.loss)
    dataset = open_dataset(Path(config.dataset))
    encoder, tokens_are = _encoder(config)
    counted = config
    if tokens_are == "the teacher's":  # a mask changes what is learnt, and no count
        counted = config.model_copy(update={"low_entropy_mask": None})
    data = read_training_data(dataset, counted, encoder, method, progress)
    trained, validation = hold_out(data.ids, config.validation_share)
    plan = TrainPlan(tuple(data.ids[n] for n in trained), config.groups_per_step, config.epochs, config.seed)
    steps = [[trained[place] for place in plan.groups_of(step)] for step in range(plan.steps_per_epoch)]
    passes, work, shape, learnt = _passes(config, data, steps)
    memory = estimate_memory(config, shape, pass_tokens=shape.pass_tokens, learnt_tokens=learnt)
    device = pick_device(config.device)
    room = device_memory(device)
    checkpointing = decide_checkpointing(config.gradient_checkpointing, memory, room)
    return TrainingPlan(
        dataset=config.dataset,
        model=config.model,
        method=config.method,
        tokens_are=tokens_are,
        data=data.counts,
        validation_groups=len(validation),
        epochs=config.epochs,
        steps=plan.num_steps,
        passes=passes,
        student=shape,
        memory=memory,
        total_bytes=memory.total(checkpointing=False),
        checkpointed_bytes=memory.total(checkpointing=True),
        gradient_checkpointing=checkpointing,
        checkpointing_pays=None if room is None else checkpointing_pays(memory, room),
        device=_device(config, config.epochs * training_flops(shape, work, checkpointing=checkpointing), device_flops),
    )


def _passes(
    config: TrainConfig, data: TrainData, steps: Sequence[Sequence[int]]
) -> tuple[PassPlan, Work, StudentShape, int]:
    """The passes of an epoch, their work, the student's shape in the largest, and what that learns."""
    groups = [[tokens for number in step for tokens in data.tokens(number)] for step in steps]
    shape = student_shape(config, groups[0][:1])
    packed = not shape.hindrance
    budget = config.tokens_per_micro_batch
    batches = [batch for step in groups for batch in micro_batches(step, budget, packed=packed)]
    sizes = [_tokens_of(batch, packed=packed) for batch in batches]
    largest = max(range(len(batches)), key=lambda number: sizes[number])
    work = work_of((g for batch in batches for g in batch.groups), packed=packed, padded_tokens=sum(sizes))
    alone = work_of((g for step in groups for g in step), packed=False)
    plan = PassPlan(
        packed=packed,
        why_rows=shape.hindrance,
        passes_per_step=len(batches) / len(steps),
        largest_tokens=sizes[largest],
        read_tokens=work.read_tokens,
        sharing_ratio=alone.read_tokens / work.read_tokens,
    )
    learnt = work_of(batches[largest].groups, packed=packed).learnt_tokens
    return plan, work, student_shape(config, batches[largest].groups), learnt


def _tokens_of(batch: MicroBatch, *, packed: bool) -> int:
    """Tokens that a pass reads, padding counted."""
    if packed:
        return batch.num_tokens
    rows = [len(group.prompt_ids) + len(ids) for group in batch.groups for ids in group.completion_ids]
    return max(rows) * len(rows)


def _device(config: TrainConfig, flops: float, device_flops: float | None) -> DevicePlan:
    import torch

    device = pick_device(config.device)
    dtype = str(pick_dtype(config.dtype, device)).removeprefix("torch.")
    share = ASSUMED_SHARE.get(device.type, ASSUMED_SHARE["cpu"])
    rate = share * (device_flops or measured_flops(device, getattr(torch, dtype)))
    threads = torch.get_num_threads()
    name = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return DevicePlan(
        device=name,
        dtype=dtype,
        memory_bytes=device_memory(device),
        flops_per_second=rate,
        assumed_share=share,
        flops=flops,
        seconds=flops / rate,
    )


def _encoder(config: TrainConfig) -> tuple[Any, TokenSource]:
    """Reads rows in the student's tokens, or in the teacher's where the student's tokenizer is not at hand."""
    try:
        return StudentEncoder(load_tokenizer(config.model), config.prompt), "the student's"
    except DistillError:
        return _TeachersTokens(), "the teacher's"


class _TeachersTokens:
    """Stands in for a student's encoder: as many tokens as the teacher wrote."""

    tokenizer = None

    def encode(self, row: dict[str, Any], num_completions: int) -> EncodedGroup:
        """The row's own token ids; where it has none, as many as its text is long."""
        texts, ends = row["completions"][:num_completions], row["finish_reasons"][:num_completions]
        made = self.passages(texts, [0] * len(texts), [reason != "length" for reason in ends])
        sampled = row["completion_ids"][:num_completions]
        completions = [
            Passage(ids, passage.text, 0, passage.ends, True) if len(ids) else passage
            for ids, passage in zip(sampled or [()] * len(made), made, strict=True)
        ]
        prompt = row["prompt_ids"] if len(row["prompt_ids"]) else _as_many(row["prompt_text"])
        return EncodedGroup(prompt, completions, again=False)

    def passages(self, texts: Sequence[str], places: Sequence[int], ends: Sequence[bool]) -> list[Passage]:
        """Texts as tokens that stand for nothing."""
        found = zip(texts, places, ends, strict=True)
        return [Passage(_as_many(text, end), text, place, end, False) for text, place, end in found]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As many tokens as the texts are long."""
        return [_as_many(text).tolist() for text in texts]


def _as_many(text: str, ends: bool = False) -> Any:
    import numpy as np

    return np.zeros(-(-len(text) // CHARACTERS_PER_TOKEN) + ends, dtype=np.int32)
