"""A stream's events: OpenAI's chunks. What is around the text is encoded once and not for each token."""

from typing import Any

from serving.chat import Form
from serving.refusals import ENCODER

MARK = "\0"  # stands for a text that is not there yet; in no other value of a chunk


def event(value: Any) -> str:
    return f"data: {ENCODER.encode(value)}\n\n"


class Chunks:
    def __init__(self, form: Form, frame: dict[str, Any], with_usage: bool) -> None:
        """`frame` is what all chunks have; with usage, they have that too, null in all but the last."""
        self.form, self.frame, self.with_usage = form, frame, with_usage
        self.begun = set[int]()  # choices of which something was told
        self.around = dict[tuple[int, str | None, bool], tuple[str, str]]()

    def of(self, shown: dict[str, Any]) -> str:
        """The event of what is new of a choice, as `Choice.add` has it; empty if that is nothing."""
        index, text, logprobs, finish = shown["index"], shown["text"], shown["logprobs"], shown["finish_reason"]
        if not (text or finish or (logprobs and logprobs["tokens"])):
            return ""
        key = index, finish, index not in self.begun
        self.begun.add(index)
        if logprobs:
            return self._chunk(shown, key[2])
        if key not in self.around:
            before, after = self._chunk({**shown, "text": MARK}, key[2]).split(ENCODER.encode(MARK))
            self.around[key] = before, after
        before, after = self.around[key]
        return f"{before}{ENCODER.encode(text)}{after}"

    def end(self, usage: dict[str, int]) -> str:
        last = event({**self.frame, "choices": [], "usage": usage}) if self.with_usage else ""
        return f"{last}data: [DONE]\n\n"

    def _chunk(self, shown: dict[str, Any], is_first: bool) -> str:
        chunk = {**self.frame, "choices": [self.form.of_piece(shown, is_first)]}
        return event({**chunk, "usage": None} if self.with_usage else chunk)
