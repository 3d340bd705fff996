"""What is drawn of a result: read once, block by block, then drawn as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.clip import FileInfo, Samples
from denoise_app.audio.convert import fit, mid
from denoise_app.audio.level import from_db
from denoise_app.plots.spectrogram import (
    Change,
    SpectrogramBuilder,
    SpectrogramData,
    describe,
    linked_figure,
    speech_attenuation,
)
from denoise_app.plots.theme import Theme, Words
from denoise_app.ui.texts import Say


@dataclass(frozen=True)
class Survey:
    """What a recording and its result look like, at the same gain.

    Attributes:
        before, after, removed: Spectrograms of the mean of all channels.
        attenuation: (columns,) dB: how much speech itself was attenuated; NaN where there is none.
        change: The same in numbers.
        gain_db: What was taken out again of the result's gain.
    """

    before: SpectrogramData
    after: SpectrogramData
    removed: SpectrogramData
    attenuation: np.ndarray[Any, np.dtype[np.float32]]
    change: Change
    gain_db: float


def survey(before: Path, after: Path, removed: Path, gain_db: float) -> Survey:
    """Looks at a recording, its result, whose gain in dB is taken out again, and what was removed.

    Raises:
        AudioError: One of the files is gone.
    """
    info = files.probe(before)
    first = _spectrogram(before, info, 1.0)
    second = _spectrogram(after, info, from_db(-gain_db))
    third = _spectrogram(removed, info, 1.0)
    return Survey(first, second, third, speech_attenuation(first, second), describe(first, second), gain_db)


def _spectrogram(path: Path, info: FileInfo, gain: float) -> SpectrogramData:
    """Of exactly the recording's length: lossy formats may be a little longer or shorter."""
    builder = SpectrogramBuilder(info.sample_rate, info.frames)
    for block in _exactly(path, info.frames):
        builder.push(mid(block)[0] * np.float32(gain))
    return builder.data()


def mean(path: Path, frames: int) -> Samples:
    """(frames,): the mean of the channels of a short file."""
    return np.concatenate([mid(block)[0] for block in _exactly(path, frames)] or [np.zeros(0, np.float32)])


def _exactly(path: Path, frames: int) -> Iterator[Samples]:
    """The blocks of a file, `frames` samples in all."""
    missing = frames
    with files.open_reader(path) as reader:
        for block in reader.blocks():
            yield block[:, :missing]
            missing -= block.shape[1]
            if missing <= 0:
                return
        while missing > 0:
            yield fit(np.zeros((reader.info.channels, 0), np.float32), min(missing, files.BLOCK))
            missing -= files.BLOCK


def figure(looked: Survey, say: Say, log: bool, theme: Theme) -> Any:
    """Before, after and removed above each other, and the strip of speech attenuation, on one time axis."""
    words = Words(
        before=say("player.version.before"),
        after=say("player.version.after"),
        removed=say("player.version.removed"),
        time=say("plots.time"),
        frequency=say("plots.frequency"),
        level=say("unit.dbfs"),
        attenuation=say("plots.attenuation"),
    )
    panels = [looked.before, looked.after, looked.removed]
    return linked_figure(panels, looked.attenuation, log=log, theme=theme, words=words)
