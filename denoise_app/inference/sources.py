"""Sound in blocks, whether from a file or from memory, and its levels, measured on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from denoise_app.audio.clip import Clip, FileInfo, Samples
from denoise_app.audio.files import Reader, open_reader
from denoise_app.audio.level import LoudnessMeter, clipped_fraction, dc_offset, peak, to_db
from denoise_app.audio.notes import Note

BLOCK_SECONDS = 10.0
BLOCK_SAMPLES = 1 << 18  # of all channels: 1 MB, 2.7 s of 48 kHz stereo; four times as much is no faster

AUDIBLY_CLIPPED = 1e-4  # share of samples at full scale: in speech, some ten a second at 48 kHz
NOTABLE_DC = 0.01  # of full scale, -40 dB


class ClipReader:
    """A clip read as a file is."""

    notes: tuple[Note, ...] = ()

    def __init__(self, clip: Clip) -> None:
        self._samples = clip.samples
        source = clip.source or FileInfo("wav", "FLOAT", 0, 0, 0, 32)
        self.info = replace(source, sample_rate=clip.sample_rate, channels=clip.channels, frames=clip.frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def blocks(self, frames: int, start: int = 0) -> Iterator[Samples]:
        for begin in range(start, self._samples.shape[1], frames):
            yield self._samples[:, begin : begin + frames]


def open_sound(sound: Path | Clip) -> Reader | ClipReader:
    """Opens a file or a clip for reading by block; raises AudioError as `open_reader`."""
    return ClipReader(sound) if isinstance(sound, Clip) else open_reader(sound)


def block_frames(sample_rate: int, channels: int) -> int:
    """Samples per channel that are treated at once: little enough for many wide channels, and for a quick cancel."""
    return max(1, min(round(BLOCK_SECONDS * sample_rate), BLOCK_SAMPLES // channels))


def window(blocks: Iterator[Samples], frames: int | None) -> Iterator[Samples]:
    """The first `frames` samples of blocks (channels, n); all of them for None."""
    for block in blocks:
        if frames is None:
            yield block
            continue
        yield block[:, :frames]
        frames -= block.shape[1]
        if frames <= 0:
            return


@dataclass(frozen=True)
class Levels:
    """How loud a sound is as a whole.

    Attributes:
        peak_db: The largest sample of all channels in dBFS; -inf for silence.
        loudness_lufs: Integrated, ITU-R BS.1770-4; -inf for silence.
        clipped: Share of samples at full scale or beyond, 0 to 1.
        dc_offset: The largest mean of a channel, an amplitude.
    """

    peak_db: float
    loudness_lufs: float
    clipped: float
    dc_offset: float

    def notes(self) -> tuple[Note, ...]:
        """What is odd about a sound of these levels."""
        found = []
        if self.peak_db == -math.inf:
            found.append(Note.of("silent"))
        if self.clipped >= AUDIBLY_CLIPPED:
            found.append(Note.of("clipped", percent=100 * self.clipped))
        if self.peak_db > 0:
            found.append(Note.of("beyond-full-scale", db=self.peak_db))
        if self.dc_offset >= NOTABLE_DC:
            found.append(Note.of("dc-offset", percent=100 * self.dc_offset))
        return tuple(found)


class LevelMeter:
    """Measures `Levels` of sound that comes in blocks.

    Args:
        channels: Count.
        sample_rate: Hz.
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._loudness = LoudnessMeter(channels, sample_rate)
        self._peak = 0.0
        self._clipped = 0.0  # samples
        self._sums = np.zeros(channels)
        self._frames = 0

    def push(self, block: Samples) -> None:
        """Push (channels, n) float32."""
        frames = block.shape[1]
        self._loudness.push(block)
        self._peak = max(self._peak, peak(block))
        self._clipped += clipped_fraction(block) * frames
        self._sums += dc_offset(block) * frames
        self._frames += frames

    def levels(self) -> Levels:
        """Of all that was pushed; nothing may be pushed after it."""
        frames = max(self._frames, 1)
        return Levels(
            peak_db=to_db(self._peak),
            loudness_lufs=self._loudness.finish(),
            clipped=self._clipped / frames,
            dc_offset=float(np.abs(self._sums / frames).max()),
        )
