"""How much memory a student's training takes, found out from its config alone.

With P weights, of which A are trained, computing in a type of c bytes (4, or 2 under autocast), in bytes:

    weights      full: 4 P             LoRA: c (P - A) + 4 A
    gradients    4 A
    moments      8 A                   AdamW's two, float32
    copies       c A of matrices       which autocast makes of float32 weights, where c is 2
    activations  what autograd keeps of the largest pass for its backward pass
    logits       of the tokens that the head reads at a time, 4 V each, and their hidden states' gradients

What autograd keeps depends on an architecture's every line, so it is counted instead of modelled: a row of the model
is run on tensors that have shapes and no memory, and the sizes of what is kept are added up. With checkpointing every
layer keeps its input alone, width x (bytes of the hidden states) for each token, and one layer at a time is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from distill.models import load_model_config, pick_device, pick_dtype
from distill.packing.attention import GROUP_ATTENTION, packed_inputs, register
from distill.packing.backward import KEPT_BYTES
from distill.packing.group_check import known_hindrance
from distill.packing.layout import GroupTokens, PackedBatch, pack_groups, pack_rows
from distill.packing.streaming import BLOCK_TOKENS
from distill.train.student import with_adapters

if TYPE_CHECKING:
    import torch

    from distill.config import TrainConfig

ASSUMED_NUMBERS = 32
"""Kept of a token by a layer, as multiples of its width, of a model that cannot be run on shapes alone.

Qwen3, Gemma 2 and 3, Phi-3, SmolLM3, OLMo 2 and Mistral keep 23 to 31 in float32, with an inner width of twice that.
"""
USABLE = 0.9
"""Share of a device's memory that an estimate may fill: the rest is the driver's, and what lies between tensors."""


@dataclass(frozen=True, slots=True)
class StudentShape:
    """What the config of a student says of its size, as it would be trained."""

    parameters: int
    trained: int
    trained_matrices: int
    """Of them, those that stand in matrices."""
    body_matrices: int
    """Weights in matrices that every token is multiplied by: all but the embeddings and the output layer."""
    trained_body_matrices: int
    layers: int
    width: int
    attention_width: int
    """Of the queries of all heads together."""
    vocabulary: int
    trains_head: bool
    """Whether the output layer is trained."""
    compute_bytes: int
    """Of a number in the type that it computes in."""
    kept_bytes: int
    """What autograd keeps of a pass of ``pass_tokens``."""
    not_counted: str
    """Why that is assumed instead of counted; empty where it is counted."""
    pass_tokens: int
    hidden_bytes: int
    """Of a number in the hidden states between layers."""
    hindrance: str
    """Why it reads rows instead of packed groups, as far as its config tells; empty where it reads groups."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes that training takes on its device."""

    weights: int
    gradients: int
    moments: int
    copies: int
    activations: int
    checkpointed: int
    """What stands in the place of ``activations`` with gradient checkpointing."""
    logits: int

    def total(self, *, checkpointing: bool) -> int:
        """All of it.

        >>> memory = MemoryEstimate(4, 4, 8, 2, 100, 10, 1)
        >>> memory.total(checkpointing=False), memory.total(checkpointing=True)
        (119, 29)
        """
        kept = self.checkpointed if checkpointing else self.activations
        return self.weights + self.gradients + self.moments + self.copies + self.logits + kept


def checkpointing_pays(memory: MemoryEstimate, device_bytes: int) -> bool:
    """Whether a training without gradient checkpointing, which costs a third more time, would not fit a device.

    >>> memory = MemoryEstimate(4, 4, 8, 2, 100, 10, 1)
    >>> checkpointing_pays(memory, 200), checkpointing_pays(memory, 120)
    (False, True)
    """
    return memory.total(checkpointing=False) > USABLE * device_bytes


def decide_checkpointing(asked: bool | Literal["auto"], memory: MemoryEstimate, device_bytes: int | None) -> bool:
    """Whether to train with gradient checkpointing: as asked, and with 'auto' where it pays.

    >>> memory = MemoryEstimate(4, 4, 8, 2, 100, 10, 1)
    >>> decide_checkpointing(True, memory, 200), decide_checkpointing("auto", memory, 120)
    (True, True)
    >>> decide_checkpointing("auto", memory, 200), decide_checkpointing("auto", memory, None)
    (False, False)
    """
    if asked == "auto":
        return device_bytes is not None and checkpointing_pays(memory, device_bytes)
    return asked


def estimate_memory(
    config: TrainConfig,
    shape: StudentShape | None = None,
    *,
    pass_tokens: int | None = None,
    learnt_tokens: int | None = None,
    processes: int = 1,
) -> MemoryEstimate:
    """What training by a recipe takes.

    Args:
        shape: of the student, where it is at hand.
        pass_tokens: of the largest forward pass, padding counted; the recipe's budget where nothing is known.
        learnt_tokens: of the same pass, those that are learnt; all where nothing is known.
        processes: that share weights, gradients and moments.

    Raises:
        DistillError: the student's config cannot be read, or ``lora.target_modules`` do not fit it.
    """
    shape = shape or student_shape(config)
    tokens = pass_tokens or max(config.tokens_per_micro_batch, config.max_tokens)
    learnt = learnt_tokens or tokens
    kept = shape.kept_bytes * tokens // shape.pass_tokens
    frozen = shape.parameters - shape.trained
    kind = pick_device(config.device).type
    logits = 4 * shape.vocabulary * min(learnt, BLOCK_TOKENS.get(kind, BLOCK_TOKENS["cpu"]))
    if shape.trains_head:
        logits = min(4 * shape.vocabulary * learnt, KEPT_BYTES.get(kind, KEPT_BYTES["cpu"]))
    return MemoryEstimate(
        weights=(shape.compute_bytes * frozen + 4 * shape.trained) // processes,
        gradients=4 * shape.trained // processes,
        moments=8 * shape.trained // processes,
        copies=shape.compute_bytes * shape.trained_matrices if shape.compute_bytes < 4 else 0,
        activations=kept,
        checkpointed=shape.layers * tokens * shape.width * shape.hidden_bytes + kept // shape.layers,
        logits=logits + 8 * learnt * shape.width,
    )


