"""Texts and conversations in ids: conversations in our chat template, or in the one that a tokenizer brings along."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.corpus.chat_template import segments
from gptcore.errors import UserError
from gptcore.tokens.tokenizer import Tokenizer

Int64s = npt.NDArray[np.int64]


class Written(NamedTuple):
    """Texts one after another. `starts` and `mask` are as in `encode.Encoded`.

    `is_whole`: decoding gives the texts back; otherwise the other fields mean nothing.
    """

    ids: npt.NDArray[np.unsignedinteger]
    starts: Int64s
    mask: npt.NDArray[np.uint8]
    is_whole: bool


def written(tokenizer: Tokenizer, texts: list[list[bytes]]) -> Written:
    """`texts` has each one's parts in UTF-8: a plain text alone, or prompts and responses in turn. Raises UserError."""
    if tokenizer.has_other_template and any(len(parts) > 1 for parts in texts):
        return _in_its_template(tokenizer, texts)
    parts = [part for each in texts for part in each]
    ids = tokenizer.encode_documents(parts)
    ends = np.flatnonzero(ids == tokenizer.eot_id)
    whole = (tokenizer.end_of_text or "").encode().join([b"", *parts])
    if len(ends) != len(parts) or not tokenizer.gives(ids, whole):
        return Written(ids, ends, np.empty(0, np.uint8), False)
    return Written(ids, *_marked(ends, len(ids), texts), True)


def _marked(ends: Int64s, n_ids: int, texts: list[list[bytes]]) -> tuple[Int64s, npt.NDArray[np.uint8]]:
    """Starts and mask. `ends` are the places of <|endoftext|>, one for each part of each text, among so many ids."""
    counts = np.array([len(each) for each in texts], np.int64)
    starts = ends[np.cumsum(counts) - counts]
    if not (counts > 1).any():
        return starts, np.empty(0, np.uint8)
    is_response = np.concatenate([np.arange(count) % 2 for count in counts])
    return starts, np.repeat(is_response, np.diff(ends, append=n_ids)).astype(np.uint8)


def _in_its_template(tokenizer: Tokenizer, texts: list[list[bytes]]) -> Written:
    """Each part alone, as a model has the prompt's ids before it makes those of the response."""
    starts, ids, mask, said = list[int](), list[int](), list[int](), list[str]()
    for parts in texts:
        starts.append(len(ids))
        for asked, answered in segments(tokenizer.chat_template, [part.decode() for part in parts]):
            question, response = (tokenizer.encode(each).tolist() for each in (asked, answered))
            if not question or tokenizer.eot_id not in response:
                raise UserError(
                    f"the model's chat template ends no response with {tokenizer.end_of_text}, its end of text, so it "
                    "would not learn to stop; take another start, or its tokenizer without the template"
                )
            after = response[::-1].index(tokenizer.eot_id)  # ids after the end, which nobody asks the model for
            ids += question + response
            mask += [0] * (len(question) - 1) + [1] * (len(response) - after) + [0] * (after + 1)
            said += asked, answered
    found = np.array(ids, np.uint32)
    is_whole = tokenizer.gives(found, "".join(said).encode())
    return Written(found, np.array(starts, np.int64), np.array(mask, np.uint8), is_whole)
