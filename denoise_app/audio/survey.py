"""Whether an mp3 or Ogg file is what its header says, told by the heads of its frames and pages; nothing is decoded.

A decoder that believes the first header loses all that follows a joint, a wrong count or a lost page. Files that are
simple all through can be left to it; the others need one that goes by time stamps.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # MPEG 1, 2, 2.5
MP3_KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Version -> Hz and kbit/s by the indices in the frame's head, layer III (ISO 11172-3 and 13818-3, 2.4.2.3)."""

FLAC_TAIL = 1 << 17  # bytes in which the last frame of a flac file begins, but for the very widest

WINDOW = 1 << 20  # bytes that are read at once

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class FileBytes:
    """The bytes of a file as those of a string, of which a window is in memory; it moves along with what is asked for.

    A map would end this process by SIGBUS where the file is cut short meanwhile, or its disk fails; here that is an
    OSError.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self._begin, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(self._size)
        if begin < self._begin or end > self._begin + len(self._window):
            self._file.seek(begin)
            self._begin, self._window = begin, self._file.read(max(end - begin, WINDOW))
        found = self._window[begin - self._begin : end - self._begin]
        if len(found) < end - begin:
            raise OSError(errno.EIO, "it became shorter while it was read")
        return found

    def find(self, wanted: bytes, start: int) -> int:
        """The first place from `start` on where some bytes stand; -1 where there is none."""
        for begin in range(start, self._size, WINDOW):
            found = self[begin : begin + WINDOW + len(wanted) - 1].find(wanted)
            if found >= 0:
                return begin + found
        return -1


@contextmanager
def bytes_of(path: Path) -> Iterator[FileBytes]:
    """Those of a file while it is open."""
    with path.open("rb") as file:
        yield FileBytes(file)


def is_plain(path: Path) -> bool:
    """Whether a file's header can be believed, as far as the heads of frames and pages tell."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"OggS":
        return survey_ogg(path).is_simple
    if head == b"fLaC":
        return not _flac_goes_on(path)
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return is_simple_mp3(path)
    return True


class OggSurvey(NamedTuple):
    """What the pages of an Ogg file tell.

    Attributes:
        is_simple: One stream from its beginning on, of which no page is missing or damaged.
        is_chained: Another stream begins after the first has sounded.
        lacks_start: Of its only stream, pages are missing between the headers and the first sound.
        end: Where pages are missing before the last one of its only stream: the granule positions, which are samples,
            of the page before them and of the last one; ffmpeg counts the last page on from there.
    """

    is_simple: bool
    is_chained: bool
    lacks_start: bool = False
    end: tuple[int, int] | None = None


def survey_ogg(path: Path) -> OggSurvey:
    """Walks the pages of an Ogg file (RFC 3533, 6): their order, their checksums and how far each reaches."""
    with bytes_of(path) as data:
        simple, chained, at, expected, serials = True, False, 0, 0, set()
        reached, lacks_start, is_gap, end = 0, False, False, None
        while at < len(data):
            page = _ogg_page(data, at)
            if page is None:
                simple = simple and len(data) - at < 65_307 and data[at : at + 4] == b"OggS"  # the last is cut off
                at = data.find(b"OggS", at + 1)
                if at < 0:
                    break
                continue
            begins, serial, number, is_whole, size, granule = page
            chained = chained or (begins and expected > 1)
            serials.add(serial)
            simple = simple and is_whole and number == expected and len(serials) == 1
            at += size
            if not is_whole:  # no decoder takes it
                continue
            is_gap = is_gap or number > expected
            expected = number + 1
            if granule > 0:  # -1: no packet ends on it
                lacks_start = lacks_start or (is_gap and not reached)
                end = (reached, granule) if is_gap and reached else None
                reached, is_gap = granule, False
        is_single = len(serials) == 1 and not chained
        return OggSurvey(simple and bool(serials), chained, lacks_start and is_single, end if is_single else None)


