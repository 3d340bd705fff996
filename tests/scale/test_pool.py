"""Processes side by side: killed, refused, interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import soundfile
from odd_work import LOUD, PLAIN, Deadly, Slow, Stillborn, folder, sound

from denoise_app.audio.errors import AudioError
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference import batch
from denoise_app.inference.engine import Settings
from denoise_app.scale import pool
from denoise_app.scale.errors import ScaleError
from denoise_app.scale.items import Item, plan
from denoise_app.scale.work import Work

PLAIN_WORK = dict(vars(PLAIN))


def reasons(outcomes: list[tuple[Item, batch.Outcome]]) -> dict[str, str | None]:
    """Name of the input -> why it failed."""
    return {Path(item.path).name: getattr(outcome.error, "reason", None) for item, outcome in outcomes}


def left(place: Path) -> list[Path]:
    """What scratch folders there are."""
    return list(place.rglob(f"{batch.SCRATCH}*"))


@pytest.mark.slow
def test_each_file_is_denoised_once_and_each_process_loads_once(tmp_path: Path) -> None:
    items = folder(tmp_path, 6).items
    work = Deadly(**PLAIN_WORK, place=str(tmp_path))
    found = list(pool.run(items, work, 2))
    assert reasons(found) == {f"{number:03}.wav": None for number in range(6)}
    assert len(list(tmp_path.glob("loaded-*"))) <= 2
    assert [outcome.output for _, outcome in sorted(found, key=lambda pair: pair[0].path)] == [
        tmp_path / "out" / f"{number:03}.wav" for number in range(6)
    ]
    assert soundfile.info(tmp_path / "out" / "005.wav").frames == 1600


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_killed_process_is_replaced_and_its_file_tried_again(tmp_path: Path) -> None:
    items = folder(tmp_path, 4, loud=1).items
    found = list(pool.run(items, Deadly(**PLAIN_WORK, place=str(tmp_path), times=1), 1))
    assert reasons(found) == {f"{number:03}.wav": None for number in range(4)}
    assert len(list(tmp_path.glob("loaded-*"))) == 2
    assert left(tmp_path) == []


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_file_that_kills_twice_is_reported_and_the_others_are_done(tmp_path: Path) -> None:
    items = folder(tmp_path, 4, loud=1).items
    found = list(pool.run(items, Deadly(**PLAIN_WORK, place=str(tmp_path), times=9), 2))
    assert reasons(found) == {"000.wav": None, "001.wav": "worker-lost", "002.wav": None, "003.wav": None}
    (error,) = [outcome.error for _, outcome in found if outcome.error]
    assert "001.wav" in str(error) and "signal 9" in str(error)
    assert len(list(tmp_path.glob("death-*"))) == pool.TRIES
    assert left(tmp_path) == []


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_processes_that_cannot_begin_end_the_batch(tmp_path: Path) -> None:
    with pytest.raises(ScaleError) as caught:
        list(pool.run(folder(tmp_path).items, Stillborn(**PLAIN_WORK), 1))
    assert caught.value.reason == "workers-fail" and "status 7" in str(caught.value)


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_denoiser_that_cannot_be_loaded_is_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        list(pool.run(folder(tmp_path).items, Work("nonesuch", None, None, Settings()), 1))
    assert caught.value.reason == "no-such-model"


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_bad_files_are_rows_like_others(tmp_path: Path) -> None:
    items = list(folder(tmp_path, 3).items)
    (tmp_path / "in" / "001.wav").unlink()  # vanished since it was planned
    (tmp_path / "in" / "002.wav").write_text("no sound")
    assert reasons(list(pool.run(items, PLAIN, 1))) == {"000.wav": None, "001.wav": "missing", "002.wav": "not-audio"}


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_no_input_is_written_onto(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    found = list(pool.run(plan([tmp_path / "a.wav"], tmp_path).items, PLAIN, 1))
    assert reasons(found) == {"a.wav": "onto-input"} and (tmp_path / "a.wav").read_bytes() == before


@pytest.mark.usefixtures("warm")
@pytest.mark.slow
def test_a_closed_batch_leaves_nothing_of_what_is_in_hand(tmp_path: Path) -> None:
    items = folder(tmp_path, 3, loud=1).items
    work = Slow(**PLAIN_WORK, place=str(tmp_path))
    with closing(pool.run(items, work, 1)) as found:
        item, _ = next(found)
        assert item.path.endswith("000.wav")

        def interrupted() -> None:
            while not (tmp_path / "begun").exists():
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupted, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            next(found)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000.wav"]


def test_how_far_a_file_is_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound(tmp_path / "in" / "long.wav", LOUD, 120.0)
    told: list[float] = []
    monkeypatch.setattr(pool, "TELL_SECONDS", 0.0)
    teller = pool._Teller(_Pipe(told))  # type: ignore[arg-type]
    (item,) = plan([tmp_path / "in"], tmp_path / "out").items
    batch.attempt(item.job, PLAIN.load(), Settings(), progress=teller)
    assert told == sorted(told) and len(told) > 1 and told[-1] == 1.0


class _Pipe:
    """Keeps what is sent."""

    def __init__(self, sent: list[float]) -> None:
        self.send = sent.append


def test_an_error_of_this_room_survives_a_process() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ScaleError.of("worker-lost", name="a.wav", status="signal 9")))
    assert isinstance(error, AudioError) and error.reason == "worker-lost" and "a.wav" in str(error)
