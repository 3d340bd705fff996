"""Pairs that several tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.evaluation.pairs import Ingredients, prepare

RATE = 16_000


@pytest.fixture
def folders(tmp_path: Path, speech: Clip) -> tuple[Path, Path]:
    """Three pairs of 2 s in white noise at -5, 5 and 15 dB, the last one in another language."""
    clean, noisy = tmp_path / "clean", tmp_path / "noisy"
    clean.mkdir()
    noisy.mkdir()
    rng = np.random.default_rng(1)
    lines = ["name,language,snr_db,speech"]
    for number, (snr, language) in enumerate([(-5, "en"), (5, "en"), (15, "zh")]):
        part = speech.samples[0, number * 2 * RATE : (number + 1) * 2 * RATE]
        mixture, _ = mix_at_snr(part, noise("white", part.size, RATE, rng), snr, RATE)
        name = f"{language}_{number}_{snr:+d}dB"
        soundfile.write(clean / f"{name}.flac", 0.5 * part, RATE, subtype="PCM_24")
        soundfile.write(noisy / f"{name}.flac", 0.5 * mixture, RATE, subtype="PCM_24")
        lines.append(f"{name},{language},{snr},somebody")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    return clean, noisy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def clean(speech: Clip, folder: Path) -> Path:
    path = folder / "speech.wav"
    soundfile.write(path, speech.samples[0, : 4 * RATE], RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def in_pink(clean: Path) -> Ingredients:
    return prepare(clean, "pink", 0)
