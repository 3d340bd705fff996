"""Ten short files of self-made sound: enough to train on for some steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from denoise_app.audio.clip import Clip
from denoise_app.audio.files import write
from denoise_app.audio.mix import noise

RATE = 16_000


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory, speech: Clip) -> Path:
    """A folder with clean/ (cuts of the synthesised speech) and noise/ (by rule)."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for part in ("clean/a", "noise"):
        (folder / part).mkdir(parents=True)
    for k in range(5):
        start = k * speech.frames // 6
        write(folder / "clean" / "a" / f"{k}.wav", Clip(speech.samples[:, start : start + RATE], RATE))
    for kind in ("white", "pink", "hum", "keyboard", "rain"):
        write(folder / "noise" / f"{kind}.wav", Clip(noise(kind, RATE, RATE, rng)[None], RATE))
    return folder
