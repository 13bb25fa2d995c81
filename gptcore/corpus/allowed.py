"""Where a run may read from: GPTCORE_DATA_ROOTS, a list of folders and of the beginnings of addresses.

Whoever starts a run from a deployment chooses `data.source`, but the worker reads it with its own rights.
"""

import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gptcore.config.settings import settings
from gptcore.corpus.left_out import shown
from gptcore.errors import UserError

SCHEMES = ("package", "http", "https", "hf", "s3")
PORTS = {"http": 80, "https": 443}


def require_allowed_address(field: str, address: str) -> None:
    """Raises UserError."""
    if not is_allowed_address(address):
        raise _refusal(f"{field}: {address}")


def is_allowed_address(address: str) -> bool:
    """Whether the address is below one that is listed; names count as a whole, and `..` leads nowhere."""
    parts = _parts(address)
    listed = [_parts(each) for each in _roots() if "://" in each]
    return not _roots() or any(parts[: len(each)] == each for each in listed if parts)


def require_allowed_file(field: str, path: Path, root: Path) -> None:
    """Raises UserError. Links and `..` are followed first; what begins with a dot must be listed itself."""
    if not (roots := _roots()):
        return
    real = Path(os.path.realpath(path))
    for folder in (Path(os.path.realpath(root / _home(each))) for each in roots if "://" not in each):
        if real.is_relative_to(folder) and not any(part.startswith(".") for part in real.relative_to(folder).parts):
            return
    raise _refusal(f"{field}: {shown(path)}{'' if real == path else f', which is {shown(real)},'}")


def _roots() -> list[str]:
    """Empty if everything is allowed. Raises UserError."""
    try:
        roots = shlex.split(settings().data_roots)
    except ValueError as error:
        raise UserError(f"GPTCORE_DATA_ROOTS={settings().data_roots}: {error}") from None
    for each in roots:
        scheme, found, _ = each.partition("://")
        if found and scheme not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise UserError(f"GPTCORE_DATA_ROOTS: {each} is neither a folder nor the beginning of an address ({known})")
    return roots


def _home(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise UserError(f"GPTCORE_DATA_ROOTS: {folder} names a user that this machine does not have") from None


def _parts(address: str) -> tuple[str, ...]:
    """`https://host/a/b` -> ("https", "host:443", "a", "b"); nothing for an address that is read in several ways."""
    scheme, _, rest = address.partition("://")
    if scheme in PORTS and rest:
        if "\\" in address:
            return ()
        parts = urlsplit(address)
        path = unquote(parts.path)
        if {".", ".."} & {*path.split("/")} or "\\" in path:
            return ()
        rest = f"{parts.hostname}:{parts.port or PORTS[scheme]}{path}"
    elif scheme == "hf":
        rest = rest.partition("?")[0]
    return (scheme, *rest.rstrip("/").split("/")) if rest else (scheme,)


def _refusal(what: str) -> UserError:
    listed = settings().data_roots
    return UserError(f"{what} is not in GPTCORE_DATA_ROOTS, where runs here may read: {listed}; add it there")
