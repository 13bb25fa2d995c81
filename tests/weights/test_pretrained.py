"""Import and export of weights: Hugging Face folders, nanoGPT checkpoints, OpenAI's by name."""

import base64
import json
import math
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from gptcore.cli import main
from gptcore.errors import UserError
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.nanogpt import write_nanogpt
from gptcore.weights.pretrained import fit_vocabulary, own_tokenizer, read_pretrained
from tests.support.closure import ROOT
from tests.support.engine import GPT2, MODERN, model_config
from tests.support.hub import serve_hub

VOCAB = 257  # bytes and <|endoftext|>


def random_model(values: dict[str, Any], vocab_size: int = VOCAB, **changes: Any) -> GPT:
    """A model whose tensors, biases and norms included, are all random: a swapped pair would show."""
    model = GPT(model_config(values, **changes), vocab_size).eval()
    generator = torch.Generator().manual_seed(1)
    for each in model.parameters():
        each.data.normal_(0.0, 0.1, generator=generator)
    return model


def assert_same(one: GPT, other: GPT) -> None:
    """Assert that tensors are bit-equal and that names, sizes and config fields match."""
    assert one.config == other.config
    assert one.vocab_size == other.vocab_size
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    ids = torch.arange(8)[None] % one.vocab_size
    assert torch.equal(one(ids), other(ids))


def nanogpt_checkpoint(path: Path, model: GPT, prefix: str = "", **changes: Any) -> Path:
    """The dict that nanoGPT's train.py saves, with the keys that older versions and torch.compile add."""
    weights = {
        f"{prefix}{'' if name.startswith('lm_head') else 'transformer.'}{name}": each
        for name, each in model.state_dict().items()
    }
    names = ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
    sizes = {name: getattr(model.config, name) for name in names}
    mask = torch.ones(1, 1, model.config.block_size, model.config.block_size).tril()
    checkpoint = {
        "model": {**weights, f"{prefix}transformer.h.0.attn.bias": mask},
        "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
        "model_args": {**sizes, "vocab_size": model.vocab_size},
        "iter_num": 2000,
        "best_val_loss": torch.tensor(1.88),
        "config": {"dataset": "shakespeare_char", "learning_rate": 1e-3, "compile": False},
    }
    torch.save({**checkpoint, **changes}, path)
    return path


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


TEXT = "Full of sound and fury,\n\n  signifying nothing: \u00e9t\u00e9 \U0001f3ad don't 1606!\t"


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


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: each for name, each in {**values, **changes}.items() if each is not ...}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "llama"}, "model_type is 'llama'; only gpt2"),
        ({"n_embd": ...}, "has no 'n_embd'"),
        ({"n_head": 5}, "n_embd 32 is not a multiple of n_head 5"),
        ({"n_layer": "two"}, "n_layer: input should be a valid integer"),
        ({"n_layer": 3}, "h.2.attn.c_attn.bias is missing"),
        ({"n_layer": 1}, "h.1.attn.c_attn.bias is unknown"),
        ({"n_positions": 8}, "wpe.weight has the shape 16 x 32, but a GPT of that size has 8 x 32"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"activation_function": "relu"}, "activation: input should be 'gelu'"),
        ({"n_inner": 64}, "n_inner is 64; only 4 x n_embd"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06; only 1e-05"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ],
    ids=str,
)
def test_another_model_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_hugging_face(tmp_path, random_model(GPT2), byte_tokenizer())
    edit(tmp_path / "config.json", **changes)
    refused(str(tmp_path), said)


def refused(source: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        read_pretrained(source)
    assert said in str(error.value)
    assert source in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    model = random_model(GPT2)
    model.h[1].mlp.c_fc.bias.data[3] = value
    write_hugging_face(tmp_path / "hf", model, byte_tokenizer())
    nanogpt_checkpoint(tmp_path / "ckpt.pt", model)
    said = "h.1.mlp.c_fc.bias holds NaN or infinity (1 of 128 values)"
    for name in ("hf", "ckpt.pt"):
        refused(str(tmp_path / name), said)
    save_export(tmp_path / "ours", model, byte_tokenizer())
    with pytest.raises(UserError, match=re.escape(said)):
        load_export(tmp_path / "ours")


def rewrite(folder: Path, **tensors: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **{name.replace("__", "."): each for name, each in tensors.items()}}, path)


