"""The form in which sherpa-onnx streams a denoiser (its slot "gtcrn"): exactly three states, and metadata.

A file of this form runs wherever sherpa-onnx does: Android, iOS, HarmonyOS, Raspberry Pi, in C++, Go, Rust, C#, Swift,
Kotlin, JavaScript and WebAssembly. Inputs and outputs are known by their order.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from denoise_app.checkpoints.manifest import Manifest
from denoise_app.models.layers import SpectralModel

INPUTS = ["spectrum", "state", "unused_1", "unused_2"]
OUTPUTS = ["clean", "state_out", "unused_1_out", "unused_2_out"]


class Stateful(Protocol):
    """A module (spectrum, state) -> (spectrum, state), and the numbers in its state."""

    size: int

    def __call__(self, spectrum: Tensor, state: Tensor) -> tuple[Tensor, Tensor]: ...


class ThreeStates(nn.Module):
    """A graph of one state as one of three: the other two are a number each that nothing reads."""

    def __init__(self, graph: Stateful) -> None:
        super().__init__()
        self.graph = graph

    def initial(self) -> tuple[Tensor, Tensor, Tensor]:
        """The states before the first frame."""
        return torch.zeros(1, self.graph.size), torch.zeros(1), torch.zeros(1)

    def forward(self, spectrum: Tensor, state: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        clean, state = self.graph(spectrum, state)
        return clean, state, first * 1.0, second * 1.0  # an output that is an input would be dropped from the graph


def metadata(manifest: Manifest, model: SpectralModel, size: int, weights: str) -> dict[str, str]:
    """What the file says of itself: first what sherpa-onnx asks for, then what people and this program do.

    Args:
        manifest: Of the checkpoint.
        model: Built from it.
        size: Numbers in the state.
        weights: "float32" or "int8".
    """
    stft = model.stft
    return {
        "model_type": "gtcrn",
        "version": "1",
        "sample_rate": str(stft.sample_rate),
        "n_fft": str(stft.window),
        "hop_length": str(stft.hop),
        "window_length": str(stft.window),
        "window_type": "hann_sqrt",
        "conv_cache_shape": f"1,{size}",
        "tra_cache_shape": "1",
        "inter_cache_shape": "1",
        "title": f"Denoise App, {manifest.model} trained with {manifest.loss}",
        "model": manifest.model,
        "loss": manifest.loss,
        "weights": weights,
        "look_ahead": str(model.look_ahead),
        "latency": str(manifest.latency),
        "licence": manifest.licence,
        "credits": "\n".join(manifest.credits),
        "sha256": manifest.sha256,
        "network_sha256": manifest.network_sha256,
    }
