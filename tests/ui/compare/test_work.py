"""Several denoisers over one recording: sounds, failures, gains, numbers, what is kept and what is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.denoiser import Denoiser
from denoise_app.inference.catalog import Entry
from denoise_app.inference.engine import Cancelled
from denoise_app.metrics.table import keys
from denoise_app.ui.compare import work as comparison
from denoise_app.ui.compare.work import Comparison, ComparisonError, compare, look, measure
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.session import Session, Sessions

Make = Callable[..., Path]


class Scaler:
    """Multiplies everything by a number."""

    sample_rate, latency, causal = 16_000, 160, False

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy * self.gain


@pytest.fixture
def worker(make_worker: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Denoisers "0.5", "0.25", ...: each multiplies by its name; "broken" fails, "missing" cannot be loaded."""
    made = make_worker()

    def denoiser(offer: Entry) -> Denoiser:
        if offer.model == "broken":
            raise RuntimeError("secret of /home/somebody")
        if offer.model == "missing":
            raise CheckpointError.of("no-such-model", model=offer.model, known="half")
        return Scaler(float(offer.model))

    def score(samples: np.ndarray, rate: int, keys: Iterable[str]) -> dict[str, Any]:
        made.scored.append(tuple(keys))
        found: dict[str, Any] = type(made).score(made, samples, rate, keys)
        return found

    made.scored = []
    monkeypatch.setattr(made.offers, "load", denoiser)
    monkeypatch.setattr(made, "score", score)
    return made


def offers(*models: str) -> list[Entry]:
    return [Entry(model, None, "classical", "built-in", 16_000, False, 160) for model in models]


def run(worker: Any, session: Session, path: Path, *models: str, **options: Any) -> list[Comparison]:
    steps = compare(worker, session, session.adopt(path), offers(*models), session.begin(), **options)
    return [step for step in steps if isinstance(step, Comparison)]


def files(session: Session) -> set[Path]:
    return {path for path in session.folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------------- sounds


def test_each_arrival_is_a_comparison_with_one_more_column(worker: Any, session: Session, recording: Make) -> None:
    path = recording("talk.flac", codec="PCM_24")
    arrivals = run(worker, session, path, "0.5", "0.25", "1")
    assert [[column.key for column in one.columns] for one in arrivals] == [
        ["0.5"],
        ["0.5", "0.25"],
        ["0.5", "0.25", "1"],
    ]
    assert session.result is arrivals[-1] and not arrivals[-1].is_cut
    noisy, _ = soundfile.read(path)
    for column, gain in zip(arrivals[-1].columns, (0.5, 0.25, 1), strict=True):
        sound, rate = soundfile.read(column.path)
        assert rate == 16_000 and column.path.suffix == ".wav" and column.computing > 0
        np.testing.assert_allclose(sound, gain * noisy, atol=1e-6)
        assert column.rendered is not None and column.rendered.removed is None
    assert files(session) == {arrivals[-1].path, *(column.path for column in arrivals[-1].columns)}


def test_everything_is_as_loud_as_the_softest_and_nothing_is_raised(
    worker: Any, session: Session, recording: Make
) -> None:
    (first, second) = run(worker, session, recording(), "0.5", "0.25")
    assert (first.gain_db, first.columns[0].gain_db) == (pytest.approx(-6.0, abs=0.1), 0.0)
    assert second.gain_db == pytest.approx(-12.0, abs=0.1)
    assert [column.gain_db for column in second.columns] == [pytest.approx(-6.0, abs=0.1), 0.0]


def test_a_column_that_is_nearly_silent_does_not_silence_the_others(
    worker: Any, session: Session, recording: Make
) -> None:
    *_, last = run(worker, session, recording(), "0.001", "0.5", "0")
    assert [column.gain_db for column in last.columns] == [0.0, 0.0, 0.0]
    assert last.gain_db == pytest.approx(-6.0, abs=0.1)


def test_steps_tell_which_column_is_loaded_and_run(worker: Any, session: Session, recording: Make) -> None:
    steps = list(compare(worker, session, session.adopt(recording()), offers("0.5", "1"), session.begin()))
    kinds = [step.stage if isinstance(step, Step) else len(step.columns) for step in steps]
    assert kinds[0] == "loading" and kinds.index(1) < kinds.index("loading", 1) < kinds.index(2)
    assert all(0 <= step.progress.fraction <= 1 for step in steps if isinstance(step, Step) and step.progress)


# ---------------------------------------------------------------------------------------------------------- bad input


def test_a_model_that_fails_is_a_column_with_its_error_and_the_others_go_on(
    worker: Any, session: Session, recording: Make
) -> None:
    *_, last = run(worker, session, recording(), "missing", "0.5", "broken", "1")
    assert [column.error is None for column in last.columns] == [False, True, False, True]
    assert isinstance(last.columns[0].error, CheckpointError)
    assert [column.key for column in last.ready] == ["0.5", "1"]
    assert files(session) == {last.path, *(column.path for column in last.ready)}


def test_where_nothing_comes_out_the_first_error_is_raised_and_nothing_is_left(
    worker: Any, session: Session, recording: Make
) -> None:
    with pytest.raises(CheckpointError):
        run(worker, session, recording(), "missing", "broken")
    assert session.result is None and files(session) == set()


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ((), "too-few-columns"),
        (("1",), "too-few-columns"),
        (("1", "1"), "same-column-twice"),
        (tuple(str(k) for k in range(7)), "too-many-columns"),
    ],
)
def test_too_few_too_many_or_twice_the_same_is_refused(
    worker: Any, session: Session, recording: Make, models: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ComparisonError) as raised:
        run(worker, session, recording(), *models)
    assert raised.value.reason == reason and files(session) == set()


