"""A narrower model begins with the strongest channels of a wider one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from denoise_app.checkpoints.store import load
from denoise_app.models.registry import build
from denoise_app.training import loop
from denoise_app.training.config import Recipe, TrainConfig, TrainingError
from denoise_app.training.loop import train
from denoise_app.training.prune import can_prune, prune, smaller

LIGHT_CRN = {"single_bins": 20, "wide_bands": 12, "channels": 8, "full_width": 12, "full_channels": 4}
GRU = {"single_bins": 20, "wide_bands": 12, "width": 32, "hidden": 24, "layers": 2}
HALVES = {
    "light-crn": {"channels": 4, "full_width": 6, "full_channels": 2},
    "gru": {"width": 16, "hidden": 12},
}
DESIGNS = [("light-crn", LIGHT_CRN), ("dpcrn", LIGHT_CRN), ("gru", GRU)]


def half(name: str) -> dict[str, int]:
    return HALVES["gru" if name == "gru" else "light-crn"]


def fresh(name: str, sizes: dict[str, int], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = build(name, sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def sound() -> Tensor:
    return 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(5))


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize(("name", "sizes"), DESIGNS)
def test_channels_that_do_nothing_can_go_without_a_trace(name: str, sizes: dict[str, int]) -> None:
    """A narrow model whose channels are scattered among dead ones of a wide one is found again."""
    narrow, wide = fresh(name, {**sizes, **half(name)}, 1), fresh(name, sizes, 2)
    _scatter(narrow, wide)
    found = fresh(name, {**sizes, **half(name)}, 3)
    prune(wide, found)
    with torch.inference_mode():
        torch.testing.assert_close(found(sound()), narrow(sound()), atol=1e-6, rtol=0)


def _scatter(narrow: nn.Module, wide: nn.Module) -> None:
    """Puts each channel at every second place, with zeros between; of each gate and subband likewise."""
    for name, parameter in wide.named_parameters():
        small = narrow.get_parameter(name).detach()
        for axis in range(small.ndim):
            if small.shape[axis] != parameter.shape[axis]:
                spread = torch.zeros_like(small).repeat_interleave(2, axis)
                spread.index_copy_(axis, 2 * torch.arange(small.shape[axis]) + 1, small)
                small = spread
        parameter.detach().copy_(small)


@pytest.mark.parametrize(("name", "sizes"), DESIGNS)
def test_the_weakest_go(name: str, sizes: dict[str, int]) -> None:
    """A wide model whose weak channels are a thousandth as strong loses just those."""
    wide = fresh(name, sizes, 1)
    weak = 2 * torch.arange(8 if name != "gru" else 32 // 2)[: 4 if name != "gru" else 16]
    first = wide.get_submodule("encode") if name != "gru" else wide.get_submodule("encode.0")
    weight, bias = first.get_parameter("weight").detach(), first.get_parameter("bias").detach()
    for parameter in _touching(wide, name):
        parameter.index_fill_(1, weak, 0)
    weight[weak], bias[weak] = 0, 0
    narrow = build(name, {**sizes, **half(name)})
    prune(wide, narrow)
    ours = narrow.get_parameter("encode.weight" if name != "gru" else "encode.0.weight")
    strong = weight[[place for place in range(len(weight)) if place not in weak.tolist()]]
    assert torch.equal(ours, strong)


def _touching(model: nn.Module, name: str) -> list[Tensor]:
    """Weights that read the channels that the first layer writes."""
    if name == "gru":
        return [model.get_parameter("recur.weight_ih_l0").detach()]
    return [model.get_parameter(f"{block}.pointwise.weight").detach() for block in ("before", "after")]


def test_sizes() -> None:
    assert smaller(build("dpcrn"), 0.5) == {"channels": 24, "full_width": 66, "full_channels": 4}
    assert smaller(build("gru"), 0.25) == {"width": 192, "hidden": 192}
    with pytest.raises(ValueError, match="can be pruned"):
        smaller(build("transformer"), 0.5)
    with pytest.raises(ValueError, match="channels must lie"):
        smaller(build("light-crn"), 0.95)


def test_what_cannot_be_pruned() -> None:
    wide = build("light-crn", LIGHT_CRN)
    assert can_prune(wide, build("light-crn", {**LIGHT_CRN, **HALVES["light-crn"]}))
    assert not can_prune(build("light-crn", {**LIGHT_CRN, **HALVES["light-crn"]}), wide)
    assert not can_prune(wide, build("light-crn", {**LIGHT_CRN, "blocks": 1}))
    assert not can_prune(wide, build("gru"))


@pytest.mark.slow
def test_a_training_begins_with_half_of_a_checkpoint(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SIMULATED_ROOMS", 2)
    wide = TrainConfig(
        "light-crn", "mse", sounds / "clean", sounds / "noise", tmp_path / "wide", cache=tmp_path / "cache",
        model_config=dict(LIGHT_CRN), recipe=Recipe(seconds=0.5, batch=2), steps=2,
    )  # fmt: skip
    train(wide, quiet)
    pruned = replace(
        wide, out=tmp_path / "pruned", init=wide.out, model_config={}, prune=0.5, learning_rate=1e-12, steps=1
    )
    train(pruned, quiet)
    model, manifest = load(pruned.out)
    assert manifest.config == {**LIGHT_CRN, **HALVES["light-crn"]}
    expected = build("light-crn", manifest.config)
    prune(load(wide.out)[0], expected)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(sound()), expected.eval()(sound()), atol=1e-5, rtol=0)
    assert train(replace(pruned, resume=True, steps=2), quiet).steps == 2
    for wrong, sentence in ((replace(pruned, init=None), "--init"), (replace(pruned, model="dpcrn"), "light-crn")):
        with pytest.raises(TrainingError, match=sentence):
            train(wrong, quiet)
