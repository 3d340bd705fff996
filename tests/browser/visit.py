"""The page as the tests of this room serve it, and as somebody has it open in a browser."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gradio.context import Context

from denoise_app.audio.clip import Clip
from denoise_app.audio.convert import resample
from denoise_app.audio.mix import mix_at_snr, noise
from denoise_app.ui import app
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker

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


class Served:
    """The page with a worker, at an address; its visitors' files lie in a folder."""

    def __init__(self, make_worker: Callable[[], Worker], visits: Path) -> None:
        self.make_worker, self.visits = make_worker, visits
        self.start()

    def start(self, port: int | None = None) -> None:
        Context.id = 0  # widgets are counted from 0 in a process of its own
        self.worker: Any = self.make_worker()
        built = app.build(self.worker, Sessions(self.visits))
        options = {"server_name": "127.0.0.1", "server_port": port, "prevent_thread_lock": True, "quiet": True}
        _, self.url, _ = app.launch(built, **options)
        self.blocks = built.blocks

    def again(self) -> None:
        """Serves the page anew at the same address, as after a restart: it knows nothing of its visitors."""
        self.close()
        self.start(self.blocks.server_port)

    def close(self) -> None:
        self.blocks.close()


class Visit:
    """A page that somebody has open; errors of its code are found when it is closed.

    It begins empty, so that whatever wants to see the page load is there before `open`.
    """

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-US"} | options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_selector("#denoise")

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

    def close(self) -> None:
        self.context.close()
        assert self.problems == [], self.problems


def in_pink_noise(speech: Clip, seconds: int, rate: int) -> np.ndarray:
    """So much speech, again and again where it is shorter, in pink noise at 5 dB; (time,), its peak at half scale."""
    clean = np.resize(resample(speech.samples, speech.sample_rate, rate)[0], seconds * rate)
    noisy, _ = mix_at_snr(clean, noise("pink", clean.size, rate, np.random.default_rng(11)), 5.0, rate)
    return 0.5 * noisy / np.abs(noisy).max()
