"""The Compare tab's handlers and what it says, with a fake worker and no browser."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import unquote

import gradio as gr
import pytest

from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.denoiser import Denoiser
from denoise_app.inference import replay
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.report import Measured
from denoise_app.metrics.table import METRICS
from denoise_app.ui.compare import html as side_by_side
from denoise_app.ui.compare.tab import LEVELS, CompareTab, models_with_losses
from denoise_app.ui.compare.work import Column, Comparison, checked
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.site import Site
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.session import Sessions
from denoise_app.ui.worker.worker import Worker

from ..tab_page import CHINESE, ENGLISH, TabPage, unserved

Make = Callable[..., Path]
LIMIT = 2_000_000  # bytes of JSON that six spectrograms may be


class Page(TabPage):
    def __init__(self, worker: Any, sessions: Sessions, request: Any = ENGLISH) -> None:
        self.downloads = Downloads()
        with unserved() as blocks, gr.Tab("compare") as place:
            tab = CompareTab(Site(worker, sessions, self.downloads), blocks, place)
        values: dict[Any, Any] = {
            tab.session: None, tab.audio: None, tab.preset: "columns", tab.columns: ["half/hybrid", "wiener"],
            tab.model: "half", tab.show: LEVELS,
        }  # fmt: skip
        super().__init__(tab, values, request)

    def changed(self, widget: Any, properties: dict[str, Any]) -> Any:
        return properties["value"] if "choices" in properties else super().changed(widget, properties)

    def press(self) -> list[dict[Any, Any]]:
        self.order()
        return self.follow(self.tab.on_compare(dict(self.values), self.request))

    def measure(self) -> list[dict[Any, Any]]:
        return self.follow(self.tab.on_measure(self.session, self.request))

    def draw(self, show: str = LEVELS, screen: str = "light 1280") -> None:
        self.take(self.tab.on_draw(self.values[self.tab.session], show, screen, self.request))


@pytest.fixture
def page(worker: Any, sessions: Sessions, recording: Make) -> Page:
    made = Page(worker, sessions)
    made.values[made.tab.audio] = str(recording("my talk.wav", seconds=10.0))
    return made


class Table(HTMLParser):
    """The rows of a table, a cell's text and its data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, dict[str, str | None]]]] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(("", dict(attrs)))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            text, attrs = self.rows[-1][-1]
            self.rows[-1][-1] = text + data, attrs

    def column(self, head: str) -> list[tuple[str, dict[str, str | None]]]:
        place = next(k for k, (text, _) in enumerate(self.rows[0]) if text.startswith(head))
        return [row[place] for row in self.rows[1:] if len(row) > place]


# ----------------------------------------------------------------------------------------------------------- choosing


def test_something_worth_hearing_is_chosen_at_first(page: Page) -> None:
    columns, model = page.tab.on_load(ENGLISH)  # type: ignore[arg-type]
    assert columns.constructor_args["value"] == ["half/hybrid", "half/log-mag", "wiener"]
    labels = [label for label, _ in columns.constructor_args["choices"]]
    assert labels == ["half/hybrid (recommended)", "half/log-mag", "wiener"]
    assert model.constructor_args["choices"] == ["half"] and model.constructor_args["value"] == "half"


def test_only_models_with_several_losses_are_in_the_loss_lab(worker: Any) -> None:
    assert models_with_losses(worker.offers.all()) == ["half"]
    assert models_with_losses(worker.offers.all()[1:]) == []
    first, second = worker.offers.made[:2]
    more = [replace(offer, model="other", loss=loss) for offer in (first, second) for loss in ("mse", offer.loss)]
    assert models_with_losses([first, second, *more]) == ["other", "half"]  # that with the most losses first


def test_the_preset_shows_its_own_list(page: Page) -> None:
    for preset, seen in (("columns", [True, False]), ("losses", [False, True])):
        assert [update.constructor_args["visible"] for update in page.tab.on_preset(preset)] == seen  # type: ignore[arg-type]


