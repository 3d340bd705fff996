"""Progress of long work, and its cancellation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["separate", "measure", "render"]


class Cancelled(Exception):
    """The user cancelled; nothing of the work is left on the disk."""


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        stage: What is being done: running the denoiser (and writing the result, where that can be done on the way),
            measuring the loudness, or writing the result.
        fraction: Of the whole call, 0 to 1.
        seconds_left: Estimate for the whole call; None before anything is done.
        speed: Seconds of sound per second of this stage; None before anything is done.
    """

    stage: Stage
    fraction: float
    seconds_left: float | None
    speed: float | None


Report = Callable[[Progress], None]
Question = Callable[[], bool]
Step = Callable[[float], None]
"""Called with the seconds of sound that are done in a stage; raises Cancelled."""


class Watch:
    """Turns seconds of sound that are done into `Progress`, and asks at each of them whether to go on.

    Args:
        report: Called with a `Progress` at each step.
        cancelled: Asked between blocks; True stops the work.
    """

    def __init__(self, report: Report | None = None, cancelled: Question | None = None) -> None:
        self._report = report
        self._cancelled = cancelled
        self._started = time.perf_counter()

    def stage(self, stage: Stage, seconds: float, begin: float = 0.0, end: float = 1.0) -> Step:
        """A stage that treats `seconds` of sound and takes the whole from fraction `begin` to `end`."""
        started = time.perf_counter()

        def step(done: float) -> None:
            if self._cancelled and self._cancelled():
                raise Cancelled
            if self._report is None:
                return
            now = time.perf_counter()
            share = min(1.0, done / seconds) if seconds > 0 else 1.0
            fraction = begin + (end - begin) * share
            left = (now - self._started) * (1 - fraction) / fraction if fraction > 0 else None
            speed = done / (now - started) if done > 0 and now > started else None
            self._report(Progress(stage, fraction, left, speed))

        step(0.0)
        return step
