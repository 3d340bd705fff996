"""The shared parts against plain referees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from denoise_app.models.layers import MOST_FRAMES, BandFeatures, BandSplit, RunningMean, run_both_ways, run_gru
from denoise_app.spectral.stft import Stft


class Memories(NamedTuple):
    memory: float
    level_memory: float


def test_gru_gives_the_values_and_gradients_of_torch() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(7, 5, 2, batch_first=True).double()
    frames = torch.randn(3, 11, 7, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    aim = torch.randn(3, 11, 5, dtype=torch.float64)
    inputs = [frames, hidden, *gru.parameters()]

    def run(function: object) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        out, last = function(frames, hidden)  # type: ignore[operator]
        return [out, last], torch.autograd.grad((out * aim).sum() + last.square().sum(), inputs)

    (ours, our_gradients), (theirs, their_gradients) = run(lambda x, h: run_gru(gru, x, h)), run(gru)
    for mine, referee in zip([*ours, *our_gradients], [*theirs, *their_gradients], strict=True):
        assert torch.allclose(mine, referee, atol=1e-10)


def test_gru_without_gradients_is_torchs_own() -> None:
    gru = nn.GRU(4, 4, batch_first=True)
    frames, hidden = torch.randn(1, 6, 4), torch.zeros(1, 1, 4)
    with torch.inference_mode():
        assert torch.equal(run_gru(gru, frames, hidden)[0], gru(frames, hidden)[0])


@pytest.mark.parametrize("blocks", [[700], [1, 2, 697], [MOST_FRAMES, 700 - MOST_FRAMES]])
def test_running_mean_is_the_recursion_written_out(blocks: list[int]) -> None:
    frames = torch.randn(2, 700, 3, generator=torch.Generator().manual_seed(0))
    mean = RunningMean(seconds=0.5, frame_seconds=0.016)
    above, below = np.zeros((2, 3)), 0.0
    referee = []
    for n in range(700):
        above = mean.decay * above + frames[:, n].numpy()
        below = mean.decay * below + 1
        referee.append(above / below)
    sums, parts = mean.initial(frames, 2, 3), []
    for part in frames.split(blocks, dim=1):
        out, sums = mean(part, sums)
        parts.append(out)
    assert np.allclose(torch.cat(parts, dim=1).numpy(), np.stack(referee, axis=1), atol=1e-5)


def test_bands_keep_what_is_flat_and_single_bins_alone() -> None:
    bands = BandSplit(Stft(), 65, 64)
    assert torch.allclose(bands.split(torch.full((2, 257), 3.0)), torch.tensor(3.0))
    assert torch.allclose(bands.merge(torch.full((2, 129), 0.5)), torch.tensor(0.5), atol=1e-6)
    tone = torch.zeros(257)
    tone[20] = 1.0
    assert bands.split(tone).nonzero().flatten().tolist() == [20]


def test_band_centres_follow_the_erb_scale() -> None:
    """Glasberg and Moore 1990: a band at frequency f is as wide as its share of 21.4 log10(1 + 0.00437 f)."""
    bands = BandSplit(Stft(), 65, 64)
    centres = bands.spread[65:] @ Stft().frequencies / bands.spread[65:].sum(1)
    widths = centres.diff()
    assert (widths > 0).all() and widths[-8:].mean() > 2 * widths[:8].mean()
    assert centres[-1] == pytest.approx(8000, rel=0.02)


def test_both_ways_in_one_call_are_the_two_grus_one_after_the_other() -> None:
    torch.manual_seed(0)
    up, down = nn.GRU(6, 4, batch_first=True), nn.GRU(6, 4, batch_first=True)
    rows = torch.randn(5, 9, 6)
    referee = torch.cat([up(rows)[0], down(rows.flip(1))[0].flip(1)], dim=2)
    with torch.no_grad():
        at_once = run_both_ways(up, down, rows)
    torch.testing.assert_close(at_once, referee, rtol=0, atol=1e-6)
    torch.testing.assert_close(run_both_ways(up, down, rows), referee, rtol=0, atol=1e-6)


def test_the_level_fades_within_half_a_second_so_that_a_softer_sound_looks_like_itself() -> None:
    """20 dB softer after a pause; what the features say of each band against its own mean is another matter."""
    bands = BandSplit(Stft(), 65, 64)
    soft = 3e-3 * torch.randn(1, 257, 60, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    loud, pause = torch.full((1, 257, 60), 0.03 + 0j), torch.zeros(1, 257, 31)  # 31 frames: half a second
    far = {}
    for seconds in (0.2, 1.0):
        features = BandFeatures(bands, Memories(1.0, seconds), 0.016)
        heard = [torch.cat(parts, dim=2) for parts in ([soft], [loud, pause, soft])]
        alone, after = (
            features(torch.view_as_real(sound), features.initial(sound.real, 1))[0][:, -30:, :129] for sound in heard
        )
        far[seconds] = float((alone - after).abs().mean())
    assert far[0.2] < 0.1 and far[1.0] > 0.4, "in half decades"
