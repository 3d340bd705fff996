"""What tests in more than one room share."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip

sys.path.append(str(Path(__file__).parent))  # where processes, too, find the module of the next line
import warm_starts

GOLDEN = Path(__file__).parent / "golden"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell, whose children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["OMP_NUM_THREADS"] = "1"  # of torch: several tests at once are faster so, and their sums come out alike
os.environ["SSL_CERT_FILE"] = str(
    GOLDEN / "authority.pem"
)  # each client of httpx reads it, and no test asks another host

SECONDS = {"browser": 4.0, "slow": 0.3}
"""What a test with such a mark takes, about; another takes 0.03."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, so that processes which share them out end at about the same time."""
    cost = Counter[Path]()
    for item in items:
        cost[item.path] += next((spent for mark, spent in SECONDS.items() if item.get_closest_marker(mark)), 0.03)
    items.sort(key=lambda item: -cost[item.path])


def pytest_collection_finish() -> None:
    """What is there now stays to the end; to look through it for garbage, and as often, takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def place_of_temporary_files() -> Iterator[None]:
    """A page that is served moves all of its process into a folder of its own; the next test begins where this did."""
    before, named = tempfile.tempdir, os.environ.get("GRADIO_TEMP_DIR")
    yield
    tempfile.tempdir = before
    if named is None:
        os.environ.pop("GRADIO_TEMP_DIR", None)
    else:
        os.environ["GRADIO_TEMP_DIR"] = named


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of this interpreter start as forks of one that has imported what is dear to import."""
    warm_starts.replace(monkeypatch)


@pytest.fixture(scope="session")
def speech() -> Clip:
    """Clean speech, mono, 16 kHz, about 8 s: made by examples/make_examples.py, read without the house's own reader."""
    samples, sample_rate = soundfile.read(GOLDEN / "speech.flac", dtype="float32", always_2d=True)
    samples = np.ascontiguousarray(samples.T)  # (T, C) -> (C, T)
    samples.flags.writeable = False  # a test that changes it would change it for all
    return Clip(samples, sample_rate)
