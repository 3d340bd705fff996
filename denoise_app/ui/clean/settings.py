"""What the widgets of the Clean tab say, or a program sent, as the engine takes it."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar, get_args

from denoise_app.audio.errors import AudioError
from denoise_app.inference import engine
from denoise_app.ui.texts import LANGUAGES

NO_LIMIT_DB = 60  # the end of the slider for the most attenuation: nobody hears a difference to no limit
RANGES: dict[str, tuple[str, float, float]] = {
    "bad-strength": ("strength", 0, 100),
    "bad-attenuation": ("max_attenuation_db", 0, inf),
    "bad-loudness": ("loudness_lufs", -70, 0),
    "bad-true-peak": ("true_peak_dbtp", -70, 0),
    "bad-bit-depth": ("bit_depth", 8, 32),
}
"""Reason of the error -> the setting as programs call it, the least and the largest that it may be."""


class SettingError(AudioError):
    """A setting that cannot be what it is."""

    sentences: ClassVar[dict[str, str]] = {
        reason: LANGUAGES["en"][f"error.{reason}"] for reason in (*RANGES, "bad-high-band", "bad-channels")
    }


def settings_from(
    strength: float | None,
    most_db: float | None,
    high_band: str,
    loudness_lufs: float | None,
    true_peak_dbtp: float | None,
    container: str | None,
    bit_depth: float | None,
    *,
    to_target: bool | None = None,
) -> engine.Settings:
    """What the widgets say, or what a program sent, as the engine takes it.

    Args:
        strength: 0 to 100.
        most_db: 0 to NO_LIMIT_DB, where that and more is no limit.
        high_band: "follow", "keep", "drop".
        loudness_lufs: With a target; else it is not looked at.
        true_peak_dbtp: With a target; else it is not looked at.
        container: None or "" for the recording's.
        bit_depth: None or 0 for the recording's.
        to_target: Whether to bring the loudness to a target; without it, whether there is a `loudness_lufs`.

    Raises:
        SettingError: A key of RANGES for a number that is missing or out of its range; "bad-high-band".
    """
    to_target = loudness_lufs is not None if to_target is None else to_target
    most = _number("bad-attenuation", most_db)
    return engine.Settings(
        strength=_number("bad-strength", strength) / 100,
        max_attenuation_db=inf if most >= NO_LIMIT_DB else most,
        high_band=_word("bad-high-band", high_band, get_args(engine.HighBand)),
        loudness_lufs=_number("bad-loudness", loudness_lufs) if to_target else None,
        true_peak_dbtp=_number("bad-true-peak", true_peak_dbtp) if to_target else engine.DEFAULTS.true_peak_dbtp,
        container=container or None,
        bit_depth=int(_number("bad-bit-depth", bit_depth)) if bit_depth else None,
    )


def channels_from(name: str) -> engine.Channels:
    """How channels are treated; raises SettingError "bad-channels" for another word."""
    return _word("bad-channels", name, get_args(engine.Channels))


def _number(reason: str, given: float | None) -> float:
    """What a field holds; raises SettingError where that is nothing, no number, or out of its range."""
    name, low, high = RANGES[reason]
    if isinstance(given, int | float) and low <= given <= high:
        return given
    raise SettingError.of(reason, name=name, low=low, high=high)


def _word(reason: str, given: str, known: tuple[Any, ...]) -> Any:
    """One of the words that are known; raises SettingError for another one."""
    if given in known:
        return given
    raise SettingError.of(reason, known=", ".join(known))
