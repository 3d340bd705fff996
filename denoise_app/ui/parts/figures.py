"""What figures of several tabs are made of: sound of exactly the recording's length, and their words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.clip import Samples
from denoise_app.audio.convert import fit, mid
from denoise_app.plots.theme import Words
from denoise_app.ui.texts import Say


def mean(path: Path, frames: int) -> Samples:
    """(frames,): the mean of the channels of a short file."""
    return np.concatenate([mid(block)[0] for block in exactly(path, frames)] or [np.zeros(0, np.float32)])


def exactly(path: Path, frames: int) -> Iterator[Samples]:
    """The blocks of a file, `frames` samples in all: lossy formats may be a little longer or shorter.

    Raises:
        AudioError: It is gone.
    """
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


def words(say: Say, **more: str) -> Words:
    """The words on spectrograms and waveforms, and those of a tab's own."""
    return Words(time=say("plots.time"), frequency=say("plots.frequency"), level=say("unit.dbfs"), **more)
