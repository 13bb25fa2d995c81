"""Write the results of a training run: the final and the best weights, the loss curve, the samples."""

import csv
from pathlib import Path
from typing import Any

from torch import Tensor

from gptcore.files import atomic_path, write_text
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training import distributed
from gptcore.training.checkpoint import Progressed
from gptcore.training.hardware import hardware


def write_results(
    folder: Path, model: GPT, best: dict[str, Tensor] | None, tokenizer: Tokenizer, progressed: Progressed
) -> None:
    """Write export/, best/, curve.csv, timing.csv and samples.md. `best` holds the weights at the lowest val_loss."""
    save_export(folder / "export", model, tokenizer)
    save_export(folder / "best", model, tokenizer, best)
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
