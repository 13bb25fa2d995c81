"""Load pretrained GPT-2s: a Hugging Face folder, a nanoGPT ckpt.pt, or a model of the hub by name."""

from dataclasses import replace
from pathlib import Path

from gptcore.errors import UserError
from gptcore.model.gpt import GPT
from gptcore.tokens.read_huggingface import read_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.hub import fetched, is_hub_name
from gptcore.weights.huggingface import read_hugging_face
from gptcore.weights.nanogpt import read_nanogpt

PADDING = 128  # vocabularies are padded to a multiple of 64 or 128, because GPUs multiply these faster


def located(source: str) -> Path:
    """The folder or file `source`, or the folder of what has that name on the hub. Raises UserError, Unavailable."""
    return fetched(source) if is_hub_name(source) else Path(source)


def read_pretrained(source: str) -> GPT:
    """Load a folder, a file, or a model of the hub by name.

    The model is in float32, on the CPU, in evaluation mode. Raises UserError, Unavailable.
    """
    path = located(source)
    if path.is_file():
        return read_nanogpt(path).model(path)
    if not path.exists():
        raise UserError(f"{source} is no folder of Hugging Face's form, no nanoGPT checkpoint and no name on the hub")
    return read_hugging_face(path).model(path)


def own_tokenizer(source: str) -> Tokenizer | None:
    """The tokenizer that a Hugging Face folder holds, None if there is none. Raises UserError if it cannot be read."""
    path = Path(source)
    return read_hugging_face_tokenizer(path) if path.is_dir() else None


def fit_vocabulary(model: GPT, tokenizer: Tokenizer, padded_to: int = 1) -> tuple[GPT, Tokenizer]:
    """The model and its tokenizer with as many ids as each other. No id is added to the model.

    Ids of the model without a token are padding, up to a multiple of `padded_to`; they are cut off, so that they cannot
    be sampled. A model without the tokenizer's last id, <|endoftext|>, was trained without, as on nanoGPT's character
    data sets: its tokenizer then has none. Raises UserError if the tokenizer cannot be the model's.
    """
    ids, n_vocab = model.vocab_size, tokenizer.n_vocab
    if ids == n_vocab:
        return model, tokenizer
    if ids == n_vocab - 1 == tokenizer.stop_id and tokenizer.kind != "huggingface":
        return model, replace(tokenizer, end_of_text=None)
    if not n_vocab < ids < n_vocab + PADDING or ids % padded_to:
        raise UserError(f"the model has {ids:,} ids, the tokenizer {n_vocab:,}; name the model's own with --tokenizer")
    fitted = GPT(model.config, n_vocab, seed=None)
    tensors = model.state_dict()
    for name in ("wte.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:n_vocab].clone()
    fitted.load_state_dict(tensors, assign=True)
    if model.config.tied_head:
        fitted.lm_head.weight = fitted.wte.weight
    return fitted.eval(), tokenizer
