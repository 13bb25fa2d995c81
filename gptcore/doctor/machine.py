"""Python, cores, memory and disk; torch, its GPU, and bfloat16."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from gptcore.config.settings import settings
from gptcore.doctor.finding import Finding
from gptcore.errors import UserError

PYTHON = (3, 11)
DISK_BYTES, LITTLE_DISK_BYTES = 500e6, 5e9  # a run of the defaults, with its clone and cache; a day of experiments
MEMORY_BYTES = 2e9  # a run of the defaults with Prefect's own server


def python() -> Finding:
    found = f"{platform.python_version()}, {sys.prefix}"
    if sys.version_info < PYTHON:
        return Finding("Python", "missing", found, "name 3.11 or newer: make PYTHON=python3.12")
    return Finding("Python", "ok", found)


def cores() -> Finding:
    return Finding("cores", "ok", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}, {platform.machine()}")


def memory() -> Finding:
    has = psutil.virtual_memory()
    found = f"{_gigabytes(has.available)} of {_gigabytes(has.total)} free"
    if has.available < MEMORY_BYTES:
        return Finding("memory", "note", found, "end other programs, or train a smaller model")
    return Finding("memory", "ok", found)


def disk(folder: Path) -> Finding:
    has = shutil.disk_usage(folder)
    found = f"{_gigabytes(has.free)} of {_gigabytes(has.total)} free at {folder}"
    remedy = "`dvc gc --workspace` and `gptcore workspaces remove --all` free what old runs have left"
    if has.free < DISK_BYTES:
        return Finding("disk", "missing", found, remedy)
    return Finding("disk", "note", found, remedy) if has.free < LITTLE_DISK_BYTES else Finding("disk", "ok", found)


def torch_and_devices() -> Iterator[Finding]:
    """Importing torch is the only way to know whether it works, and takes most of the time of all checks."""
    try:
        import torch

        device = settings().torch_device()
    except UserError as error:
        yield Finding("GPU", "missing", str(error))
        return
    except (ImportError, OSError) as error:  # a library that it loads is not there
        yield Finding("torch", "missing", f"cannot be imported: {error}", "pip install -r torch.lock")
        return
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
    yield Finding("torch", "ok", f"{torch.__version__}, built {build}, {torch.get_num_threads()} threads")
    yield _gpu(device.type)
    from gptcore.training.hardware import multiplies_bfloat16

    if multiplies_bfloat16(device):
        yield Finding("bfloat16", "ok", f"multiplied by the {device.type.upper()} itself")
    else:
        yield Finding("bfloat16", "ok", "not multiplied in hardware here; training computes in float32")


def _gpu(device: str) -> Finding:
    import torch

    if device == "cuda":
        each = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return Finding("GPU", "ok", ", ".join(f"{gpu.name} {_gigabytes(gpu.total_memory)}" for gpu in each))
    if device == "cpu" and shutil.which("nvidia-smi") and not torch.cuda.is_available():
        remedy = "reinstall torch.lock from an index with the build for CUDA, or mend what `nvidia-smi` says"
        return Finding("GPU", "note", "NVIDIA's driver is here, but torch finds no GPU; the CPU trains", remedy)
    return Finding("GPU", "ok", "none that torch can use; the CPU trains" if device == "cpu" else device)


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
