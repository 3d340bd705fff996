"""A causal denoiser fed with blocks says what it says to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from denoise_app.inference.blocks import Blocks
from denoise_app.models.registry import build
from denoise_app.spectral.stft import SpectralDenoiser, Stft

HOP = 256
LENGTHS = [0, 1, HOP - 1, HOP, HOP + 1, 2 * HOP - 1, 2 * HOP, 2 * HOP + 1, 997, 5003]  # 997 and 5003 are prime


class Identity(SpectralDenoiser):
    def initial_frames(self, batch: int) -> None:
        return None

    def enhance(self, spectra: Tensor, memory: Any) -> tuple[Tensor, Any]:
        return spectra, memory


class RunningMean(SpectralDenoiser):
    """Its output depends on everything since the beginning, so that a lost or doubled frame is heard for ever."""

    def initial_frames(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.stft.bins)

    def enhance(self, spectra: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        clean = []
        for frame in spectra.unbind(2):
            memory = 0.9 * memory + 0.1 * frame.abs()
            clean.append(frame / (1 + memory))
        return torch.stack(clean, 2), memory


def noise(batch: int, length: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(length).uniform(-1, 1, (batch, length)).astype(np.float32))


def run(stream: Blocks, signal: Tensor, block: int) -> Tensor:
    parts = [stream.push(part) for part in signal.split(block, dim=1)] if signal.shape[1] else []
    return torch.cat([*parts, stream.finish()], dim=1)


@pytest.mark.parametrize("block", [1, HOP - 1, HOP, HOP + 1, 613, 10_000])
@pytest.mark.parametrize("length", LENGTHS)
def test_an_identity_gives_the_input_back(length: int, block: int) -> None:
    signal = noise(2, length)
    out = run(Blocks(Identity(), 2), signal, max(block, length // 200))
    assert out.shape == signal.shape
    torch.testing.assert_close(out, signal, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stft", [Stft(), Stft(400, 100), Stft(512, 128)])
@pytest.mark.parametrize("block", [1000, 1537])
def test_blocks_give_what_the_whole_gives(stft: Stft, block: int) -> None:
    denoiser, signal = RunningMean(stft), noise(3, 10_007)
    torch.testing.assert_close(run(Blocks(denoiser, 3), signal, block), denoiser(signal), rtol=0, atol=1e-6)


def test_the_neural_model_too(speech: Any) -> None:
    torch.manual_seed(0)
    model, signal = build("gru").eval(), torch.tensor(speech.samples[:, :30_011])
    with torch.inference_mode():
        whole = model(signal)
    assert not torch.equal(whole, signal)
    torch.testing.assert_close(run(Blocks(model, 1), signal, 4001), whole, rtol=0, atol=1e-5)


def test_empty_blocks_change_nothing() -> None:
    stream, signal = Blocks(Identity(), 1), noise(1, 1000)
    parts = [stream.push(part) for part in (signal[:, :0], signal[:, :700], signal[:, :0], signal[:, 700:])]
    torch.testing.assert_close(torch.cat([*parts, stream.finish()], dim=1), signal, rtol=0, atol=1e-6)


def test_reset_forgets() -> None:
    denoiser, signal = RunningMean(), noise(1, 4000)
    stream = Blocks(denoiser, 1)
    first = run(stream, signal, 900)
    stream.reset()
    assert torch.equal(run(stream, signal, 900), first)


def test_two_streams_of_one_denoiser_do_not_hear_each_other() -> None:
    denoiser, one, other = RunningMean(), noise(1, 3001), noise(1, 3000)
    streams = Blocks(denoiser, 1), Blocks(denoiser, 1)
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for a, b in zip(one.split(500, dim=1), other.split(500, dim=1), strict=False):
        parts[0].append(streams[0].push(a))
        parts[1].append(streams[1].push(b))
    parts[0].extend([streams[0].push(one[:, 3000:]), streams[0].finish()])
    parts[1].append(streams[1].finish())
    torch.testing.assert_close(torch.cat(parts[0], 1), denoiser(one), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.cat(parts[1], 1), denoiser(other), rtol=0, atol=1e-6)


def test_the_input_is_not_changed() -> None:
    signal = noise(1, 2000)
    kept = signal.clone()
    run(Blocks(RunningMean(), 1), signal, 300)
    assert torch.equal(signal, kept)


def test_what_comes_out_is_as_early_as_can_be() -> None:
    stream = Blocks(Identity(Stft(512, 256)), 1)
    assert stream.push(noise(1, 511)).shape[1] == 0  # one hop is heard, and it is late by one
    assert stream.push(noise(1, 1)).shape[1] == 256
