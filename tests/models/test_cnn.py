"""The convolutional model: how far it looks, chunks that meet, and the level it goes by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from denoise_app.denoiser import GRID
from denoise_app.inference.chunks import Chunks, Plan
from denoise_app.models.cnn import Cnn, CnnConfig

SHORT = CnnConfig(channels=2, level_seconds=0.1)  # a field of view of half a second, so that tests are short


def made(config: CnnConfig = SHORT) -> Cnn:
    """A model whose weights are positive on the whole, so that what it sees is not drowned on the way."""
    torch.manual_seed(0)
    model = Cnn(config).eval()
    for name, weight in model.named_parameters():
        if "widen" in name or weight.dim() == 4:
            weight.data = weight.data.abs() / 4
    return model


def sound(length: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(1, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("frame", range(100, 104))
def test_a_gain_depends_on_its_reach_and_on_nothing_beyond(frame: int) -> None:
    """Wherever the frame lies in the pools; and the reach is no wild guess."""
    model = made()
    spectra = model.stft.analyse(sound(200 * 256)).requires_grad_()
    model.gain(spectra)[:, :, frame].sum().backward()
    assert spectra.grad is not None
    seen = spectra.grad[0].abs().amax(0).nonzero().flatten()
    left, right = frame - int(seen[0]), int(seen[-1]) - frame
    assert model.reach - 4 < max(left, right) <= model.reach


def test_latency_is_true_to_the_sample() -> None:
    model, noisy, cut = made(), sound(30_000), 20_001
    changed = noisy.clone()
    changed[:, cut:] = 0.5 * sound(30_000, seed=1)[:, cut:]
    with torch.inference_mode():
        before, after = model(noisy), model(changed)
    kept = cut - model.latency + 1
    torch.testing.assert_close(before[:, :kept], after[:, :kept], rtol=0, atol=1e-7)
    assert not torch.allclose(before[:, cut - 1024 : cut - 512], after[:, cut - 1024 : cut - 512], atol=1e-6)


@pytest.mark.parametrize("block", [997, 16_000])
def test_chunks_give_what_the_whole_gives(block: int) -> None:
    model, noisy = made(), sound(70_001)
    context = -(-model.latency // GRID) * GRID
    chunks = Chunks(model, 1, Plan(2 * context + GRID + 8 * GRID, context, GRID))
    parts = [chunks.push(part) for part in noisy.split(block, dim=1)]
    with torch.inference_mode():
        torch.testing.assert_close(torch.cat([*parts, chunks.finish()], 1), model(noisy), rtol=0, atol=1e-6)


def test_features_are_nothing_in_silence_and_one_at_the_level() -> None:
    model = made()
    half = torch.cat([torch.zeros(1, 16_000), sound(48_000)], dim=1)
    features = model.features(model.stft.analyse(half))[0, 0]
    assert features[:50].max() == 0
    assert features[100:].mean().item() == pytest.approx(1.0, abs=0.06)  # the mean of a log lies 2.5 dB below
    assert model.features(model.stft.analyse(torch.zeros(1, 4000))).abs().max() == 0


@pytest.mark.parametrize("gain", [1e-2, 30.0])
def test_a_gain_in_is_the_same_gain_out(gain: float) -> None:
    model, noisy = made(), sound(20_000)
    noisy[:, 5000:9000] = 0
    with torch.inference_mode():
        torch.testing.assert_close(model(gain * noisy) / gain, model(noisy), rtol=0, atol=1e-5)


def test_a_band_that_holds_exact_zeros_is_left_at_that() -> None:
    model = made()
    spectra = model.stft.analyse(sound(16_000))
    spectra[:, 120:] = 0
    with torch.inference_mode():
        gain = model.gain(spectra)
    assert gain.isfinite().all() and gain.min() >= 0 and gain.max() <= 1


@pytest.mark.parametrize("scales", [1, 3])
def test_fewer_scales_look_less_far(scales: int) -> None:
    small = Cnn(CnnConfig(channels=2, scales=scales))
    assert small.latency < Cnn(CnnConfig(channels=2)).latency
    assert small(sound(4000)).shape == (1, 4000)


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"scales": 6}, {"level_seconds": 0.0}, {"window": 10**6}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        CnnConfig(**wrong)  # type: ignore[arg-type]
