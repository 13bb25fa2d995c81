"""`python -m tests.support.closure` writes each stage's code dependencies, its module's imports, into dvc.yaml."""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from gptcore.closure import closure
from gptcore.config.presets import STAGES
from gptcore.files import atomic_path

ROOT = Path(__file__).parents[2]


def code_of(stage: str) -> list[str]:
    """Paths, relative to the repository's root, of every module that affects the stage's result."""
    return closure(f"gptcore.stages.{stage}")


def with_code(dvc_yaml: CommentedMap) -> CommentedMap:
    """Return dvc.yaml's content with each stage's code dependencies replaced by its closure, one per line."""
    for stage in STAGES:
        dependencies = dvc_yaml["stages"][stage]["deps"]
        dependencies[:] = code_of(stage) + [each for each in dependencies if not each.endswith(".py")]
        dependencies.fa.set_block_style()
    return dvc_yaml


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
