"""Denoising one pair and scoring it against the clean speech, at one SNR or over many."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.files import read
from denoise_app.denoiser import Denoiser
from denoise_app.inference import engine
from denoise_app.inference.progress import Cancelled, Question, Report, Watch
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import score
from denoise_app.metrics.table import STAND_IN, Take, keys

from .pairs import HIGHEST_SNR, LOWEST_SNR, Ingredients, Pair, mix

MOST_CACHED = 4096  # measurements of three numbers each: a dozen full sweeps

Score = float | MetricUnavailable
Scores = Mapping[str, Score]


# ----------------------------------------------------------------------------------------------------------- measuring


def denoise(
    of: Pair, denoiser: Denoiser, out: Path, progress: Report | None = None, cancelled: Question | None = None
) -> Samples:
    """Runs a denoiser over the noisy side, as the engine does for files.

    Args:
        of: The pair whose noisy side is its input.
        denoiser: Ready to run.
        out: Where the result goes, as float wav.
        progress: Called with the progress, once a block.
        cancelled: Asked once a block whether to stop.

    Returns:
        (time,) float32.

    Raises:
        AudioError: the denoiser cannot treat it, or the disk is full.
        Cancelled: `cancelled` said so.
    """
    clip = Clip(of.noisy[np.newaxis], of.sample_rate)
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        separation = engine.separate(clip, denoiser, Path(work), progress=progress, cancelled=cancelled)
        engine.render(separation, engine.Settings(container="wav", bit_depth=32), out, cancelled=cancelled)
    return read(out).samples[0]


def scores(of: Pair, processed: Samples, wanted: Iterable[str] | None = None) -> dict[str, Score]:
    """Metrics of (time,) against the clean side, in the order of the table; by default those of the Bench.

    Where "pesq_wb" is asked for and the package pesq is not installed, torch-pesq's number comes in its place, by the
    key "pesq_torch": never under the other's name.
    """
    found: dict[str, Score] = {}
    for key, value in score(processed, of.sample_rate, of.clean, keys("bench") if wanted is None else wanted).items():
        if key == "pesq_wb" and isinstance(value, MetricUnavailable) and value.reason == "not-installed":
            key, value = STAND_IN.key, _stand_in(of, processed)
        found[key] = value
    return found


def _stand_in(of: Pair, processed: Samples) -> Score:
    try:
        return STAND_IN.compute(Take(processed, of.sample_rate, of.clean))
    except MetricUnavailable as reason:
        return reason


class Measurements:
    """A bounded cache of measurements by content, the newest of them; safe from any thread."""

    def __init__(self, most: int = MOST_CACHED) -> None:
        self._most = most
        self._known: OrderedDict[tuple[str, ...], Scores] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> Scores | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: tuple[str, ...], value: Scores) -> None:
        with self._lock:
            self._known[key] = value
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)


# ----------------------------------------------------------------------------------------------------------- the sweep


@dataclass(frozen=True)
class System:
    """A denoiser that takes part in a sweep.

    Attributes:
        name: What it is called.
        content: What makes it this one and no other: the digest of its weights, or the name of a classical one.
        load: Makes it ready to run.
    """

    name: str
    content: str
    load: Callable[[], Denoiser]


@dataclass(frozen=True)
class Point:
    """What one denoiser does at one SNR.

    Attributes:
        name: Of the system.
        snr_db: That was asked for.
        before, after: Metrics of the mixture and of the result.
    """

    name: str
    snr_db: float
    before: Scores
    after: Scores

    def improvement(self, key: str) -> float | None:
        """After minus before; None where one of them has no value."""
        before, after = self.before.get(key), self.after.get(key)
        return after - before if isinstance(before, float) and isinstance(after, float) else None


@dataclass
class Sweep:
    """What a sweep has found so far; it grows while it runs, and a cancelled one keeps what is done.

    Attributes:
        points: In the order in which they came: by SNR, then by system.
        failures: System's name -> why it takes part no more; the others go on.
    """

    points: list[Point] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)


def snrs(step: int = 5) -> tuple[float, ...]:
    """The SNRs of a sweep, a whole number of dB apart.

    >>> snrs(10)
    (-10.0, 0.0, 10.0, 20.0, 30.0)
    """
    return tuple(float(snr) for snr in range(round(LOWEST_SNR), round(HIGHEST_SNR) + 1, step))


def sweep(
    ingredients: Ingredients,
    systems: Sequence[System],
    at: Sequence[float],
    known: Measurements,
    into: Sweep,
    progress: Report | None = None,
    cancelled: Question | None = None,
) -> None:
    """Mixes at each SNR, runs each system, and takes the metrics of the summary before and after.

    Args:
        ingredients: Speech and noise.
        systems: Denoisers with different names.
        at: SNRs in dB.
        known: A cache of measurements, read before anything is computed and written after.
        into: Where points go as they come.
        progress: Called with the progress after each point.
        cancelled: Asked once a block whether to stop.

    Raises:
        BenchError: an SNR out of its range.
        Cancelled: `cancelled` said so.
    """
    wanted = keys("summary")
    seconds = ingredients.clean.size / ingredients.sample_rate
    step = Watch(progress, cancelled).stage("measure", seconds * len(at) * len(systems))
    done = 0
    for snr_db in at:
        mixture = mix(ingredients, snr_db)
        content = mixture.content
        before = _known_or(known, (content, "", *wanted), partial(scores, mixture, mixture.noisy, wanted))
        for system in systems:
            if system.name not in into.failures:
                key = (content, system.content, *wanted)
                try:
                    after = _known_or(known, key, partial(_measured, mixture, system, wanted, cancelled))
                    into.points.append(Point(system.name, snr_db, before, after))
                except Cancelled:
                    raise
                except Exception as error:
                    into.failures[system.name] = error
            done += 1
            step(seconds * done)


def _known_or(known: Measurements, key: tuple[str, ...], measure: Callable[[], Scores]) -> Scores:
    found = known.get(key)
    if found is None:
        found = measure()
        known.put(key, found)
    return found


def _measured(mixture: Pair, system: System, wanted: Sequence[str], cancelled: Question | None) -> Scores:
    with tempfile.TemporaryDirectory(prefix="denoise-") as folder:
        processed = denoise(mixture, system.load(), Path(folder) / "out.wav", cancelled=cancelled)
    return scores(mixture, processed, wanted)
