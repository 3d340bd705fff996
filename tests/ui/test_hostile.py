"""What users, files and authors of checkpoints wrote is text on every tab, never markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.notes import Note
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.evaluation.leaderboard import FORMAT_VERSION
from denoise_app.evaluation.sweep import Point, Sweep
from denoise_app.inference.catalog import Entry
from denoise_app.inference.device import Device
from denoise_app.inference.engine import Levels, Settings
from denoise_app.metrics.activity import activity
from denoise_app.ui import header
from denoise_app.ui.bench import html as bench
from denoise_app.ui.bench.work import Mix, Swept, Take, Trial
from denoise_app.ui.blind import html as blind
from denoise_app.ui.blind.work import Answer, Outcome, Stimulus
from denoise_app.ui.clean import html as clean
from denoise_app.ui.clean.work import Order
from denoise_app.ui.compare import html as compare
from denoise_app.ui.compare.work import Column, Comparison
from denoise_app.ui.models import html as models
from denoise_app.ui.parts import denoiser, downloads, markup, recording
from denoise_app.ui.texts import Say

EVIL = "<img src=x onerror=\"alert('1')\">&amp;"
INFO = FileInfo(EVIL, "PCM_16", 16_000, 1, 32_000, 16)
LEVELS = Levels(-1.0, -20.0, 0.0, 0.0)
PATH = Path(f"/visit/room/{EVIL.replace('/', '')}.wav")
MANIFEST = Manifest(
    EVIL,
    EVIL,
    sample_rate=16_000,
    licence=EVIL,
    scored_on=EVIL,
    favours={"en": EVIL, "zh": EVIL},
    scores={"stoi": 0.8},
    credits=(EVIL,),
    sha256=EVIL,
    training={"hours_seen": 2.0, "init": EVIL, "commit": EVIL, "data": {EVIL: {"hours": 1.0}}},
)
OFFER = Entry(EVIL, EVIL, "neural", "hub", 16_000, True, 0, MANIFEST, repo=EVIL, revision=EVIL, cached=False)
QUIET = activity(np.zeros(16_000, np.float32), 16_000)
NOTE = Note("unknown", EVIL, {"name": EVIL})
ERROR = CheckpointError.of("no-manifest", name=EVIL)


def of_the_page(say: Say) -> list[str]:
    return [
        header.header(say, Device(EVIL, EVIL, EVIL, "no-gpu"), 60, EVIL),
        header.version(say, EVIL),
        markup.alert(say, EVIL),
        markup.working(say, EVIL, 0.5, [EVIL], EVIL),
        markup.finished(EVIL),
        recording.facts(say, INFO, LEVELS, EVIL),
        recording.notes(say, [NOTE]),
        denoiser.about(say, OFFER),
        denoiser.broken(say, [ERROR]),
        denoiser.hub_listing(say, 1, [ERROR]),
        downloads.links(say, "token", {"after": EVIL, "bench": EVIL}, link=EVIL, label=EVIL),
    ]


def of_clean(say: Say) -> list[str]:
    return [clean.heading(say, Order(PATH, OFFER, "each", Settings()))]


def of_compare(say: Say) -> list[str]:
    rendered = SimpleNamespace(path=PATH, levels_in=LEVELS, levels_out=LEVELS)
    columns = (Column(OFFER, rendered), Column(OFFER, error=ERROR))  # type: ignore[arg-type]
    comparison = Comparison(PATH, INFO, columns, whole_seconds=9.0)
    return [
        compare.result_heading(say, comparison),
        compare.numbers_table(say, comparison),
        compare.favours(say, comparison),
        compare.said_of_grid(say, comparison, 1),
    ]


def of_blind(say: Say) -> list[str]:
    who = tuple(Stimulus(key, EVIL, EVIL, None, PATH, 0.0) for key in (EVIL, "b"))
    abx = Outcome("abx", EVIL, 5, who, (Answer(EVIL, "b", EVIL, "a"),))
    preference = replace(abx, kind="preference", answers=(Answer(EVIL, "b", None, "a"),))
    return [blind.votes(say, True, EVIL), *(blind.outcome(say, one, [], str) for one in (abx, preference))]


def of_bench(say: Say) -> list[str]:
    asked = Mix(PATH, EVIL, 0, 5.0)
    takes = (Take(OFFER, PATH, {"si_sdr": 2.0}, activity=QUIET), Take(OFFER, error=ERROR))
    trial = Trial(asked, PATH, PATH, 16_000, 5.0, None, (NOTE,), {"si_sdr": 1.0}, QUIET, QUIET, takes)
    found = Sweep()
    found.points.append(Point(OFFER.key, 0.0, {"si_sdr": 1.0}, {"si_sdr": 2.0}))
    found.failures[OFFER.key] = ERROR
    swept = Swept(asked, (OFFER,), (0.0,), found)
    return [
        bench.trial_heading(say, trial),
        bench.scores_table(say, trial),
        bench.said_of_activity(say, trial),
        bench.swept_heading(say, swept),
        bench.said_of_sweep(say, swept),
    ]


def of_models(say: Say) -> list[str]:
    score = {"stoi": {"mean": 0.8, "low": 0.7, "high": 0.9}}
    row = {
        "model": EVIL,
        "loss": EVIL,
        "kind": "neural",
        "causal": True,
        "latency_ms": 1.0,
        "parameters": 1,
        "rtf": 0.1,
    }
    board = {"format_version": FORMAT_VERSION, "data": {"about": EVIL}, "rows": [row | {"scores": score, "by": {}}]}
    peers = {"published": {"rows": [{"system": EVIL, "pesq_wb": 1.5}]}}
    return [
        models.table(say, board, "all", "all"),
        models.others(say, peers),
        models.said_of_matrix(say, board, "all", "stoi"),
        models.cards(say, [OFFER], OFFER),
    ]


@pytest.mark.parametrize("say", [Say("en"), Say("zh")], ids=["en", "zh"])
@pytest.mark.parametrize("shown", [of_the_page, of_clean, of_compare, of_blind, of_bench, of_models])
def test_whatever_others_wrote_is_text(shown, say: Say) -> None:  # type: ignore[no-untyped-def]
    for html in shown(say):
        assert "<img" not in html and 'onerror="' not in html, html
        assert "&amp;amp;" in html or "%3Cimg" in html or "src=x" not in html, (
            "escaped once, and shown as it was written"
        )
