"""Read and write GPT-2 in Hugging Face's format: a folder of config.json and model.safetensors.

Its linear layers are Conv1D: weights are (in, out), the transpose of nn.Linear's (out, in).
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptcore.errors import UserError
from gptcore.files import atomic_path, read_json, write_json
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.tokens.huggingface_tokenizer import write_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.gpt2 import Weights, our_names, plain_config, refuse_unless

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
WRITTEN = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
# options of transformers.GPT2Config beyond GPT-2 as published, each with the only supported value
SWITCHES = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
            "layer_norm_epsilon": 1e-5}  # fmt: skip


def read_hugging_face(folder: Path) -> Weights:
    """Read a model folder. Raises UserError when it holds no GPT-2, or only pickled weights."""
    try:
        values = read_json(folder / "config.json")
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json; it is no model folder of Hugging Face's form") from None
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not JSON: {error}") from None
    # configs of 2019 have n_ctx and do not name their type
    found = values.get("model_type", "gpt2" if "n_ctx" in values else None) if isinstance(values, dict) else None
    if found != "gpt2":
        raise UserError(f"{folder / 'config.json'}: model_type is {found!r}; only gpt2 can be read")
    config = _config(folder / "config.json", values)
    tensors = {
        name: each.t().contiguous() if name.endswith(CONV1D) and each.dim() == 2 else each
        for name, each in our_names(folder, _tensors(folder)).items()
    }
    return Weights(config, values.get("vocab_size"), tensors)


def write_hugging_face(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    """Write a folder that transformers' GPT2LMHeadModel and AutoTokenizer load. Missing biases are written as zeros.

    Raises UserError unless GPT2LMHeadModel can express `model`.
    """
    config = model.config
    refuse_unless(config, "Hugging Face's GPT-2", activation=[*WRITTEN])
    end = tokenizer.eot_id if tokenizer.end_of_text else None
    values = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": model.vocab_size,
        "n_positions": config.block_size, "n_embd": config.n_embd, "n_layer": config.n_layer, "n_head": config.n_head,
        "activation_function": WRITTEN[config.activation], "tie_word_embeddings": config.tied_head,
        "embd_pdrop": config.dropout, "resid_pdrop": config.dropout, "attn_pdrop": config.dropout,
        "bos_token_id": end, "eos_token_id": end, "dtype": "float32", **SWITCHES,
    }  # fmt: skip
    tensors = {name: each.detach().cpu() for name, each in model.state_dict().items()}
    if config.tied_head:
        del tensors["lm_head.weight"]
    if not config.bias:
        weights = {name: each for name, each in tensors.items() if name.startswith(("h.", "ln_f"))}
        tensors |= {f"{name[:-6]}bias": each.new_zeros(each.size(0)) for name, each in weights.items()}
    written = {
        name if name.startswith("lm_head") else f"transformer.{name}": (
            each.t() if name.endswith(CONV1D) else each
        ).contiguous()
        for name, each in tensors.items()
    }
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        save_file(written, temporary / "model.safetensors", metadata={"format": "pt"})  # transformers requires it
        write_json(temporary / "config.json", values)
        write_hugging_face_tokenizer(temporary, tokenizer)


def _config(source: Path, values: dict[str, Any]) -> ModelConfig:
    for name, wanted in SWITCHES.items():
        if values.get(name, wanted) != wanted:
            raise UserError(f"{source}: {name} is {values[name]}; only {wanted} can be read")
    if "n_ctx" in values:  # what n_positions was called in 2019
        values = {"n_positions": values["n_ctx"], **values}
    try:
        if values.get("n_inner") not in (None, 4 * values["n_embd"]):
            raise UserError(f"{source}: n_inner is {values['n_inner']}; only 4 x n_embd can be read")
        activation = values.get("activation_function", "gelu_new")
        return plain_config(
            source,
            **{name: values[name] for name in ("n_layer", "n_head", "n_embd")},
            block_size=values["n_positions"],
            bias=True,
            dropout=values.get("resid_pdrop", 0.1),
            activation=ACTIVATIONS.get(activation, activation),
            tied_head=values.get("tie_word_embeddings", True),
        )
    except KeyError as error:
        raise UserError(f"{source} has no {error}; a GPT-2's has") from None


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the shards that its index lists."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not whole.is_file() and not index.is_file():
        raise UserError(f"{folder} has no model.safetensors; weights in other files (*.bin is pickle) are not read")
    tensors: dict[str, Tensor] = {}
    try:
        for name in [whole.name] if whole.is_file() else _shards(index):
            shard = load_file(folder / name)
            if twice := sorted(tensors.keys() & shard.keys()):
                raise UserError(f"{folder / name}: another shard holds {twice[0]} too; keep the right one")
            tensors |= shard
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: the weights cannot be read: {error}") from None
    return tensors


def _shards(index: Path) -> list[str]:
    """The files that an index lists. A file elsewhere is no part of the model, whatever the index says."""
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{index}: the weights cannot be read: it is no index of shards: {error}") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {name!r}, which is no *.safetensors file of that folder")
    return names
