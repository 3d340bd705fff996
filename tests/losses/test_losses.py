"""What every loss keeps, and one case of each worked out by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pesq as itu
import pystoi
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.losses import LOSSES, perceptual
from denoise_app.losses.perceptual import LossUnavailable
from denoise_app.losses.spectrum import STFT

NAMES = sorted(LOSSES)


def sound(seed: int, length: int = 8000) -> Tensor:
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))


def total(name: str, estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    return torch.stack(list(LOSSES[name].function(estimate, clean, noisy).values())).sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["silence", "silent target", "silent estimate", "identical", "noise"])
def test_gradients_are_finite(name: str, case: str) -> None:
    clean, noisy = sound(0), sound(0) + sound(1)
    estimate = {"identical": clean, "noise": noisy}.get(case, torch.zeros_like(clean))
    if case in ("silence", "silent target"):
        clean = torch.zeros_like(clean)
    if case == "silent target":
        estimate = noisy
    estimate = estimate.clone().requires_grad_()
    value = total(name, estimate, clean, noisy)
    value.backward()
    assert torch.isfinite(value) and estimate.grad is not None and torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_better_than_the_noisy(name: str) -> None:
    clean, noisy = sound(0), sound(0) + sound(1)
    assert total(name, clean, clean, noisy) < total(name, noisy, clean, noisy)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_on_one_mixture_lower_it(name: str) -> None:
    clean, noisy = sound(0), sound(0) + sound(1)
    estimate = noisy.clone().requires_grad_()
    optimizer = torch.optim.Adam([estimate], lr=3e-3)
    first = total(name, estimate, clean, noisy).item()
    for _ in range(20):
        optimizer.zero_grad()
        total(name, estimate, clean, noisy).backward()
        optimizer.step()
    assert total(name, estimate, clean, noisy).item() < first - 0.05 * abs(first)


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_says_what_it_favours_in_both_languages(name: str) -> None:
    assert set(LOSSES[name].favours) == {"en", "zh"} and all(LOSSES[name].favours.values())


def test_mse_by_hand() -> None:
    assert LOSSES["mse"].function(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]), torch.zeros(1, 2))[
        "mse"
    ].item() == pytest.approx((1 + 4) / 2)


def test_si_snr_by_hand() -> None:
    """Speech s and an orthogonal error of a tenth of its power: 10 dB at any gain of the estimate."""
    time = torch.arange(16_000) / 16_000
    clean = torch.sin(2 * math.pi * 200 * time)[None]
    error = math.sqrt(0.1) * torch.cos(2 * math.pi * 200 * time)[None]
    for gain in (0.5, 2.0):
        part = LOSSES["si-snr"].function(gain * (clean + error), clean, clean)["si-snr"]
        assert part.item() == pytest.approx(-10.0, abs=1e-3)


def test_si_snr_ignores_examples_without_speech() -> None:
    clean = torch.cat([sound(0)[:1], torch.zeros(1, 8000)])
    estimate = (clean + sound(1)).requires_grad_()
    LOSSES["si-snr"].function(estimate, clean, estimate)["si-snr"].backward()
    assert estimate.grad is not None
    assert estimate.grad[0].abs().max() > 0 and estimate.grad[1].abs().max() == 0


def test_log_mag_by_hand() -> None:
    """A click of height a in the middle of a window has magnitude a x window there in all bins."""
    clean, estimate = torch.zeros(1, 2048), torch.zeros(1, 2048)
    estimate[0, 1024] = 2.0
    taper = STFT.taper(estimate)
    frames = STFT.analyse(estimate).shape[2]
    heights = [2.0 * taper[1024 + STFT.delay - frame * STFT.hop] for frame in (4, 5)]
    by_hand = sum(math.log1p(height) ** 2 for height in heights) / frames
    assert LOSSES["log-mag"].function(estimate, clean, clean)["log-mag"].item() == pytest.approx(by_hand, rel=1e-2)


def test_compressed_by_hand() -> None:
    """The same sound at 2**(1/0.3) times the level: every compressed magnitude doubles."""
    clean = sound(0)
    parts = LOSSES["compressed"].function(2 ** (1 / 0.3) * clean, clean, clean)
    magnitudes = STFT.analyse(clean).abs() ** 0.3
    assert parts["magnitude"].item() == pytest.approx(70 * magnitudes.square().mean().item(), rel=1e-3)
    assert parts["complex"].item() == pytest.approx(30 * magnitudes.square().mean().item(), rel=1e-3)


def test_hybrid_is_the_sum_of_its_parts() -> None:
    clean, noisy = sound(0), sound(0) + sound(1)
    parts = LOSSES["hybrid"].function(noisy, clean, noisy)
    assert set(parts) == {"magnitude", "complex", "si-snr"}
    assert parts["si-snr"] == pytest.approx(LOSSES["si-snr"].function(noisy, clean, noisy)["si-snr"] / 10)


def test_cirm_by_hand() -> None:
    """An estimate of half the noisy sound and a target of all of it: bounded masks of 0.5 and 1, all real."""
    noisy = 10 * sound(0)  # far above the floor of the mask
    half, one = (10 * math.tanh(0.05 * mask) for mask in (0.5, 1.0))
    part = LOSSES["cirm"].function(0.5 * noisy, noisy, noisy)["cirm"]
    assert part.item() == pytest.approx((one - half) ** 2, rel=1e-3)


def test_mrstft_by_hand() -> None:
    """Half the target's level: convergence 0.5, log magnitude ln 2, and half the mean amplitude."""
    clean = 10 * sound(0)  # far above the floor of the logarithm
    parts = LOSSES["mrstft"].function(0.5 * clean, clean, clean)
    assert parts["convergence"].item() == pytest.approx(0.5, rel=1e-3)
    assert parts["log-magnitude"].item() == pytest.approx(math.log(2), rel=1e-2)
    assert parts["waveform"].item() == pytest.approx(50 * 0.5 * clean.abs().mean().item(), rel=1e-4)