def test_the_loss_lab_runs_every_loss_of_one_model_once(page: Page, worker: Any) -> None:
    worker.offers.made.append(replace(worker.offers.made[0], source="hub", revision="f" * 40, repo="a/b"))
    page.values[page.tab.preset] = "losses"
    page.press()
    assert worker.offers.loaded == ["half/hybrid", "half/log-mag"]
    assert "Halves &lt;all&gt;." in page.values[page.tab.favours]
    assert "compressed + si-snr / 10" in page.values[page.tab.favours]  # the equation stands beside the sound
    labels = [version["label"] for version in page.values[page.tab.player]["versions"]]
    assert labels == ["Noisy recording", "hybrid loss", "log-mag loss"]


def test_the_loss_lab_takes_every_model_in_the_folder_of_weights(sessions: Sessions) -> None:
    worker = Worker()
    page, models = Page(worker, sessions), models_with_losses(worker.offers.all())
    assert "gru" in models
    for model in models:
        page.values |= {page.tab.preset: "losses", page.tab.model: model}
        chosen = page.tab._chosen(Say("en"), page.values)
        assert checked(chosen) == tuple(chosen)


@pytest.mark.slow
def test_what_comes_after_the_number_keys_is_heard_and_named_without_one(page: Page, worker: Any) -> None:
    first = worker.offers.made[0]
    worker.offers.made += [replace(first, loss=f"loss{k}") for k in range(14)]
    page.values[page.tab.preset] = "losses"
    page.press()
    page.draw()
    assert len(page.values[page.tab.player]["versions"]) == 17
    titles = [note.text for note in page.values[page.tab.grid].layout.annotations]
    assert titles[9:11] == ["0 loss6 loss", "loss7 loss"]
    keys = [text for text, _ in Table(page.values[page.tab.table]).column("Key")]
    assert keys == [*"1234567890", *[""] * 7]


@pytest.mark.parametrize("say", [Say("en"), Say("zh")])
def test_how_much_each_heard_and_where_it_began_is_told(page: Page, worker: Any, say: Say) -> None:
    known = worker.offers.made[0]
    histories = (
        {"hours_seen": 145.33, "init": "gru/<start>, 132 h of hybrid"},
        {"hours_seen": 2.8, "init": None},
        {"hours_seen": 133.1, "init": "54 h of hybrid, then 56 h of perceptual"},  # no checkpoint that it began from
        {},
    )
    offers = [replace(known, manifest=replace(known.manifest, training=training)) for training in histories]
    compared = [Comparison(Path("talk.wav"), ANY, (Column(offer),)) for offer in (*offers, worker.offers.made[-1])]
    told = [side_by_side.favours(say, comparison) for comparison in compared]
    assert "145 " in told[0] and "<code>gru/&lt;start&gt;</code>" in told[0]
    assert "2.8 " in told[1] and "<code>" not in told[1]
    assert "133 " in told[2] and "54" not in told[2] and "<code>" not in told[2]
    assert [html.count("<p>") for html in told] == [2, 2, 2, 1, 0]  # the loss spelled out, the training


# ---------------------------------------------------------------------------------------------------------- comparing


def test_the_first_column_can_be_heard_while_the_others_run(page: Page) -> None:
    steps = page.press()
    values = [step[page.tab.player] for step in steps if page.tab.player in step]
    assert [[version["key"] for version in value["versions"]] for value in values] == [
        ["noisy", "half/hybrid"],
        ["noisy", "half/hybrid", "wiener"],
    ]
    assert values[0]["recording"] == values[1]["recording"] and values[0]["selected"] == "half/hybrid"
    assert values[1]["versions"][1]["sound"] == values[0]["versions"][1]["sound"]  # not to be fetched again
    assert page.values[page.tab.empty] == "" and page.said == "" and "my talk.wav" in page.values[page.tab.heading]
    assert page.values[page.tab.start]["interactive"] is True and page.values[page.tab.cancel]["visible"] is False
    told = " ".join(step[page.tab.said] for step in steps if page.tab.said in step)
    assert "half/hybrid (1 of 2)" in told and "wiener (2 of 2)" in told
    assert not page.session.busy


