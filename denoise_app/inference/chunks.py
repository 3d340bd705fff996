"""Non-causal denoisers over sound of any length: chunks that overlap, crossfaded where they meet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from denoise_app.denoiser import GRID, Denoiser


@dataclass(frozen=True)
class Plan:
    """How sound is cut. Chunk k begins at k * stride.

    Attributes:
        window: Samples of a chunk.
        context: Samples at each inner end of a chunk that are processed but discarded.
        crossfade: Samples over which one chunk passes into the next, between their contexts.

    Raises:
        ValueError: the parts do not fit into the window, or the stride is no multiple of the grid.
    """

    window: int
    context: int
    crossfade: int

    def __post_init__(self) -> None:
        if min(self.context, self.crossfade) < 0 or self.stride < 1:
            raise ValueError(f"no chunk can be cut by {self}")
        if self.stride < self.crossfade:
            raise ValueError(f"more than two chunks would meet in the crossfade of {self}")

    @property
    def overlap(self) -> int:
        return 2 * self.context + self.crossfade

    @property
    def stride(self) -> int:
        return self.window - self.overlap

    @classmethod
    def for_denoiser(cls, denoiser: Denoiser, longer: int = 1) -> Plan:
        """Chunks of 8 s, or so many times as long, and on both sides 1 s of context, or as much as the denoiser sees.

        Context is computed twice: with its 2.8 s `transformer` computes 1.7 times the sound in chunks of 8 s, 1.2 times
        in those of 32 s.
        """
        context = _on_grid(max(denoiser.sample_rate, denoiser.latency))
        return cls(_on_grid(8 * longer * denoiser.sample_rate) + 2 * context + GRID, context, GRID)


def _on_grid(samples: int) -> int:
    return -(-samples // GRID) * GRID


class Chunks:
    """A denoiser driven by blocks of any length, which it processes in overlapping chunks; `Blocks`'s twin.

    What comes out of all pushes and the finish together has the input's length and is aligned with it. Sound that is
    no longer than one chunk is denoised whole. The crossfade's weights sum to one.

    Args:
        denoiser: It is shared, never changed; what is remembered lies here.
        batch: Signals that are denoised side by side.
        plan: How the sound is cut; without one, as fits the denoiser.
    """

    def __init__(self, denoiser: Denoiser, batch: int, plan: Plan | None = None) -> None:
        self._denoiser = denoiser
        self._batch = batch
        self._plan = plan or Plan.for_denoiser(denoiser)
        self.reset()

    def reset(self) -> None:
        """Clear the state; the next push begins a new signal."""
        self._pending = torch.zeros(self._batch, 0)  # from the beginning of the next chunk on
        self._fading = torch.zeros(self._batch, 0)  # the last chunk's part of the next crossfade
        self._first = True

    @torch.inference_mode()
    def push(self, block: Tensor) -> Tensor:
        """(batch, n) float32, n >= 0, on the denoiser's device -> the samples (batch, m) that are ready, m >= 0."""
        self._pending = torch.cat([self._pending.to(block.device), block], dim=1)
        ready = [block[:, :0]]
        while self._pending.shape[1] > self._plan.window:  # another chunk follows
            ready.append(self._next())
        return torch.cat(ready, dim=1)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """The samples (batch, m) that are left; `reset` before anything else is pushed."""
        return self._faded(self._denoiser(self._pending)) if self._pending.shape[1] else self._pending

    def _next(self) -> Tensor:
        """What is settled by the next chunk, which another will follow: all before the next crossfade."""
        plan = self._plan
        clean = self._denoiser(self._pending[:, : plan.window])
        self._pending = self._pending[:, plan.stride :].clone()  # a view would keep the block alive
        settled = self._faded(clean[:, : plan.stride + plan.context])
        self._fading = clean[:, plan.stride + plan.context :][:, : plan.crossfade].clone()
        return settled

    def _faded(self, clean: Tensor) -> Tensor:
        """A chunk without its leading context, its beginning crossfaded with the end of the chunk before it."""
        if self._first:
            self._first = False
            return clean
        clean = clean[:, self._plan.context :]
        rising = (torch.arange(self._plan.crossfade, device=clean.device) + 0.5) / max(self._plan.crossfade, 1)
        met = self._fading + rising * (clean[:, : self._plan.crossfade] - self._fading)
        return torch.cat([met, clean[:, self._plan.crossfade :]], dim=1)
