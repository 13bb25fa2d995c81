"""Compare what a model writes after a prompt with what is written there: BLEU, chrF, ROUGE-L, variety, and copies.

BLEU and chrF are sacrebleu's (Post 2018), with the signature that makes them comparable; ROUGE-L (Lin 2004) is
rouge_score's. distinct-n is the share of different n-grams of words among all (Li et al. 2016).
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.rows import read_rows
from gptcore.evaluation.benchmarks.schemas import Text, checked
from gptcore.evaluation.overlap import longest_overlap
from gptcore.generation.complete import Completion, Wish, engine_for
from gptcore.model.gpt import GPT
from gptcore.progress import Progress
from gptcore.tokens.token_files import Tokens
from gptcore.tokens.tokenizer import Tokenizer

RESAMPLES = 1000
NGRAMS = (1, 2, 3)


class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Text
    references: Annotated[list[Text], Field(min_length=1)]


@dataclass(frozen=True)
class Written:
    """`text` is None if the model cannot be given the prompt, and `why` says why."""

    row: Row
    text: str | None
    why: str = ""


def read_prompts(path: Path) -> list[Row]:
    """Raises UserError that names the line of a wrong row."""
    found = []
    for where, row in read_rows(str(path)):
        try:
            found.append(checked(Row, row, where))
        except UserError as error:
            raise UserError(f"{error}; a row has prompt and references") from None
    if not found:
        raise UserError(f"{path}: there is no row in it")
    return found


def write(model: GPT, tokenizer: Tokenizer, rows: Sequence[Row], wish: Wish) -> list[Written]:
    """What the model writes after each prompt. One that it cannot read has no text, and says why."""
    engine = engine_for(model, tokenizer, len(rows))
    running: dict[int, Completion] = {}
    unread: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            running[number] = Completion(engine, tokenizer, row.prompt, wish, number)
        except UserError as error:
            unread[number] = str(error)
    with Progress("continuations", len(running), "text") as progress:
        while engine.busy:
            engine.step()
            for each in running.values():
                each.read()
            progress.update(sum(bool(each.finish) for each in running.values()))
    return [
        Written(row, None, unread[number]) if number in unread else Written(row, running[number].text)
        for number, row in enumerate(rows)
    ]


def measure(written: Sequence[Written]) -> dict[str, Any]:
    """Values of those with a text, 95 % intervals by resampled rows, and sacrebleu's signatures.

    A row without a text may have had any. So it is in no value, but it widens the interval: from an empty text to the
    reference itself. Raises UserError without sacrebleu and rouge_score.
    """
    graded = [each for each in written if each.text is not None]
    if not graded:
        raise UserError(f"the model can read none of the prompts; the first: {written[0].why}")
    worst = [each.text or "" for each in written]
    best = [each.row.references[0] if each.text is None else each.text for each in written]
    references = [each.row.references for each in written]
    scorers: dict[str, _SacreBleu | _RougeL] = {
        "bleu": _SacreBleu("BLEU"),
        "chrf": _SacreBleu("CHRF"),
        "rougeL": _RougeL(),
    }
    found: dict[str, Any] = {"sample_len": len(graded), "ungraded": len(written) - len(graded)}
    for name, scorer in scorers.items():
        value, *_ = scorer([each.text or "" for each in graded], [each.row.references for each in graded])
        low, high = scorer(worst, references)[1], scorer(best, references)[2]
        found |= {f"{name},none": value, f"{name}_interval,none": (low, high), f"{name}_signature": scorer.signature}
    words = [(each.text or "").split() for each in graded]
    return found | {f"distinct_{n},none": distinct(words, n) for n in NGRAMS}


def distinct(texts: Sequence[Sequence[str]], n: int) -> float | None:
    """The share of different n-grams among all; None if there is none."""
    grams = [tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def copied(written: Sequence[Written], tokenizer: Tokenizer, training: Tokens) -> dict[str, Any]:
    """The longest run of ids that a text has in common with the training text, and the words that it says."""
    ids = [tokenizer.encode(each.text or "") for each in written]
    found = longest_overlap(ids, training)
    run = ids[found.text][found.start : found.start + found.length]
    return {"tokens": found.length, "row": found.text + 1, "text": tokenizer.decode(run.tolist()), "at": found.source}


class _SacreBleu:
    """A metric of sacrebleu: (value, low, high) of texts and their references, of 100."""

    def __init__(self, name: str) -> None:
        self.metric = getattr(_imported("sacrebleu.metrics"), name)()
        self.signature = ""

    def __call__(self, texts: list[str], references: list[list[str]]) -> tuple[float, float, float]:
        most = max(map(len, references))
        columns = [[each[i] if i < len(each) else None for each in references] for i in range(most)]
        n = RESAMPLES if len(texts) > 1 else 1
        score = self.metric.corpus_score(texts, columns, n_bootstrap=n)
        self.signature = str(self.metric.get_signature())
        if n == 1:
            return float(score.score), 0.0, 100.0
        low, high = score._mean - score._ci, score._mean + score._ci
        return float(score.score), float(max(low, 0.0)), float(min(high, 100.0))


class _RougeL:
    """The F-measure of the longest common subsequence of words, of 100: of the best reference, mean of the rows."""

    signature = "rouge_score, no stemmer"

    def __init__(self) -> None:
        self.scorer = _imported("rouge_score.rouge_scorer").RougeScorer(["rougeL"])

    def __call__(self, texts: list[str], references: list[list[str]]) -> tuple[float, float, float]:
        values = 100 * np.array([
            self.scorer.score_multi(theirs, text)["rougeL"].fmeasure
            for text, theirs in zip(texts, references, strict=True)
        ])  # fmt: skip
        drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
        low, high = np.quantile(values[drawn].mean(1), (0.025, 0.975))
        return float(values.mean()), float(low), float(high)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"continuations need the package {name.partition('.')[0]}: pip install 'gptcore[text-metrics]'"
        ) from None


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines."""
    lines = [f"{found['sample_len']:,} continuations, {found['ungraded']:,} prompts that the model cannot read"]
    for name in ("bleu", "chrf", "rougeL"):
        low, high = found[f"{name}_interval,none"]
        lines.append(f"{name:12} {found[f'{name},none']:8.2f}  {low:.2f} to {high:.2f}  {found[f'{name}_signature']}")
    for n in NGRAMS:
        value = found[f"distinct_{n},none"]
        lines.append(f"{f'distinct-{n}':12} {'?' if value is None else f'{value:8.3f}'}")
    if copy := found.get("longest_copy"):
        lines.append(
            f"longest copy of the training text: {copy['tokens']:,} tokens, row {copy['row']:,}: {copy['text']!r}"
        )
    return lines
