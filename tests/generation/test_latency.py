"""How long a token takes, as the gate is told it."""

from pathlib import Path

import pytest
import torch

from gptcore.errors import UserError
from gptcore.generation.latency import microseconds_per_token
from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer
from tests.support.engine import MODERN
from tests.support.weights import random_model


def test_microseconds_per_token(tmp_path: Path) -> None:
    model = random_model(MODERN, byte_tokenizer().n_vocab)
    save_export(tmp_path / "export", model, byte_tokenizer())
    assert 1 < microseconds_per_token(tmp_path / "export") < 1_000_000
    with torch.no_grad():
        model.wte.weight.fill_(torch.nan)
    save_export(tmp_path / "broken", model, byte_tokenizer())
    with pytest.raises(UserError, match="holds NaN or infinity"):
        microseconds_per_token(tmp_path / "broken")
