"""Vocabulary files are data: downloaded once, verified against a known digest, and stored beside the corpus.

tiktoken would download them at run time, which fails on workers without internet access. Packages on the package index
contain the same files.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from gptcore.corpus.allowed import require_allowed_address, require_allowed_file
from gptcore.corpus.fetch import archive_files, fetch_package, fetch_url
from gptcore.corpus.split import TokenizerChoice
from gptcore.errors import UserError
from gptcore.files import atomic_path


class Source(NamedTuple):
    """A file of a source distribution."""

    package: str
    version: str
    file: str
    sha256: str


# litellm names them as tiktoken's own cache does: by the sha1 of their download address
SOURCES = {
    "gpt2": Source(
        "openai-whisper", "20250625", "whisper/assets/gpt2.tiktoken",
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    ),
    "cl100k_base": Source(
        "litellm", "1.75.0", "tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": Source(
        "litellm", "1.75.0", "tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}  # fmt: skip


def fetch_vocabulary(choice: TokenizerChoice, raw: Path, root: Path, scratch: Path) -> None:
    """Write the vocabulary file of the tokenizer, if it has one, to `raw`. Downloads are cached in `scratch`.

    Raises UserError.
    """
    for name, sha256 in _files(choice).items():
        if choice.tokenizer == "sentencepiece":
            content, where = _sentencepiece(choice, root, scratch), choice.sentencepiece_model
            remedy = "; if it is the model you want, set tokenize.sentencepiece_sha256 to the former"
        else:
            source = SOURCES[choice.tokenizer]
            [content] = archive_files(fetch_package(source.package, source.version, scratch), source.file).values()
            where, remedy = f"{source.file} of {source.package} {source.version}", ""
        if (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise UserError(f"{where} has the sha256 {found}, not {sha256 or 'one that you have set'}{remedy}")
        with atomic_path(raw / name) as temporary:
            temporary.write_bytes(content)


def _files(choice: TokenizerChoice) -> dict[str, str]:
    """Name and sha256 of each file that the tokenizer needs in data/raw."""
    if choice.tokenizer == "sentencepiece":
        return {"sentencepiece.model": choice.sentencepiece_sha256}
    return {f"{name}.tiktoken": source.sha256 for name, source in SOURCES.items() if name == choice.tokenizer}


def _sentencepiece(choice: TokenizerChoice, root: Path, scratch: Path) -> bytes:
    if "://" in choice.sentencepiece_model:
        require_allowed_address("tokenize.sentencepiece_model", choice.sentencepiece_model)
        return fetch_url(choice.sentencepiece_model, choice.sentencepiece_sha256, scratch).read_bytes()
    path = root / choice.sentencepiece_model
    require_allowed_file("tokenize.sentencepiece_model", path, root)
    if not path.is_file():
        raise UserError(f"tokenize.sentencepiece_model: {path} is no file; name the .model file of your tokenizer")
    return path.read_bytes()
