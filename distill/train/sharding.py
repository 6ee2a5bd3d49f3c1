"""A fully trained student spread over processes by FSDP2: each holds a part of weights, gradients and moments.

Every layer of the body gathers its weights when it runs. The output layer is read by ``distill.packing`` itself,
once for each forward pass. Tensors that are spread are DTensors; ``whole`` and ``spread_like`` go to and fro, and
leave all others as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.errors import DistillError

if TYPE_CHECKING:
    import torch


def shard(model: Any) -> None:
    """Spread a model over all processes of the default group; its parameters are other objects afterwards.

    Raises:
        DistillError: the model cannot be spread.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    mesh = init_device_mesh(next(model.parameters()).device.type, (torch.distributed.get_world_size(),))
    is_tied = head.weight is model.get_input_embeddings().weight
    layers = set(model._no_split_modules or ())
    for module in list(decoder.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(decoder, mesh=mesh)
    if is_tied:
        head.weight = model.get_input_embeddings().weight
    else:
        head.weight = torch.nn.Parameter(distribute_tensor(head.weight.detach(), mesh, [Shard(0)]))
    left = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    if left:
        raise DistillError(
            f"'{left[0]}' of the model of type '{model.config.model_type}' cannot be spread over processes",
            hint="set parallel to replicate",
        )


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, gathered from everybody when it is spread; then everybody has to ask."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def spread_like(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A whole tensor that everybody has, spread as ``weight`` is and on its device."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    tensor = tensor.to(weight.device)
    if not isinstance(weight, DTensor):
        return tensor
    return distribute_tensor(tensor, weight.device_mesh, weight.placements, src_data_rank=None)
