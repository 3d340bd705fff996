"""What the widgets of the Clean tab say, or a program sent, as the engine takes it."""

from __future__ import annotations

from math import inf

from denoise_app.inference import engine
from denoise_app.inference.settings import number

NO_LIMIT_DB = 60  # the end of the slider for the most attenuation: nobody hears a difference to no limit


USUAL = {
    "strength": 100, "most": NO_LIMIT_DB, "high_band": "follow", "loudness": "keep", "lufs": -16, "true_peak": -1,
    "format": "", "bits": 0, "channels": "each",
}  # fmt: skip
"""Name of a widget -> what it says where nobody has changed it."""


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
        SettingError: A number that is missing, of another kind, or out of its range; a high band that is unknown.
    """
    to_target = loudness_lufs is not None if to_target is None else to_target
    most = number("bad-attenuation", most_db)
    return engine.Settings(
        strength=number("bad-strength", strength),
        max_attenuation_db=inf if most >= NO_LIMIT_DB else most,
        high_band=high_band,  # type: ignore[arg-type]
        loudness_lufs=number("bad-loudness", loudness_lufs) if to_target else None,
        true_peak_dbtp=number("bad-true-peak", true_peak_dbtp) if to_target else engine.DEFAULTS.true_peak_dbtp,
        container=container or None,
        bit_depth=None if is_left_out(bit_depth) else as_whole(bit_depth),  # type: ignore[arg-type]
    )


def is_left_out(given: float | None) -> bool:
    """Whether a number is one that leaves the matter to the recording: none, or 0, which `false` is not."""
    return given is None or (given == 0 and not isinstance(given, bool))


def as_whole(given: float | None) -> float | None:
    """The same number, a whole one as Python's: number fields and programs may have 16.0."""
    return int(given) if isinstance(given, float) and given.is_integer() else given
