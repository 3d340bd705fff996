"""What a file carries besides its sound: fields asserted after every way from format to format, by ffprobe."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from denoise_app.audio import extras, files, id3, riff, tags, vorbis
from denoise_app.audio.clip import Clip, FileInfo
from denoise_app.audio.files import encoding_for, open_writer
from denoise_app.audio.notes import Note
from denoise_app.audio.tags import carry
from tests.audio.sounds import noise

RATE = 16_000
SOUND = noise(1, 4 * RATE, seed=3)
CLEAN = (SOUND * np.float32(0.5)).astype(np.float32)
CHANGED = 1_700_000_000_123_456_789  # ns since 1970
TAGS = {
    "title": "Scene = 12; take #3\\",
    "artist": "Ännä Müller 安娜",
    "album": "Field",
    "date": "2026-03-04",
    "comment": "two\nlines",
    "genre": "Speech",
}
CHAPTERS = [(0.0, "Part one"), (1.5, "Pärt; two"), (2.25, "三")]
Chunks = list[tuple[bytes, bytes]]


def png(side: int = 16, seed: int = 1) -> bytes:
    """A picture of noise, which does not shrink."""

    def piece(id: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + id + body + struct.pack(">I", zlib.crc32(id + body))

    pixels = np.random.default_rng(seed).integers(0, 256, (side, 1 + 3 * side), dtype=np.uint8)
    pixels[:, 0] = 0  # no filter
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = piece(b"IHDR", head) + piece(b"IDAT", zlib.compress(pixels.tobytes(), 0)) + piece(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


COVER = png()


def chunk(id: bytes, body: bytes) -> bytes:
    return id + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def riff_file(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def cue(*places: int) -> bytes:
    points = (struct.pack("<II4sIII", n, place, b"data", 0, 0, place) for n, place in enumerate(places, 1))
    return struct.pack("<I", len(places)) + b"".join(points)


FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
PCM = np.rint(SOUND[0] * 32767).astype("<i2").tobytes()
BEXT = (
    b"Scene 12 take 3".ljust(256, b"\0")
    + b"Recorder".ljust(32, b"\0")
    + b"REF001".ljust(32, b"\0")
    + b"2026-03-0410:11:12"
    + struct.pack("<QH", 36_672 * RATE, 2)
    + bytes(64)
    + struct.pack("<5h", -2300, 500, -100, -2000, -2100)
    + bytes(180)
    + b"A=PCM,F=16000,W=16,M=mono,T=Recorder\r\n"
)
LABELS = (
    b"adtl"
    + chunk(b"labl", struct.pack("<I", 1) + b"Answer\0")
    + chunk(b"labl", struct.pack("<I", 2) + b"Question\0")
    + chunk(b"note", struct.pack("<I", 1) + b"he coughs\0")
    + chunk(b"ltxt", struct.pack("<III4sHHHH", 2, 800, 0, b"rgn ", 0, 0, 0, 0))
)
NAMES = b"INFO" + chunk(b"IART", "Änna".encode("cp1252") + b"\0") + chunk(b"IKEY", b"tunnel; water\0")
IXML = b"<BWFXML><PROJECT>Demo</PROJECT></BWFXML>"
SMPL = bytes(36)
EARLY: Chunks = [(b"bext", BEXT)]
LATE: Chunks = [(b"cue ", cue(16_000, 32_000)), (b"LIST", LABELS), (b"LIST", NAMES), (b"iXML", IXML), (b"smpl", SMPL)]


def field_wav(path: Path, late: Chunks = LATE, early: Chunks = EARLY, sound: bytes = PCM) -> Path:
    before = [*(chunk(*piece) for piece in early), chunk(b"fmt ", FORMAT), chunk(b"levl", bytes(12))]
    path.write_bytes(riff_file(*before, chunk(b"data", sound), *(chunk(*piece) for piece in late)))
    return path


def read_chunks(path: Path) -> Chunks:
    """(id, body) of all chunks of a wav file, the sound's among them."""
    data = path.read_bytes()
    assert data[8:12] == b"WAVE"
    if data[:4] == b"RIFF":
        assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    found, at = [], 12
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def shown(path: Path) -> dict[str, Any]:
    """Tags by lower-case name, chapters and pictures as ffprobe and ffmpeg see them."""
    entries = (
        "format_tags:chapter=start_time:chapter_tags"
        ":stream=index,codec_type:stream_disposition=attached_pic:stream_tags"
    )
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", path]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    sound = next(stream for stream in answer["streams"] if stream["codec_type"] == "audio")
    found = answer["format"].get("tags", {}) | (sound.get("tags", {}) if path.suffix in (".ogg", ".opus") else {})
    pictures = [
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", path, "-map", f"0:{stream['index']}", "-c", "copy", "-f", "data", "-"],
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for stream in answer["streams"]
        if stream["disposition"]["attached_pic"]
    ]
    chapters = [(float(c["start_time"]), c.get("tags", {}).get("title", "")) for c in answer["chapters"]]
    return {"tags": {key.lower(): value for key, value in found.items()}, "chapters": chapters, "pictures": pictures}


