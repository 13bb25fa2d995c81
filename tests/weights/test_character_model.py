"""A character model of nanoGPT's, which knows no <|endoftext|>: it comes in with its own ids and no other."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException
from torch.nn import functional as F

from gptcore.cli import main
from gptcore.errors import UserError
from gptcore.evaluation.losses import window_losses
from gptcore.model.folder import load_export
from gptcore.model.gpt import GPT
from gptcore.registry.pyfunc import TextGenerator
from gptcore.tokens.make_tokenizer import char_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.pretrained import fit_vocabulary, own_tokenizer
from tests.support.corpora import prose
from tests.support.engine import GPT2, model_config

if TYPE_CHECKING:  # its import takes 2 s in each test process, which collects all tests and runs some
    from transformers import GPT2LMHeadModel

TEXT = prose(3, 2_000)
CHARACTERS = sorted(set(TEXT))
SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 32}
BLOCK = 64


@pytest.fixture(scope="module")
def theirs() -> "GPT2LMHeadModel":
    """nanoGPT's model in another's code: exact GELU, random weights that are far from uniform."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    sizes = {"vocab_size": len(CHARACTERS), "n_positions": BLOCK, "bos_token_id": None, "eos_token_id": None}
    config = GPT2Config(**SIZES, **sizes, activation_function="gelu", initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def imported(theirs: "GPT2LMHeadModel", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the command, with the tokenizer of our own stage, which does have <|endoftext|>."""
    folder = tmp_path_factory.mktemp("nanogpt")
    linear = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    weights = {name: each.t() if name.endswith(linear) else each for name, each in theirs.state_dict().items()}
    sizes = {**SIZES, "block_size": BLOCK, "bias": True, "vocab_size": len(CHARACTERS), "dropout": 0.0}
    torch.save({"model": weights, "model_args": sizes}, folder / "ckpt.pt")
    char_tokenizer([TEXT]).save(folder / "tokenizer.json")
    words = ["import", str(folder / "ckpt.pt"), str(folder / "model"), "--tokenizer", str(folder / "tokenizer.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gptcore", *words])
        main()
    return folder / "model"


def test_its_loss_is_that_of_other_code(theirs: "GPT2LMHeadModel", imported: Path) -> None:
    ours, other = both_losses(imported, lambda ids: theirs(ids).logits)
    assert ours == pytest.approx(other, abs=1e-5)


@pytest.mark.skipif("NANOGPT" not in os.environ, reason="NANOGPT names no checkout of nanoGPT")
def test_its_loss_is_that_of_nanogpts_own_code(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.environ["NANOGPT"])
    nanogpt = import_module("model")
    checkpoint = torch.load(imported.parent / "ckpt.pt", weights_only=True)
    own = nanogpt.GPT(nanogpt.GPTConfig(**checkpoint["model_args"])).eval()
    own.load_state_dict(checkpoint["model"])
    ours, other = both_losses(imported, lambda ids: own(ids, ids)[0])
    print(f"{ours:.9f} here, {other:.9f} by nanoGPT's model.py, over {len(TEXT) - 1:,} targets")
    assert ours == pytest.approx(other, abs=1e-5)


def both_losses(imported: Path, logits: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float]:
    """Of the imported model and of other code, over the same windows, in nats per character."""
    model, tokenizer = load_export(imported)
    ids = tokenizer.encode(TEXT).astype(np.uint16)
    assert ids.tolist() == [CHARACTERS.index(character) for character in TEXT]
    losses, counts = window_losses(model, ids, BLOCK)
    assert counts.sum() == len(ids) - 1
    total = 0.0
    for start in range(0, len(ids) - 1, BLOCK):
        window = torch.from_numpy(ids[start : start + BLOCK + 1].astype(np.int64))
        with torch.inference_mode():
            total += float(F.cross_entropy(logits(window[None, :-1])[0], window[1:], reduction="sum"))
    return losses.sum() / counts.sum(), total / (len(ids) - 1)


def test_no_id_is_added(theirs: "GPT2LMHeadModel", imported: Path) -> None:
    model, tokenizer = load_export(imported)
    assert model.vocab_size == tokenizer.n_vocab == len(CHARACTERS)
    assert model.parameter_count() == theirs.num_parameters()
    assert torch.equal(model.wte.weight, theirs.transformer.wte.weight)
    assert tokenizer.end_of_text is None
    assert '"special_token": null' in (imported / "tokenizer.json").read_text()
    assert Tokenizer.load(imported / "tokenizer.json") == tokenizer


def test_it_generates_from_a_prompt_and_says_so_without_one(imported: Path) -> None:
    generator = TextGenerator()
    generator.load_context(SimpleNamespace(artifacts={"export": str(imported)}))  # type: ignore[arg-type]
    (text,) = generator.predict(None, ["to be"], {"n_tokens": 100, "temperature": 1.0, "top_k": 0, "seed": 1})  # type: ignore[arg-type]
    assert text.startswith("to be")
    assert len(text) == 105
    assert set(text) <= set(CHARACTERS)
    with pytest.raises(UserError, match=r"has no <\|endoftext\|> .*; give it a text to continue"):
        generator.tokenizer.encode_documents([b"to be"])
    with pytest.raises(MlflowException, match="give it a text to continue"):
        generator.predict(None, [""], {"n_tokens": 1})  # type: ignore[arg-type]


def test_it_goes_out_as_it_came_in(theirs: "GPT2LMHeadModel", imported: Path) -> None:
    from transformers import GPT2LMHeadModel

    model, tokenizer = load_export(imported)
    write_hugging_face(imported.parent / "hf", model, tokenizer)
    again = GPT2LMHeadModel.from_pretrained(imported.parent / "hf")
    assert again.config.eos_token_id is None
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in theirs.state_dict().items())
    theirs_read = own_tokenizer(str(imported.parent / "hf"))
    assert theirs_read and theirs_read.n_vocab == len(CHARACTERS)


def test_a_model_with_end_of_text_keeps_it(tmp_path: Path) -> None:
    tokenizer = char_tokenizer([TEXT])
    model = GPT(model_config(GPT2), tokenizer.n_vocab)
    assert fit_vocabulary(model, tokenizer) == (model, tokenizer)
