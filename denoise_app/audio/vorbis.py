"""The Vorbis comments of flac and ogg files, and the blocks of flac that belong to them.

Formats: RFC 9639 (FLAC), RFC 3533 (Ogg) and RFC 7845 (Opus); Vorbis I, 5.
"""

from __future__ import annotations

import base64
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from . import codec, id3
from .extras import MOST_BYTES, MOST_ENTRIES, MOST_IN_ALL, MOST_STEPS, Extras, Image


@dataclass(frozen=True)
class VorbisTags:
    """What flac and ogg carry.

    Attributes:
        entries: b"KEY=value", keys may repeat.
        pictures: Bodies of FLAC's picture blocks, which ogg holds in base64.
        blocks: FLAC's cue sheets and application data: (type, body).
    """

    entries: list[bytes]
    pictures: list[bytes]
    blocks: list[tuple[int, bytes]]


OGG_COMMENTS = {b"\x01vorbis": (b"\x03vorbis", 3), b"OpusHead": (b"OpusTags", 2)}
"""How a stream's first packet begins -> how the one with the comments does, and how many packets are headers."""

PICTURE_KEY = b"METADATA_BLOCK_PICTURE="
APPLICATION, COMMENTS, CUE_SHEET, PICTURE = 2, 4, 5, 6
FOREIGN = (b"riff", b"aiff", b"w64 ")  # application data: the header of the file that a flac file was made from
TECHNICAL_ENTRIES = (b"ENCODER=", b"WAVEFORMATEXTENSIBLE_CHANNEL_MASK=")


def read(path: Path) -> VorbisTags | None:
    """None for what is none of flac, Vorbis and Opus, or is damaged."""
    with path.open("rb") as file:
        try:
            blocks = _flac_blocks(file) if codec.kind(path) == "flac" else []
            if blocks:
                body = next((body for kind, body in blocks if kind == COMMENTS), bytes(8))
            else:
                first, second = islice(_ogg_packets(file), 2)
                body = second[len(_ogg_mark(first)[0]) :]
            _, found = _comments(body)
            encoded = [entry[len(PICTURE_KEY) :] for entry in found if entry.upper().startswith(PICTURE_KEY)]
            pictures = [base64.b64decode(text) for text in encoded]
        except (ValueError, LookupError, struct.error):
            return None
    return VorbisTags(
        [entry for entry in found if not entry.upper().startswith((PICTURE_KEY, *TECHNICAL_ENTRIES))],
        [body for kind, body in blocks if kind == PICTURE] + pictures,
        [(kind, body) for kind, body in blocks if kind in (CUE_SHEET, APPLICATION)],
    )


def _comments(body: bytes) -> tuple[bytes, list[bytes]]:
    """The name of the encoder, and the entries; ValueError or struct.error where they are cut off."""
    pieces: list[bytes] = []
    at, count = 0, 1
    while len(pieces) < count:
        (size,) = struct.unpack_from("<I", body, at)
        pieces.append(body[at + 4 : at + 4 + size])
        if len(pieces[-1]) < size:
            raise ValueError("a tag is cut off")
        at += 4 + size
        if len(pieces) == 1:
            (more,) = struct.unpack_from("<I", body, at)
            count, at = 1 + more, at + 4
            if more > MOST_STEPS:
                raise ValueError("too many tags")
    return pieces[0], pieces[1:]


def _comment_body(encoder: bytes, entries: Sequence[bytes]) -> bytes:
    sized = b"".join(struct.pack("<I", len(entry)) + entry for entry in entries)
    return struct.pack("<I", len(encoder)) + encoder + struct.pack("<I", len(entries)) + sized


