"""Split documents into training, validation and test sets, train the tokenizer, write token files."""

import shutil
from collections.abc import Iterator

from gptcore.config.params import Metrics
from gptcore.config.paths import STREAM, Paths
from gptcore.corpus.split import SPLITS, Split, TokenizeConfig
from gptcore.files import SUMS, verify_sums
from gptcore.progress import Progress
from gptcore.stages.run_stage import run_stage
from gptcore.tokens.assemble import assemble
from gptcore.tokens.document_lengths import draw_document_lengths
from gptcore.tokens.encode import Encoded, encode_piece, read_encoded
from gptcore.tokens.encoding_plan import Plan, make_plan
from gptcore.tokens.shared_folder import shared_folder
from gptcore.tokens.token_files import TokensMeta, open_tokens, prompt_tokens
from gptcore.tokens.workers import Workers

MEBIBYTE = 1 << 20


class TokenizeMetrics(Metrics):
    """Exact counts: tokens with <|endoftext|>, bytes of text in UTF-8, of conversations those of the responses.

    bytes_per_token is over all splits; of conversations, over the tokens that are learned.
    """

    vocab_size: int
    bytes_per_token: float
    train_documents: int
    train_bytes: int
    train_tokens: int
    val_documents: int
    val_bytes: int
    val_tokens: int
    test_documents: int
    test_bytes: int
    test_tokens: int


def tokenize(tokenize: TokenizeConfig, paths: Paths) -> TokenizeMetrics:
    """Write data/tokens from data/raw. Raises UserError."""
    for stale in paths.tokens.parent.glob(f".{paths.tokens.name}.*.tmp"):
        shutil.rmtree(stale)  # left by a killed run
    if (paths.raw / SUMS).exists():  # missing in a folder filled by hand
        verify_sums(paths.raw)
    with Workers() as workers:
        plan = make_plan(tokenize, paths, workers)
        with shared_folder(plan.folder):
            plan.save_tokenizer()
            meta = assemble(paths.tokens, plan.tokenizer, _encoded(plan, workers), test=tokenize.test_fraction > 0)
    draw_document_lengths(paths.tokens)
    if (paths.raw / STREAM).exists():
        shutil.copyfile(paths.raw / STREAM, paths.tokens / STREAM)
    unlearned = sum(prompt_tokens(open_tokens(paths.tokens, split)) for split in meta.splits())
    return _metrics(meta, unlearned)


def _encoded(plan: Plan, workers: Workers) -> Iterator[tuple[int, dict[Split, Encoded]]]:
    """The encoded pieces in order, computed on all cores; pieces of a killed run are reused."""
    done = workers.in_order(encode_piece, plan.jobs)
    with Progress("tokenize", plan.jobs[-1].piece.end // MEBIBYTE, "MiB") as progress:
        for job, first_document, path in zip(plan.jobs, plan.first_documents, done, strict=True):
            yield first_document, read_encoded(path)
            progress.update(job.piece.end // MEBIBYTE)


def _metrics(meta: TokensMeta, unlearned: int) -> TokenizeMetrics:
    splits, counts = meta.splits(), ("documents", "bytes", "tokens")
    totals = {name: sum(getattr(each, name) for each in splits.values()) for name in counts}
    return TokenizeMetrics(
        vocab_size=meta.vocab_size,
        bytes_per_token=totals["bytes"] / (totals["tokens"] - unlearned),
        **{f"{split}_{name}": getattr(splits.get(split), name, 0) for split in SPLITS for name in counts},
    )


if __name__ == "__main__":
    run_stage(tokenize)
