"""What only band-df does: it filters over frames, and hears one frame ahead."""

from __future__ import annotations

import math

import pytest
import torch

from denoise_app.models.band_df import BandDf, BandDfConfig, phase_steps

SMALL = BandDfConfig(width=16, hidden=16, filtered_bins=40)


def test_the_filter_is_a_weighted_sum_of_neighbouring_frames() -> None:
    model = BandDf(SMALL)
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(2, 257, 8, dtype=torch.complex64, generator=generator)
    weights = torch.randn(2, 5, 2 * 4 * 40, generator=generator)
    found = torch.view_as_complex(model._filter(torch.view_as_real(known), weights, 5))
    parts = weights.reshape(2, 5, 2, 4, 40)
    taps = torch.complex(parts[:, :, 0], parts[:, :, 1])  # (B, n, taps, low)
    for n in range(5):
        expected = sum(taps[:, n, k] * known[:, :40, n + k] for k in range(4))
        torch.testing.assert_close(found[:, :, n], expected)


def test_a_filter_that_passes_the_frame_after_gives_the_next_frame() -> None:
    """With all gains at 0 and the last tap at 1, what comes out of the low bins is one frame early."""
    model = BandDf(SMALL).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.to_gain.bias.fill_(-100)
        model.to_filter.bias.reshape(2, 4, 40)[0, -1] = 1
    spectra = torch.randn(1, 257, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    clean, _ = model.enhance(spectra, model.initial_frames(1))
    torch.testing.assert_close(clean[:, :40], spectra[:, :40])  # late by one frame, early by one frame
    assert clean[:, 40:].abs().max() < 1e-6


@pytest.mark.parametrize("hertz", [500.0, 507.0, 1015.0])
def test_phase_steps_tell_where_in_its_bin_a_tone_lies(hertz: float) -> None:
    model = BandDf(SMALL)
    tone = 0.1 * torch.sin(2 * math.pi * hertz * torch.arange(8000) / 16_000)
    steps = phase_steps(torch.view_as_real(model.stft.frames(tone[None].float())))[0, 4]  # (2 * bins,)
    nearest = round(hertz / 31.25)
    turned = math.atan2(float(steps[257 + nearest]), float(steps[nearest]))
    expected = 2 * math.pi * hertz * 256 / 16_000
    assert abs(math.remainder(turned - expected, 2 * math.pi)) < 0.02
    assert steps[200].abs() < 0.1, "a bin that holds nothing tells nothing"
