"""Sounds that come in blocks of different lengths, brought into step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import Resampler


class Queue:
    """Blocks (rows, any) in, blocks (rows, as many as wanted) out, in order.

    Args:
        rows: Signals side by side.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._blocks: deque[Samples] = deque()
        self.frames = 0  # that can be taken

    def put(self, block: Samples) -> None:
        if block.shape[1]:
            self._blocks.append(block)
            self.frames += block.shape[1]

    def take(self, frames: int) -> Samples:
        """The next (rows, frames); there must be that many."""
        parts = [np.zeros((self._rows, 0), np.float32)]
        missing = frames
        while missing:
            block = self._blocks.popleft()
            parts.append(block[:, :missing])
            if block.shape[1] > missing:
                self._blocks.appendleft(block[:, missing:])
            missing -= parts[-1].shape[1]
        self.frames -= frames
        return parts[1] if len(parts) == 2 else np.concatenate(parts, axis=1)


def resampled(blocks: Iterator[Samples], rows: int, from_rate: int, to_rate: int) -> Iterator[Samples]:
    """Blocks (rows, n) at another rate in Hz."""
    resampler = Resampler(rows, from_rate, to_rate)
    for block in blocks:
        yield resampler.push(block)
    yield resampler.finish()


class Track:
    """A sound that is made when it is asked for.

    Args:
        blocks: (rows, any).
        rows: Signals side by side.
    """

    def __init__(self, blocks: Iterator[Samples], rows: int) -> None:
        self._blocks = blocks
        self._queue = Queue(rows)

    def take(self, frames: int) -> Samples:
        """The next (rows, frames); raises StopIteration where the sound is shorter."""
        while self._queue.frames < frames:
            self._queue.put(next(self._blocks))
        return self._queue.take(frames)


def with_low_band(
    blocks: Iterator[Samples], rows: int, sample_rate: int, low_rate: int
) -> Iterator[tuple[Samples, Samples]]:
    """Blocks (rows, n), each with what is left of it after resampling to `low_rate` and back, (rows, n), aligned."""
    down, up = Resampler(rows, sample_rate, low_rate), Resampler(rows, low_rate, sample_rate)
    sound, low = Queue(rows), Queue(rows)
    for block in blocks:
        sound.put(block)
        low.put(up.push(down.push(block)))
        ready = min(sound.frames, low.frames)
        yield sound.take(ready), low.take(ready)
    low.put(up.push(down.finish()))
    low.put(up.finish())  # at least as long as the sound, for both resamplers round up
    yield sound.take(rest := sound.frames), low.take(rest)
