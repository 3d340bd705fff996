"""A visit's files are its own, and go with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from denoise_app.ui.worker.session import PREFIX, Session, Sessions, sweep


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


def test_only_what_was_left_long_ago_is_swept_away(tmp_path: Path) -> None:
    for name, age in ((f"{PREFIX}old", 1000), (f"{PREFIX}new", 9000), ("somebody-elses", 1000)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    sweep(tmp_path, before=5000)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}new", "somebody-elses"}
