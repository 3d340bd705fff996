"""The card says what the manifest knows, and its front matter is what the Hub reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from denoise_app.checkpoints.card import OPEN_DATA_CREDITS, card
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.checkpoints.store import read_manifest


@pytest.fixture
def whole(stored: Path) -> Manifest:
    return read_manifest(stored)


@pytest.mark.slow
def test_front_matter_is_what_the_hub_reads(whole: Manifest) -> None:
    _, front, body = card(whole).split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["license"] == "apache-2.0" and data["pipeline_tag"] == "audio-to-audio"
    assert data["language"] == ["en", "zh"] and "denoise-app" in data["tags"]
    assert body.strip().startswith("# gru, trained with hybrid")
    norwegian = card(replace(whole, languages=("no",))).split("---\n", 2)[1]
    assert yaml.safe_load(norwegian)["language"] == ["no"]


def test_says_what_is_known(whole: Manifest) -> None:
    text = card(whole)
    assert whole.sha256 in text and f"{whole.parameters:,} parameters" in text
    assert "16000 Hz" in text and "256 ms" in text and "causal" in text
    assert "| PESQ-WB ↑ | 1.36 | 1.70 |" in text and "| SI-SDR dB ↑ |  | 9.5 |" in text
    assert "The all-rounder." in text and "均衡之选。" in text
    assert "hours seen: 0.5" in text and "curve" not in text
    assert "Some speech: somebody, CC BY 4.0" in text
    assert 'model="gru", loss="hybrid"' in text
    assert "took 21 ms of one core" in card(replace(whole, real_time_factor=0.0208)) and "of one core" not in text


def test_what_is_not_known_is_not_there(whole: Manifest) -> None:
    text = card(replace(whole, scores={}, training={}, credits=(), languages=(), favours={}))
    assert "## Scores" not in text and "## Training" not in text and "thanks" not in text
    assert "\n\n\n" not in text


def test_share_alike_is_said_plainly(whole: Manifest) -> None:
    assert "share-alike" not in card(whole) and "ODbL" not in card(whole)
    text = card(replace(whole, credits=OPEN_DATA_CREDITS))
    assert all(credit in text for credit in OPEN_DATA_CREDITS)
    assert "under CC BY-SA are named above" in text and "Open Database License" in text
