"""A model over ranks: whole on each, or weights, gradients and optimizer state in parts that are gathered when needed.

A tensor in parts is torch's DTensor. Whatever leaves the training step (checkpoints, exports, evaluation) is whole.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gptcore.config.settings import settings
from gptcore.training.distributed import count, is_first


def spread(model: nn.Module, blocks: nn.ModuleList, device: torch.device) -> nn.Module:
    """What a training step calls in the place of `model`. `model` keeps its parameters' names.

    ddp: the whole model on each rank (Li et al. 2020). fsdp: parameters, gradients and optimizer state in parts,
    gathered block by block (Zhao et al. 2023; here torch's second version, fully_shard).
    """
    if count() == 1:
        return model
    if settings().sharding == "ddp":
        ids = [device.index] if device.type == "cuda" else None
        # buffers are constants; torch 2.13 has a new word for it
        words = inspect.signature(DistributedDataParallel).parameters
        buffers: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in words else "broadcast_buffers": False
        }
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True, **buffers)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (count(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@contextmanager
def gradients_exchanged(spread_model: nn.Module, now: bool) -> Iterator[None]:
    """Whether the backward pass inside exchanges gradients: for all but the last micro-step it would be in vain."""
    if isinstance(spread_model, DistributedDataParallel) and not now:
        with spread_model.no_sync():
            yield
        return
    if hasattr(spread_model, "set_requires_gradient_sync"):
        spread_model.set_requires_gradient_sync(now)  # type: ignore[operator]
    yield


def in_parts(tensor: Tensor) -> bool:
    """Whether each rank holds a part of `tensor` alone."""
    return hasattr(tensor, "full_tensor")  # a DTensor; that class and FSDP take a second to import


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each rank holds a part; every rank must call it."""
    tensor = tensor.detach()
    full: Tensor = tensor.full_tensor() if in_parts(tensor) else tensor  # type: ignore[attr-defined]
    return full


def own_part(tensor: Tensor) -> Tensor:
    """What this rank holds of `tensor`."""
    part: Tensor = tensor.to_local() if in_parts(tensor) else tensor  # type: ignore[attr-defined]
    return part


def laid_out_as(tensor: Tensor, parameter: Tensor) -> Tensor:
    """`tensor` on the device of `parameter`, and in parts if that is: a whole one, or this rank's part."""
    tensor = tensor.to(parameter.device)
    if not in_parts(parameter):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    mesh, placements = parameter.device_mesh, parameter.placements
    if tensor.shape != parameter.shape:
        return DTensor.from_local(tensor, mesh, placements, shape=parameter.shape, stride=parameter.stride())
    # src_data_rank None: each rank cuts its own part, nothing is sent
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def tensors_on_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` made whole, on the first rank; every rank must call it, and the others get nothing."""
    found = {}
    for name, each in tensors.items():
        full = whole(each)
        if is_first():
            found[name] = full.cpu() if in_parts(each) else full
    return found
