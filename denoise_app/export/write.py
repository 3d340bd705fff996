"""A checkpoint as an ONNX file: traced, described, compared with PyTorch on speech, and only then put in its place."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from denoise_app.audio.clip import Clip
from denoise_app.audio.convert import mid, resample
from denoise_app.audio.level import rms, to_db
from denoise_app.checkpoints import store
from denoise_app.denoiser import StreamingDenoiser
from denoise_app.inference.blocks import Blocks
from denoise_app.inference.onnx import load
from denoise_app.models.layers import SpectralModel

from . import onnx as graphs
from . import quantize, sherpa

TOLERANCE = 1e-4  # of a sample, full scale being 1
INT8_TOLERANCE_DB = -30.0  # of all that differs, against what comes out
WORTH = 0.9  # of the size in 32 bits: a file in 8 bits is smaller than that
ROUNDS = 3  # of timing


class ExportError(Exception):
    """A checkpoint cannot be exported; the message says why. No file is left."""


@dataclass(frozen=True)
class Parity:
    """How a graph compares with PyTorch on speech.

    Attributes:
        difference: The largest one between samples, full scale being 1.
        difference_db: All that differs, against what comes out.
        torch_ms, onnx_ms: Milliseconds for a frame, the median, on as many threads as torch has.
    """

    difference: float
    difference_db: float
    torch_ms: float
    onnx_ms: float


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written."""

    path: Path
    size: int
    sha256: str
    parity: Parity


def export(folder: Path, target: Path, speech: Clip, frames: graphs.Frames = "one", int8: bool = False) -> Exported:
    """Write the checkpoint in a folder as an ONNX file.

    Args:
        folder: Of the checkpoint.
        target: A file there is replaced.
        speech: What the file is compared with PyTorch on: some seconds, noisy or not.
        frames: "one" a call, as sherpa-onnx wants it, or "any".
        int8: Matrices in 8 bits.

    Raises:
        CheckpointError: the checkpoint is refused.
        ExportError: its model has no such graph, the file does not give PyTorch's samples, or the speech is silence.
    """
    if not speech.samples.any():
        raise ExportError("the recording to compare on is silence: choose one with speech")
    module, manifest = store.load(folder)
    if not isinstance(module, SpectralModel):
        why = "it works on samples, not on spectra" if manifest.causal else "it is not causal"
        raise ExportError(f"{manifest.model} cannot be exported frame by frame: {why}")
    module.requires_grad_(False)
    graph = graphs.Graph(module)
    proto = graphs.traced(graph, frames)
    graphs.describe(proto, sherpa.metadata(manifest, module, graph.size, "int8" if int8 else "float32"))
    halved = graphs.halved(proto)
    scratch = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(proto if int8 else halved, scratch)
        if int8:
            quantize.to_int8(scratch)
            if scratch.stat().st_size >= WORTH * halved.ByteSize():
                raise ExportError(f"8 bits save nothing of {manifest.name}: hardly any of it is products of matrices")
        parity = compared(module, load(scratch), speech, module.hop if frames == "one" else None)
        if problem := _unlike(parity, int8):
            raise ExportError(f"{manifest.name} as ONNX does not give PyTorch's samples: {problem}")
        data = scratch.read_bytes()
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return Exported(target, len(data), hashlib.sha256(data).hexdigest(), parity)


def compared(model: StreamingDenoiser, graph: StreamingDenoiser, speech: Clip, block: int | None = None) -> Parity:
    """Both denoisers on the same speech, in blocks of so many samples, or at once."""
    signal = torch.tensor(resample(mid(speech.samples), speech.sample_rate, model.sample_rate))
    size = block or signal.shape[1]
    wanted, torch_ms = _timed(model, signal, size)
    found, onnx_ms = _timed(graph, signal, size)
    difference = (found - wanted).numpy()
    worst, db = float(np.abs(difference).max()), to_db(rms(difference)) - to_db(rms(wanted.numpy()))
    return Parity(worst, db, torch_ms * model.hop / size, onnx_ms * model.hop / size)


def _timed(denoiser: StreamingDenoiser, signal: Tensor, size: int) -> tuple[Tensor, float]:
    """What comes out of (1, T) in blocks of `size` samples, and the median of their milliseconds."""
    taken, out = [], signal
    for _ in range(ROUNDS):
        blocks, parts = Blocks(denoiser, 1), []
        for part in signal.split(size, dim=1):
            began = time.perf_counter()
            parts.append(blocks.push(part))
            taken.append(time.perf_counter() - began)
        out = torch.cat([*parts, blocks.finish()], dim=1)
    return out, 1000 * float(np.median(taken))


def _unlike(parity: Parity, int8: bool) -> str | None:
    """In what a graph differs too much; None where it does not."""
    if int8 and not parity.difference_db <= INT8_TOLERANCE_DB:
        return f"what differs lies at {parity.difference_db:.1f} dB, in 8 bits {INT8_TOLERANCE_DB:g} dB are allowed"
    if not int8 and not parity.difference <= TOLERANCE:
        return f"they differ by {parity.difference:.1e}, {TOLERANCE:g} are allowed"
    return None
