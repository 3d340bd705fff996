"""Remove background noise from speech.

>>> from denoise_app import denoise, list_models
>>> [row.name for row in list_models() if row.kind == "classical"][:2]
['band-pass', 'spectral-subtraction']

What is exported is loaded when it is first asked for, so that `import denoise_app` costs nothing.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, overload

from denoise_app.version import __version__

if TYPE_CHECKING:
    from os import PathLike
    from typing import IO, TypedDict, TypeVar, Unpack

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from denoise_app.audio.clip import Clip
    from denoise_app.audio.errors import AudioError, UserError
    from denoise_app.audio.files import read, write
    from denoise_app.checkpoints.manifest import CheckpointError
    from denoise_app.inference.catalog import Row
    from denoise_app.inference.errors import SettingError
    from denoise_app.inference.settings import Channels, HighBand, Settings
    from denoise_app.inference.stream import Loaded

    Float = TypeVar("Float", bound=np.floating[Any])

    class Options(TypedDict, total=False):
        """The keywords of `denoise` that go with every kind of sound."""

        channels: Channels
        device: str | None
        strength: float
        max_attenuation_db: float
        high_band: HighBand
        loudness_lufs: float | None
        true_peak_dbtp: float
        start: float
        end: float | None
        noise_profile: tuple[float, float] | None


__all__ = [
    "AudioError",
    "CheckpointError",
    "Clip",
    "SettingError",
    "Settings",
    "UserError",
    "__version__",
    "denoise",
    "list_models",
    "load",
    "read",
    "write",
]


def __getattr__(name: str) -> Any:
    """What stands in `__all__` and is no function of this file, from the room that it lives in (PEP 562)."""
    home: Any
    if name == "Clip":
        from denoise_app.audio import clip as home
    elif name in ("read", "write"):
        from denoise_app.audio import files as home
    elif name in ("AudioError", "UserError"):
        from denoise_app.audio import errors as home
    elif name == "CheckpointError":
        from denoise_app.checkpoints import manifest as home
    elif name == "SettingError":
        from denoise_app.inference import errors as home
    elif name == "Settings":
        from denoise_app.inference import settings as home
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@overload
def denoise(
    sound: npt.NDArray[Float],
    model: str | None = None,
    loss: str | None = None,
    *,
    sample_rate: int,
    **options: Unpack[Options],
) -> npt.NDArray[Float]: ...
@overload
def denoise(
    sound: Tensor, model: str | None = None, loss: str | None = None, *, sample_rate: int, **options: Unpack[Options]
) -> Tensor: ...
@overload
def denoise(
    sound: bytes | bytearray | memoryview | IO[bytes],
    model: str | None = None,
    loss: str | None = None,
    **options: Unpack[Options],
) -> bytes: ...
@overload
def denoise(
    sound: Clip | str | PathLike[str], model: str | None = None, loss: str | None = None, **options: Unpack[Options]
) -> Clip: ...
def denoise(
    sound: Any,
    model: str | None = None,
    loss: str | None = None,
    *,
    sample_rate: int | None = None,
    channels: Channels = "each",
    device: str | None = None,
    strength: float = 100.0,
    max_attenuation_db: float = inf,
    high_band: HighBand = "follow",
    loudness_lufs: float | None = None,
    true_peak_dbtp: float = -1.0,
    start: float = 0.0,
    end: float | None = None,
    noise_profile: tuple[float, float] | None = None,
) -> Any:
    """Speech without its noise, at the rate, channels, length and level of what came in, and in the same kind.

    A path or a `Clip` gives a `Clip`, which `write` writes. A NumPy array or a torch tensor, (time,) or (channels,
    time), floating point in [-1, 1], gives one of the same shape and type, on the same device. The bytes of a sound
    file, or a binary file object, which is read to its end, give the bytes of a file of that format, or the nearest
    that is written.

    What was handed in is never changed. A Python process computes with one thread here, whatever torch has elsewhere.

    Args:
        sound: As above.
        model: A name in `list_models()`, such as "gru" or "gru/hybrid", or "best", "fast" or "live"; without one the
            recommended one.
        loss: The training loss, where the model's name does not tell it; without one the model's best.
        sample_rate: Hz, of an array or a tensor.
        channels: "each" on its own, their "mid", or with the second one as a noise "reference" (nlms).
        device: "cpu", "cuda", ...; without one the fastest that works.
        strength: Percent, 0 (the sound as it is) to 100 (all that the denoiser does).
        max_attenuation_db: Nothing is made softer by more than this; 0 to inf.
        high_band: What becomes of the band above the model's: "follow" (softer as the model's top band is), "keep"
            or "drop".
        loudness_lufs: The integrated loudness to bring the result to, -70 to 0; without one it keeps its level.
        true_peak_dbtp: With a loudness: the true peak that the result stays below, -70 to 0.
        start, end: Seconds: only this stretch is denoised, faded over 10 ms inside it, and all else stays as it is bit
            for bit, unless a loudness is asked for, to which the whole is brought; without an end, to the end.
        noise_profile: (from, to) in seconds: a stretch that holds the noise alone; "spectral-subtraction", "wiener" and
            "mmse-lsa" take the noise from there instead of following it.

    Raises:
        AudioError: a sound that cannot be read or processed; the message says why and what to do.
        CheckpointError: an unknown model or loss, or weights that are refused.
        SettingError: a setting that is no number, out of its range, or an unknown word. All three are UserErrors, and
            these are ValueErrors.
        TypeError, ValueError: a sound of no kind that is known, of a wrong shape, or without its sample_rate.
    """
    from denoise_app.inference import kinds
    from denoise_app.inference.selection import Selection
    from denoise_app.inference.settings import Settings, treatment

    settings = Settings(strength, max_attenuation_db, high_band, loudness_lufs, true_peak_dbtp)
    selection, treated = Selection(start, end, noise_profile), treatment(channels)
    return kinds.denoise(sound, load(model, loss, device=device).denoiser, settings, treated, sample_rate, selection)


def load(model: str | None = None, loss: str | None = None, *, device: str | None = None) -> Loaded:
    """A denoiser: float32 tensors (batch, time) in [-1, 1] at its `sample_rate` -> the same, aligned to the sample.

    Other rates, channels and long sound are what `denoise` takes care of; `denoise_app.denoiser` tells all that it
    keeps to. Weights are read once and shared. A causal one also denoises sound while it comes in, at any rate:
    `load("live").stream(48_000)` has `push(chunk)`, `flush()`, `reset()` and `adjust(strength=80)`.

    Args:
        model, loss, device: As `denoise` takes them.

    Raises:
        CheckpointError: an unknown model or loss, or weights that are refused.
        AudioError: a device that cannot be used.
    """
    from denoise_app.inference import catalog
    from denoise_app.inference.stream import Loaded

    return Loaded(catalog.load(*catalog.named(model, loss), None if device is None else str(device)))


def list_models() -> list[Row]:
    """Every denoiser at hand, a row each, which prints in a line; no model is built for it.

    >>> print(next(row for row in list_models() if row.name == "gru/hybrid"))
    gru/hybrid               neural     causal        16 kHz    32 ms    1,020,289 parameters
    """
    from denoise_app.inference import catalog

    return catalog.rows()
