"""Import and export of weights: Hugging Face folders, nanoGPT checkpoints, OpenAI's by name."""

import random
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gptcore.errors import UserError
from gptcore.model.folder import load_export
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.adapter import CONFIG, read_adapter
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.nanogpt import write_nanogpt
from gptcore.weights.open_model import open_model
from gptcore.weights.pretrained import fit_vocabulary, own_tokenizer, read_pretrained
from tests.support.adapters import exported, lora_config
from tests.support.engine import GPT2, MODERN
from tests.support.weights import TEXT, VOCAB, assert_same, edit, nanogpt_checkpoint, random_model

sizes = st.fixed_dictionaries(
    {"n_layer": st.integers(1, 3), "n_head": st.integers(1, 3), "block_size": st.integers(8, 20), "bias": st.booleans()}
)


@settings(max_examples=8, deadline=None)
@given(
    sizes=sizes, head_dim=st.integers(1, 9), vocab_size=st.integers(2, 70),
    legacy=st.booleans(),
    # torch.compile's and DDP's
    prefix=st.sampled_from(["", "_orig_mod.", "module.", "_orig_mod.module.", "module._orig_mod."]),
)  # fmt: skip
def test_nanogpt_and_back_is_bit_equal(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, Any], head_dim: int, vocab_size: int, prefix: str,
    legacy: bool,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("nanogpt")
    model = random_model(GPT2, vocab_size, **sizes, n_embd=sizes["n_head"] * head_dim)
    write_nanogpt(folder / "ckpt.pt", model)
    assert_same(read_pretrained(str(folder / "ckpt.pt")), model)
    theirs = nanogpt_checkpoint(folder / "theirs.pt", model, prefix)
    if legacy:
        torch.save(torch.load(theirs, weights_only=True), theirs, _use_new_zipfile_serialization=False)
    assert zipfile.is_zipfile(theirs) != legacy
    write_nanogpt(folder / "again.pt", read_pretrained(str(theirs)))
    one, other = (torch.load(folder / name, weights_only=True) for name in ("ckpt.pt", "again.pt"))
    assert one["model_args"] == other["model_args"]
    assert all(torch.equal(each, other["model"][name]) for name, each in one["model"].items())


@settings(max_examples=8, deadline=None)
@given(
    sizes=sizes, head_dim=st.integers(1, 9), vocab_size=st.integers(2, 70), tied_head=st.booleans(),
    activation=st.sampled_from(["gelu", "gelu_tanh"]),
)  # fmt: skip
def test_hugging_face_and_back_is_bit_equal(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, Any], head_dim: int, vocab_size: int, **more: Any
) -> None:
    folder = tmp_path_factory.mktemp("hugging-face")
    model = random_model(GPT2, vocab_size, **sizes, **more, n_embd=sizes["n_head"] * head_dim)
    write_hugging_face(folder / "one", model, byte_tokenizer())
    back = read_pretrained(str(folder / "one"))
    if model.config.bias:
        assert_same(back, model)
    else:  # Hugging Face's format always has biases
        tensors = back.state_dict()
        assert not any(each.any() for name, each in tensors.items() if name.endswith("bias"))
        assert all(torch.equal(each, tensors[name]) for name, each in model.state_dict().items())
        ids = torch.arange(8)[None] % vocab_size
        torch.testing.assert_close(back(ids), model(ids))
    write_hugging_face(folder / "two", back, byte_tokenizer())
    for name in ("model.safetensors", "config.json"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_peft_loads_our_adapters_over_transformers_gpt2_and_back(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import GPT2LMHeadModel

    exported(tmp_path, GPT2, lora_config(dropout=0.1))
    base, _ = load_export(tmp_path / "base")
    write_hugging_face(tmp_path / "theirs", base, byte_tokenizer())
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "theirs", attn_implementation="eager")
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "model/export")).eval()
    ids = torch.arange(16)[None]
    ours, _ = load_export(tmp_path / "model/export")
    torch.testing.assert_close(theirs(ids).logits, ours(ids), rtol=0, atol=1e-5)
    assert (base(ids) - ours(ids)).abs().max() > 1e-2
    theirs.save_pretrained(str(tmp_path / "again"))
    edit(tmp_path / "again" / CONFIG, revision=read_adapter(tmp_path / "model/export").base_sha256)
    again, _ = open_model(str(tmp_path / "base"), adapter=tmp_path / "again")
    torch.testing.assert_close(again(ids), ours(ids), rtol=0, atol=1e-5)


