"""A model that has learnt more shows a smaller one what comes out of it: a second target beside the clean speech.

Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network"; for speech as RT-SEMamba (2025),
which gained as much PESQ by it as by PESQ in the loss. What the teacher gives can be reached from the noisy input,
which the clean speech often cannot; it costs the teacher's forward pass at each step, and nothing in use.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from denoise_app.checkpoints import store
from denoise_app.losses import Parts

from .config import TrainingError
from .start import checkpoint_folder


class Teacher:
    """A frozen checkpoint, whose output is a second target.

    Args:
        checkpoint: A folder, or <model>/<loss> in the folder of weights.
        sample_rate: Hz of its input.
        device: Where it computes.

    Raises:
        TrainingError: there is none, or its sample rate is another.
        CheckpointError: it is broken.
    """

    def __init__(self, checkpoint: Path, sample_rate: int, device: torch.device) -> None:
        self._model: nn.Module
        self._model, manifest = store.load(checkpoint_folder(checkpoint))
        if manifest.sample_rate != sample_rate:
            raise TrainingError(f"the teacher {checkpoint} works at {manifest.sample_rate} Hz, not {sample_rate}")
        self.name = manifest.name
        self._model.requires_grad_(False).to(device)

    @torch.no_grad()
    def __call__(self, noisy: Tensor) -> Tensor:
        """(B, T) -> what it makes of it, (B, T)."""
        clean: Tensor = self._model(noisy)
        return clean


def shared(by_clean: Parts, by_teacher: Parts, share: float) -> Parts:
    """The parts of a loss against the clean speech, and against the teacher's output, which counts for so much of it.

    >>> shared({"mse": torch.tensor(1.0)}, {"mse": torch.tensor(2.0)}, 0.25)
    {'mse': tensor(0.7500), 'teacher mse': tensor(0.5000)}
    """
    ours = {name: (1 - share) * part for name, part in by_clean.items()}
    return ours | {f"teacher {name}": share * part for name, part in by_teacher.items()}
