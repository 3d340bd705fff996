"""Checks before a run's first step, and its initial weights from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
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
from .widen import can_widen, widen


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
    if before is not None:
        model, theirs = before.model, _sketch(before.model, before.model_config)
    else:
        manifest = _read(config.init)
        model, theirs = manifest.model, _sketch(manifest.model, manifest.config)
    if can_widen(theirs, ours):
        return
    if model != config.model:
        raise TrainingError(f"{config.init} holds a {model}, not a {config.model}")
    if _shapes(theirs) != _shapes(ours):
        raise TrainingError(f"{config.init} holds a {model} of other sizes: give it the same model_config")


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
        if (folder / store.CONFIG).is_file():
            return folder
    raise TrainingError(f"there is no checkpoint {init}, neither as a folder nor in {weights_folder()}")


def initialise(model: nn.Module, init: Path) -> float:
    """Give a model the weights of a checkpoint, widened where it is wider.

    Returns:
        Hours of noisy speech that the checkpoint was trained on.

    Raises:
        TrainingError: there is none.
        CheckpointError: it is broken.
    """
    source, manifest = store.load(checkpoint_folder(init))
    if _shapes(source) == _shapes(model):
        model.load_state_dict(source.state_dict())
    else:
        widen(source, model)
    hours = manifest.training.get("hours_seen")
    return float(hours) if isinstance(hours, int | float) else 0.0  # a checkpoint by others may say anything
