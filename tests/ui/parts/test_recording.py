"""What is said of a recording before anything is done to it."""

from __future__ import annotations

import math
from typing import Any

from denoise_app.audio.clip import FileInfo
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels
from denoise_app.ui.parts import recording
from denoise_app.ui.texts import Say

from ..shown import text

FakeWorker = Any  # of conftest.py
DEVICE = Device("cpu", "CPU <test>", "No CUDA GPU was found.", "no-gpu")
EVIL = '<img src=x onerror="alert(1)">'
INFO = FileInfo("wav", "PCM_24", 48_000, 2, 480_000, 24)
LEVELS = Levels(peak_db=-0.9, loudness_lufs=-18.5, clipped=0.0, dc_offset=0.0)


def test_facts_of_a_recording() -> None:
    said = text(recording.facts(Say("en"), INFO, LEVELS, ""))
    assert said == (
        "Length 0:10.0 Sample rate 48 kHz Channels stereo Format wav · 24-bit Peak −0.9 dBFS Loudness −18.5 LUFS"
    )
    silent = Levels(-math.inf, -math.inf, 0.0, 0.0)
    assert "Peak silence" in text(recording.facts(Say("en"), INFO, silent, ""))
    assert "这段录音是静音。请检查麦克风。" in recording.facts(Say("zh"), INFO, silent, "")
    assert text(recording.facts(Say("en"), INFO, None, "measuring")).endswith("Loudness measuring")


def test_what_is_odd_is_told_in_the_readers_language() -> None:
    clipped = Levels(0.1, -10.0, 0.031, 0.02)
    assert "3.1 % of its samples are clipped" in recording.facts(Say("en"), INFO, clipped, "")
    assert "3.1 % 的样本削波" in recording.facts(Say("zh"), INFO, clipped, "")
