"""denoise() and list_models(): five lines of Python are enough, and importing costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import denoise_app
from denoise_app import denoise, list_models
from denoise_app.audio.clip import Clip
from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference import catalog

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def noisy(speech: Clip) -> Clip:
    """Two seconds of speech in noise, two channels."""
    rng = np.random.default_rng(5)
    clean = np.repeat(speech.samples[:, :32_000], 2, axis=0)
    return Clip(clean + rng.normal(0, 0.02, clean.shape).astype(np.float32), speech.sample_rate)


def test_importing_it_loads_no_model_code() -> None:
    code = "import sys, denoise_app; print([name for name in ('torch', 'numpy', 'gradio') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_front_door_has_these_names() -> None:
    assert denoise_app.__all__ == ["__version__", "denoise", "list_models"]


def test_a_clip_comes_back_as_it_was_with_less_noise(noisy: Clip) -> None:
    before = noisy.samples.copy()
    clean = denoise(noisy, model="wiener")
    assert (clean.channels, clean.frames, clean.sample_rate) == (2, noisy.frames, noisy.sample_rate)
    assert np.array_equal(noisy.samples, before)
    pause = slice(0, 2000)  # before the first word
    assert np.std(clean.samples[:, pause]) < 0.7 * np.std(before[:, pause])


def test_a_path_is_read(noisy: Clip, tmp_path: Path) -> None:
    path = tmp_path / "noisy.wav"
    soundfile.write(path, noisy.samples.T, noisy.sample_rate, subtype="FLOAT")
    from_clip = denoise(noisy, model="wiener")
    for given in (path, str(path)):
        assert np.array_equal(denoise(given, model="wiener").samples, from_clip.samples)


def test_settings_reach_the_engine(noisy: Clip) -> None:
    untouched = denoise(noisy, model="wiener", strength=0.0)
    assert np.abs(untouched.samples - noisy.samples).max() < 1e-6
    mid = denoise(noisy, model="wiener", channels="mid")
    assert np.allclose(mid.samples[0], mid.samples[-1], atol=1e-6)


def test_the_recommended_one_is_taken_when_none_is_named(noisy: Clip) -> None:
    model, loss = catalog.recommended()
    assert np.array_equal(denoise(noisy).samples, denoise(noisy, model=model, loss=loss).samples)


def test_presets_are_names_too(noisy: Clip) -> None:
    model, loss = catalog.presets()["fast"]
    assert np.array_equal(denoise(noisy, model="fast").samples, denoise(noisy, model=model, loss=loss).samples)


def test_what_is_wrong_is_said(noisy: Clip, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No model is called 'magic'"):
        denoise(noisy, model="magic")
    with pytest.raises(TypeError, match="volume"):
        denoise(noisy, model="wiener", volume=11)
    with pytest.raises(ValueError, match="strength"):
        denoise(noisy, model="wiener", strength=2.0)
    with pytest.raises(AudioError):
        denoise(tmp_path / "not-there.wav", model="wiener")


def test_list_models_is_the_catalogue() -> None:
    assert list_models() == catalog.entries()
    assert {"wiener", "mmse-lsa"} <= {entry.model for entry in list_models()}
