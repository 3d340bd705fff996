"""A denoiser that needs the future hears chunks, and nobody hears where they meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from denoise_app.denoiser import GRID
from denoise_app.inference.chunks import Chunks, Plan

SMALL = Plan(window=100, context=20, crossfade=10)  # stride 50
BARE = Plan(window=64, context=0, crossfade=0)
LENGTHS = [0, 1, 49, 50, 51, 99, 100, 101, 149, 150, 151, 211, 397, 1009]  # 211, 397 and 1009 are prime


class Identity:
    sample_rate, latency, causal = 16_000, 0, False

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, noisy: Tensor) -> Tensor:
        self.calls.append(tuple(noisy.shape))
        return noisy.clone()


class Neighbours(Identity):
    """The mean over `reach` samples to both sides, zeros beyond the ends."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def __call__(self, noisy: Tensor) -> Tensor:
        super().__call__(noisy)
        kernel = torch.ones(1, 1, 2 * self.reach + 1) / (2 * self.reach + 1)
        return F.conv1d(noisy[:, None], kernel, padding=self.reach)[:, 0]


class Level(Identity):
    """Each call adds another constant, so that seams are as large as they get."""

    def __call__(self, noisy: Tensor) -> Tensor:
        super().__call__(noisy)
        return noisy + torch.arange(noisy.shape[0])[:, None] + len(self.calls)


def noise(batch: int, length: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(length).uniform(-1, 1, (batch, length)).astype(np.float32))


def run(chunks: Chunks, signal: Tensor, block: int) -> Tensor:
    parts = [chunks.push(part) for part in signal.split(block, dim=1)] if signal.shape[1] else []
    return torch.cat([*parts, chunks.finish()], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("plan", [SMALL, BARE], ids=["small", "bare"])
@pytest.mark.parametrize("block", [1, 49, 50, 51, 97, 5000])
@pytest.mark.parametrize("length", LENGTHS)
def test_an_identity_gives_the_input_back(plan: Plan, length: int, block: int) -> None:
    signal = noise(2, length)
    out = run(Chunks(Identity(), 2, plan), signal, block)
    assert out.shape == signal.shape
    torch.testing.assert_close(out, signal, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_with_enough_context_chunks_give_what_the_whole_gives(length: int) -> None:
    denoiser, signal = Neighbours(reach=20), noise(2, length)
    torch.testing.assert_close(run(Chunks(denoiser, 2, SMALL), signal, 97), denoiser(signal), rtol=0, atol=1e-6)


def test_without_context_they_do_not() -> None:
    """The test above can fail."""
    denoiser, signal = Neighbours(reach=20), noise(1, 397)
    assert not torch.allclose(run(Chunks(denoiser, 1, BARE), signal, 97), denoiser(signal), atol=1e-3)


def test_where_chunks_disagree_one_passes_into_the_other_evenly() -> None:
    out = run(Chunks(Level(), 1, SMALL), torch.zeros(1, 397), 397)[0]
    steps = out.diff()
    assert steps.max() <= 1 / SMALL.crossfade + 1e-6  # each chunk is 1 above the one before
    assert steps.min() >= -1e-6
    assert (out[0], out[-1]) == (1, 7)
    assert steps.count_nonzero() <= 6 * (SMALL.crossfade + 1)


def test_sound_of_one_chunk_is_denoised_whole() -> None:
    denoiser = Identity()
    run(Chunks(denoiser, 2, SMALL), noise(2, 100), 33)
    assert denoiser.calls == [(2, 100)]


def test_longer_chunks_hear_less_twice() -> None:
    heard = {}
    for longer in (1, 4):
        denoiser = Identity()
        denoiser.latency = 3 * denoiser.sample_rate  # type: ignore[misc]
        plan = Plan.for_denoiser(denoiser, longer)
        run(Chunks(denoiser, 1, plan), torch.zeros(1, 100 * plan.stride // longer), 16_000)
        heard[longer] = sum(length for _, length in denoiser.calls) / (100 * plan.stride // longer)
        assert plan.window - plan.overlap == longer * 8 * denoiser.sample_rate // GRID * GRID
    assert heard[1] == pytest.approx(1 + 6 / 8, abs=0.02) and heard[4] == pytest.approx(1 + 6 / 32, abs=0.02)


def test_what_waits_is_bounded() -> None:
    """The longer the sound the more has come out: nothing but a few chunks is held back."""
    chunks = Chunks(Identity(), 1, SMALL)
    pushed = given = 0
    for _ in range(200):
        pushed += 37
        given += chunks.push(torch.zeros(1, 37)).shape[1]
        assert pushed - given <= SMALL.window + SMALL.stride


def test_reset_forgets() -> None:
    chunks, signal = Chunks(Neighbours(reach=30), 1, SMALL), noise(1, 397)
    first = run(chunks, signal, 60)
    chunks.reset()
    assert torch.equal(run(chunks, signal, 60), first)


@pytest.mark.parametrize(("rate", "latency"), [(16_000, 0), (48_000, 1000), (16_000, 100_000)])
def test_the_usual_plan_hears_as_much_as_the_denoiser_needs(rate: int, latency: int) -> None:
    denoiser = Identity()
    denoiser.sample_rate, denoiser.latency = rate, latency  # type: ignore[misc]
    plan = Plan.for_denoiser(denoiser)
    assert plan.context >= max(rate, latency)
    assert plan.stride % GRID == 0


@pytest.mark.parametrize("parts", [(100, 50, 1), (100, 10, 60), (100, -1, 0), (100, 0, -1)])
def test_a_plan_that_cannot_be_is_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        Plan(*parts)
