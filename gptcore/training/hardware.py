"""Matrix-multiplication speed of a device: the data-sheet peak, and as measured here."""

import statistics
import time

import torch

# Dense bfloat16 (V100: float16) FLOP/s of one device, from the makers' data sheets, keyed by part of the name that
# torch reports; a name comes before its own prefixes.
PEAK_FLOPS_PER_SECOND = {
    "B200": 2250e12, "GB200": 2500e12, "H200": 989e12, "GH200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12,
    "H100": 989e12, "A100": 312e12, "A10G": 70e12, "A10": 125e12, "A6000": 155e12, "L40S": 362e12, "L40": 181e12,
    "L4": 121e12, "RTX 5090": 210e12, "RTX 4090": 165e12, "RTX 3090": 71e12, "V100": 125e12, "T4": 65e12,
}  # fmt: skip


def peak_flops_per_second(device_name: str) -> float | None:
    """The data-sheet peak of the GPU with this name; None when it is not in the table."""
    return next((flops for name, flops in PEAK_FLOPS_PER_SECOND.items() if name in device_name), None)


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
    if device.type == "cuda":
        torch.cuda.synchronize(device)
