"""The tasks of `evaluate.tasks`: chosen by a name, kept by the hash of what they ask, opened again as they were."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from gptcore.corpus.allowed import require_allowed_address, require_allowed_file
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.rows import HUB
from gptcore.evaluation.benchmarks.schemas import OUTPUT_TYPES
from gptcore.evaluation.benchmarks.suite import Benchmark, open_benchmark
from gptcore.evaluation.config import TaskChoice

FIELD = "evaluate.tasks"


def chosen(given: Any) -> Any:
    """The whole entry of params.yaml for a task of which a name or a source is given. Raises UserError, Unavailable.

    What names no source is left as it is, for its class to refuse.
    """
    wish = {"source": given} if isinstance(given, str) else given
    if not isinstance(wish, dict) or not isinstance(wish.get("source"), str):
        return wish
    limit = wish.get("limit", 0)
    benchmark = _opened(wish["source"], limit if isinstance(limit, int) else 0)
    found = {"source": benchmark.source, "output_type": OUTPUT_TYPES[benchmark.schema], "sha256": _sha256(benchmark)}
    return {"task": _name(wish["source"]), "limit": 0, **wish, **found}


def opened(choice: TaskChoice, root: Path = Path()) -> Benchmark:
    """Raises UserError if the source, a file in `root`, asks something else than it did; Unavailable."""
    benchmark = _opened(choice.source, choice.limit, root)
    if _sha256(benchmark) != choice.sha256:
        raise UserError(
            f"{FIELD}: {choice.source} does not ask what it asked when {choice.task} was chosen; `gptcore configure` "
            f"with `{FIELD}=[...]` takes it as it is now"
        )
    return benchmark


def _opened(source: str, limit: int, root: Path = Path()) -> Benchmark:
    place = source
    if source.startswith(HUB):
        require_allowed_address(FIELD, source)
    elif source.endswith(".jsonl"):
        require_allowed_file(FIELD, root / source, root.absolute())
        place = str(root / source)
    try:
        return open_benchmark(place, None, limit or None)
    except UserError as error:
        raise type(error)(f"{FIELD}: {error}") from None


def _name(source: str) -> str:
    """lambada, questions.jsonl and hf://owner/name?split=test as a name of metrics."""
    last = Path(source.partition("?")[0]).name
    return re.sub(r"\W", "_", last.removesuffix(".jsonl"), flags=re.ASCII)


def _sha256(benchmark: Benchmark) -> str:
    """Of all that is asked and what is right, whatever else the rows hold."""
    items = [[each.arguments, each.target, each.best()] for each in benchmark.items]
    return hashlib.sha256(json.dumps([OUTPUT_TYPES[benchmark.schema], items]).encode()).hexdigest()
