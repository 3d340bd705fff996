"""Where names of points stand in a figure, so that they can be read on a phone."""

from __future__ import annotations

from collections.abc import Sequence

NARROW = (240, 300)  # px of the axes on a phone; what has room there has room everywhere
LETTER, LINE = 6.5, 12  # px, about
MARK, AWAY = 10, 6  # px from the middle of a point within which no other's name stands, and to its own name
SIDES = ("top center", "bottom center", "middle right", "middle left", "top right", "top left", "bottom right")
"""In the order in which they are tried."""

Box = tuple[float, float, float, float]  # left, bottom, right, top


def sides(
    points: Sequence[tuple[float, float]], names: Sequence[str], across: Sequence[float], up: Sequence[float]
) -> list[str | None]:
    """The side of its point on which each name lies over no other, near no other point and within the axes.

    Args:
        points: (x, y) of each, on linear axes.
        names: Of the points, the most important first; where one is empty, there is nothing to place.
        across, up: What the axes show, from the left to the right and from the bottom to the top.

    Returns:
        A `textposition` of Plotly's for each; None where there is no room, or no name.

    >>> sides([(5, 5), (5, 5), (9.8, 5)], ["one", "other", "third"], (0, 10), (0, 10))
    ['top center', 'bottom center', 'middle left']
    """
    axes = ((*across, NARROW[0]), (*up, NARROW[1]))
    places = [
        tuple((value - low) / (high - low) * px for value, (low, high, px) in zip(point, axes, strict=True))
        for point in points
    ]
    marks = [(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in places]
    written: list[Box] = []
    found: list[str | None] = []
    for k, ((x, y), name) in enumerate(zip(places, names, strict=True)):
        taken = [*written, *(mark for mark in marks if mark != marks[k])]
        boxes = {side: _box(side, x, y, LETTER * len(name)) for side in SIDES} if name else {}
        free = (side for side, box in boxes.items() if _fits(box) and not any(_meet(box, one) for one in taken))
        found.append(next(free, None))
        if found[-1]:
            written.append(boxes[found[-1]])
    return found


def _box(side: str, x: float, y: float, width: float) -> Box:
    vertical, horizontal = side.split()
    left = x + {"left": -AWAY - width, "center": -width / 2, "right": AWAY}[horizontal]
    bottom = y + {"bottom": -AWAY - LINE, "middle": -LINE / 2, "top": AWAY}[vertical]
    return left, bottom, left + width, bottom + LINE


def _fits(box: Box) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= NARROW[0] and box[3] <= NARROW[1]


def _meet(one: Box, other: Box) -> bool:
    return all(one[k] < other[k + 2] and other[k] < one[k + 2] for k in (0, 1))
