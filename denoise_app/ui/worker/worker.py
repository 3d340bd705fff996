"""What all tabs compute with: the denoisers, and that the end of the program waits for work under way.

It knows no widgets; a test hands the tabs another one.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.evaluation.sweep import Measurements
from denoise_app.inference import engine
from denoise_app.metrics import blind, report
from denoise_app.metrics.errors import MetricUnavailable

from .offers import Offers

PATIENCE = 20.0  # s that the end of the program waits for the work that it has stopped


class Worker:
    """Does what the page asks for, with the models of this machine.

    Attributes:
        offers: The denoisers.
        measurements: What sweeps have measured for anybody, so that it is not measured again.
    """

    def __init__(self, offers: Offers | None = None) -> None:
        self.offers = offers or Offers()
        self.measurements = Measurements()
        self._computing = 0
        self._idle = threading.Condition()
        self._closing = threading.Event()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends what is under way and waits for it: Python must not go while a thread of its own computes in C++."""
        self._closing.set()
        with self._idle:
            self._idle.wait_for(lambda: self._computing == 0, PATIENCE)

    @property
    def closing(self) -> bool:
        """Whether the program ends, so that work under way must stop."""
        return self._closing.is_set()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What is computed within is waited for at the end of the program."""
        with self._idle:
            self._computing += 1
        try:
            yield
        finally:
            with self._idle:
                self._computing -= 1
                self._idle.notify_all()

    def score(self, samples: Samples, sample_rate: int, keys: Iterable[str]) -> dict[str, float | MetricUnavailable]:
        """Metrics of (time,) that need no clean recording: see `report.score`."""
        with self.at_work():
            return report.score(samples, sample_rate, None, keys)

    def warm_up(self) -> None:
        """Loads in the background what the first result would wait for."""
        blind.warm_up()
        threading.Thread(target=self._load_recommended, name="warm-up", daemon=True).start()

    def _load_recommended(self) -> None:
        with self.at_work():
            denoiser = self.offers.load(self.offers.recommended())
            engine.denoise(Clip(np.zeros((1, denoiser.sample_rate), np.float32), denoiser.sample_rate), denoiser)
