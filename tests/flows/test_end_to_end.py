"""The tour, docs/tour.ipynb, which is the real flow with the real stages on a small text, in a minute."""

from pathlib import Path

import pytest

from tests.support import scratch
from tests.support.tour import NOTEBOOK, SOURCE, copy_of_the_checkout, told, toured


def test_notebook_and_source_are_a_pair() -> None:
    """Cell by cell; `python -m tests.support.tour` writes the notebook, with its outputs."""
    import jupytext

    notebook, source = (jupytext.read(scratch.CHECKOUT / path) for path in (NOTEBOOK, SOURCE))
    assert [(each.cell_type, each.source) for each in notebook.cells] == [
        (each.cell_type, each.source) for each in source.cells
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute and a half, but several on a busy machine
def test_the_tour(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells assert figures; here it says what the notebook in docs/ says, and leaves what a flow leaves."""
    import nbformat

    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.setenv("PYTHONPATH", str(scratch.CHECKOUT))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # Streamlit sets it when imported: no plots in kernels
    checkout = copy_of_the_checkout(tmp_path / "checkout")
    found = toured(checkout)
    assert told(found) == told(nbformat.read(scratch.CHECKOUT / NOTEBOOK, nbformat.NO_CONVERT))
    tour = checkout / "data/scratch/tour"
    assert scratch.run(checkout, "git", "status", "--short") == ""
    assert "Data and pipelines are up to date" in scratch.run(tour, "dvc", "repro")
    assert (tour / "data/evaluation/loss.png").read_bytes().startswith(b"\x89PNG")
