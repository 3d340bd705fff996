"""The page on the losses: what it tells is measured, and the committed one is that of the leaderboard."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from denoise_app.audio.clip import Clip
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.evaluation import leaderboard, losses_page
from denoise_app.losses import LOSSES
from denoise_app.metrics.attenuation import shadow_attenuation
from denoise_app.metrics.table import keys
from denoise_app.models.registry import build

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"window": 512, "hop": 256, "width": 8, "hidden": 8, "layers": 1}


def row(model: str, loss: str | None, **scores: float) -> dict[str, Any]:
    return {"model": model, "loss": loss, "scores": {key: {"mean": mean} for key, mean in scores.items()}}


def board(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"about": "three birds"}, "rows": list(rows)}


def test_the_best_of_a_column_is_bold_and_aims_are_ranked() -> None:
    told = losses_page.measured(
        board(
            row("noisy", None, si_sdr=4.0, lsd=15.0),
            row("gru", "mse", si_sdr=9.0, snr=9.0, lsd=9.0),
            row("gru", "si-snr", si_sdr=8.0, lsd=8.5),
            row("gru", "mrstft", si_sdr=7.0, lsd=8.0),
            row("gru", "perceptual", si_sdr=8.7, lsd=9.5),
        )
    )
    lines = {line.split(" | ")[0].strip("| "): line for line in told.splitlines() if line.startswith("|")}
    assert "SI-SDR dB ↑" in lines["loss"] and "LSD dB ↓" in lines["loss"]
    assert "**9.0**" in lines["`mse`"] and "**8.0**" in lines["`mrstft`"] and "**" not in lines["`si-snr`"]
    assert "4.0" in lines["noisy"]
    assert "`mse` is first of 3 in SNR dB" in told
    assert "`si-snr` is second of 3 in SI-SDR dB" in told
    assert "`mrstft` is first of 3 in LSD dB" in told
    assert "light-crn" not in told


def test_every_loss_is_defined_and_aims_at_a_metric_that_is_measured() -> None:
    told = losses_page.definitions()
    assert [line.split("`")[1] for line in told.splitlines()[2:]] == list(LOSSES)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in told.splitlines()}) == 1
    assert {loss.aims_at for loss in LOSSES.values()} - {None} <= set(keys("evaluate"))


@pytest.mark.slow
def test_the_page_shows_the_checkpoints_that_are_there(
    tmp_path: Path, speech: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", str(tmp_path / "weights"))
    torch.manual_seed(0)
    for loss in ("mse", "hybrid"):
        store.save(tmp_path / "weights" / "gru" / loss, build("gru", SMALL), Manifest("gru", loss, config=SMALL))
    short = speech.with_samples(speech.samples[:, :32_000])
    page, *pictures = losses_page.write(tmp_path / "docs" / "page.md", board(row("gru", "mse", si_sdr=9.0)), short)
    told = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((.*?\.png)\)", told)
    assert [page.parent / link for link in linked] == pictures
    assert [path.name for path in pictures] == ["noisy.png", "gru-hybrid.png", "gru-mse.png"]
    shown = [Image.open(io.BytesIO(path.read_bytes())) for path in pictures]
    assert len({image.size for image in shown}) == 1 and len({image.tobytes() for image in shown}) == 3
    mixture = losses_page.mix(short)
    assert "gru/mse " + store.read_manifest(tmp_path / "weights" / "gru" / "mse").sha256[:12] in told
    lost = shadow_attenuation(mixture.noisy, losses_page._denoised(mixture, "gru", "mse"), mixture.clean)
    assert f"| `mse` | {lost.speech_db:.1f} | {lost.noise_db:.1f} |" in told


def test_the_committed_page_is_that_of_the_leaderboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_WEIGHTS", str(ROOT / "weights"))
    folder = ROOT / "docs"
    told = (folder / "losses.md").read_text(encoding="utf-8")
    measured = losses_page.measured(leaderboard.read(ROOT / "results" / "leaderboard.json"))
    for part in (measured, losses_page.definitions(), losses_page.weights_shown()):
        assert part in told, "run: python -m denoise_app evaluate --losses-page docs/losses.md"
    pictures = set((folder / "losses").iterdir())
    assert {folder / link for link in re.findall(r"\]\((.*?\.png)\)", told)} == pictures
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
