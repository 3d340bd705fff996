"""The transform pair gives the signal back, whole or in blocks, and its spectra are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from denoise_app.spectral.stft import SpectralDenoiser, Stft

SIZES = [0, 1, 255, 256, 257, 511, 512, 513, 1009, 4999]


class Nothing(SpectralDenoiser):
    """Leaves every spectrum as it is."""

    def initial_frames(self, batch: int) -> None:
        return None

    def enhance(self, spectra: Tensor, memory: None) -> tuple[Tensor, None]:
        return spectra, None


class Waiting(SpectralDenoiser):
    """Leaves every spectrum as it is, but waits for the two after it."""

    look_ahead = 2

    def initial_frames(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.stft.bins, self.look_ahead, dtype=torch.complex64)

    def enhance(self, spectra: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        known = torch.cat([memory, spectra], dim=2)
        return known[:, :, : spectra.shape[2]], known[:, :, spectra.shape[2] :]


@pytest.mark.parametrize("hop", [64, 128, 256])
@pytest.mark.parametrize("length", SIZES)
def test_synthesis_undoes_analysis(hop: int, length: int) -> None:
    signal = torch.from_numpy(np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32))
    for denoiser in (Nothing(Stft(512, hop)), Waiting(Stft(512, hop))):
        torch.testing.assert_close(denoiser(signal), signal, rtol=0, atol=1e-6)


def test_spectra_are_windowed_dfts() -> None:
    stft = Stft(64, 16)
    signal = np.random.default_rng(0).standard_normal(64 + 5 * 16)
    window = np.sqrt((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)) * 2 * 16 / 64)
    turns = np.exp(-2j * np.pi * np.outer(np.arange(33), np.arange(64)) / 64)
    expected = np.stack([turns @ (window * signal[k * 16 : k * 16 + 64]) for k in range(6)], axis=1)
    np.testing.assert_allclose(stft.frames(torch.from_numpy(signal)[None])[0].numpy(), expected, atol=1e-12)


def test_a_tone_stands_in_its_bin() -> None:
    stft = Stft()
    bin_ = 40
    tone = torch.sin(2 * torch.pi * stft.frequencies[bin_] * torch.arange(4096) / stft.sample_rate)
    power = stft.frames(tone[None])[0].abs().square().mean(1)
    assert int(power.argmax()) == bin_
    assert power[bin_ - 4 : bin_ + 5].sum() > 0.999 * power.sum()


@pytest.mark.parametrize("denoiser", [Nothing(), Waiting()])
def test_blocks_give_what_the_whole_gives(denoiser: SpectralDenoiser) -> None:
    signal = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (1, 256 * 11)).astype(np.float32))
    state, out = denoiser.initial_state(1), []
    for start, end in [(0, 256), (256, 1024), (1024, 2816)]:
        clean, state = denoiser.advance(signal[:, start:end], state)
        out.append(clean)
    late = torch.cat(out, dim=1)
    assert denoiser.delay == 256 * (1 + denoiser.look_ahead) and denoiser.latency == denoiser.delay + 256
    assert not late[:, : denoiser.delay - 256].any()
    torch.testing.assert_close(late[:, denoiser.delay :], signal[:, : -denoiser.delay], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("window", "hop"), [(512, 512), (512, 200), (512, 384)])
def test_a_hop_that_cannot_be_undone_is_refused(window: int, hop: int) -> None:
    with pytest.raises(ValueError, match="divide the window"):
        Stft(window, hop)