def test_texts_follow_the_browser(worker: Any, sessions: Sessions, recording: Make) -> None:
    page = Page(worker, sessions, CHINESE)
    page.press()
    assert "还没有录音" in page.said
    page.values[page.tab.audio] = str(recording())
    page.press()
    page.measure()
    page.draw("noisy")
    assert page.values[page.tab.player]["versions"][0]["label"] == "带噪录音"
    for widget in (page.tab.heading, page.tab.table, page.tab.favours, page.tab.grid_said, page.tab.trade_said):
        html = re.sub(r"<[^>]+>", " ", page.values[widget])
        assert re.search("[\u4e00-\u9fff]", html) and not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", html), html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ([], "at least 2"),
        (["wiener"], "at least 2"),
        (["wiener", "wiener"], "chosen twice"),
        (["nobody", "wiener"], "No model is called"),
        (None, "at least 2"),
    ],
)
def test_columns_that_cannot_be_are_told_and_nothing_else_changes(page: Page, chosen: Any, told: str) -> None:
    page.values[page.tab.columns] = chosen
    page.press()
    assert told in page.said and 'role="alert"' in page.said
    assert page.values[page.tab.start]["interactive"] is True and page.tab.player not in page.values


def test_no_recording_a_lost_one_and_no_sound_are_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is text")
    for path, told in ((None, "no recording yet"), ("/nowhere/a.wav", "no longer on the server"),
                       (str(tmp_path / "text.wav"), "not a sound file")):  # fmt: skip
        page.values[page.tab.audio] = path
        page.press()
        assert told in page.said and str(tmp_path) not in page.said


