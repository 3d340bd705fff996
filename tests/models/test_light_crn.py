"""What is special to light-crn; the contract of all models is in test_registry.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from denoise_app.models.light_crn import LightCrn, LightCrnConfig

SMALL = LightCrnConfig(single_bins=20, wide_bands=12, channels=8, full_width=8, full_channels=2)


def model(config: LightCrnConfig = SMALL) -> LightCrn:
    torch.manual_seed(3)
    return LightCrn(config).eval()


def sound(length: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))


def test_mask_is_bounded_whatever_comes_in() -> None:
    net, parts = model(), 1e3 * torch.randn(2, 257, 30, 2).exp()
    with torch.inference_mode():
        mask, _ = net.mask(parts, net.initial_frames(2))
    assert mask.shape == parts.shape
    assert mask.abs().max() <= 1 + 1e-6


def test_bands_of_exact_zeros_stay_zero_and_do_no_harm() -> None:
    """As in telephone speech: nothing above 4 kHz, not even noise."""
    net = model().train()
    spectra = net.stft.analyse(sound(8000))
    spectra[:, 128:] = 0
    clean, _ = net.enhance(spectra, net.initial_frames(2))
    assert clean[:, 128:].abs().max() == 0 and clean[:, :128].abs().max() > 0
    clean.abs().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_a_frame_hears_all_its_bands_and_the_past_beyond_the_convolutions() -> None:
    net, parts = model(), torch.view_as_real(model().stft.analyse(sound(16_000)))
    with torch.inference_mode():
        mask, _ = net.mask(parts, net.initial_frames(2))
        louder = parts.clone()
        louder[:, 256, 20] *= 30
        moved = net.mask(louder, net.initial_frames(2))[0] - mask
    assert moved[:, :, :20].abs().max() == 0
    assert moved[:, 0, 20].abs().min() > 1e-6, "the top bin is not heard at the bottom"
    assert moved[:, :, 40].abs().max() > 1e-6, "the past is forgotten after 20 frames"


def test_learns_to_keep_a_tone_and_drop_the_noise() -> None:
    net = model().train()
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 / 16_000 * torch.arange(4000)).expand(2, -1)
    noisy = tone + sound(4000)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = (net(noisy) - tone).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize("setting", [{"channels": 9}, {"wide_bands": 55}, {"blocks": 0}, {"memory": 0.0}])
def test_sizes_that_do_not_fit_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        LightCrnConfig(**setting)


def test_turn_features_tell_tones_from_noise_in_wide_bands() -> None:
    net = model()
    tone = 0.1 * torch.sin(2 * torch.pi * 3000 / 16_000 * torch.arange(16_000)).expand(2, -1)
    power, turned = [], []
    for heard in (tone, sound(16_000)):
        spectra = net.stft.analyse(heard)
        features, _ = net.features(torch.view_as_real(spectra), net.initial_frames(2))
        assert features.shape == (2, 4, spectra.shape[2], 32)
        power.append(features[:, 0, 2:60])
        turned.append(features[:, 2:, 2:60].norm(dim=1))
    band = power[0].mean((0, 1)).argmax()
    assert band >= SMALL.single_bins
    assert turned[0][:, :, band].min() > 0.8 and turned[1][:, :, band].mean() < 0.3
