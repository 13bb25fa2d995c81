"""Load pretrained GPT-2s: a Hugging Face folder, a nanoGPT ckpt.pt, or one of OpenAI's by name."""

from pathlib import Path

import torch

from gptcore.errors import UserError
from gptcore.model.gpt import GPT
from gptcore.weights.huggingface import PUBLISHED, fetch_published, read_hugging_face
from gptcore.weights.nanogpt import read_nanogpt

PADDING = 128  # vocabularies are padded to a multiple of 64 or 128, because GPUs multiply these faster


def read_pretrained(source: str) -> GPT:
    """Load a folder or file; otherwise gpt2, gpt2-medium, gpt2-large or gpt2-xl by name from the hub.

    The model is in float32, on the CPU, in evaluation mode. Raises UserError.
    """
    path = Path(source)
    if path.is_dir():
        return read_hugging_face(path).model(path)
    if path.is_file():
        return read_nanogpt(path).model(path)
    if source in PUBLISHED:
        folder = fetch_published(source)
        return read_hugging_face(folder).model(folder)
    raise UserError(
        f"{source} is no folder of Hugging Face's form, no nanoGPT checkpoint and none of {', '.join(PUBLISHED)}"
    )


@torch.no_grad()
def fit_vocabulary(model: GPT, n_vocab: int) -> GPT:
    """Resize the model's vocabulary to the tokenizer's.

    Padding is cut off, so that it cannot be sampled. A single missing id is <|endoftext|>, which nanoGPT's character
    data sets do not have: its row is the mean of all rows (Hewitt 2021), so it is never likelier than the average
    token. Raises UserError if the tokenizer cannot be the model's.
    """
    if n_vocab - 1 > model.vocab_size or n_vocab <= model.vocab_size - PADDING:
        raise UserError(
            f"the model has {model.vocab_size:,} ids, the tokenizer {n_vocab:,}; name the model's own with --tokenizer"
        )
    with torch.device("meta"):
        fitted = GPT(model.config, n_vocab)
    tensors = model.state_dict()
    for name in ("wte.weight", "lm_head.weight"):
        rows = tensors[name][:n_vocab]
        tensors[name] = torch.cat([rows, rows.mean(0, keepdim=True)]) if len(rows) < n_vocab else rows.clone()
    fitted.load_state_dict(tensors, assign=True)
    if model.config.tied_head:
        fitted.lm_head.weight = fitted.wte.weight
    return fitted.eval()
