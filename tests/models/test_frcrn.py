"""FRCRN: real products that are complex ones, a memory that is the filter written out, and what recordings hold."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denoise_app.models import frcrn
from denoise_app.models.frcrn import (
    PUBLISHED,
    AcrossFrequency,
    ComplexConv,
    ComplexLinear,
    Frcrn,
    FrcrnConfig,
    Fsmn,
)
from denoise_app.models.registry import count_parameters

SMALL = {"levels": 3, "channels": 3, "hidden": 2, "reach": 6, "bottom": 4, "frames": 5, "attention": 2}


def fresh(**config: int) -> Frcrn:
    torch.manual_seed(3)
    return Frcrn(FrcrnConfig(**(SMALL | config))).eval()


def sound(length: int) -> Tensor:
    return 0.1 * torch.randn(1, length, generator=torch.Generator().manual_seed(0))


def as_complex(x: Tensor, sources: int = 1) -> Tensor:
    """(..., sources [re, im]) -> complex (..., channels)."""
    re, im = x.unflatten(-1, (sources, 2, -1)).unbind(-2)
    return torch.complex(re, im).flatten(-2)


def test_linear_is_a_complex_product() -> None:
    torch.manual_seed(0)
    layer, x = ComplexLinear(3, 4), torch.randn(5, 6)
    referee = as_complex(x) @ torch.complex(*layer.weight)
    assert torch.allclose(as_complex(layer(x)), referee, atol=1e-6)


@pytest.mark.parametrize("sources", [1, 2])
def test_convolution_down_is_a_complex_one(sources: int) -> None:
    torch.manual_seed(0)
    layer = ComplexConv(sources, 3, 4, kernel=5, stride=2)
    past, x = torch.randn(2, 1, 21, 6 * sources), torch.randn(2, 7, 21, 6 * sources)
    weight = torch.complex(*layer.weight)[:, :, 0]  # (sources, in, out, 2, 5)
    seen = as_complex(torch.cat([past, x], dim=1), sources).permute(0, 3, 1, 2)
    referee = F.conv2d(seen, weight.flatten(0, 1).transpose(0, 1), stride=(1, 2)).permute(0, 2, 3, 1)
    out, last = layer(x, past)
    assert torch.allclose(as_complex(out), referee, atol=1e-5)
    assert torch.equal(last, x[:, -1:])


def test_convolution_up_is_a_complex_transposed_one() -> None:
    """Two frequencies made of each place are a transposed convolution of stride 2 with every other tap for each."""
    torch.manual_seed(0)
    layer = ComplexConv(2, 3, 4, kernel=3, phases=2, padding=2)
    past, x = torch.randn(2, 1, 10, 12), torch.randn(2, 7, 10, 12)
    weight = torch.complex(*layer.weight).flatten(0, 1).flip(3, 4)  # (in, phases, out, 2, taps), the newest first
    weight = weight.permute(0, 2, 3, 4, 1).flatten(3)  # (in, out, 2, 6)
    seen = as_complex(torch.cat([past, x], dim=1), 2).permute(0, 3, 1, 2)
    referee = F.conv_transpose2d(seen, weight, stride=(1, 2))[:, :, 1:-1].permute(0, 2, 3, 1)
    assert torch.allclose(as_complex(layer(x, past)[0]), referee, atol=1e-5)


@pytest.mark.parametrize(("reach", "places", "count"), [(4, 9, 9), (20, 9, 9), (4, 9, 6), (1, 5, 5)])
def test_memory_is_the_filter_written_out(reach: int, places: int, count: int) -> None:
    torch.manual_seed(0)
    layer, seen = Fsmn(3, 2, reach), torch.randn(2, places, 4)
    taps, heard = layer.taps.detach().numpy(), seen.numpy()
    referee = np.zeros((2, count, 4))
    for place in range(count):
        for lag in range(reach):
            if (source := places - count + place - lag) >= 0:
                referee[:, place] += taps[:, lag] * heard[:, source]
    assert np.allclose(layer.filtered(seen, places - count).detach().numpy(), referee, atol=1e-6)


def test_recurrence_goes_up_the_frequencies_of_its_frame_alone() -> None:
    torch.manual_seed(0)
    layer, x = AcrossFrequency(3, 8, 6), torch.randn(1, 4, 30, 6)
    changed = x.clone()
    changed[:, 2, 10] += 1
    moved = (layer(x) != layer(changed)).any(3)[0].nonzero().tolist()
    assert moved == [[2, frequency] for frequency in range(10, 16)]


@pytest.mark.parametrize(
    "config", [{}, {"stride": 1, "levels": 2}, {"rounds": 3, "levels": 6}, {"window": 640, "hop": 320}]
)
def test_every_shape_of_it_streams(config: dict[str, int]) -> None:
    """At full resolution on all levels, down to a single bin, with other frames: blocks give what the whole gives."""
    model = fresh(**config)
    noisy = sound(40 * model.hop)
    state, out = model.initial_state(1), []
    with torch.inference_mode():
        whole = model(noisy)
        for block in F.pad(noisy, (0, model.hop)).split([model.hop, 3 * model.hop, 37 * model.hop], dim=1):
            part, state = model.advance(block, state)
            out.append(part)
    assert torch.allclose(torch.cat(out, dim=1)[:, model.delay :], whole, atol=1e-5)


def test_stride_of_one_keeps_the_resolution() -> None:
    assert FrcrnConfig(stride=1, levels=3).bins == [257, 253, 249, 245]  # only the kernels' own edges go
    assert FrcrnConfig().bins == [257, 127, 62, 29, 13]


@pytest.mark.parametrize("gain", [1e-3, 20.0])
def test_a_gain_comes_out_as_it_went_in(gain: float) -> None:
    model, noisy = fresh(), sound(8000)
    with torch.inference_mode():
        assert torch.allclose(model(gain * noisy) / gain, model(noisy), atol=2e-4)


def test_bins_that_hold_exact_zeros_do_no_harm() -> None:
    """Speech of 8 kHz in a file of 16 kHz: above 4 kHz nothing goes in, nothing comes out, gradients stay finite."""
    model = fresh().train()
    spectra = model.stft.analyse(sound(8000))
    spectra[:, 128:] = 0
    clean, _ = model.enhance(spectra, model.initial_frames(1))
    clean.abs().sum().backward()
    assert clean[:, 128:].abs().max() == 0 and clean[:, :128].abs().max() > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_published_size_builds_and_is_as_large_as_its_comment_says() -> None:
    with torch.device("meta"):
        model = Frcrn(PUBLISHED)
        assert model(torch.zeros(1, 3200)).shape == (1, 3200)
    said = re.search(r"([\d,]+) parameters", inspect.getsource(frcrn))
    assert said and int(said[1].replace(",", "")) == count_parameters(model)
    assert PUBLISHED.bins == [321, 159, 78, 37, 17, 7, 2, 1]  # as in the release


@pytest.mark.parametrize("config", [{"levels": 9}, {"stride": 3}, {"channels": 0}, {"window": 512, "hop": 300}])
def test_hostile_config_is_refused(config: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Frcrn(FrcrnConfig(**config))
