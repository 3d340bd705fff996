"""The adaptive filter: sample by sample against a slow one, and what it takes away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.classical.nlms import Nlms
from denoise_app.metrics import signal

Floats = npt.NDArray[np.float64]
RATE = 16_000


def si_sdr(clean: Floats, processed: Floats) -> float:
    return signal.si_sdr(torch.tensor(processed), torch.tensor(clean)).item()


def alone(denoiser: Nlms, noisy: Floats) -> Floats:
    return denoiser(torch.from_numpy(noisy.astype(np.float32))[None])[0].double().numpy()


def cancelled(denoiser: Nlms, primary: Floats, reference: Floats) -> Floats:
    rows = np.stack([primary, reference]).astype(np.float32)
    return denoiser(torch.from_numpy(rows))[0].double().numpy()


def slow_nlms(primary: Floats, reference: Floats, taps: int, mu: float, lag: int) -> Floats:
    """Sample by sample in float64: e_n = d_n - w . x_n; w += mu e_n x_n / (energy of the reference)."""
    ahead = max(-lag, 0)
    span = taps + max(lag, 0)
    past = span + ahead
    heard = np.concatenate([np.zeros(past), reference, np.zeros(ahead)])
    weights, error, mean_power = np.zeros(taps), np.zeros(primary.size), 0.0
    for n in range(-ahead, primary.size):  # the reference starts `ahead` samples before the primary does
        now = past + n + ahead  # the newest sample of the reference
        if (n + ahead) % 64 == 0 and n + ahead > 0:  # the mean power of the last second moves on by blocks
            mean_power += 64 / RATE * (np.mean(heard[now - 64 : now] ** 2) - mean_power)
        first = now - max(lag, 0)
        x = heard[first - taps + 1 : first + 1][::-1]
        e = (primary[n] if n >= 0 else 0.0) - weights @ x
        if n >= 0:
            error[n] = e
        energy = span * (np.mean(heard[now - span + 1 : now + 1] ** 2) + mean_power)
        weights += mu * e * x / max(energy, span * 1e-30)
    return error


def path(rng: np.random.Generator, lead: int = 0) -> Floats:
    """From the reference to the primary: 12 ms that die away; the noise reaches the reference `lead` samples late."""
    h = rng.standard_normal(190) * np.exp(-np.arange(190) / 40)
    h[0] = 2
    return np.concatenate([np.zeros(64 - lead), h])


def two_microphones(speech: Clip, kind: str, snr_db: float, lead: int = 0) -> tuple[Floats, Floats, Floats]:
    """Clean speech, primary, reference, (time,) each."""
    rng = np.random.default_rng(0)
    clean = speech.samples[0].astype(np.float64)
    source = noise(kind, clean.size + 64, RATE, rng).astype(np.float64)
    at_primary = np.convolve(source, path(rng, lead))[: clean.size].astype(np.float32)
    primary, _ = mix_at_snr(speech.samples[0], at_primary, snr_db, RATE)
    return clean, primary.astype(np.float64), np.concatenate([np.zeros(64), source])[: clean.size]


@pytest.mark.slow
@pytest.mark.parametrize(("taps", "mu", "lag"), [(512, 0.007, 3200), (64, 0.5, 1), (48, 1.9, 100)])
def test_alone_it_is_the_slow_one(taps: int, mu: float, lag: int, speech: Clip) -> None:
    noisy = speech.samples[0, :16_000] + 0.02 * np.sin(np.arange(16_000) * 0.3)
    expected = slow_nlms(noisy, noisy, taps, mu, lag)
    got = alone(Nlms(taps=taps, step=mu, lag=lag), noisy)
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(expected - noisy).max() > 1e-3  # it did something


@pytest.mark.slow
@pytest.mark.parametrize(("taps", "mu", "lag"), [(256, 0.03, -64), (100, 0.5, 0), (64, 1.0, -100), (32, 0.2, 20)])
def test_with_a_reference_it_is_the_slow_one(taps: int, mu: float, lag: int, speech: Clip) -> None:
    _, primary, reference = two_microphones(speech, "pink", 0.0)
    primary, reference = primary[:16_000], reference[:16_000]
    expected = slow_nlms(primary, reference, taps, mu, lag)
    got = cancelled(Nlms(reference=True, taps=taps, step=mu, lag=lag), primary, reference)
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("white", 10.0), ("pink", 8.0), ("brown", 10.0), ("rain", 8.0)])
def test_a_reference_cancels_the_noise(kind: str, least: float, speech: Clip) -> None:
    """Over 8 s from the first sample on; a filter that has settled does better, see below."""
    clean, primary, reference = two_microphones(speech, kind, 0.0)
    out = cancelled(Nlms.with_reference(), primary, reference)
    assert si_sdr(clean, out) > si_sdr(clean, primary) + least


def test_it_settles(speech: Clip) -> None:
    clean, primary, reference = two_microphones(speech, "white", 0.0)
    out = cancelled(Nlms.with_reference(), primary, reference)
    late = slice(5 * RATE, None)
    assert si_sdr(clean[late], out[late]) > si_sdr(clean[late], primary[late]) + 16


def test_it_finds_the_path() -> None:
    rng = np.random.default_rng(1)
    reference = rng.standard_normal(5 * RATE) * 0.1
    h = rng.standard_normal(100) * np.exp(-np.arange(100) / 20)
    primary = np.convolve(reference, h)[: reference.size]
    denoiser = Nlms(reference=True, taps=128, step=0.5, lag=0)
    rows = torch.from_numpy(np.stack([primary, reference]).astype(np.float32))
    _, state = denoiser.advance(rows, denoiser.initial_state(2))
    found = state.weights[0].flip(0).numpy()
    assert 20 * np.log10(np.linalg.norm(found - np.pad(h, (0, 28))) / np.linalg.norm(h)) < -60


@pytest.mark.slow
def test_noise_that_reaches_the_reference_late_is_cancelled_too(speech: Clip) -> None:
    """2.5 ms late: what a filter without look-ahead cannot do."""
    clean, primary, reference = two_microphones(speech, "white", 0.0, lead=40)
    ahead, behind = (si_sdr(clean, cancelled(Nlms(True, lag=lag), primary, reference)) for lag in (-64, 64))
    assert ahead > si_sdr(clean, primary) + 10
    assert ahead > behind + 5


def test_the_reference_comes_back_as_it_was(speech: Clip) -> None:
    rows = torch.from_numpy(np.stack(two_microphones(speech, "white", 0.0)[1:]).astype(np.float32))
    assert torch.equal(Nlms.with_reference()(rows)[1], rows[1])


def test_without_noise_in_the_reference_the_primary_comes_back(speech: Clip) -> None:
    rows = torch.stack([torch.from_numpy(speech.samples[0].copy()), torch.zeros(speech.frames)])
    assert torch.equal(Nlms.with_reference()(rows), rows)


@pytest.mark.slow
def test_the_level_of_the_reference_does_not_matter(speech: Clip) -> None:
    _, primary, reference = two_microphones(speech, "pink", 0.0)
    loud, faint = (cancelled(Nlms.with_reference(), primary, gain * reference) for gain in (1.0, 0.001))
    assert np.abs(loud - faint).max() < 1e-4


def test_a_reference_that_pauses_does_no_harm(speech: Clip) -> None:
    """Noise for two seconds, none for two, and again: no burst when it comes back."""
    clean, primary, reference = two_microphones(speech, "white", 0.0)
    on = (np.arange(clean.size) // (2 * RATE)) % 2 == 0
    primary, reference = np.where(on, primary, clean), np.where(on, reference, 1e-5 * reference)
    out = cancelled(Nlms.with_reference(), primary, reference)
    back = slice(4 * RATE, 4 * RATE + 8000)
    assert si_sdr(clean[back], out[back]) > si_sdr(clean[back], primary[back]) + 8


@pytest.mark.slow
@pytest.mark.parametrize("hertz", [100.0, 1000.0, 3150.0])
def test_alone_it_takes_a_tone_away(hertz: float) -> None:
    tone = 0.1 * np.sin(2 * np.pi * hertz * np.arange(10 * RATE) / RATE)
    left = alone(Nlms(), tone)
    assert 10 * np.log10(np.mean(left[-RATE:] ** 2) / np.mean(tone[-RATE:] ** 2)) < -30


def test_alone_it_takes_hum_from_under_speech(speech: Clip) -> None:
    clean = speech.samples[0].astype(np.float64)
    noisy, _ = mix_at_snr(speech.samples[0], noise("hum", clean.size, RATE, np.random.default_rng(2)), 0.0, RATE)
    out = alone(Nlms(), noisy.astype(np.float64))
    late = slice(4 * RATE, None)
    assert si_sdr(clean[late], out[late]) > si_sdr(clean[late], noisy[late].astype(np.float64)) + 7


def test_alone_it_leaves_clean_speech_alone(speech: Clip) -> None:
    """25 dB SI-SDR: what it must cost, since a vowel is a line for a while."""
    clean = speech.samples[0].astype(np.float64)
    assert si_sdr(clean, alone(Nlms(), clean)) > 25


def test_alone_it_leaves_hiss_alone() -> None:
    hiss = 0.1 * np.random.default_rng(3).standard_normal(4 * RATE)
    assert si_sdr(hiss, alone(Nlms(), hiss)) > 20


@pytest.mark.parametrize("rows", [1, 3])
def test_a_reference_needs_two_rows(rows: int) -> None:
    with pytest.raises(ValueError, match="two rows"):
        Nlms.with_reference()(torch.zeros(rows, 1000))


@pytest.mark.parametrize("settings", [{"step": 0.0}, {"step": 2.0}, {"taps": 0}, {"lag": 0}, {"lag": -3}])
def test_senseless_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not"):
        Nlms(**settings)  # type: ignore[arg-type]
