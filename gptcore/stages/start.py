"""The model that a training goes on from -> data/start: the model, verified, and the text it must not forget.

data/start/model is the model folder. data/start/retained has token files of the corpus that the start was trained on,
split as it was then, in the start's own tokens. Where there is no start, or nothing is known of its corpus, a file says
so.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from gptcore.config.params import Metrics, Section, View
from gptcore.config.paths import NONE, Paths
from gptcore.corpus.corpus import DataConfig
from gptcore.corpus.split import TokenizeConfig, TokenizerChoice
from gptcore.errors import UserError
from gptcore.files import atomic_path
from gptcore.stages.brought import brought
from gptcore.stages.download import download
from gptcore.stages.run_stage import run_stage
from gptcore.stages.tokenize import tokenize
from gptcore.tokens.token_files import read_meta


class StartChoice(View):
    """The fields of the train section that name the start."""

    start: str
    start_sha256: str


class RetainedConfig(Section):
    """The corpus that the start was trained on, as its own params.yaml named it; null where nobody knows it."""

    text_sha256: str = Field(
        pattern="^([0-9a-f]{64})?$", description="Of its validation texts, as in meta.json; empty takes any"
    )
    data: DataConfig | None = Field(description="Its section `data`; `gptcore configure train.start=…` fills it in")
    tokenize: TokenizeConfig | None = Field(description="Its section `tokenize`, of which the split is used")


class StartMetrics(Metrics):
    """The text is that of the start's validation split."""

    documents: int
    bytes: int
    tokens: int


@dataclass(frozen=True)
class Beside(Paths):
    """The same workspace with another corpus, in `folder`."""

    folder: Path

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"


def start(train: StartChoice, retained: RetainedConfig, paths: Paths) -> StartMetrics:
    """Write data/start. Raises UserError, Unavailable."""
    if not train.start:
        _state(paths.start / "model", "train.start is empty: the training begins with random weights.")
        return _nothing_retained(paths)
    of_train = "train.start", train.start, "train.start_sha256", train.start_sha256
    with brought(*of_train, paths.root) as export, atomic_path(paths.start / "model") as folder:
        shutil.copytree(export, folder)
    if retained.data is None or retained.tokenize is None:
        print(f"start  nothing is known of the text of {train.start}, so nothing tells what is forgotten", flush=True)
        return _nothing_retained(paths)
    try:
        return _retain(retained.data, retained.tokenize, retained.text_sha256, paths)
    except UserError as error:
        remedy = "`gptcore configure retained.data=null` leaves it out"
        raise type(error)(f"the text of {train.start}, section retained: {error}; {remedy}") from None


def _retain(data: DataConfig, split: TokenizeConfig, text_sha256: str, paths: Paths) -> StartMetrics:
    """Write data/start/retained."""
    beside = Beside(paths.root, paths.scratch / "start")
    shutil.rmtree(beside.folder, ignore_errors=True)
    choice = split.model_copy(update={"tokenizer": "start"})
    download(data, TokenizerChoice(**choice.model_dump(include={*TokenizerChoice.model_fields})), beside)
    tokenize(choice, beside)
    found = read_meta(beside.tokens).val
    if text_sha256 and found.text_sha256 != text_sha256:
        raise UserError(f"its validation texts have the sha256 {found.text_sha256}, not {text_sha256}")
    with atomic_path(paths.start / "retained") as folder:
        shutil.copytree(beside.tokens, folder)
    shutil.rmtree(beside.folder)
    return StartMetrics(documents=found.documents, bytes=found.bytes, tokens=found.tokens)


def _nothing_retained(paths: Paths) -> StartMetrics:
    _state(paths.start / "retained", "Nothing is known of the text of the start.")
    return StartMetrics(documents=0, bytes=0, tokens=0)


def _state(folder: Path, sentence: str) -> None:
    """Let `folder` hold one sentence that says why it holds nothing else."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / NONE).write_text(f"{sentence}\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(start)
