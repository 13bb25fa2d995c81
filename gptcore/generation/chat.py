"""Talk with a model that has a chat template: what is said to it, and its answers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gptcore.errors import UserError
from gptcore.generation.complete import Completion, Wish
from gptcore.generation.engine import Engine
from gptcore.tokens.tokenizer import Tokenizer


@dataclass
class Chat:
    """A conversation. `forgotten` counts the messages that the context has no room for any more."""

    engine: Engine
    tokenizer: Tokenizer
    wish: Wish
    messages: list[Mapping[str, str]] = field(default_factory=list)
    forgotten: int = 0

    def answer(self, said: str) -> Iterator[str]:
        """The answer in pieces, as it is made. Raises UserError if the context has no room for what was said."""
        asked: list[Mapping[str, str]] = [*self.messages, {"role": "user", "content": said}]
        ids = self.tokenizer.encode_chat(asked)
        while len(ids) >= self.engine.block_size and len(asked) > 1:
            asked, self.forgotten = asked[2:], self.forgotten + 2
            ids = self.tokenizer.encode_chat(asked)
        if len(ids) >= self.engine.block_size:
            raise UserError(f"that has {len(ids):,} tokens, and the model's context {self.engine.block_size:,}")
        found = Completion(self.engine, self.tokenizer, said, self.wish, ids=ids)
        try:
            while not found.finish:
                self.engine.step()
                yield found.read()
        finally:
            self.engine.cancel(found.sequence)
        if found.finish == "error":
            raise UserError("the answer broke off: the model computes NaN or infinity")
        self.messages = [*asked, {"role": "assistant", "content": found.text}]


def answers(chat: Chat, said: Iterable[str]) -> list[str]:
    """The whole answers to one message after another."""
    return ["".join(chat.answer(each)) for each in said]
