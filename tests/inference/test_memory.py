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
KINDS = ("causal", "whole", "early", "late")
STEADY = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc else raises it, and keeps freed blocks in a heap with holes

CODE = """
import sys
from pathlib import Path
import numpy as np
from denoise_app.audio.encodings import encoding_for
from denoise_app.audio.files import open_writer
from denoise_app.evaluation import speed
from denoise_app.inference import engine
from denoise_app.models.registry import build

folder, kinds = Path(sys.argv[1]), sys.argv[2:]
rng = np.random.default_rng(0)
block = (0.1 * rng.standard_normal(({channels}, {rate}))).astype(np.float32)


class Halved:
    sample_rate, latency, causal = 16_000, 0, False

    def __call__(self, noisy):
        return noisy / 2


causal = build("gru", dict(hidden=8, width=8, layers=1)).eval()
stretches = dict(early=lambda seconds: engine.Selection(1.0, 2.0), late=lambda seconds: engine.Selection(seconds - 2.0))
settings = engine.Settings(loudness_lufs=-23.0)


def denoise(kind, seconds):
    selection = stretches[kind](seconds) if kind in stretches else engine.Selection()
    denoiser = causal if kind == "causal" else Halved()
    source, out, removed = (folder / name for name in (f"{{seconds}}.wav", "out.wav", "removed.wav"))
    engine.denoise_file(source, out, denoiser, settings, removed=removed, selection=selection)


def peak(kind, seconds):
    speed.forget_peak()
    assert speed.peak_resident() - speed.resident() < 1
    denoise(kind, seconds)
    return speed.peak_resident()


for seconds in ({short}, {long}):
    with open_writer(folder / f"{{seconds}}.wav", {rate}, {channels}, encoding_for("wav", 16)) as writer:
        for _ in range(seconds):
            writer.write(block)
for kind in kinds:
    denoise(kind, {short})  # the first time the allocator still spreads out
    print(kind, peak(kind, {short}), peak(kind, {long}))
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Of each kind the peaks of memory in MB, with the short file and the long one; in a process for all of them."""
    code = CODE.format(rate=RATE, channels=CHANNELS, short=SHORT, long=LONG)
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path_factory.mktemp("long")), *KINDS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | STEADY,
    )
    rows = map(str.split, answer.stdout.splitlines())
    return {kind: (float(short), float(long)) for kind, short, long in rows}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_file_takes_no_more_memory(kind: str, peaks: dict[str, tuple[float, float]]) -> None:
    short, long = peaks[kind]
    assert long - short < ALLOWED
