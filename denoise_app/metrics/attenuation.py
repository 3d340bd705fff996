"""Speech attenuation and noise attenuation, separated by shadow filtering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.spectral.stft import Stft

STFT = Stft()
ACTIVE_DB = 35.0  # below the loudest frame: what lies further down is a pause of the voice, or of the noise
SILENCE = 1e-12  # of power, full scale 1
MOST_GAIN = 10.0  # of power: where speech and noise cancel in the mixture, the ratio of two small numbers says nothing


@dataclass(frozen=True)
class Attenuation:
    """What a denoiser did to the two parts of a mixture, in dB; positive where it took away, None without that part.

    Attributes:
        speech_db: Of the speech: 0 is perfect.
        noise_db: Of the noise: the more the better, as long as the speech stays.
    """

    speech_db: float | None
    noise_db: float | None


def shadow_attenuation(noisy: Samples, processed: Samples, clean: Samples) -> Attenuation:
    """Attenuation of speech and of noise by shadow filtering (Gustafsson, Martin and Vary 1996).

    The gain |processed| / |noisy| of each cell of time and frequency, frames of 32 ms at 16 kHz, is laid over the clean
    sound and over the noise alone, which is noisy - clean. Each is the mean over its own frames, those within 35 dB of
    its loudest, of the level before minus the level after: a quiet syllable counts as much as a loud one.

    Args:
        noisy, processed, clean: (time,) of equal lengths, aligned, full scale 1, at one rate, by custom 16 kHz.

    Raises:
        ValueError: unequal lengths.

    >>> rng = np.random.default_rng(0)
    >>> clean, noise = rng.standard_normal((2, 16000)).astype(np.float32) / 10
    >>> shadow_attenuation(clean + noise, 0.5 * (clean + noise), clean)
    Attenuation(speech_db=6.02, noise_db=6.02)
    >>> shadow_attenuation(clean, clean, clean)
    Attenuation(speech_db=0.0, noise_db=None)
    """
    if not noisy.shape == processed.shape == clean.shape:
        raise ValueError(f"signals of equal lengths, not {noisy.shape}, {processed.shape} and {clean.shape}")
    gain = (_power(processed) / _power(noisy).clamp(min=SILENCE)).clamp(max=MOST_GAIN)
    return Attenuation(_lost(_power(clean), gain), _lost(_power(noisy - clean), gain))


def _power(signal: Samples) -> Tensor:
    """(T,) -> (bins, frames)."""
    spectra = STFT.analyse(torch.from_numpy(np.array(signal, dtype=np.float32))[None])[0]
    return spectra.real.square() + spectra.imag.square()


def _lost(power: Tensor, gain: Tensor) -> float | None:
    """dB that a part of power (F, N) loses by a gain of power (F, N)."""
    before, after = power.sum(0), (gain * power).sum(0)  # (F, N) -> (N,)
    active = before > max(float(before.max()) * 10 ** (-ACTIVE_DB / 10), SILENCE)
    if not active.any():
        return None
    return round(float(10 * torch.log10(before[active] / after[active].clamp(min=SILENCE)).mean()), 2)
