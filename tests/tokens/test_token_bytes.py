from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptcore.tokens.token_bytes import TokenBytes

TOKENS = [bytes([value]) for value in range(256)]
tokens = st.lists(st.binary(max_size=40), min_size=1, max_size=20).map(lambda longer: [*TOKENS, *longer])


@given(tokens, st.data(), st.sampled_from([1, 3, 1 << 15]))
def test_ids_give_their_text_and_no_other(tokens: list[bytes], data: st.DataObject, at_once: int) -> None:
    ids = np.array(data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=30)), np.uint32)
    text = b"".join(tokens[each] for each in ids)
    known = TokenBytes(tokens)
    with patch("gptcore.tokens.token_bytes.IDS_AT_ONCE", at_once):
        assert known.give(ids, text)
        assert not known.give(ids, text + b"\0")
        if text:
            assert not known.give(ids, text[:-1])
            place = data.draw(st.integers(0, len(text) - 1))
            other = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
            assert not known.give(ids, text[:place] + bytes([other]) + text[place + 1 :])
