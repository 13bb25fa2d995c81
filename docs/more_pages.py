"""A hook of mkdocs: pages made of other files. The docstrings of each wing, and the tour with its outputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGES = ("gptcore", "tasks", "flows", "serving", "lab")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for package in (each for each in PACKAGES if (root / each).is_dir()):
        for name, page in _docstrings(root / package):
            files.append(File.generated(config, f"modules/{name}.md", content=page))
    notebook = json.loads((root / "docs/tour.ipynb").read_text(encoding="utf-8"))
    files.append(File.generated(config, "tour.md", content="\n\n".join(_cells(notebook))))
    return files


def _docstrings(package: Path) -> Iterator[tuple[str, str]]:
    """A page for each wing. That of a package that parts into wings has its own modules alone."""
    wings = [each.parent.name for each in sorted(package.glob("*/__init__.py"))]
    modules = sorted(package.glob("[!_]*.py")) if wings else []
    listed = "".join(f"\n## {package.name}.{each.stem}\n\n::: {package.name}.{each.stem}\n" for each in modules)
    options = "    options:\n      show_submodules: false\n" if wings else ""
    yield package.name, f"# {package.name}\n\n::: {package.name}\n{options}{listed}"
    for wing in wings:
        yield f"{package.name}.{wing}", f"# {package.name}.{wing}\n\n::: {package.name}.{wing}\n"


def _cells(notebook: dict[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
        else:
            shell = source.removeprefix("%%bash\n")
            yield f"```{'python' if shell == source else 'bash'}\n{shell}\n```"
            yield from filter(None, map(_output, cell["outputs"]))


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if output.get("name") == "stdout":
        return f"```text\n{''.join(output['text'])}```"
    if "image/png" in data:
        return f"![a picture](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return "".join(data.get("text/markdown", ""))
