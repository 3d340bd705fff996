"""Curves along time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from denoise_app.plots.grid import waveform_grid
from denoise_app.plots.theme import ENGLISH, STRIP_HEIGHT, Words, stack
from denoise_app.plots.waveform import EnvelopeBuilder, Floats, activity_figure, add_attenuation, envelope

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
    waveform_grid([("silence", shape)], 1).to_json()


def strip(attenuation: Floats, times: Floats) -> go.Figure:
    figure = stack([STRIP_HEIGHT], "light", ENGLISH)
    add_attenuation(figure, attenuation, times, 0, "light", ENGLISH)
    return figure


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


def test_energy_and_zero_crossings_of_all_sounds_share_one_time_axis_and_two_scales() -> None:
    times = np.arange(100, dtype=np.float32) / 100
    sounds = [("clean", times - 60, times / 4), ("noisy", times - 30, times / 2), ("gru", times - 50, times * 0.7)]
    figure = activity_figure(times, sounds, words=Words(energy="能量", crossings="过零率", time="时间"))
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3", "y4", "y5", "y6"]
    assert {trace.xaxis for trace in figure.data} == {None}
    names = [f"{sound} · {quantity}" for quantity in ("能量", "过零率") for sound in ("clean", "noisy", "gru")]
    assert [note.text for note in figure.layout.annotations] == [trace.name for trace in figure.data] == names
    tops = [figure.layout[f"yaxis{k or ''}"].domain[1] for k in ("", 2, 3, 4, 5, 6)]
    assert tops == sorted(tops, reverse=True)  # one above the other
    assert [figure.layout[axis].range[1] for axis in ("yaxis", "yaxis2", "yaxis3")] == [0, 0, 0]
    for axis in ("yaxis4", "yaxis5", "yaxis6"):
        assert tuple(figure.layout[axis].range) == (0, pytest.approx(1.6 * 0.693))
    np.testing.assert_array_equal(figure.data[4].y, times / 2)


def test_the_zero_crossing_rate_of_hiss_is_always_on_the_scale() -> None:
    times = np.arange(3, dtype=np.float32)
    figure = activity_figure(times, [("clean", times, 0 * times)])
    assert tuple(figure.layout.yaxis2.range) == (0, 1.6 * 0.5)
