"""Votes that a host collects: what is in them, and that nothing that goes wrong reaches the user."""

from __future__ import annotations

import json
import logging
import secrets
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from denoise_app.checkpoints import hub
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.ui.parts import votes
from denoise_app.ui.parts.votes import Votes


def lines(count: int = 1, kind: str = "abx") -> list[dict[str, Any]]:
    """As many votes as a test has."""
    return [{"id": secrets.token_hex(8), "kind": kind} for _ in range(count)]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_without_the_hosts_wish_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset_pushes: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DENOISE_VOTES", raising=False)
    monkeypatch.setenv("DENOISE_VOTES_DATASET", "somebody/votes")  # of no file
    kept = Votes.from_environment()
    kept.collect(lines())
    assert not kept.collected and kept.dataset is None
    assert list(tmp_path.iterdir()) == [] and dataset_pushes == []


def test_votes_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DENOISE_VOTES", f" {tmp_path / 'votes' / 'votes.jsonl'} ")
    monkeypatch.delenv("DENOISE_VOTES_DATASET", raising=False)
    kept = Votes.from_environment()
    assert kept.collected and kept.path is not None and not kept.path.exists()
    kept.collect(lines())
    first = kept.path.read_bytes()
    kept.collect(lines(4, "preference"))
    kept.collect([])
    assert kept.path.read_bytes().startswith(first)
    assert [line["kind"] for line in read(kept.path)] == ["abx", *["preference"] * 4]


def test_many_at_once_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"

    def collect_often() -> None:
        kept = Votes(path)  # one each, as every process has one
        for _ in range(20):
            kept.collect(lines(9, "preference"))

    workers = [threading.Thread(target=collect_often) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read(path)
    assert len(found) == len({line["id"] for line in found}) == 4 * 20 * 9


class FullDisk:
    """A file on a disk with room for some more bytes; half of a line is written before it is noticed."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        if self.room == 0:
            raise OSError(28, "No space left on device")
        return int(self.file.write(data[: self.room]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 20])
def test_a_full_disk_costs_the_host_a_vote_and_the_user_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    path = tmp_path / "votes.jsonl"
    kept = Votes(path)
    kept.collect(lines())
    before = path.read_bytes()
    opened = Path.open

    def full(self: Path, *args: Any, **options: Any) -> Any:
        file = opened(self, *args, **options)
        return FullDisk(file, room) if self == path else file

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Path, "open", full)
        kept.collect(lines())
    assert path.read_bytes() == before
    assert "votes could not be written" in caplog.text
    kept.collect(lines())
    assert len(read(path)) == 2


def test_a_place_that_cannot_be_written_is_the_hosts_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "votes.jsonl"):
        Votes(path).collect(lines())
    assert caplog.text.count("votes could not be written") == 2


def test_who_waits_too_long_for_another_process_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(votes, "PATIENCE", 0.01)
    with votes.FileLock(f"{tmp_path / 'votes.jsonl'}.lock"):
        Votes(tmp_path / "votes.jsonl").collect(lines())
    assert "votes could not be written" in caplog.text and not (tmp_path / "votes.jsonl").exists()


# -------------------------------------------------------------------------------------------------------------- the Hub


@pytest.fixture
def dataset_pushes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the Hub's scheduler was asked for; it never asks the Hub."""
    asked: list[dict[str, Any]] = []

    class Scheduler:
        def __init__(self, **options: Any) -> None:
            asked.append(options)
            self.lock = threading.Lock()
            options["lock"] = self.lock

    monkeypatch.setattr(hub, "CommitScheduler", Scheduler)
    return asked


def wait_for_sending(kept: Votes) -> None:
    for thread in threading.enumerate():
        if thread.name == "votes":
            thread.join()


def test_votes_go_to_a_dataset_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset_pushes: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("DENOISE_VOTES", str(tmp_path / "votes.jsonl"))
    monkeypatch.setenv("DENOISE_VOTES_DATASET", "somebody/votes")
    starts = [Votes.from_environment() for _ in range(2)]
    for kept in starts:
        wait_for_sending(kept)
    first, second = dataset_pushes
    assert first["repo_id"] == "somebody/votes" and first["repo_type"] == "dataset" and first["private"] is True
    assert first["folder_path"] == tmp_path and first["allow_patterns"] == ["votes.jsonl"]  # not the lock beside it
    assert first["path_in_repo"] != second["path_in_repo"]  # no start writes over what another one sent
    kept = next(kept for kept in starts if kept._sending is first["lock"])
    with first["lock"]:
        writing = threading.Thread(target=kept.collect, args=(lines(),))
        writing.start()
        writing.join(0.2)
        assert not (tmp_path / "votes.jsonl").exists()  # while the file is being sent nothing is added
    writing.join()
    assert len(read(tmp_path / "votes.jsonl")) == 1


def test_a_hub_that_refuses_costs_no_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: Any) -> None:
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr(hub, "CommitScheduler", refuse)
    with pytest.raises(CheckpointError) as caught:
        hub.publish_regularly(tmp_path / "votes.jsonl", "somebody/votes")
    assert caught.value.reason == "hub-offline"
    kept = Votes(tmp_path / "votes.jsonl", "somebody/votes")
    wait_for_sending(kept)
    assert "are not sent to somebody/votes" in caplog.text and isinstance(kept._sending, nullcontext)
    kept.collect(lines())
    assert len(read(tmp_path / "votes.jsonl")) == 1
