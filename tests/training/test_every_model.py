"""Every model goes through the training loop: a step, a resume, a checkpoint that computes what was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from denoise_app.checkpoints import store
from denoise_app.models.registry import MODELS
from denoise_app.training import loop
from denoise_app.training.config import Recipe, TrainConfig

pytestmark = pytest.mark.slow

SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {},
    "band-df": {},
    "cnn": {"channels": 2},
    "dpcrn": {"channels": 8},
    "frcrn": {"channels": 4, "bottom": 8},
    "gru": {"width": 32, "hidden": 32, "layers": 1},
    "light-crn": {"channels": 8},
    "transformer": {},
    "waveform": {"channels": 8, "widest": 32},
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_learns_resumes_and_is_saved(
    name: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SIMULATED_ROOMS", 2)
    monkeypatch.setattr(store, "macs_per_second", lambda model, config: 1)  # counted in tests/models
    config = TrainConfig(
        name, "hybrid", sounds / "clean", sounds / "noise", tmp_path / "run", cache=tmp_path / "cache",
        model_config=SMALL[name], recipe=Recipe(seconds=0.5, batch=2), steps=1, ema=0.0, device="cpu",
    )  # fmt: skip
    assert loop.train(config, lambda _: None).finished
    first = torch.load(config.out / "state.pt", weights_only=True)
    assert loop.train(replace(config, steps=2, resume=True), lambda _: None).steps == 2
    second = torch.load(config.out / "state.pt", weights_only=True)
    moved = [key for key, value in first["model"].items() if not torch.equal(value, second["model"][key])]
    assert len(moved) > len(first["model"]) / 2
    kept = store.load(config.out)[0].state_dict()
    assert all(torch.allclose(kept[key], value) for key, value in second["average"].items())
