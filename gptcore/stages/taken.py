"""A baseline that is not trained here: the start of the training, or a model of another origin."""

import shutil
from pathlib import Path

from gptcore.config.params import Metrics
from gptcore.config.paths import NONE, Paths
from gptcore.errors import UserError
from gptcore.files import atomic_path, verify_sums, write_text
from gptcore.stages.brought import brought


class TakenMetrics(Metrics):
    """Of a model that was trained elsewhere, nothing is known but that it was not trained here."""

    steps: int = 0
    tokens: int = 0


def take(source: str, sha256: str, paths: Paths) -> TakenMetrics:
    """Write the model `source` to data/baseline, with curves that have no points. Raises UserError, Unavailable."""
    with brought("baseline.source", source, "baseline.sha256", sha256, paths.root) as export:
        return _write(export, paths)


def take_start(paths: Paths) -> TakenMetrics:
    """The same of data/start/model. Raises UserError."""
    export = paths.start / "model"
    if (export / NONE).exists():
        raise UserError("baseline.source is start, and there is none: set train.start, such as gpt@champion")
    try:
        verify_sums(export)
    except (OSError, ValueError) as error:
        raise UserError(f"{export} holds no model that can be read: {error}; `dvc repro start` makes it") from None
    return _write(export, paths)


def _write(export: Path, paths: Paths) -> TakenMetrics:
    for name in ("export", "best"):
        with atomic_path(paths.baseline / name) as folder:
            shutil.copytree(export, folder)
    write_text(paths.baseline / "curve.csv", "step,tokens,learning_rate_factor,train_loss,val_loss\n")
    write_text(paths.baseline / "timing.csv", "step,seconds\n")
    return TakenMetrics()
