"""The waveform model: its products are convolutions, its latency is what it says, its level is the input's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denoise_app.models.waveform import Down, Up, Waveform, WaveformConfig

SMALL = {"channels": 12, "widest": 24, "layers": 1}


def fresh(**config: int) -> Waveform:
    torch.manual_seed(3)
    return Waveform(WaveformConfig(**(SMALL | config))).eval()


def sound(length: int, batch: int = 1) -> Tensor:
    return 0.1 * torch.randn(batch, length, generator=torch.Generator().manual_seed(0))


def test_down_is_a_strided_causal_convolution() -> None:
    torch.manual_seed(0)
    layer, x = Down(3, 5, 4), torch.randn(2, 24, 3)
    kernel = layer.convolve.weight.view(5, 8, 3).transpose(1, 2)  # (out, 8 in) -> (out, in, 8)
    padded = F.pad(x.transpose(1, 2), (4, 0))
    referee = F.conv1d(padded, kernel, layer.convolve.bias, stride=4).relu()
    referee = F.glu(F.conv1d(referee, layer.mix.weight[:, :, None], layer.mix.bias), dim=1)
    out, last = layer(x, torch.zeros(2, 1, 12))
    assert torch.allclose(out, referee.transpose(1, 2), atol=1e-6)
    assert torch.equal(last[:, 0], x[:, -4:].flatten(1))


def test_up_is_a_strided_transposed_convolution() -> None:
    torch.manual_seed(0)
    layer, x = Up(5, 3, 4), torch.randn(2, 6, 5)
    torch.nn.init.zeros_(layer.convolve.bias)
    kernel = layer.convolve.weight.view(8, 3, 5).permute(2, 1, 0)  # (8 out, in) -> (in, out, 8)
    mixed = F.glu(F.conv1d(x.transpose(1, 2), layer.mix.weight[:, :, None], layer.mix.bias), dim=1)
    referee = F.conv_transpose1d(mixed, kernel, stride=4).transpose(1, 2)  # one block longer: the tail
    out, tail = layer(x, torch.zeros(2, 1, 12))
    assert torch.allclose(torch.cat([out, tail.reshape(2, 4, 3)], dim=1), referee, atol=1e-6)


@pytest.mark.parametrize("config", [{}, {"look_ahead": 0}, {"look_ahead": 3, "depth": 3}, {"stride": 2, "depth": 5}])
def test_latency_is_as_said_and_blocks_give_the_whole(config: dict[str, int]) -> None:
    """The last sample of a frame is waited for longest: it changes the first of the `latency` samples up to it.

    Or one of the first few: what comes so far through an untrained network can be lost in rounding.
    """
    model = fresh(**config)
    assert model.latency == (model.config.look_ahead + 1) * model.hop
    noisy, touched = sound(20 * model.hop), 12 * model.hop - 1
    changed = noisy.clone()
    changed[:, touched] += 5
    with torch.inference_mode():
        before, after = model(noisy), model(changed)
        state, out = model.initial_state(1), []
        for block in F.pad(noisy, (0, model.delay)).split([3 * model.hop, 17 * model.hop + model.delay], dim=1):
            part, state = model.advance(block, state)
            out.append(part)
    first = int((before != after).nonzero()[0, 1])
    assert touched - model.latency < first <= touched - model.latency + model.hop // 4
    assert torch.allclose(torch.cat(out, dim=1)[:, model.delay :], before, atol=1e-6)


@pytest.mark.parametrize("gain", [1e-3, 20.0])
def test_a_gain_comes_out_as_it_went_in(gain: float) -> None:
    model, noisy = fresh(), sound(8000)
    with torch.inference_mode():
        assert torch.allclose(model(gain * noisy) / gain, model(noisy), atol=2e-4)


@pytest.mark.parametrize("config", [{"stride": 1}, {"stride": 16, "depth": 4}, {"widest": 11}, {"look_ahead": -1}])
def test_hostile_config_is_refused(config: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        WaveformConfig(**(SMALL | config))