def _ogg_page(data: FileBytes, at: int) -> tuple[bool, int, int, bool, int, int] | None:
    """Whether it begins a stream, its serial and number, whether its checksum is right, bytes, granule position."""
    head = data[at : at + 27]
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    granule, serial, number, checksum = struct.unpack_from("<qIII", head, 6)
    lengths = data[at + 27 : at + 27 + head[26]]
    size = 27 + len(lengths) + sum(lengths)
    if len(lengths) < head[26] or at + size > len(data):
        return None
    page = data[at : at + 22] + bytes(4) + data[at + 26 : at + size]
    return bool(head[5] & 2), serial, number, _ogg_checksum(page) == checksum, size, granule


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with the bits in Ogg's order: zlib's of the bytes turned round, without its two inversions."""
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)


def is_simple_mp3(path: Path) -> bool:
    """Whether an mp3 file is layer III frames of one kind and nothing else, as many as its Xing or Info header counts.

    Tags before and after them (ID3, APE) are no sound.
    """
    with bytes_of(path) as data:
        begin = at = after_id3(data)
        announced, frames, kind = None, 0, None
        for size, head in _mp3_frames(data, at):
            if frames == 0:
                announced = _counted(data[at : at + size])
            if kind not in (None, head):
                return False
            kind, at, frames = head, at + size, frames + 1
        if announced is None or announced[0] != frames - 1:
            return False
        is_sized = announced[1] is None or abs(announced[1] - (at - begin)) <= 0.01 * (at - begin)
        return is_sized and _is_tag(data, at)


def _flac_goes_on(path: Path) -> bool:
    """Whether a flac file holds frames beyond the samples that its STREAMINFO counts (RFC 9639, 8.2 and 9.1), or
    another flac file that was joined to it."""
    with bytes_of(path) as data:
        if len(data) < 42:
            return False
        if data.find(b"fLaC\0\0\0\x22", 4) > 0:
            return True
        block = int.from_bytes(data[10:12], "big")  # the largest: that of a stream whose frames are numbered
        total = int.from_bytes(data[21:26], "big") & ((1 << 36) - 1)
        tail = data[max(42, len(data) - FLAC_TAIL) :]
        numbers = (
            _flac_number(tail[found.start() : found.start() + 16]) for found in re.finditer(b"\xff[\xf8\xf9]", tail)
        )
        return any(number is not None and number[0] * (block if number[1] else 1) >= total for number in numbers)


def _flac_number(head: bytes) -> tuple[int, bool] | None:
    """The number in a flac frame's head and whether it counts frames, not samples; None where it is no head."""
    if len(head) < 16:
        return None
    ones = 8 - (~head[4] & 0xFF).bit_length()  # as in UTF-8: how many bytes the number takes, if more than one
    size = 4 + max(1, ones) + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    checksum = 0
    for byte in head[:size]:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x107 if checksum & 0x80 else 0)) & 0xFF
    if ones in (1, 8) or checksum != head[size]:
        return None
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + max(1, ones)]:
        number = number << 6 | byte & 0x3F
    return number, head[1] == 0xF8


class Patch(NamedTuple):
    """Bytes that ought to stand at some place of a file."""

    at: int
    right: bytes


def stale_size(path: Path) -> Patch | None:
    """The right size of the sound in a wav, RF64, aiff, caf or au file whose header tells less than there is.

    Recorders that were cut off leave the size that the sound had when they wrote the header last, or 0.
    """
    with bytes_of(path) as data:
        head = data[:4]
        if head == b".snd" and len(data) >= 24:
            begin = int.from_bytes(data[4:8], "big")
            return _corrected(data, 8, ">I", begin)
        if head in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
            return _stale_chunk(data, 12, "<I", b"data", 2)
        if head == b"FORM" and data[8:11] == b"AIF":
            return _stale_chunk(data, 12, ">I", b"SSND", 2)
        if head == b"caff":
            return _stale_chunk(data, 8, ">q", b"data", 1)
    return None


def _stale_chunk(data: FileBytes, at: int, form: str, name: bytes, alignment: int) -> Patch | None:
    """`stale_size` of a file of chunks from byte `at` on, whose sound lies in the chunk of that name."""
    wide, width = None, struct.calcsize(form)
    while at + 4 + width <= len(data):
        begin = at + 4 + width
        size = struct.unpack(form, data[at + 4 : begin])[0]
        if data[at : at + 4] == b"ds64":  # RF64 keeps its sizes there (EBU Tech 3306): the file's, the sound's
            wide = begin + 8
        if data[at : at + 4] == name:
            if wide is not None and size == 0xFFFFFFFF:
                return _corrected(data, wide, "<Q", begin)
            return _corrected(data, at + 4, form, begin)
        at = begin + size + size % alignment
        if size < 0:
            return None
    return None


