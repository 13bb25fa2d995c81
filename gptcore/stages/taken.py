"""A baseline that is not trained here: a model of another origin, checked by the hash of its weights.

Another process imports it, so its code is no dependency of the stage: whatever that code is, the weights must be these.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gptcore.config.params import Metrics
from gptcore.config.paths import Paths
from gptcore.corpus.allowed import require_allowed_file
from gptcore.errors import UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from gptcore.files import SUMS, atomic_path, read_sums, verify_sums, write_text


class TakenMetrics(Metrics):
    """Of a model that was trained elsewhere, nothing is known but that it was not trained here."""

    steps: int = 0
    tokens: int = 0


def take(source: str, sha256: str, paths: Paths) -> TakenMetrics:
    """Write the model `source` to data/baseline, with curves that have no points. Raises UserError, Unavailable."""
    if not sha256:
        raise UserError(f"baseline.sha256 is empty; `gptcore configure baseline.source={source}` fills it in")
    if (path := paths.root / source).exists():
        require_allowed_file("baseline.source", path, paths.root)
    with _model_folder(source, path, paths.root) as export:
        found = read_sums(export)["model.safetensors"]
        if found != sha256:
            raise UserError(
                f"baseline.source {source} has weights with sha256 {found}, and baseline.sha256 is {sha256}; "
                f"`gptcore configure baseline.source={source}` takes them as they are now"
            )
        for name in ("export", "best"):
            with atomic_path(paths.baseline / name) as folder:
                shutil.copytree(export, folder)
    write_text(paths.baseline / "curve.csv", "step,tokens,learning_rate_factor,train_loss,val_loss\n")
    write_text(paths.baseline / "timing.csv", "step,seconds\n")
    return TakenMetrics()


@contextmanager
def _model_folder(source: str, path: Path, root: Path) -> Iterator[Path]:
    """`path` if it is one; else what `gptcore import` makes of the source."""
    if (path / SUMS).is_file():
        try:
            verify_sums(path)
        except (OSError, ValueError) as error:
            raise UserError(f"baseline.source {source} holds no model that can be read: {error}") from None
        yield path
        return
    with TemporaryDirectory(prefix="gptcore-baseline-") as temporary:
        _import(source, Path(temporary) / "export", root)
        yield Path(temporary) / "export"


def _import(source: str, folder: Path, root: Path) -> None:
    command = [sys.executable, "-m", "gptcore", "import", source, str(folder)]
    done = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"gptcore import ended with code {done.returncode}"]
        kind = Unavailable if done.returncode == UNAVAILABLE_EXIT_CODE else UserError
        raise kind(f"baseline.source: {said[-1].removeprefix('error: ')}")
