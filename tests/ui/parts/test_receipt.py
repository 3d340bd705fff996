"""The report is JSON that a program can rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from denoise_app.inference.engine import Settings
from denoise_app.ui.clean import work as flow
from denoise_app.ui.clean.work import Order, Result
from denoise_app.ui.parts.receipt import report
from denoise_app.ui.worker.session import Session


def test_it_holds_what_was_done_and_what_came_of_it(
    worker: Any, session: Session, recording: Callable[..., Path]
) -> None:
    path = session.adopt(recording("my talk.wav", channels=2, rate=48_000))
    order = Order(path, worker.offers.recommended(), "mid", Settings())
    order = Order(path, worker.offers.recommended(), "mid", Settings())
    *_, result = flow.denoise(worker, session, order, session.begin())
    assert isinstance(result, Result)
    *_, result = flow.measure(worker, session, result)
    told = json.loads(json.dumps(report(flow.made(result)), allow_nan=False))
    assert set(told) == {
        "version", "versions", "name", "recording", "output", "denoiser", "settings", "gain_db", "true_peak_dbtp",
        "limited", "cut_samples", "notes", "metrics", "excerpts",
    }  # fmt: skip
    assert told["name"] == "my talk.wav" and str(session.folder) not in json.dumps(told)
    assert told["recording"]["sample_rate"] == told["output"]["sample_rate"] == 48_000
    assert told["versions"]["torch"] and len(told["recording"]["samples_sha256"]) == 64
    assert told["denoiser"]["model"] == "half" and told["denoiser"]["sha256"] == "0" * 64
    assert told["settings"]["max_attenuation_db"] is None and told["settings"]["channels"] == "mid"
    assert told["metrics"]["snr_estimated"]["estimated"] is True
    assert told["metrics"]["dnsmos_sig"] | {"before": 0, "after": 0} == {
        "unit": "MOS", "better": "higher", "estimated": True, "before": 0, "after": 0,
    }  # fmt: skip
