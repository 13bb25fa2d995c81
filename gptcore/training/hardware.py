"""What a device is and multiplies, and how fast: its name, formats, data-sheet peak, measured speed."""

import platform
import re
import statistics
import time
from pathlib import Path

import torch

# Dense bfloat16 (V100, T4: float16) FLOP/s of one device, from the makers' data sheets. A name here is the words that
# tell the GPU apart in the name that torch reports.
PEAK_FLOPS_PER_SECOND = {
    "GB200": 2500e12, "B200": 2250e12, "GH200": 989e12, "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12,
    "H100": 989e12, "A100": 312e12, "A10G": 70e12, "A10": 125e12, "RTX A6000": 155e12, "L40S": 362e12, "L40": 181e12,
    "L4": 121e12, "RTX 5090": 210e12, "RTX 4090": 165e12, "RTX 3090": 71e12, "V100": 125e12, "T4": 65e12,
}  # fmt: skip
# A GPU with one of these words in its name has another peak than the one without: a slower sibling, or a part of it
VARIANTS = {"Laptop", "Mobile", "Max", "D", "SUPER", "Ti", "MIG"}


def peak_flops_per_second(device_name: str) -> float | None:
    """The data-sheet peak of the GPU with this name; None when it is not in the table."""
    words = set(re.findall(r"\w+", device_name))
    known = [name for name in PEAK_FLOPS_PER_SECOND if words.issuperset(name.split())]
    if not known or words & VARIANTS:
        return None
    return PEAK_FLOPS_PER_SECOND[max(known, key=lambda name: len(name.split()))]


def hardware(device: torch.device, count: int) -> str:
    """The class of `count` such devices, with torch: within a class, the same training gives the same bits."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        info = Path("/proc/cpuinfo")
        found = re.search(r"^model name\s*: (.+)$", info.read_text("utf-8") if info.exists() else "", re.MULTILINE)
        processor = found[1].strip() if found else platform.processor() or platform.machine()
        name = f"{processor}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
    return f"{f'{count} x ' if count > 1 else ''}{name}, torch {torch.__version__}"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: an emulation is slower than the format that it replaces.

    GPUs do from Ampere on (V100 and T4 emulate it), CPUs with AMX or AVX512-BF16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def measured_flops_per_second(device: torch.device, dtype: torch.dtype, size: int = 0, repeats: int = 10) -> float:
    """Measure FLOP/s of square matrix products; `size` 0 means 8,192 on a GPU and 1,024 elsewhere."""
    size = size or (8192 if device.type == "cuda" else 1024)
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats):
        _wait_for(device)
        started = time.perf_counter()
        one @ other
        _wait_for(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds)


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
