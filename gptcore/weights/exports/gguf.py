"""llama.cpp's GGUF, of GPT-2's architecture: written with the package gguf, read back by llama.cpp itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from gptcore.errors import UserError
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.tokens.huggingface_tokenizer import byte_level
from gptcore.tokens.tokenizer import END_OF_TEXT, GPT2_PATTERN, Tokenizer, character_of_byte
from gptcore.weights.exports.llama_cpp import llama_cpp
from gptcore.weights.exports.target import Consumer, Limits, Target
from gptcore.weights.gpt2 import refuse_unless

FILE = "model.gguf"
# llama.cpp takes GELU from a table in half precision, which differs by 4e-4 and more
TYPES = {"f32": Limits(1e-2, 1e-3), "f16": Limits(None, 1e-3), "q8_0": Limits(None, 1e-2)}
BLOCK = 32  # weights that share a scale in q8_0
# what llama.cpp calls a pattern; cl100k_base splits as Llama 3's
PATTERNS = {"gpt2": "gpt-2", "cl100k_base": "llama-bpe", "o200k_base": "gpt-4o"}
NORMAL, CONTROL = 1, 3
NAMES = {
    "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output",
    "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip


def target(kind: str) -> Target:
    """Raises UserError for an unknown type."""
    kind = kind or "f32"
    if kind not in TYPES:
        raise UserError(f"--type {kind}: there are {', '.join(TYPES)}")

    def refuse(config: ModelConfig, tokenizer: Tokenizer) -> None:
        refuse_unless(config, "GGUF's GPT-2", activation=["gelu", "gelu_tanh"])
        if kind == "q8_0" and config.n_embd % BLOCK:
            raise UserError(f"q8_0 packs {BLOCK} weights of a row, and n_embd is {config.n_embd}; take --type f16")
        _pattern(tokenizer)

    def write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
        write_gguf(folder / FILE, model, tokenizer, kind)

    @contextmanager
    def opened(folder: Path, model: GPT) -> Iterator[Consumer]:
        with llama_cpp(folder / FILE, model.config.block_size, model.vocab_size) as consumer:
            yield consumer

    return Target(("gguf", "xllamacpp"), TYPES[kind], refuse, write, opened)


def _pattern(tokenizer: Tokenizer) -> str:
    """llama.cpp's name for how the tokenizer splits text. Raises UserError if it has none."""
    if tokenizer.kind in ("sentencepiece", "huggingface"):
        raise UserError(f"GGUF has no words for a {tokenizer.kind} tokenizer here; it can express byte-level BPE")
    if tokenizer.end_of_text is None:
        raise UserError("GGUF needs a tokenizer with an end of text: llama.cpp would take another token, id 11, for it")
    by_pattern = "gpt2" if tokenizer.pattern == GPT2_PATTERN or tokenizer.kind in ("byte", "char") else tokenizer.kind
    if by_pattern not in PATTERNS:
        raise UserError(f"GGUF has no words for the pattern of this {tokenizer.kind} tokenizer, {tokenizer.pattern}")
    return PATTERNS[by_pattern]


def _vocabulary(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Tokens and merges. A character of several bytes is merged from them: only whole ones are tokens."""
    if tokenizer.kind == "char":
        characters = character_of_byte()
        names = ["".join(characters[byte] for byte in token) for token in tokenizer.tokens]
        merges = [f"{name[:at]} {name[at]}" for name in names for at in range(1, len(name))]
    else:
        names, pairs = byte_level(tokenizer)
        merges = [" ".join(pair) for pair in pairs]
    # llama.cpp refuses a list without merges; this one makes nothing that is a token
    return names, list(dict.fromkeys(merges)) or [f"{names[0]} {names[1]}"]


def write_gguf(path: Path, model: GPT, tokenizer: Tokenizer, kind: str) -> None:
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"])
    names, merges = _vocabulary(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pattern(tokenizer))
    writer.add_token_list([*names, END_OF_TEXT])
    writer.add_token_types([*[NORMAL] * len(names), CONTROL])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokenizer.eot_id)
    writer.add_eos_token_id(tokenizer.eot_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    writer.add_add_bos_token(False)
    packed = gguf.GGMLQuantizationType[kind.upper()]
    for name, tensor in _tensors(model).items():
        values = tensor.detach().float().contiguous().numpy()
        if tensor.dim() == 2 and not name.startswith("position_embd"):
            writer.add_tensor(name, gguf.quants.quantize(values, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(model: GPT) -> dict[str, Tensor]:
    """Under llama.cpp's names, with zeros for the biases that a model has not; a tied head is the embedding's."""
    found: dict[str, Tensor] = {}
    for name, tensor in model.named_parameters():
        stem, _, what = name.rpartition(".")
        block, _, part = stem.removeprefix("h.").partition(".") if stem.startswith("h.") else ("", "", stem)
        theirs = f"blk.{block}.{NAMES[part]}" if block else NAMES[part]
        found[f"{theirs}.{what}"] = tensor
        if not model.config.bias and (block or part == "ln_f"):
            found[f"{theirs}.bias"] = torch.zeros(tensor.size(0))
    return found
