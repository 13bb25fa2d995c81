"""Corpora for the tests of tokenizing, and the texts in token files."""

import json
import random
from pathlib import Path

from gptcore.corpus.split import SPLITS, Split
from gptcore.files import write_json
from gptcore.tokens.token_files import open_tokens, read_index, read_meta
from gptcore.tokens.tokenizer import Tokenizer
from tests.support.engine import TOKENIZE

Texts = dict[Split, list[tuple[str, str]]]


def write_corpus(root: Path, corpus: dict[str, str], **tokenize: object) -> Path:
    """A workspace with data/raw and params.yaml for the tokenize stage."""
    (root / "data/raw").mkdir(parents=True)
    lines = [json.dumps({"title": title, "text": text}, ensure_ascii=False, separators=(",", ":")) + "\n"
             for title, text in corpus.items()]  # fmt: skip
    (root / "data/raw/documents.jsonl").write_text("".join(lines))
    write_json(root / "params.yaml", {"tokenize": {**TOKENIZE, **tokenize}})
    return root


def texts(root: Path, titles: list[str]) -> Texts:
    """Title and text of each document per split, decoded from the token files; each starts with <|endoftext|>."""
    folder = root / "data/tokens"
    tokenizer, meta = Tokenizer.load(folder / "tokenizer.json"), read_meta(folder)
    found: Texts = {split: [] for split in SPLITS}
    for split, of_split in meta.splits().items():
        ids, index = open_tokens(folder, split), read_index(folder, split)
        ends = [*index[1:, 0], of_split.tokens]
        for (start, size, line), end in zip(index, ends, strict=True):
            assert ids[start:end][0] == tokenizer.eot_id
            text = tokenizer.decode(ids[start + 1 : end])
            assert len(text.encode()) == size
            found[split].append((titles[line], text))
    return found


def prose(seed: int, characters: int) -> str:
    """Words without long repetitions, with accents, Chinese, JSON escapes, and white space of all kinds."""
    words = random.Random(seed)
    alphabet = 'abcdefghijklmnopqrstuvwxyzéñ仁義\\"0123'
    found, length = [], 0
    while length < characters:
        space = words.choice([" ", " ", " ", ", ", ".\n", "\n\n", "\t", "  ", " \\n ", "\r\n"])
        found.append("".join(words.choices(alphabet, k=words.randint(1, 9))) + space)
        length += len(found[-1])
    return "".join(found)[:characters]
