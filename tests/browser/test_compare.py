"""The Compare tab in a real browser, with real denoisers: what is heard, sorted, drawn and read out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio.clip import Clip
from denoise_app.audio.level import from_db

from . import visit as base
from .visit import ENCODED, PATIENCE, Served, decoded, in_pink_noise

pytestmark = pytest.mark.browser

PLAYER = "document.querySelector('#compare-player .denoise-player').parentElement.denoisePlayer"
TABLE = "#compare-table table"
RATE = 16_000


@pytest.fixture(scope="module")
def talk(speech: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of speech in pink noise at 5 dB, 16 kHz, 16 bits."""
    path = tmp_path_factory.mktemp("talk") / "my talk.wav"
    soundfile.write(path, in_pink_noise(speech, 4, RATE), RATE, "PCM_16")
    return path


class Visit(base.Visit):
    """The tab as somebody has it open."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        super().__init__(browser, **options)
        self.open(url)
        self.page.get_by_role("tab").nth(1).click()
        self.page.wait_for_function("document.querySelector('#compare-columns')?.innerText.includes('mmse-lsa')")

    def compare(self, talk: Path) -> None:
        self.page.locator("#compare .recording input[type=file]").set_input_files(talk)
        self.page.wait_for_function("document.querySelector('#compare-facts').innerText.includes('LUFS')")
        self.page.locator("#compare-start").click()
        self.wait_for_columns(4)

    def wait_for_columns(self, count: int) -> None:
        self.page.wait_for_selector("#compare-player .denoise-player canvas")
        self.page.wait_for_function(f"{PLAYER}.state === 'ready' && {PLAYER}.versions.length === {count}")

    def wait_for_numbers(self) -> None:
        self.page.wait_for_function(
            "document.querySelector('#compare-table table') && "
            "!document.querySelector('#compare-table').innerText.includes('…')",
            timeout=3 * PATIENCE,
        )

    def order(self) -> list[str]:
        """The names in the table, from its top."""
        names: list[str] = self.page.locator(f"{TABLE} tbody th").all_inner_texts()
        return names

    def values(self, head: str) -> list[float]:
        """A column of the table from its top, without what has no value."""
        found: list[float] = self.page.evaluate(
            """head => {
              const heads = [...document.querySelectorAll('#compare-table thead th')];
              const place = heads.findIndex((th) => th.innerText.startsWith(head));
              const cells = [...document.querySelectorAll('#compare-table tbody tr')].map((row) => row.cells[place]);
              return cells.filter((cell) => 'value' in cell.dataset).map((cell) => Number(cell.dataset.value));
            }""",
            head,
        )
        return found


@pytest.fixture(scope="module")
def compared(browser: Any, served: Served, talk: Path) -> Iterator[Visit]:
    """A page that shows a comparison, for tests that only look at it."""
    visit = Visit(browser, served.url)
    visit.compare(talk)
    yield visit
    visit.close()


# ---------------------------------------------------------------------------------------------------------------- ear


def test_keys_switch_and_the_samples_are_those_of_the_version_at_matched_loudness(
    compared: Visit, served: Served
) -> None:
    keys = compared.page.evaluate(f"{PLAYER}.versions")
    assert keys[0] == "noisy" and "mmse-lsa" in keys and len(set(keys)) == 4
    sounds = {path.parent.name: path for path in served.visits.rglob("after.wav")}
    assert len(sounds) == 3
    files = [soundfile.read(path, dtype="float32")[0] for path in sounds.values()]
    files.append(soundfile.read(next(served.visits.rglob("my talk.wav")), dtype="float32")[0])
    compared.page.locator("#compare-player .timeline").focus()
    matches, levels = [], []
    for number, key in enumerate(keys, start=1):
        compared.page.keyboard.press(str(number))
        compared.page.wait_for_function(f"{PLAYER}.version === '{key}'")
        script = f"async () => ({ENCODED})((await {PLAYER}.render({{ start: 0, seconds: 4 }})).channels[0])"
        heard = decoded(compared.page.evaluate(script))
        gain = compared.page.evaluate(
            "n => document.querySelectorAll('#compare-player .gain')[n].innerText", number - 1
        )
        decibels = float(re.sub(r"[^\d.−]", "", gain).replace("−", "-") or 0)
        distances = [np.abs(heard - from_db(decibels) * file[: heard.size]).max() for file in files]
        matches.append(int(np.argmin(distances)))
        assert min(distances) < 0.01 < sorted(distances)[1]  # the shown gain is rounded to a tenth of a dB
        levels.append(20 * np.log10(heard.std()))
    assert sorted(matches) == [0, 1, 2, 3] and matches[0] == 3
    assert np.ptp(levels) < 3  # equally loud is not equally strong, but near it


def test_versions_that_arrive_leave_playing_where_it_is(browser: Any, served: Served, talk: Path) -> None:
    visit = Visit(browser, served.url)
    visit.page.locator("#compare .recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#compare-facts').innerText.includes('LUFS')")
    visit.page.locator("#compare-start").click()
    visit.page.wait_for_selector("#compare-player .denoise-player canvas")
    visit.page.evaluate(f"{PLAYER}.setLooping(true)")
    visit.page.evaluate(f"{PLAYER}.play()")
    visit.page.wait_for_function(f"{PLAYER}.playing")
    visit.wait_for_columns(4)
    assert visit.page.evaluate(f"[{PLAYER}.playing, {PLAYER}.version === {PLAYER}.versions[1]]") == [True, True]
    visit.close()


# -------------------------------------------------------------------------------------------------------------- table


def test_the_table_is_sorted_by_clicks_and_by_keys_without_running_anything(compared: Visit) -> None:
    compared.wait_for_numbers()
    loads = compared.page.evaluate(f"{PLAYER}.loads")
    first = compared.order()
    assert first[0] == "Noisy recording" and "mmse-lsa" in first
    head = compared.page.locator(f"{TABLE} thead th", has_text="SNR (estimated)")
    head.locator("button").click()
    values = compared.values("SNR (estimated)")
    assert values == sorted(values, reverse=True) and head.get_attribute("aria-sort") == "descending"
    compared.page.keyboard.press("Enter")  # the focus stays on the header
    assert compared.values("SNR (estimated)") == values[::-1] and head.get_attribute("aria-sort") == "ascending"
    compared.page.locator(f"{TABLE} thead button", has_text="Noise floor").click()
    floors = compared.values("Noise floor")
    assert floors == sorted(floors) and len(floors) == 4  # lower is better: the best comes first
    assert compared.page.locator(f"{TABLE} th[aria-sort=ascending]").count() == 1
    assert "best" in compared.page.locator(f"{TABLE} tbody tr").first.inner_text()
    compared.page.locator(f"{TABLE} thead button", has_text="Real-time").click()
    assert compared.order()[-1] == "Noisy recording"  # what has no value comes last
    compared.page.locator(f"{TABLE} thead button", has_text="Key").click()
    assert compared.order() == first
    assert compared.page.evaluate(f"{PLAYER}.loads") == loads


# ------------------------------------------------------------------------------------------------------------ figures


def test_zoom_is_linked_and_differences_are_drawn(compared: Visit) -> None:
    plot = compared.page.locator("#compare-grid .js-plotly-plot")
    plot.locator(".heatmaplayer image").nth(3).wait_for(state="attached")
    assert plot.locator(".heatmaplayer image").count() == 4
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    compared.page.mouse.move(box["x"] + 100, box["y"] + 60)
    compared.page.mouse.down()
    compared.page.mouse.move(box["x"] + 250, box["y"] + 120, steps=5)
    compared.page.mouse.up()
    layout = "document.querySelector('#compare-grid .js-plotly-plot')._fullLayout"
    compared.page.wait_for_function(f"{layout}.xaxis.range[1] < 3.5")
    ranges = compared.page.evaluate(f"['xaxis', 'xaxis2', 'xaxis4'].map((name) => [...{layout}[name].range])")
    assert ranges[0] == ranges[1] == ranges[2]
    compared.page.locator("#compare-show input").click()
    compared.page.get_by_role("option", name="Difference from: mmse-lsa").click()
    compared.page.wait_for_function(f"{layout}.coloraxis.cmin === -40")
    assert "louder than “mmse-lsa”" in compared.page.locator("#compare-outcome").inner_text()
    assert "removes the most noise in the pauses" in compared.page.locator("#compare-outcome").inner_text()


def test_the_loss_lab_compares_every_loss_of_a_model(browser: Any, served: Served, talk: Path) -> None:
    visit = Visit(browser, served.url, locale="zh-CN")
    visit.page.locator("#compare-preset input").nth(1).check()
    visit.page.wait_for_selector("#compare-model input")
    visit.page.locator("#compare .recording input[type=file]").set_input_files(talk)
    visit.page.wait_for_function("document.querySelector('#compare-facts').innerText.includes('LUFS')")
    visit.page.get_by_role("button", name="开始比较").click()
    visit.page.wait_for_selector("#compare-cancel", state="hidden")
    visit.page.wait_for_selector("#compare-trade .js-plotly-plot .legendtext", state="attached")
    model = visit.page.locator("#compare-model input").input_value()
    losses = [key.split("/")[1] for key in visit.page.evaluate(f"{PLAYER}.versions")[1:]]
    assert len(losses) >= 2
    named = visit.page.locator("#compare-favours summary b").all_inner_texts()
    assert named == [f"{loss} 损失" for loss in losses]
    visit.page.evaluate(f"{PLAYER}.select('{model}/{losses[1]}')")  # what is heard is told beside its sound
    visit.page.wait_for_selector(f"#compare-favours [data-version='{model}/{losses[1]}'][open] .scores")
    assert visit.page.locator("#compare-favours [open]").count() == 1
    points = visit.page.locator("#compare-trade .legendtext").all_text_contents()  # many names would overlap
    assert all(point.endswith(f"{loss} 损失") for point, loss in zip(points, losses, strict=True))
    text = visit.page.locator("#compare").inner_text()
    left = re.findall(r"[A-Za-z]+ [a-z]+ [a-z]+", text)
    assert [words for words in left if "talk" not in words] == [], "English is left on the Chinese page"
    visit.close()


# ------------------------------------------------------------------------------------------------------------ screens


def test_a_phone_does_not_scroll_sideways_and_everything_has_a_name(browser: Any, served: Served, talk: Path) -> None:
    visit = Visit(browser, served.url, viewport={"width": 390, "height": 800}, color_scheme="dark", has_touch=True)
    visit.compare(talk)
    visit.page.wait_for_selector("#compare-grid .js-plotly-plot .heatmaplayer image", state="attached")
    visit.check_width("#compare", scrolling=".versus, .scrolls, table")
    region = visit.page.get_by_role("region", name="Metrics of every version")
    assert region.evaluate("part => part.scrollWidth > part.clientWidth && part.tabIndex === 0")
    visit.check_names("#compare")
    visit.close()


def test_a_recording_that_is_handed_on_is_compared_by_denoisers_whatever_was_chosen_before(
    browser: Any, served: Served
) -> None:
    visit = Visit(browser, served.url)
    visit.page.get_by_label("Loss Lab: one model, every training loss").check()
    visit.page.locator("#compare-columns").wait_for(state="hidden")
    visit.page.get_by_role("tab").nth(0).click()
    visit.page.locator("#clean").get_by_role("button", name="Telephone", exact=True).click()
    visit.page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    visit.page.locator("#denoise").click()
    visit.page.locator("#to-compare").click()
    visit.page.locator("#compare-columns").wait_for()
    assert visit.page.get_by_label("Denoisers of your choice").is_checked()
    visit.page.wait_for_function("document.querySelector('#compare-facts').innerText.includes('LUFS')")
    visit.page.locator("#compare-start").click()
    visit.wait_for_columns(4)
    visit.page.locator("#compare-cancel").wait_for(state="hidden")
    player, told = (visit.page.locator(place).bounding_box() for place in ("#compare-player", "#compare-favours"))
    assert player["y"] >= 0 and player["y"] + player["height"] <= 900  # without a scroll
    assert told["x"] >= player["x"] + player["width"] and told["y"] == pytest.approx(player["y"], abs=1)  # beside it
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.check_width("#compare-outcome", ".scrolls, .versus, .js-plotly-plot")
    visit.close()
