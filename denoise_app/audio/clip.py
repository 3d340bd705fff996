"""A short piece of sound in memory, and what is known of the file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FileInfo:
    """What a sound file's header says, read without decoding it.

    Attributes:
        container: Lower-case name of the container: "wav", "flac", "ogg", "mp3", "m4a", "mp4", ...
        codec: The encoding inside it, as its reader names it: "PCM_16", "FLOAT", "VORBIS", "aac", ...
        sample_rate: Hz.
        channels: Count, at least 1.
        frames: Samples per channel; for lossy containers the header's estimate.
        bit_depth: Bits per sample of a lossless encoding (8, 16, 24, 32, 64), None for a lossy one.
        bit_rate: Bits per second of a lossy encoding, all channels together, about; None where it is not known.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    frames: int
    bit_depth: int | None
    bit_rate: int | None = field(default=None, compare=False)

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate


@dataclass(frozen=True)
class Clip:
    """Sound in memory: one block of a long file, or the whole of a short one.

    Attributes:
        samples: (channels, time) float32, full scale is [-1, 1]; never written to.
        sample_rate: Hz.
        source: What the file was, None for sound that came from no file.

    Raises:
        ValueError: samples are not (channels, time) float32, or the rate is not positive.
    """

    samples: Samples
    sample_rate: int
    source: FileInfo | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise ValueError(f"a Clip holds (channels, time) float32, not {self.samples.shape} {self.samples.dtype}")
        if self.sample_rate <= 0:
            raise ValueError(f"a sample rate is positive, not {self.sample_rate}")

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def frames(self) -> int:
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate

    def with_samples(self, samples: Samples, sample_rate: int | None = None) -> Clip:
        """The same clip with other samples (channels, time), and another rate in Hz where one is given."""
        return replace(self, samples=samples, sample_rate=sample_rate or self.sample_rate)
