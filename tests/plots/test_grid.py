"""Small panels side by side: linked axes, one scale, differences, size; and the plane of attenuations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from denoise_app.audio.clip import Samples
from denoise_app.plots.grid import COLUMNS, ROWS, lattice, spectrogram_grid, waveform_grid
from denoise_app.plots.spectrogram import SpectrogramData, spectrogram_db
from denoise_app.plots.theme import PALETTES, RANGE_DB, Words, name
from denoise_app.plots.trade import trade_figure
from denoise_app.plots.waveform import Envelope, envelope

RATE = 48_000


def hiss(seconds: float = 1.0, level: float = 0.02, seed: int = 0) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def looks(count: int, seconds: float = 1.0) -> list[tuple[str, SpectrogramData]]:
    return [(f"{k} name", spectrogram_db(hiss(seconds, 0.02 / 2**k), RATE, COLUMNS)) for k in range(count)]


def outlines(count: int) -> list[tuple[str, Envelope]]:
    return [(f"{k} name", envelope(hiss(1.0, 0.02 * (k + 1)), RATE, COLUMNS)) for k in range(count)]


@pytest.mark.parametrize(("count", "across"), [(1, 3), (2, 1), (3, 3), (7, 3), (10, 3), (10, 1)])
def test_panels_do_not_overlap_and_move_together(count: int, across: int) -> None:
    figure = lattice(count, across, 100, "light", Words())
    boxes = [(*figure.layout[name("xaxis", k)].domain, *figure.layout[name("yaxis", k)].domain) for k in range(count)]
    for k, (left, right, bottom, top) in enumerate(boxes):
        assert 0 <= left < right <= 1 and 0 <= bottom < top <= 1
        for other in boxes[:k]:
            assert left >= other[1] or right <= other[0] or bottom >= other[3] or top <= other[2]
        axes = figure.layout[name("xaxis", k)], figure.layout[name("yaxis", k)]
        assert [axis.matches for axis in axes] == (["x", "y"] if k else [None, None])
        assert axes[0].showticklabels is (k + across >= count) and axes[1].showticklabels is (k % across == 0)


def test_spectrograms_share_scale_colours_and_axes_and_are_small() -> None:
    figure = spectrogram_grid(looks(7, seconds=10), 3, words=Words(level="分贝"))
    assert [trace.xaxis for trace in figure.data] == [name("x", k) for k in range(7)]
    assert [trace.yaxis for trace in figure.data] == [name("y", k) for k in range(7)]
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == RANGE_DB
    assert all(trace.z.dtype == np.int8 and trace.z.shape == (ROWS, COLUMNS) for trace in figure.data)
    assert len({axis.range for axis in figure.select_xaxes()}) == 1
    assert [note.text for note in figure.layout.annotations] == [f"{k} name" for k in range(7)]
    assert len(figure.to_json()) < 700_000 and "分贝" in figure.data[0].hovertemplate


def test_differences_are_in_decibels_from_the_chosen_one() -> None:
    figure = spectrogram_grid(looks(3), 3, reference=1)
    assert np.abs(figure.data[1].z).max() == 0
    assert [trace.z.mean() for trace in figure.data] == pytest.approx([6, 0, -6], abs=0.1)
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax


def test_differences_beyond_what_a_byte_holds_do_not_wrap_round() -> None:
    (_, loud), (_, soft) = looks(2)
    top, bottom = replace(loud, db=np.full_like(loud.db, 0)), replace(soft, db=np.full_like(soft.db, -90))
    figure = spectrogram_grid([("a", top), ("b", bottom)], 2, reference=0)
    assert figure.data[1].z.max() == -90
    assert spectrogram_grid([("a", top), ("b", bottom)], 2, reference=1).data[0].z.min() == 90


def test_waveforms_have_one_scale_and_silence_is_drawn() -> None:
    figure = waveform_grid([*outlines(3), ("silence", envelope(np.zeros(0, np.float32), RATE))], 3, theme="dark")
    assert len({axis.range for axis in figure.select_yaxes()}) == 1
    assert figure.layout.yaxis.range[1] == pytest.approx(max(np.abs(trace.y).max() for trace in figure.data))
    assert {trace.line.color for trace in figure.data} == {PALETTES["dark"].marks[1]}


def test_points_are_named_told_apart_without_colour_and_within_the_axes() -> None:
    points = [(f"loss{k}", 0.3 * k, 0.1 * (k % 3)) for k in range(10)]
    figure = trade_figure(points)
    assert [trace.name for trace in figure.data] == [title for title, _, _ in points]
    assert len({trace.marker.symbol for trace in figure.data}) == len(points)
    assert figure.layout.showlegend and {trace.mode for trace in figure.data} == {"markers"}
    few = trade_figure(points[::3])
    assert not few.layout.showlegend and {trace.mode for trace in few.data} == {"markers+text"}
    assert [trace.text[0] for trace in few.data] == [title for title, _, _ in points[::3]]
    assert figure.layout.height - few.layout.height == figure.layout.margin.b - few.layout.margin.b > 0
    across, up = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert up[0] > up[1]  # what lost more speech lies lower
    for trace in figure.data:
        assert across[0] < trace.x[0] < across[1] and up[1] < trace.y[0] < up[0]
    assert all(isinstance(made, go.Figure) for made in (trade_figure([]), trade_figure(points[:1], theme="dark")))
