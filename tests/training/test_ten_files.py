"""Somebody's own ten files and one command give a checkpoint that the app finds, loads and that helps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.files import write
from denoise_app.audio.mix import noise
from denoise_app.cli import main
from denoise_app.inference import catalog, engine
from denoise_app.metrics.signal import si_sdr
from denoise_app.training import loop
from denoise_app.training.config import parse, read_table

pytestmark = pytest.mark.slow

RATE = 16_000
FILE = """
model_config = { width = 64, hidden = 64, layers = 1 }
learning_rate = 5e-3
recipe = { seconds = 1.0, batch = 8 }
"""


@pytest.fixture
def recordings(tmp_path: Path, speech: Clip) -> Path:
    """clean/ and noise/ with five files each: synthesised sentences cut up, and noises by rule."""
    rng = np.random.default_rng(0)
    for part in ("clean", "noise"):
        (tmp_path / part).mkdir()
    for k, sentence in enumerate(np.array_split(speech.samples, 5, axis=1)):
        write(tmp_path / "clean" / f"{k}.wav", Clip(np.ascontiguousarray(sentence), RATE))
    for kind in ("white", "pink", "hum", "keyboard", "rain"):
        write(tmp_path / "noise" / f"{kind}.flac", Clip(noise(kind, 2 * RATE, RATE, rng)[None], RATE))
    return tmp_path


def test_ten_files_give_a_checkpoint_that_helps(
    recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = recordings / "my.toml", recordings / "weights" / "gru" / "hybrid"
    file.write_text(FILE)
    options = {"config": file, "model": "gru", "loss": "hybrid", "out": folder, "steps": 120, "device": "cpu"}
    options |= {name: recordings / name for name in ("clean", "noise", "cache")}
    command = ["train", "--json", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["finished"]

    monkeypatch.setenv("DENOISE_WEIGHTS", str(recordings / "weights"))
    assert catalog.recommended() == ("gru", "hybrid")
    denoiser = catalog.load("gru", "hybrid", "cpu")
    config = parse({key: value for key, value in (read_table(file) | options).items() if key != "config"})
    mixer = loop.make_mixer(config, loop.load_corpora(config, RATE, lambda _: None), torch.device("cpu"))
    better = []
    for noisy, clean in zip(*mixer.batch(config.seed, 0), strict=True):
        if clean.any() and not torch.equal(noisy, clean):
            heard = engine.denoise(Clip(noisy[None].numpy(), RATE), denoiser).samples[0]
            better.append(float(si_sdr(torch.from_numpy(heard), clean) - si_sdr(noisy, clean)))
    assert len(better) >= 6
    assert np.mean(better) > 1.5, better
