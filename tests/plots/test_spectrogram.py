"""Spectrograms: calibration, blocks, both axes, the strip of speech attenuation, what is sent to the page."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.mix import noise
from denoise_app.plots.spectrogram import (
    SpectrogramBuilder,
    SpectrogramData,
    describe,
    linked_figure,
    rows,
    spectrogram_db,
    speech_attenuation,
)
from denoise_app.plots.theme import PALETTES, PANEL_HEIGHT, RANGE_DB, Words

RATE = 16_000


def sine(hertz: float, seconds: float = 1.0, rate: int = RATE, amplitude: float = 1.0) -> Samples:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def hiss(frames: int, seed: int = 0, level: float = 0.02) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(frames)).astype(np.float32)


# the scale


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("level", [0, -20, -60])
def test_a_sine_reads_its_level_in_its_bin(rate: int, level: int) -> None:
    data = spectrogram_db(sine(1000, rate=rate, amplitude=10 ** (level / 20)), rate)
    middle = data.db[:, 10:-10]
    assert np.abs(middle.max(axis=0) - level).max() <= 1  # 1000 Hz lies on or near a bin at these rates
    assert abs(data.frequencies[middle[:, 0].argmax()] - 1000) <= data.frequencies[1]


def test_the_range_ends_at_both_sides() -> None:
    assert spectrogram_db(np.zeros(RATE, np.float32), RATE).db.max() == -90
    assert spectrogram_db(100 * sine(1000), RATE).db.max() == 0
    assert spectrogram_db(np.ones(RATE, np.float32), RATE).db[0, 50] == 0  # an offset of full scale


def test_the_columns_are_where_the_sound_is() -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[RATE] = 1
    data = spectrogram_db(click, RATE)
    assert data.db.shape == (257, 250) and data.db.dtype == np.int8
    assert data.times[0] == 0 and data.times[data.db[50].argmax()] == pytest.approx(1.0, abs=0.004)
    assert data.frequencies[0] == 0 and data.frequencies[-1] == 8000


# blocks


@pytest.mark.parametrize("block", [1, 7, 127, 128, 129, 511, 512, 513, 4099, 10**6])
@pytest.mark.parametrize("columns", [1000, 50])
def test_blocks_of_any_length_give_the_same(block: int, columns: int) -> None:
    sound = hiss(3001 if block < 100 else 20_011)
    builder = SpectrogramBuilder(RATE, sound.size, columns)
    for start in range(0, sound.size, block):
        builder.push(sound[start : start + block])
    blockwise, whole = builder.data(), spectrogram_db(sound, RATE, columns)
    assert blockwise.db.shape == whole.db.shape
    assert np.abs(blockwise.db.astype(int) - whole.db).max() <= 1  # sums in another order may round the other way
    np.testing.assert_array_equal(blockwise.times, whole.times)
    assert blockwise.bands.shape == whole.bands.shape


@pytest.mark.slow
@pytest.mark.parametrize("frames", [0, 1, 127, 128, 129, 255, 256, 257, 997])
def test_awkward_lengths_are_drawn(frames: int) -> None:
    data = spectrogram_db(hiss(frames), RATE)
    assert data.db.shape[1] == data.times.size == max(1, -(-frames // 128))
    for log in (False, True):
        linked_figure([data, data], speech_attenuation(data, data), log=log).to_json()


@pytest.mark.parametrize("seconds", [3, 7.9, 8.1, 16.1, 60, 333])
def test_any_length_has_at_most_a_thousand_columns_over_all_of_it(seconds: float) -> None:
    frames = round(seconds * RATE)
    data = spectrogram_db(hiss(frames), RATE)
    columns = data.times.size
    assert columns <= 1000 and (columns > 490 or seconds < 4)
    step = data.times[1] - data.times[0]
    np.testing.assert_allclose(np.diff(data.times), step, rtol=1e-2)
    assert data.times[0] >= 0 and data.times[-1] <= seconds <= data.times[-1] + 2 * step
    assert np.ptp(data.db[100].astype(int)) < 90  # no empty column


def test_a_long_sound_is_averaged_in_power() -> None:
    sound = np.concatenate([sine(1000, 30), np.zeros(30 * RATE, np.float32)] * 10)
    few = SpectrogramBuilder(RATE, sound.size, 10)
    few.push(sound)
    np.testing.assert_array_equal(few.data().db[32], np.full(10, -3))


def test_fewer_samples_than_announced_end_earlier_and_more_are_kept() -> None:
    sound = sine(1000, 10)
    short, long = SpectrogramBuilder(RATE, 2 * sound.size), SpectrogramBuilder(RATE, sound.size // 2)
    for builder in (short, long):
        builder.push(sound)
    assert short.data().times[-1] == pytest.approx(10, abs=0.05)
    assert short.data().db[32].min() >= -3  # the first frame is half silence
    assert long.data().db.shape[1] <= 1000 and long.data().db[32, -1] == 0


def test_memory_does_not_grow_with_the_length() -> None:
    builder = SpectrogramBuilder(RATE, 3600 * RATE)
    block = hiss(RATE)
    for _ in range(20):
        builder.push(block)
        assert builder._pending.size < 1024 and builder._power.shape == (1000, 257)
    data = builder.data()
    assert (data.bands.nbytes + data.voicing.nbytes + data.columns.nbytes) / 20 < 2500  # bytes for a second


# rows


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("rate", [2_000, 8_000, 16_000, 48_000, 192_000])
def test_rows_are_evenly_spaced_and_keep_the_level_of_a_sine(log: bool, rate: int) -> None:
    pitch = 16 * rate / 512  # on a bin
    data = spectrogram_db(sine(pitch, rate=rate), rate)
    levels, hertz = rows(data, log)
    assert levels.dtype == np.int8 and levels.shape == (hertz.size, data.times.size) and hertz.size <= 256
    steps = np.diff(np.log(hertz) if log else hertz)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    assert hertz[-1] == pytest.approx(rate / 2)
    column = levels[:, data.times.size // 2]
    assert column.max() == data.db[:, data.times.size // 2].max() >= -1
    assert (
        abs(np.log2(hertz[column.argmax()] / pitch)) < 0.1 or abs(hertz[column.argmax()] - pitch) <= hertz[1] - hertz[0]
    )


@pytest.mark.parametrize("log", [False, True])
def test_no_bin_within_the_axis_is_lost(log: bool) -> None:
    """Every bin at full scale alone shows up at full scale."""
    data = spectrogram_db(hiss(RATE, level=1e-5), 48_000)
    for bin_ in range(3, data.db.shape[0], 37):
        db = np.full_like(data.db, -90)
        db[bin_] = 0
        levels, _ = rows(replace(data, db=db), log)
        assert levels.max() == 0


# the strip


@pytest.fixture
def voice(speech: Clip) -> Samples:
    return speech.samples[0]


def part(data: SpectrogramData, values: Samples, start: float, end: float) -> Samples:
    inside = values[(data.times > start) & (data.times < end)]
    return inside[np.isfinite(inside)]


@pytest.mark.parametrize("columns", [1000, 40])
def test_the_strip_shows_how_much_and_where(voice: Samples, columns: int) -> None:
    noisy = voice + hiss(voice.size)
    after = voice + hiss(voice.size, level=0.001)
    after[3 * RATE : 4 * RATE] *= 10 ** (-12 / 20)
    before = spectrogram_db(noisy, RATE, columns)
    strip = speech_attenuation(before, spectrogram_db(after, RATE, columns))
    assert strip.dtype == np.float32 and strip.shape == before.times.shape
    assert np.median(part(before, strip, 3.05, 3.95)) == pytest.approx(12, abs=0.6)
    for start, end in ((0, 2.7), (4.3, 8)):
        assert np.median(part(before, strip, start, end)) < 0.6


def test_removing_steady_noise_is_no_attenuation(voice: Samples) -> None:
    for kind in ("white", "pink", "brown"):
        disturbance = noise(kind, voice.size, RATE, np.random.default_rng(1)) / np.float32(4)
        before = spectrogram_db(voice + disturbance, RATE)
        strip = speech_attenuation(before, spectrogram_db(voice, RATE))
        known = strip[np.isfinite(strip)]
        assert known.size > 100
        assert np.mean(known > 3) < 0.03 and np.median(known) < 0.5


def test_where_nobody_speaks_there_is_no_strip(voice: Samples) -> None:
    for kind in ("white", "brown", "rain", "keyboard"):
        disturbance = noise(kind, 8 * RATE, RATE, np.random.default_rng(2))
        strip = speech_attenuation(
            spectrogram_db(disturbance, RATE), spectrogram_db(disturbance * np.float32(0.01), RATE)
        )
        assert np.isfinite(strip).mean() < 0.02, kind
    silent = np.concatenate([voice[: 2 * RATE], np.zeros(2 * RATE, np.float32)])
    before = spectrogram_db(silent, RATE)
    assert part(before, speech_attenuation(before, before), 2.1, 4).size == 0


def test_nothing_done_is_no_attenuation_and_raising_is_negative(voice: Samples) -> None:
    before = spectrogram_db(voice / 4, RATE)
    same, louder = speech_attenuation(before, before), speech_attenuation(before, spectrogram_db(voice / 2, RATE))
    assert np.nanmax(np.abs(same)) == 0
    assert np.nanmedian(louder) == pytest.approx(-6, abs=0.3)


@pytest.mark.parametrize("rate", [2_000, 8_000, 44_100])
def test_the_strip_works_at_any_rate(rate: int, voice: Samples) -> None:
    sound = resample(voice[None], RATE, rate)[0]
    strip = speech_attenuation(spectrogram_db(sound, rate), spectrogram_db(sound / 4, rate))
    assert np.isfinite(strip).sum() > 50
    assert np.nanmedian(strip) == pytest.approx(12, abs=0.5)


def test_unequal_sounds_are_not_compared() -> None:
    one, longer, faster = (
        spectrogram_db(hiss(RATE), RATE),
        spectrogram_db(hiss(2 * RATE), RATE),
        spectrogram_db(hiss(RATE), RATE + 100),
    )
    for other in (longer, faster):
        with pytest.raises(ValueError, match="equal length and rate"):
            speech_attenuation(one, other)


# in numbers


def test_the_change_is_told_by_octave() -> None:
    before = spectrogram_db(hiss(4 * RATE) + sine(3000, 4, amplitude=0.05), RATE)
    change = describe(before, spectrogram_db(hiss(4 * RATE) / 10 + sine(3000, 4, amplitude=0.05), RATE))
    assert -2 < change.overall_db < -0.5
    assert [(band.low, band.high) for band in change.octaves][-3:] == [(1000, 2000), (2000, 4000), (4000, 8000)]
    falls = {band.low: band.change_db for band in change.octaves}
    assert falls[2000] == pytest.approx(0, abs=0.5)
    assert falls[1000] == pytest.approx(-20, abs=0.6) and falls[4000] == pytest.approx(-20, abs=0.6)
    assert change.speech_median_db is None and change.speech_worst_db is None


def test_the_change_tells_what_became_of_speech(voice: Samples) -> None:
    after = voice / 2
    after[: 2 * RATE] /= 10
    change = describe(spectrogram_db(voice, RATE), spectrogram_db(after, RATE))
    assert change.speech_median_db == pytest.approx(6, abs=0.5)
    assert change.speech_worst_db == pytest.approx(26, abs=1)


# figures


@pytest.fixture
def panels(voice: Samples) -> list[SpectrogramData]:
    noisy = voice + hiss(voice.size)
    return [spectrogram_db(sound, RATE) for sound in (noisy, voice, noisy - voice)]


@pytest.mark.parametrize("log", [False, True])
def test_all_panels_share_range_colours_and_axes(panels: list[SpectrogramData], log: bool) -> None:
    figure = linked_figure(panels, speech_attenuation(*panels[:2]), log=log)
    heatmaps = [trace for trace in figure.data if isinstance(trace, go.Heatmap)]
    assert len(heatmaps) == 3
    assert {trace.coloraxis for trace in heatmaps} == {"coloraxis"}
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == RANGE_DB == (-90, 0)
    assert {trace.xaxis for trace in figure.data} == {None}  # all on "x"
    assert [trace.yaxis for trace in heatmaps] == ["y", "y2", "y3"]
    assert figure.layout.yaxis2.matches == figure.layout.yaxis3.matches == "y"
    assert figure.layout.yaxis4.matches is None  # the strip is in dB
    domains = [figure.layout[f"yaxis{k or ''}"].domain for k in ("", 2, 3, 4)]
    assert all(upper[0] > lower[1] for upper, lower in pairwise(domains))


@pytest.mark.slow
def test_the_names_stand_in_the_panels_and_no_title_in_the_layout(panels: list[SpectrogramData]) -> None:
    words = Words("降噪前", "降噪后", "被去除", time="时间", frequency="频率", attenuation="语音衰减")
    figure = linked_figure(panels, speech_attenuation(*panels[:2]), words=words)
    assert figure.layout.title.text is None
    assert [note.text for note in figure.layout.annotations] == ["降噪前", "降噪后", "被去除", "语音衰减"]
    assert figure.layout.xaxis.title.text == "时间" and figure.layout.yaxis2.title.text == "频率"
    assert not linked_figure(panels[:1]).layout.annotations


def test_a_panel_is_low_enough_for_a_phone(panels: list[SpectrogramData]) -> None:
    assert PANEL_HEIGHT <= 260 and linked_figure(panels[:1]).layout.height <= 260


@pytest.mark.parametrize("log", [False, True])
def test_little_is_sent_to_the_page_and_only_what_its_plotly_knows(log: bool) -> None:
    figure = linked_figure([spectrogram_db(hiss(60 * RATE), RATE, 400)], log=log)
    sent = figure.to_json()
    assert len(sent) < 200_000  # of 256 x 400 cells
    (trace,) = json.loads(sent)["data"]
    assert trace["type"] == "heatmap" and trace["z"]["dtype"] == "i1" and trace["z"]["shape"] == "256, 400"


def test_only_heatmaps_and_lines_are_used(panels: list[SpectrogramData]) -> None:
    figure = linked_figure(panels, speech_attenuation(*panels[:2]))
    assert {trace.type for trace in figure.data} == {"heatmap", "scatter"}
    assert len(figure.to_json()) < 1_200_000  # three times 256 x 1000


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 192_000])
def test_ticks_of_the_logarithmic_axis_stand_at_their_rows(rate: int) -> None:
    figure = linked_figure([spectrogram_db(sine(1000, rate=rate), rate)], log=True)
    axis, trace = figure.layout.yaxis, figure.data[0]
    hertz = np.array([float(row.removesuffix(" Hz")) for row in trace.y])
    assert np.unique(hertz).size == hertz.size == trace.z.shape[0]  # rows of one name would fall together
    assert tuple(axis.range) == (-0.5, hertz.size - 0.5)
    assert len(axis.tickvals) >= 3
    for position, text in zip(axis.tickvals, axis.ticktext, strict=True):
        value = float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
        assert np.interp(position, np.arange(hertz.size), hertz) == pytest.approx(value, rel=1e-3)
    loudest = trace.z[:, 60].argmax()
    assert loudest == pytest.approx(axis.tickvals[axis.ticktext.index("1k")], abs=1.6)


def test_the_linear_axis_spans_the_sound() -> None:
    figure = linked_figure([spectrogram_db(sine(1000, 3), RATE)])
    trace = figure.data[0]
    assert tuple(figure.layout.yaxis.range) == (0, 8000)
    assert trace.y0 + trace.dy * (trace.z.shape[0] - 1) == pytest.approx(8000)
    assert trace.y0 + trace.dy * trace.z[:, 60].argmax() == pytest.approx(1000, abs=32)
    assert figure.layout.xaxis.range[0] <= 0 and figure.layout.xaxis.range[1] == pytest.approx(3, abs=0.01)


def test_both_themes_draw_the_same_in_other_colours(panels: list[SpectrogramData]) -> None:
    light, dark = (linked_figure(panels[:1], theme=theme) for theme in PALETTES)
    assert light.layout.font.color != dark.layout.font.color
    np.testing.assert_array_equal(light.data[0].z, dark.data[0].z)
