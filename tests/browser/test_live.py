"""Live sound in a real browser: what is heard is the sound denoised, as late as the page says, whatever goes wrong."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt

from denoise_app.audio.clip import Clip
from denoise_app.inference import catalog, engine
from denoise_app.serve.guard import HEADERS
from denoise_app.serve.live import LiveLimits
from denoise_app.serve.shares import Places
from denoise_app.ui.live import assets, tab, work
from denoise_app.ui.worker.worker import Worker

from .visit import Served, Visit, in_pink_noise

pytestmark = pytest.mark.browser

RATE = 16_000
HANDLE = "[...document.querySelectorAll('#live, #live *')].find((part) => part.denoiseLive).denoiseLive"
CLICKS = 0.5  # s from click to click
PATIENT = {  # a machine that runs other tests beside this one is no reason to give up, or to let a sample go
    "live-sound.js": {"LOST = 2;": "LOST = 1000;", "WINDOW = 5;": "WINDOW = 1;"},
    "live-engine.js": {"QUICK = 0.5;": "QUICK = 100;"},
}
MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


Step = dict[str, int]  # {samples, delay, start, missing}, see live.js


QUANTUM = 128  # samples that a browser plays at once


@dataclass(frozen=True)
class Stretch:
    """A part of a recording in which nothing was late and the delay stayed as it was; all in samples.

    Attributes:
        begin, end: Its place.
        delay: What was played is so much later than what was heard.
        start: Where the engine began.
    """

    begin: int
    end: int
    delay: int
    start: int


def steady(steps: list[Step], seconds: float, after: int = 0) -> Stretch | None:
    """The first such part, so long or longer, of what an engine gave; what lies before `after` does not count."""
    at, found = 0, None
    for step in steps:
        facts, at = (step["delay"], step["start"]), at + step["samples"]
        same = found is not None and (found.delay, found.start) == facts
        if step["missing"] or not step["delay"] or at - step["delay"] < step["start"] or at < after:
            found = None
        else:
            found = Stretch(found.begin if found and same else at + QUANTUM, at, *facts)  # a jump is bridged first
            if found.end - found.begin >= seconds * RATE and found.begin - found.delay >= found.start:
                return found
    return None


def change(patch: pytest.MonkeyPatch, folder: Path, name: str, words: dict[str, str]) -> None:
    """Lets the page serve a script with other words in it; a browser that answered for it would cut it off."""
    text = work.SCRIPTS[name].read_text("utf-8")
    for old, new in words.items():
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text, "utf-8")
    patch.setitem(work.SCRIPTS, name, folder / name)


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something holds within half a minute."""
    until = time.monotonic() + 30
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


