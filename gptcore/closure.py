"""Find the modules a module depends on by following its imports through this package.

Imports are parsed, not executed. Imports inside functions count, as they run too.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def closure(module: str) -> list[str]:
    """Sorted paths, such as `gptcore/model/gpt.py`, of `module` and all modules of this package that it imports.

    Skips packages that contain only a docstring, as they have no code.
    """
    found: dict[str, Path] = {}
    left = [module]
    while left:
        name = left.pop()
        path = _path(name)
        if path is None or str(path) in found:
            continue
        found[str(path)] = path
        left += _imports(path)
        left += [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
    return sorted(str(path.relative_to(PACKAGE.parent)) for path in found.values() if _has_code(path))


@cache
def code_sha256(module: str) -> str:
    """One hash of all code that `module` depends on; it identifies results made by the same code."""
    content = [(PACKAGE.parent / path).read_bytes() for path in closure(module)]
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in content)).hexdigest()


def _path(module: str) -> Path | None:
    """The module's file. None for another library, or for a name inside a module."""
    if module.split(".")[0] != PACKAGE.name:
        return None
    path = PACKAGE.parent / module.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _has_code(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in _parsed(path).body)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
