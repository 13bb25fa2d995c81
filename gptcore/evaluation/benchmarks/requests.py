"""Texts as token ids: what the model is given, and what it is asked the probability of. The rules are lm-eval's."""

from typing import NamedTuple

from gptcore.errors import UserError
from gptcore.tokens.tokenizer import Tokenizer


class Request(NamedTuple):
    """Ids of the context, at least one, and of the continuation."""

    context: list[int]
    continuation: list[int]


def pair(tokenizer: Tokenizer, context: str, continuation: str) -> Request:
    """Encode the context, and both together; what follows the context's ids is the continuation.

    White space at the context's end goes to the continuation, because tokens begin with their space. An empty context
    is <|endoftext|>. Raises UserError if the tokenizer cannot encode the texts.
    """
    stripped = context.rstrip()
    whole = tokenizer.encode(context + continuation).tolist()
    if not context:
        is_there = whole[:1] == [tokenizer.eot_id]
        return Request(whole[:1], whole[1:]) if is_there else Request([tokenizer.eot_id], whole)
    before = tokenizer.encode(stripped).tolist()
    return Request(before or [tokenizer.eot_id], whole[len(before) :])


def rolling(ids: list[int], first: int, block_size: int) -> list[Request]:
    """Windows in which each of `ids` is asked for once; `first` precedes them.

    All windows follow each other but the last, which begins earlier to have a full context.
    """
    row = [first, *ids]
    begins = range(0, len(ids), block_size)
    ends = [min(begin + block_size, len(ids)) for begin in begins]
    return [
        Request(row[max(end - block_size, 0) : begin + 1], row[begin + 1 : end + 1])
        for begin, end in zip(begins, ends, strict=True)
    ]


def check(request: Request, block_size: int) -> Request:
    """Raises UserError if the model cannot be asked it."""
    if not request.continuation:
        raise UserError("the continuation has no token of its own: the last token of the context reaches over its end")
    if len(request.continuation) > block_size:
        raise UserError(f"the continuation has {len(request.continuation):,} tokens, the model reads {block_size:,}")
    return request
