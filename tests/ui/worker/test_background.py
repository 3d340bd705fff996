"""Work in a thread: its steps, its result, its errors, its end."""

from __future__ import annotations

import threading

import pytest

from denoise_app.inference.engine import Cancelled, Progress
from denoise_app.serve.clients import CURRENT
from denoise_app.serve.turns import Place
from denoise_app.ui.worker import background
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.session import Job
from denoise_app.ui.worker.worker import Closing, Worker


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


@pytest.mark.parametrize(("by_visitor", "kind"), [(True, Cancelled), (False, Closing)])
def test_whoever_is_cut_off_by_the_end_of_the_program_has_not_cancelled(by_visitor: bool, kind: type) -> None:
    worker, job = Worker(), Job()

    def work(report, stopped):  # type: ignore[no-untyped-def]
        report(step(0))
        while not stopped():
            threading.Event().wait(0.001)
        raise Cancelled

    steps = iter(Background(worker, work, job))
    next(steps)
    if by_visitor:
        job.stop()
    worker.close()
    with pytest.raises(kind) as caught:
        list(steps)
    assert getattr(caught.value, "reason", "closing-begun") == "closing-begun"


def test_reports_that_come_faster_than_anybody_reads_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 60.0)

    def work(report, stopped):  # type: ignore[no-untyped-def]
        for k in range(100):
            report(step(k / 100))

    assert [progress.fraction for progress in Background(Worker(), work, Job())] == [0.0]


def test_short_work_gets_its_turn_between_the_blocks_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_JOBS", "1")
    worker, order, came = Worker(), [], threading.Event()
    CURRENT.set("short")
    short_job = Job()
    CURRENT.set("long")
    places: list[Place] = []

    def long(report, stopped):  # type: ignore[no-untyped-def]
        came.set()
        while worker.turns.waiting == 0:
            threading.Event().wait(0.001)
        for _ in range(3):
            assert not stopped()
            order.append("long")

    def short(report, stopped):  # type: ignore[no-untyped-def]
        order.append("short")

    def follow() -> None:
        assert came.wait(30)
        places.extend(told for told in Background(worker, short, short_job) if isinstance(told, Place))

    other = threading.Thread(target=follow)
    other.start()
    assert list(Background(worker, long, Job())) == []
    other.join(30)
    assert order == ["short", "long", "long", "long"]
    assert places and places[0].ahead == 0


def test_who_is_stopped_before_its_turn_is_cancelled_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_JOBS", "1")
    worker, job, done = Worker(), Job(), []
    with worker.at_work("somebody"):
        waiting = iter(Background(worker, lambda report, stopped: done.append(1), job))
        assert isinstance(next(waiting), Place)
        job.stop()
        with pytest.raises(Cancelled):
            list(waiting)
    assert done == [] and worker.turns.waiting == 0
