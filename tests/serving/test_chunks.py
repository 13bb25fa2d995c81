"""What is encoded once gives the bytes of the whole: for each form, any text, the first piece and the last."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.chat import CHAT, TEXT, Form
from serving.chunks import Chunks

FRAME: dict[str, Any] = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": 'a "model"'}
LOGPROBS: dict[str, Any] = {"tokens": ["a"], "token_logprobs": [-1.5], "top_logprobs": [{}], "text_offset": [0]}
logprobs = st.sampled_from([None, LOGPROBS, {name: [] for name in LOGPROBS}])
pieces = st.tuples(st.integers(0, 2), st.text(max_size=5), st.sampled_from([None, "stop", "length"]), logprobs)


@settings(max_examples=60, deadline=None)
@given(form=st.sampled_from([TEXT, CHAT]), with_usage=st.booleans(), told=st.lists(pieces, max_size=8))
def test_a_chunk_is_what_json_makes_of_it(form: Form, with_usage: bool, told: list[Any]) -> None:
    chunks, begun, rest = Chunks(form, FRAME, with_usage), set[int](), {"usage": None} if with_usage else {}
    for index, text, finish, found in told:
        shown = {"index": index, "text": text, "logprobs": found, "finish_reason": finish}
        if text or finish or (found and found["tokens"]):
            chunk = {**FRAME, "choices": [form.of_piece(shown, index not in begun)], **rest}
            begun.add(index)
            assert chunks.of(shown) == f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"
        else:
            assert chunks.of(shown) == ""
    usage = {"total_tokens": 3}
    *last, done, end = chunks.end(usage).split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert [json.loads(each[6:]) for each in last] == [{**FRAME, "choices": [], "usage": usage}] * with_usage
