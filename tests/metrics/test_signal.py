"""Waveform metrics against plain NumPy, at their ends, and as something to differentiate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.metrics import signal

RATE = 16_000
Floats = npt.NDArray[np.float64]


def pair(speech: Clip, snr_db: float = 5.0, seed: int = 0) -> tuple[Floats, Floats]:
    """(estimate, clean), (time,) each."""
    clean = speech.samples[0].astype(np.float64)
    noise = np.random.default_rng(seed).standard_normal(clean.size)
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return clean + noise, clean


def tensors(estimate: Floats, clean: Floats) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(estimate), torch.from_numpy(clean)


def plain_segmental_snr(estimate: Floats, clean: Floats) -> float:
    """As in the book: a loop over frames."""
    length, hop = 480, 120
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    ratios = []
    for start in range(0, clean.size - length + 1, hop):
        part, error = clean[start : start + length] * window, (clean - estimate)[start : start + length] * window
        ratios.append(np.clip(10 * np.log10((part @ part + 1e-30) / (error @ error + 1e-30)), -10, 35))
    return float(np.mean(ratios))


def plain_lsd(estimate: Floats, clean: Floats) -> float:
    """By a loop over the frames that lie wholly inside."""
    window = np.sqrt(np.hanning(513)[:-1])
    distances = []
    for start in range(0, clean.size - 511, 256):
        spectra = [np.abs(np.fft.rfft(x[start : start + 512] * window)) * 2 / window.sum() for x in (estimate, clean)]
        ours, theirs = (np.maximum(20 * np.log10(s + 1e-30), -90) for s in spectra)
        distances.append(np.sqrt(np.mean((ours - theirs) ** 2)))
    return float(np.mean(distances))


@pytest.mark.parametrize("snr_db", [-5, 0, 20])
def test_snr_is_what_was_mixed(speech: Clip, snr_db: float) -> None:
    assert float(signal.snr(*tensors(*pair(speech, snr_db)))) == pytest.approx(snr_db, abs=1e-3)


def test_si_sdr_is_the_angle_between_two_vectors(speech: Clip) -> None:
    estimate, clean = pair(speech)
    cosine = estimate @ clean / np.linalg.norm(estimate) / np.linalg.norm(clean)
    expected = 20 * math.log10(cosine / math.sqrt(1 - cosine**2))
    for scale in (1.0, 0.01, -3.0):
        assert float(signal.si_sdr(*tensors(scale * estimate, clean))) == pytest.approx(expected, abs=1e-3)


def test_an_offset_is_distortion(speech: Clip) -> None:
    _, clean = pair(speech)
    assert float(signal.si_sdr(*tensors(clean + 0.1, clean))) < 10


def test_segmental_snr_is_the_loop(speech: Clip) -> None:
    estimate, clean = pair(speech)
    expected = plain_segmental_snr(estimate, clean)  # it leaves out the last frame, one of a thousand
    assert float(signal.segmental_snr(*tensors(estimate, clean), RATE)) == pytest.approx(expected, abs=0.03)


def test_segmental_snr_stays_within_its_clamp(speech: Clip) -> None:
    _, clean = pair(speech)
    assert float(signal.segmental_snr(*tensors(clean, clean), RATE)) <= 35
    assert float(signal.segmental_snr(*tensors(100 * clean + 1, clean), RATE)) == -10


def test_log_spectral_distance_is_the_loop(speech: Clip) -> None:
    estimate, clean = pair(speech)
    expected = plain_lsd(estimate, clean)  # without the two half-empty frames at the ends
    assert float(signal.log_spectral_distance(*tensors(estimate, clean))) == pytest.approx(expected, rel=0.01)


def test_what_no_one_hears_is_no_distance() -> None:
    inaudible = torch.randn(RATE, generator=torch.Generator().manual_seed(1)) * 1e-6
    assert float(signal.log_spectral_distance(inaudible, torch.zeros(RATE))) == 0


def test_mse_is_the_mean_of_squares(speech: Clip) -> None:
    estimate, clean = pair(speech)
    assert float(signal.mse(*tensors(estimate, clean))) == pytest.approx(np.mean((estimate - clean) ** 2))


METRICS: dict[str, Callable[..., Tensor]] = {
    "mse": signal.mse,
    "snr": signal.snr,
    "si_sdr": signal.si_sdr,
    "segmental_snr": lambda estimate, clean: signal.segmental_snr(estimate, clean, RATE),
    "log_spectral_distance": signal.log_spectral_distance,
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@every_metric
def test_any_leading_shape_gives_the_numbers_of_each_alone(metric: Callable[..., Tensor], speech: Clip) -> None:
    estimates, cleans = zip(
        *(tensors(*pair(speech, snr, seed)) for seed, snr in enumerate((0, 5, 10, 20))), strict=True
    )
    together = metric(torch.stack(estimates).unflatten(0, (2, 2)), torch.stack(cleans).unflatten(0, (2, 2)))
    alone = torch.stack([metric(a, b) for a, b in zip(estimates, cleans, strict=True)])
    assert together.shape == (2, 2)
    torch.testing.assert_close(together.flatten(), alone)


@every_metric
def test_gradients_are_those_of_differences(metric: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(2)
    clean = torch.randn(700, generator=generator, dtype=torch.float64)
    estimate = (clean + torch.randn(700, generator=generator, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(metric(estimate, clean), estimate)
    direction = torch.randn(700, generator=generator, dtype=torch.float64)
    step = 1e-6 * direction
    measured = (metric(estimate + step, clean) - metric(estimate - step, clean)) / 2e-6
    torch.testing.assert_close((slope * direction).sum(), measured.detach(), rtol=1e-4, atol=1e-7)


@every_metric
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_for_silence_and_perfection(metric: Callable[..., Tensor], dtype: torch.dtype) -> None:
    sound = torch.randn(3000, generator=torch.Generator().manual_seed(3)).to(dtype)
    nothing = torch.zeros_like(sound)
    for estimate, clean in [(nothing, nothing), (sound, sound), (nothing, sound), (sound, nothing), (2 * sound, sound)]:
        leaf = estimate.clone().requires_grad_()
        value = metric(leaf, clean)
        (slope,) = torch.autograd.grad(value, leaf)
        assert torch.isfinite(value) and torch.isfinite(slope).all()


@every_metric
@pytest.mark.parametrize("length", [0, 1, 119, 480, 481, 997])
def test_awkward_lengths_have_a_finite_value(metric: Callable[..., Tensor], length: int) -> None:
    sound = torch.ones(max(length, int(metric is signal.mse)))  # the mean of nothing is nothing
    assert torch.isfinite(metric(0.5 * sound, sound))


@every_metric
def test_the_caller_keeps_its_tensors(metric: Callable[..., Tensor], speech: Clip) -> None:
    given = tensors(*pair(speech))
    kept = [tensor.clone() for tensor in given]
    metric(*given)
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


def test_energy_and_crossings_of_a_tone_are_known() -> None:
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * time + 0.1)
    energy = signal.short_time_energy(tone, 480, 160)
    assert energy.shape == (98,)
    torch.testing.assert_close(energy[:-1], torch.full((97,), -9.03, dtype=torch.float64), atol=0.01, rtol=0)
    crossings = signal.zero_crossing_rate(tone, 480, 160)
    torch.testing.assert_close(crossings[:-1], torch.full((97,), 0.125, dtype=torch.float64), atol=0.003, rtol=0)


def test_energy_and_crossings_tell_vowel_from_hiss(speech: Clip) -> None:
    voice = torch.from_numpy(speech.samples.copy())
    hiss = 0.01 * torch.randn(voice.shape, generator=torch.Generator().manual_seed(4))
    loud = signal.short_time_energy(voice, 480, 480) > -30
    assert signal.zero_crossing_rate(voice, 480, 480)[loud].median() < 0.2
    assert signal.zero_crossing_rate(hiss, 480, 480).median() == pytest.approx(0.5, abs=0.02)
