"""Levels against the standards' own numbers, plain referees and physics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchaudio

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.level import (
    CancellationMeter,
    LoudnessMeter,
    TruePeakMeter,
    active_speech_level,
    clipped_fraction,
    dc_offset,
    from_db,
    k_weighting,
    loudness,
    peak,
    rms,
    to_db,
    true_peak,
)


def tone(frequency: float, amplitude: float, rate: int, seconds: float, phase: float = 0.0) -> Samples:
    time = np.arange(round(rate * seconds)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time + phase)).astype(np.float32)[None]


def test_decibels_there_and_back() -> None:
    values = np.array([-90.0, -6.0, 0.0, 12.0])
    assert np.allclose(to_db(from_db(values)), values)
    assert to_db(-0.5) == pytest.approx(-6.0206, abs=1e-4)


def test_plain_levels_of_nothing_and_something() -> None:
    nothing, something = np.zeros((2, 0), np.float32), np.array([[0.5, -1.0], [0.5, 0.0]], np.float32)
    assert (rms(nothing), peak(nothing), clipped_fraction(nothing)) == (0, 0, 0)
    assert dc_offset(nothing).tolist() == [0, 0]
    assert rms(something) == pytest.approx(math.sqrt(1.5 / 4))
    assert peak(something) == 1 and clipped_fraction(something) == 0.25
    assert dc_offset(something).tolist() == [-0.25, 0.25]


def test_a_long_quiet_offset_is_measured_exactly() -> None:
    assert dc_offset(np.full((1, 3_000_000), 1e-3, np.float32))[0] == pytest.approx(1e-3, rel=1e-6)


# true peak


def test_a_peak_between_samples_is_found() -> None:
    """A tone at a quarter of the rate, 45 degrees late: its samples reach 0.707 of its peak, 3 dB less."""
    samples = tone(12_000, 0.5, 48_000, 0.5, math.pi / 4)
    assert peak(samples) == pytest.approx(0.5 * math.sqrt(0.5), rel=1e-3)
    assert to_db(true_peak(samples[:, 1000:-1000])) == pytest.approx(to_db(0.5), abs=0.2)


def test_the_samples_themselves_count() -> None:
    alternating = np.tile(np.array([1, -1], np.float32), 500)[None]  # at half the rate, which no filter passes
    assert true_peak(alternating) >= 1


def test_true_peak_by_blocks_is_that_of_the_whole() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 5000)).astype(np.float32)
    meter = TruePeakMeter(2)
    for begin in range(0, 5000, 331):
        meter.push(samples[:, begin : begin + 331])
    assert meter.finish() == true_peak(samples) and true_peak(np.zeros((1, 0), np.float32)) == 0


# loudness


def test_the_filters_are_those_of_the_recommendation() -> None:
    """ITU-R BS.1770-4, Annex 1, tables 1 and 2, at 48 kHz."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    high_pass = [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]
    assert np.allclose(k_weighting(48_000), [shelf, high_pass], atol=1e-8)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_a_full_tone_in_one_channel_has_minus_3_lufs(rate: int) -> None:
    assert loudness(tone(997, 1.0, rate, 2), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_against_torchaudio(rate: int, channels: int) -> None:
    """The same gates; its filters are cookbook ones, some hundredths of a dB away, more so at low rates."""
    rng = np.random.default_rng(rate + channels)
    frames = 7 * rate
    swell = np.exp(3 * np.sin(2 * np.pi * np.arange(frames) / (2.5 * rate)) - 5)
    samples = (swell * rng.standard_normal((channels, frames)) * 0.3).astype(np.float32)
    expected = float(torchaudio.functional.loudness(torch.from_numpy(samples), rate))
    assert loudness(samples, rate) == pytest.approx(expected, abs=0.15 if rate < 44_100 else 0.06)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(-36.0, 10), (-23.0, 60), (-36.0, 10)], -23.0),  # case 3: the relative gate
        ([(-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)], -23.0),  # case 4: both gates
        ([(-26.0, 20), (-20.0, 20.1), (-26.0, 20)], -23.0),  # case 5: none
    ],
)
def test_the_cases_of_ebu_tech_3341(levels: list[tuple[float, float]], expected: float) -> None:
    """Stereo tones of 1 kHz with peaks in dBFS, seconds; the loudness must be met within 0.1 LU."""
    rate = 8_000
    parts = [tone(1000, from_db(level), rate, seconds) for level, seconds in levels]
    mono = np.concatenate(parts, axis=1)
    assert loudness(np.concatenate([mono, mono]), rate) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("channel", "gain"), [(0, 0.0), (2, 0.0), (3, -math.inf), (4, 1.5), (5, 1.5)])
