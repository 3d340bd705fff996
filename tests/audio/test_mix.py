"""Mixtures hit their SNR, and noises by rule are what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.audio.clip import Clip
from denoise_app.audio.level import active_speech_level
from denoise_app.audio.mix import NOISES, mix_at_snr, noise

RATE = 16_000


@pytest.mark.parametrize("kind", NOISES)
def test_noises_have_their_level_and_repeat(kind: str, speech: Clip) -> None:
    first = noise(kind, 3 * RATE, RATE, np.random.default_rng(1), speech.samples[0])
    assert first.shape == (3 * RATE,) and first.dtype == np.float32
    assert np.sqrt(np.mean(first.astype(float) ** 2)) == pytest.approx(0.1, rel=1e-3)
    assert np.array_equal(first, noise(kind, 3 * RATE, RATE, np.random.default_rng(1), speech.samples[0]))
    assert not np.array_equal(first, noise(kind, 3 * RATE, RATE, np.random.default_rng(2), speech.samples[0]))


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_noises_exist_at_any_rate_and_length(kind: str, rate: int, speech: Clip) -> None:
    for frames in (0, 1, 997):
        sound = noise(kind, frames, rate, np.random.default_rng(0), speech.samples[0])
        assert sound.shape == (frames,) and np.isfinite(sound).all()


@pytest.mark.parametrize(("kind", "slope"), [("white", 0.0), ("pink", -10.0), ("brown", -20.0)])
def test_coloured_noise_falls_by_its_decibels_a_decade(kind: str, slope: float) -> None:
    sound = noise(kind, 60 * RATE, RATE, np.random.default_rng(0)).astype(float)
    power = np.abs(np.fft.rfft(sound)) ** 2
    hertz = np.fft.rfftfreq(sound.size, 1 / RATE)

    def level(centre: float) -> float:
        return float(10 * np.log10(power[(hertz > centre * 0.9) & (hertz < centre * 1.1)].mean()))

    assert level(3000) - level(300) == pytest.approx(slope, abs=0.5)


def test_hum_lives_on_the_harmonics_of_the_mains() -> None:
    sound = noise("hum", 10 * RATE, RATE, np.random.default_rng(0)).astype(float)
    power = np.abs(np.fft.rfft(sound)) ** 2
    harmonics = np.arange(1, 16) * 50 * 10
    assert power[harmonics].sum() / power.sum() > 0.99


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_rain_is_drops_that_fade_and_hiss_between_them(rate: int) -> None:
    """More restless than hiss, with no single sample far above the rest, and what rises quickly falls slowly."""
    rain, hiss = (noise(kind, 8 * rate, rate, np.random.default_rng(3)).astype(float) for kind in ("rain", "white"))

    def levels(sound: np.ndarray) -> np.ndarray:
        return 10 * np.log10((sound.reshape(-1, rate // 500) ** 2).mean(1))  # every 2 ms

    assert np.abs(rain).max() < 0.1 * 10 ** (24 / 20)  # 24 dB above the RMS
    assert levels(rain).std() > 1.5 * levels(hiss).std()
    steps = np.diff(levels(rain))
    assert np.quantile(steps, 0.99) > -np.quantile(steps, 0.01) + 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_music_has_tones_and_a_beat(seed: int) -> None:
    """A hundredth of the bins of 8 s hold most of the power; the level of the highs comes back after half a bar."""
    sound = noise("music", 8 * RATE, RATE, np.random.default_rng(seed)).astype(float)
    power = np.sort(np.abs(np.fft.rfft(sound * np.hanning(sound.size))) ** 2)
    assert power[-power.size // 100 :].sum() / power.sum() > 0.6
    highs = np.abs(np.diff(sound, 2, append=[0, 0])).reshape(-1, 160).mean(1)  # every 10 ms
    highs = highs - highs.mean()
    halves = [np.sum(highs[lag:] * highs[:-lag]) / np.sum(highs**2) for lag in range(90, 160)]
    assert max(halves) > 0.4


@pytest.mark.parametrize("snr", [-10.0, 0.0, 12.5, 30.0])
def test_snr_is_exact_on_the_active_level(snr: float, speech: Clip) -> None:
    clean = speech.samples[0]
    noisy, scaled = mix_at_snr(clean, noise("pink", clean.size, RATE, np.random.default_rng(0)), snr, RATE)
    level = 20 * np.log10(np.sqrt(np.mean(scaled.astype(float) ** 2)))
    assert active_speech_level(clean, RATE) - level == pytest.approx(snr, abs=0.01)
    assert np.array_equal(noisy, clean + scaled)


def test_silence_has_no_snr(speech: Clip) -> None:
    clean = speech.samples[0]
    for pair in ((clean, np.zeros_like(clean)), (np.zeros_like(clean), clean)):
        with pytest.raises(ValueError, match="needs sound"):
            mix_at_snr(*pair, 0.0, RATE)
    with pytest.raises(ValueError, match="equally long"):
        mix_at_snr(clean, clean[:-1], 0.0, RATE)


def test_unknown_noise_and_babble_without_speech() -> None:
    with pytest.raises(ValueError, match="no noise is called 'sirens'"):
        noise("sirens", 10, RATE, np.random.default_rng(0))
    with pytest.raises(ValueError, match="made of speech"):
        noise("babble", 10, RATE, np.random.default_rng(0))
