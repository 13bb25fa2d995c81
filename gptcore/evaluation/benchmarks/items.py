"""What a row of a benchmark asks, and the grade of an answer. Metrics have lm-eval's names and definitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.names import METRICS
from gptcore.evaluation.benchmarks.requests import Request, check, pair, rolling
from gptcore.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:  # imports torch (2 s), which questions do not need
    from gptcore.evaluation.benchmarks.likelihood import Answer

Grade = float | tuple[float, int]  # the latter: a log-probability, and the words or bytes that share it


class Item(Protocol):
    @property
    def target(self) -> str | int:
        """What is right, for the log of samples."""

    @property
    def arguments(self) -> list[tuple[str, ...]]:
        """What is asked, as text."""

    def requests(self, tokenizer: Tokenizer, block_size: int) -> list[Request]:
        """What is asked, as ids. Raises UserError if the model cannot be asked it."""

    def grade(self, answers: "Sequence[Answer]") -> dict[str, Grade]:
        """The value of each metric."""

    def best(self) -> dict[str, Grade]:
        """The grade of the best possible answer."""


@dataclass(frozen=True)
class Choices:
    """Multiple choice: the most probable of `choices` after `context`.

    acc compares their whole log-probabilities, acc_norm those per character and acc_bytes per UTF-8 byte (what the
    papers mean by normalized). acc_per_token, per token, is OLMES's name; lm-eval has none.
    """

    context: str
    choices: tuple[str, ...]
    gold: int

    @property
    def target(self) -> int:
        return self.gold

    @property
    def arguments(self) -> list[tuple[str, ...]]:
        return [(self.context, f" {choice}") for choice in self.choices]

    def requests(self, tokenizer: Tokenizer, block_size: int) -> list[Request]:
        if not all(self.choices):
            raise UserError("a choice is empty")
        return [check(pair(tokenizer, self.context, f" {choice}"), block_size) for choice in self.choices]

    def grade(self, answers: "Sequence[Answer]") -> dict[str, Grade]:
        logprobs = np.array([each.logprob for each in answers])
        lengths = {
            "acc": [1 for _ in answers],
            "acc_norm": [len(each) for each in self.choices],
            "acc_bytes": [len(each.encode()) for each in self.choices],
            "acc_per_token": [each.tokens for each in answers],
        }
        return {name: float(np.argmax(logprobs / length) == self.gold) for name, length in lengths.items()}

    def best(self) -> dict[str, Grade]:
        return dict.fromkeys(METRICS["multiple_choice"], 1.0)


@dataclass(frozen=True)
class Cloze:
    """The end of a text: how probable it is, and whether the model would say it."""

    context: str
    target: str

    @property
    def arguments(self) -> list[tuple[str, ...]]:
        return [(self.context, self.target)]

    def requests(self, tokenizer: Tokenizer, block_size: int) -> list[Request]:
        return [check(pair(tokenizer, self.context, self.target), block_size)]

    def grade(self, answers: "Sequence[Answer]") -> dict[str, Grade]:
        return {"perplexity": answers[0].logprob, "acc": float(answers[0].is_greedy)}

    def best(self) -> dict[str, Grade]:
        return {"perplexity": 0.0, "acc": 1.0}


@dataclass(frozen=True)
class Page:
    """A whole text: how probable it is, by word and by byte of how it was before a benchmark changed its spaces."""

    target: str
    words: int
    n_bytes: int

    @property
    def arguments(self) -> list[tuple[str, ...]]:
        return [(self.target,)]

    def requests(self, tokenizer: Tokenizer, block_size: int) -> list[Request]:
        return rolling(tokenizer.encode(self.target).tolist(), tokenizer.eot_id, block_size)

    def grade(self, answers: "Sequence[Answer]") -> dict[str, Grade]:
        return self._grade(sum(each.logprob for each in answers))

    def best(self) -> dict[str, Grade]:
        return self._grade(0.0)

    def _grade(self, logprob: float) -> dict[str, Grade]:
        by_byte = logprob, self.n_bytes
        return {"word_perplexity": (logprob, self.words), "byte_perplexity": by_byte, "bits_per_byte": by_byte}
