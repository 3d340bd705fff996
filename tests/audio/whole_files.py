"""Recordings that came apart, were joined, or have headers that lie, made by rule from one sound."""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

RATE = 48_000
SECONDS = 4
FILM = ("-f", "lavfi", "-i", "testsrc=d=6:s=64x48:r=10")  # a picture that begins at once
GAP = ("-af", "aselect='not(between(t,1.5,2.5))'")  # whole frames of 1024 samples are left out


def sound(rate: int = RATE) -> np.ndarray:
    """(time,) float64: 4 s of a wavering hum that never repeats, between marks of 1 kHz, 0.1 s each."""
    time = np.arange(SECONDS * rate) / rate
    hum = 0.3 * np.sin(2 * np.pi * (200 + 10 * time) * time) * (1 + 0.5 * np.sin(12 * time))
    hum += 0.005 * np.random.default_rng(0).standard_normal(len(time))
    mark = rate // 10
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time[:mark])
    hum[:mark], hum[-mark:] = tone, tone
    return hum


def run(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True, timeout=60)


def source(folder: Path, rate: int = RATE) -> Path:
    path = folder / f"source{rate}.wav"
    if not path.exists():
        path.write_bytes(_wav(rate))
    return path


def coded(folder: Path, name: str, *options: str, rate: int = RATE) -> Path:
    """The sound as ffmpeg writes it under that name."""
    (folder / name).write_bytes(_coded(name, options, rate))
    return folder / name


@cache  # many tests begin with the same file
def _wav(rate: int) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, sound(rate), rate, format="WAV")
    return written.getvalue()


@cache
def _coded(name: str, options: tuple[str, ...], rate: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run("-i", source(Path(folder), rate), *options, Path(folder, name))
        return Path(folder, name).read_bytes()


def changed(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> Path:
    """The file with other bytes."""
    path.write_bytes(change(bytearray(path.read_bytes())))
    return path


def damaged(path: Path, share: float = 0.5, size: int = 300) -> Path:
    """The file with zeros at a share of its length."""

    def zero(data: bytearray) -> bytearray:
        place = int(len(data) * share)
        data[place : place + size] = bytes(size)
        return data

    return changed(path, zero)


def counting(path: Path, frames: int | None) -> Path:
    """An mp3 file whose Info header counts other frames, or none."""

    def count(data: bytearray) -> bytearray:
        place = max(data.find(b"Info"), data.find(b"Xing"))
        data[place + 7] &= 0xFF if frames is not None else 0xFE
        data[place + 8 : place + 12] = struct.pack(">I", frames or 0)
        return data

    return changed(path, count)


def vbri(path: Path, frames: int) -> Path:
    """An mp3 file with a VBRI header in place of Info, which counts so many frames."""

    def count(data: bytearray) -> bytearray:
        place = data.find(b"Info") - 32
        head = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 75, 100_000, frames, 0, 1, 2, 1)
        data[place : place + 140] = bytes(140)
        place = data.find(b"\xff\xfb") + 36
        data[place : place + len(head)] = head
        return data

    return changed(path, count)


def without_pages(path: Path, first: int, last: int) -> Path:
    """An Ogg file that lost pages."""

    def lose(data: bytearray) -> bytes:
        pages = bytes(data).split(b"OggS")[1:]
        return b"".join(b"OggS" + page for number, page in enumerate(pages) if not first <= number <= last)

    return changed(path, lose)


SIZES = {"aiff": (b"SSND", 4, ">I"), "caf": (b"data", 4, ">q"), "w64": (b"data", 16, "<q"), "au": (b".snd", 8, ">I")}
SIZES |= {"wav": (b"data", 4, "<I"), "rf64": (b"ds64", 16, "<q")}
"""Format -> the name that stands before the size of its sound, how many bytes before, and how it is written."""


def sized(folder: Path, format: str, size: int) -> Path:
    """4 s at 16 kHz in 16 bits whose header tells another size of the sound in bytes."""
    path = folder / f"sized.{format}"
    soundfile.write(path, sound(16_000), 16_000, "PCM_16", format=format.upper())
    name, after, form = SIZES[format]

    def tell(data: bytearray) -> bytearray:
        place = data.rfind(name, 0, 5000) + after
        most = (1 << 8 * struct.calcsize(form)) - 1 if form[1] == "I" else -1
        struct.pack_into(form, data, place, most if size < 0 else size)
        return data

    return changed(path, tell)
