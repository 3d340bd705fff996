"""The page in a real browser, with real denoisers: the main job from recording to download."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.ui import app as page

from . import visit as base
from .visit import PATIENCE, Served, in_pink_noise

pytestmark = pytest.mark.browser

PLAYER = "document.querySelector('#player .denoise-player').parentElement.denoisePlayer"
RATE = 48_000


class Visit(base.Visit):
    """The Clean tab as somebody has it open."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        super().__init__(browser, **options)
        self.hosts: set[str] = set()
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.open(url)
        self.page.wait_for_function("document.querySelector('#model input')?.value")

    def upload(self, path: Path) -> None:
        if self.page.locator("#recording").get_by_label("Clear").count():
            self.clear("recording")
        self.page.locator("#recording input[type=file]").set_input_files(path)

    def wait_for_facts(self) -> str:
        self.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
        return str(self.page.locator("#facts").inner_text())

    def denoise(self, of: str) -> None:
        """Presses the button and waits until the result of a file of this name can be heard."""
        self.page.locator("#denoise").click()
        self.wait_for_result(of)

    def wait_for_result(self, of: str) -> None:
        self.page.wait_for_function(
            "name => document.querySelector('.result-heading')?.innerText.includes(name)", arg=of
        )
        self.page.wait_for_function(f"{PLAYER}.state === 'ready'")


