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
    page.wait_for_function(ENDED)
    page.get_by_role("link", name="All results").wait_for()
    assert "8 done · 1 failed · 0 left" in page.locator("#batch-heading").inner_text()
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
