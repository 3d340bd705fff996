"""Blind listening in a real browser: what is heard is what is asked about, and nothing tells names before the end."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.inference.catalog import Entry
from denoise_app.ui.blind import work as blind
from denoise_app.ui.compare import work as comparison
from denoise_app.ui.worker.offers import Offers
from denoise_app.ui.worker.worker import Worker

from . import visit as base
from .visit import ENCODED, Served, decoded

pytestmark = pytest.mark.browser

PLAYER = "document.querySelector('#blind-player .denoise-player')?.parentElement.denoisePlayer"
LISTEN_IN = """
  window.answers = [];
  const fetched = window.fetch;
  window.fetch = async (...given) => {
    const answer = await fetched(...given);
    const place = window.answers.push("") - 1;
    const copy = answer.clone().body?.pipeThrough(new TextDecoderStream()).getReader();
    const read = async () => {
      for (let part = await copy?.read(); part && !part.done; part = await copy.read()) {
        window.answers[place] += part.value;
      }
    };
    read().catch(() => null); // the page broke it off
    return answer;
  };
"""  # every answer as it comes, streams too; what is asked for in other ways is seen in `asked`
NAMES = ("hybrid", "log-mag", "mmse-lsa", "my secret talk")  # long enough not to occur in sound as base64 by chance

Plans = list[tuple[blind.Trial, ...]]  # the trials of each test that was begun


class ThreeOffers(Offers):
    """Three of the real ones, whatever other checkpoints there are."""

    def all(self) -> list[Entry]:
        known = {entry.key: entry for entry in super().all()}
        return [known[key] for key in ("gru/hybrid", "gru/log-mag", "mmse-lsa")]

    def recommended(self, model: str | None = None, loss: str | None = None) -> Entry:
        return next(entry for entry in self.all() if model in (None, "live", entry.model))


def worker_of_three() -> Worker:
    return Worker(ThreeOffers())


@pytest.fixture(scope="module")
def make_worker() -> Callable[[], Worker]:
    return worker_of_three


@pytest.fixture(scope="module", autouse=True)
def plans() -> Iterator[Plans]:
    """What the tests that are begun ask for; the page is without votes and numbers here."""
    noted: Plans = []
    draw = blind.draw

    def note(*given: Any) -> tuple[blind.Trial, ...]:
        noted.append(draw(*given))
        return noted[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DENOISE_VOTES", raising=False)
        patch.setattr(blind, "draw", note)
        patch.setattr(comparison, "measure", lambda *_: iter(()))  # numbers take long, and are not what this is about
        yield noted


@pytest.fixture(scope="module")
def talk(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of speech in noise."""
    path = tmp_path_factory.mktemp("talk") / "my secret talk.wav"
    clean = speech.samples[0][: 2 * speech.sample_rate]
    noise = 0.1 * np.std(clean) * np.random.default_rng(4).standard_normal(clean.size)
    soundfile.write(path, clean + noise, speech.sample_rate, "PCM_16")
    return path


class Visit(base.Visit):
    """A page with a comparison of two losses and a classical denoiser."""

    def __init__(self, browser: Any, url: str, talk: Path, **options: Any) -> None:
        super().__init__(browser, **options)
        self.asked: list[Any] = []
        self.page.on("websocket", lambda socket: self.problems.append(f"nobody looks into {socket.url}"))
        self.page.add_init_script(LISTEN_IN)
        self.page.on("request", lambda request: self.asked.append(request))
        self.follow_requests()
        self.open(url)
        self.page.get_by_role("tab").nth(1).click()
        self.page.wait_for_selector("#compare-start")
        self.page.wait_for_function("document.querySelector('#compare-columns').innerText.includes('mmse-lsa')")
        self.page.locator("#compare .recording input[type=file]").set_input_files(talk)
        self.page.wait_for_function("document.querySelector('#compare').innerText.includes('LUFS')")
        self.page.locator("#compare-start").click()
        self.page.wait_for_selector("#blind-versions input[type=checkbox]")
        self.page.wait_for_selector("#compare-cancel", state="hidden")
        self.wait_until_quiet()

    def answers(self) -> list[str]:
        """What the server has answered since this was asked for last."""
        self.wait_until_quiet()
        assert {request.resource_type for request in self.asked} <= {"fetch"}
        self.asked.clear()
        found: list[str] = self.page.evaluate("window.answers.splice(0)")
        return found

    def begin(self, kind: str, trials: int, *more: int) -> None:
        """Begins a test of the first two versions and of those at `more` places."""
        self.page.locator(f"#blind-kind input[value={kind}]").check()
        for place in more:
            self.page.locator("#blind-versions input[type=checkbox]").nth(place).check()
        number = self.page.locator("#blind-trials input[type=number]")
        number.fill(str(trials))
        number.press("Enter")
        self.page.locator("#blind-start").click()
        self.wait_for_trial(1)

    def wait_for_trial(self, number: int) -> None:
        text = f"Trial {number} of"
        self.page.wait_for_function("text => document.querySelector('#blind').innerText.includes(text)", arg=text)
        self.page.wait_for_function(f"{PLAYER}?.state === 'ready'")
        self.page.wait_for_timeout(1100 * blind.SOONEST)

    def listen(self) -> None:
        """Plays every letter for a moment."""
        for key in self.page.evaluate(f"{PLAYER}.versions"):
            self.page.evaluate(f"key => {{ {PLAYER}.select(key); {PLAYER}.play(); }}", key)
            self.page.wait_for_function(f"key => {PLAYER}.played.includes(key)", arg=key)

    def heard(self) -> dict[str, np.ndarray]:
        """What the page plays under each letter."""
        script = f"""async () => {{
          const player = {PLAYER}, found = {{}};
          for (const version of player.versions) {{
            const rendered = await player.render({{ start: 0, seconds: player.seconds, version }});
            found[version] = ({ENCODED})(rendered.channels[0]);
          }}
          return found;
        }}"""
        return {key: decoded(samples) for key, samples in self.page.evaluate(script).items()}


