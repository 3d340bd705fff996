"""Resampling is aligned and does not depend on blocks; quantising keeps, dithers and cuts."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import Resampler, fit, mid, quantise, resample, resampled_length

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
AWKWARD = [0, 1, 2, 3, 159, 160, 161, 997, 16_000]


def noise(channels: int, frames: int, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, frames)).astype(np.float32)


@pytest.mark.parametrize("to_rate", [16_000, 48_000])
@pytest.mark.parametrize("from_rate", RATES)
def test_blocks_give_the_samples_of_the_whole(from_rate: int, to_rate: int) -> None:
    rng = np.random.default_rng(1)
    for frames in AWKWARD:
        whole = noise(2, frames)
        resampler = Resampler(2, from_rate, to_rate)
        parts, position = [], 0
        while position < frames:
            step = int(rng.integers(0, 700))
            parts.append(resampler.push(whole[:, position : position + step]))
            position += step
        parts.append(resampler.finish())
        assert np.array_equal(np.concatenate(parts, axis=1), resample(whole, from_rate, to_rate))


@pytest.mark.parametrize("to_rate", RATES)
@pytest.mark.parametrize("from_rate", RATES)
def test_lengths_are_the_ratio_rounded_up(from_rate: int, to_rate: int) -> None:
    for frames in AWKWARD:
        expected = int(np.ceil(frames * to_rate / from_rate))
        assert resampled_length(frames, from_rate, to_rate) == expected
        assert resample(noise(1, frames), from_rate, to_rate).shape == (1, expected)
    there = resampled_length(997, from_rate, to_rate)
    assert resampled_length(there, to_rate, from_rate) >= 997  # nothing is lost there and back


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(48_000, 16_000), (16_000, 48_000), (44_100, 16_000), (8_000, 44_100)]
)
def test_a_tone_stays_where_it_was_and_as_loud(from_rate: int, to_rate: int) -> None:
    frequency, seconds = 1234.5, 1.0

    def tone(rate: int) -> Samples:
        return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)[None]

    result = resample(tone(from_rate), from_rate, to_rate)
    inner = slice(to_rate // 10, -to_rate // 10)  # the edges are those of a tone that is switched on
    assert np.abs(result - tone(to_rate))[:, inner].max() < 1e-4


def test_what_does_not_fit_below_half_the_rate_is_removed() -> None:
    tone = np.sin(2 * np.pi * 10_000 * np.arange(48_000) / 48_000).astype(np.float32)[None]
    assert np.abs(resample(tone, 48_000, 16_000)[:, 1600:-1600]).max() < 1e-5  # -100 dB


def test_channels_do_not_touch_each_other() -> None:
    both = noise(2, 5000)
    result = resample(both, 44_100, 16_000)
    for channel in range(2):
        assert np.array_equal(result[channel], resample(both[channel : channel + 1], 44_100, 16_000)[0])


def test_equal_rates_pass_the_samples_unchanged() -> None:
    samples = noise(3, 1000)
    resampler = Resampler(3, 16_000, 16_000)
    assert resample(samples, 16_000, 16_000) is samples
    assert resampler.push(samples) is samples and resampler.finish().shape == (3, 0)


def test_the_input_is_not_changed() -> None:
    samples = noise(2, 1000)
    samples.flags.writeable = False
    before = samples.copy()
    resample(samples, 48_000, 16_000)
    fit(samples, 2000)
    mid(samples)
    quantise(samples, 16, np.random.default_rng(0))
    assert np.array_equal(samples, before)


@pytest.mark.parametrize("frames", [0, 1, 99, 100, 101, 500])
def test_fit_cuts_or_adds_silence_at_the_end(frames: int) -> None:
    samples = noise(2, 100)
    result = fit(samples, frames)
    kept = min(frames, 100)
    assert result.shape == (2, frames) and result.dtype == np.float32
    assert np.array_equal(result[:, :kept], samples[:, :kept]) and not result[:, kept:].any()


def test_mid_is_the_mean() -> None:
    assert np.array_equal(mid(np.array([[1, 0.5], [0, -0.5]], np.float32)), np.array([[0.5, 0]], np.float32))


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_quantising_keeps_every_step(bits: int) -> None:
    half = 2 ** (bits - 1)
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(-half, half, 5000), [-half, -1, 0, 1, half - 1]])[:, None]
    samples = (codes / half).astype(np.float32)
    assert np.array_equal(quantise(samples, bits, rng) >> (32 - bits), codes)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_quantising_cuts_and_never_wraps(bits: int) -> None:
    samples = np.array([[1.0], [-1.0], [1.5], [-1.5], [1e30], [-1e30]], np.float32)
    codes = quantise(samples, bits, np.random.default_rng(0)) >> (32 - bits)
    half = 2 ** (bits - 1)
    assert codes[:, 0].tolist() == [half - 1, -half] * 3


def test_dither_frees_the_error_of_the_sound() -> None:
    """A tone of half a step vanishes in rounding; dithered, it is there at its level, in noise of known power."""
    step = 2.0**-15
    tone = 0.4 * step * np.sin(2 * np.pi * 0.01 * np.arange(200_000))
    heard = (quantise(tone.astype(np.float32)[:, None], 16, np.random.default_rng(0)) / 2.0**31)[:, 0]
    gain = np.dot(heard, tone) / np.dot(tone, tone)
    assert gain == pytest.approx(1, abs=0.05)
    assert np.var(heard - tone) == pytest.approx(step**2 / 4, rel=0.03)  # 1/6 of the dither, 1/12 of the rounding


def test_dither_does_not_depend_on_blocks() -> None:
    samples = noise(2, 1000).T
    rng = np.random.default_rng(5)
    parts = [quantise(np.ascontiguousarray(samples[i : i + 77]), 16, rng) for i in range(0, 1000, 77)]
    assert np.array_equal(np.concatenate(parts), quantise(samples, 16, np.random.default_rng(5)))
