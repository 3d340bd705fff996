"""A GPU that is lent: asked for by the length of the sound, by what another process can be told, and nowhere else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from denoise_app.audio.clip import Clip
from denoise_app.inference import catalog, engine
from denoise_app.inference.separation import separate
from denoise_app.ui.worker import zero
from denoise_app.ui.worker.background import Background
from denoise_app.ui.worker.offers import Offers
from denoise_app.ui.worker.session import Job
from denoise_app.ui.worker.worker import Worker


class Lender(ModuleType):
    """`spaces`, as it is on ZeroGPU: what goes to the other process and comes back is pickled.

    Attributes:
        seconds: For which a GPU was asked for.
        refusal: What is raised where none is given; None to give one.
    """

    def __init__(self) -> None:
        super().__init__("spaces")
        self.seconds: list[int] = []
        self.refusal: Exception | None = None

    def GPU(self, duration: Callable[..., int]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorated(task: Callable[..., Any]) -> Callable[..., Any]:
            def lent(*args: Any) -> Any:
                self.seconds.append(duration(*args))
                if self.refusal is not None:
                    raise self.refusal
                return pickle.loads(pickle.dumps(task(*pickle.loads(pickle.dumps(args)))))

            return lent

        return decorated


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CPU stands for the GPU, and the next test finds no lender."""
    monkeypatch.setattr(zero, "DEVICE", "cpu")
    zero.lender.cache_clear()
    yield
    zero.lender.cache_clear()
    zero._read.cache_clear()


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Lender:
    made = Lender()
    monkeypatch.setitem(sys.modules, "spaces", made)
    return made


def clip(seconds: float) -> Clip:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, round(16_000 * seconds)))
    return Clip(noise.astype(np.float32), 16_000)


def test_the_samples_are_those_of_the_cpu(lender: Lender) -> None:
    entry = catalog.find("cnn", "mse")
    lent, own = Offers().load(entry), catalog.load("cnn", "mse", "cpu")
    assert isinstance(lent, zero.OnLoan)
    assert (lent.sample_rate, lent.latency, lent.causal) == (own.sample_rate, own.latency, own.causal)
    sound = clip(3)
    np.testing.assert_array_equal(engine.denoise(sound, lent).samples, engine.denoise(sound, own).samples)
    assert lender.seconds == [zero.LEAST]


def test_the_time_follows_from_the_sound_and_the_model() -> None:
    def asked(seconds: float, factor: float, batch: int = 1) -> int:
        return zero.duration("", np.empty((batch, round(100 * seconds)), np.float32), 100, factor)

    assert [asked(seconds, 0.5) for seconds in (0, 40, 80, 10_000)] == [10, 28, 48, 120]
    assert asked(40, 0.5, batch=2) == asked(80, 0.5)
    assert asked(80, 0.25) == asked(40, 0.5) < asked(80, 0.5)
    assert asked(40, 0) == asked(40, 1) == 48  # of a model that nobody has timed


def test_what_is_told_of_a_result_names_the_gpu(lender: Lender, tmp_path: Path) -> None:
    for model, loss, device in (("cnn", "mse", "cuda"), ("gru", "mse", "cpu"), ("wiener", None, "cpu")):
        folder = tmp_path / model
        folder.mkdir()
        assert separate(clip(1), Offers().load(catalog.find(model, loss)), folder).device == device
    assert lender.seconds == [zero.LEAST]


@pytest.mark.slow
def test_a_long_recording_asks_for_each_part_of_it(lender: Lender) -> None:
    denoiser = Offers().load(catalog.find("cnn", "mse"))
    engine.denoise(clip(50), denoiser)
    assert len(lender.seconds) == 2 and all(zero.LEAST <= seconds <= zero.MOST for seconds in lender.seconds)


@pytest.mark.parametrize(("model", "loss"), [("gru", "mse"), ("wiener", None)])
def test_what_is_causal_or_classical_stays_here(lender: Lender, model: str, loss: str | None) -> None:
    denoiser = Offers().load(catalog.find(model, loss))
    engine.denoise(clip(1), denoiser)
    assert not isinstance(denoiser, zero.OnLoan) and lender.seconds == []


def test_a_refusal_is_told_in_a_sentence(lender: Lender) -> None:
    denoiser = Offers().load(catalog.find("cnn", "mse"))
    lender.refusal = RuntimeError("You have exceeded your quota.")
    with pytest.raises(zero.NotLent, match="You have exceeded your quota") as told:
        denoiser(torch.zeros(1, 16_000))
    assert told.value.reason == "gpu-not-lent"


def test_without_the_package_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)  # as if it were not installed
    monkeypatch.delenv("DENOISE_DEVICE", raising=False)
    zero.prepare()
    assert zero.lender() is None and "DENOISE_DEVICE" not in os.environ
    assert Offers().load(catalog.find("cnn", "mse")) is catalog.load("cnn", "mse")


def test_a_space_without_zerogpu_has_the_package_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("spaces")
    package.GPU = lambda duration: lambda task: task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces", package)
    assert zero.lender() is None


def test_with_a_lender_this_process_keeps_to_the_cpu(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DENOISE_DEVICE", raising=False)
    monkeypatch.setenv("DENOISE_DEVICE", "")  # so that it is as it was, afterwards
    monkeypatch.delenv("DENOISE_DEVICE")
    zero.prepare()
    assert os.environ["DENOISE_DEVICE"] == "cpu"


def test_the_thread_that_asks_knows_whose_request_it_is() -> None:
    request: ContextVar[str] = ContextVar("request", default="nobody's")
    request.set("somebody's")
    running = Background(Worker(), lambda report, stopped: (request.get(), threading.current_thread().name), Job())
    assert list(running) == [] and running.result == ("somebody's", "denoise")


@pytest.mark.slow
def test_no_module_of_the_page_needs_the_package() -> None:
    code = "import sys, denoise_app.ui.app; sys.exit('spaces' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
