"""The Batch tab in a browser: a drop of files, a reload in the middle, what can be played and downloaded."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import soundfile

from denoise_app.audio.clip import Clip

from .test_audit import findings
from .visit import Served, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ENDED = (
    "document.querySelector('#batch-table tr td') && !document.querySelector('#batch-table :is(.waiting, .running)')"
)


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory, speech: Clip) -> Path:
    """A folder: eight recordings, one that is none, a text."""
    folder = tmp_path_factory.mktemp("drop")
    for number in range(8):
        soundfile.write(folder / f"{number}.wav", speech.samples[0, :48_000], 16_000, "PCM_16")
    (folder / "bad.wav").write_text("no sound")
    (folder / "notes.txt").write_text("x")
    return folder


def opened(visit: Visit, served: Served) -> Any:
    visit.open(served.url)
    visit.page.get_by_role("tab", name="Batch").click()
    visit.page.wait_for_selector("#batch-start")
    return visit.page


def test_a_batch_outlives_a_reload(browser: Any, served: Served, drop: Path) -> None:
    visit = Visit(browser)
    page = opened(visit, served)
    page.locator("#batch-files input[type=file]").set_input_files([str(path) for path in sorted(drop.iterdir())])
    page.get_by_text("10 uploaded").wait_for()
    page.locator("#batch-start").click()
    page.wait_for_function("document.querySelectorAll('#batch-table .done').length > 0")
    page.reload()
    page.wait_for_selector("#denoise")
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_function("document.querySelectorAll('#batch-table .done').length > 0")
    page.locator("#batch-start").click()
    page.locator("#batch-heading").get_by_text("8 done · 1 failed · 0 left").wait_for()
    page.wait_for_function(ENDED)
    page.get_by_role("link", name="All results").wait_for()
    with zipfile.ZipFile(io.BytesIO(visit.download("All results"))) as archive:
        assert archive.namelist() == [*(f"{number}.wav" for number in range(8)), "denoised.csv"]
        assert soundfile.info(io.BytesIO(archive.read("7.wav"))).frames == 48_000
    assert visit.download("Table (CSV)").decode("utf-8-sig").count("\n") == 10
    page.get_by_role("button", name="Play 7.wav", exact=True).press("Enter")
    page.wait_for_function("document.querySelector('#batch-playing')?.innerText.includes('7.wav')")
    page.get_by_role("button", name="Play: After", exact=True).wait_for()
    assert findings(page) == []
    visit.close()


def test_a_folder_goes_in_at_once_on_a_phone(browser: Any, served: Served, drop: Path) -> None:
    visit = Visit(browser, viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = opened(visit, served)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a whole folder").click()
    chooser.value.set_files(str(drop))
    page.get_by_text("10 uploaded").wait_for()
    page.locator("#batch-start").click()
    page.wait_for_function(ENDED)
    page.get_by_role("link", name="All results").wait_for()
    visit.check_width("#batch")
    for part in ("#batch-controls", "#batch-outcome"):
        visit.check_names(part)
    assert "bad.wav is not a sound file" in page.locator("#batch-table").inner_text()
    assert findings(page) == []
    visit.close()


def dropped(page: Any, *paths: Path) -> None:
    """Files and folders let go over the field, as the browser itself hears of it from the desktop."""
    box = page.locator("#batch-files").bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


def test_a_folder_can_be_dropped_with_files_beside_it(
    browser: Any, served: Served, drop: Path, tmp_path: Path, speech: Clip
) -> None:
    deep = tmp_path / "folder" / "sub folder" / "deep"
    deep.mkdir(parents=True)
    for number in range(120):  # of which a browser tells a hundred at once
        (deep / f"{number}.txt").write_text("x")
    for path in (deep / "a.wav", deep.parent / "b.wav", deep.parents[1] / ".hidden.wav", tmp_path / "c.wav"):
        soundfile.write(path, speech.samples[0, :16_000], 16_000, "PCM_16")
    visit = Visit(browser)
    page = opened(visit, served)
    dropped(page, tmp_path / "folder", tmp_path / "c.wav")
    page.get_by_text("123 uploaded").wait_for()
    page.locator("#batch-start").click()
    page.wait_for_function(ENDED)
    page.get_by_role("link", name="All results").wait_for()
    assert "3 done · 0 failed · 0 left" in page.locator("#batch-heading").inner_text()
    assert ".txt 120" in page.locator("#batch-heading").inner_text()
    with zipfile.ZipFile(io.BytesIO(visit.download("All results"))) as archive:
        assert set(archive.namelist()) == {"a.wav", "b.wav", "c.wav", "denoised.csv"}
    visit.close()


def test_what_is_let_go_beside_the_field_is_not_opened(browser: Any, served: Served) -> None:
    visit = Visit(browser)
    page = opened(visit, served)
    stopped = page.evaluate(
        """() => ["Files", "text/plain"].map((kind) => {
            const data = new DataTransfer();
            if (kind === "Files") data.items.add(new File(["x"], "a.wav")); else data.setData(kind, "x");
            const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            document.querySelector("#batch-outcome").dispatchEvent(event);
            return event.defaultPrevented;
        })"""
    )
    assert stopped == [True, False]
    visit.close()


def test_files_alone_can_be_dropped_as_ever(browser: Any, served: Served, drop: Path) -> None:
    visit = Visit(browser)
    page = opened(visit, served)
    dropped(page, drop / "0.wav", drop / "1.wav")
    page.get_by_text("2 uploaded").wait_for()
    visit.close()
