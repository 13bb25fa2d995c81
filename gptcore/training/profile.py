"""Profile the time and memory of training steps."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gptcore.config.params import read_params, validate_section
from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.files import atomic_path
from gptcore.model.config import ModelConfig
from gptcore.model.lora_config import LoraConfig
from gptcore.tokens.token_files import verify_tokens
from gptcore.training.config import OptimConfig, TrainConfig
from gptcore.training.hardware import measured_flops_per_second, peak_flops_per_second
from gptcore.training.initial_state import make_ready, new_state
from gptcore.training.memory import keep_freed_memory, peak_bytes
from gptcore.training.train import fit

WARM_UP_STEPS, TRACED_STEPS = 3, 3
MUON, ADAMW, LOSS = "Optimizer.step#Muon.step", "Optimizer.step#AdamW.step", "_LinearCrossEntropy"


@dataclass(frozen=True)
class Operation:
    name: str
    seconds_per_step: float  # self time, without the operations it calls
    share: float  # of the time of all operations
    calls_per_step: float


@dataclass(frozen=True)
class Part:
    """A part of a step, with the operations that it calls."""

    name: str
    seconds_per_step: float
    share: float


@dataclass(frozen=True)
class Profile:
    step_seconds: float  # median of the untraced steps
    tokens_per_second: float
    flops_per_second: float  # model FLOP/s: see counts.py
    matmul_flops_per_second: float  # measured here for a large matrix product, in the same precision
    peak_flops_per_second: float | None  # from the GPU's data sheet
    parts: list[Part]  # their times add up to that of all operations
    operations: list[Operation]  # most expensive first
    peak_bytes: int  # peak GPU memory; on a CPU, of the whole process


def profile_steps(paths: Paths, steps: int, trace: Path) -> Profile:
    """Time `steps` training steps of params.yaml on data/tokens, then write a trace of a few. Raises UserError."""
    keep_freed_memory()
    values = read_params(paths.params)
    verify_tokens(paths.tokens)
    needed = WARM_UP_STEPS + steps + TRACED_STEPS
    train = validate_section(values, "train", TrainConfig)
    if train.steps < needed:
        raise UserError(f"train.steps is {train.steps}; profiling takes {needed} of them: set fewer --steps")
    model, optim = validate_section(values, "model", ModelConfig), validate_section(values, "optim", OptimConfig)
    state = new_state(model, optim, train, paths, validate_section(values, "lora", LoraConfig).if_any())
    device = state.device
    make_ready(state)
    reports, seconds = fit(state), []
    for _ in range(WARM_UP_STEPS + steps):
        started = time.perf_counter()
        next(reports)
        seconds.append(time.perf_counter() - started)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as traced:
        for _ in range(TRACED_STEPS):
            next(reports)
    with atomic_path(trace) as temporary:
        traced.export_chrome_trace(str(temporary))
    step_seconds = statistics.median(seconds[WARM_UP_STEPS:])
    return Profile(
        step_seconds=step_seconds,
        tokens_per_second=train.batch_tokens / step_seconds,
        flops_per_second=state.counts.flops_per_token * train.batch_tokens / step_seconds,
        matmul_flops_per_second=measured_flops_per_second(device, state.dtype),
        peak_flops_per_second=peak_flops_per_second(torch.cuda.get_device_name()) if device.type == "cuda" else None,
        parts=_parts(traced, device),
        operations=_operations(traced, device),
        peak_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_bytes(),
    )


def _parts(traced: profile, device: torch.device) -> list[Part]:
    """From the names that torch gives to an optimizer's step and to a function with its own gradient."""
    kind = "device" if device.type == "cuda" else "cpu"
    events = {event.key: event for event in traced.key_averages()}
    whole = sum(getattr(event, f"self_{kind}_time_total") for event in events.values()) or 1
    times = {
        name: getattr(events[key], f"{kind}_time_total") if key in events else 0
        for name, key in (("Muon", MUON), ("AdamW", ADAMW), ("loss", LOSS))
    }
    times = {"forward and backward": whole - sum(times.values()), **times}
    return [Part(name, each / 1e6 / TRACED_STEPS, each / whole) for name, each in times.items()]


def _operations(traced: profile, device: torch.device) -> list[Operation]:
    field = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = sorted(traced.key_averages(), key=lambda event: -getattr(event, field))
    total = sum(getattr(event, field) for event in events) or 1
    return [
        Operation(
            event.key,
            getattr(event, field) / 1e6 / TRACED_STEPS,
            getattr(event, field) / total,
            event.count / TRACED_STEPS,
        )
        for event in events
    ]