def bounded(tags: VorbisTags, flac: bool) -> tuple[VorbisTags, list[str]]:
    """What can be held, and the names of the rest: what is too large or too much, and FLAC's own blocks in ogg."""
    entries: list[bytes] = []
    lost = []
    room = MOST_BYTES
    for entry in tags.entries:
        if len(entries) < 3 * MOST_ENTRIES and 4 + len(entry) <= room:
            entries.append(entry)
            room -= 4 + len(entry)
        else:
            lost.append(entry.partition(b"=")[0].decode("ascii", "replace").lower())
    pictures = [body for body in tags.pictures if len(body) <= MOST_BYTES]
    lost += ["cover"] * (len(tags.pictures) - len(pictures))
    blocks = [(kind, body) for kind, body in tags.blocks if flac and body[:4] not in FOREIGN]
    lost += [
        "cue sheet" if kind == CUE_SHEET else "application data"
        for kind, body in tags.blocks
        if not flac or body[:4] in FOREIGN
    ]
    return VorbisTags(entries, pictures, blocks), lost


def write(target: Path, scratch: Path, tags: VorbisTags) -> list[str]:
    """The target, flac or ogg, with tags; returns the names of those that it cannot hold."""
    flac = codec.kind(target) == "flac"
    held, lost = bounded(tags, flac)
    if held.entries or held.pictures or held.blocks:
        (_write_flac if flac else _write_ogg)(target, scratch, held)
    return lost


def _flac_blocks(file: IO[bytes]) -> list[tuple[int, bytes]]:
    """(type, body) of all metadata; leaves the file at the first frame."""
    if file.read(4) != b"fLaC":
        raise ValueError("no flac file")
    blocks: list[tuple[int, bytes]] = []
    last, room = False, MOST_IN_ALL
    while not last:
        head = file.read(4)
        last, kind, size = bool(head[0] & 128), head[0] & 127, int.from_bytes(head[1:], "big")
        body = file.read(size)
        room -= 64 + size
        if len(body) < size or room < 0:
            raise ValueError("the tags are cut off or too large")
        blocks.append((kind, body))
    return blocks


def _write_flac(target: Path, scratch: Path, tags: VorbisTags) -> None:
    with target.open("rb") as sound, scratch.open("wb") as out:
        own = _flac_blocks(sound)
        encoder, entries = _comments(next((body for kind, body in own if kind == COMMENTS), bytes(8)))
        blocks = [
            *((kind, body) for kind, body in own if kind != COMMENTS),  # the first describes the stream
            (COMMENTS, _comment_body(encoder, entries + tags.entries)),
            *((PICTURE, body) for body in tags.pictures),
            *tags.blocks,
        ]
        out.write(b"fLaC")
        for number, (kind, body) in enumerate(blocks, 1):
            out.write(bytes([kind | 128 * (number == len(blocks))]) + len(body).to_bytes(3, "big") + body)
        shutil.copyfileobj(sound, out, 1 << 20)


Page = tuple[bytes, bytes, bytes]
"""The 27 bytes of an Ogg page's header, the table of its segments' sizes, and its body."""

BACKWARDS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_pages(file: IO[bytes]) -> Iterator[Page]:
    while len(head := file.read(27)) == 27 and head.startswith(b"OggS"):
        sizes = file.read(head[26])
        yield head, sizes, file.read(sum(sizes))


def _ogg_packets(file: IO[bytes]) -> Iterator[bytes]:
    """The packets of the first stream of Vorbis or Opus; reads no page further than the last one asked for."""
    serial, packet = None, bytearray()
    for head, sizes, body in _ogg_pages(file):
        begins = head[5] & 2
        if serial is None and begins and body.startswith(tuple(OGG_COMMENTS)):
            serial = head[14:18]
        if serial is None and not begins:  # all streams begin before any goes on
            return
        if head[14:18] != serial:
            continue
        at = 0
        for size in sizes:
            packet += body[at : at + size]
            at += size
            if size < 255:
                yield bytes(packet)
                packet.clear()
        if len(packet) > MOST_IN_ALL:
            raise ValueError("the tags are too large")


