"""Mixtures at a known SNR, and noises made by rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter, sosfilt

from .clip import Samples
from .level import active_speech_level

NOISES = ("white", "pink", "brown", "hum", "babble", "keyboard", "rain", "music")

LEVEL = 0.1  # RMS: -20 dBFS

Floats = npt.NDArray[np.float64]


def noise(kind: str, frames: int, sample_rate: int, rng: np.random.Generator, speech: Samples | None = None) -> Samples:
    """Noise made by a rule, at an RMS level of -20 dBFS.

    Args:
        kind: One of `NOISES`.
        frames: Samples.
        sample_rate: Hz.
        rng: Where the randomness comes from; the same state gives the same noise.
        speech: (time,) at the same rate; babble is made of it, the others ignore it.

    Returns:
        (frames,) float32.

    Raises:
        ValueError: an unknown kind, or babble without speech.
    """
    rules: dict[str, Callable[[], Floats]] = {
        "white": lambda: rng.standard_normal(frames),
        "pink": lambda: _coloured(frames, sample_rate, 1.0, rng),
        "brown": lambda: _coloured(frames, sample_rate, 2.0, rng),
        "hum": lambda: _hum(frames, sample_rate, rng),
        "babble": lambda: _babble(frames, sample_rate, rng, speech),
        "keyboard": lambda: _keyboard(frames, sample_rate, rng),
        "rain": lambda: _rain(frames, sample_rate, rng),
        "music": lambda: _music(frames, sample_rate, rng),
    }
    if kind not in rules:
        raise ValueError(f"no noise is called {kind!r}; there are {', '.join(NOISES)}")
    sound = rules[kind]() if frames else np.zeros(0)
    level = np.sqrt(np.mean(sound**2)) if frames else 0.0
    return (sound * (LEVEL / level if level > 0 else 1.0)).astype(np.float32)


def mix_at_snr(clean: Samples, noise: Samples, snr_db: float, sample_rate: int) -> tuple[Samples, Samples]:
    """Speech and noise at an exact SNR: active speech level (ITU-T P.56) over the noise's RMS.

    Args:
        clean, noise: (time,) of equal lengths, neither silent.
        snr_db: dB.
        sample_rate: Hz.

    Returns:
        (noisy, scaled noise), (time,) float32 each; noisy = clean + scaled noise, the speech as it came. The sum may
        exceed full scale: whoever writes it to a file of integers scales both.

    Raises:
        ValueError: unequal lengths, or silence.
    """
    if clean.shape != noise.shape:
        raise ValueError(f"speech and noise must be equally long, not {clean.shape} and {noise.shape}")
    speech_db = active_speech_level(clean, sample_rate)
    noise_rms = float(np.sqrt(np.mean(noise.astype(np.float64) ** 2)))
    if not np.isfinite(speech_db) or noise_rms == 0:
        raise ValueError("an SNR needs sound in both the speech and the noise")
    gain = 10 ** ((speech_db - snr_db) / 20) / noise_rms
    scaled = (noise * gain).astype(np.float32)
    return clean + scaled, scaled


def _coloured(frames: int, sample_rate: int, exponent: float, rng: np.random.Generator) -> Floats:
    """Gaussian noise of power ~ 1 / f^exponent, level below 20 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(frames))
    hertz = np.maximum(np.fft.rfftfreq(frames, 1 / sample_rate), 20.0)
    return np.fft.irfft(spectrum * hertz ** (-exponent / 2), n=frames)


def _hum(frames: int, sample_rate: int, rng: np.random.Generator) -> Floats:
    """Mains hum: 50 Hz and its harmonics, falling by 1/n, with a little hiss."""
    time = np.arange(frames) / sample_rate
    harmonics = range(1, min(16, int(sample_rate / 2 / 50)))
    tones = sum(np.sin(2 * np.pi * (50 * n * time + rng.random())) / n for n in harmonics)
    return np.asarray(tones + 0.02 * rng.standard_normal(frames))


