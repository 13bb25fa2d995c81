"""A model of another origin, checked by the hash of its weights.

Another process imports it, so its code is no dependency of a stage: whatever that code is, the weights must be these.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gptcore.corpus.allowed import require_allowed_file
from gptcore.errors import UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from gptcore.files import SUMS, read_sums, verify_sums


@contextmanager
def brought(field: str, source: str, sha256_field: str, sha256: str, root: Path) -> Iterator[Path]:
    """A model folder with the model `source`, which the `field` of params.yaml names. Raises UserError, Unavailable."""
    if not sha256:
        raise UserError(f"{sha256_field} is empty; `gptcore configure {field}={source}` fills it in")
    if (path := root / source).exists():
        require_allowed_file(field, path, root)
    with _model_folder(field, source, path, root) as export:
        found = read_sums(export)["model.safetensors"]
        if found != sha256:
            raise UserError(
                f"{field} {source} has weights with sha256 {found}, and {sha256_field} is {sha256}; "
                f"`gptcore configure {field}={source}` takes them as they are now"
            )
        yield export


@contextmanager
def _model_folder(field: str, source: str, path: Path, root: Path) -> Iterator[Path]:
    """`path` if it is one; else what `gptcore import` makes of the source."""
    if (path / SUMS).is_file():
        try:
            verify_sums(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{field} {source} holds no model that can be read: {error}") from None
        yield path
        return
    with TemporaryDirectory(prefix="gptcore-model-") as temporary:
        _import(field, source, Path(temporary) / "export", root)
        yield Path(temporary) / "export"


def _import(field: str, source: str, folder: Path, root: Path) -> None:
    command = [sys.executable, "-m", "gptcore", "import", source, str(folder)]
    done = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"gptcore import ended with code {done.returncode}"]
        kind = Unavailable if done.returncode == UNAVAILABLE_EXIT_CODE else UserError
        raise kind(f"{field}: {said[-1].removeprefix('error: ')}")
