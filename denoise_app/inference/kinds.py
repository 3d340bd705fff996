"""Sound in the kind in which a program has it: clip, file, bytes, array or tensor; given back in the same kind."""

from __future__ import annotations

import os
import shutil
import tempfile
from io import BytesIO
from operator import index
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from denoise_app.audio import files
from denoise_app.audio.clip import Clip, FileInfo
from denoise_app.audio.encodings import suffix
from denoise_app.audio.errors import AudioError
from denoise_app.audio.limits import Limits, clock
from denoise_app.denoiser import Denoiser

from . import engine
from .selection import EVERYTHING, Selection
from .settings import Channels, Settings

KINDS = "a path, a Clip, the bytes of a sound file, a binary file object, a NumPy array or a torch tensor"


def denoise(
    sound: Any,
    denoiser: Denoiser,
    settings: Settings,
    channels: Channels,
    sample_rate: int | None,
    selection: Selection = EVERYTHING,
) -> Any:
    """Sound of any kind denoised, in the same kind; a path gives a clip. See `denoise_app.denoise`."""
    if isinstance(sound, np.ndarray | Tensor):
        return _samples(sound, denoiser, settings, channels, sample_rate, selection)
    is_file = callable(getattr(sound, "read", None))
    if not is_file and not isinstance(sound, Clip | str | os.PathLike | bytes | bytearray | memoryview):
        raise TypeError(f"sound is {KINDS}, not {type(sound).__name__}")
    if sample_rate is not None:
        raise TypeError("sample_rate is for arrays and tensors: other sound has its own")
    if isinstance(sound, Clip):
        return engine.denoise(sound, denoiser, settings, channels=channels, selection=selection)
    if isinstance(sound, str | os.PathLike):
        clip = files.read(Path(os.fsdecode(sound)))
        return engine.denoise(clip, denoiser, settings, channels=channels, selection=selection)
    return _encoded(sound if is_file else BytesIO(sound), denoiser, settings, channels, selection)


def _encoded(
    file: IO[bytes], denoiser: Denoiser, settings: Settings, channels: Channels, selection: Selection
) -> bytes:
    """The bytes of a sound file of the same format, or the nearest that is written; memory holds no decoded sound."""
    with tempfile.TemporaryDirectory(prefix="denoise-") as work:
        source = Path(work, "sound")
        with source.open("wb") as copy:
            try:
                shutil.copyfileobj(file, copy)
            except (TypeError, UnicodeDecodeError) as error:  # text, or what reads something else
                raise TypeError(f"a file object must be binary, as open(path, 'rb') gives it: {error}") from error
        out = source.with_suffix(suffix(engine.output_encoding(files.probe(source), settings)))
        engine.denoise_file(source, out, denoiser, settings, channels=channels, selection=selection)
        return out.read_bytes()


def _samples(
    sound: Any,
    denoiser: Denoiser,
    settings: Settings,
    channels: Channels,
    sample_rate: int | None,
    selection: Selection,
) -> np.ndarray[Any, Any] | Tensor:
    """An array or a tensor of the same shape and type, on the same device."""
    clip = _clip(sound, sample_rate)
    clean = engine.denoise(clip, denoiser, settings, channels=channels, selection=selection).samples
    shape = tuple(sound.shape)
    shaped, kept = clean.reshape(shape), (clean == clip.samples).reshape(shape)  # doubles would lose bits on the way
    if isinstance(sound, Tensor):
        made = torch.from_numpy(shaped).to(sound.device, sound.dtype)
        return torch.where(torch.from_numpy(kept).to(sound.device), sound.detach(), made)
    return np.where(kept, sound, shaped.astype(sound.dtype))


def _clip(sound: np.ndarray[Any, Any] | Tensor, sample_rate: int | None) -> Clip:
    """Samples as a clip; raises TypeError or ValueError for what are none, AudioError for what goes beyond limits."""
    if sample_rate is None:
        raise TypeError("an array or a tensor needs its sample_rate, in Hz")
    rate = None if isinstance(sample_rate, bool) else _whole(sample_rate)
    if rate is None:
        raise TypeError(f"sample_rate is a whole number of Hz, not {sample_rate!r}")
    floating = sound.is_floating_point() if isinstance(sound, Tensor) else np.issubdtype(sound.dtype, np.floating)
    if not floating:
        raise TypeError(f"samples are floating-point numbers in [-1, 1], not {sound.dtype}: divide int16 by 32768")
    if isinstance(sound, Tensor) and (sound.is_meta or sound.layout != torch.strided):
        raise TypeError("a tensor's samples must be at hand: it is a meta tensor, or none of strided layout")
    if sound.ndim not in (1, 2) or (sound.ndim == 2 and not sound.shape[0]):
        raise ValueError(f"samples are (time,) or (channels, time), not of shape {tuple(sound.shape)}")
    array = sound.detach().to("cpu", torch.float32).numpy() if isinstance(sound, Tensor) else np.asarray(sound)
    samples = np.atleast_2d(np.array(array, np.float32, order="C"))
    name = "the tensor" if isinstance(sound, Tensor) else "the array"
    info = FileInfo("wav", "FLOAT", rate, samples.shape[0], samples.shape[1], 32)
    Limits.from_environment().check(info, f"{name}, as (channels, time),")
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples).all(axis=0))[0])
        raise AudioError.of("not-finite", name=name, time=clock(bad / rate))
    return Clip(samples, rate)


def _whole(number: Any) -> int | None:
    try:
        return index(number)
    except TypeError:
        return None
