"""What the routes give: OpenAI's text_completion, whole or in chunks, and the log-probabilities of a choice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gptcore.generation.sequence import Logprob
from gptcore.tokens.text_stream import TextStream
from gptcore.tokens.tokenizer import END_OF_TEXT, Tokenizer
from serving.worker import Job, Prompt, Update


@dataclass
class Choice:
    """One completion as it is told. `tokens` gathers its log-probabilities if they are asked for."""

    index: int
    prompt: Prompt
    job: Job
    text: str = ""
    ids: int = 0
    finish: str | None = None
    tokens: "Tokens | None" = None
    told: int = 0  # log-probabilities
    is_begun: bool = False

    def __post_init__(self) -> None:
        if self.job.wish.logprobs is not None:
            self.tokens = Tokens(self.job.lane.served.tokenizer, self.job.wish.logprobs)

    def add(self, update: Update) -> dict[str, Any]:
        """The choice object with what is new."""
        piece = self._echo(update) + update.text
        self.text += piece
        self.ids, self.finish = update.ids, update.finish
        logprobs = None
        if self.tokens:
            sequence = update.completion.sequence
            self.tokens.push([(each.token, each) for each in sequence.logprobs[self.told : update.logprobs]])
            self.told = update.logprobs
            logprobs = self.tokens.before(len(self.text), bool(update.finish) and not update.completion.is_cut)
        return self.shown(piece, logprobs)

    def shown(self, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
        return {"index": self.index, "text": text, "logprobs": logprobs, "finish_reason": self.finish}

    def _echo(self, update: Update) -> str:
        """The prompt, once, with its log-probabilities: the first id has none."""
        if not self.job.wish.echo or self.is_begun:
            return ""
        self.is_begun = True
        if self.tokens:
            known: list[Logprob | None] = [None, *update.completion.sequence.prompt_logprobs]
            self.tokens.push(list(zip(self.prompt.ids, known, strict=True)))
            self.tokens.start_anew(len(self.prompt.text))
        return self.prompt.text


@dataclass
class Tokens:
    """Log-probabilities in OpenAI's form. Those of ids whose text may yet be cut off are kept back."""

    tokenizer: Tokenizer
    top: int
    shift: int = 0  # characters before those of the stream
    given: int = 0  # characters that the stream has given
    kept: list[tuple[int, int, Logprob | None]] = field(default_factory=list)  # offset, id

    def __post_init__(self) -> None:
        self.stream = TextStream(self.tokenizer)

    def push(self, new: Sequence[tuple[int, Logprob | None]]) -> None:
        for token, logprob in new:
            self.kept.append((self.shift + self.given, token, logprob))
            if token != self.tokenizer.stop_id:
                self.given += len(self.stream.push([token]))

    def start_anew(self, shift: int) -> None:
        """What comes is another text, behind so many characters."""
        self.stream, self.shift, self.given = TextStream(self.tokenizer), shift, 0

    def before(self, length: int, is_all: bool) -> dict[str, Any]:
        """Those of ids that begin before so many characters, or all that are left."""
        found = [each for each in self.kept if is_all or each[0] < length]
        self.kept = self.kept[len(found) :]
        return {
            "tokens": [named(self.tokenizer, token) for _, token, _ in found],
            "token_logprobs": [logprob and logprob.logprob for _, _, logprob in found],
            "top_logprobs": [logprob and self._likeliest(logprob) for _, _, logprob in found],
            "text_offset": [offset for offset, _, _ in found],
        }

    def _likeliest(self, logprob: Logprob) -> dict[str, float]:
        """The likeliest, and the id itself; of two ids with the same text, the likelier."""
        found: dict[str, float] = {}
        for token, value in (*logprob.top[: self.top], (logprob.token, logprob.logprob)):
            found.setdefault(named(self.tokenizer, token), value)
        return found


def named(tokenizer: Tokenizer, token: int) -> str:
    """The text of an id; of one that is no whole character, its bytes, as OpenAI writes them."""
    if tokenizer.library:
        return tokenizer.decode([token])
    raw = END_OF_TEXT.encode() if token == tokenizer.stop_id else tokenizer.tokens[token]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{each:02x}" for each in raw)


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The log-probabilities of a choice that came in parts."""
    return {name: [each for part in parts for each in part[name]] for name in parts[0]}


def usage(job: Job, choices: Sequence[Choice]) -> dict[str, int]:
    prompt, made = sum(len(each.ids) for each in job.prompts), sum(each.ids for each in choices)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
