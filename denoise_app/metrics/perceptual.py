"""Perceptual metrics that need the clean recording: PESQ and STOI.

Signals are NumPy (time,) of equal lengths at any rate, full scale 1. Both measures were made for utterances of some
seconds: of a recording longer than 30 s, four windows of 30 s spread evenly over it are scored and averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import resample

from .errors import MetricUnavailable
from .excerpts import spread

__all__ = ["MetricUnavailable", "estoi", "pesq_nb", "pesq_torch", "pesq_wb", "stoi"]

RATE = 16_000  # Hz; PESQ knows this and 8 kHz, STOI goes on to 10 kHz by itself
EXCERPT_SECONDS = 30  # listeners rated sentences of some ten seconds, and time and memory should not grow
MOST_EXCERPTS = 4
SHORTEST = 0.4  # s: PESQ needs 0.25, STOI thirty frames of 12.8 ms
TOO_FEW_FRAMES = 1e-5  # what pystoi returns, to the bit, where fewer than thirty frames are loud enough

# pystoi warns of it, too; callers get an exception. Filters are the whole process's, so this one is set
# once and never changed around a call, where another thread would find or lose it.
warnings.filterwarnings("ignore", "Not enough STFT frames to compute intermediate intelligibility", RuntimeWarning)


def pesq_wb(clean: Samples, processed: Samples, sample_rate: int) -> float:
    """PESQ of wideband speech (ITU-T P.862.2) as a mean opinion score, about 1.0 to 4.64, higher is better.

    Level is not judged: the model brings both signals to the same one.

    Raises:
        MetricUnavailable: the package pesq is missing, a signal is silent or too short, or no speech is found.
        ValueError: unequal lengths.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> clean = buzz.astype(np.float32) / 10
    >>> noisy = clean + np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    >>> [round(pesq_wb(clean, x, 16000), 2) for x in (clean, 2 * clean, noisy)]
    [4.64, 4.64, 1.02]
    >>> pesq_wb(clean, 0 * clean, 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: PESQ-WB is about speech, and this sound is silent.
    """
    return _pesq(clean, processed, sample_rate, "wb", "PESQ-WB")


def pesq_nb(clean: Samples, processed: Samples, sample_rate: int) -> float:
    """PESQ of telephone speech (ITU-T P.862, mapped by P.862.1), about 1.0 to 4.55, higher is better.

    Otherwise as `pesq_wb`; 16 kHz go in, and the model evaluates 300 to 3400 Hz of it.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> clean = buzz.astype(np.float32) / 10
    >>> noisy = clean + np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    >>> [round(pesq_nb(clean, x, 16000), 2) for x in (clean, 2 * clean, noisy)]
    [4.55, 4.55, 1.02]
    >>> pesq_nb(clean, 0 * clean, 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: PESQ-NB is about speech, and this sound is silent.
    """
    return _pesq(clean, processed, sample_rate, "nb", "PESQ-NB")


def pesq_torch(clean: Samples, processed: Samples, sample_rate: int) -> float:
    """PESQ-WB by the package torch-pesq, which needs no compiler and stands in where pesq is not installed.

    It aligns levels but not times; on 60 files it was 0.02 away from the ITU's program in the mean, correlated by
    0.999. It is a number of its own and never passes for `pesq_wb`. Otherwise as there.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> clean = buzz.astype(np.float32) / 10
    >>> noisy = clean + np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    >>> [round(pesq_torch(clean, x, 16000), 2) for x in (clean, 2 * clean, noisy)]
    [4.64, 4.64, 1.02]
    >>> pesq_torch(clean, 0 * clean, 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: PESQ-WB (torch-pesq) is about speech, and this sound is silent.
    """
    metric = "PESQ-WB (torch-pesq)"
    listener = _torch_listener(metric)

    def score(reference: Samples, degraded: Samples) -> float:
        with torch.inference_mode():
            return float(listener.mos(torch.from_numpy(reference[None]), torch.from_numpy(degraded[None]))[0])

    return _mean_over_excerpts(score, clean, processed, sample_rate, metric)


@cache
def _torch_listener(metric: str) -> Any:
    try:
        from torch_pesq import PesqLoss
    except ImportError as error:
        raise MetricUnavailable("not-installed", metric=metric, package="torch-pesq") from error
    return PesqLoss(1.0, sample_rate=RATE)


def stoi(clean: Samples, processed: Samples, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), about 0 to 1, higher is better; level is not judged.

    Raises:
        MetricUnavailable: the package pystoi is missing, a signal is silent or has too little speech.
        ValueError: unequal lengths.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> clean = buzz.astype(np.float32) / 10
    >>> noisy = clean + np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    >>> [round(stoi(clean, x, 16000), 2) for x in (clean, 2 * clean, noisy)]
    [1.0, 1.0, 0.66]
    >>> stoi(clean, 0 * clean, 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: STOI is about speech, and this sound is silent.
    """
    return _stoi(clean, processed, sample_rate, extended=False)


def estoi(clean: Samples, processed: Samples, sample_rate: int) -> float:
    """Extended STOI (Jensen and Taal 2016), which also holds for noise that fluctuates; otherwise as `stoi`.

    >>> time = np.arange(16000) / 16000
    >>> buzz = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 12)) * np.sin(4 * np.pi * time).clip(0)
    >>> clean = buzz.astype(np.float32) / 10
    >>> noisy = clean + np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 20
    >>> [round(estoi(clean, x, 16000), 2) for x in (clean, 2 * clean, noisy)]
    [1.0, 1.0, 0.17]
    >>> estoi(clean, 0 * clean, 16000)
    Traceback (most recent call last):
    denoise_app.metrics.errors.MetricUnavailable: ESTOI is about speech, and this sound is silent.
    """
    return _stoi(clean, processed, sample_rate, extended=True)


def _pesq(clean: Samples, processed: Samples, sample_rate: int, mode: str, metric: str) -> float:
    try:
        from pesq import NoUtterancesError, pesq
    except ImportError as error:
        raise MetricUnavailable("not-installed", metric=metric, package="pesq") from error

    def score(reference: Samples, degraded: Samples) -> float:
        try:
            return float(pesq(RATE, reference, degraded, mode))
        except NoUtterancesError as error:
            raise MetricUnavailable("no-speech", metric=metric) from error

    return _mean_over_excerpts(score, clean, processed, sample_rate, metric)


def _stoi(clean: Samples, processed: Samples, sample_rate: int, extended: bool) -> float:
    metric = "ESTOI" if extended else "STOI"
    try:
        from pystoi import stoi as pystoi
    except ImportError as error:
        raise MetricUnavailable("not-installed", metric=metric, package="pystoi") from error

    def score(reference: Samples, degraded: Samples) -> float:
        value = float(pystoi(reference, degraded, RATE, extended=extended))
        if value == TOO_FEW_FRAMES:
            raise MetricUnavailable("too-short", metric=metric, seconds=SHORTEST)
        return value

    return _mean_over_excerpts(score, clean, processed, sample_rate, metric)


def _mean_over_excerpts(
    score: Callable[[Samples, Samples], float], clean: Samples, processed: Samples, sample_rate: int, metric: str
) -> float:
    """The mean of `score` over the excerpts in which it exists; the first reason why not where it exists in none."""
    if clean.shape != processed.shape:
        raise ValueError(f"{metric} compares signals of equal lengths, not {clean.shape} and {processed.shape}")
    scores: list[float] = []
    reasons: list[MetricUnavailable] = []
    for part in spread(clean.shape[0], EXCERPT_SECONDS * sample_rate, MOST_EXCERPTS):
        try:
            scores.append(score(*_pair(clean[part], processed[part], sample_rate, metric)))
        except MetricUnavailable as reason:
            reasons.append(reason)
    if not scores:
        raise reasons[0]
    return float(np.mean(scores))


def _pair(clean: Samples, processed: Samples, sample_rate: int, metric: str) -> tuple[Any, Any]:
    """Both at RATE; without a sample but zero there is nothing to align, and the C program divides by it."""
    if clean.shape[0] < SHORTEST * sample_rate:
        raise MetricUnavailable("too-short", metric=metric, seconds=SHORTEST)
    if not (np.any(clean) and np.any(processed)):
        raise MetricUnavailable("silent", metric=metric)
    both: npt.NDArray[np.float32] = np.stack([clean, processed])
    reference, degraded = resample(both, sample_rate, RATE)
    return reference, degraded
