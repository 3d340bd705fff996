"""The classical denoisers do to sound what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.classical import CLASSICAL, BandPass, Nlms
from denoise_app.metrics.signal import si_sdr

RATE = 16_000
SPECTRAL = ("spectral-subtraction", "wiener", "mmse-lsa")
CLEAN_SPEECH_LEAST_DB = 18.0  # SI-SDR of clean speech after a denoiser that finds no noise in it


def tensor(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(samples.astype(np.float32))


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("kind", ["white", "pink"])
def test_stationary_noise_at_5_db_gains_4_db(name: str, kind: str, speech: Clip) -> None:
    clean = speech.samples[0]
    noisy, _ = mix_at_snr(clean, noise(kind, clean.size, RATE, np.random.default_rng(0)), 5.0, RATE)
    cleaned = CLASSICAL[name]()(tensor(noisy)[None])[0]
    assert si_sdr(cleaned, tensor(clean)) - si_sdr(tensor(noisy), tensor(clean)) >= 4.0


@pytest.mark.parametrize("name", SPECTRAL)
def test_clean_speech_is_lowered_no_more_than_stated(name: str, speech: Clip) -> None:
    clean = tensor(speech.samples)
    assert si_sdr(CLASSICAL[name]()(clean), clean).item() >= CLEAN_SPEECH_LEAST_DB


@pytest.mark.parametrize(("low", "high"), [(80.0, 7600.0), (300.0, 3400.0)])
def test_band_pass_is_3_db_down_at_both_edges(low: float, high: float) -> None:
    band = BandPass(low, high)
    click = torch.zeros(1, 65_536)
    click[0, 32_768] = 1.0
    response = torch.fft.rfft(band(click))[0].abs().numpy()
    hertz = np.fft.rfftfreq(65_536, 1 / RATE)

    def level(frequency: float) -> float:
        return float(20 * np.log10(np.interp(frequency, hertz, response)))

    assert level(low) == pytest.approx(-3.01, abs=0.15) and level(high) == pytest.approx(-3.01, abs=0.15)
    assert level((low * high) ** 0.5) == pytest.approx(0.0, abs=0.05)
    assert level(low / 4) < -35


def test_band_pass_shifts_nothing() -> None:
    click = torch.zeros(1, 8000)
    click[0, 4000] = 1.0
    assert BandPass()(click)[0].abs().argmax() == 4000


def test_canceller_takes_out_what_the_reference_tells(speech: Clip) -> None:
    """Noise that reaches the two microphones by different paths; speech reaches the first alone."""
    clean = speech.samples[0]
    rng = np.random.default_rng(1)
    source = noise("pink", clean.size, RATE, rng)
    heard = np.convolve(source, [0.0] * 20 + [0.6, -0.4, 0.25, 0.1])[: clean.size].astype(np.float32)
    noisy, _ = mix_at_snr(clean, heard, 0.0, RATE)
    cleaned = Nlms.with_reference()(tensor(np.stack([noisy, source])))
    assert torch.equal(cleaned[1], tensor(source)), "the reference comes back as it is"
    late = slice(clean.size // 2, None)  # once it has learnt
    gain = si_sdr(cleaned[0, late], tensor(clean)[late]) - si_sdr(tensor(noisy)[late], tensor(clean)[late])
    assert gain > 8.0


def test_line_enhancer_takes_out_hum_and_leaves_broadband_noise(speech: Clip) -> None:
    clean = speech.samples[0]
    time = np.arange(clean.size) / RATE
    tone = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    noisy, _ = mix_at_snr(clean, tone, 0.0, RATE)
    cleaned = Nlms()(tensor(noisy)[None])[0]
    late = slice(clean.size // 2, None)
    gain = si_sdr(cleaned[late], tensor(clean)[late]) - si_sdr(tensor(noisy)[late], tensor(clean)[late])
    assert gain > 5.0
    hiss = tensor(noise("white", 4 * RATE, RATE, np.random.default_rng(0)))
    kept = Nlms()(hiss[None])[0]
    assert 20 * torch.log10(kept.square().mean().sqrt() / hiss.square().mean().sqrt()) > -0.5
