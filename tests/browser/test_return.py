"""A page that is reloaded, or opened another day: what was there, and what was chosen, is there again."""

from __future__ import annotations

import re
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

PLAYER = "document.querySelector('#player .denoise-player').parentElement.denoisePlayer"
UPLOAD = re.compile(r"/gradio_api/upload\?")  # and not what tells how far it is
CHOSEN = "document.querySelector('#model input')?.value"


@pytest.fixture(scope="module")
def talk(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "my talk.wav"
    soundfile.write(path, in_pink_noise(speech, 4, 16_000), 16_000, "PCM_16")
    return path


@pytest.fixture
def visit(browser: Any, served: Served) -> Iterator[base.Visit]:
    opened = base.Visit(browser)
    opened.open(served.url)
    opened.page.wait_for_function(CHOSEN)
    yield opened
    opened.close()


def wait_for_result(visit: base.Visit) -> None:
    visit.page.wait_for_function(
        "document.querySelector('.result-heading')?.innerText.includes('my talk.wav')", timeout=PATIENCE
    )
    visit.page.wait_for_function(f"{PLAYER}.state === 'ready'")


def test_a_reload_brings_recording_and_result_back(visit: base.Visit, talk: Path) -> None:
    visit.page.locator("#recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.reload()
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('my talk.wav')")
    visit.page.locator("#denoise").click()
    wait_for_result(visit)
    after = visit.heard(PLAYER, "after", 0.0, 4.0)
    visit.page.reload()
    wait_for_result(visit)
    np.testing.assert_array_equal(visit.heard(PLAYER, "after", 0.0, 4.0), after)
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    assert soundfile.info(talk).frames * 2 < len(visit.download("Denoised sound")) + 10_000
    visit.page.wait_for_selector("text=All in one zip", timeout=2 * PATIENCE)
    visit.page.get_by_role("button", name="Denoise", exact=True).click()  # and it goes on
    visit.page.wait_for_function("!document.querySelector('#denoise').disabled")


def test_orders_wait_for_the_lists_and_do_without_those_that_never_come(
    browser: Any, served: Served, talk: Path
) -> None:
    visit = base.Visit(browser)
    held: list[Any] = []
    visit.page.route(re.compile("gradio_api/run/predict"), lambda route: held.append(route))
    visit.open(served.url)
    visit.page.wait_for_timeout(500)
    assert held
    assert all(visit.page.locator(button).is_disabled() for button in ("#denoise", "#stretch-denoise"))
    for route in held[:]:
        route.fulfill(status=502)
    visit.page.unroute_all()
    visit.page.wait_for_function("!document.querySelector('#denoise').disabled")
    visit.page.locator("#recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.locator("#denoise").click()
    wait_for_result(visit)
    visit.close()


def leaves(visit: base.Visit) -> bool:
    """Whether the page lets itself be reloaded without a question; where it asks, it stays."""
    answers: list[str] = []

    def stay(dialog: Any) -> None:
        answers.append(dialog.type)
        dialog.dismiss()

    def left(frame: Any) -> None:
        answers.append("left")

    visit.page.on("dialog", stay)
    visit.page.on("framenavigated", left)
    visit.page.evaluate("setTimeout(() => location.reload(), 0)")
    while not answers:
        visit.page.wait_for_timeout(100)
    visit.page.remove_listener("dialog", stay)
    visit.page.remove_listener("framenavigated", left)
    assert answers in (["left"], ["beforeunload"])
    return answers == ["left"]


def test_what_is_under_way_is_not_lost_without_a_question(visit: base.Visit, served: Served, talk: Path) -> None:
    """An upload and an order; a browser asks only those who have touched the page."""
    visit.page.locator("h1").click()
    cut: list[str] = []  # Gradio's line to the server, which the page's life hangs on
    visit.page.on("requestfailed", lambda request: cut.extend(re.findall("gradio_api/heartbeat", request.url)))
    held: list[Any] = []
    visit.page.route(UPLOAD, lambda route: held.append(route))
    visit.page.locator("#recording input[type=file]").set_input_files(talk)
    while not held:
        visit.page.wait_for_timeout(100)
    assert not leaves(visit)
    held[0].continue_()
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.unroute(UPLOAD)
    with served.worker.offers.closed():
        visit.page.evaluate("document.querySelector('#denoise').click()")
        visit.page.locator("#cancel").wait_for()
        assert not leaves(visit)
    wait_for_result(visit)  # for it goes on
    assert not cut
    visit.page.wait_for_function("!document.querySelector('#cancel')?.checkVisibility()")
    assert leaves(visit)  # the server has it all


def test_a_recording_under_way_is_not_lost_without_a_question(open_browser: Any, served: Served) -> None:
    browser = open_browser("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    visit = base.Visit(browser, permissions=["microphone"])
    visit.open(served.url)
    assert leaves(visit)
    visit.page.wait_for_function(CHOSEN)
    visit.page.locator("#microphone .record").click()
    visit.page.locator("#recording .stop-button").wait_for()
    visit.page.wait_for_function("denoiseMicrophone.recording")
    assert not leaves(visit)
    visit.page.wait_for_timeout(1500)  # the fake microphone beeps once a second, and is silent between
    visit.page.locator("#recording .stop-button").click()
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    assert leaves(visit)
    visit.close()


def test_the_keys_of_the_player_work_all_over_the_result(visit: base.Visit, talk: Path) -> None:
    visit.page.locator("#recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.locator("#denoise").click()
    wait_for_result(visit)
    assert "Anywhere in the result" in visit.page.locator("#player .keys").inner_text()
    visit.page.locator(".result-heading").click()
    for key, version in (("1", "before"), ("3", "removed"), ("2", "after")):
        visit.page.keyboard.press(key)
        assert visit.page.evaluate(f"{PLAYER}.version") == version
    visit.page.keyboard.press("Space")
    visit.page.wait_for_function(f"{PLAYER}.playing")
    visit.page.locator("#to-compare").focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("l")
    assert visit.page.evaluate(f"{PLAYER}.looping")
    visit.page.evaluate(f"{PLAYER}.pause()")
    visit.page.locator("#stretch-from :is(input, textarea)").press("1")  # what is typed elsewhere is nobody's key
    assert visit.page.evaluate(f"{PLAYER}.version") == "after"


def test_choices_are_remembered_until_they_are_reset_and_a_link_goes_before(visit: base.Visit, served: Served) -> None:
    usual = visit.page.evaluate(CHOSEN)
    visit.page.get_by_role("button", name="Fast", exact=True).click()
    visit.page.wait_for_function(f"{CHOSEN} !== {usual!r}")
    fast = visit.page.evaluate(CHOSEN)
    visit.page.wait_for_function("localStorage.getItem('denoise:choices') !== null")
    visit.page.reload()
    visit.page.wait_for_function(f"{CHOSEN} === {fast!r}")
    visit.page.goto(f"{served.url}?denoiser=wiener")
    visit.page.wait_for_function(f"{CHOSEN}?.startsWith('wiener')")
    visit.page.goto(served.url)
    visit.page.wait_for_function(f"{CHOSEN} === {fast!r}")  # a link changes nothing that is remembered
    visit.page.get_by_role("button", name="Reset denoiser and settings").click()
    visit.page.wait_for_function(f"{CHOSEN} === {usual!r}")
    visit.page.reload()
    visit.page.wait_for_function(f"{CHOSEN} === {usual!r}")
    assert visit.page.evaluate("localStorage.getItem('denoise:choices')") is None


def test_the_first_load_is_light_and_the_next_lighter(open_browser: Any, served: Served) -> None:
    """Bytes over the wire; most requests are Gradio's own modules, some 90 of them."""
    visit = base.Visit(open_browser())  # a browser that has nothing yet
    session = visit.context.new_cdp_session(visit.page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    visit.follow_requests()
    for most in (600_000, 250_000):
        received.clear()
        visit.open(served.url)
        visit.page.wait_for_function(CHOSEN)
        visit.wait_until_quiet(3.0)
        assert 10_000 < sum(received) < most
    visit.close()


def test_a_result_goes_on_to_the_blind_test(visit: base.Visit, talk: Path) -> None:
    """With its recording and its denoiser, and nothing to press but Start."""
    visit.page.locator("#recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.locator("#denoise").click()
    wait_for_result(visit)
    visit.page.get_by_role("button", name="Test this denoiser blind").click()
    visit.page.wait_for_function("document.activeElement?.id === 'blind-start'", timeout=2 * PATIENCE)
    assert "my talk.wav" in visit.page.locator("#compare-facts").inner_text()
    assert visit.page.locator("#blind-versions input").count() >= 2
    box = visit.page.locator("#blind").bounding_box()
    assert 0 <= box["y"] < 900
