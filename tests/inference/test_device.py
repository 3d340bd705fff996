"""A device is chosen by trying it, and says why."""

from __future__ import annotations

import pytest
import torch

from denoise_app.audio.errors import AudioError
from denoise_app.inference import device
from denoise_app.inference.device import choose


@pytest.fixture(autouse=True)
def nothing_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.VARIABLE, raising=False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """A GPU that torch sees; its trial ends as written in the dictionary."""
    outcome: dict[str, str | None] = {"cuda:0": None}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: "Imaginary 9000")
    monkeypatch.setattr(device, "trial", lambda name: outcome.get(name))
    return outcome


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    chosen = choose()
    assert (chosen.torch_device, chosen.key) == ("cpu", "no-gpu")
    assert chosen.name.startswith("CPU") and "GPU" in chosen.reason


def test_a_gpu_that_works_is_taken(gpu: dict[str, str | None]) -> None:
    chosen = choose("auto")
    assert (chosen.torch_device, chosen.name, chosen.key) == ("cuda:0", "Imaginary 9000", "gpu-works")


def test_a_gpu_that_fails_its_trial_is_not(gpu: dict[str, str | None]) -> None:
    gpu["cuda:0"] = "no kernel image is available for execution on the device."
    chosen = choose()
    assert (chosen.torch_device, chosen.key) == ("cpu", "gpu-fails")
    assert "no kernel image" in chosen.reason


def test_what_is_asked_for_is_taken(gpu: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, "cpu")
    assert (choose().torch_device, choose().key) == ("cpu", "environment")
    assert (choose("cuda").torch_device, choose("cuda").key) == ("cuda:0", "requested")
    monkeypatch.setenv(device.VARIABLE, "auto")
    assert choose().torch_device == "cuda:0"


@pytest.mark.parametrize("wrong", ["cuda:77", "abacus", "cuda:x"])
def test_what_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    for demand in (lambda: choose(wrong), choose):
        with pytest.raises(AudioError) as caught:
            demand()
        assert caught.value.reason == "no-device" and wrong in str(caught.value)
        monkeypatch.setenv(device.VARIABLE, wrong)


def test_the_trial_computes() -> None:
    assert device.trial("cpu") is None
