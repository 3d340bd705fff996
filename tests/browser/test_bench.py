"""The Bench tab in a real browser, with real denoisers: mixed, paired and swept sound, and a server that came back."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.audio.level import active_speech_level, rms, to_db
from denoise_app.metrics.report import score
from denoise_app.ui.bench import work

from . import visit as base
from .visit import Served

pytestmark = pytest.mark.browser

PLAYER = "document.querySelector('#bench-player .denoise-player').parentElement.denoisePlayer"
RATE = 16_000
IDLE = "!document.querySelector('#bench-cancel')?.checkVisibility()"


@pytest.fixture(scope="module")
def clean(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of speech."""
    path = tmp_path_factory.mktemp("clean") / "my speech.wav"
    soundfile.write(path, speech.samples[0, : 3 * RATE], RATE, "PCM_16")
    return path


class Visit(base.Visit):
    """The tab as somebody has it open."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        super().__init__(browser, **options)
        self.name = "测试台" if options.get("locale") == "zh-CN" else "Bench"
        self.open(url)

    def open(self, url: str) -> None:
        super().open(url)
        self.page.get_by_role("tab", name=self.name).click()
        self.page.wait_for_selector("#bench-denoisers .token")

    def upload(self, widget: str, path: Path) -> None:
        self.page.locator(f"#{widget} input[type=file]").set_input_files(path)
        self.page.wait_for_selector(
            f"#{widget} audio, #{widget} canvas, #{widget} .waveform-container", state="attached"
        )

    def run(self) -> None:
        """Presses the button and waits until every denoiser is done."""
        self.page.locator("#bench-run").click()
        self.page.wait_for_function("document.querySelectorAll('#bench-table thead th').length === 4")
        self.page.wait_for_function(IDLE)
        self.page.wait_for_function(f"{PLAYER}.state === 'ready'")

    def number(self, metric: str, column: int) -> float:
        """A number of the table; column 1 is the noisy side."""
        cell = self.page.locator("#bench-table tbody tr").filter(has_text=metric).locator("td").nth(column - 1)
        return float(re.search(r"[−\d.]+", cell.inner_text())[0].replace("−", "-"))  # type: ignore[index]


@pytest.fixture
def visit(browser: Any, served: Served) -> Iterator[Visit]:
    opened = Visit(browser, served.url)
    yield opened
    opened.close()


def test_what_is_mixed_is_heard_and_measured_exactly(visit: Visit, clean: Path) -> None:
    visit.upload("bench-clean", clean)
    snr = visit.page.get_by_label("number input for SNR (dB)")
    snr.fill("-2.5")
    snr.press("Enter")
    visit.run()
    facts = visit.page.locator("#bench-heading").inner_text()
    assert "Mixed at −2.5 dB" in facts and "my speech.wav + Pink" in facts and "ITU-T P.56" in facts
    speech, noisy, denoised = (visit.heard(PLAYER, version, 0, 3)[0] for version in ("clean", "noisy", "wiener"))
    level = to_db(rms(noisy - speech))
    assert active_speech_level(speech, RATE) - level == pytest.approx(-2.5, abs=0.01)
    for column, sound in ((1, noisy), (3, denoised)):
        told = score(sound, RATE, speech, ["si_sdr", "stoi"])
        assert visit.number("SI-SDR", column) == pytest.approx(told["si_sdr"], abs=0.06)
        assert visit.number("STOI", column) == pytest.approx(told["stoi"], abs=0.002)
    with zipfile.ZipFile(io.BytesIO(visit.download("All sounds and numbers (zip)"))) as archive:
        assert {"clean.wav", "noisy.wav", "wiener.wav", "scores.csv"} <= set(archive.namelist())
        assert b"si_sdr" in archive.read("scores.csv").splitlines()[0]
    assert "higher is better" in visit.page.locator("#bench-table").inner_text()
    visit.page.locator("#bench-player .timeline").focus()
    for key, version in {"1": "clean", "4": "wiener", "2": "noisy"}.items():
        visit.page.keyboard.press(key)
        visit.page.wait_for_function(f"{PLAYER}.version === '{version}'")


def test_a_pair_is_aligned_and_what_is_no_pair_is_told(visit: Visit, clean: Path, speech: Clip, tmp_path: Path) -> None:
    samples = speech.samples[0, : 3 * RATE]
    late = np.concatenate([np.zeros(2000, np.float32), samples])[: samples.size]
    late = late + 0.01 * np.random.default_rng(0).standard_normal(samples.size).astype(np.float32)
    soundfile.write(tmp_path / "noisy.wav", late, RATE)
    soundfile.write(tmp_path / "other.wav", speech.samples[0, -3 * RATE :], RATE)
    visit.page.get_by_label("Pair: the same speech, noisy and clean").check()
    visit.upload("bench-pair-noisy", tmp_path / "noisy.wav")
    visit.upload("bench-pair-clean", tmp_path / "other.wav")
    visit.page.locator("#bench-run").click()
    visit.page.wait_for_selector("#bench-said [role=alert]")
    assert "correlation is 0." in visit.page.locator("#bench-said").inner_text()
    visit.clear("bench-pair-clean")
    visit.upload("bench-pair-clean", clean)
    visit.run()
    facts = visit.page.locator("#bench-heading").inner_text()
    assert "Lag +2000 samples (+125.00 ms)" in facts and "the noisy recording starts later" in facts
    assert visit.page.locator("#bench-said [role=alert]").count() == 0
    assert visit.number("SI-SDR", 1) > 5
    assert not visit.page.locator("#bench-sweep-start").is_visible()  # recordings have one SNR


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Opened by the test: until then a sweep that has a point goes no further."""
    opened, real = threading.Event(), work.evaluation.sweep

    def sweep(made: Any, systems: Any, at: Any, measurements: Any, found: Any, report: Any, stopped: Any) -> Any:
        def report_and_wait(*progress: Any) -> None:
            report(*progress)
            while found.points and not opened.wait(0.2):
                report(*progress)  # again, for one that comes soon after another is not shown

        return real(made, systems, at, measurements, found, report_and_wait, stopped)

    monkeypatch.setattr(work.evaluation, "sweep", sweep)
    yield opened
    opened.set()


