"""What a version is made of, as a picture and in words: what each stage has made, by its hash, and what of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

WIDTH, BOX, HIGH, GAP = 420, 190, 46, 26
MIDDLE, LEFT, RIGHT = (WIDTH - BOX) / 2, 10.0, WIDTH - BOX - 10.0
SHOWN = 12  # characters of a hash
LONGEST = 24  # characters of a name


@dataclass(frozen=True)
class Origins:
    """`outputs` are paths and their hashes. `start` names the model that the training went on from, `champion` the
    one that the gate compared the version with; both are empty if there was none."""

    outputs: Mapping[str, str]
    commit: str
    run: str
    version: str
    start: str = ""
    champion: str = ""


@dataclass(frozen=True)
class Node:
    name: str
    told: str  # a hash, or a name
    of: tuple[str, ...]  # names of nodes above
    x: float
    row: int


def picture(origins: Origins) -> str:
    nodes = {each.name: each for each in _nodes(origins)}
    arrows = (_arrow(nodes[of], node) for node in nodes.values() for of in node.of)
    height = _top(nodes["version"].row + 1) - GAP + 2
    head = '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    marker = f'{head}<path d="M0 0L8 4L0 8z"/></marker></defs>'
    drawn = f'<svg class="lineage" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(words(origins))}">'
    return f"{drawn}{marker}{''.join(arrows)}{''.join(map(_box, nodes.values()))}</svg>"


def words(origins: Origins) -> str:
    """The picture for those who do not see it."""
    parts = (
        f"{each.name} {each.told}" + (f", of {' and '.join(each.of)}" if each.of else "") for each in _nodes(origins)
    )
    return f"What the version is made of: {'; '.join(parts)}"


def _nodes(origins: Origins) -> Iterator[Node]:
    """From the top down."""
    start, rival = (("start",) if origins.start else ()), (("measured against",) if origins.champion else ())

    def made(path: str) -> str:
        return origins.outputs.get(path, "")[:SHOWN] or "none"

    yield Node("code and parameters", origins.commit[:SHOWN] or "none", (), LEFT, 0)
    yield Node("corpus", made("data/raw"), (), RIGHT, 0)
    if start:
        yield Node("start", origins.start[:LONGEST], ("code and parameters",), LEFT, 1)
    tokens = RIGHT if start else MIDDLE
    yield Node("tokens", made("data/tokens"), ("code and parameters", "corpus"), tokens, 1)
    yield Node(
        "training run", origins.run[:LONGEST] or "none", (*(start or ("code and parameters",)), "tokens"), LEFT, 2
    )
    yield Node("model", made("data/model/export"), ("training run",), LEFT, 3)
    yield Node("baseline", made("data/baseline/export"), ("tokens",), RIGHT, 3)
    evaluation = LEFT if rival else MIDDLE
    yield Node("evaluation", made("data/evaluation/metrics.json"), ("model", "baseline"), evaluation, 4)
    if rival:
        yield Node("measured against", origins.champion[:LONGEST], (), RIGHT, 4)
    yield Node("version", origins.version, ("evaluation", *rival), MIDDLE, 5)


def _top(row: int) -> int:
    return row * (HIGH + GAP) + 2


def _box(node: Node) -> str:
    y, middle = _top(node.row), node.x + BOX / 2
    return (
        f'<rect x="{node.x}" y="{y}" width="{BOX}" height="{HIGH}" rx="8"/>'
        f'<text x="{middle}" y="{y + 19}">{node.name}</text>'
        f'<text class="hash" x="{middle}" y="{y + 36}">{escape(node.told)}</text>'
    )


def _arrow(of: Node, node: Node) -> str:
    middle, middle_of = node.x + BOX / 2, of.x + BOX / 2
    line = f"M{middle_of} {_top(of.row) + HIGH}L{middle + (middle_of - middle) / 4} {_top(node.row)}"
    return f'<path class="arrow" marker-end="url(#head)" d="{line}"/>'
