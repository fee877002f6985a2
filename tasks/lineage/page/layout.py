"""Where the cards of a layered graph stand and how its edges run, in two chapters side by side.

Within a chapter it is the method of Sugiyama, Tagawa and Toda (1981): a layer a card, waypoints
where an edge passes a layer, an order with few crossings by barycentres, and places as near to the
neighbours' mean as the order allows. An edge from one chapter to the next runs at right angles,
through the space between rows and a lane between the chapters that all edges of its parent share.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

CARD_WIDTH, CARD_HEIGHT = 206, 62
COLUMN_GAP, ROW_GAP = 20, 36
WAYPOINT_WIDTH = 6
STRAIGHT = 8
"""How much more an edge's pull counts where it runs on from one waypoint to another."""
LANE = 14
GUTTER = 48
PORT, PORTS_SPREAD = 16, 120
CORNER = 12
ROUNDS = 12

Edge = tuple[str, str]
Item = str | tuple[str, str, int]
"""A card, or the waypoint of an edge in a layer it passes."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """The size of the drawing, the top left corner of each card, and each edge as an SVG path."""

    width: float
    height: float
    cards: Mapping[str, Point]
    paths: Mapping[Edge, str]


@dataclass(frozen=True)
class _Chapter:
    layers: Sequence[Sequence[Item]]
    layer: Mapping[Item, int]
    x: Mapping[Item, float]
    """The middle of each item."""
    width: float

    def is_outermost(self, card: str, side: int) -> bool:
        """Whether no card stands between this one and that side: -1 left, 1 right."""
        row = [item for item in self.layers[self.layer[card]] if isinstance(item, str)]
        return row[0 if side < 0 else -1] == card


def lay_out(chapters: Sequence[Sequence[str]], edges: Sequence[Edge]) -> Drawing:
    """Draw a graph whose cards are given by chapter, each in an order with parents first."""
    drawn = [_arrange(names, edges) for names in chapters if names]
    where = {name: place for place, c in enumerate(drawn) for name in c.layer}
    crossing = [(p, c) for p, c in edges if where[p] != where[c]]
    lanes = {name: k for k, name in enumerate(dict.fromkeys(parent for parent, _ in crossing))}
    num_rows = max((len(chapter.layers) for chapter in drawn), default=0)
    pitch = CARD_HEIGHT + ROW_GAP
    gutter = GUTTER + LANE * len(lanes)
    lefts, tops = [], []
    width = 0.0
    for chapter in drawn:
        lefts.append(width)
        tops.append((num_rows - len(chapter.layers)) * pitch / 2)
        width += chapter.width + gutter
    cards, middles = {}, {}
    for place, chapter in enumerate(drawn):
        for item, x in chapter.x.items():
            point = (lefts[place] + x, tops[place] + chapter.layer[item] * pitch)
            middles[item] = point
            if isinstance(item, str):
                cards[item] = (round(point[0] - CARD_WIDTH / 2, 1), round(point[1], 1))
    paths = _run_within([e for e in edges if e not in set(crossing)], middles)
    for parent, child in crossing:
        start, end = drawn[where[parent]], drawn[where[child]]
        lane = lefts[where[child]] - gutter + GUTTER / 2 + LANE * lanes[parent]
        paths[parent, child] = _cross(
            _leave(cards[parent], start.is_outermost(parent, 1)),
            lane,
            _enter(cards[child], end.is_outermost(child, -1), lanes[parent]),
        )
    return Drawing(width - gutter, max(0, num_rows * pitch - ROW_GAP), cards, paths)


def _arrange(names: Sequence[str], edges: Sequence[Edge]) -> _Chapter:
    inner = [(p, c) for p, c in edges if p in names and c in names]
    layer: dict[Item, int] = dict(_assign_layers(names, inner).items())
    layers: list[list[Item]] = [[] for _ in range(max(layer.values()) + 1)]
    for name in names:
        layers[layer[name]].append(name)
    links: dict[Item, list[Item]] = {name: [] for name in names}
    for parent, child in inner:
        chain: list[Item] = [parent]
        for passed in range(layer[parent] + 1, layer[child]):
            waypoint = (parent, child, passed)
            layer[waypoint] = passed
            layers[passed].append(waypoint)
            links[waypoint] = []
            chain.append(waypoint)
        for upper, lower in pairwise([*chain, child]):
            links[upper].append(lower)
            links[lower].append(upper)
    layers = _order(layers, layer, links)
    x = _place(layers, links)
    left = min(x[item] - _width(item) / 2 for item in x)
    right = max(x[item] + _width(item) / 2 for item in x)
    return _Chapter(layers, layer, {item: x[item] - left for item in x}, right - left)


def _assign_layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Below all parents, and next to the children where that makes the edges shorter."""
    parents = {name: [p for p, c in edges if c == name] for name in names}
    children = {name: [c for p, c in edges if p == name] for name in names}
    layer: dict[str, int] = {}
    for name in names:
        layer[name] = max((layer[parent] + 1 for parent in parents[name]), default=0)
    for name in reversed(names):
        if children[name] and len(children[name]) >= len(parents[name]):
            layer[name] = min(layer[child] for child in children[name]) - 1
    return layer


