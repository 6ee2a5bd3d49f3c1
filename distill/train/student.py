"""The model that is trained: loaded with float32 masters, in full or by LoRA adapters, and saved for everybody.

Full fine-tuning keeps all weights in float32 and computes under autocast: AdamW at the learning rates of
fine-tuning changes nothing in bfloat16 weights. With LoRA the frozen base is in the compute type and the
adapters are in float32.
"""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import LoraConfig, TrainConfig
from distill.errors import DistillError
from distill.models import load_model, load_tokenizer, no_progress_bars, pick_device, pick_dtype, resolve_model
from distill.packing.head import check_head
from distill.packing.linear import checkpoint_contexts
from distill.train.checkpoint import writing_weights
from distill.train.sharding import whole

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Student:
    """A model in training."""

    model: Any
    """A transformers model, or the PEFT model around it."""
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    """What it computes in; the weights that are trained are float32."""

    def trained_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The weights that an optimizer moves, by name; tied ones once."""
        return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        import torch

        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    @property
    def pad_id(self) -> int:
        """Any id will do: nothing that counts ever looks at padding."""
        pad_id = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad_id is None else pad_id)


def load_student(config: TrainConfig, processes: int = 1) -> Student:
    """The base student in training mode; new adapters are drawn from torch's global generator.

    Args:
        processes: that will share one copy of it.

    Raises:
        DistillError: the model cannot be loaded, its logits cannot be read from hidden states, it has no
            layer that ``lora.target_modules`` names, or the compute type is float16.
    """
    import torch

    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    if dtype is torch.float16:
        raise DistillError("float16 cannot be trained in: its gradients underflow", hint="set dtype to bfloat16")
    model: Any = load_model(
        config.model, dtype=config.dtype if config.lora is not None else "float32", device=str(device)
    )
    if config.lora is not None:
        model = _with_adapters(model, config.model, config.lora)
    check_head(model)
    if _checkpoints(config, device, processes):
        # the other kind needs inputs with gradients, which frozen embeddings under adapters do not give
        contexts = partial(checkpoint_contexts, device)
        model.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False, "context_fn": contexts}
        )
    return Student(model.train(), load_tokenizer(config.model), device, dtype)


def _checkpoints(config: TrainConfig, device: torch.device, processes: int) -> bool:
    """Whether activations are to be computed twice."""
    if config.gradient_checkpointing != "auto":
        return config.gradient_checkpointing
    from distill.train.estimate import decide_checkpointing, device_memory, estimate_memory

    memory, room = estimate_memory(config, processes=processes), device_memory(device)
    decided = decide_checkpointing("auto", memory, room)
    if decided and room is not None:
        logger.warning(
            "gradient checkpointing is on: training would take %.1f GiB without it, and there are %.1f",
            memory.total(checkpointing=False) / 2**30, room / 2**30,
        )  # fmt: skip
    return decided


def check_vocabulary(student: Student, largest_id: int) -> None:
    """Raise a DistillError when the training data holds a token id that the model has no embedding for."""
    vocabulary = student.model.get_input_embeddings().weight.shape[0]
    if largest_id >= vocabulary:
        raise DistillError(
            f"the tokenizer of '{student.tokenizer.name_or_path}' gives token id {largest_id}, "
            f"its model knows {vocabulary} ids",
            hint="tokens were added without model.resize_token_embeddings(len(tokenizer)); save both again",
        )


def save_student(student: Student, folder: Path, *, writes: bool = True) -> None:
    """Write the trained model and its tokenizer as ``from_pretrained`` reads them, or a PEFT adapter folder.

    Of a fully trained model, a copy in its compute type.

    Args:
        writes: False on all processes but the first, which only help to gather what is spread over them.
    """
    state = None
    if not _is_adapted(student.model):
        state = {name: _cast(whole(weight), student.dtype) for name, weight in student.model.state_dict().items()}
    if not writes:
        return
    folder.mkdir(parents=True)
    with no_progress_bars(), writing_weights(folder):
        if _is_adapted(student.model):
            # the base model's embeddings are never trained here; without this word PEFT asks the Hub about them
            student.model.save_pretrained(folder, save_embedding_layers=False)
            (folder / "README.md").unlink(missing_ok=True)  # PEFT's card is an empty form
        else:
            student.model.save_pretrained(folder, state_dict=state)
            _name_dtype(folder / "config.json", student.dtype)
        student.tokenizer.save_pretrained(folder)


def _is_adapted(model: Any) -> bool:
    return bool(getattr(model, "peft_config", None))


def with_adapters(model: Any, name: str, lora: LoraConfig, **options: Any) -> Any:
    """A model, called ``name``, with adapters drawn from torch's global generator; ``options`` go to PEFT.

    Raises:
        DistillError: it has no layer that ``lora.target_modules`` names.
    """
    import peft

    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT takes fractions as well, its annotation says int
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        return peft.get_peft_model(model, config, **options)
    except ValueError as error:
        layers = sorted({path.rpartition(".")[2] for path, part in model.named_modules() if _is_linear(part)})
        raise DistillError(
            f"lora.target_modules '{', '.join(lora.target_modules)}' do not fit the model '{name}': {error}",
            hint=f"its linear layers: {', '.join(layers)}",
        ) from None


def _with_adapters(model: Any, name: str, lora: LoraConfig) -> Any:
    """A PEFT model: the base frozen, float32 adapters on the target modules."""
    adapted = with_adapters(model, name, lora)
    folder = Path(resolve_model(name)).expanduser()
    # an adapter folder must find its base again from wherever it is loaded
    adapted.peft_config["default"].base_model_name_or_path = str(folder.resolve()) if folder.is_dir() else name
    return adapted


def _name_dtype(path: Path, dtype: torch.dtype) -> None:
    """Say in a saved configuration what its weights are; transformers names what they were in memory."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _cast(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return weight.to(dtype) if weight.is_floating_point() else weight


def _is_linear(module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.Linear)
