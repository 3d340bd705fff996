"""What computes waits for its turn and hands it on, figures too; and a client has so many minutes of sound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from denoise_app.inference.engine import Settings
from denoise_app.serve.errors import ServiceError
from denoise_app.serve.quota import Quota
from denoise_app.serve.turns import Turn
from denoise_app.ui.bench import work as bench
from denoise_app.ui.clean import work as clean
from denoise_app.ui.clean.work import Order, Result
from denoise_app.ui.compare import work as compare
from denoise_app.ui.parts.source import Source
from denoise_app.ui.worker.session import Session

Make = Callable[..., Path]


@pytest.fixture
def worker(make_worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that computes one thing at a time."""
    monkeypatch.setenv("DENOISE_JOBS", "1")
    return make_worker()


def denoised(worker: Any, session: Session, path: Path) -> Iterator[Any]:
    order = Order(session.adopt(path), worker.offers.recommended(), "each", Settings())
    return clean.denoise(worker, session, order, session.begin())


def compared(worker: Any, session: Session, path: Path) -> Iterator[Any]:
    return compare.compare(worker, session, session.adopt(path), worker.offers.made[:2], session.begin())


def clean_figures(worker: Any, session: Session, path: Path) -> Callable[[], Any]:
    *_, result = denoised(worker, session, path)
    return lambda: clean.look(worker, session, result)


def compare_figures(worker: Any, session: Session, path: Path) -> Callable[[], Any]:
    *_, result = compared(worker, session, path)
    return lambda: compare.look(worker, session, result)


def levels(worker: Any, session: Session, path: Path) -> Callable[[], Any]:
    session.recording = path
    source = Source.__new__(Source)
    source._site = SimpleNamespace(worker=worker)  # type: ignore[assignment]
    request: Any = SimpleNamespace(headers={"accept-language": "en"})
    return lambda: source.on_levels(str(path), session, request)


COMPUTING = pytest.mark.parametrize("prepare", [clean_figures, compare_figures, levels])


@contextmanager
def elsewhere(worker: Any) -> Iterator[None]:
    """Within it, another thread computes for another client."""
    taken, done = threading.Event(), threading.Event()

    def compute() -> None:
        with worker.at_work("other"):
            taken.set()
            assert done.wait(30)

    thread = threading.Thread(target=compute)
    thread.start()
    assert taken.wait(30)
    try:
        yield
    finally:
        done.set()
        thread.join()


@COMPUTING
def test_what_is_drawn_or_told_waits_for_its_turn(
    worker: Any, session: Session, recording: Make, prepare: Callable[..., Callable[[], Any]]
) -> None:
    call = prepare(worker, session, recording())
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    with elsewhere(worker):
        thread.start()
        for _ in range(3000):
            if worker.turns.waiting:
                break
            threading.Event().wait(0.01)
        assert worker.turns.waiting == 1 and not found
    thread.join(30)
    assert found and worker.turns.waiting == 0


@pytest.mark.slow
@COMPUTING
def test_what_is_drawn_or_told_hands_its_turn_on_between_blocks(
    worker: Any,
    session: Session,
    recording: Make,
    prepare: Callable[..., Callable[[], Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = prepare(worker, session, recording(seconds=60.0, rate=8_000))
    handed: list[str] = []
    monkeypatch.setattr(Turn, "hand_on", lambda turn, *_: handed.append(turn.client))
    call()
    assert len(handed) >= 2


def measured(worker: Any, session: Session, path: Path) -> Iterator[Any]:
    return bench.run(worker, session, bench.Mix(path, "white", 0, 5.0), tuple(worker.offers.made[:2]), session.begin())


def swept(worker: Any, session: Session, path: Path) -> Iterator[Any]:
    asked = bench.Mix(path, "white", 0, 5.0)
    return bench.sweep(worker, session, asked, tuple(worker.offers.made[:2]), (0.0, 5.0), session.begin())


@pytest.mark.slow
@pytest.mark.parametrize("work", [denoised, compared, measured, swept])
def test_whoever_has_too_much_sound_under_way_is_told_so_and_may_come_again(
    worker: Any, session: Session, recording: Make, work: Callable[..., Iterator[Any]]
) -> None:
    worker.quota = Quota(4)
    with worker.quota.taken("", 3.99 * 60), pytest.raises(ServiceError):
        list(work(worker, session, recording()))
    assert worker.quota.under_way() == 0
    result = list(work(worker, session, recording()))[-1]
    assert result is not None and worker.quota.under_way() == 0


def test_minutes_are_free_again_when_the_page_is_gone(worker: Any, session: Session, recording: Make) -> None:
    steps = denoised(worker, session, recording())
    assert isinstance(steps, Iterator)
    while not worker.quota.under_way():
        assert not isinstance(next(steps), Result)
    assert worker.quota.under_way() == pytest.approx(2)
    steps.close()  # type: ignore[attr-defined]
    assert worker.quota.under_way() == 0
