"""A run learns, resumes to the step, guards itself and leaves a checkpoint that the app loads."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from denoise_app.checkpoints.store import load
from denoise_app.losses import LOSSES, Loss
from denoise_app.training import loop
from denoise_app.training.config import Recipe, TrainConfig
from denoise_app.training.loop import TrainingError, train

SMALL = {"width": 32, "hidden": 32, "layers": 1}


@pytest.fixture()
def config(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr(loop, "SIMULATED_ROOMS", 2)
    return TrainConfig(
        "gru", "hybrid", sounds / "clean", sounds / "noise", tmp_path / "run", cache=tmp_path / "cache",
        model_config=SMALL, recipe=Recipe(seconds=0.5, batch=4), steps=6, validate_minutes=1e9,
    )  # fmt: skip


def quiet(_: str) -> None:
    pass


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "state.pt", weights_only=True)["model"]


def test_a_short_run_leaves_a_checkpoint(config: TrainConfig) -> None:
    outcome = train(config, quiet)
    assert outcome.finished and outcome.steps == 6
    model, manifest = load(config.out)
    assert manifest.model == "gru" and manifest.loss == "hybrid"
    assert manifest.training["steps"] == 6 and manifest.training["seed"] == 0
    with torch.inference_mode():
        assert model(torch.zeros(1, 1000)).shape == (1, 1000)
    assert list((config.out / "tensorboard").glob("events*"))


def test_training_lowers_the_loss_on_its_own_mixtures(config: TrainConfig) -> None:
    config = replace(config, steps=60, recipe=replace(config.recipe, room=0.0))
    mixer, _ = loop.prepare(config, 16_000, torch.device("cpu"), quiet)
    noisy, clean = mixer.batch(99, 0)
    untrained = loop.Run(config, torch.device("cpu")).model

    def value(model: torch.nn.Module) -> float:
        with torch.inference_mode():
            return sum(part.item() for part in loop.loss_parts(LOSSES["hybrid"], model, noisy, clean).values())

    train(config, quiet)
    trained = loop.Run(config, torch.device("cpu")).model
    trained.load_state_dict(weights(config.out))
    assert value(trained) < 0.8 * value(untrained)


def test_resumed_run_equals_one_that_was_never_stopped(config: TrainConfig) -> None:
    whole = replace(config, out=config.out.with_name("whole"), steps=8)
    train(whole, quiet)
    parts = replace(config, out=config.out.with_name("parts"), steps=8)
    _stop_after(parts, 3)
    train(replace(parts, resume=True), quiet)
    ours, theirs = weights(parts.out), weights(whole.out)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in theirs)


def _stop_after(config: TrainConfig, steps: int) -> None:
    """Run until a SIGTERM that arrives within the given step, as when a machine is taken away."""
    real = loop.Mixer.batch

    def batch(self: loop.Mixer, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == steps - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, seed, step)

    loop.Mixer.batch = batch  # type: ignore[method-assign]
    try:
        outcome = train(config, quiet)
    finally:
        loop.Mixer.batch = real  # type: ignore[method-assign]
    assert not outcome.finished and outcome.steps == steps


def test_interrupt_handlers_are_given_back(config: TrainConfig) -> None:
    before = signal.getsignal(signal.SIGINT)
    train(config, quiet)
    assert signal.getsignal(signal.SIGINT) is before


def test_trains_outside_the_main_thread(config: TrainConfig) -> None:
    outcomes: list[loop.Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(train(config, quiet)))
    thread.start()
    thread.join()
    assert outcomes and outcomes[0].finished


def test_nan_steps_leave_the_weights_alone_and_many_end_the_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Loss(lambda estimate, clean, noisy: {"nan": estimate.sum() * float("nan")}, {})
    monkeypatch.setitem(LOSSES, "hybrid", broken)
    monkeypatch.setattr(loop, "MOST_BAD_STEPS", 4)
    with pytest.raises(TrainingError, match="not finite 4 times"):
        train(config, quiet)
    monkeypatch.setattr(loop, "MOST_BAD_STEPS", 100)
    start = {key: value.clone() for key, value in loop.Run(config, torch.device("cpu")).model.state_dict().items()}
    train(config, quiet)
    assert all(torch.equal(value, start[key]) for key, value in weights(config.out).items())


def test_full_disk_keeps_the_last_good_state(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    train(config, quiet)
    before = (config.out / "state.pt").read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="last good one is kept"):
        train(replace(config, resume=True, steps=8), quiet)
    assert (config.out / "state.pt").read_bytes() == before
    assert not list(config.out.glob("*.tmp"))


def test_errors_come_before_the_first_step(config: TrainConfig) -> None:
    with pytest.raises(TrainingError, match="no loss is called 'nope'"):
        train(replace(config, loss="nope"), quiet)
    with pytest.raises(TrainingError, match="no model is called 'nope'"):
        train(replace(config, model="nope"), quiet)
    with pytest.raises(TrainingError, match="has no setting 'units'"):
        train(replace(config, model_config={"units": 3}), quiet)
    with pytest.raises(TrainingError, match="nothing to resume"):
        train(replace(config, resume=True), quiet)
    with pytest.raises(loop.DataError, match="is not a folder"):
        train(replace(config, clean=config.clean / "nowhere"), quiet)


def test_state_of_another_run_is_refused(config: TrainConfig) -> None:
    train(config, quiet)
    with pytest.raises(TrainingError, match="belongs to loss hybrid, not log-mag"):
        train(replace(config, loss="log-mag", resume=True), quiet)
    with pytest.raises(TrainingError, match="was trained with"):
        train(replace(config, model_config={**SMALL, "hidden": 16}, resume=True), quiet)


def test_fine_tuning_starts_from_the_checkpoint(config: TrainConfig) -> None:
    train(config, quiet)
    tuned = replace(config, out=config.out.with_name("tuned"), init=config.out, learning_rate=1e-12, steps=1)
    train(tuned, quiet)
    source, _ = load(config.out)
    ours = weights(tuned.out)
    assert all(torch.allclose(ours[key], value, atol=1e-5) for key, value in source.state_dict().items())


def test_validation_chooses_and_is_written_down(config: TrainConfig) -> None:
    pairs = replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2)
    outcome = train(pairs, quiet)
    _, manifest = load(config.out)
    curve = manifest.training["curve"]
    assert outcome.score is not None and {"step", "minutes", "loss", "si-sdr", "stoi"} <= set(curve[-1])
    assert json.loads((config.out / "train.json").read_text())["loss"] == "hybrid"
