"""What a setting may be, and that everything else is refused in a sentence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from denoise_app.audio.errors import AudioError
from denoise_app.inference.errors import SettingError
from denoise_app.inference.settings import RANGES, Settings, number, treatment

NO_NUMBERS: list[Any] = ["50", True, False, math.nan, [50], {}, 1j, np.array([50.0, 60.0]), 10**400, b"50", object()]


def test_strength_and_most_attenuation_multiply() -> None:
    assert Settings().wet == 1
    assert Settings(max_attenuation_db=0).wet == 0
    assert Settings(strength=50, max_attenuation_db=20).wet == pytest.approx(0.45)


@pytest.mark.parametrize("strength", [0, 0.0, 1, 1.5, 80, 100.0, np.float32(50), np.int64(7)])
def test_strength_is_in_percent(strength: Any) -> None:
    assert Settings(strength=strength).wet == float(strength) / 100


@pytest.mark.parametrize("share", [0.8, 0.5, 0.99, 1e-9, np.float32(0.25)])
def test_a_share_is_not_taken_for_a_percentage(share: Any) -> None:
    with pytest.raises(SettingError, match="in percent, from 0 to 100") as caught:
        Settings(strength=share)
    assert caught.value.reason == "strength-in-percent"
    assert f"Say {100 * share:g} for" in str(caught.value)


SETTINGS = [reason for reason in RANGES if reason not in ("bad-track", "bad-time")]  # those are of the recording


@pytest.mark.parametrize("reason", SETTINGS)
def test_what_is_no_number_in_its_range_is_refused(reason: str) -> None:
    name, low, high = RANGES[reason]
    wrong = [*NO_NUMBERS, low - 1, -math.inf, *([high + 1, math.inf] if high < math.inf else [])]
    if name not in ("loudness_lufs", "bit_depth"):
        wrong.append(None)
    for value in wrong:
        with pytest.raises(SettingError, match="needs a") as caught:
            Settings(**{name: value})
        assert caught.value.reason == reason and caught.value.facts["name"] == name
    for value in (low, high):
        Settings(**{name: value})


def test_a_track_is_counted_from_one() -> None:
    assert number("bad-track", 1, whole=True) == 1
    for value in (*NO_NUMBERS, 0, 1001, 1.5):
        with pytest.raises(SettingError, match="needs a") as caught:
            number("bad-track", value, whole=True)
        assert caught.value.reason == "bad-track" and caught.value.facts["name"] == "track"


def test_a_bit_depth_is_whole() -> None:
    assert Settings(bit_depth=np.int32(16)) == Settings(bit_depth=16)  # type: ignore[arg-type]
    for wrong in (15.5, 16.0):
        with pytest.raises(SettingError, match="whole number from 8 to 32"):
            Settings(bit_depth=wrong)  # type: ignore[arg-type]


def test_words_are_those_that_are_known() -> None:
    for wrong in ("boost", "", None, True, ["keep"], {}):
        with pytest.raises(SettingError, match="follow, keep, drop"):
            Settings(high_band=wrong)  # type: ignore[arg-type]
        with pytest.raises(SettingError, match="each, mid, reference"):
            treatment(wrong)
    for container in (5, ["wav"], b"wav"):
        with pytest.raises(AudioError, match="not a format"):
            Settings(container=container)  # type: ignore[arg-type]
