"""How long, wide and large a sound may be before it is decoded."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from typing import Any

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.errors import AudioError


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded; each is set by the environment variable DENOISE_<NAME>.

    Attributes:
        max_seconds: Length.
        max_channels: Count.
        min_rate: Hz.
        max_rate: Hz.
        max_samples: Decoded samples in all channels together.
        max_bytes: Size of the file.
    """

    max_seconds: float = 7200.0  # two hours
    max_channels: int = 16
    min_rate: int = 4000  # below, half the rate lies within speech
    max_rate: int = 384_000
    max_samples: int = 2 * 7200 * 192_000  # two hours of stereo at 192 kHz
    max_bytes: int = 12 << 30  # the same as 32-bit wav

    @classmethod
    def from_environment(cls) -> Limits:
        """The defaults, replaced where a variable is set.

        Raises:
            AudioError: a variable is not a positive number.
        """
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            variable = f"DENOISE_{field.name.upper()}"
            if text := os.environ.get(variable, "").strip():
                chosen[field.name] = positive(variable, text, whole=field.type == "int")
        return cls(**chosen)

    def check(self, info: FileInfo, name: str) -> None:
        """Raises AudioError where the header of the file called `name` goes beyond a limit."""
        if info.channels > self.max_channels:
            raise AudioError.of("too-many-channels", name=name, channels=info.channels, limit=self.max_channels)
        if not self.min_rate <= info.sample_rate <= self.max_rate:
            raise AudioError.of(
                "rate-out-of-range", name=name, rate=info.sample_rate, lowest=self.min_rate, highest=self.max_rate
            )
        self.check_length(info, info.frames, name)

    def check_length(self, info: FileInfo, frames: int, name: str) -> None:
        """Raises AudioError where `frames` samples per channel are too many."""
        seconds = frames / info.sample_rate
        if seconds > self.max_seconds:
            raise AudioError.of("too-long", name=name, length=clock(seconds), limit=clock(self.max_seconds))
        if frames * info.channels > self.max_samples:
            millions = [round(count / 1e6, 1) for count in (frames * info.channels, self.max_samples)]
            raise AudioError.of("too-many-samples", name=name, samples=millions[0], limit=millions[1])


def positive(variable: str, text: str, whole: bool) -> float:
    """The number in an environment variable; raises AudioError for what is no positive number, or no whole one."""
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = 0
    if 0 < value < math.inf:
        return value
    if whole:
        raise AudioError.of("not-a-count", variable=variable, text=text)
    raise AudioError.of("not-positive", variable=variable, text=text)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as a person writes them.

    >>> clock(36000), clock(61.25)
    ('10:00:00', '0:01:01.2')
    """
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    return f"{hours}:{minutes:02}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
