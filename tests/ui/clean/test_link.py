"""A link holds what differs from the usual, and gives it back; whatever else stands in an address does no harm."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
import numpy as np
import pytest

from denoise_app.inference.engine import Settings
from denoise_app.ui.clean.link import Wanted, parse, query
from denoise_app.ui.clean.settings import NO_LIMIT_DB, settings_from
from denoise_app.ui.clean.tab import CleanTab
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.site import Site
from denoise_app.ui.worker.session import Sessions

ORDERS = [
    Settings(),
    Settings(strength=35.0, max_attenuation_db=18.0),
    Settings(high_band="drop", loudness_lufs=-23.5, true_peak_dbtp=-2.0),
    Settings(high_band="keep", container="m4a"),
    Settings(container="flac", bit_depth=24, max_attenuation_db=math.inf),
]


@pytest.mark.parametrize("settings", ORDERS)
@pytest.mark.parametrize("channels", ["each", "mid", "reference"])
def test_what_is_written_is_read(settings: Settings, channels: str) -> None:
    wanted = parse(query("gru/si-snr@0123abc", settings, channels))
    values = wanted.values
    restored = settings_from(
        values.get("strength", 100),
        values.get("most", NO_LIMIT_DB),
        values.get("high_band", "follow"),
        values.get("lufs"),
        values.get("true_peak", -1),
        values.get("format"),
        values.get("bits"),
    )
    assert restored == settings and values.get("channels", "each") == channels
    assert wanted.denoiser == "gru/si-snr@0123abc" and not wanted.unread


@pytest.mark.parametrize(
    "text",
    [
        "strength=nan",
        "strength=1e999",
        "strength=-1",
        "most=61",
        "most=1",
        "bits=8",
        "format=exe",
        "channels=left",
        "x=1",
        "lufs=",
    ],
)
def test_what_the_page_never_wrote_is_left_out(text: str) -> None:
    name = text.partition("=")[0]
    assert parse(f"?{text}") == Wanted(unread=() if text == "lufs=" else (name,))


def test_what_a_link_may_ask_for_fits_the_slider(worker: Any, sessions: Sessions) -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        slider = CleanTab(Site(worker, sessions, Downloads()), page).most
    for value in (slider.minimum, slider.maximum):
        assert parse(f"?most={value}").values == {"most": value}
    for value in (slider.minimum - 1, slider.maximum + 1):
        assert parse(f"?most={value}").unread == ("most",)


def test_no_address_is_an_error() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = bytes(rng.integers(0, 256, 60, np.uint8)).decode("latin-1")
        parse(f"?{text}&{'a=' * int(rng.integers(3))}")
    assert parse("?" + "a=1&" * 100_000).unread == ("a",)
    assert parse("?__theme=dark") == Wanted()