def test_frcrn_is_its_three_terms_with_their_weights() -> None:
    clean, noisy = sound(0), sound(0) + sound(1)
    parts = LOSSES["frcrn"].function(noisy, clean, noisy)
    single = {name: LOSSES[name].function(noisy, clean, noisy)[name].item() for name in ("log-mag", "cirm", "si-snr")}
    assert parts["log-mag"].item() == pytest.approx(1.0 * 20 * single["log-mag"])
    assert parts["cirm"].item() == pytest.approx(0.5 * 6 * single["cirm"])
    assert parts["si-snr"].item() == pytest.approx(0.3 * 0.1 * single["si-snr"])


# pesq


def mixtures(clean: np.ndarray, kinds: tuple[str, ...], snrs: tuple[float, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = {kind: noise(kind, clean.size, 16_000, rng, clean[::-1]) for kind in kinds}
    return [mix_at_snr(clean, sound, snr, 16_000)[0] for sound in drawn.values() for snr in snrs]


@pytest.mark.slow
def test_pesq_is_that_of_the_reference_implementation(speech: Clip) -> None:
    """Through the mapping of P.862.2, on voices in noises from -5 to 25 dB."""
    ours, theirs = [], []
    clean = speech.samples[0, :40_000]
    for noisy in mixtures(clean, ("white", "hum", "keyboard", "rain", "babble"), (-5, 5, 15, 25)):
        distance = perceptual.pesq(torch.tensor(noisy)[None], torch.tensor(clean)[None], torch.zeros(0))["pesq"]
        ours.append(0.999 + 4 / (1 + math.exp(-1.3669 * (4.5 - distance.item() / perceptual.WEIGHT) + 3.8224)))
        theirs.append(itu.pesq(16_000, clean, noisy, "wb"))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert np.abs(np.subtract(ours, theirs)).mean() < 0.06


def test_pesq_by_fft_is_the_recursive_filter() -> None:
    listener = perceptual._listener(torch.device("cpu"))
    click = torch.zeros(1, 8000)
    click[0, 100] = 1.0
    for filter_ in (listener.power_filter, listener.pre_filter):
        numerator, denominator = filter_.double().numpy()
        assert perceptual._filtered(click, filter_)[0].numpy() == pytest.approx(
            lfilter(numerator, denominator, click[0].numpy()), abs=1e-6
        )


def gradient_of(listener: str, estimate: Tensor, clean: Tensor) -> tuple[float, Tensor]:
    estimate = estimate.clone().requires_grad_()
    value = getattr(perceptual, listener)(estimate, clean, clean)[listener]
    value.backward()
    assert estimate.grad is not None
    return value.item(), estimate.grad


@pytest.mark.parametrize("listener", ["pesq", "stoi"])
def test_listeners_have_finite_gradients_everywhere(speech: Clip, listener: str) -> None:
    clean = torch.tensor(speech.samples[0, :64_000]).reshape(2, -1)
    silence, hiss = torch.zeros_like(clean), 1e-3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for estimate, target in [
        (silence, silence),
        (hiss, silence),
        (silence, clean),
        (clean, clean),
        (clean + 1e-3 * hiss, clean),
        (clean * (torch.arange(32_000) < 16_000), clean),
        (clean[:, :1000] + hiss[:, :1000], clean[:, :1000]),
    ]:
        value, gradient = gradient_of(listener, estimate, target)
        assert math.isfinite(value) and torch.isfinite(gradient).all()
    assert gradient_of(listener, clean, clean)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("listener", ["pesq", "stoi"])
def test_listeners_leave_examples_without_speech_alone_and_hear_no_level(speech: Clip, listener: str) -> None:
    clean = torch.tensor(speech.samples[:, :32_000])
    noisy = clean + sound(1, 32_000)[:1]
    alone, _ = gradient_of(listener, noisy, clean)
    both, gradient = gradient_of(listener, torch.cat([noisy, noisy]), torch.cat([clean, torch.zeros_like(clean)]))
    assert both == pytest.approx(alone / 2, rel=1e-4) and gradient[1].abs().max() == 0 < gradient[0].abs().max()
    assert gradient_of(listener, 0.1 * noisy, clean)[0] == pytest.approx(alone, rel=1e-3)


def test_a_few_steps_on_one_mixture_raise_pesq(speech: Clip) -> None:
    clean = torch.tensor(speech.samples[:, :32_000])
    noisy = clean + 0.03 * sound(1, 32_000)[:1]
    estimate = noisy.clone().requires_grad_()
    optimizer = torch.optim.Adam([estimate], lr=3e-4)
    for _ in range(10):
        optimizer.zero_grad()
        perceptual.pesq(estimate, clean, noisy)["pesq"].backward()
        optimizer.step()
    before, after = (itu.pesq(16_000, clean[0].numpy(), x[0].detach().numpy(), "wb") for x in (noisy, estimate))
    assert after > before + 0.5


def test_pesq_comes_late_and_hybrid_goes_on() -> None:
    loss = LOSSES["pesq"]
    assert loss.function is LOSSES["hybrid"].function and loss.late is perceptual.pesq
    assert [name for name in NAMES if LOSSES[name].late] == ["pesq"]


def test_pesq_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pesq", None)
    perceptual._listener.cache_clear()
    with pytest.raises(LossUnavailable, match="torch-pesq"):
        perceptual.pesq(sound(0), sound(0), sound(0))


# stoi


def test_stoi_is_that_of_the_reference_implementation(speech: Clip) -> None:
    ours, theirs = [], []
    clean = speech.samples[0, :40_000]
    for noisy in mixtures(clean, ("white", "hum", "keyboard", "rain", "babble"), (-5, 0, 5, 10)):
        lost = perceptual.stoi(torch.tensor(noisy)[None], torch.tensor(clean)[None], torch.zeros(0))["stoi"]
        ours.append(1 - lost.item())
        theirs.append(pystoi.stoi(clean, noisy, 16_000))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert np.abs(np.subtract(ours, theirs)).mean() < 0.04


def test_stoi_by_hand() -> None:
    """Envelopes of the same shape correlate fully, at any level; one that falls as the other rises, against it."""
    hiss = sound(0, 16_000)[:1]
    swell = 1 + 0.5 * torch.sin(2 * math.pi * 4 * torch.arange(16_000) / 16_000)
    assert perceptual.stoi(-0.5 * hiss, hiss, hiss)["stoi"].item() == pytest.approx(0, abs=1e-4)
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    assert perceptual.stoi(tone / swell, tone * swell, tone)["stoi"].item() > 1.5


def test_perceptual_is_frcrn_with_both_listeners() -> None:
    clean, noisy = sound(0, 16_000), sound(0, 16_000) + sound(1, 16_000)
    parts = LOSSES["perceptual"].function(noisy, clean, noisy)
    assert {name: part for name, part in parts.items() if name not in ("pesq", "stoi")} == LOSSES["frcrn"].function(
        noisy, clean, noisy
    )
    assert parts["pesq"].item() == pytest.approx(0.3 * perceptual.pesq(noisy, clean, noisy)["pesq"].item())
    assert parts["stoi"].item() == pytest.approx(4 * perceptual.stoi(noisy, clean, noisy)["stoi"].item())


def test_stoi_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pystoi.utils", None)
    perceptual._third_octaves.cache_clear()
    with pytest.raises(LossUnavailable, match="pystoi"):
        LOSSES["perceptual"].function(sound(0), sound(0), sound(0))