@pytest.fixture(scope="module")
def compared(browser: Any, served: Served, talk: Path) -> Iterator[Visit]:
    opened = Visit(browser, served.url, talk)
    yield opened
    opened.close()


@pytest.fixture
def visit(compared: Visit) -> Visit:
    """The page of all these tests, with names to choose from."""
    if compared.page.locator("#blind-again").is_visible():
        compared.page.locator("#blind-again").click()
        compared.page.wait_for_selector("#blind-start")
        compared.wait_until_quiet()
    return compared


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer counts as soon as all has been played, for a test in which nobody clicks twice."""
    monkeypatch.setattr(blind, "SOONEST", 0.0)


def told(text: str) -> list[str]:
    """Names in what a browser was sent, readable parts of signed tokens included."""
    tokens = re.findall(r'"token": ?"([\w=-]+)\.[0-9a-f]{64}"', text)
    readable = text + "".join(base64.urlsafe_b64decode(token).decode() for token in tokens)
    return [name for name in NAMES if name in readable]


def test_nine_of_ten_right_and_no_name_before_the_end(visit: Visit, plans: Plans, quick: None) -> None:
    assert told(visit.page.locator("#blind").inner_html())  # names can be chosen, so the search works
    visit.page.evaluate("window.answers.splice(0)")
    visit.asked.clear()
    sounds: list[Any] = []
    visit.page.on("response", lambda answer: sounds.append(answer) if "/player/samples" in answer.url else None)
    visit.begin("abx", 10)
    plan = plans[-1]
    for number, trial in enumerate(plan, 1):
        visit.wait_for_trial(number)
        assert told(visit.page.locator("#blind").evaluate("node => node.outerHTML")) == []
        right, wrong = ("a", "b") if trial.x == trial.a else ("b", "a")
        if number in (1, 2):
            heard = visit.heard()
            np.testing.assert_allclose(heard["x"], heard[right], atol=1e-5)
            assert np.abs(heard["x"] - heard[wrong]).max() > 1e-3
        if number == 10:
            texts = visit.answers()
            assert [name for text in texts for name in told(text)] == []
            counts = [sum(f"Trial {k} of 10" in text for text in texts) for k in range(1, 11)]
            assert counts == [1] * 10  # the answers to all clicks are among them
            samples = [answer.body() for answer in sounds]
            assert len(samples) == len(set(samples)) == 2 + 10  # no two are equal, those of A, B and every X
            assert len({len(sample) for sample in samples}) == 1
        visit.listen()
        visit.page.locator(f"#blind-abx-{wrong if number == 7 else right}").click()
    visit.page.wait_for_selector(".blind-outcome")
    assert set(told("".join(visit.answers()))) == {"hybrid", "log-mag"}  # the search would have found them
    outcome = visit.page.locator("#blind-outcome").inner_text()
    assert "9 of 10 correct" in outcome and "p = 0.0107" in outcome and "you do hear a difference" in outcome
    names = ("gru/hybrid", "gru/log-mag")
    assert f"A was {names[plan[0].a]}, B was {names[plan[0].b]}." in outcome
    (test,) = json.loads(visit.download("Answers (JSON)").decode())["tests"]
    assert test["right"] == 9 and test["recording"] == "my secret talk.wav"
    assert [trial["x"] for trial in test["trials"]] == [names[trial.x or 0] for trial in plan]


def test_the_keyboard_is_enough_and_eyes_do_not_help(visit: Visit) -> None:
    visit.begin("abx", 5)
    assert visit.page.evaluate("document.activeElement.matches('.blind-progress')")
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.matches('#blind-player .play')")
    for key, version in (("x", "x"), ("2", "b"), ("a", "a"), ("3", "x"), ("B", "b"), ("1", "a")):
        visit.page.keyboard.press(key)
        assert visit.page.evaluate(f"{PLAYER}.version") == version
    visit.page.keyboard.press("Space")
    visit.page.wait_for_function(f"{PLAYER}.playing && {PLAYER}.position > 0.1")
    painted = """() => {
      const canvas = document.querySelector('#blind-player .timeline canvas');
      const lane = Math.floor(canvas.height / 5);
      const pixels = canvas.getContext('2d').getImageData(0, 2, canvas.width, lane).data;
      return pixels.some((byte) => byte !== 0);
    }"""
    assert not visit.page.evaluate(painted)
    assert not visit.page.locator("#blind-player .meter").is_visible()
    assert visit.page.locator("#compare-player").count() and not visit.page.locator("#compare-player").is_visible()
    visit.page.locator("#blind-abx-b").focus()
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("text=play B, X first")  # no answer: only A has sounded
    visit.listen()
    visit.page.keyboard.press("Enter")
    visit.wait_for_trial(2)
    assert not visit.page.evaluate(f"{PLAYER}.playing")  # nobody goes on hearing what was X before
    visit.listen()
    visit.page.locator("#blind-abx-a").dblclick()
    visit.wait_for_trial(3)
    assert "Trial 3 of 5" in visit.page.locator("#blind-progress").inner_text()
    visit.page.locator("#blind-end").click()
    visit.page.wait_for_selector(".blind-outcome")
    assert "after 2 of 5 trials" in visit.page.locator("#blind-outcome").inner_text()
    visit.page.wait_for_function("document.activeElement.matches('.blind-outcome')")
    assert visit.page.locator("#compare-player").is_visible()


def test_preferences_end_in_a_table_that_can_be_taken_along(visit: Visit, plans: Plans, quick: None) -> None:
    visit.begin("preference", 6, 2)
    for number, trial in enumerate(plans[-1], 1):
        visit.wait_for_trial(number)
        assert list(visit.heard()) == ["a", "b"]
        # always the recommended one, else no difference
        choice = "none" if 0 not in (trial.a, trial.b) else "a" if trial.a == 0 else "b"
        visit.listen()
        visit.page.locator(f"#blind-preference-{choice}").click()
    visit.page.wait_for_selector(".blind-outcome")
    rows = visit.page.locator(".blind-outcome table").first.locator("tbody tr")
    assert rows.count() == 3 and rows.first.locator("th").inner_text() == "gru/hybrid"
    assert rows.first.locator("td").nth(2).inner_text() == rows.first.locator("td").nth(3).inner_text() == "4"
    answers = visit.download("Answers (CSV)").decode().splitlines()
    assert sum(",preference," in answer for answer in answers) == 6
    visit.page.locator("#blind-again").click()
    visit.page.locator("#blind-versions input[type=checkbox]").nth(3).wait_for()  # all can be chosen again


def test_a_page_of_a_server_that_is_no_more_is_told_so(
    browser: Any, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    served = Served(worker_of_three, tmp_path / "visits")
    visit = Visit(browser, served.url, talk)
    visit.begin("abx", 5)
    served.again()
    try:
        visit.page.locator("#blind-abx-a").click()
        visit.page.wait_for_selector("text=This blind test is no longer on the server")
        assert visit.page.locator("#blind-start").is_visible()
    finally:
        visit.context.close()
        served.close()


def test_on_a_phone_in_the_dark_and_in_chinese_it_fits(browser: Any, served: Served, talk: Path, quick: None) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}
    visit = Visit(browser, served.url, talk, **options)
    visit.page.locator("#blind-trials input[type=number]").fill("5")
    visit.page.locator("#blind-start").click()
    visit.page.wait_for_function(f"{PLAYER}?.state === 'ready'")
    sideways = "document.documentElement.scrollWidth - innerWidth"
    assert visit.page.evaluate(sideways) <= 0
    assert "X 与 A 相同，还是与 B 相同？" in visit.page.locator("#blind").inner_text()
    visit.listen()
    visit.page.locator("#blind-abx-a").click()
    visit.page.wait_for_function("document.querySelector('#blind').innerText.includes('第 2 次')")
    visit.page.locator("#blind-end").click()
    visit.page.wait_for_selector(".blind-outcome")
    assert visit.page.evaluate(sideways) <= 0
    box = visit.page.locator(".blind-outcome").bounding_box()
    assert box["x"] + box["width"] <= 390
    visit.close()