class LivePage(Visit):
    """The Live tab in a browser with a microphone."""

    def open(self, url: str) -> None:
        super().open(url)
        self.page.get_by_role("tab", name="Live").click()
        self.page.locator(".live-start").wait_for()

    def start(self, place: str = "server") -> None:
        self.page.locator(f".live-place [value={place}]").check()
        self.page.locator(".live-start").click()
        shown = "document.querySelector('.live-problem')?.hidden === false"
        self.page.wait_for_function(f"{HANDLE}.running || {shown}")
        assert self.page.evaluate(f"{HANDLE}.running"), self.said("problem")

    def reset(self) -> None:
        """It does not run, what is chosen was chosen at first, and nothing is kept from the server."""
        self.page.get_by_role("tab", name="Live").click()
        if self.page.evaluate(f"{HANDLE}.running"):
            bypass = self.page.locator(".live-bypass")
            if bypass.get_attribute("aria-pressed") == "true":
                bypass.click()
            self.page.locator(".live-start").click()
            self.wait("running === false")
        self.page.evaluate(
            """() => {
              for (const it of document.querySelectorAll(".live-place input")) it.checked = it.defaultChecked;
              for (const it of document.querySelectorAll(".live-model option")) it.selected = it.defaultSelected;
            }"""
        )
        self.context.unroute_all()
        super().reset()

    def start_with(self, script: str, url: str) -> None:
        """A page with a script of its own, once it runs and has recorded half a second."""
        self.page.add_init_script(script)
        self.open(url)
        self.start()
        self.wait("ready")
        self.wait("before.length > 8000")

    def wait(self, what: str) -> None:
        self.page.wait_for_function(f"{HANDLE}.{what}")

    @property
    def steps(self) -> list[Step]:
        found: list[Step] = self.page.evaluate(f"{HANDLE}.steps")
        return found

    def side(self, name: str) -> np.ndarray:
        """What was recorded of a side, (time,) in [-1, 1]."""
        script = f"""new Promise((done) => {{
          const reader = new FileReader();
          reader.onload = () => done(reader.result.split(",")[1]);
          reader.readAsDataURL(new Blob([{HANDLE}.{name}]));
        }})"""
        return np.frombuffer(base64.b64decode(self.page.evaluate(script)), "<i2").astype(np.float32) / 32768

    @property
    def rate(self) -> int:
        """Hz that the sound is heard and played at."""
        return int(self.page.evaluate(f"{HANDLE}.rate"))

    def steady(self, seconds: float = 0.7, after: int = 0) -> Stretch:
        """A steady part, once there is one."""
        for _ in range(1000):  # 100 s: the other tests at the same time make sound late
            if found := steady(self.steps, seconds, after):
                return found
            self.page.wait_for_timeout(100)
        raise AssertionError(f"never {seconds} s without a late sample: {self.said('said')} {self.steps[-9:]}")

    def said(self, part: str) -> str:
        return str(self.page.locator(f".live-{part}").inner_text())


