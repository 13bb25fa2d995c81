"""What a version is made of, as a picture: what each stage has made, by its hash, and arrows to what was made of it."""

from collections.abc import Mapping
from html import escape

WIDTH, BOX, HIGH, GAP = 420, 190, 46, 26
MIDDLE, LEFT, RIGHT = (WIDTH - BOX) / 2, 10.0, WIDTH - BOX - 10.0
# each with its column, its row, what it is made of, and the output that has its hash
NODES = {
    "code and parameters": (LEFT, 0, (), ""),
    "corpus": (RIGHT, 0, (), "data/raw"),
    "tokens": (MIDDLE, 1, ("code and parameters", "corpus"), "data/tokens"),
    "model": (LEFT, 2, ("tokens",), "data/model/export"),
    "baseline": (RIGHT, 2, ("tokens",), "data/baseline/export"),
    "evaluation": (MIDDLE, 3, ("model", "baseline"), "data/evaluation/metrics.json"),
    "version": (MIDDLE, 4, ("evaluation",), ""),
}
WITH_START = {
    **NODES,
    "start": (LEFT, 1, ("code and parameters",), "data/start/model"),
    "tokens": (RIGHT, 1, ("code and parameters", "corpus"), "data/tokens"),
    "model": (LEFT, 2, ("start", "tokens"), "data/model/export"),
}
SHOWN = 12  # characters of a hash
LONGEST = 24  # characters of a name


def picture(outputs: Mapping[str, str], commit: str, version: str, start: str = "") -> str:
    """`outputs` are paths and their hashes; `start` names the model that the training went on from."""
    names = {"code and parameters": commit[:SHOWN], "version": version, "start": start[:LONGEST]}
    nodes = WITH_START if start else NODES
    parts = [_arrow(*nodes[of][:2], *node[:2]) for node in nodes.values() for of in node[2]]
    for name, (x, row, _, path) in nodes.items():
        y, middle = row * (HIGH + GAP) + 2, x + BOX / 2
        told = names.get(name) or outputs.get(path, "")[:SHOWN] or "none"
        parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="8"/>')
        parts.append(f'<text x="{middle}" y="{y + 19}">{name}</text>')
        parts.append(f'<text class="hash" x="{middle}" y="{y + 36}">{escape(told)}</text>')
    height = 5 * HIGH + 4 * GAP + 4
    head = '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    marker = f'{head}<path d="M0 0L8 4L0 8z"/></marker></defs>'
    drawn = f'<svg class="lineage" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="what the version is made of">'
    return f"{drawn}{marker}{''.join(parts)}</svg>"


def _arrow(x_of: float, row_of: int, x: float, row: int) -> str:
    start, end = row_of * (HIGH + GAP) + 2 + HIGH, row * (HIGH + GAP) + 2
    middle, middle_of = x + BOX / 2, x_of + BOX / 2
    target = middle + (middle_of - middle) / 4
    return f'<path class="arrow" marker-end="url(#head)" d="M{middle_of} {start}L{target} {end}"/>'
