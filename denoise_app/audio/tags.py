"""What a file carries besides its sound: tags, chapters, pictures, and the chunks of broadcast wav.

Within a family the bytes are copied as they are: RIFF chunks (`riff`), ID3 tags (`id3`), the Vorbis comments of flac
and ogg (`vorbis`). Between families they become `Extras`, which ffprobe reads from any file and which each format
writes as it can; m4a by ffmpeg's own text format for metadata. What that loses is found by reading the result back,
not by a table of what formats are said to hold.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from denoise_app.audio import codec, id3, riff, vorbis
from denoise_app.audio.clip import FileInfo
from denoise_app.audio.codec import shown
from denoise_app.audio.errors import AudioError
from denoise_app.audio.extras import (
    MOST_BYTES,
    MOST_CHAPTERS,
    MOST_ENTRIES,
    MOST_IN_ALL,
    MOST_PICTURES,
    Chapter,
    Extras,
    Image,
)
from denoise_app.audio.ffmpeg import FFMPEG_FORMATS, PATIENCE, _end, _ffmpeg, _Leash, has_ffmpeg
from denoise_app.audio.files import probe
from denoise_app.audio.limits import Limits
from denoise_app.audio.notes import Note

__all__ = ["carry"]

MOST_NAMED = 12  # things that a note names one by one
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


def _copied(source: Path, target: Path, scratch: Path, _: FileInfo) -> list[str] | None:
    """Bytes as they are, where both files are of one family; None where they are not, or the source is odd."""
    kinds = (codec.kind(source), codec.kind(target))
    if kinds == ("wav", "wav"):
        chunks, lost = riff.chunks(source)
        return lost + (riff.write(target, scratch, chunks) if chunks else [])
    if kinds == ("mp3", "mp3") and (head := id3.leading(source)):
        id3.write(target, scratch, head, id3.trailing(source))
        return []
    if kinds[0] in ("flac", "ogg") and kinds[1] in ("flac", "ogg") and (held := vorbis.read(source)):
        return vorbis.write(target, scratch, held)
    return None


def _bare(source: Path) -> bool:
    """Whether a file surely carries nothing, as far as can be told without ffprobe."""
    kind = codec.kind(source)
    if kind == "wav":
        return not any(riff.chunks(source))
    if kind in ("flac", "ogg") and (held := vorbis.read(source)):
        return not any((held.entries, held.pictures, held.blocks))
    return kind == "mp3" and not id3.leading(source) and not id3.trailing(source)


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
        riff.write(target, scratch, riff.as_chunks(extras, info.sample_rate, id3.leading(source)))
    elif kind == "mp3":
        id3.write(target, scratch, id3.body(extras))
    elif kind in ("flac", "ogg"):
        vorbis.write(target, scratch, vorbis.as_tags(extras))
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
    if kind in ("flac", "ogg") and (held := vorbis.read(path)):
        others += vorbis.bounded(vorbis.VorbisTags([], [], held.blocks), flac=False)[1]
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
    chunks, _ = riff.chunks(path)
    body = next((chunk.body for chunk in chunks if chunk.id.upper() == b"ID3 "), None)
    if body is None or not any(chunk.id == b"LIST" and chunk.body[:4] == b"INFO" for chunk in chunks):
        return {}
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    content = b"WAVE" + riff.framed(b"id3 ", body) + riff.framed(b"fmt ", form) + riff.framed(b"data", bytes(2))
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "id3.wav"
        alone.write_bytes(riff.framed(b"RIFF", content))
        return _tags(_described(alone))[0]


def _of_chunks(path: Path, kind: str, rate: int) -> tuple[list[Chapter], list[str]]:
    """The markers of an aiff file, and the names of chunks that ffprobe does not read."""
    with path.open("rb") as file:
        if kind == "aiff" and file.read(4) != b"FORM":
            return [], []
    chunks, lost = riff.chunks(path)
    lost += [riff.chunk_name(chunk.id) for chunk in chunks if chunk.id not in READ_FROM[kind]]
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


def _write_m4a(target: Path, scratch: Path, extras: Extras, info: FileInfo) -> None:
    """The target, its packets copied by ffmpeg, with tags, chapters and the cover."""
    if extras.chapters and id3.milliseconds(extras.chapters[0].start):  # the first one always begins with the sound
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
        start = id3.milliseconds(chapter.start)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={max(start, id3.milliseconds(end))}"]
        lines.append(f"title={_escaped(chapter.title)}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    r"""Text that may stand in a line; ffmpeg takes a backslash at its end, though escaped, for a sign that it goes on.

    >>> _escaped("a=b;")
    'a\\=b\\;'
    """
    return re.sub(r"([=;#\\\n])", r"\\\1", text) + " " * text.endswith("\\")
