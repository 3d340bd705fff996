"""The Clean tab's handlers, with a fake worker and no browser."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile

from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference import replay
from denoise_app.inference.engine import Cancelled
from denoise_app.inference.sources import LevelMeter
from denoise_app.ui.clean import link
from denoise_app.ui.clean.tab import CleanTab
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.excerpts import loudness
from denoise_app.ui.parts.language import say_for
from denoise_app.ui.parts.player import player_samples
from denoise_app.ui.parts.site import Examples, Site
from denoise_app.ui.parts.source import example_handler
from denoise_app.ui.worker.session import Sessions

from ..tab_page import CHINESE, ENGLISH, TabPage, unserved

Make = Callable[..., Path]


class Page(TabPage):
    def __init__(
        self, worker: Any, sessions: Sessions, examples: tuple[Path, ...] = (), request: Any = ENGLISH
    ) -> None:
        self.downloads = Downloads()
        with unserved() as blocks:
            tab = CleanTab(Site(worker, sessions, self.downloads, examples=Examples(examples)), blocks)
        values: dict[Any, Any] = {
            tab.session: None, tab.audio: None, tab.checkpoint: "half/hybrid", tab.channels: "each", tab.strength: 100,
            tab.most: 60, tab.high_band: "follow", tab.loudness: "keep", tab.lufs: -16, tab.true_peak: -1,
            tab.format: "", tab.bits: 0,
            tab.stretch.start: "", tab.stretch.end: "", tab.stretch.noise: None,
        }  # fmt: skip
        super().__init__(tab, values, request)

    def press(self, handler: Callable[..., Any]) -> list[dict[Any, Any]]:
        return self.follow(handler(dict(self.values), self.request))

    def offered(self, name: str) -> Path:
        """A file that can be downloaded now, made if it has to be."""
        ((_, bundle),) = self.downloads._offered.values()
        path = bundle.path(name)
        assert path is not None
        return path

    def denoise(self) -> list[dict[Any, Any]]:
        self.order()
        return self.press(self.tab.on_denoise)


@pytest.fixture
def page(worker: Any, sessions: Sessions) -> Page:
    return Page(worker, sessions)


def test_denoise_shows_the_result_and_gives_the_button_back(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording("my talk.wav"))
    page.denoise()
    assert page.values[page.tab.start]["interactive"] is True and page.values[page.tab.cancel]["visible"] is False
    value = page.values[page.tab.player]
    assert [version["key"] for version in value["versions"]] == ["before", "after", "removed"]
    assert value["selected"] == "after" and value["versions"][0]["gain_db"] == pytest.approx(-6.0, abs=0.2)
    assert page.values[page.tab.empty] == "" and page.values[page.tab.said] == ""
    assert "my talk.wav · half/hybrid" in page.values[page.tab.heading]
    assert "16 kHz · mono · 16-bit" in page.values[page.tab.fidelity]
    assert "my%20talk.denoised.wav" in page.values[page.tab.downloads]
    assert not page.session.busy


def test_nothing_to_denoise_is_told_and_nothing_else_changes(page: Page) -> None:
    page.denoise()
    assert 'role="alert"' in page.values[page.tab.said] and "no recording yet" in page.values[page.tab.said]
    assert page.values[page.tab.start]["interactive"] is True and page.tab.player not in page.values


def test_errors_keep_recording_settings_and_the_result_that_is_shown(
    page: Page, recording: Make, tmp_path: Path
) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    shown = dict(page.values)
    (tmp_path / "text.wav").write_text("this is text")
    page.values[page.tab.audio] = str(tmp_path / "text.wav")
    page.values[page.tab.strength] = 40
    page.denoise()
    assert (
        "text.wav is not a sound file" in page.values[page.tab.said] and str(tmp_path) not in page.values[page.tab.said]
    )
    assert page.values[page.tab.audio] == str(tmp_path / "text.wav") and page.values[page.tab.strength] == 40
    assert page.values[page.tab.player] == shown[page.tab.player]
    page.values[page.tab.audio] = str(recording("next.wav"))
    page.denoise()
    assert page.values[page.tab.said] == "" and "next.wav" in page.values[page.tab.heading]


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("secret /home/x"), MemoryError(), OSError(13, "denied", "/home/x")])
def test_an_error_of_the_program_is_told_without_its_text(
    page: Page, recording: Make, error: Exception, monkeypatch: pytest.MonkeyPatch, worker: Any
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker.offers, "load", fail)
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    said = page.values[page.tab.said]
    assert "nothing is wrong with your recording" in said and "/home" not in said and "secret" not in said


def test_a_checkpoint_that_is_refused_is_told(
    page: Page, recording: Make, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CheckpointError.of("weights-changed", name="half/hybrid")

    monkeypatch.setattr(worker.offers, "load", fail)
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    assert "sha256" in page.values[page.tab.said]


def test_texts_follow_the_browser(worker: Any, sessions: Sessions, recording: Make) -> None:
    page = Page(worker, sessions, request=CHINESE)
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    assert "结果" in page.values[page.tab.heading]
    assert [version["label"] for version in page.values[page.tab.player]["versions"]] == [
        "降噪前",
        "降噪后",
        "被去除的部分",
    ]
    page.values[page.tab.audio] = None
    page.denoise()
    assert "还没有录音" in page.values[page.tab.said]


def test_a_change_of_strength_renders_again_and_nothing_more(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    first = page.session.result
    page.press(page.tab.on_settings)
    assert page.session.result is first  # nothing had changed
    page.values[page.tab.strength] = 50
    page.press(page.tab.on_settings)
    assert page.session.result.order.settings.strength == 50
    assert page.session.result.separation is first.separation and worker.offers.loaded == ["half/hybrid"]


def test_a_change_before_there_is_a_result_waits_for_it(page: Page) -> None:
    assert page.press(page.tab.on_settings) == [{page.tab.session: None}]


def test_a_setting_that_cannot_be_is_told(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    page.values[page.tab.loudness], page.values[page.tab.lufs] = "target", 12
    page.press(page.tab.on_settings)
    assert "needs a number from -70 to 0 LUFS" in page.values[page.tab.said]


def test_a_number_beyond_its_range_reaches_the_page_and_counts_only_with_a_target(page: Page, recording: Make) -> None:
    """Gradio would refuse the order, and the page could not say why."""
    tab = page.tab
    page.values |= {tab.audio: str(recording()), tab.lufs: tab.lufs.preprocess(5)}
    assert (tab.true_peak.preprocess(500), tab.lufs.preprocess(None)) == (500, None)
    page.denoise()
    assert page.said == "" and page.session.result is not None, "the level is kept: no target counts"
    page.values[tab.loudness] = "target"
    for lufs in (5, None):
        page.values[tab.lufs] = lufs
        page.denoise()
        assert "needs a number from -70 to 0 LUFS" in page.said and "wait" not in page.said


def test_while_a_denoiser_runs_changes_wait(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    worker.offers.gate = threading.Event()
    page.order()
    running = page.tab.on_denoise(dict(page.values), page.request)
    page.take(next(running))
    page.take(next(running))
    page.values[page.tab.strength] = 10
    assert page.press(page.tab.on_settings) == [{page.tab.session: page.session}]
    worker.offers.gate.set()
    for step in running:
        page.take(step)
    assert page.session.result.order.settings.strength == 100
    page.press(page.tab.on_settings)  # as the page does when the denoiser is done
    assert page.session.result.order.settings.strength == 10


def test_cancel_ends_the_work_and_keeps_the_recording(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    worker.offers.gate = threading.Event()
    page.order()
    running = page.tab.on_denoise(dict(page.values), page.request)
    page.take(next(running))
    page.take(next(running))
    page.cancel()
    assert "Cancelled" in page.said and page.ready
    worker.offers.gate.set()
    page.follow(running)
    assert "Cancelled" in page.said and page.ready and page.session.result is None
    assert page.values[page.tab.audio] is not None
    assert [path for path in page.session.folder.rglob("*") if path.is_file()] == []


def test_an_order_that_is_cancelled_before_its_turn_never_begins(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    page.order()
    page.cancel()
    assert page.press(page.tab.on_denoise) == [{page.tab.session: page.session}]
    assert worker.offers.loaded == [] and page.session.result is None


def test_pressing_twice_denoises_once(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    page.order()
    page.order()
    page.press(page.tab.on_denoise)
    page.press(page.tab.on_denoise)
    assert worker.offers.loaded == ["half/hybrid"]


def test_too_many_who_wait_are_told(page: Page) -> None:
    page.order()
    page.refuse()
    assert not page.session.busy
    assert "too many people are waiting, or the server was restarted" in page.said and page.ready


def test_a_cancelled_order_that_ends_late_leaves_the_next_alone(page: Page, recording: Make, worker: Any) -> None:
    page.values[page.tab.audio] = str(recording())
    worker.offers.gate = threading.Event()
    page.order()
    former = page.tab.on_denoise(dict(page.values), page.request)
    page.take(next(former))
    page.take(next(former))
    page.cancel()
    page.order()
    before = dict(page.values)
    worker.offers.gate.set()
    page.follow(former)
    assert page.values == before and not page.ready
    page.press(page.tab.on_denoise)
    assert page.session.result is not None and page.ready


@pytest.mark.slow
@pytest.mark.parametrize("error", [None, ValueError("half a file"), Cancelled()])
def test_what_comes_after_a_cancel_is_not_shown_over_it(page: Page, error: Exception | None) -> None:
    page.order()
    session, orders = page.session, page.tab.orders

    def work(job: Any) -> Iterator[dict[Any, Any]]:
        yield {orders.said: "half"}
        yield {orders.said: "nearly"}
        if error is not None:
            raise error

    running = orders.carry_out(say_for(page.request), session, work)
    page.take(next(running))
    page.take(next(running))
    assert page.said == "half"
    page.cancel()
    page.follow(running)
    assert "Cancelled" in page.said and page.ready


def test_a_long_recording_shows_its_preview_first_then_the_whole(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording(seconds=31.0, rate=8_000))
    shown = [step for step in page.denoise() if page.tab.heading in step]
    assert ["Preview: 0:00.0 to 0:10.0" in step[page.tab.heading] for step in shown] == [True, False]
    assert [step[page.tab.player]["frames"] for step in shown] == [80_000, 248_000]
    assert shown[0][page.tab.downloads] == "" != shown[1][page.tab.downloads]


def test_where_a_loudness_is_asked_for_the_whole_is_shown_before_its_file(
    page: Page, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_app.ui.worker.background.PAUSE", 0.0)
    path = recording(seconds=31.0, rate=8_000)
    page.values |= {page.tab.audio: str(path), page.tab.loudness: "target", page.tab.lufs: loudness(path) - 6.02}
    shown = [step for step in page.denoise() if page.tab.heading in step]
    assert ["Preview: 0:00.0 to 0:10.0" in step[page.tab.heading] for step in shown] == [True, False, False]
    first, early, whole = (step[page.tab.player] for step in shown)
    assert (first["frames"], early["frames"], whole["frames"]) == (80_000, 248_000, 248_000)
    assert [(one["key"], one["computed"]) for one in early["versions"]] == [("before", False), ("after", True)]
    assert early["versions"][0]["gain_db"] == pytest.approx(whole["versions"][0]["gain_db"], abs=0.1)
    assert early["recording"] == whole["recording"], "playing goes on when the file is there"
    assert shown[0][page.tab.downloads] == shown[1][page.tab.downloads] == "" != shown[2][page.tab.downloads]


def test_numbers_and_report_arrive_after_the_sound(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    assert "measuring" in page.values[page.tab.cards] and "Report in a moment" in page.values[page.tab.downloads]
    steps = list(page.tab.on_measure(page.session, page.request))
    for step in steps:
        page.take(step)
    cards = [step[page.tab.cards] for step in steps if page.tab.cards in step]
    assert "measuring" in cards[0] and "measuring" not in cards[1] and "3.00" in cards[1]
    assert "talk.report.json" in page.values[page.tab.downloads]
    result = page.session.result
    assert replay.read(page.offered("talk.report.json")).output == replay.fingerprint(result.after)
    assert list(page.tab.on_measure(page.session, page.request)) == [{page.tab.session: page.session}]


def test_figures_come_with_their_words(page: Page, recording: Make) -> None:
    assert (
        page.tab.on_draw(None, "linear", "light", page.request)[page.tab.figures].constructor_args["visible"] is False
    )
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    drawn = page.tab.on_draw(page.session, "log", "dark", page.request)
    assert "fell by 6.0 dB" in drawn[page.tab.figures_said] and "<table>" in drawn[page.tab.figures_said]
    assert drawn[page.tab.plot].layout.yaxis.type != "linear"
    assert [trace.type for trace in drawn[page.tab.plot].data].count("heatmap") == 3


def test_facts_of_a_recording_come_at_once_and_its_levels_after(page: Page, recording: Make) -> None:
    source, path = page.tab.source, str(recording())
    page.take(source.on_recording(path, None, page.request))
    first, then = page.values[source.facts], source.on_levels(path, page.session, page.request)
    assert "measuring" in first and "16 kHz" in first and "dBFS" in then and "measuring" not in then
    assert source.on_recording(None, page.session, page.request)[source.facts] == ""
    assert source.on_levels(None, page.session, page.request) == gr.skip()


def test_levels_are_told_of_the_recording_that_is_there_alone(
    page: Page, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a long one may be known when another has taken its place, or may have been asked for once too often."""
    source, path, other = page.tab.source, str(recording()), str(recording("other.wav"))
    page.take(source.on_recording(path, None, page.request))
    assert source.on_levels(other, page.session, page.request) == gr.skip()  # told what it is first
    measured, blocks = LevelMeter.push, []

    def push(meter: LevelMeter, block: Any) -> None:
        measured(meter, block)
        blocks.append(block)
        page.take(source.on_recording(other, page.session, page.request))

    monkeypatch.setattr(LevelMeter, "push", push)
    assert source.on_levels(path, page.session, page.request) == gr.skip()
    assert len(blocks) == 1  # and no more is computed for it


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "nan", "gone"])
def test_a_bad_recording_is_told_when_it_is_chosen(page: Page, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.wav"
    if kind == "text":
        path.write_text("this is text")
    elif kind == "nan":
        soundfile.write(path, np.full(1000, np.nan), 16_000, "FLOAT")
    source = page.tab.source
    page.take(source.on_recording(str(path), None, page.request))
    html = page.values[source.facts]
    if kind == "nan":  # which its header does not tell
        html = source.on_levels(str(path), page.session, page.request)
    assert 'role="alert"' in html and str(tmp_path) not in html


@pytest.mark.parametrize("chosen", [None, ""])
def test_without_its_lists_a_page_orders_what_is_recommended(page: Page, recording: Make, chosen: str | None) -> None:
    page.values |= {page.tab.audio: str(recording()), page.tab.checkpoint: chosen}
    page.denoise()
    assert page.session.result.order.offer == page.tab._offers.recommended()
    page.values[page.tab.checkpoint] = "half/gone"
    page.denoise()
    assert 'role="alert"' in page.said and "half/gone" in page.said


def test_an_example_is_copied_into_the_visit(worker: Any, sessions: Sessions, recording: Make) -> None:
    example = recording("english-fan.wav")
    page = Page(worker, sessions, (example,))
    path, session = example_handler(sessions, page.tab.session, example)(None, ENGLISH)
    assert Path(path).parent.parent == session.folder and Path(path).read_bytes() == example.read_bytes()
    assert len(page.tab.source.examples) == 1


def test_the_lists_name_the_recommended_denoiser_first_hand(page: Page) -> None:
    model, checkpoint, about, said, *settings = page.tab.on_load("", "", "", page.request)
    assert said == "" and all("value" not in update for update in settings)
    assert model.constructor_args["value"] == "half" and checkpoint.constructor_args["value"] == "half/hybrid"
    assert [key for _, key in checkpoint.constructor_args["choices"]] == ["half/hybrid", "half/log-mag"]
    assert "recommended" in checkpoint.constructor_args["choices"][0][0] and "Halves &lt;all&gt;." in about


def test_an_address_restores_denoiser_and_settings(page: Page) -> None:
    page.values[page.tab.audio] = None
    address = "?denoiser=half/log-mag&strength=40&most=12&lufs=-20&format=flac&bits=24&channels=mid&nonsense=1"
    _, checkpoint, _, said, *settings = page.tab.on_load(address, "", "", page.request)
    assert checkpoint.constructor_args["value"] == "half/log-mag" and "nonsense" in said
    values = [update.get("value") for update in settings]
    assert values == [40, 12, None, "target", -20, None, "flac", 24, "mid"]
    *_, said = page.tab.on_load("?denoiser=gone/hybrid", "", "", page.request)[:4]
    assert "gone" in said, "a checkpoint that is not here is named, and the best is chosen"


def test_the_link_of_a_result_restores_what_made_it(page: Page, recording: Make) -> None:
    page.values |= {page.tab.audio: str(recording()), page.tab.strength: 70, page.tab.channels: "mid"}
    page.denoise()
    for step in page.tab.on_measure(page.session, page.request):
        page.take(step)
    links = re.findall(r'href="(\?[^"]*)"', page.values[page.tab.downloads])
    wanted = link.parse(html.unescape(links[0]))
    assert (wanted.denoiser, wanted.values, wanted.unread) == ("half/hybrid", {"strength": 70, "channels": "mid"}, ())


def test_the_figures_can_be_taken_along(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording("my <talk>.wav"))
    page.denoise()
    for step in page.tab.on_measure(page.session, page.request):
        page.take(step)
    assert not page.session.result.after.with_name("plots.html").exists(), "it is made when somebody asks for it"
    written = page.offered("my <talk>.plots.html").read_text("utf-8")
    assert "<title>my &lt;talk&gt;.wav</title>" in written and written.count("data:image/png;base64") == 3
    assert "<script src" not in written, "nothing is fetched from elsewhere"
    assert "my%20%3Ctalk%3E.plots.html" in page.values[page.tab.downloads]


def test_a_model_without_weights_has_no_checkpoints_to_choose(page: Page) -> None:
    model, checkpoint, about = page.tab.on_model("wiener", page.request)
    assert model.constructor_args["value"] == "wiener" and checkpoint.constructor_args["value"] == "wiener"
    assert checkpoint.constructor_args["visible"] is False and "Built in" in about


def test_what_is_kept_goes_with_the_visit(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    state = page.tab.session
    assert state.time_to_live == 3600
    folder = page.session.folder
    state.delete_callback(page.session)
    assert not folder.exists()


def test_a_look_on_the_hub_adds_to_the_lists_and_says_what_was_left_out(
    page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> tuple[int, list[CheckpointError]]:
        known = worker.offers.made[0]
        worker.offers.made.append(
            replace(known, source="hub", repo="somebody/models", revision="ab" * 20, cached=False)
        )
        return 1, [CheckpointError.of("no-weights", name="somebody/old")]

    monkeypatch.setattr(worker.offers, "list_hub", look)
    _, checkpoint, _, said = page.tab.on_hub({page.tab.checkpoint: "half/hybrid"}, page.request)
    key = f"half/hybrid@{'ab' * 20}"
    assert ("hybrid (compressed spectrum + SI-SNR) · somebody/models @ abababa", key) in checkpoint.constructor_args[
        "choices"
    ]
    assert "Found 1 on the Hub" in said and "somebody/old holds no model.safetensors" in said
    about = page.tab.on_checkpoint(key, page.request)
    assert "somebody/models at abababa" in about and "will be downloaded when you press Denoise" in about


def test_a_checkpoint_that_is_no_longer_there_is_told(page: Page, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.offers, "list_hub", lambda: (0, []))
    worker.offers.made.pop(1)
    about = page.tab.on_checkpoint("half/log-mag", page.request)
    assert 'role="alert"' in about and "half/log-mag" in about
    _, checkpoint, _, said = page.tab.on_hub({page.tab.checkpoint: "half/log-mag"}, page.request)
    assert "half/log-mag" in said and "0 on the Hub" in said
    assert checkpoint.constructor_args["value"] == "half/hybrid"
    assert [key for _, key in checkpoint.constructor_args["choices"]] == ["half/hybrid"]


def test_a_model_that_is_no_longer_there_is_told_and_leaves_the_list(page: Page, worker: Any) -> None:
    worker.offers.made = [offer for offer in worker.offers.made if offer.model != "wiener"]
    model, checkpoint, said = page.tab.on_model("wiener", page.request)
    assert 'role="alert"' in said and "wiener" in said
    assert model.constructor_args["value"] == "half" and checkpoint.constructor_args["value"] == "half/hybrid"
    assert [key for _, key in model.constructor_args["choices"]] == ["half"]


def test_what_was_removed_is_written_only_when_it_is_asked_for(page: Page, recording: Make) -> None:
    path = recording("my talk.wav")
    page.values[page.tab.audio] = str(path)
    page.denoise()
    result = page.session.result
    assert {file.name for file in result.after.parent.iterdir()} == {"after.wav"}
    removed = soundfile.read(page.offered("my talk.removed.wav"))[0]
    np.testing.assert_allclose(soundfile.read(result.after)[0] + removed, soundfile.read(path)[0], atol=3 / 32768)
    page.values[page.tab.strength] = 50
    page.press(page.tab.on_settings)
    half = soundfile.read(page.offered("my talk.removed.wav"))[0]
    np.testing.assert_allclose(half, removed / 2, atol=2 / 32768)


def test_removed_is_heard_without_a_file_and_gone_with_its_result(page: Page, recording: Make) -> None:
    page.values[page.tab.audio] = str(recording())
    page.denoise()
    value = page.values[page.tab.player]
    assert [version["computed"] for version in value["versions"]] == [False, False, True]
    request = {"token": value["token"], "version": 2, "start": 3_000, "frames": 500}
    heard = np.frombuffer(player_samples(request)["data"], "<f4")
    expected = page.session.result.removed.read(0, 32_000)[0, 3_000:3_500]
    np.testing.assert_allclose(heard, expected, atol=1e-6)
    page.values[page.tab.strength] = 50
    page.press(page.tab.on_settings)
    assert player_samples(request) == {"error": "gone"}


def test_the_recording_goes_on_to_another_tab(page: Page, sessions: Sessions, recording: Make) -> None:
    skipped, other = page.tab.on_hand(None, None)
    assert skipped == gr.skip()
    page.values[page.tab.audio] = str(recording("my talk.wav"))
    page.denoise()
    path, other = page.tab.on_hand(page.session, other)
    assert Path(path).name == "my talk.wav" and Path(path).is_relative_to(other.folder)
    sessions.close(page.session)
    assert Path(path).is_file()  # it is the other visit's own


def test_a_preset_chooses_what_the_catalogue_means_by_it(page: Page, worker: Any, monkeypatch: Any) -> None:
    assert list(page.tab.presets) == ["best", "fast", "live"]
    asked: list[str] = []
    recommended = worker.offers.recommended

    def meant(name: str | None = None) -> Any:
        asked.append(str(name))
        return recommended("wiener" if name == "fast" else None)

    monkeypatch.setattr(worker.offers, "recommended", meant)
    model, checkpoint, _ = page.tab.preset_handler("fast")(page.request)
    assert asked[0] == "fast" and model.constructor_args["value"] == checkpoint.constructor_args["value"] == "wiener"


# ---------------------------------------------------------------------------------------------------- a stretch of it


def in_order(page: Page, handler: Callable[..., Any]) -> list[dict[Any, Any]]:
    page.order()
    return page.press(handler)


def test_a_stretch_alone_is_denoised(page: Page, recording: Make) -> None:
    path = recording("talk.wav", 4.0, 48_000, 2, "PCM_24")
    page.values |= {page.tab.audio: str(path), page.tab.stretch.start: "0:01", page.tab.stretch.end: "2.5"}
    in_order(page, page.tab.on_denoise_stretch)
    result = page.session.result
    before, after = (soundfile.read(file)[0] for file in (path, result.after))
    changed = np.flatnonzero((before != after).any(axis=1))
    assert 48_000 <= changed.min() < 48_480 and 119_520 < changed.max() < 120_000
    assert "Only 0:01.00 – 0:02.50 was denoised" in page.values[page.tab.fidelity]
    assert page.ready
    in_order(page, page.tab.on_denoise)  # the other button is for all of it
    assert page.session.result.order.selection.is_everything
    assert "was denoised; the rest" not in page.values[page.tab.fidelity]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("", "", "No stretch is selected"),
        ("1", "", "No stretch is selected"),
        ("2", "1", "ends after it begins"),
        ("1", "x", "x is no time"),
        ("100", "101", "the sound lasts"),
    ],
)
def test_times_that_are_none_are_told(page: Page, recording: Make, start: str, end: str, told: str) -> None:
    page.values |= {page.tab.audio: str(recording()), page.tab.stretch.start: start, page.tab.stretch.end: end}
    in_order(page, page.tab.on_denoise_stretch)
    assert told in html.unescape(page.said) and page.ready


def test_a_stretch_becomes_the_noise_of_a_denoiser_that_takes_it(
    page: Page, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_app.ui.clean.tab.FALLBACK", "wiener")
    tab, stretch = page.tab, page.tab.stretch
    page.values |= {tab.audio: str(recording()), stretch.start: "0:00.2", stretch.end: "0:01"}
    page.take(tab.on_profile(page.values, ENGLISH))
    assert page.values[stretch.noise] == (0.2, 1.0)
    assert page.values[tab.checkpoint]["value"] == "wiener"
    assert "Noise profile: 0:00.20 – 0:01.00" in page.values[stretch.told] and "wiener" in page.values[stretch.told]
    page.values |= {tab.checkpoint: "wiener", stretch.start: "0:00.5"}
    told = tab.on_profile(page.values, ENGLISH)
    assert tab.checkpoint not in told and told[stretch.noise] == (0.5, 1.0)
    page.take(tab.on_forget(ENGLISH))
    assert page.values[stretch.noise] is None and not page.values[stretch.told]


def test_times_go_with_their_recording(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("denoise_app.ui.clean.tab.FALLBACK", "wiener")
    tab, stretch = page.tab, page.tab.stretch
    marks = {stretch.start: "1", stretch.end: "2", stretch.noise: (1.0, 2.0)}
    page.values |= marks | {tab.audio: "talk.wav"}
    assert "value" not in tab.on_mark(page.values | {tab.session: None})  # there is no visit yet
    page.values[tab.session] = tab.on_mark(page.values | {tab.session: tab._site.sessions.open()})
    page.values |= dict.fromkeys(marks)
    page.take(tab.source.on_recording("talk.wav", page.session, ENGLISH))
    assert {widget: page.values[widget] for widget in marks} == marks
    assert "Noise profile: 0:01.00 – 0:02.00" in page.values[stretch.told]
    assert "value" not in tab.on_mark(page.values | {tab.audio: None})  # a page that has just been loaded again
    assert page.session.marks.noise == (1.0, 2.0)
    name = page.session.folder.name  # a reload brings the denoiser that makes use of it, unless a link names another
    for address, remembered, denoiser in (
        ("", "", "wiener"),
        ("", "?denoiser=half/hybrid", "wiener"),
        ("", "?denoiser=wiener", "wiener"),
        ("?denoiser=half/hybrid", "", "half/hybrid"),
    ):
        _, checkpoint, *_ = tab.on_load(address, name, remembered, ENGLISH)
        assert checkpoint.constructor_args["value"] == denoiser
    for path in ("other.wav", None, "talk.wav"):
        page.take(tab.source.on_recording(path, page.session, ENGLISH))
        assert [page.values[widget] for widget in marks] == ["", "", None] and not page.values[stretch.told]
        _, checkpoint, *_ = tab.on_load("", name, "", ENGLISH)  # no profile comes back, nor what was chosen for it
        assert checkpoint.constructor_args["value"] == "half/hybrid"


@pytest.mark.slow
def test_the_preview_begins_where_somebody_points(page: Page, recording: Make) -> None:
    page.values |= {page.tab.audio: str(recording("long.wav", 40.0)), page.tab.stretch.start: "0:12"}
    shown = [step for step in page.denoise() if page.tab.player in step]
    assert ["Preview: 0:12.0 to 0:22.0" in step[page.tab.heading] for step in shown] == [True, False]
    page.values[page.tab.stretch.start] = "0:35"  # so little is left there
    shown = [step for step in page.denoise() if page.tab.player in step]
    assert ["Preview: 0:00.0 to 0:10.0" in step[page.tab.heading] for step in shown] == [True, False]


# --------------------------------------------------------------------------------------------------- a page comes back


def test_a_reload_brings_recording_result_and_settings_back(page: Page, recording: Make, sessions: Sessions) -> None:
    path = recording("my talk.wav")
    page.values |= {page.tab.audio: str(path), page.tab.strength: 70}
    page.take(page.tab.source.on_recording(str(path), None, page.request))
    assert page.values[page.tab.visit] == page.session.folder.name
    page.denoise()
    name = page.session.folder.name
    back = page.tab.on_return("", name, "", ENGLISH)
    session = back[page.tab.session]
    assert session is not page.session and session.result is page.session.result
    assert back[page.tab.audio] == str(path) and "my talk.wav" in back[page.tab.heading]
    assert back[page.tab.player]["recording"] == page.values[page.tab.player]["recording"]
    _, checkpoint, _, said, *settings = page.tab.on_load("", name, "?denoiser=wiener", ENGLISH)
    assert checkpoint.constructor_args["value"] == "half/hybrid" and not said and settings[0]["value"] == 70
    _, checkpoint, *_ = page.tab.on_load("?denoiser=wiener", name, "", ENGLISH)  # a link goes before
    assert checkpoint.constructor_args["value"] == "wiener"
    sessions.close(page.session)  # as Gradio does when the first page's time is over
    assert session.result.after.is_file()
    sessions.close(session)
    assert not session.folder.exists() and sessions.find(name) is None


def test_nothing_comes_back_of_what_has_ended(page: Page) -> None:
    for name in ("", "nobody", "../x"):
        assert page.tab.on_return("", name, "", ENGLISH) == {page.tab.session: gr.skip()}
        assert page.tab.on_load("", name, "", ENGLISH)[1].constructor_args["value"] == "half/hybrid"


def test_choices_are_remembered_unless_a_link_has_others(page: Page) -> None:
    remembered = "?denoiser=wiener&format=flac&bits=24"
    _, checkpoint, _, said, *settings = page.tab.on_load("", "", remembered, ENGLISH)
    assert checkpoint.constructor_args["value"] == "wiener" and not said
    assert [settings[6]["value"], settings[7]["value"]] == ["flac", 24]
    _, checkpoint, _, said, *settings = page.tab.on_load("?strength=50", "", remembered, ENGLISH)
    assert checkpoint.constructor_args["value"] == "half/hybrid" and "value" not in settings[6]
    _, checkpoint, _, said, *_ = page.tab.on_load("", "", "?denoiser=gone/hybrid", ENGLISH)
    assert checkpoint.constructor_args["value"] == "half/hybrid" and not said
    _, checkpoint, _, said, *settings = page.tab.on_reset(ENGLISH)
    assert checkpoint.constructor_args["value"] == "half/hybrid" and settings[:2] == [100, 60]


def test_a_long_file_has_its_level_after_its_result(
    page: Page, recording: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("denoise_app.ui.parts.source.MEASURED_AT_ONCE_SECONDS", 1.0)
    path = recording("talk.wav")
    page.values[page.tab.audio] = str(path)
    source = page.tab.source
    page.take(source.on_recording(str(path), None, ENGLISH))
    assert "after denoising" in page.values[source.facts]
    assert source.on_levels(str(path), page.session, ENGLISH) == gr.skip()
    page.denoise()
    facts = source.on_result(str(path), page.session, ENGLISH)
    assert "dBFS" in facts and "LUFS" in facts and "after denoising" not in facts
    assert source.on_result(str(recording("other.wav")), page.session, ENGLISH) == gr.skip()
