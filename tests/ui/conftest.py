"""A worker that needs no weights, for tests of the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from torch import Tensor

from denoise_app.audio.clip import Samples
from denoise_app.checkpoints.manifest import CheckpointError, Manifest
from denoise_app.denoiser import Denoiser
from denoise_app.inference.catalog import Entry
from denoise_app.metrics.errors import MetricUnavailable
from denoise_app.ui.parts.downloads import Downloads
from denoise_app.ui.parts.site import Site
from denoise_app.ui.worker.offers import Offers
from denoise_app.ui.worker.session import Session, Sessions
from denoise_app.ui.worker.worker import Worker


class HalfGain:
    """A denoiser that halves the amplitude of its input."""

    sample_rate, latency, causal = 16_000, 160, False

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy / 2


class FakeOffers(Offers):
    """Other denoisers, which need no weights.

    Attributes:
        gate: An event to make denoisers wait for; None to let them load at once.
        loaded: Keys of the denoisers that were loaded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate: threading.Event | None = None
        self.loaded: list[str] = []
        scores = {"pesq_wb": 1.6, "stoi": 0.81, "si_sdr": 9.1}
        facts = {
            "favours": {"en": "Halves <all>.", "zh": "全部减半。"},
            "scores": scores,
            "noisy_scores": {"stoi": 0.77},
        }
        facts |= {"sample_rate": 16_000, "parameters": 193_000, "macs_per_second": 5_000_000, "sha256": "0" * 64}
        self.made = [
            Entry("half", loss, "neural", "bundled", 16_000, False, 160, Manifest("half", loss, **facts))
            for loss in ("hybrid", "log-mag")
        ] + [Entry("wiener", None, "classical", "built-in", 16_000, True, 512)]

    def all(self) -> list[Entry]:
        return self.made

    def broken(self) -> list[CheckpointError]:
        return []

    def recommended(self, model: str | None = None, loss: str | None = None) -> Entry:
        named = "half" if model in (None, "live") else model
        same = [entry for entry in self.made if entry.model == named]
        found = [entry for entry in same if loss in (None, entry.loss)]
        if not same:
            raise CheckpointError.of("no-such-model", model=named, known="half, wiener")
        if not found and same[0].loss is None:
            raise CheckpointError.of("no-loss-taken", model=model, loss=loss)
        if not found:
            raise CheckpointError.of("no-such-loss", model=model, loss=loss, known="hybrid, log-mag")
        return found[0]

    def load(self, entry: Entry) -> Denoiser:
        if self.gate is not None:
            assert self.gate.wait(30)
        self.loaded.append(entry.key)
        return HalfGain()


class FakeWorker(Worker):
    """The real worker with other denoisers and without DNSMOS."""

    offers: FakeOffers

    def __init__(self) -> None:
        super().__init__(FakeOffers())

    def score(self, samples: Samples, sample_rate: int, keys: Iterable[str]) -> dict[str, float | MetricUnavailable]:
        quick = [key for key in keys if not key.startswith("dnsmos")]
        return super().score(samples, sample_rate, quick) | dict.fromkeys(set(keys) - set(quick), 3.0)


@pytest.fixture(scope="session")
def make_worker() -> type[FakeWorker]:
    return FakeWorker


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path / "visits")


@pytest.fixture
def site(worker: FakeWorker, sessions: Sessions) -> Site:
    return Site(worker, sessions, Downloads())


@pytest.fixture
def session(sessions: Sessions) -> Session:
    return sessions.open()


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """Makes a recording: noise of a level that swells and fades, so that no two stretches are alike."""

    def make(
        name: str = "talk.wav", seconds: float = 2.0, rate: int = 16_000, channels: int = 1, codec: str = "PCM_16"
    ) -> Path:
        time = np.arange(round(seconds * rate)) / rate
        swell = 0.1 + 0.1 * np.sin(2 * np.pi * 0.7 * time)
        noise = np.random.default_rng(3).uniform(-1, 1, (time.size, channels))
        soundfile.write(tmp_path / name, noise * swell[:, None], rate, codec)
        return tmp_path / name

    return make