Made = Callable[[str], Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """made("mp3"): a recording with tags, chapters and a cover, written by ffmpeg; the last change was long ago."""
    plain, text, cover = tmp_path / "plain.wav", tmp_path / "chapters.txt", tmp_path / "cover.png"
    plain.write_bytes(riff_file(chunk(b"fmt ", FORMAT), chunk(b"data", PCM)))
    cover.write_bytes(COVER)
    ends = [start for start, _ in CHAPTERS[1:]] + [4.0]
    text.write_text(
        ";FFMETADATA1\n"
        + "".join(
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start * 1000:.0f}\nEND={end * 1000:.0f}\ntitle={title}\n"
            for (start, title), end in zip(CHAPTERS, ends, strict=True)
        ).replace(";", "\\;")
    )

    def make(kind: str) -> Path:
        path = tmp_path / f"source.{kind}"
        fields = dict(TAGS)
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            plain,
            "-f",
            "ffmetadata",
            "-i",
            text,
            "-i",
            cover,
            "-map",
            "0:a",
        ]
        if kind in ("flac", "ogg", "opus"):  # ffmpeg 5 writes their chapters falsely or not at all
            for number, (start, title) in enumerate(CHAPTERS, 1):
                fields |= {f"CHAPTER{number:03}": f"00:00:{start:06.3f}", f"CHAPTER{number:03}NAME": title}
            command += ["-map_chapters", "-1"]
        else:
            command += ["-map_chapters", "1"]
        if kind in ("ogg", "opus"):
            fields["METADATA_BLOCK_PICTURE"] = base64.b64encode(picture_block(COVER)).decode()
        elif kind == "mka":
            command += ["-attach", cover, "-metadata:s:t", "mimetype=image/png", "-metadata:s:t", "filename=cover.png"]
        elif kind == "mp4":
            command += ["-map", "2:v", "-c:v", "mpeg4", "-r", "25"]
        elif kind != "aiff":
            command += ["-map", "2:v", "-c:v", "copy", "-disposition:v", "attached_pic"]
        command += [word for key, value in fields.items() for word in ("-metadata", f"{key}={value}")]
        codec = {"m4a": "aac", "mp4": "aac", "opus": "libopus", "ogg": "libvorbis", "mka": "flac", "aiff": "pcm_s16be"}
        command += ["-c:a", codec[kind]] if kind in codec else []
        command += ["-write_id3v2", "1"] if kind == "aiff" else []
        subprocess.run([*command, path], check=True, timeout=60)
        os.utime(path, ns=(CHANGED, CHANGED))
        return path

    return make


def picture_block(data: bytes) -> bytes:
    """FLAC's: front cover, 16 by 16 dots."""
    return struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 16, 16, 24, 0, len(data)) + data


