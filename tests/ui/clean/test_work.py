"""One click as data: what comes when, what is kept, and what is left on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.inference.engine import Cancelled, Settings
from denoise_app.metrics.table import keys
from denoise_app.ui.clean import work as flow
from denoise_app.ui.clean.work import Order, Playable, Result
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.session import Session

FakeWorker = Any  # of conftest.py
Make = Callable[..., Path]


def order(worker: FakeWorker, session: Session, path: Path, **settings: object) -> Order:
    return Order(session.adopt(path), worker.offers.recommended(), "each", Settings(**settings))  # type: ignore[arg-type]


def run(worker: FakeWorker, session: Session, path: Path, **settings: object) -> list[Step | Result]:
    return list(flow.denoise(worker, session, order(worker, session, path, **settings), session.begin()))


def removed(result: Result) -> np.ndarray:
    return result.removed.read(0, result.info.frames).T


def samples(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def test_a_short_recording_becomes_a_result(worker: FakeWorker, session: Session, recording: Make) -> None:
    path = recording()
    *steps, result = run(worker, session, path)
    assert isinstance(result, Result) and session.result is result and not result.preview
    assert all(isinstance(step, Step) for step in steps) and steps[0] == Step("loading")
    np.testing.assert_allclose(samples(result.after), samples(path) / 2, atol=2 / 32768)
    np.testing.assert_allclose(samples(result.after) + removed(result), samples(path), atol=3 / 32768)
    assert result.copy_name("denoised") == "talk.denoised.wav" and result.copy_name("zip") == "talk.denoised.zip"


def test_a_long_recording_is_heard_in_part_first(worker: FakeWorker, session: Session, recording: Make) -> None:
    path = recording(seconds=31.0, rate=8_000, channels=2, codec="PCM_24")
    results = [step for step in run(worker, session, path) if isinstance(step, Result)]
    first, whole = results
    assert first.preview and first.info.seconds == 10.0
    assert not whole.preview and whole.info.seconds == 31.0
    assert worker.offers.loaded == ["half/hybrid"]  # once for both
    assert not first.after.exists() and not first.before.exists() and whole.after.exists()


def test_a_program_gets_no_preview(worker: FakeWorker, session: Session, recording: Make) -> None:
    asked = order(worker, session, recording(seconds=31.0, rate=8_000))
    steps = list(flow.denoise(worker, session, asked, session.begin(), preview=False))
    assert sum(isinstance(step, Result) for step in steps) == 1


def test_other_settings_do_not_run_the_denoiser_again(worker: FakeWorker, session: Session, recording: Make) -> None:
    path = recording()
    former = run(worker, session, path)[-1]
    assert isinstance(former, Result)
    *_, result = flow.render_again(worker, session, Settings(strength=50, container="flac"), session.begin())
    assert isinstance(result, Result) and worker.offers.loaded == ["half/hybrid"]
    assert result.separation is former.separation and result.after.suffix == ".flac"
    np.testing.assert_allclose(samples(result.after), 0.75 * samples(path), atol=3 / 32768)
    assert not former.after.exists() and result.before.exists()


def test_another_recording_leaves_nothing_of_the_former(worker: FakeWorker, session: Session, recording: Make) -> None:
    former = run(worker, session, recording("a.wav"))[-1]
    assert isinstance(former, Result) and former.separation.taken.exists() and former.separation.gains.exists()
    before = sorted(path.name for path in session.folder.rglob("*") if path.is_file())
    rooms = len(list(session.folder.iterdir()))
    run(worker, session, recording("b.wav"))
    after = sorted(path.name for path in session.folder.rglob("*") if path.is_file())
    assert len(after) == len(before) and "a.wav" not in after and "b.wav" in after
    assert len(list(session.folder.iterdir())) == rooms
    assert not any(path.exists() for path in (former.separation.taken, former.separation.gains, former.after))


def test_what_fails_leaves_the_shown_result_and_no_files(
    worker: FakeWorker, session: Session, recording: Make, tmp_path: Path
) -> None:
    shown = run(worker, session, recording())[-1]
    kept = sorted(path for path in session.folder.rglob("*") if path.is_file())
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(AudioError):
        run(worker, session, tmp_path / "text.wav")
    with pytest.raises(AudioError):
        list(flow.render_again(worker, session, Settings(container="xyz"), session.begin()))
    assert session.result is shown
    assert sorted(path for path in session.folder.rglob("*") if path.is_file()) == kept


def test_a_cancelled_run_leaves_nothing(worker: FakeWorker, session: Session, recording: Make) -> None:
    job = session.begin()
    steps = flow.denoise(worker, session, order(worker, session, recording(seconds=20.0)), job)
    next(steps)
    job.stop()
    with pytest.raises(Cancelled):
        list(steps)
    assert session.result is None
    assert [path for path in session.folder.rglob("*") if path.is_file()] == []


def test_the_preview_of_a_cancelled_run_can_still_be_heard(
    worker: FakeWorker, session: Session, recording: Make
) -> None:
    job = session.begin()
    path = recording(seconds=31.0, rate=8_000)
    with pytest.raises(Cancelled):
        for step in flow.denoise(worker, session, order(worker, session, path), job):
            if isinstance(step, Result):
                job.stop()
    assert session.result.preview and session.result.after.exists() and session.result.before.exists()


def test_a_long_recording_is_heard_before_its_file_is_written(
    worker: FakeWorker, session: Session, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a loudness is asked for: only then does its file wait for the denoiser's end."""
    monkeypatch.setattr("denoise_app.ui.worker.background.PAUSE", 0.0)
    path = recording(seconds=31.0, rate=16_000)
    early: list[np.ndarray] = []
    asked = order(worker, session, path, loudness_lufs=-30.0)
    for step in flow.denoise(worker, session, asked, session.begin()):
        if isinstance(step, Playable):
            assert session.result is not None and session.result.preview
            early.append(step.after.read(240_000, 16_000))
    result = session.result
    assert result is not None and not result.preview
    (heard,) = early
    gain = 10 ** (result.rendered.gain_db / 20)
    np.testing.assert_allclose(gain * heard.T, samples(result.after)[240_000:256_000], atol=2 / 32768)


