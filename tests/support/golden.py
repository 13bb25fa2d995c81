"""Golden curves: losses that a refactor has to reproduce. `python -m tests.support.golden` regenerates them.

Regenerate them only for an intended change of the numbers, in the commit that makes it.
"""

import csv
from itertools import product
from pathlib import Path

import numpy as np
import torch

from gptcore.files import atomic_path
from gptcore.training.train import TrainState, fit
from tests.support.engine import ADAMW, GPT2, MODERN, MUON, model_config, optim_config, train_config

FOLDER = Path(__file__).with_suffix("")
RECIPES = {"gpt2": (GPT2, ADAMW, "crops"), "modern": (MODERN, MUON, "epochs")}
STEPS = 40


def golden_state(name: str) -> TrainState:
    """A tiny model on sums, in float32, so that processors differ only in the order of additions."""
    architecture, recipe, order = RECIPES[name]
    text = "".join(f"{one} and {other} are {one + other}\n" for one, other in product(range(20), range(20)))
    tokens = np.frombuffer(text.encode(), np.uint8)
    train = train_config(steps=STEPS, order=order, seed=1)
    return TrainState(model_config(architecture), optim_config(recipe), train, tokens, 128, torch.device("cpu"))


def curve(name: str) -> list[float]:
    """The loss, nats per token, of each step."""
    return [report.loss for report in fit(golden_state(name))]


def read(name: str) -> list[float]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def main() -> None:
    for name in RECIPES:
        path = FOLDER / f"{name}.csv"
        with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", "loss"])
            writer.writerows((step, f"{loss:.7g}") for step, loss in enumerate(curve(name), 1))
        print(path.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
