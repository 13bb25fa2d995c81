"""Weights that are no GPT-2, damaged, or not what their config says: one line that names what is wrong."""

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gptcore.errors import UserError
from gptcore.model.folder import load_export, save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.pretrained import read_pretrained
from tests.support.engine import GPT2
from tests.support.weights import VOCAB, assert_same, edit, nanogpt_checkpoint, random_model, refused, rewrite


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
    for name in (str(Path(os.pardir, "secret.safetensors")), str(tmp_path / "secret.safetensors"), "config.json", 7):
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
    refused(str(tmp_path / "nothing"), "no nanoGPT checkpoint and no name on the hub")
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
