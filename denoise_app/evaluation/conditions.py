"""What recordings suffer beside noise, applied to pairs of noisy and clean ones: the columns on robustness.

Each condition is a pure function of the pair and of a generator seeded by the pair's name, so that every denoiser is
scored on the same samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, sosfiltfilt

from denoise_app.audio import mix
from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import fit, resample
from denoise_app.training.rooms import EARLY_SECONDS, draw_rooms

TELEPHONE_RATE = 8_000  # Hz
CLIP = 0.25  # of the peak
QUIET_RMS = 10 ** (-55 / 20)  # of full scale
STEP = 2.0**-15  # of 16-bit samples
MUSIC_SNR_DB = 5.0
OFFSET = (0.1, 0.3)  # of full scale, to either side
CLEAN_SNR_DB = (15.0, 30.0)
FAR_DB = -20.0  # of a voice across the room, against one at the microphone
FAR_SNR_DB = 20.0  # of the far voice: the room is quiet
FAR_PAUSE = 0.5  # seconds between the two
VOICE_HZ = 60.0  # no voice is lower: below it a clean recording has rumble, in some only 6 dB softer than the voice

Sides = tuple[Samples, Samples]
"""(noisy, clean), (time,) each."""


@dataclass(frozen=True)
class Condition:
    """One kind of recording.

    Attributes:
        title: For the heading of a table.
        treat: (noisy, clean, rate in Hz, generator) -> the same (noisy, clean) as such a recording. It may put sound
            before them: what is scored are the last samples, as many as there were.
    """

    title: str
    treat: Callable[[Samples, Samples, int, np.random.Generator], Sides]


def treated(condition: str, name: str, noisy: Samples, clean: Samples, sample_rate: int) -> Sides:
    """The pair of a name under a condition of `CONDITIONS`; without speech it stays as it is."""
    if not clean.any():
        return noisy, clean
    digest = hashlib.sha256(f"{condition}\0{name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return CONDITIONS[condition].treat(noisy, clean, sample_rate, rng)


def _band_limited(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """Nothing above 4 kHz, as of a recording at 8 kHz in a file of a higher rate."""

    def narrow(samples: Samples) -> Samples:
        low = resample(samples[None], sample_rate, TELEPHONE_RATE)
        return fit(resample(low, TELEPHONE_RATE, sample_rate), samples.size)[0]

    return narrow(noisy), narrow(clean)


def _clipped(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """Overdriven: cut off at a quarter of the peak; the clean one is not."""
    limit = CLIP * np.abs(noisy).max()
    return noisy.clip(-limit, limit), clean


def _quiet(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """At -55 dBFS, in steps of 16 bits."""
    gain = np.float32(QUIET_RMS / np.sqrt(np.mean(noisy.astype(np.float64) ** 2)))
    return (np.round(gain * noisy / STEP) * STEP).astype(np.float32), gain * clean


def _reverberant(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """The voice in a room by the image method, the noise as it was; clean is its first 50 ms, as in training.

    The noise is what is in the noisy recording and not in the clean one. The voice keeps its energy.
    """
    response = draw_rooms(rng, 1, sample_rate)[0]
    early = response[: round(EARLY_SECONDS * sample_rate)]
    heard, target = (fftconvolve(clean, part)[: clean.size].astype(np.float32) for part in (response, early))
    gain = np.float32(np.linalg.norm(clean) / np.linalg.norm(heard))
    return gain * heard + (noisy - clean), gain * target


def _music(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """Music by rule instead of the noise, 5 dB below the active voice."""
    return mix.mix_at_snr(clean, mix.noise("music", clean.size, sample_rate, rng), MUSIC_SNR_DB, sample_rate)[0], clean


def _near_and_far(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """A near voice, half a second of pause, then the recording itself as a far one: an interview in a quiet room.

    The near one is the same recording, 20 dB louder; the noise goes on below both, 20 dB below the far one. Neither
    has rumble, which a denoiser would be blamed for taking away.
    """
    noise, clean = noisy - clean, _without_rumble(clean, sample_rate)
    gain = np.float32(10 ** (FAR_DB / 20))
    target = np.concatenate([clean, np.zeros(round(FAR_PAUSE * sample_rate), np.float32), gain * clean])
    hiss = gain * _noise_at(FAR_SNR_DB, noise, clean, sample_rate)
    return target + np.resize(hiss[::-1], target.size)[::-1], target  # the far voice has its own noise


def _offset(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """Off zero by a tenth to three tenths of full scale, as cheap converters are; what goes beyond is cut off."""
    return (noisy + np.float32(rng.choice([-1, 1]) * rng.uniform(*OFFSET))).clip(-1, 1), clean


def _clean_input(noisy: Samples, clean: Samples, sample_rate: int, rng: np.random.Generator) -> Sides:
    """15 to 30 dB of active voice, without rumble, over noise: what a denoiser had better leave alone."""
    noise, clean = noisy - clean, _without_rumble(clean, sample_rate)
    return clean + _noise_at(rng.uniform(*CLEAN_SNR_DB), noise, clean, sample_rate), clean


def _without_rumble(clean: Samples, sample_rate: int) -> Samples:
    """A clean recording without what lies below a voice, and nothing shifted."""
    above = butter(4, VOICE_HZ, "highpass", fs=sample_rate, output="sos")
    return np.asarray(sosfiltfilt(above, clean.astype(np.float64)), np.float32)


def _noise_at(snr_db: float, noise: Samples, clean: Samples, sample_rate: int) -> Samples:
    """Noise so far below the active voice; none stays none."""
    return mix.mix_at_snr(clean, noise, snr_db, sample_rate)[1] if noise.any() else noise


CONDITIONS: dict[str, Condition] = {
    "band-limited": Condition("8 kHz in 16", _band_limited),
    "clipped": Condition("clipped", _clipped),
    "quiet": Condition("quiet", _quiet),
    "reverberant": Condition("reverberant", _reverberant),
    "music": Condition("music", _music),
    "near-and-far": Condition("far after near", _near_and_far),
    "offset": Condition("offset", _offset),
    "clean-input": Condition("15 to 30 dB", _clean_input),
}