def _babble(frames: int, sample_rate: int, rng: np.random.Generator, speech: Samples | None) -> Floats:
    """Six voices at once: the speech at random offsets and slightly other speeds, so that no two are alike."""
    if speech is None or not speech.size:
        raise ValueError("babble is made of speech: give some")
    total = np.zeros(frames)
    for _ in range(6):
        speed = rng.uniform(0.85, 1.18)
        place = (rng.integers(speech.size) + np.arange(frames) * speed) % (speech.size - 1)
        total += np.interp(place, np.arange(speech.size), speech)
    return total


def _keyboard(frames: int, sample_rate: int, rng: np.random.Generator) -> Floats:
    """Key strokes at 3 to 9 a second: short bursts around 1 to 5 kHz that decay within 30 ms."""
    sound = np.zeros(frames)
    decay = np.exp(-np.arange(round(0.03 * sample_rate)) / (0.006 * sample_rate))
    place = 0
    while (place := place + int(sample_rate * rng.uniform(0.1, 0.33))) < frames:
        burst = decay * rng.standard_normal(decay.size) * rng.uniform(0.4, 1.0)
        end = min(frames, place + decay.size)
        sound[place:end] += burst[: end - place]
    top = min(5000.0, 0.45 * sample_rate)
    return np.asarray(sosfilt(butter(2, [1000.0, top], "bandpass", fs=sample_rate, output="sos"), sound))


def _rain(frames: int, sample_rate: int, rng: np.random.Generator) -> Floats:
    """Steady hiss above 1 kHz with some hundred drops a second: bursts of random strength that decay within 10 ms."""
    hiss = sosfilt(butter(2, 1000.0, "highpass", fs=sample_rate, output="sos"), rng.standard_normal(frames))
    strength = rng.uniform(0.2, 1.0, frames) * (rng.random(frames) < 200 / sample_rate)
    fading = lfilter([1.0], [1.0, -np.exp(-1 / (0.003 * sample_rate))], strength)
    band = butter(2, [700.0, min(6000.0, 0.4 * sample_rate)], "bandpass", fs=sample_rate, output="sos")
    return np.asarray(0.2 * hiss + sosfilt(band, fading * rng.standard_normal(frames)))


def _music(frames: int, sample_rate: int, rng: np.random.Generator) -> Floats:
    """A chord for each bar, a melody above it and drums below, in a major key at 80 to 130 beats a minute."""
    sound = np.zeros(frames)
    quaver = 30 / rng.uniform(80, 130)  # s
    tonic = 110 * 2 ** (rng.integers(12) / 12)  # Hz

    def play(start: int, seconds: float, wave: Callable[[Floats], Floats]) -> None:
        time = np.arange(min(round(seconds * sample_rate), frames - start)) / sample_rate
        sound[start : start + time.size] += wave(time) * np.exp(-4 * time / seconds) * np.minimum(1, time / 0.005)

    def note(semitones: int, strength: float) -> Callable[[Floats], Floats]:
        hertz = tonic * 2 ** (semitones / 12)
        partials = range(1, min(8, int(0.45 * sample_rate / hertz)) + 1)
        return lambda time: strength * np.asarray(sum(np.sin(2 * np.pi * n * hertz * time) / n for n in partials))

    def drum(strength: float) -> Callable[[Floats], Floats]:
        return lambda time: strength * rng.standard_normal(time.size)

    for step, place in enumerate(range(0, frames, round(quaver * sample_rate))):
        if step % 8 == 0:
            root = int(rng.choice((0, 5, 7)))  # tonic, subdominant, dominant
            for interval in (0, 4, 7):
                play(place, 8 * quaver, note(root + interval, 0.5))
        if rng.random() < 0.7:
            play(place, 2 * quaver, note(24 + int(rng.choice((0, 2, 4, 7, 9))), 0.5))
        if step % 4 == 0:
            play(place, 0.2, lambda time: 2 * np.sin(2 * np.pi * 60 * time))
        play(place, 0.05 if step % 4 != 2 else 0.15, drum(0.2 if step % 4 != 2 else 0.6))
    return sound
