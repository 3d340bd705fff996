"""Scores while training, on pairs that are not trained on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import mid, resample
from denoise_app.audio.errors import AudioError
from denoise_app.audio.files import read
from denoise_app.metrics.perceptual import MetricUnavailable, pesq_wb, stoi
from denoise_app.metrics.report import quality
from denoise_app.metrics.signal import si_sdr

from .config import TrainConfig
from .dataset import DataError, audio_files, check_skipped

PERCEPTUAL = {"stoi": stoi, "pesq-wb": pesq_wb}


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
    def load(cls, config: TrainConfig, sample_rate: int, say: Callable[[str], None]) -> Validator:
        """`config.valid_pairs` pairs, spread evenly over the paths that both folders hold; bad files are named.

        Raises:
            DataError: no path stands in both folders, or too many files cannot be read.
        """
        assert config.valid_clean is not None and config.valid_noisy is not None
        clean, noisy = (_paths(tree) for tree in (config.valid_clean, config.valid_noisy))
        names = [name for name in noisy if name in clean]
        if not names:
            raise DataError(f"{config.valid_noisy} and {config.valid_clean} share no file name")
        pairs: list[tuple[Samples, Samples]] = []
        skipped: list[str] = []
        for k in np.unique(np.linspace(0, len(names) - 1, config.valid_pairs).astype(int)):
            try:
                x, y = (_mono(paths[names[k]], sample_rate) for paths in (noisy, clean))
            except AudioError as error:
                skipped.append(f"{names[k]}: {error}")
                say(f"  skipped the pair {skipped[-1]}")
            else:
                pairs.append((x[: len(y)], y[: len(x)]))
        check_skipped(config.valid_noisy, skipped, len(pairs) + len(skipped))
        return cls(tuple(pairs), sample_rate)

    def score(self, model: nn.Module) -> dict[str, float]:
        """Means of SI-SDR in dB, and of STOI and PESQ-WB over the pairs where they exist."""
        device = next(model.parameters()).device
        found: dict[str, list[float]] = {}
        for noisy, clean in self.pairs:
            with torch.inference_mode():
                estimate = model(torch.from_numpy(noisy)[None].to(device))[0].cpu()
            found.setdefault("si-sdr", []).append(float(si_sdr(estimate, torch.from_numpy(clean))))
            for name, metric in PERCEPTUAL.items():
                with suppress(MetricUnavailable):
                    found.setdefault(name, []).append(metric(clean, estimate.numpy(), self.sample_rate))
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    @staticmethod
    def rank(scores: dict[str, float]) -> float:
        """One number to choose the best state by, the one by which denoisers are chosen."""
        return quality({name.replace("-", "_"): score for name, score in scores.items()})


def _paths(tree: Path) -> dict[str, Path]:
    """Every audio file of a tree by its path in it."""
    return {str(path.relative_to(tree)): path for path in audio_files(tree)}


def _mono(path: Path, sample_rate: int) -> Samples:
    clip = read(path)
    return resample(mid(clip.samples), clip.sample_rate, sample_rate)[0]
