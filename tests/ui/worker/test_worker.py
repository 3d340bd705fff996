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


def test_a_worker_that_rests_lets_go_of_what_is_quickly_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: list[bool] = []
    monkeypatch.setattr("denoise_app.metrics.blind.let_go", lambda: let_go.append(True))
    worker = Worker()
    assert not worker.rest(1000) and let_go == []
    with worker.at_work():
        assert not worker.rest(0) and let_go == []
    assert worker.rest(0) and let_go == [True]


def test_a_program_that_ends_waits_for_work_and_begins_none(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, go = Worker(), threading.Event()
    entered = threading.Event()

    def work() -> None:
        with worker.at_work():
            entered.set()
            go.wait(30)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert entered.wait(30) and not worker.ending
    assert not worker.drain(0.0) and worker.ending and not worker.closing
    go.set()
    assert worker.drain(30)
    thread.join(30)