def denoised(path: Path, rate: int = RATE) -> Path:
    """What our writer makes, of sound alone."""
    codec = "OPUS" if path.suffix == ".opus" else None
    encoding = files.Encoding("ogg", codec) if codec else encoding_for(path.suffix)
    with open_writer(path, rate, 1, encoding, CLEAN.shape[1]) as writer:
        writer.write(CLEAN)
    return path


PACKETS: dict[bytes, list[bytes]] = {}
"""Of files that were looked at: many tests begin with the same."""


def packets(path: Path) -> list[bytes]:
    """Of every packet of sound its times, its size and a checksum, decoding nothing."""
    if (data := path.read_bytes()) not in PACKETS:
        command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-c", "copy", "-f", "framemd5", "-"]
        lines = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.splitlines()
        PACKETS[data] = [line.partition(b", S=")[0] for line in lines if line[:1] != b"#"]  # S: tags beside the packet
    return PACKETS[data]


def carried(source: Path, target: Path) -> tuple[tuple[Note, ...], dict[str, Any]]:
    """Carries with the sound untouched; returns the notes and what the target then shows."""
    return carried_blindly(source, target), shown(target)


def carried_blindly(source: Path, target: Path) -> tuple[Note, ...]:
    """Carries, and sees that the sound is what it was: packets, times, and what the house reads."""
    if not target.exists():
        denoised(target)
    before, heard = packets(target), files.read(target)
    notes = carry(source, target)
    assert packets(target) == before
    assert_same(files.read(target), heard)
    assert target.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert list(target.parent.glob(".*")) == []
    return notes


def assert_same(clip: Clip, other: Clip) -> None:
    assert clip.source == other.source
    np.testing.assert_array_equal(clip.samples, other.samples)


def lost(notes: tuple[Note, ...]) -> list[str]:
    """The names in the one note, if any, that tells what was lost."""
    assert [note.key for note in notes] in ([], ["tags-lost"])
    return [name for note in notes for name in note.facts["what"].split(", ")]


def told(notes: tuple[Note, ...]) -> str:
    """Why nothing was carried."""
    assert [note.key for note in notes] == ["tags-not-carried"]
    return notes[0].facts["problem"]


# ------------------------------------------------------------------------------------------------------- wav to wav


def test_every_chunk_of_a_field_recording_comes_through(tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav")
    os.utime(source, ns=(CHANGED, CHANGED))
    notes, found = carried(source, tmp_path / "out.wav")
    assert notes == ()
    chunks = read_chunks(tmp_path / "out.wav")
    unmeasured = BEXT[:412] + b"\xff\x7f" * 5 + BEXT[422:]  # the loudness was that of the noise
    assert chunks[0] == (b"bext", unmeasured)
    assert [id for id, _ in chunks[1:3]] == [b"fmt ", b"data"]
    assert chunks[3:] == LATE
    assert found["tags"]["time_reference"] == str(36_672 * RATE)
    assert found["tags"]["coding_history"] == "A=PCM,F=16000,W=16,M=mono,T=Recorder\r\n"
    assert found["chapters"] == [(1.0, "Answer"), (2.0, "Question")]


def test_loudness_of_an_older_bext_is_no_loudness(tmp_path: Path) -> None:
    bext = BEXT[:346] + struct.pack("<H", 1) + BEXT[348:]
    carried(field_wav(tmp_path / "field.wav", early=[(b"bext", bext)]), tmp_path / "out.wav")
    assert read_chunks(tmp_path / "out.wav")[0] == (b"bext", bext)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["FLOAT", "PCM_24", "PCM_U8", "ULAW"])
def test_chunks_fit_every_kind_of_wav(codec: str, tmp_path: Path) -> None:
    target = tmp_path / "out.wav"
    with open_writer(target, RATE, 1, files.Encoding("wav", codec), 1001) as writer:
        writer.write(CLEAN[:, :1001])  # an odd number of bytes at 8 bits
    own = read_chunks(target)
    notes, _ = carried(field_wav(tmp_path / "field.wav"), target)
    assert notes == ()
    assert read_chunks(target)[1:] == own + LATE


