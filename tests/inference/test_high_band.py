"""The gain of the band above is that of the denoiser's top band."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_app.inference.high_band import GainQueue, TopBand, gain_at

RATE = 16_000


def tone(frequency: float, frames: int = RATE) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * frequency * np.arange(frames) / RATE)).astype(np.float32)[None]


def gains(dry: np.ndarray, wet: np.ndarray, block: int = 4001) -> np.ndarray:
    top = TopBand(len(dry), RATE)
    parts = [
        top.push(dry[:, begin : begin + block], wet[:, begin : begin + block])
        for begin in range(0, dry.shape[1], block)
    ]
    return np.concatenate([*parts, top.finish()])


@pytest.mark.parametrize("number", [1.0, 0.5, 0.01, 0.0])
def test_it_is_what_the_denoiser_left_of_the_top_band(number: float) -> None:
    dry = tone(6000) + tone(500)
    np.testing.assert_allclose(gains(dry, number * tone(6000) + tone(500))[2:-2], number, atol=2e-3)


def test_what_happens_below_does_not_count() -> None:
    np.testing.assert_allclose(gains(tone(6000) + tone(500), tone(6000))[2:-2], 1, atol=1e-2)


def test_it_never_amplifies_and_silence_is_left_alone() -> None:
    assert gains(tone(6000), 3 * tone(6000)).max() == 1
    assert (gains(0 * tone(6000), 0 * tone(6000)) == 1).all()


@pytest.mark.parametrize("block", [1, 255, 256, 257, 997])
def test_it_does_not_depend_on_blocks(block: int) -> None:
    dry = np.random.default_rng(0).standard_normal((2, 4099)).astype(np.float32)
    wet = dry * np.linspace(0, 1, 4099, dtype=np.float32)
    np.testing.assert_allclose(gains(dry, wet, block), gains(dry, wet, 5000), atol=1e-5)


def test_frames_lie_where_they_are_said_to() -> None:
    """A denoiser that opens at one moment: its gain passes one half there."""
    frames, opened = RATE, 8000
    dry = np.random.default_rng(0).standard_normal((1, frames)).astype(np.float32)
    wet = dry * (np.arange(frames) >= opened)
    found = gains(dry, wet)
    rise = gain_at(found, np.arange(frames) / TopBand(1, RATE).hop)[0] ** 2  # energies are averaged
    assert abs(int(np.argmax(rise > 0.5)) - opened) < 128


def test_every_sample_has_a_gain() -> None:
    for frames in (0, 1, 255, 256, 257, 5000):
        found = gains(np.ones((1, frames), np.float32), np.zeros((1, frames), np.float32))
        assert gain_at(found, np.arange(frames) / 256).shape == (1, frames)
        assert len(found) > frames // 256


@pytest.mark.parametrize("step", [1 / 256, 16_000 / 44_100 / 256, 2 / 256])
@pytest.mark.parametrize("begin", [0, 50_003])
def test_gains_that_come_bit_by_bit_are_read_as_those_of_a_whole(step: float, begin: int) -> None:
    rng = np.random.default_rng(0)
    whole = rng.random((700, 2)).astype(np.float32)
    first = int(begin * step)
    queue, parts = GainQueue(2, step, begin, first), []
    for gains in np.array_split(whole[first:], np.sort(rng.integers(0, 700 - first, 30))):
        queue.put(gains)
        ready = queue.frames
        parts += [queue.take(ready // 3), queue.take(ready - ready // 3)]
    known = sum(part.shape[1] for part in parts)
    assert 0 <= (len(whole) - first) / step - known <= 3 / step
    parts.append(queue.take(2000))  # on beyond the last
    times = np.arange(begin, begin + known + 2000) * step
    assert np.array_equal(np.concatenate(parts, axis=1), gain_at(whole, times))
