"""Line charts as inline SVG, which stay sharp and legible at any width."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 46, 408, 12, 246
TICKS = 7

Points = Sequence[tuple[float, float]]
Place = Callable[[float], float]


@dataclass(frozen=True)
class Curve:
    """`kind` is its class in the style sheet."""

    name: str
    kind: str
    points: Points


def chart(curves: Sequence[Curve], label: str, is_log: bool = False) -> str:
    """The curves over `label`; `is_log` spaces doublings of it equally. Points that are no numbers are left out."""
    known = [Curve(each.name, each.kind, _finite(each.points)) for each in curves]
    every = [point for each in known for point in each.points]
    if not every:
        return "<p>There is no point to draw.</p>"
    scale = math.log2 if is_log else float
    low, high = (edge(scale(x) for x, _ in every) for edge in (min, max))
    bottom, top = _padded([y for _, y in every])
    across = _between(low if is_log else 0.0, high, LEFT, RIGHT)
    up = _between(bottom, top, BOTTOM, TOP)

    def x_of(value: float) -> float:
        return across(scale(value))

    ends = _doublings(low, high) if is_log else _round(0, high)
    parts = [*_rows(_round(bottom, top), up), *_columns(ends, x_of)]
    parts += [_line(each, x_of, up) for each in known if each.points]
    parts.append(f'<text class="axis" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 6}">{escape(label)}</text>')
    told = f"validation loss over {label}: {' and '.join(each.name for each in curves)}"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">{"".join(parts)}</svg>'


def _finite(points: Points) -> Points:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    space = 0.06 * (max(values) - min(values)) or 0.1
    return min(values) - space, max(values) + space


def _between(low: float, high: float, start: float, end: float) -> Place:
    return lambda value: start + (end - start) * (value - low) / ((high - low) or 1.0)


def _round(low: float, high: float) -> list[float]:
    """About as many round numbers as TICKS between the two."""
    rough = (high - low or 1.0) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [each * step for each in range(first, last + 1)]


def _doublings(low: float, high: float) -> list[float]:
    """Powers of two between 2^low and 2^high, at most TICKS + 1 of them."""
    first, last = math.ceil(low), math.floor(high)
    return [2.0**each for each in range(first, last + 1, max(-(-(last - first) // TICKS), 1))]


def _rows(ticks: Sequence[float], up: Place) -> Iterator[str]:
    for each in ticks:
        yield f'<path class="grid" d="M{LEFT} {up(each):.1f}H{RIGHT}"/>'
        yield f'<text class="row" x="{LEFT - 6}" y="{up(each) + 4:.1f}">{each:.3g}</text>'


def _columns(ticks: Sequence[float], across: Place) -> Iterator[str]:
    for each in ticks:
        yield f'<text class="column" x="{across(each):.1f}" y="{BOTTOM + 18}">{_short(each)}</text>'


def _short(value: float) -> str:
    """1,500,000 as 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _line(curve: Curve, across: Place, up: Place) -> str:
    path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve.points)
    x, y = curve.points[-1]
    end = f'<circle class="{curve.kind}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5"/>'
    return f'<polyline class="{curve.kind}" points="{path}"><title>{escape(curve.name)}</title></polyline>{end}'
