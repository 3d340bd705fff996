"""What all tabs compute with: the denoisers, and that the end of the program waits for work under way.

It knows no widgets; a test hands the tabs another one.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from denoise_app.audio.clip import Clip, Samples
from denoise_app.audio.errors import UserError
from denoise_app.audio.limits import positive
from denoise_app.evaluation.sweep import Measurements
from denoise_app.inference import engine
from denoise_app.inference.engine import Cancelled
from denoise_app.metrics import blind, report
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.serve.clients import CURRENT
from denoise_app.serve.errors import ServiceError
from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.metrics import Metrics
from denoise_app.serve.quota import Quota
from denoise_app.serve.turns import Place, Turn, Turns
from denoise_app.ui.texts import LANGUAGES

from .offers import Offers


class Closing(UserError):
    """The program ends before it was somebody's turn, or before what had begun was done."""

    sentences = {  # noqa: RUF012
        "closing": LANGUAGES["en"]["error.closing"],
        "closing-begun": LANGUAGES["en"]["error.closing-begun"],
    }


PATIENCE = 20.0  # s that the end of the program waits for the work that it has stopped


class Worker:
    """Does what the page asks for, with the models of this machine.

    Attributes:
        offers: The denoisers.
        measurements: What sweeps have measured for anybody, so that it is not measured again.
        turns: Who computes next.
        quota: How much sound each client may have under way.
        metrics: Counts what is done.

    Raises:
        AudioError: DENOISE_JOBS, or a limit, is not a positive whole number.
    """

    def __init__(self, offers: Offers | None = None) -> None:
        self.offers = offers or Offers()
        self.turns = Turns(jobs())
        self.quota = Quota(ServiceLimits.from_environment().max_minutes_each)
        self.measurements = Measurements()
        self.metrics = Metrics()
        self._watch()
        self._loading: list[threading.Thread] = []
        self._under_way = 0
        self._last = time.monotonic()
        self._idle = threading.Condition()
        self._ending = threading.Event()
        self._closing = threading.Event()
        atexit.register(self.close)

    def close(self) -> None:
        """Ends what is under way and waits for it: Python must not go while a thread of its own computes in C++."""
        self._closing.set()
        self.drain(PATIENCE)

    def drain(self, seconds: float) -> bool:
        """Waits at most so long for the work under way, for the program ends; returns whether all of it has ended."""
        self._ending.set()
        with self._idle:
            return self._idle.wait_for(lambda: self._under_way == 0, seconds)

    def rest(self, seconds: float) -> bool:
        """Lets go of what is quickly loaded again, where nothing was computed for so long; returns whether it was."""
        with self._idle:
            rested = self._under_way == 0 and time.monotonic() - self._last >= seconds
        if rested:
            blind.let_go()
        return rested

    @property
    def ending(self) -> bool:
        """Whether the program ends, so that nothing new is begun."""
        return self._ending.is_set()

    @property
    def closing(self) -> bool:
        """Whether the program ends, so that work under way must stop."""
        return self._closing.is_set()

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way or waits."""
        return self._under_way > 0

    @property
    def loading(self) -> bool:
        """Whether what the first result would wait for is still being loaded."""
        return any(thread.is_alive() for thread in self._loading)

    @property
    def state(self) -> Literal["loading", "ready", "draining"]:
        """Whether work is taken."""
        return "draining" if self.ending else "loading" if self.loading else "ready"

    @contextmanager
    def order(self, client: str, sound_seconds: float) -> Iterator[None]:
        """Within it an order of a client's is carried out, which is counted.

        Args:
            sound_seconds: How much sound it is about; what several denoisers make of it counts as often.

        Raises:
            ServiceError: The client has too much sound under way.
        """
        counted = self.metrics.job(sound_seconds, (Cancelled, Closing, GeneratorExit))
        try:
            with self.quota.taken(client, sound_seconds), self.busy(), counted:
                yield
        except ServiceError as error:
            self.metrics.refused(error.reason)
            raise

    @contextmanager
    def at_work(
        self,
        client: str | None = None,
        gone: Callable[[], bool] = lambda: False,
        on_wait: Callable[[Place], None] = lambda place: None,
    ) -> Iterator[Turn]:
        """Waits for a turn at computing; what is computed within is waited for at the end of the program.

        Args:
            client: For whom; by default for the one whose request is being answered.
            gone, on_wait: See `Turns.taken`.

        Raises:
            Gone: `gone` said so while it waited.
        """
        came = time.monotonic()
        with self.busy(), self.turns.taken(CURRENT.get() if client is None else client, gone, on_wait) as turn:
            self.metrics.waited(time.monotonic() - came)
            yield turn

    @contextmanager
    def busy(self) -> Iterator[None]:
        """What the end of the program waits for."""
        with self._idle:
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._last = time.monotonic()
                self._idle.notify_all()

    def score(self, samples: Samples, sample_rate: int, keys: Iterable[str]) -> dict[str, float | MetricUnavailable]:
        """Metrics of (time,) that need no clean recording: see `report.score`."""
        with self.at_work():
            return report.score(samples, sample_rate, None, keys)

    def warm_up(self) -> None:
        """Loads in the background what the first result would wait for."""
        model = threading.Thread(target=self._load_recommended, name="warm-up", daemon=True)
        model.start()
        self._loading = [blind.warm_up(), model]

    def _watch(self) -> None:
        """Lets the metrics tell how it stands."""
        watch = self.metrics.watch
        watch("ready", "1 where work is taken, 0 while loading or draining.", lambda: self.state == "ready")
        watch("queue_waiting", "Work that waits for its turn.", lambda: self.turns.waiting)
        watch("queue_running", "Work that computes now.", lambda: self.turns.held)
        watch("queue_places", "How much computes at once.", lambda: self.turns.places)
        watch("queue_sound_seconds", "Sound of all orders under way and waiting.", lambda: self.quota.under_way())

    def _load_recommended(self) -> None:
        with self.at_work():
            denoiser = self.offers.load(self.offers.recommended())
            engine.denoise(Clip(np.zeros((1, denoiser.sample_rate), np.float32), denoiser.sample_rate), denoiser)


def jobs() -> int:
    """How many recordings are denoised at once: DENOISE_JOBS, else half of the processors.

    Raises:
        AudioError: the variable is not a positive whole number.
    """
    if text := os.environ.get("DENOISE_JOBS", "").strip():
        return int(positive("DENOISE_JOBS", text, whole=True))
    return max(1, (os.cpu_count() or 1) // 2)
