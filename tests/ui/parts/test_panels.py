"""What the page says of what it knows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.inference.catalog import Entry
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels, Progress, Settings
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import Measured
from denoise_app.ui import header
from denoise_app.ui.clean import html
from denoise_app.ui.clean import work as flow
from denoise_app.ui.clean.work import Order, Result
from denoise_app.ui.parts import denoiser, downloads, markup, recording
from denoise_app.ui.parts.measured import Numbers
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.session import Session

FakeWorker = Any  # of conftest.py
DEVICE = Device("cpu", "CPU <test>", "No CUDA GPU was found.", "no-gpu")
EVIL = '<img src=x onerror="alert(1)">'
INFO = FileInfo("wav", "PCM_24", 48_000, 2, 480_000, 24)
LEVELS = Levels(peak_db=-0.9, loudness_lufs=-18.5, clipped=0.0, dc_offset=0.0)


class Balanced(HTMLParser):
    """Raises where an element is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(html)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("input", "img", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text(shown: str) -> str:
    Balanced(shown)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", shown))).strip()


@pytest.fixture(params=["en", "zh"])
def say(request: pytest.FixtureRequest) -> Say:
    return Say(request.param)


@pytest.fixture
def result(worker: FakeWorker, session: Session, recording: Callable[..., Path]) -> Result:
    path = recording("my talk.wav", 2.0, 48_000, 2, "PCM_24")
    order = Order(session.adopt(path), worker.offers.recommended(), "each", Settings())
    *_, made = flow.denoise(worker, session, order, session.begin())
    assert isinstance(made, Result)
    return made


def test_every_panel_is_whole_in_both_languages(say: Say, worker: FakeWorker, result: Result) -> None:
    offer = worker.offers.recommended()
    measured = replace(result, numbers=Numbers({"snr_estimated": Measured(3.0, 9.0)}, 4, 30.0))
    for shown in (
        header.header(say, DEVICE, 60, None),
        markup.empty("First.", "More."),
        markup.alert(say, "text"),
        recording.facts(say, INFO, LEVELS, ""),
        recording.microphone(say),
        denoiser.about(say, offer),
        denoiser.about(say, worker.offers.find("wiener")),
        denoiser.hub_listing(say, 1, [CheckpointError.of("no-manifest", name="a/b")]),
        html.progress(say, Step("separate", Progress("separate", 0.5, 3.0, 20.0)), heard=True),
        html.heading(say, result.order),
        html.fidelity(say, result),
        downloads.links(say, "token", {"after": "a.wav", "removed": "b.wav"}),
        html.cards(say, result),
        html.cards(say, measured),
        denoiser.broken(say, [CheckpointError.of("no-manifest", name="a/b")]),
    ):
        assert text(shown)
        assert "{" not in shown or "data-granted" in shown  # every fact was filled in


def test_what_others_wrote_is_escaped(worker: FakeWorker, result: Result) -> None:
    say = Say("en")
    facts = {"sample_rate": 16_000, "scored_on": EVIL, "favours": {"en": EVIL}, "scores": {"stoi": 0.8}}
    offer = Entry(
        "half", EVIL, "neural", "hub", 16_000, True, 0, Manifest("half", EVIL, licence=EVIL, **facts), EVIL, EVIL
    )
    bad = replace(result, order=replace(result.order, offer=offer, path=result.order.path.with_name(f"{EVIL}.wav")))
    for shown in (
        denoiser.about(say, offer),
        denoiser.broken(say, [ValueError(EVIL)]),
        html.heading(say, bad.order),
        recording.facts(say, replace(INFO, container=EVIL), LEVELS, EVIL),
        markup.alert(say, EVIL),
        downloads.links(say, "token", {"after": f"{EVIL}.wav"}),
        denoiser.hub_listing(say, 0, [CheckpointError.of("no-manifest", name=EVIL)]),
    ):
        assert "<img" not in shown and 'onerror="alert' not in shown


def test_facts_of_a_recording() -> None:
    said = text(recording.facts(Say("en"), INFO, LEVELS, ""))
    assert said == (
        "Length 0:10.0 Sample rate 48 kHz Channels stereo Format wav · 24-bit Peak −0.9 dBFS Loudness −18.5 LUFS"
    )
    silent = Levels(-math.inf, -math.inf, 0.0, 0.0)
    assert "Peak silence" in text(recording.facts(Say("en"), INFO, silent, ""))
    assert "全部是数字静音" in recording.facts(Say("zh"), INFO, silent, "")
    assert text(recording.facts(Say("en"), INFO, None, "measuring")).endswith("Loudness measuring")


def test_what_is_odd_is_told_in_the_readers_language() -> None:
    clipped = Levels(0.1, -10.0, 0.031, 0.02)
    assert "3.1 % of its samples are clipped" in recording.facts(Say("en"), INFO, clipped, "")
    assert "3.1 % 的样本削波" in recording.facts(Say("zh"), INFO, clipped, "")


def test_a_model_is_named_with_size_causality_and_licence(worker: FakeWorker) -> None:
    offers = worker.offers.all()
    assert denoiser.model_label(Say("en"), offers[:2], True) == "half · 193 k · not causal · apache-2.0 (recommended)"
    assert denoiser.model_label(Say("zh"), offers[2:], False) == "wiener · 无需训练 · 因果 · apache-2.0"


def test_the_privacy_line_names_where_outcomes_of_blind_tests_go(say: Say) -> None:
    here, sent = (header.header(say, DEVICE, 60, dataset) for dataset in (None, "somebody/<votes>"))
    assert say("app.privacy", minutes=60) in here and "Hub" not in here
    assert "somebody/&lt;votes&gt;" in sent and say("app.privacy", minutes=60) not in sent


def test_a_checkpoint_is_told_with_what_it_favours_and_its_scores(worker: FakeWorker) -> None:
    said = text(denoiser.about(Say("en"), worker.offers.recommended()))
    assert "Favours: Halves <all>." in said
    assert "PESQ-WB 1.60" in said and "STOI 0.810 (0.770)" in said and "SI-SDR 9.1 dB" in said
    assert "10 ms delay" in said and "the folder weights" in said
    assert "全部减半" in denoiser.about(Say("zh"), worker.offers.recommended())


def test_a_checkpoint_of_the_hub_says_where_from_commit_size_and_whether_it_is_here(worker: FakeWorker) -> None:
    manifest = replace(worker.offers.recommended().manifest, size=4_100_000)
    offer = Entry(
        *("half", "hybrid", "neural", "hub", 16_000, True, 0, manifest),
        repo="somebody/models",
        revision="abcdef0123" * 4,
        cached=False,
    )
    said = denoiser.source(Say("en"), offer)
    assert said == "the Hub, somebody/models at abcdef0, 4.1 MB, to be downloaded when you press Denoise"
    assert "in the cache" in denoiser.source(Say("en"), replace(offer, cached=True))
    assert offer.key == "half/hybrid@" + "abcdef0123" * 4


def test_progress_says_how_far_how_long_and_how_fast() -> None:
    step = Step("separate", Progress("separate", 0.425, 12.2, 34.7))
    assert text(html.progress(Say("en"), step, False)) == "Denoising 42 % · 13 s left · 35 times real time"
    assert '<progress aria-label="Denoising"' in html.progress(Say("en"), step, False)
    assert text(html.progress(Say("en"), Step("loading"), False)) == "Loading the denoiser"
    assert "first 10 seconds can be heard" in html.progress(Say("en"), step, True)


def test_the_fidelity_line(result: Result) -> None:
    said = text(html.fidelity(Say("en"), result))
    assert said == (
        "48 kHz · stereo · 24-bit → Denoiser 16 kHz → 48 kHz · stereo · 24-bit, "
        "above 8 kHz: attenuated with the top band "
        "Rate, channels, length and bit depth are those of the recording, and no gain was applied."
    )


def test_the_fidelity_line_admits_every_change(result: Result) -> None:
    rendered = replace(
        result.rendered,
        info_out=FileInfo("mp3", "MPEG_LAYER_III", 48_000, 2, 96_500, None),
        gain_db=3.2,
        limited=True,
        true_peak_dbtp=-1.0,
        cut_samples=1200,
        channels="mid",
        high_band="drop",
        levels_out=LEVELS,
    )
    said = text(html.fidelity(Say("en"), replace(result, rendered=rendered)))
    assert "stereo · lossy, above 8 kHz: dropped" in said and "mean of the channels" in said
    assert "format cannot hold it: format, bit depth." in said
    assert "Brought to −18.5 LUFS: gain +3.2 dB, true peak −1.0 dBTP." in said and "true-peak cap" in said
    assert "1,200 samples beyond full scale were cut" in said and "no gain was applied" not in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"sample_rate": 44_100}, ["rate"]),
        ({"channels": 1}, ["channels"]),
        ({"bit_depth": 16}, ["bits"]),
        ({"frames": INFO.frames + 1}, ["length"]),
        ({"container": "mp3", "bit_depth": None, "frames": INFO.frames + 1000}, ["format", "bits"]),
        ({"container": "mp3", "bit_depth": None, "frames": INFO.frames + 48_000}, ["format", "bits", "length"]),
    ],
)
def test_changes_are_seen(change: dict[str, Any], told: list[str]) -> None:
    assert html.changes(INFO, replace(INFO, **change)) == told


