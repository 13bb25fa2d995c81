"""Texts with long runs of white space, for which tiktoken's regular expressions have not enough stack.

Each run is encoded as what the pattern makes of it, and the texts between the runs as ever: the same ids.
"""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tiktoken

LONG = 1_000  # characters; tiktoken fails at about a million
WIDE_SPACE = "\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
SPACE = f"\t-\r {WIDE_SPACE}"  # what \s means to tiktoken; Python's has more
LINE_SPACE = f"\t\x0b\x0c {WIDE_SPACE}"


def encode_around_runs(
    encoding: tiktoken.Encoding, text: str, ends_at_newlines: bool, long: int = LONG
) -> npt.NDArray[np.uint32]:
    """The ids of `text` by one of OpenAI's patterns. `ends_at_newlines`: a match of white space ends at a newline."""
    return np.concatenate([
        np.array(encoding._encode_single_piece(part), np.uint32) if is_run
        else encoding.encode_to_numpy(part, disallowed_special=())
        for part, is_run in _parts(text, ends_at_newlines, long)
    ])  # fmt: skip


def _parts(text: str, ends_at_newlines: bool, long: int) -> Iterator[tuple[str, bool]]:
    """The text cut before and after each long run; a run's last character belongs to the word that follows, if any."""
    space, unless = (LINE_SPACE, r"(?![\r\n])") if ends_at_newlines else (SPACE, "")
    done = 0
    for run in re.finditer(f"(?<![{space}])[{space}]{{{long},}}+{unless}", text):
        end = run.end() - (run.end() < len(text))
        yield text[done : run.start()], False
        yield text[run.start() : end], True
        done = end
    yield text[done:], False
