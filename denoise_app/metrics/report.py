"""The table of metrics, and all of them at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import resample
from denoise_app.audio.level import LoudnessMeter

from . import blind, perceptual, signal
from .errors import MetricUnavailable

SPECTRAL_RATE = 16_000  # Hz, at which log-spectral distances are quoted
BLOCK = 1 << 20  # samples


@dataclass(frozen=True)
class Take:
    """One recording to be measured.

    Attributes:
        samples: (time,), full scale 1.
        sample_rate: Hz.
        clean: The same without noise, aligned, (time,); None where nobody has it.
    """

    samples: Samples
    sample_rate: int
    clean: Samples | None = None

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or (self.clean is not None and self.clean.shape != self.samples.shape):
            other = "" if self.clean is None else f" and {self.clean.shape}"
            raise ValueError(f"a metric takes (time,), and as much of the reference, not {self.samples.shape}{other}")

    @property
    def reference(self) -> Samples:
        if self.clean is None:
            raise ValueError("this metric needs the clean recording")
        return self.clean

    @cached_property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Itself and the reference, (time,) each."""
        return _tensor(self.samples), _tensor(self.reference)

    @cached_property
    def spectral_pair(self) -> tuple[Tensor, Tensor]:
        """Itself and the reference at SPECTRAL_RATE, (time,) each."""
        both = resample(np.stack([self.samples, self.reference]), self.sample_rate, SPECTRAL_RATE)
        return _tensor(both[0]), _tensor(both[1])

    @cached_property
    def dnsmos(self) -> blind.DnsMos:
        """Three scores from one run of the network."""
        return blind.dnsmos(self.samples, self.sample_rate)


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
        key: What programs call it.
        unit: "dB", "dBFS" (dB relative to full scale), "LUFS", "MOS" (mean opinion score), or "" for a plain number.
        better: Which way improvement lies.
        needs_reference: It compares with a clean recording.
        slow: It takes a tenth of a second or more for ten seconds of sound.
        compute: Its value; raises MetricUnavailable where it has none.
    """

    key: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    needs_reference: bool
    slow: bool
    compute: Callable[[Take], float]


def _listener(judge: Callable[[Samples, Samples, int], float]) -> Callable[[Take], float]:
    return lambda take: judge(take.reference, take.samples, take.sample_rate)


_TABLE = (
    Metric("snr", "dB", "higher", True, False, lambda take: float(signal.snr(*take.pair))),
    Metric("si_sdr", "dB", "higher", True, False, lambda take: float(signal.si_sdr(*take.pair))),
    Metric(
        "segmental_snr",
        "dB",
        "higher",
        True,
        False,
        lambda take: float(signal.segmental_snr(*take.pair, take.sample_rate)),
    ),
    Metric("pesq_wb", "MOS", "higher", True, True, _listener(perceptual.pesq_wb)),
    Metric("pesq_nb", "MOS", "higher", True, True, _listener(perceptual.pesq_nb)),
    Metric("stoi", "", "higher", True, True, _listener(perceptual.stoi)),
    Metric("estoi", "", "higher", True, True, _listener(perceptual.estoi)),
    Metric("lsd", "dB", "lower", True, False, lambda take: float(signal.log_spectral_distance(*take.spectral_pair))),
    Metric("mse", "", "lower", True, False, lambda take: float(signal.mse(*take.pair))),
    Metric(
        "snr_estimated", "dB", "higher", False, True, lambda take: blind.estimate_snr(take.samples, take.sample_rate)
    ),
    Metric("dnsmos_sig", "MOS", "higher", False, True, lambda take: take.dnsmos.sig),
    Metric("dnsmos_bak", "MOS", "higher", False, True, lambda take: take.dnsmos.bak),
    Metric("dnsmos_ovrl", "MOS", "higher", False, True, lambda take: take.dnsmos.ovrl),
    Metric(
        "noise_floor", "dBFS", "lower", False, False, lambda take: blind.noise_floor_db(take.samples, take.sample_rate)
    ),
    Metric(
        "speech_level",
        "dBFS",
        "neither",
        False,
        False,
        lambda take: blind.speech_level_db(take.samples, take.sample_rate),
    ),
    Metric("loudness", "LUFS", "neither", False, False, lambda take: _loudness(take)),
)
METRICS: dict[str, Metric] = {metric.key: metric for metric in _TABLE}
"""Every metric by its key, in the order in which they are shown."""


@dataclass(frozen=True)
class Measured:
    """A metric's value before and after denoising.

    Attributes:
        before, after: In the metric's unit; None where it could not be told.
        unavailable: Why not, where one of them is None.
    """

    before: float | None
    after: float | None
    unavailable: MetricUnavailable | None = None


def score(
    samples: Samples, sample_rate: int, clean: Samples | None = None, keys: Iterable[str] | None = None
) -> dict[str, float | MetricUnavailable]:
    """The metrics of one recording.

    Args:
        samples: (time,), full scale 1, at any rate; the metrics resample as they need.
        sample_rate: Hz.
        clean: The same without noise, (time,) and aligned.
        keys: Which metrics; all that can be told with or without a reference where None.

    Returns:
        Key -> value in the metric's unit, or the reason why there is none; in the order of METRICS.

    Raises:
        ValueError: shapes differ, a key is unknown, or one needs a reference and there is none.
    """
    take = Take(samples, sample_rate, clean)
    return {metric.key: _value(metric, take) for metric in chosen(keys, clean is not None)}


def measure(
    noisy: Samples,
    processed: Samples,
    sample_rate: int,
    clean: Samples | None = None,
    keys: Iterable[str] | None = None,
) -> dict[str, Measured]:
    """The metrics before and after denoising; `noisy` and `processed` are (time,), the rest is as in `score`."""
    keys = None if keys is None else tuple(keys)
    before = score(noisy, sample_rate, clean, keys)
    after = score(processed, sample_rate, clean, keys)
    return paired(before, after)


def paired(
    before: dict[str, float | MetricUnavailable], after: dict[str, float | MetricUnavailable]
) -> dict[str, Measured]:
    """What `score` said before and after denoising, by metric: so that what was before is measured once for many."""
    return {key: _measured(before[key], after[key]) for key in before}


def chosen(keys: Iterable[str] | None, with_reference: bool) -> list[Metric]:
    """The metrics of these keys in the order of METRICS; all that are possible where None.

    Raises:
        ValueError: a key is unknown, or needs a reference and there is none.
    """
    possible = [metric for metric in METRICS.values() if with_reference or not metric.needs_reference]
    if keys is None:
        return possible
    wanted = set(keys)
    unknown = wanted - METRICS.keys()
    impossible = wanted - unknown - {metric.key for metric in possible}
    if unknown or impossible:
        problem = (
            f"no metric is called {sorted(unknown)}" if unknown else f"{sorted(impossible)} need a clean recording"
        )
        raise ValueError(f"{problem}; there are {', '.join(metric.key for metric in possible)}")
    return [metric for metric in possible if metric.key in wanted]


def quality(scores: Mapping[str, float]) -> float:
    """One number to choose denoisers by, higher is better: PESQ-WB plus a tenth of the SI-SDR in dB.

    About what each is worth; training chooses its states by it, too. A score that is missing counts nothing.

    >>> quality({"pesq_wb": 1.5, "si_sdr": 10.0}), quality({"pesq_wb": 1.5}), quality({})
    (2.5, 1.5, 0.0)
    """
    return scores.get("pesq_wb", 0.0) + scores.get("si_sdr", 0.0) / 10


def _value(metric: Metric, take: Take) -> float | MetricUnavailable:
    try:
        return metric.compute(take)
    except MetricUnavailable as reason:
        return reason


def _measured(before: float | MetricUnavailable, after: float | MetricUnavailable) -> Measured:
    reasons = [value for value in (before, after) if isinstance(value, MetricUnavailable)]
    numbers = [None if isinstance(value, MetricUnavailable) else value for value in (before, after)]
    return Measured(numbers[0], numbers[1], reasons[0] if reasons else None)


def _tensor(samples: Samples) -> Tensor:
    return torch.tensor(samples)  # a copy: arrays that must not be written to would draw a warning


def _loudness(take: Take) -> float:
    """Loudness of the whole, with a block of it in memory."""
    meter = LoudnessMeter(1, take.sample_rate)
    for start in range(0, take.samples.size, BLOCK):
        meter.push(take.samples[None, start : start + BLOCK])
    value = meter.finish()
    if not math.isfinite(value):
        raise MetricUnavailable("silent", metric="Loudness")
    return value
