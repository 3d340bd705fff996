"""What every classical denoiser keeps: the contract, over all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from denoise_app.classical import CLASSICAL, Nlms
from denoise_app.denoiser import StreamingDenoiser

MAKERS: dict[str, Any] = {**CLASSICAL, "nlms with reference": Nlms.with_reference}
NAMES = sorted(MAKERS)
SPECTRAL = ("spectral-subtraction", "wiener", "mmse-lsa")


def sound(length: int, seed: int = 0, batch: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, length, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 511, 512, 513, 4001])
def test_length_stays_and_the_input_is_left_alone(name: str, length: int) -> None:
    noisy = sound(length)
    before = noisy.clone()
    clean = MAKERS[name]()(noisy)
    assert clean.shape == noisy.shape and clean.dtype == torch.float32
    assert torch.equal(noisy, before) and torch.isfinite(clean).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hops", [1, 3, 50])
def test_blocks_give_what_the_whole_gives(name: str, hops: int) -> None:
    denoiser = MAKERS[name]()
    assert isinstance(denoiser, StreamingDenoiser) and denoiser.causal
    noisy, block = sound(9_000), hops * denoiser.hop
    pushed = torch.cat([noisy, torch.zeros(2, denoiser.delay + block)], dim=1)
    state, out = denoiser.initial_state(2), []
    for start in range(0, pushed.shape[1] - block + 1, block):
        part, state = denoiser.advance(pushed[:, start : start + block], state)
        out.append(part)
    streamed = torch.cat(out, dim=1)[:, denoiser.delay :][:, : noisy.shape[1]]
    assert streamed.shape == noisy.shape
    assert torch.allclose(streamed, denoiser(noisy), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_later_input_never_changes_earlier_output(name: str) -> None:
    denoiser, noisy, cut = MAKERS[name](), sound(12_000), 7_001
    changed = noisy.clone()
    changed[:, cut:] = sound(12_000 - cut, seed=1)
    before, after = denoiser(noisy), denoiser(changed)
    kept = cut - denoiser.latency + 1
    assert torch.allclose(before[:, :kept], after[:, :kept], atol=1e-6)
    assert not torch.allclose(before[:, cut:], after[:, cut:], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_silence_gives_silence_and_so_does_silence_after_sound(name: str) -> None:
    denoiser = MAKERS[name]()
    assert denoiser(torch.zeros(2, 4000)).abs().max() == 0
    tail = denoiser(torch.cat([sound(8000), torch.zeros(2, 24_000)], dim=1))[:, -8000:]
    assert torch.isfinite(tail).all() and tail.abs().max() < 1e-6


@pytest.mark.parametrize("name", sorted(CLASSICAL))
def test_rows_do_not_meet(name: str) -> None:
    noisy = sound(6000, batch=3)
    together = CLASSICAL[name]()(noisy)
    alone = torch.cat([CLASSICAL[name]()(row[None]) for row in noisy])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gain", [1e-3, 8.0])
def test_a_louder_input_gives_a_louder_output_and_nothing_else(name: str, gain: float) -> None:
    noisy = sound(12_000)
    assert torch.allclose(MAKERS[name]()(gain * noisy), gain * MAKERS[name]()(noisy), atol=2e-5 * gain)


def test_settings_out_of_range_are_refused() -> None:
    from denoise_app.classical import BandPass, MmseLsa, SpectralSubtraction

    for wrong in (
        lambda: BandPass(low=4000, high=300),
        lambda: BandPass(high=9000),
        lambda: MmseLsa(smoothing=1.0),
        lambda: MmseLsa(floor_db=3.0),
        lambda: SpectralSubtraction(over=0.5),
        lambda: Nlms(step=2.5),
        lambda: Nlms(lag=0),
    ):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(ValueError, match="two rows"):
        Nlms.with_reference()(sound(1000, batch=3))
