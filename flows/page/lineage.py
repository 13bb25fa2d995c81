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
SHOWN = 12  # characters of a hash


def picture(outputs: Mapping[str, str], commit: str, version: str) -> str:
    """`outputs` are paths and their hashes."""
    names = {"code and parameters": commit[:SHOWN], "version": version}
    parts = [_arrow(name, of) for name, (_, _, inputs, _) in NODES.items() for of in inputs]
    for name, (x, row, _, path) in NODES.items():
        y, middle = row * (HIGH + GAP) + 2, x + BOX / 2
        told = names.get(name) or outputs.get(path, "")[:SHOWN] or "none"
        parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="8"/>')
        parts.append(f'<text x="{middle}" y="{y + 19}">{name}</text>')
        parts.append(f'<text class="hash" x="{middle}" y="{y + 36}">{escape(told)}</text>')
    height = 5 * HIGH + 4 * GAP + 4
    head = '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    marker = f'{head}<path d="M0 0L8 4L0 8z"/></marker></defs>'
    start = f'<svg class="lineage" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="what the version is made of">'
    return f"{start}{marker}{''.join(parts)}</svg>"


def _arrow(name: str, of: str) -> str:
    (x, row, *_), (x_of, row_of, *_) = NODES[name], NODES[of]
    start, end = row_of * (HIGH + GAP) + 2 + HIGH, row * (HIGH + GAP) + 2
    middle, middle_of = x + BOX / 2, x_of + BOX / 2
    target = middle + (middle_of - middle) / 4
    return f'<path class="arrow" marker-end="url(#head)" d="M{middle_of} {start}L{target} {end}"/>'
