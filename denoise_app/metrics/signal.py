"""Comparing waveforms: pure functions of tensors (..., time), differentiable where a loss can use them.

Every function takes any leading shape and returns one number for each signal, as a tensor of that shape. Full scale
is 1. Where a gradient exists it is finite, for silence and for perfection too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from denoise_app.spectral.stft import Stft

MOST_DB = 100.0  # ratios end here: float32 resolves no more, and losses need a finite value
SLACK = 10 ** (-MOST_DB / 10)
SILENCE = 1e-12  # energy below a thousandth of one 16-bit step in one sample
SEGMENT_SECONDS = 0.03  # Hansen and Pellom 1998; with 75 % overlap as in Loizou's comp_snr
SEGMENT_DB = (-10.0, 35.0)  # ibid.: beyond these a frame's ratio is inaudible
FLOOR_DB = -90.0  # of a full-scale sine, the bottom of the spectrograms: what lies below counts as being there
STFT = Stft()


def mse(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean squared error, (..., time) twice -> (...), in units of full scale squared; 0 is perfect.

    >>> tone = torch.sin(torch.arange(16000) / 10)
    >>> [round(float(mse(x, tone)), 3) for x in (0 * tone, tone, 2 * tone)]
    [0.5, 0.0, 0.5]
    """
    return (estimate - clean).square().mean(-1)


def snr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Signal-to-noise ratio: energy of the clean signal over that of the error, (..., time) twice -> (...).

    In dB, from -100 to 100, higher is better, exact to 0.01 dB within -70 to 70. A silent reference gives -100.

    >>> tone = torch.sin(torch.arange(16000) / 10)
    >>> [round(float(snr(x, tone)), 1) for x in (0 * tone, tone, 2 * tone)]
    [0.0, 100.0, 0.0]
    """
    return _ratio_db(clean.square().sum(-1), (clean - estimate).square().sum(-1))


def si_sdr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 3).

    (..., time) twice -> (...), in dB, from -100 to 100, higher is better, exact to 0.01 dB within -70 to 70. The mean
    is not removed: an offset counts as distortion. A silent reference, or a silent estimate, gives -100.

    >>> tone = torch.sin(torch.arange(16000) / 10)
    >>> [round(float(si_sdr(x, tone)), 1) for x in (0 * tone, tone, 2 * tone)]
    [-100.0, 100.0, 100.0]
    """
    scale = (estimate * clean).sum(-1, keepdim=True) / (clean.square().sum(-1, keepdim=True) + SILENCE)
    target = scale * clean
    return _ratio_db(target.square().sum(-1), (target - estimate).square().sum(-1))


def segmental_snr(estimate: Tensor, clean: Tensor, sample_rate: int) -> Tensor:
    """Mean of the SNR of frames, each held within -10 to 35 dB (Hansen and Pellom 1998; Loizou 2013, eq. 11.2).

    (..., time) twice, rate in Hz -> (...), in dB, higher is better. Frames are 30 ms long, Hann-weighted, every
    7.5 ms; those in which the clean signal is silent count as -10 dB, as in Loizou's program.

    >>> tone = torch.sin(torch.arange(16000) / 10)
    >>> [round(float(segmental_snr(x, tone, 16000)), 1) for x in (0 * tone, tone, 2 * tone)]
    [0.0, 35.0, 0.0]
    """
    length = round(SEGMENT_SECONDS * sample_rate)
    window = torch.hann_window(length, device=clean.device, dtype=clean.dtype)
    signal = (_frames(clean, length, length // 4) * window).square().sum(-1)  # (..., T) -> (..., N)
    error = (_frames(clean - estimate, length, length // 4) * window).square().sum(-1)
    return _ratio_db(signal, error).clamp(*SEGMENT_DB).mean(-1)


def log_spectral_distance(estimate: Tensor, clean: Tensor) -> Tensor:
    """Distance of log power spectra: root mean square over frequency, mean over frames (Gray and Markel 1976).

    (..., time) twice -> (...), in dB, 0 is perfect, at most about 90. Both signals lie at the same rate, by custom
    16 kHz, and go through the house's 32 ms frames. Cells below -90 dB of a full-scale sine count as -90.

    >>> noise = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 10
    >>> [round(float(log_spectral_distance(x, noise)), 1) for x in (0 * noise, noise, 2 * noise)]
    [47.4, 0.0, 6.0]
    """
    difference = _spectrum_db(estimate) - _spectrum_db(clean)  # (..., F, N)
    # a root's gradient at 0 is infinite, and at 0 there is nothing to improve
    return difference.square().mean(-2).clamp(min=SILENCE).sqrt().mean(-1) - math.sqrt(SILENCE)


def short_time_energy(signal: Tensor, length: int, hop: int) -> Tensor:
    """Mean power of each frame: (..., time) -> (..., frames), in dB; a full-scale square wave is 0, silence -120.

    Args:
        signal: (..., time).
        length: Samples per frame.
        hop: Samples between frames; frame k begins at k * hop, and the last one is filled up with silence.

    >>> step = torch.cat([torch.zeros(400), torch.ones(400)])
    >>> short_time_energy(step, 400, 400), round(float(short_time_energy(2 * step, 800, 800)), 2)
    (tensor([-120.,    0.]), 3.01)
    """
    return 10 * torch.log10(_frames(signal, length, hop).square().mean(-1).clamp(min=SILENCE))


def zero_crossing_rate(signal: Tensor, length: int, hop: int) -> Tensor:
    """The share of neighbouring samples with opposite signs: (..., time) -> (..., frames), from 0 to 1.

    Frames as in `short_time_energy`. Zero counts as positive, so silence has none. Voiced speech stays low, hiss
    and unvoiced speech come near 0.5. It has no gradient.

    >>> wave = torch.tensor([1.0, -1.0]).repeat(200)
    >>> [round(float(zero_crossing_rate(x, 400, 400)), 2) for x in (0 * wave, wave, 2 * wave)]
    [0.0, 1.0, 1.0]
    """
    negative = _frames(signal, length, hop) < 0  # (..., N, L)
    return (negative[..., 1:] != negative[..., :-1]).to(signal.dtype).sum(-1) / max(length - 1, 1)


def _ratio_db(signal: Tensor, noise: Tensor) -> Tensor:
    """10 log10(signal / noise) of energies, bent smoothly into -100 to 100 dB; no signal at all gives -100."""
    return 10 * (torch.log10(signal + SLACK * noise + SLACK * SILENCE) - torch.log10(noise + SLACK * signal + SILENCE))


def _frames(signal: Tensor, length: int, hop: int) -> Tensor:
    """(..., time) -> (..., frames, length), silence added so that every sample is seen."""
    count = max(0, math.ceil((signal.shape[-1] - length) / hop)) + 1
    return F.pad(signal, (0, length + (count - 1) * hop - signal.shape[-1])).unfold(-1, length, hop)


def _spectrum_db(signal: Tensor) -> Tensor:
    """(..., time) -> (..., bins, frames) in dB of a full-scale sine, not below FLOOR_DB."""
    spectra = STFT.analyse(signal.reshape(math.prod(signal.shape[:-1]), signal.shape[-1]))  # (..., T) -> (B, F, N)
    power = (spectra.real.square() + spectra.imag.square()) * (2 / STFT.taper(signal).sum()) ** 2
    decibels = 10 * torch.log10(power.clamp(min=10 ** (FLOOR_DB / 10)))
    return decibels.unflatten(0, signal.shape[:-1]) if signal.dim() > 1 else decibels[0]
