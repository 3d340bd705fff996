"""Curves of scores: every point is drawn, every curve has its name, and names do not lie on each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from denoise_app.plots.scores import DASHES, SYMBOLS, Axis, Curve, apart, sweep_figure
from denoise_app.plots.theme import PALETTES

AXES = (Axis("si_sdr", "SI-SDR (dB)", 5.0), Axis("stoi", "STOI", 0.05))
SNRS = (-10.0, 30.0)


def curve(name: str, shift: float = 0.0) -> Curve:
    points = [(snr, 10 - snr / 5 + shift) for snr in (-10.0, 0.0, 10.0)]
    return Curve(name, {"si_sdr": points, "stoi": points[:1]})


def test_each_curve_is_drawn_in_each_panel() -> None:
    figure = sweep_figure([curve("a"), curve("b", 1.0)], AXES, SNRS)
    assert [(trace.name, trace.yaxis) for trace in figure.data] == [("a", "y"), ("b", "y"), ("a", "y2"), ("b", "y2")]
    assert list(figure.data[1].x) == [-10, 0, 10] and list(figure.data[1].y) == [13, 11, 9]
    assert list(figure.data[2].x) == [-10]
    low, high = figure.layout.xaxis.range
    assert low < -10 and high > 30 and list(figure.layout.xaxis.tickvals) == [-10, 0, 10, 20, 30]


def test_six_curves_are_told_apart_without_colours() -> None:
    figure = sweep_figure([curve(str(k), k) for k in range(6)], AXES[:1], SNRS)
    assert len({trace.marker.symbol for trace in figure.data}) == len(SYMBOLS) == 6
    assert len({trace.line.dash for trace in figure.data}) == len(DASHES) == 6
    assert {note.text for note in figure.layout.annotations} == {"SI-SDR (dB)", *"012345"}


def test_names_stand_at_the_ends_and_not_on_each_other() -> None:
    figure = sweep_figure([curve("low", -5.0), curve("one", 1.0), curve("two", 1.01)], AXES[:1], SNRS)
    places = {note.text: note.y for note in figure.layout.annotations}
    assert places["low"] < places["one"] < places["two"]
    assert (places["two"] - places["one"]) * 170 >= 14 - 1e-6


@pytest.mark.parametrize("count", [0, 1, 2, 6, 40])
def test_places_keep_apart_and_inside(count: int) -> None:
    rng = np.random.default_rng(count)
    places = sorted(rng.uniform(0.4, 0.6, count).tolist())
    moved = apart(places, 0.08)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)
    step = min(0.08, 1 / max(count - 1, 1))
    assert all(second - first >= step - 1e-9 for first, second in pairwise(moved))


def test_nothing_yet_and_nothing_gained_are_drawn_too() -> None:
    assert not sweep_figure([], AXES, SNRS).data
    flat = Curve("flat", {"si_sdr": [(0.0, 0.0), (10.0, 0.01)]})
    figure = sweep_figure([flat], AXES, SNRS)
    low, high = figure.layout.yaxis.range
    assert high - low > 5 and low < 0


def test_a_long_name_leaves_room_for_the_curves_and_themes_have_their_colours() -> None:
    for theme, palette in PALETTES.items():
        figure = sweep_figure([curve("a-model-with-a-name/and-a-loss@0123456789")], AXES, SNRS, theme=theme)
        assert figure.layout.margin.r < 150 and figure.layout.annotations[0].text.endswith("…")
        assert figure.data[0].line.color == palette.marks[1]