def test_a_sweep_grows_is_cancelled_and_goes_on_on_a_phone(
    browser: Any, served: Served, clean: Path, gate: threading.Event
) -> None:
    visit = Visit(
        browser, served.url, viewport={"width": 390, "height": 800}, color_scheme="dark", locale="zh-CN", has_touch=True
    )
    visit.upload("bench-clean", clean)
    visit.page.get_by_label("10 dB", exact=True).check()
    visit.page.locator("#bench-sweep-start").click()
    visit.page.wait_for_function("document.querySelectorAll('#bench-sweep-said tbody tr').length >= 1")
    slow = visit.context.new_cdp_session(visit.page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 6})  # as on a phone: reports come faster than it shows them
    visit.page.evaluate("document.querySelector('#bench-cancel').click()")  # it is drawn anew all the time
    visit.page.wait_for_selector("text=已取消")
    gate.set()
    visit.page.wait_for_function(IDLE)
    visit.page.wait_for_timeout(2000)  # for the reports of before
    assert "已取消" in visit.page.locator("#bench-said").inner_text()
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    kept = visit.page.locator("#bench-sweep-said tbody tr").count()
    assert 1 <= kept <= 10
    visit.page.locator("#bench-sweep-start").click()
    visit.page.wait_for_function("document.querySelectorAll('#bench-sweep-said tbody tr').length === 10")
    visit.page.wait_for_function(IDLE)
    data = "document.querySelector('#bench-plot .js-plotly-plot').data"
    visit.page.wait_for_function(f"document.querySelector('#bench-plot .js-plotly-plot') && {data}[0].x.length === 5")
    assert visit.page.evaluate(f"Array.from({data}[0].x)") == [-10, 0, 10, 20, 30]
    visit.page.locator("#bench-sweep-said summary").click()
    visit.check_width(scrolling="#js-plotly-tester, .scrolls")
    visit.run()
    visit.page.wait_for_function("document.querySelector('#bench-activity .js-plotly-plot')?.data.length === 8")
    visit.page.locator("#bench-activity-said summary").click()
    visit.check_width(scrolling="#js-plotly-tester, .scrolls")
    assert visit.page.locator("#bench-activity-said tbody tr").count() == 3  # the noisy side and two denoisers
    told = visit.page.locator("#bench-outcome").inner_text()
    assert re.findall(r"[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}", re.sub(r"\S+\.wav", "", told)) == []
    visit.close()


def test_every_widget_has_a_name_that_can_be_read_out(visit: Visit) -> None:
    visit.check_names("#bench")


def test_a_page_of_before_a_restart_says_so_and_then_works(
    browser: Any, served: Served, uploads: Path, clean: Path
) -> None:
    from playwright.sync_api import TimeoutError as Late

    visit = Visit(browser, served.url)
    visit.upload("bench-clean", clean)
    served.again()
    for path in uploads.rglob("*.wav"):
        path.unlink()
    visit.page.locator("#bench-run").click()
    visit.page.wait_for_selector("#bench-said [role=alert]")
    told = visit.page.locator("#bench-said").inner_text()
    assert "no longer" in told and "hoose" in told
    visit.clear("bench-clean")
    visit.upload("bench-clean", clean)
    visit.page.locator("#bench-run").click()
    try:
        visit.page.wait_for_selector("#bench-table thead", state="attached", timeout=20_000)
    except Late:  # "reload the page", it says: on a busy machine Gradio may not find back to the server by itself
        visit.open(served.url)
        visit.upload("bench-clean", clean)
    visit.run()
    visit.context.close()  # a page may complain of a server that was gone
