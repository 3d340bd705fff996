"""What lies in weights/: whole, loadable, with a card that says what its config.json says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from denoise_app.checkpoints import store
from denoise_app.checkpoints.card import card
from denoise_app.evaluation.losses_page import BEYOND

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
    training = manifest.training
    assert {"clean", "noise", "rir"} <= training["data"].keys() and training["hours_seen"] > 0
    assert isinstance(training["seed"], int) and re.fullmatch("[0-9a-f]{40}", training["commit"])
    steps = [point["step"] for point in training["curve"]]
    assert steps == sorted(set(steps)) and len(steps) > 5
    assert steps[0] > 0 or training["init"], "step 0 tells what a start scores, and only a start has scores then"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


@pytest.mark.parametrize("model", ["gru", "light-crn"])
def test_in_a_lab_only_the_loss_differs(model: str) -> None:
    stored, _ = store.list_folder(WEIGHTS)
    lab = [item.manifest for item in stored if item.manifest.model == model and item.manifest.loss != BEYOND]
    assert len(lab) >= 8
    alike = ("init", "seed", "steps", "hours_seen", "recipe", "data")
    assert all(each.training[fact] == lab[0].training[fact] for each in lab for fact in alike)
