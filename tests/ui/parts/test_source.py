"""What is said of a recording before anything is done to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.ui.parts.source import levels


def test_levels_are_those_of_the_whole_file(recording: Callable[..., Path], tmp_path: Path) -> None:
    told = levels(recording(seconds=3.0))
    assert -15 < told.peak_db < -13 and -35 < told.loudness_lufs < -10
    soundfile.write(tmp_path / "zero.wav", np.zeros(8000), 16_000)
    assert levels(tmp_path / "zero.wav").peak_db == -math.inf
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, "FLOAT")
    with pytest.raises(AudioError):
        levels(tmp_path / "nan.wav")
