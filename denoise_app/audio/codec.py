"""What every decoder and encoder of sound files keeps, and what they share: names, beginnings, errors, orders."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from denoise_app.audio.clip import FileInfo
from denoise_app.audio.errors import AudioError
from denoise_app.audio.names import printable
from denoise_app.audio.notes import Note

Interleaved = npt.NDArray[np.float32]
"""(time, channels) float32: the order in which files and decoders hold sound."""

BLOCK = 1 << 16  # samples per channel read at once where the caller does not say: 1.4 s at 48 kHz
PREROLL = 8192  # samples decoded before a jump: longer than what any lossy frame overlaps (Vorbis: 8192 at most)

MAGIC: dict[bytes, str] = {
    rb"(RIFF|RF64)....WAVE": "wav",
    rb"fLaC": "flac",
    rb"OggS": "ogg",
    rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]": "mp3",
    rb"....ftyp": "mp4",
    rb"\x1aE\xdf\xa3": "webm",
    rb"RIFF....AVI ": "avi",
    rb"0&\xb2u\x8ef\xcf\x11": "asf",
    rb"FLV\x01": "flv",
    rb"wvpk": "wv",
    rb"TTA1": "tta",
    rb"MAC ": "ape",
    rb"#!AMR": "amr",
    rb"\x0bw": "ac3",
    rb"\x7f\xfe\x80\x01": "dts",
    rb"\x00\x00\x01\xba": "mpeg",
    rb"G.{187}G|.{4}G.{191}G": "mpegts",
}
"""How files begin, and what they then are."""


class Decoder(Protocol):
    info: FileInfo
    claimed: int
    """Samples per channel that the header announces; more than info.frames where the file is cut off."""
    exact: bool
    """Whether a file that is whole holds info.frames to the sample; otherwise they are an estimate."""

    def chunks(self, frames: int, start: int) -> Iterator[Interleaved]:
        """From sample `start` on, at most `frames` at a time, none of them empty."""
        ...

    def notes(self) -> tuple[Note, ...]:
        """What was odd about the file so far; complete after the last chunk."""
        ...

    def close(self) -> None: ...


class Encoder(Protocol):
    def write(self, samples: Interleaved) -> None: ...

    def finish(self) -> None:
        """Writes what is left and closes; raises AudioError where not everything came to the disk."""
        ...

    def abort(self) -> None:
        """Closes, whatever comes of it."""
        ...


def shown(path: Path) -> str:
    """The file's name as text that can always be printed."""
    return printable(path.name or str(path))


def kind(path: Path) -> str | None:
    """What the file seems to be by its first bytes."""
    with path.open("rb") as file:
        head = file.read(197)
    return next((kind for pattern, kind in MAGIC.items() if re.match(pattern, head, re.DOTALL)), None)


def undecodable(path: Path) -> AudioError:
    """The error for a file that no decoder understands: damaged, or no sound at all."""
    if found := kind(path):
        return AudioError.of("truncated", name=shown(path), format=found)
    return AudioError.of("not-audio", name=shown(path))


def slices(samples: Interleaved, frames: int) -> Iterator[Interleaved]:
    """(time, channels) in pieces of at most `frames`."""
    return (samples[begin : begin + frames] for begin in range(0, len(samples), frames))


@contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turns what the system says against writing into an AudioError."""
    try:
        yield
    except OSError as error:
        raise write_error(target, error) from error


def write_error(target: Path, error: OSError) -> AudioError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return AudioError.of("disk-full", name=shown(target))
    return AudioError.of("cannot-write", name=shown(target), problem=error.strerror or str(error))