def _corrected(data: FileBytes, at: int, form: str, begin: int) -> Patch | None:
    """The size from `begin` on to the end of the file, where the one at byte `at` is less and no chunk follows."""
    size = struct.unpack(form, data[at : at + struct.calcsize(form)])[0]
    size = 0 if size < 0 or size >> 63 else size  # -1: "to the end"
    left = len(data) - begin - size
    if left < 8 or _is_chunk(data, begin + size, form) or _is_chunk(data, begin + size + 1, form):
        return None
    right = len(data) - begin
    return Patch(at, struct.pack(form, right)) if right < 1 << 8 * struct.calcsize(form) - 1 else None


def _is_chunk(data: FileBytes, at: int, form: str) -> bool:
    """Whether a chunk, or a tag, begins at a byte."""
    name, width = data[at : at + 4], 4 if form == "<Q" else struct.calcsize(form)  # only the ds64 of RF64 has 64 bits
    if not name.isascii() or not name.decode("ascii", "replace").isprintable() or len(name) < 4:
        return False
    size = int.from_bytes(data[at + 4 : at + 4 + width], "big" if form[0] == ">" else "little")
    return name[:3] in (b"TAG", b"ID3") or at + 4 + width + size <= len(data) + 1


def mp3_samples_announced(path: Path) -> int:
    """How many samples per channel the Xing or Info header of an mp3 file announces; 0 where there is none."""
    with bytes_of(path) as data:
        at = after_id3(data)
        for size, (version, *_) in _mp3_frames(data, at):
            frames, _ = _counted(data[at : at + size]) or (0, None)
            return frames * (1152 if version == 3 else 576)
    return 0


def opus_delay(path: Path) -> int:
    """The samples at 48 kHz that an Ogg Opus file holds before its sound (pre-skip, RFC 7845, 5.1)."""
    with path.open("rb") as file:
        head = file.read(1 << 12)
    at = head.find(b"OpusHead")
    return int.from_bytes(head[at + 10 : at + 12], "little") if at >= 0 else 0


def _mp3_frames(data: FileBytes, at: int) -> Iterator[tuple[int, tuple[int, int, bool]]]:
    """Bytes, and (version, rate's index, is mono), of each layer III frame from byte `at` on, while they last."""
    while at + 4 <= len(data):
        first, second, third, fourth = data[at : at + 4]
        version, index, rate = second >> 3 & 3, third >> 4, third >> 2 & 3
        if first != 255 or second & 0xE6 != 0xE2 or version == 1 or rate == 3 or index in (0, 15):
            return
        kbits = MP3_KBITS[3 if version == 3 else 2][index]
        size = (144_000 if version == 3 else 72_000) * kbits // MP3_RATES[version][rate] + (third >> 1 & 1)
        if at + size > len(data):
            return
        yield size, (version, rate, fourth >> 6 == 3)
        at += size


def after_id3(data: bytes | FileBytes) -> int:
    """The byte after the ID3v2 tags that a file begins with; the size of a tag has 7 bits to the byte."""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        at += 10 + sum(
            (byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True)
        )
    return at


def _counted(frame: bytes) -> tuple[int, int | None] | None:
    """How many frames, and bytes, a Xing or Info header announces; None where it counts none."""
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if at < 0 or len(frame) < at + 16 or not frame[at + 7] & 1:
        return None
    frames, size = struct.unpack_from(">II", frame, at + 8)
    return frames, size if frame[at + 7] & 2 else None


def _is_tag(data: FileBytes, at: int) -> bool:
    """Whether what follows the last frame is nothing but an APE tag, an ID3v1 tag, or both."""
    if data[at : at + 8] == b"APETAGEX" and len(data) >= at + 32:
        at += 32 + int.from_bytes(data[at + 12 : at + 16], "little")  # its head, and the rest with its foot
    rest = len(data) - at
    return rest == 0 or (rest == 128 and data[at : at + 3] == b"TAG")