def test_nothing_in_a_file_is_dropped_unseen(tmp_path: Path) -> None:
    model, weights = random_model(GPT2), torch.ones(VOCAB, 32)

    def fresh() -> None:
        shutil.rmtree(tmp_path, ignore_errors=True)
        write_hugging_face(tmp_path, model, byte_tokenizer())

    fresh()
    rewrite(tmp_path, lm_head__weight=model.wte.weight.detach().clone())
    assert torch.equal(read_pretrained(str(tmp_path)).lm_head.weight, model.wte.weight)
    rewrite(tmp_path, lm_head__weight=weights)
    refused(str(tmp_path), "lm_head.weight differs from wte.weight, but the config says that the head is tied to it")
    edit(tmp_path / "config.json", tie_word_embeddings=False)
    assert torch.equal(read_pretrained(str(tmp_path)).lm_head.weight, weights)
    for name, tensor, said in [
        ("score__weight", weights, "score.weight is unknown"),
        ("transformer__h__0__attn__c_attn__scale", weights, "h.0.attn.c_attn.scale is unknown"),
        ("wte__weight", weights, "wte.weight twice, once as wte.weight"),
        ("module__transformer__wte__weight", weights, "wte.weight twice, once as transformer.wte.weight"),
        ("transformer__h__0__attn__bias", torch.ones(1, 1, 16, 16), "h.0.attn.bias is not causal"),
        ("transformer__wpe__weight", torch.ones(16, 32, dtype=torch.int8), "wpe.weight holds int8; only floats"),
    ]:
        fresh()
        rewrite(tmp_path, **{name: tensor})
        refused(str(tmp_path), said)
    fresh()
    causal = torch.ones(1, 1, 16, 16, dtype=torch.uint8).tril()
    rewrite(tmp_path, h__0__attn__bias=causal, h__0__attn__masked_bias=torch.tensor(-1e4))
    assert torch.equal(read_pretrained(str(tmp_path)).wte.weight, model.wte.weight)


def test_an_index_names_only_files_of_its_folder(tmp_path: Path) -> None:
    write_hugging_face(tmp_path / "model", random_model(GPT2), byte_tokenizer())
    (tmp_path / "model/model.safetensors").rename(tmp_path / "secret.safetensors")
    index = tmp_path / "model/model.safetensors.index.json"
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "config.json", 7):
        index.write_text(json.dumps({"weight_map": {"transformer.wte.weight": name}}))
        refused(str(tmp_path / "model"), f"names {name!r}, which is no *.safetensors file of that folder")
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    for name in ("one", "two"):
        shutil.copy(tmp_path / "secret.safetensors", tmp_path / f"model/{name}.safetensors")
    refused(str(tmp_path / "model"), "two.safetensors: another shard holds transformer.h.0.attn.c_attn.bias too")


def test_a_config_of_2019_is_read(tmp_path: Path) -> None:
    model = random_model(GPT2, activation="gelu_tanh")
    write_hugging_face(tmp_path, model, byte_tokenizer())
    edit(tmp_path / "config.json", n_positions=..., n_ctx=16, model_type=..., activation_function=...)
    assert_same(read_pretrained(str(tmp_path)), model)


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    refused(str(tmp_path / "nothing"), "none of gpt2, gpt2-medium, gpt2-large, gpt2-xl")
    refused(str(tmp_path), "has no config.json")
    write_hugging_face(tmp_path, random_model(GPT2), byte_tokenizer())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    refused(str(tmp_path), "the weights cannot be read")
    weights.rename(tmp_path / "pytorch_model.bin")
    refused(str(tmp_path), "has no model.safetensors; weights in other files (*.bin is pickle) are not read")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    refused(str(tmp_path), "the weights cannot be read")
    (tmp_path / "config.json").write_text("{")
    refused(str(tmp_path), "is not JSON")


