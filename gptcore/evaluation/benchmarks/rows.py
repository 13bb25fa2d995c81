"""Rows of a benchmark: JSON Lines, or a data set of the hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gptcore.corpus.hub import HubSource, hub_errors, imported_datasets, newest_commit
from gptcore.errors import UserError

HUB = "hf://"


def pinned(source: str) -> str:
    """`source`, with the newest commit if it is a data set of the hub without one. Raises UserError, Unavailable."""
    if not source.startswith(HUB) or (hub := _hub(source)).revision:
        return source
    return f"{source}{'&' if '?' in source else '?'}revision={newest_commit(hub)}"


def read_rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row, and where it is for error messages. Raises UserError, Unavailable."""
    return _of_hub(source) if source.startswith(HUB) else _of_file(Path(source))


def _of_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except (OSError, UnicodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number:,}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: is no JSON object; every line of a task's file is one")
        yield where, row


def _of_hub(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    hub = _hub(source)
    datasets = imported_datasets(hub)
    with hub_errors(f"hf://{hub.name}", revision=hub.revision):
        rows = datasets.load_dataset(
            f"hf://datasets/{hub.name}", hub.config, split=hub.split, revision=hub.revision, streaming=True
        )
        for number, row in enumerate(rows, start=1):
            yield f"hf://{hub.name}, row {number:,} of {hub.split}", row


def _hub(source: str) -> HubSource:
    try:
        return HubSource.parse(source)
    except ValueError as error:
        raise UserError(f"{source} {error}") from None
