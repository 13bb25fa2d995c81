"""Which modules a stage's result depends on: the imports of its module, followed through gptcore.

`python -m tests.closure` writes them into dvc.yaml as the stages' code dependencies. Imports are read, not run; those
inside functions count, for they run too.
"""

import ast
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from gptcore.files import atomic_path
from gptcore.presets import STAGES

ROOT = Path(__file__).parent.parent


def closure(stage: str) -> list[str]:
    """Paths from the repository's root of every module that `gptcore/stages/<stage>.py` imports, itself included."""
    return imported(f"gptcore.stages.{stage}")


def imported(module: str) -> list[str]:
    """The same for any module."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        path = _path(name)
        if path is None or str(path.relative_to(ROOT)) in found or not _does_anything(path):
            continue
        found.add(str(path.relative_to(ROOT)))
        left += _imports(path)
        left += [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
    return sorted(found)


def with_code(dvc_yaml: CommentedMap) -> CommentedMap:
    """The content of dvc.yaml, each stage's code dependencies replaced by its closure, one a line."""
    for stage in STAGES:
        dependencies = dvc_yaml["stages"][stage]["deps"]
        dependencies[:] = closure(stage) + [each for each in dependencies if not each.endswith(".py")]
        dependencies.fa.set_block_style()
    return dvc_yaml


def _path(module: str) -> Path | None:
    """None for what is no module of gptcore: another library, or a name inside a module."""
    if not module.startswith("gptcore"):
        return None
    path = ROOT / module.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _does_anything(path: Path) -> bool:
    """Whether a module is more than a docstring; a package that only says what it holds shapes no result."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text(encoding="utf-8")).body)


def main() -> None:
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    content = with_code(yaml.load(path.read_text(encoding="utf-8")))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


if __name__ == "__main__":
    main()
