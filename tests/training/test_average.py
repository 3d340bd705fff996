"""Checkpoints that one start led to, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from denoise_app import cli
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.models.registry import build
from denoise_app.training.average import average
from denoise_app.training.config import TrainingError

SIZES = {"width": 16, "hidden": 12, "single_bins": 20, "wide_bands": 12}


def saved(folder: Path, seed: int, model: str = "gru", sizes: dict[str, Any] = SIZES) -> Path:
    torch.manual_seed(seed)
    folder = folder / str(seed) / model / "hybrid"
    scored = {"scores": {"pesq_wb": 2.0}, "scored_on": "one recording", "real_time_factor": 0.01}
    store.save(folder, build(model, sizes), Manifest(model, "hybrid", config=sizes, training={"seed": seed}, **scored))
    return folder


def weights(folder: Path) -> dict[str, Tensor]:
    return store.load(folder)[0].state_dict()


@pytest.mark.slow
def test_it_is_the_mean_and_tells_of_what(tmp_path: Path) -> None:
    ours = [saved(tmp_path, seed) for seed in (1, 2, 3)]
    made = average(ours, tmp_path / "mean")
    before, after = [weights(folder) for folder in ours], weights(tmp_path / "mean")
    for name, value in after.items():
        torch.testing.assert_close(value, sum(state[name] for state in before) / 3)
        assert value.ndim < 2 or not torch.allclose(value, before[0][name], atol=1e-4)
    sums = ", ".join(store.read_manifest(folder).sha256[:12] for folder in ours)
    assert made.training == {"seed": 3, "averaged": sums}
    assert f"averaged: {sums}" in (tmp_path / "mean" / "README.md").read_text()
    assert (made.scores, made.scored_on, made.real_time_factor) == ({}, "", 0.0)  # those were of others


def test_a_checkpoint_with_itself_is_itself_in_its_own_place(tmp_path: Path) -> None:
    one = saved(tmp_path, 1)
    before = weights(one)
    average([one, one], one)
    assert all(torch.equal(value, before[name]) for name, value in weights(one).items())


@pytest.mark.slow
@pytest.mark.parametrize(("model", "sizes"), [("gru", {**SIZES, "hidden": 16}), ("light-crn", {"channels": 8})])
def test_others_are_refused_and_nothing_is_written(tmp_path: Path, model: str, sizes: dict[str, Any]) -> None:
    pair = [saved(tmp_path, 1), saved(tmp_path, 2, model, sizes)]
    with pytest.raises(TrainingError, match="another kind or size"):
        average(pair, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = [str(saved(tmp_path, seed)) for seed in (1, 2)]
    assert cli.main(["average", *ours, "-o", str(tmp_path / "mean"), "--half"]) == 0
    assert "gru/hybrid: the average of 2 checkpoints" in capsys.readouterr().out
    assert store.load(tmp_path / "mean")[1].size < store.read_manifest(Path(ours[0])).size
    assert cli.main(["average", ours[0], "-o", str(tmp_path / "one")]) == 1
    assert "two checkpoints or more" in capsys.readouterr().err


@pytest.mark.slow
def test_the_credits_are_those_of_all_and_the_licence_is_one(tmp_path: Path) -> None:
    first, last = (saved(tmp_path, seed) for seed in (1, 2))
    store.annotate(first, credits=("Data of A", "Data of both"), languages=("de",))
    store.annotate(last, credits=("Data of both", "Data of B"), languages=("en",))
    made = average([first, last], tmp_path / "mean")
    assert made.credits == ("Data of A", "Data of both", "Data of B") and made.languages == ("de", "en")
    store.annotate(first, licence="cc-by-nc-4.0")
    with pytest.raises(TrainingError, match="licences differ"):
        average([first, last], tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mse", "soup"])
def test_a_place_where_it_would_not_be_found_is_refused(tmp_path: Path, name: str) -> None:
    ours = [saved(tmp_path, seed) for seed in (1, 2)]
    with pytest.raises(TrainingError, match="would not be found"):
        average(ours, ours[0].parent / name)
    assert not (ours[0].parent / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lone\ud800", "\0", "n" * 300])
def test_names_that_no_file_can_have_are_told(tmp_path: Path, name: str) -> None:
    ours = [saved(tmp_path, seed) for seed in (1, 2)]
    with pytest.raises(CheckpointError) as caught:
        average(ours, tmp_path / name)
    assert caught.value.reason == "checkpoint-not-saved"
    with pytest.raises(TrainingError, match="no checkpoint"):
        average([*ours, Path(name)], tmp_path / "mean")
