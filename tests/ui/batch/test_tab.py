"""The Batch tab's handlers, with a fake worker and no browser."""

from __future__ import annotations

import csv
import errno
import io
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import soundfile

from denoise_app.audio.errors import AudioError
from denoise_app.inference import batch as batches
from denoise_app.serve.limits import ServiceLimits
from denoise_app.serve.turns import Turns
from denoise_app.ui.batch import work
from denoise_app.ui.batch.tab import BatchTab, Visits
from denoise_app.ui.batch.work import Batch
from denoise_app.ui.parts.downloads import Bundle, Downloads, zipped
from denoise_app.ui.parts.site import Site
from denoise_app.ui.worker.session import Sessions

from .. import tab_page
from ..shown import text
from ..tab_page import TabPage, unserved

Make = Callable[..., Path]


class Page(TabPage):
    def __init__(
        self, worker: Any, sessions: Sessions, request: Any = tab_page.ENGLISH, limits: ServiceLimits | None = None
    ) -> None:
        with unserved() as blocks:
            self.downloads = Downloads()
            tab = BatchTab(Site(worker, sessions, self.downloads), blocks, limits or ServiceLimits(min_free=0))
        values: dict[Any, Any] = {
            tab.session: None, tab.files: [], tab.offer: "half/hybrid", tab.strength: 100, tab.format: "",
        }  # fmt: skip
        super().__init__(tab, values, request)

    def choose(self, *paths: Path) -> None:
        self.values[self.tab.files] = [str(path) for path in paths]

    def run(self) -> list[dict[Any, Any]]:
        self.order()
        return self.follow(self.tab.on_run(dict(self.values), self.request))

    @property
    def batch(self) -> Batch:
        found: Batch = self.session.result
        return found

    @property
    def rows(self) -> list[str]:
        """The table as it is read, a line a file."""
        table = str(self.values[self.tab.table])
        text(table)
        return [text(f"<tr>{line}</tr>") for line in re.findall(r"<tr>(.*?)</tr>", table)][1:]

    @property
    def bundle(self) -> Bundle:
        """What can be downloaded now."""
        token = re.findall(r'href="results/([^/]+)/', self.values[self.tab.downloads])[0]
        return self.downloads._offered[token][1]

    def play(self, number: Any) -> tuple[Any, Any]:
        event = SimpleNamespace(_data={"row": number})
        answer: tuple[Any, Any] = self.tab.on_play(self.values[self.tab.session], event, self.request)
        return answer


@pytest.fixture
def page(worker: Any, sessions: Sessions) -> Page:
    return Page(worker, sessions)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad.wav").write_text("no sound")
    return tmp_path / "bad.wav"


