"""A stretch of a recording, dragged over its waveform: denoised alone, or taken for the noise."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip

from . import visit as base
from .visit import PATIENCE, Served, in_pink_noise

pytestmark = pytest.mark.browser

RATE = 48_000
SECONDS = 8
WAVE = "#recording .waveform-container"
PLAYER = "document.querySelector('#player .denoise-player').parentElement.denoisePlayer"


class Visit(base.Visit):
    """The Clean tab with a recording in it."""

    def __init__(self, browser: Any, url: str, recording: Path, **options: Any) -> None:
        super().__init__(browser, **options)
        self.open(url)
        self.page.wait_for_function("document.querySelector('#model input')?.value")
        assert not self.page.locator("#stretch").is_visible()  # there is nothing to select from
        self.upload(recording)

    def upload(self, recording: Path) -> None:
        self.page.locator("#recording input[type=file]").set_input_files(recording)
        self.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
        self.page.locator(WAVE).wait_for()

    @property
    def times(self) -> list[str]:
        fields = (self.page.locator(f"#stretch-{name} :is(input, textarea)") for name in ("from", "to"))
        return [field.input_value() for field in fields]

    def type(self, start: str, end: str) -> None:
        for name, text in (("From", start), ("To", end)):
            self.page.locator("#stretch").get_by_label(name, exact=True).fill(text)

    def edge(self, share: float, wave: str = WAVE) -> tuple[float, float]:
        self.page.locator(wave).scroll_into_view_if_needed()
        box = self.page.locator(wave).bounding_box()
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2

    def drag(self, start: float, end: float, wave: str = WAVE) -> None:
        self.page.mouse.move(*self.edge(start, wave))
        self.page.mouse.down()
        self.page.mouse.move(*self.edge((start + end) / 2, wave), steps=3)
        self.page.mouse.move(*self.edge(end, wave), steps=3)
        self.page.mouse.up()

    def touch(self, start: float, end: float) -> None:
        """A finger, as the browser itself reports one."""
        session = self.context.new_cdp_session(self.page)
        for kind, share in (("Start", start), ("Move", (start + end) / 2), ("Move", end), ("End", end)):
            x, y = self.edge(share)
            points = [] if kind == "End" else [{"x": x, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    def wait_for_result(self, told: str) -> None:
        self.page.wait_for_function(
            "told => document.querySelector('#fidelity')?.innerText.includes(told)", arg=told, timeout=PATIENCE
        )
        self.page.wait_for_function(f"{PLAYER}.state === 'ready'")


@pytest.fixture(scope="module")
def talk(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    noisy = in_pink_noise(speech, SECONDS, RATE)
    path = tmp_path_factory.mktemp("talk") / "my talk.wav"
    soundfile.write(path, np.stack([noisy, 0.7 * noisy], axis=1), RATE, "PCM_24")
    return path


@pytest.fixture
def visit(browser: Any, served: Served, talk: Path) -> Iterator[Visit]:
    opened = Visit(browser, served.url, talk)
    yield opened
    opened.close()


def in_seconds(text: str) -> float:
    minutes, seconds = text.split(":")
    return 60 * int(minutes) + float(seconds)


def test_a_stretch_is_dragged_denoised_and_downloaded(visit: Visit, talk: Path) -> None:
    assert not visit.page.locator("#stretch-denoise").is_visible()
    visit.drag(0.25, 0.5)
    start, end = map(in_seconds, visit.times)
    assert start == pytest.approx(2.0, abs=0.05) and end == pytest.approx(4.0, abs=0.05)
    box, wave = (visit.page.locator(place).bounding_box() for place in (f"{WAVE} .shade", WAVE))
    assert box["x"] == pytest.approx(wave["x"] + 0.25 * wave["width"], abs=3)
    assert box["width"] == pytest.approx(0.25 * wave["width"], abs=3)
    assert visit.page.locator("#recording #time").inner_text() == "0:00"  # a drag moves nothing else
    visit.page.get_by_role("button", name="Denoise only this stretch").click()
    visit.wait_for_result("was denoised; the rest is bit-identical")
    after = soundfile.read(io.BytesIO(visit.download("Denoised sound")), dtype="int32", always_2d=True)[0]
    before = soundfile.read(talk, dtype="int32", always_2d=True)[0]
    assert after.shape == before.shape
    changed = np.flatnonzero((after != before).any(axis=1)) / RATE
    assert changed.min() == pytest.approx(start, abs=0.011) and changed.max() == pytest.approx(end, abs=0.011)
    visit.page.get_by_role("button", name="Clear the selection").click()
    assert visit.times == ["", ""] and not visit.page.locator("#stretch-denoise").is_visible()
    assert visit.page.locator(f"{WAVE} .shade").count() == 0


def test_a_click_still_moves_what_is_played_and_selects_nothing(visit: Visit) -> None:
    visit.page.mouse.click(*visit.edge(0.5))
    visit.page.wait_for_function("document.querySelector('#recording #time').innerText === '0:04'")
    assert visit.times == ["", ""]


def test_a_drag_backwards_and_beyond_the_edge_is_a_stretch_too(visit: Visit) -> None:
    visit.drag(0.5, -0.2)
    assert visit.times[0] == "0:00.00" and in_seconds(visit.times[1]) == pytest.approx(4.0, abs=0.05)


def test_typed_times_become_a_noise_profile_that_can_be_taken_back(visit: Visit) -> None:
    """By keyboard alone: fields, then buttons, in their order."""
    visit.type("0:00.1", "0.7")
    assert visit.page.locator(f"{WAVE} .shade").is_visible()
    for button in ("Denoise only this stretch", "Use as noise profile"):
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.innerText") == button
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("Noise profile: 0:00.10 – 0:00.70").wait_for()
    visit.page.wait_for_function("document.querySelector('#model input').value.includes('mmse-lsa')")
    visit.page.locator("#denoise").click()
    visit.wait_for_result("Noise taken from 0:00.10 – 0:00.70")
    visit.page.get_by_role("button", name="Remove the noise profile").click()
    visit.page.get_by_text("Noise profile: ").wait_for(state="hidden")
    visit.page.locator("#denoise").click()
    visit.page.wait_for_function("!document.querySelector('#fidelity').innerText.includes('Noise taken')")


def test_a_wrong_time_is_told_in_a_sentence(visit: Visit) -> None:
    visit.type("0:03", "0:01")
    visit.page.locator("#stretch-to :is(input, textarea)").fill("noon")
    visit.type("0:01", "9999999")
    assert visit.page.locator("#stretch-denoise").is_visible()
    visit.type("0:09", "0:10")
    visit.page.locator("#stretch-denoise").click()
    visit.page.get_by_text("The part begins at 9 s, but the sound lasts 8.0 s.").wait_for()


def test_a_loop_of_the_result_selects_nothing_but_can_be_taken(visit: Visit) -> None:
    visit.page.locator("#denoise").click()
    visit.wait_for_result("no gain was applied")
    take = visit.page.get_by_role("button", name="Select the loop of the result: ")
    assert not take.is_visible()
    visit.drag(0.5, 0.75, "#player .timeline")
    visit.page.wait_for_function(f"{PLAYER}.region")
    take.wait_for()
    assert visit.times == ["", ""] and visit.page.locator(f"{WAVE} .shade").count() == 0
    take.click()
    start, end = map(in_seconds, visit.times)
    assert start == pytest.approx(4.0, abs=0.1) and end == pytest.approx(6.0, abs=0.1)
    visit.page.evaluate(f"{PLAYER}.clearRegion()")
    take.wait_for(state="hidden")
    assert [in_seconds(text) for text in visit.times] == [start, end]  # the selection is no loop


def test_times_go_with_their_recording(visit: Visit, talk: Path, tmp_path: Path) -> None:
    visit.drag(0.25, 0.5)
    visit.page.get_by_role("button", name="Use as noise profile").click()
    visit.page.get_by_text("Noise profile: ").wait_for()
    other = tmp_path / "other.wav"
    other.write_bytes(talk.read_bytes())
    visit.clear("recording")
    visit.upload(other)
    visit.page.wait_for_function("document.querySelector('#stretch-from :is(input, textarea)').value === ''")
    assert visit.times == ["", ""] and not visit.page.get_by_text("Noise profile: ").is_visible()


def test_a_finger_selects_on_a_chinese_phone(browser: Any, served: Served, talk: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN", "has_touch": True, "is_mobile": True}
    visit = Visit(browser, served.url, talk, color_scheme="dark", **phone)
    visit.touch(0.3, 0.6)
    start, end = map(in_seconds, visit.times)
    assert start == pytest.approx(2.4, abs=0.1) and end == pytest.approx(4.8, abs=0.1)
    visit.check_width()
    visit.check_names("#stretch")
    visit.page.get_by_role("button", name="仅对这一段降噪").click()
    visit.wait_for_result("其余部分与录音逐位相同")
    visit.close()


def test_what_is_known_of_a_recording_is_not_covered(browser: Any, served: Served, talk: Path) -> None:
    """At 1280 x 800 the button that sticks to the lower edge lies below the facts."""
    visit = Visit(browser, served.url, talk, viewport={"width": 1280, "height": 800})

    def check() -> None:
        facts, button = (visit.page.locator(place).bounding_box() for place in ("#facts .facts", "#denoise"))
        assert facts["y"] + facts["height"] <= button["y"] and button["y"] + button["height"] <= 800

    check()
    visit.drag(0.25, 0.5)
    visit.page.evaluate("scrollTo(0, 0)")
    check()
    visit.page.get_by_role("button", name="Use as noise profile").click()
    visit.page.get_by_text("Noise profile: ").wait_for()
    check()
    visit.close()


def test_a_selection_and_a_noise_profile_are_there_again_after_a_reload(visit: Visit) -> None:
    visit.follow_requests()
    visit.type("0:00.1", "0.7")
    visit.page.get_by_role("button", name="Use as noise profile").click()
    visit.page.get_by_text("Noise profile: 0:00.10 – 0:00.70").wait_for()
    visit.type("0:01", "0:02.5")
    visit.wait_until_quiet()  # the server has heard of it
    visit.page.reload()
    visit.page.get_by_text("Noise profile: 0:00.10 – 0:00.70").wait_for()
    visit.page.locator(f"{WAVE} .shade").wait_for()
    assert visit.times == ["0:01", "0:02.5"]
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.locator("#stretch-denoise").click()  # and it is what counts
    visit.wait_for_result("Noise taken from 0:00.10 – 0:00.70")
    assert "was denoised; the rest is bit-identical" in visit.page.locator("#fidelity").inner_text()
    visit.page.get_by_role("button", name="Remove the noise profile").click()
    visit.page.get_by_text("Noise profile: ").wait_for(state="hidden")
    visit.page.get_by_role("button", name="Clear the selection").click()
    visit.wait_until_quiet()
    visit.page.reload()
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    assert visit.times == ["", ""] and not visit.page.get_by_text("Noise profile: ").is_visible()
