"""What is special to the transformer; the contract of all models is in test_registry.py."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from denoise_app.models.transformer import Transformer, TransformerConfig, near

SMALL = TransformerConfig(channels=8, heads=2, blocks=1, reach=4, level_seconds=0.1)


def model(config: TransformerConfig = SMALL) -> Transformer:
    torch.manual_seed(3)
    return Transformer(config).eval()


def sound(length: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 3, 4, 5, 14])
def test_near_is_attention_with_all_far_places_left_out(length: int) -> None:
    """Place by place, with zeros beyond the ends: softmax over the 2 * reach + 1 places around each."""
    reach = 4
    query, key, value = torch.randn(3, 2, 2, length, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    referee = torch.empty_like(value)
    for n in range(length):
        keys, values = query.new_zeros(2, 2, 2, 2 * reach + 1, 6)
        for place in range(max(0, n - reach), min(length, n + reach + 1)):
            keys[:, :, place - n + reach], values[:, :, place - n + reach] = key[:, :, place], value[:, :, place]
        weights = torch.softmax((keys @ query[:, :, n, :, None])[..., 0] / math.sqrt(6), dim=2)
        referee[:, :, n] = (weights[..., None] * values).sum(2)
    assert torch.allclose(near(query, key, value, reach), referee, atol=1e-12)


def test_latency_is_as_far_as_it_hears_to_either_side() -> None:
    net, noisy, changed_at = model(), sound(60_000), 30_000
    changed = noisy.clone()
    changed[:, changed_at] += 0.5
    with torch.inference_mode():
        moved = (net(changed) - net(noisy)).abs().amax(0)
    places = (moved > 1e-6).nonzero().flatten()
    assert places.min() > changed_at - net.latency and places.max() < changed_at + net.latency
    assert places.min() < changed_at - net.latency // 2, "the latency is stated far too long"


def test_a_chunk_gives_what_the_whole_gives_once_its_context_is_left_out() -> None:
    net, noisy = model(), sound(80_000)
    begin, end = 20 * 1024, 60 * 1024
    with torch.inference_mode():
        whole, chunk = net(noisy), net(noisy[:, begin:end])
    inner = slice(net.latency, end - begin - net.latency)
    assert inner.stop - inner.start > 1000
    assert torch.allclose(chunk[:, inner], whole[:, begin:end][:, inner], atol=1e-5)


def test_cost_grows_with_the_length_and_not_with_its_square() -> None:
    def work(seconds: int) -> int:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            Transformer(SMALL)(torch.zeros(1, seconds * 16_000))
        return counter.get_total_flops()

    assert work(64) / work(8) == pytest.approx(8, rel=0.05)


def test_bands_of_exact_zeros_stay_zero_and_the_mask_is_bounded() -> None:
    """As in telephone speech: nothing above 4 kHz, not even noise."""
    net = model().train()
    spectra = net.stft.analyse(sound(8000))
    spectra[:, 128:] = 0
    mask = net.mask(spectra)
    clean = spectra * mask
    assert mask.abs().max() <= 2 and clean[:, 128:].abs().max() == 0 and clean[:, :128].abs().max() > 0
    clean.abs().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


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


@pytest.mark.parametrize("setting", [{"channels": 63}, {"heads": 5}, {"window": 328, "hop": 164}, {"blocks": 0}])
def test_sizes_that_do_not_fit_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        TransformerConfig(**setting)
