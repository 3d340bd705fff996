"""The chunks of wav and aiff files besides their sound.

Formats: EBU Tech 3285 (bext) and 3306 (RF64).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from . import id3
from .extras import MOST_BYTES, MOST_ENTRIES, MOST_IN_ALL, MOST_STEPS, Extras

RIFF_BYTES = (1 << 32) - 1  # what a wav file's header can count


@dataclass(frozen=True)
class Chunk:
    """A chunk of a wav or aiff file.

    Attributes:
        id: Four bytes.
        body: What is in it.
        early: Whether it stands before the sound.
    """

    id: bytes
    body: bytes
    early: bool = False


OF_THE_SAMPLES = {
    *(b"fmt ", b"data", b"fact", b"slnt", b"ds64", b"PEAK", b"levl", b"MD5 "),
    *(b"COMM", b"SSND", b"FVER"),  # aiff
}
"""Chunks that are the sound or describe its samples, which are others now; the target has its own."""

EMPTY = {b"JUNK", b"junk", b"FLLR", b"PAD ", b"filr"}
"""Chunks that only take up room."""


def _spans(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(id, begin of the body, its size) of a file's chunks, as far as they can be followed."""
    form = file.read(12)[:4]
    position, sound = 12, 0
    for _ in range(MOST_STEPS):
        file.seek(position)
        head = file.read(8)
        id, size = head[:4], int.from_bytes(head[4:], "big" if form == b"FORM" else "little")
        if len(head) < 8 or not re.fullmatch(rb"[ -~]{4}", id):
            return
        if id == b"ds64":
            sound = int.from_bytes(file.read(16)[8:], "little")
        if id == b"data" and form != b"RIFF" and size == 0xFFFFFFFF:
            size = sound
        if id == b"data" and size == 0:  # left so by programs that write to a pipe: all that follows is sound
            return
        yield id, position + 8, size
        position += 8 + size
        file.seek(position)
        position += size % 2 and file.read(1) == b"\0"  # some programs forget to fill up to even bytes


def chunks(path: Path) -> tuple[list[Chunk], list[str]]:
    """All chunks that do not describe the samples, and the names of those that are cut off, too large or too many."""
    chunks: list[Chunk] = []
    lost: list[str] = []
    early, room, most = True, MOST_IN_ALL, path.stat().st_size
    with path.open("rb") as file:
        for id, begin, size in _spans(file):
            early = early and id not in (b"data", b"SSND")
            if id in OF_THE_SAMPLES | EMPTY:
                continue
            if begin + size > most or size > min(MOST_BYTES, room) or len(chunks) == MOST_ENTRIES:
                lost.append(chunk_name(id))
                continue
            file.seek(begin)
            body = file.read(size)
            room -= size
            if id == b"LIST" and body[:4] == b"wavl":
                continue
            chunks.append(Chunk(id, _unmeasured(body) if id == b"bext" else body, early))
    return chunks, lost


def chunk_name(id: bytes) -> str:
    return {b"cue ": "cue points", b"LIST": "list of tags or labels", b"id3 ": "ID3 tag"}.get(id, id.decode("latin-1"))


def _unmeasured(bext: bytes) -> bytes:
    """A bext chunk whose five loudness values, which were those of the noisy sound, are marked as not set."""
    version = int.from_bytes(bext[346:348], "little")
    return bext[:412] + b"\xff\x7f" * 5 + bext[422:] if version >= 2 and len(bext) >= 602 else bext


def write(target: Path, scratch: Path, chunks: Iterable[Chunk]) -> list[str]:
    """The target with chunks added before and behind its sound; returns the names of those that it has no room for."""
    with target.open("rb") as sound, scratch.open("wb") as out:
        id, begin, size = next(_spans(sound))
        begin = begin + size if id == b"ds64" else 12  # where the first chunk may be put: ds64 must stay in front
        sound.seek(0)
        form = sound.read(begin)
        whole = os.fstat(sound.fileno()).st_size
        whole += whole % 2
        most = RIFF_BYTES if form[:4] == b"RIFF" else 1 << 62
        fitting, lost = [], []
        for chunk in chunks:
            length = 8 + len(chunk.body) + len(chunk.body) % 2
            if whole + length - 8 > most:
                lost.append(chunk_name(chunk.id))
            else:
                whole += length
                fitting.append(chunk)
        out.write(form)
        out.write(b"".join(framed(chunk.id, chunk.body) for chunk in fitting if chunk.early))
        shutil.copyfileobj(sound, out, 1 << 20)
        out.write(bytes(out.tell() % 2))
        out.write(b"".join(framed(chunk.id, chunk.body) for chunk in fitting if not chunk.early))
        out.seek(4 if form[:4] == b"RIFF" else 20)
        out.write((whole - 8).to_bytes(4 if form[:4] == b"RIFF" else 8, "little"))
    return lost


def framed(id: bytes, body: bytes) -> bytes:
    return id + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


INFO = {
    **{"title": b"INAM", "artist": b"IART", "comment": b"ICMT", "copyright": b"ICOP", "date": b"ICRD"},
    **{"genre": b"IGNR", "language": b"ILNG", "album": b"IPRD", "track": b"IPRT", "encoded_by": b"ITCH"},
}


def as_chunks(extras: Extras, rate: int, own: bytes) -> Iterator[Chunk]:
    """LIST INFO, cue points with labels, and an ID3 tag: the source's own, or one where the others do not hold all."""
    info = [framed(INFO[key], value.encode() + b"\0") for key, value in extras.tags.items() if key in INFO]
    if info:
        yield Chunk(b"LIST", b"INFO" + b"".join(info))
    points = list(enumerate((min(round(max(0, c.start) * rate), 0xFFFFFFFF) for c in extras.chapters), 1))
    if points:
        cues = (struct.pack("<II4sIII", number, place, b"data", 0, 0, place) for number, place in points)
        yield Chunk(b"cue ", struct.pack("<I", len(points)) + b"".join(cues))
        titles = (struct.pack("<I", n) + c.title.encode() + b"\0" for n, c in enumerate(extras.chapters, 1))
        yield Chunk(b"LIST", b"adtl" + b"".join(framed(b"labl", title) for title in titles))
    if extras.chapters:
        own = b""  # it may hold them, too, and players would show them twice
    if own or extras.pictures or len(info) < len(extras.tags):
        yield Chunk(b"id3 ", own or id3.body(replace(extras, chapters=())))