def _order(
    layers: list[list[Item]], layer: Mapping[Item, int], links: Mapping[Item, Sequence[Item]]
) -> list[list[Item]]:
    best, fewest = layers, _num_crossings(layers, layer, links)
    for turn in range(ROUNDS):
        layers = [list(row) for row in layers]
        step = 1 if turn % 2 == 0 else -1
        for row in layers[::step]:
            place = {item: k / max(1, len(r) - 1) for r in layers for k, item in enumerate(r)}
            row.sort(key=lambda item: _mean_place(item, step, layer, links, place))
        crossings = _num_crossings(layers, layer, links)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _mean_place(
    item: Item,
    step: int,
    layer: Mapping[Item, int],
    links: Mapping[Item, Sequence[Item]],
    place: Mapping[Item, float],
) -> float:
    near = [place[other] for other in links[item] if (layer[item] - layer[other]) * step > 0]
    return sum(near) / len(near) if near else place[item]


def _num_crossings(
    layers: Sequence[Sequence[Item]],
    layer: Mapping[Item, int],
    links: Mapping[Item, Sequence[Item]],
) -> int:
    place = {item: k for row in layers for k, item in enumerate(row)}
    crossings = 0
    for row in layers:
        ends = [
            (place[item], place[other])
            for item in row
            for other in links[item]
            if layer[other] > layer[item]
        ]
        crossings += sum(
            (a[0] - b[0]) * (a[1] - b[1]) < 0 for k, a in enumerate(ends) for b in ends[:k]
        )
    return crossings


def _place(
    layers: Sequence[Sequence[Item]], links: Mapping[Item, Sequence[Item]]
) -> dict[Item, float]:
    """The middle of each item, near the mean of its neighbours, in the order of its layer."""
    x: dict[Item, float] = {}
    for row in layers:
        x |= _spread(row, dict.fromkeys(row, 0.0))
    for turn in range(ROUNDS):
        for row in layers[:: 1 if turn % 2 == 0 else -1]:
            x |= _spread(row, {item: _mean_x(item, links[item], x) for item in row})
    return x


def _mean_x(item: Item, near: Sequence[Item], x: Mapping[Item, float]) -> float:
    weights = [_weight(item) * _weight(other) for other in near]
    pulled = sum(weight * x[other] for weight, other in zip(weights, near, strict=True))
    return pulled / sum(weights) if near else x[item]


def _weight(item: Item) -> int:
    return 1 if isinstance(item, str) else STRAIGHT


