"""Energy and zero crossings along time follow the signal, and their deviation is a distance."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.audio.clip import Clip
from denoise_app.metrics.activity import FLOOR_DB, MOST_FRAMES, activity, deviation


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_tone_and_hiss_have_the_energy_and_the_crossings_of_physics(rate: int) -> None:
    time = np.arange(2 * rate) / rate
    tone = activity(np.sin(2 * np.pi * 777 * time).astype(np.float32) / 2, rate)
    inner = slice(5, -5)
    np.testing.assert_allclose(tone.energy_db[inner], 10 * np.log10(1 / 8), atol=0.2)
    np.testing.assert_allclose(tone.crossings[inner], 2 * 777 / rate, atol=0.006)
    hiss = activity(np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32) / 10, rate)
    np.testing.assert_allclose(hiss.energy_db[inner].mean(), -20, atol=0.3)
    np.testing.assert_allclose(hiss.crossings[inner].mean(), 0.5, atol=0.01)


@pytest.mark.parametrize("samples", [1, 2, 479, 480, 481, 16_001, 30 * 48_000, 10 * 60 * 16_000])
def test_any_length_has_frames_within_it_and_not_too_many(samples: int) -> None:
    found = activity(np.full(samples, 0.5, np.float32), 16_000)
    assert 1 <= found.times.size == found.energy_db.size == found.crossings.size <= MOST_FRAMES
    assert np.all(np.diff(found.times) > 0) and found.times[-1] <= samples / 16_000 + 0.03
    assert np.isfinite(found.energy_db).all() and not found.crossings.any()


def test_silence_lies_at_the_floor() -> None:
    found = activity(np.zeros(16_000, np.float32), 16_000)
    assert set(found.energy_db) == {np.float32(FLOOR_DB)} and set(found.crossings) == {0}


def test_what_is_more_denoised_lies_nearer_to_the_clean_speech(speech: Clip) -> None:
    clean, rate = speech.samples[0], speech.sample_rate
    noise = np.random.default_rng(1).standard_normal(clean.size).astype(np.float32)
    curves = [activity(clean + gain * noise, rate) for gain in (0.0, 0.001, 0.01, 0.1)]
    apart = [deviation(curve, curves[0]) for curve in curves]
    assert [found.energy_db for found in apart] == sorted({found.energy_db for found in apart})
    assert [found.crossings for found in apart] == sorted({found.crossings for found in apart})
    assert (apart[0].energy_db, apart[0].crossings) == (0, 0)
    assert deviation(curves[0], curves[2]) == deviation(curves[2], curves[0])
