"""The tags of mp3 files.

Formats: ID3v2.4.0 and its Chapter Frame Addendum.
"""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path
from typing import IO

from .extras import MOST_BYTES, MOST_ENTRIES, Extras

NO_PLACES = (0xFFFFFFFF, 0xFFFFFFFF)  # chapters by time, not by bytes


def leading(path: Path) -> bytes:
    """The ID3v2 tags that a file begins with; empty where there is none, or one that is cut off or too large."""
    with path.open("rb") as file:
        size = _size(file)
        return b"" if size > min(MOST_BYTES, path.stat().st_size) else _from(file, 0, size)


def _size(file: IO[bytes]) -> int:
    """Bytes of the ID3v2 tags at a file's begin."""
    end = 0
    for _ in range(MOST_ENTRIES):
        head = _from(file, end, 10)
        if not re.fullmatch(rb"ID3[^\xff]{2}.[\x00-\x7f]{4}", head, re.DOTALL):
            break
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        end += 10 + size + (10 if head[5] & 16 else 0)  # a footer
    return end


def trailing(path: Path) -> bytes:
    """The APE and ID3v1 tags that a file ends with."""
    with path.open("rb") as file:
        end = begin = path.stat().st_size
        if _from(file, end - 128, 3) == b"TAG":
            begin = end - 128
        footer = _from(file, begin - 32, 32)
        if footer[:8] == b"APETAGEX":
            size, flags = int.from_bytes(footer[12:16], "little"), footer[23]
            size += 32 if flags & 128 else 0  # a header
            begin -= size if size <= min(begin, MOST_BYTES) else 0
        return _from(file, begin, end - begin)


def _from(file: IO[bytes], begin: int, size: int) -> bytes:
    file.seek(max(0, begin))
    return file.read(size)


def write(target: Path, scratch: Path, head: bytes, tail: bytes = b"") -> None:
    """The target with other tags in front of its frames and behind them."""
    with target.open("rb") as sound, scratch.open("wb") as out:
        sound.seek(_size(sound))
        out.write(head)
        shutil.copyfileobj(sound, out, 1 << 20)
        out.write(tail)


ID3_FRAMES = {
    **{"title": "TIT2", "artist": "TPE1", "album": "TALB", "album_artist": "TPE2", "date": "TDRC", "genre": "TCON"},
    **{"track": "TRCK", "disc": "TPOS", "composer": "TCOM", "copyright": "TCOP", "encoded_by": "TENC"},
    **{"language": "TLAN", "publisher": "TPUB", "performer": "TPE3"},
}


def body(extras: Extras) -> bytes:
    """An ID3v2.4 tag."""
    frames = [_text(key, value) for key, value in extras.tags.items()]
    for picture in extras.pictures:
        head = b"\0" + picture.mime.encode() + b"\0\x03\0"  # Latin-1, its type, front cover, no description
        frames.append(_frame("APIC", head + picture.data))
    chapters = extras.chapters[:255]  # the table of contents counts them by one byte
    for number, chapter in enumerate(chapters):
        later = chapters[number + 1].start if number + 1 < len(chapters) else max(extras.seconds, chapter.start)
        times = struct.pack(
            ">IIII", milliseconds(chapter.start), milliseconds(later), 0xFFFFFFFF, 0xFFFFFFFF
        )  # no places in the file
        title = _frame("TIT2", b"\x03" + chapter.title.encode())
        frames.append(_frame("CHAP", f"c{number}\0".encode() + times + title))
    if chapters:
        names = "".join(f"c{number}\0" for number in range(len(chapters)))
        frames.append(_frame("CTOC", b"toc\0\x03" + bytes([len(chapters)]) + names.encode()))  # top level, ordered
    return b"ID3\x04\0\0" + _synchsafe(sum(map(len, frames))) + b"".join(frames)


def _text(key: str, value: str) -> bytes:
    text = value.encode()
    if key in ID3_FRAMES:
        return _frame(ID3_FRAMES[key], b"\x03" + text)
    if key in ("comment", "lyrics"):
        return _frame("COMM" if key == "comment" else "USLT", b"\x03und\0" + text)
    return _frame("TXXX", b"\x03" + key.encode() + b"\0" + text)


def _frame(id: str, body: bytes) -> bytes:
    return id.encode() + _synchsafe(len(body)) + b"\0\0" + body


def _synchsafe(number: int) -> bytes:
    """7 bits to the byte."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def milliseconds(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), 0xFFFFFFFF)
