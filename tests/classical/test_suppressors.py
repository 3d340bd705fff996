"""Spectral subtraction, Wiener and MMSE-LSA: against slow ones written from the papers, and against physics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.signal import butter, sosfiltfilt
from scipy.special import exp1

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.classical.mmse_lsa import MmseLsa
from denoise_app.classical.spectral_subtraction import SpectralSubtraction
from denoise_app.classical.suppressor import Suppressor
from denoise_app.classical.wiener import Wiener
from denoise_app.metrics import signal
from denoise_app.spectral.noise_floor import SLOW, STUCK
from denoise_app.spectral.stft import Stft

Floats = npt.NDArray[np.float64]
Rule = Callable[[Floats, Floats, Floats], Floats]
"""|Y|^2, noise power and last frame's G^2 gamma, (bins,) each -> gain (bins,)."""

RULES: dict[str, Callable[[], Suppressor]] = {
    "spectral-subtraction": SpectralSubtraction,
    "wiener": Wiener,
    "mmse-lsa": MmseLsa,
}
CLEAN_DB = {"spectral-subtraction": 22.0, "wiener": 19.0, "mmse-lsa": 20.0}
"""SI-SDR in dB that is left of clean speech. It must cost something: the first 0.1 s is taken for noise, the ends of
words fade into what the tracker takes for the noise's floor, and a voice sets in before its SNR is believed."""


def si_sdr(clean: npt.NDArray[np.float32], processed: npt.NDArray[np.float32]) -> float:
    return signal.si_sdr(torch.tensor(processed), torch.tensor(clean)).item()


