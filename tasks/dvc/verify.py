"""Whether DVC's cache and remote have what versions and experiments are made of: `python -m tasks.dvc.verify`.

`gptcore registry verify` starts it, as gptcore knows no DVC, and passes the versions as JSON. In the cache, and in a
remote that is a folder, every byte is read. Another remote is asked for what it knows of each object: S3 has the md5 of
most. Where it has none, the size must do. Nothing is changed, unless `--mend` asks for it: then what one of the two has
whole is copied to the other.
"""

import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from gptcore.errors import MISTAKE_EXIT_CODE, UNAVAILABLE_EXIT_CODE, Unavailable, UserError
from tasks.dvc.experiments import experiments
from tasks.dvc.remote import remote_trouble
from tasks.dvc.repository import has_remote, locked

FOLDER = ".dir"  # ends the hash of a folder, whose object lists its files
MD5 = re.compile("[0-9a-f]{32}")
Pushed = Literal["whole", "by size", "damaged", "missing"]  # by size: as long as it should be, and not read
MEND = "gptcore registry verify --mend"


class Stores:
    """The cache of an open repository, and its remote if there is one. Each object is looked at once."""

    def __init__(self, repo: Any) -> None:
        self.cache = repo.cache.local
        self.remote: Any = None
        if has_remote(repo):
            self.remote = repo.cloud.get_remote_odb(None, "verify", hash_name="md5")
        self.wholes: dict[str, bool | None] = {}
        self.pushed: dict[str, Pushed] = {}

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

    def in_remote(self, hashes: Collection[str], *states: "Pushed") -> list[str]:
        """Those that are in one of these states there; all are whole if there is no remote.

        Raises UserError, Unavailable if it cannot be asked.
        """
        if self.remote is None:
            return []
        new = [each for each in hashes if each not in self.pushed]
        with remote_trouble("DVC's remote cannot be asked what it has"):
            with suppress(FileNotFoundError):
                self.remote.fs.info(self.remote.path)  # raises where an object is taken for absent after any error
            paths = [self.remote.oid_to_path(each) for each in new]
            for each, path, told in zip(new, paths, self.remote.fs.info(paths, return_exceptions=True), strict=True):
                self.pushed[each] = self._pushed(each, path, told)
        return [each for each in hashes if self.pushed[each] in states]

    def _pushed(self, md5: str, path: str, told: Any) -> "Pushed":
        """`told` is what the remote says of the object: its size, and on S3 its ETag, or an error.

        An ETag is the md5 of what was sent at once and not encrypted with a key of one's own. If it is another md5, the
        bytes tell.
        """
        if isinstance(told, FileNotFoundError):
            return "missing"
        if isinstance(told, Exception):
            raise told
        etag, expected = str(told.get("ETag", "")).strip('"'), md5.removesuffix(FOLDER)
        if etag == expected:
            return "whole"
        if self.remote.fs.protocol == "local" or MD5.fullmatch(etag):
            with self.remote.fs.open(path, "rb") as content:
                return "whole" if hashlib.file_digest(content, "md5").hexdigest() == expected else "damaged"
        differs = self.whole(md5) and told.get("size") != self.file(md5).stat().st_size
        return "damaged" if differs else "by size"

    def mend(self, md5: str) -> int:
        """Copy what cache or remote lacks of an output from the other, if that has it whole; the number of files.

        DVC's `push` sends no file of a folder whose list the remote has, nor anything over a damaged file. So the list
        of a folder is fetched before its files, and sent after them. Raises UserError, Unavailable.
        """
        if self.remote is None:
            return 0
        fetched = 0 if self.whole(md5) else self._mend(md5)
        self.in_remote(self.objects(md5))  # in one question
        return fetched + sum(self._mend(each) for each in (*self.objects(md5)[1:], md5))

    def _mend(self, md5: str) -> bool:
        is_there = bool(self.in_remote([md5], "whole", "by size"))
        if is_there == bool(self.whole(md5)):
            return False
        source, target = (self.remote, self.cache) if is_there else (self.cache, self.remote)
        with remote_trouble("DVC's cache and remote cannot be mended"):
            with suppress(FileNotFoundError):
                target.fs.rm_file(target.oid_to_path(md5))  # `add` leaves what is there
            target.add(source.oid_to_path(md5), source.fs, md5, check_exists=False, verify=True)
        del self.wholes[md5], self.pushed[md5]
        if not self.whole(md5):
            self.pushed[md5] = "damaged"  # its size was right
        return bool(self.whole(md5))


