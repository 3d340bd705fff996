"""Work under way, and the end of the program."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.ui.worker import worker as worker_module
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job
from denoise_app.ui.worker.worker import Worker


def test_the_end_of_the_program_stops_what_is_under_way_and_waits_for_it() -> None:
    worker, began = Worker(), threading.Event()
    ended: list[float] = []

    def work(report, stopped):  # type: ignore[no-untyped-def]
        began.set()
        while not stopped():
            time.sleep(0.001)
        time.sleep(0.05)
        ended.append(time.monotonic())

    following = threading.Thread(target=lambda: list(Background(worker, work, Job())))
    following.start()
    assert began.wait(10)
    worker.close()
    assert ended and ended[0] <= time.monotonic()
    following.join()


def test_what_does_not_end_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE", 0.05)
    worker = Worker()
    with worker.at_work():
        worker.close()
    assert worker.closing


def test_metrics_are_computed_or_say_why_not() -> None:
    found = Worker().score(np.zeros(16_000, np.float32), 16_000, ["noise_floor", "snr_estimated"])
    assert set(found) == {"noise_floor", "snr_estimated"}
    assert isinstance(found["noise_floor"], float) and isinstance(found["snr_estimated"], MetricUnavailable)
