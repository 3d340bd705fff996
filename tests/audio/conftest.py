"""Files for the tests of the audio room, made without the house's own writers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from denoise_app.audio.clip import Samples

needs_ffmpeg = pytest.mark.skipif(
    not shutil.which("ffmpeg") and os.environ.get("CI") != "true", reason="the program ffmpeg is not installed"
)

Ffmpeg = Callable[..., Path]


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Ffmpeg:
    """ffmpeg("out.m4a", samples, rate, *options): a file that ffmpeg encodes from samples."""

    def encode(name: str, samples: Samples, rate: int, *options: str) -> Path:
        out = tmp_path / name
        command = ["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ar", str(rate), "-ac", str(samples.shape[0])]
        command += ["-i", "pipe:0", *options, str(out)]
        subprocess.run(command, input=np.ascontiguousarray(samples.T).tobytes(), check=True, timeout=60)
        return out

    return encode
