"""A hook of mkdocs: a page of docstrings for each wing, so that a new one has its page by itself."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGES = ("gptcore", "tasks", "flows", "serving", "lab")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.config_file_path).parent
    for package in (each for each in PACKAGES if (root / each).is_dir()):
        wings = [each.parent.name for each in sorted((root / package).glob("*/__init__.py"))]
        for name in [package, *(f"{package}.{wing}" for wing in wings)]:
            # of a package that parts into wings, the page has its own modules alone
            modules = sorted((root / package).glob("[!_]*.py")) if name == package and wings else []
            listed = "".join(f"\n## {name}.{each.stem}\n\n::: {name}.{each.stem}\n" for each in modules)
            options = "    options:\n      show_submodules: false\n" if modules else ""
            page = f"# {name}\n\n::: {name}\n{options}{listed}"
            files.append(File.generated(config, f"modules/{name}.md", content=page))
    return files
