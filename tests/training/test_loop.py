"""A run learns, resumes to the step, guards itself and leaves a checkpoint that the app loads."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.audio.files import write
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.checkpoints.store import load
from denoise_app.losses import LOSSES
from denoise_app.losses.perceptual import LossUnavailable
from denoise_app.models.registry import build
from denoise_app.training import loop
from denoise_app.training import recorder as recorder
from denoise_app.training.config import Recipe, TrainConfig
from denoise_app.training.dataset import DataError
from denoise_app.training.distributed import Ranks
from denoise_app.training.loop import TrainingError, train
from denoise_app.training.run import Run
from denoise_app.training.validation import Validator

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
    return state(folder)["model"]


def test_a_short_run_leaves_a_checkpoint(config: TrainConfig) -> None:
    outcome = train(config, quiet)
    assert outcome.finished and outcome.steps == 6
    model, manifest = load(config.out)
    assert manifest.model == "gru" and manifest.loss == "hybrid"
    assert manifest.training["steps"] == 6 and manifest.training["seed"] == 0
    with torch.inference_mode():
        assert model(torch.zeros(1, 1000)).shape == (1, 1000)
    assert list((config.out / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_training_lowers_the_loss_on_its_own_mixtures(config: TrainConfig) -> None:
    config = replace(config, steps=60, learning_rate=2e-2, recipe=replace(config.recipe, room=0.0))
    mixer = loop.make_mixer(config, loop.load_corpora(config, 16_000, quiet), torch.device("cpu"))
    noisy, clean = mixer.batch(99, 0)
    untrained = loop.Run(config, Ranks()).model

    def value(model: torch.nn.Module) -> float:
        with torch.inference_mode():
            return sum(part.item() for part in loop.loss_parts(LOSSES["hybrid"], model, noisy, clean, 0).values())

    train(config, quiet)
    trained = loop.Run(config, Ranks()).model
    trained.load_state_dict(weights(config.out))
    assert value(trained) < 0.8 * value(untrained)


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "state.pt", weights_only=True)


def same(ours: Any, theirs: Any) -> bool:
    """Equality of nested states, tensors bit by bit."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else bool(ours == theirs)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [{"steps": 8}, {"minutes": 8 / 60}], ids=["steps", "minutes"])