def test_one_model_may_be_compared_over_sixteen_losses() -> None:
    losses = [replace(offers("gru")[0], loss=f"loss{k}") for k in range(17)]
    assert len(comparison.checked(losses[:16])) == 16
    with pytest.raises(ComparisonError, match="17 denoisers"):
        comparison.checked(losses)


def test_what_is_no_sound_is_told_and_what_was_shown_stays(
    worker: Any, session: Session, recording: Make, tmp_path: Path
) -> None:
    *_, shown = run(worker, session, recording(), "0.5", "1")
    before = files(session)
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(AudioError, match="not a sound file"):
        run(worker, session, tmp_path / "text.wav", "0.5", "1")
    assert session.result is shown and files(session) == before


def test_a_long_recording_is_cut_to_its_beginning(
    worker: Any, session: Session, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MOST_SECONDS", 1.5)
    path = recording(seconds=4.0, channels=2, rate=8_000)
    *_, last = run(worker, session, path, "0.5", "1")
    assert last.is_cut and last.whole_seconds == 4.0 and last.info.seconds == 1.5
    sound, _ = soundfile.read(last.columns[1].path)
    np.testing.assert_allclose(sound, soundfile.read(path)[0][:12_000], atol=1e-4)  # resampled and back
    assert len(files(session)) == 3  # the uncut recording is not kept


def test_silence_and_one_sample_are_compared(worker: Any, session: Session, tmp_path: Path) -> None:
    for name, sound in (("silence", np.zeros(16_000)), ("point", np.array([0.5]))):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16_000)
        *_, last = run(worker, session, tmp_path / f"{name}.wav", "0.5", "0.25")
        *_, measured = measure(worker, session, last)
        assert set(measured.columns[1].numbers) == set(keys("clean"))
        assert look(worker, session, measured).columns["0.5"].noise_db is None or name == "point"


# ---------------------------------------------------------------------------------------------------- cancel and again


def test_cancel_keeps_the_columns_that_are_done(worker: Any, session: Session, recording: Make) -> None:
    job = session.begin()
    steps = compare(worker, session, session.adopt(recording()), offers("0.5", "1", "0.25"), job)
    with pytest.raises(Cancelled):
        for step in steps:
            if isinstance(step, Comparison) and len(step.columns) == 2:
                job.stop()
    assert [column.key for column in session.result.ready] == ["0.5", "1"]
    assert files(session) == {session.result.path, *(column.path for column in session.result.ready)}


