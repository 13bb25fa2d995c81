"""docs/tour.ipynb: run docs/tour.py in a copy of the checkout. `python -m tests.support.tour` writes it anew."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support import scratch

SOURCE, NOTEBOOK = Path("docs/tour.py"), Path("docs/tour.ipynb")
# what differs between machines and runs, and what stands for it
DIFFERS = {r"\b[0-9a-f]{7,}(-[0-9a-f]{4,})*\b": "HASH", r"\w+@\S+": "WHO", r"[-+]?\d[\d,.:]*": "#"}


def copy_of_the_checkout(root: Path) -> Path:
    """The files that git knows, as they are now, committed in a new repository."""
    tracked = subprocess.run(["git", "ls-files"], cwd=scratch.CHECKOUT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scratch.CHECKOUT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    scratch.run(root, "git", "init", "--quiet")
    scratch.commit(root)
    return root


def toured(checkout: Path) -> Any:
    """The notebook of the source, with its outputs, run in `checkout`."""
    import jupytext  # a second, which not every test process needs
    from nbclient import NotebookClient

    notebook = jupytext.read(checkout / SOURCE)
    client = NotebookClient(
        notebook, timeout=None, coalesce_streams=True, resources={"metadata": {"path": str(checkout / "docs")}}
    )
    client.execute()
    return notebook


def told(notebook: Any) -> list[str]:
    """What each cell of code says, without what differs between machines: figures, hashes, pictures, warnings.

    Of a cell with the tag `varies`, only that it says something: a sampled text hangs on the last bit of a weight.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    said = ["".join(map(_text, cell.outputs)) for cell in cells]
    for pattern, name in DIFFERS.items():
        said = [re.sub(pattern, name, each) for each in said]
    varies = ["varies" in cell.metadata.get("tags", []) for cell in cells]
    return ["varies" if vary and each else " ".join(each.split()) for vary, each in zip(varies, said, strict=True)]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text) if output.name == "stdout" else ""
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output.data.get("text/markdown", "a picture" if "image/png" in output.data else ""))


def cleaned(notebook: Any) -> Any:
    """To be committed: without times, warnings and the name of this machine."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
            for each in cell.outputs:
                if each.output_type == "stream":
                    each.text = re.sub(r"\w+@\S+ *", lambda who: "you@here".ljust(len(who[0])), each.text)
    return notebook


if __name__ == "__main__":
    import nbformat

    with tempfile.TemporaryDirectory(prefix="gptcore-tour-") as folder:
        made = toured(copy_of_the_checkout(Path(folder) / "checkout"))
    nbformat.write(cleaned(made), scratch.CHECKOUT / NOTEBOOK)
