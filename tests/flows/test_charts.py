"""Charts keep their points inside, whatever these are; tests/tasks/test_promote.py looks at a whole page."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from flows.page.charts import HEIGHT, WIDTH, Curve, chart

numbers = st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf)


@given(st.lists(st.tuples(st.integers(1, 10**12), numbers), min_size=1), st.booleans())
def test_every_point_is_inside(points: list[tuple[int, float]], is_log: bool) -> None:
    drawn = chart([Curve("a & b", "model", points)], "tokens", is_log)
    if all(not math.isfinite(y) for _, y in points):
        assert drawn == "<p>There is no point to draw.</p>"
        return
    (path,) = re.findall(r'points="(.*?)"', drawn)
    places = [tuple(map(float, each.split(","))) for each in path.split()]
    assert len(places) == sum(math.isfinite(y) for _, y in points)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert "a &amp; b" in drawn and "nan" not in drawn and len(drawn) < 2000 + 200 * len(points)
