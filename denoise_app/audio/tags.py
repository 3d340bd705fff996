"""What a file carries besides its sound: tags, chapters, pictures, and the chunks of broadcast wav.

Within a family the bytes are copied as they are: RIFF chunks, ID3 tags, the Vorbis comments of flac and ogg. Between
families they become `Extras`, which ffprobe reads from any file and which each format writes as it can. What that
loses is found by reading the result back, not by a table of what formats are said to hold.

Formats: EBU Tech 3285 (bext) and 3306 (RF64); ID3v2.4.0 and its Chapter Frame Addendum; RFC 9639 (FLAC), RFC 3533
(Ogg) and RFC 7845 (Opus); Vorbis I, 5; ffmpeg's own text format for metadata.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from denoise_app.audio import codec
from denoise_app.audio.clip import FileInfo
from denoise_app.audio.codec import shown
from denoise_app.audio.errors import AudioError
from denoise_app.audio.ffmpeg import FFMPEG_FORMATS, PATIENCE, _end, _ffmpeg, _Leash, has_ffmpeg
from denoise_app.audio.files import probe
from denoise_app.audio.limits import Limits
from denoise_app.audio.notes import Note

__all__ = ["carry"]

MOST_BYTES = (1 << 24) - (1 << 16)  # of one picture, chunk or tag: FLAC counts a block's bytes in 24 bits
MOST_IN_ALL = 1 << 26  # bytes of everything besides the sound, for it lies in memory
MOST_ENTRIES = 1000  # chunks or tags
MOST_CHAPTERS = 999  # Vorbis comments number them by three digits
MOST_STEPS = 100_000  # chunks passed over: a file of 12 GB may consist of empty ones
MOST_PICTURES = 4
MOST_NAMED = 12  # things that a note names one by one
RIFF_BYTES = (1 << 32) - 1  # what a wav file's header can count
SLOWEST_DISK = 5e6  # bytes/s, for how long ffmpeg may take to copy a file

ANYTHING = Limits(float("inf"), 1 << 16, 1, 1 << 31, 1 << 62, 1 << 62)
"""Limits for files that were written here."""


def carry(source: Path, target: Path) -> tuple[Note, ...]:
    """Puts onto `target` what `source` carries besides its sound, and its time of last change.

    Carried are title, artist and all other tags, chapters and named cue points, pictures, and from wav to wav every
    chunk that does not describe the samples: bext with its time reference and coding history, cue, LIST, iXML, ...
    Positions in them count samples and stay true, for `target` must have the rate and the length of `source`. The
    sound of `target` stays as it is, to the bit; the file is replaced at once, or left alone.

    Args:
        source: The recording that was read.
        target: What was made of it: wav, flac, ogg, mp3 or m4a, complete, holding its sound alone.

    Returns:
        What was lost: "tags-lost", where the target's format cannot hold something that the note names;
        "tags-not-carried", where nothing could be kept for a reason that it names: a damaged tag, ffmpeg missing, a
        full disk. Nothing where all was kept. Never raises for what is in the files or the system.
    """
    name = shown(source)
    notes: tuple[Note, ...] = ()
    try:
        lost = _graft(source, target)
        if lost:
            notes = (Note.of("tags-lost", name=name, what=_listed(lost)),)
    except AudioError as error:
        notes = (Note.of("tags-not-carried", name=name, problem=str(error).rstrip(".")),)
    except (OSError, subprocess.SubprocessError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        notes = (Note.of("tags-not-carried", name=name, problem=problem.rstrip(".")),)
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:  # what a damaged tag gives
        notes = (Note.of("tags-not-carried", name=name, problem=f"it is damaged ({error})"),)
    return notes + _dated(source, target, name)


def _dated(source: Path, target: Path, name: str) -> tuple[Note, ...]:
    """Gives the target the source's time of last change."""
    try:
        changed = source.stat().st_mtime_ns
        os.utime(target, ns=(changed, changed))
    except (OSError, OverflowError):
        return (Note.of("tags-lost", name=name, what="time of last change"),)
    return ()


