"""The band-pass: its edges, its slopes, its phase, and a slow referee."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.signal import butter, sosfreqz

from denoise_app.audio.clip import Clip
from denoise_app.classical.bandpass import BandPass

BANDS = [(100.0, 7600.0, 16_000), (300.0, 3400.0, 16_000), (20.0, 7000.0, 16_000), (50.0, 15_000.0, 48_000)]

Floats = npt.NDArray[np.float64]


def response(band: BandPass) -> tuple[Floats, Floats]:
    """(Hz, complex response) of the filter, measured by a click, without the phase of where the click was."""
    length = 1 << 17
    click = torch.zeros(1, length)
    click[0, length // 2] = 1
    out = np.roll(band(click)[0].double().numpy(), -(length // 2))
    return np.fft.rfftfreq(length, 1 / band.sample_rate), np.fft.rfft(out)


def db_at(band: BandPass, hertz: float) -> float:
    frequencies, spectrum = response(band)
    return float(20 * np.log10(np.abs(spectrum[np.argmin(np.abs(frequencies - hertz))])))


@pytest.mark.parametrize(("low", "high", "rate"), BANDS)
def test_both_edges_are_at_minus_three_decibels(low: float, high: float, rate: int) -> None:
    band = BandPass(low, high, rate)
    assert db_at(band, low) == pytest.approx(-3.01, abs=0.1)
    assert db_at(band, high) == pytest.approx(-3.01, abs=0.1)


@pytest.mark.parametrize(("low", "high", "rate"), BANDS)
def test_the_band_is_flat_and_constants_are_gone(low: float, high: float, rate: int) -> None:
    frequencies, spectrum = response(BandPass(low, high, rate))
    inside = (frequencies > 2 * low) & (frequencies < high / 2)
    assert np.abs(20 * np.log10(np.abs(spectrum[inside]))).max() < 0.1
    assert abs(spectrum[0]) < 1e-5


def test_slopes_are_24_decibels_an_octave() -> None:
    band = BandPass(800, 1600, 16_000)
    assert db_at(band, 100) - db_at(band, 50) == pytest.approx(24, abs=1.5)
    assert db_at(BandPass(100, 1000), 4000) < -45


@pytest.mark.parametrize(("low", "high", "rate"), BANDS)
def test_it_has_no_phase(low: float, high: float, rate: int) -> None:
    _, spectrum = response(BandPass(low, high, rate))
    assert np.abs(spectrum.imag).max() < 1e-5
    assert spectrum.real.min() > -2e-3


def test_a_tone_in_the_band_passes_unchanged_and_one_below_goes() -> None:
    time = torch.arange(32_000) / 16_000
    speech_like, rumble = torch.sin(2 * torch.pi * 1000 * time), torch.sin(2 * torch.pi * 25 * time)
    clean = BandPass()((0.5 * speech_like + 0.5 * rumble)[None])[0]
    torch.testing.assert_close(clean[4000:-4000], 0.5 * speech_like[4000:-4000], rtol=0, atol=3e-3)


def test_it_is_the_slow_filter() -> None:
    """Referee: Butterworth's magnitude on the spectrum of the whole signal."""
    signal = np.random.default_rng(0).uniform(-1, 1, 20_000)
    frequencies = np.fft.rfftfreq(1 << 16, 1 / 16_000)
    _, wanted = sosfreqz(butter(4, [100, 7600], "bandpass", fs=16_000, output="sos"), frequencies, fs=16_000)
    expected = np.fft.irfft(np.fft.rfft(signal, 1 << 16) * np.abs(wanted))[:20_000]
    clean = BandPass(100, 7600)(torch.from_numpy(signal.astype(np.float32))[None])[0].numpy()
    assert np.sqrt(np.mean((clean - expected) ** 2)) < 10 ** (-55 / 20) * np.sqrt(np.mean(expected**2))


def test_speech_loses_what_it_has_outside_the_band(speech: Clip) -> None:
    clean = speech.samples
    lost = BandPass()(torch.from_numpy(clean.copy())).numpy() - clean
    assert 10 * np.log10((clean**2).sum() / (lost**2).sum()) > 20


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1000), (19, 1000), (500, 500), (800, 200), (100, 8000), (float("nan"), 9)]
)
def test_edges_out_of_order_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="a band needs"):
        BandPass(low, high)
