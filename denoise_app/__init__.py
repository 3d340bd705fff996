"""Hear noisy speech clean.

>>> from denoise_app import denoise, list_models
>>> [entry.model for entry in list_models() if entry.kind == "classical"][:2]
['band-pass', 'spectral-subtraction']
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise_app.version import __version__

if TYPE_CHECKING:  # what follows is loaded by the first call, so that `import denoise_app` costs nothing
    from denoise_app.audio.clip import Clip
    from denoise_app.inference.catalog import Entry
    from denoise_app.inference.engine import Channels

__all__ = ["__version__", "denoise", "list_models"]


def denoise(
    sound: Clip | str | PathLike[str],
    model: str | None = None,
    loss: str | None = None,
    *,
    channels: Channels = "each",
    device: str | None = None,
    **settings: Any,
) -> Clip:
    """Speech without its noise, at the rate, channels, length and level of what came in.

    Args:
        sound: A clip, or the path of a sound file.
        model: A name in `list_models()`, or "best", "fast" or "live"; without one the recommended one.
        loss: What its weights were taught to make small; without one the model's best.
        channels: "each" on its own, their "mid", or with the second one as a noise "reference" (nlms).
        device: "cpu", "cuda", ...; without one the fastest that works.
        settings: Of `inference.engine.Settings`: strength (0 to 1), max_attenuation_db, high_band, loudness_lufs, ...

    Raises:
        AudioError: a file that cannot be read or processed; the message says why and what to do.
        CheckpointError: an unknown model or loss, or weights that are refused.
        TypeError: a setting that does not exist.
    """
    from denoise_app.audio.clip import Clip
    from denoise_app.audio.files import read
    from denoise_app.inference import catalog, engine

    wanted = engine.Settings(**settings)
    if model is None:
        model, best = catalog.recommended()
        loss = loss or best
    denoiser = catalog.load(model, loss, device)
    clip = sound if isinstance(sound, Clip) else read(Path(sound))
    return engine.denoise(clip, denoiser, wanted, channels=channels)


def list_models() -> list[Entry]:
    """Every denoiser at hand: its model and loss, whether it is classical or neural, rate, delay, manifest."""
    from denoise_app.inference import catalog

    return catalog.entries()
