"""Inspect the corpus and its tokens, or verify all their hashes.

gptcore data inspect --windows 3
gptcore data verify
"""

import argparse
from pathlib import Path

import numpy as np

from gptcore.addresses import redacted
from gptcore.config.paths import Paths
from gptcore.errors import UserError

LISTED_FILES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("inspect", "verify"), help="show what is there, or read every byte of it")
    parser.add_argument("--windows", type=int, default=3, metavar="N", help="decoded windows; %(default)s if not given")
    parser.add_argument("--tokens", type=int, default=48, metavar="N", help="tokens of each; %(default)s if not given")
    parser.add_argument("--seed", type=int, default=0, help="chooses the windows")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    paths = Paths(Path.cwd())
    if arguments.what == "verify":
        _verify(paths)
    elif arguments.windows < 0 or arguments.tokens < 1:
        raise UserError(f"--windows {arguments.windows} --tokens {arguments.tokens}: take 0 or more, and 1 or more")
    else:
        _inspect(paths, arguments.windows, arguments.tokens, arguments.seed)


def _inspect(paths: Paths, windows: int, tokens: int, seed: int) -> None:
    from gptcore.tokens.token_files import PairTokens, open_tokens, prompt_tokens, read_meta
    from gptcore.tokens.tokenizer import Tokenizer
    from gptcore.tokens.verify import read_sources

    sources = read_sources(paths.raw)
    print(f"corpus     sha256 of the texts {sources.text_sha256}, from {len(sources.files):,} files")
    for file in sources.files[:LISTED_FILES]:
        print(f"           {redacted(file.address)}: {file.size:,} bytes, sha256 {file.sha256}")
    if len(sources.files) > LISTED_FILES:
        print(f"           ... all of them are in {(paths.raw / 'sources.json').relative_to(paths.root)}")
    meta, tokenizer = read_meta(paths.tokens), Tokenizer.load(paths.tokens / "tokenizer.json")
    print(f"tokenizer  {tokenizer.kind}, {meta.vocab_size:,} ids as {meta.dtype}, sha256 {meta.tokenizer_sha256}")
    for split, each in meta.splits().items():
        learned = each.tokens - prompt_tokens(open_tokens(paths.tokens, split))
        said = f"{each.tokens:,} tokens, {each.documents:,} documents"
        said += f", of which {learned:,} tokens of responses are learned" if learned < each.tokens else ""
        print(f"{split:10} {said}, {each.bytes:,} bytes, {each.bytes / learned:.3f} bytes a token")
        print("\n".join(f"           {name} sha256 {sha256}" for name, sha256 in each.files.items()))
    random = np.random.default_rng(seed)
    for split in meta.splits() if windows else ():
        ids = open_tokens(paths.tokens, split)
        for start in sorted(random.integers(0, max(len(ids) - tokens, 1), windows).tolist()):
            places = np.arange(start, min(start + tokens, len(ids)))
            print(f"\n{split} from token {start:,}:\n{tokenizer.decode(ids[places])}")
            if isinstance(ids, PairTokens):
                after = places[1:][ids.mask[places[:-1]] == 1]
                print(f"learned of it:\n{tokenizer.decode(ids[after])}")


def _verify(paths: Paths) -> None:
    from gptcore.tokens.verify import checks

    damaged = []
    for path, check in checks(paths):
        try:
            check()
            print(f"whole    {path.relative_to(paths.root)}", flush=True)
        except UserError as error:
            print(f"damaged  {error}", flush=True)
            damaged.append(str(path.relative_to(paths.root)))
    if damaged:
        raise UserError(f"not what their hashes say: {', '.join(damaged)}; the lines above tell how to mend each")
