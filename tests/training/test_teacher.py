"""A teacher's output is a second target, and a small model learns from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.cli import main
from denoise_app.losses import LOSSES
from denoise_app.models.registry import build
from denoise_app.training import loop
from denoise_app.training.config import Recipe, TrainConfig, TrainingError
from denoise_app.training.teacher import Teacher

SMALL = {"width": 32, "hidden": 32, "layers": 1}
CPU = torch.device("cpu")


class Half(nn.Module):
    """A denoiser that knows one thing."""

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy / 2


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    folder = tmp_path / "weights" / "gru" / "hybrid"
    store.save(folder, build("gru", SMALL), Manifest("gru", "hybrid", config=SMALL))
    return folder


@pytest.fixture
def config(sounds: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr(loop, "SIMULATED_ROOMS", 2)
    monkeypatch.setattr(store, "macs_per_second", lambda model, config: 1)
    recipe = Recipe(seconds=0.5, batch=2)
    folders = sounds / "clean", sounds / "noise", tmp_path / "run"
    sizes = {"cache": tmp_path / "cache", "model_config": SMALL, "recipe": recipe, "steps": 2}
    return TrainConfig("gru", "mse", *folders, teacher=checkpoint, device="cpu", **sizes)  # type: ignore[arg-type]


def test_the_loss_is_shared_between_the_clean_speech_and_what_the_teacher_says(checkpoint: Path) -> None:
    noisy, clean = 0.1 * torch.randn(2, 2, 8000, generator=torch.Generator().manual_seed(0))
    teacher, student = Teacher(checkpoint, 16_000, CPU), Half()
    alone = loop.loss_parts(LOSSES["mse"], student, noisy, clean, 0.0)["mse"]
    taught = loop.loss_parts(LOSSES["mse"], student, noisy, teacher(noisy), 0.0)["mse"]
    parts = loop.loss_parts(LOSSES["mse"], student, noisy, clean, 0.0, teacher, 0.25)
    assert parts.keys() == {"mse", "teacher mse"}
    assert torch.allclose(parts["mse"], 0.75 * alone) and torch.allclose(parts["teacher mse"], 0.25 * taught)
    assert not torch.allclose(alone, taught)


@pytest.mark.slow
def test_a_small_model_comes_nearer_to_its_teacher(checkpoint: Path) -> None:
    """With nothing else to learn from: the clean speech counts for nothing."""
    teacher = Teacher(checkpoint, 16_000, CPU)
    torch.manual_seed(1)
    student = build("light-crn", {"channels": 4}).train()
    noisy, clean = 0.1 * torch.randn(2, 2, 8000, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-2)
    distances = []
    for _ in range(15):
        parts = loop.loss_parts(LOSSES["mse"], student, noisy, clean, 0.0, teacher, 1.0)
        assert parts["mse"] == 0
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
        distances.append((student(noisy) - teacher(noisy)).square().mean().item())
    assert distances[-1] < 0.3 * distances[0]
    assert all(parameter.grad is None for parameter in teacher._model.parameters()), "the teacher learns nothing"


def test_a_run_has_a_teacher_and_its_checkpoint_says_which(config: TrainConfig) -> None:
    assert loop.train(config, lambda _: None).finished
    training = store.read_manifest(config.out).training
    assert (training["teacher"], training["teacher_share"]) == ("gru/hybrid", 0.5)
    with_it = torch.load(config.out / "state.pt", weights_only=True)["model"]
    loop.train(replace(config, out=config.out / "alone", teacher=None), lambda _: None)
    assert "teacher" not in store.read_manifest(config.out / "alone").training
    without = torch.load(config.out / "alone" / "state.pt", weights_only=True)["model"]
    assert any(not torch.equal(value, without[key]) for key, value in with_it.items())


def test_a_teacher_that_is_not_there_or_is_broken_is_told_before_anything_begins(
    config: TrainConfig, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "load_corpora", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(TrainingError, match="no checkpoint nobody/here"):
        loop.train(replace(config, teacher=Path("nobody/here")), lambda _: None)
    (checkpoint / "model.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match="0 bytes"):
        loop.train(config, lambda _: None)


def test_the_rate_must_be_the_students(checkpoint: Path) -> None:
    with pytest.raises(TrainingError, match="16000 Hz, not 48000"):
        Teacher(checkpoint, 48_000, CPU)


def test_the_command_line_names_one(sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--clean", str(sounds / "clean"), "--noise", str(sounds / "noise"), "--out", str(tmp_path / "o")]
    assert main(["train", "--model", "gru", "--loss", "mse", *folders, "--teacher", "nobody/here"]) == 1
    assert "no checkpoint nobody/here" in capsys.readouterr().err
