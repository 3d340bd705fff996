"""Work in a thread: its steps, its result, its errors, its end."""

from __future__ import annotations

import threading

import pytest

from denoise_app.inference.engine import Cancelled, Progress
from denoise_app.ui.worker import background
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job
from denoise_app.ui.worker.worker import Worker


def step(fraction: float) -> Progress:
    return Progress("separate", fraction, None, None)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.0)


def test_steps_come_in_order_and_then_the_result() -> None:
    def work(report, stopped):  # type: ignore[no-untyped-def]
        for k in range(5):
            report(step(k / 5))
        return "done"

    running = Background(Worker(), work, Job())
    assert [progress.fraction for progress in running] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert running.result == "done"


def test_an_error_is_raised_to_whoever_follows() -> None:
    def work(report, stopped):  # type: ignore[no-untyped-def]
        report(step(0))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(Background(Worker(), work, Job()))


def test_a_stopped_job_is_seen_by_the_work() -> None:
    job = Job()

    def work(report, stopped):  # type: ignore[no-untyped-def]
        report(step(0))
        while not stopped():
            threading.Event().wait(0.001)
        raise Cancelled

    steps = iter(Background(Worker(), work, job))
    next(steps)
    job.stop()
    with pytest.raises(Cancelled):
        next(steps)


def test_work_that_nobody_follows_any_more_is_stopped() -> None:
    job, ended = Job(), threading.Event()

    def work(report, stopped):  # type: ignore[no-untyped-def]
        report(step(0))
        while not stopped():
            threading.Event().wait(0.001)
        ended.set()

    steps = iter(Background(Worker(), work, job))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert job.stopped and ended.wait(10)


def test_reports_that_come_faster_than_anybody_reads_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 60.0)

    def work(report, stopped):  # type: ignore[no-untyped-def]
        for k in range(100):
            report(step(k / 100))

    assert [progress.fraction for progress in Background(Worker(), work, Job())] == [0.0]
