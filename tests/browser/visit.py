"""The page as the tests of this room serve it, and as somebody has it open in a browser."""

from __future__ import annotations

import base64
import itertools
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gradio.context import Context

from denoise_app.audio.clip import Clip
from denoise_app.audio.convert import resample
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.denoiser import Denoiser
from denoise_app.inference.catalog import Entry
from denoise_app.ui import app
from denoise_app.ui.worker.offers import Offers
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker
from tests.ui.served import free_port

PATIENCE = 120_000  # ms; a busy machine of two cores needs many times what a quiet one does
ENCODED = """(samples) => {
  const bytes = new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}"""
"""Samples as text, see `decoded`: numbers one by one would take the browser longer to tell than to compute."""

NAMELESS = re.compile(r"\s*- (button|link|combobox|switch|slider):?")  # a line of what is read out


def decoded(samples: str) -> np.ndarray:
    """The float32 samples, (time,), that `ENCODED` made into text."""
    return np.frombuffer(base64.b64decode(samples), "<f4")


class GatedOffers(Offers):
    """The real ones, whose gate can be closed: what is ordered then waits for its denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Event()
        self._gate.set()

    def load(self, entry: Entry) -> Denoiser:
        assert self._gate.wait(60)
        return super().load(entry)

    @contextmanager
    def closed(self) -> Iterator[None]:
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()


class Served:
    """The page with a worker, at an address; its visitors' files lie in a folder."""

    def __init__(self, make_worker: Callable[[], Worker], visits: Path) -> None:
        self.make_worker, self.visits = make_worker, visits
        self.start()

    def start(self, port: int | None = None) -> None:
        Context.id = 0  # widgets are counted from 0 in a process of its own
        self.worker: Any = self.make_worker()
        built = app.build(self.worker, Sessions(self.visits))
        port = port or free_port()  # Gradio's own, the first from 7860, another process could take before `again` does
        options = {"server_name": "127.0.0.1", "server_port": port, "prevent_thread_lock": True, "quiet": True}
        _, self.url, _ = app.launch(built, **options)
        self.blocks = built.blocks

    def again(self) -> None:
        """Serves the page anew at the same address, as after a restart: it knows nothing of its visitors."""
        self.close()
        self.start(self.blocks.server_port)

    def close(self) -> None:
        self.blocks.close()


class Browser:
    """A browser whose visitors take over what others have fetched and compiled before them, and nothing else.

    That is a third of the work of a page load. A profile (a context of Playwright's) that has been left is lent again
    to the next one with the same options; an empty page in it keeps the process alive that has the compiled scripts.
    """

    ARGUMENTS = ("--renderer-process-limit=1",)  # a page is computed by the process of those before it

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self._left: dict[str, list[tuple[Any, set[str]]]] = {}

    def enter(self, **options: Any) -> Any:
        """A profile with nothing of anybody in it."""
        if left := self._left.get(repr(options)):
            context, origins = left.pop()
            _clear(context, origins)
        else:
            context = self._chromium.new_context(**options)
            context.new_page()
        return context

    def leave(self, context: Any, **options: Any) -> None:
        """Takes back what was entered with these options."""
        _, *pages = context.pages
        origins = {"/".join(page.url.split("/")[:3]) for page in pages}
        for page in pages:
            page.close()
        self._left.setdefault(repr(options), []).append((context, origins))

    def forget(self) -> None:
        """Ends the profiles that were left, with their processes."""
        for context, _ in itertools.chain(*self._left.values()):
            context.close()
        self._left.clear()


def _clear(context: Any, origins: Collection[str]) -> None:
    """Takes out of a profile what was set in it, and what pages of these origins have kept there."""
    context.unroute_all()
    context.set_offline(False)
    context.clear_cookies()
    session = context.new_cdp_session(context.pages[0])
    for origin in origins:
        session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    session.detach()


