"""Denoisers that are ONNX graphs in the form that sherpa-onnx streams: our own exports, and those of others.

The form (slot "gtcrn" of sherpa-onnx 2, after Rong et al. 2024): the spectrum of a frame and three states in, the clean
spectrum and the states after it out, all float32; square-root Hann frames. Ours may take many frames a call, which is
how this program runs them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.spectral.stft import SpectralDenoiser, Stft

from . import onnx_file, threads

MAX_BYTES = 256 * 1024**2
MAX_STATE = 16 * 1024**2  # numbers in all states of a sound
FRAMES = 64  # of a call, where a graph takes many: the quickest of 64, 256 and all
STATES = ("conv_cache_shape", "tra_cache_shape", "inter_cache_shape")  # what sherpa-onnx calls the three states
TEXT = 2000  # characters of a licence or title that are shown


@dataclass(frozen=True)
class Form:
    """What an ONNX denoiser says of itself, checked.

    Attributes:
        stft: Its frames.
        shapes: Of its three states.
        look_ahead: Frames that its output is late by.
        numbers: Weights in it.
        metadata: All that stands in the file.
    """

    stft: Stft
    shapes: tuple[tuple[int, ...], ...]
    look_ahead: int
    numbers: int
    metadata: Mapping[str, str]


class OnnxDenoiser(SpectralDenoiser):
    """A graph as a denoiser; keeps `StreamingDenoiser`. It runs on the CPU, on `threads.count()` threads.

    Args:
        data: The file's bytes.
        form: What `checked` says of them.

    Raises:
        ValueError: ONNX Runtime refuses the graph, or its inputs and outputs are not those of the form.
    """

    def __init__(self, data: bytes, form: Form) -> None:
        super().__init__(form.stft)
        self.form = form
        self.look_ahead = form.look_ahead
        self._session = _session(data)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        problem = next(_misfits(self._session, form), None)
        if problem:
            raise ValueError(problem)
        self._frames = FRAMES if not isinstance(self._session.get_inputs()[0].shape[2], int) else 1
        self._try_out()

    def initial_frames(self, batch: int) -> tuple[tuple[Tensor, ...], ...]:
        """The three states of each signal."""
        return tuple(tuple(torch.zeros(shape) for shape in self.form.shapes) for _ in range(batch))

    def enhance(
        self, spectra: Tensor, memory: tuple[tuple[Tensor, ...], ...]
    ) -> tuple[Tensor, tuple[tuple[Tensor, ...], ...]]:
        parts = torch.view_as_real(spectra).numpy()  # (B, bins, n, 2)
        rows = [self._row(part[None], states) for part, states in zip(parts, memory, strict=True)]
        clean = np.concatenate([row for row, _ in rows])
        return torch.view_as_complex(torch.from_numpy(clean)), tuple(states for _, states in rows)

    def _row(self, parts: np.ndarray, states: tuple[Tensor, ...]) -> tuple[np.ndarray, tuple[Tensor, ...]]:
        """One signal: (1, bins, n, 2) -> the same, and the states after it."""
        now, clean = [state.numpy() for state in states], [parts[:, :, :0]]
        for start in range(0, parts.shape[2], self._frames):
            frames = np.ascontiguousarray(parts[:, :, start : start + self._frames])
            part, *now = self._session.run(None, dict(zip(self._inputs, [frames, *now], strict=True)))
            clean.append(part)
        return np.concatenate(clean, axis=2), tuple(torch.from_numpy(state) for state in now)

    def _try_out(self) -> None:
        """Runs two frames of noise, so that what does not fit is known before a sound comes.

        Raises:
            ValueError: shapes that do not fit, or values that are not finite.
        """
        noise = 0.1 * torch.randn(1, self.stft.bins, 2, 2, generator=torch.Generator().manual_seed(0))
        try:
            clean, memory = self.enhance(torch.view_as_complex(noise), self.initial_frames(1))
        except Exception as error:  # ONNX Runtime has a dozen kinds
            raise ValueError(f"it cannot be run: {_first_line(error)}") from error
        found = tuple(tuple(state.shape) for state in memory[0])
        if clean.shape != noise.shape[:3] or found != self.form.shapes:
            raise ValueError("what comes out does not have the shapes of what goes in")
        if not all(bool(torch.isfinite(value).all()) for value in (torch.view_as_real(clean), *memory[0])):
            raise ValueError("it makes values that are not numbers")


def _session(data: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads.count(), 1
    options.log_severity_level = 4  # errors are raised, so nothing is logged twice
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has a dozen kinds
        raise ValueError(f"ONNX Runtime refuses it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")


def _misfits(session: Any, form: Form) -> Any:
    """What of a graph's inputs and outputs is not as the form has it."""
    for name, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        if len(found) != 4:
            yield f"it has {len(found)} {name}; a spectrum and three states are needed"
            return
        for entry in found:
            if entry.type != "tensor(float)":
                yield f"{entry.name[:40]!r} is {entry.type}, not tensor(float)"
    spectrum, *states = session.get_inputs()
    wanted = [1, form.stft.bins, 2]
    if len(spectrum.shape) != 4 or [spectrum.shape[k] for k in (0, 1, 3)] != wanted:
        yield f"its spectrum has the shape {spectrum.shape}, not [1, {form.stft.bins}, frames, 2]"
    elif isinstance(spectrum.shape[2], int) and spectrum.shape[2] != 1:
        yield f"it takes {spectrum.shape[2]} frames a call; one, or any number, is needed"
    for entry, shape in zip(states, form.shapes, strict=True):
        if tuple(entry.shape) != shape:
            yield f"the state {entry.name[:40]!r} has the shape {entry.shape}, its metadata says {list(shape)}"


