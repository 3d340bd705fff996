"""What somebody points at in a sound: the stretch that is denoised, and the stretch that holds the noise alone."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from denoise_app.audio.clip import FileInfo, Samples

from .errors import EngineError, SettingError
from .settings import number

Interval = tuple[float, float]
"""From and to, in seconds."""

FADE_SECONDS = 0.01  # long enough that no click is heard, short enough that nobody hears two sounds at once
MARGIN_SECONDS = 0.1  # computed on both sides of a stretch, far longer than the resamplers' filters
ENDLESS = sys.maxsize  # samples
TIME = r"\d{1,6}(\.\d{0,9})?|\.\d{1,9}"  # seconds


@dataclass(frozen=True)
class Selection:
    """What is pointed at in a sound; times are seconds from its beginning.

    Attributes:
        start: Where the stretch begins that is denoised.
        end: Where it ends; None for the end of the sound, as every time beyond it.
        noise_profile: From and to of a stretch that holds the noise alone, for denoisers that take its spectrum from
            there instead of following it; None without one.

    Raises:
        SettingError: "bad-time" for what is no time; "empty-stretch" for one that does not end after it begins;
            "bad-profile" for what is no pair of times.
    """

    start: float = 0.0
    end: float | None = None
    noise_profile: Interval | None = None

    def __post_init__(self) -> None:
        interval = (self.start, self.end) if self.end is not None else (self.start,)
        for name, time in zip(("start", "end"), _rising(*interval), strict=False):
            object.__setattr__(self, name, time)
        if self.noise_profile is not None:
            if not isinstance(self.noise_profile, tuple | list) or len(self.noise_profile) != 2:
                raise SettingError.of("bad-profile")
            object.__setattr__(self, "noise_profile", _rising(*self.noise_profile))

    @property
    def is_everything(self) -> bool:
        """Whether the whole sound is denoised."""
        return self.start == 0 and self.end is None

    def stretch(self, info: FileInfo) -> Stretch | None:
        """The stretch to denoise, in samples of a sound; None for all of it.

        Raises:
            EngineError: "start-beyond-end".
        """
        first = round(self.start * info.sample_rate)
        if first and first >= info.frames:
            raise beyond_the_end(info, self.start)
        last = ENDLESS if self.end is None else max(first + 1, round(self.end * info.sample_rate))
        if last >= info.frames:  # nothing follows into which it could be faded
            last = ENDLESS
        if (first, last) == (0, ENDLESS):
            return None
        fade = min(round(FADE_SECONDS * info.sample_rate), (min(last, info.frames) - first) // 2)
        return Stretch(first, last, fade if first else 0, fade if last != ENDLESS else 0)


def _rising(*times: Any) -> tuple[float, ...]:
    """One time, or two in their order; raises SettingError for what is none."""
    found = tuple(number("bad-time", time) for time in times)
    if any(map(math.isinf, found)):
        raise SettingError.of("bad-time", name="time", low=0, high=math.inf)
    if found[1:] and found[1] <= found[0]:
        raise SettingError.of("empty-stretch", start=found[0], end=found[1])
    return found


EVERYTHING = Selection()


def seconds(text: str) -> float:
    """A time as people write it; raises SettingError "no-time" for what is none.

    >>> seconds("75.5"), seconds("1:15.5"), seconds("1:01:15.5")
    (75.5, 75.5, 3675.5)
    """
    *front, last = text.strip().split(":")
    if len(front) < 3 and all(re.fullmatch(r"\d{1,6}", part) for part in front) and re.fullmatch(TIME, last):
        parts = [*map(float, front), float(last)]
        if all(part < 60 for part in parts[1:]):
            return sum(part * 60**place for place, part in enumerate(reversed(parts)))
    raise SettingError.of("no-time", text=text)


@dataclass(frozen=True)
class Stretch:
    """A stretch of a sound, in samples from its beginning, of which it may begin before 0.

    Attributes:
        first, last: Its first sample, and the one after its last; ENDLESS where it reaches the end of the sound.
        fade_in, fade_out: Samples inside it over which it passes from and into what is around it.
    """

    first: int
    last: int
    fade_in: int
    fade_out: int

    def weights(self, start: int, frames: int) -> Samples:
        """(frames,) from sample `start` on: 1 in the stretch, 0 around it, and half a cosine where they meet."""
        place = np.arange(start, start + frames, dtype=np.float64)
        rising = _half_cosine(place - self.first, self.fade_in)
        falling = _half_cosine(float(self.last - 1) - place, self.fade_out)
        return np.minimum(rising, falling).astype(np.float32)

    def later(self, frames: int) -> Stretch:
        """The same stretch of the sound from sample `frames` on."""
        last = self.last if self.last == ENDLESS else self.last - frames
        return replace(self, first=self.first - frames, last=last)

    def surroundings(self, sample_rate: int, grain: int) -> tuple[int, int]:
        """First sample, a multiple of `grain`, and end of what is to be known for it: more, for filters begin there."""
        margin = round(MARGIN_SECONDS * sample_rate)
        end = self.last if self.last == ENDLESS else self.last + margin
        return max(0, self.first - margin) // grain * grain, end


def _half_cosine(place: np.ndarray[Any, Any], fade: int) -> np.ndarray[Any, Any]:
    """0 before place 0, from there up over `fade` samples, in none of which it is 0, and 1 behind them."""
    share = np.clip((place + 0.5) / max(fade, 1), 0.0, 1.0)
    risen = 0.5 - 0.5 * np.cos(np.pi * share) if fade else np.ones_like(place)
    return np.where(place < 0, 0.0, risen)


def beyond_the_end(info: FileInfo, start: float) -> EngineError:
    return EngineError.of("start-beyond-end", start=start, seconds=info.seconds)
