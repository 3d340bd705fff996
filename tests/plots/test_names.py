"""Names beside points: none lies over another or over a point, on a phone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from denoise_app.plots.board import Point, quality_figure
from denoise_app.plots.names import AWAY, LETTER, LINE, NARROW, SIDES, sides

UNIT = (0.0, 1.0)


def corners(spot: tuple[float, float], name: str, side: str) -> tuple[np.ndarray, np.ndarray]:
    """The lower left and the upper right corner of a name, in px."""
    vertical, horizontal = side.split()
    size = np.array([LETTER * len(name), LINE])
    away = np.array(
        [{"left": -1, "center": 0, "right": 1}[horizontal], {"bottom": -1, "middle": 0, "top": 1}[vertical]]
    )
    middle = np.multiply(spot, NARROW) + away * (AWAY + size / 2)
    return middle - size / 2, middle + size / 2


@pytest.mark.parametrize("seed", range(5))
def test_no_name_lies_over_another_or_over_a_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spots = [tuple(spot) for spot in rng.uniform(0, 1, (30, 2))]
    names = ["".join("x" for _ in range(rng.integers(0, 14))) for _ in spots]
    found = sides(spots, names, UNIT, UNIT)
    assert all(side is None for side, name in zip(found, names, strict=True) if not name)
    boxes = [corners(*placed) for placed in zip(spots, names, found, strict=True) if placed[2]]
    assert len(boxes) >= 5
    assert all((one[0] >= other[1]).any() or (other[0] >= one[1]).any() for one, other in combinations(boxes, 2))
    for low, high in boxes:
        assert (low >= 0).all() and (high <= NARROW).all()
        assert not any((low < at).all() and (at < high).all() for at in np.multiply(spots, NARROW))


def test_of_points_in_one_place_the_first_are_named() -> None:
    found = sides([(0.5, 0.5)] * 20, ["name"] * 20, UNIT, UNIT)
    assert found[:4] == list(SIDES[:4]) and found[-1] is None


def test_the_best_keeps_its_name_where_there_is_no_room_for_all() -> None:
    points = [Point(f"model{k}", "", f"model{k}", "", 10 ** (0.05 * k), 2.0 + 0.02 * k) for k in range(20)]
    points.insert(0, Point("far", "", "far", "", 50.0, 1.0))
    figure = quality_figure(points, "Cost", "PESQ")  # the best last
    written = {text for trace in figure.data for text in trace.text if text}
    assert {"model19", "far"} <= written and len(written) < len(points)
    low, high = figure.layout.xaxis.range
    assert low < 0.0 < np.log10(50) < high
