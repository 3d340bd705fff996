"""The report of a run, by which it can be repeated to the sample."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.errors import UserError
from denoise_app.denoiser import Denoiser
from denoise_app.version import __version__

from . import catalog, engine
from .selection import EVERYTHING, Selection

FORMAT_VERSION = 2
SHARES_VERSION = 1  # has strength as a share, 0 to 1; from 2 on it is in percent
MOST_BYTES = 1 << 20  # of a report; ours have some 4 kB
LIBRARIES = ("torch", "numpy", "soxr", "soundfile")  # what the samples depend on

SENTENCES: dict[str, str] = {
    "not-a-report": "{name} is no report of a result: {problem}. Use the report.json that came with the sound.",
    "other-weights": "The checkpoint of {model} here is not the one of the report ({here} instead of {there}). "
    "Put the report's checkpoint into the folder of weights, or pull its commit from the Hub.",
}


class ReplayError(UserError):
    """A report that cannot be replayed."""

    sentences = SENTENCES


@dataclass(frozen=True)
class Receipt:
    """What was done: which denoiser, how, and to what.

    Attributes:
        model, loss, revision: As `catalog.load` takes them.
        sha256: Of the checkpoint's weights; None for a classical denoiser.
        channels, settings: As `engine.denoise_file` takes them.
        track: Which sound track of the recording, from 1; None for the first.
        selection: The stretches that were pointed at.
        recording, output: `fingerprint` of what went in and of what came out.
    """

    model: str
    loss: str | None
    revision: str | None
    sha256: str | None
    channels: engine.Channels
    settings: engine.Settings
    recording: str
    output: str
    track: int | None = None
    selection: Selection = EVERYTHING


def fingerprint(path: Path, track: int | None = None) -> str:
    """Sha256 of a file's samples as float32, by which the same sound is known in whatever file it lies.

    Raises:
        AudioError: It cannot be read.
    """
    digest = hashlib.sha256()
    with files.open_reader(path, track=track) as reader:
        digest.update(f"{reader.info.sample_rate} {reader.info.channels}".encode())
        for block in reader.blocks():
            digest.update(np.ascontiguousarray(block.T, "<f4").tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Name -> version of all that the samples depend on beside the weights."""
    return {
        "denoise-app": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def as_json(receipt: Receipt) -> dict[str, Any]:
    """The part of a report that `read` needs, for JSON: what is infinite becomes null."""
    settings = {key: _finite(value) for key, value in asdict(receipt.settings).items()}
    return {
        "version": FORMAT_VERSION,
        "recording": {"samples_sha256": receipt.recording},
        "output": {"samples_sha256": receipt.output},
        "denoiser": {key: getattr(receipt, key) for key in ("model", "loss", "revision", "sha256")},
        "settings": settings | {"channels": receipt.channels, "track": receipt.track} | asdict(receipt.selection),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> Receipt:
    """The receipt in a report.

    Raises:
        ReplayError: "not-a-report".
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES} bytes")
        return _receipt(json.loads(data))
    except (ValueError, RecursionError) as problem:
        raise ReplayError.of("not-a-report", name=path.name, problem=problem) from problem


def _receipt(report: Any) -> Receipt:
    if not isinstance(report, Mapping):
        raise ValueError("it holds no JSON object")
    version = report.get("version")
    if type(version) is not int or version not in (SHARES_VERSION, FORMAT_VERSION):
        raise ValueError(f"its version is {version!r:.40}, not {FORMAT_VERSION}")
    denoiser, settings = _part(report, "denoiser"), dict(_part(report, "settings"))
    channels = settings.pop("channels", None)
    if channels not in get_args(engine.Channels):
        raise ValueError(f"channels are treated by {', '.join(get_args(engine.Channels))}, not {channels!r}")
    track = settings.pop("track", None)  # older reports have none
    if track is not None and (type(track) is not int or track < 1):
        raise ValueError(f"a track is counted from 1, not {track!r}")
    given = {field.name: settings.pop(field.name, field.default) for field in fields(Selection)}
    return Receipt(
        model=_text(denoiser, "model"),
        loss=_text_or_none(denoiser, "loss"),
        revision=_text_or_none(denoiser, "revision"),
        sha256=_text_or_none(denoiser, "sha256"),
        channels=channels,
        settings=_settings(settings, in_shares=version == SHARES_VERSION),
        recording=_text(_part(report, "recording"), "samples_sha256"),
        output=_text(_part(report, "output"), "samples_sha256"),
        track=track,
        selection=Selection(**given),
    )


def _settings(given: dict[str, Any], in_shares: bool) -> engine.Settings:
    known = {field.name for field in fields(engine.Settings)}
    if set(given) != known:
        raise ValueError(f"its settings are {', '.join(sorted(given))} instead of {', '.join(sorted(known))}")
    if given["max_attenuation_db"] is None:
        given["max_attenuation_db"] = math.inf
    if in_shares and isinstance(given["strength"], int | float) and not isinstance(given["strength"], bool):
        given["strength"] = _percent(given["strength"])
    return engine.Settings(**given)


def _percent(share: float) -> float:
    """The percentage that is this share when it is divided by 100, to the last bit where there is one.

    >>> 100 * 0.07, _percent(0.07), _percent(1)
    (7.000000000000001, 7.0, 100)
    """
    near = round(100 * share, 10)
    return near if near / 100 == share else 100 * share


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(part := report.get(name), Mapping):
        raise ValueError(f"its {name} is missing")
    return part


def _text(part: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := part.get(name), str):
        raise ValueError(f"its {name} is missing")
    return value


def _text_or_none(part: Mapping[str, Any], name: str) -> str | None:
    return None if part.get(name) is None else _text(part, name)


def denoiser(receipt: Receipt, device: str | None = None) -> Denoiser:
    """The denoiser of a receipt, which is here with the very same weights.

    Raises:
        CheckpointError: There is none of its name.
        ReplayError: "other-weights".
        AudioError: A device that cannot be used.
    """
    loaded = catalog.load(receipt.model, receipt.loss, device, receipt.revision)
    here = catalog.sha256(receipt.model, receipt.loss, receipt.revision)
    if here != receipt.sha256:
        name = f"{receipt.model}/{receipt.loss}" if receipt.loss else receipt.model
        raise ReplayError.of("other-weights", model=name, here=_short(here), there=_short(receipt.sha256))
    return loaded


def _short(sha256: str | None) -> str:
    return sha256[:12] if sha256 else "none"


def replay(receipt: Receipt, recording: Path, out: Path, device: str | None = None) -> engine.Rendered:
    """Repeats the run of a receipt; the suffix of `out` should be that of the receipt's output.

    Raises:
        CheckpointError, ReplayError, AudioError: As `denoiser` and `engine.denoise_file` do.
    """
    loaded = denoiser(receipt, device)
    return engine.denoise_file(
        recording,
        out,
        loaded,
        receipt.settings,
        channels=receipt.channels,
        track=receipt.track,
        selection=receipt.selection,
    )
