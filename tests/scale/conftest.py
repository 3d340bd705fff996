"""Processes that are spawned find `odd_work` where this one does."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tiny() -> bytes:
    """A wav file of 50 ms."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(0.3 * np.arange(800)), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()