def test_the_channels_of_surround_count_as_they_should(channel: int, gain: float) -> None:
    samples = np.zeros((6, 16_000), np.float32)
    samples[channel] = tone(997, 0.5, 16_000, 1)[0]
    alone = loudness(tone(997, 0.5, 16_000, 1), 16_000)
    assert loudness(samples, 16_000) == pytest.approx(alone + gain, abs=0.01)


@pytest.mark.parametrize("rate", [11_025, 16_000])
def test_loudness_does_not_depend_on_blocks(rate: int) -> None:
    samples = (np.random.default_rng(0).standard_normal((2, 3 * rate + 17)) * 0.1).astype(np.float32)
    meter = LoudnessMeter(2, rate)
    for begin in range(0, samples.shape[1], 997):
        meter.push(samples[:, begin : begin + 997])
    assert meter.finish() == pytest.approx(loudness(samples, rate), abs=1e-9)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025])
@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_the_same_sound_reads_the_same_at_a_low_rate(rate: int, seconds: float) -> None:
    """White noise, up to half the rate: with filters made for 8 kHz it read 0.6 LU too high."""
    noise = np.random.default_rng(0).standard_normal((1, round(seconds * rate))).astype(np.float32) / 10
    expected = loudness(resample(noise, rate, 48_000), 48_000)
    assert loudness(noise, rate) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("frames", [0, 1, 100, 6_399, 6_400, 6_401])
def test_short_sound_has_a_loudness_or_none(frames: int) -> None:
    value = loudness(tone(997, 0.5, 16_000, 1)[:, :frames], 16_000)
    assert value == -math.inf if frames == 0 else value < 0
    if frames > 6_000:
        assert value == pytest.approx(-9.03, abs=0.1)


# active speech


def slow_active_speech_level(samples: Samples, rate: int) -> float:
    """ITU-T P.56, clause 7, sample by sample, as its text has it."""
    g = math.exp(-1 / (rate * 0.03))
    hangover = round(0.2 * rate)
    thresholds = [2.0 ** (j - 24) for j in range(25)]
    active, since = [0] * 25, [hangover] * 25
    energy = p = q = 0.0
    for x in samples.tolist():
        energy += x * x
        p = g * p + (1 - g) * abs(x)
        q = g * q + (1 - g) * p
        for j, threshold in enumerate(thresholds):
            if q >= threshold:
                active[j], since[j] = active[j] + 1, 0
            elif since[j] < hangover:
                active[j], since[j] = active[j] + 1, since[j] + 1
    previous = None
    for count, threshold in zip(active, thresholds, strict=True):
        level = 10 * math.log10(energy / count)
        margin = level - 20 * math.log10(threshold)
        if margin < 15.9 and previous:
            return previous[0] + (previous[1] - 15.9) / (previous[1] - margin) * (level - previous[0])
        previous = level, margin
    raise AssertionError("no threshold lies 15.9 dB below the level")


def test_active_speech_level_against_the_text_of_the_standard(speech: Clip) -> None:
    samples = speech.samples[0, : 2 * speech.sample_rate]
    expected = slow_active_speech_level(samples, speech.sample_rate)
    assert active_speech_level(samples, speech.sample_rate) == pytest.approx(expected, abs=1e-6)


