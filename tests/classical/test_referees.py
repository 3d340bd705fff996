"""The classical denoisers against slow, plain NumPy versions of their papers' equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import exp1

from denoise_app.classical import MmseLsa, Nlms, SpectralSubtraction, Wiener
from denoise_app.spectral.noise_floor import SLOW, NoiseTracker

RNG = np.random.default_rng(0)
FRAMES, BINS = 60, 257
CLEAN = RNG.rayleigh(1.0, (FRAMES, BINS)) * (RNG.random((FRAMES, 1)) < 0.5) * 20
POWER = (CLEAN + RNG.rayleigh(1.0, (FRAMES, BINS))) ** 2


def tracked_noise(power: np.ndarray) -> np.ndarray:
    """Gerkmann and Hendriks 2012, bin by bin and frame by frame, at the paper's 16 ms."""
    xi, noise, presence = 10**1.5, np.zeros(BINS), np.full(BINS, 0.5)
    out = np.zeros_like(power)
    opening = int(0.1 * 16_000 / 256)
    for t in range(len(power)):
        for k in range(BINS):
            ratio = min(power[t, k] / max(noise[k], 1e-30), 1e30)
            speech = 1 / (1 + (1 + xi) * math.exp(max(-ratio * xi / (1 + xi), -700)))  # (18)
            presence[k] = 0.9 * presence[k] + 0.1 * speech  # (23)
            if presence[k] > 0.99:
                speech = min(speech, 0.99)  # (24)
            if t < opening:
                noise[k] += (power[t, k] - noise[k]) / (t + 1)
            else:
                periodogram = speech * noise[k] + (1 - speech) * power[t, k]  # (22)
                noise[k] = SLOW * noise[k] + (1 - SLOW) * periodogram  # (8)
        out[t] = noise
    return out


NOISE = tracked_noise(POWER)


def batched(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values[:, None]).float()  # (N, F) -> (N, B, F)


def test_noise_tracker() -> None:
    tracker = NoiseTracker()
    noise, _ = tracker.track(batched(POWER), tracker.initial_state(1))
    assert np.allclose(noise[:, 0].numpy(), NOISE, rtol=2e-3)


def decision_directed(rule: object, smoothing: float, least: float) -> np.ndarray:
    """Ephraim and Malah 1984, (51), with a gain of at most 1."""
    gains, before = np.zeros_like(POWER), np.zeros(BINS)
    for t in range(FRAMES):
        for k in range(BINS):
            gamma = min(POWER[t, k] / NOISE[t, k], 1e4)
            xi = max(smoothing * before[k] + (1 - smoothing) * max(gamma - 1, 0), least)
            gain = min(rule(xi, gamma), 1.0)  # type: ignore[operator]
            before[k] = gain**2 * gamma
            gains[t, k] = gain
    return gains


def wiener(xi: float, gamma: float) -> float:
    return xi / (1 + xi)


def log_amplitude(xi: float, gamma: float) -> float:
    v = xi * gamma / (1 + xi)
    return xi / (1 + xi) * math.exp(0.5 * min(exp1(max(v, 1e-30)), 100.0))  # Ephraim and Malah 1985, (20)


@pytest.mark.parametrize(("make", "rule"), [(Wiener, wiener), (MmseLsa, log_amplitude)])
def test_decision_directed_gains(make: type, rule: object) -> None:
    denoiser = make()
    gains, _ = denoiser.gain(batched(POWER), batched(NOISE), denoiser.initial_memory(1))
    referee = decision_directed(rule, 0.92, 10**-1.5)
    assert np.abs(20 * np.log10(gains[:, 0].numpy() / referee)).max() < 0.1  # dB


def test_spectral_subtraction_gains() -> None:
    denoiser = SpectralSubtraction(over=4.0, remain=0.05)
    gains, _ = denoiser.gain(batched(POWER), batched(NOISE), ())
    referee = np.zeros_like(POWER)
    for t in range(FRAMES):
        snr = 10 * math.log10(POWER[t].sum() / NOISE[t].sum())
        alpha = 4.0 - 3 / 20 * min(max(snr, -5.0), 20.0)  # Berouti et al. 1979, (5)
        for k in range(BINS):
            rest = POWER[t, k] - alpha * NOISE[t, k]
            power = rest if rest > 0.05 * NOISE[t, k] else 0.05 * NOISE[t, k]  # (4)
            referee[t, k] = math.sqrt(power / POWER[t, k])
    assert np.allclose(gains[:, 0].numpy(), referee, rtol=1e-3, atol=1e-4)


def test_nlms_canceller_is_sample_by_sample_adaptation() -> None:
    """Nagumo and Noda's recursion written out, with the step that the block version uses at each sample."""
    taps, hop, length = 16, Nlms.hop, 6 * Nlms.hop
    reference = RNG.standard_normal(length)
    primary = np.convolve(reference, [0.5, -0.3, 0.2])[:length] + 0.1 * RNG.standard_normal(length)
    denoiser = Nlms(reference=True, taps=taps, step=0.1, lag=0)
    ours = denoiser(torch.from_numpy(np.stack([primary, reference])).float())[0].numpy()

    padded = np.concatenate([np.zeros(taps), reference])
    weights, slow, errors = np.zeros(taps), 0.0, np.zeros(length)
    for n in range(length):
        seen = padded[n + 1 : n + taps + 1]  # the newest last
        if n and n % hop == 0:
            slow += hop / 16_000 * (np.mean(reference[n - hop : n] ** 2) - slow)
        errors[n] = primary[n] - weights @ seen
        weights = weights + 0.1 * errors[n] * seen / (taps * (np.mean(seen**2) + slow))
    assert np.allclose(ours, errors, atol=1e-4)
