"""The first line of the page."""

from __future__ import annotations

from typing import Any

import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels
from denoise_app.ui import header
from denoise_app.ui.texts import Say

FakeWorker = Any  # of conftest.py
DEVICE = Device("cpu", "CPU <test>", "No CUDA GPU was found.", "no-gpu")
EVIL = '<img src=x onerror="alert(1)">'
INFO = FileInfo("wav", "PCM_24", 48_000, 2, 480_000, 24)
LEVELS = Levels(peak_db=-0.9, loudness_lufs=-18.5, clipped=0.0, dc_offset=0.0)


@pytest.fixture(params=["en", "zh"])
def say(request: pytest.FixtureRequest) -> Say:
    return Say(request.param)


def test_the_privacy_line_names_where_outcomes_of_blind_tests_go(say: Say) -> None:
    here, sent = (header.header(say, DEVICE, 60, dataset) for dataset in (None, "somebody/<votes>"))
    assert say("app.privacy", minutes=60) in here and "Hub" not in here
    assert "somebody/&lt;votes&gt;" in sent and say("app.privacy", minutes=60) not in sent