def test_pauses_do_not_count(speech: Clip) -> None:
    rate, samples = speech.sample_rate, speech.samples[0]
    with_pauses = np.concatenate([samples, np.zeros(10 * rate, np.float32)])
    plain, padded = active_speech_level(samples, rate), active_speech_level(with_pauses, rate)
    assert padded == pytest.approx(plain, abs=0.1)
    assert to_db(rms(with_pauses[None])) < to_db(rms(samples[None])) - 3


@pytest.mark.parametrize("gain", [-60.0, -20.0, -6.0])
def test_active_speech_level_follows_the_gain(gain: float, speech: Clip) -> None:
    rate, samples = speech.sample_rate, speech.samples[0]
    softer = (samples * from_db(gain)).astype(np.float32)
    assert active_speech_level(softer, rate) == pytest.approx(active_speech_level(samples, rate) + gain, abs=0.3)


def test_active_speech_level_of_what_never_pauses_is_its_rms() -> None:
    noise = (np.random.default_rng(0).standard_normal(160_000) * 0.1).astype(np.float32)
    assert active_speech_level(noise, 16_000) == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize("frames", [0, 1, 1000])
def test_silence_has_no_active_speech(frames: int) -> None:
    assert active_speech_level(np.zeros(frames, np.float32), 16_000) == -math.inf


def test_a_click_has_a_level() -> None:
    click = np.zeros(16_000, np.float32)
    click[100] = 0.5
    assert -60 < active_speech_level(click, 16_000) < -6


# opposite channels


def mean_of(channels: list[Samples], rate: int = 16_000, block: int = 1 << 30) -> list[tuple[float, float]]:
    """Share in % and loss in dB of the warnings on the mean of channels."""
    samples = np.concatenate(channels)
    meter = CancellationMeter(len(samples), rate)
    for begin in range(0, samples.shape[1], block):
        meter.push(samples[:, begin : begin + block])
    notes = meter.notes()
    assert all(note.key == "opposite-channels" for note in notes)
    return [(note.facts["percent"], note.facts["db"]) for note in notes]


def test_opposite_channels_are_warned_of(speech: Clip) -> None:
    voice = speech.samples
    rng = np.random.default_rng(0)
    room = rng.normal(0, 0.003, (2, voice.shape[1])).astype(np.float32)
    assert mean_of([voice, -voice]) == [(100, 99)]
    [(percent, db)] = mean_of([voice + room[:1], -voice + room[1:]])
    assert percent > 90 and 15 < db < 40
    assert mean_of([voice, -0.8 * voice])[0][1] == pytest.approx(20 * math.log10(math.sqrt(0.82) / 0.1), abs=0.01)


def test_partly_opposite_channels_are_warned_of(speech: Clip) -> None:
    voice = speech.samples
    half = np.where(np.arange(voice.shape[1]) < 64_000, voice, -voice)  # after eight half seconds
    [(percent, _)] = mean_of([voice, half])
    energy = np.square(voice[0])
    assert percent == pytest.approx(100 * energy[64_000:].sum() / energy.sum(), abs=0.1)
    assert mean_of([voice, half], block=997) == [pytest.approx((percent, 99))]


def test_ordinary_channels_are_not_warned_of(speech: Clip) -> None:
    voice, other = speech.samples, np.roll(speech.samples, 40_000, axis=1)
    silence, noise = np.zeros_like(voice), np.random.default_rng(0).normal(0, 0.1, (8, 50_000)).astype(np.float32)
    for channels in (
        [voice],
        [voice, voice],
        [voice, silence],
        [voice, 0.1 * voice],
        [voice, other],
        [voice, -0.3 * voice],
    ):
        assert mean_of(channels) == []
    assert mean_of(list(noise[:, None])) == mean_of([silence, silence]) == mean_of([voice[:, :0]] * 2) == []
    assert mean_of([voice] * 7 + [silence]) == []