def test_cancel_before_the_first_column_leaves_what_was_shown(worker: Any, session: Session, recording: Make) -> None:
    *_, shown = run(worker, session, recording(), "0.5", "1")
    before = files(session)
    job = session.begin()
    with pytest.raises(Cancelled):
        for _ in compare(worker, session, session.adopt(recording("next.wav")), offers("0.5", "1"), job):
            job.stop()
    assert session.result is shown and files(session) == before


def test_another_comparison_takes_the_place_of_the_first_and_its_files(
    worker: Any, session: Session, recording: Make
) -> None:
    *_, first = run(worker, session, recording(), "0.5", "1")
    *_, second = run(worker, session, recording("next.wav"), "0.5", "1")
    assert session.result is second and not first.path.exists()
    assert files(session) == {second.path, *(column.path for column in second.columns)}


def test_six_users_at_once_get_their_own(worker: Any, sessions: Sessions, recording: Make) -> None:
    paths = [recording(f"user{k}.wav", seconds=1.0 + k / 10) for k in range(6)]
    visits = [sessions.open() for _ in paths]
    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(lambda k: run(worker, visits[k], paths[k], "0.5", "1", "missing")[-1], range(6)))
    for visit, path, end in zip(visits, paths, ends, strict=True):
        assert visit.result is end and end.path.name == path.name and len(end.ready) == 2
        np.testing.assert_allclose(soundfile.read(end.columns[0].path)[0], soundfile.read(path)[0] / 2, atol=4e-5)
        assert all(visit.folder in column.path.parents for column in end.ready)


# ------------------------------------------------------------------------------------------------------------ numbers


def test_quick_numbers_come_for_all_before_the_first_slow_one(worker: Any, session: Session, recording: Make) -> None:
    *_, last = run(worker, session, recording(), "0.5", "missing", "0.25")
    steps = list(measure(worker, session, last))
    known = [[len(column.numbers) for column in step.columns] for step in steps]
    assert known == [[3, 0, 0], [3, 0, 3], [6, 0, 3], [6, 0, 6]]
    floor = steps[-1].columns[2].numbers["noise_floor"]
    assert floor.before is not None and floor.after == pytest.approx(floor.before - 12.04, abs=0.05)
    assert session.result is steps[-1]
    assert len(worker.scored) == 6  # the noisy recording once for each group


def test_numbers_stop_where_another_comparison_is_shown(worker: Any, session: Session, recording: Make) -> None:
    *_, first = run(worker, session, recording(), "0.5", "1")
    steps = measure(worker, session, first)
    next(steps)
    session.show(replace(first, path=first.path.with_name("other.wav")))
    assert list(steps) == [] and session.result.columns[1].numbers == {}


def test_a_comparison_is_measured_when_every_column_that_came_out_has_all_numbers(
    worker: Any, session: Session, recording: Make
) -> None:
    *_, last = run(worker, session, recording(), "0.5", "missing", "0.25")
    assert [step.measured for step in measure(worker, session, last)] == [False, False, False, True]


# ------------------------------------------------------------------------------------------------------------ figures


def test_attenuations_are_those_of_the_denoiser(worker: Any, session: Session, recording: Make) -> None:
    *_, last = run(worker, session, recording(), "0.5", "1")
    view = look(worker, session, last)
    half, same = view.columns["0.5"], view.columns["1"]
    assert half.noise_db == pytest.approx(6.02, abs=0.05) and same.noise_db == pytest.approx(0, abs=0.01)
    assert half.change_db == pytest.approx(-6.0, abs=0.5)
    assert np.abs(same.removed.high).max() < 1e-4 < 0.05 < np.abs(half.removed.high).max()
    assert look(worker, session, last) is view  # read once


def test_figures_follow_the_columns_that_are_there(worker: Any, session: Session, recording: Make) -> None:
    first, second = run(worker, session, recording(), "0.5", "1")
    assert set(look(worker, session, first).columns) == {"0.5"}
    assert set(look(worker, session, second).columns) == {"0.5", "1"}