def test_a_result_is_written_while_it_is_denoised(
    worker: FakeWorker, session: Session, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording is gone through once, and there is no time in which only its file is missing."""
    monkeypatch.setattr("denoise_app.ui.worker.background.PAUSE", 0.0)
    steps = run(worker, session, recording(seconds=31.0, rate=16_000))
    assert {step.stage for step in steps if isinstance(step, Step)} == {"loading", "preview", "separate"}
    assert not any(isinstance(step, Playable) for step in steps)


def test_the_beginning_of_a_long_recording_goes_where_its_preview_is_cancelled(
    worker: FakeWorker, session: Session, recording: Make
) -> None:
    job = session.begin()
    with pytest.raises(Cancelled):
        for step in flow.denoise(worker, session, order(worker, session, recording(seconds=31.0, rate=8_000)), job):
            if step == Step("preview"):
                job.stop()
    assert session.result is None and list(session.folder.iterdir()) == []


def test_versions_become_equally_loud_by_turning_the_louder_down(
    worker: FakeWorker, session: Session, recording: Make
) -> None:
    result = run(worker, session, recording(seconds=4.0))[-1]
    assert isinstance(result, Result)
    gains = result.gains_db()
    assert gains["before"] == pytest.approx(-6.02, abs=0.1)
    assert gains["after"] == 0.0 and gains["removed"] == pytest.approx(0.0, abs=0.1)


def test_silence_has_no_gain(worker: FakeWorker, session: Session, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    result = run(worker, session, tmp_path / "silence.wav")[-1]
    assert isinstance(result, Result) and set(result.gains_db().values()) == {0.0}


def test_numbers_come_in_groups(worker: FakeWorker, session: Session, recording: Make) -> None:
    result = run(worker, session, recording())[-1]
    assert isinstance(result, Result)
    quick, all_of_them = flow.measure(worker, session, result)
    assert set(quick.numbers.measured) == set(keys("clean", slow=False))
    assert set(all_of_them.numbers.measured) == set(keys("clean"))
    assert session.result is all_of_them
    floor = all_of_them.numbers.measured["noise_floor"]
    assert floor.before is not None and floor.after == pytest.approx(floor.before - 6.02, abs=0.1)


def test_numbers_of_an_overtaken_result_are_dropped(worker: FakeWorker, session: Session, recording: Make) -> None:
    result = run(worker, session, recording())[-1]
    assert isinstance(result, Result)
    numbers = flow.measure(worker, session, result)
    next(numbers)
    newer = run(worker, session, recording("other.wav"))[-1]
    assert list(numbers) == [] and session.result is newer


def test_the_figures_are_read_once(worker: FakeWorker, session: Session, recording: Make) -> None:
    result = run(worker, session, recording())[-1]
    assert isinstance(result, Result)
    looked = flow.look(worker, session, result)
    assert flow.look(worker, session, replace(result, preview=False)) is looked
    assert looked.change.overall_db == pytest.approx(-6.02, abs=0.2)


def test_a_loudness_target_is_left_out_of_the_figures(worker: FakeWorker, session: Session, recording: Make) -> None:
    result = run(worker, session, recording(), loudness_lufs=-12.0)[-1]
    assert isinstance(result, Result) and result.rendered.gain_db > 3
    assert flow.look(worker, session, result).change.overall_db == pytest.approx(-6.02, abs=0.3)


def test_lossy_results_of_another_length_are_still_compared(
    worker: FakeWorker, session: Session, recording: Make
) -> None:
    result = run(worker, session, recording(rate=44_100), container="mp3")[-1]
    assert isinstance(result, Result)
    assert flow.look(worker, session, result).change.overall_db == pytest.approx(-6.0, abs=0.7)
    *_, measured = flow.measure(worker, session, result)
    assert measured.numbers.measured["speech_level"].after is not None