@pytest.fixture(scope="module")
def served(
    make_worker: Callable[[], Worker], uploads: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The page, where nothing is given up because the machine is busy."""
    with pytest.MonkeyPatch.context() as patch:
        for name, words in PATIENT.items():
            change(patch, tmp_path_factory.mktemp("scripts"), name, words)
        patch.setattr(tab, "LiveLimits", partial(LiveLimits, ahead=60.0, behind=60.0))
        running = Served(make_worker, tmp_path_factory.mktemp("visits"))
        yield running
        running.close()


@pytest.fixture(scope="module")
def sound(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without what sways below 20 Hz: a stretch may seem to have an offset, which a file loses and live sound keeps."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    without_sway = butter(4, 20, "high", fs=RATE, output="sos")
    soundfile.write(path, sosfiltfilt(without_sway, in_pink_noise(speech, 20, RATE)), RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("microphone") / "clicks.wav"
    wave = np.zeros(20 * RATE)
    wave[:: int(CLICKS * RATE)] = 0.9
    soundfile.write(path, wave, RATE, "PCM_16")
    return path


@pytest.fixture(scope="module")
def talking(open_browser: Callable[..., Any], sound: Path) -> Any:
    """A browser whose microphone hears noisy speech."""
    return open_browser(*MICROPHONE, f"--use-file-for-fake-audio-capture={sound}")


@pytest.fixture
def fresh(talking: Any, served: Served) -> Iterator[LivePage]:
    """A page of its own, for a test that changes what is fetched with it or what it is made of."""
    page = LivePage(talking, permissions=["microphone"])
    page.open(served.url)
    yield page
    page.close()


@pytest.fixture
def live(talking: Any, served: Served, share: Callable[[Callable[[], LivePage]], LivePage]) -> LivePage:
    """The page that these tests share."""

    def make() -> LivePage:
        page = LivePage(talking, permissions=["microphone"])
        page.open(served.url)
        return page

    return share(make)


@pytest.fixture
def runtime() -> None:
    """What models need to run in the browser; where it is missing, CI fails and others skip the test."""
    if not assets.laid_out():
        missing = "models do not run in the browser here: python -m denoise_app.ui.live.assets lays out what they need"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)


def check_denoised(live: LivePage, stretch: Stretch) -> None:
    """Within a steady stretch what was played is the sound since the engine began, denoised, so much later."""
    before, after = live.side("before"), live.side("after")
    key = live.page.locator(".live-model").input_value()
    heard = Clip(before[None, stretch.start :], live.rate)
    clean = engine.denoise(heard, catalog.load(*catalog.named(key))).samples[0]
    played, late = after[stretch.begin : stretch.end], slice(stretch.begin - stretch.delay, stretch.end - stretch.delay)
    assert np.abs(played - clean[late.start - stretch.start : late.stop - stretch.start]).max() < 1e-3
    assert np.abs(played - before[late]).max() > 0.01  # the check above would have failed without a denoiser


def test_what_the_server_plays_is_the_sound_denoised(live: LivePage) -> None:
    live.start()
    live.wait("ready")
    assert live.said("said") == "Running on the server."
    check_denoised(live, live.steady())
    live.page.wait_for_function("document.querySelector('.live-fact-cost').textContent.endsWith('ms')")
    assert re.fullmatch(r"[\d.]+ ms", live.said("fact-network"))
    assert live.said("fact-model") == "32 ms"


def test_what_the_browser_plays_is_the_same_also_without_a_network(live: LivePage, runtime: None) -> None:
    live.start("browser")
    live.wait("ready")
    live.context.set_offline(True)
    assert live.said("said") == "Running in this browser."
    check_denoised(live, live.steady(after=len(live.side("before"))))
    assert live.said("fact-network") == "–"
    live.context.set_offline(False)


def onsets(side: np.ndarray) -> np.ndarray:
    """Where clicks begin, in samples."""
    loud = np.flatnonzero(np.abs(side) > 0.3)
    return loud[np.diff(loud, prepend=-RATE) > CLICKS * RATE / 2]


def test_a_click_is_late_by_what_the_page_says_and_by_less_than_60_ms(
    open_browser: Callable[..., Any], served: Served, clicks: Path
) -> None:
    """At a strength of 0, which lets clicks pass and delays them like any sound.

    While the machine is busy with other tests the buffer grows, and the delay with it: what is counted must be what is
    heard then, too. Below 60 ms lies the least delay, with which the engine begins, before anything was late.
    """
    browser = open_browser(*MICROPHONE, f"--use-file-for-fake-audio-capture={clicks}")
    live = LivePage(browser, permissions=["microphone"])
    live.open(served.url)
    live.page.locator(".live-strength").fill("0")
    live.start()
    live.wait("ready")
    stretch = live.steady(2.5 * CLICKS)
    before, after = (onsets(live.side(name)[stretch.begin : stretch.end]) for name in ("before", "after"))
    lags = [int(after[after >= click].min() - click) for click in before if (after >= click).any()]
    assert lags and set(lags) == {stretch.delay}
    begun = [step["delay"] for step in live.steps if step["delay"]]
    assert min(begun) < 0.06 * RATE
    live.page.wait_for_function(  # what is shown is that figure, once it has stood for longer than it takes to show it
        f"""() => {{
          const last = {HANDLE}.steps.slice(-12).map(({{ delay }}) => delay);
          const shown = parseFloat(document.querySelector(".live-fact-delay").textContent);
          return last.every((delay) => delay === last[0]) && Math.abs(shown - last[0] / {RATE / 1000}) <= 5;
        }}"""
    )
    live.close()


def test_the_key_plays_the_microphone_at_the_same_place_and_back(live: LivePage) -> None:
    live.start()
    live.wait("ready")
    live.page.locator(".live-start").press("b")
    assert live.page.locator(".live-bypass").get_attribute("aria-pressed") == "true"
    stretch = live.steady(after=len(live.side("before")) + 2048)
    heard = live.side("before")[stretch.begin - stretch.delay : stretch.end - stretch.delay]
    np.testing.assert_allclose(live.side("after")[stretch.begin : stretch.end], heard, rtol=0, atol=1e-4)
    live.page.locator(".live-bypass").click()
    assert live.page.locator(".live-bypass").get_attribute("aria-pressed") == "false"
    check_denoised(live, live.steady(after=len(live.side("before")) + 2048))


def test_places_are_switched_while_talking(live: LivePage) -> None:
    live.start()
    live.wait("ready")
    live.page.locator(".live-place [value=own]").check()
    live.page.get_by_text("You hear the browser's own noise suppression.").wait_for()
    live.page.wait_for_function(f"{HANDLE}.steps.at(-1).delay === 0")
    live.page.locator(".live-place [value=server]").check()
    live.page.get_by_text("Running on the server.").wait_for()
    live.page.locator(".live-model").select_option("wiener")
    live.wait("model === 'wiener'")
    live.page.get_by_text("Running on the server.").wait_for()
    check_denoised(live, live.steady(after=len(live.side("before"))))


def test_the_browsers_own_is_heard_once_however_often_it_is_chosen_and_bypassed(live: LivePage) -> None:
    live.start("own")
    own, server = "You hear the browser's own noise suppression.", "Running on the server."
    live.page.get_by_text(own).wait_for()
    for place, sentence in (("server", server), ("own", own)) * 2:
        live.page.locator(f".live-place [value={place}]").check()
        live.page.get_by_text(sentence).wait_for()
    begin = len(live.side("before")) + 4096
    live.wait(f"before.length > {begin + 2 * RATE}")
    before, after = (live.side(name)[begin:] for name in ("before", "after"))
    assert np.sqrt(np.mean(after**2)) < 1.3 * np.sqrt(np.mean(before**2))
    live.page.locator(".live-bypass").click()
    begin = len(live.side("before")) + 4096
    end = begin + RATE
    live.wait(f"before.length > {end}")
    np.testing.assert_array_equal(live.side("after")[begin:end], live.side("before")[begin:end])


def sessions(served: Served, count: int) -> bool:
    """Whether the server holds so many live sessions, soon."""
    wanted = f"denoise_live_sessions {float(count)}"
    return soon(lambda: wanted in served.worker.metrics.text().decode())


def test_a_choice_that_is_changed_at_once_is_carried_out_once_it_stands(live: LivePage, served: Served) -> None:
    live.start()
    live.wait("ready")
    keys = live.page.locator(".live-model option").evaluate_all("(options) => options.map(({ value }) => value)")
    for k in range(20):
        live.page.locator(".live-place [value=own]" if k % 2 else ".live-place [value=server]").check()
        live.page.locator(".live-model").select_option(keys[k % len(keys)])
    live.page.locator(".live-place [value=server]").check()
    live.page.locator(".live-model").select_option("wiener")
    live.wait("model === 'wiener'")
    live.wait("ready")
    assert live.said("said") == "Running on the server."
    check_denoised(live, live.steady(after=len(live.side("before"))))
    assert sessions(served, 1)


def test_thirty_starts_and_stops_leave_nothing_open(talking: Any, served: Served) -> None:
    live = LivePage(talking, permissions=["microphone"])
    live.page.add_init_script(TRACKS)
    live.open(served.url)
    for _ in range(30):
        live.start()
        live.page.locator(".live-start").click()
        live.wait("running === false")
    assert live.page.evaluate("tracks.length") == 30
    assert live.page.evaluate("tracks.every((track) => track.readyState === 'ended')")
    assert sessions(served, 0)
    live.start()
    live.wait("ready")
    assert live.said("said") == "Running on the server."
    live.close()
    assert sessions(served, 0)


def test_two_tabs_run_side_by_side(talking: Any, served: Served) -> None:
    tabs = [LivePage(talking, permissions=["microphone"]) for _ in range(2)]
    for live in tabs:
        live.open(served.url)
        live.page.locator(".live-model").select_option("wiener")
        live.start()
    for live in tabs:
        live.wait("ready")
        check_denoised(live, live.steady(after=len(live.side("before"))))
    assert sessions(served, 2)
    for live in tabs:
        live.close()


CHANGE = """async (locale) => {
  const core = performance.getEntriesByType("resource").find(({ name }) => /\\/assets\\/core-[^/]*\\.js$/.test(name));
  (await import(core.name)).changeLocale(locale);
}"""


def test_another_language_while_it_runs_changes_words_alone(fresh: LivePage) -> None:
    fresh.page.locator(".live-model").select_option("wiener")
    fresh.page.locator(".live-strength").fill("80")
    fresh.start()
    fresh.wait("ready")
    fresh.page.locator(".live-bypass").click()
    fresh.page.evaluate(CHANGE, "zh-CN")
    fresh.page.locator(".live").get_by_text("正在服务器上运行。").wait_for()
    shown = [fresh.said(part) for part in ("start", "percent")]
    assert shown == ["停止", "80%"] and fresh.page.locator(".live-model").input_value() == "wiener"
    assert fresh.page.locator(".live-bypass").is_enabled()
    assert fresh.page.locator(".live-bypass").get_attribute("aria-pressed") == "true"
    fresh.page.locator(".live-start").click()
    assert not fresh.page.evaluate(f"{HANDLE}.running") and fresh.said("said") == "未运行。"
    fresh.page.evaluate(CHANGE, "en")
    fresh.page.locator(".live-recording").get_by_text("of both sides").wait_for()


def test_both_sides_are_kept_and_go_on_to_clean(live: LivePage) -> None:
    live.start()
    live.wait("ready")
    live.wait(f"before.length > {3 * RATE // 2}")
    live.page.locator(".live-start").click()
    assert re.fullmatch(r"Recorded: [\d.]+ s of both sides\.", live.said("length"))
    with live.page.expect_download() as saved:
        live.page.locator(".live-download-after").click()
    assert saved.value.suggested_filename == "live after.wav"
    kept, rate = soundfile.read(saved.value.path(), dtype="float32")
    assert rate == RATE
    np.testing.assert_array_equal(kept, live.side("after"))
    live.page.locator(".live-recording [data-side=before]").click()
    live.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('live before.wav')")


def test_the_shortest_recording_goes_on_to_clean_and_is_denoised_there(live: LivePage) -> None:
    live.start()
    live.page.evaluate(
        f"""async () => {{
          while (!{HANDLE}.before.length) await new Promise(requestAnimationFrame);
          document.querySelector(".live-start").click();
        }}"""
    )
    length = len(live.side("before"))
    assert 0 < length < RATE / 2
    live.page.locator(".live-recording [data-side=after]").click()
    live.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('live after.wav')")
    live.page.locator("#denoise").click()
    live.page.locator(".outcome .download").first.wait_for()


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "does not allow this page to use the microphone"),
        ("NotFoundError", "No microphone was found"),
        ("NotReadableError", "another program may be using it"),
    ],
)
def test_without_a_microphone_the_page_says_why_and_stays_usable(
    browser: Any, served: Served, name: str, sentence: str
) -> None:
    live = LivePage(browser)
    live.page.add_init_script(
        f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', '{name}'))"
    )
    live.open(served.url)
    live.page.locator(".live-start").click()
    live.page.locator(".live-problem").get_by_text(sentence).wait_for()
    assert live.page.locator(".live-start").inner_text() == "Start"
    assert live.page.locator(".live-start").is_enabled()
    live.close()


def test_a_page_that_may_not_ask_says_so(browser: Any, served: Served) -> None:
    live = LivePage(browser)
    live.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    live.open(served.url)
    live.page.locator(".live-start").click()
    live.page.locator(".live-problem").get_by_text("only to secure pages").wait_for()
    live.close()


TRACKS = """{
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""


def test_a_microphone_that_is_unplugged_ends_it_and_what_was_recorded_is_kept(talking: Any, served: Served) -> None:
    live = LivePage(talking, permissions=["microphone"])
    live.start_with(TRACKS, served.url)
    live.page.evaluate("tracks[0].dispatchEvent(new Event('ended'))")
    live.page.locator(".live-problem").get_by_text("The microphone has gone").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running")
    assert live.page.evaluate("tracks.every((track) => track.readyState === 'ended')")
    live.page.locator(".live-recording").wait_for()
    live.page.locator(".live-start").click()
    live.wait("ready")
    live.close()


CONTEXTS = """{
  const Usual = AudioContext, Source = MediaStreamAudioSourceNode;
  window.contexts = [];
  window.device = 0; // Hz of the only rate that a microphone is taken at; 0 for any
  window.AudioContext = class extends Usual {
    constructor(options) {
      super({ ...(window.device ? { sampleRate: window.device } : {}), ...options });
      window.contexts.push(this);
    }
  };
  window.MediaStreamAudioSourceNode = class extends Source {
    constructor(context, options) {
      if (window.device && context.sampleRate !== window.device) throw new DOMException("no", "NotSupportedError");
      super(context, options);
    }
  };
}"""


def test_a_device_of_another_rate_takes_over_while_it_runs(talking: Any, served: Served, runtime: None) -> None:
    """As browsers do that take a microphone only at its own rate: the sound ends, and begins anew at that rate."""
    live = LivePage(talking, permissions=["microphone"])
    live.start_with(CONTEXTS, served.url)
    live.page.evaluate("device = 44100; contexts.at(-1).dispatchEvent(new Event('error'))")
    live.page.locator(".live-problem").get_by_text("The sound device has failed, or was changed.").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running") and live.rate == RATE
    live.page.locator(".live-recording").wait_for()
    live.page.locator(".live-start").click()
    live.wait("ready")
    assert live.rate == 44_100 and live.said("said") == "Running on the server."
    check_denoised(live, live.steady(2.0))  # 0.7 s at this rate
    live.page.locator(".live-place [value=browser]").check()
    live.page.locator(".live-notice").get_by_text("does not give the microphone at the rate").wait_for()
    live.page.get_by_text("Running on the server.").wait_for()
    live.close()


def test_a_microphone_that_falls_silent_and_sound_that_is_paused_are_told(talking: Any, served: Served) -> None:
    live = LivePage(talking, permissions=["microphone"])
    live.page.add_init_script(TRACKS + CONTEXTS)
    live.open(served.url)
    live.start()
    live.wait("ready")
    notice = live.page.locator(".live-notice")
    live.page.evaluate("tracks[0].dispatchEvent(new Event('mute'))")
    notice.get_by_text("The microphone gives silence").wait_for()
    live.page.evaluate("tracks[0].dispatchEvent(new Event('unmute'))")
    notice.wait_for(state="hidden")
    live.page.evaluate("() => { contexts.at(-1).resume = () => Promise.reject(new Error('in a call')); }")
    live.page.evaluate("contexts.at(-1).suspend()")
    notice.get_by_text("The device has paused the sound").wait_for()
    live.page.evaluate("AudioContext.prototype.resume.call(contexts.at(-1))")
    notice.wait_for(state="hidden")
    check_denoised(live, live.steady(after=len(live.side("before"))))
    live.close()


def test_a_tab_in_the_background_is_heard_all_the_same(fresh: LivePage) -> None:
    """Browsers draw no pictures of it then; the sound does not wait for one."""
    fresh.start()
    fresh.wait("ready")
    fresh.page.evaluate("window.requestAnimationFrame = () => 0")
    check_denoised(fresh, fresh.steady(after=len(fresh.side("before"))))


def check_fallback(live: LivePage, sentence: str) -> None:
    live.start("browser")
    live.page.locator(".live-notice").get_by_text(sentence).wait_for()
    assert live.said("notice").endswith("The server does it instead.")
    live.page.get_by_text("Running on the server.").wait_for()
    assert live.page.locator(".live-place [value=server]").is_checked()


@pytest.mark.parametrize(
    ("address", "answer", "sentence"),
    [
        ("**/live/files/*/*.mjs", {"status": 404}, "has not laid out what models need"),
        ("**/live/graph?*", {"status": 404, "json": {"detail": "No graph."}}, "No graph."),
        ("**/live/graph/*", {"body": b"something else"}, "could not be fetched whole"),
    ],
)
def test_what_cannot_be_fetched_lets_the_server_do_it(
    fresh: LivePage, runtime: None, address: str, answer: dict[str, Any], sentence: str
) -> None:
    fresh.context.route(address, lambda route: route.fulfill(**answer))
    check_fallback(fresh, sentence)


def test_where_webassembly_is_blocked_the_server_does_it(
    fresh: LivePage, runtime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HEADERS, "Content-Security-Policy", "script-src 'self'")  # from now on
    check_fallback(fresh, "does not allow WebAssembly")


def test_a_device_that_is_too_slow_lets_the_server_do_it(
    fresh: LivePage, runtime: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change(monkeypatch, tmp_path, "live-engine.js", {"QUICK = 100;": "QUICK = 0;"})
    check_fallback(fresh, "too slow for the model")


def cut(served: Served) -> None:
    """Breaks every connection of a live session, without a word."""
    server = served.blocks.server
    for connection in list(server.server_state.connections):
        if hasattr(connection, "handshake_complete"):
            connection.loop.call_soon_threadsafe(connection.transport.abort)


def test_a_connection_that_was_cut_is_taken_up_again(live: LivePage, served: Served) -> None:
    live.start()
    live.wait("ready")
    live.steady()
    cut(served)
    live.page.get_by_text("The connection was lost; trying again.").wait_for()
    live.page.get_by_text("Running on the server.").wait_for()
    check_denoised(live, live.steady(after=len(live.side("before"))))


HURRY = "{ const later = setTimeout; window.setTimeout = (act, after, ...more) => later(act, after / 20, ...more); }"


def test_a_server_that_stays_away_is_told_and_what_was_recorded_is_kept(talking: Any, served: Served) -> None:
    live = LivePage(talking, permissions=["microphone"])
    live.page.add_init_script(HURRY)
    live.open(served.url)
    live.start()
    live.wait("ready")
    live.context.route("**/live/token", lambda route: route.abort())
    cut(served)
    live.page.locator(".live-problem").get_by_text("The server cannot be reached.").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running")
    live.page.locator(".live-recording").wait_for()
    live.close()


def test_a_place_that_is_not_free_again_yet_is_waited_for(
    live: LivePage, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the server has not seen yet that the last connection is dead; who had none is told at once."""
    full = "The server has no place for you at this moment; trying again."
    live.start()
    live.wait("ready")
    monkeypatch.setattr(Places, "is_spent", lambda places, client: places.count < LiveLimits(1).strangers)
    live.page.locator(".live-model").select_option("wiener")
    live.page.get_by_text(full).wait_for()
    monkeypatch.undo()
    live.page.get_by_text("Running on the server.").wait_for()
    live.page.locator(".live-start").click()
    monkeypatch.setattr(Places, "is_spent", lambda places, client: places.count < LiveLimits(1).strangers)
    live.start()  # again, before the server has freed what this page gave up
    live.page.get_by_text(full).wait_for()
    monkeypatch.undo()
    live.page.get_by_text("Running on the server.").wait_for()
    monkeypatch.setattr(Places, "is_spent", lambda places, client: places.count < LiveLimits(1).strangers)
    live.open(served.url)
    live.page.locator(".live-start").click()
    live.page.locator(".live-problem").get_by_text("Your network has all").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running")


def test_a_page_that_may_not_have_a_token_is_told_why(live: LivePage) -> None:
    live.context.route("**/live/token", lambda route: route.fulfill(status=403, json={"detail": "Open it."}))
    live.page.locator(".live-start").click()
    live.page.locator(".live-problem").get_by_text("Open it.").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running")


@pytest.mark.parametrize("name", ["live-sound.js", "live-engine.js"])
def test_where_a_script_cannot_be_fetched_the_microphone_is_not_blamed(
    fresh: LivePage, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(work.SCRIPTS, name, tmp_path / name)
    fresh.page.locator(".live-start").click()
    fresh.page.locator(".live-problem").get_by_text("The server cannot be reached.").wait_for()
    assert not fresh.page.evaluate(f"{HANDLE}.running")
    monkeypatch.undo()
    fresh.start()
    fresh.wait("ready")


def test_what_the_server_refuses_is_told_in_its_words(live: LivePage, served: Served) -> None:
    live.context.route("**/live/token", lambda route: route.fulfill(json={"token": "guessed"}))
    live.page.locator(".live-start").click()
    live.page.locator(".live-problem").get_by_text("permission for live sound was used already").wait_for()
    assert not live.page.evaluate(f"{HANDLE}.running")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_shows_all_of_it(browser: Any, served: Served, locale: str) -> None:
    visit = Visit(browser, viewport={"width": 390, "height": 844}, locale=locale)
    visit.open(served.url)
    visit.page.get_by_role("tab", name="Live" if locale == "en-US" else "实时").click()
    visit.page.locator(".live-start").wait_for()
    visit.check_width()
    visit.check_names(".live")
    visit.close()
