"""Files of this machine: one file, all files of a folder, or those that match a pattern.

Links are followed, each folder is read once, and what cannot be read is an error, never an absence.
"""

import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from gptcore.corpus.allowed import require_allowed_file
from gptcore.corpus.left_out import LINKED, MAGIC, LeftOut, shown
from gptcore.errors import UserError

Pattern = tuple[str, ...]  # one for each name of a path; ** stands for any number of folders
ALL: Pattern = ("**", "*")
NO_FILE = "a pipe, socket or device; save what it gives to a file"


def local_files(root: Path, source: str, left_out: LeftOut) -> list[Path]:
    """The files that `source` names, sorted; a relative source is resolved against `root`. Raises UserError."""
    named = Path(source)
    path = root / named.expanduser()
    require_allowed_file("data.source", path, root)
    if (mode := _mode(path)) is not None and stat.S_ISREG(mode):
        return [path]
    allow = partial(require_allowed_file, "data.source", root=root)
    if mode is not None and stat.S_ISDIR(mode):
        top, pattern = path, None
        missing = f"{shown(path)} holds no text, JSON Lines, Parquet or CSV files; name a pattern, with data.format"
    elif mode is not None:
        raise UserError(f"data.source: {shown(path)} is {NO_FILE}")
    elif MAGIC.search(source):
        fixed = next(at for at, part in enumerate(named.parts) if MAGIC.search(part))
        top, pattern = root / Path(*named.parts[:fixed]).expanduser(), named.parts[fixed:]
        missing = f"no file matches the pattern {shown(path)}"
        if not top.is_dir():
            raise UserError(f"data.source: {missing}: {shown(top)} is no folder")
    elif path.is_symlink():
        raise UserError(f"data.source: {shown(path)} is a link to nothing, {_target(path)}; mend or remove it")
    else:
        raise UserError(f"data.source: {shown(path)} does not exist; name a text file or a folder of text files")
    files = sorted(_walk(top, pattern, left_out, allow))
    if not files:
        raise UserError(f"data.source: {missing}{f'; left out: {left_out}' if left_out else ''}")
    return files


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise an error of the file system as UserError that names `path`."""
    try:
        yield
    except OSError as error:
        remedy = "mend that, or leave it out of its folder with data.exclude"
        raise UserError(f"{shown(path)}: cannot be read: {error.strerror or error}; {remedy}") from None


def _walk(top: Path, pattern: Pattern | None, left_out: LeftOut, allow: Callable[[Path], None]) -> Iterator[Path]:
    """The files below `top` that match the pattern; None is all that have a known suffix. `allow` raises UserError.

    Folders come before links to folders, so that a file that can be reached twice is read under its own name.
    """
    seen: set[object] = set()
    folders: deque[tuple[Path, frozenset[Pattern]]] = deque([(top, frozenset([pattern or ALL]))])
    while folders:
        folder, wanted = folders.popleft()
        allow(folder)
        with readable(folder):
            status, paths = folder.stat(), sorted(folder.iterdir())
        if (visit := (status.st_dev, status.st_ino, wanted)) in seen:
            left_out.found[LINKED].add(str(folder.relative_to(top)))
            continue
        seen.add(visit)
        for path in paths:
            rests = {rest for each in wanted for rest in _rest(each, path.name)}
            parts = path.relative_to(top).parts
            if not rests or not left_out.takes(parts, pattern or ALL):
                continue
            mode = _mode(path)
            if mode is None:
                raise UserError(f"{shown(path)}: is a link to nothing, {_target(path)}; mend or remove it")
            if stat.S_ISDIR(mode):
                if deeper := frozenset(filter(None, rests)):
                    (folders.append if path.is_symlink() else folders.appendleft)((path, deeper))
            elif any(set(rest) <= {"**"} for rest in rests) and (pattern or left_out.takes(parts)):
                if not stat.S_ISREG(mode):
                    raise UserError(f"{shown(path)}: is {NO_FILE}")
                allow(path)
                yield path


def _rest(pattern: Pattern, name: str) -> set[Pattern]:
    """What is left of a pattern after a name that it matches."""
    if not pattern:
        return set()
    if pattern[0] == "**":
        return {pattern} | _rest(pattern[1:], name)
    return {pattern[1:]} if fnmatchcase(name, pattern[0]) else set()


def _mode(path: Path) -> int | None:
    """None if there is nothing at `path`, or only a link to nothing."""
    with readable(path):
        try:
            return path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None


def _target(path: Path) -> str:
    return shown(path.readlink()) if path.is_symlink() else "no more"
