"""Sounds that come in blocks of different lengths, brought into step."""

from __future__ import annotations

from collections import deque

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


class LowBand:
    """What is left of a sound after resampling to a lower rate and back, aligned with it.

    What comes out of all pushes and the finish together is at least as long as the sound, for both resamplers round up.

    Args:
        channels: Count.
        sample_rate, low_rate: Hz.
    """

    def __init__(self, channels: int, sample_rate: int, low_rate: int) -> None:
        self._down, self._up = Resampler(channels, sample_rate, low_rate), Resampler(channels, low_rate, sample_rate)

    def push(self, block: Samples) -> Samples:
        """(channels, n) -> the samples (channels, m) that are ready."""
        return self._up.push(self._down.push(block))

    def finish(self) -> Samples:
        """The samples (channels, m) that are left."""
        return np.concatenate([self._up.push(self._down.finish()), self._up.finish()], axis=1)
