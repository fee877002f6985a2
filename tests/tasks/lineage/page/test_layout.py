"""Where the lineage page puts its cards and edges."""

import re

import pytest

from tasks.lineage.page.facts import shorten
from tasks.lineage.page.layout import CARD_HEIGHT, CARD_WIDTH, lay_out


def test_cards_never_touch_and_edges_point_down() -> None:
    names = [f"s{k}" for k in range(40)]
    edges = [(names[k * 7 % 31 % j], names[j]) for j in range(1, 40) for k in range(3)]
    edges = list(dict.fromkeys(edges))
    drawing = lay_out([names[:30], names[30:]], edges)
    assert drawing == lay_out([names[:30], names[30:]], edges)
    boxes = list(drawing.cards.values())
    assert len(boxes) == 40
    for k, (x, y) in enumerate(boxes):
        assert 0 <= x <= drawing.width - CARD_WIDTH + 1
        assert 0 <= y <= drawing.height - CARD_HEIGHT + 1
        assert all(abs(x - a) >= CARD_WIDTH or abs(y - b) >= CARD_HEIGHT for a, b in boxes[:k])
    for parent, child in edges:
        if (parent in names[:30]) == (child in names[:30]):
            assert drawing.cards[parent][1] < drawing.cards[child][1]
        start = re.match(r"M(-?[\d.]+) (-?[\d.]+)", drawing.paths[parent, child])
        assert start is not None
        x, y = drawing.cards[parent]
        assert x <= float(start[1]) <= x + CARD_WIDTH
        assert y <= float(start[2]) <= y + CARD_HEIGHT


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (9_999, "9,999"), (12_340, "12.3 k"), (7e9, "7 G"), (5e12, "5 T")]
)
def test_numbers_are_shortened(value: float, text: str) -> None:
    assert shorten(value) == text
