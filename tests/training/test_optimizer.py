"""Which parameters Muon takes, what its steps look like, and that a saved optimizer goes on as if never saved."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from denoise_app.models.frcrn import ComplexConv, ComplexLinear
from denoise_app.training.optimizer import Muon, Optimizer

RATE = 1e-2


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "linear": nn.Linear(24, 16),
            "kernel": nn.Conv2d(8, 16, 3),
            "apart": nn.Conv2d(16, 16, 3, groups=16),  # one kernel a channel: nothing mixes
            "narrow": nn.Linear(24, 4),
            "recurrent": nn.GRU(16, 16),
            "norm": nn.LayerNorm((16, 24)),
            "complex": ComplexLinear(8, 16),  # both parts as rows
            "several": ComplexConv(1, 8, 16, 5),
        }
    )


def with_gradients(net: nn.Module, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def step_of(net: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer.step(RATE)
    return {name: parameter.detach() - before[name] for name, parameter in net.named_parameters()}


def evenness(update: torch.Tensor) -> float:
    """The least singular value of a matrix over the largest: 1 for one that turns all directions alike."""
    values = torch.linalg.svdvals(update)
    return float(values[-1] / values[0])


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("linear.weight", 16), ("kernel.weight", 16), ("recurrent.weight_ih_l0", 48), ("recurrent.weight_hh_l0", 48),
        ("complex.weight", 16), ("several.weight", 16),
    ],
)  # fmt: skip
def test_a_matrix_is_turned_alike_in_all_directions_with_the_rms_of_an_adamw_step(
    net: nn.Module, name: str, rows: int
) -> None:
    with_gradients(net)
    gradient = net.get_parameter(name).grad
    assert gradient is not None
    left, values, right = torch.linalg.svd(gradient.view(rows, -1), full_matrices=False)
    gradient.view(rows, -1).copy_(left * torch.linspace(0.05, 1, values.numel()) @ right)
    update = step_of(net, Optimizer(net, weight_decay=0.0))[name]
    assert evenness(update.view(rows, -1)) > 0.5
    assert float(update.square().mean().sqrt() / RATE) == pytest.approx(0.2, rel=0.4)  # AdamW's is 0.2 to 0.4


@pytest.mark.parametrize("name", ["apart.weight", "narrow.weight", "linear.bias", "norm.weight", "norm.bias"])
def test_everything_else_gets_the_first_step_of_adamw(net: nn.Module, name: str) -> None:
    with_gradients(net)
    gradient = net.get_parameter(name).grad
    assert gradient is not None
    update = step_of(net, Optimizer(net, weight_decay=0.0))[name]
    assert torch.allclose(update, -RATE * gradient.sign(), atol=RATE * 1e-2)


@pytest.mark.parametrize("shape", [(16, 24), (24, 16), (20, 20)])
def test_muon_steps_as_that_of_torch(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    ours, theirs = (nn.Parameter(torch.ones(shape)) for _ in range(2))
    ours_by = Muon([ours], weight_decay=0.1)
    theirs_by = torch.optim.Muon([theirs], lr=1e-3, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        ours_by.step()
        theirs_by.step()
        moved = 1 - theirs.detach()
        assert (ours - theirs).norm() < 0.02 * moved.norm()  # theirs rounds to the 8 bits of bfloat16


def test_weights_that_got_no_gradient_stay(net: nn.Module) -> None:
    with_gradients(net)
    optimizer = Optimizer(net, weight_decay=0.0)
    optimizer.step(RATE)
    for parameter in net.parameters():
        parameter.grad = None
    assert not any(update.any() for update in step_of(net, optimizer).values())


def test_a_saved_optimizer_goes_on_to_the_bit(net: nn.Module) -> None:
    other = copy.deepcopy(net)
    ours, theirs = (Optimizer(each, weight_decay=0.1) for each in (net, other))
    for seed in range(3):
        with_gradients(net, seed)
        ours.step(RATE)
    other.load_state_dict(net.state_dict())
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for each, optimizer in ((net, ours), (other, theirs)):
        with_gradients(each, 9)
        optimizer.step(RATE / 2)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_state_of_another_kind_is_refused(net: nn.Module) -> None:
    adam = torch.optim.AdamW(net.parameters())
    with pytest.raises(ValueError, match="dict"):
        Optimizer(net, weight_decay=0.0).load_state_dict(adam.state_dict())  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Optimizer(nn.Linear(2, 2), weight_decay=0.0).load_state_dict(Optimizer(net, weight_decay=0.0).state_dict())
