"""What is installed, against the lock files and pyproject.toml of the checkout."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from gptcore.doctor.finding import Finding

LOCKS = ("torch.lock", "requirements.lock")
LOCKED = re.compile(r"^[A-Za-z0-9][^#\\\n]*", re.MULTILINE)  # a requirement, without its hashes
INSTALL = "pip install -r torch.lock -r requirements.lock; `make train` does so in .venv"
SHOWN = 4


def against_the_lock(checkout: Path) -> Iterator[Finding]:
    """Packages that gptcore needs and that are not here, and those of another version than the locked one."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if absent := [each for each in project["dependencies"] if _has(each) is None]:
        yield Finding("packages", "missing", f"not installed: {_some(absent)}", INSTALL)
    locked = [line for name in LOCKS for line in LOCKED.findall((checkout / name).read_text(encoding="utf-8"))]
    answers = {line.strip(): _has(line) for line in locked if _applies(line)}
    if differing := [line for line, has in answers.items() if has is False]:
        yield Finding("packages", "note", f"not of the locked version: {_some(differing)}", INSTALL)
    if not absent and not differing:
        yield Finding("packages", "ok", f"{sum(has is True for has in answers.values())} as locked")
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name != "dev"}
    without = [name for name, needs in extras.items() if any(_applies(each) and _has(each) is None for each in needs)]
    found = ", ".join(name for name in extras if name not in without) or "none"
    if without:
        remedy = f"to use {_some(without)}: pip install -e '.[{without[0]}]'"
        yield Finding("extras", "ok", f"{found}; without {', '.join(without)}", remedy)
    else:
        yield Finding("extras", "ok", found)


def _applies(line: str) -> bool:
    marker = Requirement(line.strip()).marker
    return marker is None or marker.evaluate()


def _has(line: str) -> bool | None:
    """Whether a version that satisfies the requirement is installed; None without any."""
    wanted = Requirement(line.strip())
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return None


def _some(lines: list[str]) -> str:
    rest = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(line.partition(";")[0].strip() for line in lines[:SHOWN]) + rest
