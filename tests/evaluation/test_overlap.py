"""The longest run of ids in common, against every pair of places compared one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.evaluation import overlap
from gptcore.evaluation.overlap import longest_overlap

Ids = st.lists(st.integers(0, 2), max_size=24)


@given(texts=st.lists(Ids, max_size=3), training=st.lists(st.integers(0, 2), max_size=50), at_once=st.integers(1, 60))
def test_it_is_the_longest_of_all(texts: list[list[int]], training: list[int], at_once: int) -> None:
    expected = max(
        (n for text in texts for n in range(1, len(text) + 1) for i in range(len(text) - n + 1)
         if any(training[j : j + n] == text[i : i + n] for j in range(len(training) - n + 1))),
        default=0,
    )  # fmt: skip
    arrays = [np.array(each, np.uint16) for each in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "IDS_AT_ONCE", at_once)
        found = longest_overlap(arrays, np.array(training, np.uint16))
    assert found.length == expected
    if expected:
        run = texts[found.text][found.start : found.start + found.length]
        assert training[found.source : found.source + found.length] == run
