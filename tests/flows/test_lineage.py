"""The picture of what a version is made of says in words what it shows, and no box lies on another or outside."""

import re
from dataclasses import replace
from itertools import combinations

import pytest

from flows.page.lineage import BOX, HIGH, WIDTH, Origins, picture, words

ALONE = Origins(
    outputs={"data/raw": "a" * 32, "data/tokens": "b" * 32, "data/model/export": "c" * 32},
    commit="d" * 40,
    run="gentle <phoenix>",
    version="gpt version 3",
)
START, RIVAL = {"start": "models:/gpt/1"}, {"champion": "gpt version 2"}


@pytest.mark.parametrize("more", [{}, START, RIVAL, START | RIVAL])
def test_boxes_and_arrows(more: dict[str, str]) -> None:
    origins = replace(ALONE, **more)
    drawn, said = picture(origins), words(origins)
    boxes = [(float(x), float(y)) for x, y in re.findall(r'<rect x="(.*?)" y="(.*?)"', drawn)]
    height = float(re.findall(rf'viewBox="0 0 {WIDTH} (.*?)"', drawn)[0])
    assert all(0 <= x <= WIDTH - BOX and 0 <= y <= height - HIGH for x, y in boxes)
    for (x, y), (other_x, other_y) in combinations(boxes, 2):
        assert abs(x - other_x) >= BOX or abs(y - other_y) >= HIGH
    for start_x, start_y, x, y in re.findall(r'd="M(.*?) (.*?)L(.*?) (.*?)"/>', drawn.partition("</defs>")[2]):
        assert any((box + BOX / 2, top + HIGH) == (float(start_x), float(start_y)) for box, top in boxes)
        assert any(box < float(x) < box + BOX and top == float(y) for box, top in boxes)
    assert len(boxes) == said.count(";") + 1 == 8 + len(more)
    assert "gentle &lt;phoenix&gt;" in drawn and "<phoenix>" not in drawn
    for told in (
        "code and parameters " + 12 * "d",
        "model " + 12 * "c" + ", of training run",
        "baseline none",
        *more.values(),
    ):
        assert told in said


def test_what_it_began_with_and_was_measured_against() -> None:
    said = words(replace(ALONE, **START, **RIVAL))
    assert "training run gentle <phoenix>, of start and tokens" in said
    assert said.endswith("version gpt version 3, of evaluation and measured against")