def _graft(source: Path, target: Path) -> list[str]:
    """Replaces the target by one with all that the source carries; returns what that loses, in plain words."""
    info = probe(target, ANYTHING)
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        for way in (_copied, _translated):  # what is damaged may spoil a copy, and still be understood
            lost = way(source, target, scratch, info)
            if lost is not None and (not scratch.exists() or _sounds_like(scratch, info)):
                break
        else:
            raise ValueError("with it the sound could not be read")
        if scratch.exists():
            os.replace(scratch, target)
        return lost
    finally:
        scratch.unlink(missing_ok=True)


def _sounds_like(path: Path, info: FileInfo) -> bool:
    """Whether a file is read as sound of this kind and length."""
    try:
        return replace(probe(path, ANYTHING), container=info.container) == info
    except AudioError:
        return False


def _listed(lost: Sequence[str]) -> str:
    """A bounded list in one line, whatever characters a file has put into its names.

    >>> _listed(["cover", "cover", "time_reference", "a" * 99])
    'cover, time reference, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    """
    names = dict.fromkeys(re.sub(r"[^\w ().+-]", "?", name)[:40].replace("_", " ").strip() for name in lost)
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*list(names)[:MOST_NAMED], *more])


# ------------------------------------------------------------------------------------------------- within one family


def _copied(source: Path, target: Path, scratch: Path, _: FileInfo) -> list[str] | None:
    """Bytes as they are, where both files are of one family; None where they are not, or the source is odd."""
    kinds = (codec.kind(source), codec.kind(target))
    if kinds == ("wav", "wav"):
        chunks, lost = _chunks(source)
        return lost + (_write_wav(target, scratch, chunks) if chunks else [])
    if kinds == ("mp3", "mp3") and (head := _leading_id3(source)):
        _write_mp3(target, scratch, head, _trailing_tags(source))
        return []
    if kinds[0] in ("flac", "ogg") and kinds[1] in ("flac", "ogg") and (held := _vorbis(source)):
        return _write_vorbis(target, scratch, held)
    return None


def _bare(source: Path) -> bool:
    """Whether a file surely carries nothing, as far as can be told without ffprobe."""
    kind = codec.kind(source)
    if kind == "wav":
        return not any(_chunks(source))
    if kind in ("flac", "ogg") and (held := _vorbis(source)):
        return not any((held.entries, held.pictures, held.blocks))
    return kind == "mp3" and not _leading_id3(source) and not _trailing_tags(source)


# ------------------------------------------------------------------------------------------------------- RIFF and IFF


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


def _chunks(path: Path) -> tuple[list[Chunk], list[str]]:
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
                lost.append(_chunk_name(id))
                continue
            file.seek(begin)
            body = file.read(size)
            room -= size
            if id == b"LIST" and body[:4] == b"wavl":
                continue
            chunks.append(Chunk(id, _unmeasured(body) if id == b"bext" else body, early))
    return chunks, lost


def _chunk_name(id: bytes) -> str:
    return {b"cue ": "cue points", b"LIST": "list of tags or labels", b"id3 ": "ID3 tag"}.get(id, id.decode("latin-1"))


def _unmeasured(bext: bytes) -> bytes:
    """A bext chunk whose five loudness values, which were those of the noisy sound, are marked as not set."""
    version = int.from_bytes(bext[346:348], "little")
    return bext[:412] + b"\xff\x7f" * 5 + bext[422:] if version >= 2 and len(bext) >= 602 else bext