def test_a_model_that_fails_is_a_row_that_says_why_without_secrets(
    page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denoiser(offer: Entry) -> Denoiser:
        if offer.model == "wiener":
            raise RuntimeError("secret of /home/somebody")
        if offer.loss == "log-mag":
            raise CheckpointError.of("weights-changed", name="half/log-mag")
        return real(offer)

    real = worker.offers.load
    monkeypatch.setattr(worker.offers, "load", denoiser)
    page.values[page.tab.columns] = ["half/log-mag", "wiener", "half/hybrid"]
    page.press()
    page.measure()
    page.draw()
    rows = Table(page.values[page.tab.table]).rows[1:]
    assert [row[1][0] for row in rows] == ["Noisy recording", "half/hybrid", "half/log-mag", "wiener"]
    assert "sha256" in rows[2][2][0] and "nothing is wrong with your recording" in rows[3][2][0]
    assert "secret" not in page.values[page.tab.table] and page.said == ""
    assert len(page.values[page.tab.grid].data) == 2


def test_where_every_model_fails_the_reason_is_told(page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def denoiser(offer: Entry) -> Denoiser:
        raise CheckpointError.of("weights-changed", name=offer.key)

    monkeypatch.setattr(worker.offers, "load", denoiser)
    page.press()
    assert "sha256" in page.said and page.session.result is None


@pytest.mark.slow
def test_cancel_keeps_what_is_done(page: Page, worker: Any) -> None:
    tab = page.tab
    page.order()
    running = tab.on_compare(dict(page.values), page.request)
    for step in running:
        page.take(step)
        if tab.player in step:
            worker.offers.gate = threading.Event()
            page.cancel()
            assert "Finished versions stay" in page.said and page.ready
            worker.offers.gate.set()
    assert "Cancelled" in page.said and len(page.session.result.columns) == 1
    page.draw()
    assert len(page.values[tab.grid].data) == 2


def test_an_order_that_is_cancelled_before_its_turn_never_begins(page: Page, worker: Any) -> None:
    tab = page.tab
    page.order()
    page.cancel()
    assert list(tab.on_compare(dict(page.values), page.request)) == [{tab.session: page.session}]
    assert worker.offers.loaded == []


def test_too_many_who_wait_are_told(page: Page) -> None:
    page.order()
    page.refuse()
    assert not page.session.busy and page.ready
    assert "too many people are waiting, or the server was restarted" in page.said


def test_a_page_that_is_older_than_the_server_is_told_to_compare_again(page: Page) -> None:
    page.draw("noisy")  # the server knows nothing of this visit
    assert "Press Compare again" in page.said
    page.press()
    shutil.rmtree(page.session.folder)  # or it has deleted its files
    page.draw("noisy")
    assert "Press Compare again" in page.said


# ------------------------------------------------------------------------------------------------------------ numbers


def test_the_table_marks_the_best_by_each_metrics_own_direction_in_words(page: Page) -> None:
    page.press()
    assert "measuring" in page.values[page.tab.table]
    page.measure()
    compared: Comparison = page.session.result
    numbers = {
        "half/hybrid": {"snr_estimated": (5.0, 9.0), "noise_floor": (-40.0, -60.0), "speech_level": (-20.0, -26.0)},
        "wiener": {"snr_estimated": (5.0, 7.0), "noise_floor": (-40.0, -50.0), "speech_level": (-20.0, -21.0)},
    }
    for key, found in numbers.items():
        compared = compared.with_numbers(key, {metric: Measured(*pair) for metric, pair in found.items()})
    html = side_by_side.numbers_table(Say("en"), compared)
    table = Table(html)
    assert [text for text, _ in table.column("SNR (estimated)")] == ["5.0", "9.0 best", "7.0"]
    assert [text for text, _ in table.column("Noise floor")] == ["−40.0", "−60.0 best", "−50.0"]
    assert not any("best" in text for text, _ in table.column("Speech level"))
    assert not any("best" in text for text, _ in table.column("DNSMOS overall"))  # all the same
    assert [data.get("data-value") for _, data in table.column("SNR (estimated)")] == ["5.0", "9.0", "7.0"]
    heads = {text: data for text, data in table.rows[0]}
    better = {text.split(" dB")[0]: data["data-better"] for text, data in heads.items()}
    assert better["SNR (estimated)"] == METRICS["snr_estimated"].better == "higher"
    assert better["Noise floor"] == "lower" and better["Speech level"] == "neither"
    assert all(data["aria-sort"] == "none" and data["scope"] == "col" for data in heads.values())
    assert "One recording proves little" in html and "SNR (true)" not in html


def test_what_a_metric_cannot_tell_is_said(page: Page, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    page.values[page.tab.audio] = str(tmp_path / "silence.wav")
    page.press()
    page.measure()
    page.draw()
    assert "this sound is silent" in page.values[page.tab.table]
    assert "No clear speech and pauses" in page.values[page.tab.trade_said]
    assert page.values[page.tab.trade]["visible"] is False


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.mark.slow
def test_six_columns_are_less_than_two_megabytes(page: Page, worker: Any, recording: Make) -> None:
    worker.offers.made += [Entry(f"classical{k}", None, "classical", "built-in", 16_000, True, 512) for k in range(4)]
    page.values[page.tab.audio] = str(recording("wide.wav", seconds=10.0, rate=48_000))
    page.values[page.tab.columns] = [offer.key for offer in worker.offers.made if offer.loss != "log-mag"]
    page.press()
    page.draw()
    figures = [page.values[widget] for widget in (page.tab.grid, page.tab.removed)]
    assert len(figures[0].data) == 7
    assert sum(len(figure.to_json()) for figure in figures) < LIMIT


def test_figures_follow_theme_width_and_what_is_to_be_shown(page: Page) -> None:
    page.press()
    page.draw()
    wide = page.values[page.tab.grid]
    assert [axis.domain[0] for axis in wide.select_xaxes()][1] > 0.3 and wide.layout.coloraxis.cmin == -90
    page.draw("half/hybrid", "dark 390")
    phone = page.values[page.tab.grid]
    assert {axis.domain for axis in phone.select_xaxes()} == {(0, 1)}
    assert phone.layout.font.color != wide.layout.font.color
    assert phone.layout.coloraxis.cmin == -phone.layout.coloraxis.cmax
    assert abs(phone.data[1].z).max() == 0 and 5 <= phone.data[0].z.mean() <= 7  # the noisy one is twice as loud
    assert "louder than “half/hybrid”" in page.values[page.tab.grid_said]
    assert [note.text for note in phone.layout.annotations] == ["1 Noisy recording", "2 half/hybrid", "3 wiener"]


def test_the_table_below_says_what_the_figures_show(page: Page) -> None:
    page.press()
    page.draw()
    said = page.values[page.tab.trade_said]
    assert "removes the most noise in the pauses" in said and "6.0 dB" in said
    rows = Table(said).rows
    assert [row[0][0] for row in rows] == ["Version", "half/hybrid", "wiener"] and rows[1][2][0] == "+6.0"


def test_all_of_it_can_be_taken_along_and_replayed(page: Page) -> None:
    page.values[page.tab.columns] = ["half/hybrid", "wiener"]
    page.press()
    assert page.values[page.tab.downloads] == ""
    page.measure()
    (token, archive), *singles = re.findall(r'href="results/([^/]+)/([^"]+)"', page.values[page.tab.downloads])
    assert [unquote(name) for _, name in singles] == ["my talk.half-hybrid.wav", "my talk.wiener.wav"]
    bundle = page.downloads._offered[token][1]
    assert unquote(archive) == bundle.archive == "my talk.compared.zip"
    assert set(bundle.files) == {
        "my talk.wav", "my talk.half-hybrid.wav", "my talk.half-hybrid.report.json", "my talk.wiener.wav",
        "my talk.wiener.report.json", "my talk.compared.html",
    }  # fmt: skip
    assert all(path.is_file() for path in bundle.files.values())
    receipt = replay.read(bundle.files["my talk.wiener.report.json"])
    assert (receipt.model, receipt.loss, receipt.settings.container) == ("wiener", None, "wav")
    assert receipt.recording == replay.fingerprint(bundle.files["my talk.wav"])
    assert receipt.output == replay.fingerprint(bundle.files["my talk.wiener.wav"])
    assert "data:image/png;base64" in bundle.files["my talk.compared.html"].read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("measured", [1, 4])  # of two numbers each of two columns
def test_a_comparison_that_another_one_overtakes_offers_nothing(page: Page, recording: Make, measured: int) -> None:
    page.press()
    first = page.session.result
    measuring = page.tab.on_measure(page.session, page.request)
    for _ in range(1 + measured):
        page.take(next(measuring))
    page.values[page.tab.audio] = str(recording("next.wav"))
    page.order()
    running = page.tab.on_compare(dict(page.values), page.request)
    for step in running:
        page.take(step)
        if page.tab.player in step:
            break  # one column of two has come out
    assert page.session.result.path != first.path
    assert page.follow(measuring) == [] and page.values[page.tab.downloads] == ""
    running.close()


def test_what_another_tab_used_becomes_the_first_column(page: Page) -> None:
    preset, columns = page.tab.on_hand("half/log-mag", ["half/hybrid", "half/log-mag"])
    assert preset == "columns" and columns["value"] == ["half/log-mag", "half/hybrid"]
    _, many = page.tab.on_hand("new", [f"m{k}" for k in range(6)])
    assert many["value"] == ["new", *(f"m{k}" for k in range(5))]
