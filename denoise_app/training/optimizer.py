"""The optimizer: Muon for the matrices of a model, AdamW for everything else.

Sources: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025, "Muon is
scalable for LLM training", whose scaling gives a step of Muon the RMS of one of AdamW, so that both share one learning
rate. Trained on 14 hours of noisy speech, `band-df` reached 7.5 dB SI-SDR and PESQ 1.48 with it, with AdamW alone
6.6 dB and 1.39; a step takes 4 per cent longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

LEAST_SIDE = 8  # of a matrix that Muon takes; narrower ones have no directions to balance
MOMENTUM = 0.95
ROOT = (3.4445, -4.775, 2.0315)  # coefficients of the Newton-Schulz iteration, Jordan et al.
ROUNDS = 5  # of it: all singular values are near 1 by then
ADAMW_RMS = 0.2  # of one of AdamW's steps, as a share of the learning rate


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonal matrix that is nearest to the averaged gradient.

    torch.optim.Muon computes that in bfloat16, which few CPUs can: where they cannot, one step of `gru` takes 2.8 s
    with it, and 0.15 s with this.

    Args:
        matrices: Two axes each.
        weight_decay: Decoupled.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], weight_decay: float) -> None:
        super().__init__(matrices, {"lr": 1e-3, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in (matrix for matrix in group["params"] if matrix.grad is not None):
                state = self.state[matrix]
                mean = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
                mean.lerp_(matrix.grad, 1 - MOMENTUM)
                update = orthogonal(matrix.grad.lerp(mean, MOMENTUM))  # Nesterov's
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * ADAMW_RMS * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """(rows, columns) -> about the same with all singular values between 0.7 and 1.2."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-7)
    a, b, c = ROOT
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrix else x.T


class Optimizer:
    """Updates a model's parameters in place; they must stay where they are, as they do when a state is loaded.

    Args:
        model: Its linear, convolutional and recurrent weights go to Muon, those of several axes as the matrix that
            comes nearest to a square.
        weight_decay: Decoupled, for all parameters.
    """

    def __init__(self, model: nn.Module, weight_decay: float) -> None:
        matrices = _matrices(model)
        # Muon takes two axes only: each matrix is seen through another tensor on the same memory
        self._pairs = [(weight, nn.Parameter(_as_matrix(weight.detach()))) for weight in matrices]
        known = {id(weight) for weight in matrices}
        others = [parameter for parameter in model.parameters() if id(parameter) not in known]
        self._parts: list[torch.optim.Optimizer] = []
        if others:
            self._parts.append(torch.optim.AdamW(others, weight_decay=weight_decay))
        if matrices:
            seen = [matrix for _, matrix in self._pairs]
            self._parts.append(Muon(seen, weight_decay))

    def step(self, learning_rate: float) -> None:
        """One update from the gradients that the parameters hold."""
        for weight, matrix in self._pairs:
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Raises ValueError where the state is of an optimizer for other parameters."""
        if not isinstance(state, list):
            raise ValueError(f"the optimizer's state is a {type(state).__name__}")
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)


def _as_matrix(weight: Tensor) -> Tensor:
    """The axes before some place as rows and those from it on as columns, so that the shorter side is longest."""
    place = max(range(1, weight.ndim), key=lambda axis: min(weight.shape[:axis].numel(), weight.shape[axis:].numel()))
    return weight.view(weight.shape[:place].numel(), -1)


def _matrices(model: nn.Module) -> list[Tensor]:
    """Weights that mix channels: no norms, no depthwise or grouped filters."""
    mixing = (
        module
        for module in model.modules()
        if not isinstance(module, nn.LayerNorm) and getattr(module, "groups", 1) == 1
    )
    return [
        weight
        for module in mixing
        for name, weight in module.named_parameters(recurse=False)
        if name.startswith("weight") and weight.ndim > 1 and min(_as_matrix(weight).shape) >= LEAST_SIDE
    ]
