"""A result, and what a denoiser took away, computed where somebody listens: long before, or without, any file of it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import FileInfo, Samples
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import open_writer

from .engine import Settings, mixed_blocks, output_encoding
from .separation import Separation

MARGIN_SECONDS = 0.1  # computed before what is read, far longer than the resamplers' filters


@dataclass(frozen=True)
class Mixed:
    """The result before its gain, as a sound of the input's rate, channels and length.

    Attributes:
        separation: What the denoiser found.
        settings: What is made of it.
        name: By which it is known again; drawn at random.
    """

    separation: Separation
    settings: Settings
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def info(self) -> FileInfo:
        """What it is; raises AudioError "missing" where the separation's files are gone."""
        if not self.separation.taken.is_file():
            raise AudioError.of("missing", name=self.separation.taken.name)
        return self.separation.info

    def read(self, start: int, frames: int) -> Samples:
        """(channels, frames or fewer) from a sample on; raises AudioError where the input is gone."""
        grain, rate = self.separation.grain, self.info.sample_rate
        margin = math.ceil(MARGIN_SECONDS * rate / grain) * grain
        first = max(0, start // grain * grain - margin)
        part = self.separation.part(first, start - first + frames + margin)
        blocks = [self._of(sound, mixed) for sound, mixed in mixed_blocks(part, self.settings)]
        nothing = np.zeros((self.info.channels, 0), np.float32)
        return np.concatenate([nothing, *blocks], axis=1)[:, start - first : start - first + frames]

    def blocks(self) -> Iterator[Samples]:
        """All of it, as blocks (channels, n)."""
        return (self._of(sound, mixed) for sound, mixed in mixed_blocks(self.separation, self.settings))

    def _of(self, sound: Samples, mixed: Samples) -> Samples:
        """What is heard, (channels, n), of as much of the input and of its mix."""
        return mixed


class Removed(Mixed):
    """The input minus the result before its gain. Few take it along, and as a file it costs as much as the result."""

    def _of(self, sound: Samples, mixed: Samples) -> Samples:
        return sound - mixed

    def write(self, out: Path) -> Path:
        """Writes it in the encoding of the result; returns where.

        Raises:
            AudioError: The input is gone, or the disk is full; nothing is left of the file.
        """
        info = self.info
        encoding = output_encoding(info, self.settings)
        with open_writer(out, info.sample_rate, info.channels, encoding, info.frames) as writer:
            for block in self.blocks():
                writer.write(block)
        return out