def test_a_nanogpt_checkpoint_that_is_none_is_named(tmp_path: Path) -> None:
    path, model = tmp_path / "ckpt.pt", random_model(GPT2)
    path.write_text("text")
    refused(str(path), "is not a file that torch.save wrote, or it is cut off")
    torch.save([1], path)
    refused(str(path), "it holds a list")
    torch.save({"model": {}}, path)
    refused(str(path), "it has no 'model_args'")
    nanogpt_checkpoint(path, model, config=Path("an object"))
    refused(str(path), "could run code and are refused")
    nanogpt_checkpoint(
        path, model, model_args={"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16, "vocab_size": 9}
    )
    refused(str(path), "weight has the shape 257 x 32, but a GPT of that size has 9 x 32")
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16, "vocab_size": VOCAB, "rope": True}
    nanogpt_checkpoint(path, model, model_args=sizes)
    refused(str(path), "nanoGPT's own model has no rope in its model_args")
    torch.save({"model": {"wte.weight": [1.0]}, "model_args": {}}, path)
    refused(str(path), "wte.weight is a list, not a tensor")
    whole = nanogpt_checkpoint(path, model).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(str(path), "or it is cut off")
    at = whole.index(model.h[0].mlp.c_fc.weight.detach().numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])  # torch.load takes it
    refused(str(path), "is damaged: the checksum of ckpt/data/")
    for changes, said in ({}, "cut off"), ({"config": Path("an object")}, "could run code and are refused"):
        checkpoint = {"model": model.state_dict(), "model_args": {}, **changes}
        torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
        old = path.read_bytes()
        path.write_bytes(old if changes else old[: len(old) // 2])
        refused(str(path), said)


@pytest.fixture
def gptcore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process and in tmp_path; return its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gptcore", *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run


def test_import_and_export(tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A padded nanoGPT checkpoint is imported as a model folder, then exported in both formats."""
    byte_tokenizer().save(tmp_path / "byte.json")
    padded = random_model(GPT2, 320)
    nanogpt_checkpoint(tmp_path / "ckpt.pt", padded)
    assert gptcore("import", "ckpt.pt", "model", "--tokenizer", "byte.json") == 0
    assert "the model had 320 ids and has 257 now" in capsys.readouterr().out
    model, tokenizer = load_export(tmp_path / "model")
    assert tokenizer.n_vocab == model.vocab_size == VOCAB
    for form, destination in [("huggingface", "hf"), ("nanogpt", "again.pt")]:
        assert gptcore("export", "model", "--to", form, destination) == 0
        assert torch.equal(read_pretrained(str(tmp_path / destination)).wte.weight, padded.wte.weight[:VOCAB])


def test_a_folders_own_tokenizer_comes_with_it(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens that were added to it are no padding, padding is cut off; GPT-2's is never taken in its place."""
    from transformers import AutoTokenizer

    own = train_bpe(iter([TEXT * 9]), 300)
    write_hugging_face(tmp_path / "hf", random_model(GPT2, 301), own)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf")
    theirs.add_special_tokens({"eos_token": "<|end|>"})
    theirs.save_pretrained(tmp_path / "hf")
    assert gptcore("import", "hf", "model") == 0
    model, tokenizer = load_export(tmp_path / "model")
    assert model.vocab_size == tokenizer.n_vocab == 301
    assert (tokenizer.end_of_text, tokenizer.eot_id) == ("<|end|>", 300)
    ids = tokenizer.encode(TEXT + "<|end|>").tolist()
    assert ids == [*own.encode(TEXT).tolist(), 300] == theirs.encode(TEXT + "<|end|>")
    assert gptcore("export", "model", "--to", "huggingface", "again") == 0
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert (again.eos_token_id, again.encode(TEXT + "<|end|>")) == (300, ids)
    for n_ids, end in ((304, 0), (300, 2)):
        write_hugging_face(tmp_path / "hf", random_model(GPT2, n_ids), own)
        theirs.save_pretrained(tmp_path / "hf")
        assert gptcore("import", "hf", f"model {n_ids}") == end
    assert load_export(tmp_path / "model 304")[0].vocab_size == 301
    said = capsys.readouterr()
    assert "the model had 304 ids and has 301 now" in said.out
    assert said.err == "error: the model has 300 ids, the tokenizer 301; name the model's own with --tokenizer\n"


def test_nothing_is_overwritten(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    assert gptcore("import", "gpt2", "precious") == 2
    assert gptcore("export", "model", "--to", "huggingface", ".") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: precious is there already; name a new folder, or remove it"
    assert second == "error: . is there already; name a new place, or remove it"


def test_without_a_tokenizer_it_is_gpt2s(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Uses a small tokenizer in GPT-2's format, where the download stage puts it."""
    ranks = [b"%s %d" % (base64.b64encode(token), rank) for rank, token in enumerate(byte_tokenizer().tokens)]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/gpt2.tiktoken").write_bytes(b"\n".join(ranks))
    nanogpt_checkpoint(tmp_path / "ckpt.pt", random_model(GPT2, 304))
    assert gptcore("import", "ckpt.pt", "model") == 0
    assert load_export(tmp_path / "model")[1].kind == "gpt2"
    capsys.readouterr()
    nanogpt_checkpoint(tmp_path / "ckpt.pt", random_model(GPT2, 65))
    assert gptcore("import", "ckpt.pt", "other") == 2
    said = "error: the model has 65 ids, the tokenizer 257; name the model's own with --tokenizer\n"
    assert capsys.readouterr().err == said


def in_a_process(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The hub's client reads its environment once, at import."""
    return subprocess.run(
        [sys.executable, "-m", "gptcore", *words],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "HOME": str(folder), **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_a_published_model_comes_from_the_hub_and_is_kept(tmp_path: Path) -> None:
    byte_tokenizer().save(tmp_path / "byte.json")
    model = random_model(GPT2, activation="gelu_tanh")
    write_hugging_face(tmp_path / "served", model, byte_tokenizer())
    words = ("import", "gpt2-medium", "--tokenizer", "byte.json")
    with serve_hub({"openai-community/gpt2-medium": tmp_path / "served"}) as endpoint:
        done = in_a_process(tmp_path, *words, "model", HF_ENDPOINT=endpoint)
    assert done.returncode == 0, done.stderr
    assert_same(load_export(tmp_path / "model")[0], model)
    offline = in_a_process(tmp_path, *words, "again", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr


def test_without_the_hub_a_name_is_refused_in_one_line(tmp_path: Path) -> None:
    done = in_a_process(tmp_path, "import", "gpt2", "model", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: gpt2 cannot be fetched from the hub: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()