def test_resumed_run_equals_one_that_was_never_stopped(
    budget: dict[str, Any], config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, their average and the optimizer to the bit; the clock stands still but for a second a step."""
    clock = itertools.count()
    now = [next(clock)]

    def hybrid(*sounds: torch.Tensor) -> dict[str, torch.Tensor]:
        now[0] = next(clock)
        return real.function(*sounds)

    real = LOSSES["hybrid"]
    monkeypatch.setitem(LOSSES, "hybrid", replace(real, function=hybrid))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    whole = replace(config, out=config.out.with_name("whole"), **budget)
    assert train(whole, quiet).steps == 8
    parts = replace(config, out=config.out.with_name("parts"), **budget)
    _stop_after(parts, 3)
    assert state(parts.out)["seconds"] == 3 and not same(state(parts.out)["average"], state(whole.out)["average"])
    assert train(replace(parts, resume=True), quiet).steps == 8
    ours, theirs = state(parts.out), state(whole.out)
    assert {key for key in theirs if not same(ours[key], theirs[key])} <= {"curve"}  # the mean of fewer losses


def _stop_after(config: TrainConfig, steps: int) -> None:
    """Run until a SIGTERM that arrives within the given step, as when a machine is taken away."""
    real = loop.Mixer.batch

    def batch(self: loop.Mixer, seed: int, step: int, *among: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == steps:  # drawn while the step before it is made
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, seed, step, *among)

    loop.Mixer.batch = batch  # type: ignore[method-assign]
    try:
        outcome = train(config, quiet)
    finally:
        loop.Mixer.batch = real  # type: ignore[method-assign]
    assert not outcome.finished and outcome.steps == steps


def test_recorded_rooms_stand_beside_simulated_ones_and_silent_ones_do_not(config: TrainConfig, tmp_path: Path) -> None:
    decay = np.exp(-np.arange(4000) / 800).astype(np.float32) / 2
    (tmp_path / "rir").mkdir()
    for name, samples in (("hall", decay), ("silent", 0 * decay)):
        write(tmp_path / "rir" / f"{name}.wav", Clip(samples[None], 16_000))
    config = replace(config, rir=tmp_path / "rir")
    rooms = loop.make_mixer(config, loop.load_corpora(config, 16_000, quiet), torch.device("cpu")).rooms
    assert rooms.shape == (2 * loop.SIMULATED_ROOMS, 6400), "recorded ones are drawn as often as simulated ones"
    assert np.abs(rooms[-1, :4000].numpy() - decay / decay[0]).max() < 1e-3


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
    broken = replace(LOSSES["hybrid"], function=lambda estimate, *_: {"nan": estimate.sum() * float("nan")})
    monkeypatch.setitem(LOSSES, "hybrid", broken)
    monkeypatch.setattr(loop, "MOST_BAD_STEPS", 4)
    with pytest.raises(TrainingError, match="not finite 4 times"):
        train(config, quiet)
    monkeypatch.setattr(loop, "MOST_BAD_STEPS", 100)
    start = {key: value.clone() for key, value in loop.Run(config, Ranks()).model.state_dict().items()}
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
    with pytest.raises(DataError, match="is not a folder"):
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


def test_fine_tuning_finds_a_checkpoint_by_name_and_counts_its_hours(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = config.out.parent / "weights" / "gru" / "hybrid"
    heard = train(replace(config, out=bundled), quiet).hours_seen
    monkeypatch.setenv("DENOISE_WEIGHTS", str(bundled.parents[1]))
    tuned = train(replace(config, init=Path("gru/hybrid"), steps=3), quiet)
    assert tuned.hours_seen == pytest.approx(1.5 * heard, abs=5e-4)  # the manifest rounds
    assert load(config.out)[1].training["init"] == "gru/hybrid"


def test_a_start_that_does_not_fit_is_refused(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    train(config, quiet)
    monkeypatch.setattr(loop.Mixer, "batch", lambda *_: pytest.fail("it has begun"))
    begun = replace(config, out=config.out.with_name("next"), init=config.out)
    with pytest.raises(TrainingError, match="there is no checkpoint gru/nonesuch"):
        train(replace(begun, init=Path("gru/nonesuch")), quiet)
    with pytest.raises(TrainingError, match="holds a gru, not a band-df"):
        train(replace(begun, model="band-df", model_config={}), quiet)
    with pytest.raises(TrainingError, match="a gru of other sizes"):
        train(replace(begun, model_config={**SMALL, "hidden": 16}), quiet)
    (config.out / "model.safetensors").write_bytes((config.out / "model.safetensors").read_bytes()[:-4])
    with pytest.raises(TrainingError, match="bytes where"):
        train(begun, quiet)
    (config.out / "config.json").write_text("{")
    with pytest.raises(TrainingError, match=r"config.json of .*run is not valid"):
        train(begun, quiet)
    assert not begun.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("hours", ["many", None])
def test_a_start_that_cannot_tell_its_hours_counts_as_none(hours: object, config: TrainConfig) -> None:
    train(config, quiet)
    path = config.out / "config.json"
    told = json.loads(path.read_text())
    told["training"]["hours_seen"] = hours
    path.write_text(json.dumps(told))
    tuned = train(replace(config, out=config.out.with_name("tuned"), init=config.out), quiet)
    assert tuned.hours_seen == pytest.approx(6 * 4 * 0.5 / 3600)


def test_a_start_whose_hours_are_of_no_known_form_is_refused(config: TrainConfig) -> None:
    train(config, quiet)
    path = config.out / "config.json"
    told = json.loads(path.read_text())
    told["training"]["hours_seen"] = [1]
    path.write_text(json.dumps(told))
    with pytest.raises(TrainingError, match=r"config.json of .*hours_seen"):
        train(replace(config, out=config.out.with_name("tuned"), init=config.out), quiet)


@pytest.mark.slow
def test_what_the_start_scores_is_told_before_the_first_step(config: TrainConfig) -> None:
    train(config, quiet)
    pairs = replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2)
    lines: list[str] = []
    tuned = replace(pairs, out=config.out.with_name("tuned"), init=config.out)
    train(tuned, lines.append)
    first = next(line for line in lines if line.startswith(("step", "the start")))
    assert first.startswith("the start  si-sdr")
    lines.clear()
    train(replace(tuned, init=None, resume=True, steps=8), lines.append)
    assert not any(line.startswith("the start") for line in lines)
    begun = "/".join(config.out.parts[-2:])
    assert load(tuned.out)[1].training["init"] == begun, "resuming need not name it again"


@pytest.mark.slow
def test_other_sound_or_another_recipe_is_told_on_resuming(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, clean=shutil.copytree(config.clean, tmp_path / "speech"))
    train(config, quiet)
    lines: list[str] = []
    train(replace(config, resume=True, steps=8), lines.append)
    assert not any("has changed" in line for line in lines)
    train(replace(config, resume=True, steps=10, recipe=replace(config.recipe, clip=0.5)), lines.append)
    assert sum("has changed" in line for line in lines) == 1
    shutil.copy(next((config.clean / "a").iterdir()), config.clean / "one more.wav")
    train(replace(config, resume=True, steps=12, recipe=replace(config.recipe, clip=0.5)), lines.append)
    assert sum("has changed" in line for line in lines) == 2


def test_the_log_has_the_named_parts_the_rate_and_the_scores(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(recorder, "LOG_STEPS", 1)
    train(replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2), quiet)
    log = EventAccumulator(str(config.out / "tensorboard"))
    log.Reload()
    tags = set(log.Tags()["scalars"])
    assert {"loss/total", "learning rate", "gradient norm", "validation/si-sdr"} <= tags
    parts = [[event.value for event in log.Scalars(tag)] for tag in tags if tag.startswith("loss/")]
    total = [event.value for event in log.Scalars("loss/total")]
    assert len(parts) > 2 and np.allclose(np.sum(parts, axis=0), 2 * np.array(total), rtol=1e-4)


def test_a_log_that_cannot_be_written_does_not_end_the_run(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder, "LOG_STEPS", 1)
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    lines: list[str] = []
    assert train(config, lines.append).finished
    assert lines.count("TensorBoard's log ends here: No space left on device") == 1


def test_without_tensorboard_the_log_is_left_out_with_a_word(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as where it is not installed
    lines: list[str] = []
    assert train(config, lines.append).finished
    assert lines.count("no TensorBoard log is written: the package tensorboard is not installed") == 1
    assert not (config.out / "tensorboard").exists()


def test_the_learning_rate_warms_up_and_falls_along_a_cosine(config: TrainConfig) -> None:
    run = Run(replace(config, steps=1000, learning_rate=1e-2, warm_up=0.1, last_learning_rate=0.02), Ranks())
    rates = []
    for run.step in (0, 50, 100, 550, 1000):
        rates.append(run.learning_rate())
    assert rates == pytest.approx([1e-4, 5e-3, 1e-2, 1e-2 * (0.02 + 0.98 / 2), 2e-4])


def test_the_average_follows_the_weights(config: TrainConfig) -> None:
    run = Run(replace(config, ema=0.5), Ranks())
    before = {key: value.clone() for key, value in run.average.state_dict().items()}
    for parameter in run.model.parameters():
        parameter.data.add_(1.0)
    run.step = 100  # long after the start, where the average forgets more quickly
    run._update_average()
    assert all(torch.allclose(value, before[key] + 0.5) for key, value in run.average.state_dict().items())


@pytest.mark.slow
def test_any_number_of_validations_leaves_a_checkpoint_that_loads(config: TrainConfig) -> None:
    train(config, quiet)
    saved = state(config.out)
    saved["curve"] = [{"step": step, "minutes": step / 7, "loss": 1 / 3, "si-sdr": 1 / 3} for step in range(5000)]
    saved["best"] = None
    torch.save(saved, config.out / "state.pt")
    train(replace(config, resume=True, steps=8), quiet)
    curve = load(config.out)[1].training["curve"]
    assert len(curve) <= recorder.MOST_POINTS and curve[-1]["step"] == 8
    assert len(state(config.out)["curve"]) > 5000


@pytest.mark.slow
def test_the_best_state_is_kept_also_over_a_resume(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = iter([2.0, 1.0, 3.0, 2.5])
    monkeypatch.setattr(Validator, "rank", lambda *_: next(ranks))
    pairs = replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2)
    kept = []
    for steps in (2, 4, 6, 8):
        outcome = train(replace(pairs, steps=steps, resume=steps > 2), quiet)
        kept.append((outcome.score, load(config.out)[1].training["steps"]))
    assert kept == [(2.0, 2), (2.0, 2), (3.0, 6), (3.0, 6)]


def test_a_checkpoint_that_was_cut_off_is_written_again(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = iter([2.0, 1.0])
    monkeypatch.setattr(Validator, "rank", lambda *_: next(ranks))
    pairs = replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2)
    train(pairs, quiet)
    (config.out / "model.safetensors").write_bytes(b"half")
    train(replace(pairs, steps=8, resume=True), quiet)
    assert load(config.out)[1].training["steps"] == 8


def test_late_parts_join_in_the_last_fifth(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    def late(estimate: torch.Tensor, clean: torch.Tensor, noisy: torch.Tensor) -> dict[str, torch.Tensor]:
        heard.append(estimate.detach().clone())
        return {"late": 0.0 * estimate.sum()}

    monkeypatch.setitem(LOSSES, "hybrid", replace(LOSSES["hybrid"], late=late))
    train(replace(config, steps=10), quiet)
    assert heard[0].abs().max() == 0, "tried on silence before the first step"
    assert len(heard) == 1 + 1, "steps 0 to 8 have spent at most 0.8"
    model = torch.nn.Identity()
    noisy = torch.randn(2, 4000)
    assert "late" in loop.loss_parts(LOSSES["hybrid"], model, noisy, noisy / 2, 0.81)
    assert "late" not in loop.loss_parts(LOSSES["hybrid"], model, noisy, noisy / 2, 0.8)


@pytest.mark.parametrize("part", ["function", "late"])
def test_a_loss_that_lacks_its_package_is_refused_at_once(
    part: str, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: torch.Tensor) -> dict[str, torch.Tensor]:
        raise LossUnavailable("it needs a package")

    monkeypatch.setitem(LOSSES, "hybrid", replace(LOSSES["hybrid"], **{part: lacking}))
    with pytest.raises(TrainingError, match="it needs a package"):
        train(config, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["cut", "old", "other"])
def test_a_state_that_cannot_be_read_says_so(change: str, config: TrainConfig) -> None:
    train(config, quiet)
    path = config.out / "state.pt"
    if change == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        content = state(config.out)
        content.pop("hours_heard" if change == "old" else "model_name")
        torch.save(content, path)
    reason = {"cut": "cannot be read", "old": "saved by another version", "other": "belongs to model_name None"}
    with pytest.raises(TrainingError, match=reason[change]):
        train(replace(config, resume=True), quiet)


def test_a_full_disk_at_the_checkpoint_keeps_the_last_one(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    train(config, quiet)
    before = {path.name: path.read_bytes() for path in config.out.iterdir() if path.is_file()}

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        train(replace(config, resume=True, steps=8), quiet)
    after = {path.name: path.read_bytes() for path in config.out.iterdir() if path.is_file()}
    assert {name for name in before if before[name] != after[name]} == {"train.json"} and after.keys() == before.keys()


def test_a_device_that_is_not_there_is_named(config: TrainConfig) -> None:
    with pytest.raises(TrainingError, match="The device cuda:97 cannot be used here"):
        train(replace(config, device="cuda:97"), quiet)


def test_people_are_told_how_long_it_takes(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "REPORT_SECONDS", 0.0)
    lines: list[str] = []
    train(config, lines.append)
    reports = [line for line in lines if line.startswith("step")]
    assert len(reports) == 6 + 1 and all(line.endswith(" s left") for line in reports)
    assert reports[2].startswith("step 3  50%") and reports[-1].endswith("0 s left")


def test_validation_chooses_and_is_written_down(config: TrainConfig) -> None:
    pairs = replace(config, valid_clean=config.clean / "a", valid_noisy=config.clean / "a", valid_pairs=2)
    outcome = train(pairs, quiet)
    _, manifest = load(config.out)
    curve = manifest.training["curve"]
    assert outcome.score is not None and {"step", "minutes", "loss", "si-sdr", "stoi"} <= set(curve[-1])
    assert json.loads((config.out / "train.json").read_text())["loss"] == "hybrid"


def test_unreadable_pairs_are_skipped_and_named(config: TrainConfig, tmp_path: Path) -> None:
    for part in ("clean", "noisy"):
        shutil.copytree(config.clean, tmp_path / part)
        for k in range(5, 10):
            shutil.copy(tmp_path / part / "a" / "0.wav", tmp_path / part / "a" / f"{k}.wav")
    (tmp_path / "noisy" / "a" / "3.wav").write_text("no sound")
    pairs = replace(config, valid_clean=tmp_path / "clean", valid_noisy=tmp_path / "noisy")
    lines: list[str] = []
    assert len(Validator.load(pairs, 16_000, lines.append).pairs) == 9
    assert len(lines) == 1 and "a/3.wav" in lines[0]
    (tmp_path / "clean" / "a" / "4.wav").write_text("no sound")
    with pytest.raises(DataError, match=r"2 of 10 files in .*noisy cannot be read"):
        Validator.load(pairs, 16_000, quiet)
    with pytest.raises(DataError, match="share no file name"):
        Validator.load(replace(pairs, valid_noisy=config.noise), 16_000, quiet)


def test_a_pair_too_short_for_a_metric_does_not_end_a_run() -> None:
    rng = np.random.default_rng(0)
    long, short = (rng.standard_normal(samples).astype(np.float32) / 10 for samples in (16_000, 1_000))
    model = build("gru", SMALL).eval()
    scores = Validator(((long, long), (short, short)), 16_000).score(model)
    alone = Validator(((long, long),), 16_000).score(model)
    assert scores["stoi"] == alone["stoi"] and scores["si-sdr"] != alone["si-sdr"]
