"""Run a benchmark: rows as items, the model's answers, their grades."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gptcore.errors import UserError, known_names
from gptcore.evaluation.benchmarks.items import Grade, Item
from gptcore.evaluation.benchmarks.requests import Request
from gptcore.evaluation.benchmarks.rows import HUB, pinned, read_rows
from gptcore.evaluation.benchmarks.schemas import HellaSwag, Lambada, Row, WikiText, read_item, recognized
from gptcore.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:  # imports torch (2 s), which questions do not need
    from gptcore.evaluation.benchmarks.likelihood import Answer
    from gptcore.model.gpt import GPT

SUFFIX = ".jsonl"


class Known(NamedTuple):
    """`name` and `version` are lm-eval's."""

    name: str
    version: float
    schema: type[Row]
    source: str


KNOWN = {
    "hellaswag": Known("hellaswag", 1.0, HellaSwag, "hf://Rowan/hellaswag?split=validation"),
    "lambada": Known("lambada_openai", 1.0, Lambada, "hf://EleutherAI/lambada_openai/default?split=test"),
    "wikitext": Known(
        "wikitext", 2.0, WikiText, "hf://EleutherAI/wikitext_document_level/wikitext-2-raw-v1?split=test"
    ),
}


@dataclass(frozen=True)
class Benchmark:
    """`rows` are as published, `items` what is asked of the first of them."""

    name: str
    version: float
    source: str
    schema: type[Row]
    rows: list[dict[str, Any]]
    items: list[Item]


@dataclass(frozen=True)
class Sample:
    """The answers to one item and its grades, or why it has none."""

    item: Item
    answers: "list[Answer]"
    grades: dict[str, Grade]
    ungraded: str = ""


def open_benchmark(given: str, folder: Path | None, limit: int | None) -> Benchmark:
    """Read and check all rows of a known benchmark, from `folder` if it is given, else from the hub, or of a file.

    Only the first `limit` are asked. Raises UserError that names the file and the line of a wrong row; Unavailable.
    """
    if known := KNOWN.get(given):
        name, version, schema = known.name, known.version, known.schema
        source = str(folder / f"{given}{SUFFIX}") if folder else pinned(known.source)
    elif given.startswith(HUB) or given.endswith(SUFFIX):
        name, version, schema = Path(given).stem if not given.startswith(HUB) else given, 0.0, None
        source = pinned(given)
    else:
        raise UserError(f"there is no task {given}, and it is no *{SUFFIX} file{known_names(given, KNOWN)}")
    rows, items = [], []
    for where, row in read_rows(source):
        schema = schema or recognized(row, where)
        items.append(read_item(schema, row, where))
        rows.append(row)
    if not schema or not items:
        raise UserError(f"{source}: there is no row in it")
    return Benchmark(name, version, source, schema, rows, items[:limit])


def run(model: "GPT", tokenizer: Tokenizer, benchmark: Benchmark) -> list[Sample]:
    """Ask the model each item, by all ranks together. One that it cannot be asked has no grade, and says why."""
    from gptcore.evaluation.benchmarks.likelihood import shared_answers

    asked = [_requests(model, tokenizer, item) for item in benchmark.items]
    flat = [request for requests, _ in asked for request in requests]
    answered = iter(shared_answers(model, flat, benchmark.name))
    return [
        _sample(item, list(islice(answered, len(requests))), why)
        for item, (requests, why) in zip(benchmark.items, asked, strict=True)
    ]


def _requests(model: "GPT", tokenizer: Tokenizer, item: Item) -> tuple[list[Request], str]:
    try:
        return item.requests(tokenizer, model.config.block_size), ""
    except UserError as error:
        return [], str(error)


def _sample(item: Item, answered: "Sequence[Answer]", why: str) -> Sample:
    return Sample(item, list(answered), {} if why else item.grade(answered), why)
