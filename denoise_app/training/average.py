"""Checkpoints of one model as one: the mean of their weights.

Source: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time". It holds for states that one start leads to, by other data, seeds or targets: between those
the loss has no ridge, as it has between models that were trained apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest

from .config import TrainingError
from .start import checkpoint_folder


def average(checkpoints: Sequence[Path], out: Path, half: bool = False) -> Manifest:
    """Write the mean of checkpoints as one more.

    Args:
        checkpoints: Two or more, folders or <model>/<loss> in the folder of weights; of one model in one size and under
            one licence. What is known of the last one's training, its loss too, is said of the result; the credits and
            languages are those of all.
        out: The folder of the result; it may be the last one's. Where it lies as in a folder of weights, it is called
            as its loss.
        half: As `store.save` takes it.

    Returns:
        The manifest as written; `training.averaged` has the first digits of the SHA-256 of each file of weights. Scores
        are not carried over.

    Raises:
        TrainingError: fewer than two, one that is not there, models or licences that differ, or a folder that is called
            otherwise.
        CheckpointError: one is broken, or the result cannot be written.
    """
    if len(checkpoints) < 2:
        raise TrainingError("an average takes two checkpoints or more")
    loaded = [store.load(checkpoint_folder(checkpoint)) for checkpoint in checkpoints]
    (model, manifest), states = loaded[-1], [model.state_dict() for model, _ in loaded]
    for path, (_, theirs) in zip(checkpoints, loaded, strict=True):
        if (theirs.model, theirs.config) != (manifest.model, manifest.config):
            raise TrainingError(f"{path} holds a {theirs.model} of another kind or size than {checkpoints[-1]}")
    if len(licences := {theirs.licence for _, theirs in loaded}) > 1:
        raise TrainingError(f"the licences differ ({', '.join(sorted(licences))}), and an average is under all of them")
    place = out.absolute()
    if place.parent.name == manifest.model and place.name != manifest.loss:
        raise TrainingError(f"the average is {manifest.name}, as {checkpoints[-1]} is, and would not be found in {out}")
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    training = {**manifest.training, "averaged": ", ".join(theirs.sha256[:12] for _, theirs in loaded)}
    unscored = replace(manifest, training=training, scores={}, noisy_scores={}, scored_on="", real_time_factor=0.0)
    credits = tuple(dict.fromkeys(credit for _, theirs in loaded for credit in theirs.credits))
    languages = tuple(sorted({language for _, theirs in loaded for language in theirs.languages}))
    return store.save(out, model, replace(unscored, credits=credits, languages=languages), half)
