"""Works whose denoisers misbehave, in processes that are spawned."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from torch import Tensor

from denoise_app.inference import engine
from denoise_app.scale.items import Batch, plan
from denoise_app.scale.work import Work

RATE = 16_000
LOUD, SOFT = 0.9, 0.1


def sound(path: Path, level: float = SOFT, seconds: float = 0.1) -> Path:
    """A tone in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = level * np.sin(0.3 * np.arange(round(seconds * RATE)))
    soundfile.write(path, tone, RATE, subtype="PCM_16")
    return path


def folder(place: Path, count: int = 4, loud: int | None = None) -> Batch:
    """So many files in a folder named "in", planned to go to "out" beside it; one of them may be loud."""
    for number in range(count):
        sound(place / "in" / f"{number:03}.wav", LOUD if number == loud else SOFT)
    return plan([place / "in"], place / "out")


class Identity:
    sample_rate, latency, causal = RATE, 0, False

    def __call__(self, noisy: Tensor) -> Tensor:
        return noisy.clone()


@dataclass(frozen=True)
class Plain(Work):
    """Gives back what it was given."""

    def load(self) -> Identity:
        return Identity()


@dataclass(frozen=True)
class Deadly(Plain):
    """Kills its process by loud sound, so many times; counted in a folder."""

    place: str = ""
    times: int = 0

    def load(self) -> Identity:
        (Path(self.place) / f"loaded-{os.getpid()}").touch()
        times, place = self.times, Path(self.place)

        class Killer(Identity):
            def __call__(self, noisy: Tensor) -> Tensor:
                deaths = len(list(place.glob("death-*")))
                if noisy.abs().max() > (LOUD + SOFT) / 2 and deaths < times:
                    (place / f"death-{deaths}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return noisy.clone()

        return Killer()


@dataclass(frozen=True)
class Slow(Plain):
    """Says in a file that it has begun, and takes ten minutes for loud sound."""

    place: str = ""

    def load(self) -> Identity:
        place = Path(self.place)

        class Sleeper(Identity):
            def __call__(self, noisy: Tensor) -> Tensor:
                if noisy.abs().max() > (LOUD + SOFT) / 2:
                    (place / "begun").touch()
                    time.sleep(600)
                return noisy.clone()

        return Sleeper()


@dataclass(frozen=True)
class Stillborn(Plain):
    """Its processes end before they can begin."""

    def load(self) -> Identity:
        os._exit(7)


PLAIN = Plain("identity", None, None, engine.Settings())
