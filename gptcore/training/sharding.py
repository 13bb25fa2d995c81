"""Distribute a model over ranks: replicated, or with weights, gradients and optimizer state sharded.

A sharded tensor is a torch DTensor. Everything outside the training step (checkpoints, exports, evaluation) uses whole
tensors.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gptcore.config.settings import settings
from gptcore.model.gpt import GPT
from gptcore.ranks.distributed import count, count_here, is_first


def wrap(model: GPT, device: torch.device, compiler: str | None, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Wrap `model` for the training step to call. `model` keeps its parameter names.

    From the inside out: a block's forward checkpoints its activations, `compiler` (a backend of torch.compile; None is
    off) compiles that forward, and ranks share the model around both. In any other order the recomputation of a
    checkpoint would run the hooks that gather a block's parameters, or compile another graph than the forward pass.
    """
    if compiler:
        model.compile_blocks(compiler)
    return _spread(model, device, dtype)


def _spread(model: GPT, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Distribute `model` over the ranks.

    ddp: the whole model on each rank (Li et al. 2020). fsdp: parameters, gradients and optimizer state are sharded and
    gathered block by block (Zhao et al. 2023; here torch's second version, fully_shard).
    """
    if count() == 1:
        return model
    if settings().sharding == "ddp":
        ids = [device.index] if device.type == "cuda" else None
        # buffers are constants, so never synced; torch 2.13 renames the argument
        words = inspect.signature(DistributedDataParallel).parameters
        buffers: dict[str, Any] = {
            "forward_sync_buffers" if "forward_sync_buffers" in words else "broadcast_buffers": False
        }
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True, **buffers)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    shape = _mesh_shape(settings().sharding)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=("machine", "rank")[-len(shape) :])
    # activations keep their dtype: rotary positions need float32
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.h:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    return model


def _mesh_shape(sharding: str) -> tuple[int, ...]:
    return (count(),) if sharding == "fsdp" else (count() // count_here(), count_here())


def parts() -> int:
    """Into how many parts the ranks split the training state: 1 where each has all of it."""
    return 1 if count() == 1 or settings().sharding == "ddp" else _mesh_shape(settings().sharding)[-1]


@contextmanager
def gradients_exchanged(spread_model: nn.Module, now: bool) -> Iterator[None]:
    """Exchange gradients in the backward pass only if `now`: only the last micro-step of a batch needs it."""
    if isinstance(spread_model, DistributedDataParallel) and not now:
        with spread_model.no_sync():
            yield
        return
    if hasattr(spread_model, "set_requires_gradient_sync"):
        spread_model.set_requires_gradient_sync(now)  # type: ignore[operator]
    yield


def in_parts(tensor: Tensor) -> bool:
    """Whether `tensor` is sharded over ranks."""
    return hasattr(tensor, "full_tensor")  # a DTensor; importing that class and FSDP takes a second


def whole(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor; every rank must call it. Returns other tensors as they are."""
    tensor = tensor.detach()
    full: Tensor = tensor.full_tensor() if in_parts(tensor) else tensor  # type: ignore[attr-defined]
    return full


def own_part(tensor: Tensor) -> Tensor:
    """This rank's shard of `tensor`, or all of it if it is not sharded."""
    part: Tensor = tensor.to_local() if in_parts(tensor) else tensor  # type: ignore[attr-defined]
    return part


def laid_out_as(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Place `tensor`, whole or this rank's shard, on the device of `parameter`, and shard it the same way."""
    tensor = tensor.to(parameter.device)
    if not in_parts(parameter):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    mesh, placements = parameter.device_mesh, parameter.placements
    if tensor.shape != parameter.shape:
        return DTensor.from_local(tensor, mesh, placements, shape=parameter.shape, stride=parameter.stride())
    # src_data_rank None: each rank slices its own shard, without communication
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def tensors_on_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gather `tensors` on the first rank; every rank must call it, and the others get an empty dict."""
    found = {}
    for name, each in tensors.items():
        full = whole(each)
        if is_first():
            found[name] = full.cpu() if in_parts(each) else full
    return found
