"""The examples of docs/deploy.md run, and its tables are of the models that there are."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from denoise_app.audio.clip import Clip
from denoise_app.inference import catalog, engine
from denoise_app.models.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def example(word: str) -> str:
    """The Python example in which a word stands."""
    (found,) = [code for code in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if word in code]
    return str(found)


def module_of(code: str, folder: Path) -> ModuleType:
    (folder / "example.py").write_text(code)
    spec = importlib.util.spec_from_file_location("example", folder / "example.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def noisy(speech: Clip) -> np.ndarray:
    """(T,), two seconds at 16 kHz."""
    hiss = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    return speech.samples[0, 8000:40_000] + 0.02 * hiss


def whole(sound: np.ndarray, rate: int) -> np.ndarray:
    """What the engine makes of the whole."""
    return engine.denoise(Clip(sound[None], rate), catalog.load("dpcrn", "pesq")).samples[0]


def test_the_sound_card_plays_what_the_microphone_hears(
    noisy: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card of 480 samples a call that hears the recording, then silence."""
    played: list[np.ndarray] = []

    class Card:
        def __init__(self, samplerate: int, channels: int, dtype: str, callback: Any) -> None:
            assert (samplerate, channels, dtype) == (16_000, 1, "float32")
            self.callback = callback

        def __enter__(self) -> None:
            sound = np.concatenate([noisy, np.zeros(4800, np.float32)])
            for start in range(0, len(sound) - 479, 480):
                out = np.full((480, 1), np.nan, np.float32)
                self.callback(sound[start : start + 480, None], out, 480, None, None)
                played.append(out[:, 0])

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(Stream=Card))  # type: ignore[arg-type]
    monkeypatch.setattr("builtins.input", lambda words: "")
    module_of(example("sounddevice"), tmp_path)
    heard = np.concatenate(played)
    late = int(np.flatnonzero(heard)[0])
    assert late < 960  # 60 ms
    wanted = whole(noisy, 16_000)
    offsets = range(max(0, late - 600), late + 1)
    assert min(np.abs(heard[k : k + 30_000] - wanted[:30_000]).max() for k in offsets) < 1e-5


def test_the_socket_sends_back_what_it_was_sent(noisy: np.ndarray, tmp_path: Path) -> None:
    sound = np.repeat(noisy, 3)  # at 48 kHz
    client = TestClient(module_of(example("WebSocketRoute"), tmp_path).app)
    with client.websocket_connect("/denoise") as socket:
        parts = []
        for start in range(0, len(sound), 4800):
            socket.send_bytes(sound[start : start + 4800].tobytes())
            parts.append(np.frombuffer(socket.receive_bytes(), np.float32))
    found = np.concatenate(parts)
    assert len(found) > len(sound) - 9600
    np.testing.assert_allclose(found, whole(sound, 48_000)[: len(found)], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_export_and_the_example_of_sherpa_onnx_run(noisy: np.ndarray, tmp_path: Path) -> None:
    line = "python -m denoise_app export dpcrn pesq -o dpcrn.onnx"
    assert f"{line}\n" in PAGE
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    command = [sys.executable, *line.split()[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parity on english-fan.flac: samples differ by" in done.stdout
    soundfile.write(tmp_path / "noisy.wav", noisy, 16_000, subtype="FLOAT")
    done = subprocess.run([sys.executable, "-c", example("sherpa_onnx")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    clean, rate = soundfile.read(tmp_path / "clean.wav", dtype="float32")
    assert rate == 16_000
    assert np.abs(clean[: len(noisy)] - whole(noisy, 16_000)[: len(clean)]).max() < 1e-4  # written with 16 bits


def test_options_and_models_are_those_that_there_are() -> None:
    named = set(re.findall(r"`(--[a-z0-9]+)(?: [^`]*)?`", PAGE))
    command = [sys.executable, "-m", "denoise_app", "export", "--help"]
    known = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named and all(option in known for option in named)
    assert {name for name in MODELS if f"`{name}`" in PAGE} == MODELS.keys()