@pytest.fixture
def visit(browser: Any, served: Served) -> Iterator[Visit]:
    opened = Visit(browser, served.url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def talk(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of speech in pink noise at 5 dB, in stereo, 48 kHz and 24 bits."""
    noisy = in_pink_noise(speech, 8, RATE)
    path = tmp_path_factory.mktemp("talk") / "my talk.wav"
    soundfile.write(path, np.stack([noisy, 0.7 * noisy], axis=1), RATE, "PCM_24")
    return path


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def read(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T


# ------------------------------------------------------------------------------------------ the main job


def test_a_noisy_file_is_denoised_heard_and_downloaded(visit: Visit, talk: Path) -> None:
    visit.upload(talk)
    facts = visit.wait_for_facts()
    assert "48 kHz" in facts and "stereo" in facts and "24-bit" in facts
    visit.denoise("my talk.wav")
    assert "48 kHz · stereo · 24-bit" in visit.page.locator("#fidelity").inner_text()
    assert visit.page.evaluate(f"[{PLAYER}.playing, {PLAYER}.version]") == [False, "after"]  # never by itself

    after, removed = read(visit.download("Denoised sound")), read(visit.download("What was removed"))
    before = soundfile.read(talk, dtype="float32", always_2d=True)[0].T
    assert after.shape == before.shape
    np.testing.assert_allclose(after + removed, before, atol=1e-6)
    assert decibels(after) < decibels(before) - 0.5  # something was taken away
    for version, file in {"before": before, "after": after, "removed": removed}.items():
        part = file[:, 3 * RATE : 8 * RATE]
        heard = visit.heard(PLAYER, version, 3.0, 5.0)
        assert decibels(heard) == pytest.approx(decibels(part), abs=0.1)
        np.testing.assert_allclose(heard[:, RATE:-RATE], part[:, RATE:-RATE], atol=1e-6)

    visit.page.wait_for_selector("text=All in one zip", timeout=2 * PATIENCE)
    report = json.loads(visit.download("Report (JSON)"))
    assert report["name"] == "my talk.wav" and report["metrics"]["dnsmos_ovrl"]["after"] is not None
    with zipfile.ZipFile(io.BytesIO(visit.download("All in one zip"))) as archive:
        assert sorted(archive.namelist()) == [
            "my talk.denoised.wav",
            "my talk.plots.html",
            "my talk.removed.wav",
            "my talk.report.json",
        ]
        np.testing.assert_array_equal(read(archive.read("my talk.denoised.wav")), after)


def test_numbers_figures_and_their_words_arrive(visit: Visit, talk: Path) -> None:
    visit.upload(talk)
    visit.wait_for_facts()
    visit.denoise("my talk.wav")
    visit.page.wait_for_selector("#plot .js-plotly-plot .heatmaplayer image", state="attached")
    assert "the level fell by" in visit.page.locator(".figure-said").inner_text()
    cards = visit.page.locator("#cards")
    assert "SNR (estimated)" in cards.inner_text() and "SNR (true)" not in cards.inner_text()
    cards.get_by_text("Real-time factor").click()
    assert "Processing time per second" in cards.inner_text()
    visit.page.get_by_role("link", name="Report (JSON)").wait_for()
    assert "Processing time per second" in cards.inner_text()  # though numbers that arrive replace what is open
    cards.get_by_text("Real-time factor").click()
    assert "Processing time per second" not in cards.inner_text()
    cards.get_by_text("SNR (estimated)").click()
    assert "Without a clean reference" in cards.inner_text()
    visit.page.get_by_text("Logarithmic").click()
    visit.page.wait_for_function("document.querySelector('#plot .js-plotly-plot')?._fullLayout.yaxis.type !== 'linear'")


def test_a_click_in_the_figures_moves_the_player_and_its_line(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Fan", exact=True).click()
    visit.wait_for_facts()
    visit.denoise("english-fan.flac")
    plot = visit.page.locator("#plot .js-plotly-plot")
    plot.locator(".heatmaplayer image").first.wait_for(state="attached")
    visit.page.evaluate(f"{PLAYER}.seek(1)")
    visit.page.wait_for_selector("#plot .now-line", state="attached")
    axis = "document.querySelector('#plot .js-plotly-plot')._fullLayout.xaxis"
    x = visit.page.evaluate(f"{axis}._offset + {axis}.d2p(1)")
    line = visit.page.evaluate("document.querySelector('#plot .now-line').style.transform")
    assert float(re.search(r"[\d.]+", line)[0]) == pytest.approx(x, abs=1)  # type: ignore[index]
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    x = visit.page.evaluate(f"{axis}._offset + {axis}.d2p(2)")
    visit.page.mouse.move(box["x"] + x - 5, box["y"] + 120)
    visit.page.mouse.move(box["x"] + x, box["y"] + 120)
    plot.locator(".hoverlayer .hovertext").first.wait_for()  # a click means what was pointed at
    visit.page.mouse.click(box["x"] + x, box["y"] + 120)
    visit.page.wait_for_function(f"Math.abs({PLAYER}.position - 2) < 0.05")


def test_strength_and_format_change_the_result_without_the_denoiser(visit: Visit, served: Served) -> None:
    visit.page.get_by_role("button", name="Fan", exact=True).click()
    visit.wait_for_facts()
    visit.denoise("english-fan.flac")
    with served.worker.offers.closed():  # a denoiser that was loaded now would wait for ever
        visit.page.locator("#advanced button").first.click()
        strength = visit.page.get_by_label("number input for Strength (%)")
        strength.fill("0")
        strength.press("Enter")
        visit.page.wait_for_function(
            "document.querySelector('#cards').innerText.includes('=')"
        )  # a level that is unchanged
        original = next(page.EXAMPLES.glob("english-fan.flac")).read_bytes()
        np.testing.assert_array_equal(read(visit.download("Denoised sound")), read(original))


def test_cancel_gives_the_page_back(visit: Visit, served: Served) -> None:
    visit.page.get_by_role("button", name="Typing", exact=True).click()
    visit.wait_for_facts()
    with served.worker.offers.closed():
        visit.page.locator("#denoise").click()
        visit.page.locator("#cancel").click()
        visit.page.wait_for_selector("text=Cancelled. The recording and your settings are kept.")
    visit.page.wait_for_selector("#cancel", state="hidden")
    visit.denoise("mandarin-keyboard.flac")


# ------------------------------------------------------------------------------------------ microphone


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of a buzz that swells and half a second of soft noise, again and again: any second is as loud."""
    rng, time = np.random.default_rng(2), np.arange(RATE) / RATE
    buzz = 0.2 * np.sin(2 * np.pi * 180 * time) * (0.5 + 0.5 * np.sin(2 * np.pi * 9 * time)) * (time < 0.5)
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, np.tile(buzz + 0.01 * rng.standard_normal(RATE), 30), RATE, "PCM_16")
    return path


def test_the_microphone_is_recorded_raw_unless_the_browser_is_let(
    open_browser: Callable[..., Any], served: Served, uploads: Path, voice: Path
) -> None:
    source = decibels(soundfile.read(voice, dtype="float32")[0])
    browser = open_browser(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={voice}",
    )
    visit = Visit(browser, served.url, permissions=["microphone"])
    raw = recorded(visit, uploads)
    assert raw == pytest.approx(source, abs=1.0)
    granted = visit.page.locator(".granted")
    assert "echo cancellation off, noise suppression off, gain control off · 44.1 kHz · mono" in granted.inner_text()
    assert told_rate_and_channels(visit) == ["44.1 kHz", "mono"]
    visit.page.get_by_role("switch", name="Use the browser's own noise suppression").check()
    visit.page.locator("#recording").get_by_label("Clear").first.click()
    processed = recorded(visit, uploads)
    assert "echo cancellation on, noise suppression on, gain control on · 48 kHz · mono" in granted.inner_text()
    assert told_rate_and_channels(visit) == ["48 kHz", "mono"]
    assert abs(processed - source) > 1.0  # the check above would have failed with the browser's processing
    visit.close()


def told_rate_and_channels(visit: Visit) -> list[str]:
    """What the facts say of the file."""
    return visit.page.locator("#facts dd").all_inner_texts()[1:3]


def test_a_recording_has_the_samples_of_the_microphone(
    open_browser: Callable[..., Any], served: Served, uploads: Path, tmp_path: Path
) -> None:
    """Both channels at their own rate, and not by way of a lossy codec: two tones stay two lines."""
    rate = 44_100  # of chromium's pretended microphone
    time = np.arange(8 * rate) / rate
    tones = np.stack([0.2 * np.sin(2 * np.pi * 200 * time), 0.1 * np.sin(2 * np.pi * 15_000 * time)], axis=1)
    soundfile.write(tmp_path / "tones.wav", tones, rate, "PCM_16")
    browser = open_browser(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'tones.wav'}",
    )
    visit = Visit(browser, served.url, permissions=["microphone"])
    known = set(uploads.rglob("*.wav"))
    visit.page.locator("#microphone .record").click()
    visit.page.locator("#recording .stop-button").wait_for()
    visit.page.wait_for_function("denoiseMicrophone.recording")
    visit.page.wait_for_timeout(2300)
    visit.page.locator("#recording .stop-button").click()
    visit.wait_for_facts()
    (path,) = set(uploads.rglob("*.wav")) - known
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (rate, 2, "PCM_16") and info.duration > 2
    assert "44.1 kHz · stereo" in visit.page.locator(".granted").inner_text()
    assert told_rate_and_channels(visit) == ["44.1 kHz", "stereo"]
    middle = soundfile.read(path)[0][rate // 2 : rate // 2 + rate]
    for channel, (level, hertz) in enumerate(((0.2, 200), (0.1, 15_000))):
        lines = 2 * np.abs(np.fft.rfft(middle[:, channel] * np.hanning(rate))) / (rate / 2)
        assert lines.argmax() == hertz and lines.max() == pytest.approx(level, rel=1e-3)
        lines[hertz - 2 : hertz + 3] = 0
        assert lines.max() < level * 1e-3  # a codec would leave more than -60 dB beside it
    visit.close()


def recorded(visit: Visit, uploads: Path) -> float:
    """The level of four seconds that the page records, in dB; whole seconds, without the first."""
    known = set(uploads.rglob("*.wav"))
    recorder = visit.page.locator("#recording")
    record = visit.page.locator("#clean").get_by_role("button", name="Record", exact=True)
    assert record.bounding_box()["height"] >= 44
    record.click()  # one tap
    visit.page.wait_for_function("denoiseMicrophone.recording")
    visit.page.wait_for_timeout(4500)
    recorder.get_by_role("button", name="Stop").first.click()
    visit.wait_for_facts()
    (path,) = set(uploads.rglob("*.wav")) - known
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert samples.shape[1] == 1 and len(samples) >= 4 * rate
    assert re.fullmatch(r"recording \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\.wav", path.name)
    return decibels(samples[rate : len(samples) // rate * rate].mean(axis=1))


def test_a_missing_microphone_says_so_and_what_to_do(browser: Any, served: Served) -> None:
    visit = Visit(browser, served.url)
    visit.page.locator("#clean").get_by_role("button", name="Record", exact=True).click()
    visit.page.get_by_role("alert").get_by_text("Connect one and press Record again, or upload a file.").wait_for()
    visit.problems.clear()  # Gradio's recorder throws
    visit.close()


# ------------------------------------------------------------------------------------------ bad input


def test_bad_input_of_each_kind_leaves_the_page_usable(visit: Visit, talk: Path, tmp_path: Path) -> None:
    wave = np.random.default_rng(0).uniform(-0.1, 0.1, 16_000)
    soundfile.write(tmp_path / "nan.wav", np.where(np.arange(16_000) > 8000, np.nan, wave), 16_000, "FLOAT")
    soundfile.write(tmp_path / "wide.wav", np.zeros((100, 200)), 16_000)
    soundfile.write(tmp_path / "whole.wav", wave, 16_000)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is text")
    (tmp_path / "truncated.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:30])
    (tmp_path / "$(touch x);`y`.wav").write_text("this is text")
    told = {
        "empty.wav": "is empty (0 bytes)",
        "text.wav": "is not a sound file",
        "truncated.wav": "breaks off before its sound",
        "nan.wav": "not numbers",
        "wide.wav": "200 channels; at most",
        "$(touch x);`y`.wav": "is not a sound file",
    }
    for name, sentence in told.items():
        visit.upload(tmp_path / name)
        visit.page.locator("#facts [role=alert]", has_text=sentence).wait_for()
        assert str(tmp_path) not in visit.page.locator("body").inner_text()
    visit.page.locator("#denoise").click()
    visit.page.wait_for_selector("#said [role=alert]")
    visit.upload(talk)
    visit.wait_for_facts()
    visit.denoise("my talk.wav")
    assert visit.page.locator("#said [role=alert]").count() == 0


def test_odd_but_sound_input_is_denoised(visit: Visit, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sounds = {
        "one.wav": (np.array([0.5]), 16_000),
        "zero.wav": (np.zeros(16_000), 16_000),
        "clipped.wav": (np.clip(rng.normal(0, 2, 16_000), -1, 1), 16_000),
        "six.wav": (rng.uniform(-0.1, 0.1, (44_100, 6)), 44_100),
        "fast.wav": (rng.uniform(-0.1, 0.1, 192_000), 192_000),
    }
    for name, (samples, rate) in sounds.items():
        soundfile.write(tmp_path / name, samples, rate)
        visit.upload(tmp_path / name)
        visit.page.wait_for_selector("#facts dl")
        visit.denoise(name)
        assert visit.page.locator("[role=alert]:not(:empty)").count() == 0  # the recorder has one ready, without words
    visit.page.wait_for_selector("#plot .js-plotly-plot")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg to read a video")
def test_the_sound_track_of_a_video_is_taken(visit: Visit, talk: Path, tmp_path: Path) -> None:
    import subprocess

    video = tmp_path / "film.mp4"
    picture = ["-f", "lavfi", "-i", "color=size=64x64:duration=2:rate=5"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *picture, "-i", str(talk), "-t", "2", "-c:a", "aac", str(video)], check=True
    )
    visit.upload(video)
    assert "m4a" in visit.wait_for_facts() or "mp4" in visit.wait_for_facts()
    visit.denoise("film.mp4")
    assert visit.download("Denoised sound")[4:8] == b"ftyp"


# ------------------------------------------------------------------------------------------ languages, screens, hands


def test_nobody_is_sent_their_own_recording_again(visit: Visit, talk: Path) -> None:
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.upload(talk)
    visit.wait_for_facts()
    visit.page.wait_for_selector("#recording #waveform, #recording .waveform-container")
    visit.denoise(talk.name)
    assert any(url.endswith("/player/samples") for url in asked)
    assert [url for url in asked if "/gradio_api/file=" in url and url.endswith(talk.suffix)] == []


def test_no_other_host_is_asked(visit: Visit, served: Served, talk: Path) -> None:
    visit.upload(talk)
    visit.wait_for_facts()
    visit.denoise("my talk.wav")
    visit.page.wait_for_selector("#plot .js-plotly-plot")
    visit.page.get_by_role("tab", name="Models").click()
    visit.page.wait_for_selector("#board-table table")
    assert {host for host in visit.hosts if host} == {served.url.split("/")[2]}


@pytest.mark.parametrize("locale", ["zh-CN", "zh-HK"])
def test_chinese_follows_the_browser(browser: Any, served: Served, locale: str) -> None:
    visit = Visit(browser, served.url, locale=locale)
    visit.page.wait_for_function("document.title === '语音降噪'")
    assert visit.page.evaluate("document.documentElement.lang").startswith("zh")
    visit.page.get_by_role("button", name="键盘", exact=True).click()
    visit.wait_for_facts()
    visit.page.get_by_role("button", name="开始降噪").click()
    visit.wait_for_result("mandarin-keyboard.flac")
    visit.page.wait_for_selector(".figure-said")
    text = visit.page.locator("body").inner_text()
    for word in ("录音", "采样率", "结果", "降噪前", "信噪比（估计）", "采样率、声道", "哪里发生了变化"):
        assert word in text
    left = re.findall(r"[A-Za-z]+ [a-z]+ [a-z]+", re.sub(r"\S+\.(flac|json)", "", text))
    assert [words for words in left if "gru" not in words] == [], "English is left on the Chinese page"
    visit.close()


def test_all_that_one_begins_with_is_in_view_and_nothing_covers_it(browser: Any, served: Served) -> None:
    """At 1280 x 800: drop, record, examples and Denoise, and no way into a recorder without its button."""
    visit = Visit(browser, served.url, viewport={"width": 1280, "height": 800})
    for place in (".upload-container", ".record", "#examples button:last-child", "#denoise"):
        part = visit.page.locator(f"#controls {place}")
        box = part.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800, place
        assert part.evaluate(
            "it => { const { x, y, width, height } = it.getBoundingClientRect();"
            " return it.contains(document.elementFromPoint(x + width / 2, y + height - 2)); }"
        ), place
    assert not visit.page.get_by_role("button", name="Record audio").is_visible()
    visit.close()


def test_what_the_page_is_for_is_read_in_one_line_beside_where_it_computes(visit: Visit) -> None:
    lead, device = visit.page.locator(".masthead .lead"), visit.page.locator(".masthead .device")
    height, size = lead.evaluate("it => [it.clientHeight, parseFloat(getComputedStyle(it).fontSize)]")
    assert height < 2.5 * size, "the sentence is squeezed into several lines"
    assert lead.bounding_box()["x"] + lead.bounding_box()["width"] <= device.bounding_box()["x"]


def test_a_phone_does_not_scroll_sideways(browser: Any, served: Served) -> None:
    visit = Visit(browser, served.url, viewport={"width": 390, "height": 800}, color_scheme="dark", has_touch=True)
    visit.page.locator("#advanced button").first.click()
    visit.page.get_by_role("button", name="Rain, stereo", exact=True).click()
    visit.wait_for_facts()
    visit.denoise("english-rain-stereo.flac")
    visit.page.get_by_role("link", name="Report (JSON)").wait_for()
    player, downloads = (visit.page.locator(f"#{part}").bounding_box() for part in ("player", "downloads"))
    assert player["y"] >= 0 and downloads["y"] + 60 <= 800  # the result is what one sees, its first download with it
    visit.page.wait_for_selector("#plot .js-plotly-plot .main-svg")
    assert visit.page.evaluate("document.body.classList.contains('dark')")
    visit.check_width(scrolling="#js-plotly-tester, .versus table")
    visit.page.get_by_role("tab", name="Models").click()
    visit.page.wait_for_selector("#board-table table")
    visit.check_width(scrolling="#js-plotly-tester, .versus table")
    visit.close()


def test_everything_is_done_from_the_keyboard(visit: Visit) -> None:
    keyboard = visit.page.keyboard
    reach(visit, "button", "Hum")
    keyboard.press("Enter")
    visit.wait_for_facts()
    reach(visit, "button", "Denoise")
    keyboard.press("Enter")
    visit.wait_for_result("mandarin-hum.flac")
    visit.page.wait_for_selector("text=All in one zip", timeout=2 * PATIENCE)  # the slow numbers are there
    visit.page.locator("#player .timeline").focus()
    for key, version in {"1": "before", "3": "removed", "2": "after"}.items():
        keyboard.press(key)
        visit.page.wait_for_function(f"{PLAYER}.version === '{version}'")
    keyboard.press(" ")
    visit.page.wait_for_function(f"{PLAYER}.playing")
    keyboard.press(" ")
    reach(visit, "link", "Denoised sound")
    with visit.page.expect_download() as started:
        keyboard.press("Enter")
    assert started.value.suggested_filename == "mandarin-hum.denoised.flac"


def reach(visit: Visit, role: str, name: str) -> None:
    """Presses Tab until a widget has the focus, and sees that it shows that."""
    target = visit.page.get_by_role(role, name=name, exact=True)
    for _ in range(80):
        if target.evaluate("part => part === document.activeElement"):
            outline = target.evaluate("part => getComputedStyle(part)")
            assert outline["outlineStyle"] != "none" or outline["boxShadow"] != "none"
            return
        visit.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_every_widget_has_a_name_that_can_be_read_out(visit: Visit) -> None:
    visit.page.locator("#advanced button").first.click()
    visit.page.get_by_role("button", name="Fan", exact=True).click()
    visit.wait_for_facts()
    visit.denoise("english-fan.flac")
    visit.check_names("main")
    assert len(re.findall(r"heading .*\[level=1\]", visit.page.locator("main").aria_snapshot())) == 1


@pytest.fixture
def models(browser: Any, served: Served, share: Callable[[Callable[[], Visit]], Visit]) -> Visit:
    """The Models tab, for tests none of which minds what another has unfolded or sorted."""

    def make() -> Visit:
        visit = Visit(browser, served.url)
        visit.page.get_by_role("tab", name="Models").click()
        visit.page.wait_for_selector("details.card", state="attached")
        return visit

    return share(make)


def test_every_bundled_denoiser_is_in_the_list(models: Visit, served: Served) -> None:
    titles = models.page.locator("details.card summary").all_text_contents()
    assert len(titles) == len(served.worker.offers.all()) and "wiener" in titles


def test_a_point_and_a_name_open_their_card(models: Visit) -> None:
    point = models.page.locator("#board-by-rtf .scatterlayer .points path").last
    point.hover(force=True)
    point.click(force=True)
    opened = models.page.locator("details.card[open]")
    opened.wait_for()
    assert opened.locator("summary").evaluate("summary => summary === document.activeElement")
    models.page.locator("#board-table .versus").first.get_by_role("link", name="mmse-lsa").click()
    models.page.wait_for_selector("#card-mmse-lsa[open]")


def test_the_leaderboard_can_be_filtered_and_sorted(models: Visit) -> None:
    models.page.locator("#board-table summary").click()  # the best of each model are shown, the rest is folded
    rows = models.page.locator("#board-table tbody tr")
    rows.first.wait_for()
    everything = rows.count()
    models.page.locator("#board-kind").get_by_text("Classical").click()
    models.page.wait_for_function(f"document.querySelectorAll('#board-table tbody tr').length < {everything}")
    rows = models.page.locator("#board-table .versus").first.locator("tbody tr")
    models.page.locator("#board-table thead").first.get_by_role("button", name="SI-SDR").click()
    head = models.page.locator("#board-table th[aria-sort=descending]")
    head.wait_for()
    place = models.page.evaluate(
        "[...document.querySelectorAll('#board-table thead th')].findIndex(th => th.ariaSort === 'descending')"
    )
    values = [float(row.locator("th, td").nth(place).get_attribute("data-value") or "nan") for row in rows.all()]
    assert values == sorted(values, reverse=True) and len(values) > 3


def test_a_link_restores_what_it_says(browser: Any, served: Served) -> None:
    visit = Visit(browser, f"{served.url}?denoiser=wiener&strength=40")
    visit.page.wait_for_function("document.querySelector('#advanced') !== null")
    visit.page.wait_for_function("document.querySelector('#model input').value.includes('wiener')")
    visit.page.locator("#advanced button").first.click()
    assert visit.page.locator("#advanced input[type=number]").first.input_value() == "40"
    visit.close()
