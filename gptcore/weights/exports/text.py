"""The text on which an export is compared with its model: a file, or the validation text of the checkout."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gptcore.config.paths import Paths
from gptcore.errors import UserError
from gptcore.evaluation.measure import tokens_for
from gptcore.tokens.token_files import INDEX, Tokens, read_index, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer

WINDOWS = 16
LENGTH = 128  # tokens; llama.cpp is asked for each of them
ENCODED = 2000  # tokens of the text that tokenizers are compared on


@dataclass(frozen=True)
class Text:
    name: str
    ids: Tokens | NDArray[np.unsignedinteger]
    n_bytes: int

    def windows(self, context: int) -> Tensor:
        """Ids (windows, length + 1), spread evenly over the text. Raises UserError if there are fewer than two."""
        length = min(context, LENGTH)
        available = (len(self.ids) - 1) // length
        if available < 2:
            least = 2 * length + 1
            raise UserError(f"{self.name} has {len(self.ids):,} tokens; parity needs {least:,}: name one with --text")
        numbers = np.unique(np.linspace(0, available - 1, WINDOWS).round().astype(np.int64))
        positions = numbers[:, None] * length + np.arange(length + 1)
        return torch.from_numpy(self.ids[positions].astype(np.int64))

    def sample(self, tokenizer: Tokenizer) -> str:
        """Its beginning, without the names of special tokens, which libraries read as these."""
        text = tokenizer.decode(np.asarray(self.ids[: min(ENCODED, len(self.ids))]))
        return text.replace(tokenizer.end_of_text, "") if tokenizer.end_of_text else text

    @property
    def bytes_per_token(self) -> float:
        return self.n_bytes / len(self.ids)


def read_text(tokenizer: Tokenizer, path: Path | None) -> Text:
    """Raises UserError."""
    if path is None:
        return _validation(tokenizer, Paths(Path.cwd()).tokens)
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8, from byte {error.start + 1:,} on") from None
    return Text(str(path), tokenizer.encode(content), len(content.encode()))


def _validation(tokenizer: Tokenizer, folder: Path) -> Text:
    if not (folder / "meta.json").is_file():
        raise UserError(f"there is no validation text in {folder}; name a text to compare on with --text FILE")
    tokens, _ = tokens_for(tokenizer, folder, verify_tokens(folder))
    n_bytes = int(read_index(folder, "val")[:, INDEX.index("bytes")].sum())
    return Text("the validation text", tokens, n_bytes)
