"""A constant offset goes, wherever it changes, and nothing else does."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import NOISES, noise
from denoise_app.audio.offset import Offset, OffsetRemover

Array = npt.NDArray[np.float32]
RATE = 16_000
OWN_MEAN = 0.002  # what speech itself has within a second


@pytest.fixture
def voice(speech: Clip) -> Array:
    """Two channels of speech in soft noise, (2, 8 s)."""
    rng = np.random.default_rng(1)
    one = speech.samples[:, : 8 * RATE]
    return np.concatenate([one, 0.3 * one]) + rng.normal(0, 0.001, (2, one.shape[1])).astype(np.float32)


def removed(samples: Array, cuts: tuple[int, ...] = (1 << 30,), rate: int = RATE) -> tuple[Array, Offset]:
    """Samples without their offset, heard in blocks of these lengths in turn, and the offset."""
    remover, parts, begin = OffsetRemover(len(samples), rate), [], 0
    for cut in itertools.cycle(cuts):
        if begin >= samples.shape[1]:
            break
        parts.append(remover.push(samples[:, begin : begin + cut]))
        begin += cut
    return np.concatenate([samples[:, :0], *parts, remover.finish()], axis=1), remover.offset()


def moved(samples: Array, offset: npt.ArrayLike) -> Array:
    return (samples + np.asarray(offset)).astype(np.float32)


def test_sound_without_an_offset_passes_bit_by_bit(voice: Array) -> None:
    rng = np.random.default_rng(2)
    hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(5 * RATE) / RATE)[None]
    for samples in (voice, rng.normal(0, 0.2, (1, 30_011)), hum, np.zeros((3, RATE))):
        clean, offset = removed(moved(samples, 0))
        assert np.array_equal(clean, moved(samples, 0))
        assert not offset.at(0, samples.shape[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOISES)
def test_slow_noise_is_no_offset(voice: Array, kind: str) -> None:
    """What sways within seconds stays, or loses of itself what nobody hears: the wander below half a hertz."""
    for seed in range(3):
        sound = noise(kind, 8 * RATE, RATE, np.random.default_rng(seed), voice[0])[None]
        sound *= np.float32(0.1) / sound.std()
        change = removed(sound)[0] - sound
        wander = np.fft.irfft(np.fft.rfft(sound)[:, : 4 * 8], 8 * RATE)  # below 4 Hz
        assert change.std() <= max(wander.std(), 1e-9)
        assert change.std() < 0.02


@pytest.mark.parametrize("offset", [0.3, -0.3, 0.05, 0.01])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_an_offset_goes_and_the_voice_stays(voice: Array, offset: float, scale: float) -> None:
    clean, found = removed(moved(scale * voice, offset))
    assert np.abs(clean - scale * voice).max() < OWN_MEAN * scale + 1e-6
    assert found.at(0, 8 * RATE).mean() == pytest.approx(offset, abs=OWN_MEAN)


def test_each_channel_has_its_own(voice: Array) -> None:
    clean, found = removed(moved(voice, [[0.3], [-0.1]]))
    assert np.abs(clean - voice).max() < OWN_MEAN
    np.testing.assert_allclose(found.at(RATE, 10).mean(axis=1), [0.3, -0.1], atol=OWN_MEAN)


@pytest.mark.parametrize("seam", [RATE // 2, 3 * RATE, 3 * RATE + 1, 52_345, 8 * RATE - 7000])
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.2), (0.3, -0.3), (0.2, 0.25), (-0.1, 0.0)])
def test_a_step_is_followed(voice: Array, seam: int, before: float, after: float) -> None:
    """To the sample, but where the voice jumps as high itself within 10 ms."""
    offset = np.where(np.arange(8 * RATE) < seam, before, after)
    clean, _ = removed(moved(voice, offset))
    wrong = np.abs(clean - voice) > 2 * OWN_MEAN
    assert not wrong[:, : seam - 160].any() and not wrong[:, seam + 160 :].any()
    in_a_pause = np.abs(voice[:, seam - 160 : seam + 160]).max(axis=1) < 0.01
    assert not wrong[in_a_pause].any()


def test_several_steps_are_followed(voice: Array) -> None:
    offset = np.repeat([0.1, 0.3, 0.0, -0.2, -0.25, 0.0, 0.0, 0.1], RATE)
    error = np.abs(removed(moved(voice, offset))[0] - voice)
    assert (error > 2 * OWN_MEAN).mean() < 0.005


def test_a_slow_drift_is_followed(voice: Array) -> None:
    drift = 0.2 * np.sin(2 * np.pi * 0.05 * np.arange(8 * RATE) / RATE)
    error = np.abs(removed(moved(voice, drift))[0] - voice)
    assert error.max() < 0.04  # at both ends, where the second beyond is not known
    assert error[:, RATE:-RATE].max() < 0.006


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(257, 1000), (1,), (48_000, 7), (4801,)])
def test_blocks_change_nothing(voice: Array, cuts: tuple[int, ...]) -> None:
    length = 3 * RATE if cuts == (1,) else 8 * RATE
    offset = np.where(np.arange(length) < 30_001, 0.2, -0.05)
    samples = moved(voice[:, :length], offset)
    whole, found = removed(samples)
    assert np.array_equal(removed(samples, cuts)[0], whole)
    assert np.array_equal(samples - found.at(0, length), whole)
    assert np.array_equal(found.later(1000).at(0, 500), found.at(1000, 500))


@pytest.mark.parametrize("frames", [0, 1, 799, 800, 801, 4001, 16_001])
@pytest.mark.parametrize("rate", [8000, 44_100, 192_000])
def test_every_length_comes_out_whole(frames: int, rate: int) -> None:
    samples = moved(np.random.default_rng(0).normal(0, 0.01, (2, frames)), 0.2)
    clean, _ = removed(samples, (997,), rate)
    assert clean.shape == samples.shape
    if frames >= 0.05 * rate:
        assert abs(clean.mean()) < 0.002
    else:  # shorter than a period of speech: nobody can tell
        assert np.array_equal(clean, samples)


def test_a_constant_alone_is_an_offset() -> None:
    assert np.abs(removed(np.full((1, RATE), 0.25, np.float32))[0]).max() < 1e-7
