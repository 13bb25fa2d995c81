"""A histogram of the document lengths of each split."""

from pathlib import Path

import numpy as np

from gptcore.files import atomic_path
from gptcore.tokens.token_files import read_index, read_meta

BINS = 60
COLORS = {"train": "#888888", "val": "#c2410c", "test": "#1d4ed8"}


def draw_document_lengths(folder: Path) -> None:
    """Write document_lengths.png, tokens per document, beside the token files. The output is byte-reproducible."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    meta = read_meta(folder)
    lengths = {
        split: np.diff(read_index(folder, split)[:, 0], append=of_split.tokens)
        for split, of_split in meta.splits().items()
    }
    longest = max(int(each.max()) for each in lengths.values())
    edges = np.unique(np.geomspace(1, longest + 1, BINS).round())
    figure = Figure(figsize=(8, 4), dpi=110)
    axes = figure.add_axes((0.13, 0.14, 0.82, 0.83))  # a layout of matplotlib's choice takes as long as the drawing
    for split, each in lengths.items():
        counts, _ = np.histogram(each, edges)
        axes.stairs(counts, edges, fill=True, color=COLORS[split], alpha=0.7, label=f"{split}: {len(each):,}")
    axes.set(xscale="log", yscale="log", xlabel="tokens in a document", ylabel="documents")
    axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # a few documents make no power of ten
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,.0f}")
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="documents")
    with atomic_path(folder / "document_lengths.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
