"""What is counted of a service, in Prometheus's terms: one prefix, base units, and no label whose values grow.

No file name, visit or address is a label, nor in any value.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

from denoise_app.version import __version__

logger = logging.getLogger(__name__)

PREFIX = "denoise"
OUTCOMES = ("done", "failed", "cancelled")
KINDS = ("page", "upload", "order", "sound", "health")  # of requests, see `kind_of`
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """All counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._watched: dict[str, Gauge] = {}
        ProcessCollector(namespace=PREFIX, registry=self._registry)
        self._info = Info("denoise_build", "The program's version.", registry=self._registry)
        self._info.info({"version": __version__})
        self._jobs = Counter(
            "denoise_jobs_total", "Orders that have ended, by outcome.", ["outcome"], registry=self._registry
        )
        self._job_seconds = Histogram(
            "denoise_job_seconds", "From the begin of an order to its end.", buckets=SECONDS, registry=self._registry
        )
        self._wait = Histogram(
            "denoise_wait_seconds", "What work waited for its first turn.", buckets=SECONDS, registry=self._registry
        )
        self._sound = Counter("denoise_sound_seconds_total", "Sound that was denoised.", registry=self._registry)
        self._refusals = Counter(
            "denoise_refusals_total", "What was not taken or was ended, by reason.", ["reason"], registry=self._registry
        )
        self._requests = Counter(
            "denoise_http_requests_total", "Requests, by kind and status.", ["kind", "status"], registry=self._registry
        )
        self._uploaded = Counter("denoise_upload_bytes_total", "Bytes of uploads taken.", registry=self._registry)
        self._live_chunks = Counter(
            "denoise_live_chunks_total", "Pieces of live sound that were answered.", registry=self._registry
        )
        self._live_late = Counter(
            "denoise_live_late_chunks_total", "... later than they last.", registry=self._registry
        )
        for outcome in OUTCOMES:  # so that a rate is known from the first one on
            self._jobs.labels(outcome)

    def watch(self, name: str, tells: str, read: Callable[[], float]) -> None:
        """Adds a gauge, "denoise_" and a name, that is read when somebody asks, or reads that of this name anew.

        Args:
            tells: What it tells, for people.
        """
        if name not in self._watched:
            self._watched[name] = Gauge(f"{PREFIX}_{name}", tells, registry=self._registry)
        self._watched[name].set_function(read)

    @contextmanager
    def job(
        self, sound_seconds: float, cancelled: tuple[type[BaseException], ...] = (GeneratorExit,)
    ) -> Iterator[None]:
        """Counts an order that is carried out within it.

        Args:
            sound_seconds: How much sound it is about.
            cancelled: What is raised where somebody does not want it any more.
        """
        began, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "done"
        except cancelled:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - began
            self._jobs.labels(outcome).inc()
            self._job_seconds.observe(seconds)
            if outcome == "done":
                self._sound.inc(sound_seconds)
            fields = {"outcome": outcome, "sound_seconds": round(sound_seconds, 3), "seconds": round(seconds, 3)}
            logger.info("job", extra=fields)

    def waited(self, seconds: float) -> None:
        """Work has come to its first turn after so long."""
        self._wait.observe(seconds)

    def refused(self, reason: str) -> None:
        """Something was not taken, or ended before its time; the reason is one of the program's own keys."""
        self._refusals.labels(reason).inc()
        logger.info("refused", extra={"reason": reason})

    def answered(self, path: str, status: int | None, seconds: float) -> None:
        """A request was answered; without a status whoever asked had gone."""
        kind = kind_of(path)
        self._requests.labels(kind, str(status or "gone")).inc()
        if kind != "health":
            logger.info("request", extra={"kind": kind, "status": status, "seconds": round(seconds, 3)})

    def uploaded(self, count: int) -> None:
        """An upload of so many bytes was taken."""
        self._uploaded.inc(count)

    def answered_live(self, late: bool) -> None:
        """A piece of live sound was answered; late where that took longer than it lasts."""
        self._live_chunks.inc()
        self._live_late.inc(late)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)


def kind_of(path: str) -> str:
    """The kind of a request, one of KINDS, by its path.

    >>> [kind_of(path) for path in ("/", "/gradio_api/upload", "/gradio_api/queue/join", "/player/samples", "/readyz")]
    ['page', 'upload', 'order', 'sound', 'health']
    """
    ends = (
        ("health", ("/livez", "/readyz", "/healthz", "/metrics")),
        ("upload", ("/gradio_api/upload",)),
        ("order", ("/queue/join",)),
        ("sound", ("/player/samples",)),
    )
    named = [kind for kind, paths in ends if path.rstrip("/").endswith(paths)]
    if not named and "/gradio_api/call/" in path:
        named = ["order"]
    return named[0] if named else "page"