def card(shown: str, name: str) -> str:
    return next(part for part in map(text, re.findall(r"<li>.*?</li>", shown)) if part.startswith(name))


def test_a_card_has_unit_before_after_and_arrow(result: Result) -> None:
    measured = {"snr_estimated": Measured(3.04, 9.0), "noise_floor": Measured(-40.0, -61.0)}
    shown = html.cards(Say("en"), replace(result, numbers=Numbers(measured)))
    assert card(shown, "SNR (estimated)").endswith("before 3.0 → after 9.0 dB ▲ rises by +6.0")
    assert card(shown, "Noise floor").endswith("before −40.0 → after −61.0 dBFS ▼ falls by −21.0")
    assert card(shown, "Loudness").endswith("▼ falls by −6.0")
    assert 'class="change good"' in shown


def test_no_number_claims_a_reference_that_is_not_there(result: Result) -> None:
    shown = html.cards(Say("en"), result)
    assert "SNR (estimated)" in shown and "SNR (true)" not in shown
    assert "Without a clean reference" in card(shown, "SNR (estimated)")


def test_numbers_that_are_not_there_say_why(result: Result) -> None:
    reason = MetricUnavailable("silent", metric="SNR")
    shown = html.cards(Say("zh"), replace(result, numbers=Numbers({"snr_estimated": Measured(None, None, reason)})))
    assert "SNR 只对语音有意义" in shown
    assert card(shown, "DNSMOS 语音").endswith("正在测量")


def test_what_was_measured_in_part_says_so(result: Result) -> None:
    assert "4 excerpts of 30 s" in html.cards(Say("en"), replace(result, numbers=Numbers({}, 4, 30.0)))
    assert "excerpts" not in html.cards(Say("en"), replace(result, numbers=Numbers({}, 1, 2.0)))


def test_the_report_can_be_had_when_there_is_one() -> None:
    early = downloads.links(Say("en"), "t", {"after": "a b.wav", "removed": "r.wav"})
    assert 'href="results/t/a%20b.wav"' in early and "Report follows" in early and "zip" not in early
    late = downloads.links(Say("en"), "t", {"after": "a.wav", "removed": "r.wav", "report": "a.json", "all": "a.zip"})
    assert late.count("<a ") == 4 and "Report follows" not in late