def run(denoiser: Suppressor, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return denoiser(torch.from_numpy(samples.copy())[None])[0].numpy()


# ---- the referee: plain NumPy in float64, a frame at a time, every equation as its paper has it


def referee(signal: Floats, rule: Rule) -> Floats:
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))
    padded = np.concatenate([np.zeros(256), signal, np.zeros(512)])
    out = np.zeros_like(padded)
    estimate, mean_presence, decided = np.zeros(257), np.full(257, 0.5), np.zeros(257)
    for n in range((signal.size + 256 + 255) // 256):
        spectrum = np.fft.rfft(window * padded[n * 256 : n * 256 + 512])
        power = np.abs(spectrum) ** 2
        # the noise: Gerkmann and Hendriks 2012
        xi = 10**1.5
        ratio = np.minimum(power / np.maximum(estimate, 1e-30), 700)
        presence = 1 / (1 + (1 + xi) * np.exp(-ratio * xi / (1 + xi)))
        mean_presence = 0.9 * mean_presence + 0.1 * presence
        presence = np.where(mean_presence > STUCK, np.minimum(presence, STUCK), presence)
        if (n + 1) * 256 <= 1600:
            estimate = (n * estimate + power) / (n + 1)
        else:
            estimate = SLOW * estimate + (1 - SLOW) * ((1 - presence) * power + presence * estimate)
        gain = np.minimum(rule(power, estimate, decided), 1.0)
        decided = gain**2 * np.minimum(power / estimate, 1e4)
        out[n * 256 : n * 256 + 512] += window * np.fft.irfft(np.maximum(gain, 0.1) * spectrum)
    return out[256 : 256 + signal.size]


def prior_snr(power: Floats, noise_power: Floats, decided: Floats) -> tuple[Floats, Floats]:
    """Ephraim and Malah 1984, (51), with alpha = 0.92 and at least -15 dB -> xi, gamma."""
    gamma = np.minimum(power / noise_power, 1e4)
    return np.maximum(0.92 * decided + 0.08 * np.maximum(gamma - 1, 0), 10**-1.5), gamma


def wiener(power: Floats, noise_power: Floats, decided: Floats) -> Floats:
    xi, _ = prior_snr(power, noise_power, decided)
    return xi / (1 + xi)


def mmse_lsa(power: Floats, noise_power: Floats, decided: Floats) -> Floats:
    """Ephraim and Malah 1985, (20)."""
    xi, gamma = prior_snr(power, noise_power, decided)
    v = xi / (1 + xi) * gamma
    return xi / (1 + xi) * np.exp(0.5 * exp1(np.maximum(v, 1e-6)))


def berouti(power: Floats, noise_power: Floats, decided: Floats) -> Floats:
    """Berouti, Schwartz and Makhoul 1979 with alpha_0 = 4 and beta = 0.05."""
    snr = 10 * np.log10(power.sum() / noise_power.sum())
    alpha = 4 - 3 / 20 * snr if -5 <= snr <= 20 else 1.0 if snr > 20 else 4.75
    clean = power - alpha * noise_power
    clean = np.where(clean > 0.05 * noise_power, clean, 0.05 * noise_power)
    return np.sqrt(clean / power)


@pytest.mark.parametrize(
    ("name", "rule"), [("spectral-subtraction", berouti), ("wiener", wiener), ("mmse-lsa", mmse_lsa)]
)
def test_it_is_the_slow_one(name: str, rule: Rule, speech: Clip) -> None:
    clean = speech.samples[0, :40_000]
    noisy = clean + 0.02 * np.random.default_rng(0).standard_normal(clean.size).astype(np.float32)
    expected = referee(noisy.astype(np.float64), rule)
    error = run(RULES[name](), noisy) - expected
    assert np.abs(error).max() < 1e-3 * np.abs(expected).max()


# ---- physics


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("kind", ["white", "pink"])
def test_stationary_noise_at_5_db_is_cut_by_4_db_and_more(name: str, kind: str, speech: Clip) -> None:
    clean = speech.samples[0]
    noisy, _ = mix_at_snr(clean, noise(kind, clean.size, 16_000, np.random.default_rng(0)), 5.0, 16_000)
    assert si_sdr(clean, run(RULES[name](), noisy)) - si_sdr(clean, noisy) >= 4.0


@pytest.mark.parametrize("name", RULES)
def test_clean_speech_is_left_alone_as_far_as_it_can_be(name: str, speech: Clip) -> None:
    clean = speech.samples[0]
    assert si_sdr(clean, run(RULES[name](), clean)) >= CLEAN_DB[name]


@pytest.mark.parametrize("name", RULES)
def test_speech_over_faint_noise_is_hardly_made_worse(name: str, speech: Clip) -> None:
    """A recording that is nearly clean, 20 dB: SI-SDR falls by 1.5 dB at most."""
    clean = speech.samples[0]
    noisy, _ = mix_at_snr(clean, noise("pink", clean.size, 16_000, np.random.default_rng(1)), 20.0, 16_000)
    assert si_sdr(clean, run(RULES[name](), noisy)) > si_sdr(clean, noisy) - 1.5


@pytest.mark.parametrize("name", RULES)
def test_narrow_speech_in_a_wide_file_is_left_alone(name: str, speech: Clip) -> None:
    """Telephone speech: half of the bins are all but empty."""
    narrow = sosfiltfilt(butter(8, 3400, fs=16_000, output="sos"), speech.samples[0]).astype(np.float32)
    assert si_sdr(narrow, run(RULES[name](), narrow)) >= CLEAN_DB[name] - 1


@pytest.mark.parametrize("name", RULES)
def test_noise_alone_is_cut_by_10_db(name: str) -> None:
    hiss = (0.1 * np.random.default_rng(2).standard_normal(64_000)).astype(np.float32)
    left = run(RULES[name](), hiss)[16_000:]
    assert 10 * np.log10((left**2).mean() / (hiss[16_000:] ** 2).mean()) < -10


@pytest.mark.parametrize("name", RULES)
def test_no_gain_is_above_one_or_below_the_floor(name: str) -> None:
    denoiser = RULES[name]()
    rng = np.random.default_rng(3)
    signal = torch.from_numpy(rng.standard_normal((2, 16_000)).astype(np.float32) * rng.exponential(0.1, (2, 1)))
    spectra = denoiser.stft.analyse(signal.float())
    clean, _ = denoiser.enhance(spectra, denoiser.initial_frames(2))
    gain = clean.abs() / spectra.abs()
    assert gain.max() < 1 + 1e-5
    assert gain.min() > 0.1 - 1e-5


@pytest.mark.parametrize("name", RULES)
def test_the_phase_is_kept(name: str) -> None:
    denoiser = RULES[name]()
    spectra = denoiser.stft.analyse(torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)))
    clean, _ = denoiser.enhance(spectra, denoiser.initial_frames(1))
    turned = (clean * spectra.conj()).angle().abs()
    assert turned.max() < 1e-3


# ---- each rule by itself


def test_the_table_is_the_exponential_integral() -> None:
    xi = torch.logspace(-2, 4, 61)[:, None].expand(61, 500)
    gamma = torch.logspace(-3, 4, 500).expand(61, 500)
    got = MmseLsa().rule(xi, gamma).double().numpy()
    w = (xi / (1 + xi)).double().numpy()
    v = w * gamma.double().numpy()
    away = v > 2.0**-20
    expected = w * np.exp(0.5 * exp1(v))
    assert np.abs(20 * np.log10(got[away] / expected[away])).max() < 0.003