@pytest.mark.slow
def test_rf64_keeps_its_64_bit_sizes(tmp_path: Path) -> None:
    target, back = tmp_path / "out.wav", tmp_path / "back.wav"
    with open_writer(target, RATE, 1, encoding_for("wav"), 1 << 40) as writer:
        writer.write(CLEAN)
    assert carried(field_wav(tmp_path / "field.wav"), target)[0] == ()
    data = target.read_bytes()
    assert data[:4] == b"RF64"
    assert struct.unpack_from("<Q", data, 20)[0] == len(data) - 8
    assert [id for id, _ in read_chunks_of_rf64(data)] == [b"ds64", b"bext", b"fmt ", b"data", *(id for id, _ in LATE)]
    assert carried(target, back)[0] == ()  # and is read
    assert read_chunks(back)[3:] == LATE


def read_chunks_of_rf64(data: bytes) -> Chunks:
    found, at = [], 12
    (sound,) = struct.unpack_from("<Q", data, 28)
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        size = sound if size == 0xFFFFFFFF else size
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def test_what_a_wav_header_cannot_count_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = denoised(tmp_path / "out.wav")
    monkeypatch.setattr(riff, "RIFF_BYTES", target.stat().st_size + 700)  # room for bext and cue
    assert lost(carried(field_wav(tmp_path / "field.wav"), target)[0]) == ["list of tags or labels", "iXML", "smpl"]


# --------------------------------------------------------------------------------------------- from format to format

WAYS = [
    *(("flac", kind) for kind in ("flac", "ogg", "m4a")),
    *(("ogg", kind) for kind in ("ogg", "flac", "wav")),
    *(("opus", kind) for kind in ("opus", "mp3")),
    *(("mp3", kind) for kind in ("mp3", "wav", "opus")),
    *(("m4a", kind) for kind in ("m4a", "flac", "wav", "mp3")),
    *(("mka", kind) for kind in ("flac", "m4a")),
    *(("aiff", kind) for kind in ("wav", "flac")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "kind"), WAYS)
def test_tags_chapters_and_cover_come_through(origin: str, kind: str, made: Made, tmp_path: Path) -> None:
    source = made(origin)
    notes, found = carried(source, tmp_path / f"target.{kind}")
    assert notes == ()
    assert {key: value.rstrip(" ") for key, value in found["tags"].items() if key in TAGS} == TAGS
    assert found["chapters"] == CHAPTERS
    assert found["pictures"] == ([] if origin == "aiff" else [COVER])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "m4a"])
def test_a_field_recording_becomes_tags_and_chapters_and_the_rest_is_told(kind: str, tmp_path: Path) -> None:
    notes, found = carried(field_wav(tmp_path / "field.wav"), tmp_path / f"out.{kind}")
    assert found["tags"]["artist"] == "Änna"  # from Windows' code page
    assert found["tags"]["comment"] == "Scene 12 take 3"
    assert found["chapters"][-2:] == [(1.0, "Answer"), (2.0, "Question")]
    gone = lost(notes)
    assert gone[:3] == ["iXML", "smpl", "notes at cue points"]
    if kind == "m4a":
        assert {"time reference", "originator reference", "coding history", "ikey"} <= set(gone)
    else:
        assert gone[3:] == []
        assert found["tags"]["time_reference"] == str(36_672 * RATE)
        assert found["tags"]["ikey"] == "tunnel; water"


