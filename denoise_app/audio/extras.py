"""What a file carries besides its sound, in no format's own terms, and how much of it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_BYTES = (1 << 24) - (1 << 16)  # of one picture, chunk or tag: FLAC counts a block's bytes in 24 bits
MOST_IN_ALL = 1 << 26  # bytes of everything besides the sound, for it lies in memory
MOST_ENTRIES = 1000  # chunks or tags
MOST_CHAPTERS = 999  # Vorbis comments number them by three digits
MOST_STEPS = 100_000  # chunks passed over: a file of 12 GB may consist of empty ones
MOST_PICTURES = 4


@dataclass(frozen=True)
class Chapter:
    start: float
    """Seconds."""
    title: str


@dataclass(frozen=True)
class Image:
    mime: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True)
class Extras:
    """What a file carries besides its sound, in no format's own terms.

    Attributes:
        tags: By ffmpeg's names: "title", "album_artist", "time_reference", ...
        chapters: By time.
        pictures: The cover first.
        others: Names of what no other format holds.
        seconds: Length of the sound.
    """

    tags: Mapping[str, str]
    chapters: tuple[Chapter, ...]
    pictures: tuple[Image, ...]
    others: tuple[str, ...]
    seconds: float