def _write_wav(target: Path, scratch: Path, chunks: Iterable[Chunk]) -> list[str]:
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
                lost.append(_chunk_name(chunk.id))
            else:
                whole += length
                fitting.append(chunk)
        out.write(form)
        out.write(b"".join(_chunk(chunk.id, chunk.body) for chunk in fitting if chunk.early))
        shutil.copyfileobj(sound, out, 1 << 20)
        out.write(bytes(out.tell() % 2))
        out.write(b"".join(_chunk(chunk.id, chunk.body) for chunk in fitting if not chunk.early))
        out.seek(4 if form[:4] == b"RIFF" else 20)
        out.write((whole - 8).to_bytes(4 if form[:4] == b"RIFF" else 8, "little"))
    return lost


def _chunk(id: bytes, body: bytes) -> bytes:
    return id + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


# ---------------------------------------------------------------------------------------------------------------- ID3


def _leading_id3(path: Path) -> bytes:
    """The ID3v2 tags that a file begins with; empty where there is none, or one that is cut off or too large."""
    with path.open("rb") as file:
        size = _id3_size(file)
        return b"" if size > min(MOST_BYTES, path.stat().st_size) else _from(file, 0, size)


def _id3_size(file: IO[bytes]) -> int:
    """Bytes of the ID3v2 tags at a file's begin."""
    end = 0
    for _ in range(MOST_ENTRIES):
        head = _from(file, end, 10)
        if not re.fullmatch(rb"ID3[^\xff]{2}.[\x00-\x7f]{4}", head, re.DOTALL):
            break
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        end += 10 + size + (10 if head[5] & 16 else 0)  # a footer
    return end


def _trailing_tags(path: Path) -> bytes:
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


def _write_mp3(target: Path, scratch: Path, head: bytes, tail: bytes = b"") -> None:
    """The target with other tags in front of its frames and behind them."""
    with target.open("rb") as sound, scratch.open("wb") as out:
        sound.seek(_id3_size(sound))
        out.write(head)
        shutil.copyfileobj(sound, out, 1 << 20)
        out.write(tail)


ID3_FRAMES = {
    **{"title": "TIT2", "artist": "TPE1", "album": "TALB", "album_artist": "TPE2", "date": "TDRC", "genre": "TCON"},
    **{"track": "TRCK", "disc": "TPOS", "composer": "TCOM", "copyright": "TCOP", "encoded_by": "TENC"},
    **{"language": "TLAN", "publisher": "TPUB", "performer": "TPE3"},
}


def _id3(extras: Extras) -> bytes:
    """An ID3v2.4 tag."""
    frames = [_id3_text(key, value) for key, value in extras.tags.items()]
    for picture in extras.pictures:
        head = b"\0" + picture.mime.encode() + b"\0\x03\0"  # Latin-1, its type, front cover, no description
        frames.append(_id3_frame("APIC", head + picture.data))
    chapters = extras.chapters[:255]  # the table of contents counts them by one byte
    for number, chapter in enumerate(chapters):
        later = chapters[number + 1].start if number + 1 < len(chapters) else max(extras.seconds, chapter.start)
        times = struct.pack(">IIII", _ms(chapter.start), _ms(later), 0xFFFFFFFF, 0xFFFFFFFF)  # no places in the file
        title = _id3_frame("TIT2", b"\x03" + chapter.title.encode())
        frames.append(_id3_frame("CHAP", f"c{number}\0".encode() + times + title))
    if chapters:
        names = "".join(f"c{number}\0" for number in range(len(chapters)))
        frames.append(_id3_frame("CTOC", b"toc\0\x03" + bytes([len(chapters)]) + names.encode()))  # top level, ordered
    return b"ID3\x04\0\0" + _synchsafe(sum(map(len, frames))) + b"".join(frames)


def _id3_text(key: str, value: str) -> bytes:
    text = value.encode()
    if key in ID3_FRAMES:
        return _id3_frame(ID3_FRAMES[key], b"\x03" + text)
    if key in ("comment", "lyrics"):
        return _id3_frame("COMM" if key == "comment" else "USLT", b"\x03und\0" + text)
    return _id3_frame("TXXX", b"\x03" + key.encode() + b"\0" + text)


