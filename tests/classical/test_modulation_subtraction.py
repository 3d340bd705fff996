"""Subtraction among modulations: against a slow one, and against plain subtraction on noise that moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.signal import butter, sosfilt

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.classical.modulation_subtraction import ModulationSubtraction
from denoise_app.classical.spectral_subtraction import SpectralSubtraction
from denoise_app.denoiser import Denoiser
from denoise_app.metrics import signal
from denoise_app.spectral.noise_floor import NoiseTracker
from denoise_app.spectral.stft import Stft

RATE = 16_000
Floats = npt.NDArray[np.float64]
Sound = npt.NDArray[np.float32]


def run(denoiser: Denoiser, samples: Sound) -> Sound:
    return denoiser(torch.from_numpy(samples.copy())[None])[0].numpy()


def swelling(frames: int, kind: str, hertz: float) -> Sound:
    """Amplitude-modulated noise: almost silent `hertz` times a second."""
    time = np.arange(frames) / RATE
    steady = noise(kind, frames, RATE, np.random.default_rng(0))
    return (steady * (1 + 0.95 * np.sin(2 * np.pi * hertz * time))).astype(np.float32)


def wandering(frames: int, hertz: float) -> Sound:
    """Frequency-modulated noise: a band 600 Hz wide whose centre moves between 700 and 2300 Hz."""
    time = np.arange(frames) / RATE
    phase = 2 * np.pi * np.cumsum(1500 + 800 * np.sin(2 * np.pi * hertz * time)) / RATE
    inner = sosfilt(
        butter(4, 300, fs=RATE, output="sos"), np.random.default_rng(1).standard_normal((2, frames)), axis=1
    )
    return (0.1 * (inner[0] * np.cos(phase) - inner[1] * np.sin(phase))).astype(np.float32)


MOVING = {
    "swells 4 times a second": lambda frames: swelling(frames, "white", 4.0),
    "swells 8 times a second": lambda frames: swelling(frames, "pink", 8.0),
    "swells 16 times a second": lambda frames: swelling(frames, "white", 16.0),
    "wanders twice a second": lambda frames: wandering(frames, 2.0),
    "wanders 5 times a second": lambda frames: wandering(frames, 5.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("snr", [0.0, 5.0])
@pytest.mark.parametrize("kind", MOVING)
def test_it_beats_plain_subtraction_on_noise_that_moves(kind: str, snr: float, speech: Clip) -> None:
    """By 0.3 to 4 dB of SI-SDR, and by segmental SNR, which counts the pauses too."""
    clean = speech.samples[0]
    noisy, _ = mix_at_snr(clean, MOVING[kind](clean.size), snr, RATE)
    ours, plain = (torch.tensor(run(denoiser, noisy)) for denoiser in (ModulationSubtraction(), SpectralSubtraction()))
    reference = torch.tensor(clean)
    assert signal.si_sdr(ours, reference) > signal.si_sdr(plain, reference) + 0.3
    assert signal.segmental_snr(ours, reference, RATE) > signal.segmental_snr(plain, reference, RATE) + 0.2
    assert signal.si_sdr(ours, reference) > signal.si_sdr(torch.tensor(noisy), reference) + 0.3


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_noise_that_stands_still_is_cut_too(kind: str, speech: Clip) -> None:
    clean = speech.samples[0]
    noisy, _ = mix_at_snr(clean, noise(kind, clean.size, RATE, np.random.default_rng(0)), 5.0, RATE)
    reference = torch.tensor(clean)
    better = signal.si_sdr(torch.tensor(run(ModulationSubtraction(), noisy)), reference)
    assert better - signal.si_sdr(torch.tensor(noisy), reference) >= 4.0


def test_clean_speech_is_left_alone_as_far_as_it_can_be(speech: Clip) -> None:
    """It costs 3 dB more than with the other methods: onsets are smeared over a frame of modulations."""
    clean = speech.samples[0]
    assert signal.si_sdr(torch.tensor(run(ModulationSubtraction(), clean)), torch.tensor(clean)) >= 16.0


def test_swelling_noise_alone_is_cut_by_8_db_where_plain_subtraction_cuts_half_as_much() -> None:
    hiss = swelling(64_000, "white", 4.0)

    def left_db(denoiser: Denoiser) -> float:
        left = run(denoiser, hiss)[16_000:]
        return float(10 * np.log10((left**2).mean() / (hiss[16_000:] ** 2).mean()))

    assert left_db(ModulationSubtraction()) < -8
    assert left_db(SpectralSubtraction()) > -4


def referee(sound: Floats) -> Floats:
    """The whole at once in float64, with the frames cut by hand; the tracker has a referee of its own."""
    acoustic = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)) / np.sqrt(2)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(32) / 32)) / 2
    padded = np.concatenate([np.zeros(384), sound, np.zeros(1024)])
    count = -(-(sound.size + 384) // 128)
    spectra = np.stack([np.fft.rfft(acoustic * padded[128 * n : 128 * n + 512]) for n in range(count)], axis=1)
    heard = np.pad(np.abs(spectra), ((0, 0), (28, 64)))
    frames = np.stack([heard[:, 4 * n : 4 * n + 32] for n in range((count + 60) // 4)])  # (m, 257, 32)
    modulations = np.fft.rfft(frames * window)
    power = np.abs(modulations) ** 2
    tracker = NoiseTracker(Stft(32, 4, 125), prior_snr_db=6.0, opening=0.3)
    estimate = tracker.track(torch.from_numpy(power).float(), tracker.initial_state(257))[0].double().numpy()
    left = np.maximum(power - 1.5 * estimate, 0.002 * estimate)
    cleaned = np.fft.irfft(np.sqrt(np.minimum(left / np.maximum(power, 1e-30), 1)) * modulations) * window
    total = np.zeros_like(heard)
    for n, frame in enumerate(cleaned):
        total[:, 4 * n : 4 * n + 32] += frame
    gain = np.clip(total[:, 28 : 28 + count] / np.maximum(np.abs(spectra), 1e-30), 0.1, 1.0)
    out = np.zeros(padded.size)
    for n in range(count):
        out[128 * n : 128 * n + 512] += acoustic * np.fft.irfft(gain[:, n] * spectra[:, n])
    return out[384 : 384 + sound.size]


@pytest.mark.parametrize("length", [24_000, 24_001, 24_383])
def test_it_is_the_slow_one(length: int, speech: Clip) -> None:
    noisy = speech.samples[0, :length] + swelling(length, "white", 5.0) / 5
    expected = referee(noisy.astype(np.float64))
    error = run(ModulationSubtraction(), noisy) - expected
    assert np.abs(error).max() < 1e-3 * np.abs(expected).max()


def test_no_gain_is_above_one_or_below_the_floor() -> None:
    denoiser = ModulationSubtraction(floor_db=-12.0)
    spectra = denoiser.stft.analyse(torch.from_numpy(swelling(16_000, "pink", 3.0))[None])
    clean, _ = denoiser.enhance(spectra, denoiser.initial_frames(1))
    late = denoiser.look_ahead
    assert not clean[:, :, :late].any()
    gain = clean[:, :, late:].abs() / spectra[:, :, :-late].abs()
    assert gain.min() > 10 ** (-12 / 20) - 1e-5 and gain.max() < 1 + 1e-5


@pytest.mark.parametrize("wrong", [{"over": 0.5}, {"remain": 1.5}, {"floor_db": 1.0}])
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not"):
        ModulationSubtraction(**wrong)