def _ogg_mark(first: bytes) -> tuple[bytes, int]:
    """Of a stream's first packet: how the packet of comments begins, and how many packets are headers."""
    return next(mark for begin, mark in OGG_COMMENTS.items() if first.startswith(begin))


def _write_ogg(target: Path, scratch: Path, tags: VorbisTags) -> None:
    """Header packets are laid out anew; the pages of sound keep all but their number and checksum."""
    with target.open("rb") as sound, scratch.open("wb") as out:
        first = next(_ogg_packets(sound))
        sound.seek(0)
        mark, headers = _ogg_mark(first)
        serial = next(_ogg_pages(sound))[0][14:18]
        sound.seek(0)
        _, comments, *setup = islice(_ogg_packets(sound), headers)  # sound begins on a page of its own
        encoder, entries = _comments(comments[len(mark) :])
        pictures = [PICTURE_KEY + base64.b64encode(body) for body in tags.pictures]
        end = b"\1" if setup else b""  # Vorbis marks where its comments end, Opus does not
        body = mark + _comment_body(encoder, entries + tags.entries + pictures) + end
        pages = [*_ogg_layout([first], serial, 0, 2), *_ogg_layout([body, *setup], serial, 1, 0)]
        out.writelines(pages)
        for number, (head, sizes, body) in enumerate(_ogg_pages(sound), len(pages)):
            out.write(_ogg_page(head[:18] + struct.pack("<I", number), sizes, body))


def _ogg_layout(packets: Sequence[bytes], serial: bytes, number: int, flags: int) -> Iterator[bytes]:
    """Pages that hold header packets: their time is 0, or -1 where none ends on a page."""
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    data, at = b"".join(packets), 0
    for begin in range(0, len(sizes), 255):
        page = sizes[begin : begin + 255]
        continues = begin > 0 and sizes[begin - 1] == 255
        time = 0 if min(page) < 255 else -1
        head = struct.pack("<4sBBq4sI", b"OggS", 0, flags | continues, time, serial, number)
        yield _ogg_page(head, page, data[at : at + sum(page)])
        number, at = number + 1, at + sum(page)


def _ogg_page(head: bytes, sizes: bytes, body: bytes) -> bytes:
    """A page from the first 22 bytes of its header on."""
    rest = bytes([len(sizes)]) + sizes + body
    return head + struct.pack("<I", _ogg_checksum(head + bytes(4) + rest)) + rest


def _ogg_checksum(page: bytes) -> int:
    """The CRC-32 of RFC 3533: zlib's with the bits of each byte and of the result backwards, and without inversion.

    >>> hex(_ogg_checksum(b"123456789"))
    '0x89a1897f'
    """
    mirrored = zlib.crc32(page.translate(BACKWARDS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


VORBIS_KEYS = {"album_artist": "ALBUMARTIST", "track": "TRACKNUMBER", "disc": "DISCNUMBER", "comment": "DESCRIPTION"}


def as_tags(extras: Extras) -> VorbisTags:
    entries = [f"{VORBIS_KEYS.get(key, key.upper())}={value}" for key, value in extras.tags.items()]
    for number, chapter in enumerate(extras.chapters, 1):
        minutes, ms = divmod(id3.milliseconds(chapter.start), 60_000)
        entries.append(f"CHAPTER{number:03}={minutes // 60:02}:{minutes % 60:02}:{ms / 1000:06.3f}")
        entries.append(f"CHAPTER{number:03}NAME={chapter.title}")
    return VorbisTags([entry.encode() for entry in entries], [_flac_picture(p) for p in extras.pictures], [])


def _flac_picture(picture: Image) -> bytes:
    """The body of a picture block: front cover, no description, 24 bits a pixel, no palette."""
    mime = picture.mime.encode()
    head = struct.pack(">II", 3, len(mime)) + mime
    return head + struct.pack(">IIIIII", 0, picture.width, picture.height, 24, 0, len(picture.data)) + picture.data
