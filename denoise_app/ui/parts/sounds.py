"""Sounds that can be read anywhere, whether they lie in a file or are computed when somebody listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from denoise_app.audio import files
from denoise_app.audio.clip import FileInfo, Samples
from denoise_app.audio.names import FileState, state_of


class Sound(Protocol):
    """A sound of known length."""

    @property
    def name(self) -> str:
        """By what it is known again: another sound has another name."""

    @property
    def info(self) -> FileInfo:
        """What it is; raises AudioError where it is gone."""

    def read(self, start: int, frames: int) -> Samples:
        """(channels, frames or fewer) from a sample on; raises AudioError where it cannot be read."""

    def blocks(self) -> Iterator[Samples]:
        """All of it, as blocks (channels, n)."""


@dataclass(frozen=True)
class SoundFile:
    """A sound in a file."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path} {self.path.stat().st_mtime_ns}"  # a file written anew is another sound

    @property
    def info(self) -> FileInfo:
        try:
            return _probed(self.path, state_of(self.path))
        except OSError:
            return files.probe(self.path)  # which says what is wrong

    def read(self, start: int, frames: int) -> Samples:
        return files.read_window(self.path, start, frames).samples

    def blocks(self) -> Iterator[Samples]:
        with files.open_reader(self.path) as reader:
            yield from reader.blocks()


@lru_cache(1000)
def _probed(path: Path, state: FileState) -> FileInfo:
    """What a file is, as of its last change: some take a program of their own to tell."""
    return files.probe(path)


def as_sound(sound: Path | Sound) -> Sound:
    return SoundFile(sound) if isinstance(sound, Path) else sound
