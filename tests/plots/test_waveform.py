"""Curves along time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from denoise_app.plots.grid import waveform_grid
from denoise_app.plots.theme import ENGLISH, STRIP_HEIGHT, stack
from denoise_app.plots.waveform import (
    EnvelopeBuilder,
    activity_figure,
    add_attenuation,
    envelope,
)

RATE = 16_000


@pytest.mark.parametrize("frames", [1, 2, 999, 1000, 1001, 48_611])
@pytest.mark.parametrize("block", [1000, 1013, 10**6])
def test_the_envelope_is_that_of_the_whole_cut_into_stretches(frames: int, block: int) -> None:
    sound = np.random.default_rng(0).standard_normal(frames).astype(np.float32)
    builder = EnvelopeBuilder(RATE, frames)
    for start in range(0, frames, block):
        builder.push(sound[start : start + block])
    shape = builder.data()
    columns = min(1000, frames)
    ends = [-(-k * frames // columns) for k in range(columns + 1)]
    parts = [sound[a:b] for a, b in pairwise(ends)]
    np.testing.assert_array_equal(shape.low, [part.min() for part in parts])
    np.testing.assert_array_equal(shape.high, [part.max() for part in parts])
    assert shape.seconds == frames / RATE


def test_fewer_samples_than_announced_end_earlier_and_more_are_kept() -> None:
    sound = np.linspace(-1, 1, 1000, dtype=np.float32)
    short, long = EnvelopeBuilder(RATE, 4000, 100), EnvelopeBuilder(RATE, 500, 100)
    for builder in (short, long):
        builder.push(sound)
    assert short.data().high.size == 25 and short.data().seconds == 1000 / RATE
    assert long.data().high.size == 100 and long.data().high[-1] == 1


def test_no_sound_has_an_envelope() -> None:
    shape = envelope(np.zeros(0, np.float32), RATE)
    assert shape.low == shape.high == [0] and shape.seconds == 0
    waveform_grid([("", shape)], 1).to_json()


def strip(attenuation: np.ndarray, times: np.ndarray) -> go.Figure:
    """The strip alone."""
    figure = stack([STRIP_HEIGHT], "light", ENGLISH)
    add_attenuation(figure, attenuation, times, 0, "light", ENGLISH)
    return figure


def test_waveforms_are_drawn_on_one_scale_with_few_points() -> None:
    sound = np.random.default_rng(1).uniform(-0.5, 0.5, 5 * RATE).astype(np.float32)
    figure = waveform_grid([("A", envelope(sound, RATE)), ("B", envelope(sound / 2, RATE))], 1)
    assert [trace.name for trace in figure.data] == ["A", "B"]
    assert [axis.range[1] for axis in figure.select_yaxes()] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert tuple(figure.layout.xaxis.range) == (0, 5)
    assert all(trace.x.size == 2000 for trace in figure.data)
    assert len(figure.to_json()) < 60_000


def test_the_strip_hangs_down_and_is_absent_without_speech() -> None:
    lost = np.array([np.nan, 0, 6, -2, np.nan, 30], np.float32)
    times = np.arange(6, dtype=np.float32)
    figure = strip(lost, times)
    depth, present = figure.data
    np.testing.assert_array_equal(depth.y[::2], [0, 0, 6, 0, 0, 30])
    np.testing.assert_array_equal(np.isfinite(present.y[::2]), [False, True, True, True, False, True])
    np.testing.assert_array_equal(depth.x[:4], [-0.5, 0.5, 0.5, 1.5])
    assert tuple(figure.layout.yaxis.range) == (30, 0)  # deeper is lower
    assert {type(trace) for trace in figure.data} == {go.Scatter}


def test_a_strip_without_any_speech_is_drawn() -> None:
    figure = strip(np.full(1, np.nan, np.float32), np.zeros(1, np.float32))
    assert tuple(figure.layout.yaxis.range) == (20, 0)


def test_energy_and_zero_crossings_share_the_time_axis() -> None:
    times = np.arange(100, dtype=np.float32) / 100
    figure = activity_figure(times, times - 60, times / 2)
    assert [trace.yaxis for trace in figure.data] == ["y", "y2"]
    assert {trace.xaxis for trace in figure.data} == {None}
    assert figure.layout.yaxis.range[1] == 0 and tuple(figure.layout.yaxis2.range) == (0, 1)
    np.testing.assert_array_equal(figure.data[1].y, times / 2)
