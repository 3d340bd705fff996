"""What is told of a result to a program: the same numbers as on the page."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from denoise_app.audio.clip import FileInfo
from denoise_app.inference.engine import Levels
from denoise_app.metrics.report import METRICS

from .flow import Result

FORMAT_VERSION = 1


def report(result: Result) -> dict[str, Any]:
    """A JSON object; what is not known is null. Its keys stay; new ones may be added.

    recording, output: container, codec, sample_rate (Hz), channels, frames, bit_depth, seconds, peak_dbfs,
    loudness_lufs.
    denoiser: model, loss, source, repo, revision, sha256, sample_rate, delay_seconds, device, real_time_factor.
    settings: strength (0 to 1), max_attenuation_db, high_band, loudness_lufs, true_peak_dbtp, container, bit_depth,
    channels. gain_db, cut_samples: what was done to the level. notes: what is odd about the recording.
    metrics: key -> unit, better ("higher", "lower", "neither"), estimated, before, after.
    """
    rendered, separation, offer = result.rendered, result.separation, result.order.offer
    return {
        "version": FORMAT_VERSION,
        "name": result.order.path.name,
        "recording": _sound(rendered.info_in, rendered.levels_in),
        "output": _sound(rendered.info_out, rendered.levels_out),
        "denoiser": {
            "model": offer.model,
            "loss": offer.loss,
            "source": offer.source,
            "repo": offer.repo,
            "revision": offer.revision,
            "sha256": offer.manifest.sha256 if offer.manifest else None,
            "sample_rate": separation.model_rate,
            "delay_seconds": separation.delay_seconds,
            "device": separation.device,
            "real_time_factor": separation.real_time_factor,
        },
        "settings": {key: _finite(value) for key, value in asdict(result.order.settings).items()}
        | {"channels": rendered.channels},
        "gain_db": rendered.gain_db,
        "true_peak_dbtp": _finite(rendered.true_peak_dbtp),
        "limited": rendered.limited,
        "cut_samples": rendered.cut_samples,
        "notes": [note.message for note in rendered.notes],
        "metrics": {
            key: {
                "unit": METRICS[key].unit,
                "better": METRICS[key].better,
                "estimated": not METRICS[key].needs_reference,
                "before": _finite(measured.before),
                "after": _finite(measured.after),
            }
            for key, measured in result.numbers.measured.items()
        },
        "excerpts": {"count": result.numbers.excerpts, "seconds": result.numbers.excerpt_seconds},
    }


def _sound(info: FileInfo, levels: Levels) -> dict[str, Any]:
    return asdict(info) | {
        "seconds": info.seconds,
        "peak_dbfs": _finite(levels.peak_db),
        "loudness_lufs": _finite(levels.loudness_lufs),
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
