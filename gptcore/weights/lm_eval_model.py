"""A model for EleutherAI's lm-eval: `lm_eval.simple_evaluate(model=GPTCore("gpt@champion"), tasks=["hellaswag"])`.

Its answers to rows are those of `gptcore evaluate`, to the bit. Needs the extra `lm-eval`.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from gptcore.config.settings import settings
from gptcore.evaluation.benchmarks.likelihood import answers
from gptcore.evaluation.benchmarks.requests import Request, check, rolling
from gptcore.generation.complete import Wish, complete, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.weights.open_model import open_model

NEW_TOKENS = 256  # as in lm-eval's own models


@register_model("gptcore")
class GPTCore(TemplateLM):  # type: ignore[misc]
    """`model` is what `gptcore evaluate` takes, `tokenizer` the tokenizer.json of a ckpt.pt."""

    def __init__(self, model: str, tokenizer: str = "", **_: Any) -> None:
        super().__init__()
        self.gpt, self.gpt_tokenizer = open_model(model, Path(tokenizer) if tokenizer else None)
        self.gpt.to(settings().torch_device())
        self.max_length = self.gpt.config.block_size

    @property
    def eot_token_id(self) -> int:
        return self.gpt_tokenizer.eot_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        ids: list[int] = self.gpt_tokenizer.encode(string).tolist()
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        asked = [Request(context or [self.eot_token_id], continuation) for _, context, continuation in requests]
        found = answers(self.gpt, [check(each, self.max_length) for each in asked])
        return [(each.logprob, each.is_greedy) for each in found]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        windows = [rolling(self.tok_encode(each.args[0]), self.eot_token_id, self.max_length) for each in requests]
        found = iter(answers(self.gpt, [each for parts in windows for each in parts]))
        return [sum(next(found).logprob for _ in parts) for parts in windows]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        engine, texts = engine_for(self.gpt, self.gpt_tokenizer, len(requests)), []
        for asked, group in groupby(requests, key=lambda each: each.args[1]):
            done = complete(engine, self.gpt_tokenizer, [each.args[0] for each in group], _wish(asked))
            texts += [each.text for each in done]
        return texts


def _wish(asked: dict[str, Any]) -> Wish:
    """Greedy unless `do_sample`; a context that is too long loses its beginning."""
    temperature = float(asked.get("temperature", 1.0)) if asked.get("do_sample") else 0.0
    until = asked.get("until", [])
    stop = [each for each in ([until] if isinstance(until, str) else until) if each]
    n_tokens = int(asked.get("max_gen_toks", NEW_TOKENS))
    return Wish(n_tokens, Sampling.of(temperature=temperature), stop=stop, slides=True)
