"""Write the results of a training run: the final and the best weights, the loss curve, the samples."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gptcore.files import atomic_path, write_text
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.model.lora import merged_weights, trained
from gptcore.model.lora_config import LoraConfig
from gptcore.ranks import distributed
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training.checkpoint import Progressed
from gptcore.training.hardware import hardware
from gptcore.weights.adapter import write_adapter


def write_results(
    folder: Path, model: GPT, best: dict[str, Tensor] | None, tokenizer: Tokenizer, progressed: Progressed,
    lora: LoraConfig | None = None, base_sha256: str = "",
) -> None:  # fmt: skip
    """Write export/, best/, curve.csv, timing.csv and samples.md.

    `best` holds what was trained, at the lowest val_loss. With `lora`, the weights have the adapter of the base with
    `base_sha256` merged into them, and lie beside it.
    """
    for name, tensors in (("export", trained(model)), ("best", best or trained(model))):
        beside = partial(write_adapter, model, tensors, lora, base_sha256) if lora else None
        save_export(folder / name, model, tokenizer, merged_weights(model, tensors), beside)
    rows = progressed.rows
    _write_csv(folder / "curve.csv", [{k: v for k, v in row.items() if k != "seconds"} for row in rows])
    # a file of its own: seconds differ from run to run, everything else is the same for the same inputs and hardware
    name = hardware(model.wte.weight.device, distributed.count())
    timing = [{"step": row["step"], "seconds": round(row["seconds"], 3), "hardware": name} for row in rows]
    _write_csv(folder / "timing.csv", timing)
    samples = [f"## Step {each['step']:,}\n\n```text\n{each['text']}\n```\n" for each in progressed.samples]
    write_text(folder / "samples.md", "\n".join(samples))


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
