"""An hour takes no more memory than a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import resource, sys
import numpy as np
from denoise_app.audio.convert import Resampler
from denoise_app.audio.files import Encoding, open_reader, open_writer, read_window
from denoise_app.audio.level import LoudnessMeter, TruePeakMeter

def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def work(seconds):
    path = f"{folder}/{seconds}.{container}"
    second = np.random.default_rng(0).uniform(-1, 1, (2, 48_000)).astype(np.float32)
    with open_writer(path, 48_000, 2, Encoding(container, codec)) as writer:
        for _ in range(seconds):
            writer.write(second)
    resampler, loudness, true_peak = Resampler(2, 48_000, 16_000), LoudnessMeter(2, 48_000), TruePeakMeter(2)
    heard = 0
    with open_reader(path) as reader:
        for block in reader.blocks(48_000):
            heard += block.shape[1]
            if meters:
                resampler.push(block), loudness.push(block), true_peak.push(block)
    assert heard == seconds * 48_000
    read_window(path, heard // 2, 48_000)

folder, container, codec, seconds, meters = sys.argv[1:4] + [int(sys.argv[4]), sys.argv[5] == "meters"]
work(5)
before = megabytes()
work(seconds)
print(megabytes() - before)
"""


@pytest.mark.parametrize(
    ("container", "codec", "seconds", "also"),
    [
        ("wav", "PCM_24", 240, "-"),
        ("wav", "FLOAT", 45, "meters"),
        ("flac", "PCM_16", 60, "-"),
        ("ogg", "VORBIS", 45, "-"),
        ("m4a", "ALAC_16", 60, "-"),
    ],
)
def test_memory_does_not_grow_with_length(container: str, codec: str, seconds: int, also: str, tmp_path: Path) -> None:
    """In a process of its own, whose largest size is measured: 45 s of this sound take 17 MB."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), container, codec, str(seconds), also]
    grown = float(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300).stdout)
    assert grown < 8, f"{grown:.1f} MB more for {seconds} s"