@pytest.mark.slow
def test_a_bad_file_is_a_row_and_stops_no_other(page: Page, recording: Make, bad: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    page.choose(recording("a.wav"), bad, recording("b.flac", channels=2), tmp_path / "notes.txt")
    page.run()
    assert page.ready and page.said == "" and page.values[page.tab.empty] == ""
    first, second, third = page.rows
    assert first.startswith("▶ Play a.wav a.wav Done 0:02.0") and "→" in first and "no notes" in first
    assert second.startswith("bad.wav Failed bad.wav is not a sound file")
    assert third.startswith("▶ Play b.flac b.flac Done")
    assert "2 done · 1 failed · 0 left" in text(page.values[page.tab.heading])
    assert "Left out, since they are no sound files: .txt 1." in text(page.values[page.tab.heading])


def test_without_its_list_a_batch_takes_what_is_recommended(page: Page, recording: Make) -> None:
    page.choose(recording("a.wav", seconds=1.0))
    page.values[page.tab.offer] = None
    page.run()
    assert "1 done · 0 failed" in text(page.values[page.tab.heading])
    assert page.tab._offers.loaded == [page.tab._offers.recommended().key]


def test_results_come_in_a_zip_with_a_table(page: Page, recording: Make, bad: Path) -> None:
    page.choose(recording("a.wav", seconds=1.0), bad, recording("=1.flac"))
    page.run()
    assert page.bundle.archive == "denoised.zip" and list(page.bundle.files) == ["a.wav", "=1.flac", "denoised.csv"]
    paths = {name: page.bundle.path(name) for name in page.bundle.files}
    data = b"".join(zipped({name: path for name, path in paths.items() if path}))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert soundfile.info(io.BytesIO(archive.read("a.wav"))).frames == 16_000
        rows = list(csv.DictReader(io.StringIO(archive.read("denoised.csv").decode("utf-8-sig"))))
    assert [row["outcome"] for row in rows] == ["done", "failed", "done"]
    assert rows[0]["seconds"] == "1.000" and float(rows[0]["snr_estimated_after_db"])
    assert "not a sound file" in rows[1]["error"] and rows[2]["file"] == "'=1.flac"


def test_a_zip_keeps_its_folders_and_what_is_refused_is_said(page: Page, recording: Make, tmp_path: Path) -> None:
    sound = recording("a.wav").read_bytes()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for name in ("x/a.wav", "y/a.wav", "../evil.wav", "inner.zip", "read.me"):
            made.writestr(name, sound)
    page.choose(tmp_path / "all.zip", tmp_path / "a.wav")
    page.run()
    assert [row.split(" 0:")[0].rsplit(" ", 1)[0] for row in page.rows if "Done" in row] == [
        f"▶ Play {name} {name}" for name in ("x/a.wav", "y/a.wav", "a.wav")
    ]
    assert sum("Failed" in row for row in page.rows) == 2
    assert "../evil.wav names a place outside the zip" in " ".join(page.rows)
    assert "inner.zip is an archive within the zip" in " ".join(page.rows)
    assert {"x/a.wav", "y/a.wav", "a.wav"} < set(page.bundle.files)
    assert not list(tmp_path.rglob("evil.wav"))


@pytest.mark.slow
def test_a_bad_zip_and_what_is_hidden_stop_no_other(page: Page, recording: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.wav", bytes(101 << 20))
    (tmp_path / "._a.wav").write_bytes(b"\0\5\x16\7")
    page.choose(tmp_path / "bad.zip", recording("a.wav"), tmp_path / "bomb.zip", tmp_path / "._a.wav")
    page.run()
    bad, good, bomb = page.rows
    assert bad.startswith("bad.zip Failed bad.zip is no zip file") and good.startswith("▶ Play a.wav a.wav Done")
    assert bomb.startswith("bomb.zip Failed bomb.zip would unpack to 101 MB")
    assert "Left out, since they are no sound files: hidden 1." in text(page.values[page.tab.heading])


@pytest.mark.parametrize("request_", [tab_page.ENGLISH, tab_page.CHINESE])
def test_too_many_are_refused_and_what_was_shown_stays(
    worker: Any, sessions: Sessions, recording: Make, request_: Any
) -> None:
    page = Page(worker, sessions, request_, ServiceLimits(max_batch=2, max_batch_bytes=140_000, min_free=0))
    page.choose(recording("a.wav"))
    page.run()
    before = page.batch
    page.choose(*(recording(f"{number}.wav", seconds=0.1) for number in range(3)))
    page.run()
    assert ("more than the 2 of one batch" in page.said) == (request_ is tab_page.ENGLISH) and "2" in page.said
    page.choose(recording("c.wav", seconds=3.0), recording("d.wav", seconds=3.0))
    page.run()
    assert page.batch is before and page.ready
    assert len(list(page.session.folder.iterdir())) == 1  # nothing is kept of what was refused


@pytest.mark.parametrize("files", [[], ["gone.wav"]])
def test_an_order_without_files_is_told(files: list[str], page: Page, tmp_path: Path) -> None:
    page.choose(*(tmp_path / name for name in files))
    page.run()
    assert ("no recordings yet" in page.said) != bool(files) and 'role="alert"' in page.said and page.ready


def test_no_sound_at_all_is_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    page.choose(tmp_path / "a.txt")
    page.run()
    assert "no sound file among" in page.said


def test_a_cancel_keeps_what_is_done_and_the_next_order_goes_on(page: Page, recording: Make, worker: Any) -> None:
    page.choose(*(recording(f"{number}.wav") for number in range(3)))
    page.order()
    steps = page.tab.on_run(dict(page.values), page.request)
    for step in steps:
        page.take(step)
        if page.session.result is not None and len(page.batch.done) == 1:
            break
    steps.close()
    page.take(page.tab.on_cancel({page.tab.session: page.session}, page.request))
    assert "Finished files are kept" in page.said and page.ready
    assert [row.split()[0] for row in page.rows] == ["▶", "1.wav", "2.wav"] and "Waiting" in page.rows[1]
    assert list(page.bundle.files) == ["0.wav", "denoised.csv"]
    done = dict(page.batch.done)
    page.run()
    assert len(page.batch.done) == 3 and page.batch.done[next(iter(done))] is next(iter(done.values()))
    assert len(list(page.batch.manifest.rows())) == 3


def test_other_settings_do_all_again(page: Page, recording: Make) -> None:
    page.choose(recording("a.wav"), recording("b.wav"))
    page.run()
    before = dict(page.batch.done)
    page.values[page.tab.format] = "flac"
    page.run()
    assert list(page.bundle.files) == ["a.flac", "b.flac", "denoised.csv"]
    assert not set(map(id, before.values())) & set(map(id, page.batch.done.values()))


def test_other_files_take_the_place_of_the_former(page: Page, recording: Make) -> None:
    page.choose(recording("a.wav"))
    page.run()
    former = page.batch.folder
    page.choose(recording("b.wav"))
    page.run()
    assert not former.exists() and "b.wav" in page.rows[0]


def test_a_reload_comes_back_to_the_batch(page: Page, recording: Make, sessions: Sessions) -> None:
    page.choose(recording("a.wav"), recording("b.wav"))
    page.run()
    token = page.values[page.tab.token]
    page.batch.done.pop(page.batch.items[1].target)  # as if the page had been left in between
    before, page.values[page.tab.session] = page.session, None
    page.take(page.tab.on_return(token, page.request))
    assert page.session is before and "Files left: 1." in text(page.said) and "Waiting" in page.rows[1]
    page.choose()  # the widget is empty after a reload
    page.run()
    assert "2 done" in text(page.values[page.tab.heading])
    page.tab._visits.leave(before)  # the page of before has gone
    assert page.batch.folder.exists()
    page.tab._visits.leave(before)
    assert not before.folder.exists()
    assert page.tab.on_return(token, page.request) == {page.tab.session: gr.skip()}


def test_a_token_of_nobody_brings_nothing(page: Page) -> None:
    for token in ("", "guess", None, 3, "x" * 10_000):
        assert page.tab.on_return(token, page.request) == {page.tab.session: gr.skip()}


def test_a_visit_without_a_token_is_closed_at_once(sessions: Sessions) -> None:
    visits, session = Visits(sessions), sessions.open()
    visits.leave(session)
    visits.leave(None)
    assert not session.folder.exists()


def test_a_row_can_be_played(page: Page, recording: Make, bad: Path) -> None:
    page.choose(recording("a.wav"), bad)
    page.run()
    told, value = page.play(0)
    assert "a.wav" in text(told)
    assert [version["key"] for version in value["versions"]] == ["before", "after"]
    for nothing in (1, 2, -1, "0", None, [0]):
        assert page.play(nothing) == (gr.skip(), gr.skip())


def test_a_full_disk_ends_it_in_a_sentence_and_keeps_what_is_done(
    page: Page, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.choose(*(recording(f"{number}.wav") for number in range(3)))
    real, calls = batches.engine.denoise_file, []

    def fills(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **options)

    monkeypatch.setattr(batches.engine, "denoise_file", fills)
    page.run()
    assert "The disk is full" in page.said and page.ready
    assert len(calls) == 2 and list(page.bundle.files) == ["0.wav", "denoised.csv"]


def test_between_two_files_others_have_their_turn(page: Page, recording: Make, worker: Any) -> None:
    """A batch holds the one place of the worker only while it computes, and hands it on between its files."""
    worker.turns = Turns(1)
    page.choose(*(recording(f"{number}.wav") for number in range(6)))
    page.order()
    done: list[int] = []

    def other() -> None:
        with worker.at_work("somebody else"):
            done.append(len(page.batch.done))

    thread = threading.Thread(target=other)
    for step in page.tab.on_run(dict(page.values), page.request):
        page.take(step)
        if page.session.result is not None and len(page.batch.done) == 1 and not thread.ident:
            thread.start()
    thread.join(30)
    assert done and done[0] < 6


def test_the_csv_of_an_unfinished_batch_says_so(page: Page, recording: Make) -> None:
    page.choose(recording("a.wav"), recording("b.wav"))
    page.run()
    page.batch.done.pop(page.batch.items[1].target)
    rows = list(csv.reader(io.StringIO(work.write_csv(page.batch).read_text("utf-8-sig"))))
    assert rows[2] == ["b.wav", "waiting", "", "", "", "", "", ""]


def test_uploads_are_counted_as_they_come(page: Page, recording: Make, tmp_path: Path) -> None:
    said = page.tab.on_files([str(recording("a.wav")), str(tmp_path / "gone")], page.request)
    assert text(said) == "2 uploaded, 0.1 MB."
    assert page.tab.on_files(None, page.request) == ""


def test_errors_are_told_in_the_readers_language(worker: Any, sessions: Sessions, bad: Path) -> None:
    page = Page(worker, sessions, tab_page.CHINESE)
    page.choose(bad)
    page.run()
    assert "失败" in page.rows[0] and "不是" in page.rows[0]
    (done,) = page.batch.done.values()
    assert isinstance(done.outcome.error, AudioError)
