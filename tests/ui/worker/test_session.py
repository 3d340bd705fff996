"""A visit's files are its own, and go with it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from denoise_app.ui.worker.session import Session, Sessions


def test_visits_have_folders_that_nobody_can_guess(sessions: Sessions) -> None:
    folders = [sessions.open().folder for _ in range(20)]
    assert len({folder.name for folder in folders}) == 20
    assert all(len(folder.name) >= 20 and folder.is_dir() for folder in folders)


def test_closing_a_visit_stops_its_work_and_deletes_only_its_files(tmp_path: Path) -> None:
    told: list[Path] = []
    sessions = Sessions(tmp_path / "visits", on_close=told.append)
    first, second = sessions.open(), sessions.open()
    job = first.begin()
    (first.room() / "a.wav").write_bytes(b"1")
    kept = second.room() / "b.wav"
    kept.write_bytes(b"2")
    sessions.close(first)
    assert job.stopped and not first.folder.exists() and kept.exists()
    assert told == [first.folder]
    sessions.close(first)  # Gradio may do so twice
    sessions.close(None)


def test_handlers_of_one_page_that_begin_at_once_open_one_visit(sessions: Sessions) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: sessions.open(("page", 1)), range(8)))
    assert all(session is opened[0] for session in opened)
    others = [sessions.open(("page", 2)), sessions.open(("other", 1)), sessions.open(), sessions.open()]
    assert len({id(session) for session in (opened[0], *others)}) == 5
    assert sessions.resume(others[0].folder.name, ("page", 1)) is None  # it has begun anew meanwhile
    again = sessions.resume(others[0].folder.name, ("page", 3))
    assert again is not None and again is sessions.open(("page", 3))
    sessions.close(opened[0])
    assert sessions.open(("page", 1)) is not opened[0]


def test_an_adopted_file_outlives_the_upload(session: Session, tmp_path: Path) -> None:
    uploaded = tmp_path / "my talk.wav"
    uploaded.write_bytes(b"sound")
    own = session.adopt(uploaded)
    uploaded.unlink()
    assert own.name == "my talk.wav" and own.read_bytes() == b"sound"


def test_a_file_of_another_disk_is_copied(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a.wav").write_bytes(b"sound")
    assert session.adopt(tmp_path / "a.wav").read_bytes() == b"sound"


def test_discarding_takes_the_whole_room_and_nothing_else(session: Session, tmp_path: Path) -> None:
    room, other = session.room(), session.room()
    (room / "after.wav").write_bytes(b"1")
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"2")
    session.discard(room / "after.wav")
    session.discard(outside)
    session.discard(session.folder)
    assert not room.exists() and other.exists() and outside.exists()


def test_a_new_job_stops_the_one_before(session: Session) -> None:
    assert not session.busy
    first = session.begin()
    assert session.busy
    second = session.begin()
    assert first.stopped and not second.stopped and session.busy
    second.end()
    assert not session.busy and not second.stopped


@dataclass(frozen=True)
class Sound:
    """A result: a recording and what became of it."""

    recording: Path
    after: Path
    numbers: int = 0

    @property
    def key(self) -> Path:
        return self.after

    @property
    def files(self) -> tuple[Path, ...]:
        return self.recording, self.after


def written(session: Session) -> Path:
    path = session.room() / "sound.wav"
    path.write_bytes(b"sound")
    return path


def test_what_is_shown_takes_the_place_of_the_former_and_of_what_only_that_needed(session: Session[Sound]) -> None:
    recording = written(session)
    first, second = (Sound(recording, written(session)) for _ in range(2))
    assert session.show(first) is None
    assert session.show(second) is first and session.result is second
    assert recording.exists() and second.after.exists() and not first.after.parent.exists()
    third = Sound(written(session), written(session))
    session.show(third)
    assert not recording.parent.exists() and third.recording.exists()


def test_what_was_found_out_reaches_what_is_shown_and_nothing_else(session: Session[Sound]) -> None:
    first, second = (Sound(written(session), written(session)) for _ in range(2))
    assert session.latest(first) is None
    session.show(first)
    assert session.update(first, lambda now: replace(now, numbers=now.numbers + 1)) == replace(first, numbers=1)
    assert session.update(first, lambda now: replace(now, numbers=now.numbers + 1)) == replace(first, numbers=2)
    assert session.latest(first) == session.result == replace(first, numbers=2)
    session.show(second)
    assert session.update(first, lambda now: replace(now, numbers=9)) is None
    assert session.latest(first) is None and session.result is second


def test_numbers_that_come_at_the_same_time_are_all_kept(session: Session[Sound]) -> None:
    shown = Sound(written(session), written(session))
    session.show(shown)

    def count(_: int) -> None:
        session.update(shown, lambda now: replace(now, numbers=now.numbers + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(400)))
    assert session.result is not None and session.result.numbers == 400


def test_what_failed_goes_and_what_is_shown_stays(session: Session[Sound]) -> None:
    shown = Sound(written(session), written(session))
    session.show(shown)
    failed = written(session)
    session.discard_unshown(shown.recording, failed, shown.after.parent)
    assert shown.recording.exists() and shown.after.exists() and not failed.parent.exists()
