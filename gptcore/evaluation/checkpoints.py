"""Models of one training, each measured on the same validation windows and benchmarks."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gptcore.config.paths import Paths
from gptcore.config.settings import settings
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.metrics import measure
from gptcore.evaluation.benchmarks.suite import Benchmark, run
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.losses import Score, score
from gptcore.evaluation.tally import tally
from gptcore.files import SUMS, read_sums
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.tokens.token_files import INDEX, document_starts, open_tokens, read_index, read_meta
from gptcore.tokens.tokenizer import require_tokenizer

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    step: int
    folder: Path
    model_sha256: str


@dataclass(frozen=True)
class Question:
    """What each model is asked: the validation text of `paths` in windows, and benchmarks."""

    paths: Paths
    config: EvaluateConfig
    benchmarks: list[Benchmark]

    def tags(self) -> dict[str, str]:
        """They differ if, and only if, the question does."""
        rows = {each.name: json.dumps(each.rows, default=repr) for each in self.benchmarks}
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in rows.items()}
        return {
            "validation_text_sha256": read_meta(self.paths.tokens).val.text_sha256,
            "windows": json.dumps(self.config.model_dump(include={"block_size", "stride"})),
            "benchmarks": json.dumps(digests),
        }

    def figures(self, checkpoint: Checkpoint) -> dict[str, float]:
        """Metrics by name, those of benchmarks as `hellaswag/acc`; one without a value is left out.

        `hellaswag/ungraded` are the items in no value, as the model could not be asked them, if there are any.
        """
        require_tokenizer(self.paths.tokens, checkpoint.folder)
        model, tokenizer = load_export(checkpoint.folder, settings().torch_device())
        found = self._score(model, checkpoint.folder)
        figures = {"loss": found.loss, "perplexity": found.perplexity, "bits_per_byte": found.bits_per_byte}
        for benchmark in self.benchmarks:
            samples = run(model, tokenizer, benchmark)
            graded = [each for each in samples if not each.ungraded]
            for name in samples[0].item.best():
                value = measure(name, [each.grades[name] for each in graded], []).value
                figures |= {f"{benchmark.name}/{name}": value} if value is not None else {}
            if ungraded := len(samples) - len(graded):
                figures[f"{benchmark.name}/ungraded"] = float(ungraded)
        return figures

    def _score(self, model: GPT, folder: Path) -> Score:
        """Raises UserError if the model reads less than a window."""
        tokens_folder, block_size, stride = self.paths.tokens, self.config.block_size, self.config.stride
        if block_size > model.config.block_size:
            raise UserError(f"evaluate.block_size {block_size} is longer than {folder}'s {model.config.block_size}")
        tokens, starts = open_tokens(tokens_folder, "val"), document_starts(tokens_folder, "val")
        windows = tally(model, tokens, starts, block_size, stride).windows
        n_bytes = int(read_index(tokens_folder, "val")[:, INDEX.index("bytes")].sum())
        return score(windows.losses, windows.tokens, n_bytes)


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The model folders in `folder` in the order of their steps. Raises UserError.

    The last number in a name is the step. Without one, `best` and `export` are those of the curve beside them.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one that holds model folders")
    found: dict[int, Checkpoint] = {}
    for place in sorted(folder.iterdir()):
        if (place / SUMS).is_file() and WEIGHTS in (sums := read_sums(place)):
            each = Checkpoint(_step(place), place, sums[WEIGHTS])
            same = found.setdefault(each.step, each)
            if same.model_sha256 != each.model_sha256:
                raise UserError(f"{same.folder} and {place} are both of step {each.step:,}; move one elsewhere")
    if not found:
        raise UserError(f"{folder} holds no model folder; `gptcore import` makes one of another program's model")
    return [found[step] for step in sorted(found)]


def _step(place: Path) -> int:
    if numbers := re.findall(r"\d+", place.name):
        return int(numbers[-1])
    curve = place.parent / "curve.csv"
    if place.name not in ("best", "export") or not curve.is_file():
        raise UserError(f"{place} does not say of which step it is; name it such as step-2000")
    table = pd.read_csv(curve)
    row = table["val_loss"].idxmin() if place.name == "best" else table.index[-1]
    return int(table["step"][row])
