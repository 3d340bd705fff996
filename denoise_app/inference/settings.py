"""What a user may change of a result, and what each setting may be."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any, Literal, get_args

from denoise_app.audio.encodings import CODECS
from denoise_app.audio.errors import AudioError
from denoise_app.audio.level import from_db

from .errors import SettingError

Channels = Literal["each", "mid", "reference"]
HighBand = Literal["follow", "keep", "drop"]

RANGES: dict[str, tuple[str, float, float]] = {
    "bad-strength": ("strength", 0, 100),
    "bad-attenuation": ("max_attenuation_db", 0, inf),
    "bad-loudness": ("loudness_lufs", -70, 0),
    "bad-true-peak": ("true_peak_dbtp", -70, 0),
    "bad-bit-depth": ("bit_depth", 8, 32),
    "bad-track": ("track", 1, 1000),
    "bad-time": ("time", 0, inf),
}
"""Reason of the error -> the setting as programs call it, the least and the largest that it may be."""


@dataclass(frozen=True)
class Settings:
    """What a user may change without running the denoiser again.

    The output is d * input + (1 - d) * denoised with d = 1 - strength / 100 * (1 - 10^(-max_attenuation_db / 20)).

    Attributes:
        strength: Percent, here as everywhere: 0 (the input as it is) to 100 (all that the denoiser does). What lies
            between 0 and 1 is refused, for it was meant as a share.
        max_attenuation_db: Nothing is made softer by more than this; dB, 0 to inf.
        high_band: What the denoised sound has above the denoiser's band: the input attenuated as the denoiser's top
            band is ("follow"), the input ("keep"), nothing ("drop").
        loudness_lufs: The integrated loudness to bring the output to, -70 to 0; None to keep its level.
        true_peak_dbtp: With a loudness: the true peak that the output stays below, even if it then is softer; -70 to 0.
        container: "wav", "flac", "ogg", "mp3", "m4a"; None for the input's, or the nearest that can be written.
        bit_depth: 8, 16, 24 or 32; None for the input's. A container that has no such depth takes the next one.

    Raises:
        SettingError: a key of `RANGES` for what is no number, or out of its range; "strength-in-percent";
            "bad-high-band".
        AudioError: "unknown-format" for a container that is no text; another one is refused when it is to be written.
    """

    strength: float = 100.0
    max_attenuation_db: float = inf
    high_band: HighBand = "follow"
    loudness_lufs: float | None = None
    true_peak_dbtp: float = -1.0
    container: str | None = None
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        strength = number("bad-strength", self.strength)
        if 0 < strength < 1:
            raise SettingError.of("strength-in-percent", given=strength, percent=100 * strength)
        number("bad-attenuation", self.max_attenuation_db)
        word("bad-high-band", self.high_band, get_args(HighBand))
        if self.loudness_lufs is not None:
            number("bad-loudness", self.loudness_lufs)
        number("bad-true-peak", self.true_peak_dbtp)
        if self.container is not None and not isinstance(self.container, str):
            raise AudioError.of("unknown-format", format=repr(self.container), formats=", ".join(CODECS))
        if self.bit_depth is not None:
            number("bad-bit-depth", self.bit_depth, whole=True)

    @property
    def wet(self) -> float:
        """The share of the denoised sound in the output, 0 to 1."""
        return self.strength / 100 * (1 - from_db(-self.max_attenuation_db))


def number(reason: str, given: Any, whole: bool = False) -> float:
    """A number in its range of `RANGES`; raises SettingError for anything else, as text, truth values and NaN are."""
    name, low, high = RANGES[reason]
    if isinstance(given, Integral if whole else Real) and not isinstance(given, bool):
        with suppress(OverflowError):  # a whole number beyond all that float holds
            if low <= float(given) <= high:
                return float(given)
    raise SettingError.of(reason, name=name, low=low, high=high)


def word(reason: str, given: Any, known: Iterable[str]) -> Any:
    """One of the words that are known; raises SettingError for anything else."""
    if isinstance(given, str) and given in known:
        return given
    raise SettingError.of(reason, known=", ".join(known))


def treatment(given: Any) -> Channels:
    """A way to treat channels; raises SettingError "bad-channels" for anything else."""
    found: Channels = word("bad-channels", given, get_args(Channels))
    return found