@pytest.mark.slow
def test_a_wav_with_info_and_id3_loses_neither(made: Made, tmp_path: Path) -> None:
    mp3 = made("mp3").read_bytes()
    size = sum(byte << shift for byte, shift in zip(mp3[6:10], (21, 14, 7, 0), strict=True))
    source = field_wav(tmp_path / "both.wav", late=[(b"LIST", NAMES), (b"id3 ", mp3[: 10 + size])], early=[])
    notes, found = carried(source, tmp_path / "out.flac")
    assert notes == ()
    assert {key: found["tags"][key] for key in TAGS if key != "artist"} == {
        k: v for k, v in TAGS.items() if k != "artist"
    }
    assert found["tags"]["artist"] == "Änna"
    assert found["pictures"] == [COVER]


@pytest.mark.slow
def test_the_moving_picture_of_a_video_is_not_missed(made: Made, tmp_path: Path) -> None:
    notes, found = carried(made("mp4"), tmp_path / "out.m4a")
    assert notes == ()
    assert found["tags"]["title"].rstrip() == TAGS["title"]


@pytest.mark.slow
def test_values_that_repeat_go_from_flac_to_ogg_and_back(tmp_path: Path) -> None:
    entries = [b"ARTIST=Anna", b"ARTIST=Ben", b"artist=\xff no UTF-8", b"ODD KEY=1=2"]
    source = tagged_flac(tmp_path / "source.flac", entries, [picture_block(COVER), picture_block(png(8))])
    ogg, flac = tmp_path / "out.ogg", tmp_path / "out.flac"
    assert carried(source, ogg)[0] == () == carried(ogg, flac)[0]
    assert all(entry in ogg.read_bytes() for entry in entries)
    assert flac_comments(flac) == entries
    assert shown(flac)["pictures"] == [COVER, png(8)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_a_cover_of_many_pages_fits_ogg(kind: str, tmp_path: Path) -> None:
    large = png(300)  # 270 kB, a page holds 65 kB
    source = tagged_flac(tmp_path / "source.flac", [b"ARTIST=Anna"], [picture_block(large)])
    notes, found = carried(source, tmp_path / f"out.{kind}")
    assert notes == ()
    assert found["pictures"] == [large]
    assert soundfile.info(tmp_path / f"out.{kind}").frames == SOUND.shape[1]


def tagged_flac(path: Path, entries: list[bytes], pictures: Sequence[bytes] = (), *blocks: tuple[int, bytes]) -> Path:
    """A flac file with such blocks after the first."""
    soundfile.write(path, SOUND.T, RATE)
    data = path.read_bytes()
    at = 4
    while not (last := data[at] & 128):
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    frames = data[at + 4 + int.from_bytes(data[at + 1 : at + 4], "big") :]
    assert last
    comments = struct.pack("<I4sI", 4, b"test", len(entries)) + b"".join(struct.pack("<I", len(e)) + e for e in entries)
    pieces = [(0, data[8:42]), *blocks, *((6, body) for body in pictures), (4, comments)]
    head = b"".join(
        bytes([kind | 128 * (n == len(pieces))]) + len(body).to_bytes(3, "big") + body
        for n, (kind, body) in enumerate(pieces, 1)
    )
    path.write_bytes(b"fLaC" + head + frames)
    return path


def flac_comments(path: Path) -> list[bytes]:
    data = path.read_bytes()
    at = 4
    while data[at] & 127 != 4:
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    at += 8 + struct.unpack_from("<I", data, at + 4)[0]
    found, (count,) = [], struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


@pytest.mark.slow
def test_a_cue_sheet_stays_in_flac_and_is_told_elsewhere(tmp_path: Path) -> None:
    tracks = [
        struct.pack(">QB12s14xB", 0, 1, b"", 1) + bytes(12),
        struct.pack(">QB12s14xB", SOUND.shape[1], 170, b"", 0),
    ]
    sheet = bytes(128 + 8 + 259) + bytes([len(tracks)]) + b"".join(tracks)
    blocks = [(5, sheet), (2, b"TEST with data"), (2, b"riff of a wav file")]
    source = tagged_flac(tmp_path / "source.flac", [], (), *blocks)
    assert lost(carried(source, tmp_path / "out.flac")[0]) == ["application data"]
    assert sheet in (tmp_path / "out.flac").read_bytes()
    for kind in ("ogg", "wav"):
        assert lost(carried(source, tmp_path / f"out.{kind}")[0]) == ["cue sheet", "application data"]


@pytest.mark.slow
def test_tags_at_both_ends_of_an_mp3_stay_as_they_are(made: Made, tmp_path: Path) -> None:
    source = made("mp3")
    item = struct.pack("<II", 4, 0) + b"Mood\0calm"
    ends = [struct.pack("<8sIIII8x", b"APETAGEX", 2000, 32 + len(item), 1, flags << 24) for flags in (0xA0, 0x80)]
    tail = ends[0] + item + ends[1] + b"TAG" + b"Title".ljust(125, b"\0")
    source.write_bytes(source.read_bytes() + tail)
    target = tmp_path / "out.mp3"
    plain = denoised(target).read_bytes()
    notes, found = carried(source, target)
    assert notes == ()
    assert target.read_bytes().endswith(plain + tail)
    assert source.read_bytes().startswith(target.read_bytes()[: -len(plain + tail)])
    assert found["pictures"] == [COVER]


@pytest.mark.slow
def test_markers_of_aiff_become_cue_points(tmp_path: Path) -> None:
    source = tmp_path / "source.aiff"
    soundfile.write(source, SOUND.T, RATE, subtype="PCM_16")
    markers = struct.pack(">HHIB6sx", 2, 1, 8000, 6, b"Answer") + struct.pack(">HIB3s", 2, 24_000, 3, b"\x80ok")
    data = (
        source.read_bytes()
        + b"MARK"
        + struct.pack(">I", len(markers))
        + markers
        + b"INST"
        + struct.pack(">I", 20)
        + bytes(20)
    )
    source.write_bytes(data[:4] + struct.pack(">I", len(data) - 8) + data[8:])
    notes, found = carried(source, tmp_path / "out.wav")
    assert lost(notes) == ["INST"]
    assert found["chapters"] == [(0.5, "Answer"), (1.5, "€ok")]


@pytest.mark.slow
def test_a_bare_file_is_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "bare.wav"
    source.write_bytes(riff_file(chunk(b"fmt ", FORMAT), chunk(b"JUNK", bytes(28)), chunk(b"data", PCM)))
    for kind in ("wav", "flac", "ogg", "mp3", "m4a"):
        target = denoised(tmp_path / f"out.{kind}")
        before = target.read_bytes(), target.stat().st_ino
        assert carried(source, target)[0] == ()
        assert (target.read_bytes(), target.stat().st_ino) == before


# --------------------------------------------------------------------------------------------------------- bad inputs


def test_a_chunk_that_is_cut_off_is_told_and_the_others_come_through(tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav")
    source.write_bytes(source.read_bytes()[: -len(chunk(b"smpl", SMPL)) - 10])
    assert lost(carried(source, tmp_path / "out.wav")[0]) == ["iXML"]
    assert read_chunks(tmp_path / "out.wav")[3:] == LATE[:3]


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_behind_a_stale_size_of_the_sound_nothing_is_taken_for_tags(size: int, tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav", late=[])
    data = source.read_bytes()
    at = data.index(b"data") + 4
    source.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
    assert carried(source, tmp_path / "out.wav")[0] == ()
    assert [id for id, _ in read_chunks(tmp_path / "out.wav")] == [b"bext", b"fmt ", b"data"]


def test_a_chunk_without_its_filling_byte_hides_none_behind_it(tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav", late=[])
    source.write_bytes(source.read_bytes() + b"odd " + struct.pack("<I", 3) + b"abc" + chunk(b"iXML", IXML))
    assert carried(source, tmp_path / "out.wav")[0] == ()
    assert read_chunks(tmp_path / "out.wav")[3:] == [(b"odd ", b"abc"), (b"iXML", IXML)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_ten_thousand_chunks_are_bounded(kind: str, tmp_path: Path) -> None:
    many: Chunks = [(f"x{n:03x}"[:4].encode(), b"abc") for n in range(10_000)]
    source = field_wav(tmp_path / "many.wav", late=many)
    notes, _ = carried(source, tmp_path / f"out.{kind}")
    assert len(lost(notes)) == tags.MOST_NAMED + 1
    assert len(notes[0].message) < 1000
    if kind == "wav":
        assert read_chunks(tmp_path / "out.wav")[3:] == many[: extras.MOST_ENTRIES - 1]  # bext was the first


def test_a_huge_chunk_is_told(tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav", late=[(b"blob", bytes(17 << 20)), (b"iXML", IXML)])
    assert lost(carried(source, tmp_path / "out.wav")[0]) == ["blob"]
    assert read_chunks(tmp_path / "out.wav")[-1] == (b"iXML", IXML)


@pytest.mark.slow
@pytest.mark.parametrize(("origin", "kind"), [("m4a", "flac"), ("ogg", "ogg"), ("mp3", "mp3")])
def test_a_huge_cover_is_told(
    origin: str, kind: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reader in (tags, id3, riff, vorbis):
        monkeypatch.setattr(reader, "MOST_BYTES", 800)  # the cover has 852 bytes
    source = made(origin)
    notes, found = carried(source, tmp_path / f"out.{kind}")
    assert lost(notes) == ["cover"]
    assert found["pictures"] == []
    assert found["tags"]["artist"] == TAGS["artist"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_text_in_a_code_page_becomes_text(kind: str, tmp_path: Path) -> None:
    name = b"INFO" + chunk(b"IART", b"J\xfcrgen \x81\x00") + chunk(b"INAM", b"\xff\xfe;\\\0")
    source = field_wav(tmp_path / "source.wav", late=[(b"LIST", name)], early=[])
    notes, found = carried(source, tmp_path / f"out.{kind}")
    assert notes == ()
    if kind != "wav":
        assert found["tags"]["artist"] == "Jürgen \ufffd"
        assert found["tags"]["title"].rstrip() == "ÿþ;\\"


@pytest.mark.slow
def test_ten_thousand_chapters_are_bounded(tmp_path: Path) -> None:
    labels = b"adtl" + b"".join(chunk(b"labl", struct.pack("<I", n) + b"%d\0" % n) for n in range(1, 3001))
    source = field_wav(tmp_path / "many.wav", late=[(b"cue ", cue(*range(0, 60_000, 20))), (b"LIST", labels)])
    for kind, most, gone in (("flac", 999, ["2001 chapters"]), ("mp3", 255, ["2001 chapters", "744 chapters"])):
        notes, found = carried(source, tmp_path / f"out.{kind}")
        assert len(found["chapters"]) == most
        assert lost(notes) == gone


@pytest.mark.slow
def test_a_copy_that_spoils_the_sound_gives_way_to_a_translation(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(source: Path, target: Path, scratch: Path, info: FileInfo) -> list[str]:
        scratch.write_bytes(target.read_bytes()[:20])
        return []

    monkeypatch.setattr(tags, "_copied", spoil)
    source = made("flac")
    notes, found = carried(source, tmp_path / "out.flac")
    assert notes == ()
    assert found["tags"]["artist"] == TAGS["artist"]
    monkeypatch.setattr(tags, "_translated", spoil)
    assert "could not be read" in told(carried_blindly(source, tmp_path / "out.flac"))


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "the end is missing": lambda data: data[: len(data) // 2],
    "tags say they are large": lambda data: data.replace(b"ID3\x04\0\0\0\0", b"ID3\x04\0\0\x7f\x7f", 1),
    "counts are large": lambda data: data.replace(struct.pack("<I", 7), struct.pack("<I", 0xFFFFFFF0)),
    "sizes are large": lambda data: data.replace(b"\x04\0\0", b"\x04\xff\xff", 1).replace(b"\0\0\0\x10", b"\xff" * 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize(("origin", "kind"), [("flac", "flac"), ("ogg", "ogg"), ("mp3", "mp3"), ("m4a", "flac")])
def test_damaged_tags_never_cost_the_sound(damage: str, origin: str, kind: str, made: Made, tmp_path: Path) -> None:
    source = made(origin)
    source.write_bytes(DAMAGED[damage](source.read_bytes()))
    notes = carried_blindly(source, tmp_path / f"out.{kind}")
    assert {note.key for note in notes} <= {"tags-lost", "tags-not-carried"}


@pytest.mark.slow
def test_no_byte_of_a_field_recording_can_cost_the_sound(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    whole = field_wav(tmp_path / "field.wav").read_bytes()
    places = [at for at in range(len(whole)) if not 800 < at < len(whole) - 700]  # not within the sound
    target = denoised(tmp_path / "plain.wav").read_bytes()
    source, out = tmp_path / "source.wav", tmp_path / "out.wav"
    for _ in range(200):
        data = bytearray(whole)
        for at in rng.choice(places, 3):
            data[at] = rng.integers(0, 256)
        source.write_bytes(data)
        out.write_bytes(target)
        notes = carry(source, out)
        assert {note.key for note in notes} <= {"tags-lost", "tags-not-carried"}
        np.testing.assert_array_equal(soundfile.read(out)[0], soundfile.read(tmp_path / "plain.wav")[0])


@pytest.mark.slow
def test_without_ffmpeg_families_keep_their_own_and_the_rest_is_told(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {kind: made(kind) for kind in ("flac", "ogg", "mp3")} | {"wav": field_wav(tmp_path / "field.wav")}
    bare = tmp_path / "bare.wav"
    bare.write_bytes(riff_file(chunk(b"fmt ", FORMAT), chunk(b"data", PCM)))
    targets = {kind: denoised(tmp_path / f"out.{kind}") for kind in ("flac", "ogg", "mp3", "wav")}
    plain = {kind: path.read_bytes() for kind, path in targets.items()}
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        told_of = {kind: carry(sources[kind], targets[kind]) for kind in ("flac", "ogg", "wav")}
        crossed = carry(sources["flac"], targets["mp3"])
        assert carry(bare, targets["mp3"]) == ()
    assert told_of == {"flac": (), "ogg": (), "wav": ()}
    assert shown(targets["flac"])["tags"]["artist"] == shown(targets["ogg"])["tags"]["artist"] == TAGS["artist"]
    assert "ffmpeg" in told(crossed)
    assert targets["mp3"].read_bytes() == plain["mp3"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "exec sleep 60"])
def test_a_broken_ffmpeg_is_told(script: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = made("m4a"), denoised(tmp_path / "out.wav")
    before = target.read_bytes()
    for program in ("ffmpeg", "ffprobe"):
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tags, "PATIENCE", 0.5)
    assert told(carry(source, target))
    assert target.read_bytes() == before
    assert target.stat().st_mtime_ns == CHANGED
    assert list(tmp_path.glob(".*")) == []


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source, target = field_wav(tmp_path / "field.wav"), denoised(tmp_path / "out.wav")
    before = target.read_bytes()
    monkeypatch.setattr(shutil, "copyfileobj", full)
    assert told(carry(source, target)) == os.strerror(errno.ENOSPC)
    assert target.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_a_source_that_is_gone_is_told(tmp_path: Path) -> None:
    target = denoised(tmp_path / "out.wav")
    before = target.read_bytes()
    assert [note.key for note in carry(tmp_path / "gone.wav", target)] == ["tags-not-carried", "tags-lost"]
    assert target.read_bytes() == before


@pytest.mark.slow
def test_names_of_lost_things_are_bounded_and_printable(tmp_path: Path) -> None:
    source = field_wav(tmp_path / "field.wav", late=[(b'a,"{', b"x" * 8), (b"ab;c", b"y")])
    assert lost(carried(source, tmp_path / "out.flac")[0]) == ["a???", "ab?c"]
