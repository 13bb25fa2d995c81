"""Where everything of one workspace lies."""

from dataclasses import dataclass
from pathlib import Path

STREAM = "stream.json"  # beside documents and tokens where training goes on with a stream; gptcore/corpus/stream.py


@dataclass(frozen=True)
class Paths:
    """`root` is the folder of dvc.yaml."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def tokens(self) -> Path:
        return self.root / "data" / "tokens"

    @property
    def model(self) -> Path:
        return self.root / "data" / "model"

    @property
    def baseline(self) -> Path:
        return self.root / "data" / "baseline"

    @property
    def evaluation(self) -> Path:
        return self.root / "data" / "evaluation"

    @property
    def scratch(self) -> Path:
        """What makes a rerun cheaper but is no result: downloads, resume state. Untracked by git and DVC."""
        return self.root / "data" / "scratch"

    def of(self, stage: str) -> Path:
        """The folder that `stage` writes."""
        folders = {"download": self.raw, "tokenize": self.tokens, "train": self.model,
                   "baseline": self.baseline, "evaluate": self.evaluation}  # fmt: skip
        return folders[stage]
