"""A batch as a whole: what stands is left out, what changed is done again, a full disk ends it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from odd_work import PLAIN, folder, sound

from denoise_app.audio.errors import AudioError
from denoise_app.inference import batch
from denoise_app.inference.engine import Settings
from denoise_app.scale import items, run
from denoise_app.scale.items import Item
from denoise_app.scale.manifest import Manifest
from denoise_app.scale.work import Work, scratch_of


def names(found: list[Item] | tuple[Item, ...]) -> list[str]:
    return [Path(item.path).name for item in found]


def todo(place: Path, manifest: Manifest, work: Work = PLAIN, resume: bool = True) -> list[str]:
    """What is left to do of a folder as it is now."""
    return names(run.divided(items.plan([place / "in"], place / "out").items, work, manifest, resume).todo)


@pytest.fixture
def done(tmp_path: Path) -> Manifest:
    """The manifest of a batch of three files, one of which is no sound."""
    planned = folder(tmp_path, 3)
    (tmp_path / "in" / "002.wav").write_text("no sound")
    manifest = Manifest(tmp_path / "m")
    list(run.run(items.plan([tmp_path / "in"], tmp_path / "out").items, PLAIN, run.here, manifest))
    assert len(planned.items) == 3
    return manifest


def test_only_what_failed_is_done_again(done: Manifest, tmp_path: Path) -> None:
    assert todo(tmp_path, done) == ["002.wav"]
    assert len(todo(tmp_path, done, resume=False)) == 3
    sound(tmp_path / "in" / "002.wav")
    list(run.run(items.plan([tmp_path / "in"], tmp_path / "out").items, PLAIN, run.here, done))
    assert todo(tmp_path, done) == []


def test_a_working_folder_is_no_difference(done: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = items.plan(["in"], "out").items
    assert names(run.divided(found, PLAIN, done, resume=True).todo) == ["002.wav"]


def test_a_changed_input_is_done_again(done: Manifest, tmp_path: Path) -> None:
    os.utime(tmp_path / "in" / "000.wav", ns=(1, 1))
    assert todo(tmp_path, done) == ["000.wav", "002.wav"]


def test_a_changed_or_missing_result_is_made_again(done: Manifest, tmp_path: Path) -> None:
    (tmp_path / "out" / "000.wav").unlink()
    with (tmp_path / "out" / "001.wav").open("ab") as file:
        file.write(b"x")
    assert todo(tmp_path, done) == ["000.wav", "001.wav", "002.wav"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"settings": Settings(strength=50)},
        {"model": "other"},
        {"loss": "mse"},
        {"weights": "0" * 64},
        {"channels": "mid"},
        {"track": 2},
        {"strict": True},
    ],
)
def test_other_settings_or_weights_do_all_again(change: dict[str, object], done: Manifest, tmp_path: Path) -> None:
    assert len(todo(tmp_path, done, replace(PLAIN, **change))) == 3  # type: ignore[arg-type]


def test_another_device_does_nothing_again(done: Manifest, tmp_path: Path) -> None:
    assert todo(tmp_path, done, replace(PLAIN, device="cuda")) == ["002.wav"]


def test_one_target_of_two_inputs_is_whose_it_was_last(tmp_path: Path) -> None:
    for name in ("x", "y"):
        sound(tmp_path / name / "b.wav")
    with Manifest(tmp_path / "m") as manifest:
        for name in ("x", "y"):
            planned = items.plan([tmp_path / name / "b.wav"], tmp_path / "out").items
            assert len(run.divided(planned, PLAIN, manifest, resume=True).todo) == 1
            list(run.run(planned, PLAIN, run.here, manifest))
        planned = items.plan([tmp_path / "x" / "b.wav"], tmp_path / "out").items
        assert len(run.divided(planned, PLAIN, manifest, resume=True).todo) == 1


def test_the_row_of_a_file_tells_what_became_of_it(done: Manifest, tmp_path: Path) -> None:
    good, _, bad = done.rows()
    assert (good.path, good.output) == (str(tmp_path / "in/000.wav"), str(tmp_path / "out/000.wav"))
    assert (good.outcome, good.seconds, good.settings) == ("done", 0.1, PLAIN.digest)
    assert bad.error is not None and bad.error["reason"] == "not-audio" and "002.wav" in bad.error["message"]


def test_a_full_disk_ends_the_batch_and_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = folder(tmp_path, 5).items
    real, calls = batch.engine.denoise_file, []

    def fills(*args: object, **options: object) -> object:
        calls.append(args)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batch.engine, "denoise_file", fills)
    with Manifest(tmp_path / "m") as manifest:
        found = list(run.run(planned, PLAIN, run.here, manifest))
        assert [getattr(outcome.error, "reason", None) for _, outcome in found] == [None, None, "disk-full"]
        monkeypatch.setattr(batch.engine, "denoise_file", real)
        assert len(todo(tmp_path, manifest)) == 3
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    planned = folder(tmp_path, 1).items
    own = tmp_path / "out" / f"{scratch_of(tmp_path / 'm')}12345678-abc"
    others = tmp_path / "out" / f"{scratch_of(tmp_path / 'other')}12345678-abc"
    for left in (own, others):
        left.mkdir(parents=True)
        (left / "000.wav").touch()
    with Manifest(tmp_path / "m") as manifest:
        list(run.run(planned, PLAIN, run.here, manifest))
    assert not own.exists() and others.exists()  # another run may be at work on those
    assert soundfile.info(tmp_path / "out" / "000.wav").frames == 1600


def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, 1)
    (tmp_path / "in" / "closed").mkdir()
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    planned = items.plan([tmp_path / "in"], tmp_path / "out").items
    monkeypatch.undo()
    with Manifest(tmp_path / "m") as manifest:
        errors = {Path(item.path).name: outcome.error for item, outcome in run.run(planned, PLAIN, run.here, manifest)}
        assert errors["000.wav"] is None and isinstance(errors["closed"], AudioError)
        assert {row.outcome for row in manifest.rows()} == {"done", "failed"}


def test_how_far_a_batch_is_follows_the_bytes(tmp_path: Path) -> None:
    sound(tmp_path / "in" / "a.wav", seconds=3.0)
    sound(tmp_path / "in" / "b.wav", seconds=1.0)
    long, short = items.plan([tmp_path / "in"], tmp_path / "out").items
    tally = run.Tally.of([long, short])
    tally.began = 100.0
    assert tally.seconds_left(110.0) is None
    tally.tell(long, 1 / 3)
    assert tally.fraction == pytest.approx(0.25, abs=0.001)
    assert tally.seconds_left(110.0) == pytest.approx(30.0, abs=0.2)
    tally.count(long, batch.Outcome(long.job, long.job.target, None, 3.0, 0.1))
    tally.count(short, batch.Outcome(short.job, None, AudioError.of("missing", name="b.wav"), 0.0, 0.1))
    assert (tally.fraction, tally.done, tally.failed, tally.seconds) == (1.0, 1, 1, 3.0)
    assert run.Tally(0, 0).fraction == 0.0
