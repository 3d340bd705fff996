"""What is said of a denoiser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from denoise_app.audio.clip import FileInfo
from denoise_app.inference.catalog import Entry
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels
from denoise_app.ui.parts import denoiser
from denoise_app.ui.texts import Say

from ..shown import text

FakeWorker = Any  # of conftest.py
DEVICE = Device("cpu", "CPU <test>", "No CUDA GPU was found.", "no-gpu")
EVIL = '<img src=x onerror="alert(1)">'
INFO = FileInfo("wav", "PCM_24", 48_000, 2, 480_000, 24)
LEVELS = Levels(peak_db=-0.9, loudness_lufs=-18.5, clipped=0.0, dc_offset=0.0)


def test_a_model_is_named_with_size_causality_and_licence(worker: FakeWorker) -> None:
    offers = worker.offers.all()
    assert denoiser.model_label(Say("en"), offers[:2], True) == "half · 193 k · non-causal · apache-2.0 (recommended)"
    assert denoiser.model_label(Say("zh"), offers[2:], False) == "wiener · 无需训练 · 因果 · apache-2.0"


def test_a_checkpoint_is_told_with_what_it_favours_and_its_scores(worker: FakeWorker) -> None:
    said = text(denoiser.about(Say("en"), worker.offers.recommended()))
    assert "Halves <all>." in said
    assert "PESQ-WB 1.60" in said and "STOI 0.810 (0.770)" in said and "SI-SDR 9.1 dB" in said
    assert "10 ms delay" in said and "Included with the app" in said
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
    assert said == "Hugging Face Hub: somebody/models at abcdef0, 4.1 MB, will be downloaded when you press Denoise"
    assert denoiser.source(Say("en"), replace(offer, cached=True)).endswith("4.1 MB, downloaded")
    assert offer.key == "half/hybrid@" + "abcdef0123" * 4
