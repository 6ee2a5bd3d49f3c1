r"""Slow Tuning (SLowED, equations 9 and 10): after an epoch, weights go back towards where they started.

With D the change of a weight matrix since the start of training and tau the largest change allowed,

    full weights    D = W - W_0              if ||D||_F > tau:  W <- W_0 + (tau / ||D||_F) D
    LoRA            D = s B A, s = alpha/r   c = sqrt(min(1, tau / ||D||_F)):  A <- c A,  B <- c B

per matrix (``scope: module``), or with one norm over all of them (``scope: global``). Of an adapter D is never formed:

    ||s B A||_F^2 = s^2 sum( (A A^T) * (B^T B) )        elementwise, on r x r matrices, in float64

Full weights are compared with a copy of the base that lies beside the run and is read one matrix at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.errors import DistillError
from distill.files import unfinished
from distill.train.checkpoint import writing_weights
from distill.train.sharding import spread_like, whole

if TYPE_CHECKING:
    import torch

Scope = Literal["module", "global"]
BASE_FILE = "base.safetensors"


@dataclass(frozen=True, slots=True)
class Projection:
    """What one projection did to one matrix."""

    name: str
    norm: float
    """||D||_F before it."""
    ratio: float
    """What D was multiplied by: 1 where nothing had to be done."""


class LoraChange:
    """The change that one adapter makes: s B A."""

    def __init__(self, name: str, a: torch.Tensor, b: torch.Tensor, scale: float) -> None:
        self.name, self.a, self.b, self.scale = name, a, b, scale

    def squared_norm(self) -> float:
        """||s B A||_F^2 from Gram matrices."""
        a, b = self.a.detach().double(), self.b.detach().double()
        return float(self.scale**2 * ((a @ a.T) * (b.T @ b)).sum())

    @property
    def weights(self) -> tuple[torch.Tensor, ...]:
        """What is trained of it."""
        return self.a, self.b

    def shrink(self, ratio: float) -> None:
        """Multiply s B A by ``ratio``, half of it in each factor."""
        self.a.mul_(math.sqrt(ratio))
        self.b.mul_(math.sqrt(ratio))


class FullChange:
    """The change of a matrix that is trained itself; its base is read when it is asked for."""

    def __init__(self, name: str, weight: torch.Tensor, base: Callable[[], torch.Tensor]) -> None:
        self.name, self.weight, self.base = name, weight, base

    def squared_norm(self) -> float:
        """||W - W_0||_F^2."""
        change = self.weight.double() - spread_like(self.base(), self.weight).double()
        return float(whole(change.square().sum()))

    @property
    def weights(self) -> tuple[torch.Tensor, ...]:
        """What is trained of it."""
        return (self.weight,)

    def shrink(self, ratio: float) -> None:
        """W <- W_0 + ratio (W - W_0)."""
        base = spread_like(self.base(), self.weight)
        self.weight.sub_(base).mul_(ratio).add_(base)


class SlowTuning:
    """Projects a student's trained weights; made before the first step, or before the first after a resume.

    Args:
        model: with adapters, or trained as a whole.
        tau: the largest norm of a change; infinity changes nothing.
        scope: 'module' holds every matrix to ``tau``, 'global' all of them together.
        folder: where the copy of the base lies, or is put when there is none; adapters need none.

    Raises:
        DistillError: adapters that do not begin at zero, or that have magnitudes of their own (DoRA).
    """

    def __init__(self, model: Any, tau: float, scope: Scope, folder: Path) -> None:
        self.tau, self.scope = tau, scope
        self.changes: list[LoraChange | FullChange] = [*_lora_changes(model)]
        if not self.changes:
            self.changes += _full_changes(model, folder)

    def project(self) -> list[Projection]:
        """Bring every change that is too large down to ``tau``; say what was found and done."""
        import torch

        with torch.no_grad():
            norms = [math.sqrt(max(0.0, change.squared_norm())) for change in self.changes]
            ratios = self._ratios(norms)
            for change, ratio in zip(self.changes, ratios, strict=True):
                if ratio < 1:
                    change.shrink(ratio)
        found = zip(self.changes, norms, ratios, strict=True)
        return [Projection(change.name, norm, ratio) for change, norm, ratio in found]

    def _ratios(self, norms: list[float]) -> list[float]:
        if self.scope == "module":
            return [_ratio(norm, self.tau) for norm in norms]
        return [_ratio(math.hypot(*norms), self.tau)] * len(norms)


def _ratio(norm: float, tau: float) -> float:
    """min(1, tau / norm).

    >>> _ratio(4.0, 1.0), _ratio(0.5, 1.0), _ratio(0.0, 0.0)
    (0.25, 1.0, 1.0)
    """
    return tau / norm if norm > tau else 1.0


def _lora_changes(model: Any) -> Iterator[LoraChange]:
    """The adapters of a PEFT model, by the name of the layer they change."""
    for adapter, config in getattr(model, "peft_config", {}).items():
        if config.use_dora:
            raise DistillError("slow tuning does not know DoRA's magnitudes", hint="train with plain LoRA adapters")
        for name, module in model.named_modules():
            if adapter not in getattr(module, "lora_A", {}):
                continue
            yield LoraChange(
                name, module.lora_A[adapter].weight, module.lora_B[adapter].weight, module.scaling[adapter]
            )


def _full_changes(model: Any, folder: Path) -> Iterator[FullChange]:
    """The matrices of a model that is trained as a whole; vectors (norms, biases) are left alone."""
    base = keep_base(model, folder)
    for name, weight in _matrices(model).items():
        yield FullChange(name, weight, lambda name=name: _read(base, name))  # type: ignore[misc]


def _matrices(model: Any) -> dict[str, torch.Tensor]:
    """What is trained of a model without adapters, but for vectors."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad and weight.ndim > 1}


def keep_base(model: Any, folder: Path) -> Path:
    """The copy of the base's matrices; written before the first step if it is not there, whole or not at all."""
    from safetensors.torch import save_file

    path = folder / BASE_FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with writing_weights(folder):
            weights = {name: weight.detach().contiguous() for name, weight in _matrices(model).items()}
            save_file(weights, unfinished(path))
        unfinished(path).replace(path)
    return path


def _read(path: Path, name: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        weight: torch.Tensor = file.get_tensor(name)
    return weight


def check_start(model: Any) -> None:
    """Refuse adapters that change the model before the first step: their change would be measured from elsewhere.

    Raises:
        DistillError: some B A is not zero.
    """
    for change in _lora_changes(model):
        if change.squared_norm() > 0:
            raise DistillError(
                f"the adapter of '{change.name}' does not begin at zero, as slow tuning needs",
                hint="leave init_lora_weights at its default",
            )
