"""A wider model begins with what a narrower one knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from denoise_app.checkpoints.store import load
from denoise_app.models.light_crn import LightCrn, LightCrnConfig
from denoise_app.models.registry import build
from denoise_app.training import loop
from denoise_app.training.config import Recipe, TrainConfig, TrainingError
from denoise_app.training.loop import train
from denoise_app.training.widen import can_widen, widen

NARROW = {"single_bins": 20, "wide_bands": 12, "channels": 4, "full_width": 6, "full_channels": 2}
WIDE = NARROW | {"channels": 12, "full_width": 15, "full_channels": 4}  # 6 units into 15: some twice, some three times


def light_crn(sizes: dict[str, int], seed: int) -> LightCrn:
    """One whose numbers, the norms' too, are not those of a fresh one."""
    torch.manual_seed(seed)
    model = LightCrn(LightCrnConfig(**sizes))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def quiet(_: str) -> None:
    pass


def sound() -> Tensor:
    return 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(5))


def test_computes_the_same() -> None:
    narrow, wide = light_crn(NARROW, 1), light_crn(WIDE, 2)
    noisy = sound()
    with torch.inference_mode():
        before, after = narrow(noisy), wide(noisy)
        assert not torch.allclose(before, after, atol=1e-3)
        widen(narrow, wide)
        torch.testing.assert_close(wide(noisy), before, atol=1e-6, rtol=0)


def test_a_model_on_another_device_takes_it_too() -> None:
    """As on a GPU, where the checkpoint is still on the CPU: "meta" refuses to be mixed with it likewise."""
    widen(light_crn(NARROW, 1), light_crn(WIDE, 2).to("meta"))


def test_copies_of_a_channel_learn_apart() -> None:
    narrow, wide = light_crn(NARROW, 1), light_crn(WIDE, 2)
    widen(narrow, wide)
    noisy = sound()
    (wide(noisy) - 0.5 * noisy).square().mean().backward()
    for name, copy in (("before.pointwise", 4), ("full.squeeze", 2)):  # where row 0 stands again
        taught = wide.get_parameter(f"{name}.weight").grad
        assert taught is not None
        assert (taught[0] - taught[copy]).norm() > 1e-2 * taught[0].norm()


@pytest.mark.parametrize(
    "sizes",
    [
        {**NARROW, "channels": 6},  # no multiple: the norms would weigh the channels differently
        {**NARROW, "full_width": 5},
        {**NARROW, "blocks": 3},
        {**NARROW, "single_bins": 24},
    ],
)
def test_what_cannot_be_widened(sizes: dict[str, int]) -> None:
    assert can_widen(build("light-crn", NARROW), build("dpcrn", WIDE))
    assert not can_widen(build("light-crn", NARROW), build("light-crn", sizes))
    assert not can_widen(build("gru"), build("light-crn", NARROW))


@pytest.mark.slow
def test_a_training_begins_with_a_narrower_checkpoint(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SIMULATED_ROOMS", 2)
    narrow = TrainConfig(
        "light-crn", "mse", sounds / "clean", sounds / "noise", tmp_path / "narrow", cache=tmp_path / "cache",
        model_config=NARROW, recipe=Recipe(seconds=0.5, batch=2), steps=2,
    )  # fmt: skip
    heard = train(narrow, quiet).hours_seen
    wide = replace(
        narrow, model="dpcrn", model_config=WIDE, out=tmp_path / "wide", init=narrow.out, learning_rate=1e-12
    )
    assert train(wide, quiet).hours_seen == pytest.approx(2 * heard, abs=5e-4)  # the manifest rounds
    with torch.inference_mode():
        before, after = (load(run.out)[0].eval()(sound()) for run in (narrow, wide))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)
    with pytest.raises(TrainingError, match="holds a dpcrn, not a light-crn"):
        train(replace(narrow, init=wide.out), quiet)
