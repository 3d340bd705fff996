"""Which device a neural denoiser runs on, and why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from .errors import EngineError

VARIABLE = "DENOISE_DEVICE"

Why = Literal["requested", "environment", "gpu-works", "gpu-fails", "no-gpu"]


@dataclass(frozen=True)
class Device:
    """A device that has been tried, and why it was chosen.

    Attributes:
        torch_device: What torch calls it: "cpu", "cuda:0", "mps".
        name: What people call it: "NVIDIA H200", "CPU (x86_64)".
        reason: One English sentence.
        key: Stable key of that sentence, for translations.
    """

    torch_device: str
    name: str
    reason: str
    key: Why


def choose(requested: str | None = None) -> Device:
    """The device that is asked for, else the one in DENOISE_DEVICE, else a CUDA GPU that works, else the CPU.

    Args:
        requested: "cpu", "cuda", "cuda:1", "mps"; "auto" or None to leave the choice open.

    Raises:
        EngineError: "no-device" where the device that was asked for cannot be used.
    """
    if requested and requested != "auto":
        return _demanded(requested, "requested", f"{requested} was asked for.")
    variable = os.environ.get(VARIABLE, "").strip()
    if variable and variable != "auto":
        return _demanded(variable, "environment", f"{VARIABLE} is {variable}.")
    if not torch.cuda.is_available():
        return Device("cpu", _name("cpu"), "No CUDA GPU was found.", "no-gpu")
    problem = trial("cuda:0")
    if problem is None:
        return Device("cuda:0", _name("cuda:0"), "A CUDA GPU was found and works.", "gpu-works")
    return Device("cpu", _name("cpu"), f"A CUDA GPU was found but failed a trial: {problem}", "gpu-fails")


def _demanded(device: str, key: Why, reason: str) -> Device:
    full = "cuda:0" if device == "cuda" else device
    problem = trial(full)
    if problem is not None:
        raise EngineError.of("no-device", device=device, problem=problem)
    return Device(full, _name(full), reason, key)


@cache
def trial(device: str) -> str | None:
    """None where the device does what denoisers need: products, Fourier transforms, recurrence; else what failed.

    A driver too old for this torch, or a GPU without kernels in it, is found by computing, not by asking.
    """
    try:
        with torch.inference_mode():
            signal = torch.ones(2, 64, device=device)
            spectrum = torch.fft.rfft(signal @ signal.T)
            hidden, _ = torch.nn.GRU(2, 2, device=device)(spectrum.abs()[None])
            finite = bool(torch.isfinite(hidden).all())
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # AssertionError: torch built without it
        return str(error).strip().splitlines()[0].rstrip(".") + "."
    return None if finite else "it computes values that are not numbers."


def _name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "mps":
        return "Apple GPU"
    return f"CPU ({platform.machine()})" if device == "cpu" else device