def checked(data: bytes) -> Form:
    """What the bytes of an ONNX file say, before anything of it is run.

    Raises:
        ValueError: it may not be run, or is not of the form; the message says in what way.
    """
    contents = onnx_file.read(data)
    if problem := onnx_file.forbidden(contents):
        raise ValueError(problem)
    metadata = contents.metadata
    for key, value in {"model_type": "gtcrn", "version": "1", "window_type": "hann_sqrt"}.items():
        if metadata.get(key) != value:
            raise ValueError(f"its metadata must have {key} {value!r}, not {metadata.get(key, 'nothing')[:40]!r}")
    window = onnx_file.whole_number(metadata, "n_fft", 64, 4096)
    if onnx_file.whole_number(metadata, "window_length", 64, 4096) != window:
        raise ValueError("its window_length must be its n_fft")
    hop = onnx_file.whole_number(metadata, "hop_length", 16, 2048)
    stft = Stft(window, hop, onnx_file.whole_number(metadata, "sample_rate", 8000, 48_000))
    shapes = tuple(_state_shape(metadata, key) for key in STATES)
    if sum(math.prod(shape) for shape in shapes) > MAX_STATE:
        raise ValueError(f"its states hold more than {MAX_STATE:,} numbers")
    look_ahead = onnx_file.whole_number(metadata, "look_ahead", 0, 16) if "look_ahead" in metadata else 0
    return Form(stft, shapes, look_ahead, contents.numbers, metadata)


def _state_shape(metadata: Mapping[str, str], key: str) -> tuple[int, ...]:
    text = metadata.get(key, "")
    try:
        shape = onnx_file.shape(text)
    except ValueError:
        shape = ()
    if not 1 <= len(shape) <= 8 or not all(1 <= size <= MAX_STATE for size in shape):
        raise ValueError(f"its metadata must have {key} as whole numbers by commas, not {text[:40]!r}")
    return shape


def load(path: Path) -> OnnxDenoiser:
    """The denoiser in an ONNX file; nothing of a file that is refused is run.

    Raises:
        CheckpointError: it cannot be read, or is refused; the message says why.
    """
    data = _read(path)
    try:
        return OnnxDenoiser(data, checked(data))
    except ValueError as error:
        raise refused(path, str(error)) from error


def describe(path: Path, model: str, loss: str) -> Manifest:
    """What a file by others says of itself, in the words of a checkpoint's manifest; it is not run.

    Raises:
        CheckpointError: as `load`.
    """
    data = _read(path)
    try:
        form = checked(data)
    except ValueError as error:
        raise refused(path, str(error)) from error
    licence = form.metadata.get("licence") or form.metadata.get("license") or "unknown"
    credits = tuple(form.metadata[key][:TEXT] for key in ("title", "credits", "url") if form.metadata.get(key))
    return Manifest(
        model,
        loss,
        licence=" ".join(licence.lower().split())[:40],
        credits=credits,
        sample_rate=form.stft.sample_rate,
        causal=True,
        latency=form.stft.window + form.look_ahead * form.stft.hop,
        parameters=form.numbers,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refused(path, error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise refused(path, f"it has more than {MAX_BYTES:,} bytes")
    return data


def refused(path: Path, problem: str) -> CheckpointError:
    """The error that tells why a file is left out."""
    return CheckpointError.of("graph-refused", name=path.name, problem=problem)
