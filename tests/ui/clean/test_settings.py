"""What the page's widgets say, as the engine takes it."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from denoise_app.audio.errors import AudioError
from denoise_app.inference.engine import Settings
from denoise_app.inference.settings import RANGES, treatment
from denoise_app.ui.clean.settings import NO_LIMIT_DB, settings_from
from denoise_app.ui.texts import Say


def test_settings_of_untouched_widgets_are_the_engines() -> None:
    assert settings_from(100, NO_LIMIT_DB, "follow", None, -1, "", 0) == Settings()


def test_settings_are_taken_over() -> None:
    assert settings_from(40, 12, "keep", -16, -2, "flac", 24) == Settings(40, 12, "keep", -16, -2, "flac", 24)
    assert settings_from(100, 60, "follow", None, -1, "", 24.0).bit_depth == 24  # as number fields have it
    assert settings_from(100, NO_LIMIT_DB, "drop", None, -1, None, None).max_attenuation_db == math.inf


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ((101, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((-1, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((math.nan, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((None, 60, "follow", None, -1, "", 0), "bad-strength"),
        ((True, 60, "follow", None, -1, "", 0), "bad-strength"),
        (("50", 60, "follow", None, -1, "", 0), "bad-strength"),
        ((0.8, 60, "follow", None, -1, "", 0), "strength-in-percent"),
        ((100, True, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, 60, ["follow"], None, -1, "", 0), "bad-high-band"),
        ((100, 60, "follow", True, -1, "", 0), "bad-loudness"),
        ((100, 60, "follow", -16, True, "", 0), "bad-true-peak"),
        ((100, 60, "follow", None, -1, "", 15.5), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", True), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", "24"), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, "", math.nan), "bad-bit-depth"),
        ((100, 60, "follow", None, -1, 5, 0), "unknown-format"),
        ((100, -3, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, None, "follow", None, -1, "", 0), "bad-attenuation"),
        ((100, 60, "__import__", None, -1, "", 0), "bad-high-band"),
        ((100, 60, "follow", 5, -1, "", 0), "bad-loudness"),
        ((100, 60, "follow", -16, None, "", 0), "bad-true-peak"),
        ((100, 60, "follow", -16, 3, "", 0), "bad-true-peak"),
        ((100, 60, "follow", None, -1, "", math.inf), "bad-bit-depth"),
    ],
)
def test_settings_out_of_range_are_told_to_the_user(wrong: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(AudioError) as raised:
        settings_from(*wrong)
    error = raised.value
    assert error.reason == reason and Say("en").problem(error) == str(error)
    chinese = Say("zh").problem(error).replace(str(error.facts.get("known")), "")
    assert not re.search("[A-Za-z]{5,}", chinese), "nothing in it is left in English"
    if reason in RANGES:
        assert (error.facts["name"], error.facts["low"], error.facts["high"]) == RANGES[reason]
        assert f"{error.facts['low']:g}" in str(error) and f"{error.facts['low']:g}" in chinese


def test_an_empty_target_is_refused_and_one_that_is_not_asked_for_is_not_looked_at() -> None:
    with pytest.raises(AudioError) as raised:
        settings_from(100, 60, "follow", None, -1, "", 0, to_target=True)
    assert raised.value.reason == "bad-loudness"
    for lufs, true_peak in ((None, None), (5, 7), (-16, -3)):
        assert settings_from(100, 60, "follow", lufs, true_peak, "", 0, to_target=False) == Settings()
    assert settings_from(100, 60, "follow", None, None, "", 0) == Settings()


def test_channels_are_one_of_three() -> None:
    assert [treatment(name) for name in ("each", "mid", "reference")] == ["each", "mid", "reference"]
    for wrong in ("left", None, True, ["mid"]):
        with pytest.raises(AudioError, match="each, mid, reference"):
            treatment(wrong)
