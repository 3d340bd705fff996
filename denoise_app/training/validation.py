"""Scores while training, on pairs that are not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import mid, resample
from denoise_app.audio.files import read
from denoise_app.metrics.perceptual import MetricUnavailable, pesq_wb, stoi
from denoise_app.metrics.signal import si_sdr

from .config import TrainConfig
from .dataset import DataError, audio_files


@dataclass(frozen=True)
class Validator:
    """Pairs held in memory.

    Attributes:
        pairs: (noisy, clean), (time,) each, of equal lengths.
        sample_rate: Hz.
    """

    pairs: tuple[tuple[Samples, Samples], ...]
    sample_rate: int

    @classmethod
    def load(cls, config: TrainConfig, sample_rate: int) -> Validator:
        """`config.valid_pairs` pairs, spread evenly over the names that both folders hold.

        Raises:
            DataError: no name stands in both folders.
        """
        assert config.valid_clean is not None and config.valid_noisy is not None
        clean = {path.name: path for path in audio_files(config.valid_clean)}
        names = [path.name for path in audio_files(config.valid_noisy) if path.name in clean]
        if not names:
            raise DataError(f"{config.valid_noisy} and {config.valid_clean} share no file name")
        chosen = [names[k] for k in np.unique(np.linspace(0, len(names) - 1, config.valid_pairs).astype(int))]

        def mono(path: Path) -> Samples:
            clip = read(path)
            return resample(mid(clip.samples), clip.sample_rate, sample_rate)[0]

        pairs = [(mono(config.valid_noisy / name), mono(clean[name])) for name in chosen]
        return cls(tuple((x[: len(y)], y[: len(x)]) for x, y in pairs), sample_rate)

    def score(self, model: nn.Module) -> dict[str, float]:
        """Mean SI-SDR in dB, STOI, and PESQ-WB where it is installed."""
        device = next(model.parameters()).device
        rows = []
        for noisy, clean in self.pairs:
            with torch.inference_mode():
                estimate = model(torch.from_numpy(noisy)[None].to(device))[0].cpu()
            rows.append([float(si_sdr(estimate, torch.from_numpy(clean))), *self._perceptual(clean, estimate.numpy())])
        means = np.mean(rows, axis=0)
        return dict(zip(("si-sdr", "stoi", "pesq-wb"), map(float, means), strict=False))

    def _perceptual(self, clean: Samples, estimate: Samples) -> list[float]:
        try:
            return [stoi(clean, estimate, self.sample_rate), pesq_wb(clean, estimate, self.sample_rate)]
        except MetricUnavailable:
            return []

    @staticmethod
    def rank(scores: dict[str, float]) -> float:
        """One number to choose the best state by: PESQ plus a tenth of the SI-SDR, about what each is worth."""
        return scores["si-sdr"] / 10 + scores.get("pesq-wb", 0.0)
