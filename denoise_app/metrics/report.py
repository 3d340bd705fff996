"""All metrics at once: of one recording, or before and after denoising."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from denoise_app.audio.clip import Samples

from .errors import MetricUnavailable
from .table import METRICS, Metric, Take


@dataclass(frozen=True)
class Measured:
    """A metric's value before and after denoising.

    Attributes:
        before, after: In the metric's unit; None where there is none.
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
        keys: Which metrics; all that are possible, with or without a reference, where None.

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
    """The scores before and after denoising, by metric, so that many results share one measurement of the input."""
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
