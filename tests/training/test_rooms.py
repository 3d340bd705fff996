"""Rooms keep physics."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.training.rooms import draw_rooms, from_recording, shoebox

RATE = 16_000


def test_direct_sound_comes_first_with_amplitude_one() -> None:
    response = shoebox([5, 4, 3], [1, 1, 1], [3, 2, 1.5], rt60=0.3, length=RATE // 2, sample_rate=RATE)
    assert response[0] == pytest.approx(1.0)
    assert np.abs(response).argmax() == 0


def test_first_reflection_by_hand() -> None:
    """Source and microphone at one height h in a wide, high room: the floor's image is the next to arrive."""
    distance, height = 2.0, 1.0
    size = [40.0, 40.0, 40.0]
    response = shoebox(size, [20, 20, height], [20 + distance, 20, height], rt60=2.0, length=400, sample_rate=RATE)
    path = np.hypot(distance, 2 * height)
    late = (path - distance) / 343.0 * RATE
    reflection = np.exp(-0.161 * 40**3 / (2 * 6 * 40**2 * 2.0))
    first = int(np.floor(late))
    assert response[first] + response[first + 1] == pytest.approx(reflection * distance / path, rel=1e-4)
    assert np.abs(response[1:first]).max() == 0


@pytest.mark.parametrize("rt60", [0.2, 0.4])
def test_energy_decays_near_the_reverberation_time(rt60: float) -> None:
    response = shoebox([6, 5, 3], [1, 1.5, 1.2], [4, 3, 1.6], rt60, length=round(2 * rt60 * RATE), sample_rate=RATE)
    decay = 10 * np.log10(np.cumsum(response[::-1].astype(float) ** 2)[::-1] + 1e-12)
    time = np.arange(response.size) / RATE
    part = (decay - decay[0] < -5) & (decay - decay[0] > -25)  # the T20 of ISO 3382
    slope = np.polyfit(time[part], decay[part], 1)[0]
    assert 0.9 < -60 / slope / rt60 < 1.8  # longer than Eyring's: see `shoebox`


def test_drawn_rooms_differ_and_repeat() -> None:
    first = draw_rooms(np.random.default_rng(0), 3, RATE, 0.1)
    assert first.shape == (3, 1600) and first.dtype == np.float32
    assert not np.allclose(first[0], first[1])
    assert np.array_equal(first, draw_rooms(np.random.default_rng(0), 3, RATE, 0.1))


def test_a_recorded_response_starts_at_its_peak() -> None:
    recorded = np.array([0.0, 0.1, -0.5, 0.2], dtype=np.float32)
    assert from_recording(recorded, 4).tolist() == pytest.approx([1.0, -0.4, 0.0, 0.0])