def test_what_transformers_saves_is_read(tmp_path: Path) -> None:
    """Also sharded files, and the hub's older ones: no prefix, masks among the weights, half precision."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=VOCAB, n_positions=16, n_embd=32, n_layer=2, n_head=2, initializer_range=0.2)
    theirs = GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "whole")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert (tmp_path / "shards/model.safetensors.index.json").exists()
    old = {
        name.removeprefix("transformer."): each
        for name, each in load_file(tmp_path / "whole/model.safetensors").items()
    }
    old["h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    shutil.copytree(tmp_path / "whole", tmp_path / "old")
    save_file(old, tmp_path / "old/model.safetensors")
    ids = torch.arange(16)[None]
    for folder in ("whole", "shards", "old"):
        model = read_pretrained(str(tmp_path / folder))
        assert model.config.activation == "gelu_tanh"
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=0, atol=1e-5)
    assert_same(read_pretrained(str(tmp_path / "whole")), read_pretrained(str(tmp_path / "shards")))
    save_file({name: each.bfloat16() for name, each in old.items()}, tmp_path / "old/model.safetensors")
    assert read_pretrained(str(tmp_path / "old"))(ids).dtype == torch.float32


@pytest.mark.parametrize("changes", [{}, {"bias": False}, {"activation": "gelu_tanh"}, {"tied_head": False}], ids=str)
def test_transformers_loads_what_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    from transformers import GPT2LMHeadModel

    model = random_model(GPT2, **changes)
    write_hugging_face(tmp_path / "model", model, byte_tokenizer())
    theirs, said = GPT2LMHeadModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(said.values()), said
    ids = torch.arange(16)[None]
    torch.testing.assert_close(theirs.eval()(ids).logits, model(ids), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "tokenizer",
    [
        byte_tokenizer(),
        char_tokenizer([TEXT]),
        replace(char_tokenizer([TEXT]), end_of_text=None),
        train_bpe(iter([TEXT * 9]), 300),
    ],
    ids=["byte", "char", "char without end", "bpe"],
)
def test_transformers_gives_the_same_ids(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    write_hugging_face(tmp_path / "model", random_model(GPT2, tokenizer.n_vocab), tokenizer)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "model")
    generator = random.Random(1)
    again = own_tokenizer(str(tmp_path / "model"))  # what goes out comes in as the same
    assert again and (again.n_vocab, again.stop_id) == (tokenizer.n_vocab, tokenizer.stop_id)
    for text in [TEXT, *("".join(generator.choices(TEXT, k=40)) for _ in range(50))]:
        ids = tokenizer.encode(text).tolist()
        assert theirs.encode(text) == ids == again.encode(text).tolist()
        assert theirs.decode(ids) == text
    assert theirs.eos_token_id == (tokenizer.eot_id if tokenizer.end_of_text else None)
    assert len(theirs) == tokenizer.n_vocab


def test_a_modern_model_cannot_be_written(tmp_path: Path) -> None:
    model = random_model(MODERN)
    with pytest.raises(UserError, match="norm=rmsnorm, position=rope, qk_norm=True") as error:
        write_hugging_face(tmp_path / "model", model, byte_tokenizer())
    assert "activation=relu2" in str(error.value)
    with pytest.raises(UserError, match="tied_head=False"):
        write_nanogpt(tmp_path / "ckpt.pt", model)
    with pytest.raises(UserError, match="words for activation=gelu_tanh;"):
        write_nanogpt(tmp_path / "ckpt.pt", random_model(GPT2, activation="gelu_tanh"))
    assert list(tmp_path.iterdir()) == []


def test_padding_is_cut_off() -> None:
    """nanoGPT pads 50,257 to 50,304: the extra ids have no token but could be sampled."""
    padded = random_model(GPT2, 304)
    fitted, tokenizer = fit_vocabulary(padded, byte_tokenizer())
    ids = torch.arange(16)[None]
    assert torch.equal(fitted(ids), padded(ids)[..., :VOCAB])
    assert fitted.lm_head.weight is fitted.wte.weight
    assert tokenizer == byte_tokenizer()


@pytest.mark.parametrize("n_ids", [VOCAB - 2, VOCAB + 128])
def test_a_foreign_tokenizer_is_refused(n_ids: int) -> None:
    with pytest.raises(UserError, match=f"the model has {n_ids} ids, the tokenizer 257; name .* --tokenizer"):
        fit_vocabulary(random_model(GPT2, n_ids), byte_tokenizer())


def test_what_is_no_multiple_is_no_padding() -> None:
    """Where GPT-2's tokenizer is a guess, two ids more are tokens that someone added."""
    with pytest.raises(UserError, match="the model has 259 ids, the tokenizer 257; name the model's own"):
        fit_vocabulary(random_model(GPT2, 259), byte_tokenizer(), padded_to=8)
