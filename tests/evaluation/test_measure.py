"""A model is measured on any checkout's text, with its own tokenizer."""

from pathlib import Path

import pytest
import torch

from gptcore.errors import UserError
from gptcore.evaluation.config import EvaluateConfig
from gptcore.evaluation.measure import measure
from gptcore.evaluation.measured import measured
from gptcore.evaluation.tally import tally
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer
from gptcore.tokens.token_files import document_starts, open_tokens, read_index, read_meta
from gptcore.tokens.tokenizer import Tokenizer
from tests.support.engine import GPT2, model_config
from tests.tokens.test_token_files import BPE, TEXTS, write

CONFIG = EvaluateConfig(block_size=16, stride=8, tasks=())


def export(folder: Path, tokenizer: Tokenizer) -> GPT:
    torch.manual_seed(1)
    model = GPT(model_config(GPT2), tokenizer.n_vocab).eval()
    save_export(folder, model, tokenizer)
    return model


@pytest.mark.parametrize("text", [byte_tokenizer(), BPE], ids=lambda tokenizer: tokenizer.kind)
def test_tokens_of_another_tokenizer_are_made_anew(text: Tokenizer, tmp_path: Path) -> None:
    """The folder may have the model's own tokens, or others of the same text: the measurement is the same."""
    write(tmp_path / "tokens", text, TEXTS)
    write(tmp_path / "own", BPE, TEXTS)
    model = export(tmp_path / "export", BPE)
    tokens, starts = open_tokens(tmp_path / "own", "val"), document_starts(tmp_path / "own", "val")
    n_bytes = read_index(tmp_path / "own", "val")[:, 1]
    sha256 = read_meta(tmp_path / "tokens").val.text_sha256
    assert sha256 == read_meta(tmp_path / "own").val.text_sha256
    expected = measured(sha256, n_bytes, tally(model, tokens, starts, 16, 8), None)
    assert measure(tmp_path / "tokens", tmp_path / "export", CONFIG) == expected


def test_text_that_the_model_cannot_read_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "tokens", BPE, TEXTS)
    export(tmp_path / "export", char_tokenizer(["abc"]))
    with pytest.raises(UserError, match="the vocabulary has no "):
        measure(tmp_path / "tokens", tmp_path / "export", CONFIG)
