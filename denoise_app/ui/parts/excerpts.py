"""What is listened to of a recording, so that the cost of its numbers does not grow with its length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from denoise_app.audio import files
from denoise_app.audio.clip import FileInfo, Samples
from denoise_app.audio.convert import mid
from denoise_app.audio.encodings import Encoding
from denoise_app.inference.sources import LevelMeter, window
from denoise_app.metrics.excerpts import spread

from .sounds import Sound, as_sound

WHOLE_SECONDS = 60.0  # longer recordings are listened to in excerpts
EXCERPT_SECONDS = 15.0
EXCERPTS = 4


def listened_to(info: FileInfo) -> list[slice]:
    """The stretches of a recording that its numbers come from: all of a short one."""
    if info.seconds <= WHOLE_SECONDS:
        return [slice(0, info.frames)]
    return spread(info.frames, round(EXCERPT_SECONDS * info.sample_rate), EXCERPTS)


def mono(path: Path, info: FileInfo, track: int | None = None) -> Samples:
    """(time,): the mean of the channels of what is listened to of a recording, from it or from a result of it."""
    parts = (files.read_window(path, part.start, part.stop - part.start, track=track) for part in listened_to(info))
    return np.concatenate([mid(part.samples)[0] for part in parts])


def loudness(sound: Path | Sound) -> float:
    """Loudness in LUFS of what is listened to of a sound; -inf for silence."""
    sound = as_sound(sound)
    info = sound.info
    meter = LevelMeter(info.channels, info.sample_rate)
    for part in listened_to(info):
        meter.push(sound.read(part.start, part.stop - part.start))
    return meter.levels().loudness_lufs


def write_part(path: Path, seconds: float, to: Path, track: int | None = None, start: float = 0.0) -> Path:
    """Writes `seconds` of a file from `start` on as float wav, which loses nothing; returns where."""
    with files.open_reader(path, track=track) as reader:
        info = reader.info
        first = round(start * info.sample_rate)
        frames = min(info.frames - first, round(seconds * info.sample_rate))
        with files.open_writer(to, info.sample_rate, info.channels, Encoding("wav", "FLOAT"), frames) as writer:
            for block in window(reader.blocks(start=first), frames):
                writer.write(block)
    return to