def _id3_frame(id: str, body: bytes) -> bytes:
    return id.encode() + _synchsafe(len(body)) + b"\0\0" + body


def _synchsafe(number: int) -> bytes:
    """7 bits to the byte."""
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def _ms(seconds: float) -> int:
    return min(max(0, round(seconds * 1000)), 0xFFFFFFFF)


# ----------------------------------------------------------------------------------------- Vorbis comments: flac, ogg


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


def _vorbis(path: Path) -> VorbisTags | None:
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


def _bounded(tags: VorbisTags, flac: bool) -> tuple[VorbisTags, list[str]]:
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


def _write_vorbis(target: Path, scratch: Path, tags: VorbisTags) -> list[str]:
    """The target, flac or ogg, with tags; returns the names of those that it cannot hold."""
    flac = codec.kind(target) == "flac"
    held, lost = _bounded(tags, flac)
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


# --------------------------------------------------------------------------------------------------- between families


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


TECHNICAL = {
    *("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "tlen", "itunsmpb"),
    *("waveformatextensible_channel_mask", "metadata_block_picture"),
}
"""Tags that describe the file or its samples, which are others now; pictures are read as such."""

MIMES = {"mjpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "bmp": "image/bmp", "webp": "image/webp"}
IMAGE_READERS = {"image/jpeg": "jpeg_pipe", "image/png": "png_pipe"}
"""Pictures that m4a holds, and how ffmpeg calls them."""

OTHER_STREAMS = {"subtitle": "subtitles", "attachment": "attached files"}
"""Kinds of streams that nothing written here holds; that a film's picture is not in its sound surprises nobody."""

READ_FROM = {
    "wav": {b"bext", b"LIST", b"cue ", b"id3 ", b"ID3 "},
    "aiff": {b"NAME", b"AUTH", b"(c) ", b"ANNO", b"ID3 ", b"MARK"},
}
"""Chunks whose content becomes tags and chapters."""

INFO = {
    **{"title": b"INAM", "artist": b"IART", "comment": b"ICMT", "copyright": b"ICOP", "date": b"ICRD"},
    **{"genre": b"IGNR", "language": b"ILNG", "album": b"IPRD", "track": b"IPRT", "encoded_by": b"ITCH"},
}
VORBIS_KEYS = {"album_artist": "ALBUMARTIST", "track": "TRACKNUMBER", "disc": "DISCNUMBER", "comment": "DESCRIPTION"}


def _translated(source: Path, target: Path, scratch: Path, info: FileInfo) -> list[str] | None:
    """Writes what the source carries in the terms of the target's format; returns what was lost."""
    if not has_ffmpeg():
        if _bare(source):
            return []
        raise AudioError.of("no-ffmpeg", name=shown(source))
    extras = _extras(source, info)
    if not (extras.tags or extras.chapters or extras.pictures):
        return list(extras.others)
    kind = codec.kind(target)
    if kind == "wav":
        _write_wav(target, scratch, _as_chunks(extras, info.sample_rate, _leading_id3(source)))
    elif kind == "mp3":
        _write_mp3(target, scratch, _id3(extras))
    elif kind in ("flac", "ogg"):
        _write_vorbis(target, scratch, _as_vorbis(extras))
    else:
        _write_m4a(target, scratch, extras, info)
    return [*extras.others, *_missing(extras, _extras(scratch if scratch.exists() else target, info))]


def _missing(wanted: Extras, found: Extras) -> list[str]:
    """Names of what is in one and not in the other. Formats rename tags, so these are known by their values."""
    values = Counter(value.strip() for value in found.tags.values())
    values.subtract(value.strip() for value in wanted.tags.values())
    lost = [key for key, value in wanted.tags.items() if values[value.strip()] < 0]
    chapters = sum(not any(_same(chapter, other) for other in found.chapters) for chapter in wanted.chapters)
    held = [picture.data for picture in found.pictures]
    pictures = sum(picture.data not in held for picture in wanted.pictures)
    if chapters:
        lost.append("1 chapter" if chapters == 1 else f"{chapters} chapters")
    return lost + ["cover" if pictures == 1 else f"{pictures} pictures"] * (pictures > 0)


def _same(chapter: Chapter, other: Chapter) -> bool:
    return chapter.title == other.title and abs(chapter.start - other.start) < 0.01


def _extras(path: Path, info: FileInfo) -> Extras:
    """What a file, whose sound is of this rate and length, carries."""
    answer = _described(path)
    streams = answer.get("streams", [])
    tags, others = _tags(answer)
    if (kind := codec.kind(path)) == "wav":
        tags = _id3_beside_info(path) | tags
    chapters = [Chapter(float(c["start_time"]), c.get("tags", {}).get("title", "")) for c in answer.get("chapters", [])]
    if kind in ("wav", None):  # None: perhaps aiff
        more, unread = _of_chunks(path, "wav" if kind else "aiff", info.sample_rate)
        chapters, others = chapters or more, others + unread
    if kind in ("flac", "ogg") and (held := _vorbis(path)):
        others += _bounded(VorbisTags([], [], held.blocks), flac=False)[1]
    attached = [stream for stream in streams if stream.get("disposition", {}).get("attached_pic")]
    pictures = [_picture(path, stream) for stream in attached[:MOST_PICTURES]]
    others += ["cover"] * (pictures.count(None) + len(attached[MOST_PICTURES:]))
    others += [
        OTHER_STREAMS[s["codec_type"]] for s in streams if s not in attached and s.get("codec_type") in OTHER_STREAMS
    ]
    others += [f"{len(chapters) - MOST_CHAPTERS} chapters"] * (len(chapters) > MOST_CHAPTERS)
    return Extras(
        tags,
        tuple(chapters[:MOST_CHAPTERS]),
        tuple(filter(None, pictures)),
        tuple(others),
        info.frames / info.sample_rate,
    )


def _tags(answer: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The tags of a file, and the names of those that are too many or too large."""
    found = dict(answer["format"].get("tags", {}))
    if answer["format"]["format_name"] == "ogg":  # it has its tags by stream
        found |= next((s.get("tags", {}) for s in answer["streams"] if s.get("codec_type") == "audio"), {})
    tags: dict[str, str] = {}
    lost, room = [], MOST_BYTES
    for name, text in found.items():
        key, value = re.sub(r"[^ -<>-}]", "?", name.lower()), text.replace("\0", "")
        size = len(key) + len(value.encode()) + 32
        if key in TECHNICAL or not value.strip():
            continue
        if len(tags) == MOST_ENTRIES or size > room:
            lost.append(key)
        else:
            tags[key] = value
            room -= size
    return tags, lost


def _described(path: Path) -> dict[str, Any]:
    """What ffprobe tells of a file's tags, chapters and streams."""
    entries = (
        "format=format_name:format_tags:chapter=start_time:chapter_tags"
        ":stream=index,codec_type,codec_name,width,height:stream_disposition=attached_pic:stream_tags"
    )
    only = ("-format_whitelist", f"{FFMPEG_FORMATS},w64,au")
    # Text as it is: much of it is in the writer's code page, not in UTF-8.
    command = [*_ffmpeg("ffprobe", path, *only), "-show_entries", entries, "-of", "json=string_validation=ignore"]
    answer: dict[str, Any] = json.loads(_text(_output(command, path, MOST_IN_ALL)) or "{}")
    if "format_name" not in answer.get("format", {}):
        raise ValueError("ffprobe does not understand it")
    return answer


CODE_PAGE = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(128, 256)}


def _text(data: bytes) -> str:
    """UTF-8, but for bytes that are none: these are taken for Windows' Western code page.

    >>> _text("Jürgen".encode()) == _text("Jürgen".encode("cp1252")) == "Jürgen"
    True
    """
    return data.decode("utf-8", "surrogateescape").translate(CODE_PAGE)


def _output(command: Sequence[str], path: Path, most: int) -> bytes:
    """The first `most` bytes that a program writes."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pipe = process.stdout
    assert pipe is not None  # Popen was given stdout=PIPE
    try:
        with _Leash(process, shown(path), PATIENCE) as leash:
            return leash.wait(lambda: pipe.read(most))
    finally:
        _end(process)


def _picture(path: Path, stream: Mapping[str, Any]) -> Image | None:
    """A picture as it is in the file; None for one that is too large, or of a kind that players do not know."""
    mime = MIMES.get(stream.get("codec_name", ""))
    only = ("-format_whitelist", f"{FFMPEG_FORMATS},w64,au")
    place = ("-map", f"0:{stream['index']}", "-frames:v", "1", "-c", "copy", "-f", "data", "pipe:1")
    data = _output([*_ffmpeg("ffmpeg", path, *only), *place], path, MOST_BYTES) if mime else b""
    if mime is None or not 0 < len(data) < MOST_BYTES - 1024:  # a block of FLAC has a head, too
        return None
    return Image(mime, int(stream.get("width", 0)), int(stream.get("height", 0)), data)


def _id3_beside_info(path: Path) -> dict[str, str]:
    """The ID3 tags of a wav file that has a LIST INFO, too, behind which ffprobe does not see them."""
    chunks, _ = _chunks(path)
    body = next((chunk.body for chunk in chunks if chunk.id.upper() == b"ID3 "), None)
    if body is None or not any(chunk.id == b"LIST" and chunk.body[:4] == b"INFO" for chunk in chunks):
        return {}
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    content = b"WAVE" + _chunk(b"id3 ", body) + _chunk(b"fmt ", form) + _chunk(b"data", bytes(2))
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "id3.wav"
        alone.write_bytes(_chunk(b"RIFF", content))
        return _tags(_described(alone))[0]


def _of_chunks(path: Path, kind: str, rate: int) -> tuple[list[Chapter], list[str]]:
    """The markers of an aiff file, and the names of chunks that ffprobe does not read."""
    with path.open("rb") as file:
        if kind == "aiff" and file.read(4) != b"FORM":
            return [], []
    chunks, lost = _chunks(path)
    lost += [_chunk_name(chunk.id) for chunk in chunks if chunk.id not in READ_FROM[kind]]
    labels = b"".join(chunk.body for chunk in chunks if chunk.id == b"LIST" and chunk.body[:4] == b"adtl")
    lost += ["notes at cue points"] * any(mark in labels for mark in (b"note", b"ltxt"))
    markers = [marker for chunk in chunks if chunk.id == b"MARK" for marker in _markers(chunk.body, rate)]
    return sorted(markers, key=lambda marker: marker.start), lost


def _markers(body: bytes, rate: int) -> Iterator[Chapter]:
    """Of aiff: a count, then number, place and name of each."""
    at = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        _, place, size = struct.unpack_from(">HIB", body, at)
        yield Chapter(place / rate, _text(body[at + 7 : at + 7 + size]))
        at += 7 + size + (size + 1) % 2


def _as_chunks(extras: Extras, rate: int, id3: bytes) -> Iterator[Chunk]:
    """LIST INFO, cue points with labels, and an ID3 tag: the source's own, or one where the others do not hold all."""
    info = [_chunk(INFO[key], value.encode() + b"\0") for key, value in extras.tags.items() if key in INFO]
    if info:
        yield Chunk(b"LIST", b"INFO" + b"".join(info))
    points = list(enumerate((min(round(max(0, c.start) * rate), 0xFFFFFFFF) for c in extras.chapters), 1))
    if points:
        cues = (struct.pack("<II4sIII", number, place, b"data", 0, 0, place) for number, place in points)
        yield Chunk(b"cue ", struct.pack("<I", len(points)) + b"".join(cues))
        titles = (struct.pack("<I", n) + c.title.encode() + b"\0" for n, c in enumerate(extras.chapters, 1))
        yield Chunk(b"LIST", b"adtl" + b"".join(_chunk(b"labl", title) for title in titles))
    if extras.chapters:
        id3 = b""  # it may hold them, too, and players would show them twice
    if id3 or extras.pictures or len(info) < len(extras.tags):
        yield Chunk(b"id3 ", id3 or _id3(replace(extras, chapters=())))


def _as_vorbis(extras: Extras) -> VorbisTags:
    entries = [f"{VORBIS_KEYS.get(key, key.upper())}={value}" for key, value in extras.tags.items()]
    for number, chapter in enumerate(extras.chapters, 1):
        minutes, ms = divmod(_ms(chapter.start), 60_000)
        entries.append(f"CHAPTER{number:03}={minutes // 60:02}:{minutes % 60:02}:{ms / 1000:06.3f}")
        entries.append(f"CHAPTER{number:03}NAME={chapter.title}")
    return VorbisTags([entry.encode() for entry in entries], [_flac_picture(p) for p in extras.pictures], [])


def _flac_picture(picture: Image) -> bytes:
    """The body of a picture block: front cover, no description, 24 bits a pixel, no palette."""
    mime = picture.mime.encode()
    head = struct.pack(">II", 3, len(mime)) + mime
    return head + struct.pack(">IIIIII", 0, picture.width, picture.height, 24, 0, len(picture.data)) + picture.data


def _write_m4a(target: Path, scratch: Path, extras: Extras, info: FileInfo) -> None:
    """The target, its packets copied by ffmpeg, with tags, chapters and the cover."""
    if extras.chapters and _ms(extras.chapters[0].start):  # the first one always begins with the sound
        extras = replace(extras, chapters=(Chapter(0.0, ""), *extras.chapters))
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "tags"
        text.write_text(_ffmetadata(extras), encoding="utf-8", newline="\n")
        inputs = ["-format_whitelist", "ffmetadata", "-f", "ffmetadata", "-i", f"file:{text}"]
        maps = ["-map", "0:a:0", "-map_metadata", "1", "-map_chapters", "1"]
        cover = next((picture for picture in extras.pictures if picture.mime in IMAGE_READERS), None)
        if cover:
            image, reader = Path(folder) / "cover", IMAGE_READERS[cover.mime]
            image.write_bytes(cover.data)
            inputs += ["-format_whitelist", reader, "-f", reader, "-i", f"file:{image}"]
            maps += ["-map", "2:v:0", "-disposition:v:0", "attached_pic"]
        command = [
            *_ffmpeg("ffmpeg", target, "-v", "error"),
            *(*inputs, *maps, "-c", "copy", "-movie_timescale", str(info.sample_rate)),
            *("-f", "ipod", f"file:{scratch.absolute()}"),
        ]
        patience = PATIENCE + target.stat().st_size / SLOWEST_DISK
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience)
    if ran.returncode:
        said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OSError(said[-1] if said else f"ffmpeg ended with code {ran.returncode}")


def _ffmetadata(extras: Extras) -> str:
    """Tags and chapters in ffmpeg's text format."""
    lines = [";FFMETADATA1", *(f"{_escaped(key)}={_escaped(value)}" for key, value in extras.tags.items())]
    ends = [*(chapter.start for chapter in extras.chapters[1:]), extras.seconds]
    for chapter, end in zip(extras.chapters, ends, strict=False):
        start = _ms(chapter.start)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={max(start, _ms(end))}"]
        lines.append(f"title={_escaped(chapter.title)}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    r"""Text that may stand in a line; ffmpeg takes a backslash at its end, though escaped, for a sign that it goes on.

    >>> _escaped("a=b;")
    'a\\=b\\;'
    """
    return re.sub(r"([=;#\\\n])", r"\\\1", text) + " " * text.endswith("\\")
