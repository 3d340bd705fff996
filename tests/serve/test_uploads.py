"""Uploads leave nothing behind, and are bounded together."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from denoise_app.serve.limits import FORM_BYTES, ServiceLimits
from denoise_app.serve.uploads import Uploads

LIMITS = ServiceLimits(max_upload=1000, max_disk=FORM_BYTES + 5000, min_free=100)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", LIMITS, (tmp_path / "visits",), lambda path: 10**9)


def test_an_upload_that_broke_off_leaves_nothing_and_one_that_came_stays(uploads: Uploads) -> None:
    with pytest.raises(ConnectionError), uploads.receiving(10):
        (Path(uploads) / "partial").write_bytes(b"half")
        raise ConnectionError
    assert list(uploads.root.iterdir()) == [] and uploads.arriving == 0
    with uploads.receiving(10) as keep:
        room = Path(uploads)
        (room / "whole").write_bytes(b"whole")
        keep()
    assert room.parent == uploads.root and (room / "whole").read_bytes() == b"whole"
    assert os.fspath(uploads) == str(uploads) == str(uploads.root)


def test_each_upload_has_a_room_of_its_own(uploads: Uploads) -> None:
    with uploads.receiving(1):
        first = Path(uploads)
    with uploads.receiving(1):
        assert Path(uploads) != first


@pytest.mark.parametrize(("size", "refusal"), [(1000, None), (1000 + FORM_BYTES + 1, "upload-too-large")])
def test_what_is_too_large_is_refused(uploads: Uploads, size: int, refusal: str | None) -> None:
    assert uploads.refusal(size) == refusal


def test_all_uploads_and_results_are_bounded_together(uploads: Uploads, tmp_path: Path) -> None:
    assert uploads.refusal(1000 + FORM_BYTES) is None
    (tmp_path / "visits").mkdir()
    (tmp_path / "visits" / "a.wav").write_bytes(bytes(3000))
    os.link(tmp_path / "visits" / "a.wav", uploads.root / "a.wav")  # the same bytes by another name
    assert uploads.held() == 3000 and uploads.refusal(1000 + FORM_BYTES) is None
    (uploads.root / "b.wav").write_bytes(bytes(1001))
    assert uploads.refusal(1000 + FORM_BYTES) == "disk-full"


def test_what_is_still_arriving_counts_as_there(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, LIMITS, free=lambda path: 1500)
    assert uploads.refusal(900) is None
    with uploads.receiving(900):
        assert uploads.refusal(900) == "disk-full" and uploads.refusal(400) is None
    assert uploads.refusal(900) is None


def test_a_sweep_takes_what_is_old_but_nothing_that_arrives(uploads: Uploads) -> None:
    (uploads.root / "left").mkdir()
    old = uploads.root / "left" / "voice.wav"
    old.write_bytes(b"1")
    came = old.stat().st_ctime
    uploads.sweep(60, now=came + 59)
    assert old.exists()
    with uploads.receiving(1):
        arriving = Path(uploads) / "slow"
        arriving.write_bytes(b"1")
        uploads.sweep(60, now=came + 1000)
        assert arriving.exists()
    assert list(uploads.root.iterdir()) == []


@pytest.mark.slow
def test_uploads_may_come_and_go_while_others_are_counted_and_swept(tmp_path: Path) -> None:
    uploads, ended, failed = Uploads(tmp_path, LIMITS, free=lambda path: 10**9), threading.Event(), []

    def come_and_go() -> None:
        while not ended.is_set():
            with ExitStack() as stack:
                for _ in range(20):
                    stack.enter_context(uploads.receiving(10))

    def look() -> None:
        try:
            for _ in range(100):
                uploads.refusal(10)
                uploads.sweep(1000)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for work in (come_and_go, come_and_go, look, look)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads[2:]:
            thread.join()
    finally:
        ended.set()
        sys.setswitchinterval(before)
    for thread in threads[:2]:
        thread.join()
    assert failed == []
