"""A GPU that is lent for moments, as Spaces on ZeroGPU have it: by the package `spaces`, which is installed only there.

The GPU belongs to another process, a fork of this one, to which arguments and result go pickled: so a call names a
checkpoint's folder and carries samples. What is causal stays on the CPU, where it takes hundredths of real time: its
state would travel with every block.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.audio.errors import UserError
from denoise_app.checkpoints import store
from denoise_app.checkpoints.manifest import Manifest
from denoise_app.denoiser import Denoiser
from denoise_app.inference.catalog import Entry
from denoise_app.inference.device import VARIABLE
from denoise_app.ui.texts import LANGUAGES

DEVICE = "cuda"  # in the other process
START_SECONDS = 8.0  # to move there, and to load the model
UNKNOWN = 1.0  # of real time, where nobody has measured: a GPU is faster than one core of a CPU
LEAST, MOST = 10, 120  # seconds that may be asked for; visitors have a few minutes a day
LOADED = 4

Call = Callable[[str, Samples, int, float], Samples]


class NotLent(UserError):
    """No GPU could be had, or its process failed."""

    sentences = {"gpu-not-lent": LANGUAGES["en"]["error.gpu-not-lent"]}  # noqa: RUF012


def prepare() -> None:
    """To be called before anything looks for a GPU, as `spaces` asks for; elsewhere nothing happens."""
    if lender() is not None:
        os.environ.setdefault(VARIABLE, "cpu")  # in this process only the likeness of a GPU is to be had


@cache
def lender() -> Call | None:
    """`denoised` on a GPU that is lent for it; None where none is lent."""
    try:
        import spaces
    except ModuleNotFoundError:
        return None
    lent: Call = spaces.GPU(duration=duration)(denoised)
    return None if lent is denoised else lent  # Spaces without ZeroGPU have the package too


def duration(folder: str, noisy: Samples, sample_rate: int, real_time_factor: float) -> int:
    """Whole seconds for which a GPU is asked for, by the length of the sound and the speed of the model.

    Args:
        folder: Of the checkpoint.
        noisy: (batch, time).
        sample_rate: Hz.
        real_time_factor: Seconds of one core that a second of sound takes; 0 for unknown.
    """
    seconds = noisy.size / sample_rate
    return round(min(MOST, max(LEAST, START_SECONDS + seconds * (real_time_factor or UNKNOWN))))


def denoised(folder: str, noisy: Samples, sample_rate: int, real_time_factor: float) -> Samples:
    """(batch, time) float32 -> the same, by the checkpoint in a folder; runs where the GPU is."""
    with torch.inference_mode():
        return _read(folder, DEVICE)(torch.from_numpy(noisy).to(DEVICE)).cpu().numpy()


@lru_cache(LOADED)
def _read(folder: str, device: str) -> Denoiser:
    """Without the catalogue, whose lock another thread may have held at the fork."""
    denoiser = store.load(Path(folder))[0].requires_grad_(False).to(device)
    assert isinstance(denoiser, Denoiser)
    return denoiser


class OnLoan:
    """A denoiser that is not causal, computed on a GPU that is lent for each call.

    Args:
        denoiser: The same on the CPU.
        folder: Its checkpoint.
        manifest: Tells how fast it is.
        call: What `lender` gives.

    Raises:
        NotLent: When it is called, where no GPU can be had.
    """

    causal = False
    computes_on = DEVICE  # for what is told of a result; its samples come from the CPU and go there

    def __init__(self, denoiser: Denoiser, folder: Path, manifest: Manifest, call: Call) -> None:
        self.sample_rate = denoiser.sample_rate
        self.latency = denoiser.latency
        self._folder, self._factor, self._call = str(folder), manifest.real_time_factor, call

    def __call__(self, noisy: Tensor) -> Tensor:
        try:
            clean = self._call(self._folder, noisy.numpy(), self.sample_rate, self._factor)
        except Exception as error:  # of whatever kind: it comes from another process, or from the lender's queue
            raise NotLent.of("gpu-not-lent", problem=getattr(error, "message", None) or str(error)) from error
        return torch.from_numpy(clean)


def on_loan(denoiser: Denoiser, entry: Entry) -> Denoiser:
    """The denoiser of an entry on a GPU that is lent, where one is and where it is worth its while."""
    call = lender()
    if call is None or denoiser.causal or entry.folder is None or entry.manifest is None:
        return denoiser
    return OnLoan(denoiser, entry.folder, entry.manifest, call)
