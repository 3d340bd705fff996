"""What is refused before it is decoded, and who decides."""

from __future__ import annotations

import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.errors import AudioError
from denoise_app.audio.limits import Limits, clock


def info(rate: int = 16_000, channels: int = 1, frames: int = 16_000) -> FileInfo:
    return FileInfo("wav", "PCM_16", rate, channels, frames, 16)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (info(frames=7200 * 16_000 + 1), "too-long"),
        (info(frames=36_000 * 16_000), "too-long"),
        (info(channels=17), "too-many-channels"),
        (info(rate=3999), "rate-out-of-range"),
        (info(rate=384_001), "rate-out-of-range"),
        (info(rate=192_000, channels=3, frames=7200 * 192_000), "too-many-samples"),
    ],
)
def test_what_goes_beyond_a_limit_is_refused(header: FileInfo, reason: str) -> None:
    with pytest.raises(AudioError) as caught:
        Limits().check(header, "a.wav")
    assert caught.value.reason == reason and "a.wav" in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        info(frames=7200 * 16_000),
        info(channels=16),
        info(rate=8000),
        info(rate=192_000, channels=2, frames=7200 * 192_000),
    ],
)
def test_what_lies_at_a_limit_passes(header: FileInfo) -> None:
    Limits().check(header, "a.wav")


def test_the_environment_sets_each_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        "max_seconds": 1.5,
        "max_channels": 3,
        "min_rate": 7000,
        "max_rate": 9000,
        "max_samples": 5,
        "max_bytes": 6,
    }
    for name, value in chosen.items():
        monkeypatch.setenv(f"DENOISE_{name.upper()}", str(value))
    assert Limits.from_environment() == Limits(**chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MAX_SECONDS", text)
    assert Limits.from_environment() == Limits()


@pytest.mark.parametrize("text", ["two hours", "0", "-1", "nan", "inf", "1.5"])
def test_a_wrong_variable_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_MAX_CHANNELS", text)
    with pytest.raises(ValueError, match="DENOISE_MAX_CHANNELS must be a positive whole number"):
        Limits.from_environment()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.96, "0:01:00"), (3661.5, "1:01:01.5")])
def test_a_clock_counts_over(seconds: float, text: str) -> None:
    assert clock(seconds) == text
