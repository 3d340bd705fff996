"""What is told of a result to a program: the same numbers as on the page."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from denoise_app.audio.clip import FileInfo
from denoise_app.inference import replay
from denoise_app.inference.catalog import Entry
from denoise_app.inference.engine import Levels, Rendered, Settings
from denoise_app.inference.selection import EVERYTHING, Selection
from denoise_app.metrics.table import METRICS

from .measured import Numbers


@dataclass(frozen=True)
class Made:
    """A sound and how it came about.

    Attributes:
        recording: What it was made from.
        offer, settings: By which denoiser, and how.
        rendered: The sound.
        device: Where the denoiser ran.
        real_time_factor: Seconds of work per second of sound.
        numbers: What was measured.
        track: Of the recording, from 1; None for the first.
        selection: The stretches of it that were pointed at.
    """

    recording: Path
    offer: Entry
    settings: Settings
    rendered: Rendered
    device: str
    real_time_factor: float
    numbers: Numbers
    track: int | None = None
    selection: Selection = EVERYTHING


def report(made: Made) -> dict[str, Any]:
    """A JSON object, which `replay` takes; what is not known is null. Its keys stay; new ones may be added.

    versions: of the libraries that the samples depend on.
    recording, output: samples_sha256, container, codec, sample_rate (Hz), channels, frames, bit_depth, seconds,
    peak_dbfs, loudness_lufs.
    denoiser: model, loss, source, repo, revision, sha256, sample_rate, delay_seconds, device, real_time_factor.
    settings: strength (0 to 100 %), max_attenuation_db, high_band, loudness_lufs, true_peak_dbtp, container, bit_depth,
    channels, track, start and end (s, null for the end), noise_profile (from and to in s, or null).
    gain_db, cut_samples: what was done to the level. notes: what is odd about the recording or was lost on the way,
    each with its key, its message, and the numbers and names in that.
    metrics: key -> unit, better ("higher", "lower", "neither"), estimated, before, after.
    """
    rendered, offer = made.rendered, made.offer
    told = replay.as_json(
        replay.Receipt(
            model=offer.model,
            loss=offer.loss,
            revision=offer.revision,
            sha256=offer.manifest.sha256 if offer.manifest else None,
            channels=rendered.channels,
            settings=made.settings,
            recording=replay.fingerprint(made.recording, made.track),
            output=replay.fingerprint(rendered.path),
            track=made.track,
            selection=made.selection,
        )
    )
    return told | {
        "versions": replay.versions(),
        "name": made.recording.name,
        "recording": told["recording"] | _sound(rendered.info_in, rendered.levels_in),
        "output": told["output"] | _sound(rendered.info_out, rendered.levels_out),
        "denoiser": told["denoiser"]
        | {
            "source": offer.source,
            "repo": offer.repo,
            "sample_rate": rendered.model_rate,
            "delay_seconds": offer.latency / offer.sample_rate,
            "device": made.device,
            "real_time_factor": made.real_time_factor,
        },
        "gain_db": rendered.gain_db,
        "true_peak_dbtp": _finite(rendered.true_peak_dbtp),
        "limited": rendered.limited,
        "cut_samples": rendered.cut_samples,
        "notes": [note.as_dict() for note in rendered.notes],
        "metrics": {
            key: {
                "unit": METRICS[key].unit,
                "better": METRICS[key].better,
                "estimated": not METRICS[key].needs_reference,
                "before": _finite(measured.before),
                "after": _finite(measured.after),
            }
            for key, measured in made.numbers.measured.items()
        },
        "excerpts": {"count": made.numbers.excerpts, "seconds": made.numbers.excerpt_seconds},
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
