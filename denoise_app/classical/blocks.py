"""How a denoiser that works on blocks of samples is called on a whole signal."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from denoise_app.denoiser import StreamingDenoiser


def denoise_whole(denoiser: StreamingDenoiser, noisy: Tensor) -> Tensor:
    """(B, T) -> (B, T): one block of everything and the silence that the last samples wait for, then no delay."""
    batch, length = noisy.shape
    heard = F.pad(noisy, (0, denoiser.delay + -(length + denoiser.delay) % denoiser.hop))  # to whole hops
    clean, _ = denoiser.advance(heard, denoiser.initial_state(batch))
    return clean[:, denoiser.delay : denoiser.delay + length]
