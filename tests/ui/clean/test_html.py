"""What the Clean tab says of what it knows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.checkpoints.manifest import CheckpointError
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels, Progress, Settings
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.metrics.report import Measured
from denoise_app.metrics.table import METRICS
from denoise_app.serve.turns import Place
from denoise_app.ui import header
from denoise_app.ui.clean import html
from denoise_app.ui.clean import work as flow
from denoise_app.ui.clean.work import Order, Result
from denoise_app.ui.parts import denoiser, downloads, markup, numbers, recording
from denoise_app.ui.parts.measured import Numbers
from denoise_app.ui.texts import Say
from denoise_app.ui.worker.background import Step
from denoise_app.ui.worker.session import Session

from ..shown import text

FakeWorker = Any  # of conftest.py
DEVICE = Device("cpu", "CPU <test>", "No CUDA GPU was found.", "no-gpu")
EVIL = '<img src=x onerror="alert(1)">'
INFO = FileInfo("wav", "PCM_24", 48_000, 2, 480_000, 24)
LEVELS = Levels(peak_db=-0.9, loudness_lufs=-18.5, clipped=0.0, dc_offset=0.0)


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
        markup.alert("text", "title"),
        recording.facts(say, INFO, LEVELS, ""),
        recording.microphone(say),
        denoiser.about(say, offer),
        denoiser.about(say, worker.offers.find("wiener")),
        denoiser.hub_listing(say, 1, [CheckpointError.of("no-manifest", name="a/b")]),
        html.progress(say, Step("separate", Progress("separate", 0.5, 3.0, 20.0)), has_preview=True),
        html.heading(say, result.order),
        html.fidelity(say, result),
        downloads.links(say, "token", {"after": "a.wav", "removed": "b.wav"}),
        html.cards(say, result),
        html.cards(say, measured),
        denoiser.broken(say, [CheckpointError.of("no-manifest", name="a/b")]),
    ):
        assert text(shown)
        assert "{" not in shown or "data-granted" in shown  # every fact was filled in


def test_progress_says_how_far_how_long_and_how_fast() -> None:
    step = Step("separate", Progress("separate", 0.425, 12.2, 34.7))
    assert text(html.progress(Say("en"), step, False)) == "Denoising 42 % · 13 s left · 35 times real time"
    assert '<progress aria-label="Denoising"' in html.progress(Say("en"), step, False)
    assert text(html.progress(Say("en"), Step("loading"), False)) == "Loading the denoiser"
    assert "A preview of 10 seconds is ready to play" in html.progress(Say("en"), step, True)


def test_the_fidelity_line(result: Result) -> None:
    said = text(html.fidelity(Say("en"), result))
    assert said == (
        "48 kHz · stereo · 24-bit → Denoiser 16 kHz → 48 kHz · stereo · 24-bit, "
        "above 8 kHz: reduced with the top band "
        "Sample rate, channels, length and bit depth match the recording; no gain was applied."
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
    assert "stereo · lossy, above 8 kHz: removed" in said and "mixed to mono" in said
    assert "the format requires it: format, bit depth." in said
    assert "Normalized to −18.5 LUFS: gain +3.2 dB, true peak −1.0 dBTP." in said and "true-peak limit" in said
    assert "1,200 samples exceeded full scale and were clipped" in said and "no gain was applied" not in said


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "tone"),
    [(-92.0, -97.0, ""), (-97.0, -92.0, ""), (-95.0, -89.0, "bad"), (-60.0, -95.0, "good"), (-89.0, -95.0, "good")],
)
def test_a_noise_floor_that_nobody_hears_is_no_change_for_the_worse(
    before: float, after: float, tone: str, say: Say, result: Result
) -> None:
    shown = html.cards(say, replace(result, numbers=Numbers({"noise_floor": Measured(before, after)}, 1, 2.0)))
    card = shown[shown.index(numbers.title(say, METRICS["noise_floor"])) :]
    assert re.findall(r'class="change ?(\w*)"', card)[0] == tone


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


def test_who_waits_is_told_place_and_time(say: Say) -> None:
    told = text(html.progress(say, Step("loading", Place(3, 12.2)), False))
    assert "3" in told and "13 s" in told


def test_a_clean_recording_is_told_that_there_is_little_to_gain(say: Say, result: Result) -> None:
    gentle = f"{recording.GENTLE} %"
    assert recording.already_clean(say, recording.GOOD_SNR_DB - 0.1) == ""
    assert recording.already_clean(say, MetricUnavailable("silent", metric="SNR")) == ""
    assert "31.0 dB" in recording.already_clean(say, 31.0) and gentle in recording.already_clean(say, 31.0)
    clean = replace(result, numbers=Numbers({"snr_estimated": Measured(31.0, 33.0)}, 1, 2.0))
    assert recording.already_clean(say, 31.0) in html.cards(say, clean)
    noisy = replace(result, numbers=Numbers({"snr_estimated": Measured(5.0, 33.0)}, 1, 2.0))
    assert gentle not in html.cards(say, noisy)


def test_a_speech_that_is_rated_lower_is_told(say: Say, result: Result) -> None:
    def cards(before: float, after: float) -> str:
        return html.cards(say, replace(result, numbers=Numbers({"dnsmos_sig": Measured(before, after)}, 1, 2.0)))

    told = say("cards.speech-fell", fall="0.25", strength=recording.GENTLE)
    assert told in cards(3.5, 3.25) and "advice" not in cards(3.5, 3.45) + cards(3.0, 3.5)
