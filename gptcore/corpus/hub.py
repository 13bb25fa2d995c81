"""Data sets of the Hugging Face hub by name, streamed with the library `datasets`.

hf://owner/name/config?split=train&revision=<commit>. The revision defaults to the newest commit at first use, which is
recorded and used from then on. Rows are cached in pieces, each with the stream state after it, so that a killed
download resumes at the first missing piece.
"""

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from gptcore.corpus.formats.pairs import is_pair
from gptcore.corpus.formats.template import column_of, no_field
from gptcore.corpus.store import Kept, Store, address_key
from gptcore.corpus.transfer import retry, unavailable
from gptcore.errors import Unavailable, UserError
from gptcore.files import read_json, write_json

HUB = re.compile(r"hf://(?P<name>[\w.-]+/[\w.-]+)(/(?P<config>[\w.-]+))?(\?(?P<query>[\w=&./-]*))?")
COMMIT = re.compile("[0-9a-f]{40}")
PIECE_BYTES = 64 << 20  # of JSON Lines


class HubSource(NamedTuple):
    """A parsed hf:// source: data set, config, split and revision."""

    name: str
    config: str | None
    split: str
    revision: str

    @classmethod
    def parse(cls, source: str) -> "HubSource":
        """Raises ValueError."""
        match = HUB.fullmatch(source)
        query = {key: values[-1] for key, values in parse_qs(match["query"] or "").items()} if match else {}
        if not match or not set(query) <= {"split", "revision"}:
            raise ValueError("must be hf://owner/name[/config][?split=train&revision=commit]")
        return cls(match["name"], match["config"], query.get("split", "train"), query.get("revision", ""))


def hub_files(source: str, fields: list[str], store: Store) -> Iterator[tuple[str, Kept]]:
    """The rows' `fields` (all, if none are given) as JSON Lines files, each downloaded when it is requested.

    Raises UserError, Unavailable.
    """
    hub = HubSource.parse(source)
    commit = hub.revision if COMMIT.fullmatch(hub.revision) else _held_commit(source, hub, store)
    stream = _Stream(hub, commit, fields)
    for number in count():
        address = f"hf://{hub.name}{f'/{hub.config}' if hub.config else ''}?split={hub.split}&revision={commit}"
        address += f"#{','.join(fields)}:{number}"
        with store.locked(address):
            piece, after = store.recorded(address), _state_path(store, address)
            if not (piece and after.exists() and store.is_whole(piece.sha256)):
                piece = retry(partial(stream.receive, address, store))
        yield address, piece
        if (state := read_json(after)) is None:
            return
        stream.state = state


def newest_commit(hub: HubSource) -> str:
    """The commit that the requested revision currently points to. Raises UserError, Unavailable."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when the client is imported
    from huggingface_hub import HfApi

    with hub_errors(f"hf://{hub.name}", revision=hub.revision):
        commit = HfApi().dataset_info(hub.name, revision=hub.revision or None, timeout=30).sha
    assert commit, "the hub says it of every data set"
    return commit


def commit_path(source: str, store: Store) -> Path:
    """The file that records the commit at which `source` was first read."""
    return store.folder / f"{address_key(source)}.commit.json"


def _held_commit(source: str, hub: HubSource, store: Store) -> str:
    path = commit_path(source, store)
    if store.ask_again or not path.exists():
        write_json(path, {"source": source, "commit": newest_commit(hub)})
    return str(read_json(path)["commit"])


class _Stream:
    """Rows in order; `state` is the position in the stream, in the form of `datasets`."""

    def __init__(self, hub: HubSource, commit: str, fields: list[str]) -> None:
        self.hub, self.commit, self.fields = hub, commit, fields
        self.state: Any = None
        self.rows: Iterator[tuple[str, Any]] | None = None

    def receive(self, address: str, store: Store) -> Kept:
        """Download the next piece and write the state after it, null after the last. Can be retried if Unavailable."""
        part, state, size = store.folder / f"{address_key(address)}.part", None, 0
        self.rows = self.rows or self._rows()
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                for line, after in self.rows:
                    size += file.write(line + "\n")
                    if size >= PIECE_BYTES:
                        state = after()
                        break
        except Unavailable:
            self.rows = None
            raise
        print(f"download  {address.replace('#', ', piece ')}: {size:,} characters", flush=True)
        write_json(_state_path(store, address), state)
        return store.add(address, part, "", self.commit)

    def _rows(self) -> Iterator[tuple[str, Any]]:
        """A JSON line for each row, and a function that returns the stream state after it."""
        name = f"hf://{self.hub.name}"
        datasets = imported_datasets(self.hub)
        newest_commit(self.hub._replace(revision=self.commit))  # its error messages are clearer than the stream's
        with hub_errors(name, revision=self.commit):
            path = f"hf://datasets/{self.hub.name}"  # never resolves to a local folder
            stream = datasets.load_dataset(
                path, self.hub.config, split=self.hub.split, revision=self.commit, streaming=True
            )
            if columns := stream.column_names:
                missing = [field for field in self.fields if column_of(field, columns) not in columns]
                if missing and not is_pair(columns):
                    raise no_field(missing[0], "", columns, name)
                stream = stream.select_columns(self._held(columns))
            if self.state:
                stream.load_state_dict(self.state)
            for row in stream:
                yield json.dumps({each: row[each] for each in self._held(row)}, default=repr), stream.state_dict

    def _held(self, columns: Collection[str]) -> list[str]:
        """The columns that hold the fields; all if one is not there, so that what reads the rows knows what they are.

        They may be prompts with responses, whose form their names tell.
        """
        wanted = list(dict.fromkeys(column_of(field, columns) for field in self.fields))
        return wanted if wanted and {*wanted} <= {*columns} else list(columns)


def _state_path(store: Store, address: str) -> Path:
    return store.folder / f"{address_key(address)}.state.json"


def imported_datasets(hub: HubSource) -> Any:
    """The library `datasets`. Raises UserError if it is not installed."""
    try:
        import datasets
    except ImportError:
        raise UserError(f"hf://{hub.name} needs the package datasets; install it with `pip install datasets`") from None
    return datasets


@contextmanager
def hub_errors(asked: str, kind: str = "data set", revision: str = "") -> Iterator[None]:
    """Raise errors of the hub as UserError if the user can fix them, else as Unavailable. `asked` begins the line."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    client_error: type[Exception] = HfHubHTTPError.__bases__[0]  # from httpx or requests, depending on the version
    try:
        yield
    except GatedRepoError:
        raise UserError(f"{asked} is gated: accept its terms on the hub, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise UserError(f"{asked}: the hub has no such {kind}, or it is private: set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise UserError(f"{asked} has no revision {revision}; take the commit from its history") from None
    except (ValueError, RuntimeError) as error:  # of `datasets`: an unknown config or split, a script instead of files
        raise UserError(f"{asked}: {_line(error)}") from None
    except (OSError, client_error) as error:
        headers = getattr(getattr(error, "response", None), "headers", {})
        raise unavailable(f"{asked} cannot be read: {_line(error)}", headers) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
