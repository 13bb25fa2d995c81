"""The file layout of a workspace."""

from dataclasses import dataclass
from pathlib import Path

NONE = "none.txt"  # alone in a folder of data/start: there is no start, or nothing is known of its text
STREAM = "stream.json"  # beside documents and tokens if training reads a stream; see gptcore/corpus/stream.py


@dataclass(frozen=True)
class Paths:
    """`root` is the folder that contains dvc.yaml."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def start(self) -> Path:
        return self.root / "data" / "start"

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
        """Files that make a rerun cheaper but are not results: downloads, resume state. Git and DVC ignore it."""
        return self.root / "data" / "scratch"

    def of(self, stage: str) -> Path:
        """The output folder of `stage`."""
        folders = {"download": self.raw, "start": self.start, "tokenize": self.tokens, "train": self.model,
                   "baseline": self.baseline, "evaluate": self.evaluation}  # fmt: skip
        return folders[stage]