class Visit:
    """A page that somebody has open; errors of its code are found when it is closed.

    It begins empty, so that whatever wants to see the page load is there before `open`.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.browser = browser
        self.options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"} | options
        self.context = browser.enter(**self.options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_selector("#denoise")

    def follow_requests(self) -> None:
        """From now on it is known what the server has not answered to the end, see `wait_until_quiet`."""
        self.under_way: set[Any] = set()
        self.page.on("request", lambda request: request.url.startswith("http") and self.under_way.add(request))
        for end in ("requestfailed", "requestfinished"):
            self.page.on(end, lambda request: self.under_way.discard(request))

    def wait_until_quiet(self, seconds: float = 1.0) -> None:
        """Until the server has had nothing to say for so long, but for the beat by which Gradio knows an open page."""
        quiet = 0
        for _ in range(PATIENCE // 100):
            self.page.wait_for_timeout(100)
            open_answers = [request.url for request in self.under_way if "/heartbeat/" not in request.url]
            quiet = 0 if open_answers else quiet + 1
            if quiet >= 10 * seconds:
                return
        raise AssertionError(f"still answering: {open_answers}")

    def clear(self, widget: str) -> None:
        """Takes the file out of a widget, so that there is room for another."""
        self.page.locator(f"#{widget}").get_by_label("Clear").first.click()
        self.page.wait_for_selector(f"#{widget} input[type=file]", state="attached")

    def heard(self, player: str, version: str, start: float, seconds: float) -> np.ndarray:
        """What a player, a JavaScript expression, plays of a version, (channels, time), at the level of its file."""
        script = f"""async (what) => {{
          const player = {player};
          player.setMatched(false);
          player.select(what.version);
          const rendered = await player.render({{ start: what.start, seconds: what.seconds }});
          return rendered.channels.map({ENCODED});
        }}"""
        channels = self.page.evaluate(script, {"version": version, "start": start, "seconds": seconds})
        return np.stack([decoded(samples) for samples in channels])

    def download(self, name: str) -> bytes:
        with self.page.expect_download() as started:
            self.page.get_by_role("link", name=name).click()
        return Path(started.value.path()).read_bytes()

    def check_width(self, within: str = "body", scrolling: str = "#js-plotly-tester") -> None:
        """Nothing that is shown reaches beyond the screen, but for what lies in something that scrolls by itself."""
        wide = self.page.evaluate(
            """([within, scrolling]) => [...document.querySelectorAll(`${within} *`)].filter((part) => {
              const box = part.getBoundingClientRect();
              const shown = box.width > 1 && box.height > 1 && part.checkVisibility({ visibilityProperty: true });
              return shown && !part.closest(scrolling) && (box.right > innerWidth + 0.5 || box.left < -0.5);
            }).map((part) => part.tagName + "#" + part.id + "." + part.className)""",
            [within, scrolling],
        )
        assert wide == [], wide
        assert self.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")

    def check_names(self, part: str) -> None:
        """Every widget in a part of the page has a name that can be read out."""
        lines = self.page.locator(part).aria_snapshot().splitlines()
        nameless = [line.strip() for line in lines if NAMELESS.fullmatch(line)]
        assert nameless == [], nameless

    def reset(self) -> None:
        """Makes the page what it was when it was opened, for the next test of those that share it; see `share`."""
        assert self.problems == [], self.problems

    def close(self) -> None:
        self.browser.leave(self.context, **self.options)
        assert self.problems == [], self.problems


def in_pink_noise(speech: Clip, seconds: int, rate: int) -> np.ndarray:
    """So much speech, again and again where it is shorter, in pink noise at 5 dB; (time,), its peak at half scale."""
    clean = np.resize(resample(speech.samples, speech.sample_rate, rate)[0], seconds * rate)
    noisy, _ = mix_at_snr(clean, noise("pink", clean.size, rate, np.random.default_rng(11)), 5.0, rate)
    return 0.5 * noisy / np.abs(noisy).max()