def _is_whole(file: Path, md5: str) -> bool | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "md5").hexdigest() == md5.removesuffix(FOLDER)
    except FileNotFoundError:
        return None


@dataclass(frozen=True)
class Found:
    """A line for each output that lacks something, with what brings it back; how many objects have no md5 there.

    `mended` files were copied between cache and remote.
    """

    faults: list[str]
    by_size: int
    mended: int


@dataclass(frozen=True)
class Kept:
    """Path -> hash of what a version or experiment is made of, and the command that makes it again."""

    outputs: Mapping[str, str]
    again: str


def faults(root: Path, kept: Mapping[str, Kept], mend: bool = False) -> Found:
    """What is still at fault after `mend`. Raises UserError, Unavailable."""
    with locked(root) as repo:
        stores, lines, mended = Stores(repo), list[str](), 0
        for name, each in kept.items():
            for path, md5 in each.outputs.items():
                mended += stores.mend(md5) if mend else 0
                lines += _faults(stores, f"{path} of {name}", md5, each.again)
        return Found(lines, sum(each == "by size" for each in stores.pushed.values()), mended)


def _faults(stores: Stores, what: str, md5: str, again: str) -> Iterator[str]:
    objects = stores.objects(md5)
    damaged = [each for each in objects if stores.whole(each) is False]
    missing = [each for each in objects if stores.whole(each) is None]
    worn, absent = stores.in_remote(objects, "damaged"), stores.in_remote(objects, "missing")
    if any(stores.remote is None or each in {*worn, *absent} for each in (*damaged, *missing)):
        files = " ".join(quote(str(stores.file(each))) for each in damaged)
        told = f"{_told(damaged, missing)} in DVC's cache; it must be made again"
        yield f"{what}: {told}: `{f'rm -f {files}; ' if files else ''}{again}`"
    elif damaged or missing:
        yield f"{what}: {_told(damaged, missing)} in DVC's cache; the remote has it: `{MEND}`"
    elif worn or absent:
        yield f"{what}: {_told(worn, absent)} in DVC's remote; the cache has it: `{MEND}`"


def _told(damaged: Collection[str], missing: Collection[str]) -> str:
    counted = (len(damaged), "damaged"), (len(missing), "missing")
    return " and ".join(f"{n} {'file' if n == 1 else 'files'} {word}" for n, word in counted if n)


def verify(root: Path, versions: Mapping[str, Mapping[str, Any]], mend: bool) -> Found:
    """The faults of versions, number -> experiment and outputs, and of experiments without one. Raises UserError."""
    kept = {f"gpt version {n}": Kept(each["outputs"], f"gptcore rebuild {n}") for n, each in versions.items()}
    known = {each["experiment"] for each in versions.values()}
    for found in experiments(root, every_commit=True):
        if found.name not in known:
            again = f"dvc exp apply {quote(found.name)} && dvc repro --pull"
            kept[f"the experiment {found.name}"] = Kept(found.outputs, again)
    return faults(root, kept, mend)


def _main(lines: Iterable[str]) -> None:
    try:
        found = verify(Path.cwd(), json.loads("".join(lines)), "--mend" in sys.argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(UNAVAILABLE_EXIT_CODE if isinstance(error, Unavailable) else MISTAKE_EXIT_CODE) from None
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    _main(sys.stdin)