def device_memory(device: torch.device) -> int | None:
    """Bytes of a device's memory, of the whole machine's for the CPU; None where the system does not say."""
    import os

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows, and systems that lack the second name
        return None


def student_shape(config: TrainConfig, groups: Sequence[GroupTokens] | None = None) -> StudentShape:
    """The size of a recipe's student, from its config.json alone.

    Args:
        groups: what the largest pass reads; one completion of the recipe's longest length if not given.

    Raises:
        DistillError: the config cannot be read, or ``lora.target_modules`` do not fit it.
    """
    dtype = pick_dtype(config.dtype, pick_device(config.device))
    model = _without_numbers(config, dtype)
    hindrance = "packing is 'rows'" if config.packing == "rows" else known_hindrance(model)
    batch = (pack_rows(groups or _longest(config), 0)) if hindrance else pack_groups(groups or _longest(config))
    text, output = model.config.get_text_config(), model.get_output_embeddings().weight
    ends = {id(output), id(model.get_input_embeddings().weight)}
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    body = [weight for weight in weights if weight.ndim > 1 and id(weight) not in ends]
    heads = getattr(text, "num_attention_heads", 0)  # Mamba has none
    hidden_bytes = 4 if config.lora is None else dtype.itemsize
    kept, not_counted = 4 * ASSUMED_NUMBERS * batch.input_ids.numel() * text.hidden_size * text.num_hidden_layers, ""
    try:
        kept, hidden_bytes = _kept(model, batch, dtype)
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        # mixtures of experts and others look at numbers to know what to do next, and there are none here
        not_counted = str(error).partition("\n")[0]
    return StudentShape(
        parameters=sum(weight.numel() for weight in weights),
        trained=sum(weight.numel() for weight in trained),
        trained_matrices=sum(weight.numel() for weight in trained if weight.ndim > 1),
        body_matrices=sum(weight.numel() for weight in body),
        trained_body_matrices=sum(weight.numel() for weight in body if weight.requires_grad),
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        attention_width=heads and heads * (getattr(text, "head_dim", None) or text.hidden_size // heads),
        vocabulary=output.shape[0],
        trains_head=output.requires_grad,
        compute_bytes=dtype.itemsize,
        kept_bytes=kept,
        not_counted=not_counted,
        pass_tokens=batch.input_ids.numel(),
        hidden_bytes=hidden_bytes,
        hindrance=hindrance,
    )


def _without_numbers(config: TrainConfig, dtype: torch.dtype) -> Any:
    """The model as it would be trained, its weights shapes alone."""
    import torch
    from transformers import AutoModelForCausalLM

    of_base, make = dtype if config.lora is not None else torch.float32, cast(Any, AutoModelForCausalLM).from_config
    with torch.device("meta"):
        model = make(load_model_config(config.model), dtype=of_base)
    if config.lora is not None:
        model = with_adapters(model, config.model, config.lora, low_cpu_mem_usage=True)
    return model.train()


def _longest(config: TrainConfig) -> list[GroupTokens]:
    """One group of as many tokens as a recipe allows, an eighth of them prompt."""
    prompt = config.max_tokens // 8 + 1
    return [GroupTokens((0,) * prompt, ((0,) * (config.max_tokens - prompt),))]


def _kept(model: Any, batch: PackedBatch, dtype: torch.dtype) -> tuple[int, int]:
    """Bytes that autograd keeps of the body's pass over a batch, without weights, and of a hidden state's number."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    if batch.spans:
        register()
        model.set_attn_implementation(GROUP_ATTENTION)
    inputs = {"input_ids": batch.input_ids, "use_cache": False, "return_dict": True, **packed_inputs(batch)}
    kept: dict[int, torch.UntypedStorage] = {}  # alive, so that no two have the same address
    body = model.get_decoder()
    # narrow from the start: what autocast would make of them is counted apart, since it does not grow with tokens
    linear = [name for name, part in body.named_modules() if isinstance(part, torch.nn.Linear)]
    narrow = set() if getattr(model, "peft_config", None) else {f"{name}.weight" for name in linear}
    with _in_silence(), torch.random.fork_rng(devices=[]), FakeTensorMode(allow_non_fake_inputs=True):
        values = {
            name: torch.empty(
                tensor.shape, dtype=dtype if name in narrow else tensor.dtype, requires_grad=tensor.requires_grad
            )
            for name, tensor in (*body.named_parameters(), *body.named_buffers())
        }
        own = {value.untyped_storage()._cdata for value in values.values()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
            return tensor

        # of another device's the sizes would be the same
        autocast = nullcontext() if dtype == torch.float32 else torch.autocast("cpu", dtype=dtype)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            hidden = torch.func.functional_call(body, values, (), inputs).last_hidden_state
    return sum(storage.nbytes() for storage in kept.values()), hidden.dtype.itemsize


@contextmanager
def _in_silence() -> Iterator[None]:
    """Keep torch from logging the traceback of an operation that cannot be run on shapes alone."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
