"""The mix that replaces a sound: the sound less what a denoiser takes, when that is known or as it becomes known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import Resampler, mid

from .high_band import GainQueue
from .selection import ENDLESS
from .separation import Piece, Separating, Separation
from .settings import Settings
from .sources import block_frames
from .tracks import LowBand, Queue

Separated = Separation | Separating


def has_high_band(separated: Separated) -> bool:
    """Whether the sound reaches above the denoiser's band."""
    return separated.info.sample_rate > separated.model_rate


def mixed_blocks(separated: Separated, settings: Settings) -> Iterator[tuple[Samples, Samples]]:
    """Blocks (channels, n) of the input, each with the mix that replaces it.

    The mix is the input minus what is taken from it, so that where nothing is taken the input's bits remain. Its
    constant offset, which is no sound, is taken with the noise; but where a stretch is denoised, it stays, for it would
    jump where the stretch ends. Nothing depends on how it is cut into pieces.
    """
    mixer = _Mixer(separated, settings)
    size = block_frames(separated.info.sample_rate, separated.info.channels)
    for piece in separated.pieces():
        mixer.push(piece)
        while mixer.ready >= (due := min(size, mixer.alike)):
            yield mixer.take(due)
    mixer.finish()
    while mixer.ready:
        yield mixer.take(min(size, mixer.alike, mixer.ready))


class _Mixer:
    """Brings what is known of a separation into step at the sound's rate, and mixes it."""

    def __init__(self, separated: Separated, settings: Settings) -> None:
        channels, rate = separated.info.channels, separated.info.sample_rate
        rows, model_rate = separated.rows, separated.model_rate
        self._wet = settings.wet
        self._is_mid = separated.channels == "mid"
        self._processed, self._stretch, self._position = separated.processed, separated.stretch, 0
        self._has_above = settings.high_band != "keep" and has_high_band(separated)
        self._follows = self._has_above and settings.high_band == "follow"
        self._sound, self._centred = Queue(channels), Queue(channels)
        self._taken, self._up = Queue(rows), Resampler(rows, model_rate, rate)
        self._size = max(1, block_frames(rate, channels) * model_rate // rate)
        self._low, self._low_band = Queue(channels), LowBand(channels, rate, model_rate)
        self._gains = GainQueue(
            rows,
            model_rate / rate / separated.gain_hop,
            begin=separated.skipped * rate // model_rate,
            first=separated.skipped // separated.gain_hop,
        )
        self._is_done = False
        self._awaited: list[Queue | GainQueue] = [self._sound]
        if self._wet:
            self._awaited += [self._taken]
            self._awaited += [self._low] * self._has_above + [self._gains] * self._follows

    @property
    def ready(self) -> int:
        """Samples that can be taken."""
        waits = self._is_processed and not self._is_done
        return min(queue.frames for queue in (self._awaited if waits else [self._sound]))

    @property
    def alike(self) -> int:
        """Samples from here to where what the denoiser got begins or ends."""
        return next(edge - self._position for edge in (*self._processed, ENDLESS) if edge > self._position)

    @property
    def _is_processed(self) -> bool:
        return self._processed[0] <= self._position < self._processed[1]

    def push(self, piece: Piece) -> None:
        """Takes what is known next."""
        self._sound.put(piece.sound)
        if not self._wet or self._is_done:
            return
        self._centred.put(piece.centred)
        for begin in range(0, piece.taken.shape[1], self._size):  # half a minute may come at once
            self._taken.put(self._up.push(piece.taken[:, begin : begin + self._size]))
        if self._has_above:
            self._low.put(self._low_band.push(piece.centred))
        if self._follows:
            self._gains.put(piece.gains)
        if piece.done:
            self.finish()

    def finish(self) -> None:
        """Nothing more is taken from what comes: all that is left can be had."""
        if not self._is_done:
            self._is_done = True
            self._taken.put(self._up.finish())
            self._low.put(self._low_band.finish())

    def take(self, frames: int) -> tuple[Samples, Samples]:
        """The next (channels, frames) of the sound, at most as many as are `alike`, and its mix."""
        sound, is_processed = self._sound.take(frames), self._is_processed
        position, self._position = self._position, self._position + frames
        if not self._wet or not is_processed:
            return sound, sound
        centred = self._centred.take(frames)
        signal = mid(centred) if self._is_mid else centred
        taken: Any = self._taken.take(frames) + self._above(centred)
        if self._stretch is None:
            return sound, sound - self._wet * ((sound - signal) + taken)
        weights = self._stretch.weights(position, frames)
        change = weights * ((centred - signal) + taken)
        mixed: Samples = np.where(weights > 0, sound - self._wet * change, sound)  # a zero would lose its sign
        return sound, mixed

    def _above(self, centred: Samples) -> Samples | float:
        """What is taken above the denoiser's band, (rows, n) or 0."""
        if not self._has_above:
            return 0.0
        high = centred - self._low.take(centred.shape[1])
        high = mid(high) if self._is_mid else high
        return high * (1 - self._gains.take(centred.shape[1])) if self._follows else high
