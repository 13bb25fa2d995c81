"""Whether DVC's cache and remote have what versions and experiments are made of: `python -m tasks.dvc.verify`.

`gptcore registry verify` starts it, as gptcore knows no DVC, and passes the versions as JSON. In the cache
every byte is read; the remote is asked for names alone. Nothing is changed.
"""

import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from gptcore.errors import MISTAKE_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from tasks.dvc.experiments import experiments
from tasks.dvc.remote import remote_trouble
from tasks.dvc.repository import has_remote, locked

FOLDER = ".dir"  # ends the hash of a folder, whose object lists its files


class Stores:
    """The cache of an open repository, and its remote if there is one. Each object is looked at once."""

    def __init__(self, repo: Any) -> None:
        self.cache = repo.cache.local
        self.remote = repo.cloud.get_remote_odb(None, "verify", hash_name="md5") if has_remote(repo) else None
        self.wholes: dict[str, bool | None] = {}
        self.pushed: dict[str, bool] = {}

    def file(self, md5: str) -> Path:
        return Path(self.cache.oid_to_path(md5))

    def whole(self, md5: str) -> bool | None:
        """Whether the cache has it undamaged; None if it does not have it."""
        if md5 not in self.wholes:
            self.wholes[md5] = _is_whole(self.file(md5), md5)
        return self.wholes[md5]

    def objects(self, md5: str) -> list[str]:
        """The hash itself, and of a folder those of its files; these are unknown where its list is gone or damaged."""
        if not md5.endswith(FOLDER) or not self.whole(md5):
            return [md5]
        return [md5, *(str(each["md5"]) for each in json.loads(self.file(md5).read_text("utf-8")))]

    def not_pushed(self, hashes: Collection[str]) -> list[str]:
        """Those that the remote does not have. Raises UserError, Unavailable if it cannot be asked."""
        if self.remote is None:
            return []
        with remote_trouble("DVC's remote cannot be asked what it has"):
            with suppress(FileNotFoundError):
                self.remote.fs.info(self.remote.path)  # raises where `exists` takes an error for an absence
            for each in hashes:
                if each not in self.pushed:
                    self.pushed[each] = bool(self.remote.exists(each))
        return [each for each in hashes if not self.pushed[each]]


def _is_whole(file: Path, md5: str) -> bool | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "md5").hexdigest() == md5.removesuffix(FOLDER)
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class Kept:
    """Path -> hash of what a version or experiment is made of, and what brings it back or to the remote."""

    outputs: Mapping[str, str]
    again: str
    push: str


def faults(root: Path, kept: Mapping[str, Kept]) -> Iterator[str]:
    """A line for each output that lacks something, with what brings it back."""
    with locked(root) as repo:
        stores = Stores(repo)
        for name, each in kept.items():
            for path, md5 in each.outputs.items():
                yield from _faults(stores, f"{path} of {name}", md5, each.again, each.push)


def _faults(stores: Stores, what: str, md5: str, again: str, push: str) -> Iterator[str]:
    objects = stores.objects(md5)
    damaged = [each for each in objects if stores.whole(each) is False]
    missing = [each for each in objects if stores.whole(each) is None]
    absent = stores.not_pushed(objects)
    if damaged or missing:
        files = " ".join(quote(str(stores.file(each))) for each in damaged)
        told = " and ".join(_count(each, word) for each, word in ((damaged, "damaged"), (missing, "missing")) if each)
        where = "the remote has it" if stores.remote is not None and not absent else "it must be made again"
        yield f"{what}: {told} in DVC's cache; {where}: `{f'rm -f {files}; ' if files else ''}{again}`"
    elif absent:
        yield f"{what}: {_count(absent, 'missing')} in DVC's remote; the cache has it: `{push}`"


def _count(objects: Collection[str], word: str) -> str:
    return f"{len(objects)} {'file' if len(objects) == 1 else 'files'} {word}"


def verify(root: Path, versions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The faults of versions, number -> experiment and outputs, and of experiments without one. Raises UserError."""
    kept = dict[str, Kept]()
    for number, each in versions.items():
        kept[f"gpt version {number}"] = Kept(each["outputs"], f"gptcore rebuild {number}", _push(each["experiment"]))
    known = {each["experiment"] for each in versions.values()}
    for found in experiments(root, every_commit=True):
        if found.name not in known:
            again = f"dvc exp apply {quote(found.name)} && dvc repro --pull"
            kept[f"the experiment {found.name}"] = Kept(found.outputs, again, _push(found.name))
    yield from faults(root, kept)


def _push(experiment: str | None) -> str:
    return f"dvc exp push origin {quote(experiment)}" if experiment else "dvc push"


def _main(lines: Iterable[str]) -> None:
    try:
        found = list(verify(Path.cwd(), json.loads("".join(lines))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(UNAVAILABLE_EXIT_CODE if isinstance(error, Unavailable) else MISTAKE_EXIT_CODE) from None
    print(*found, sep="\n", end="\n" if found else "")


if __name__ == "__main__":
    _main(sys.stdin)
