"""Sound is read, denoised and written block by block: a longer one takes no more memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RATE, CHANNELS = 48_000, 2
SHORT, LONG = 60, 180  # seconds, the first beyond what chunks hold; the others are 46 MB at 48 kHz, 15 MB at 16 kHz
ALLOWED = 10.0  # MB
STEADY = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc else raises it, and keeps freed blocks in a heap with holes

CODE = """
import sys
from pathlib import Path
import numpy as np
import torch
from denoise_app.audio.clip import Clip
from denoise_app.audio.encodings import encoding_for
from denoise_app.audio.files import open_writer
from denoise_app.inference import engine
from denoise_app.models.registry import build

kind, folder, durations = sys.argv[1], Path(sys.argv[2]), [int(text) for text in sys.argv[3:]]
rng = np.random.default_rng(0)
block = (0.1 * rng.standard_normal(({channels}, {rate}))).astype(np.float32)


class Halved:
    sample_rate, latency, causal = 16_000, 0, False

    def __call__(self, noisy):
        return noisy / 2


denoiser = build("gru", dict(hidden=8, width=8, layers=1)).eval() if kind == "causal" else Halved()
stretches = dict(early=lambda seconds: engine.Selection(1.0, 2.0), late=lambda seconds: engine.Selection(seconds - 2.0))
settings = engine.Settings(loudness_lufs=-23.0)


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


for seconds in durations:
    source = folder / "in.wav"
    with open_writer(source, {rate}, {channels}, encoding_for("wav", 16)) as writer:
        for _ in range(seconds):
            writer.write(block)
    selection = stretches[kind](seconds) if kind in stretches else engine.Selection()
    out, removed = folder / "out.wav", folder / "removed.wav"
    engine.denoise_file(source, out, denoiser, settings, removed=removed, selection=selection)
    print(peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", ["causal", "whole", "early", "late"])
def test_a_longer_file_takes_no_more_memory(kind: str, tmp_path: Path) -> None:
    code = CODE.format(rate=RATE, channels=CHANNELS)
    command = [sys.executable, "-c", code, kind, str(tmp_path), *map(str, (SHORT, SHORT, LONG))]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], env=os.environ | STEADY
    )
    _, short, long = (float(line) for line in answer.stdout.split())  # the first time the allocator still spreads out
    assert long - short < ALLOWED