def _spread(row: Sequence[Item], wanted: Mapping[Item, float]) -> dict[Item, float]:
    """The places nearest to the wanted ones (weighted least squares) at which no two items touch.

    Less the room that those before it take, each item's place may only grow along the row, which
    is isotonic regression: neighbours that are out of order are pooled at their mean.
    """
    room, rooms = 0.0, []
    for before, item in pairwise([None, *row]):
        if before is not None:
            room += (_width(before) + _width(item)) / 2 + COLUMN_GAP
        rooms.append(room)
    pools: list[tuple[float, int, int]] = []
    for item, taken in zip(row, rooms, strict=True):
        weight, size = _weight(item), 1
        place = wanted[item] - taken
        while pools and pools[-1][0] > place:
            other, other_weight, other_size = pools.pop()
            place = (place * weight + other * other_weight) / (weight + other_weight)
            weight, size = weight + other_weight, size + other_size
        pools.append((place, weight, size))
    places = [place for place, _, size in pools for _ in range(size)]
    return {item: p + t for item, p, t in zip(row, places, rooms, strict=True)}


def _width(item: Item | None) -> float:
    return CARD_WIDTH if isinstance(item, str) else WAYPOINT_WIDTH


def _run_within(edges: Iterable[Edge], middles: Mapping[Item, Point]) -> dict[Edge, str]:
    """Curves from the bottom of the parent to the top of the child, through the waypoints."""
    chains: dict[Edge, list[Item]] = {}
    for parent, child in edges:
        waypoints = [
            item for item in middles if isinstance(item, tuple) and item[:2] == (parent, child)
        ]
        chains[parent, child] = [parent, *waypoints, child]
    leaving = _ports({edge: (edge[0], middles[chain[1]][0]) for edge, chain in chains.items()})
    coming = _ports({edge: (edge[1], middles[chain[-2]][0]) for edge, chain in chains.items()})
    paths = {}
    for edge, chain in chains.items():
        x, y = middles[edge[0]]
        parts = [f"M{x + leaving[edge]:.1f} {y + CARD_HEIGHT:.1f}"]
        from_x, from_y = x + leaving[edge], y + CARD_HEIGHT
        for item in chain[1:]:
            x, y = middles[item]
            x += coming[edge] if item == edge[1] else 0
            half = (from_y + y) / 2
            parts.append(f"C{from_x:.1f} {half:.1f} {x:.1f} {half:.1f} {x:.1f} {y:.1f}")
            from_x, from_y = x, y + CARD_HEIGHT
            if item != edge[1]:
                parts.append(f"V{from_y:.1f}")
        paths[edge] = "".join(parts)
    return paths


def _ports(ends: Mapping[Edge, tuple[str, float]]) -> dict[Edge, float]:
    """How far from a card's middle each edge meets it, in the order of where it leads."""
    by_card: dict[str, list[tuple[float, Edge]]] = {}
    for edge, (card, x) in ends.items():
        by_card.setdefault(card, []).append((x, edge))
    ports = {}
    for found in by_card.values():
        gap = min(PORT, PORTS_SPREAD / len(found))
        for place, (_, edge) in enumerate(sorted(found)):
            ports[edge] = (place - (len(found) - 1) / 2) * gap
    return ports


def _leave(card: Point, outermost: bool) -> list[Point]:
    x, y = card
    if outermost:
        return [(x + CARD_WIDTH, y + CARD_HEIGHT / 2)]
    bottom = y + CARD_HEIGHT
    return [
        (x + CARD_WIDTH - 2 * CORNER, bottom),
        (x + CARD_WIDTH - 2 * CORNER, bottom + ROW_GAP / 2),
    ]


def _enter(card: Point, outermost: bool, lane: int) -> list[Point]:
    x, y = card
    if outermost:
        return [(x, y + CARD_HEIGHT / 2 + (lane % 4 - 1.5) * CORNER / 1.5)]
    return [(x + 2 * CORNER, y - ROW_GAP / 2), (x + 2 * CORNER, y)]


def _cross(start: Sequence[Point], lane: float, end: Sequence[Point]) -> str:
    """Straight lines with round corners from a card to the lane, along it, and to another card."""
    points = [*start, (lane, start[-1][1]), (lane, end[0][1]), *end]
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        near, far = _towards(corner, before), _towards(corner, after)
        parts.append(
            f"L{near[0]:.1f} {near[1]:.1f}"
            f"Q{corner[0]:.1f} {corner[1]:.1f} {far[0]:.1f} {far[1]:.1f}"
        )
    return "".join([*parts, f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"])


def _towards(corner: Point, other: Point) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = min(CORNER, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share
