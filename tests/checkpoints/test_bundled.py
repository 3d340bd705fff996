"""What lies in weights/: whole, loadable, with a card that says what its config.json says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from denoise_app.checkpoints import store
from denoise_app.checkpoints.card import card

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
MOST_MEGABYTES = 60  # in all, in the repository


def test_nothing_is_broken() -> None:
    stored, broken = store.list_folder(WEIGHTS)
    assert broken == []
    assert {item.manifest.name for item in stored} >= {"gru/hybrid", "gru/log-mag"}
    assert sum(item.manifest.size for item in stored) < MOST_MEGABYTES * 10**6


@pytest.mark.parametrize("folder", sorted(path.parent for path in WEIGHTS.glob("*/*/config.json")), ids=str)
def test_checkpoint_is_whole(folder: Path) -> None:
    module, manifest = store.load(folder)
    with torch.inference_mode():
        assert module(torch.zeros(1, 1000)).abs().max() == 0
    assert (folder / "README.md").read_text(encoding="utf-8") == card(manifest)
    assert {"en", "zh"} <= manifest.favours.keys()
    assert manifest.credits and manifest.licence and manifest.languages
    assert {"pesq_wb", "stoi", "si_sdr"} <= manifest.scores.keys() & manifest.noisy_scores.keys()
    assert manifest.scored_on
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
