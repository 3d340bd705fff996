"""Checks before a run's first step, and its initial weights from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.inference.catalog import weights_folder
from denoise_app.inference.device import choose
from denoise_app.losses import LOSSES
from denoise_app.losses.perceptual import LossUnavailable
from denoise_app.models.registry import build

from .config import TrainConfig, TrainingError
from .prune import can_prune, prune, smaller
from .widen import can_widen, widen


def sized(config: TrainConfig, before: TrainConfig | None = None) -> TrainConfig:
    """The run with the sizes of its model, where they follow from the checkpoint that is pruned.

    Args:
        before: The run that will have made `config.init` by then, where it is not there yet.

    Raises:
        TrainingError: nothing to prune, or it cannot be pruned.
    """
    if not config.prune:
        return config
    if config.init is None:
        raise TrainingError("--prune leaves channels of a trained model out: name it by --init")
    model, theirs = _start(config.init, before)
    try:
        sizes = smaller(_sketch(model, theirs), config.prune)
    except ValueError as error:
        raise TrainingError(f"{config.init} cannot be pruned so: {error}") from error
    return replace(config, model_config={**theirs, **sizes, **config.model_config})


def check(config: TrainConfig, before: TrainConfig | None = None) -> None:
    """That a run's device, model, loss and start exist and fit each other; its sound is looked at by `dataset`.

    Args:
        before: The run that will have made `config.init` by then, where it is not there yet.

    Raises:
        TrainingError: otherwise.
    """
    try:
        choose(config.device)
    except AudioError as error:
        raise TrainingError(str(error)) from error
    if config.loss not in LOSSES:
        raise TrainingError(f"no loss is called {config.loss!r}; there are {', '.join(LOSSES)}")
    loss, silence = LOSSES[config.loss], torch.zeros(1, 16_000)
    try:
        for function in filter(None, (loss.function, loss.late)):
            function(silence, silence, silence)  # else a missing package would be missed when hours are spent
    except LossUnavailable as error:
        raise TrainingError(str(error)) from error
    ours = _sketch(config.model, config.model_config)
    if config.teacher is not None:
        _read(config.teacher)
    if config.init is None:
        return
    model, sizes = _start(config.init, before)
    theirs = _sketch(model, sizes)
    if can_widen(theirs, ours):
        return
    if model != config.model:
        raise TrainingError(f"{config.init} holds a {model}, not a {config.model}")
    if config.prune and can_prune(theirs, ours):
        return
    if _shapes(theirs) != _shapes(ours):
        raise TrainingError(f"{config.init} holds a {model} of other sizes: give it the same model_config")


def _start(init: Path, before: TrainConfig | None) -> tuple[str, dict[str, Any]]:
    """Model and settings of a start, which the run before this one makes if there is one."""
    if before is not None:
        return before.model, dict(before.model_config)
    manifest = _read(init)
    return manifest.model, dict(manifest.config)


def _read(checkpoint: Path) -> Manifest:
    """What a checkpoint says of itself; all of it is read, since hours may pass until it is needed."""
    try:
        _, manifest = store.load(checkpoint_folder(checkpoint))
    except CheckpointError as error:
        raise TrainingError(str(error)) from error
    return manifest


def _sketch(model: str, config: Mapping[str, Any]) -> nn.Module:
    """The model without any numbers in it."""
    try:
        with torch.device("meta"):
            return build(model, config)
    except ValueError as error:
        raise TrainingError(str(error)) from error


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in model.state_dict().items()}


def checkpoint_folder(init: Path) -> Path:
    """The folder with a checkpoint: the path itself, or <model>/<loss> in the folder of weights.

    Raises:
        TrainingError: there is neither.
    """
    for folder in (init, weights_folder() / init):
        with suppress(OSError, ValueError):  # a name that no file can have
            if (folder / store.CONFIG).is_file():
                return folder
    raise TrainingError(f"there is no checkpoint {init}, neither as a folder nor in {weights_folder()}")


def initialise(model: nn.Module, init: Path) -> float:
    """Give a model the weights of a checkpoint, widened where it is wider, pruned where it is narrower.

    Returns:
        Hours of noisy speech that the checkpoint was trained on.

    Raises:
        TrainingError: there is none.
        CheckpointError: it is broken.
    """
    source, manifest = store.load(checkpoint_folder(init))
    if _shapes(source) == _shapes(model):
        model.load_state_dict(source.state_dict())
    elif can_prune(source, model):
        prune(source, model)
    else:
        widen(source, model)
    hours = manifest.training.get("hours_seen")
    return float(hours) if isinstance(hours, int | float) else 0.0  # a checkpoint by others may say anything