def test_lsa_is_above_wiener_and_becomes_it() -> None:
    xi, gamma = torch.logspace(-1.5, 3, 50)[:, None], torch.logspace(-2, 4, 70)[None]
    lsa, linear = MmseLsa().rule(xi, gamma), Wiener().rule(xi, gamma)
    assert (lsa >= linear * (1 - 1e-6)).all()
    strong = (xi > 10) & (gamma > 30)
    torch.testing.assert_close(lsa[strong], linear.expand_as(lsa)[strong], rtol=1e-5, atol=0)


def test_over_subtraction_follows_the_frame() -> None:
    """What a bin 13 dB above the noise keeps in a frame that is clean all over, and in one that is noise else."""
    noise_power = torch.ones(1, 1, 257)
    noisy_frame, clean_frame = torch.ones(1, 1, 257), torch.full((1, 1, 257), 1000.0)
    noisy_frame[0, 0, 50] = clean_frame[0, 0, 50] = 20.0
    rule = SpectralSubtraction()
    alpha = 4 - 0.15 * 10 * np.log10(noisy_frame.mean().item())
    in_noise, in_clean = (rule.gain(frame, noise_power, ())[0][0, 0] for frame in (noisy_frame, clean_frame))
    assert in_noise[50].item() == pytest.approx(np.sqrt(1 - alpha / 20), rel=1e-4)
    assert in_clean[50].item() == pytest.approx(np.sqrt(1 - 1 / 20), rel=1e-4)
    assert in_noise[0].item() == pytest.approx(np.sqrt(0.05), rel=1e-4)


@pytest.mark.parametrize("rule", [Wiener, MmseLsa])
def test_more_smoothing_leaves_fewer_tones_in_noise(rule: type[Wiener] | type[MmseLsa]) -> None:
    """Musical noise: the peaks that are left, here the strongest of a thousand, are lower."""
    hiss = torch.randn(1, 64_000, generator=torch.Generator().manual_seed(1)) * 0.1

    def peak_db(smoothing: float) -> float:
        denoiser = rule(smoothing=smoothing)
        left, _ = denoiser.enhance(denoiser.stft.analyse(hiss), denoiser.initial_frames(1))
        return 20 * np.log10(np.quantile(left[:, :, 62:].abs().numpy(), 0.999)).item()

    assert peak_db(0.98) < peak_db(0.92) - 3
    assert peak_db(0.92) < peak_db(0.5) - 1


def test_another_overlap_works_too(speech: Clip) -> None:
    clean = speech.samples[0, :48_000]
    noisy, _ = mix_at_snr(clean, noise("white", clean.size, 16_000, np.random.default_rng(4)), 5.0, 16_000)
    assert si_sdr(clean, run(MmseLsa(stft=Stft(512, 128)), noisy)) > si_sdr(clean, noisy) + 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: Wiener(floor_db=1),
        lambda: Wiener(smoothing=1.0),
        lambda: MmseLsa(smoothing=-0.1),
        lambda: SpectralSubtraction(over=0.5),
        lambda: SpectralSubtraction(remain=2.0),
    ],
)
def test_senseless_settings_are_refused(make: Callable[[], Suppressor]) -> None:
    with pytest.raises(ValueError, match="not"):
        make()


@pytest.mark.parametrize("name", RULES)
def test_one_that_is_told_the_noise_gives_the_same_by_block(name: str) -> None:
    """Frame after frame its gain is the rule's for that noise, and the one that it was made from goes on tracking."""
    denoiser = RULES[name]()
    power = torch.rand(2, 257, generator=torch.Generator().manual_seed(0)) + 0.5
    told = denoiser.with_noise(power)
    assert told.tracker is not denoiser.tracker and type(told) is type(denoiser)
    signal = torch.randn(2, 8_192, generator=torch.Generator().manual_seed(1))
    whole, state, parts = told(signal), told.initial_state(2), []
    for begin in range(0, 8_192, 1024):
        part, state = told.advance(signal[:, begin : begin + 1024], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1)[:, told.delay :], whole[:, : -told.delay], rtol=0, atol=1e-5)
    spectra = told.stft.analyse(signal)
    clean, _ = told.enhance(spectra, told.initial_frames(2))
    squares = spectra.abs().square().permute(2, 0, 1)
    gain, _ = told.gain(squares, power.expand_as(squares), told.initial_memory(2))
    expected = spectra * gain.clamp(told.floor, 1.0).permute(1, 2, 0)
    torch.testing.assert_close(clean, expected, rtol=1e-5, atol=1e-6)
